-- A session without any socket: its callbacks send and recv carry it to a scripted server in the same process.
--
--    local link = memory.connect{ chunk = function() return 1 end }      -- logged in
--    link.session:run("echo hello")
--
-- Options, all optional:
--    server      options of spec.support.scripted_server
--    session     options of ssh.session; its callbacks are kept, but for send and recv
--    chunk       bytes moved by one call of a callback: function(direction, most) → number, 0 for "later"; default all
--    login       false: only the keys are exchanged; "none": not even that
--
-- What it leaves: server, session, calls = { send =, recv = }, and `moved`, the bytes that were. Set `ended` for an end
-- of file after what is there.

local ssh = require "moonssh"
local ScriptedServer = require "spec.support.scripted_server"

local memory = {}

local Link = {}
Link.__index = Link

-- Has the server send payloads, each a packet of its own.
function Link:send(...)
   for i = 1, select("#", ...) do
      self.server:send((select(i, ...)))
   end
   return self
end

-- Steps the session until neither side has anything more to say.
function Link:settle()
   local moved
   repeat
      moved = self.moved
      local goes_on = self.session:step()
   until not goes_on or self.moved == moved
   return self
end

-- The bytes on their way to the client are changed by f.
function Link:tamper(f)
   self.change = f
   return self
end

-- The two callbacks that carry the session.
local function carry(link, chunk)
   chunk = chunk or function() return math.maxinteger end
   local function send(_, buffer)
      link.calls.send = link.calls.send + 1
      local count = math.min(chunk("send", #buffer), #buffer)
      if count <= 0 then
         return -ssh.EAGAIN
      end
      link.moved = link.moved + count
      return link.server:feed(buffer:sub(1, count))
   end
   local function recv(_, length)
      link.calls.recv = link.calls.recv + 1
      local count = math.min(chunk("recv", length), length)
      local bytes = count > 0 and link.server:output(count) or ""
      if bytes == "" then
         return link.ended and "" or -ssh.EAGAIN
      end
      link.moved = link.moved + #bytes
      return link.change and link.change(bytes) or bytes
   end
   return send, recv
end

function memory.connect(options)
   options = options or {}
   local link = setmetatable({
      server = ScriptedServer.new(options.server),
      calls = { send = 0, recv = 0 },
      moved = 0,
   }, Link)
   local settings = { timeout = 60 }
   for name, value in pairs(options.session or {}) do
      settings[name] = value
   end
   local callbacks = {}
   for cbtype, f in pairs(settings.callbacks or {}) do
      callbacks[cbtype] = f
   end
   callbacks.send, callbacks.recv = carry(link, options.chunk)
   settings.callbacks = callbacks
   link.session = ssh.session(settings)
   link.server:start()
   if options.login ~= "none" then
      assert(link.session:handshake())
      assert(link.session:accept_host_key())
   end
   if options.login == nil then
      assert(link.session:auth_password("moon", "secret"))
   end
   return link
end

return memory
