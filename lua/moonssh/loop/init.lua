-- The loop: which scheduler does the waiting, and what is built on it. The built-in one is moonssh.loop.poll.

local args = require "moonssh.args"
local errors = require "moonssh.errors"
local builtin = require "moonssh.loop.poll"
local faces = require "moonssh.loop.face"

--- What any scheduler has to offer. Results are hints: a wait may end early, or late.
---@class moonssh.adapter
---@field now fun(): number seconds on a monotonic clock
---@field wait fun(fd: integer, events: "r"|"w"|"rw", timeout?: number): any until fd may be ready; nil, "timeout"
---@field token fun(): any something to park on
---@field park fun(token: any, timeout?: number): any until unpark(token), which may have come before; nil, "timeout"
---@field unpark fun(token: any)
---@field cancel? fun(fd: integer) wakes whoever waits for fd, which is about to be closed
---@field spawn? fun(f: function): any runs f as a task, best when the caller waits; default: in a coroutine, at once

---@class moonssh.loop
---@field on_error fun(err: any, traceback?: string) told of errors that no call can return
local loop = {}

local running = coroutine.running
local bound = faces.bound

local adapter = builtin -- as it was given to use
local face = builtin -- what the library uses of it
local inline -- the name of the handler that is running and must not wait

--- What becomes of an error in a task that nobody can be told of. Yours to replace.
---@param err any
---@param traceback? string
function loop.on_error(err, traceback)
   io.stderr:write("moonssh: error in a task: ", traceback or errors.text(err), "\n")
end

--- Reports to on_error; one that fails itself is reported on stderr along with what it was given.
function loop.report(err, traceback)
   local ok, problem = pcall(loop.on_error, err, traceback)
   if not ok then
      io.stderr:write("moonssh: error in loop.on_error: ", errors.text(problem), "\nmoonssh: error in a task: ",
         traceback or errors.text(err), "\n")
   end
end

--- Reports what a function has thrown, in the form that errors.describe gives it.
---@param failure { cause: any, traceback: string }
function loop.report_thrown(failure)
   loop.report(errors.thrown(failure.cause, failure.traceback), failure.traceback)
end

--- For the end of a task in the background: reports what it has thrown.
function loop.report_failed(fiber)
   if fiber.results and not fiber.results[1] then
      loop.report_thrown(fiber.results[2])
   end
end

--- Calls a function of the user's that must not disturb the rest: what it throws is reported.
function loop.tell(f, ...)
   local ok, value = xpcall(f, errors.describe, ...)
   if not ok then
      loop.report_thrown(errors.described(value))
   end
end

--- What waiting is put on in the running code: the loop of the session or task that it is for, else the one in use.
---@return moonssh.adapter
function loop.current()
   return bound[running()] or (face == builtin or builtin.running()) and builtin or face
end

--- Puts all waiting on another scheduler; nil goes back to the built-in one. Gives the one that was used before.
---@param other moonssh.adapter|nil
---@return moonssh.adapter previous
function loop.use(other)
   args.optional("use", 1, other, "table")
   if other then
      loop.check_adapter("use", 1, other)
   end
   local previous = adapter
   adapter = other or builtin
   face = faces.of(adapter)
   return previous
end

--- What the library uses of an adapter that was checked; of the current one for nil.
function loop.of(other)
   return other and faces.of(other) or loop.current()
end

local Binding = {
   __close = function(binding)
      bound[binding.co] = binding.previous
   end,
}

--- Puts the waiting of the running coroutine on a scheduler, until the value that this gives is closed.
---@param other moonssh.adapter|nil nil: leaves it as it is
function loop.bind(other)
   local target = loop.of(other)
   if target == loop.current() then
      return nil
   end
   local co = running()
   local binding = setmetatable({ co = co, previous = bound[co] }, Binding)
   bound[co] = target
   return binding
end

--- Raises unless a table has what an adapter must have.
function loop.check_adapter(fname, index, other)
   for _, name in ipairs{ "now", "wait", "token", "park", "unpark" } do
      if type(other[name]) ~= "function" then
         args.bad(fname, index, ("the loop has no function '%s'"):format(name))
      end
   end
end

--- Says that a handler is running that must not wait; nil when it has ended. Gives what was said before.
function loop.forbid(name)
   local previous = inline
   inline = name
   return previous
end

--- Raises where waiting is forbidden.
function loop.may_wait()
   if inline then
      args.raise(("a call that waits, within %s"):format(inline))
   end
end

local asked = false -- whether a scheduler's `now` is running

--- Seconds on the clock of all deadlines. A scheduler's `now` may call this for a clock.
---@return number
function loop.now()
   local used = loop.current()
   if used == builtin or asked then
      return builtin.now()
   end
   asked = true
   local time = used.now()
   asked = false
   return time
end

local function time_left(used, deadline)
   return deadline and math.max(0, deadline - used.now())
end

--- Waits for a descriptor until an absolute time.
---@param fd integer
---@param events "r"|"w"|"rw"
---@param deadline? number
---@return true|nil, "timeout"?
function loop.wait(fd, events, deadline)
   loop.may_wait()
   local used = loop.current()
   local done, why = used.wait(fd, events, time_left(used, deadline))
   if used.forget then
      used.forget(fd)
   end
   -- A scheduler may be mistaken about the time as well.
   if not done and why == "timeout" and deadline and used.now() >= deadline then
      return nil, "timeout"
   end
   return true
end

--- Waits for any of { { fd, events }, … } until an absolute time. Gives the index of one that may be ready.
---@param list table
---@param deadline? number
---@return integer|nil, "timeout"?
function loop.wait_any(list, deadline)
   loop.may_wait()
   local used = loop.current()
   local index, why = used.wait_any(list, time_left(used, deadline))
   if used.forget then
      for _, what in ipairs(list) do
         used.forget(what[1])
      end
   end
   return index, why
end

--- Waits for some time.
---@param seconds number
function loop.sleep(seconds)
   if inline or not math.type(seconds) or seconds ~= seconds then
      args.check("sleep", 1, seconds, "number")
      loop.may_wait()
   end
   -- Many tasks sleep, and what is called from here decides how large their stacks are.
   local used = bound[running()]
   if used then
      return used.sleep(seconds)
   end
   return (face == builtin and builtin or loop.current()).sleep(seconds)
end

--- Runs a function as a task, and every other task, until none is left; gives its results. Within a task it runs the
--- function and waits for it alone. What the function throws is thrown from here.
---@param f function
---@return any ...
function loop.run(f)
   args.check("run", 1, f, "function")
   loop.may_wait()
   local used = loop.current()
   if used.running() or used.is_within and used.is_within() then
      return f()
   end
   local fiber = used.spawn(f)
   used.run_all(fiber)
   local results = fiber.results
   if not results then
      error(errors.new("cancelled", "the task was cancelled"), 0)
   elseif not results[1] then
      error(results[2].cause, 0)
   end
   return table.unpack(results, 2, results.n)
end

return loop
