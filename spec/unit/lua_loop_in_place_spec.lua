-- Waiting for a descriptor in place, without the loop's poller.

local builtin = require "moonssh.loop.poll"
local core = require "moonssh.core"
local ssh = require "moonssh"

describe("a task that waits for a descriptor", function()
   it("does so in the loop where it has woken the code that runs it", function()
      local a, b = core.socket.pair()
      local real, waited_in_place = core.wait, false
      finally(function() core.wait = real end)
      function core.wait()
         waited_in_place = true
         return false
      end
      local token = builtin.token()
      local task = ssh.spawn(function()
         builtin.unpark(token)
         return builtin.wait(a, "r", 60)
      end)
      assert.is_true(builtin.park(token, 60))
      assert.is_false(waited_in_place)
      core.socket.send(b, "x")
      assert.is_true(task:wait(60))
      core.socket.close(a)
      core.socket.close(b)
   end)

   it("waits for the only one of a list by the same time of day", function()
      local a, b = core.socket.pair()
      core.socket.send(b, "x")
      local real, at = core.wait, nil
      finally(function() core.wait = real end)
      function core.wait(fd, events, time)
         at = time
         return real(fd, events, time)
      end
      local from = core.now()
      assert.equal(1, builtin.wait_any({ { a, "r" } }, 60))
      assert.is_true(at >= from + 60)
      core.socket.close(a)
      core.socket.close(b)
   end)
end)
