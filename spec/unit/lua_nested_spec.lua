-- Code that waits without yielding to the loop (the main program, a coroutine of the user's own in a task) runs the
-- loop from where it stands, and what stands below it cannot go on until it has: then somebody else moves the session.

local memory = require "spec.support.memory"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"

describe("a session", function()
   local session, peers

   before_each(function()
      peers = {}
      session = memory.connect{ server = { exec = function(channel, command)
         peers[command] = channel
      end } }.session
   end)

   after_each(function()
      session:close()
   end)

   -- Calls f in a coroutine of its own.
   local function apart(f)
      return coroutine.wrap(f)()
   end

   local function read_by(channel)
      return function()
         return channel.stdout._busy
      end
   end

   -- Two waits, one above the other: that of this program, for `lower`, and that of a coroutine in a task, which begins
   -- once `ready` holds as well. → that task, what waits for its wait, and the lower wait
   local function stack(lower, ready, upper)
      local above = false
      local task = ssh.spawn(function()
         waiting.await(read_by(lower))
         waiting.await(ready)
         local result = apart(function()
            above = true
            return upper()
         end)
         peers.lower:write("the end")
         return result
      end)
      return task, function()
         waiting.await(function()
            return above
         end)
      end, function()
         assert.equal("the end", lower:read())
      end
   end

   -- What the upper wait needs comes only once both wait.
   local function assert_moves(task, reached, wait_below)
      ssh.spawn(function()
         reached()
         peers.first:write("x")
      end)
      wait_below()
      assert.equal("x", task:wait())
   end

   it("is led by the code above, where the turn of what waits below it has come", function()
      local first, lower, upper = session:exec("first"), session:exec("lower"), session:exec("upper")
      local leader = ssh.spawn(function()
         return first:read()
      end)
      waiting.await(read_by(first))
      local task, reached, wait_below = stack(lower, read_by(lower), function()
         return upper:read()
      end)
      ssh.spawn(function()
         reached()
         peers.first:write("go")
         leader:wait()
         peers.upper:write("x")
      end)
      wait_below()
      assert.equal("go", leader:wait())
      assert.equal("x", task:wait())
   end)

   it("is led by a task, where the code that leads stands below code that waits for that task", function()
      local first, lower = session:exec("first"), session:exec("lower")
      local reader
      local task, reached, wait_below = stack(lower, read_by(lower), function()
         reader = ssh.spawn(function()
            return first:read()
         end)
         return reader:wait()
      end)
      assert_moves(task, reached, wait_below)
   end)

   it("is led by a task that waited already when the code that leads came to stand below", function()
      local first, lower = session:exec("first"), session:exec("lower")
      local reader = ssh.spawn(function()
         waiting.await(read_by(lower))
         return first:read()
      end)
      local task, reached, wait_below = stack(lower, read_by(first), function()
         return reader:wait()
      end)
      assert_moves(task, reached, wait_below)
   end)
end)

describe("loop.run", function()
   it("in a coroutine within a task waits for its function alone", function()
      local task = ssh.spawn(function()
         return coroutine.wrap(function()
            return ssh.loop.run(function()
               ssh.loop.sleep(0.001)
               return "inner"
            end)
         end)()
      end)
      assert.equal("inner", task:wait(60))
   end)
end)
