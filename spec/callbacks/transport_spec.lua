local core = require "moonssh.core"
local light = require "spec.support.light"
local loop = require "moonssh.loop"
local memory = require "spec.support.memory"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"

local function throw(value)
   load("error(..., 0)")(value)
end

-- Puts f in place of one of the two callbacks; it gets the one before as its first argument.
local function wrap(session, cbtype, f)
   local original
   original = session:callback_set(cbtype, function(...)
      return f(original, ...)
   end)
   return original
end

-- Results that neither may give; a function gives one for the length that the callback was asked for.
local never = { false, true, {}, 1.5, -2, -12, math.mininteger, math.maxinteger, 1 << 32, 2.0 ^ 60, math.huge,
   -math.huge, 0 / 0, print, io.stdout, coroutine.create(print) }
local bad_results = {
   send = { "", "1", "0", "-1", "hello", function(length) return length + 1 end, function(length) return -length end,
      function(length) return length + 0.5 end, function(length) return length + 2 ^ 32 end },
   recv = { 1, 7, 0.5, function(length) return length end, function(length) return ("x"):rep(length + 1) end,
      function(length) return ("x"):rep(2 * length) end },
}
for _, list in pairs(bad_results) do
   table.move(never, 1, #never, #list + 1, list)
end

for _, cbtype in ipairs{ "send", "recv" } do
   describe("the " .. cbtype .. " callback", function()
      local link, session

      before_each(function()
         link = memory.connect()
         session = link.session
      end)

      after_each(function()
         session:close()
      end)

      it("that throws ends the session, and its error is raised from the call", function()
         local cause = {}
         session:callback_set(cbtype, function() throw(cause) end)
         local ok, err = pcall(session.ping, session)
         assert.is_false(ok)
         assert.equal("callback", err.code)
         assert.equal(cause, err.cause)
         assert.equal(cbtype, err.callback)
         assert.is_truthy(err.traceback:find("transport_spec", 1, true))
         assert.equal(err, session.failure)
         assert.equal(err, select(2, session:ping()))
      end)

      it("that throws tells the server nothing of it", function()
         session:callback_set(cbtype, function() throw("/home/moon/script.lua:7: oops") end)
         pcall(session.ping, session)
         link.server:feed(session._core:output() or "")
         for _, message in ipairs(link.server.log) do
            for _, field in pairs(message) do
               assert.is_nil(tostring(field):find("script.lua", 1, true))
            end
         end
      end)

      it("that throws fails the other calls with the same error", function()
         link.server.exec = function() end
         local task = ssh.spawn(function()
            return session:run("endless")
         end)
         waiting.await(function() return link.server:received("channel_request")[1] end, "the command")
         session:callback_set(cbtype, function() throw("oops") end)
         -- Whoever leads has it raised; the other gets it returned.
         local raised, err = pcall(session.ping, session)
         local _, other = task:wait()
         err = raised and session.failure or err
         assert.equal("oops", err.cause)
         assert.equal("oops", other.cause)
         assert.equal(session.failure.code, "callback")
      end)

      it("raises for a result out of range, and ends the session", function()
         table.insert(bad_results[cbtype], function() end)
         for i, result in ipairs(bad_results[cbtype]) do
            local other = memory.connect().session
            other:callback_set(cbtype, function(_, ...)
               if type(result) == "function" and result ~= print then
                  return result(cbtype == "send" and select(2, ...) or ...)
               end
               return result
            end)
            local ok, err = pcall(other.ping, other)
            assert.is_false(ok, i)
            assert.equal("callback", err.code, i)
            assert.is_truthy(err.cause:find("bad result of the " .. cbtype .. " callback", 1, true))
            assert.equal(err, other.failure)
            assert.equal(err, select(2, other:ping()))
         end
      end)

      it("ends the session with io for -1", function()
         session:callback_set(cbtype, function() return -1 end)
         local ok, err = session:ping()
         assert.is_nil(ok)
         assert.equal("io", err.code)
         assert.equal(err, session.failure)
      end)

      it("is asked again after -EAGAIN", function()
         local refusals = 3
         wrap(session, cbtype, function(original, ...)
            if refusals > 0 then
               refusals = refusals - 1
               return -ssh.EAGAIN
            end
            return original(...)
         end)
         assert.equal("hello", assert(session:run("echo hello")).stdout)
         assert.equal(0, refusals)
      end)

      it("that only answers -EAGAIN lets the call end in its timeout", function()
         session:callback_set(cbtype, function() return -ssh.EAGAIN end)
         local ok, err = session:ping(0.03)
         assert.is_nil(ok)
         assert.equal("timeout", err.code)
         assert.equal("request", err.stage)
         assert.is_nil(session.failure)
      end)

      it("is asked at once after wake", function()
         local calls, refuse = 0, true
         wrap(session, cbtype, function(original, ...)
            calls = calls + 1
            return refuse and -ssh.EAGAIN or original(...)
         end)
         local task = ssh.spawn(function()
            return session:ping()
         end)
         coroutine.wrap(function() loop.sleep(0) end)()
         refuse = false
         local before = calls
         session:wake()
         loop.current().turn()
         assert.is_true(calls > before)
         assert.is_true(task:wait() >= 0)
      end)

      it("may close the session", function()
         wrap(session, cbtype, function(original, ...)
            session:close()
            return original(...)
         end)
         local ok, err = session:ping()
         assert.is_nil(ok)
         assert.equal("closed", err.code)
         assert.is_true(session.closed)
      end)
   end)
end

describe("the send callback", function()
   it("gets socket, buffer, length, flags, abstract and the session", function()
      local link = memory.connect{ session = { abstract = "mine" } }
      local seen
      wrap(link.session, "send", function(original, ...)
         seen = table.pack(...)
         return original(...)
      end)
      link.session:ignore("x")
      assert.equal(6, seen.n)
      assert.is_nil(seen[1])
      assert.equal("string", type(seen[2]))
      assert.equal(#seen[2], seen[3])
      assert.equal(0, seen[4])
      assert.equal("mine", seen[5])
      assert.equal(link.session, seen[6])
   end)

   it("is given what it did not take once more, with what has come since", function()
      local link = memory.connect()
      local taken = {}
      wrap(link.session, "send", function(original, socket, buffer)
         local piece = buffer:sub(1, 3)
         table.insert(taken, piece)
         return original(socket, piece)
      end)
      assert.equal("hello", assert(link.session:run("echo hello")).stdout)
      for i = 1, #taken - 1 do
         assert.is_true(#taken[i] >= 1 and #taken[i] <= 3)
      end
   end)

   it("is asked again after 0, as after -EAGAIN", function()
      local link = memory.connect()
      local zeros = 2
      wrap(link.session, "send", function(original, ...)
         if zeros > 0 then
            zeros = zeros - 1
            return 0
         end
         return original(...)
      end)
      assert.is_true(link.session:ping() >= 0)
   end)

   it("that failed is not asked to send a DISCONNECT", function()
      local link = memory.connect()
      local calls = 0
      link.session:callback_set("send", function()
         calls = calls + 1
         throw("oops")
      end)
      assert.is_false((pcall(link.session.ping, link.session)))
      link.session:close()
      assert.equal(1, calls)
   end)
end)

describe("a callback that has nothing to do", function()
   it("does not keep the processor busy, although its descriptor is ready", function()
      local a, b = core.socket.pair()
      core.socket.send(b, "something to read")
      local calls = { send = 0, recv = 0 }
      local session = ssh.session{
         loop = waiting.clock(),
         callbacks = {
            send = function()
               calls.send = calls.send + 1
               return -ssh.EAGAIN
            end,
            recv = function()
               calls.recv = calls.recv + 1
               assert(calls.recv < 1000, "asked without end, in no time")
               return -ssh.EAGAIN
            end,
         },
      }
      local ok, err = session:handshake(a, { timeout = 0.1 })
      assert.is_nil(ok)
      assert.equal("timeout", err.code)
      -- Every 10 ms, and a few times before that is begun.
      assert.is_true(calls.recv >= 2 and calls.recv < 40, calls.recv)
      assert.is_true(calls.send >= 2 and calls.send < 60, calls.send)
      session:close()
      core.socket.close(a)
      core.socket.close(b)
   end)
end)

describe("the recv callback", function()
   it("gets socket, length, flags, abstract and the session", function()
      local link = memory.connect{ session = { abstract = "mine" } }
      local seen
      wrap(link.session, "recv", function(original, ...)
         seen = table.pack(...)
         return original(...)
      end)
      link.session:step()
      assert.equal(5, seen.n)
      assert.is_nil(seen[1])
      assert.is_true(math.type(seen[2]) == "integer" and seen[2] >= 1)
      assert.equal(0, seen[3])
      assert.equal("mine", seen[4])
      assert.equal(link.session, seen[5])
   end)

   it("ends the session with eof for an empty string or 0", function()
      for _, answer in ipairs{ "", 0 } do
         local link = memory.connect()
         link.session:callback_set("recv", function() return answer end)
         local ok, err = link.session:ping()
         assert.is_nil(ok)
         assert.equal("eof", err.code)
      end
   end)

   it("is not asked while the host key question is open", function()
      local link = memory.connect{ login = "none" }
      assert.is_true(link.session:handshake())
      local before = link.calls.recv
      for _ = 1, 5 do
         link.session:step()
      end
      assert.equal(before, link.calls.recv)
      assert.is_true(link.session:accept_host_key())
      assert.is_true(link.calls.recv > before)
   end)

   it("that always has more lets the other tasks run", function()
      local held, over
      local link = memory.connect{ server = { exec = function(channel) held = channel end } }
      local task = ssh.spawn(function()
         while not held do
            loop.sleep(0)
         end
         loop.sleep(0)
         over = true
         held:finish(3)
      end)
      local left = 100000 -- an end, for the case that none do
      wrap(link.session, "recv", function(original, ...)
         left = left - 1
         if held and not over and left > 0 then
            link:send("\2\0\0\0\4more") -- SSH_MSG_IGNORE
         end
         return original(...)
      end)
      local result = link.session:run("on", { timeout = 60 })
      assert.is_true(left > 0)
      assert.equal(3, result.status)
      task:wait()
   end)

   -- A transport that keeps what it has read, as TLS does: `held` bytes have come before the first is given.
   local function holding_back(server, held)
      local fd = assert(core.socket.connect(core.resolve("127.0.0.1", server.port):result()[1]))
      assert(loop.wait(fd, "w", loop.now() + 60))
      local kept, ended, holds = {}, false, false
      local function take_in()
         local data = ssh.socket_recv(fd, 1 << 20, 0)
         while type(data) == "string" and data ~= "" do
            kept = { table.concat(kept) .. data }
            data = ssh.socket_recv(fd, 1 << 20, 0)
         end
         ended = ended or data == ""
      end
      local session = ssh.session{ timeout = 60, callbacks = {
         recv = function(_, length)
            take_in()
            local data = kept[1] or ""
            if data == "" or holds and #data < held then
               return ended and "" or -ssh.EAGAIN
            end
            holds, kept = false, { data:sub(length + 1) }
            return data:sub(1, length)
         end,
      } }
      assert(session:handshake(fd))
      assert(session:accept_host_key())
      assert(session:auth_password("moon", "secret"))
      return session, fd, function() holds = true end
   end

   it("is called until it has given all it keeps, though its descriptor stays silent", function()
      local server <close> = light.start()
      local session, fd, hold = holding_back(server, 1000000)
      local channel = assert(session:open())
      hold()
      assert(channel:exec("flood 1500000"))
      assert.equal(1500000, #assert(channel:read("a")))
      channel:close()
      session:close()
      core.socket.close(fd)
   end)

   it("makes a step due at once, where it may have more", function()
      local server <close> = light.start()
      local session, fd, hold = holding_back(server, 1000000)
      local channel = assert(session:open())
      hold()
      assert(channel:exec("flood 1500000"))
      local poller <close> = core.poller()
      local total = 0
      while total < 1500000 do
         poller:set(session:fd(), session:events())
         local left = session:deadline() - loop.now()
         assert.is_true(left <= 0 or poller:wait(60) ~= nil)
         assert.is_true(session:step())
         total = total + #(channel:read(nil, 0) or "")
      end
      channel:close()
      session:close()
      core.socket.close(fd)
   end)

   it("is called until it answers -EAGAIN before the descriptor is waited for", function()
      local a, b = core.socket.pair()
      local link = memory.connect{ login = "none" }
      local session = link.session
      local waits, original = {}, loop.current()
      local adapter = setmetatable({
         wait = function(fd, events, timeout)
            table.insert(waits, { fd = fd, answer = link.answer })
            return original.wait(fd, events, math.min(timeout or 1, 0.001))
         end,
      }, { __index = original })
      session:close()
      link = memory.connect{ login = "none", session = { loop = adapter } }
      wrap(link.session, "recv", function(recv, ...)
         link.answer = recv(...)
         return link.answer
      end)
      assert.is_true(link.session:handshake(a))
      assert.is_true(link.session:accept_host_key())
      assert.is_true(link.session:auth_password("moon", "secret"))
      for _, wait in ipairs(waits) do
         assert.equal(a, wait.fd)
         assert.equal(-ssh.EAGAIN, wait.answer)
      end
      assert.equal(a, link.session:fd())
      link.session:close()
      assert.equal(1, core.socket.send(a, "x")) -- it is still the caller's
      core.socket.close(a)
      core.socket.close(b)
   end)
end)

describe("socket_send and socket_recv", function()
   local a, b

   before_each(function()
      a, b = core.socket.pair()
   end)

   after_each(function()
      core.socket.close(a)
      core.socket.close(b)
   end)

   it("take what handlers receive and give what handlers return", function()
      assert.equal(3, ssh.socket_send(a, "hello", 3, 0, "abstract", {}))
      assert.equal("hel", ssh.socket_recv(b, 100, 0, "abstract", {}))
      assert.equal(-ssh.EAGAIN, ssh.socket_recv(b, 100, 0))
      assert.equal(5, ssh.socket_send({ getfd = function() return a end }, "world", 5, 0))
      assert.equal("wo", ssh.socket_recv({ getfd = function() return b end }, 2, 0))
      core.socket.shutdown(a)
      assert.equal("rld", ssh.socket_recv(b, 10, 0))
      assert.equal("", ssh.socket_recv(b, 10, 0))
   end)

   it("give -EAGAIN when the socket takes no more, and -1 for an error", function()
      local sent
      repeat
         sent = ssh.socket_send(a, ("x"):rep(65536), 65536, 0)
      until sent < 0
      assert.equal(-ssh.EAGAIN, sent)
      local c, d = core.socket.pair()
      core.socket.close(d)
      assert.equal(-1, ssh.socket_send(c, "x", 1, 0))
      core.socket.close(c)
   end)

   it("raise for wrong arguments", function()
      assert.error_matches(function() ssh.socket_send("x", "y", 1, 0) end, "bad argument #1 to 'socket_send'")
      assert.error_matches(function() ssh.socket_send(a, "y", 2, 0) end, "length is not within the buffer")
      assert.error_matches(function() ssh.socket_recv(a, 0, 0) end, "length is not positive")
   end)
end)
