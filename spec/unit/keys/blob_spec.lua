-- Public key blobs as a hostile peer would send them.

local testing = require "moonssh_testing"
local hex = require "spec.support.hex"
local base, crypto, heap, keys = testing.base, testing.crypto, testing.heap, testing.keys
local write = base.write

local function refused(blob, pattern, what)
   local key, code, message = keys.parse_public(blob)
   assert.is_nil(key, what)
   assert.equal("key_format", code, what)
   assert.matches(pattern, message, 1, false)
end

-- An odd number of so many bits, big-endian.
local function number(bits)
   if bits == 0 then
      return ""
   end
   local bytes = ("\xff"):rep((bits + 7) // 8)
   return string.char(bytes:byte() >> -bits % 8) .. bytes:sub(2)
end

local function rsa(n, e)
   return write("string", "ssh-rsa", "mpint", e or "\1\0\1", "mpint", n)
end

describe("a public key blob", function()
   local ed25519 = keys.generate("ed25519"):blob()
   local point = base.read(keys.generate("ecdsa", 256):blob(), "string", "string", "string")[3]

   local function ecdsa(bytes, curve, name)
      return write("string", name or "ecdsa-sha2-nistp256", "string", curve or "nistp256", "string", bytes)
   end

   it("is used whole", function()
      for _, blob in ipairs{ ed25519, ecdsa(point), rsa(number(2048)) } do
         local key = assert(keys.parse_public(blob))
         assert.equal(blob, key:blob())
         assert.is_false(key:private())
         assert.equal("", key:comment())
         for len = 0, #blob - 1 do
            refused(blob:sub(1, len), "")
         end
         for more = 1, 16 do
            refused(blob .. ("\0"):rep(more), "key blob: out of form$")
         end
      end
   end)

   it("has string lengths that lie within it", function()
      for _, length in ipairs{ 0, 10, 12, 0x7fffffff, 0xfffffff0, 0xffffffff } do
         refused(write("u32", length) .. ed25519:sub(5), "")
         refused(ed25519:sub(1, 15) .. write("u32", length) .. ed25519:sub(20), "")
      end
   end)

   it("of Ed25519 has 32 bytes", function()
      for _, len in ipairs{ 0, 1, 31, 33, 64, 100000 } do
         refused(write("string", "ssh-ed25519", "string", ("x"):rep(len)), "^ssh%-ed25519 key with numbers that make")
      end
      assert.equal(256, assert(keys.parse_public(write("string", "ssh-ed25519", "string", ("x"):rep(32)))):bits())
   end)

   it("of RSA has a modulus of 2048 to 16384 bits", function()
      for _, bits in ipairs{ 0, 1, 2, 512, 768, 1023, 1024, 2047, 16385, 16392, 65536 } do
         refused(rsa(number(bits)), "^ssh%-rsa key", bits)
      end
      for _, bits in ipairs{ 2048, 2049, 3072, 4096, 16384 } do
         assert.equal(bits, assert(keys.parse_public(rsa(number(bits)))):bits())
      end
   end)

   it("of RSA has an odd exponent from 3 to 32 bits", function()
      for _, e in ipairs{ "", "\1", "\2", "\4", "\1\0\0", "\1\0\0\0\1", "\1\0\0\0\0\0\0\0\1", ("\xff"):rep(256) } do
         refused(rsa(number(2048), e), "^ssh%-rsa key with numbers that make no public key$", hex.encode(e))
      end
      for _, e in ipairs{ "\3", "\17", "\1\0\1", "\xff\xff\xff\xff" } do
         assert.is_userdata((keys.parse_public(rsa(number(2048), e))))
      end
   end)

   it("of RSA has an odd modulus", function()
      refused(rsa(number(2048):sub(1, -2) .. "\xfe"), "^ssh%-rsa key with numbers that make no public key$")
   end)

   it("of RSA has no negative or padded numbers", function()
      refused(write("string", "ssh-rsa", "mpint", "\3", "string", number(2048)), "^ssh%-rsa key blob: out of form$")
      refused(write("string", "ssh-rsa", "string", "\0\3", "mpint", number(2048)), "^ssh%-rsa key blob: out of form$")
   end)

   it("of DSA has a p of 1024 to 3072 bits, a q of 160, and g and y between 1 and p", function()
      local function dss(p, q, g, y)
         return write("string", "ssh-dss", "mpint", p, "mpint", q, "mpint", g, "mpint", y)
      end
      local p, q = number(1024), number(160)
      for _, bits in ipairs{ 0, 1, 512, 1023, 3073, 16384 } do
         refused(dss(number(bits), q, "\2", "\3"), "^ssh%-dss key with numbers that make no public key$", bits)
      end
      for _, bits in ipairs{ 0, 1, 159, 161, 224, 256 } do
         refused(dss(p, number(bits), "\2", "\3"), "^ssh%-dss key with numbers that make no public key$", bits)
      end
      for _, bad in ipairs{ "", "\1", p } do
         refused(dss(p, q, bad, "\3"), "^ssh%-dss key with numbers that make no public key$")
         refused(dss(p, q, "\2", bad), "^ssh%-dss key with numbers that make no public key$")
      end
      assert.equal(1024, assert(keys.parse_public(dss(p, q, "\2", "\3"))):bits())
      refused(write("string", "ssh-dss", "mpint", p, "mpint", q, "mpint", "\2"), "^ssh%-dss key blob: out of form$")
   end)

   it("of ECDSA has an uncompressed point on the curve that its name says", function()
      local x, y = point:sub(2, 33), point:sub(34)
      local sign = y:byte(-1) & 1
      for what, bad in pairs{
         infinity = "\0", nothing = "",
         compressed = string.char(2 + sign) .. x, hybrid = string.char(6 + sign) .. x .. y,
         ["off the curve"] = "\4" .. y .. x, short = point:sub(1, -2), long = point .. "\0",
         ["all zeros"] = "\4" .. ("\0"):rep(64),
         ["another curve's"] = base.read(keys.generate("ecdsa", 384):blob(), "string", "string", "string")[3],
      } do
         refused(ecdsa(bad), "^ecdsa%-sha2%-nistp256 key with numbers that make no public key$", what)
      end
      refused(ecdsa(point, "nistp384"), "out of form$")
      refused(ecdsa(point, ""), "out of form$")
      refused(ecdsa(point, "nistp384", "ecdsa-sha2-nistp384"), "^ecdsa%-sha2%-nistp384 key with numbers")
      assert.equal(256, assert(keys.parse_public(ecdsa(point))):bits())
   end)

   it("of a type that is not known is named in the error, escaped", function()
      refused(write("string", "ssh-old", "mpint", "\1"), '^key type not supported: "ssh%-old"$')
      refused(write("string", "\27[31m", "mpint", "\1"), '^key type not supported: "\\x1b%[31m"$')
      refused(write("string", ("x"):rep(10000)), '^key type not supported: "x+%.%.%."$')
      refused(write("string", ""), '^key type not supported: ""$')
      refused(write("string", "ssh-ed25519\0"), '^key type not supported: "ssh%-ed25519\\x00"$')
   end)

   it("of any other bytes is refused", function()
      for len = 0, 200 do
         refused(crypto.random(len), "")
      end
   end)

   it("costs no memory in proportion to what it claims", function()
      local memory = heap.new()
      keys.parse_public(write("string", "ssh-rsa", "mpint", "\3", "u32", 0x7fffffff), memory)
      keys.parse_public(rsa(number(65536)), memory)
      assert.is_true(memory:peak() < 10000)
      assert.equal(0, memory:in_use())
   end)
end)

describe("a key to be generated", function()
   it("has a default size", function()
      assert.equal("ssh-ed25519", keys.generate("ed25519"):type())
      assert.equal("ecdsa-sha2-nistp256", keys.generate("ecdsa"):type())
      assert.equal(3072, keys.generate("rsa"):bits())
   end)

   it("is of a type and size that there is", function()
      for _, bad in ipairs{ { "dsa", 1024 }, { "", 0 }, { "rsa", 1024 }, { "rsa", 2047 }, { "rsa", 16385 },
         { "ecdsa", 255 }, { "ecdsa", 512 }, { "ed25519", 255 } } do
         local key, code, message = keys.generate(bad[1], bad[2])
         assert.is_nil(key)
         assert.equal("unsupported", code)
         assert.matches("^no ", message)
      end
   end)

   it("is another one each time", function()
      assert.not_equal(keys.generate("ed25519"):blob(), keys.generate("ed25519"):blob())
      assert.not_equal(keys.generate("ecdsa"):blob(), keys.generate("ecdsa"):blob())
   end)
end)
