-- BLAKE2b and Argon2, against the vectors of their RFCs and of Python's hashlib.

local hex = require "spec.support.hex"
local python = require "spec.support.python"
local testing = require "moonssh_testing"
local crypto, heap = testing.crypto, testing.heap

describe("BLAKE2b", function()
   it("gives the digest of RFC 7693, appendix A", function()
      assert.equal("ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d17d87c5392aab792dc252d5de4533cc95"
         .. "18d38aa8dbf1925ab92386edd4009923", hex.encode(crypto.blake2b({ "abc" }, 64)))
   end)

   it("gives what hashlib gives, of every length, in parts or at once", function()
      local text = ("The moon, in parts. "):rep(20)
      local cases, expected = {}, {}
      for _, n in ipairs{ 0, 1, 63, 64, 127, 128, 129, 255, 256, 257, 400 } do
         for _, len in ipairs{ 1, 20, 32, 48, 63, 64 } do
            table.insert(cases, { text:sub(1, n), len })
            table.insert(expected, ("%d %s"):format(len, hex.encode(text:sub(1, n))))
         end
      end
      local lines = python.run([[
import hashlib
for line in lines:
    length, data = (line + " ").split(" ")[:2]
    print(hashlib.blake2b(bytes.fromhex(data), digest_size=int(length)).hexdigest())
]], expected)
      for i, case in ipairs(cases) do
         assert.equal(lines[i], hex.encode(crypto.blake2b({ case[1] }, case[2])))
         assert.equal(lines[i], hex.encode(crypto.blake2b({ case[1]:sub(1, 100), "", case[1]:sub(101) }, case[2])))
      end
   end)
end)

describe("Argon2", function()
   local function settings(changes)
      local made = { kind = "id", memory = 32, passes = 3, lanes = 4, salt = ("\2"):rep(16), secret = ("\3"):rep(8),
         associated = ("\4"):rep(12), len = 32 }
      for name, value in pairs(changes) do
         made[name] = value
      end
      return made
   end

   for kind, tag in pairs{
      d = "512b391b6f1162975371d30919734294f868e3be3984f3c1a13a4db9fabe4acb",
      i = "c814d9d1dc7f37aa13f0d77f2494bda1c8de6b016dd388d29952a4c4672b6ce8",
      id = "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659",
   } do
      it(kind .. " gives the tag of RFC 9106, section 5", function()
         assert.equal(tag, hex.encode(crypto.argon2(("\1"):rep(32), settings{ kind = kind })))
      end)
   end

   it("has settings within bounds, and computes nothing for others", function()
      for _, changes in ipairs{ { memory = 31 }, { memory = 0 }, { memory = 256 * 1024 + 1 }, { memory = 0xffffffff },
         { passes = 0 }, { passes = 0xffffffff }, { memory = 256 * 1024, passes = 17 }, { lanes = 0 },
         { lanes = 65, memory = 1024 }, { lanes = 0xffffffff }, { salt = "seven.." }, { len = 3 }, { len = 1025 } } do
         local memory = heap.new()
         local none, code = crypto.argon2("pw", settings(changes), memory)
         assert.is_nil(none)
         assert.equal("limit", code)
         assert.equal(0, memory:allocations())
      end
   end)

   it("gives its memory back, or says that there is none", function()
      local memory = heap.new()
      assert(crypto.argon2("pw", settings{}, memory))
      assert.equal(32 * 1024, memory:peak())
      assert.equal(0, memory:in_use())
      local none, code = crypto.argon2("pw", settings{}, heap.new(1))
      assert.is_nil(none)
      assert.equal("memory", code)
   end)
end)
