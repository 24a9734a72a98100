-- Tasks: functions that run beside each other on the loop.

local args = require "moonssh.args"
local errors = require "moonssh.errors"
local loop = require "moonssh.loop"
local builtin = require "moonssh.loop.poll"

---@class moonssh.task
---@field closed boolean whether it has ended
local Task = { __name = "moonssh.task" }

local task = {}

-- A task is a handle of its fiber, which does not hold it: so one whose handle was dropped can be told from one that
-- somebody may still ask.
function Task.__index(self, key)
   if key == "closed" then
      return self[1].done or false
   end
   return Task[key]
end

local function loop_of(fiber)
   return fiber.face or builtin
end

local function finish(fiber)
   for token, adapter in pairs(fiber.waiting or {}) do
      adapter.unpark(token)
   end
   if fiber.dropped then
      loop.report_failed(fiber)
   end
end

--- Runs f(...) as a task of its own, from the next time anything waits.
---@param f function
---@param ... any its arguments
---@return moonssh.task
function task.spawn(f, ...)
   args.check("spawn", 1, f, "function")
   return setmetatable({ loop.current().spawn(f, finish, ...) }, Task)
end

local function check(self, name)
   if getmetatable(self) ~= Task then
      args.raise(("calling '%s' on bad self (task expected, got %s)"):format(name, type(self)))
   end
   return self[1]
end

--- Waits for its end. → its results | nil, err: what it threw, `cancelled`, or `timeout`.
---@param timeout? number
---@return any ...
function Task:wait(timeout)
   local fiber = check(self, "wait")
   args.optional("wait", 1, timeout, "number")
   if not fiber.done then
      loop.may_wait()
      if loop_of(fiber).running() == fiber then
         args.raise("a task cannot wait for itself")
      end
      local adapter = loop.current()
      local token = adapter.token()
      local deadline = timeout and adapter.now() + timeout
      fiber.waiting = fiber.waiting or {}
      fiber.waiting[token] = adapter
      while not fiber.done do
         local left = deadline and deadline - adapter.now()
         if left and left <= 0 then
            fiber.waiting[token] = nil
            return nil, errors.timeout("read")
         end
         adapter.park(token, left)
      end
   end
   fiber.retrieved = true
   local results = fiber.results
   if not results then
      return nil, errors.new("cancelled", "the task was cancelled")
   elseif not results[1] then
      return nil, errors.thrown(results[2].cause, results[2].traceback)
   end
   return table.unpack(results, 2, results.n)
end

--- Ends it at its next wait, closing its <close> variables.
function Task:cancel()
   local fiber = check(self, "cancel")
   loop_of(fiber).cancel_fiber(fiber)
end

Task.__close = Task.cancel

-- An error that nobody asked for is not lost with the handle.
function Task:__gc()
   local fiber = self[1]
   fiber.dropped = true
   if not fiber.retrieved then
      loop.report_failed(fiber)
   end
end

return task
