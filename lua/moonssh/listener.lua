-- Listening at the server: tcpip-forward (RFC 4254 7.1), streamlocal-forward@openssh.com (PROTOCOL of OpenSSH, 2.4).
--
-- An open that names none of the places that this session listens at is refused, and so is one more than may wait to
-- be accepted. What waits costs a slot in the core.

local args = require "moonssh.args"
local errors = require "moonssh.errors"
local incoming = require "moonssh.incoming"
local pump = require "moonssh.pump"

---@class moonssh.listener
---@field host? string what the server was asked to listen at
---@field port? integer the port that is bound
---@field path? string of a Unix socket
---@field closed boolean
local Listener = { __name = "moonssh.listener" }
Listener.__index = Listener

-- So many opens may wait to be accepted.
local BACKLOG = 128

local RESOURCE_SHORTAGE = 4 -- RFC 4254 5.1

local TCP, UNIX = "forwarded-tcpip", "forwarded-streamlocal@openssh.com"

-- What an open is for ------------------------------------------------------------------------------------------------

-- Servers tell the address that they were asked for, or the one that it stands for.
local function is_wildcard(host)
   return host == "" or host == "*" or host == "0.0.0.0" or host == "::"
end

local function is_loopback(host)
   return host == "localhost" or host == "::1" or host:find("^127%.%d+%.%d+%.%d+$") ~= nil
end

-- How well an address that was connected to fits one that is listened at: 2, 1, or nil where it does not.
local function fit(listened, connected)
   if listened == connected then
      return 2
   elseif is_wildcard(listened) or listened == "localhost" and is_loopback(connected) then
      return 1
   end
end

local function find(session, open)
   local best, best_fit
   for listener in pairs(session._listeners) do
      local how = nil
      if open.type == UNIX then
         how = listener.path == open.address and 2 or nil
      elseif listener.port == open.port then
         how = fit(listener.host, open.address)
      end
      if how and (not best_fit or how > best_fit) then
         best, best_fit = listener, how
      end
   end
   return best
end

local function arrive(session, open)
   local listener = find(session, open)
   if not listener then
      return open:refuse()
   elseif #listener._queue >= BACKLOG then
      return open:refuse(RESOURCE_SHORTAGE, "too many connections wait to be accepted")
   end
   table.insert(listener._queue, open)
   listener._stamp = session._batch
end

-- Beginning and end --------------------------------------------------------------------------------------------------

local function type_of(self)
   return self.path and UNIX or TCP
end

local function enter(self)
   local session = self._session
   session._listeners[self] = true
   incoming.serve(session, type_of(self), arrive)
end

local function leave(self)
   local session = self._session
   session._listeners[self] = nil
   for other in pairs(session._listeners) do
      if type_of(other) == type_of(self) then
         return
      end
   end
   incoming.serve(session, type_of(self), nil)
end

local names = {
   [TCP] = { "tcpip-forward", "cancel-tcpip-forward" },
   [UNIX] = { "streamlocal-forward@openssh.com", "cancel-streamlocal-forward@openssh.com" },
}

local function place(self)
   -- RFC 4254 7.1: string address, uint32 port. PROTOCOL, 2.4: string socket path.
   return self.path and string.pack(">s4", self.path) or string.pack(">s4I4", self.host, self.port)
end

local function cancel(self)
   self._session:_global_request(names[type_of(self)][2], place(self))
end

-- Takes the server's answer when it comes: a connection may be told right behind it. One that comes too late is undone.
local function settle(self)
   return function(success, data)
      if success and self.port == 0 then
         -- RFC 4254 7.1: where port 0 was asked for, the answer is uint32 port.
         local port = #data == 4 and string.unpack(">I4", data) or 0
         self.port = port <= 65535 and port or 0
      end
      if not success or self.port == 0 then
         return
      elseif self.closed then
         cancel(self)
      else
         enter(self)
      end
   end
end

local function is_done(request)
   return request.done
end

local function described(self)
   return self.path and errors.escape(self.path) or ("%s port %d"):format(
      self.host == "" and "every address" or errors.escape(self.host), self.port)
end

local function start(self, deadline)
   local session = self._session
   local request, err = session:_global_request(names[type_of(self)][1], place(self))
   if not request then
      return nil, err
   end
   request.answered = settle(self)
   local ok
   ok, err = session:_await(is_done, deadline, "request", session, request)
   if not ok then
      self:close()
      return nil, err
   elseif not session._listeners[self] then
      self.closed = true
      return nil, errors.new("channel_request", request.success and "the server has bound a port that is none"
         or "the server refused to listen at " .. described(self), { request = names[type_of(self)][1] })
   end
   return self
end

local function new(session, fields)
   fields.closed, fields._session, fields._queue = false, session, {}
   return setmetatable(fields, Listener)
end

--- Has the server listen at an address. → listener | nil, err
function Listener.tcp(session, host, port, deadline)
   return start(new(session, { host = host == "*" and "" or host, port = port }), deadline)
end

--- Has the server listen at a path. → listener | nil, err
function Listener.unix(session, path, deadline)
   return start(new(session, { path = path }), deadline)
end

--- Ends it at the server. Those who wait to be accepted are refused; what was accepted goes on.
function Listener:close()
   if self.closed then
      return
   end
   self.closed = true
   local session = self._session
   if session.closed or session.failure then
      return
   end
   if session._listeners[self] then
      leave(self)
      cancel(self)
   end
   for _, open in ipairs(self._queue) do
      open:refuse()
   end
   self._queue = {}
   pump.touch(session, self)
   session:_send_now()
end

Listener.__close = Listener.close

-- Accepting ----------------------------------------------------------------------------------------------------------

local function has_arrived(self)
   return self._queue[1] ~= nil or self.closed
end

--- Waits for a connection. → channel, { host =, port = } of who connected (empty for a Unix socket) | nil, err
---@param timeout? number
---@return moonssh.channel|nil
---@return table|moonssh.error originator
function Listener:accept(timeout)
   args.handle(self, "listener", "accept")
   args.optional("accept", 1, timeout, "number")
   local session = self._session
   session:_check("accept")
   local deadline = session:_deadline(timeout)
   while true do
      local ok, err = true, session.failure
      if not self._queue[1] then
         ok, err = session:_await(has_arrived, deadline, "open", self, self)
      end
      if not ok then
         return nil, err
      elseif self.closed then
         return nil, errors.closed("the listener")
      end
      local open = table.remove(self._queue, 1)
      local channel = open and open:accept()
      if channel then
         return channel, { host = open.originator ~= "" and open.originator or nil,
            port = open.originator ~= "" and open.originator_port or nil }
      elseif session.failure then
         return nil, session.failure
      end
   end
end

return Listener
