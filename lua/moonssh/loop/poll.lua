-- The built-in loop: tasks are coroutines, and one poller waits for all of them.
--
-- Whatever waits is a *wait*: a table that descriptors, a timer or a token may fire, once. A task that waits yields to
-- the loop. Anything else that waits (the main program, a coroutine of the user's, code that cannot yield) runs the
-- loop from where it stands until its wait was fired. A task further down that stack is not waiting, so nothing
-- resumes it a second time.

local core = require "moonssh.core"
local errors = require "moonssh.errors"
local Heap = require "moonssh.loop.heap"

local now = core.now
local running, isyieldable = coroutine.running, coroutine.isyieldable
local yield = coroutine.yield

---@class moonssh.loop.poll : moonssh.adapter
local poll = {}

-- What a task's coroutine yields to the loop: it waits, it has ended, it is to be closed. Anything else that is
-- yielded gives way to the others.
local WAITS, ENDED, CANCELLED = {}, {}, {}

-- So many coroutines of ended tasks are kept for the next ones.
local IDLE_MAX = 32

local poller -- made at the first wait
local timers = Heap.new()
local entries = {} -- fd → { r =, w = } lists of who waits, and `set`: what the poller was told
local n_watching = 0 -- waits for descriptors
local fibers = setmetatable({}, { __mode = "k" }) -- coroutine → fiber
local idle = {}
local ready, first_ready, last_ready = {}, 1, 0
local current -- the fiber that is running
local alive = 0 -- fibers that have not ended, without those in the background

-- Waits --------------------------------------------------------------------------------------------------------------

local function interest(entry)
   return (entry.r[1] and "r" or "") .. (entry.w[1] and "w" or "")
end

local function drop(list, watch)
   for i = #list, 1, -1 do
      if list[i] == watch then
         table.remove(list, i)
      end
   end
end

local function unwatch(watch)
   local entry = entries[watch.fd]
   if entry then
      drop(entry.r, watch)
      drop(entry.w, watch)
   end
   watch.fd = nil
end

-- Takes a wait out of everything that could fire it. The poller is left as it is: most often the next wait is for the
-- same, and a report that nobody waits for corrects it.
local function detach(wait)
   if wait.place then
      timers:remove(wait)
   end
   if wait.fd then
      unwatch(wait)
      n_watching = n_watching - 1
   elseif wait.watches then
      for _, watch in ipairs(wait.watches) do
         unwatch(watch)
      end
      n_watching = n_watching - 1
      wait.watches = nil
   end
   if wait.token then
      wait.token.wait = nil
      wait.token = nil
   end
end

local function make_ready(fiber)
   last_ready = last_ready + 1
   ready[last_ready] = fiber
end

local function fire(wait, result, why)
   if wait.fired then
      return
   end
   wait.fired, wait.result, wait.why = true, result, why
   detach(wait)
   if wait.fiber then
      make_ready(wait.fiber)
   end
end

-- Puts a watch (a wait, or a part of one) on its descriptor. False for a descriptor that the poller cannot watch: a
-- plain file, or none at all. It counts as ready, and reading or writing it then tells.
local function watch_fd(watch, fd, events)
   local entry = entries[fd]
   if not entry then
      entry = { r = {}, w = {} }
      entries[fd] = entry
   end
   watch.fd = fd
   if events ~= "w" then
      table.insert(entry.r, watch)
   end
   if events ~= "r" then
      table.insert(entry.w, watch)
   end
   if entry.set == "rw" or entry.set == events then
      return true
   end
   poller = poller or core.poller()
   local set = entry.set and "rw" or interest(entry)
   if not poller:set(fd, set) then
      return false
   end
   entry.set = set
   return true
end

local function fire_all(list)
   while list[1] do
      local watch = list[1]
      if watch.whole then
         fire(watch.whole, watch.index)
      else
         fire(watch, true)
      end
   end
end

local function unset(fd)
   entries[fd] = nil
   if poller then
      poller:set(fd, nil)
   end
end

-- Takes the poller's report on a descriptor.
local function report(fd, events)
   local entry = entries[fd]
   if not entry then
      return unset(fd)
   end
   local awaited = true
   if events ~= "w" then
      awaited = entry.r[1] ~= nil
      fire_all(entry.r)
   end
   if events ~= "r" then
      awaited = awaited and entry.w[1] ~= nil
      fire_all(entry.w)
   end
   if not awaited then
      local left = interest(entry)
      if left == "" then
         unset(fd)
      else
         entry.set = left
         poller:set(fd, left)
      end
   end
end

-- Fibers: what the loop runs -----------------------------------------------------------------------------------------

local function execute(fiber)
   local results = table.pack(xpcall(fiber.f, errors.describe, table.unpack(fiber, 1, fiber.n)))
   if not results[1] then
      results[2] = errors.described(results[2])
   end
   fiber.results = results
end

-- The body of every coroutine of the loop: runs one fiber after the other, and holds none in between.
local function body(fiber)
   while true do
      execute(fiber)
      fiber = nil -- luacheck: ignore
      fiber = yield(ENDED)
   end
end

-- `finish(fiber)` is called at the end; then fiber.results is what table.pack gives of true and the results, or of
-- false and { cause =, traceback = }; a cancelled fiber has none.
local function new_fiber(f, finish, background, ...)
   if not background then
      alive = alive + 1
   end
   return { f = f, finish = finish, background = background, n = select("#", ...), ... }
end

local function finished(fiber)
   fiber.done = true
   if fiber.co then
      fibers[fiber.co] = nil
      fiber.co = nil
   end
   if not fiber.background then
      alive = alive - 1
   end
   if fiber.finish then
      fiber.finish(fiber)
   end
end

-- Ends a suspended fiber where it waits. Its closing values may wait: they run the loop from here.
local function close(fiber)
   local co = fiber.co
   if fiber.wait then
      detach(fiber.wait)
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
   local co, argument = fiber.co, nil
   if not co then
      co, argument = table.remove(idle) or coroutine.create(body), fiber
      fiber.co = co
      fibers[co] = fiber
   end
   current = fiber
   local ok, signal = coroutine.resume(co, argument)
   current = previous
   if not ok then
      fiber.results = table.pack(false, { cause = signal, traceback = debug.traceback(co, errors.text(signal)) })
      coroutine.close(co)
      finished(fiber)
   elseif signal == ENDED then
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
      timeout = math.max(0, timers[1].at - now())
      timeout = most and math.min(most, timeout) or timeout
   elseif n_watching == 0 and not most then
      return false
   end
   if n_watching > 0 or timeout ~= 0 then
      poller = poller or core.poller()
      local list, n, message = poller:wait(timeout)
      if not list then
         error(message)
      end
      for i = 1, n, 2 do
         report(list[i], list[i + 1])
      end
   end
   local timer = timers[1]
   if timer then
      local time = now()
      while timer and timer.at <= time do
         fire(timer, nil, "timeout")
         timer = timers[1]
      end
   end
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
   while possible and not cancelled and not wait.fired do
      possible = turn(wait)
   end
   if fiber then
      fiber.nested = outer
   end
   detach(wait)
   if cancelled or wait.why == "cancelled" then
      error(errors.new("cancelled", "the task was cancelled"), 0)
   elseif not possible then
      error("deadlock: this waits for something that nothing is left to do", 0)
   end
end

local function block(wait)
   local fiber = fibers[running()]
   if not poll.can_yield() then
      run_nested(wait)
      return wait.result, wait.why
   end
   if fiber.cancelled then
      detach(wait)
      yield(CANCELLED)
   end
   if wait.fired then
      make_ready(fiber)
   end
   wait.fiber, fiber.wait = fiber, wait
   repeat
      yield(WAITS)
   until wait.fired
   fiber.wait = nil
   return wait.result, wait.why
end

local function set_timer(wait, timeout)
   if timeout and timeout < math.huge then
      wait.at = now() + timeout
      timers:add(wait)
   end
end

-- Waits for a descriptor without the poller; false when the time is up, or may be for somebody else.
local function wait_in_place(fd, events, timeout)
   local at = timeout and now() + timeout
   local timer = timers[1]
   if timer and (not at or timer.at < at) then
      at = timer.at
   end
   return core.wait(fd, events, at)
end

-- The adapter's face -------------------------------------------------------------------------------------------------

poll.now = now

--- Whether nothing could happen while the caller waits in place, without the loop, and until when that holds (nil: for
--- ever): no task is ready, and nobody waits for a descriptor. Most programs have one session and wait like this.
---@return boolean, number|nil
function poll.alone()
   local fiber = current
   local timer = timers[1]
   return n_watching == 0 and first_ready > last_ready and not (fiber and (fiber.cancelled or fiber.nested)),
      timer and timer.at
end

--- Waits until the descriptor may be ready ("r", "w" or "rw"). → true | nil, "timeout"
function poll.wait(fd, events, timeout)
   if poll.alone() and wait_in_place(fd, events, timeout) then
      return true
   end
   local wait = {}
   n_watching = n_watching + 1
   if not watch_fd(wait, fd, events) then
      fire(wait, true)
   else
      set_timer(wait, timeout)
   end
   return block(wait)
end

--- Waits for any of { { fd, events }, … }. → its index | nil, "timeout"
function poll.wait_any(list, timeout)
   local wait = { watches = {} }
   n_watching = n_watching + 1
   for i, what in ipairs(list) do
      local watch = { whole = wait, index = i }
      wait.watches[i] = watch
      if not watch_fd(watch, what[1], what[2]) then
         fire(wait, i)
         break
      end
   end
   if not wait.fired then
      set_timer(wait, timeout)
   end
   return block(wait)
end

--- Wakes whoever waits for the descriptor, and forgets it: it is about to be closed.
function poll.cancel(fd)
   local entry = entries[fd]
   if entry then
      fire_all(entry.r)
      fire_all(entry.w)
      unset(fd)
   end
end

--- Stops watching a descriptor that nobody waits for.
function poll.forget(fd)
   local entry = entries[fd]
   if entry and interest(entry) == "" then
      unset(fd)
   end
end

function poll.sleep(seconds)
   local wait = {}
   set_timer(wait, math.max(0, seconds))
   block(wait)
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
   local wait = { token = token }
   token.wait = wait
   set_timer(wait, timeout)
   return block(wait)
end

function poll.unpark(token)
   if token.wait then
      fire(token.wait, true)
   else
      token.set = true
   end
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
   run(fiber)
   return fiber
end

--- Ends a fiber where it waits, or else at its next wait.
function poll.cancel_fiber(fiber)
   if fiber.done or fiber.cancelled then
      return
   end
   fiber.cancelled = true
   if not fiber.co then
      finished(fiber)
   elseif coroutine.status(fiber.co) == "suspended" then
      close(fiber)
   elseif fiber.nested then
      fire(fiber.nested, nil, "cancelled")
   end
end

--- The fiber that is running, or nil.
function poll.running()
   return fibers[running()]
end

--- Whether what is running now would yield to the loop in a wait, and not run it from where it stands.
function poll.can_yield()
   local fiber = fibers[running()]
   return fiber ~= nil and not fiber.closing and isyieldable()
end

--- Runs what is ready, and takes what has become ready, without waiting.
function poll.turn()
   turn({}, 0)
end

--- Runs the loop until no task is left, or this fiber has failed.
function poll.run_all(fiber)
   local never = {}
   while alive > 0 and not (fiber.done and fiber.results and not fiber.results[1]) do
      if not turn(never) and alive > 0 then
         error(("deadlock: %d task(s) wait for something that nothing is left to do"):format(alive), 0)
      end
   end
end

return poll
