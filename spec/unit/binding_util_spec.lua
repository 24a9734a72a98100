-- The module itself and its small functions: clock, randomness, hashes, comparison, base64, escaping.

local core = require "moonssh.core"
local state = require "moonssh_testing".state

-- Lower-case hex, as the published vectors are printed.
local function hex(bytes)
   return (bytes:gsub(".", function(c)
      return ("%02x"):format(c:byte())
   end))
end

local function raises(pattern, f, ...)
   local ok, message = pcall(f, ...)
   assert.is_false(ok)
   assert.truthy(tostring(message):find(pattern), ("%q does not match %q"):format(message, pattern))
end

describe("the core module", function()
   it("can be opened again in the same state", function()
      local first = package.loaded["moonssh.core"]
      package.loaded["moonssh.core"] = nil
      local second = require "moonssh.core"
      package.loaded["moonssh.core"] = first
      assert.is_not.equal(first, second)
      local poller <close> = second.poller()
      local other <close> = first.poller()
      local list, n = other.wait(poller, 0)
      assert.same({}, list)
      assert.equal(0, n)
   end)

   it("tells its version and the errno values that mean to try again", function()
      assert.truthy(core.version:find("^%d+%.%d+%.%d+$"))
      assert.equal(11, core.EAGAIN)
      assert.equal(4, core.EINTR)
   end)

   it("works in several states of several threads at once", function()
      local results = state.threads(8, [[
         local core = require "moonssh.core"
         local sum = 0
         for i = 1, 50 do
            local key <close> = core.key.generate("ed25519")
            local data = core.random(100)
            assert(key:verify(data, key:sign(data, "ssh-ed25519"), "ssh-ed25519"))
            local resolver <close> = core.resolve("127.0.0.1", i)
            sum = sum + resolver:result()[1].port
            local poller <close> = core.poller()
            assert(poller:set(resolver:fd(), "r"))
            local list, n = poller:wait(60)
            assert(n == 2 and list[1] == resolver:fd() and list[2] == "r")
         end
         return sum
      ]])
      assert.equal(8, #results)
      for _, result in ipairs(results) do
         assert.equal("1275", result.result)
         assert.is_true(result.ok)
         assert.equal(0, result.live)
      end
   end)
end)

describe("core.now", function()
   it("never goes back, and counts seconds", function()
      local last = core.now()
      for _ = 1, 1000 do
         local now = core.now()
         assert.is_true(now >= last)
         assert.is_true(now - last < 60)
         last = now
      end
      assert.equal("float", math.type(last))
   end)
end)

describe("core.random", function()
   it("gives as many bytes as asked for, other ones each time", function()
      assert.equal("", core.random(0))
      assert.equal(1048576, #core.random(1048576))
      assert.is_not.equal(core.random(16), core.random(16))
   end)

   it("raises for a count that is none", function()
      for _, count in ipairs{ -1, 1048577, math.mininteger, math.maxinteger } do
         raises("bad argument #1 to 'random' %(value out of range%)", function() core.random(count) end)
      end
      for _, count in ipairs{ 1.5, 0 / 0, math.huge } do
         raises("bad argument #1 to 'random' %(number has no integer representation%)", function()
            core.random(count)
         end)
      end
      raises("bad argument #1 to 'random' %(number expected, got nil%)", function() core.random(nil) end)
   end)
end)

describe("core.hash and core.hmac", function()
   it("give the published digests", function()
      assert.equal("900150983cd24fb0d6963f7d28e17f72", hex(core.hash("md5", "abc")))
      assert.equal("a9993e364706816aba3e25717850c26c9cd0d89d", hex(core.hash("sha1", "abc")))
      assert.equal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
         hex(core.hash("sha256", "abc")))
      assert.equal("cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
         .. "8086072ba1e7cc2358baeca134c825a7", hex(core.hash("sha384", "abc")))
      assert.equal("ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
         .. "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f", hex(core.hash("sha512", "abc")))
      -- RFC 4231, test case 2, and RFC 2202, test case 2
      assert.equal("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
         hex(core.hmac("sha256", "Jefe", "what do ya want for nothing?")))
      assert.equal("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
         hex(core.hmac("sha1", "Jefe", "what do ya want for nothing?")))
   end)

   it("take empty and binary strings", function()
      assert.equal("da39a3ee5e6b4b0d3255bfef95601890afd80709", hex(core.hash("sha1", "")))
      assert.equal("5ba93c9db0cff93f52b521d7420e43f6eda2784f", hex(core.hash("sha1", "\0")))
      assert.equal("fbdb1d1b18aa6c08324b7d64b71fb76370690e1d", hex(core.hmac("sha1", "", "")))
   end)

   it("raise for an unknown name and a missing argument", function()
      raises("bad argument #1 to 'hash' %(invalid option 'sha3'%)", function() core.hash("sha3", "") end)
      raises("bad argument #2 to 'hash'", function() core.hash("md5") end)
      raises("bad argument #3 to 'hmac'", function() core.hmac("md5", "") end)
   end)
end)

describe("core.equal", function()
   it("tells whether two strings are the same", function()
      assert.is_true(core.equal("", ""))
      assert.is_true(core.equal("a\0b", "a\0b"))
      assert.is_false(core.equal("a\0b", "a\0c"))
      assert.is_false(core.equal("ab", "abc"))
      assert.is_false(core.equal("", "a"))
   end)
end)

describe("core.base64_encode and core.base64_decode", function()
   -- RFC 4648 section 10
   local vectors = { [""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v", foob = "Zm9vYg==", fooba = "Zm9vYmE=",
      foobar = "Zm9vYmFy" }

   it("give the published encodings and take them back", function()
      for plain, encoded in pairs(vectors) do
         assert.equal(encoded, core.base64_encode(plain))
         assert.equal(plain, core.base64_decode(encoded))
      end
      local bytes = core.random(5000)
      assert.equal(bytes, core.base64_decode(core.base64_encode(bytes)))
   end)

   it("give nil for what is not base64", function()
      for _, text in ipairs{ "Zg=", "Zg", "Z===", "Zm9v!", "Zm9v\0", "====" } do
         assert.is_nil(core.base64_decode(text))
      end
   end)
end)

describe("core.escape", function()
   it("shows control characters, the backslash and bytes from 0x80 as hex", function()
      assert.equal("a b~", core.escape("a b~"))
      assert.equal([[\x1b[31m\x0a\x00\x7f\x5c\x80\xff]], core.escape("\27[31m\n\0\127\\\128\255"))
   end)

   it("cuts to the length given, 256 without one", function()
      assert.equal(256, #core.escape(("x"):rep(10000)))
      assert.equal(("x"):rep(253) .. "...", core.escape(("x"):rep(10000)))
      assert.equal("abc", core.escape("abc", 3))
      assert.equal("...", core.escape("abcd", 3))
      assert.equal("", core.escape("abcd", 0))
   end)
end)
