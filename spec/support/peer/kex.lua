-- Key exchange on the server's side (RFC 4253 7 and 8, RFC 4419, RFC 5656, RFC 8731), written apart from the core's:
-- negotiation, the exchange hash and the derivation of keys.

local primitives = require "spec.support.primitives"
local wire = require "spec.support.wire"

local kex = {}

-- The secret of a hybrid is a string, that of the others an mpint.
kex.methods = {
   ["mlkem768x25519-sha256"] = { hash = "sha256", kem = "mlkem", secret = "s" },
   ["sntrup761x25519-sha512"] = { hash = "sha512", kem = "sntrup", secret = "s" },
   ["sntrup761x25519-sha512@openssh.com"] = { hash = "sha512", kem = "sntrup", secret = "s" },
   ["curve25519-sha256"] = { hash = "sha256", kem = "x25519" },
   ["curve25519-sha256@libssh.org"] = { hash = "sha256", kem = "x25519" },
   ["ecdh-sha2-nistp256"] = { hash = "sha256", kem = "p256" },
   ["ecdh-sha2-nistp384"] = { hash = "sha384", kem = "p384" },
   ["ecdh-sha2-nistp521"] = { hash = "sha512", kem = "p521" },
   ["diffie-hellman-group14-sha256"] = { hash = "sha256", kem = "dh14" },
   ["diffie-hellman-group16-sha512"] = { hash = "sha512", kem = "dh16" },
   ["diffie-hellman-group18-sha512"] = { hash = "sha512", kem = "dh18" },
   ["diffie-hellman-group-exchange-sha256"] = { hash = "sha256", gex = true },
}

-- The fields of a KEXINIT payload: its ten name-lists by name, and what follows them.
local lists = { "kex", "host_key", "cipher_c2s", "cipher_s2c", "mac_c2s", "mac_s2c", "compression_c2s",
   "compression_s2c", "language_c2s", "language_s2c" }

-- A KEXINIT payload from { kex = {…}, host_key = {…}, cipher_c2s = {…}, … }; lists may be given as text. cookie,
-- follows and reserved have defaults.
function kex.pack_init(fields)
   local parts = { wire.message("KEXINIT", "r", fields.cookie or ("C"):rep(16)) }
   for _, name in ipairs(lists) do
      table.insert(parts, wire.pack("n", fields[name] or {}))
   end
   table.insert(parts, wire.pack("ou", fields.follows, fields.reserved or 0))
   return table.concat(parts)
end

function kex.unpack_init(payload)
   local values = table.pack(wire.unpack("bnnnnnnnnnnou", payload:sub(1, 1) .. payload:sub(18)))
   local fields = { cookie = payload:sub(2, 17), follows = values[12], reserved = values[13] }
   for i, name in ipairs(lists) do
      fields[name] = values[i + 1]
   end
   return fields
end

local function holds(list, name)
   for _, item in ipairs(list) do
      if item == name then
         return true
      end
   end
   return false
end

kex.holds = holds

-- The first name of the client's list that the server has, too.
function kex.choose(client, server)
   for _, name in ipairs(client) do
      if holds(server, name) and not name:find("^kex%-strict") and not name:find("^ext%-info") then
         return name
      end
   end
end

-- K as it is hashed.
function kex.encoded_secret(exchange)
   return wire.pack(exchange.method.secret or "m", exchange.secret)
end

-- H (RFC 4253 8). `shares` is what stands between the host key and K, as encoded.
function kex.exchange_hash(exchange, shares)
   return primitives.hash(exchange.method.hash, wire.pack("sssssrr", exchange.client_ident, exchange.server_ident,
      exchange.client_init, exchange.server_init, exchange.host_key, shares, kex.encoded_secret(exchange)))
end

-- One key of RFC 4253 7.2.
function kex.derive(exchange, letter, session_id, length)
   local hash = exchange.method.hash
   local prefix = kex.encoded_secret(exchange) .. exchange.hash
   local bytes = primitives.hash(hash, prefix .. letter .. session_id)
   while #bytes < length do
      bytes = bytes .. primitives.hash(hash, prefix .. bytes)
   end
   return bytes:sub(1, length)
end

return kex
