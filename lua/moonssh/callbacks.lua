-- The session callbacks: what there is, how handlers are kept, and how they are run.
--
-- send, recv and macerror answer at once: they are called where the session is being moved, in a coroutine of their
-- own, in which a wait or a yield is an error. The others run as tasks, after the session has taken in all that had
-- come; they start in the order of the packets. Handlers live in the session, so one that captures its session is
-- collected with it.

local args = require "moonssh.args"
local errors = require "moonssh.errors"
local loop = require "moonssh.loop"

local callbacks = {}

-- So many handlers of a session may wait; beyond that, those that can be done without are dropped and counted.
local MAX_WAITING = 256

local RESOURCE_SHORTAGE = 4 -- SSH_OPEN_RESOURCE_SHORTAGE, RFC 4254 5.1

-- The types that answer a request of an agent's peer: see moonssh.agent_server.
local answering = {
   start = function(f, session, request)
      request:call(f, session)
   end,
   without = function(request)
      request:refuse()
   end,
}

-- One row a type. `start` calls the handler with what the event brought; a row without it is called in place.
-- `without` is told when there is no handler any more. Where the server opens a channel, `default` serves it when
-- there is no handler, and `possible` says whether it can.
local rows = {
   ignore = {
      droppable = true,
      start = function(f, session, message)
         f(session, message, session.abstract)
      end,
   },
   debug = {
      droppable = true,
      start = function(f, session, always_display, message, language)
         f(session, always_display, message, language, session.abstract)
      end,
   },
   disconnect = {
      start = function(f, session, reason, message, language)
         f(session, reason, message, language, session.abstract)
      end,
   },
   macerror = {},
   send = {},
   recv = {},
   x11 = {
      opens = true,
      start = function(f, session, channel, open)
         f(session, channel, open.originator, open.originator_port, session.abstract)
      end,
      possible = function(session)
         return session._display ~= nil
      end,
      default = function(_, session, channel)
         require "moonssh.x11".relay(session, channel)
      end,
   },
   authagent = {
      opens = true,
      start = function(f, session, channel)
         f(session, channel, session.abstract)
      end,
      possible = function(session)
         local handlers = session._callbacks
         return session._agent_path ~= nil or handlers.authagent_identities ~= nil or handlers.authagent_sign ~= nil
      end,
      default = function(_, session, channel)
         require "moonssh.agent_server".serve(session, channel)
      end,
   },
   authagent_identities = answering,
   authagent_sign = answering,
}

--- Constants for the types: CALLBACK.IGNORE == "ignore".
---@type table<string, string>
callbacks.CALLBACK = {}
for name in pairs(rows) do
   callbacks.CALLBACK[name:upper()] = name
end

--- Whether there is such a type.
function callbacks.known(cbtype)
   return type(cbtype) == "string" and rows[cbtype] ~= nil
end

function callbacks.unknown(cbtype)
   return errors.new("unknown_callback", ("unknown callback '%s'"):format(errors.escape(tostring(cbtype), 64)))
end

-- Handlers that run as tasks -----------------------------------------------------------------------------------------

--- Notes that a handler is to be started, with up to three values. Nothing is done while the type has none.
function callbacks.queue(session, cbtype, a, b, c)
   if session._callbacks[cbtype] then
      local queue = session._queue
      local last = queue.last
      queue[last + 1], queue[last + 2], queue[last + 3], queue[last + 4] = cbtype, a, b, c
      queue.last = last + 4
   end
end

--- Whether a channel that the server opens for a type would be served: by a handler, or by default.
function callbacks.serves(session, cbtype)
   local row = rows[cbtype]
   return session._callbacks[cbtype] ~= nil or row.possible ~= nil and row.possible(session)
end

--- Notes that a channel which the server wants to open is to be served.
---@param open moonssh.open
function callbacks.queue_open(session, cbtype, open)
   local queue = session._queue
   local last = queue.last
   queue[last + 1], queue[last + 2] = cbtype, open
   queue.last = last + 4
end

local function failure_of(cbtype, failure)
   local message = ("error in the %s callback: %s"):format(cbtype, errors.text(failure.cause))
   return errors.new("callback", message, {
      cause = failure.cause,
      traceback = failure.traceback,
      callback = cbtype,
   })
end

-- The end of a handler that has waited: nobody's call is there to tell of an error. One that could not begin at once,
-- and has failed before its first wait, leaves it to the next call.
local function finish(fiber)
   local session = fiber.waits_for
   if session then
      session._handlers_waiting = session._handlers_waiting - 1
      if fiber.results and not fiber.results[1] then
         local err = failure_of(fiber.cbtype, fiber.results[2])
         if fiber.waited == nil and fiber.began and not session._raise and not session.closed then
            session._raise = err
            require "moonssh.pump".kick(session)
         else
            loop.report(err, fiber.results[2].traceback)
         end
      end
   end
end

-- Notes that a handler has been started. → the error with which it has ended already
local function started(session, cbtype, fiber)
   if not fiber.done then
      fiber.waits_for, fiber.cbtype = session, cbtype
      session._handlers_waiting = session._handlers_waiting + 1
   elseif fiber.results and not fiber.results[1] then
      local err = failure_of(cbtype, fiber.results[2])
      if not fiber.waited then
         return err
      end
      loop.report(err, fiber.results[2].traceback) -- it has waited and ended before its starter went on
   end
end

-- Serves a channel; one whose handler fails is closed.
local function serve_channel(serve, f, session, channel, open)
   local guard <close> = channel:_closer()
   serve(f, session, channel, open)
   guard.done = true
end

-- Accepts a channel and has it served.
local function start_open(session, begin, cbtype, open)
   local f = session._callbacks[cbtype]
   local row = rows[cbtype]
   if not callbacks.serves(session, cbtype) then
      return open:refuse()
   elseif session._handlers_waiting >= MAX_WAITING then
      return open:refuse(RESOURCE_SHORTAGE, "too many connections wait")
   end
   local channel = open:accept()
   if not channel then
      return
   elseif f then
      return started(session, cbtype,
         begin(serve_channel, finish, row.start, f, session, channel, open))
   end
   -- What goes on by itself is nothing that loop.run would wait for.
   started(session, cbtype,
      session._loop.spawn_background(serve_channel, finish, row.default, nil, session, channel, open))
end

-- `begin` is the function of the loop that starts a task.
local function start(session, begin, cbtype, a, b, c)
   local f = session._callbacks[cbtype]
   local row = rows[cbtype]
   if row.opens then
      return start_open(session, begin, cbtype, a)
   elseif not f then
      return row.without and row.without(a)
   elseif row.droppable and session._handlers_waiting >= MAX_WAITING then
      session._callbacks_dropped = session._callbacks_dropped + 1
      return
   end
   return started(session, cbtype, begin(row.start, finish, f, session, a, b, c))
end

--- Starts the handlers that are queued. The queue is one for all who get here, also from within a handler, so that
--- the order stays. Gives the error of the first that failed at once; those of others are reported.
--- With `at_once` nothing is waited for.
---@return moonssh.error?
function callbacks.run(session, at_once)
   local queue = session._queue
   local begin = at_once and session._loop.start_later or session._loop.start
   local first_error
   while queue.first <= queue.last and not session.closed do
      local at = queue.first
      local cbtype, a, b, c = queue[at], queue[at + 1], queue[at + 2], queue[at + 3]
      queue[at], queue[at + 1], queue[at + 2], queue[at + 3] = nil, nil, nil, nil
      queue.first = at + 4
      local err = start(session, begin, cbtype, a, b, c)
      if err and first_error then
         loop.report(err, err.traceback)
      end
      first_error = first_error or err
   end
   if queue.first > queue.last then
      queue.first, queue.last = 1, 0
   end
   return first_error
end

-- Handlers that answer in place --------------------------------------------------------------------------------------

local RESULT = {}

-- The coroutine in which a session's handlers are called, one call after the other.
local function serve(f, ...)
   return serve(coroutine.yield(RESULT, xpcall(f, errors.describe, ...)))
end

--- Calls a handler that must answer at once. → true, its result | false, err
function callbacks.call(session, cbtype, f, ...)
   local co = session._inline_thread or coroutine.create(serve)
   local outer = loop.forbid(("the %s callback"):format(cbtype))
   session._inline, session._inline_thread = cbtype, nil
   local alive, mark, ok, result = coroutine.resume(co, f, ...)
   session._inline = false
   loop.forbid(outer)
   if not alive then
      return false, failure_of(cbtype, { cause = mark, traceback = debug.traceback(co, errors.text(mark)) })
   elseif mark ~= RESULT then
      local cause = ("attempt to yield from the %s callback"):format(cbtype)
      local traceback = debug.traceback(co, cause)
      coroutine.close(co)
      return false, failure_of(cbtype, { cause = cause, traceback = traceback })
   end
   session._inline_thread = co
   if not ok then
      return false, failure_of(cbtype, errors.described(result))
   end
   return true, result
end

--- The error of a result that a handler must not give.
function callbacks.bad_result(cbtype, result, expected)
   local shown = math.type(result) and tostring(result)
      or type(result) == "string" and ("a string of %d bytes"):format(#result) or type(result)
   local cause = ("bad result of the %s callback (%s expected, got %s)"):format(cbtype, expected, shown)
   return failure_of(cbtype, { cause = cause, traceback = cause })
end

--- Checks the table of the option `callbacks`.
function callbacks.check(fname, index, table_of)
   for cbtype, f in pairs(table_of) do
      if not callbacks.known(cbtype) then
         args.bad(fname, index, ("unknown callback '%s'"):format(tostring(cbtype)))
      end
      local complaint = args.complaint(f, "function")
      if complaint then
         args.bad(fname, index, ("callback '%s': %s"):format(cbtype, complaint))
      end
   end
end

return callbacks
