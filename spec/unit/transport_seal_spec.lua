-- The bytes on the wire and the keys, against the same computed step by step from the primitives.

local testing = require "moonssh_testing"

local crypto, transport = testing.crypto, testing.transport

local KEY = ("0123456789abcdef"):rep(4)
local IV = "\1\2\3\4\5\6\7\8\9\10\11\12\13\14\15\16"
local MAC_KEY = ("k"):rep(64)
local SEQ = 0x01020304

-- A packet of this length: length field, padding length, payload, padding.
local function packet(length)
   return (">I4B"):pack(length, 5) .. ("payload "):rep(length // 8 + 1):sub(1, length - 6) .. "ppppp"
end

local function seal(options, encrypt)
   options.encrypt, options.key, options.iv, options.mac_key = encrypt, KEY, options.iv or IV, MAC_KEY
   return assert(transport.seal(options))
end

local function hmac(name, text)
   local size = name:find("512") and 64 or 32
   return crypto.hmac(name:match("sha2%-(%d+)") == "256" and "sha256" or "sha512", MAC_KEY:sub(1, size), text)
end

describe("the wire form of a packet", function()
   for _, bits in ipairs{ 128, 192, 256 } do
      for _, mac in ipairs{ "hmac-sha2-256", "hmac-sha2-512" } do
         it(("is aes%d-ctr over all, then %s of the plain packet"):format(bits, mac), function()
            local plain = packet(60)
            local ctr = assert(crypto.cipher(("aes%d-ctr"):format(bits), true, KEY:sub(1, bits // 8), IV))
            local expected = ctr:apply(plain) .. hmac(mac, (">I4"):pack(SEQ) .. plain)
            local options = { cipher = ("aes%d-ctr"):format(bits), mac = mac }
            assert.equal(expected, seal(options, true):seal(SEQ, plain))
            assert.equal(plain:sub(5), seal(options, false):open(SEQ, expected))
            assert.equal(60, seal(options, false):peek(SEQ, expected:sub(1, 16)))
         end)

         it(("is aes%d-ctr behind the length, then %s-etm of that"):format(bits, mac), function()
            local plain = packet(64)
            local ctr = assert(crypto.cipher(("aes%d-ctr"):format(bits), true, KEY:sub(1, bits // 8), IV))
            local text = plain:sub(1, 4) .. ctr:apply(plain:sub(5))
            local expected = text .. hmac(mac, (">I4"):pack(SEQ) .. text)
            local options = { cipher = ("aes%d-ctr"):format(bits), mac = mac .. "-etm@openssh.com" }
            assert.equal(expected, seal(options, true):seal(SEQ, plain))
            assert.equal(plain:sub(5), seal(options, false):open(SEQ, expected))
         end)
      end
   end

   for _, bits in ipairs{ 128, 256 } do
      it(("is aes%d-gcm behind the length, whose counter carries through its 8 bytes"):format(bits), function()
         local options = { cipher = ("aes%d-gcm@openssh.com"):format(bits),
            iv = "fix!" .. ("\255"):rep(7) .. "\254" }
         local sender, receiver = seal(options, true), seal(options, false)
         local counters = { ("\255"):rep(7) .. "\254", ("\255"):rep(8), ("\0"):rep(8), ("\0"):rep(7) .. "\1" }
         for _, counter in ipairs(counters) do
            local plain = packet(48)
            local gcm = assert(crypto.gcm(true, KEY:sub(1, bits // 8), "fix!" .. counter))
            local text, tag = gcm:seal(plain:sub(1, 4), plain:sub(5))
            local expected = plain:sub(1, 4) .. text .. tag
            assert.equal(expected, sender:seal(SEQ, plain))
            assert.equal(plain:sub(5), receiver:open(0, expected))
         end
      end)
   end

   it("is chacha20-poly1305 with the sequence number as its nonce", function()
      local options = { cipher = "chacha20-poly1305@openssh.com" }
      local sender, receiver = seal(options, true), seal(options, false)
      for _, seq in ipairs{ 0, 1, SEQ, 0xffffffff } do
         local plain = packet(40)
         local expected = assert(crypto.chachapoly(KEY):seal(seq, plain))
         assert.equal(expected, sender:seal(seq, plain))
         assert.equal(40, receiver:peek(seq, expected:sub(1, 4)))
         assert.equal(plain:sub(5), receiver:open(seq, expected))
      end
   end)
end)

describe("a wrong tag", function()
   for _, options in ipairs{
      { cipher = "aes128-ctr", mac = "hmac-sha2-256" },
      { cipher = "aes128-ctr", mac = "hmac-sha2-256-etm@openssh.com" },
      { cipher = "aes128-gcm@openssh.com" },
      { cipher = "chacha20-poly1305@openssh.com" },
   } do
      it("is seen, and open_unverified goes on in step, under " .. options.cipher .. " " .. (options.mac or ""),
         function()
            local sender, receiver = seal(options, true), seal(options, false)
            for seq = 1, 6 do
               local plain = packet(options.mac == "hmac-sha2-256" and 60 or 64)
               local wire = sender:seal(seq, plain)
               if seq % 2 == 0 then
                  wire = wire:sub(1, -2) .. string.char(wire:byte(-1) ~ 0x80)
                  if seq == 6 then
                     assert.same({ n = 2, nil, "mac" }, table.pack(receiver:open(seq, wire)))
                  else
                     assert.equal(plain:sub(5), receiver:open(seq, wire, true))
                  end
               else
                  assert.equal(plain:sub(5), receiver:open(seq, wire))
               end
            end
         end)
   end
end)

describe("the key derivation", function()
   local K, H, ID = "\0\0\0\3abc", ("h"):rep(32), ("i"):rep(48)

   for _, name in ipairs{ "sha256", "sha384", "sha512" } do
      it("is that of RFC 4253 7.2, extended as far as needed, with " .. name, function()
         for _, letter in ipairs{ "A", "B", "C", "D", "E", "F" } do
            local all = crypto.hash(name, K .. H .. letter .. ID)
            for len = 0, 128 do
               while #all < len do
                  all = all .. crypto.hash(name, K .. H .. all)
               end
               assert.equal(all:sub(1, len), transport.kdf(name, K, H, letter, ID, len))
            end
         end
      end)
   end

   it("refuses to give more than any key needs", function()
      assert.same({ n = 2, nil, "limit" }, table.pack(transport.kdf("sha256", K, H, "A", ID, 129)))
   end)
end)
