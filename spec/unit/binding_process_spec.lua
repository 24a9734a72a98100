local core = require "moonssh.core"
local process = require "spec.support.process"

-- The end of a program, waited for.
local function ended(child)
   local how, status
   process.wait_until(function()
      how, status = child:wait()
      return how
   end, 60, "the end of the program")
   return how, status
end

local function read_all(fd)
   local text = ""
   while true do
      local piece, _, message, errno = core.socket.recv(fd)
      if piece == "" then
         return text
      elseif piece then
         text = text .. piece
      else
         assert(errno == core.EAGAIN, message)
         process.wait_until(function()
            local poller <close> = core.poller()
            assert(poller:set(fd, "r"))
            local _, n = poller:wait(1)
            return n > 0
         end, 60, "something to read")
      end
   end
end

describe("a program that the core has started", function()
   it("tells how it ended, once and for all", function()
      local child <close> = assert(core.process.spawn{ "sh", "-c", "exit 7" })
      assert.equal("integer", math.type(child:pid()))
      assert.same({ "exit", 7 }, { ended(child) })
      assert.same({ "exit", 7 }, { child:wait() })
      assert.is_nil(child:pid())
      local killed <close> = assert(core.process.spawn{ "sh", "-c", "kill -9 $$" })
      assert.same({ "signal", 9 }, { ended(killed) })
   end)

   it("is an error where there is none of that name", function()
      assert.same({ n = 4, [2] = "io", [3] = "No such file or directory", [4] = 2 },
         table.pack(core.process.spawn{ "no-such-program" }))
   end)

   it("has a descriptor that can be waited for", function()
      local child <close> = assert(core.process.spawn{ "true" })
      local poller <close> = core.poller()
      assert(poller:set(assert(child:fd()), "r"))
      process.wait_until(function()
         local _, n = poller:wait(1)
         return n > 0
      end, 60, "the end of the program")
      assert.equal("exit", (child:wait()))
   end)

   it("reads and writes what it is given, and has no other descriptor of ours", function()
      local ours, theirs = assert(core.socket.pair())
      local kept = assert(io.open("/dev/null"))
      local child <close> = assert(core.process.spawn({ "sh", "-c", "cat; ls /proc/self/fd | tr '\\n' ' '" }, theirs,
         theirs))
      core.socket.close(theirs)
      assert(core.socket.send(ours, "hello\n"))
      core.socket.shutdown(ours)
      assert.equal("hello\n0 1 2 3 ", read_all(ours)) -- 3 is that of ls itself
      core.socket.close(ours)
      kept:close()
      assert.same({ "exit", 0 }, { ended(child) })
   end)

   it("gets nothing to read where nothing is given", function()
      local child <close> = assert(core.process.spawn{ "sh", "-c", "read x; test -z \"$x\"" })
      assert.same({ "exit", 0 }, { ended(child) })
   end)

   it("is killed when it is closed, or nobody holds it any more", function()
      local child = assert(core.process.spawn{ "sleep", "1000" })
      local pid = child:pid()
      assert.same({ n = 2, [2] = "again" }, table.pack(child:wait()))
      child:close()
      assert.is_false(process.alive(pid))
      assert.error_matches(function() child:wait() end, "closed")
      child = assert(core.process.spawn{ "sh", "-c", "trap '' HUP; exec sleep 1000" })
      pid = child:pid()
      child = nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
      assert.is_false(process.alive(pid))
   end)

   it("gets a list of strings", function()
      for _, list in ipairs{ {}, { 1 }, { "a\0b" } } do
         assert.has_error(function() core.process.spawn(list) end)
      end
   end)
end)
