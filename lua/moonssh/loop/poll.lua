-- The built-in loop: tasks are coroutines, and one poller waits for all of them.
--
-- Whatever waits is a *wait*, see moonssh.loop.waits. A task that waits yields to the loop. Anything else that waits
-- (the main program, a coroutine of the user's, code that cannot yield) runs the loop from where it stands until its
-- wait was fired. A task further down that stack is not waiting, so nothing resumes it a second time.

local core = require "moonssh.core"
local errors = require "moonssh.errors"
local Waits = require "moonssh.loop.waits"

local now = core.now
local running, isyieldable = coroutine.running, coroutine.isyieldable
local yield = coroutine.yield
local describe, pack, unpack = errors.describe, table.pack, table.unpack

---@class moonssh.loop.poll : moonssh.adapter
local poll = {}

-- What a task's coroutine yields to the loop: it waits, it has ended, it is to be closed. Anything else that is
-- yielded gives way to the others.
local WAITS, ENDED, CANCELLED = {}, {}, {}

-- So many coroutines of ended tasks are kept for the next ones.
local IDLE_MAX = 32

local fibers = setmetatable({}, { __mode = "k" }) -- coroutine → fiber
local idle = {}
local ready, first_ready, last_ready = {}, 1, 0
local current -- the fiber that is running
local alive = 0 -- fibers that have not ended, without those in the background
local awaited -- the fiber that run_all was called for, and what it has the loop stop with: { fiber =, fired = }
local below = false -- the wait for which the loop is run on top of it; `below` in it is the one further down
local depth = 0 -- how many waits the loop is run for, one on top of the other
local bury = false -- called when there is one more: see poll.on_nesting
local hurried = false -- whether a task is run from below on the stack only until it waits

local function make_ready(fiber)
   last_ready = last_ready + 1
   ready[last_ready] = fiber
end

local waits = Waits.new(function(wait)
   if wait.fiber then
      make_ready(wait.fiber)
   end
end)
local timers = waits.timers

-- Fibers: what the loop runs -----------------------------------------------------------------------------------------

-- The body of every coroutine of the loop: runs one fiber after the other, and holds none in between. Its stack is most
-- of what a waiting task takes, so nothing stands between it and the function.
local function body(fiber, f)
   while true do
      fiber.results = pack(xpcall(f, describe, unpack(fiber, 1, fiber.n or 0)))
      fiber, f = nil, nil -- luacheck: ignore
      fiber, f = yield(ENDED)
   end
end

-- Before it begins, its function stands in the coroutine's place. `finish(fiber)` is called at the end; then
-- fiber.results is what table.pack gives of true and the results, or of false and { cause =, traceback = }; a cancelled
-- fiber has none.
local function new_fiber(f, finish, background, ...)
   local fiber = { co = f, finish = finish, wait = false, ... }
   if background then
      fiber.background = true
   else
      alive = alive + 1
   end
   local n = select("#", ...)
   if n > 0 then
      fiber.n = n
   end
   return fiber
end

local function finished(fiber)
   fiber.done = true
   if fiber.co then
      fibers[fiber.co] = nil
      fiber.co = false
   end
   if not fiber.background then
      alive = alive - 1
   end
   if awaited and (alive == 0 or fiber == awaited.fiber) then
      awaited.fired = true -- what goes on in the background is not waited for
   end
   if fiber.finish then
      fiber.finish(fiber)
   end
end

-- Ends a suspended fiber where it waits. Its closing values may wait: they run the loop from here.
local function close(fiber)
   local co = fiber.co
   if fiber.wait then
      waits:detach(fiber.wait)
   end
   fiber.done, fiber.closing = true, true
   local previous = current
   current = fiber
   local ok, cause = coroutine.close(co)
   current = previous
   if not ok then
      fiber.results = table.pack(false, errors.described(cause))
   end
   finished(fiber)
end

-- Resumes a fiber until it waits or ends.
local function run(fiber)
   local previous = current
   local co, argument, f = fiber.co, nil, nil
   if type(co) ~= "thread" then
      argument, f = fiber, co
      co = table.remove(idle) or coroutine.create(body)
      fiber.co = co
      fibers[co] = fiber
   end
   current = fiber
   local ok, signal = coroutine.resume(co, argument, f)
   current = previous
   if not ok then
      fiber.results = table.pack(false, { cause = signal, traceback = debug.traceback(co, errors.text(signal)) })
      coroutine.close(co)
      finished(fiber)
   elseif signal == ENDED then
      local results = fiber.results
      if not results[1] then
         results[2] = errors.described(results[2])
      end
      finished(fiber)
      if #idle < IDLE_MAX then
         table.insert(idle, co)
      end
   elseif signal == CANCELLED then
      close(fiber)
   elseif signal ~= WAITS then
      make_ready(fiber)
   end
end

-- One turn: what is ready runs, then the poller is asked, for at most `most` seconds. It stops early when `wait` was
-- fired, and gives false when nothing could ever happen.
local function turn(wait, most)
   for _ = first_ready, last_ready do
      if first_ready > last_ready then
         break
      end
      local fiber = ready[first_ready]
      ready[first_ready] = nil
      first_ready = first_ready + 1
      if not fiber.done then
         run(fiber)
      end
      if wait.fired then
         return true
      end
   end
   local timeout = most
   if first_ready <= last_ready then
      timeout = 0
   elseif timers[1] then
      timeout = waits:due()
      timeout = most and math.min(most, timeout) or timeout
   elseif waits.watching == 0 and not most then
      return false
   end
   waits:take(timeout)
   return true
end

-- Runs the loop until a wait is fired, for whoever cannot yield to it. Within a task (a coroutine of the user's in it,
-- say) the task's cancellation ends this wait with an error.
local function run_nested(wait)
   local fiber = current
   local outer = fiber and fiber.nested
   local cancelled = fiber and fiber.cancelled and not fiber.closing
   local possible = true
   if fiber then
      fiber.nested = wait
   end
   wait.below, below, depth = below, wait, depth + 1
   if bury and depth > 1 then
      bury()
   end
   while possible and not cancelled and not wait.fired do
      possible = turn(wait)
   end
   below, depth = wait.below, depth - 1
   if fiber then
      fiber.nested = outer
   end
   waits:detach(wait)
   if cancelled or wait.why == "cancelled" then
      error(errors.new("cancelled", "the task was cancelled"), 0)
   elseif not possible then
      error("deadlock: this waits for something that nothing is left to do", 0)
   end
end

local function block(wait)
   local fiber = fibers[running()]
   if not fiber or fiber.closing or not isyieldable() then
      run_nested(wait)
      return wait.result, wait.why
   end
   if fiber.cancelled then
      waits:detach(wait)
      yield(CANCELLED)
   end
   if wait.fired then
      make_ready(fiber)
   end
   wait.fiber, fiber.wait = fiber, wait
   repeat
      yield(WAITS)
   until wait.fired
   fiber.wait = false
   return wait.result, wait.why
end

-- Waits for a descriptor without the poller; false when the time is up, or may be for somebody else.
local function wait_in_place(fd, events, at)
   local timer = timers[1]
   if timer and (not at or timer.at < at) then
      at = timer.at
   end
   return core.wait(fd, events, at)
end

-- The adapter's face -------------------------------------------------------------------------------------------------

poll.now = now

-- Whether somebody below on the stack is to go on as soon as the running fiber waits.
local function is_awaited()
   local wait = below
   while wait and not wait.fired do
      wait = wait.below
   end
   return hurried or wait ~= false
end

--- Whether nothing could happen while the caller waits in place, without the loop, and until when that holds (nil: for
--- ever): no task is ready, nobody waits for a descriptor, and nobody below on the stack is to go on. Most programs
--- have one session and wait like this.
---@return boolean, number|nil
function poll.alone()
   local fiber = current
   local timer = timers[1]
   return waits.watching == 0 and first_ready > last_ready and not is_awaited()
      and not (fiber and (fiber.cancelled or fiber.nested)), timer and timer.at
end

--- Waits until the descriptor may be ready ("r", "w" or "rw"). → true | nil, "timeout"
function poll.wait(fd, events, timeout)
   local at = timeout and now() + timeout
   if poll.alone() and wait_in_place(fd, events, at) then
      return true
   end
   local wait = {}
   waits:watch(wait, fd, events)
   waits:limit_at(wait, at)
   return block(wait)
end

--- Waits for any of { { fd, events }, … }. → its index | nil, "timeout"
function poll.wait_any(list, timeout)
   local only = not list[2] and list[1]
   if only then
      local ok, why = poll.wait(only[1], only[2], timeout)
      return ok and 1, why
   end
   local wait = {}
   waits:watch_any(wait, list)
   waits:limit(wait, timeout)
   return block(wait)
end

--- Wakes whoever waits for the descriptor, and forgets it: it is about to be closed.
function poll.cancel(fd)
   waits:cancel(fd)
end

--- Stops watching a descriptor that nobody waits for.
function poll.forget(fd)
   waits:forget(fd)
end

function poll.sleep(seconds)
   local wait = { at = now() + (seconds > 0 and seconds or 0) }
   if seconds < math.huge then
      timers:add(wait)
   end
   return block(wait)
end

--- Something to park on: one waits, others unpark. An unpark that comes first is kept.
function poll.token()
   return {}
end

--- → true | nil, "timeout"
function poll.park(token, timeout)
   if token.set then
      token.set = nil
      return true
   end
   local wait = {}
   waits:park(wait, token)
   waits:limit(wait, timeout)
   return block(wait)
end

function poll.unpark(token)
   waits:unpark(token)
end

--- Runs f(...) as a task at the next turn. `finish(fiber)` is called at its end, see new_fiber.
function poll.spawn(f, finish, ...)
   local fiber = new_fiber(f, finish, nil, ...)
   make_ready(fiber)
   return fiber
end

--- As spawn, for what goes on in the background: loop.run does not wait for it.
function poll.spawn_background(f, finish, ...)
   local fiber = new_fiber(f, finish, true, ...)
   make_ready(fiber)
   return fiber
end

--- Runs f(...) as a task from here until its first wait. The fiber is `done` if it has ended by then.
function poll.start(f, finish, ...)
   local fiber = new_fiber(f, finish, nil, ...)
   local outer = hurried
   hurried = true
   run(fiber)
   hurried = outer
   return fiber
end

-- As start; the loop of another scheduler may have to wait in that.
poll.start_later = poll.start

--- Ends a fiber where it waits, or else at its next wait.
function poll.cancel_fiber(fiber)
   if fiber.done or fiber.cancelled then
      return
   end
   fiber.cancelled = true
   if type(fiber.co) ~= "thread" then
      finished(fiber)
   elseif coroutine.status(fiber.co) == "suspended" then
      close(fiber)
   elseif fiber.nested then
      waits:fire(fiber.nested, nil, "cancelled")
   end
end

--- The fiber that is running, or nil.
function poll.running()
   return fibers[running()]
end

--- Whether a fiber is running, or a coroutine that was resumed in one.
function poll.is_within()
   return current ~= nil
end

--- Whether what is running now would yield to the loop in a wait, and not run it from where it stands.
function poll.can_yield()
   local fiber = fibers[running()]
   return fiber ~= nil and not fiber.closing and isyieldable()
end

--- How many waits run the loop from where they stand, each on top of the one before: only what the last one runs, and
--- that itself, can go on.
---@return integer
function poll.depth()
   return depth
end

--- Has f called whenever one more wait runs the loop on top of others.
---@param f function
function poll.on_nesting(f)
   bury = f
end

--- Runs what is ready, and takes what has become ready, without waiting.
function poll.turn()
   local outer = hurried
   hurried = true
   turn({}, 0)
   hurried = outer
end

--- When a turn has something to do without any descriptor being ready, or nil.
---@return number|nil
function poll.due()
   local timer = timers[1]
   return first_ready <= last_ready and now() or timer and timer.at
end

--- Runs the loop until no task is left, or this fiber has failed.
function poll.run_all(fiber)
   local outer = awaited
   local own = { fiber = fiber }
   local deadlock
   while alive > 0 and not deadlock and not (fiber.done and fiber.results and not fiber.results[1]) do
      awaited, own.fired = own, false
      deadlock = not turn(own) and alive > 0
   end
   awaited = outer
   if deadlock then
      error(("deadlock: %d task(s) wait for something that nothing is left to do"):format(alive), 0)
   end
end

return poll
