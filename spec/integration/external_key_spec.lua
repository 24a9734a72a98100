-- Keys whose private half is somewhere else, used for logins at sshd.

local certificate = require "spec.support.certificate"
local dial = require "spec.support.dial"
local keys = require "spec.support.keys"
local process = require "spec.support.process"
local server = require "spec.support.server"
local ssh = require "moonssh"
local tmp = require "spec.support.tmp"

describe("an external key logs in at sshd", function()
   local sshd, folder, sk

   setup(function()
      folder = tmp.dir()
      local lines = { "cert-authority " .. keys.public("ed25519", "authority") }
      for _, type in ipairs{ "ed25519", "ecdsa", "rsa" } do
         table.insert(lines, keys.public(type))
      end
      sk = {}
      for _, kind in ipairs{ "ed25519", "ecdsa" } do
         sk[kind] = certificate.security_key(kind)
         table.insert(lines, assert(ssh.key.external{ public = sk[kind].blob, sign = print }):public_line())
      end
      sshd = server.sshd{ authorized = lines }
   end)

   teardown(function()
      sshd:stop()
      folder:remove()
   end)

   local function logs_in(options)
      local session <close> = assert(dial(sshd, options))
      assert.equal("publickey", session.info.auth)
      assert.equal("hello\n", assert(session:run("echo hello", { timeout = 60 })).stdout)
   end

   for _, type in ipairs{ "ed25519", "ecdsa", "rsa" } do
      it("of type " .. type .. ", and its signer may wait, and use the very server that it is for", function()
         local held = assert(ssh.key.load(keys.path(type)))
         local asked = 0
         logs_in{ identity = assert(ssh.key.external{ public = keys.public(type), sign = function(data, algorithm)
            asked = asked + 1
            local session <close> = assert(dial(sshd, { identity = held }))
            assert(session:ping())
            return held:sign(data, algorithm)
         end }) }
         assert.equal(1, asked)
      end)
   end

   for _, kind in ipairs{ "ed25519", "ecdsa" } do
      it("of a security key, of type " .. kind, function()
         logs_in{ identity = assert(ssh.key.external{ public = sk[kind].blob, sign = function(data)
            return sk[kind].sign(data)
         end }) }
      end)
   end

   it("with a certificate for it", function()
      local path = keys.make(folder, "id", { type = "ed25519" })
      process.check{ "ssh-keygen", "-q", "-s", keys.path("ed25519", "authority"), "-I", "id", "-n", sshd.user,
         path .. ".pub" }
      local held = assert(ssh.key.load(path))
      local external = assert(ssh.key.external{ public = held, sign = function(data, algorithm)
         return held:sign(data, algorithm)
      end })
      logs_in{ identity = external, certificate = path .. "-cert.pub" }
   end)

   it("whose signer is an agent", function()
      local agent <close> = server.agent()
      agent:add(keys.path("ecdsa"))
      local handle <close> = assert(ssh.agent(agent.path))
      logs_in{ identity = assert(ssh.key.external{ public = keys.public("ecdsa"), sign = function(data)
         return handle:sign(assert(handle:identities())[1].blob, data)
      end }) }
   end)

   it("through auth_publickey, and among others in identity", function()
      local held = assert(ssh.key.load(keys.path("rsa")))
      local external = assert(ssh.key.external{ public = held, sign = function(...) return held:sign(...) end })
      local refuses = assert(ssh.key.external{ public = keys.public("ed25519"), sign = function() end })
      logs_in{ identity = { keys.make(folder, "stranger", { type = "ed25519" }), refuses, external } }
      local fd = assert(require "moonssh_testing".socket.connect(sshd.host, sshd.port))
      local session <close> = ssh.session{ timeout = 60 }
      assert(session:handshake(fd, { host = sshd.host, port = sshd.port, known_hosts = sshd.known_hosts_path }))
      assert.is_true(session:auth_publickey(sshd.user, external))
      session:close()
      require "moonssh_testing".socket.close(fd)
   end)

   it("but not by a signature of another key, which sshd never sees", function()
      local other = assert(ssh.key.generate("ed25519"))
      local session, err = dial(sshd, { identity = assert(ssh.key.external{ public = keys.public("ed25519"),
         sign = function(data) return other:sign(data) end }) })
      assert.is_nil(session)
      assert.equal("key_format", err.code)
      assert.is_nil(sshd:log():find("signature unverified", 1, true))
   end)
end)
