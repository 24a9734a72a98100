local loop = require "moonssh.loop"
local memory = require "spec.support.memory"
local messages = require "spec.support.messages"
local ssh = require "moonssh"

local goodbye = messages.disconnect(2, "go\0 away\27[31m", "en")

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
end)
