-- Attacks, rows K4, K5 and A1: messages out of their order. The whole table is in states_spec.lua.

local oracle = require "spec.support.oracle"
local wire = require "spec.support.wire"

local message = wire.message

local function injecting(inject, strict, client)
   return oracle.run{ peer = { inject = inject, strict = strict }, client = client }
end

-- Both with and without strict key exchange: the order is not a matter of it.
local function both(name, test)
   for _, strict in ipairs{ true, false } do
      it(name .. (strict and "" or ", strict key exchange or not"), function()
         test(strict)
      end)
   end
end

describe("K4: a server that skips ahead", function()
   both("cannot have NEWKEYS before the reply", function(strict)
      oracle.rejected(injecting({ kexinit = message("NEWKEYS") }, strict), "protocol", 2, "NEWKEYS")
   end)

   both("cannot leave the reply out", function(strict)
      local run = oracle.run{ peer = { strict = strict, steps = { kex_reply = function() end } } }
      oracle.rejected(run, "protocol", 2, "NEWKEYS")
   end)

   both("cannot give two replies", function(strict)
      local run = oracle.run{ peer = { strict = strict, steps = { kex_reply = function(_, blob, public, signature)
         local reply = message("KEX_REPLY", "sss", blob, public, signature)
         return { reply, reply }
      end } } }
      oracle.rejected(run, "protocol", 2)
   end)

   both("cannot send NEWKEYS twice", function(strict)
      oracle.rejected(injecting({ newkeys = message("NEWKEYS") }, strict), "protocol", 2, "NEWKEYS")
   end)

   both("cannot send KEXINIT twice", function(strict)
      local run = oracle.run{ peer = { strict = strict, inject = { kexinit = function(peer)
         return peer.exchange.server_init
      end } } }
      oracle.rejected(run, "protocol", 2, "KEXINIT")
   end)

   for _, moment in ipairs{ "ident", "kexinit", "reply" } do
      both("cannot send USERAUTH_SUCCESS or SERVICE_ACCEPT after its " .. moment, function(strict)
         for _, payload in ipairs{ message("USERAUTH_SUCCESS"), message("SERVICE_ACCEPT", "s", "ssh-userauth") } do
            oracle.rejected(injecting({ [moment] = payload }, strict), "protocol", 2)
         end
      end)
   end

   it("cannot say success before it has accepted the service", function()
      for _, moment in ipairs{ "newkeys", "service" } do
         oracle.rejected(injecting{ [moment] = message("USERAUTH_SUCCESS") }, "protocol", 2, "SUCCESS")
      end
   end)

   it("cannot say success before anything was asked for", function()
      local run = oracle.run{
         client = { auth = false },
         at_rest = function(run)
            local first = not run.told
            run.told = true
            if first then
               run.peer:message("SERVICE_ACCEPT", "s", "ssh-userauth")
               run.peer:message("USERAUTH_SUCCESS")
            end
            return first
         end,
      }
      assert.are.equal(0, (run.client:count("auth_success")))
      oracle.rejected(run, "protocol", 2)
   end)

   it("cannot say success after failure, when nothing is asked any more", function()
      local run = oracle.run{ peer = { steps = { userauth = function()
         return { message("USERAUTH_FAILURE", "so", "password", false), message("USERAUTH_SUCCESS") }
      end } } }
      assert.are.equal(0, (run.client:count("auth_success")))
      oracle.rejected(run, "protocol", 2, "SUCCESS")
   end)

   it("cannot say success to a probe for a key", function()
      local run = oracle.run{ client = { auth = "probe" }, peer = { steps = { userauth = function()
         return message("USERAUTH_SUCCESS")
      end } } }
      oracle.rejected(run, "protocol", 2, "SUCCESS")
   end)

   it("cannot accept the service twice, or another one", function()
      oracle.rejected(injecting{ accepted = message("SERVICE_ACCEPT", "s", "ssh-userauth") }, "protocol", 2)
      local run = oracle.run{ peer = { steps = { service_request = function()
         return message("SERVICE_ACCEPT", "s", "ssh-connection")
      end } } }
      oracle.rejected(run, "protocol", 2)
   end)

   it("gets no authentication while the question for the host key is open", function()
      local run = oracle.run{ client = { accept = "later" } }
      for _, call in ipairs{ "auth_none", "auth_password", "auth_interactive" } do
         local done, code = run.client.session[call](run.client.session, "moon", "secret")
         assert.is_nil(done)
         assert.are.equal("state", code)
      end
      assert.are.equal(0, #run.peer:seen("NEWKEYS"))
      assert.are.equal(0, #run.peer:seen("SERVICE_REQUEST"))
      assert.are.equal(0, #run.peer:seen("USERAUTH_REQUEST"))
      run.client:verdict(true)
      run:go()
      assert.are.equal(1, #run.peer:seen("USERAUTH_REQUEST"))
      oracle.finished(run)
   end)

   it("gets no authentication when the host key is refused", function()
      local run = oracle.run{ client = { accept = false } }
      assert.are.equal(0, #run.peer:seen("NEWKEYS"))
      assert.are.equal(0, #run.peer:seen("USERAUTH_REQUEST"))
      oracle.rejected(run, "host_key_rejected", 9)
   end)
end)

describe("K5: messages of a layer whose time has not come", function()
   it("are rejected before authentication: 80 to 127 that are known", function()
      for _, number in ipairs{ 80, 81, 82, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100 } do
         for _, moment in ipairs{ "newkeys", "accepted", "userauth" } do
            local run = injecting{ [moment] = string.char(number) .. ("\0"):rep(16) }
            oracle.rejected(run, "protocol", 2, "out of place")
         end
      end
   end)

   it("are rejected between the server's KEXINIT and its NEWKEYS, when keys are exchanged again", function()
      for _, moment in ipairs{ "rekey_kexinit", "rekey_reply" } do
         for _, payload in ipairs{
            message("CHANNEL_DATA", "us", 0, "x"), message("GLOBAL_REQUEST", "so", "x", true),
            message("SERVICE_ACCEPT", "s", "ssh-userauth"), message("EXT_INFO", "u", 0),
            message("USERAUTH_BANNER", "ss", "x", ""), message("CHANNEL_WINDOW_ADJUST", "uu", 0, 1) } do
            local run = oracle.run{ peer = { rekey_first = true, inject = { [moment] = payload } } }
            oracle.rejected(run, "protocol", 2, "out of place")
         end
      end
   end)

   it("are let in there when they are 1 to 4, strict key exchange or not", function()
      for _, strict in ipairs{ true, false } do
         for _, moment in ipairs{ "rekey_kexinit", "rekey_reply" } do
            local run = oracle.run{ peer = { strict = strict, rekey_first = true, inject = { [moment] = {
               message("IGNORE", "s", "x"), message("DEBUG", "oss", false, "x", ""),
               message("UNIMPLEMENTED", "u", 1) } } } }
            assert.are.equal(1, (run.client:count("ignore")))
            assert.are.equal(1, (run.client:count("debug")))
            assert.are.equal(1, (run.client:count("unimplemented")))
            oracle.finished(run)
         end
      end
   end)

   it("are delivered while the client waits for the server's KEXINIT", function()
      local run = oracle.run{ client = { on = { opened = function(client)
         assert(client.session:rekey())
      end } }, peer = { steps = {
         payload = function(peer, number, payload)
            -- The client's KEXINIT is kept until the command has run.
            if number == 20 and peer.exchanges == 1 and not peer.held then
               peer.held = payload
               peer:message("CHANNEL_DATA", "us", peer.channels[1].remote, "early ")
               peer:message("GLOBAL_REQUEST", "so", "x", true)
               peer:handle(payload)
               table.remove(peer.received)
               return true
            end
         end,
      } } }
      assert.are.equal("early hello\n", run.client.stdout)
      run.client.stdout = "hello\n"
      assert.are.equal(1, #run.peer:seen("REQUEST_FAILURE"))
      assert.are.equal(1, run.client.session:info().rekeys)
      oracle.finished(run)
   end)
end)

describe("A1: messages before NEWKEYS", function()
   for _, moment in ipairs{ "ident", "kexinit", "reply" } do
      both("EXT_INFO and USERAUTH_* are rejected after the server's " .. moment, function(strict)
         for _, payload in ipairs{
            message("EXT_INFO", "uss", 1, "server-sig-algs", "ssh-rsa"), message("USERAUTH_BANNER", "ss", "x", ""),
            message("USERAUTH_FAILURE", "so", "password", false), message("USERAUTH_SUCCESS"),
            message("USERAUTH_INFO_REQUEST", "sssu", "", "", "", 0),
            message("USERAUTH_REQUEST", "sss", "x", "ssh-connection", "none") } do
            local run = injecting({ [moment] = payload }, strict)
            assert.are.equal(0, (run.client:count("banner")))
            oracle.rejected(run, "protocol", 2)
         end
      end)
   end
end)
