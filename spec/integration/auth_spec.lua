-- Passwords, questions, several methods, banners: against real servers.

local core = require "moonssh.core"
local dial = require "spec.support.dial"
local keys = require "spec.support.keys"
local server = require "spec.support.server"
local settings = require "moonssh.settings"
local socket = require "moonssh_testing".socket
local ssh = require "moonssh"
local tmp = require "spec.support.tmp"
local waiting = require "spec.support.waiting"

-- A group of tests with a server of its own, pending where that cannot be started.
local function with(kind, options, tests)
   if server.missing(kind) then
      it("needs " .. kind, function()
         pending(server.missing(kind))
      end)
      return
   end
   local running = {}
   setup(function()
      running.server = server[kind](options)
   end)
   teardown(function()
      running.server:stop()
   end)
   tests(function(dial_options)
      return dial(running.server, dial_options)
   end, running)
end

describe("sshd", function()
   with("sshd", { config = "Banner /etc/passwd" }, function(connect, running)
      it("lets us in by password", function()
         local session <close> = assert(connect{ password = running.server.password })
         assert.equal("password", session.info.auth)
      end)

      it("lets us in by a password that a function gives, which is told whose", function()
         local asked = {}
         local session <close> = assert(connect{ password = function(prompt)
            table.insert(asked, prompt)
            return running.server.password
         end })
         assert.same({ ("%s@%s's password: "):format(running.server.user, running.server.host) }, asked)
         assert.equal(running.server.user, session.info.user)
      end)

      it("refuses a wrong one, once", function()
         local function failures()
            return select(2, running.server:log():gsub("Failed password", ""))
         end
         local before = failures()
         local session, err = connect{ password = "wrong" }
         assert.is_nil(session)
         assert.equal("auth_failed", err.code)
         assert.same({ "password" }, err.tried)
         assert.same({ "publickey", "password" }, err.methods)
         waiting.await(function() return failures() > before end, "sshd, which logs after it has answered")
         assert.equal(before + 1, failures())
      end)

      it("shows its banner", function()
         local session <close> = assert(connect())
         assert.matches("root:", session.banner, 1, true)
      end)

      it("is told our password in a packet whose length says nothing of it", function()
         local lengths = {}
         for _, password in ipairs{ "x", ("y"):rep(50), ("z"):rep(100) } do
            local session = assert(ssh.session())
            local fd = assert(socket.connect(running.server.host, running.server.port))
            assert(session:handshake(fd, { host = running.server.host, port = running.server.port,
               known_hosts = running.server.known_hosts_path }))
            assert(session:auth_none("nobody-" .. running.server.user))
            local before = session.info.bytes_sent
            local ok, err = session:auth_password("nobody-" .. running.server.user, password)
            assert.is_nil(ok)
            assert.equal("auth_failed", err.code)
            lengths[session.info.bytes_sent - before] = true
            session:close()
            socket.close(fd)
         end
         assert.is_truthy(next(lengths))
         assert.is_nil(next(lengths, (next(lengths))), "one length for all")
      end)

      it("is logged in to step by step, each method on its own", function()
         local fd = assert(socket.connect(running.server.host, running.server.port))
         local session <close> = assert(ssh.session())
         assert(session:handshake(fd, { host = running.server.host, port = running.server.port,
            known_hosts = running.server.known_hosts_path }))
         assert.same({ "publickey", "password" }, assert(session:auth_none(running.server.user)))
         local ok, err = session:auth_password(running.server.user, "wrong")
         assert.is_nil(ok)
         assert.equal("auth_failed", err.code)
         ok, err = session:auth_interactive(running.server.user, function() return {} end)
         assert.is_nil(ok)
         assert.equal("auth_failed", err.code)
         assert.is_true(session:auth_publickey(running.server.user, running.server.key_path))
         assert.equal("publickey", session.info.auth)
         session:close()
         socket.close(fd)
      end)
   end)
end)

describe("sshd that wants a key and a password", function()
   with("sshd", { config = "AuthenticationMethods publickey,password" }, function(connect, running)
      it("gets both", function()
         local session <close> = assert(connect{ identity = running.server.key_path,
            password = running.server.password })
         assert.equal("password", session.info.auth)
      end)

      it("is not content with one", function()
         local session, err = connect{ identity = running.server.key_path }
         assert.is_nil(session)
         assert.equal("auth_failed", err.code)
         assert.same({ "password" }, err.methods)
         assert.same({}, err.tried)
      end)
   end)
end)

describe("sshd that wants two keys", function()
   with("sshd", { config = "AuthenticationMethods publickey,publickey" }, function(connect, running)
      it("gets two", function()
         local paths = running.server.key_paths
         local session <close> = assert(connect{ identity = { paths.ed25519, paths.rsa } })
         assert.equal("publickey", session.info.auth)
      end)

      it("is not given the same twice", function()
         local path = running.server.key_path
         local session, err = connect{ identity = { path, path } }
         assert.is_nil(session)
         assert.equal("auth_failed", err.code)
      end)
   end)
end)

describe("dropbear", function()
   with("dropbear", {}, function(connect, running)
      for _, type in ipairs{ "ed25519", "ecdsa", "rsa" } do
         it(("lets us in by an %s key, with the hash that it says"):format(type), function()
            local session <close> = assert(connect{ identity = running.server.key_paths[type] })
            assert.equal("publickey", session.info.auth)
         end)
      end

      it("lets us in by password", function()
         local session <close> = assert(connect{ password = running.server.password })
         assert.equal("password", session.info.auth)
      end)
   end)
end)

describe("dropbear that wants two factors", function()
   with("dropbear", { arguments = { "-t" } }, function(connect, running)
      it("gets key and password", function()
         local session <close> = assert(connect{ identity = running.server.key_path,
            password = running.server.password })
         assert.equal("password", session.info.auth)
      end)
   end)
end)

describe("asyncssh that asks questions", function()
   local rounds = {
      { name = "First", instruction = "Tell all", prompts = {
         { text = "Name: ", echo = true, answer = "moon" }, { text = "Code: ", echo = false, answer = "1234" } } },
      { prompts = { { text = "Again: ", echo = false, answer = "5678" } } },
   }
   with("asyncssh", { methods = { "keyboard-interactive" }, rounds = rounds, banner = "be good\n" }, function(connect)
      it("gets its answers, round after round", function()
         local asked = {}
         local answers = { { "moon", "1234" }, { "5678" } }
         local session <close> = assert(connect{ interactive = function(name, instruction, prompts)
            table.insert(asked, { name, instruction, prompts })
            return answers[#asked]
         end })
         assert.same({
            { "First", "Tell all", { { text = "Name: ", echo = true }, { text = "Code: ", echo = false } } },
            { "", "", { { text = "Again: ", echo = false } } },
         }, asked)
         assert.equal("keyboard-interactive", session.info.auth)
         assert.equal("be good\n", session.banner)
      end)

      it("refuses wrong ones", function()
         local asked = 0
         local session, err = connect{ interactive = function(_, _, prompts)
            asked = asked + 1
            return table.move({ "moon", "wrong" }, 1, #prompts, 1, {})
         end }
         assert.is_nil(session)
         assert.equal("auth_failed", err.code)
         assert.same({ "keyboard-interactive" }, err.tried)
         assert.equal(1, asked)
      end)

      it("waits for a function that waits", function()
         local answers, n = { { "moon", "1234" }, { "5678" } }, 0
         local session <close> = assert(connect{ timeout = 60, interactive = function()
            ssh.loop.sleep(0.05)
            n = n + 1
            return answers[n]
         end })
         assert.equal(2, n)
         assert.is_nil(session.failure)
      end)
   end)
end)

describe("asyncssh that asks for the password as a question", function()
   local rounds = { { prompts = { { text = "Password: ", echo = false, answer = "secret" } } } }
   with("asyncssh", { methods = { "keyboard-interactive" }, rounds = rounds }, function(connect)
      it("gets it", function()
         local session <close> = assert(connect{ password = "secret" })
         assert.equal("keyboard-interactive", session.info.auth)
      end)

      it("gets it from a function, which sees the question", function()
         local session <close> = assert(connect{ password = function(prompt)
            return prompt == "Password: " and "secret" or "not asked"
         end, preferred_auth = { "keyboard-interactive" } })
         assert.equal("keyboard-interactive", session.info.auth)
      end)
   end)
end)

describe("asyncssh that wants a new password", function()
   with("asyncssh", { methods = { "password" }, change_password = "choose another" }, function(connect)
      it("gets none where there is none", function()
         local session, err = connect{ password = "secret" }
         assert.is_nil(session)
         assert.equal("auth_failed", err.code)
         assert.matches("choose another", err.message, 1, true)
      end)

      it("gets one", function()
         local asked = {}
         local session <close> = assert(connect{ password = "secret", new_password = function(prompt)
            table.insert(asked, prompt)
            return "better"
         end })
         assert.same({ "choose another" }, asked)
         assert.equal("password", session.info.auth)
      end)
   end)
end)

describe("asyncssh that asks nothing, then something, then nothing again", function()
   local rounds = { { name = "nothing", prompts = {} }, { prompts = {} },
      { prompts = { { text = "Code: ", echo = true, answer = "42" } } }, { prompts = {} } }
   with("asyncssh", { methods = { "keyboard-interactive" }, rounds = rounds }, function(connect)
      it("is answered each time", function()
         local asked = {}
         local session <close> = assert(connect{ interactive = function(name, _, prompts)
            table.insert(asked, name .. #prompts)
            return prompts[1] and { "42" } or nil
         end })
         assert.same({ "nothing0", "0", "1", "0" }, asked)
         assert.equal("keyboard-interactive", session.info.auth)
      end)
   end)
end)

describe("npm's ssh2 that wants a new password", function()
   with("npm", { methods = { "password" }, change_password = "choose another" }, function(connect)
      it("gets one, by function, for the old one that a function gave", function()
         local session <close> = assert(connect{
            password = function() return "secret" end,
            new_password = function(prompt) return prompt == "choose another" and "better" or nil end,
         })
         assert.equal("password", session.info.auth)
      end)

      it("is given none by a function that gives none", function()
         local session, err = connect{ password = "secret", new_password = function() return nil end }
         assert.is_nil(session)
         assert.equal("auth_failed", err.code)
         assert.matches("the server demands a new password: choose another", err.message, 1, true)
      end)
   end)
end)

describe("sshd that takes few tries", function()
   with("sshd", { config = "MaxAuthTries 2" }, function(connect, running)
      local agent, folder

      setup(function()
         agent, folder = server.agent(), tmp.dir()
         for i = 1, 5 do
            agent:add(keys.make(folder, "stranger" .. i, { type = "ed25519" }))
         end
      end)

      teardown(function()
         agent:stop()
         folder:remove()
      end)

      it("gets the keys of identity before the agent's others, and no others where none are wanted", function()
         for _, only in ipairs{ true, false } do
            local session <close> = assert(connect{ identity = running.server.key_path, identities_only = only,
               agent = agent.path })
            assert.equal("publickey", session.info.auth)
         end
      end)

      it("ends the session otherwise, and says why", function()
         local session, err = connect{ identity = running.server.key_path .. ".pub", agent = agent.path,
            identities_only = false }
         assert.is_nil(session)
         assert.equal("disconnected", err.code)
         assert.matches("Too many authentication failures", err.message, 1, true)
      end)

      it("is not asked about a key twice", function()
         local path = running.server.key_path
         local session <close> = assert(connect{ identity = { folder:path("stranger1"), folder:path("stranger1"),
            assert(ssh.key.load(folder:path("stranger1"))), path } })
         assert.equal("publickey", session.info.auth)
      end)
   end)
end)

describe("sshd that trusts hosts", function()
   local folder, host_key, sshd

   setup(function()
      folder = tmp.dir()
      host_key = keys.make(folder, "host", { type = "ed25519" })
      keys.make(folder, "rsa", { type = "rsa", bits = 2048 })
      keys.make(folder, "locked", { type = "ecdsa", bits = 256, passphrase = "a phrase", rounds = 2 })
      keys.make(folder, "stranger", { type = "ed25519" })
      sshd = server.sshd{ authorized = {}, config = "HostbasedAuthentication yes\nIgnoreRhosts no\n"
         .. "HostbasedUsesNameFromPacketOnly yes\n" }
   end)

   teardown(function()
      sshd:stop()
      folder:remove()
   end)

   -- A step-by-step session whose host key is accepted, for f.
   local function with_session(f)
      local fd = assert(socket.connect(sshd.host, sshd.port))
      local session <close> = assert(ssh.session{ timeout = 60 })
      assert(session:handshake(fd, { host = sshd.host, port = sshd.port, known_hosts = sshd.known_hosts_path }))
      f(session)
      session:close()
      socket.close(fd)
   end

   -- Has the server know hosts by these names, and let in the user who is called so there.
   local function introduce(host, host_user)
      local lines = {}
      for i, name in ipairs{ "host", "rsa", "locked" } do
         lines[i] = host .. " " .. folder:read(name .. ".pub")
      end
      sshd.folder:write("home/.ssh/known_hosts", table.concat(lines), "600")
      sshd.folder:write("home/.shosts", host .. " " .. host_user .. "\n", "600")
   end

   -- The options of connect with a file of these lines.
   local function configured(lines, more)
      local options = { timeout = 60, agent = false, identity = {}, config = folder:write("config", table.concat({
         "Host web1", "HostName " .. sshd.host, "Port " .. sshd.port, "User " .. sshd.user,
         "UserKnownHostsFile " .. sshd.known_hosts_path, "GlobalKnownHostsFile none", lines or "", "" }, "\n")) }
      for name, value in pairs(more or {}) do
         options[name] = value
      end
      return options
   end

   it("lets in whom a host that it knows vouches for, by the option hostbased", function()
      if not sshd.home then
         pending("libnss-wrapper is not installed")
         return
      end
      introduce("client.example", "sun")
      local vouched = { key = host_key, host = "client.example", user = "sun" }
      for _, key in ipairs{ host_key, { folder:path("stranger"), host_key }, assert(ssh.key.load(host_key)) } do
         local session <close> = assert(ssh.connect("web1", configured("", { require_auth = true,
            hostbased = { key = key, host = "client.example", user = "sun" } })))
         assert.equal("hostbased", session.info.auth)
         assert.equal("ok\n", assert(session:run("echo ok")).stdout)
      end
      -- It comes first, and where it is not enough the others go on; unless preferred_auth says otherwise.
      local session <close> = assert(ssh.connect("web1", configured("", { hostbased = vouched,
         identity = folder:path("stranger"), password = sshd.password })))
      assert.equal("hostbased", session.info.auth)
      local other <close> = assert(ssh.connect("web1", configured("", { password = sshd.password,
         hostbased = { key = folder:path("stranger"), host = "client.example", user = "sun" } })))
      assert.equal("password", other.info.auth)
      local third <close> = assert(ssh.connect("web1", configured("", { hostbased = vouched, password = sshd.password,
         preferred_auth = { "password", "hostbased" } })))
      assert.equal("password", third.info.auth)
      local none, err = ssh.connect("web1", configured("", { hostbased = vouched, preferred_auth = { "publickey" } }))
      assert.is_nil(none)
      assert.same({ "auth_failed", {} }, { err.code, err.tried })
   end)

   it("lets in whom this host vouches for where ssh_config has HostbasedAuthentication", function()
      if not sshd.home then
         pending("libnss-wrapper is not installed")
         return
      end
      introduce(core.file.hostname(), core.file.user())
      local host_keys = settings.host_keys
      local function connect(places, lines, more)
         settings.host_keys = places
         local ok, session, err = pcall(ssh.connect, "web1", configured(lines, more))
         settings.host_keys = host_keys
         return assert(ok and (session or err), session)
      end
      local paths = { folder:path("missing"), folder:path("rsa"), host_key }
      for _, lines in ipairs{ "HostbasedAuthentication yes", "HostbasedAuthentication yes\n"
         .. "PreferredAuthentications hostbased,publickey", "HostbasedAuthentication yes\n"
         .. "HostbasedAcceptedAlgorithms ssh-ed25519" } do
         local session <close> = connect(paths, lines)
         assert.equal("hostbased", session.info.auth)
      end
      for lines, pattern in pairs{
         ["PreferredAuthentications hostbased"] = "tried nothing",
         ["HostbasedAuthentication no\nPreferredAuthentications hostbased"] = "tried nothing",
         ["HostbasedAuthentication yes\nPreferredAuthentications publickey"] = "tried nothing",
         ["HostbasedAuthentication yes\nHostbasedAcceptedAlgorithms ecdsa-*"] =
            "HostbasedAcceptedAlgorithms of ssh_config leaves .*rsa out",
      } do
         local err = connect(paths, lines)
         assert.equal("auth_failed", err.code)
         assert.matches(pattern, err.message)
      end
      local err = connect({}, "HostbasedAuthentication yes")
      assert.equal("hostbased: there is no key of this host", err.message)
      err = connect({ host_key .. ".pub" }, "HostbasedAuthentication yes")
      assert.equal("key_format", err.code)
      -- What is wrong with the user's own keys is told first.
      err = connect({ host_key .. ".pub" }, "HostbasedAuthentication yes", { identity = folder:path("nothing") })
      assert.same({ "io", folder:path("nothing") }, { err.code, err.path })
   end)

   it("lets in whom a host that it knows vouches for", function()
      if not sshd.home then
         pending("libnss-wrapper is not installed")
         return
      end
      introduce("client.example", "sun")
      local external = assert(ssh.key.external{ public = folder:read("rsa.pub"), sign = function(...)
         return assert(ssh.key.load(folder:path("rsa"))):sign(...)
      end })
      for _, key in ipairs{ host_key, folder:path("rsa"), external, folder:path("locked"),
         assert(ssh.key.load(host_key)) } do
         with_session(function(session)
            assert.is_true(session:auth_hostbased(sshd.user, key,
               { host = "client.example", user = "sun", passphrase = "a phrase" }))
            assert.equal("hostbased", session.info.auth)
            assert.equal("ok\n", assert(session:run("echo ok")).stdout)
         end)
      end
      for _, case in ipairs{ { host_key, "client.example", "moon" }, { host_key, "other.example", "sun" },
         { folder:path("stranger"), "client.example", "sun" } } do
         with_session(function(session)
            local ok, err = session:auth_hostbased(sshd.user, case[1], { host = case[2], user = case[3] })
            assert.is_nil(ok)
            assert.equal("auth_failed", err.code)
            assert.same({ "hostbased" }, err.tried)
         end)
      end
   end)

   it("is not asked with arguments that are none", function()
      with_session(function(session)
         for _, case in ipairs{
            { "#1 to 'auth_hostbased'", nil, host_key }, { "#2 to 'auth_hostbased'", "u", nil },
            { "unknown option 'hots'", "u", host_key, { hots = "x" } },
            { "option 'host': the name is empty", "u", host_key, { host = "" } },
            { "cannot hold a NUL", "u\0", host_key },
         } do
            local ok, message = pcall(session.auth_hostbased, session, table.unpack(case, 2, 4))
            assert.is_false(ok)
            assert.matches(case[1], message, 1, true)
         end
         local ok, err = session:auth_hostbased("u", folder:path("nothing"))
         assert.is_nil(ok)
         assert.equal("io", err.code)
         for text, option in pairs{
            ["option 'hostbased': it has no key"] = {},
            ["unknown option 'kye'"] = { kye = "x" },
            ["option 'host': the name is empty"] = { key = host_key, host = "" },
            ["option 'key': paths and keys expected"] = { key = { 3 } },
         } do
            assert.error_matches(function() session:authenticate{ user = "u", hostbased = option } end, text)
         end
         ok, err = session:auth_hostbased("u", host_key .. ".pub")
         assert.is_nil(ok)
         assert.equal("key_format", err.code)
      end)
   end)
end)

describe("asyncssh that lets anybody in", function()
   with("asyncssh", { no_auth = true, methods = { "publickey" } }, function(connect, running)
      it("is fine, and told in session.info", function()
         local session <close> = assert(connect{ identity = {} })
         assert.equal("none", session.info.auth)
      end)

      it("is refused by require_auth", function()
         local paths = running.server.key_paths
         local session, err = connect{ identity = { paths.ed25519, paths.rsa }, require_auth = true }
         assert.is_nil(session)
         assert.equal("auth_trivial", err.code)
      end)
   end)
end)

describe("paramiko, which has no server-sig-algs and no strict key exchange", function()
   with("paramiko", {}, function(connect, running)
      for _, type in ipairs{ "ed25519", "ecdsa", "rsa" } do
         it(("lets us in by an %s key"):format(type), function()
            local session <close> = assert(connect{ identity = running.server.key_paths[type] })
            assert.equal("publickey", session.info.auth)
            assert.is_false(session.info.strict)
         end)
      end

      it("lets us in by password", function()
         local session <close> = assert(connect{ password = running.server.password })
         assert.equal("password", session.info.auth)
      end)
   end)
end)

describe("paramiko that wants three methods", function()
   local rounds = { { prompts = { { text = "Code: ", echo = true, answer = "1234" } } } }
   with("paramiko", { partial = { "publickey", "password", "keyboard-interactive" }, rounds = rounds },
      function(connect, running)
         it("gets them all", function()
            local session <close> = assert(connect{
               identity = running.server.key_path,
               password = running.server.password,
               interactive = function() return { "1234" } end,
            })
            assert.equal("password", session.info.auth)
         end)
      end)
end)
