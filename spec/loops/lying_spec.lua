-- Schedulers that say that something is ready when it is not, that it is not when it is, too early and too late.

local behaviour = require "spec.support.loop_behaviour"
local loop = require "moonssh.loop"
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
