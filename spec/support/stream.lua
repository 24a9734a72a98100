-- Plain connections and servers of the spec's own, on the built-in loop: whatever is behind a forward, and in front.
--
--    local echo <close> = stream.serve("127.0.0.1:0", function(connection) connection:write(connection:rest()) end)
--    local client <close> = stream.connect(echo.port)
--    client:write("hello"); client:shutdown(); assert(client:rest() == "hello")
--
-- What fails raises, but for read and rest of a connection that was reset, which give nil.

local core = require "moonssh.core"
local endpoint = require "moonssh.endpoint"
local loop = require "moonssh.loop"
local net = require "moonssh.net"
local ssh = require "moonssh"

local stream = {}

local PATIENCE = 60

local Stream = {}
Stream.__index = Stream

local function wait(self, events)
   assert(loop.wait(self.fd, events, loop.now() + PATIENCE), "nothing happens on a connection")
end

function stream.of(fd)
   return setmetatable({ fd = fd }, Stream)
end

-- Connects to "host:port", a port, or a path.
function stream.connect(to)
   local fd, err = endpoint.connect(assert(endpoint.parse(to)), loop.now() + PATIENCE)
   return stream.of(assert(fd, err))
end

function Stream:write(data)
   local first = 1
   while first <= #data do
      local n, _, message, errno = core.socket.send(self.fd, data, first)
      if n then
         first = first + n
      else
         assert(errno == core.EAGAIN, message)
         wait(self, "w")
      end
   end
end

-- What is there, waiting for something: "" at the end, nil where it was reset.
function Stream:some(max)
   while true do
      local data, _, _, errno = core.socket.recv(self.fd, max)
      if data or errno ~= core.EAGAIN then
         return data
      end
      wait(self, "r")
   end
end

-- Exactly n bytes; fewer at the end.
function Stream:read(n)
   local parts, size = {}, 0
   while size < n do
      local data = self:some(math.min(n - size, 1 << 18))
      if not data then
         return nil
      elseif data == "" then
         break
      end
      parts[#parts + 1], size = data, size + #data
   end
   return table.concat(parts)
end

function Stream:rest()
   return self:read(math.maxinteger)
end

function Stream:shutdown()
   core.socket.shutdown(self.fd)
end

function Stream:close()
   if self.fd then
      net.close(self.fd)
      self.fd = nil
   end
end

Stream.__close = Stream.close

local Server = {}
Server.__index = Server

-- Listens, and calls f(connection) for each in a task of its own; the connection is closed after it.
function stream.serve(bind, f)
   local fds, port = endpoint.listen(assert(endpoint.parse(bind)))
   local server = setmetatable({ fds = assert(fds, port), port = port, closed = false, accepted = 0, open = 0 }, Server)
   server.task = ssh.spawn(function()
      while not server.closed do
         local fd = endpoint.accept(fds, server)
         if fd then
            server.accepted, server.open = server.accepted + 1, server.open + 1
            ssh.spawn(function()
               do
                  local connection <close> = stream.of(fd)
                  f(connection)
               end
               server.open = server.open - 1
            end)
         end
      end
   end)
   return server
end

function Server:close()
   if not self.closed then
      self.closed = true
      self.task:cancel()
      for _, fd in ipairs(self.fds) do
         net.close(fd)
      end
   end
end

Server.__close = Server.close

return stream
