-- The core's session (through testing.session) and a scripted server, joined back to back in memory. The session is
-- driven by its events: by default it accepts the host key, logs in with a password, runs one command and gives the
-- channel up when that has ended.
--
--    local pair = SessionPair.new{ command = "echo hello" }
--    pair:run()                       until neither side has anything to say
--    pair.out                         "hello"
--
-- Options, all optional:
--    session     options of testing.session.new
--    server      options of ScriptedServer.new
--    login       function(session), makes the authentication request; default password "secret" of "moon"
--    command     default "echo hello"; false: none
--    input       what the command gets on its standard input
--    on          event type → function(pair, event); true as its result: the default is not done
--    to_client, to_server   bytes moved at once: a number, or function() → number; default all. 0 is fine for
--               to_server, if not for ever
--
-- What it leaves: events, a list; transcript, a list of strings, the same for every run of a script; out, err, status.

local ScriptedServer = require "spec.support.scripted_server"
local testing = require "moonssh_testing"

local SessionPair = {}
SessionPair.__index = SessionPair

function SessionPair.new(options)
   options = options or {}
   return setmetatable({
      session = assert(testing.session.new(options.session or {})),
      server = ScriptedServer.new(options.server),
      login = options.login or function(session)
         assert(session:password("moon", "secret"))
      end,
      command = options.command == nil and "echo hello" or options.command,
      input = options.input,
      on = options.on or {},
      to_client = options.to_client,
      to_server = options.to_server,
      events = {},
      transcript = {},
      out = "",
      err = "",
      bytes_to_client = 0,
   }, SessionPair)
end

local react = {}

function react:host_key()
   self.session:answer_host_key(true)
end

function react:kex_done()
   if not self.asked then
      self.asked = true
      self.login(self.session)
   end
end

function react:auth_success()
   if self.command then
      self.channel = assert(self.session:open("session"))
   end
end

function react:opened(event)
   local session = self.session
   assert(session:request(event.channel, "exec", true, string.pack(">s4", self.command)))
   self.left = self.input
   self:write()
end

function react:window()
   self:write()
end

function react:data(event)
   if event.stream == 1 then
      self.err = self.err .. event.data
   else
      self.out = self.out .. event.data
   end
   self.session:consumed(event.channel, #event.data)
end

function react:exit_status(event)
   self.status = event.reason
end

function react:closed(event)
   self.session:release(event.channel)
end

-- Writes what is left of the input, as far as it goes, then EOF.
function SessionPair:write()
   if not self.left then
      return
   end
   local taken, err = self.session:write(self.channel, self.left)
   if not taken then
      self.left, self.write_error = nil, err
      return
   end
   self.left = self.left:sub(taken + 1)
   if self.left == "" then
      self.left = nil
      self.session:eof(self.channel)
   end
end

local shown = { "stream", "name", "text", "data", "language", "reason", "success", "partial", "n_prompts" }

local function note(self, event)
   local parts = { event.type }
   for _, field in ipairs(shown) do
      if event[field] ~= nil and event.type ~= "host_key" then
         table.insert(parts, field .. "=" .. tostring(event[field]))
      end
   end
   table.insert(self.events, event)
   table.insert(self.transcript, table.concat(parts, " "))
end

-- Takes the session's events; true when there was one. FAILED is told once.
function SessionPair:take()
   local any = false
   while true do
      local event = self.session:next()
      if not event or event.type == "failed" and self.failed then
         return any
      end
      any = true
      self.failed = self.failed or event.type == "failed"
      note(self, event)
      local hook = self.on[event.type]
      if not (hook and hook(self, event)) and react[event.type] then
         react[event.type](self, event)
      end
   end
end

local function amount(rule, most)
   local size = type(rule) == "function" and rule() or rule or most
   return math.min(size, most)
end

-- Moves bytes of one side to the other, once; true when there were some.
function SessionPair:move_to_server()
   local bytes = self.session:output(amount(self.to_server, self.session:queued()))
   if bytes ~= "" then
      self.server:feed(bytes)
   end
   return bytes ~= ""
end

function SessionPair:move_to_client()
   local room = self.session:input_room()
   local bytes = room > 0 and self.server:output(amount(self.to_client, room)) or ""
   if bytes == "" then
      return false
   end
   self.bytes_to_client = self.bytes_to_client + #bytes
   assert(self.session:feed(bytes) == #bytes)
   return true
end

function SessionPair:start()
   if not self.started then
      self.started = true
      assert(self.session:start())
      self.server:start()
   end
   return self
end

-- Lets both go on until neither has anything to say, or condition(pair) holds.
function SessionPair:run(condition)
   self:start()
   while not (condition and condition(self)) do
      local moved = self:move_to_server()
      moved = self:move_to_client() or moved
      if self:take() then
         moved = true
      elseif self.left and self.session:queued() == 0 then
         local before = self.left
         self:write()
         moved = moved or self.left ~= before
      end
      if not moved and self.session:queued() == 0 then
         return self
      end
   end
   return self
end

-- Runs until an event of this type came.
function SessionPair:run_to(type)
   return self:run(function()
      local last = self.events[#self.events]
      return last ~= nil and last.type == type or self:saw(type)
   end)
end

-- The first event of a type, or nil.
function SessionPair:saw(type)
   for _, event in ipairs(self.events) do
      if event.type == type then
         return event
      end
   end
end

function SessionPair:close()
   self.session:close()
   self.server:close()
end

return SessionPair
