-- Tasks: functions that run beside each other on the loop.

local args = require "moonssh.args"
local errors = require "moonssh.errors"
local loop = require "moonssh.loop"

---@class moonssh.task
---@field closed boolean whether it has ended
local Task = { __name = "moonssh.task" }
Task.__index = Task

local task = {}

-- What a task and its fiber share. The fiber does not hold the task, so that one whose handle was dropped can be told
-- from one that somebody may still ask.
local function finish(state)
   return function(fiber)
      local results = fiber.results
      state.done, state.results = true, results
      state.failed = results ~= nil and not results[1]
      for token, adapter in pairs(state.waiting) do
         adapter.unpark(token)
      end
      if state.handle then
         local handle = state.handle[1]
         if handle then
            handle.closed = true
         end
      end
      if state.failed and state.dropped then
         loop.report(errors.thrown(results[2].cause, results[2].traceback), results[2].traceback)
      end
   end
end

--- Runs f(...) as a task of its own, from the next time anything waits.
---@param f function
---@param ... any its arguments
---@return moonssh.task
function task.spawn(f, ...)
   args.check("spawn", 1, f, "function")
   local state = { waiting = {} }
   local self = setmetatable({ closed = false, _state = state }, Task)
   state.handle = setmetatable({ self }, { __mode = "v" })
   self._loop = loop.current()
   self._fiber = self._loop.spawn(f, finish(state), ...)
   return self
end

local function check(self, name)
   if getmetatable(self) ~= Task then
      args.raise(("calling '%s' on bad self (task expected, got %s)"):format(name, type(self)))
   end
   return self._state
end

--- Waits for its end. → its results | nil, err: what it threw, `cancelled`, or `timeout`.
---@param timeout? number
---@return any ...
function Task:wait(timeout)
   local state = check(self, "wait")
   args.optional("wait", 1, timeout, "number")
   if not state.done then
      loop.may_wait()
      if self._loop.running() == self._fiber then
         args.raise("a task cannot wait for itself")
      end
      local adapter = loop.current()
      local token = adapter.token()
      local deadline = timeout and adapter.now() + timeout
      state.waiting[token] = adapter
      while not state.done do
         local left = deadline and deadline - adapter.now()
         if left and left <= 0 then
            state.waiting[token] = nil
            return nil, errors.timeout("read")
         end
         adapter.park(token, left)
      end
   end
   state.retrieved = true
   local results = state.results
   if not results then
      return nil, errors.new("cancelled", "the task was cancelled")
   elseif not results[1] then
      return nil, errors.thrown(results[2].cause, results[2].traceback)
   end
   return table.unpack(results, 2, results.n)
end

--- Ends it at its next wait, closing its <close> variables.
function Task:cancel()
   check(self, "cancel")
   self._loop.cancel_fiber(self._fiber)
end

Task.__close = Task.cancel

-- An error that nobody asked for is not lost with the handle.
function Task:__gc()
   local state = self._state
   state.dropped = true
   if state.failed and not state.retrieved then
      loop.report(errors.thrown(state.results[2].cause, state.results[2].traceback), state.results[2].traceback)
   end
end

return task
