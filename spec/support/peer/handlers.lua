-- What the hand-made server does with each message of the client: the methods of spec.support.peer that belong to it,
-- and the table of handlers, by message number.

local Deflate = require "spec.support.peer.deflate"
local framing = require "spec.support.peer.framing"
local kex = require "spec.support.peer.kex"
local primitives = require "spec.support.primitives"
local wire = require "spec.support.wire"

-- Methods of the peer.
local Peer = {}

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
   exchange.hash = kex.exchange_hash(exchange, encoded(public))
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
      return kex.derive(exchange, letter, self.session_id, length)
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

return { methods = Peer, by_number = handlers }
