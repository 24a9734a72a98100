-- An SSH server made by hand, for showing what a client does with a hostile one. It is not built on the core's
-- transport: every byte is under the spec's control, and its exchange hash, keys and framing are a second opinion on
-- the core's. It has no socket: bytes go in through feed, and come out through take.
--
--    local peer = Peer.new{ cipher = "aes256-ctr", mac = "hmac-sha2-256", steps = { ext_info = function() … end } }
--    peer:start()
--    peer:feed(bytes) → list of the client's payloads in them
--    peer:take(max) → bytes for the client, "" when there are none
--
-- Options, all optional:
--    kex, host_key_algorithms, cipher, mac, compression   a name or a list of names; compression is of what we send
--    host_key      a private key of spec.support.peer.keys; default ed25519
--    strict        strict key exchange (default true)
--    ident         the identification string; lines  what is sent before it
--    ext_info      table of extensions, or false; default server-sig-algs
--    methods       what USERAUTH_FAILURE says; default "publickey,password,keyboard-interactive"
--    password      the one that is right; default "secret"
--    output        what a command writes; default "hello\n"; errors what it writes to stderr; status its exit status
--    rekey_first   a key exchange before a command runs
--    inject        moment → payload, list of payloads, or function(peer): sent at that moment
--    steps         name → function(peer, …): what to do in place of the default of that name, see
--                  spec/support/peer/steps.lua. A step's result is a payload to send, a list of them, or nil. Two
--                  have no default: sending(peer, payload) gives what is sent in its place, or nil, and payload(peer,
--                  number, payload) is asked first about each message of the client, and has handled it when its
--                  result is true.
--
-- Moments, in order: "start" "ident" "kexinit" "reply" "newkeys" "service" "accepted" "userauth" "authenticated"
-- "opening" "opened" "requested" "running" "ended" "eof" "closed"; each is just after what it is named after was sent,
-- but "service", "userauth", "opening" and "requested" just before the answer to it. In a later key exchange
-- "kexinit", "reply" and "newkeys" have "rekey_" in front.
--
-- Lower down: peer:send(payload); peer:send_packet(fields) with the fields of spec.support.peer.framing's seal;
-- peer:raw(bytes); peer:rekey(after); peer.mute, when set, lets nothing more out. What was seen: peer.received (list
-- of { number =, payload =, secured = }), peer:seen(name) → list of payloads, peer.disconnect = { reason =, text = }.

local defaults = require "spec.support.peer.steps"
local framing = require "spec.support.peer.framing"
local handlers = require "spec.support.peer.handlers"
local keys = require "spec.support.peer.keys"
local primitives = require "spec.support.primitives"
local wire = require "spec.support.wire"

local Peer = {}
Peer.__index = Peer

Peer.wire = wire

for name, method in pairs(handlers.methods) do
   Peer[name] = method
end

local function list(value, default)
   if type(value) == "string" then
      return { value }
   end
   return value or default
end

local host_key_algorithms = {
   ["ssh-ed25519"] = { "ssh-ed25519" },
   ["ecdsa-sha2-nistp256"] = { "ecdsa-sha2-nistp256" },
   ["ecdsa-sha2-nistp384"] = { "ecdsa-sha2-nistp384" },
   ["ecdsa-sha2-nistp521"] = { "ecdsa-sha2-nistp521" },
   ["ssh-rsa"] = { "rsa-sha2-512", "rsa-sha2-256" },
}

function Peer.new(options)
   options = options or {}
   local self = setmetatable({}, Peer)
   self.host_key = options.host_key or keys.ed25519()
   self.offer = {
      kex = list(options.kex, { "curve25519-sha256" }),
      host_key = list(options.host_key_algorithms, host_key_algorithms[self.host_key:type()]),
      cipher = list(options.cipher, { "aes128-gcm@openssh.com" }),
      mac = list(options.mac, { "hmac-sha2-256" }),
      compression = list(options.compression, { "none" }),
   }
   self.strict_offered = options.strict ~= false
   self.ident = options.ident or "SSH-2.0-peer"
   self.lines = options.lines or ""
   self.ext_info = options.ext_info
   if self.ext_info == nil then
      self.ext_info = { ["server-sig-algs"] = "ssh-ed25519,rsa-sha2-512,rsa-sha2-256,ecdsa-sha2-nistp256" }
   end
   self.methods = options.methods or "publickey,password,keyboard-interactive"
   self.password = options.password or "secret"
   self.output, self.errors = options.output or "hello\n", options.errors or ""
   self.status = options.status or 0
   self.rekey_first = options.rekey_first
   self.steps = options.steps or {}
   self.inject = options.inject or {}
   self.received = {}
   self.channels = {}
   self.inbox, self.outbox = "", {}
   self.sent_bytes = 0
   self.out = { side = framing.new(), sequence = 0 }
   self.into = { side = framing.new(), sequence = 0 }
   self.exchanges = 0
   return self
end

-- --- what it sends ---

function Peer:raw(bytes)
   if self.mute then
      return
   end
   self.sent_bytes = self.sent_bytes + #bytes
   table.insert(self.outbox, bytes)
end

function Peer:send_packet(fields)
   self:raw(self.out.side:seal(self.out.sequence, fields))
   self.out.sequence = (self.out.sequence + 1) & 0xffffffff
end

function Peer:send(payload)
   if self.steps.sending then
      payload = self.steps.sending(self, payload)
      if not payload then
         return
      end
   end
   if self.out.deflate then
      payload = self.out.deflate:stored(payload)
   end
   self:send_packet{ payload = payload }
end

-- What a step gave back.
function Peer:answer(result)
   for _, payload in ipairs(type(result) == "table" and result or { result }) do
      self:send(payload)
   end
end

function Peer:message(name, format, ...)
   self:send(wire.message(name, format, ...))
end

function Peer:take(max)
   local bytes = table.concat(self.outbox)
   self.outbox = { bytes:sub((max or #bytes) + 1) }
   return bytes:sub(1, max or #bytes)
end

function Peer:has_output()
   return #self.outbox > 1 or self.outbox[1] ~= nil and self.outbox[1] ~= ""
end

function Peer:at(moment)
   local what = self.inject[moment]
   if type(what) == "function" then
      what = what(self)
   end
   self:answer(what)
end

-- --- the steps ---

function Peer:step(name, ...)
   return (self.steps[name] or defaults[name])(self, ...)
end

function Peer:start()
   self:at("start")
   self:raw(self:step("ident"))
   self:at("ident")
   self:send_kexinit()
end

-- The end of a command: exit-status, EOF, CLOSE.
function Peer:finish(channel)
   self:message("CHANNEL_REQUEST", "usou", channel.remote, "exit-status", false, self.status)
   self:at("ended")
   self:message("CHANNEL_EOF", "u", channel.remote)
   self:at("eof")
   self:message("CHANNEL_CLOSE", "u", channel.remote)
   channel.closed = true
   self:at("closed")
end

-- Whether a publickey request is signed as RFC 4252 7 wants it.
function Peer:signature_is_right(request)
   local signed = wire.pack("s", self.session_id) .. wire.message("USERAUTH_REQUEST", "sssoss", request.user,
      request.service, "publickey", true, request.algorithm, request.blob)
   return primitives.verify(request.blob, signed, request.signature, request.algorithm)
end

-- --- what it reads ---

function Peer:handle(payload)
   local number = payload:byte()
   table.insert(self.received, { number = number, payload = payload, secured = self.secured or false })
   if self.disconnect then
      error("the client sends after its DISCONNECT")
   end
   -- UNIMPLEMENTED may be the answer to what came before our KEXINIT.
   if self.strict and not self.secured and number > wire.NUMBER.UNIMPLEMENTED and (number < 20 or number > 49) then
      error("the client breaks strict key exchange with message " .. number)
   end
   if not (self.steps.payload and self.steps.payload(self, number, payload)) then
      local handler = handlers.by_number[number]
      if handler then
         handler(self, payload)
      else
         self:answer(self:step("unknown", payload))
      end
   end
end

function Peer:feed(bytes)
   self.inbox = self.inbox .. bytes
   local at, payloads = 1, {}
   if not self.client_ident then
      local line = self.inbox:match("^([^\n]*)\r\n")
      if not line then
         return payloads
      end
      self.client_ident = line
      at = #line + 3
   end
   while not self.deaf do
      local payload, after = self.into.side:open(self.into.sequence, self.inbox, at)
      if not payload then
         break
      end
      at = after
      self.into.sequence = (self.into.sequence + 1) & 0xffffffff
      table.insert(payloads, payload)
      self:handle(payload)
   end
   self.inbox = self.inbox:sub(at)
   return payloads
end

-- The client's payloads of a message so far.
function Peer:seen(name)
   local found = {}
   for _, item in ipairs(self.received) do
      if item.number == (wire.NUMBER[name] or name) then
         table.insert(found, item.payload)
      end
   end
   return found
end

return Peer
