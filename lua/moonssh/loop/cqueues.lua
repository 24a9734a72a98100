-- cqueues. Calls wait in the coroutines of a controller. In the main program they are put on a controller of this
-- module, which is stepped until they are done, and which runs the tasks that were started there.

local cqueues = require "cqueues"
local condition = require "cqueues.condition"

local controller -- for the main program

---@type moonssh.adapter
local adapter = { now = cqueues.monotime, cancel = cqueues.cancel }

local function of_main()
   controller = controller or cqueues.new()
   return controller
end

-- Calls f(...) in a coroutine of a controller. In one that such a coroutine has made, what cqueues yields would come
-- out of the coroutine's resume.
local function within(f, ...)
   local running, directly = cqueues.running()
   if directly then
      return f(...)
   elseif running then
      error("a call that waits, in a coroutine that cqueues does not run", 0)
   end
   local arguments = table.pack(...)
   local results
   of_main():wrap(function()
      results = table.pack(f(table.unpack(arguments, 1, arguments.n)))
   end)
   while not results do
      local ok, message = controller:step()
      if not ok then
         error(message)
      end
   end
   return table.unpack(results, 1, results.n)
end

-- A number that poll is given is a timeout; it gives back what is ready.
local function wait(fd, events, timeout)
   local object = { pollfd = fd, events = events }
   if timeout == nil then
      cqueues.poll(object)
      return true
   end
   local ready = cqueues.poll(object, timeout)
   if ready == object then
      return true
   end
   return nil, "timeout"
end

function adapter.wait(fd, events, timeout)
   return within(wait, fd, events, timeout)
end

--- A token has a condition once somebody waits.
function adapter.token()
   return { n = 0 }
end

local function park(token, timeout)
   token.signal = token.signal or condition.new()
   token.n = token.n + 1
   local woken = token.signal:wait(timeout)
   token.n = token.n - 1
   if token.set then
      token.set = nil
      return true
   end
   return woken or nil, "timeout"
end

function adapter.park(token, timeout)
   if token.set then
      token.set = nil
      return true
   end
   return within(park, token, timeout)
end

function adapter.unpark(token)
   token.set = true
   if token.n > 0 then
      token.signal:signal()
   end
end

local queues = setmetatable({}, { __mode = "k" }) -- controller → functions that it has not begun

-- A controller begins with what it was given last; tasks begin in the order in which they were spawned.
function adapter.spawn(f)
   local used = cqueues.running() or of_main()
   local queue = queues[used] or { first = 1, last = 0 }
   queues[used] = queue
   queue.last = queue.last + 1
   queue[queue.last] = f
   used:wrap(function()
      local next_f = queue[queue.first]
      queue[queue.first] = nil
      queue.first = queue.first + 1
      next_f()
   end)
end

return adapter
