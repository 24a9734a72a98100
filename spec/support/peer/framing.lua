-- Binary packets (RFC 4253 6, RFC 5647, OpenSSH's PROTOCOL and PROTOCOL.chacha20poly1305) for one direction, written
-- apart from the core's: an independent check of its framing, and one that can lie at any layer.
--
--    local needs = framing.needs(cipher, mac)              { iv =, key =, mac = } lengths in bytes
--    local side = framing.new(cipher, mac, secrets)        nil, nil: packets in clear
--    side:seal(sequence, fields) → bytes
--    side:open(sequence, bytes, at) → payload, after | nil when the packet is not complete
--
-- Fields of seal: payload; padding (the bytes, default: as few zeros as may be); and the lies: packet_length and
-- padding_length (what the fields say), body (all behind the length field), tag (what stands for MAC or tag), tamper
-- (function(packet, tag) → bytes sent). A lie never changes what is sealed truthfully: the tag is right for the lie.

local primitives = require "spec.support.primitives"

local framing = {}

local ciphers = {
   ["aes128-ctr"] = { kind = "mac", key = 16, iv = 16, block = 16 },
   ["aes192-ctr"] = { kind = "mac", key = 24, iv = 16, block = 16 },
   ["aes256-ctr"] = { kind = "mac", key = 32, iv = 16, block = 16 },
   ["aes128-cbc"] = { kind = "mac", key = 16, iv = 16, block = 16 },
   ["aes192-cbc"] = { kind = "mac", key = 24, iv = 16, block = 16 },
   ["aes256-cbc"] = { kind = "mac", key = 32, iv = 16, block = 16 },
   ["3des-cbc"] = { kind = "mac", key = 24, iv = 8, block = 8 },
   ["aes128-gcm@openssh.com"] = { kind = "gcm", key = 16, iv = 12, block = 16 },
   ["aes256-gcm@openssh.com"] = { kind = "gcm", key = 32, iv = 12, block = 16 },
   ["chacha20-poly1305@openssh.com"] = { kind = "chacha", key = 64, iv = 0, block = 8 },
}

-- Under their names, and with "-etm" for encrypt-then-MAC.
local macs = {
   ["hmac-sha2-256"] = { hash = "sha256", key = 32, tag = 32 },
   ["hmac-sha2-512"] = { hash = "sha512", key = 64, tag = 64 },
   ["hmac-sha1"] = { hash = "sha1", key = 20, tag = 20 },
   ["hmac-sha1-96"] = { hash = "sha1", key = 20, tag = 12 },
   ["hmac-md5"] = { hash = "md5", key = 16, tag = 16 },
   ["hmac-md5-96"] = { hash = "md5", key = 16, tag = 12 },
   ["umac-64@openssh.com"] = { key = 16, tag = 8 },
   ["umac-128@openssh.com"] = { key = 16, tag = 16 },
}

local function mac_row(name)
   local plain = name:gsub("%-etm@openssh%.com$", "")
   return macs[plain] or macs[plain .. "@openssh.com"], plain ~= name
end

-- A function of a sequence number and bytes that gives their MAC.
local function mac_function(row, key)
   if not row.hash then
      return primitives.umac(row.tag, key)
   end
   local hmac = primitives.hmac(row.hash, key)
   return function(sequence, bytes)
      return hmac((">I4"):pack(sequence) .. bytes):sub(1, row.tag)
   end
end

function framing.is_aead(cipher)
   return ciphers[cipher].kind ~= "mac"
end

function framing.needs(cipher, mac)
   local row = ciphers[cipher]
   return { iv = row.iv, key = row.key, mac = row.kind == "mac" and mac_row(mac).key or 0 }
end

-- What stands behind the length field, and the length field. `counted` bytes in front of the padding count for its
-- alignment beside the payload: 5 where the length field is encrypted with the rest, else 1.
local function lay_out(fields, block, counted)
   local payload = fields.payload or ""
   local padding = fields.padding
   if not padding then
      local n = block - (counted + #payload) % block
      padding = ("\0"):rep(n < 4 and n + block or n)
   end
   local body = fields.body or string.char(fields.padding_length or #padding) .. payload .. padding
   return body, (">I4"):pack(fields.packet_length or #body)
end

local function finish(fields, packet, tag)
   tag = fields.tag or tag
   return fields.tamper and fields.tamper(packet, tag) or packet .. tag
end

-- Takes payload and padding of a client's packet apart, and checks that they are as the RFC wants them.
local function payload_of(body, block, counted)
   local n = body:byte()
   assert((#body + counted - 1) % block == 0, "the client's packet is not aligned")
   assert(n >= 4 and n + 1 < #body, "the client's padding is out of bounds")
   return body:sub(2, #body - n)
end

local function length_at(bytes, at)
   return #bytes - at + 1 >= 4 and (">I4"):unpack(bytes, at) or nil
end

local Clear = {}
Clear.__index = Clear

function Clear.seal(_, _, fields)
   local body, length = lay_out(fields, 8, 5)
   return finish(fields, length .. body, "")
end

function Clear.open(_, _, bytes, at)
   local length = length_at(bytes, at)
   if length and #bytes - at + 1 >= 4 + length then
      return payload_of(bytes:sub(at + 4, at + 3 + length), 8, 5), at + 4 + length
   end
end

-- A cipher, and a MAC over the clear packet.
local Mac = {}
Mac.__index = Mac

local function apply(cipher, text, block)
   local rest = #text % block
   return rest == 0 and cipher(text) or cipher(text .. ("\0"):rep(block - rest)):sub(1, #text)
end

function Mac:seal(sequence, fields)
   local body, length = lay_out(fields, self.block, 5)
   local tag = self.mac(sequence, length .. body)
   return finish(fields, apply(self.encrypt, length .. body, self.block), tag)
end

function Mac:open(sequence, bytes, at)
   local block = self.block
   if not self.first then
      if #bytes - at + 1 < block then
         return nil
      end
      self.first = self.decrypt(bytes:sub(at, at + block - 1))
   end
   local length = length_at(self.first, 1)
   local after = at + 4 + length
   if #bytes - after + 1 < self.tag_length then
      return nil
   end
   local text = self.first .. (length > block - 4 and self.decrypt(bytes:sub(at + block, after - 1)) or "")
   assert(self.mac(sequence, text) == bytes:sub(after, after + self.tag_length - 1), "the client's MAC is wrong")
   self.first = nil
   return payload_of(text:sub(5), block, 5), after + self.tag_length
end

-- A cipher, and a MAC over the encrypted packet, its length in clear.
local Etm = {}
Etm.__index = Etm

function Etm:seal(sequence, fields)
   local body, length = lay_out(fields, self.block, 1)
   local packet = length .. apply(self.encrypt, body, self.block)
   return finish(fields, packet, self.mac(sequence, packet))
end

function Etm:open(sequence, bytes, at)
   local length = length_at(bytes, at)
   if not length or #bytes - at + 1 < 4 + length + self.tag_length then
      return nil
   end
   local after = at + 4 + length
   assert(self.mac(sequence, bytes:sub(at, after - 1)) == bytes:sub(after, after + self.tag_length - 1),
      "the client's MAC is wrong")
   return payload_of(self.decrypt(bytes:sub(at + 4, after - 1)), self.block, 1), after + self.tag_length
end

-- AES-GCM. The invocation counter is kept here, so that the core's own is checked against it.
local Gcm = {}
Gcm.__index = Gcm

function Gcm:nonce()
   local fixed, counter = (">c4I8"):unpack(self.iv)
   local nonce = self.iv
   self.iv = (">c4I8"):pack(fixed, counter + 1)
   return nonce
end

function Gcm:seal(_, fields)
   local body, length = lay_out(fields, 16, 1)
   local text, tag = primitives.gcm_seal(self.key, self:nonce(), length, body)
   return finish(fields, length .. text, tag)
end

function Gcm:open(_, bytes, at)
   local length = length_at(bytes, at)
   if not length or #bytes - at + 1 < 4 + length + 16 then
      return nil
   end
   local after = at + 4 + length
   local body = primitives.gcm_open(self.key, self:nonce(), bytes:sub(at, at + 3), bytes:sub(at + 4, after - 1),
      bytes:sub(after, after + 15))
   return payload_of(assert(body, "the client's tag is wrong"), 16, 1), after + 16
end

local ChaCha = {}
ChaCha.__index = ChaCha

function ChaCha:seal(sequence, fields)
   local body, length = lay_out(fields, 8, 1)
   local sealed = self.cipher:seal(sequence, length .. body)
   return finish(fields, sealed:sub(1, #body + 4), sealed:sub(#body + 5))
end

function ChaCha:open(sequence, bytes, at)
   if #bytes - at + 1 < 4 then
      return nil
   end
   local length = self.cipher:length(sequence, bytes:sub(at, at + 3))
   if #bytes - at + 1 < 4 + length + 16 then
      return nil
   end
   local after = at + 4 + length + 16
   local body = assert(self.cipher:open(sequence, bytes:sub(at, after - 1)), "the client's tag is wrong")
   return payload_of(body, 8, 1), after
end

-- secrets: { iv =, key =, mac = }, as long as needs says.
function framing.new(cipher, mac, secrets)
   if not cipher then
      return setmetatable({}, Clear)
   end
   local row = ciphers[cipher]
   if row.kind == "gcm" then
      return setmetatable({ key = secrets.key, iv = secrets.iv }, Gcm)
   elseif row.kind == "chacha" then
      return setmetatable({ cipher = primitives.chacha(secrets.key) }, ChaCha)
   end
   local mac_algorithm, is_etm = mac_row(mac)
   return setmetatable({
      block = row.block,
      encrypt = primitives.cipher(cipher, true, secrets.key, secrets.iv),
      decrypt = primitives.cipher(cipher, false, secrets.key, secrets.iv),
      mac = mac_function(mac_algorithm, secrets.mac),
      tag_length = mac_algorithm.tag,
   }, is_etm and Etm or Mac)
end

return framing
