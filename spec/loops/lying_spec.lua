-- Schedulers that say that something is ready when it is not, that it is not when it is, too early and too late.

local behaviour = require "spec.support.loop_behaviour"
local light = require "spec.support.light"
local loop = require "moonssh.loop"
local ssh = require "moonssh"
local builtin = require "moonssh.loop.poll"

local moods = { "early", "honest", "timeout", "late", "honest" }
local n = 0

local function mood()
   n = n % #moods + 1
   return moods[n]
end

-- Waits or parks as the mood is; a wait without a limit is never for longer than a moment.
local function lying(wait, timeout)
   local how = mood()
   if how == "early" then
      builtin.sleep(0)
      return true
   elseif how == "timeout" then
      builtin.sleep(0)
      return nil, "timeout"
   elseif how == "late" then
      local done, why = wait(timeout)
      builtin.sleep(0.003)
      return done, why
   end
   return wait(timeout)
end

behaviour(_ENV, "a scheduler that lies", {
   now = builtin.now,
   token = builtin.token,
   unpark = builtin.unpark,
   spawn = builtin.spawn,
   cancel = builtin.cancel,
   wait = function(fd, events, timeout)
      return lying(function(limit)
         return builtin.wait(fd, events, limit)
      end, timeout)
   end,
   park = function(token, timeout)
      return lying(function(limit)
         return builtin.park(token, limit)
      end, timeout)
   end,
}, loop.run)

describe("a scheduler that always says that the time is up, with loop.now for a clock", function()
   it("is not believed", function()
      local server <close> = light.start()
      local function out_of_time()
         builtin.sleep(0.001)
         return nil, "timeout"
      end
      local function clock()
         return ssh.loop.now()
      end
      local previous = loop.use{ now = clock, token = builtin.token, unpark = builtin.unpark, spawn = builtin.spawn,
         wait = out_of_time, park = out_of_time }
      finally(function() loop.use(previous) end)
      local session <close> = assert(server:connect())
      local task = ssh.spawn(function()
         return assert(session:run("sleep 0.01 task")).stdout
      end)
      assert.equal("main\n", assert(session:run("echo main")).stdout)
      assert.equal("task", task:wait(60))
   end)
end)
