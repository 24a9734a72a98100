-- The face of the built-in loop over a scheduler of somebody else's: what the library asks of a loop beyond the
-- functions of an adapter. Tasks run in the scheduler's own coroutines; one that is cancelled is woken, and its wait
-- throws.

local core = require "moonssh.core"
local errors = require "moonssh.errors"

local running = coroutine.running

local faces = {}

-- See looking_up.
local LOOK_UP = 0.05

-- Without epoll several descriptors get a moment each in turn.
local MOMENT = 0.005

--- coroutine → the face that the library uses in it
faces.bound = setmetatable({}, { __mode = "k" })

local known = setmetatable({}, { __mode = "k" }) -- adapter → face
local fibers = setmetatable({}, { __mode = "k" }) -- coroutine → fiber

local function check_cancelled(fiber)
   if fiber and fiber.cancelled then
      error(errors.new("cancelled", "the task was cancelled"), 0)
   end
end

-- What precedes every wait of a task: who started it and waits for that learns of it.
local function enter()
   local fiber = fibers[running()]
   if fiber then
      check_cancelled(fiber)
      fiber.waited = true
      local starter = fiber.starter
      if starter then
         fiber.starter = nil
         fiber.face.unpark(starter)
      end
   end
   return fiber
end

-- Waiting ------------------------------------------------------------------------------------------------------------

-- Without epoll a scheduler that cannot wake who waits for a descriptor has it look up every now and then.
local function looking_up(face, adapter)
   local kicks = {} -- fd → how often it was cancelled

   function face.cancel(fd)
      kicks[fd] = (kicks[fd] or 0) + 1
   end

   return function(fd, events, timeout)
      local deadline = timeout and adapter.now() + timeout
      local mark = kicks[fd]
      while true do
         local left = deadline and deadline - adapter.now() or LOOK_UP
         local done, why = adapter.wait(fd, events, math.max(0, math.min(left, LOOK_UP)))
         if done or why ~= "timeout" or kicks[fd] ~= mark then
            return true
         elseif left <= 0 then
            return nil, "timeout"
         end
      end
   end
end

-- A wait for a descriptor by way of a poller of its own.
local Watch = {}

-- The poller is kept for the next wait.
function Watch.__close(watch)
   local others = watch.others
   others[watch] = nil
   if next(others) == nil then
      watch.waiting[watch.fd] = nil
   end
   watch.poller:wait(0)
   watch.poller:set(watch.fd, nil)
   table.insert(watch.pool, watch.poller)
end

-- Where the adapter has no `cancel`, each wait is for a poller's descriptor. That can be made ready at any time, and
-- stays when the one that is watched is closed.
local function watching(face, adapter)
   local pool, waiting = {}, {} -- pollers; fd → watches

   function face.cancel(fd)
      for watch in pairs(waiting[fd] or {}) do
         watch.poller:alarm(0)
      end
   end

   return function(fd, events, timeout)
      local poller = table.remove(pool) or assert(core.poller())
      waiting[fd] = waiting[fd] or {}
      local watch <close> = setmetatable({ fd = fd, poller = poller, pool = pool, waiting = waiting,
         others = waiting[fd] }, Watch)
      watch.others[watch] = true
      if not poller:set(fd, events) then
         return true
      end
      return adapter.wait(poller:fd(), "r", timeout)
   end
end

local function add_cancel(face, adapter)
   local poller <close> = core.poller()
   return (poller and poller:fd() and watching or looking_up)(face, adapter)
end

local PollerGuard = {
   __close = function(guard)
      guard.face.cancel(guard.poller:fd())
      guard.poller:close()
   end,
}

-- One poller for all descriptors of a list, or the index of one that cannot be watched.
local function poller_of(face, list)
   local poller = core.poller()
   if not poller or not poller:fd() then
      return nil
   end
   local guard = setmetatable({ face = face, poller = poller, indices = {} }, PollerGuard)
   for i, what in ipairs(list) do
      guard.indices[what[1]] = i
      guard.failed = not poller:set(what[1], what[2]) and i or guard.failed
   end
   return guard
end

local function wait_in_turn(face, list, deadline)
   while true do
      for i, what in ipairs(list) do
         if face.wait(what[1], what[2], MOMENT) then
            return i
         end
      end
      if deadline and face.now() >= deadline then
         return nil, "timeout"
      end
   end
end

local function wait_any(face, list, timeout)
   local deadline = timeout and face.now() + timeout
   local guard <close> = list[2] and poller_of(face, list) or nil
   if not list[2] then
      local done, why = face.wait(list[1][1], list[1][2], timeout)
      return done and 1, why
   elseif not guard then
      return wait_in_turn(face, list, deadline)
   elseif guard.failed then
      return guard.failed
   end
   while true do
      local done = face.wait(guard.poller:fd(), "r", deadline and math.max(0, deadline - face.now()))
      local ready, n = guard.poller:wait(0)
      if ready and n > 0 then
         return guard.indices[ready[1]]
      elseif not done then
         return nil, "timeout"
      end
   end
end

local function add_waiting(face, adapter)
   face.now, face.token, face.unpark, face.cancel = adapter.now, adapter.token, adapter.unpark, adapter.cancel
   local wait = adapter.cancel and adapter.wait or add_cancel(face, adapter)

   function face.wait(fd, events, timeout)
      local fiber = enter()
      if not fiber then
         return wait(fd, events, timeout)
      end
      fiber.fd = fd
      local done, why = wait(fd, events, timeout)
      fiber.fd = nil
      check_cancelled(fiber)
      return done, why
   end

   function face.park(token, timeout)
      local fiber = enter()
      if not fiber then
         return adapter.park(token, timeout)
      end
      fiber.token = token
      local done, why = adapter.park(token, timeout)
      fiber.token = nil
      check_cancelled(fiber)
      return done, why
   end

   function face.sleep(seconds)
      local token, left = adapter.token(), math.max(0, seconds)
      local at = adapter.now() + left
      repeat
         face.park(token, math.max(0, left))
         left = at - adapter.now()
      until left <= 0
   end

   function face.wait_any(list, timeout)
      return wait_any(face, list, timeout)
   end

   -- Whether a wait here lets the code below it on the stack go on.
   face.can_yield = coroutine.isyieldable
end

-- Tasks --------------------------------------------------------------------------------------------------------------

local function finished(fiber)
   local face = fiber.face
   fiber.done = true
   if not fiber.background then
      face.alive = face.alive - 1
   end
   if fiber.finish then
      fiber.finish(fiber)
   end
   if fiber.starter then
      face.unpark(fiber.starter)
   end
   for token in pairs(face.watchers) do
      face.unpark(token)
   end
end

local function was_cancelled(fiber, results)
   local cause = not results[1] and results[2].cause
   return fiber.cancelled and errors.is(cause) and cause.code == "cancelled"
end

-- Runs in a coroutine of the scheduler.
local function execute(fiber)
   if fiber.done then
      return -- cancelled before it began
   end
   local co = running()
   local outer, outer_face = fibers[co], faces.bound[co]
   fiber.began = true
   fibers[co], faces.bound[co] = fiber, fiber.face
   local results = table.pack(xpcall(fiber.f, errors.describe, table.unpack(fiber, 1, fiber.n)))
   fibers[co], faces.bound[co] = outer, outer_face
   if not results[1] then
      results[2] = errors.described(results[2])
   end
   fiber.results = not was_cancelled(fiber, results) and results or nil
   finished(fiber)
end

local function launch(face, background, f, finish, ...)
   if not background then
      face.alive = face.alive + 1
   end
   local fiber = { face = face, f = f, finish = finish, background = background, n = select("#", ...), ... }
   face.launch(function()
      execute(fiber)
   end)
   return fiber
end

-- Without `spawn`, a function runs in a coroutine of its own at once: a scheduler that remembers who waits goes on
-- with it.
local function run_at_once(f)
   coroutine.wrap(f)()
end

-- The functions of moonssh.loop.poll for tasks, see there.
local function add_tasks(face, adapter)
   face.alive, face.watchers = 0, {}
   face.launch = adapter.spawn or run_at_once

   function face.spawn(f, finish, ...)
      return launch(face, false, f, finish, ...)
   end

   function face.spawn_background(f, finish, ...)
      return launch(face, true, f, finish, ...)
   end

   -- It may begin only when others have had their turn, which is waited for here.
   function face.start(f, finish, ...)
      local fiber = launch(face, false, f, finish, ...)
      if not fiber.done and not fiber.waited then
         local token = face.token()
         fiber.starter = token
         repeat
            face.park(token)
         until fiber.done or fiber.waited
      end
      return fiber
   end

   -- As start, but waits for nothing.
   face.start_later = face.spawn

   function face.cancel_fiber(fiber)
      if fiber.done or fiber.cancelled then
         return
      end
      fiber.cancelled = true
      if not fiber.began then
         finished(fiber)
      elseif fiber.token then
         face.unpark(fiber.token)
      elseif fiber.fd then
         face.cancel(fiber.fd)
      end
   end

   function face.running()
      return fibers[running()]
   end

   function face.run_all(fiber)
      local token = face.token()
      face.watchers[token] = true
      while face.alive > 0 and not (fiber.done and fiber.results and not fiber.results[1]) do
         face.park(token)
      end
      face.watchers[token] = nil
   end
end

--- What the library uses of an adapter. The built-in loop, and what is made of it, have all of it themselves.
---@param adapter moonssh.adapter
function faces.of(adapter)
   if adapter.cancel_fiber then
      return adapter
   end
   local face = known[adapter]
   if not face then
      face = {}
      add_waiting(face, adapter)
      add_tasks(face, adapter)
      known[adapter], known[face] = face, face
   end
   return face
end

return faces
