-- Channels that the server opens.
--
-- The core asks for each open of a type that is wanted, and refuses the others itself. It is answered here: at once, or
-- by what gets the open and keeps it. X11 and agent connections get their handlers (see moonssh.callbacks), which are
-- started in the order of the packets; an open is accepted when its handler starts.

local attend = require "moonssh.attend"
local callbacks = require "moonssh.callbacks"
local Channel = require "moonssh.channel"
local errors = require "moonssh.errors"
local grants = require "moonssh.grants"
local pump = require "moonssh.pump"

local incoming = {}

local PROHIBITED = 1 -- SSH_OPEN_ADMINISTRATIVELY_PROHIBITED, RFC 4254 5.1

---@class moonssh.open
---@field session moonssh.session
---@field type string
---@field address string what was connected to: a host or path; "" for X11 and the agent
---@field port integer
---@field originator string
---@field originator_port integer
---@field gate? table what looks at the first bytes before anybody else: see Channel._gate
---@field charged? table what has this open counted: see x11.spare
local Open = {}
Open.__index = Open

--- Opens the channel. → channel | nil, err
---@return moonssh.channel|nil
---@return moonssh.error? err
function Open:accept()
   local session = self.session
   local ok, code, message = session._core:channel_accept(self.ch)
   if not ok then
      return nil, session.failure or errors.from_core(code, message)
   end
   local channel = Channel.new(session, self.ch)
   channel._state = "open"
   channel._gate = self.gate or false
   session._channels[self.ch] = channel
   pump.flush(session)
   return channel
end

--- Refuses it, with a reason of RFC 4254 5.1 and a short text.
---@param reason? integer default: administratively prohibited
---@param text? string
function Open:refuse(reason, text)
   local session = self.session
   if self.charged then
      require "moonssh.x11".spare(self)
   end
   if not session.closed then
      session._core:channel_refuse(self.ch, reason or PROHIBITED, text or "not requested")
      if session._starting then
         pump.flush(session)
      end
   end
end

-- An open for the handlers of a type of callback.
local function for_handlers(cbtype, admit)
   return function(session, open)
      if not callbacks.serves(session, cbtype) or not admit(session, open) then
         return open:refuse()
      end
      callbacks.queue_open(session, cbtype, open)
   end
end

local rows = {
   x11 = for_handlers("x11", function(session, open)
      return require "moonssh.x11".admit(session, open)
   end),
   ["auth-agent@openssh.com"] = for_handlers("authagent", function(session, open)
      return next(grants.of(session, open.type)) ~= nil
   end),
}

--- Has opens of a type answered by f(session, open), which may keep the open, and not wait; nil: refused again.
---@param session moonssh.session
---@param type string "forwarded-tcpip" or "forwarded-streamlocal@openssh.com"
---@param f fun(session: moonssh.session, open: moonssh.open)|nil
function incoming.serve(session, type, f)
   session._incoming[type] = f
   session._core:want(type, f ~= nil)
   if f then
      attend.start(session)
   end
end

--- The event "asked".
function incoming.asked(session, ch, type, address, port, originator, originator_port)
   local open = setmetatable({
      session = session,
      ch = ch,
      type = type,
      address = address,
      port = port,
      originator = originator,
      originator_port = originator_port,
   }, Open)
   local answer = session._incoming[type] or rows[type]
   if answer then
      answer(session, open)
   else
      open:refuse()
   end
end

return incoming
