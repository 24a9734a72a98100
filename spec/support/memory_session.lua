-- A session of the Lua library joined to a hand-made server in memory, through the callbacks send and recv.
--
--    local link = MemorySession.new{ peer = { … }, session = { … } }
--    link:handshake{ host = "moon", host_keys = "off" }      true | nil, err
--    link.session, link.peer
--
-- Options: peer (options of spec.support.peer, or one), session (options of ssh.session), callbacks (more of them),
-- chunk (bytes recv gives at a time: a number or function() → number), patient (the server answers only once the
-- client has had nothing more to say, which is what link.exchanges counts; by default at once).

local Peer = require "spec.support.peer"
local ssh = require "moonssh"

local MemorySession = {}
MemorySession.__index = MemorySession

-- A case that goes wrong must not hang.
local TIMEOUT = 60

function MemorySession.new(options)
   options = options or {}
   local self = setmetatable({
      peer = getmetatable(options.peer or {}) == Peer and options.peer or Peer.new(options.peer),
      chunk = options.chunk, patient = options.patient,
      wire = "", said = "", exchanges = 0, reads = 0,
   }, MemorySession)
   local settings = { callbacks = {
      send = function(_, buffer, length) return self:send(buffer, length) end,
      recv = function(_, length) return self:recv(length) end,
   }, timeout = TIMEOUT }
   for name, f in pairs(options.callbacks or {}) do
      settings.callbacks[name] = f
   end
   for name, value in pairs(options.session or {}) do
      settings[name] = value
   end
   self.session = assert(ssh.session(settings))
   self.peer:start()
   return self
end

function MemorySession:send(buffer, length)
   self.said = self.said .. buffer:sub(1, length)
   self.news = true
   return length
end

-- The peer hears what was said, and answers.
function MemorySession:hear()
   local said = self.said
   self.said = ""
   self.exchanges = self.exchanges + 1
   self.peer:feed(said)
end

function MemorySession:recv(length)
   self.reads = self.reads + 1
   if self.patient and self.news then
      self.news = false
      return -ssh.EAGAIN
   end
   if self.wire == "" then
      if self.said ~= "" then
         self:hear()
      end
      self.wire = self.peer:take()
   end
   if self.wire == "" then
      return self.ended and "" or -ssh.EAGAIN
   end
   local chunk = self.chunk
   if type(chunk) == "function" then
      chunk = chunk()
   end
   local n = math.min(length, chunk or length)
   local bytes = self.wire:sub(1, n)
   self.wire = self.wire:sub(n + 1)
   return bytes
end

-- Lets the peer hear what is still unheard: a DISCONNECT, say.
function MemorySession:settle()
   if self.said ~= "" then
      self:hear()
   end
end

function MemorySession:handshake(options)
   return self.session:handshake(nil, options)
end

-- Handshake without a policy to speak of, and login.
function MemorySession:login(options)
   assert(self:handshake{ host = "moon", host_keys = self.peer.host_key and "off" })
   return self.session:authenticate(options or { user = "moon", password = "secret" })
end

return MemorySession
