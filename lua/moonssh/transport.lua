-- Moves bytes between the C core and the transport: a descriptor, or the send and recv callbacks. Nothing here waits.

local core = require "moonssh.core"
local args = require "moonssh.args"
local callbacks = require "moonssh.callbacks"

local EAGAIN = core.EAGAIN

local transport = {}

-- What the callbacks are asked for at a time, and how many times before others get their turn.
local CHUNK = 64 * 1024
local CALLS = 256

-- A callback that has nothing to do although its descriptor is ready, so many times in a row, is asked at intervals.
local PATIENCE = 4

-- Errors of a handler ------------------------------------------------------------------------------------------------

-- A handler of the transport that failed ends the session, and what it threw is raised by whoever moves the session.
local function end_by_callback(session, err)
   session._raise = session._raise or err
   -- A send callback that has failed is not asked to send a farewell.
   session._mute = err.callback == "send"
   session:_fail(err, session._mute and 0 or nil)
end

-- The transport itself failed.
local function end_by_io(session, code, message)
   session._core:fail(code, message, 0)
end

-- Reading ------------------------------------------------------------------------------------------------------------

local function read_by_handler(session, f)
   local handle = session._core
   for _ = 1, CALLS do
      local room = math.min(handle:input_room(), CHUNK)
      if room <= 0 then
         return "full"
      end
      local ok, result = callbacks.call(session, "recv", f, session._socket, room, 0, session.abstract, session)
      if session.closed then
         session:_finish_close()
         return "closed"
      elseif not ok then
         end_by_callback(session, result)
         return "failed"
      elseif type(result) == "string" and #result > 0 and #result <= room then
         handle:input(result)
         session._empty = 0
      elseif result == "" or result == 0 then
         handle:input_eof()
         return "eof"
      elseif result == -EAGAIN then
         session._empty = session._empty + 1
         return "again"
      elseif result == -1 then
         end_by_io(session, "io", "the recv callback reported an error")
         return "failed"
      else
         local expected = ("a string of at most %d bytes, 0, -1 or -EAGAIN"):format(room)
         end_by_callback(session, callbacks.bad_result("recv", result, expected))
         return "failed"
      end
      f = session._callbacks.recv
      if not f then
         return "more"
      end
   end
   return "more"
end

--- Takes in what has come. → "more": there may be more; "again": no more now; "full": the session takes none now;
--- "eof"; "failed"; "closed": a handler has closed the session.
---@return string
function transport.read(session)
   local f = session._callbacks.recv
   if f then
      return read_by_handler(session, f)
   elseif session._carrier then
      return session._carrier:read(session)
   elseif not session._fd then
      return "again"
   end
   local state, code, message = session._core:read(session._fd)
   if not state then
      end_by_io(session, code, message)
      return "failed"
   end
   return state
end

--- Waits in place, until a time, for something to be attended to, and takes it in. For a session with a descriptor, no
--- recv callback and no output. What only tells how it goes on at the channel `patient` may come later, with what comes
--- next. Gives the state of the input as read does.
---@param deadline number|nil
---@param patient integer|nil
---@return string
function transport.receive(session, deadline, patient)
   local state, code, message = session._core:receive(session._fd, deadline, patient)
   if not state then
      end_by_io(session, code, message)
      return "failed"
   end
   return state
end

-- Writing ------------------------------------------------------------------------------------------------------------

-- A write that fails is told only when there is nothing left to read: the peer may have said why it went.
local function write_failed(session, code, message)
   session._write_failure = session._write_failure or { code, message }
   return false
end

--- Reports a write that failed, once everything was read.
function transport.settle(session)
   local failure = session._write_failure
   if failure and not session.failure then
      end_by_io(session, failure[1], failure[2])
   end
end

local function write_by_handler(session, f)
   local handle = session._core
   while true do
      local buffer = handle:output(session._send_size)
      if not buffer then
         return true
      end
      local length = #buffer
      local ok, result = callbacks.call(session, "send", f, session._socket, buffer, length, 0, session.abstract,
         session)
      local sent = ok and math.type(result) and math.tointeger(result)
      if session.closed and not session._released then -- it has closed the session, which was not being closed
         if sent and sent >= 1 and sent <= length then
            handle:output_done(sent)
         end
         session:_finish_close()
         return true
      elseif not ok then
         end_by_callback(session, result)
         return true
      elseif result == 0 or result == -EAGAIN then
         session._refused = session._refused + 1
         return false
      elseif result == -1 then
         return write_failed(session, "io", "the send callback reported an error")
      end
      if not sent or sent < 1 or sent > length then
         local expected = ("1 to %d, 0, -1 or -EAGAIN"):format(length)
         end_by_callback(session, callbacks.bad_result("send", result, expected))
         return true
      end
      handle:output_done(sent)
      session._sent = true
      session._refused = 0
      -- A transport that takes little at a time is not shown much: what it leaves is copied again for the next call.
      session._send_size = sent == length and CHUNK or math.max(256, math.min(CHUNK, 2 * sent))
      f = session._callbacks.send
      if not f then
         return transport.write(session)
      end
   end
end

--- Sends what is queued. → true when none is left, false when the transport takes no more now.
---@return boolean
function transport.write(session)
   if session._write_failure then
      return false
   elseif session._mute then
      return true
   end
   local f = session._callbacks.send
   if f then
      return write_by_handler(session, f)
   elseif not session._fd and not session._carrier then
      return true
   end
   local done, code, message
   if session._carrier then
      done, code, message = session._carrier:write(session)
   else
      done, code, message = session._core:write(session._fd)
   end
   if done == nil then
      return write_failed(session, code, message)
   end
   return done
end

--- What to wait for: until when the core has nothing to do, the events, whether the callbacks are to be asked after a
--- while whatever the descriptor says, and whether the core has something to tell already.
---@param now number
---@return number|nil deadline, string events, boolean ask, boolean pending
function transport.awaited(session, now)
   local deadline, reads, writes, pending = session._core:idle(now)
   local handlers = session._callbacks
   local ask = (reads or writes) and session._fd == nil and not session._carrier
   if reads and handlers.recv and session._empty > PATIENCE then
      reads, ask = false, true
   end
   if writes and handlers.send and session._refused > PATIENCE then
      writes, ask = false, true
   end
   return deadline, reads and (writes and "rw" or "r") or writes and "w" or "", ask, pending
end

-- The defaults of the callbacks, to chain to -------------------------------------------------------------------------

--- The descriptor of a socket argument: an integer (LuaSocket's are floats), or an object with getfd(). nil if it is
--- neither.
---@return integer?
function transport.descriptor(socket)
   local fd = socket
   if type(socket) == "table" or type(socket) == "userdata" then
      local ok, getfd = pcall(function()
         return socket.getfd
      end)
      fd = ok and not args.complaint(getfd, "function") and getfd(socket)
   end
   fd = math.type(fd) and math.tointeger(fd)
   return fd and fd >= 0 and fd <= 0x7fffffff and fd or nil
end

local function check_descriptor(fname, socket)
   return transport.descriptor(socket) or args.bad(fname, 1, "no descriptor, and no object with getfd()")
end

--- Sends up to `length` bytes of the buffer. → bytes sent, -EAGAIN, or -1
---@param socket any
---@param buffer string
---@param length? integer
---@param flags? integer
---@return integer
function transport.socket_send(socket, buffer, length, flags)
   local fd = check_descriptor("socket_send", socket)
   args.check("socket_send", 2, buffer, "string")
   args.optional("socket_send", 3, length, "integer")
   args.optional("socket_send", 4, flags, "integer")
   length = length or #buffer
   if length < 1 or length > #buffer then
      args.bad("socket_send", 3, "length is not within the buffer")
   end
   local n, _, _, errno = core.socket.send(fd, buffer, 1, length)
   if n then
      return n
   end
   return errno == EAGAIN and -EAGAIN or -1
end

--- Receives up to `length` bytes. → a string, "" at end of file, -EAGAIN, or -1
---@param socket any
---@param length integer
---@param flags? integer
---@return string|integer
function transport.socket_recv(socket, length, flags)
   local fd = check_descriptor("socket_recv", socket)
   args.check("socket_recv", 2, length, "integer")
   args.optional("socket_recv", 3, flags, "integer")
   if length < 1 then
      args.bad("socket_recv", 2, "length is not positive")
   end
   local bytes, _, _, errno = core.socket.recv(fd, length)
   if bytes then
      return bytes
   end
   return errno == EAGAIN and -EAGAIN or -1
end

return transport
