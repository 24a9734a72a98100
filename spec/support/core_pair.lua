-- The session object of the binding (core.session) and a scripted server, joined in memory through input and output.
-- It is driven by its events; what the spec does not handle itself is done here: the host key is accepted, and
-- the user logs in with a password.
--
--    local pair <close> = CorePair.new{ options = {…}, server = {…}, on = { opened = function(pair, channel) … end } }
--    pair:run()                       until neither side has anything to say
--    pair:run("kex_done")             until this event came
--    pair.events                      list of { kind, values… }; pair:saw("banner") is the first of a kind
--
-- Options: options of core.session; server, options of ScriptedServer.new; on, kind → function(pair, …); piece, most
-- bytes moved at once; login, function(session) in place of the password.

local core = require "moonssh.core"
local ScriptedServer = require "spec.support.scripted_server"

local CorePair = {}
CorePair.__index = CorePair

local react = {}

function react:host_key()
   assert(self.session:answer_host_key(true))
end

function react:kex_done()
   if not self.asked then
      self.asked = true
      self.login(self.session)
   end
end

local function log_in(session)
   assert(session:auth_password("moon", "secret"))
end

function CorePair.new(options)
   options = options or {}
   local self = setmetatable({
      session = assert(core.session(options.options)),
      server = ScriptedServer.new(options.server),
      on = options.on or {},
      login = options.login or log_in,
      piece = options.piece or math.maxinteger,
      events = {},
   }, CorePair)
   assert(self.session:start())
   self.server:start()
   return self
end

-- Takes all events; true when there was one.
function CorePair:take()
   local any = false
   while true do
      local event = table.pack(self.session:next())
      local kind = event[1]
      if not kind then
         return any
      end
      any = true
      table.insert(self.events, event)
      local handler = self.on[kind] or react[kind]
      if handler then
         handler(self, table.unpack(event, 2, event.n))
      end
   end
end

function CorePair:saw(kind)
   for _, event in ipairs(self.events) do
      if event[1] == kind then
         return event
      end
   end
end

-- Moves bytes both ways, once; true when there were some.
function CorePair:move()
   local session, moved = self.session, false
   local out = session:output(self.piece)
   if out then
      local taken = self.server:feed(out)
      session:output_done(taken)
      moved = taken > 0
   end
   local room = math.min(session:input_room(), self.piece)
   local bytes = room > 0 and self.server:output(room) or ""
   if bytes ~= "" then
      session:input(self.tamper and self.tamper(bytes) or bytes)
      moved = true
   end
   return moved
end

function CorePair:run(kind)
   while not (kind and self:saw(kind)) do
      local moved = self:move()
      if not self:take() and not moved then
         break
      end
   end
   return self
end

-- Runs on, and gives the events that come from now on.
function CorePair:more()
   self.events = {}
   self:run()
   return self.events
end

-- A channel that runs a command, and the server's end of it.
function CorePair:open(command)
   local channel = assert(self.session:open("session"))
   self:run()
   assert(self.session:channel_request(channel, "exec", true, string.pack(">s4", command or "hold")))
   self:run()
   return channel, self.server.channels[self.server.n_channels - 1]
end

function CorePair:close()
   self.session:close()
   self.server:close()
end

CorePair.__close = CorePair.close

return CorePair
