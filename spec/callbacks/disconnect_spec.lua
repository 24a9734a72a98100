local loop = require "moonssh.loop"
local memory = require "spec.support.memory"
local MemorySession = require "spec.support.memory_session"
local messages = require "spec.support.messages"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"

-- The moments of a hand-made server's life at which it may hang up, and which strict key exchange knows as its own.
local moments = { "ident", "kexinit", "reply", "newkeys", "service", "accepted", "userauth", "authenticated",
   "opening", "opened", "requested", "running", "rekey_kexinit", "rekey_reply", "rekey_newkeys", "ended", "eof",
   "closed" }

local TEXT = "go\0 away\27[31m"
local goodbye = messages.disconnect(2, TEXT, "en")

local function assert_goodbye(err)
   assert.same({ "disconnected", 2, TEXT }, { err.code, err.reason, err.text })
end

-- From the first byte to the end of a command, and a question after it. Gives the error of the call that failed.
local function live(link)
   local session = link.session
   for _, call in ipairs{
      function() return link:handshake{ host = "moon", host_keys = "off" } end,
      function() return session:authenticate{ user = "moon", password = "secret" } end,
      function() return session:run("echo") end,
      function() return session:ping() end,
   } do
      local ok, err = call()
      if not ok then
         return err
      end
   end
end

for _, strict in ipairs{ true, false } do
   describe("the disconnect callback, " .. (strict and "with" or "without") .. " strict key exchange,", function()
      for _, moment in ipairs(moments) do
         it("gets reason and text at the moment " .. moment, function()
            local seen = {}
            local link = MemorySession.new{
               peer = { strict = strict, rekey_first = moment:find("^rekey") ~= nil,
                  inject = { [moment] = goodbye } },
               callbacks = { disconnect = function(...)
                  table.insert(seen, table.pack(...))
               end },
               session = { abstract = "mine" },
            }
            local session = link.session
            local err = live(link)
            assert_goodbye(err)
            assert_goodbye(session.failure)
            assert.equal(1, #seen)
            assert.same({ session, 2, TEXT, "en", "mine", n = 5 }, seen[1])
            assert.equal(session.failure, select(2, session:ping()))
            session:close()
            assert.equal(1, #seen)
         end)
      end
   end)
end

describe("the disconnect callback", function()

   it("is called although the call that waits fails, with the peer's reason in the error", function()
      local link = memory.connect()
      local calls = 0
      link.session:callback_set("disconnect", function() calls = calls + 1 end)
      link.server.exec = function()
         link:send(goodbye)
      end
      local result, err = link.session:run("bye")
      assert.is_nil(result)
      assert.equal("disconnected", err.code)
      assert.equal(2, err.reason)
      assert.equal("go\0 away\27[31m", err.text)
      assert.is_nil(err.message:find("\27", 1, true))
      assert.equal(1, calls)
      assert.equal("disconnected", link.session.failure.code)
      assert.equal(link.session.failure, select(2, link.session:ping()))
   end)

   it("is called during the key exchange", function()
      local link = memory.connect{ login = "none" }
      local seen
      link.session:callback_set("disconnect", function(_, reason, message) seen = { reason, message } end)
      link.server.transport:send_raw(messages.disconnect(11, "busy", ""))
      local ok, err = link.session:handshake()
      assert.is_nil(ok)
      assert.equal("disconnected", err.code)
      assert.same({ 11, "busy" }, seen)
   end)

   it("is called when the end of the connection follows at once, also where writing fails first", function()
      local core = require "moonssh.core"
      local link = memory.connect()
      local session = link.session
      local seen
      session:callback_set("disconnect", function(_, _, message) seen = message end)
      link:send(messages.disconnect(11, "last words", ""))
      link.ended = true
      session:callback_set("send", function() return -1 end)
      local ok, err = session:ping()
      assert.is_nil(ok)
      assert.equal("disconnected", err.code)
      assert.equal("last words", seen)
      assert.is_number(core.EAGAIN)
   end)

   it("may close the session, replace itself, or throw", function()
      local link = memory.connect()
      link.session:callback_set("disconnect", function(session)
         session:callback_set("disconnect", nil)
         session:close()
      end)
      link:send(goodbye)
      assert.is_false(link.session:step())
      assert.is_true(link.session.closed)

      link = memory.connect()
      link.session:callback_set("disconnect", function()
         load("error('oops', 0)")()
      end)
      link:send(goodbye)
      local ok, err = pcall(link.session.ping, link.session)
      assert.is_false(ok)
      assert.equal("callback", err.code)
      assert.equal("oops", err.cause)
      assert.equal("disconnected", link.session.failure.code)
   end)

   it("is not called for our own disconnecting", function()
      local link = memory.connect()
      local calls = 0
      link.session:callback_set("disconnect", function() calls = calls + 1 end)
      assert.is_true(link.session:disconnect(11, "bye"))
      assert.equal("closed", link.session.failure.code)
      assert.equal(0, calls)
      local received = link.server:received("disconnect")[1]
      assert.equal(11, received.reason)
   end)

   it("ends all calls that wait, each with the same error", function()
      local link = memory.connect()
      local tasks = {}
      link.server.exec = function() end
      for i = 1, 5 do
         tasks[i] = ssh.spawn(function()
            return link.session:run("wait " .. i)
         end)
      end
      while #link.server:received("channel_request") < 5 do
         loop.sleep(0.001)
      end
      link:send(goodbye)
      for i = 1, 5 do
         local result, err = tasks[i]:wait(60)
         assert.is_nil(result)
         assert.equal("disconnected", err.code)
         assert.equal(2, err.reason)
      end
   end)

   it("takes any reason, and text of any length", function()
      for _, reason in ipairs{ 0, 1, 15, 16, 0xfffffffe, 0xffffffff } do
         for _, text in ipairs{ "", ("\255"):rep(30000) } do
            local link = memory.connect()
            local seen
            link.session:callback_set("disconnect", function(_, ...) seen = { ... } end)
            link:send(messages.disconnect(reason, text, "")):settle()
            assert.same({ reason, text, "" }, seen)
            assert.equal(reason, link.session.failure.reason)
            assert.equal(text, link.session.failure.text)
            assert.is_true(#link.session.failure.message < 1000)
         end
      end
   end)
end)

describe("a DISCONNECT that comes inside another handler", function()
   local link, session, seen

   before_each(function()
      seen = {}
      link = memory.connect()
      session = link.session
      session:callback_set("disconnect", function(_, reason, text)
         table.insert(seen, { reason, text })
      end)
   end)

   local function assert_told()
      assert.same({ { 2, TEXT } }, seen)
      assert_goodbye(session.failure)
   end

   it("ends the call in which that one waits", function()
      local inner
      link.server.exec = function()
         link:send(goodbye)
      end
      session:callback_set("debug", function()
         inner = table.pack(session:run("the last"))
      end)
      link:send(messages.debug(false, "", ""))
      local ok, err = session:run("echo hello")
      waiting.await(function() return inner end, "the handler")
      assert_told()
      assert.is_nil(inner[1])
      assert_goodbye(inner[2])
      assert.is_nil(ok)
      assert_goodbye(err)
   end)

   it("is told while that one waits for something else", function()
      local adapter = loop.current()
      local gate, passed = adapter.token(), nil
      session:callback_set("ignore", function()
         adapter.park(gate)
         passed = session.failure
      end)
      link:send(messages.ignore("x")):settle()
      link:send(goodbye)
      assert.is_false(session:step())
      assert_told()
      adapter.unpark(gate)
      waiting.await(function() return passed end, "the handler")
      assert.equal(session.failure, passed)
   end)

   it("is told when that one steps the session itself", function()
      session:callback_set("ignore", function()
         link:send(goodbye)
         assert.is_false(session:step())
      end)
      link:send(messages.ignore("x"))
      session:step()
      assert_told()
   end)

   it("is told although that one throws", function()
      session:callback_set("ignore", function()
         load("error('oops', 0)")()
      end)
      link:send(messages.ignore("x"), goodbye)
      local ok, err = pcall(session.step, session)
      assert.is_false(ok)
      assert.equal("oops", err.cause)
      assert_told()
   end)

   it("is told although as many handlers wait as may", function()
      local adapter = loop.current()
      local gates = {}
      session:callback_set("ignore", function()
         gates[#gates + 1] = adapter.token()
         adapter.park(gates[#gates])
      end)
      for _ = 1, 257 do
         link:send(messages.ignore("x"))
      end
      link:settle()
      assert.equal(256, #gates)
      link:send(goodbye)
      session:step()
      assert_told()
      for _, gate in ipairs(gates) do
         adapter.unpark(gate)
      end
      loop.sleep(0)
   end)

   it("is told when its own MAC is wrong and was accepted, and not when it was refused", function()
      for _, answer in ipairs{ 0, 1 } do
         seen = {}
         local other = memory.connect()
         other.session:callback_set("disconnect", function(_, reason, text)
            table.insert(seen, { reason, text })
         end)
         other.session:callback_set("macerror", function() return answer end)
         other:send(goodbye):tamper(function(bytes)
            return bytes:sub(1, -2) .. string.char(bytes:byte(-1) ~ 1)
         end)
         assert.is_false(other.session:step())
         assert.equal(answer == 0 and "disconnected" or "mac", other.session.failure.code)
         assert.equal(answer == 0 and 1 or 0, #seen)
      end
   end)
end)
