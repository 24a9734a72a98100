-- Attacks, section H, with certificates and security keys for host keys: what the core decides on the wire.

local certificate = require "spec.support.certificate"
local keys = require "spec.support.peer.keys"
local MemorySession = require "spec.support.memory_session"
local oracle = require "spec.support.oracle"
local testing = require "moonssh_testing"
local tmp = require "spec.support.tmp"

local authority = testing.keys.generate("ed25519")
local CERT = "-cert-v01@openssh.com"

-- A host key that shows a certificate, and signs with the key in it, or as it is told.
local function certified(key, fields, sign)
   local all = { key = key:blob(), authority = authority }
   for name, value in pairs(fields) do
      all[name] = value
   end
   local blob = certificate.blob(all)
   return {
      type = function() return key:type() .. CERT end,
      blob = function() return blob end,
      sign = sign or function(_, algorithm, data)
         return key:sign((algorithm:gsub("%-cert%-v01@openssh%.com$", "")), data)
      end,
   }
end

local function handshake(host_key, algorithm)
   local link = MemorySession.new{
      peer = { host_key = host_key, host_key_algorithms = algorithm },
      session = { algorithms = { host_key = { algorithm } } },
   }
   local folder <close> = tmp.dir()
   local list = folder:write("known_hosts", ("@cert-authority * ssh-ed25519 %s\n"):format(
      testing.keys.base64_encode(authority:blob())))
   local ok, err = link:handshake{ host = "moon", known_hosts = list }
   link:settle()
   return ok, err, link
end

local function refused(host_key, algorithm, code, pattern)
   local ok, err, link = handshake(host_key, algorithm)
   assert.is_nil(ok)
   assert.equal(code, err.code, err.message)
   assert.matches(pattern, err.message)
   oracle.safe_text(err.message)
   assert.equal(0, #link.peer:seen("NEWKEYS"))
   assert.equal(0, #link.peer:seen("USERAUTH_REQUEST"))
end

local good = { principals = certificate.strings{ "sun", "moon" } }

describe("H8: a host certificate", function()
   for name, key in pairs{ ["ssh-ed25519"] = keys.ed25519(), ["ecdsa-sha2-nistp256"] = keys.ecdsa(256),
      ["rsa-sha2-512"] = keys.rsa(), ["rsa-sha2-256"] = keys.rsa() } do
      it("with an honest signature by " .. name .. " is accepted", function()
         local host_key = certified(key, { principals = good.principals })
         local ok, err, link = handshake(host_key, name .. CERT)
         assert.is_true(ok, tostring(err))
         assert.equal(name .. CERT, link.session.info.host_key)
      end)
   end

   it("has the exchange signed by the key in it, with the algorithm agreed on", function()
      local other = keys.ed25519("other")
      refused(certified(keys.ed25519(), good, function(_, _, data) return other:sign("ssh-ed25519", data) end),
         "ssh-ed25519" .. CERT, "protocol", "signature is not valid")
      refused(certified(keys.ed25519(), good, function(_, _, data) return authority:sign("ssh-ed25519", data) end),
         "ssh-ed25519" .. CERT, "protocol", "signature is not valid")
      refused(certified(keys.rsa(), good, function(_, _, data) return keys.rsa():sign("rsa-sha2-256", data) end),
         "rsa-sha2-512" .. CERT, "protocol", "signature is not valid")
      -- The signature bears the plain name.
      refused(certified(keys.ed25519(), good, function(_, _, data)
         local _, bytes = string.unpack(">s4s4", keys.ed25519():sign("ssh-ed25519", data))
         return string.pack(">s4s4", "ssh-ed25519" .. CERT, bytes)
      end), "ssh-ed25519" .. CERT, "protocol", "signature is not valid")
   end)

   it("is of the kind agreed on, and no certificate is not", function()
      refused(certified(keys.ed25519(), good), "ssh-ed25519", "protocol", "not of the negotiated kind")
      local function sign(_, _, data)
         return keys.ed25519():sign("ssh-ed25519", data)
      end
      refused({ type = function() return "ssh-ed25519" end, blob = function() return keys.ed25519():blob() end,
         sign = sign }, "ssh-ed25519" .. CERT, "protocol", "not of the negotiated kind")
      refused(certified(keys.ed25519(), good, sign), "ecdsa-sha2-nistp256" .. CERT, "protocol",
         "not of the negotiated kind")
   end)

   it("that its authority has not signed is not even asked about", function()
      refused(certified(keys.ed25519(), { principals = good.principals, signature = function(body)
         return keys.ed25519():sign("ssh-ed25519", body)
      end }), "ssh-ed25519" .. CERT, "protocol", "its authority's signature is not valid")
   end)

   for name, case in pairs{
      ["for nobody"] = { { principals = "" }, "it names no host$" },
      ["for everybody"] = { { principals = certificate.strings{ "*" } }, "it is for %*$" },
      ["for a name of another case or length"] = { { principals = certificate.strings{ "MOON", "moon.", "moo", "" } },
         "it is for MOON, moon%., moo, $" },
      ["with control characters in its principals"] = { { principals = certificate.strings{ "\27[2J" } },
         "it is for \\x1b%[2J$" },
      ["for a user"] = { { principals = good.principals, use = 1 }, "it is for users, not for hosts$" },
      ["with a critical option"] = { { principals = good.principals, critical = certificate.strings{ "\7", "" } },
         "it has the critical option '\\x07', which is not known$" },
      ["whose time wraps around"] = { { principals = good.principals, valid_after = -1, valid_before = 1 },
         "it is not valid before" },
      ["that was valid for no time"] = { { principals = good.principals, valid_after = 5, valid_before = 5 },
         "it has expired" },
      ["that ended with 1970"] = { { principals = good.principals, valid_before = 0 }, "it has expired" },
   } do
      it(name .. " is refused", function()
         refused(certified(keys.ed25519(), case[1]), "ssh-ed25519" .. CERT, "host_key_rejected", case[2])
      end)
   end
end)

describe("the host key of a security key", function()
   for _, kind in ipairs{ "ed25519", "ecdsa" } do
      local sk = certificate.security_key(kind)

      local function shown(sign)
         return {
            type = function() return sk.type end,
            blob = function() return sk.blob end,
            sign = sign or function(_, _, data) return sk.sign(data) end,
         }
      end

      it("of " .. kind .. " is verified like any other", function()
         local link = MemorySession.new{ peer = { host_key = shown(), host_key_algorithms = sk.type } }
         assert(link:handshake{ host = "moon", host_keys = testing.keys.fingerprint(sk.blob, "SHA256") })
         assert.equal(sk.type, link.session.info.host_key)
         refused(shown(), sk.type, "host_key_unknown", "is not known")
         refused(shown(function(_, _, data) return sk.sign(data):sub(1, -2) end), sk.type, "protocol", "not valid")
         refused(shown(function(_, _, data) return sk.sign(data) .. "\0" end), sk.type, "protocol", "not valid")
         refused(shown(function() return sk.sign("something else") end), sk.type, "protocol", "not valid")
         refused(shown(function(_, _, data)
            local signature = sk.sign(data)
            return signature:sub(1, -6) .. "\0" .. signature:sub(-4)
         end), sk.type, "protocol", "not valid")
      end)

      it("of " .. kind .. " may be certified", function()
         local blob = certificate.blob{ key = sk.blob, authority = authority, principals = good.principals }
         local algorithm = sk.type:gsub("@openssh%.com$", "") .. CERT
         local ok, err = handshake({
            type = function() return algorithm end,
            blob = function() return blob end,
            sign = function(_, _, data) return sk.sign(data) end,
         }, algorithm)
         assert.is_true(ok, tostring(err))
      end)
   end
end)
