-- A proxy between a session and a real server, as a task of the spec's own process. It can hold back what the server
-- says until a known number of bytes is there, and change it.
--
--    local proxy <close> = Proxy.new(server)
--    local session = assert(ssh.connect(to, { socket = proxy.fd, … }))
--    local n = proxy:measure(function() assert(session:ping()) end)       bytes of the server's answer
--    proxy:hold(n, function(bytes) … return other end)            the next n bytes come together, as f gives them
--
-- What it leaves: received, bytes that came from the server so far; sent, those to it.

local core = require "moonssh.core"
local loop = require "moonssh.loop"
local net = require "moonssh.net"
local socket = require "moonssh_testing".socket
local ssh = require "moonssh"

local Proxy = {}
Proxy.__index = Proxy

local PIECE = 1 << 16

local function write(fd, bytes)
   while bytes ~= "" do
      local n, _, _, errno = core.socket.send(fd, bytes)
      if n then
         bytes = bytes:sub(n + 1)
      elseif errno == core.EAGAIN then
         loop.wait(fd, "w")
      else
         return false
      end
   end
   return true
end

-- Passes on what comes from one descriptor, until its end or that of the other side.
local function pass(from, to, f)
   local goes_on = true
   while goes_on do
      local bytes, _, _, errno = core.socket.recv(from, PIECE)
      if bytes then
         goes_on = bytes ~= "" and write(to, f(bytes))
      elseif errno == core.EAGAIN then
         loop.wait(from, "r")
      else
         goes_on = false
      end
   end
   core.socket.shutdown(to)
end

function Proxy.new(server)
   local fd, theirs = core.socket.pair()
   local self = setmetatable({ fd = fd, theirs = theirs, received = 0, sent = 0 }, Proxy)
   self.server = assert(socket.connect(server.host, server.port))
   core.socket.prepare(self.server)
   self.tasks = {
      ssh.spawn(pass, theirs, self.server, function(bytes)
         self.sent = self.sent + #bytes
         return bytes
      end),
      ssh.spawn(pass, self.server, theirs, function(bytes)
         self.received = self.received + #bytes
         return self:taken(bytes)
      end),
   }
   return self
end

-- What goes to the client when these bytes have come from the server.
function Proxy:taken(bytes)
   local held = self.held
   if not held then
      return bytes
   end
   held.bytes = held.bytes .. bytes
   if #held.bytes < held.n then
      return ""
   end
   self.held = nil
   return held.f(held.bytes:sub(1, held.n)) .. held.bytes:sub(held.n + 1)
end

function Proxy:hold(n, f)
   self.held = { n = n, f = f, bytes = "" }
end

-- How many bytes come from the server while f runs.
function Proxy:measure(f)
   local before = self.received
   f()
   return self.received - before
end

function Proxy:close()
   if self.fd then
      for _, task in ipairs(self.tasks) do
         task:cancel()
      end
      net.close(self.fd)
      net.close(self.theirs)
      net.close(self.server)
      self.fd = nil
   end
end

Proxy.__close = Proxy.close

return Proxy
