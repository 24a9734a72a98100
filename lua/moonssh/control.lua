--- The socket of a ControlMaster of OpenSSH, put into proxy mode (PROTOCOL.mux): from then on it carries the packets of
--- the connection layer.

local core = require "moonssh.core"
local errors = require "moonssh.errors"
local forward = require "moonssh.forward"
local loop = require "moonssh.loop"
local net = require "moonssh.net"
local pump = require "moonssh.pump"

local HELLO, VERSION = 1, 4
local PROXY, PROXY_ANSWER = 0x1000000f, 0x8000000f
local DENIED, FAILED = 0x80000002, 0x80000003
local REQUEST_ID = 1

-- Longest message that is read of a master.
local MAX_MESSAGE = 64 * 1024

-- So long the ends of channels are waited for.
local LEAVE = 2

local control = {}

local function lost(path, message)
   return errors.new("io", ("%s: %s"):format(errors.escape(path), message), { path = path })
end

-- Exactly so many bytes: what follows them is for the session.
local function read(fd, count, deadline)
   local parts = {}
   while count > 0 do
      local bytes, _, message, errno = core.socket.recv(fd, count)
      if bytes == "" then
         return nil, "it was closed"
      elseif bytes then
         parts[#parts + 1], count = bytes, count - #bytes
      elseif errno ~= core.EAGAIN then
         return nil, message
      elseif not loop.wait(fd, "r", deadline) then
         return nil, "timeout"
      end
   end
   return table.concat(parts)
end

-- A message with its length before it.
local function receive(fd, deadline)
   local head, why = read(fd, 4, deadline)
   if not head then
      return nil, why
   end
   local length = string.unpack(">I4", head)
   if length < 4 or length > MAX_MESSAGE then
      return nil, "it does not speak the protocol of a ControlMaster"
   end
   return read(fd, length, deadline)
end

-- What they say to each other. → true | nil, why not
local function talk(fd, deadline)
   local hello = string.pack(">s4", string.pack(">I4I4", HELLO, VERSION))
   local request = string.pack(">s4", string.pack(">I4I4", PROXY, REQUEST_ID))
   local sent, _, message = core.socket.send(fd, hello .. request)
   if not sent then
      return nil, message
   end
   local answer, why = receive(fd, deadline)
   if not answer then
      return nil, why
   elseif #answer < 8 or string.unpack(">I4", answer) ~= HELLO then
      return nil, "it does not speak the protocol of a ControlMaster"
   elseif string.unpack(">I4", answer, 5) ~= VERSION then
      return nil, ("it speaks version %d of the protocol"):format((string.unpack(">I4", answer, 5)))
   end
   answer, why = receive(fd, deadline)
   if not answer then
      return nil, why
   end
   local kind = string.unpack(">I4", answer)
   if kind == DENIED or kind == FAILED then
      return nil, "the ControlMaster has refused"
   elseif #answer < 8 or kind ~= PROXY_ANSWER or string.unpack(">I4", answer, 5) ~= REQUEST_ID then
      return nil, "it does not speak the protocol of a ControlMaster"
   end
   return true
end

--- A descriptor that carries packets of the connection layer from now on.
---@param path string
---@param deadline number|nil
---@return integer|nil
---@return moonssh.error? err `refused`, `io`, `timeout`
function control.open(path, deadline)
   local fd, code, message = core.socket.unix(path)
   if not fd then
      return nil, errors.new(code, ("cannot connect to the ControlMaster at %s: %s"):format(errors.escape(path),
         message), { path = path })
   end
   local guard <close> = setmetatable({ fd = fd }, { __close = function(self)
      if self.fd then
         net.close(self.fd)
      end
   end })
   local ok, why = talk(fd, deadline)
   if not ok then
      return nil, why == "timeout" and errors.new("timeout", ("the ControlMaster at %s does not answer in time"):format(
         errors.escape(path)), { stage = "connect", path = path }) or lost(path, why)
   end
   guard.fd = nil
   return fd
end

local function has_left(session)
   return session._core:channels() == 0
end

--- Closes what a session has on the connection. A master may end, with all its sessions, when a client goes whose
--- channels are not at their end: they are brought there first, where this may wait.
function control.take_leave(session)
   forward.cancel_all(session)
   for _, channel in pairs(session._channels) do
      channel:close()
   end
   if not session.failure and not has_left(session) then
      pcall(pump.run_until, session, has_left, session._loop.now() + LEAVE, "open", session, session)
   end
end

return control
