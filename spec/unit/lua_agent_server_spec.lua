local agent_peer = require "spec.support.agent_peer"
local errors = require "moonssh.errors"
local loop = require "moonssh.loop"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"

local frame = agent_peer.frame

local FAILURE = "\5"
local IDENTITIES = "\11"

local function pack(format, ...)
   return string.pack(">" .. format, ...)
end

local function sign_request(blob, data, flags)
   return pack("Bs4s4I4", 13, blob, data, flags or 0)
end

describe("an agent served from Lua", function()
   local key = assert(ssh.key.generate("ed25519"))
   local link, session, reported, on_error

   local function connect(options)
      if link then
         link:close()
      end
      link = agent_peer.connect(options)
      session = link.session
   end

   before_each(function()
      reported, on_error = {}, loop.on_error
      loop.on_error = function(err, traceback)
         table.insert(reported, { err = err, traceback = traceback })
      end
      connect()
   end)

   after_each(function()
      link:close()
      loop.on_error = on_error
   end)

   local function identities(f)
      session:callback_set("authagent_identities", f or function()
         return { { blob = key:blob(), comment = "in Lua" } }
      end)
   end

   local function signer(f)
      session:callback_set("authagent_sign", f or function(_, _, data)
         return key:sign(data)
      end)
   end

   local listed = pack("BI4s4s4", 12, 1, key:blob(), "in Lua")

   it("lists what authagent_identities gives", function()
      identities()
      assert.equal(listed, link:serve():ask(IDENTITIES))
   end)

   it("calls the handlers with the arguments that are theirs", function()
      connect{ session = { abstract = "mine", agent = "/run/agent" } }
      local seen = {}
      identities(function(...)
         seen.identities = table.pack(...)
      end)
      signer(function(...)
         seen.sign = table.pack(...)
      end)
      local peer = link:serve()
      assert.equal(FAILURE, peer:ask(IDENTITIES))
      assert.equal(FAILURE, peer:ask(sign_request("a blob", "some data", 4)))
      assert.same({ session, "/run/agent", "mine", n = 3 }, seen.identities)
      assert.same({ session, "a blob", "some data", 4, "/run/agent", "mine", n = 6 }, seen.sign)
   end)

   it("signs what authagent_sign signs", function()
      signer()
      local answer = link:serve():ask(sign_request(key:blob(), "data"))
      local signature = assert(string.unpack(">s4", answer, 2))
      assert.equal(14, answer:byte())
      assert.is_true(key:verify("data", signature))
   end)

   it("signs with RSA as the flags say", function()
      local rsa = assert(ssh.key.load(require "spec.support.keys".path("rsa")))
      local names = { [0] = "rsa-sha2-512", [2] = "rsa-sha2-256", [4] = "rsa-sha2-512" }
      signer(function(_, _, data, flags)
         return rsa:sign(data, names[flags])
      end)
      local peer = link:serve()
      for flags, name in pairs(names) do
         local signature = string.unpack(">s4", peer:ask(sign_request(rsa:blob(), "data", flags)), 2)
         assert.equal(name, (string.unpack(">s4", signature)))
         assert.is_true(rsa:verify("data", signature))
      end
   end)

   it("answers FAILURE where a handler gives nil, for a key that is unknown say, and goes on", function()
      identities()
      signer(function(_, blob, data)
         return blob == key:blob() and key:sign(data) or nil
      end)
      local peer = link:serve()
      assert.equal(FAILURE, peer:ask(sign_request("nobody's", "data")))
      assert.equal(listed, peer:ask(IDENTITIES))
      assert.same({}, reported)
   end)

   it("answers FAILURE to every other request, and to one out of form", function()
      identities()
      signer()
      local peer = link:serve()
      for type = 0, 255 do
         if type ~= 11 then
            assert.equal(FAILURE, peer:ask(pack("Bs4", type, "x")))
         end
      end
      assert.equal(FAILURE, peer:ask(IDENTITIES .. "\0"))
      assert.equal(FAILURE, peer:ask(pack("BI4", 13, 0xffffffff)))
      assert.equal(FAILURE, peer:ask(sign_request("a", "b") .. "\0"))
      assert.equal(listed, peer:ask(IDENTITIES))
   end)

   it("answers FAILURE to all without handlers and without an agent", function()
      local peer = link:serve()
      assert.equal(FAILURE, peer:ask(IDENTITIES))
      assert.equal(FAILURE, peer:ask(sign_request(key:blob(), "data")))
   end)

   it("finds the handler that is set at the time of a request", function()
      local peer = link:serve()
      assert.equal(FAILURE, peer:ask(IDENTITIES))
      identities()
      assert.equal(listed, peer:ask(IDENTITIES))
      session:callback_set("authagent_identities", nil)
      assert.equal(FAILURE, peer:ask(IDENTITIES))
   end)

   it("answers FAILURE where the handler was removed before its turn", function()
      identities(function()
         session:callback_set("authagent_identities", nil)
         return {}
      end)
      local peer = link:serve():write(frame(IDENTITIES):rep(3))
      assert.equal(pack("BI4", 12, 0), peer:answer())
      assert.equal(FAILURE, peer:answer())
      assert.equal(FAILURE, peer:answer())
   end)

   describe("takes frames", function()
      before_each(function()
         identities()
         signer(function(_, _, data)
            return pack("s4s4", "ssh-ed25519", data)
         end)
      end)

      local function signed(data)
         return pack("Bs4", 14, pack("s4s4", "ssh-ed25519", data))
      end

      it("byte by byte", function()
         local peer = link:serve()
         local bytes = frame(IDENTITIES) .. frame(sign_request("b", "data")) .. frame(IDENTITIES)
         for i = 1, #bytes do
            peer:write(bytes:sub(i, i))
         end
         assert.equal(listed, peer:answer())
         assert.equal(signed("data"), peer:answer())
         assert.equal(listed, peer:answer())
      end)

      it("cut in two at every place", function()
         local peer = link:serve()
         local bytes = frame(sign_request("b", "data")) .. frame(IDENTITIES)
         for i = 1, #bytes - 1 do
            peer:write(bytes:sub(1, i)):write(bytes:sub(i + 1))
            assert.equal(signed("data"), peer:answer())
            assert.equal(listed, peer:answer())
         end
      end)

      it("of the greatest length, larger than the window too", function()
         for _, window in ipairs{ 500, 5000, 1 << 20 } do
            connect{ session = { limits = { window = window } } }
            signer(function(_, _, data)
               return pack("s4s4", "ssh-ed25519", tostring(#data))
            end)
            local length = 256 * 1024 - #sign_request("b", "")
            local peer = link:serve()
            assert.equal(signed(tostring(length)), peer:ask(sign_request("b", ("x"):rep(length))))
            assert.equal(signed("1"), peer:ask(sign_request("b", "x")))
         end
      end)

      it("and ends at one that is empty or too long, without reading it", function()
         for _, length in ipairs{ 0, 256 * 1024 + 1, 0x7fffffff, 0xfffffffc, 0xffffffff } do
            local peer = link:serve():write(frame(IDENTITIES) .. pack("I4", length) .. "some of it")
            assert.equal(listed, peer:answer())
            assert.is_true(peer:ended())
            local ok, err = peer.task:wait()
            assert.is_nil(ok)
            assert.equal("protocol", err.code)
            assert.equal(("an agent frame of %d bytes"):format(length), err.message)
            assert.is_true(peer.channel.closed)
            assert.is_nil(session.failure)
         end
      end)

      it("until the end of file, which may not be within one", function()
         local peer = link:serve():write(frame(IDENTITIES)):eof()
         assert.equal(listed, peer:answer())
         assert.is_true(peer:ended())
         assert.is_true(peer.task:wait())
         local request = frame(sign_request("b", "data"))
         for length = 1, #request - 1 do
            peer = link:serve():write(request:sub(1, length)):eof()
            local ok, err = peer.task:wait()
            assert.is_nil(ok)
            assert.equal("protocol", err.code)
         end
      end)

      it("and leaves when the peer closes the channel within one", function()
         local peer = link:serve():write("\0\0")
         peer.remote:close()
         session:wake()
         assert.is_true(peer.task:wait())
         assert.is_true(peer.channel.closed)
      end)
   end)

   describe("with several requests", function()
      local gates

      -- A handler that waits until its data are let go.
      before_each(function()
         gates = {}
         signer(function(_, _, data)
            gates[data] = gates[data] or loop.current().token()
            loop.current().park(gates[data])
            return pack("s4s4", "ssh-ed25519", data)
         end)
      end)

      local function release(data)
         waiting.await(function() return gates[data] end, "the handler of " .. data)
         loop.current().unpark(gates[data])
      end

      local function signed_data(answer)
         return select(2, string.unpack(">s4s4", (string.unpack(">s4", answer, 2))))
      end

      it("works on them at once and answers in their order", function()
         identities()
         local peer = link:serve():write(frame(sign_request("b", "one")) .. frame(IDENTITIES)
            .. frame(sign_request("b", "two")) .. frame("\99"))
         release("two")
         waiting.await(function() return gates.one end, "the first handler")
         assert.equal("", peer.remote.received)
         release("one")
         assert.equal("one", signed_data(peer:answer()))
         assert.equal(listed, peer:answer())
         assert.equal("two", signed_data(peer:answer()))
         assert.equal(FAILURE, peer:answer())
      end)

      it("works on some of them only, and leaves the others where they are", function()
         local peer = link:serve()
         for i = 1, 100 do
            peer:write(frame(sign_request("b", tostring(i))))
         end
         local function started()
            local count = 0
            for _ in pairs(gates) do
               count = count + 1
            end
            return count
         end
         waiting.await(function() return started() == 16 end, "sixteen handlers")
         assert.is_true(session:ping() >= 0)
         assert.equal(16, started())
         for i = 1, 100 do
            release(tostring(i))
            assert.equal(tostring(i), signed_data(peer:answer()))
            assert.is_true(started() <= 16 + i)
         end
      end)

      it("works on few large ones, and on one of each channel at least", function()
         local large = ("x"):rep(200 * 1024)
         local peers = {}
         for i = 1, 8 do
            peers[i] = link:serve()
            for j = 1, 3 do
               peers[i]:write(frame(sign_request("b", large .. i .. j)))
            end
         end
         waiting.await(function() return gates[large .. "81"] end, "the last channel's first request")
         assert.is_true(session._agent_weight < 8 * 201 * 1024 + 1024 * 1024)
         for i = 1, 8 do
            for j = 1, 3 do
               release(large .. i .. j)
               assert.equal(large .. i .. j, signed_data(peers[i]:answer()))
            end
         end
         assert.equal(0, session._agent_weight)
      end)

      it("answers on each channel what was asked there, whatever waits on another", function()
         local first, second = link:serve(), link:serve()
         first:write(frame(sign_request("b", "first")))
         second:write(frame(sign_request("b", "second")))
         release("second")
         assert.equal("second", signed_data(second:answer()))
         assert.equal("", first.remote.received)
         release("first")
         assert.equal("first", signed_data(first:answer()))
      end)

      it("lets the session go on while a handler waits", function()
         local peer = link:serve():write(frame(sign_request("b", "one")))
         waiting.await(function() return gates.one end, "the handler")
         assert.is_true(session:ping() >= 0)
         release("one")
         assert.equal("one", signed_data(peer:answer()))
      end)

      it("answers after the peer's end of file what was asked before", function()
         local peer = link:serve():write(frame(sign_request("b", "one"))):eof()
         release("one")
         assert.equal("one", signed_data(peer:answer()))
         assert.is_true(peer:ended())
         assert.is_true(peer.task:wait())
      end)

      it("drops the answers that nobody waits for any more", function()
         local peer = link:serve():write(frame(sign_request("b", "one")) .. frame(sign_request("b", "two")))
         waiting.await(function() return gates.two end, "the handlers")
         peer.remote:close()
         session:wake()
         assert.is_true(peer.task:wait())
         assert.equal(0, session._agent_weight)
         release("one")
         release("two")
         waiting.await(function() return session._handlers_waiting == 0 end, "the handlers' end")
         assert.same({}, reported)
         assert.is_true(session:ping() >= 0)
      end)

      it("ends with the session, and the handlers find that out", function()
         local peer = link:serve():write(frame(sign_request("b", "one")))
         waiting.await(function() return gates.one end, "the handler")
         session:close()
         assert.is_true(peer.task:wait())
         release("one")
         loop.sleep(0)
         assert.same({}, reported)
      end)
   end)

   describe("whose handler throws", function()
      -- The error that a call of the main program raises, a command that does not end by itself.
      local function raised()
         local ok, err = pcall(session.run, session, "endless")
         assert.is_false(ok)
         return err
      end

      it("answers FAILURE and raises it from the call that leads, before its first wait", function()
         local cause = { "a cause" }
         identities(function() error(cause) end)
         local peer = link:serve():write(frame(IDENTITIES))
         local err = raised()
         assert.equal("callback", err.code)
         assert.equal("authagent_identities", err.callback)
         assert.equal(cause, err.cause)
         assert.matches("lua_agent_server_spec", err.traceback, 1, true)
         assert.equal(FAILURE, peer:answer())
         assert.same({}, reported)
         identities()
         assert.equal(listed, peer:ask(IDENTITIES))
      end)

      it("answers FAILURE and tells loop.on_error after it", function()
         signer(function()
            loop.sleep(0)
            error("late", 0)
         end)
         local peer = link:serve()
         assert.equal(FAILURE, peer:ask(sign_request("b", "data")))
         assert.equal(1, #reported)
         assert.equal("late", reported[1].err.cause)
         assert.equal("authagent_sign", reported[1].err.callback)
         assert.matches("lua_agent_server_spec", reported[1].traceback, 1, true)
      end)

      it("tells loop.on_error where no other call waits, and goes on", function()
         identities(function() error("oops", 0) end)
         local peer, others = link:serve(), { link:serve(), link:serve() }
         for _, other in ipairs(others) do
            assert.equal(FAILURE, other:ask("\99"))
         end
         assert.equal(FAILURE, peer:ask(IDENTITIES))
         assert.equal(1, #reported)
         assert.equal("oops", reported[1].err.cause)
         identities()
         assert.equal(listed, peer:ask(IDENTITIES))
      end)

      it("gives what is no result: FAILURE, and the error says what it was", function()
         local cases = {
            { identities, IDENTITIES, 12, "a list of identities expected, got number" },
            { identities, IDENTITIES, { { comment = "no blob" } }, "identity 1: 'blob' is no key blob" },
            { signer, sign_request("b", "d"), false, "a signature expected, got boolean" },
            { signer, sign_request("b", "d"), "junk", "the string is no signature blob" },
         }
         for _, case in ipairs(cases) do
            case[1](function() return case[3] end)
            local peer = link:serve():write(frame(case[2]))
            local err = raised()
            assert.equal("callback", err.code)
            assert.equal("bad result: " .. case[4], err.cause)
            assert.equal(FAILURE, peer:answer())
         end
      end)
   end)

   describe("by serve_agent", function()
      it("needs a session and a channel of it", function()
         local other <close> = ssh.session()
         local channel <close> = assert(session:exec("agent"))
         assert.error_matches(function() ssh.serve_agent(nil, channel) end, "session expected")
         assert.error_matches(function() ssh.serve_agent(session) end, "bad argument #2 to 'serve_agent'")
         assert.error_matches(function() ssh.serve_agent(session, {}) end, "bad argument #2 to 'serve_agent'")
         assert.error_matches(function() ssh.serve_agent(other, channel) end, "bad argument #2 to 'serve_agent'")
         channel:close()
         assert.error_matches(function() ssh.serve_agent(session, channel) end, "closed channel")
      end)

      it("returns to the main program, too", function()
         identities()
         local channel = assert(session:exec("agent"))
         link.remote:write(frame(IDENTITIES)):eof()
         assert.is_true(ssh.serve_agent(session, channel))
         assert.equal(frame(listed), link.remote.received)
      end)

      it("gives `busy` while another task reads the channel, and leaves it to that one", function()
         local channel = assert(session:exec("agent"))
         local reading = ssh.spawn(channel.read, channel, 4)
         loop.sleep(0)
         local ok, err = ssh.serve_agent(session, channel)
         assert.is_nil(ok)
         assert.equal("busy", err.code)
         link.remote:write("data")
         session:wake()
         assert.equal("data", reading:wait())
         identities()
         local peer = link:serve()
         assert.equal(listed, peer:ask(IDENTITIES))
         ok, err = ssh.serve_agent(session, peer.channel)
         assert.is_nil(ok)
         assert.equal("busy", err.code)
         assert.equal(listed, peer:ask(IDENTITIES))
      end)

      it("is not held up by what comes on the other stream", function()
         identities()
         local peer = link:serve()
         peer.remote:write(("x"):rep(3 * 1024 * 1024), 1)
         assert.equal(listed, peer:ask(IDENTITIES))
      end)

      it("has served to the end when the session is closed, whatever it was at", function()
         local ends = {
            function() session:close() end,
            function() assert(session:disconnect(11, "bye")) end,
         }
         for i, close in ipairs(ends) do
            for _, sent in ipairs{ "", "\0\0\0", frame(IDENTITIES) } do
               local peer = link:serve():write(sent)
               loop.sleep(0)
               close()
               assert.same({ true, n = 1 }, table.pack(peer.task:wait()), ("%d after %d bytes"):format(i, #sent))
               link = agent_peer.connect()
               session = link.session
            end
         end
      end)

      it("cancelled leaves nothing behind", function()
         local peer = link:serve():write("\0\0\0")
         loop.sleep(0)
         peer.task:cancel()
         assert.is_true(peer.channel.closed)
         assert.is_true(errors.is(select(2, peer.task:wait())))
         assert.equal(0, session._agent_weight)
      end)
   end)
end)
