-- What is accepted as a server's key, against sshd.

local dial = require "spec.support.dial"
local keys = require "spec.support.keys"
local process = require "spec.support.process"
local server = require "spec.support.server"
local ssh = require "moonssh"
local tmp = require "spec.support.tmp"

local function words(line)
   return (line:match("^%S+ %S+"))
end

describe("the host key of sshd", function()
   local sshd, folder, names

   setup(function()
      sshd = server.sshd()
      names = ("[%s]:%d"):format(sshd.host, sshd.port)
   end)

   teardown(function()
      sshd:stop()
   end)

   before_each(function()
      folder = tmp.dir()
   end)

   after_each(function()
      folder:remove()
   end)

   local function known(...)
      return folder:write("known_hosts", table.concat({ ... }, "\n") .. "\n")
   end

   local function fingerprint(type)
      return assert(ssh.key.parse(sshd.host_keys[type])):fingerprint()
   end

   local function said(pattern)
      return select(2, sshd:log():gsub(pattern, ""))
   end

   -- No login was tried: sshd logs every request for one.
   local function refused(options, code)
      local logins, refusals = said("userauth%-request"), said("the host key was not accepted")
      local session, err = dial(sshd, options)
      assert.is_nil(session)
      assert.equal(code, err.code)
      process.wait_until(function()
         return said("the host key was not accepted") == refusals + 1
      end, 60, "sshd to be told")
      assert.equal(logins, said("userauth%-request"))
      return err
   end

   local function accepted(options)
      local session <close> = assert(dial(sshd, options))
      return session.info.host_key
   end

   for _, type in ipairs{ "ed25519", "ecdsa", "rsa" } do
      it(("is accepted as a known %s key, and asked for as such"):format(type), function()
         local algorithm = accepted{ known_hosts = known(names .. " " .. sshd.host_keys[type]) }
         local algorithms = { ed25519 = "ssh-ed25519", ecdsa = "ecdsa-sha2-nistp256", rsa = "rsa-sha2-512" }
         assert.equal(algorithms[type], algorithm)
      end)
   end

   it("is accepted by a hashed name, a pattern, and in the second of two files", function()
      local line = sshd.host_keys.ed25519
      local path = known(names .. " " .. line)
      process.run{ "ssh-keygen", "-q", "-H", "-f", path }
      assert.matches("^|1|", folder:read("known_hosts"))
      accepted{ known_hosts = path }
      accepted{ known_hosts = known("[127.0.0.*]:* " .. line) }
      accepted{ known_hosts = { folder:path("missing"), known(names .. " " .. line) } }
   end)

   it("is accepted by the name alone where nothing is known of the port, as by ssh", function()
      accepted{ known_hosts = known(sshd.host .. " " .. sshd.host_keys.ed25519) }
      local path = known(sshd.host .. " " .. sshd.host_keys.ed25519)
      accepted{ known_hosts = path, host_keys = "accept-new" }
      assert.equal(sshd.host .. " " .. sshd.host_keys.ed25519 .. "\n", folder:read("known_hosts"))
      local other = words(keys.public("ed25519", "other"))
      refused({ known_hosts = known(sshd.host .. " " .. other) }, "host_key_unknown")
      refused({ known_hosts = known(names .. " " .. other, sshd.host .. " " .. sshd.host_keys.ed25519) },
         "host_key_changed")
      refused({ known_hosts = known("@revoked " .. names .. " " .. sshd.host_keys.ed25519,
         sshd.host .. " " .. sshd.host_keys.ed25519) }, "host_key_revoked")
   end)

   it("is unknown without a line for it", function()
      local path = known("[127.0.0.2]:22 " .. sshd.host_keys.ed25519, "127.0.0.2 " .. sshd.host_keys.ed25519)
      local err = refused({ known_hosts = path }, "host_key_unknown")
      assert.equal(fingerprint("ed25519"), err.fingerprint)
      assert.is_truthy(err.message:find(fingerprint("ed25519"), 1, true))
      assert.equal("ssh-ed25519", err.key.type)
      refused({ known_hosts = folder:path("missing") }, "host_key_unknown")
      refused({ known_hosts = known("*,!127.0.0.1,![127.0.0.1]:* " .. sshd.host_keys.ed25519) }, "host_key_unknown")
   end)

   for _, policy in ipairs{ "strict", "accept-new" } do
      it(("that has changed is refused under %q, with both fingerprints, file and line"):format(policy), function()
         local other = words(keys.public("ed25519", "other"))
         local path = known("# a comment", names .. " " .. other)
         local before = folder:read("known_hosts")
         local err = refused({ known_hosts = path, host_keys = policy }, "host_key_changed")
         local expected = assert(ssh.key.parse(other)):fingerprint()
         assert.equal(fingerprint("ed25519"), err.fingerprint)
         assert.same({ expected }, err.expected)
         assert.equal(path, err.path)
         assert.equal(2, err.line)
         for _, part in ipairs{ fingerprint("ed25519"), expected, path .. " line 2", names } do
            assert.is_truthy(err.message:find(part, 1, true), part .. " in " .. err.message)
         end
         assert.equal(before, folder:read("known_hosts"))
      end)
   end

   it("of another type than the known one is a change", function()
      local only <close> = server.sshd{ host_keys = { "rsa" } }
      local path = known(("[%s]:%d %s"):format(only.host, only.port, sshd.host_keys.ed25519))
      for _, policy in ipairs{ "strict", "accept-new" } do
         local session, err = dial(only, { known_hosts = path, host_keys = policy })
         assert.is_nil(session)
         assert.equal("host_key_changed", err.code)
         assert.equal("ssh-rsa", err.key.type)
      end
   end)

   it("that is revoked is refused under every policy", function()
      local line = sshd.host_keys.ed25519
      local path = known(names .. " " .. line, "@revoked * " .. line)
      local asked = 0
      for _, policy in ipairs{ "strict", "accept-new", "off", function()
         asked = asked + 1
         return true
      end } do
         local err = refused({ known_hosts = path, host_keys = policy }, "host_key_revoked")
         assert.equal(2, err.line)
         assert.equal(path, err.path)
         assert.is_truthy(err.message:find(fingerprint("ed25519"), 1, true))
      end
      assert.equal(0, asked)
   end)

   it("that is new is written down by accept-new, once", function()
      local path = folder:write("known_hosts", "# no end of line")
      accepted{ known_hosts = path, host_keys = "accept-new" }
      local text = folder:read("known_hosts")
      assert.equal(("# no end of line\n%s %s\n"):format(names, words(sshd.host_keys.ed25519)), text)
      accepted{ known_hosts = path, host_keys = "accept-new" }
      accepted{ known_hosts = path }
      assert.equal(text, folder:read("known_hosts"))
   end)

   it("that is new is written by accept-new to the first file, which is made", function()
      local first, second = folder:path("new/first"), known("# second")
      accepted{ known_hosts = { first, second }, host_keys = "accept-new" }
      assert.equal(("%s %s\n"):format(names, words(sshd.host_keys.ed25519)), folder:read("new/first"))
      assert.equal("# second\n", folder:read("known_hosts"))
   end)

   it("is not accepted as new where it cannot be written down", function()
      local err = refused({ known_hosts = "/proc/nothing/known_hosts", host_keys = "accept-new" }, "io")
      assert.equal("/proc/nothing/known_hosts", err.path)
      refused({ known_hosts = {}, host_keys = "accept-new" }, "host_key_unknown")
   end)

   it("is an error where known_hosts cannot be read", function()
      for _, policy in ipairs{ "strict", "accept-new", "off" } do
         local session, err = dial(sshd, { known_hosts = folder:path(), host_keys = policy })
         assert.is_nil(session)
         assert.equal("io", err.code)
      end
   end)

   it("may be anything under \"off\"", function()
      accepted{ known_hosts = folder:path("missing"), host_keys = "off" }
      accepted{ known_hosts = known(names .. " " .. keys.public("ed25519", "other")), host_keys = "off" }
      assert.is_nil(folder:read("missing"))
   end)

   it("is held against fingerprints in place of known_hosts", function()
      local wrong = assert(ssh.key.parse(keys.public("ed25519", "other"))):fingerprint()
      accepted{ host_keys = fingerprint("ed25519"), known_hosts = folder:path("missing") }
      accepted{ host_keys = { wrong, fingerprint("ed25519") } }
      accepted{ host_keys = assert(ssh.key.parse(sshd.host_keys.ed25519)):fingerprint("md5") }
      for _, policy in ipairs{ wrong, { wrong } } do
         local err = refused({ host_keys = policy }, "host_key_rejected")
         assert.equal(fingerprint("ed25519"), err.fingerprint)
         assert.same({ wrong }, err.expected)
      end
   end)

   it("is judged by a function, which may wait and of which only true accepts", function()
      local asked
      local function judge(...)
         asked = { ... }
         ssh.loop.sleep(0.01)
         return true
      end
      accepted{ host_keys = judge }
      assert.equal(sshd.host, asked[1])
      assert.equal(sshd.port, asked[2])
      assert.equal(fingerprint("ed25519"), asked[3]:fingerprint())
      assert.equal("match", asked[4])
      accepted{ host_keys = judge, known_hosts = folder:path("missing") }
      assert.equal("unknown", asked[4])
      accepted{ host_keys = judge, known_hosts = known(names .. " " .. keys.public("ed25519", "other")) }
      assert.equal("changed", asked[4])
      for _, answer in ipairs{ false, 1, "true", {} } do
         refused({ host_keys = function() return answer end }, "host_key_rejected")
      end
      refused({ host_keys = function() end }, "host_key_rejected")
      local err = refused({ host_keys = function() error("no terminal") end }, "host_key_rejected")
      assert.matches("no terminal", err.message)
      assert.matches("no terminal", err.cause)
   end)

   it("is looked up by its alias", function()
      local path = known("web1 " .. sshd.host_keys.ed25519)
      accepted{ known_hosts = path, host_key_alias = "web1" }
      refused({ known_hosts = path, host_key_alias = "web2" }, "host_key_unknown")
      accepted{ known_hosts = folder:path("new"), host_key_alias = "web3", host_keys = "accept-new" }
      assert.matches("^web3 ssh%-ed25519 ", folder:read("new"))
   end)

   it("can be accepted by hand, and nothing of a login leaves before", function()
      local testing = require "moonssh_testing".socket
      local fd = assert(testing.connect(sshd.host, sshd.port))
      local session = assert(ssh.session())
      assert(session:handshake(fd))
      assert.equal(fingerprint("ed25519"), session:host_key():fingerprint())
      local logins = {
         auth_none = { sshd.user },
         auth_password = { sshd.user, "secret" },
         auth_publickey = { sshd.user, sshd.key_path },
         auth_agent = { sshd.user, "/nowhere" },
         auth_interactive = { sshd.user, print },
         authenticate = { { user = sshd.user, identity = sshd.key_path } },
      }
      for name, arguments in pairs(logins) do
         local ok, err = session[name](session, table.unpack(arguments))
         assert.is_nil(ok)
         assert.equal("host_key_unknown", err.code, name)
      end
      assert(session:accept_host_key())
      assert.is_true(session:authenticate{ user = sshd.user, identity = sshd.key_path })
      session:close()
      testing.close(fd)
   end)

   it("raises for a policy that is none", function()
      for _, policy in ipairs{ "yes", "SHA256", "", {}, { "strict" } } do
         assert.error_matches(function() dial(sshd, { host_keys = policy }) end, "'host_keys'")
      end
   end)
end)
