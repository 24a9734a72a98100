-- A scheduler made by hand: the documented functions and no more, on LuaSocket's select.

local behaviour = require "spec.support.loop_behaviour"
local socket = require "socket"

local parked, waiting = {}, {} -- token → coroutine; list of { fd =, events =, at =, co = }
local ready = {}
local adapter = {}

function adapter.now()
   return socket.gettime()
end

local function object(fd)
   return { getfd = function() return fd end, dirty = function() return false end }
end

-- One turn: waits for what somebody waits for, and goes on with it.
local function turn()
   local reads, writes, soonest = {}, {}, ready[1] and 0 or nil
   for _, wait in ipairs(waiting) do
      if wait.fd then
         wait.object = object(wait.fd)
         table.insert(wait.events ~= "w" and reads or writes, wait.object)
         if wait.events == "rw" then
            table.insert(writes, wait.object)
         end
      end
      local left = wait.at and math.max(0, wait.at - adapter.now())
      soonest = left and math.min(soonest or left, left) or soonest
   end
   local may_read, may_write = socket.select(reads, writes, soonest)
   for i = #waiting, 1, -1 do
      local wait = waiting[i]
      local is_ready = wait.object and (may_read[wait.object] or may_write[wait.object])
      if is_ready or wait.done or wait.at and wait.at <= adapter.now() then
         table.remove(waiting, i)
         wait.done = wait.done or is_ready and "ready" or "timeout"
         table.insert(ready, wait)
      end
   end
   local batch = ready
   ready = {}
   for _, wait in ipairs(batch) do
      if wait.co then
         assert(coroutine.resume(wait.co))
      end
   end
end

-- The main program runs the scheduler meanwhile.
local function block(wait)
   table.insert(waiting, wait)
   if coroutine.isyieldable() then
      wait.co = coroutine.running()
      coroutine.yield()
   else
      repeat
         turn()
      until wait.done
   end
   if wait.done == "timeout" then
      return nil, "timeout"
   end
   return true
end

function adapter.wait(fd, events, timeout)
   return block{ fd = fd, events = events, at = timeout and adapter.now() + timeout }
end

function adapter.token()
   return {}
end

function adapter.park(token, timeout)
   if token.set then
      token.set = nil
      return true
   end
   local wait = { at = timeout and adapter.now() + timeout }
   parked[token] = wait
   local done, why = block(wait)
   parked[token] = nil
   return done, why
end

function adapter.unpark(token)
   local wait = parked[token]
   if wait then
      wait.done, wait.at = "ready", 0
   else
      token.set = true
   end
end

behaviour(_ENV, "a table with the documented functions", adapter, function(f)
   local ended, cause = false, nil
   coroutine.wrap(function()
      local ok, err = xpcall(f, debug.traceback)
      ended, cause = true, not ok and err or nil
   end)()
   while not ended do
      turn()
   end
   assert(not cause, cause)
end)
