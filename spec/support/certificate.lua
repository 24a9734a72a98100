-- Certificates made field by field (PROTOCOL.certkeys), so that every field can be wrong, and keys of security keys
-- that a spec signs with itself (PROTOCOL.u2f).
--
--    certificate.blob{ key = public blob, authority = key, … }      a certificate's blob
--    certificate.strings{ "a", "b" }                                strings, one after the other
--    local sk = certificate.security_key("ed25519"|"ecdsa")         { type =, blob =, sign(data, flags, counter) }
--
-- Fields of blob: type, nonce, serial, use (1 user, 2 host; default 2), key_id, principals, valid_after, valid_before,
-- critical, extensions, reserved, signature_key, signature (a blob, or function(body)), algorithm.

local testing = require "moonssh_testing"
local hash = require "moonssh.core".hash
local write = testing.base.write

local certificate = {}

function certificate.strings(list)
   local parts = {}
   for i, text in ipairs(list) do
      parts[i] = write("string", text)
   end
   return table.concat(parts)
end

-- Type name and fields of a public blob.
local function split(blob)
   local name, place = string.unpack(">s4", blob)
   return name, blob:sub(place)
end

function certificate.blob(fields)
   local name, numbers = split(fields.key)
   local full = fields.type or name:gsub("@openssh%.com$", "") .. "-cert-v01@openssh.com"
   local body = write("string", full, "string", fields.nonce or ("n"):rep(32), "bytes", numbers)
      .. string.pack(">I8I4", fields.serial or 0, fields.use or 2)
      .. write("string", fields.key_id or "id", "string", fields.principals or certificate.strings{ "host" })
      .. string.pack(">i8i8", fields.valid_after or 0, fields.valid_before or -1)
      .. write("string", fields.critical or "", "string", fields.extensions or "", "string", fields.reserved or "",
         "string", fields.signature_key or fields.authority:blob())
   local signature = fields.signature
   if signature == nil then
      local algorithm = fields.algorithm or fields.authority:type()
      signature = fields.authority:sign(algorithm == "ssh-rsa" and "rsa-sha2-512" or algorithm, body)
   elseif type(signature) == "function" then
      signature = signature(body)
   end
   return body .. write("string", signature)
end

-- A key as a security key has it: what it signs is made of hashes, its flags and a counter.
function certificate.security_key(kind, application)
   application = application or "ssh:"
   local inner = kind == "ed25519" and testing.keys.generate("ed25519") or testing.keys.generate("ecdsa", 256)
   local _, numbers = split(inner:blob())
   local name = kind == "ed25519" and "sk-ssh-ed25519@openssh.com" or "sk-ecdsa-sha2-nistp256@openssh.com"
   local self = {
      type = name,
      blob = write("string", name, "bytes", numbers, "string", application),
      -- What a private key file has of it, behind the type's name.
      private = write("bytes", numbers, "string", application, "u8", 1, "string", "a key handle", "string", ""),
   }
   function self.sign(data, flags, counter)
      local tail = string.pack(">BI4", flags or 1, counter or 7)
      local signature = inner:sign(inner:type(), hash("sha256", application) .. tail .. hash("sha256", data))
      local _, bytes = string.unpack(">s4s4", signature)
      return write("string", name, "string", bytes) .. tail
   end
   return self
end

return certificate
