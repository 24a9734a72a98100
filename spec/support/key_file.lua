-- Private key files in OpenSSH's format, made field by field, so that every field can be wrong.
--
--    key_file.ed25519(seed)                  -- { public = blob, private = fields of the private part }
--    key_file.rsa{ n =, e =, d =, iqmp =, p =, q = }     -- magnitudes
--    key_file.text{ public =, private =, check1 =, check2 =, comment =, padding =, … }
--
-- Options of text: cipher, kdf, options, n_keys, rest (bytes behind the private part), sealed (in place of the private
-- part as made from the others).

local testing = require "moonssh_testing"
local write = testing.base.write

local key_file = {}

function key_file.armour(bytes)
   local lines = { "-----BEGIN OPENSSH PRIVATE KEY-----" }
   for line in testing.keys.base64_encode(bytes):gmatch(("."):rep(70, "?")) do
      lines[#lines + 1] = line ~= "" and line or nil
   end
   lines[#lines + 1] = "-----END OPENSSH PRIVATE KEY-----\n"
   return table.concat(lines, "\n")
end

function key_file.ed25519(seed, public)
   return {
      public = write("string", "ssh-ed25519", "string", public),
      private = write("string", "ssh-ed25519", "string", public, "string", seed .. public),
   }
end

function key_file.rsa(key)
   return {
      public = write("string", "ssh-rsa", "mpint", key.e, "mpint", key.n),
      private = write("string", "ssh-rsa", "mpint", key.n, "mpint", key.e, "mpint", key.d, "mpint", key.iqmp,
         "mpint", key.p, "mpint", key.q),
   }
end

-- The private part, padded to 8 bytes.
function key_file.section(fields)
   local bytes = write("u32", fields.check1 or 7, "u32", fields.check2 or fields.check1 or 7, "bytes", fields.private,
      "string", fields.comment or "made by a spec")
   if fields.padding then
      return bytes .. fields.padding
   end
   local n = 0
   while #bytes % 8 ~= 0 do
      n = n + 1
      bytes = bytes .. string.char(n)
   end
   return bytes
end

function key_file.text(fields)
   return key_file.armour(write("bytes", "openssh-key-v1\0", "string", fields.cipher or "none", "string",
      fields.kdf or "none", "string", fields.options or "", "u32", fields.n_keys or 1, "string", fields.public,
      "string", fields.sealed or key_file.section(fields), "bytes", fields.rest or ""))
end

return key_file
