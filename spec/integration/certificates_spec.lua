-- Certificates against sshd: those of hosts, judged as ssh judges them, and those of users.

local certificate = require "spec.support.certificate"
local dial = require "spec.support.dial"
local keys = require "spec.support.keys"
local process = require "spec.support.process"
local server = require "spec.support.server"
local ssh = require "moonssh"
local tmp = require "spec.support.tmp"

-- A key file's certificate by an authority's key; further arguments go to ssh-keygen.
local function certify(path, authority, ...)
   local command = { "ssh-keygen", "-q", "-s", authority, "-I", "spec", ... }
   table.insert(command, path .. ".pub")
   process.check(command)
   return path .. "-cert.pub"
end

local function public(path)
   local file <close> = assert(io.open(path .. ".pub", "rb"))
   return file:read("l")
end

describe("a host certificate", function()
   local folder, authority, other

   setup(function()
      folder = tmp.dir()
      authority = keys.make(folder, "authority", { type = "ed25519" })
      other = keys.make(folder, "other", { type = "ecdsa", bits = 384 })
   end)

   teardown(function()
      folder:remove()
   end)

   -- An sshd with a key of its own, certified with these arguments.
   local function certified(name, type, ...)
      local path = keys.make(folder, name, { type = type, bits = type == "rsa" and 2048 or nil })
      local shown = certify(path, ...)
      return server.sshd{ host_keys = {}, config = ("HostKey %s\nHostCertificate %s\n"):format(path, shown) }, path
   end

   local n = 0
   local function known(...)
      n = n + 1
      return folder:write("known_hosts" .. n, table.concat({ ... }, "\n") .. "\n")
   end

   -- Whether ssh gets in with that known_hosts.
   local function ssh_accepts(sshd, path)
      return process.run{ "ssh", "-F", "none", "-o", "UserKnownHostsFile=" .. path, "-o", "GlobalKnownHostsFile=none",
         "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i", sshd.key_path,
         "-p", sshd.port, sshd.user .. "@127.0.0.1", "true", env = { LD_PRELOAD = "" } }.status == 0
   end

   for _, type in ipairs{ "ed25519", "ecdsa", "rsa" } do
      it("for a key of type " .. type .. " is accepted where its authority is known", function()
         local sshd <close> = certified("host_" .. type, type, authority, "-h", "-n", "127.0.0.1")
         local list = known("@cert-authority 127.0.0.1 " .. public(authority))
         local session <close> = assert(dial(sshd, { known_hosts = list }))
         assert.matches("%-cert%-v01@openssh%.com$", session.info.host_key)
         assert.equal("host", session:host_key():certificate().type)
         assert.equal("true\n", assert(session:run("echo true")).stdout)
         assert.is_true(session:rekey())
      end)
   end

   it("by an authority that is known for a pattern, a port, or the name on any port is accepted", function()
      local sshd <close> = certified("patterns", "ed25519", authority, "-h", "-n", "127.0.0.1")
      for _, names in ipairs{ "*", "127.0.0.*,!10.0.0.1", ("[127.0.0.1]:%d"):format(sshd.port), "127.0.0.1" } do
         local path = known("@cert-authority " .. names .. " " .. public(authority))
         assert.is_true(ssh_accepts(sshd, path), names)
         assert(dial(sshd, { known_hosts = path })):close()
      end
      for _, names in ipairs{ "127.0.0.2", "[127.0.0.1]:1", "*,!*127.0.0.1*", "localhost" } do
         local path = known("@cert-authority " .. names .. " " .. public(authority))
         assert.is_false(ssh_accepts(sshd, path), names)
         local session, err = dial(sshd, { known_hosts = path })
         assert.is_nil(session)
         assert.equal("host_key_unknown", err.code)
      end
   end)

   local bad = {
      { "for another host", "it is for web1, web2$", "-h", "-n", "web1,web2" },
      { "for a pattern", "it is for %*$", "-h", "-n", "*" },
      { "that has expired", "it has expired: it was valid before 2001%-01%-01 00:00:00 UTC$", "-h", "-n", "127.0.0.1",
         "-V", "20000101000000Z:20010101000000Z" },
      { "that is not valid yet", "it is not valid before 2999%-01%-01 00:00:00 UTC$", "-h", "-n", "127.0.0.1", "-V",
         "29990101000000Z:29990201000000Z" },
      { "for a user", "it is for users, not for hosts$", "-n", "127.0.0.1" },
      { "with an unknown critical option", "it has the critical option 'verify%-moon@spec', which is not known$", "-h",
         "-n", "127.0.0.1", "-O", "critical:verify-moon@spec=full" },
   }

   for i, case in ipairs(bad) do
      it(case[1] .. " is refused, as by ssh, whatever the policy", function()
         local sshd <close>, path = certified("bad" .. i, "ed25519", authority, table.unpack(case, 3))
         local line = "@cert-authority * " .. public(authority)
         assert.is_false(ssh_accepts(sshd, known(line)))
         for _, policy in ipairs{ "strict", "accept-new" } do
            local list = known(line)
            local session, err = dial(sshd, { known_hosts = list, host_keys = policy })
            assert.is_nil(session)
            assert.equal("host_key_rejected", err.code)
            assert.matches(case[2], err.message)
            assert.equal(line .. "\n", folder:read(list:match("[^/]+$")))
         end
         -- Its key may be known by itself, and is then accepted, as ssh does.
         local both = known(line, ("[127.0.0.1]:%d %s"):format(sshd.port, public(path)))
         assert.is_true(ssh_accepts(sshd, both))
         assert(dial(sshd, { known_hosts = both })):close()
      end)
   end

   it("whose authority signs in a way that CASignatureAlgorithms leaves out is refused, as by ssh", function()
      local sshd <close> = certified("signed", "ed25519", authority, "-h", "-n", "127.0.0.1")
      local list = known("@cert-authority * " .. public(authority))
      for lines, accepted in pairs{ [""] = true, ["CASignatureAlgorithms ssh-ed25519"] = true,
         ["CASignatureAlgorithms -ecdsa-*"] = true, ["CASignatureAlgorithms ecdsa-sha2-nistp256"] = false,
         ["CASignatureAlgorithms -ssh-ed25519"] = false } do
         local config = folder:write("config", table.concat({ "Host web1", "HostName 127.0.0.1", "Port " .. sshd.port,
            "User " .. sshd.user, "IdentityFile " .. sshd.key_path, "IdentityAgent none", "IdentitiesOnly yes",
            "UserKnownHostsFile " .. list, "GlobalKnownHostsFile none", lines, "" }, "\n"))
         local ssh_says = process.run{ "ssh", "-F", config, "-o", "BatchMode=yes", "web1", "true",
            env = { LD_PRELOAD = "" } }.status == 0
         local session <close>, err = ssh.connect("web1", { config = config, timeout = 60 })
         assert.same({ accepted, accepted }, { ssh_says, session ~= nil }, lines)
         if not accepted then
            assert.equal("host_key_rejected", err.code)
            assert.matches("its authority has signed with ssh%-ed25519$", err.message)
         end
      end
   end)

   it("without principals is refused", function()
      local sshd <close> = certified("nobody", "ed25519", authority, "-h")
      local session, err = dial(sshd, { known_hosts = known("@cert-authority * " .. public(authority)) })
      assert.is_nil(session)
      assert.equal("host_key_rejected", err.code)
      assert.matches("it names no host$", err.message)
   end)

   it("by an authority that is not known, or revoked, is worth nothing", function()
      local sshd <close>, path = certified("unknown", "ed25519", authority, "-h", "-n", "127.0.0.1")
      local at = ("[127.0.0.1]:%d "):format(sshd.port)
      for text, code in pairs{
         ["@cert-authority * " .. public(other)] = "host_key_unknown",
         ["@cert-authority * " .. public(authority) .. "\n@revoked * " .. public(authority)] = "host_key_revoked",
         ["@cert-authority * " .. public(authority) .. "\n@revoked * " .. public(path)] = "host_key_revoked",
         ["@cert-authority * " .. public(authority):gsub("authority", "x") .. "\n@revoked " .. at .. public(path)] =
            "host_key_revoked",
         ["@cert-authority * " .. public(other) .. "\n" .. at .. public(authority)] = "host_key_changed",
         ["@cert-authority 127.0.0.1 " .. public(authority) .. "\n@revoked 127.0.0.1 " .. public(authority)] =
            "host_key_revoked",
         ["@cert-authority 127.0.0.1 " .. public(authority) .. "\n@revoked 127.0.0.1 " .. public(path)] =
            "host_key_revoked",
      } do
         assert.is_false(ssh_accepts(sshd, known(text)))
         local session, err = dial(sshd, { known_hosts = known(text) })
         assert.is_nil(session)
         assert.equal(code, err.code, text)
      end
   end)

   it("is not asked for where no authority is known, and its key is learnt plain", function()
      local sshd <close>, path = certified("plain", "ed25519", authority, "-h", "-n", "127.0.0.1")
      local list = known("")
      local session <close> = assert(dial(sshd, { known_hosts = list, host_keys = "accept-new" }))
      assert.equal("ssh-ed25519", session.info.host_key)
      assert.is_truthy(folder:read(list:match("[^/]+$")):find(public(path):match("^%S+ %S+"), 1, true))
      assert(dial(sshd, { known_hosts = list })):close()
      -- An authority that is not this server's has the key itself learnt, not the certificate.
      list = known("@cert-authority * " .. public(other))
      assert(dial(sshd, { known_hosts = list, host_keys = "accept-new" })):close()
      assert.is_truthy(folder:read(list:match("[^/]+$")):find(public(path):match("^%S+ %S+"), 1, true))
   end)

   it("has the fingerprint of its key, and a function is told that it matches", function()
      local sshd <close>, path = certified("asked", "ed25519", authority, "-h", "-n", "127.0.0.1")
      local list = known("@cert-authority * " .. public(authority))
      local told
      local session <close> = assert(dial(sshd, { known_hosts = list, host_keys = function(_, _, key, verdict)
         told = { key:fingerprint(), key:certificate().key_id, verdict }
         return true
      end }))
      local fingerprint = assert(ssh.key.load(path)):fingerprint()
      assert.same({ fingerprint, "spec", "match" }, told)
      assert.equal(fingerprint, session:host_key():fingerprint())
      local later = assert(ssh.known_hosts(known("")))
      assert(later:add("moon", 22, session:host_key()))
      assert.equal("match", (later:check("moon", 22, assert(ssh.key.load(path)))))
   end)
end)

describe("a user certificate", function()
   local folder, authority, sshd, stranger

   setup(function()
      folder = tmp.dir()
      authority = keys.make(folder, "authority", { type = "ed25519" })
      stranger = keys.make(folder, "stranger", { type = "ed25519" })
      sshd = server.sshd{ authorized = {}, config = ("TrustedUserCAKeys %s.pub\nMaxAuthTries 4\n"):format(authority) }
   end)

   teardown(function()
      sshd:stop()
      folder:remove()
   end)

   local n = 0
   -- A new key with a certificate beside it.
   local function identity(options, ...)
      n = n + 1
      local path = keys.make(folder, "id" .. n, options)
      certify(path, authority, "-n", sshd.user, ...)
      return path
   end

   local function logs_in(options)
      local session <close> = assert(dial(sshd, options))
      assert.equal("publickey", session.info.auth)
      return assert(session:run("echo ran")).stdout
   end

   for _, kind in ipairs{ { "ed25519" }, { "ecdsa", 256 }, { "ecdsa", 384 }, { "ecdsa", 521 }, { "rsa", 2048 } } do
      it(("beside the key file of %s %s is used"):format(kind[1], kind[2] or ""), function()
         assert.equal("ran\n", logs_in{ identity = identity{ type = kind[1], bits = kind[2] } })
      end)
   end

   it("says what is run in place of the command", function()
      assert.equal("forced\n", logs_in{ identity = identity({ type = "ed25519" }, "-O", "force-command=echo forced") })
   end)

   it("of a locked key has the passphrase asked for once", function()
      local path = identity{ type = "ed25519", passphrase = "a phrase", rounds = 2 }
      for _, with_public in ipairs{ true, false } do
         if not with_public then
            os.remove(path .. ".pub")
         end
         local asked = 0
         assert.equal("ran\n", logs_in{ identity = path, passphrase = function()
            asked = asked + 1
            return "a phrase"
         end })
         assert.equal(1, asked)
      end
   end)

   it("may be named, for a key file, a key, and a key that somebody else holds", function()
      local path = identity{ type = "rsa", bits = 2048 }
      local elsewhere = folder:path("elsewhere" .. n .. ".pub")
      assert(os.rename(path .. "-cert.pub", elsewhere))
      local private = assert(ssh.key.load(path))
      local external = assert(ssh.key.external{ public = private, sign = function(...) return private:sign(...) end })
      for _, one in ipairs{ path, private, external } do
         for _, named in ipairs{ elsewhere, assert(ssh.key.load(elsewhere)) } do
            assert.equal("ran\n", logs_in{ identity = one, certificate = named })
         end
      end
      local session, err = dial(sshd, { identity = path })
      assert.is_nil(session)
      assert.equal("auth_failed", err.code)
   end)

   it("that an agent holds is used, and so is one for a key that it holds", function()
      local agent <close> = server.agent()
      agent:add(stranger)
      local path = identity{ type = "rsa", bits = 2048 }
      agent:add(path) -- ssh-add takes the certificate along
      assert.equal("ran\n", logs_in{ agent = agent.path })
      assert.equal("ran\n", logs_in{ agent = agent.path, identity = path })
      local handle <close> = assert(ssh.agent(agent.path))
      assert.equal(3, #assert(handle:identities()))
      assert(handle:remove_all())
      assert(handle:add(assert(ssh.key.load(path))))
      assert.equal("ran\n", logs_in{ agent = agent.path, certificate = path .. "-cert.pub" })
      assert.equal("ran\n", logs_in{ agent = agent.path, identity = {}, identities_only = true,
         certificate = path .. "-cert.pub" })
   end)

   it("that an agent holds alone spares a locked file its passphrase", function()
      local agent <close> = server.agent()
      local path = identity{ type = "ed25519", passphrase = "a phrase", rounds = 2 }
      local handle <close> = assert(ssh.agent(agent.path))
      assert(handle:add(assert(ssh.key.load(path, "a phrase")),
         { certificate = assert(ssh.key.load(path .. "-cert.pub")) }))
      assert.equal("ran\n", logs_in{ agent = agent.path, identity = path })
   end)

   it("that we give an agent is one that ssh-add shows and sshd takes", function()
      for _, kind in ipairs{ { "ed25519" }, { "ecdsa", 384 }, { "rsa", 2048 } } do
         local agent <close> = server.agent()
         local path = identity{ type = kind[1], bits = kind[2], comment = "with a certificate" }
         local handle <close> = assert(ssh.agent(agent.path))
         local certified = assert(ssh.key.load(path .. "-cert.pub"))
         assert.is_true(handle:add(assert(ssh.key.load(path)), { certificate = certified, lifetime = 60 }))
         assert.equal(certified:public_line() .. "\n", agent:list())
         assert.equal("ran\n", logs_in{ agent = agent.path })
         local none, err = handle:add(assert(ssh.key.load(stranger)), { certificate = certified })
         assert.is_nil(none)
         assert.equal("the certificate is for another key", err.message)
      end
   end)

   it("that is not good is told with the failure", function()
      local cases = {
         { "it has expired: it was valid before 2001%-01%-01", "-V", "20000101000000Z:20010101000000Z" },
         { "it is for hosts, not for users", "-h" },
      }
      for _, case in ipairs(cases) do
         local path = identity({ type = "ed25519", passphrase = "a phrase", rounds = 2 }, table.unpack(case, 2))
         local asked = 0
         local session, err = dial(sshd, { identity = path, passphrase = function()
            asked = asked + 1
            return "a phrase"
         end })
         assert.is_nil(session)
         assert.is_true(asked <= 1)
         assert.equal("auth_failed", err.code)
         assert.matches("certificate " .. path:gsub("%p", "%%%0") .. "%-cert%.pub: " .. case[1], err.message)
      end
      local path = identity{ type = "ed25519" }
      folder:write(path:match("[^/]+$") .. "-cert.pub", "ssh-ed25519-cert-v01@openssh.com AAAA\n")
      local session, err = dial(sshd, { identity = path })
      assert.is_nil(session)
      assert.is_truthy(err.message:find(path .. "-cert.pub", 1, true))
   end)
end)

describe("a security key's key", function()
   local folder, sshd, sk, other

   setup(function()
      folder = tmp.dir()
      sk, other = certificate.security_key("ed25519"), certificate.security_key("ecdsa")
      local authorized = { keys.public("ed25519") }
      for _, one in ipairs{ sk, other } do
         table.insert(authorized, assert(ssh.key.external{ public = one.blob, sign = print }):public_line())
      end
      sshd = server.sshd{ authorized = authorized }
   end)

   teardown(function()
      sshd:stop()
      folder:remove()
   end)

   it("logs in through who holds it", function()
      for _, one in ipairs{ sk, other } do
         local external = assert(ssh.key.external{ public = one.blob, sign = function(data, algorithm)
            assert.equal(one.type, algorithm)
            return one.sign(data)
         end })
         local session <close> = assert(dial(sshd, { identity = external }))
         assert.equal("publickey", session.info.auth)
      end
   end)

   it("that an agent holds, but cannot use, does not keep us out", function()
      local agent <close> = server.agent()
      local handle <close> = assert(ssh.agent(agent.path))
      local key_file = require "spec.support.key_file"
      local write = require "moonssh_testing".base.write
      for _, one in ipairs{ sk, other } do
         local text = key_file.text{ public = one.blob, private = write("string", one.type, "bytes", one.private) }
         local loaded = assert(ssh.key.parse(text))
         assert.is_true(handle:add(loaded))
         assert.is_truthy(agent:list():find(loaded:public_line(), 1, true))
      end
      agent:add(sshd.key_path)
      local session <close> = assert(dial(sshd, { agent = agent.path }))
      assert.equal("publickey", session.info.auth)
   end)
end)
