-- What looks like a session, and connects again.

local light = require "spec.support.light"
local loop = require "moonssh.loop"
local process = require "spec.support.process"
local sockets = require "spec.support.sockets"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"

describe("ssh.reconnecting", function()
   local server

   setup(function()
      server = light.start()
   end)

   teardown(function()
      server:stop()
   end)

   local function connect(options)
      return assert(ssh.reconnecting(server:destination(), light.options(options)))
   end

   it("is used like a session", function()
      local session <close> = connect()
      assert.equal("hello\n", assert(session:run("echo hello")).stdout)
      local channel <close> = assert(session:exec("cat"))
      assert(channel:write("x"))
      assert.equal("x", channel:read(1, 60))
      assert.equal("moon", session.info.user)
      assert.is_nil(session.failure)
      assert.is_false(session.closed)
      session.timeout = 60
      assert.equal(60, session.timeout)
      assert.is_true(session:ping() > 0)
   end)

   it("comes back after a loss, and tells what was in flight", function()
      local losses, connected = {}, {}
      local session <close> = connect{
         on_loss = function(err, in_flight)
            table.insert(losses, { err.code, in_flight })
         end,
         on_connect = function(fresh, count)
            table.insert(connected, { fresh.closed, count })
         end,
      }
      local channel = assert(session:exec("cat"))
      local hanging = ssh.spawn(function()
         return session:run("hang")
      end)
      while not next(session.session._channels, next(session.session._channels)) do
         loop.sleep(0.001)
      end
      local result, err = session:run("vanish", { timeout = 60 })
      assert.same({ nil, "eof" }, { result, err.code })
      assert.equal("eof", select(2, hanging:wait(60)).code)
      assert.equal(1, #losses)
      assert.equal("eof", losses[1][1])
      local calls = {}
      for i, what in ipairs(losses[1][2]) do
         calls[i] = { what.call, what.arguments[1], what.handle == channel }
      end
      assert.same({ { "exec", "cat", true }, { "run", "hang", false }, { "run", "vanish", false } }, calls)
      assert.equal(losses[1][2], err.in_flight)
      assert.equal("back\n", assert(session:run("echo back")).stdout)
      assert.equal(2, session.connects)
      assert.same({ { false, 1 }, { false, 2 } }, connected)
   end)

   it("connects once for all who find it lost", function()
      local session <close> = connect()
      session:run("vanish")
      local tasks = {}
      for i = 1, 10 do
         tasks[i] = ssh.spawn(function()
            return assert(session:run("echo " .. i)).stdout
         end)
      end
      for i = 1, 10 do
         assert.equal(i .. "\n", tasks[i]:wait(60))
      end
      assert.equal(2, session.connects)
   end)

   it("comes back although the call that began to connect was cancelled", function()
      local session <close> = connect()
      for count = 2, 4 do
         session:run("vanish")
         local task = ssh.spawn(function()
            return session:run("echo x")
         end)
         loop.sleep(0)
         task:cancel()
         waiting.await(function() return session.connects == count end, "the connection")
         assert.equal("x\n", assert(session:run("echo x")).stdout)
         assert.equal(count, session.connects)
      end
   end)

   it("connects again for no longer than the call may take", function()
      local lost = light.start()
      local session <close> = assert(ssh.reconnecting(lost:destination(), light.options{ attempts = 1000000 }))
      assert.is_nil(session:run("vanish"))
      lost:stop()
      for _, call in ipairs{
         function() return session:run("echo x", { timeout = 0.02 }) end,
         function() return session:ping(0.02) end,
         function()
            session.timeout = 0.02
            return session:run("echo x")
         end,
      } do
         local result, err = call()
         assert.same({ nil, "timeout", "connect" }, { result, err.code, err.stage })
      end
   end)

   it("is closed while it connects: the calls end", function()
      local lost = light.start()
      local session = assert(ssh.reconnecting(lost:destination(), light.options()))
      session:run("vanish")
      lost:stop()
      local task = ssh.spawn(function()
         return session:run("echo x")
      end)
      loop.sleep(0)
      session:close()
      local result, err = task:wait(60)
      assert.same({ nil, "closed" }, { result, err.code })
   end)

   it("keeps callbacks, and what was set", function()
      local seen = {}
      local session <close> = connect{ callbacks = { debug = function(_, _, message)
         table.insert(seen, message)
      end } }
      session.abstract, session.timeout = "mine", 50
      session:run("vanish")
      assert(session:run("debug one"))
      session:callback_set("debug", function(_, _, message, _, abstract)
         table.insert(seen, message .. " " .. abstract)
      end)
      session:run("vanish")
      assert(session:run("debug two"))
      assert.same({ "one", "two mine" }, seen)
      assert.equal(50, session.timeout)
   end)

   it("gives up after its attempts, and can be asked again", function()
      local slept, sleep = {}, loop.sleep
      local other = light.start()
      local port = other.port
      local session <close> = assert(ssh.reconnecting(other:destination(), light.options{ attempts = 3 }))
      other:stop()
      function loop.sleep(seconds)
         table.insert(slept, seconds)
      end
      local result, err = session:run("echo x")
      assert.is_truthy(not result and (err.code == "eof" or err.code == "refused" or err.code == "io"), err)
      slept = {}
      result, err = session:run("echo x")
      loop.sleep = sleep
      assert.same({ nil, "refused" }, { result, err.code })
      assert.same({ 0.5, 1 }, slept)
      assert.is_number(port)
   end)

   it("fails at once where the first connection fails, or trying again is of no use", function()
      local session, err = ssh.reconnecting(server:destination(), light.options{ password = "wrong" })
      assert.same({ nil, "auth_failed" }, { session, err.code })
      local passwords = { "secret", "wrong", "secret" }
      local fickle <close> = connect{ password = function()
         return table.remove(passwords, 1)
      end }
      fickle:run("vanish")
      local result
      result, err = fickle:run("echo x")
      assert.same({ nil, "auth_failed", 1 }, { result, err.code, #passwords })
   end)

   it("leaves nothing open when it is closed", function()
      sockets.leaves_nothing_open(function()
         local session = connect()
         session:run("vanish")
         session:run("echo x")
         session:close()
         session:close()
         assert.is_true(session.closed)
         assert.error_matches(function() session:run("echo x") end, "closed session")
      end)
   end)

   it("learns from keepalive that a server is dead", function()
      local stopped <close> = light.start()
      local losses = {}
      local session <close> = assert(ssh.reconnecting(stopped:destination(), light.options{
         keepalive = { interval = 0.02, count = 25 }, on_loss = function(err) table.insert(losses, err.code) end,
      }))
      -- Under way before the server is stopped: a loss that is known already would have it connect again.
      local task = ssh.spawn(function()
         return session:run("hang")
      end)
      loop.sleep(0)
      process.check{ "kill", "-STOP", stopped.process:pid() }
      local _, err = task:wait(60)
      assert.equal("timeout", err.code)
      assert.same({ "timeout" }, losses)
      process.check{ "kill", "-CONT", stopped.process:pid() }
      session._state.options.keepalive = nil -- a busy machine may be slow to answer
      assert.equal("x\n", assert(session:run("echo x")).stdout)
   end)

   it("raises for wrong options", function()
      for _, options in ipairs{ { attempts = 0 }, { pause = "x" }, { on_loss = 1 }, { comand = 1 } } do
         assert.has_error(function() ssh.reconnecting("x", options) end)
      end
   end)
end)
