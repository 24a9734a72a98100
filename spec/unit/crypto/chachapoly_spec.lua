local testing = require "moonssh_testing"
local hex = require "spec.support.hex"
local python = require "spec.support.python"
local crypto = testing.crypto

-- The bytes from first to last.
local function range(first, last)
   local bytes = {}
   for byte = first, last do
      bytes[#bytes + 1] = string.char(byte)
   end
   return table.concat(bytes)
end

local function length_field(n)
   return string.pack(">I4", n)
end

describe("chacha20-poly1305@openssh.com", function()
   local key = range(0, 63)
   local clear = length_field(48) .. range(0, 47)
   -- Made with the ChaCha20 and Poly1305 of Python's cryptography package, after PROTOCOL.chacha20poly1305.
   local sealed = hex.decode [[a39afc9a284717404a862c596464b1fbdb82dd2324a322256af62b94587301c49c4e1d4b8476d38631
      47d29e84fb4c053f1f25585ad5ae3507c0b1ff1b954bd4f2784470]]

   it("has RFC 8439's key stream, where its nonces are the same", function()
      -- Appendix A.1, vectors 1, 2 and 4: zero keys, and one with a second byte of 0xff.
      local function stream(half, len)
         local chacha = crypto.chachapoly(half .. ("\0"):rep(32))
         return hex.encode(chacha:open_unverified(0, ("\0"):rep(4 + len + 16)))
      end
      assert.equal("9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed" ..
         "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f", stream(("\0"):rep(32), 64))
      assert.equal("72d54dfbf12ec44b362692df94137f328fea8da73990265ec1bbbea1ae9af0ca" ..
         "13b25aa26cb4a648cb9b9d1be65b2c0924a66c54d545ec1b7374f4872e99f096",
         stream("\0\xff" .. ("\0"):rep(30), 128):sub(129, 256))
   end)

   it("seals and opens a known packet", function()
      local chacha = crypto.chachapoly(key)
      assert.equal(hex.encode(sealed), hex.encode(chacha:seal(7, clear)))
      assert.equal(48, chacha:length(7, sealed:sub(1, 4)))
      assert.equal(clear:sub(5), chacha:open(7, sealed))
   end)

   it("agrees with another implementation at every length and sequence number tried", function()
      local lines, packets = {}, {}
      for i, len in ipairs{ 0, 1, 15, 16, 17, 31, 32, 48, 63, 64, 65, 127, 128, 129, 255, 256, 1000, 4096, 32768 } do
         local seq = ({ 0, 1, 0xff, 0x100, 0x7fffffff, 0x80000000, 0xffffffff })[i % 7 + 1]
         local k, text = crypto.random(64), crypto.random(len)
         packets[i] = hex.encode(crypto.chachapoly(k):seal(seq, length_field(len) .. text))
         lines[i] = ("%s %d %s"):format(hex.encode(k), seq, hex.encode(text))
      end
      local theirs = python.run([[
import struct
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.poly1305 import Poly1305
def chacha(key, counter, seq, data):
    nonce = struct.pack('<Q', counter) + struct.pack('>Q', seq)
    return Cipher(algorithms.ChaCha20(key, nonce), None).encryptor().update(data)
for line in lines:
    key, seq, text = line.split(' ')
    key, seq, text = bytes.fromhex(key), int(seq), bytes.fromhex(text)
    body = chacha(key[32:], 0, seq, struct.pack('>I', len(text))) + chacha(key[:32], 1, seq, text)
    print((body + Poly1305.generate_tag(chacha(key[:32], 0, seq, bytes(32)), body)).hex())
]], lines)
      assert.same(theirs, packets)
   end)

   it("refuses a packet with any bit flipped, or of another number", function()
      local chacha = crypto.chachapoly(key)
      for bit = 0, #sealed * 8 - 1 do
         local at = bit // 8 + 1
         local bad = sealed:sub(1, at - 1) .. string.char(sealed:byte(at) ~ 1 << bit % 8) .. sealed:sub(at + 1)
         assert.same({ nil, "mac" }, { chacha:open(7, bad) })
      end
      assert.same({ nil, "mac" }, { chacha:open(8, sealed) })
      assert.same({ nil, "mac" }, { chacha:open(7, sealed:sub(1, -18) .. sealed:sub(-16)) })
      assert.equal(clear:sub(5), chacha:open(7, sealed))
   end)

   it("opens a packet with a wrong tag only when asked to", function()
      local chacha = crypto.chachapoly(key)
      local bad = sealed:sub(1, -2) .. "x"
      assert.is_nil((chacha:open(7, bad)))
      assert.equal(clear:sub(5), chacha:open_unverified(7, bad))
   end)

   it("can look at a length and go on with other packets in any order", function()
      local chacha = crypto.chachapoly(key)
      local packets = {}
      for seq = 1, 5 do
         packets[seq] = chacha:seal(seq, length_field(seq) .. ("x"):rep(seq))
      end
      for seq = 5, 1, -1 do
         assert.equal(seq, chacha:length(seq, packets[seq]:sub(1, 4)))
         assert.equal(("x"):rep(seq), chacha:open(seq, packets[seq]))
         assert.equal(seq, chacha:length(seq, packets[seq]:sub(1, 4)))
      end
   end)
end)
