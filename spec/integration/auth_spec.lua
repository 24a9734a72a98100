-- Passwords, questions, several methods, banners: against real servers.

local dial = require "spec.support.dial"
local server = require "spec.support.server"
local socket = require "moonssh_testing".socket
local ssh = require "moonssh"

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
         local _, before = running.server:log():gsub("Failed password", "")
         local session, err = connect{ password = "wrong" }
         assert.is_nil(session)
         assert.equal("auth_failed", err.code)
         assert.same({ "password" }, err.tried)
         assert.same({ "publickey", "password" }, err.methods)
         assert.equal(before + 1, select(2, running.server:log():gsub("Failed password", "")))
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
