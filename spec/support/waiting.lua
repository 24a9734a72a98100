-- Waiting and timing out in specs, so that nothing depends on how busy the machine is.
--
--    waiting.await(function() return seen end, "the handler's end")           asks again, while the tasks go on
--    memory.connect{ session = { loop = waiting.clock() } }      time that passes only where nothing happens
--    waiting.longer(function(timeout) … end, function(_, err) return err.stage == "auth" end)
--    local ticks <close> = waiting.ticks(0.05)      sleeps of that length end at ticks:tick()

local builtin = require "moonssh.loop.poll"
local loop = require "moonssh.loop"

local waiting = {}

-- What is awaited comes; this is for code that is broken.
local PATIENCE = 60

-- Timeouts that are tried, in seconds.
local FIRST, LAST = 0.05, 30

-- Lets the loop run until the condition gives a true value, which is returned.
function waiting.await(condition, what)
   local deadline = builtin.now() + PATIENCE
   local value = condition()
   while not value do
      if builtin.now() > deadline then
         error(("waited %d s in vain for %s"):format(PATIENCE, what or "a condition"), 2)
      end
      loop.sleep(0.001)
      value = condition()
   end
   return value
end

-- The built-in loop with a clock of its own, which moves by the time that something was waited for in vain. A deadline
-- on it never passes while there is something to do, however long that takes. clock.pass(seconds) moves it as well.
function waiting.clock()
   local time = builtin.now()
   local function after(began, timeout, result, why)
      if why == "timeout" then
         time = math.max(time, began + timeout)
      end
      return result, why
   end
   return setmetatable({
      now = function()
         return time
      end,
      wait = function(fd, events, timeout)
         return after(time, timeout, builtin.wait(fd, events, timeout))
      end,
      park = function(token, timeout)
         return after(time, timeout, builtin.park(token, timeout))
      end,
      pass = function(seconds)
         time = time + seconds
      end,
      alone = false, -- nothing is waited for beside this clock
   }, { __index = builtin })
end

-- Calls f with longer and longer timeouts until good(its results) is true: how far something gets before a real
-- timeout is not known beforehand. Gives the last results.
function waiting.longer(f, good)
   local timeout = FIRST
   while true do
      local results = table.pack(f(timeout))
      if timeout > LAST or good(table.unpack(results, 1, results.n)) then
         return table.unpack(results, 1, results.n)
      end
      timeout = timeout * 2
   end
end

local Ticks = {}
Ticks.__index = Ticks

-- Ends the sleeps of that length that have begun; those who slept run when the loop does.
function Ticks:tick()
   local tokens = self.tokens
   self.tokens = {}
   for _, token in ipairs(tokens) do
      builtin.unpark(token)
   end
end

function Ticks:__close()
   loop.sleep = self.sleep
   self:tick()
end

function waiting.ticks(length)
   local self = setmetatable({ tokens = {}, sleep = loop.sleep }, Ticks)
   function loop.sleep(seconds)
      if seconds ~= length then
         return self.sleep(seconds)
      end
      local token = builtin.token()
      table.insert(self.tokens, token)
      builtin.park(token)
   end
   return self
end

return waiting
