-- What the hand-made server does when it is not told otherwise, step by step: functions of the peer and what the step
-- is given, with what to send as their result. See spec.support.peer.

local kex = require "spec.support.peer.kex"
local primitives = require "spec.support.primitives"
local wire = require "spec.support.wire"

local defaults = {}

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

-- A message that has no handler.
function defaults:unknown()
   return wire.message("UNIMPLEMENTED", "u", (self.into.sequence - 1) & 0xffffffff)
end

return defaults
