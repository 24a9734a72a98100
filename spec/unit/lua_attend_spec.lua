-- Sessions whose server may open channels are moved while the loop runs, though no call waits for them.

local core = require "moonssh.core"
local loop = require "moonssh.loop"
local ScriptedServer = require "spec.support.scripted_server"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"

local AGENT = "auth-agent@openssh.com"

describe("a session that is attended to", function()
   local server, session, near, far, calls

   -- A session over one end of a pair of sockets; the server is at the other, and is moved by `serve` alone.
   before_each(function()
      near, far = core.socket.pair()
      server = ScriptedServer.new{ exec = function() end }
      server:start()
      calls = 0
      session = ssh.session{ timeout = 60, callbacks = { authagent = function(_, channel)
         calls = calls + 1
         channel:write("served"):eof()
      end } }
   end)

   local function serve()
      local bytes = server:output(1 << 20)
      if bytes ~= "" then
         assert(core.socket.send(far, bytes) == #bytes)
      end
      bytes = core.socket.recv(far, 1 << 18)
      if bytes and bytes ~= "" then
         server:feed(bytes)
      end
   end

   -- Serves until f has ended.
   local function during(f)
      local task = ssh.spawn(f)
      waiting.await(function()
         serve()
         return task.closed
      end)
      return assert(task:wait())
   end

   local function log_in()
      during(function()
         assert(session:handshake(near))
         assert(session:accept_host_key())
         assert(session:auth_password("moon", "secret"))
         return true
      end)
   end

   local function forwarding()
      return during(function()
         return session:exec("talk", { forward_agent = true })
      end)
   end

   after_each(function()
      session:close()
      loop.current().cancel(near)
      core.socket.close(near)
      core.socket.close(far)
   end)

   it("has its channels served while the loop does something else", function()
      log_in()
      local channel <close> = forwarding()
      for i = 1, 3 do
         local theirs = server:open(AGENT)
         waiting.await(function()
            serve()
            return theirs.received == "served"
         end)
         assert.equal(i, calls)
      end
      assert.is_false(channel.closed)
   end)

   it("is so between, beside and after calls that wait", function()
      log_in()
      local _ <close> = forwarding()
      server.on.global_request = function(its)
         its.kept = its.kept or its:open(AGENT)
         its:send(require "spec.support.messages".request_failure())
         return true
      end
      for i = 1, 3 do
         server.kept = nil
         assert(during(function() return session:ping() end))
         local theirs = server.kept
         waiting.await(function()
            serve()
            return theirs.received == "served"
         end)
         assert.equal(2 * i - 1, calls)
         theirs = server:open(AGENT)
         waiting.await(function()
            serve()
            return theirs.received == "served"
         end)
      end
   end)

   it("is left alone once its server may open nothing more", function()
      log_in()
      assert.is_nil(session._attender)
      local channel = forwarding()
      assert.is_truthy(session._attender)
      channel:close()
      waiting.await(function()
         serve()
         return not session._attender
      end)
      local again <close> = forwarding()
      local theirs = server:open(AGENT)
      waiting.await(function()
         serve()
         return theirs.received == "served"
      end)
      assert.is_false(again.closed)
   end)

   it("costs nothing while nothing comes", function()
      log_in()
      local _ <close> = forwarding()
      loop.sleep(0.01)
      local pump = require "moonssh.pump"
      local step, steps = pump.step, 0
      pump.step = function(...)
         steps = steps + 1
         return step(...)
      end
      loop.sleep(0.2)
      pump.step = step
      assert.is_true(steps <= 2, steps .. " steps")
   end)

   it("reports an error of a handler, for there is no call to raise it from", function()
      log_in()
      local _ <close> = forwarding()
      session:callback_set("authagent", function() error("alone") end)
      local reported
      local old = loop.on_error
      loop.on_error = function(err) reported = err end
      local theirs = server:open(AGENT)
      waiting.await(function()
         serve()
         return theirs.closed
      end)
      loop.on_error = old
      assert.equal("callback", reported.code)
      assert.is_nil(session.failure)
   end)

   it("notices its end", function()
      log_in()
      local _ <close> = forwarding()
      server:send(require "spec.support.messages".disconnect(11, "bye", ""))
      waiting.await(function()
         serve()
         return session.failure
      end)
      assert.equal("disconnected", session.failure.code)
      waiting.await(function() return not session._attender end)
   end)

   it("is collected when it is dropped", function()
      log_in()
      local channel = forwarding()
      loop.sleep(0.001)
      local weak = setmetatable({ session, channel }, { __mode = "v" })
      session, channel = ssh.session(), nil -- luacheck: ignore channel
      collectgarbage()
      collectgarbage()
      assert.is_nil(weak[1])
      assert.is_nil(weak[2])
      loop.sleep(0.001)
   end)

   it("is no reason for the loop to go on", function()
      log_in()
      local channel = forwarding()
      assert.equal("over", loop.run(function() return "over" end))
      session:close()
      loop.sleep(0.001)
      assert.is_true(channel._session.closed)
   end)
end)
