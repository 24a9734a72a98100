-- The order of a login, message by message, against a server made by hand.

local Peer = require "spec.support.peer"
local carry = require "spec.support.peer.transport"
local keys = require "spec.support.keys"
local server = require "spec.support.server"
local ssh = require "moonssh"
local tmp = require "spec.support.tmp"
local waiting = require "spec.support.waiting"
local wire = Peer.wire

local function failure(methods, partial)
   return wire.message("USERAUTH_FAILURE", "so", methods or "publickey,password,keyboard-interactive", partial or false)
end

local success = wire.message("USERAUTH_SUCCESS")

local function prompts(list)
   local parts = { wire.message("USERAUTH_INFO_REQUEST", "sssu", "", "", "", #list) }
   for _, prompt in ipairs(list) do
      table.insert(parts, wire.pack("so", prompt[1], prompt[2]))
   end
   return table.concat(parts)
end

describe("a login", function()
   local folder, peer, requests, slow

   before_each(function()
      folder = tmp.dir()
      requests, slow = {}, nil
   end)

   after_each(function()
      folder:remove()
   end)

   -- Connects in memory; answer(request, n) is what the server says to the n-th request, nil for its default.
   local function connect(options, answer, peer_options)
      peer_options = peer_options or {}
      local function on_request(self, request)
         local what = request.method
         if what == "publickey" then
            what = (request.signature and "sign " or "probe ") .. request.algorithm
         end
         table.insert(requests, what)
         if answer then
            local said = answer(request, #requests)
            if said then
               return said
            end
         end
         self.steps.userauth = nil
         local said = self:step("userauth", request)
         self.steps.userauth = on_request
         return said
      end
      peer_options.steps = { userauth = on_request, info_response = peer_options.info_response }
      peer_options.info_response = nil
      peer = Peer.new(peer_options)
      local callbacks = carry(peer)
      local recv = callbacks.recv
      function callbacks.recv(...)
         if slow then
            slow = nil
            return -ssh.EAGAIN
         end
         return recv(...)
      end
      local given = { host_keys = "off", known_hosts = {}, identity = {}, agent = false, config = false,
         timeout = 60,
         socket = {}, callbacks = callbacks } -- a socket that only the callbacks know what to do with
      for name, value in pairs(options) do
         given[name] = value
      end
      return ssh.connect("moon@peer", given)
   end

   local function never()
      return failure()
   end

   it("with one key is one request in the flight of the service request", function()
      local flights = {}
      local session <close> = assert(connect({ identity = keys.path("ed25519") }, function()
         for _, message in ipairs(peer.received) do
            if message.number == 5 then
               table.insert(flights, message)
            end
         end
      end, { inject = {} }))
      assert.same({ "sign ssh-ed25519" }, requests)
      assert.equal("publickey", session.info.auth)
      assert.equal("moon", session.info.user)
   end)

   it("with one password is one request", function()
      local session <close> = assert(connect{ password = "secret" })
      assert.same({ "password" }, requests)
      assert.equal("password", session.info.auth)
   end)

   it("with one function for questions is one request", function()
      local session <close> = assert(connect{ interactive = function(_, _, list)
         assert.same({ { text = "Password: ", echo = false } }, list)
         return { "secret" }
      end })
      assert.same({ "keyboard-interactive" }, requests)
      assert.equal("keyboard-interactive", session.info.auth)
   end)

   it("with one key and a password tries the key at once, then the password, each once", function()
      local session, err = connect({ identity = keys.path("ed25519"), password = "wrong" }, never)
      assert.is_nil(session)
      assert.same({ "sign ssh-ed25519", "keyboard-interactive", "password" }, requests)
      assert.equal("auth_failed", err.code)
      assert.same({ "publickey", "keyboard-interactive", "password" }, err.tried)
      assert.same({ "publickey", "password", "keyboard-interactive" }, err.methods)
   end)

   it("with several keys asks for the methods and shows each key before it signs", function()
      local session <close> = assert(connect({
         identity = { keys.path("ecdsa"), keys.path("rsa"), keys.path("ed25519") },
      }, function(request)
         return request.algorithm ~= "ssh-ed25519" and failure() or nil
      end))
      assert.same({ "none", "probe ecdsa-sha2-nistp256", "probe rsa-sha2-512", "probe ssh-ed25519",
         "sign ssh-ed25519" }, requests)
      assert.equal("publickey", session.info.auth)
   end)

   it("offers a key once, though it is named twice", function()
      local handle = assert(ssh.key.load(keys.path("ed25519")))
      local session = connect({ identity = { keys.path("ed25519"), handle, keys.path("ed25519") } }, never)
      assert.is_nil(session)
      assert.same({ "sign ssh-ed25519" }, requests)
   end)

   it("tries no method that the server does not go on with", function()
      local session, err = connect({ identity = keys.path("ed25519"), password = "x" }, function()
         return failure("publickey,hostbased")
      end)
      assert.is_nil(session)
      assert.same({ "sign ssh-ed25519" }, requests)
      assert.same({ "publickey", "hostbased" }, err.methods)
   end)

   it("keeps to the order of preferred_auth, and to what is in it", function()
      local session, err = connect({ identity = keys.path("ed25519"), password = "x",
         preferred_auth = { "password", "publickey" } }, never)
      assert.is_nil(session)
      assert.same({ "none", "password", "sign ssh-ed25519" }, requests)
      assert.same({ "password", "publickey" }, err.tried)
      requests = {}
      session, err = connect({ identity = keys.path("ed25519"), preferred_auth = { "password" } }, never)
      assert.is_nil(session)
      assert.same({}, requests)
      assert.same({}, err.tried)
   end)

   it("without any credential asks whether it needs one", function()
      local session <close> = assert(connect({}, function() return success end))
      assert.same({ "none" }, requests)
      assert.equal("none", session.info.auth)
      requests = {}
      local other, err = connect({}, never)
      assert.is_nil(other)
      assert.same({ "none" }, requests)
      assert.equal("auth_failed", err.code)
   end)

   describe("A13: to a server that binds signatures to its host key", function()
      local offer = { ["server-sig-algs"] = "ssh-ed25519", ["publickey-hostbound@openssh.com"] = "0" }
      local method = "publickey-hostbound-v00@openssh.com"

      it("signs its host key along, in a request that says so", function()
         local seen
         local session <close> = assert(connect({ identity = keys.path("ed25519") }, function(request)
            if request.method == method then
               seen = request
               return success
            end
         end, { ext_info = offer }))
         assert.same({ method }, requests)
         local signed, algorithm, blob, host_key, signature = wire.unpack("ossss", seen.rest)
         local private = assert(ssh.key.load(keys.path("ed25519")))
         assert.same({ true, "ssh-ed25519", private:blob(), peer.host_key:blob() },
            { signed, algorithm, blob, host_key })
         local data = wire.pack("s", session.info.session_id) .. wire.message("USERAUTH_REQUEST", "sssosss", seen.user,
            "ssh-connection", method, true, algorithm, blob, host_key)
         assert.is_true(private:verify(data, signature))
         assert.equal("publickey", session.info.auth)
      end)

      it("asks about a key in the plain form first", function()
         connect({ identity = { keys.path("ed25519"), keys.path("ecdsa") } }, function(request)
            return request.method == method and failure() or nil
         end, { ext_info = offer })
         assert.same({ "none", "probe ssh-ed25519", method, "probe ecdsa-sha2-nistp256", method }, requests)
      end)

      it("does not where the version is another one", function()
         for _, version in ipairs{ "", "1", "00", "0\0" } do
            requests = {}
            connect({ identity = keys.path("ed25519") }, never,
               { ext_info = { ["publickey-hostbound@openssh.com"] = version } })
            assert.same({ "sign ssh-ed25519" }, requests)
         end
      end)
   end)

   describe("by an RSA key", function()
      local function algorithms(offer, answer)
         requests = {}
         connect({ identity = keys.path("rsa") }, answer or never,
            { ext_info = offer and { ["server-sig-algs"] = offer } or false })
         return requests
      end

      it("uses what server-sig-algs has, the stronger first", function()
         assert.same({ "sign rsa-sha2-512" }, algorithms("ssh-ed25519,rsa-sha2-256,rsa-sha2-512"))
         assert.same({ "sign rsa-sha2-256" }, algorithms("rsa-sha2-256,ssh-rsa"))
      end)

      it("tries both hashes where the server does not say", function()
         assert.same({ "sign rsa-sha2-512", "sign rsa-sha2-256" }, algorithms(nil))
         assert.same({ "sign rsa-sha2-512" }, algorithms(nil, function() end))
      end)

      it("never falls back to SHA-1", function()
         assert.same({}, algorithms("ssh-rsa"))
         assert.same({}, algorithms("ssh-ed25519"))
         local session, err = connect({ identity = keys.path("rsa") }, never,
            { ext_info = { ["server-sig-algs"] = "ssh-rsa" } })
         assert.is_nil(session)
         assert.equal("auth_failed", err.code)
         assert.matches("SHA-1", err.message, 1, true)
      end)

      it("does not send the SHA-1 signature of an old agent", function()
         local socket = require "moonssh_testing".socket
         local key = assert(ssh.key.load(keys.path("rsa")))
         local path = folder:path("agent")
         local listener = assert(socket.listen(path))
         local agent <close> = assert(ssh.agent(path))
         local fd = assert(socket.accept(listener, 60))
         local identities = string.pack(">BI4s4s4", 12, 1, key:blob(), "old")
         local signature = string.pack(">Bs4", 14, string.pack(">s4s4", "ssh-rsa", ("x"):rep(256)))
         -- It does not know what session-bind is, either.
         assert(socket.write(fd, string.pack(">s4s4s4", "\5", identities, signature)))
         local session, err = connect({ agent = agent }, never)
         socket.close(fd)
         socket.close(listener)
         assert.is_nil(session)
         assert.same({}, requests)
         assert.equal("agent", err.code)
         assert.matches("signed with ssh-rsa where rsa-sha2-512 was asked for", err.message, 1, true)
      end)
   end)

   describe("ends", function()
      it("though the server says partial success for ever", function()
         local session, err = connect({
            identity = { keys.path("ed25519"), keys.path("ecdsa"), keys.path("rsa") },
            password = "secret",
            interactive = function(_, _, list) return table.move({ "a", "b" }, 1, #list, 1, {}) end,
         }, function(request)
            if request.method == "publickey" and not request.signature then
               return nil
            end
            return failure(nil, request.method ~= "none")
         end)
         assert.is_nil(session)
         assert.equal("auth_failed", err.code)
         assert.same({ "none", "probe ssh-ed25519", "sign ssh-ed25519", "probe ecdsa-sha2-nistp256",
            "sign ecdsa-sha2-nistp256", "probe rsa-sha2-512", "sign rsa-sha2-512", "keyboard-interactive", "password" },
            requests)
      end)

      it("after twenty requests, whatever an agent holds", function()
         if server.missing("agent") then
            pending(server.missing("agent"))
            return
         end
         local agent <close> = server.agent()
         local handle <close> = assert(ssh.agent(agent.path))
         for _ = 1, 25 do
            assert(handle:add(assert(ssh.key.generate("ed25519"))))
         end
         local session, err = connect({ agent = handle }, never)
         assert.is_nil(session)
         assert.equal("auth_failed", err.code)
         assert.equal(20, #requests)
      end)

      it("where the server's lists of methods change each time", function()
         local session, err = connect({ identity = { keys.path("ed25519"), keys.path("ecdsa") }, password = "x" },
            function(_, n)
               return failure(n % 2 == 0 and "password" or "publickey")
            end)
         assert.is_nil(session)
         assert.equal("auth_failed", err.code)
         assert.is_true(#requests <= 5, table.concat(requests, ", "))
      end)
   end)

   describe("goes on after partial success", function()
      it("with the next method", function()
         local session <close> = assert(connect({ identity = keys.path("ed25519"), password = "secret" },
            function(request)
               return request.method == "publickey" and failure("password", true) or nil
            end))
         assert.same({ "sign ssh-ed25519", "password" }, requests)
         assert.equal("password", session.info.auth)
      end)

      it("with the next key", function()
         local session <close> = assert(connect({ identity = { keys.path("ed25519"), keys.path("ecdsa") } },
            function(request)
               if request.algorithm == "ssh-ed25519" and request.signature then
                  return failure("publickey", true)
               end
            end))
         assert.same({ "none", "probe ssh-ed25519", "sign ssh-ed25519", "probe ecdsa-sha2-nistp256",
            "sign ecdsa-sha2-nistp256" }, requests)
         assert.equal("publickey", session.info.auth)
      end)
   end)

   describe("with require_auth", function()
      it("fails where nobody asked for a credential", function()
         local session, err = connect({ require_auth = true, identity = { keys.path("ed25519"), keys.path("ecdsa") } },
            function() return success end)
         assert.is_nil(session)
         assert.equal("auth_trivial", err.code)
         assert.same({ "none" }, requests)
      end)

      it("fails where the server asks nothing interactively", function()
         local session, err = connect({ require_auth = true, interactive = function() return {} end }, function()
            return prompts{}
         end, { info_response = function() return success end })
         assert.is_nil(session)
         assert.equal("auth_trivial", err.code)
      end)

      it("is content where one was asked for", function()
         for _, options in ipairs{ { identity = keys.path("ed25519") }, { password = "secret" },
            { interactive = function() return { "secret" } end } } do
            options.require_auth = true
            local session <close> = assert(connect(options))
            assert.is_nil(session.failure)
         end
      end)

      it("left out, the session tells what let us in", function()
         local session <close> = assert(connect({ identity = { keys.path("ed25519"), keys.path("ecdsa") } },
            function() return success end))
         assert.equal("none", session.info.auth)
      end)
   end)

   describe("by questions", function()
      it("answers a lone hidden one with the password, once", function()
         local rounds = 0
         local session, err = connect({ password = function(prompt)
            assert.equal("Code: ", prompt)
            return "secret"
         end, preferred_auth = { "keyboard-interactive" } }, function()
            return prompts{ { "Code: ", false } }
         end, { info_response = function(_, answers)
            rounds = rounds + 1
            assert.same({ "secret" }, answers)
            return rounds < 5 and prompts{ { "Code: ", false } } or success
         end })
         assert.is_nil(session)
         assert.equal("auth_failed", err.code)
         assert.equal(1, rounds)
      end)

      it("answers no visible one, and no two, with the password", function()
         for _, list in ipairs{ { { "Name: ", true } }, { { "A: ", false }, { "B: ", false } } } do
            requests = {}
            local answered = false
            local session, err = connect({ password = "secret",
               preferred_auth = { "keyboard-interactive", "password" } },
               function(request)
                  return request.method == "keyboard-interactive" and prompts(list) or failure()
               end, { info_response = function()
                  answered = true
                  return failure()
               end })
            assert.is_nil(session)
            assert.equal("auth_failed", err.code)
            assert.is_false(answered)
         end
      end)

      it("hands the password to the first lone hidden one and the rest to the function", function()
         local asked = {}
         local session <close> = assert(connect({ password = "secret", interactive = function(_, _, list)
            table.insert(asked, list[1].text)
            return { "code" }
         end }, function(request)
            return request.method == "keyboard-interactive" and prompts{ { "Password: ", false } } or failure()
         end, { info_response = function(_, answers)
            return answers[1] == "secret" and prompts{ { "Code: ", false } } or success
         end }))
         assert.same({ "Code: " }, asked)
         assert.equal("keyboard-interactive", session.info.auth)
      end)

      it("raises for answers of the wrong number or kind, and closes the session", function()
         for _, answer in ipairs{ {}, { "a", "b" }, { 1 }, "x", 5 } do
            assert.error_matches(function()
               connect{ interactive = function() return answer end }
            end, "bad result of 'interactive'")
            assert.is_truthy(peer.disconnect)
         end
      end)

      it("leaves the method when the function gives nothing", function()
         local session, err = connect{ interactive = function() return nil end }
         assert.is_nil(session)
         assert.equal("auth_failed", err.code)
      end)
   end)

   it("raises what a function of the user raises, and closes the session", function()
      local function fail()
         error({ "mine" }, 0)
      end
      for _, options in ipairs{ { password = fail }, { interactive = fail } } do
         local ok, err = pcall(connect, options)
         assert.is_false(ok)
         assert.same({ "mine" }, err)
         assert.is_truthy(peer.disconnect)
      end
   end)

   it("does not count the time in the user's functions", function()
      local clock = waiting.clock()
      local before = ssh.loop.use(clock)
      local session, err = connect({ timeout = 20, password = function()
         clock.pass(1000)
         slow = true
         return "secret"
      end })
      ssh.loop.use(before)
      assert(session, err)
      assert.equal("password", session.info.auth)
      session:close()
   end)

   it("changes a password that the server says is to be changed", function()
      local sent = {}
      local session <close> = assert(connect({ password = "old", new_password = function(prompt)
         table.insert(sent, prompt)
         return "new" .. #sent
      end }, function(request)
         table.insert(sent, { request.password, request.new_password })
         if request.new_password == "new4" then
            return success
         end
         return wire.message("USERAUTH_PASSWD_CHANGEREQ", "ss", "too old", "")
      end))
      assert.same({ { "old" }, "too old", { "old", "new2" }, "too old", { "old", "new4" } }, sent)
      assert.equal("password", session.info.auth)
   end)

   it("fails where a new password is demanded and nobody gives one", function()
      local session, err = connect({ password = "old" }, function()
         return wire.message("USERAUTH_PASSWD_CHANGEREQ", "ss", "too old", "")
      end)
      assert.is_nil(session)
      assert.equal("auth_failed", err.code)
      assert.matches("demands a new password: too old", err.message, 1, true)
   end)

   it("sends nothing when the host key is not accepted", function()
      for _, options in ipairs{
         { host_keys = "strict" },
         { host_keys = "strict", known_hosts = folder:write("known_hosts", "peer " .. keys.public("ed25519") .. "\n") },
         { host_keys = function() return false end },
         { host_keys = "SHA256:AAAA" },
      } do
         options.password = "secret"
         options.identity = keys.path("ed25519")
         local session, err = connect(options)
         assert.is_nil(session)
         assert.matches("^host_key_", err.code)
         assert.same({}, requests)
         for _, message in ipairs(peer.received) do
            assert.is_true(message.number < 50 and message.number ~= 5, "no request for authentication")
         end
      end
   end)

   it("keeps what the peer says harmless in the error's text, and as it is in its fields", function()
      local session, err = connect({ password = "x" }, function()
         return wire.message("USERAUTH_PASSWD_CHANGEREQ", "ss", "a\27[2Jb", "")
      end)
      assert.is_nil(session)
      assert.is_nil(err.message:find("\27", 1, true))
   end)

   it("sends no name, password or answer that is longer than a request can be", function()
      local long = ("x"):rep(64 * 1024 + 1)
      for _, options in ipairs{ { password = long }, { user = long, password = "x" },
         { interactive = function() return { long } end },
         { user = ("x"):rep(2 * 1024 * 1024), identity = keys.path("ed25519") } } do
         local session, err = connect(options)
         assert.is_nil(session)
         assert.equal("limit", err.code)
         assert.matches("too long", err.message, 1, true)
         assert.is_true(#err.message < 500)
         assert.equal(11, peer.disconnect.reason)
      end
   end)

   it("checks its options", function()
      local function raises(options, text)
         assert.error_matches(function() connect(options) end, text)
      end
      raises({ identity = 5 }, "option 'identity'")
      raises({ identity = { 5 } }, "option 'identity'")
      raises({ agent = {} }, "option 'agent'")
      raises({ preferred_auth = { "telepathy" } }, "option 'preferred_auth': unknown method 'telepathy'")
      raises({ user = "a\0b" }, "option 'user'")
      raises({ pasword = "x" }, "unknown option 'pasword'")
      raises({ jmp = "x" }, "unknown option 'jmp'")
   end)
end)
