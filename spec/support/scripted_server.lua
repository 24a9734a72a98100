-- An SSH server in memory, on the core's own transport in its server role. It has no socket: bytes go in through
-- feed and come out through output. It serves honestly what it is not told otherwise, and any message can be handled,
-- forged or left out by the spec.
--
--    local server = ScriptedServer.new{ auth = { password = "secret" }, exec = function(channel, command)
--       channel:write("hello\n"):finish(0)
--    end }
--    server:start()
--    server:feed(bytes_of_the_client)
--    bytes_for_the_client = server:output()
--
-- Options, all optional:
--    transport   options of testing.transport.new: kex, host_key, cipher, mac, compression, host_keys, rekey_…, heap
--    auth        who may in:
--       none        true: anybody
--       password    the right one, or function(user, password, new_password) → true, false, "partial" or "change"
--       keys        list of keys (of testing.keys) that may in
--       rounds      of keyboard-interactive: list of lists of { text =, echo =, answer = }
--       methods     what FAILURE says can go on; default "publickey,password,keyboard-interactive"
--       second      true: success of one method is partial, that of another one is needed
--    banner      text sent with SERVICE_ACCEPT
--    exec        function(channel, command), called when a command was accepted; the default knows "cat", "echo TEXT"
--                and "exit STATUS"
--    opens       channel type → function(channel, data), called when a channel of that type, with that type-specific
--                data, was opened; or false: refused as prohibited. Others, but "session", are unknown
--    window, packet   what its ends of channels take; default 2 MiB and 32 KiB
--    keeps_window     true: the client's data are never granted again by the server itself
--    on          kind (of spec.support.messages) or number → function(server, message); true as its result: nothing
--                else is done with the message
--
-- server:open(type, data) opens a channel from its side, and gives its end: `peer` is set when the client has confirmed
-- it, `refused` = { reason, text } when it has not; what is written before waits.
--
-- What it leaves: log, a list of the messages received; failed, the failure of its transport; session channels by
-- their number in channels; user and method of the login.

local messages = require "spec.support.messages"
local testing = require "moonssh_testing"

-- A channel's end at the server. What is written goes out as far as the client's window and the send queue allow, in
-- order with what else is to be sent.
local Channel = {}
Channel.__index = Channel

function Channel:flush()
   while self.queue[1] and self.peer and not self.closed do
      local item = self.queue[1]
      if item.payload then
         table.remove(self.queue, 1)
         self.server:send(item.payload)
         self.closed = item.last
      else
         local len = math.min(#item.data, self.window, self.packet, self.server.transport:room())
         if len == 0 then
            return
         end
         local piece = item.data:sub(1, len)
         self.server:send(item.stream == 1 and messages.extended_data(self.peer, 1, piece) or
            messages.channel_data(self.peer, piece))
         self.window = self.window - len
         item.data = item.data:sub(len + 1)
         if item.data == "" then
            table.remove(self.queue, 1)
         end
      end
   end
end

function Channel:push(item)
   table.insert(self.queue, item)
   self:flush()
   return self
end

-- Sends data (stream 1: as stderr), in packets as large as the client takes.
function Channel:write(data, stream)
   return data == "" and self or self:push{ data = data, stream = stream }
end

-- Sends a payload after what was written before.
function Channel:send(payload)
   return self:push{ payload = payload }
end

function Channel:eof()
   return self:send(messages.channel_eof(self.peer))
end

function Channel:close()
   return self:push{ payload = messages.channel_close(self.peer), last = true }
end

-- Ends as a command does: exit status, EOF, CLOSE.
function Channel:finish(status)
   return self:send(messages.exit_status(self.peer, status)):eof():close()
end

-- Lets the client send `bytes` more.
function Channel:grant(bytes)
   self.left = self.left + bytes
   self.server:send(messages.window_adjust(self.peer, bytes))
end

local commands = {}

function commands.cat(channel)
   channel.on_data = channel.write
   channel.on_eof = function()
      channel:finish(0)
   end
end

function commands.echo(channel, text)
   channel:write(text):finish(0)
end

function commands.exit(channel, status)
   channel:finish(tonumber(status))
end

local function new_channel(server, id, fields)
   fields.server, fields.id, fields.left, fields.received, fields.queue = server, id, server.window, "", {}
   return setmetatable(fields, Channel)
end

local function default_exec(channel, line)
   local name, rest = line:match("^(%l+) ?(.*)$")
   if commands[name] then
      commands[name](channel, rest)
   else
      channel:write("unknown command\n", 1):finish(127)
   end
end

local ScriptedServer = {}
ScriptedServer.__index = ScriptedServer

local host_key

function ScriptedServer.new(options)
   options = options or {}
   host_key = host_key or assert(testing.keys.generate("ed25519"))
   local transport = { role = "server", host_keys = { host_key } }
   for name, value in pairs(options.transport or {}) do
      transport[name] = value
   end
   return setmetatable({
      transport = assert(testing.transport.new(transport)),
      auth = options.auth or { password = "secret" },
      banner = options.banner,
      exec = options.exec or default_exec,
      opens = options.opens or {},
      window = options.window or 2 * 1024 * 1024,
      packet = options.packet or 32768,
      keeps_window = options.keeps_window,
      on = options.on or {},
      log = {},
      channels = {},
      n_channels = 0,
      n_kex = 0,
   }, ScriptedServer)
end

function ScriptedServer:start()
   assert(self.transport:start())
   return self
end

-- Bytes from the client. Gives how many were taken: all, unless the transport has failed or its queue is full.
function ScriptedServer:feed(bytes)
   local taken = 0
   repeat
      local n = self.transport:feed(bytes:sub(taken + 1))
      taken = taken + n
      self:step()
   until n == 0 or taken == #bytes
   return taken
end

-- Bytes for the client, at most n.
function ScriptedServer:output(n)
   for id = 0, self.n_channels - 1 do
      if self.channels[id] then
         self.channels[id]:flush()
      end
   end
   return self.transport:output(n)
end

-- Sends a payload, in its turn.
function ScriptedServer:send(payload)
   if not self.failed then
      self.transport:send(payload)
   end
   return self
end

-- Sends a payload at once, be it in place or not.
function ScriptedServer:send_raw(payload)
   self.transport:send_raw(payload)
   return self
end

function ScriptedServer:open(type, data, window)
   local channel = new_channel(self, self.n_channels, { window = 0, packet = 0 })
   self.n_channels = self.n_channels + 1
   self.channels[channel.id] = channel
   channel.left = window or channel.left
   self:send(messages.channel_open(type, channel.id, channel.left, self.packet, data))
   return channel
end

function ScriptedServer:rekey()
   return self.transport:rekey()
end

function ScriptedServer:close()
   self.transport:close()
end

-- Takes all events there are.
function ScriptedServer:step()
   while true do
      local kind, event = self.transport:next()
      if kind == "none" then
         return
      elseif kind == "failed" then
         self.failed = self.transport:failure()
         return
      elseif kind == "payload" then
         self:handle(messages.parse(event.data))
      elseif kind == "kex_done" then
         self.n_kex = self.n_kex + 1
      else
         event.kind = kind
         table.insert(self.log, event)
      end
   end
end

local handlers = {}

function ScriptedServer:handle(message)
   table.insert(self.log, message)
   local hook = self.on[message.kind] or self.on[message.number]
   if hook and hook(self, message) then
      return
   end
   local handler = handlers[message.kind]
   if not handler then
      error("the client sent message " .. message.number)
   end
   handler(self, message)
end

-- The messages of a kind received so far.
function ScriptedServer:received(kind)
   local list = {}
   for _, message in ipairs(self.log) do
      if message.kind == kind then
         table.insert(list, message)
      end
   end
   return list
end

function handlers.service_request(self, message)
   self:send(messages.service_accept(message.name))
   if self.banner then
      self:send(messages.userauth_banner(self.banner, ""))
   end
end

-- Answers an authentication request: true, false, "partial".
function ScriptedServer:verdict(verdict, method)
   if verdict == true and self.auth.second and (self.method or method) == method then
      verdict = "partial"
   end
   if verdict == true then
      self.method = method
      self:send(messages.userauth_success())
      self.transport:set_authenticated()
   else
      if verdict == "partial" then
         self.method = method
      end
      self:send(messages.userauth_failure(self.auth.methods or "publickey,password,keyboard-interactive",
         verdict == "partial"))
   end
end

local methods = {}

function methods.none(self)
   self:verdict(self.auth.none or false, "none")
end

function methods.password(self, message)
   local change, password, at = string.unpack(">Bs4", message.rest)
   local new = change ~= 0 and string.unpack(">s4", message.rest, at) or nil
   local right = self.auth.password
   local verdict
   if type(right) == "function" then
      verdict = right(message.user, password, new)
   else
      verdict = password == right
   end
   if verdict == "change" then
      self:send(messages.password_change("Your password has expired", ""))
   else
      self:verdict(verdict, "password")
   end
end

function methods.publickey(self, message)
   local signed, algorithm, blob, at = string.unpack(">Bs4s4", message.rest)
   local known
   for _, key in ipairs(self.auth.keys or {}) do
      known = known or key:blob() == blob and key
   end
   if not known then
      self:verdict(false, "publickey")
   elseif signed == 0 then
      self:send(messages.pk_ok(algorithm, blob))
   else
      local data = testing.auth.signing_data(self.transport:info().session_id, message.user, algorithm, blob)
      local signature = string.unpack(">s4", message.rest, at)
      self:verdict(known:verify(algorithm, data, signature) == true, "publickey")
   end
end

methods["keyboard-interactive"] = function(self)
   self.round = 1
   if not self.auth.rounds then
      return self:verdict(false, "keyboard-interactive")
   end
   self:send(messages.prompts("", "", self.auth.rounds[1]))
end

function handlers.userauth_request(self, message)
   self.user = message.user
   local method = methods[message.method]
   if method then
      method(self, message)
   else
      self:verdict(false, message.method)
   end
end

function handlers.info_response(self, message)
   local prompts = self.auth.rounds[self.round]
   local right, at = message.n == #prompts, 1
   for i = 1, message.n do
      local answer
      answer, at = string.unpack(">s4", message.rest, at)
      right = right and answer == prompts[i].answer
   end
   self.round = self.round + 1
   if right and self.auth.rounds[self.round] then
      self:send(messages.prompts("", "", self.auth.rounds[self.round]))
   else
      self:verdict(right, "keyboard-interactive")
   end
end

function handlers.global_request(self, message)
   if message.want then
      self:send(messages.request_failure())
   end
end

function handlers.channel_open(self, message)
   local opened = self.opens[message.type]
   if opened == false then
      return self:send(messages.open_failure(message.sender, 1, "no", ""))
   elseif message.type ~= "session" and not opened then
      return self:send(messages.open_failure(message.sender, 3, "unknown channel type", ""))
   end
   local channel = new_channel(self, self.n_channels,
      { peer = message.sender, window = message.window, packet = message.packet })
   self.n_channels = self.n_channels + 1
   self.channels[channel.id] = channel
   self:send(messages.open_confirmation(channel.peer, channel.id, self.window, self.packet))
   if opened then
      opened(channel, message.data)
   end
end

local function channel_of(self, message)
   return self.channels[message.channel] or error("there is no channel " .. message.channel)
end

function handlers.channel_request(self, message)
   local channel = channel_of(self, message)
   if message.want and not channel.closed then
      channel:send(messages.channel_success(channel.peer))
   end
   if message.name == "exec" then
      self.exec(channel, (string.unpack(">s4", message.data)))
   end
end

function handlers.window_adjust(self, message)
   local channel = channel_of(self, message)
   channel.window = channel.window + message.bytes
   channel:flush()
end

local function take(self, message, stream)
   local channel = channel_of(self, message)
   channel.left = channel.left - #message.data
   assert(channel.left >= 0, "the client overran the window")
   assert(#message.data <= self.packet, "the client overran the packet size")
   if channel.on_data then
      channel:on_data(message.data, stream)
   else
      channel.received = channel.received .. message.data
   end
   if not self.keeps_window and not channel.closed and channel.left < self.window // 2 then
      channel:grant(self.window - channel.left)
   end
end

function handlers.channel_data(self, message)
   take(self, message)
end

function handlers.extended_data(self, message)
   take(self, message, 1)
end

function handlers.channel_eof(self, message)
   local channel = channel_of(self, message)
   channel.eof_received = true
   if channel.on_eof then
      channel:on_eof()
   end
end

function handlers.channel_close(self, message)
   local channel = channel_of(self, message)
   self.channels[channel.id] = nil
   if not channel.closed then
      self:send(messages.channel_close(channel.peer))
      channel.closed = true
   end
end

function handlers.open_confirmation(self, message)
   local channel = channel_of(self, message)
   channel.peer, channel.window, channel.packet = message.sender, message.window, message.packet
   channel:flush()
end

function handlers.open_failure(self, message)
   local channel = channel_of(self, message)
   self.channels[channel.id] = nil
   channel.refused = { message.reason, message.text }
end

function handlers.channel_success() end
function handlers.channel_failure() end
function handlers.request_success() end
function handlers.request_failure() end

return ScriptedServer
