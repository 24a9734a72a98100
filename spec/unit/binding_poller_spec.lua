-- The poller, over epoll and over poll alike.

local core = require "moonssh.core"

local function raises(pattern, f, ...)
   local ok, message = pcall(f, ...)
   assert.is_false(ok)
   assert.truthy(tostring(message):find(pattern), ("%q does not match %q"):format(message, pattern))
end

-- What a wait reports, as a table fd -> "r", "w" or "rw", and how many entries there were.
local function ready(poller, timeout)
   local list, n = poller:wait(timeout)
   local result = {}
   for i = 1, n, 2 do
      result[list[i]] = list[i + 1]
   end
   return result, n // 2
end

for _, kind in ipairs{ "epoll", "poll" } do
   describe("the poller over " .. kind, function()
      local poller, a, b

      before_each(function()
         poller = assert(core.poller(kind))
         a, b = assert(core.socket.pair())
      end)

      after_each(function()
         core.socket.close(a)
         core.socket.close(b)
         poller:close()
      end)

      it("reports nothing while nothing is watched", function()
         local list, n = poller:wait(0)
         assert.same({}, list)
         assert.equal(0, n)
         assert.equal(0, select(2, poller:wait(0.001)))
      end)

      it("reports what a descriptor is ready for, of what is asked", function()
         assert.is_true(poller:set(a, "r"))
         assert.same({}, (ready(poller, 0)))
         assert.is_true(poller:set(a, "w"))
         assert.same({ [a] = "w" }, (ready(poller, 0)))
         assert.is_true(poller:set(a, "rw"))
         assert.same({ [a] = "w" }, (ready(poller, 0)))
         core.socket.send(b, "x")
         assert.same({ [a] = "rw" }, (ready(poller, 0)))
         assert.is_true(poller:set(a, "r"))
         assert.same({ [a] = "r" }, (ready(poller)))
      end)

      it("reports again what was not taken", function()
         core.socket.send(b, "x")
         poller:set(a, "r")
         assert.same({ [a] = "r" }, (ready(poller, 0)))
         assert.same({ [a] = "r" }, (ready(poller, 0)))
         core.socket.recv(a)
         assert.same({}, (ready(poller, 0)))
      end)

      it("reports a hang-up as ready for both", function()
         poller:set(a, "r")
         core.socket.close(b)
         b = select(2, core.socket.pair())
         assert.same({ [a] = "rw" }, (ready(poller)))
      end)

      it("stops watching", function()
         core.socket.send(b, "x")
         poller:set(a, "r")
         assert.is_true(poller:set(a, nil))
         assert.is_true(poller:set(a))
         assert.same({}, (ready(poller, 0)))
         assert.is_true(poller:set(a, "r"))
         assert.same({ [a] = "r" }, (ready(poller, 0)))
      end)

      it("forgets what was closed, and takes the number again", function()
         poller:set(a, "rw")
         poller:set(b, "w")
         local number = a
         core.socket.close(a)
         assert.same({ [b] = "rw" }, { [b] = "rw", [a] = ready(poller, 0)[a] })
         assert.is_true(poller:set(number, nil))
         local c, d = core.socket.pair()
         assert.equal(number, c)
         assert.is_true(poller:set(c, "w"))
         assert.equal("w", ready(poller, 0)[c])
         core.socket.close(d)
         a = c
      end)

      it("gives the same list each time", function()
         poller:set(a, "w")
         local first = poller:wait(0)
         local second = poller:wait(0)
         assert.equal(first, second)
         collectgarbage()
         assert.equal(first, (poller:wait(0)))
      end)

      it("ends a wait when something comes from another process", function()
         local process = require "spec.support.process"
         local fd, port = require "moonssh_testing".socket.listen("127.0.0.1", 0)
         poller:set(fd, "r")
         local script = ("local s = require 'moonssh_testing'.socket s.connect('127.0.0.1', %d)"):format(port)
         local child <close> = process.start{ process.lua, "-e", script }
         assert.same({ [fd] = "r" }, (ready(poller, 60)))
         assert.equal("exit", (child:wait(60)))
         core.socket.close(fd)
      end)

      it("raises for what is no descriptor, no event and no time", function()
         raises("bad argument #1 to 'set' %(value out of range%)", function() poller:set(-1, "r") end)
         raises("bad argument #1 to 'set' %(value out of range%)", function() poller:set(1 << 31, "r") end)
         raises("bad argument #1 to 'set' %(number has no integer", function() poller:set(0.5, "r") end)
         raises("bad argument #1 to 'set' %(number expected, got nil%)", function() poller:set(nil, "r") end)
         raises("bad argument #2 to 'set' %(invalid option 'x'%)", function() poller:set(a, "x") end)
         raises("bad argument #2 to 'set' %(invalid option ''%)", function() poller:set(a, "") end)
         raises("bad argument #1 to 'wait' %(number is not a number%)", function() poller:wait(0 / 0) end)
         raises("bad argument #1 to 'wait' %(number expected, got string%)", function() poller:wait("x") end)
         assert.equal(0, select(2, poller:wait(-1)))
         assert.equal(0, select(2, poller:wait(-math.huge)))
         poller:set(a, "w")
         assert.same({ [a] = "w" }, (ready(poller, math.huge)))
         assert.same({ [a] = "w" }, (ready(poller, 1e300)))
      end)

      it("watches more than 1024 descriptors", function()
         local fds = {}
         for _ = 1, 1000 do
            local c, d, message = core.socket.pair()
            if not c then
               pending("only few descriptors may be opened here: " .. tostring(message or d))
               break
            end
            table.insert(fds, c)
            table.insert(fds, d)
         end
         for i = 1, #fds, 2 do
            assert.is_true(poller:set(fds[i], "r"))
         end
         core.socket.send(fds[#fds], "x")
         assert.same({ [fds[#fds - 1]] = "r" }, (ready(poller, 0)))
         -- Each is reported in a few waits, although one wait does not report all.
         for i = 1, #fds, 2 do
            poller:set(fds[i], "w")
         end
         local seen, n = {}, 0
         for _ = 1, 8 do
            for fd in pairs((ready(poller, 0))) do
               n = n + (seen[fd] and 0 or 1)
               seen[fd] = true
            end
         end
         assert.equal(#fds // 2, n)
         for _, fd in ipairs(fds) do
            core.socket.close(fd)
         end
         assert.equal(0, select(2, ready(poller, 0)))
      end)
   end)
end

describe("a poller", function()
   it("is of the kinds that there are", function()
      raises("invalid option 'select'", core.poller, "select")
   end)

   it("ends its wait at a signal, without an error", function()
      local process = require "spec.support.process"
      local result = process.run{ process.lua, "-e", [[
         local core = require "moonssh.core"
         local process = require "moonssh_testing".process
         -- Stopping and continuing interrupts the wait; again and again, since the first may come before it.
         local child = process.spawn({ "sh", "-c", "while kill -STOP $0; do kill -CONT $0; sleep 0.02; done",
            tostring(process.pid()) }, process.environment(), {})
         local poller = core.poller()
         local before = core.now()
         local list, n, message = poller:wait(300)
         print(type(list), n, message, core.now() - before < 299)
         child:close()
      ]] }
      assert.equal("table\t0\tnil\ttrue\n", result.stdout)
   end)

   it("gives its descriptor back when it is closed", function()
      local first = core.poller()
      local a, b = core.socket.pair()
      first:close()
      local second <close> = core.poller()
      local c, d = core.socket.pair()
      assert.equal(b + 1, c)
      for _, fd in ipairs{ a, b, c, d } do
         core.socket.close(fd)
      end
      assert.is_not_nil(second:wait(0))
   end)
end)

describe("the alarm of a poller over epoll", function()
   local poller

   before_each(function()
      poller = assert(core.poller("epoll"))
   end)

   after_each(function()
      poller:close()
   end)

   -- Whether a poller of its own finds the descriptor readable within a minute, or else at once.
   local function rings(timeout)
      local other <close> = assert(core.poller("poll"))
      assert(other:set(poller:fd(), "r"))
      return (ready(other, timeout))[poller:fd()] == "r"
   end

   it("makes its descriptor readable, once", function()
      assert.is_false(rings(0))
      assert.is_true(poller:alarm(0))
      assert.is_true(rings(60))
      assert.same({}, (ready(poller, 0)))
      assert.is_false(rings(0))
      assert.is_true(poller:alarm(0.001))
      assert.is_true(rings(60))
   end)

   it("ends a wait", function()
      assert.is_true(poller:alarm(0.001))
      assert.same({}, (ready(poller, 60)))
   end)

   it("can be put off and moved", function()
      assert.is_true(poller:alarm(0))
      assert.is_true(rings(60))
      assert.is_true(poller:alarm(nil))
      assert.is_false(rings(0))
      assert.is_true(poller:alarm(1e300))
      assert.is_false(rings(0))
   end)

   it("is not one of the descriptors that are reported", function()
      local a, b = assert(core.socket.pair())
      core.socket.send(b, "x")
      assert(poller:set(a, "r"))
      assert(poller:alarm(0))
      assert.is_true(rings(60))
      assert.same({ [a] = "r" }, (ready(poller, 0)))
      core.socket.close(a)
      core.socket.close(b)
   end)

   it("is not to be had over poll", function()
      local other <close> = assert(core.poller("poll"))
      assert.is_nil(other:fd())
      local ok, code = other:alarm(0)
      assert.same({ nil, "io" }, { ok, code })
   end)
end)
