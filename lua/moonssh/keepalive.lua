-- Probes of a server that says nothing, and the end of a session whose server does not answer them.

local errors = require "moonssh.errors"
local loop = require "moonssh.loop"
local pump = require "moonssh.pump"

local keepalive = {}

local DEFAULT_COUNT = 3
local CONNECTION_LOST = 10 -- SSH_DISCONNECT_CONNECTION_LOST, RFC 4253 11.1

-- Takes in what has come, where no task does so; a handler's error has no call to be raised from.
local function move(session)
   local err = pump.step(session)
   if err then
      loop.report(err, err.traceback)
   end
end

local function give_up(session, count)
   local message = ("the server has answered none of %d keepalive probes"):format(count)
   session:_fail(errors.new("timeout", message, { stage = "read" }), CONNECTION_LOST)
   pump.wake_all(session)
end

-- What is done at the end of an interval: anything that the server sent in it shows that it is there. → the number of
-- probes that are unanswered, nil when that was the last time
local function check(session, state)
   move(session)
   if session.closed or session.failure then
      return nil
   end
   local received = session._core:info().bytes_received
   if received ~= state.received then
      state.received, state.unanswered = received, 0
      session:_trim()
      return 0
   elseif state.unanswered >= state.count then
      give_up(session, state.count)
      return nil
   end
   session:_global_request("keepalive@openssh.com", "")
   pump.flush(session)
   state.unanswered = state.unanswered + 1
   return state.unanswered
end

-- The task. It holds the session only while it looks at it, so that one that was dropped is collected.
local function watch(holder, interval, state)
   repeat
      loop.sleep(interval)
      local session = holder[1]
      local going_on = session and not session.closed and not session.failure and check(session, state)
      session = nil -- luacheck: ignore
   until not going_on
end

--- Starts the probes of a session that is logged in, if its options ask for them.
---@param session moonssh.session
function keepalive.start(session)
   local options = session._options.keepalive
   if not options or session._keepalive then
      return
   end
   local holder = setmetatable({ session }, { __mode = "v" })
   local state = { unanswered = 0, count = options.count or DEFAULT_COUNT }
   local interval = options.interval
   session._keepalive = session._loop.spawn_background(watch, loop.report_failed, holder, interval, state)
end

--- Ends the probes.
function keepalive.stop(session)
   local fiber = session._keepalive
   if fiber then
      session._keepalive = nil
      session._loop.cancel_fiber(fiber)
   end
end

return keepalive
