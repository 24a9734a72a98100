-- Attacks, section H, as far as the core decides it: signatures and the host key itself. What is a matter of policy is
-- in policy_spec.lua.

local keys = require "spec.support.peer.keys"
local oracle = require "spec.support.oracle"
local wire = require "spec.support.wire"

local pack = wire.pack

-- What a run ends in whose host key or signature is bad.
local function rejected(options, words)
   local run = oracle.run{ peer = options }
   assert.are.equal(0, (run.client:count("host_key")))
   return oracle.rejected(run, "protocol", 3, words)
end

local function signing(sign, options)
   options = options or {}
   options.steps = { signature = sign }
   rejected(options)
end

describe("H6: the signature of the exchange hash", function()
   it("must be one: a bit flipped anywhere is rejected", function()
      for _, host_key in ipairs{ keys.ed25519(), keys.ecdsa(256), keys.rsa() } do
         local length = #host_key:sign(host_key:type() == "ssh-rsa" and "rsa-sha2-512" or host_key:type(), "x")
         for at = 1, length, host_key == keys.ed25519() and 1 or 13 do
            signing(function(peer, hash)
               local blob = peer.host_key:sign(peer.exchange.host_key_algorithm, hash)
               local i = math.min(at, #blob)
               return blob:sub(1, i - 1) .. string.char(blob:byte(i) ~ 1 << at % 8) .. blob:sub(i + 1)
            end, { host_key = host_key })
         end
      end
   end)

   it("must be of this exchange", function()
      signing(function(peer) return peer.host_key:sign("ssh-ed25519", ("h"):rep(32)) end)
   end)

   it("must be the shown key's", function()
      signing(function(_, hash) return keys.ed25519("other"):sign("ssh-ed25519", hash) end)
   end)

   for _, pair in ipairs{ { "rsa-sha2-512", "rsa-sha2-256" }, { "rsa-sha2-256", "rsa-sha2-512" } } do
      it("must be of the algorithm agreed on: " .. pair[1] .. ", not " .. pair[2], function()
         signing(function(peer, hash) return peer.host_key:sign(pair[2], hash) end,
            { host_key = keys.rsa(), host_key_algorithms = pair[1] })
      end)
   end

   for _, name in ipairs{ "ssh-rsa", "rsa-sha2-256", "", "rsa-sha2-512\0", "RSA-SHA2-512", "ssh-ed25519" } do
      it("must bear the name of that algorithm, not " .. ("%q"):format(name), function()
         signing(function(peer, hash)
            local _, signature = wire.unpack("ss", peer.host_key:sign("rsa-sha2-512", hash))
            return pack("ss", name, signature)
         end, { host_key = keys.rsa(), host_key_algorithms = "rsa-sha2-512" })
      end)
   end

   it("must have its own length, and nothing behind it", function()
      for _, n in ipairs{ 1, 4, 16 } do
         signing(function(peer, hash) return peer.host_key:sign("ssh-ed25519", hash) .. ("\0"):rep(n) end)
      end
      for _, change in ipairs{ -64, -63, -32, -1, 1, 64 } do
         signing(function(peer, hash)
            local name, signature = wire.unpack("ss", peer.host_key:sign("ssh-ed25519", hash))
            return pack("ss", name, (signature .. ("\0"):rep(64)):sub(1, 64 + change))
         end)
      end
   end)

   it("may not be empty, or cut short", function()
      for n = 0, 82 do
         signing(function(peer, hash) return peer.host_key:sign("ssh-ed25519", hash):sub(1, n) end)
      end
   end)

   it("may be no huge one", function()
      signing(function() return pack("ss", "ssh-ed25519", ("s"):rep(30000)) end)
   end)

   it("of ECDSA may have no values that are out of range", function()
      for _, values in ipairs{ { "", "" }, { "\0", "\0" }, { "\1", "" }, { ("\127"):rep(32), "" }, { "\255", "\255" },
         { ("\127"):rep(2000), "\1" }, { "\0\0\1", "\1" } } do
         signing(function()
            return pack("ss", "ecdsa-sha2-nistp256", pack("ss", values[1], values[2]))
         end, { host_key = keys.ecdsa(256) })
      end
      signing(function(peer, hash)
         local name, signature = wire.unpack("ss", peer.host_key:sign("ecdsa-sha2-nistp256", hash))
         return pack("ss", name, signature .. "\0")
      end, { host_key = keys.ecdsa(256) })
   end)

   -- A key of another kind than the algorithm agreed on; it signs as well as it can.
   local function other_key(algorithm, key)
      rejected{ host_key = key, host_key_algorithms = algorithm, steps = { signature = function(_, hash)
         return key:sign(key:type() == "ssh-rsa" and "rsa-sha2-512" or key:type(), hash)
      end } }
   end

   it("must come with a key of the kind agreed on", function()
      other_key("ecdsa-sha2-nistp256", keys.ecdsa(384))
      other_key("ecdsa-sha2-nistp521", keys.ecdsa(256))
      other_key("ssh-ed25519", keys.rsa())
      other_key("ssh-ed25519", keys.ecdsa(256))
      other_key("rsa-sha2-512", keys.ed25519())
      other_key("rsa-sha2-256", keys.ecdsa(521))
   end)
end)

describe("H7: the host key", function()
   local function blob(text, algorithm)
      rejected({ host_key_algorithms = algorithm, steps = {
         host_key_blob = function() return text end,
         signature = function(peer, hash) return peer.host_key:sign("ssh-ed25519", hash) end,
      } }, "key")
   end

   it("of ed25519 has 32 bytes", function()
      for _, n in ipairs{ 0, 1, 31, 33, 64, 10000 } do
         blob(pack("ss", "ssh-ed25519", ("k"):rep(n)), "ssh-ed25519")
      end
   end)

   it("has nothing behind it, and is not cut short", function()
      local whole = keys.ed25519():blob()
      blob(whole .. "\0", "ssh-ed25519")
      for n = 0, #whole - 1 do
         blob(whole:sub(1, n), "ssh-ed25519")
      end
   end)

   it("bears its own name alone", function()
      local _, point = wire.unpack("ss", keys.ed25519():blob())
      for _, name in ipairs{ "", "ssh-ed25519\0", "ssh-ed448", "ssh-rsa", "ssh-ed25519-cert-v01@openssh.com" } do
         blob(pack("ss", name, point), "ssh-ed25519")
      end
   end)

   local e, n
   do
      local _
      _, e, n = wire.unpack("smm", keys.rsa():blob())
   end

   local function modulus(bits)
      local bytes = (bits + 7) // 8
      local top = bits % 8 == 0 and 0x80 or 1 << (bits % 8 - 1)
      return string.char(top) .. ("\255"):rep(bytes - 1)
   end

   it("of RSA has a modulus of 2,048 to 16,384 bits, and an odd one", function()
      for _, bits in ipairs{ 1, 512, 1023, 1024, 2047, 16385, 32768, 65536 } do
         blob(pack("smm", "ssh-rsa", e, modulus(bits)), "rsa-sha2-512")
      end
      blob(pack("sms", "ssh-rsa", e, ""), "rsa-sha2-512")
      blob(pack("smm", "ssh-rsa", e, n:sub(1, -2) .. "\0"), "rsa-sha2-512")
      blob(pack("sms", "ssh-rsa", e, n), "rsa-sha2-512") -- negative
   end)

   it("of RSA has an odd exponent from 3 to 2^32", function()
      for _, exponent in ipairs{ "", "\1", "\2", "\1\0\0", "\1\0\0\0\1", "\1" .. ("\0"):rep(7) .. "\1",
         modulus(2048) } do
         blob(pack("smm", "ssh-rsa", exponent, n), "rsa-sha2-512")
      end
   end)

   it("of ECDSA is a point of its own curve, uncompressed", function()
      local name, curve, point = wire.unpack("sss", keys.ecdsa(256):blob())
      for _, wrong in ipairs{ "\0", "", "\2" .. point:sub(2, 33), "\4" .. ("\0"):rep(64), "\4" .. ("\255"):rep(64),
         point:sub(1, -2), point .. "\0", point:sub(1, -2) .. string.char(point:byte(-1) ~ 1) } do
         blob(pack("sss", name, curve, wrong), name)
      end
      for _, wrong in ipairs{ "", "nistp384", "nistp256\0", "secp256k1" } do
         blob(pack("sss", name, wrong, point), name)
      end
   end)

   it("of another kind is not known", function()
      blob(pack("sssss", "ssh-dss", "p", "q", "g", "y"), "ssh-ed25519")
      blob("", "ssh-ed25519")
      blob(("\255"):rep(64), "ssh-ed25519")
   end)

   it("of 16,384 bits is not too large", function()
      -- Its signature cannot be right, since nobody has the private half: but it is the signature that is refused.
      local words = rejected{ host_key_algorithms = "rsa-sha2-512", steps = {
         host_key_blob = function() return pack("smm", "ssh-rsa", e, modulus(16384)) end,
         signature = function() return pack("ss", "rsa-sha2-512", ("s"):rep(2048)) end } }
      assert.is_truthy(words:find("signature"), words)
   end)
end)

describe("H10: another host key when keys are exchanged again", function()
   it("is rejected, however right its signature", function()
      local other = keys.ed25519("other")
      local run = oracle.run{ peer = { rekey_first = true, steps = {
         host_key_blob = function(peer)
            return peer.exchanges == 0 and peer.host_key:blob() or other:blob()
         end,
         signature = function(peer, hash)
            return (peer.exchanges == 0 and peer.host_key or other):sign("ssh-ed25519", hash)
         end,
      } } }
      assert.are.equal(1, (run.client:count("host_key")))
      assert.are.equal("", run.client.stdout)
      oracle.rejected(run, "protocol", 9, "host key changed")
   end)

   it("of another kind is rejected", function()
      local other = keys.ecdsa(256)
      local run = oracle.run{ peer = { rekey_first = true, host_key_algorithms = { "ssh-ed25519",
         "ecdsa-sha2-nistp256" }, steps = {
            kexinit = function(peer)
               local fields = require "spec.support.peer".new():step("kexinit")
               fields.host_key = peer.exchanges == 0 and { "ssh-ed25519" } or { "ecdsa-sha2-nistp256" }
               return fields
            end,
            host_key_blob = function(peer)
               return peer.exchanges == 0 and peer.host_key:blob() or other:blob()
            end,
            signature = function(peer, hash)
               if peer.exchanges == 0 then
                  return peer.host_key:sign("ssh-ed25519", hash)
               end
               return other:sign("ecdsa-sha2-nistp256", hash)
            end,
         } } }
      oracle.rejected(run, "protocol", 9, "host key changed")
   end)

   it("is the same key after every exchange: what was told first stays", function()
      local run = oracle.run{ peer = { rekey_first = true } }
      assert.are.equal(run.peer.host_key:blob(), run.client.session:host_key())
      oracle.finished(run)
   end)
end)

describe("H11: hostkeys-00@openssh.com", function()
   local function announcing(count)
      local parts = {}
      for i = 1, count do
         parts[i] = pack("s", pack("ss", "ssh-ed25519", (">I4"):pack(i):rep(8)))
      end
      return wire.message("GLOBAL_REQUEST", "sor", "hostkeys-00@openssh.com", false, table.concat(parts))
   end

   it("teaches the client nothing", function()
      local run = oracle.run{ peer = { inject = { authenticated = {
         announcing(1), announcing(4000),
         wire.message("GLOBAL_REQUEST", "sor", "hostkeys-00@openssh.com", true, "\255\255junk"),
      } } } }
      assert.are.equal(1, #run.peer:seen("REQUEST_FAILURE"))
      assert.are.equal(run.peer.host_key:blob(), run.client.session:host_key())
      oracle.finished(run)
   end)

   it("is rejected before authentication", function()
      oracle.rejected(oracle.run{ peer = { inject = { accepted = announcing(1) } } }, "protocol", 2, "out of place")
   end)
end)
