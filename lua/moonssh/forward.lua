-- Forwarding in the background: connections to a place on one side are carried to a place on the other. Each forward is
-- a task that accepts, and each connection a task that relays it; errors of a connection end that connection alone.

local args = require "moonssh.args"
local core = require "moonssh.core"
local endpoint = require "moonssh.endpoint"
local errors = require "moonssh.errors"
local Listener = require "moonssh.listener"
local loop = require "moonssh.loop"
local net = require "moonssh.net"
local pump = require "moonssh.pump"
local relay = require "moonssh.relay"
local socks = require "moonssh.socks"

---@class moonssh.forward
---@field port? integer the port that is listened at
---@field path? string of a Unix socket
---@field connections integer those that are open now
---@field closed boolean
local Forward = { __name = "moonssh.forward" }
Forward.__index = Forward

local forward = {}

-- After an accept that failed for want of descriptors or memory.
local PAUSE = 0.1

-- So long a client has for its SOCKS request, and whoever is connected to for taking the connection.
local PATIENCE = 30

-- Connections --------------------------------------------------------------------------------------------------------

-- Tells of a connection that came to nothing.
local function tell(self, err, origin)
   if self._on_error and not self.closed then
      loop.tell(self._on_error, err, origin)
   end
end

-- Ends a connection. Its task may have been cancelled before it began, or have ended before it was known.
local function finish(connection)
   if connection.over then
      return
   end
   connection.over = true
   local self = connection.forward
   self.connections = self.connections - 1
   if connection.fiber then
      self._session._carried[connection.fiber] = nil
   end
   if connection.fd then
      net.close(connection.fd)
   end
   if connection.channel then
      connection.channel:close()
   end
end

local Connection = { __close = finish }

-- Ends what a fiber was for, and tells what it has left behind: an error in a handler of the session's belongs to who
-- leads it.
local function finished(self, release, a)
   return function(fiber)
      release(a)
      local failed = fiber.results and not fiber.results[1] and fiber.results[2]
      if failed and errors.is(failed.cause) and failed.cause.code == "callback" and not self._session.closed then
         pump.raise(self._session, failed.cause)
      elseif failed then
         loop.report_thrown(failed)
      end
   end
end

-- Starts a task for a connection: serve(self, connection) → true | nil, err. What it takes over (fd, channel) it takes
-- out of the connection.
local function start(self, connection, serve)
   connection.forward = self
   self.connections = self.connections + 1
   local fiber = self._session._loop.spawn_background(function()
      local held <close> = setmetatable(connection, Connection)
      local ok, err = serve(self, held)
      if not ok then
         tell(self, err, held.origin)
      end
   end, finished(self, finish, connection))
   if not connection.over then
      connection.fiber = fiber
      self._session._carried[fiber] = true
   end
end

-- Relays the connection to its end.
local function carry(connection)
   local fd, channel = connection.fd, connection.channel
   connection.fd, connection.channel = nil, nil
   return relay.run(channel, fd)
end

local function dial(self, place)
   local options = { timeout = PATIENCE }
   if place.path then
      return self._session:dial_unix(place.path, options)
   end
   return self._session:dial(place.host == "" and "localhost" or place.host, place.port, options)
end

-- Kinds of connections -----------------------------------------------------------------------------------------------

local function serve_local(self, connection)
   local err
   connection.channel, err = dial(self, self._to)
   if not connection.channel then
      return nil, err
   end
   return carry(connection)
end

local function serve_remote(self, connection)
   local err
   connection.fd, err = endpoint.connect(self._to, loop.now() + PATIENCE)
   if not connection.fd then
      return nil, err
   end
   return carry(connection)
end

-- Reads exactly n bytes → bytes | nil
local function reader(fd, deadline)
   return function(n)
      local got = ""
      while #got < n do
         local bytes, _, _, errno = core.socket.recv(fd, n - #got)
         if bytes == "" or not bytes and errno ~= core.EAGAIN then
            return nil
         elseif bytes then
            got = got .. bytes
         elseif not loop.wait(fd, "r", deadline) then
            return nil
         end
      end
      return got
   end
end

-- Answers are a few bytes, the first that the socket is to take.
local function writer(fd)
   return function(bytes)
      return core.socket.send(fd, bytes) == #bytes
   end
end

-- What a client asks for by SOCKS. → request | nil, err
local function take_request(read, write)
   local request, answer = socks.request(read, write)
   if request then
      return request
   elseif answer then
      write(answer)
   end
   return nil, errors.new("protocol", "a client of the dynamic forward has sent no request that can be served")
end

-- Tells the client what became of its request: `err`, or a connection, which is relayed.
local function answer(connection, request, write, err)
   if err then
      write(request.answer(socks.outcome(err)))
      return nil, err
   elseif not write(request.answer("done")) then
      return nil, errors.new("eof", "the client of the dynamic forward has gone")
   end
   return carry(connection)
end

local function serve_dynamic(self, connection)
   local fd = connection.fd
   local write = writer(fd)
   local request, err = take_request(reader(fd, loop.now() + PATIENCE), write)
   if not request then
      return nil, err
   end
   connection.channel, err = dial(self, request)
   return answer(connection, request, write, err)
end

local function channel_reader(channel, deadline)
   return function(n)
      local bytes = channel:read(n, math.max(0, deadline - loop.now()))
      return bytes and #bytes == n and bytes or nil
   end
end

local function channel_writer(channel)
   return function(bytes)
      return channel:write(bytes) ~= nil
   end
end

-- The client is at the server, and where it wants to go is reached from here.
local function serve_dynamic_there(self, connection)
   local deadline = loop.now() + PATIENCE
   local write = channel_writer(connection.channel)
   local request, err = take_request(channel_reader(connection.channel, deadline), write)
   if not request then
      return nil, err
   elseif self._permit and not self._permit(request.host, request.port) then
      write(request.answer("prohibited"))
      return nil, errors.new("refused", ("%s port %d is not permitted"):format(errors.escape(request.host, 80),
         request.port), { host = request.host, port = request.port })
   end
   connection.fd, err = endpoint.connect(request, loop.now() + PATIENCE)
   return answer(connection, request, write, err)
end

-- Accepting ----------------------------------------------------------------------------------------------------------

-- Closes what a forward listens with.
local function stop_listening(self)
   local fds = self._fds
   self._fds = {}
   for _, fd in ipairs(fds) do
      net.close(fd)
   end
   if fds[1] and self.path then
      os.remove(self.path)
   end
end

local function accept_here(self, serve)
   while not self.closed do
      local fd, host, port = endpoint.accept(self._fds, self)
      if fd then
         start(self, { fd = fd, origin = { host = host, port = port } }, serve)
      elseif host then
         tell(self, host, {})
         collectgarbage()
         loop.sleep(PAUSE)
      end
   end
end

local function accept_there(self, remote)
   local listener <close> = remote
   local serve = self._to and serve_remote or serve_dynamic_there
   local function has_arrived()
      return listener._queue[1] ~= nil or listener.closed
   end
   while not listener.closed do
      local ok = relay.wait(listener, has_arrived)
      if not ok then
         return
      end
      local channel, origin = listener:accept()
      if channel then
         start(self, { channel = channel, origin = origin }, serve)
      end
   end
end

local function new(session, options, to)
   return setmetatable({
      closed = false,
      connections = 0,
      _session = session,
      _to = to,
      _on_error = options.on_error,
      _permit = options.permit,
   }, Forward)
end

-- `release(held)` ends the listening, also where the task never begins.
local function run(self, accept, a, release, held)
   self._session._forwards[self] = true
   self._fiber = self._session._loop.spawn_background(accept, finished(self, release, held), self, a)
   return self
end

local function listen_here(session, options, bind, to, serve, deadline)
   local hindrance = session:_hindrance()
   if hindrance then
      return nil, hindrance
   end
   local self = new(session, options, to)
   local fds, port = endpoint.listen(bind, deadline)
   if not fds then
      return nil, port
   end
   self._fds, self.port, self.path = fds, port, bind.path
   return run(self, accept_here, serve, stop_listening, self)
end

-- Beginning and end --------------------------------------------------------------------------------------------------

local function place_of(fname, options, name)
   local place = endpoint.parse(options[name])
   if not place then
      args.bad(fname, 1, ("option '%s': 'host:port', a port or a path expected"):format(name))
   elseif name == "to" and place.port == 0 then
      args.bad(fname, 1, "option 'to': port 0")
   end
   return place
end

-- Where is listened at on this side.
local function place_here(fname, options)
   local place = place_of(fname, options, "bind")
   local mode = options.mode
   if mode and (mode < 0 or mode > tonumber("777", 8)) then
      args.bad(fname, 1, "option 'mode': permissions from 0 to 511 expected")
   end
   place.mode, place.replace = mode, options.replace
   return place
end

local place_types = { "string", "integer" }

local both = { bind = place_types, to = place_types, on_error = "function", timeout = "number" }
local both_here = args.join(both, { mode = "integer", replace = "boolean" })
local dynamic = { bind = place_types, remote = "boolean", permit = "function", mode = "integer", replace = "boolean",
   on_error = "function", timeout = "number" }

--- Connections to a place here go on from the server to another. See session:forward_local.
function forward.here(session, options)
   options = args.options("forward_local", 1, options, both_here)
   local bind = place_here("forward_local", options)
   local to = place_of("forward_local", options, "to")
   return listen_here(session, options, bind, to, serve_local, session:_deadline(options))
end

local function listen_there(session, options, bind, to, deadline)
   local err = session:_hindrance()
   local listener
   if err then
      return nil, err
   elseif bind.path then
      listener, err = Listener.unix(session, bind.path, deadline)
   else
      listener, err = Listener.tcp(session, bind.host, bind.port, deadline)
   end
   if not listener then
      return nil, err
   end
   local self = new(session, options, to)
   self.port, self.path = listener.port, bind.path
   return run(self, accept_there, listener, listener.close, listener)
end

--- Connections to a place here say by SOCKS where they go on from the server, or the other way round. See
--- session:forward_dynamic.
function forward.dynamic(session, options)
   options = args.options("forward_dynamic", 1, options, dynamic)
   local bind = place_here("forward_dynamic", options)
   if options.permit and not options.remote then
      args.bad("forward_dynamic", 1, "option 'permit': only with 'remote'")
   end
   local deadline = session:_deadline(options)
   if options.remote then
      return listen_there(session, options, bind, nil, deadline)
   end
   return listen_here(session, options, bind, nil, serve_dynamic, deadline)
end

--- Connections to a place at the server go on from here. See session:forward_remote.
function forward.there(session, options)
   options = args.options("forward_remote", 1, options, both)
   local bind = place_of("forward_remote", options, "bind")
   local to = place_of("forward_remote", options, "to")
   return listen_there(session, options, bind, to, session:_deadline(options))
end

local function stop(self)
   local session = self._session
   self.closed = true
   session._forwards[self] = nil
   session._loop.cancel_fiber(self._fiber)
end

--- Stops listening. Connections that are open go on, until they or the session end.
function Forward:close()
   if not self.closed then
      stop(self)
   end
end

Forward.__close = Forward.close

--- The session has failed: every task that carries something ends when it is woken, as these now are.
function forward.stop_all(session)
   for self in pairs(session._forwards) do
      self.closed = true
      for _, fd in ipairs(self._fds or {}) do
         session._loop.cancel(fd)
      end
   end
   relay.stop_all(session, session.failure)
end

--- The session is closed: nothing is left of its forwards.
function forward.cancel_all(session)
   for self in pairs(session._forwards) do
      stop(self)
   end
   for fiber in pairs(session._carried) do
      session._loop.cancel_fiber(fiber)
   end
   relay.stop_all(session, errors.closed("the session"))
end

return forward
