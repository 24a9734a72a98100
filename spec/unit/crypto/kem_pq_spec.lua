local hex = require "spec.support.hex"
local python = require "spec.support.python"
local testing = require "moonssh_testing"
local crypto, heap = testing.crypto, testing.heap

local function flipped(bytes, at)
   return bytes:sub(1, at - 1) .. string.char(bytes:byte(at) ~ 1 << at % 8) .. bytes:sub(at + 1)
end

-- Bytes that are the same each time, and look like nothing.
local function stream(n, seed)
   local bytes = ""
   while #bytes < n do
      bytes = bytes .. crypto.hash("sha512", seed .. #bytes)
   end
   return bytes:sub(1, n)
end

describe("ML-KEM-768", function()
   -- The hashes of Go's crypto/mlkem, TestAccumulated, which made them in agreement with the reference implementation.
   it("makes of a stream what all others make of it: keys, ciphertexts, secrets, rejections", function()
      assert.equal("1114b1b6699ed191734fa339376afa7e285c9e6acf6ff0177d346696ce564415",
         hex.encode(crypto.mlkem_accumulated(100)))
      -- The sanitizers would take half a minute.
      if os.getenv "MOONSSH_BUILD" == "build/release" then
         assert.equal("8a518cc63da366322a8e7a818c7a0d63483cb3528d34a4cf42f35d5ad73f22fc",
            hex.encode(crypto.mlkem_accumulated(10000)))
      end
   end)

   it("gives the same pair for the same seed, and the same ciphertext for the same message", function()
      local _, first = crypto.pq("mlkem", stream(64, "a"))
      local key, second = crypto.pq("mlkem", stream(64, "a"))
      assert.equal(first, second)
      local ciphertext, secret = crypto.pq_encapsulate("mlkem", first, stream(32, "m"))
      assert.same({ ciphertext, secret }, { crypto.pq_encapsulate("mlkem", second, stream(32, "m")) })
      assert.equal(secret, key:decapsulate(ciphertext))
      assert.not_equal(secret, (select(2, crypto.pq_encapsulate("mlkem", first, stream(32, "n")))))
   end)

   it("refuses an encapsulation key with a coefficient that is not below the modulus", function()
      local _, public = crypto.pq "mlkem"
      -- Two coefficients in three bytes.
      local function with(index, value)
         local at = index // 2 * 3 + 1
         local both = ("<I3"):unpack(public, at)
         both = index % 2 == 0 and both & 0xfff000 | value or both & 0xfff | value << 12
         return public:sub(1, at - 1) .. ("<I3"):pack(both) .. public:sub(at + 3)
      end
      for _, index in ipairs{ 0, 1, 2, 255, 256, 511, 512, 766, 767 } do
         assert.is_string((crypto.pq_encapsulate("mlkem", with(index, 3328))))
         for _, value in ipairs{ 3329, 3330, 4095 } do
            assert.same({ nil, "protocol" }, { crypto.pq_encapsulate("mlkem", with(index, value)) })
         end
      end
   end)

   it("answers a changed ciphertext with the hash of a secret of the key's and the ciphertext", function()
      local seed = stream(64, "b")
      local key, public = crypto.pq("mlkem", seed)
      local ciphertext, secret = crypto.pq_encapsulate("mlkem", public)
      local asked, answers = {}, {}
      for i, at in ipairs{ 1, 2, 320, 321, 960, 961, 1087, 1088 } do
         local changed = flipped(ciphertext, at)
         asked[i], answers[i] = hex.encode(seed:sub(33) .. changed), hex.encode(key:decapsulate(changed))
      end
      assert.same(python.run([[
import hashlib
for line in lines:
    print(hashlib.shake_256(bytes.fromhex(line)).hexdigest(32))
]], asked), answers)
      assert.equal(secret, key:decapsulate(ciphertext))
   end)

   it("is OpenSSL's where it has one, which understands ours and is understood", function()
      local key, public = crypto.pq "mlkem_openssl"
      if crypto.mlkem_is_own() then
         assert.same({ nil, "unsupported" }, { key, public })
         return
      end
      local ciphertext, secret = crypto.pq_encapsulate("mlkem", public)
      assert.equal(secret, key:decapsulate(ciphertext))
      key, public = crypto.pq "mlkem"
      ciphertext, secret = crypto.pq_encapsulate("mlkem_openssl", public)
      assert.equal(secret, key:decapsulate(ciphertext))
      assert.same({ nil, "protocol" },
         { crypto.pq_encapsulate("mlkem_openssl", ("\255"):rep(3) .. public:sub(4)) })
   end)
end)

describe("sntrup761", function()
   it("gives both sides the same secret, another one each time", function()
      local seen = {}
      for _ = 1, 20 do
         local key, public = crypto.pq "sntrup"
         assert.equal(1158, #public)
         for _ = 1, 3 do
            local ciphertext, secret = crypto.pq_encapsulate("sntrup", public)
            assert.equal(1039, #ciphertext)
            assert.equal(secret, key:decapsulate(ciphertext))
            assert.is_nil(seen[secret] or seen[ciphertext])
            seen[secret], seen[ciphertext] = true, true
         end
      end
   end)

   it("answers a changed ciphertext with a secret that only the key gives, the same each time", function()
      local key, public = crypto.pq "sntrup"
      local other = crypto.pq "sntrup"
      local ciphertext, secret = crypto.pq_encapsulate("sntrup", public)
      for at = 1, #ciphertext, 23 do
         local changed = flipped(ciphertext, at)
         local answer = key:decapsulate(changed)
         assert.not_equal(secret, answer)
         assert.equal(answer, key:decapsulate(changed))
         assert.not_equal(answer, other:decapsulate(changed))
      end
      assert.equal(secret, key:decapsulate(ciphertext))
   end)

   it("takes any bytes of the right length, and knows none of them", function()
      local key = crypto.pq "sntrup"
      local seen = {}
      for _, byte in ipairs{ "\0", "\255", "\127", "x" } do
         local answer = key:decapsulate(byte:rep(1039))
         assert.is_nil(seen[answer])
         seen[answer] = true
         local ciphertext, secret = crypto.pq_encapsulate("sntrup", byte:rep(1158))
         assert.same({ 1039, 32 }, { #ciphertext, #secret })
      end
   end)
end)

describe("a post-quantum key pair", function()
   it("gives back all its memory, also where an allocation fails", function()
      for _, name in ipairs{ "mlkem", "sntrup" } do
         local n = 0
         repeat
            n = n + 1
            local memory = heap.new(n)
            local key, public, secret = crypto.pq(name, nil, memory)
            if key then
               local ciphertext, other = crypto.pq_encapsulate(name, public)
               secret = key:decapsulate(ciphertext)
               assert.is_true(secret == nil or secret == other)
               key:close()
            else
               assert.equal("memory", public)
            end
            assert.equal(0, memory:in_use())
         until secret
         assert.is_true(n > 2)
      end
   end)
end)

describe("a hybrid key exchange", function()
   local hybrids = {
      mlkem = { hash = 32, initial = 1184 + 32, reply = 1088 + 32 },
      sntrup = { hash = 64, initial = 1158 + 32, reply = 1039 + 32 },
   }

   for name, expected in pairs(hybrids) do
      it("by " .. name .. " has values of both halves and a hash for a secret", function()
         local a, b = crypto.kem(name), crypto.kem(name)
         local initial = a:keypair()
         local reply, theirs = b:encapsulate(initial)
         local ours = a:decapsulate(reply)
         assert.same(expected, { hash = #ours, initial = #initial, reply = #reply })
         assert.equal(ours, theirs)
      end)

      it("by " .. name .. " refuses any other length", function()
         for _, change in ipairs{ -33, -32, -1, 1, 32 } do
            local a, b = crypto.kem(name), crypto.kem(name)
            a:keypair()
            assert.same({ nil, "protocol" }, { b:encapsulate(("\1"):rep(expected.initial + change)) })
            assert.same({ nil, "protocol" }, { a:decapsulate(("\1"):rep(expected.reply + change)) })
         end
         assert.same({ nil, "protocol" }, { crypto.kem(name):encapsulate("") })
      end)

      it("by " .. name .. " refuses a point of low order, whatever the other half", function()
         local a = crypto.kem(name)
         local initial = a:keypair()
         local reply = crypto.kem(name):encapsulate(initial)
         for _, point in ipairs{ ("\0"):rep(32), "\1" .. ("\0"):rep(31) } do
            assert.same({ nil, "protocol" }, { crypto.kem(name):encapsulate(initial:sub(1, -33) .. point) })
            assert.same({ nil, "protocol" }, { a:decapsulate(reply:sub(1, -33) .. point) })
         end
      end)

      it("by " .. name .. " depends on each half of what came", function()
         local a = crypto.kem(name)
         local reply, theirs = crypto.kem(name):encapsulate((a:keypair()))
         for _, at in ipairs{ 1, 500, #reply - 32, #reply - 31, #reply - 8 } do
            assert.not_equal(theirs, (a:decapsulate(flipped(reply, at))))
         end
      end)
   end
end)
