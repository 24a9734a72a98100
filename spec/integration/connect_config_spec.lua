-- connect with ssh_config: each keyword that it acts on does what it does in ssh.

local core = require "moonssh.core"
local forwards = require "moonssh.config.forwards"
local keys = require "spec.support.keys"
local loop = require "moonssh.loop"
local process = require "spec.support.process"
local server = require "spec.support.server"
local ssh = require "moonssh"
local stream = require "spec.support.stream"
local tmp = require "spec.support.tmp"

describe("connect with ssh_config", function()
   local sshd, folder

   setup(function()
      sshd = server.sshd()
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

   -- A file with lines of the test's before those that lead to the server.
   local function written(lines)
      return folder:write("config", table.concat({
         lines or "",
         "Host web1",
         "HostName " .. sshd.host,
         "Port " .. sshd.port,
         "User " .. sshd.user,
         "IdentityFile " .. sshd.key_path,
         "IdentityAgent none",
         "UserKnownHostsFile " .. sshd.known_hosts_path,
         "GlobalKnownHostsFile none",
      }, "\n"))
   end

   local function connect(lines, options, to)
      local all = { config = written(lines), timeout = 60 }
      for name, value in pairs(options or {}) do
         all[name] = value
      end
      return ssh.connect(to or "web1", all)
   end

   local function refused(lines, options, to)
      local session, err = connect(lines, options, to)
      assert.is_nil(session)
      return err
   end

   it("goes where the file says, as whom it says", function()
      local session <close> = assert(connect())
      assert.same({ sshd.user, "publickey" }, { session.info.user, session.info.auth })
      assert.equal("hello\n", assert(session:run("echo hello")).stdout)
   end)

   it("has options and destination count before the file", function()
      local session <close> = assert(connect("Port 1\nUser nobody\n", { port = sshd.port, user = sshd.user }))
      assert.equal(sshd.user, session.info.user)
      local other <close> = assert(connect("Port 1\nUser nobody\n", nil, ("%s@web1:%d"):format(sshd.user, sshd.port)))
      assert.equal(sshd.user, other.info.user)
      local third <close> = assert(connect("Ciphers aes256-ctr\nStrictHostKeyChecking yes\n", {
         algorithms = { cipher = "aes192-ctr" }, host_keys = "off", known_hosts = {}, identity = {},
         password = sshd.password }))
      assert.same({ "aes192-ctr", "password" }, { third.info.cipher.send, third.info.auth })
   end)

   it("takes a configuration that was read before, and none at all", function()
      local config = assert(ssh.config(written()))
      local session <close> = assert(ssh.connect("web1", { config = config, timeout = 60 }))
      assert.equal(sshd.user, session.info.user)
      local plain <close> = assert(ssh.connect(sshd.host, { config = false, port = sshd.port, user = sshd.user,
         identity = sshd.key_path, agent = false, known_hosts = sshd.known_hosts_path, timeout = 60 }))
      assert.equal(sshd.user, plain.info.user)
      for _, wrong in ipairs{ true, {}, 3 } do
         assert.error_matches(function() ssh.connect("web1", { config = wrong }) end, "option 'config'")
      end
   end)

   it("takes /dev/null for a file that says nothing", function()
      local session <close> = assert(ssh.connect(sshd.host, { config = "/dev/null", port = sshd.port, user = sshd.user,
         identity = sshd.key_path, agent = false, known_hosts = sshd.known_hosts_path, timeout = 60 }))
      assert.equal(sshd.user, session.info.user)
   end)

   it("says what is wrong with the file", function()
      assert.same({ "io", 1 }, { refused("Nonsense 1\n").code, refused("Nonsense 1\n").line })
      local _, err = ssh.connect("web1", { config = folder:path("missing") })
      assert.same({ "io", folder:path("missing") }, { err.code, err.path })
      for _, line in ipairs{ "HostName a;b", "HostName -x", "User -x" } do
         assert.equal("io", refused(line).code)
      end
   end)

   for line, check in pairs{
      ["Ciphers aes256-ctr"] = function(info) return info.cipher.send == "aes256-ctr" end,
      ["Ciphers ^aes192-ctr,aes128-cbc"] = function(info) return info.cipher.recv == "aes192-ctr" end,
      ["MACs hmac-sha2-512\nCiphers aes128-ctr"] = function(info) return info.mac.send == "hmac-sha2-512" end,
      ["KexAlgorithms ecdh-sha2-nistp384"] = function(info) return info.kex == "ecdh-sha2-nistp384" end,
      ["HostKeyAlgorithms ecdsa-*"] = function(info) return info.host_key == "ecdsa-sha2-nistp256" end,
      ["Compression yes"] = function(info) return info.compression.send == "zlib@openssh.com" end,
   } do
      it("agrees on what " .. line:gsub("\n", ", ") .. " says", function()
         local session <close> = assert(connect(line))
         assert.is_true(check(session.info))
      end)
   end

   it("knows when a list has nothing that there is here", function()
      assert.equal("unsupported", refused("Ciphers rijndael-cbc@lysator.liu.se").code)
   end)

   it("exchanges keys anew after the bytes and seconds of RekeyLimit", function()
      local session <close> = assert(connect("RekeyLimit 64K 1h\n"))
      assert.same({ bytes = 65536, seconds = 3600 }, session._options.rekey)
      local other <close> = assert(connect("RekeyLimit default 30m\n"))
      assert.same({ seconds = 1800 }, other._options.rekey)
   end)

   it("asks for signs of life as often as the file says", function()
      local session <close> = assert(connect("ServerAliveInterval 2m\nServerAliveCountMax 7\n"))
      assert.same({ interval = 120, count = 7 }, session._options.keepalive)
   end)

   it("sends variables with each command", function()
      local name = "LUA_PATH_5_4"
      local session <close> = assert(connect("SetEnv FOO=bar MORE=1\nSendEnv LUA_PATH_* NOT_THERE_*\n"))
      local result = assert(session:run("echo $FOO $MORE \"$" .. name .. "\"", { env = { MORE = 2 } }))
      assert.equal(("bar 2 %s\n"):format(os.getenv(name)), result.stdout)
      local channel <close> = assert(session:exec("echo $FOO"))
      assert.equal("bar\n", channel:read("a"))
   end)

   it("starts what RemoteCommand says in place of a shell, with the terminal of RequestTTY", function()
      local session <close> = assert(connect("RemoteCommand test -t 0 && echo on a terminal as %r\nRequestTTY force\n"))
      local channel <close> = assert(session:shell())
      -- sshd's own words, with its level of logging, may come first.
      assert.matches(("on a terminal as %s\r?\n$"):format(sshd.user), channel:read("a"))
      local plain <close> = assert(session:shell{ pty = false })
      assert.equal("", plain:read("a"))
      assert.equal("command\n", assert(session:run("echo command")).stdout)
   end)

   describe("and known_hosts", function()
      local function empty(lines)
         return ("UserKnownHostsFile %s\n%s"):format(folder:path("known"), lines or "")
      end

      it("trusts nobody new unless the file says so", function()
         assert.equal("host_key_unknown", refused(empty()).code)
         assert.equal("host_key_unknown", refused(empty("StrictHostKeyChecking ask\n")).code)
         assert.equal("host_key_unknown", refused(empty("StrictHostKeyChecking yes\n")).code)
         for _, policy in ipairs{ "no", "accept-new" } do
            assert(connect(empty(("StrictHostKeyChecking %s\n"):format(policy)))):close()
            assert.is_truthy(folder:read("known"):find(("[%s]:%d ssh-ed25519 "):format(sshd.host, sshd.port), 1, true))
            assert(connect(empty())):close()
            folder:write("known", "")
         end
         for _, policy in ipairs{ "no", "accept-new" } do
            assert(connect(("Host web1\nUserKnownHostsFile /dev/null\nGlobalKnownHostsFile /dev/null\n"
               .. "StrictHostKeyChecking %s\n"):format(policy))):close()
         end
         local err = refused("UserKnownHostsFile /dev/null\nGlobalKnownHostsFile /dev/null\n")
         assert.equal("host_key_unknown", err.code)
      end)

      it("gives a host whose key has changed no password and forwards it nothing, though it may go on", function()
         local other = ("[%s]:%d %s\n"):format(sshd.host, sshd.port, keys.public("ed25519", "other"))
         folder:write("known", other)
         local lines = empty("StrictHostKeyChecking no\nForwardAgent yes\nForwardX11 yes\nLocalForward %s a:1\n")
            :format(folder:path("socket"))
         local session <close> = assert(connect(lines, { password = sshd.password }))
         assert.same({ "publickey" }, { session.info.auth, session._options.forward_agent,
            session._options.forward_x11, session.forwards })
         for _, order in ipairs{ "", "PreferredAuthentications password,keyboard-interactive\n" } do
            local err = refused(lines .. order, { password = sshd.password, identity = {} })
            assert.equal("auth_failed", err.code)
            assert.same({}, err.tried)
         end
         assert.equal(other, folder:read("known"))
         -- A policy of the caller's own is what it says.
         local own <close> = assert(connect(lines, { host_keys = "off", password = sshd.password, identity = {} }))
         assert.equal("password", own.info.auth)
      end)

      it("hashes names where HashKnownHosts says so", function()
         assert(connect(empty("StrictHostKeyChecking accept-new\nHashKnownHosts yes\n"))):close()
         assert.matches("^|1|[^ ]+ ssh%-ed25519 ", folder:read("known"))
         assert(connect(empty())):close()
      end)

      it("looks a host up by its alias", function()
         folder:write("known", "Somebody " .. sshd.host_keys.ed25519 .. "\n")
         assert(connect(empty("HostKeyAlias SOMEBODY\n"))):close()
         assert.equal("host_key_unknown", refused(empty("HostKeyAlias another\n")).code)
      end)

      it("looks at the address, too, where CheckHostIP says so", function()
         local here, there = ("localhost %s\n"):format(sshd.host_keys.ed25519):gsub("localhost",
            ("[localhost]:%d"):format(sshd.port)), ("[127.0.0.1]:%d %s\n"):format(sshd.port, keys.public("ed25519"))
         folder:write("known", here .. there)
         local lines = "HostName localhost\nAddressFamily inet\n"
         assert(connect(empty(lines))):close()
         local err = refused(empty(lines .. "CheckHostIP yes\n"))
         assert.same({ "host_key_changed", 2 }, { err.code, err.line })
      end)

      it("takes no key that RevokedHostKeys lists, and none at all when it cannot be read", function()
         local list = folder:write("revoked", ("# gone\n%s\n%s\n"):format(sshd.host_keys.ecdsa, sshd.host_keys.ed25519))
         local err = refused(("RevokedHostKeys %s\n"):format(list))
         assert.same({ "host_key_revoked", list }, { err.code, err.path })
         err = refused(("RevokedHostKeys %s\n"):format(list), { host_keys = "off" })
         assert.equal("host_key_revoked", err.code)
         assert(connect(("RevokedHostKeys %s\nHostKeyAlgorithms rsa-sha2-512\n"):format(list))):close()
         err = refused(("RevokedHostKeys %s\n"):format(folder:path("missing")))
         assert.same({ "io", folder:path("missing") }, { err.code, err.path })
         folder:write("revoked", "\nnonsense\n")
         err = refused(("RevokedHostKeys %s\n"):format(list))
         assert.same({ "io", 2 }, { err.code, err.line })
      end)

      it("takes no RSA key that is too short for RequiredRSASize", function()
         local err = refused("RequiredRSASize 4096\nHostKeyAlgorithms rsa-sha2-512\n")
         assert.equal("host_key_rejected", err.code)
      end)
   end)

   describe("and keys", function()
      it("takes IdentityFile where it is there, and the public half of it to an agent", function()
         assert(connect(("IdentityFile %s\n"):format(folder:path("missing")))):close()
         local agent <close> = server.agent()
         agent:add(sshd.key_paths.ecdsa)
         folder:write("half.pub", keys.public("ecdsa", "user") .. "\n")
         local lines = ("Host agent web1\nIdentityAgent %s\nIdentitiesOnly yes\nIdentityFile %s\n"):format(agent.path,
            folder:path("half"))
         local session <close> = assert(connect(lines))
         assert.equal("publickey", session.info.auth)
      end)

      it("shows the certificate of CertificateFile", function()
         local authority = folder:path("authority")
         process.check{ "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", authority }
         local other <close> = server.sshd{ authorized = {}, config = "TrustedUserCAKeys " .. authority .. ".pub" }
         folder:write("key.pub", keys.public("ed25519", "user") .. "\n")
         process.check{ "ssh-keygen", "-q", "-s", authority, "-I", "id", "-n", other.user, folder:path("key.pub") }
         local lines = ("Port %d\nUserKnownHostsFile %s\n"):format(other.port, other.known_hosts_path)
         assert.equal("auth_failed", refused(lines).code)
         local session <close> = assert(connect(lines .. "CertificateFile " .. folder:path("key-cert.pub") .. "\n"))
         assert.equal("publickey", session.info.auth)
      end)

      it("offers none that is ruled out", function()
         local err = refused("PubkeyAcceptedAlgorithms ecdsa-*\n")
         assert.equal("auth_failed", err.code)
         assert.is_truthy(err.message:find("PubkeyAcceptedAlgorithms", 1, true))
         assert(connect("PubkeyAcceptedAlgorithms -ecdsa-*\n")):close()
         err = refused("PubkeyAuthentication no\n")
         assert.equal("auth_failed", err.code)
         err = refused(("RequiredRSASize 4096\nHost web1\nIdentityFile %s\nIdentitiesOnly yes\n"):format(
            sshd.key_paths.rsa), { identity = sshd.key_paths.rsa })
         assert.is_truthy(err.message:find("RequiredRSASize", 1, true))
      end)

      it("signs with the one hash of RSA that is left, though the server takes both", function()
         local authority = folder:path("authority")
         process.check{ "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", authority }
         local other <close> = server.sshd{ config = "TrustedUserCAKeys " .. authority .. ".pub" }
         local lines = ("Port %d\nUserKnownHostsFile %s\n"):format(other.port, other.known_hosts_path)
         local used
         local rsa <close> = assert(ssh.key.load(other.key_paths.rsa))
         local signer = ssh.key.external{ public = rsa, sign = function(data, algorithm)
            used = algorithm
            return rsa:sign(data, algorithm)
         end }
         for _, name in ipairs{ "rsa-sha2-256", "rsa-sha2-512" } do
            assert(connect(("%sPubkeyAcceptedAlgorithms %s\n"):format(lines, name), { identity = signer })):close()
            assert.equal(name, used)
         end
         folder:write("key", assert(io.open(other.key_paths.rsa)):read("a"), "600")
         folder:write("key.pub", keys.public("rsa", "user") .. "\n")
         process.check{ "ssh-keygen", "-q", "-s", authority, "-I", "id", "-n", other.user, folder:path("key.pub") }
         local session <close> = assert(connect(lines .. "PubkeyAcceptedAlgorithms rsa-sha2-256-cert-v01@openssh.com\n",
            { identity = folder:path("key") }))
         assert.equal("publickey", session.info.auth)
      end)

      it("tries the methods of PreferredAuthentications alone", function()
         local session <close> = assert(connect("PreferredAuthentications gssapi-with-mic,password\n",
            { password = sshd.password }))
         assert.equal("password", session.info.auth)
         local err = refused("PreferredAuthentications password\nPasswordAuthentication no\n",
            { password = sshd.password })
         assert.equal("auth_failed", err.code)
      end)
   end)

   it("signs by SHA-1 where PubkeyAcceptedAlgorithms names it", function()
      local other <close> = server.sshd{ config = "PubkeyAcceptedAlgorithms ssh-rsa\n" }
      local lines = ("Port %d\nUserKnownHostsFile %s\nHost web1\n"):format(other.port, other.known_hosts_path)
      for _, line in ipairs{ "", "PubkeyAcceptedAlgorithms ^ecdsa-*\n", "PubkeyAcceptedAlgorithms -ecdsa-*\n" } do
         assert.equal("auth_failed", refused(lines .. line, { identity = other.key_paths.rsa }).code)
      end
      assert(connect(lines .. "PubkeyAcceptedAlgorithms +ssh-rsa\n", { identity = other.key_paths.rsa })):close()
   end)

   it("forwards the agent that ForwardAgent names, and no other", function()
      local own <close> = server.agent()
      local other <close> = server.agent()
      own:add(sshd.key_path)
      other:add(sshd.key_paths.ecdsa)
      local lines = ("Host agent web1\nIdentityAgent %s\nHost web1\n"):format(own.path)
      for line, agent in pairs{ ["ForwardAgent yes\n"] = own, [("ForwardAgent %s\n"):format(other.path)] = other } do
         local session <close> = assert(connect(lines .. line))
         assert.equal(agent:list(), assert(session:run("ssh-add -L", { timeout = 60 })).stdout)
      end
      local none <close> = assert(connect(lines .. "ForwardAgent $MOONSSH_NO_SUCH_VARIABLE\n"))
      assert.is_false(assert(none:run("ssh-add -L", { timeout = 60 })).ok)
   end)

   describe("and forwardings", function()
      -- What the server says who is reached through a socket.
      local function greeting(session, path)
         local channel <close> = assert(session:dial_unix(path, { timeout = 60 }))
         return channel:read("l", 60)
      end

      it("begins them, but not for a host that is only gone through", function()
         local here, there = folder:path("here"), folder:path("there")
         written(("Host web2\nHostName localhost\nHostKeyAlias [127.0.0.1]:%d\nMatch all\n"
            .. "LocalForward %s %s:%d\nRemoteForward %s %s:%d\nExitOnForwardFailure yes\n"):format(sshd.port, here,
            sshd.host, sshd.port, there, sshd.host, sshd.port))
         local path = folder:write("config", (folder:read("config"):gsub("Host web1", "Host web*")))
         local session <close> = assert(ssh.connect("web1", { config = path, jump = "web2", timeout = 60 }))
         assert.same({ 2, {} }, { #session.forwards, session.forward_problems })
         assert.matches("^SSH%-2%.0%-OpenSSH", greeting(session, here))
         assert.matches("^SSH%-2%.0%-OpenSSH", greeting(session, there))
         session:close()
         local file = io.open(here)
         assert.is_nil(file)
      end)

      it("goes on without one that cannot be, unless ExitOnForwardFailure says no", function()
         local lines = ("DynamicForward %s:%d\nLocalForward %s a:1\n"):format(sshd.host, sshd.port,
            folder:path("socket"))
         local session <close> = assert(connect(lines))
         assert.equal(1, #session.forwards)
         assert.matches("^dynamicforward '.*cannot listen at", session.forward_problems[1].message)
         session:close()
         assert.matches("^dynamicforward", refused(lines .. "ExitOnForwardFailure yes\n").message)
         local without <close> = assert(connect(lines .. "ExitOnForwardFailure yes\nClearAllForwardings yes\n"))
         assert.is_nil(without.forwards)
      end)

      it("serves SOCKS for a RemoteForward without a destination, as far as PermitRemoteOpen allows", function()
         for lines, answer in pairs{
            [""] = "\5\0\5\0\0\1\0\0\0\0\0\0",
            ["PermitRemoteOpen any\n"] = "\5\0\5\0\0\1\0\0\0\0\0\0",
            [("PermitRemoteOpen a:1 127.0.*:%d\n"):format(sshd.port)] = "\5\0\5\0\0\1\0\0\0\0\0\0",
            ["PermitRemoteOpen 127.0.0.1:*\n"] = "\5\0\5\0\0\1\0\0\0\0\0\0",
            ["PermitRemoteOpen 127.0.0.1:1 b:*\n"] = "\5\0\5\2\0\1\0\0\0\0\0\0",
            ["PermitRemoteOpen none\n"] = "\5\0\5\2\0\1\0\0\0\0\0\0",
         } do
            local session <close> = assert(connect("RemoteForward 0\n" .. lines))
            assert.same({}, session.forward_problems)
            local client <close> = stream.connect("127.0.0.1:" .. session.forwards[1].port)
            client:write("\5\1\0\5\1\0\1\127\0\0\1" .. string.pack(">I2", sshd.port))
            assert.equal(answer, client:read(#answer), lines)
         end
      end)

      it("listens at Unix sockets as StreamLocalBindUnlink and StreamLocalBindMask say", function()
         local path = folder:path("socket")
         local lines = ("LocalForward %s localhost:%d\n"):format(path, sshd.port)
         local function leave_over()
            core.socket.close(assert(core.socket.listen_unix(path)))
         end
         leave_over()
         local session <close> = assert(connect(lines))
         assert.matches("Address already in use", session.forward_problems[1].message)
         for mask, permissions in pairs{ [""] = "600", ["StreamLocalBindMask 0007\n"] = "770" } do
            local other <close> = assert(connect(lines .. "StreamLocalBindUnlink yes\n" .. mask))
            assert.same({}, other.forward_problems)
            assert.equal(tonumber(permissions, 8), core.file.lstat(path).permissions & 511)
            local client <close> = stream.connect(path)
            assert.equal("SSH-", client:read(4))
            other:close()
            leave_over()
         end
         -- Nothing but a socket makes way.
         assert(core.file.remove(path))
         folder:write("socket", "precious")
         local third <close> = assert(connect(lines .. "StreamLocalBindUnlink yes\n"))
         assert.equal(1, #third.forward_problems)
         assert.equal("precious", folder:read("socket"))
      end)

      it("reads what ssh_config says as places", function()
         local found = forwards.of{ gatewayports = "yes", localforward = { "80 [web-1.test]:8080", "[*]:81 [::1]:443" },
            remoteforward = { "0 [localhost]:22", "[]:1 /run/x", "1080 [socks]:0" }, dynamicforward = { "[::1]:1080" } }
         local places = {}
         for i, one in ipairs(found) do
            places[i] = one.bind .. " " .. tostring(one.to)
         end
         assert.same({ ":80 web-1.test:8080", "*:81 [::1]:443", "localhost:0 localhost:22", ":1 /run/x",
            "localhost:1080 nil", "[::1]:1080 nil" }, places)
         assert.is_nil(forwards.of{})
      end)
   end)

   it("goes nowhere where RefuseConnection says so", function()
      local err = refused("RefuseConnection \"gone for good\"\n")
      assert.same({ "refused", true }, { err.code, err.message:find("gone for good", 1, true) ~= nil })
      assert.equal(1, err.line)
      assert.equal(("%s line 1: RefuseConnection: gone for good"):format(err.path), err.message)
   end)

   it("connects with the family and from the address that the file says", function()
      assert.equal("resolve", refused("AddressFamily inet6\n").code)
      local session <close> = assert(connect("BindAddress 127.0.0.9\n"))
      assert.matches("^127%.0%.0%.9 ", assert(session:run("echo $SSH_CONNECTION")).stdout)
   end)

   it("tries to connect as often as ConnectionAttempts says", function()
      local sleep, pauses = loop.sleep, 0
      loop.sleep = function()
         pauses = pauses + 1
      end
      local ok, err = pcall(refused, "Port 1\nConnectionAttempts 3\nConnectTimeout 20\n")
      loop.sleep = sleep
      assert.is_true(ok)
      assert.equal("refused", err.code)
      assert.equal(2, pauses)
   end)
end)
