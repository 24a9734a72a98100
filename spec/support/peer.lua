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
--    steps         name → function(peer, …): what to do in place of the default of that name, see `defaults` below. A
--                  step's result is a payload to send, a list of them, or nil. Two have no default: sending(peer,
--                  payload) gives what is sent in its place, or nil, and payload(peer, number, payload) is asked
--                  first about each message of the client, and has handled it when its result is true.
--
-- Moments, in order: "start" "ident" "kexinit" "reply" "newkeys" "service" "accepted" "userauth" "authenticated"
-- "opening" "opened" "requested" "running" "ended" "eof" "closed"; each is just after what it is named after was sent,
-- but "service", "userauth", "opening" and "requested" just before the answer to it. In a later key exchange
-- "kexinit", "reply" and "newkeys" have "rekey_" in front.
--
-- Lower down: peer:send(payload); peer:send_packet(fields) with the fields of spec.support.peer.framing's seal;
-- peer:raw(bytes); peer:rekey(after); peer.mute, when set, lets nothing more out. What was seen: peer.received (list
-- of { number =, payload =, secured = }), peer:seen(name) → list of payloads, peer.disconnect = { reason =, text = }.

local Deflate = require "spec.support.peer.deflate"
local framing = require "spec.support.peer.framing"
local kex = require "spec.support.peer.kex"
local keys = require "spec.support.peer.keys"
local primitives = require "spec.support.primitives"
local wire = require "spec.support.wire"

local Peer = {}
Peer.__index = Peer

Peer.wire = wire

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

local defaults = {}

function Peer:step(name, ...)
   return (self.steps[name] or defaults[name])(self, ...)
end

function Peer:start()
   self:at("start")
   self:raw(self:step("ident"))
   self:at("ident")
   self:send_kexinit()
end

-- The bytes of the identification, lines before it included.
function defaults:ident()
   return self.lines .. self.ident .. "\r\n"
end

-- The fields of our KEXINIT.
function defaults:kexinit()
   local names = table.move(self.offer.kex, 1, #self.offer.kex, 1, {})
   if self.strict_offered then
      table.insert(names, "kex-strict-s-v00@openssh.com")
   end
   return {
      kex = names, host_key = self.offer.host_key,
      cipher_c2s = self.offer.cipher, cipher_s2c = self.offer.cipher,
      mac_c2s = self.offer.mac, mac_s2c = self.offer.mac,
      compression_c2s = { "none" }, compression_s2c = self.offer.compression,
   }
end

-- Our share of the key exchange and the secret: public, secret.
function defaults:share(client_share)
   return primitives.encapsulate(self.exchange.kem, client_share)
end

function defaults:host_key_blob()
   return self.host_key:blob()
end

function defaults:signature(exchange_hash)
   return self.host_key:sign(self.exchange.host_key_algorithm, exchange_hash)
end

-- The reply of the method in use, from what the steps above gave.
function defaults:kex_reply(blob, public, signature)
   return wire.message(self.exchange.method.gex and "GEX_REPLY" or "KEX_REPLY", "sss", blob, public, signature)
end

-- Group exchange: p and g, as magnitudes.
function defaults.gex_group(_, bits)
   return primitives.standard_group(bits)
end

function defaults.newkeys()
   return wire.message("NEWKEYS")
end

function defaults:ext_info_message()
   if not self.ext_info or not kex.holds(self.exchange.client.kex, "ext-info-c") then
      return nil
   end
   local names = {}
   for name in pairs(self.ext_info) do
      table.insert(names, name)
   end
   table.sort(names)
   local parts = { wire.message("EXT_INFO", "u", #names) }
   for _, name in ipairs(names) do
      table.insert(parts, wire.pack("ss", name, self.ext_info[name]))
   end
   return table.concat(parts)
end

function defaults.service_request(_, name)
   return wire.message("SERVICE_ACCEPT", "s", name)
end

-- request = { user =, service =, method =, rest = } and, by method: password, new_password; algorithm, blob, signature.
function defaults:userauth(request)
   if request.method == "password" and request.password == self.password then
      return wire.message("USERAUTH_SUCCESS")
   elseif request.method == "publickey" and not request.signature then
      return wire.message("USERAUTH_PK_OK", "ss", request.algorithm, request.blob)
   elseif request.method == "publickey" and self:signature_is_right(request) then
      return wire.message("USERAUTH_SUCCESS")
   elseif request.method == "keyboard-interactive" then
      return wire.message("USERAUTH_INFO_REQUEST", "sssuso", "", "", "", 1, "Password: ", false)
   end
   return wire.message("USERAUTH_FAILURE", "so", self.methods, false)
end

function defaults:info_response(answers)
   if answers[1] == self.password then
      return wire.message("USERAUTH_SUCCESS")
   end
   return wire.message("USERAUTH_FAILURE", "so", self.methods, false)
end

function defaults.global_request(_, _, want_reply)
   return want_reply and wire.message("REQUEST_FAILURE") or nil
end

-- channel = { id =, remote =, window =, packet =, kind = }
function defaults.channel_open(_, channel)
   return wire.message("CHANNEL_OPEN_CONFIRMATION", "uuuu", channel.remote, channel.id, 2097152, 32768)
end

function defaults:channel_request(channel, kind, want_reply, rest)
   if want_reply then
      self:message("CHANNEL_SUCCESS", "u", channel.remote)
   end
   self:at("running")
   if kind == "exec" or kind == "shell" or kind == "subsystem" then
      local run = self.rekey_first and self.exchanges == 1 and function()
         self:step("run", channel, rest)
      end
      if run then
         self:rekey(run)
      else
         self:step("run", channel, rest)
      end
   end
end

-- A command was started: writes, exits and closes.
function defaults:run(channel)
   if self.output ~= "" then
      self:message("CHANNEL_DATA", "us", channel.remote, self.output)
   end
   if self.errors ~= "" then
      self:message("CHANNEL_EXTENDED_DATA", "uus", channel.remote, 1, self.errors)
   end
   self:finish(channel)
end

function Peer:finish(channel)
   self:message("CHANNEL_REQUEST", "usou", channel.remote, "exit-status", false, self.status)
   self:at("ended")
   self:message("CHANNEL_EOF", "u", channel.remote)
   self:at("eof")
   self:message("CHANNEL_CLOSE", "u", channel.remote)
   channel.closed = true
   self:at("closed")
end

-- channel, data
function defaults.data() end
function defaults.eof() end
function defaults.adjust() end
function defaults.reply() end

function defaults.close(_, channel)
   if not channel.closed then
      channel.closed = true
      return wire.message("CHANNEL_CLOSE", "u", channel.remote)
   end
end

-- A message that no handler below is for.
function defaults:unknown()
   return wire.message("UNIMPLEMENTED", "u", (self.into.sequence - 1) & 0xffffffff)
end

-- Whether a publickey request is signed as RFC 4252 7 wants it.
function Peer:signature_is_right(request)
   local signed = wire.pack("s", self.session_id) .. wire.message("USERAUTH_REQUEST", "sssoss", request.user,
      request.service, "publickey", true, request.algorithm, request.blob)
   return primitives.verify(request.blob, signed, request.signature, request.algorithm)
end

-- --- key exchange ---

function Peer:send_kexinit()
   local fields = self:step("kexinit")
   local payload = type(fields) == "table" and kex.pack_init(fields) or fields
   if not payload then
      return
   end
   self.exchange = self.exchange or {}
   self.exchange.server_init = payload
   self.exchange.server = type(fields) == "table" and fields or nil
   self:send(payload)
   self:at(self.exchanges == 0 and "kexinit" or "rekey_kexinit")
end

-- Starts a key exchange from our side; `after` is called when it is done.
function Peer:rekey(after)
   self.after_exchange = after
   if not (self.exchange and self.exchange.server_init) then
      self:send_kexinit()
   end
end

-- What both have in common; where that is nothing, it is the client's to say so, and nothing more comes from here.
function Peer:negotiate()
   local exchange = self.exchange
   local function choose(name)
      return kex.choose(exchange.client[name], exchange.server[name])
   end
   local names = exchange.server and { kex = choose("kex"), host_key = choose("host_key") }
   if not names or not names.kex or not names.host_key then
      return
   end
   exchange.method = kex.methods[names.kex]
   exchange.host_key_algorithm = names.host_key
   if self.exchanges == 0 then
      self.strict = self.strict_offered and kex.holds(exchange.client.kex, "kex-strict-c-v00@openssh.com")
   end
   exchange.c2s, exchange.s2c = {}, {}
   for direction, row in pairs{ c2s = exchange.c2s, s2c = exchange.s2c } do
      row.cipher = choose("cipher_" .. direction)
      row.mac = row.cipher and not framing.is_aead(row.cipher) and choose("mac_" .. direction) or nil
      row.compression = choose("compression_" .. direction)
   end
   exchange.kem = exchange.method.kem and primitives.kem(exchange.method.kem)
   exchange.skip = exchange.client.follows and (exchange.client.kex[1] ~= exchange.server.kex[1] or
      exchange.client.host_key[1] ~= exchange.server.host_key[1])
end

local handlers = {}

handlers[wire.NUMBER.KEXINIT] = function(self, payload)
   if self.exchanges == 0 and self.strict_offered then
      assert(self.into.sequence == 1, "the client's KEXINIT is not its first packet")
   end
   self.exchange = self.exchange or {}
   self.exchange.client_init = payload
   self.exchange.client = kex.unpack_init(payload)
   if not self.exchange.server_init then
      self:send_kexinit()
   end
   if self.exchange.server_init then
      self:negotiate()
   end
end

-- `encoded` gives what is hashed between host key and K, from our public value.
function Peer:reply(client_share, encoded)
   local exchange = self.exchange
   local public, secret = self:step("share", client_share)
   exchange.secret = secret
   exchange.client_ident, exchange.server_ident = self.client_ident, self.ident
   exchange.host_key = self:step("host_key_blob")
   exchange.hash = kex.exchange_hash(exchange.method.hash, exchange, encoded(public))
   self.session_id = self.session_id or exchange.hash
   local prefix = self.exchanges == 0 and "" or "rekey_"
   self:answer(self:step("kex_reply", exchange.host_key, public, self:step("signature", exchange.hash)))
   self:at(prefix .. "reply")
   self:answer(self:step("newkeys"))
   self:key(self.out, exchange.s2c, "BDF")
   if self.strict then
      self.out.sequence = 0
   end
   self:at(prefix .. "newkeys")
   if self.exchanges == 0 then
      self:answer(self:step("ext_info_message"))
   end
   exchange.replied = true
end

handlers[wire.NUMBER.KEX_INIT] = function(self, payload)
   if self.exchange.skip then
      self.exchange.skip = nil
      return
   end
   local _, client_share = wire.unpack("bs", payload)
   self:reply(client_share, function(public)
      return wire.pack("ss", client_share, public)
   end)
end

handlers[wire.NUMBER.GEX_REQUEST] = function(self, payload)
   local _, least, wanted, most = wire.unpack("buuu", payload)
   local p, g = self:step("gex_group", wanted)
   self.exchange.group = { least, wanted, most, p, g }
   self.exchange.kem = primitives.kem_group(p, g)
   self:message("GEX_GROUP", "mm", p, g)
end

handlers[wire.NUMBER.GEX_INIT] = function(self, payload)
   local _, client_share = wire.unpack("bs", payload)
   local group = self.exchange.group
   self:reply(client_share, function(public)
      return wire.pack("uuummss", group[1], group[2], group[3], group[4], group[5], client_share, public)
   end)
end

-- Puts the new keys of one direction into use; letters as in RFC 4253 7.2: IV, key, MAC.
function Peer:key(direction, row, letters)
   local exchange = self.exchange
   local needs = framing.needs(row.cipher, row.mac)
   local function derive(letter, length)
      return kex.derive(exchange.method.hash, exchange.secret, exchange.hash, letter, self.session_id, length)
   end
   direction.secrets = {
      iv = derive(letters:sub(1, 1), needs.iv),
      key = derive(letters:sub(2, 2), needs.key),
      mac = derive(letters:sub(3, 3), needs.mac),
   }
   direction.side = framing.new(row.cipher, row.mac, direction.secrets)
   direction.compression = row.compression
   direction.deflate = nil
   if row.compression == "zlib" or row.compression == "zlib@openssh.com" and self.authenticated then
      direction.deflate = Deflate.new()
   end
end

handlers[wire.NUMBER.NEWKEYS] = function(self)
   self:key(self.into, self.exchange.c2s, "ACE")
   if self.strict then
      self.into.sequence = 0
   end
   self.secured = true
   self.exchanges = self.exchanges + 1
   self.exchange = nil
   local after = self.after_exchange
   self.after_exchange = nil
   if after then
      after(self)
   end
end

-- --- authentication ---

handlers[wire.NUMBER.SERVICE_REQUEST] = function(self, payload)
   local _, name = wire.unpack("bs", payload)
   self:at("service")
   self:answer(self:step("service_request", name))
   self:at("accepted")
end

local request_fields = {
   password = function(request)
      local changing, password = wire.unpack("os", request.rest)
      request.password = password
      if changing then
         request.new_password = select(3, wire.unpack("oss", request.rest))
      end
   end,
   publickey = function(request)
      local signed
      signed, request.algorithm, request.blob = wire.unpack("oss", request.rest)
      if signed then
         request.signature = select(4, wire.unpack("osss", request.rest))
      end
   end,
}

function Peer:auth_answer(result)
   for _, payload in ipairs(type(result) == "table" and result or { result }) do
      self:send(payload)
      if payload:byte() == wire.NUMBER.USERAUTH_SUCCESS and not self.authenticated then
         self.authenticated = true
         if self.out.compression == "zlib@openssh.com" then
            self.out.deflate = Deflate.new()
         end
         self:at("authenticated")
      end
   end
end

handlers[wire.NUMBER.USERAUTH_REQUEST] = function(self, payload)
   local request = {}
   local _
   _, request.user, request.service, request.method, request.rest = wire.unpack("bsssr", payload)
   local fields = request_fields[request.method]
   if fields then
      fields(request)
   end
   self.requests = self.requests or {}
   table.insert(self.requests, request)
   self:at("userauth")
   self:auth_answer(self:step("userauth", request))
end

handlers[wire.NUMBER.USERAUTH_INFO_RESPONSE] = function(self, payload)
   local _, n = wire.unpack("bu", payload)
   local answers = { wire.unpack(("s"):rep(n), payload:sub(6)) }
   self:auth_answer(self:step("info_response", answers))
end

-- --- the connection ---

handlers[wire.NUMBER.GLOBAL_REQUEST] = function(self, payload)
   local _, name, want_reply, rest = wire.unpack("bsor", payload)
   self:answer(self:step("global_request", name, want_reply, rest))
end

handlers[wire.NUMBER.CHANNEL_OPEN] = function(self, payload)
   local _, kind, remote, window, packet, rest = wire.unpack("bsuuur", payload)
   local channel = { id = #self.channels, remote = remote, window = window, packet = packet, kind = kind, rest = rest }
   table.insert(self.channels, channel)
   self:at("opening")
   self:answer(self:step("channel_open", channel))
   self:at("opened")
end

function Peer:channel(id)
   return assert(self.channels[id + 1], "the client names a channel that was never opened")
end

handlers[wire.NUMBER.CHANNEL_REQUEST] = function(self, payload)
   local _, id, kind, want_reply, rest = wire.unpack("busor", payload)
   self:at("requested")
   self:answer(self:step("channel_request", self:channel(id), kind, want_reply, rest))
end

handlers[wire.NUMBER.CHANNEL_WINDOW_ADJUST] = function(self, payload)
   local _, id, more = wire.unpack("buu", payload)
   local channel = self:channel(id)
   channel.window = channel.window + more
   assert(channel.window <= 0xffffffff, "the client lets the window overflow")
   self:answer(self:step("adjust", channel, more))
end

handlers[wire.NUMBER.CHANNEL_DATA] = function(self, payload)
   local _, id, data = wire.unpack("bus", payload)
   self:answer(self:step("data", self:channel(id), data))
end

handlers[wire.NUMBER.CHANNEL_EOF] = function(self, payload)
   self:answer(self:step("eof", self:channel(select(2, wire.unpack("bu", payload)))))
end

handlers[wire.NUMBER.CHANNEL_CLOSE] = function(self, payload)
   self:answer(self:step("close", self:channel(select(2, wire.unpack("bu", payload)))))
end

local function reply_handler(self, payload)
   self:answer(self:step("reply", payload))
end

for _, name in ipairs{ "REQUEST_SUCCESS", "REQUEST_FAILURE", "CHANNEL_SUCCESS", "CHANNEL_FAILURE",
   "CHANNEL_OPEN_CONFIRMATION", "CHANNEL_OPEN_FAILURE", "IGNORE", "DEBUG", "UNIMPLEMENTED", "EXT_INFO", "PONG" } do
   handlers[wire.NUMBER[name]] = reply_handler
end

handlers[wire.NUMBER.DISCONNECT] = function(self, payload)
   local _, reason, text, language = wire.unpack("buss", payload)
   self.disconnect = { reason = reason, text = text, language = language }
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
      local handler = handlers[number]
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
