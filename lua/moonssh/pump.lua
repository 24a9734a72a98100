-- All waiting for a session's transport happens here.
--
-- Of the tasks that use a session one leads: it waits for the transport, moves bytes, takes the events, and wakes those
-- whose condition came true. The others park. Who leaves hands the lead on. What the loop says is a hint only:
-- condition and deadline are looked at again each time.
--
-- Each that waits is a *waiter*: { predicate, a, b, subject, token, … }. predicate(a, b) is true when its condition
-- holds; it may do what must be done in time (write what the window allows), but runs nothing of the user's. It is
-- asked again when an event has concerned `subject` (a channel, or the session), and where `room` is set, when output
-- has been sent.

local callbacks = require "moonssh.callbacks"
local dispatch = require "moonssh.dispatch"
local errors = require "moonssh.errors"
local grants = require "moonssh.grants"
local loop = require "moonssh.loop"
local poll = require "moonssh.loop.poll"
local trace = require "moonssh.trace"
local transport = require "moonssh.transport"

local pump = {}

-- Without a descriptor the callbacks are asked again after this time.
local ASK_AGAIN = 0.01

-- A transport that always has more gives way to other tasks after so many reads.
local READS = 16

-- Moving -------------------------------------------------------------------------------------------------------------

--- Sends what is queued, as far as the transport takes it now. The leader is told when it has to wait for more room.
function pump.flush(session)
   if session.closed or session._inline then
      return
   end
   local had_ended = session._ended
   local done = transport.write(session)
   if session._ended and not had_ended then
      pump.wake_all(session) -- a send handler has failed
   end
   if session._tracer and not session.closed then
      trace.run(session)
   end
   if session.closed then
      return
   end
   session._blocked = not done
   if not done and session._waits_for and not session._waits_for:find("w", 1, true) then
      pump.kick(session)
   end
end

--- Has the leader look again, wherever it waits.
function pump.kick(session)
   if not session._waits_for then
      return
   end
   local adapter = session._loop
   if session._waits_for == "carrier" then
      session._carrier:kick()
   elseif session._waits_for == "token" then
      adapter.unpark(session._token)
   else
      adapter.cancel(session._fd)
   end
end

-- Wakes the waiters whose condition came true: those whose subject has the current stamp, or all of them. With
-- `written`, those that wait for room as well.
local function wake(session, written, all)
   local waiter = session._first
   local batch = session._batch
   while waiter do
      local following = waiter.following
      if waiter.token and (all or waiter.subject._stamp == batch or written and waiter.room)
         and (all or waiter.predicate(waiter.a, waiter.b)) then
         local token = waiter.token
         waiter.token = nil
         session._loop.unpark(token)
      end
      waiter = following
   end
end

--- Wakes those who wait for something that a call has changed: a closed channel, say.
function pump.touch(session, subject)
   session._batch = session._batch + 1
   subject._stamp = session._batch
   wake(session)
   pump.kick(session)
end

--- Wakes everybody: the session has ended.
function pump.wake_all(session)
   wake(session, nil, true)
   pump.kick(session)
end

--- Gives back the channels that were collected. Their finalisers only note them, as those may run in the middle of
--- anything.
function pump.release_dropped(session)
   local dropped = session._dropped
   while dropped[1] do
      local ch = table.remove(dropped)
      session._core:channel_release(ch)
      grants.forget(session, ch)
   end
end

-- Takes in what has come. Gives the state of the input, as transport.read. A descriptor that has just been read empty
-- is not asked again before it was waited for.
local function move(session)
   if session._dropped[1] then
      pump.release_dropped(session)
   end
   session._batch = session._batch + 1
   local state = session._received or "again"
   if session._received then
      session._received = false
   elseif not session._drained or session._write_failure or session._callbacks.recv then
      state = transport.read(session)
      if session.closed then
         return state
      end
   end
   session._drained = state == "again" and session._fd ~= nil
   dispatch.events(session)
   if session.closed then
      return state
   end
   if state == "full" and session._core:input_room() > 0 then
      state = "more" -- what was in the way is taken in, and whoever was asked may hold more back
   end
   session._more = state == "more"
   if state ~= "more" and session._write_failure then
      transport.settle(session)
      dispatch.events(session)
   end
   if session._first then
      wake(session, nil, session._ended)
   end
   return state
end

-- Sends, and lets those write who wait for room, for as long as they do and it goes out at once: nobody tells them of
-- room that there is already. `leader` is given where it is one of them; it has just been asked. → whether what it
-- waits for has come
local function send(session, leader)
   local goes_on = session._n_room > 0 or leader and (session._blocked or select(2, session._core:wants()))
   local done = false
   pump.flush(session)
   while goes_on and not session._blocked and not session.closed do
      if session._n_room > 0 then
         wake(session, true)
      end
      if leader then
         done = leader.predicate(leader.a, leader.b)
         leader = not done and leader
      end
      goes_on = (leader or session._n_room > 0) and select(2, session._core:wants())
      pump.flush(session)
   end
   return done
end

-- The error that a handler in place has left to be raised.
local function take_raised(session)
   local err = session._raise
   session._raise = false
   return err
end

-- Starts the handlers that are queued. Those who get here meanwhile do not lead: the caller still does.
local function start_handlers(session, at_once)
   local outer = session._starting
   session._starting = true
   local err = callbacks.run(session, at_once)
   session._starting = outer
   return err
end

-- Wakes a waiter that can go on: one that yields to the loop, else the one that stands highest on the stack.
local function wake_one(session)
   local waiter = session._first
   local highest = waiter
   while waiter and waiter.depth do
      highest, waiter = waiter, waiter.following
   end
   waiter = waiter or highest
   local token = waiter and waiter.token
   if token then
      waiter.token = nil
      session._loop.unpark(token)
   end
end

-- Where nobody leads, somebody who waits is woken to do so.
local function hand_on(session)
   if not session._leader and session._first then
      wake_one(session)
   end
end

--- Does all that can be done without waiting. Gives the error of a handler, to be raised.
---@return moonssh.error?
function pump.step(session)
   local carrier = session._carrier
   local err_below = carrier and carrier:step()
   pump.flush(session)
   if not session.closed then
      session._drained = false
      move(session)
   end
   if not session.closed then
      send(session)
   end
   local err = err_below or take_raised(session)
   local handler_err = start_handlers(session, true)
   if not session.closed then
      pump.flush(session)
      pump.kick(session)
   end
   hand_on(session)
   if err and handler_err then
      loop.report(handler_err, handler_err.traceback)
   end
   return err or take_raised(session) or handler_err
end

--- Has the error of a handler, which was raised from a wait of the library's own, raised from a call of the user's that
--- waits; or reported where there is none. The library's own waits are for channels that are marked `_own`.
---@param err moonssh.error
function pump.raise(session, err)
   local waiter = session._first
   while waiter and (waiter.thrown or waiter.subject._own or not waiter.linked) do
      waiter = waiter.following
   end
   if not waiter then
      return loop.report(err, err.traceback)
   end
   waiter.thrown = err
   local token = waiter.token
   if token then
      waiter.token = nil
      session._loop.unpark(token)
   end
end

-- Waiters ------------------------------------------------------------------------------------------------------------

local Waiter = {}

local function link(waiter)
   local session = waiter.session
   local last = session._last
   waiter.linked, waiter.preceding = true, last or nil
   if last then
      last.following = waiter
   else
      session._first = waiter
   end
   session._last = waiter
   session._n_room = session._n_room + (waiter.room and 1 or 0)
end

local function unlink(waiter)
   local session, before, after = waiter.session, waiter.preceding, waiter.following
   if not waiter.linked then
      return
   end
   if before then
      before.following = after
   else
      session._first = after or false
   end
   if after then
      after.preceding = before
   else
      session._last = before or false
   end
   waiter.linked, waiter.preceding, waiter.following = nil, nil, nil
   session._n_room = session._n_room - (waiter.room and 1 or 0)
end

-- Leaves, however the call ends: with its result, an error, or because its task was cancelled where it waits.
function Waiter.__close(waiter)
   local session = waiter.session
   unlink(waiter)
   if session._leader == waiter then
      session._leader = waiter.instead_of or false
      session._waits_for = waiter.instead_of and waiter.instead_of.waits_for or false
      if waiter.instead_of then
         pump.kick(session)
      end
   end
   hand_on(session)
   if session._attender and not session._leader and not session._first then
      session._loop.unpark(session._attender) -- see moonssh.attend
   end
   if waiter.thrown then -- it had come to its end before it was told
      loop.report(waiter.thrown, waiter.thrown.traceback)
      waiter.thrown = nil
   end
   waiter.predicate, waiter.a, waiter.b, waiter.subject = nil, nil, nil, nil
   waiter.instead_of, waiter.nested, waiter.waits_for, waiter.token, waiter.depth = nil, nil, nil, nil, nil
   session._spare = waiter
end

-- Whether a wait of the running code lets the code below it on the stack go on.
local function can_yield(session)
   local ask = session._loop.can_yield
   return not ask or ask()
end

-- How deep on the stack a wait that begins now will stand, if it runs the loop from there; nil for one that yields.
local function depth_of_wait(session)
   local depth = not can_yield(session) and session._loop.depth
   return depth and depth() + 1 or nil
end

-- Whether a leader stands below another wait that runs the loop, and cannot move.
local function is_buried(session, leader)
   return leader.depth ~= nil and leader.depth < session._loop.depth()
end

-- Sessions that are led by code that does not yield.
local led_from_below = setmetatable({}, { __mode = "k" })

-- Notes where a leader stands that is about to wait.
local function stand(session, waiter)
   waiter.nested, waiter.depth = not can_yield(session), depth_of_wait(session)
   led_from_below[session] = waiter.depth and true
end

-- When code waits above others that wait, those who lead below it are to be relieved.
poll.on_nesting(function()
   for session in pairs(led_from_below) do
      local leader = session._leader
      if leader and session._first and is_buried(session, leader) then
         wake_one(session)
      end
   end
end)

-- Whether to lead. A leader that runs the loop from below on the stack cannot move while code above it waits without
-- yielding; then that code leads in its stead, and else who can move.
local function lead(session, waiter)
   local leader = session._leader
   if leader == waiter then
      return true
   elseif not leader then
      if session._starting and can_yield(session) then
         return false
      end
   elseif (session._starting or leader.nested) and not can_yield(session) then
      waiter.instead_of = leader
   elseif is_buried(session, leader) then
      pump.kick(session) -- it looks again when it can
   else
      return false
   end
   session._leader = waiter
   unlink(waiter)
   return true
end

local function park(session, waiter, timeout)
   local adapter = session._loop
   if not waiter.linked then
      link(waiter)
   end
   waiter.token, waiter.depth = adapter.token(), depth_of_wait(session)
   adapter.park(waiter.token, timeout)
   waiter.token, waiter.depth = nil, nil
end

local function soonest(a, b)
   if a and b then
      return a < b and a or b
   end
   return a or b
end

-- Whether nothing of the user's is to see the bytes or the packets on their way.
local function is_plain(session)
   local handlers = session._callbacks
   return not (handlers.recv or handlers.send or session._tracer)
end

-- Whether what a leader waits for has come while somebody else led in its stead.
local function is_overtaken(session, waiter)
   return session._leader ~= waiter and not session.closed and waiter.predicate(waiter.a, waiter.b)
end

-- The leader's wait. → whether what it waits for has come without it
local function wait_for_transport(session, waiter, deadline)
   local adapter, fd = session._loop, session._fd
   if session._n_room > 0 and not session._blocked then
      send(session) -- a call has sent since, and made room
      if session.closed then
         return
      end
   end
   local now = adapter.now()
   local at, events, ask, pending = transport.awaited(session, now)
   at = soonest(deadline, at)
   local timeout = at and at - now
   session._drained = false
   if pending or timeout and timeout <= 0 then
      return
   end
   loop.may_wait()
   timeout = ask and soonest(timeout, ASK_AGAIN) or timeout
   if events == "r" and fd and adapter.alone and is_plain(session) then
      local alone, limit = adapter.alone()
      if alone and (not limit or limit > now) then
         local subject = waiter.subject
         local patient = subject._patient and not session._first
         session._received = transport.receive(session, soonest(at, limit), patient and subject._ch or nil)
         return
      end
   end
   stand(session, waiter)
   if session._carrier and not ask then
      waiter.waits_for, session._waits_for = "carrier", "carrier"
      session._carrier:wait(session, at)
   elseif fd and events ~= "" then
      waiter.waits_for, session._waits_for = events, events
      adapter.wait(fd, events, timeout)
   else
      waiter.waits_for, session._waits_for = "token", "token"
      adapter.park(session._token, timeout)
   end
   waiter.nested, waiter.waits_for, waiter.depth = nil, nil, nil
   if session._leader == waiter then
      session._waits_for = false
   end
   return is_overtaken(session, waiter)
end

-- Lets other tasks run although there is more to read. → as wait_for_transport
local function give_way(session, waiter)
   loop.may_wait()
   session._core:tick(session._loop.now())
   session._drained = false
   stand(session, waiter)
   if session._fd then
      session._loop.wait(session._fd, "r", 0)
   else
      session._loop.park(session._loop.token(), 0)
   end
   waiter.nested, waiter.depth = nil, nil
   return is_overtaken(session, waiter)
end

-- What a round has left to be raised: an error of a handler in place, or of those that are started now.
local function raised(session, waiter)
   local err = take_raised(session)
   if session._queue.first <= session._queue.last then
      session._leader = waiter.instead_of or false
      local handler_err = start_handlers(session)
      if err and handler_err then
         loop.report(handler_err, handler_err.traceback)
      end
      err = err or handler_err
   end
   return err
end

-- Whether everything that came before a wait was attended to.
local function is_settled(session)
   local queue = session._queue
   return not (session._raise or session._write_failure or session._dropped[1] or queue.first <= queue.last
      or session._callbacks.recv)
end

-- One round of the leader. → whether the condition is true, an error to raise
local function round(session, waiter, deadline, reads)
   local state = move(session)
   local done = not session.closed and waiter.predicate(waiter.a, waiter.b)
   if not session.closed then
      done = send(session, waiter.room and not done and waiter) or done
   end
   if session._raise or session._queue.first <= session._queue.last then
      return done, raised(session, waiter)
   elseif done or session.closed or session._ended then
      return done
   elseif session._sent and not session._fd then
      session._sent = false -- a peer in this process may have answered already
   elseif session._drained and not session._callbacks.recv then
      return false -- and waits before the next round
   elseif state ~= "more" then
      return wait_for_transport(session, waiter, deadline)
   elseif reads % READS == 0 then
      return give_way(session, waiter)
   end
   return false
end

local function ended(session)
   if session.closed then
      return errors.closed("the session")
   end
   return session._ended and session.failure or nil
end

local function block(session, waiter, deadline, stage)
   local rounds = 0
   while true do
      local err = ended(session)
      if err then
         return nil, err
      end
      local leads = lead(session, waiter)
      if deadline and (rounds > 0 or not leads) and session._loop.now() >= deadline then
         return nil, errors.timeout(stage or session._core:stage())
      end
      local done
      if leads then
         rounds = rounds + 1
         if session._drained and is_settled(session) then
            done = wait_for_transport(session, waiter, deadline)
         end
         if session._leader == waiter then -- and nobody has relieved it
            done, err = round(session, waiter, deadline, rounds)
         end
         if err then
            error(err, 0)
         end
      else
         loop.may_wait()
         if waiter.room then
            pump.flush(session)
            pump.kick(session) -- who leads sees to it that it goes on
         end
         if not (session.closed or session._ended) then -- as a send handler may have left it just now
            park(session, waiter, deadline and deadline - session._loop.now())
         end
         err = waiter.thrown
         if err then
            waiter.thrown = nil
            error(err, 0)
         end
         done = not session.closed and waiter.predicate(waiter.a, waiter.b)
      end
      if done then
         return true
      end
   end
end

--- When a step is due without anything having come, or nil.
function pump.deadline(session)
   if session._more and not session._ended then
      return session._loop.now()
   elseif session._carrier then
      return soonest(session._core:deadline(), pump.deadline(session._carrier.below))
   end
   local asks = not session._fd and session._loop.now() + ASK_AGAIN or nil
   return soonest(session._core:deadline(), asks)
end

--- Waits until predicate(a, b) is true, the session has ended, or the deadline has passed. `subject` is what the
--- predicate looks at: the session (default) or a channel. `room` says that it also looks at room for output.
--- → true | nil, err. An error in a handler is raised.
---@param session moonssh.session
---@param predicate fun(a: any, b: any): boolean
---@param deadline? number
---@param stage? string
---@param subject? table
---@param a? any
---@param b? any
---@param room? boolean
function pump.run_until(session, predicate, deadline, stage, subject, a, b, room)
   pump.flush(session)
   local err = take_raised(session)
   if err then
      error(err, 0)
   elseif not session.closed and predicate(a, b) then
      pump.flush(session)
      return true
   end
   local waiter <close> = session._spare or setmetatable({ session = session }, Waiter)
   session._spare = false
   waiter.predicate, waiter.a, waiter.b = predicate, a, b
   waiter.subject, waiter.room = subject or session, room
   return block(session, waiter, deadline, stage)
end

return pump
