-- The hand-made server is worth something only if it is right when it does not lie: OpenSSH's client says so.

local process = require "spec.support.process"
local shared = require "spec.support.keys"

local function ssh(options, compression)
   return process.run{ "ssh", "-F", "none", "-i", shared.path("ed25519"), "-o", "IdentitiesOnly=yes",
      "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "GlobalKnownHostsFile=/dev/null",
      "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", "Compression=" .. (compression or "no"),
      "-o", "ProxyCommand=" .. process.lua .. " spec/support/peer/stdio.lua '" .. options .. "'",
      "moon@host", "command" }
end

local function works(options, compression)
   local result = ssh(options:sub(1, -2) .. 'errors = "to stderr", status = 7 }', compression)
   assert.are.equal("hello\n", result.stdout, result.stderr)
   assert.is_truthy(result.stderr:find("to stderr", 1, true), result.stderr)
   assert.are.equal(7, result.status)
end

describe("the hand-made server serves OpenSSH's client", function()
   local missing = not process.find("ssh") and "ssh is not installed"

   local function each(what, values, format)
      for _, value in ipairs(values) do
         it("with " .. what .. " " .. value, function()
            if missing then
               pending(missing)
            end
            works(format:format(value))
         end)
      end
   end

   each("key exchange", { "curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256",
      "ecdh-sha2-nistp384", "ecdh-sha2-nistp521", "diffie-hellman-group14-sha256", "diffie-hellman-group16-sha512",
      "diffie-hellman-group-exchange-sha256" }, '{ kex = "%s", }')
   each("host key", { "ed25519()", "rsa()", "ecdsa(256)", "ecdsa(384)", "ecdsa(521)" }, "{ host_key = keys.%s, }")
   each("cipher", { "aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com" },
      '{ cipher = "%s", }')
   each("MAC", { "hmac-sha2-256", "hmac-sha2-512", "hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com" },
      '{ cipher = "aes192-ctr", mac = "%s", }')

   it("without strict key exchange", function()
      works("{ strict = false, }")
   end)

   it("with compression of what it sends", function()
      works('{ compression = "zlib@openssh.com", }', "yes")
   end)

   it("with a key exchange of its own before the command", function()
      works("{ rekey_first = true, }")
   end)
end)
