-- Attacks, section A, as far as the core decides it. The policy of the library is in policy_spec.lua.

local keys = require "spec.support.peer.keys"
local oracle = require "spec.support.oracle"
local wire = require "spec.support.wire"

local message = wire.message

-- A run whose server answers each request with this: a payload, a list of them, or function(peer, request).
local function answering(answer, client)
   return oracle.run{ client = client, peer = { steps = { userauth = function(peer, request)
      if type(answer) == "function" then
         return answer(peer, request)
      end
      return answer
   end } } }
end

local function prompts(n, text, instruction)
   return message("USERAUTH_INFO_REQUEST", "sssur", "name", instruction or "", "", n,
      wire.pack("so", text or "p", false):rep(n))
end

describe("A5: keyboard-interactive prompts", function()
   local interactive = { auth = "interactive" }

   -- One round of n prompts; then success.
   local function asking(payload)
      return oracle.run{ client = interactive, peer = { steps = {
         userauth = function() return payload end,
         info_response = function(peer, answers)
            peer.answers = answers
            return message("USERAUTH_SUCCESS")
         end,
      } } }
   end

   for _, n in ipairs{ 0, 1, 64 } do
      it("may be " .. n .. " in one round", function()
         local run = asking(prompts(n))
         assert.are.equal(n, #run.peer.answers)
         oracle.finished(run)
      end)
   end

   for _, n in ipairs{ 65, 1024, 0x7fffffff, 0xffffffff } do
      it("may not be " .. n, function()
         for _, coming in ipairs{ 0, 1, 64, math.min(n, 2000) } do
            local payload = message("USERAUTH_INFO_REQUEST", "sssur", "", "", "", n,
               wire.pack("so", "p", false):rep(coming))
            local run = asking(payload)
            assert.are.equal(0, (run.client:count("auth_prompts")))
            oracle.rejected(run, "limit", 2, "prompts")
         end
      end)
   end

   it("must all be there, and no more", function()
      for _, case in ipairs{ { 1, 0 }, { 2, 1 }, { 64, 63 }, { 0, 1 }, { 1, 2 } } do
         local payload = message("USERAUTH_INFO_REQUEST", "sssur", "", "", "", case[1],
            wire.pack("so", "p", false):rep(case[2]))
         oracle.rejected(asking(payload), "protocol", 2, "INFO_REQUEST")
      end
   end)

   it("are rejected when cut short anywhere", function()
      local whole = prompts(2, "Password: ", "please")
      for n = 1, #whole - 1 do
         oracle.rejected(asking(whole:sub(1, n)), "protocol", 2)
      end
   end)

   it("end after 32 rounds", function()
      local rounds = 0
      local run = oracle.run{ client = interactive, peer = { steps = {
         userauth = function() return prompts(1) end,
         info_response = function()
            rounds = rounds + 1
            return prompts(1)
         end,
      } } }
      assert.are.equal(32, rounds)
      oracle.rejected(run, "limit", 2, "rounds")
   end)

   it("may be long, and hold anything: it is given as it came", function()
      local text = ("\27[2J\0\xff"):rep(10000)
      local run = asking(prompts(1, text))
      local _, event = run.client:count("auth_prompts")
      assert.are.equal(text, event[4][1].text)
      assert.is_false(event[4][1].echo)
      oracle.finished(run)
   end)

   it("cannot be answered with another number of answers", function()
      local run = oracle.run{ client = { auth = "interactive", on = { auth_prompts = function(client)
         for _, answers in ipairs{ {}, { "a" }, { "a", "b", "c" } } do
            local done, code = client.session:auth_answer(answers)
            assert.is_nil(done)
            assert.are.equal("state", code)
         end
      end } }, peer = { steps = { userauth = function() return prompts(2) end } } }
      assert.are.equal(1, #run.peer:seen("USERAUTH_INFO_RESPONSE"))
      oracle.alive(run)
   end)
end)

describe("A6: endless failure", function()
   it("ends after 20 requests, whatever the caller tries", function()
      local run = oracle.run{ client = { auth = false, on = { kex_done = function(client)
         client.session:auth_none("moon")
         return true
      end, auth_failure = function(client)
         client.last_result = table.pack(client.session:auth_password("moon", "wrong"))
         return true
      end } }, peer = { password = "right", methods = "password" } }
      assert.are.equal(20, #run.peer:seen("USERAUTH_REQUEST"))
      assert.are.same({ nil, "limit" }, { run.client.last_result[1], run.client.last_result[2] })
   end)

   it("may say anything well formed as methods, and nothing else", function()
      for _, list in ipairs{ "", "x", "publickey,unknown@example.com" } do
         local run = answering(message("USERAUTH_FAILURE", "so", list, true))
         local _, event = run.client:count("auth_failure")
         assert.are.equal(list, event[2])
         assert.is_true(event[3])
         oracle.alive(run)
      end
      for _, list in ipairs{ ",", "a,,b", "a b", "a\0b", "\27[2J", ("n"):rep(65) } do
         oracle.rejected(answering(message("USERAUTH_FAILURE", "so", list, false)), "protocol", 2)
      end
   end)
end)

describe("A7: what the caller gives", function()
   local function calling(call)
      local result
      local run = oracle.run{ client = { auth = function(client)
         result = table.pack(call(client.session))
      end } }
      assert.are.equal(0, #run.peer:seen("USERAUTH_REQUEST"))
      oracle.alive(run)
      return result[1], result[2]
   end

   it("is refused when it is too long for a request", function()
      for _, n in ipairs{ 65537, 1 << 20, 64 << 20 } do
         local long = ("x"):rep(n)
         for _, call in ipairs{
            function(session) return session:auth_none(long) end,
            function(session) return session:auth_password(long, "p") end,
            function(session) return session:auth_password("u", long) end,
            function(session) return session:auth_interactive(long) end,
            function(session) return session:auth_probe("u", "ssh-ed25519", long) end,
            function(session) return session:auth_publickey("u", "ssh-ed25519", "b", long) end,
         } do
            local done, code = calling(call)
            assert.is_nil(done)
            assert.are.equal("limit", code)
         end
      end
   end)

   it("may hold no zero byte in the user's name", function()
      local done, code = calling(function(session) return session:auth_password("ro\0ot", "p") end)
      assert.is_nil(done)
      assert.are.equal("state", code)
   end)

   it("may be 64 KiB of command at most", function()
      local results = {}
      local run = oracle.run{ client = { on = { opened = function(client, channel)
         for _, n in ipairs{ 1 << 20, 64 << 20 } do
            table.insert(results, (select(2, client.session:channel_request(channel, "exec", true,
               wire.pack("s", ("x"):rep(n))))))
         end
      end } } }
      assert.are.same({ "limit", "limit" }, results)
      oracle.finished(run)
   end)
end)

describe("A8: banners", function()
   local function banner(text)
      return message("USERAUTH_BANNER", "ss", text, "en")
   end

   it("may be 64 KiB together", function()
      local list = {}
      for i = 1, 60 do
         list[i] = banner(("b"):rep(1000))
      end
      local run = oracle.run{ peer = { inject = { userauth = list } } }
      assert.are.equal(60, (run.client:count("banner")))
      oracle.finished(run)
   end)

   it("end it when there are 20,000 of them", function()
      local n = 0
      local run = oracle.run{ limit = 50000, peer = { inject = { userauth = function(peer)
         for _ = 1, 20000 do
            n = n + 1
            peer:send(banner(("b"):rep(1024)))
         end
      end } } }
      assert.is_true((run.client:count("banner")) <= 64)
      oracle.rejected(run, "limit", 2, "banner")
   end)

   it("end it when they are empty and never stop", function()
      local run = oracle.run{ peer = { inject = { userauth = function(peer)
         for _ = 1, 20000 do
            peer:send(banner(""))
         end
      end } } }
      oracle.rejected(run, "limit", 2, "banner")
   end)

   it("are told as they came: what shows them must escape them", function()
      local text = "\27]0;owned\7\xe2\x80\xae\0"
      local run = oracle.run{ peer = { inject = { userauth = banner(text) } } }
      assert.are.same({ "banner", text, "en", n = 3 }, select(2, run.client:count("banner")))
      oracle.finished(run)
   end)

   it("are rejected before the service is accepted", function()
      oracle.rejected(oracle.run{ peer = { inject = { service = banner("x") } } }, "protocol", 2)
   end)
end)

describe("A9: message 60", function()
   local blob = keys.user():blob()
   local pk_ok = message("USERAUTH_PK_OK", "ss", "ssh-ed25519", blob)
   local change = message("USERAUTH_PASSWD_CHANGEREQ", "ss", "change it", "")
   local info = prompts(1)

   it("of the wrong kind for the method in flight is rejected", function()
      for method, wrong in pairs{
         none = { pk_ok, change, info },
         publickey = { pk_ok, change, info },
         probe = { change, info },
         password = { info },
         interactive = { pk_ok, change },
      } do
         for _, payload in ipairs(wrong) do
            oracle.rejected(answering(payload, { auth = method }), "protocol", 2)
         end
      end
   end)

   it("for another key or another algorithm is rejected", function()
      local other = keys.ed25519("other"):blob()
      for _, payload in ipairs{
         message("USERAUTH_PK_OK", "ss", "ssh-ed25519", other),
         message("USERAUTH_PK_OK", "ss", "rsa-sha2-512", blob),
         message("USERAUTH_PK_OK", "ss", "", blob),
         message("USERAUTH_PK_OK", "ss", "ssh-ed25519", ""),
         message("USERAUTH_PK_OK", "ss", "ssh-ed25519", blob .. "\0"),
         pk_ok .. "\0", pk_ok:sub(1, -2), message("USERAUTH_PK_OK"),
      } do
         local run = answering(payload, { auth = "probe" })
         assert.are.equal(0, (run.client:count("auth_pk_ok")))
         oracle.rejected(run, "protocol", 2)
      end
   end)

   it("that nobody asked for is rejected", function()
      for _, payload in ipairs{ pk_ok, change, info } do
         oracle.rejected(oracle.run{ peer = { inject = { accepted = payload } }, client = { auth = "none" } },
            "protocol", 2)
         oracle.rejected(answering({ message("USERAUTH_FAILURE", "so", "password", false), payload }), "protocol", 2)
      end
   end)

   it("is right when it is right", function()
      local run = oracle.run{ client = { auth = "probe" } }
      assert.are.equal(1, (run.client:count("auth_pk_ok")))
      oracle.finished(run)
      run = answering(change, { auth = "password" })
      assert.are.same({ "auth_password_change", "change it", "", n = 3 },
         select(2, run.client:count("auth_password_change")))
      oracle.alive(run)
   end)
end)

describe("A10: what the client does for a server unasked", function()
   local unasked = { "session", "x11", "auth-agent@openssh.com", "forwarded-tcpip", "tun@openssh.com",
      "forwarded-streamlocal@openssh.com", "direct-tcpip", "direct-streamlocal@openssh.com", "roaming@appgate.com" }

   it("is nothing: requests get failure, channels are refused", function()
      local payloads = {}
      for _, name in ipairs{ "roaming@appgate.com", "no-more-sessions@openssh.com", "tcpip-forward", "x",
         "keepalive@openssh.com", "hostkeys-prove-00@openssh.com", "" } do
         table.insert(payloads, message("GLOBAL_REQUEST", "sor", name, true, "rest"))
      end
      for i, kind in ipairs(unasked) do
         table.insert(payloads, message("CHANNEL_OPEN", "suuur", kind, i, 1000, 1000, "rest"))
      end
      local run = oracle.run{ peer = { inject = { authenticated = payloads } } }
      assert.are.equal(7, #run.peer:seen("REQUEST_FAILURE"))
      assert.are.equal(#unasked, #run.peer:seen("CHANNEL_OPEN_FAILURE"))
      assert.are.equal(0, #run.peer:seen("CHANNEL_OPEN_CONFIRMATION"))
      oracle.finished(run)
   end)

   it("is nothing on a channel: only the two that tell how a command ended are known", function()
      local run = oracle.run{ peer = { inject = { running = function(peer)
         for _, name in ipairs{ "x11-req", "auth-agent-req@openssh.com", "exec", "shell", "pty-req", "env",
            "subsystem", "eow@openssh.com", "" } do
            peer:message("CHANNEL_REQUEST", "usor", peer.channels[1].remote, name, true, "rest")
         end
      end } } }
      assert.are.equal(9, #run.peer:seen("CHANNEL_FAILURE"))
      assert.are.equal(0, #run.peer:seen("CHANNEL_SUCCESS"))
      oracle.finished(run)
   end)
end)

describe("A12: the length of a secret", function()
   local function one_size(method)
      local size
      for n = 1, 100 do
         local secret = ("x"):rep(n)
         local run = oracle.run{ client = { auth = method, password = secret, command = false },
            peer = { password = secret } }
         assert.are.equal(1, (run.client:count("auth_success")))
         size = size or run.client_bytes
         assert.are.equal(size, run.client_bytes, "for " .. n)
         oracle.close(run)
      end
   end

   it("does not show in the bytes sent, for passwords of 1 to 100 characters", function()
      one_size("password")
   end)

   it("does not show in the bytes sent, for answers of 1 to 100 characters", function()
      one_size("interactive")
   end)
end)
