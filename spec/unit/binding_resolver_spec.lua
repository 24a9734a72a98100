-- core.resolve: names to addresses, without waiting.

local core = require "moonssh.core"
local process = require "spec.support.process"
local state = require "moonssh_testing".state

local function raises(pattern, f)
   local ok, message = pcall(f)
   assert.is_false(ok)
   assert.truthy(tostring(message):find(pattern), ("%q does not match %q"):format(message, pattern))
end

local function wait(resolver)
   local poller <close> = core.poller()
   poller:set(resolver:fd(), "r")
   assert.is_true(select(2, poller:wait(60)) > 0)
end

local function list(...)
   local resolver <close> = assert(core.resolve(...))
   wait(resolver)
   return resolver:result()
end

describe("core.resolve", function()
   it("gives a numeric address at once", function()
      local resolver <close> = core.resolve("192.0.2.1", 22)
      assert.same({ { family = "inet", text = "192.0.2.1", port = 22,
         sockaddr = "\2\0\0\22\192\0\2\1" .. ("\0"):rep(8) } }, resolver:result())
      wait(resolver)
      local six <close> = core.resolve("2001:db8::1", 65535)
      assert.same({ { family = "inet6", text = "2001:db8::1", port = 65535,
         sockaddr = "\10\0\255\255\0\0\0\0\32\1\13\184" .. ("\0"):rep(11) .. "\1" .. ("\0"):rep(4) } }, six:result())
   end)

   it("keeps the zone of an address", function()
      local found = list("fe80::1%lo", 22)
      assert.equal("fe80::1%lo", found[1].text)
      assert.equal(string.pack("<I4", 1), found[1].sockaddr:sub(-4))
   end)

   it("starts no thread for a numeric address", function()
      local result = process.run{ process.lua, "-e", [[
         local core = require "moonssh.core"
         local function threads()
            local n = 0
            for _ in io.popen("ls /proc/" .. require "moonssh_testing".process.pid() .. "/task"):lines() do
               n = n + 1
            end
            return n
         end
         for i = 1, 100 do
            core.resolve("127.0.0.1", i)
            core.resolve("::1", i)
         end
         print(threads())
      ]] }
      assert.equal("1\n", result.stdout)
   end)

   it("finds localhost, of the family that is asked for", function()
      local seen = {}
      for _, found in ipairs(list("localhost", 22)) do
         seen[found.text] = found.family
         assert.equal(22, found.port)
      end
      assert.equal("inet", seen["127.0.0.1"] or seen["::1"] and "inet")
      for _, found in ipairs(list("localhost", 22, "inet")) do
         assert.equal("inet", found.family)
      end
      local six = list("localhost", 22, "inet6")
      for _, found in ipairs(six or {}) do
         assert.equal("inet6", found.family)
      end
      assert.equal("127.0.0.1", list("LOCALHOST", 22, "inet")[1].text)
   end)

   it("gives one entry an address, in stream sockets alone", function()
      local seen = {}
      for _, found in ipairs(list("localhost", 1)) do
         assert.is_nil(seen[found.text])
         seen[found.text] = true
      end
   end)

   it("says that it is not there yet, then the result as often as asked", function()
      local resolver <close> = core.resolve("localhost", 22, "inet")
      local result, code = resolver:result()
      assert.is_true(result ~= nil or code == "again")
      wait(resolver)
      assert.equal("127.0.0.1", resolver:result()[1].text)
      collectgarbage()
      assert.equal("127.0.0.1", resolver:result()[1].text)
   end)

   it("says why there is no address", function()
      for _, name in ipairs{ "no-such-name.invalid", "", "a..b", ("x"):rep(300), "name with spaces", "127.0.0.1.5" } do
         local found, code, message = list(name, 22)
         assert.is_nil(found)
         assert.equal("resolve", code)
         assert.truthy(#message > 5)
      end
      assert.equal("resolve", select(2, list("::1", 22, "inet")))
      assert.same({ nil, "resolve", "the host name is too long" }, { core.resolve(("x"):rep(1025), 22) })
   end)

   it("raises for what is no name, port or family", function()
      raises("bad argument #1 to 'resolve' %(string contains zeros%)", function() core.resolve("a\0b", 22) end)
      raises("bad argument #1 to 'resolve' %(string expected", function() core.resolve(nil, 22) end)
      for _, port in ipairs{ -1, 65536, 1 << 32 } do
         raises("bad argument #2 to 'resolve' %(value out of range%)", function() core.resolve("a", port) end)
      end
      raises("bad argument #2 to 'resolve' %(number has no integer", function() core.resolve("a", 22.5) end)
      raises("bad argument #2 to 'resolve' %(number expected", function() core.resolve("a", "ssh") end)
      raises("bad argument #3 to 'resolve' %(invalid option 'ipx'%)", function() core.resolve("a", 22, "ipx") end)
   end)

   it("may be closed, dropped, and its state ended, while the thread is at work", function()
      for _ = 1, 20 do
         core.resolve("localhost", 22):close()
         core.resolve("no-such-name.invalid", 22)
         collectgarbage()
      end
      for _ = 1, 20 do
         local run = state.run{ code = [[
            local core = require "moonssh.core"
            local list = {}
            for i = 1, 5 do
               list[i] = core.resolve("localhost", i)
            end
            return #list
         ]] }
         assert.equal("5", run.result)
         assert.equal(0, run.live)
      end
   end)

   it("gives its descriptors back", function()
      local function count()
         local pipe <close> = io.popen(("ls /proc/%d/fd"):format(process.pid()))
         return select(2, pipe:read("a"):gsub("\n", ""))
      end
      local before = count()
      local all = {}
      for i = 1, 20 do
         all[i] = core.resolve("localhost", i)
      end
      for i = 1, 20 do
         wait(all[i])
         all[i]:close()
      end
      -- The thread lets go of its share just after it has said that it is done.
      process.wait_until(function() return count() <= before end, 60, "the descriptors")
   end)
end)
