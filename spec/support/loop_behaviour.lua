-- What is true on every scheduler: the specs of spec/loops run this on each.
--
--    behaviour(_ENV, name, adapter, inside)      _ENV brings what busted has given the spec
--
-- adapter: what is given to ssh.loop.use, nil for the built-in loop. inside(f): runs f in a coroutine of the scheduler,
-- and that until f is done.

local agent_peer = require "spec.support.agent_peer"
local assert = require "luassert"
local core = require "moonssh.core"
local light = require "spec.support.light"
local loop = require "moonssh.loop"
local sockets = require "spec.support.sockets"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"

local TASKS = 50

local function code_of(value, err)
   return value, err and err.code
end

local function run_all(f)
   local tasks = {}
   for i = 1, TASKS do
      tasks[i] = ssh.spawn(f, i)
   end
   for i = 1, TASKS do
      local result, err = tasks[i]:wait(60)
      assert(result == i, err or result)
   end
end

-- What a signal that was sent, and no other open channel, look like.
local function gave_up(session)
   assert.is_truthy(assert(session:run("seen")).stdout:find("TERM 0$"))
end

local function has_behaviour(_ENV, adapter, inside) -- luacheck: ignore
   local server, previous

   setup(function()
      server = light.start()
   end)

   teardown(function()
      server:stop()
   end)

   before_each(function()
      previous = loop.use(adapter)
   end)

   after_each(function()
      loop.use(previous)
   end)

   local function works(what, f)
      it(what, function()
         inside(f)
      end)
   end

   works("runs 50 tasks on one session", function()
      local session <close> = assert(server:connect())
      run_all(function(i)
         return tonumber(assert(session:run("sleep 0.01 " .. i)).stdout)
      end)
   end)

   works("serves an agent, by a handler that waits and by relaying", function()
      local agent <close> = require "spec.support.server".agent()
      local link = agent_peer.connect{ session = { agent = agent.path } }
      local peer, empty = link:serve(), string.pack(">BI4", 12, 0)
      assert.equal(empty, peer:ask("\11"))
      local binds
      link.session:callback_set("authagent_identities", function(session)
         loop.sleep(0.001)
         binds = session.agent_binds
         return {}
      end)
      assert.equal(empty, peer:ask("\11"))
      assert.same({}, binds)
      link:close()
      assert.same({ true, n = 1 }, table.pack(peer.task:wait()))
   end)

   works("runs 50 sessions", function()
      sockets.leaves_nothing_open(function()
         run_all(function(i)
            local session <close> = assert(server:connect())
            return tonumber(assert(session:run("echo " .. i)).stdout)
         end)
      end)
   end)

   works("ends a call at its timeout, and leaves the session usable", function()
      local session <close> = assert(server:connect())
      local result, err = waiting.longer(function(timeout)
         return session:run("hang", { timeout = timeout })
      end, function(_, err)
         return err.stage == "read"
      end)
      assert.same({ nil, "timeout", "read" }, { result, err.code, err.stage })
      gave_up(session)
   end)

   works("cancels a task where it waits, and leaves the session usable", function()
      local session <close> = assert(server:connect())
      local closed = false
      local task = ssh.spawn(function()
         local _ <close> = setmetatable({}, { __close = function() closed = true end })
         session:run("hang")
         error "went on"
      end)
      waiting.await(function()
         local _, channel = next(session._channels)
         return channel and channel._state == "open"
      end, "the command")
      task:cancel()
      assert.same({ nil, "cancelled" }, { code_of(task:wait(60)) })
      assert.is_true(closed)
      assert.is_true(task.closed)
      gave_up(session)
   end)

   works("cancels a task that sleeps, one that has not begun, and itself", function()
      local log = {}
      local sleeping = ssh.spawn(function()
         loop.sleep(0)
         table.insert(log, "sleeps")
         loop.sleep(3600)
         table.insert(log, "went on")
      end)
      waiting.await(function() return log[1] end, "the sleep")
      sleeping:cancel()
      assert.same({ nil, "cancelled" }, { code_of(sleeping:wait(60)) })
      local myself
      myself = ssh.spawn(function()
         while not myself do
            loop.sleep(0) -- a scheduler may begin it at once
         end
         myself:cancel()
         loop.sleep(0)
         table.insert(log, "went on")
      end)
      assert.same({ nil, "cancelled" }, { code_of(myself:wait(60)) })
      assert.same({ "sleeps" }, log)
   end)

   works("is not held up by a channel that nobody reads", function()
      local session <close> = assert(server:connect())
      local silent <close> = assert(session:exec("flood 5000000"))
      run_all(function(i)
         return tonumber(assert(session:run("echo " .. i)).stdout)
      end)
      assert.equal(5000000, #silent:read("a", 60))
   end)

   works("goes on with tasks in the background", function()
      local session <close> = assert(server:connect())
      local cat <close> = assert(session:exec("cat"))
      local lines = {}
      local reader = ssh.spawn(function()
         for line in cat:lines() do
            table.insert(lines, line)
         end
         return #lines
      end)
      for i = 1, 20 do
         assert(cat:write(i .. "\n"))
         assert.equal("x", assert(session:run("sleep 0.001 x")).stdout)
      end
      assert(cat:eof())
      assert.equal(20, reader:wait(60))
   end)

   works("forwards in the background", function()
      local session <close> = assert(server:connect())
      local forward <close> = assert(session:forward_local{ bind = "127.0.0.1:0", to = "echo:7" })
      local fd = assert(core.socket.connect(core.resolve("127.0.0.1", forward.port):result()[1]))
      assert(loop.wait(fd, "w", loop.now() + 60))
      local heard = ""
      core.socket.send(fd, "hello")
      while heard ~= "hello" do
         assert.equal("x", assert(session:run("sleep 0.001 x")).stdout)
         assert(loop.wait(fd, "r", loop.now() + 60))
         heard = heard .. (core.socket.recv(fd) or "")
      end
      loop.current().cancel(fd)
      core.socket.close(fd)
   end)

   works("takes standard input from a function that waits", function()
      local session <close> = assert(server:connect())
      local left = 3
      local result = assert(session:run("cat", { stdin = function()
         loop.sleep(0.001)
         left = left - 1
         return left >= 0 and "x" or nil
      end }))
      assert.equal("xxx", result.stdout)
   end)

   works("runs callbacks that wait", function()
      local log = {}
      local session <close> = assert(server:connect{ callbacks = {
         debug = function(session, _, message)
            table.insert(log, assert(session:run("sleep 0.005 " .. message)).stdout)
         end,
      } })
      assert(session:run("debug one"))
      assert(session:run("debug two"))
      waiting.await(function() return log[2] end, "the handlers")
      table.sort(log)
      assert.same({ "one", "two" }, log)
   end)

   works("raises what a callback throws before its first wait", function()
      local session <close> = assert(server:connect{ callbacks = {
         debug = function(_, _, message)
            error("no " .. message, 0)
         end,
      } })
      local ok, err = pcall(session.run, session, "debug thanks")
      assert.is_false(ok)
      assert.same({ "callback", "no thanks" }, { err.code, err.cause })
      assert.equal("fine\n", assert(session:run("echo fine")).stdout)
   end)

   works("reports what a callback throws after its first wait", function()
      local seen, on_error = {}, loop.on_error
      local session <close> = assert(server:connect{ callbacks = {
         debug = function()
            loop.sleep(0.001)
            error("late", 0)
         end,
      } })
      function loop.on_error(err)
         table.insert(seen, err.cause)
      end
      assert(session:run("debug x"))
      waiting.await(function() return seen[1] end, "the report")
      loop.on_error = on_error
      assert.same({ "late" }, seen)
   end)

   works("gives a task's results and what it threw", function()
      local task = ssh.spawn(function(...)
         loop.sleep(0)
         return nil, "two", select("#", ...)
      end, 1, nil)
      assert.same({ nil, "two", 2 }, { task:wait(60) })
      local broken = ssh.spawn(function()
         loop.sleep(0)
         error("broken", 0)
      end)
      local ok, err = broken:wait(60)
      assert.same({ nil, "callback", "broken" }, { ok, err.code, err.cause })
   end)

   works("runs a function and what it has spawned", function()
      local log = {}
      assert.equal("result", loop.run(function()
         ssh.spawn(function()
            loop.sleep(0.005)
            table.insert(log, "task")
         end)
         return "result"
      end))
      waiting.await(function() return log[1] end, "the task")
   end)

   works("sleeps no less than it was told", function()
      for i = 1, 10 do
         local began = loop.now()
         loop.sleep(i / 1000)
         assert.is_true(loop.now() >= began + i / 1000)
      end
   end)

   works("begins tasks in the order in which they were spawned", function()
      local order = {}
      for i = 1, 5 do
         ssh.spawn(function()
            table.insert(order, i)
            loop.sleep(0)
         end)
      end
      waiting.await(function() return order[5] end, "the tasks")
      assert.same({ 1, 2, 3, 4, 5 }, order)
   end)

   works("maps items to results by their index", function()
      local items = {}
      for i = 1, 10 do
         items[i] = "item " .. i
      end
      local results = ssh.map(items, function(item, index)
         loop.sleep((index * 7 % 5) / 1000)
         return item .. " is " .. index
      end, { concurrency = 4 })
      for i = 1, 10 do
         assert.equal(("item %d is %d"):format(i, i), results[i])
      end
   end)

   works("begins no further item of a map whose task was cancelled", function()
      local begun, told, closed = 0, 0, 0
      local task = ssh.spawn(function()
         ssh.map({ 1, 2, 3, 4, 5, 6 }, function()
            local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
            begun = begun + 1
            loop.sleep(3600)
         end, { concurrency = 2, on_result = function() told = told + 1 end })
      end)
      waiting.await(function() return begun == 2 end, "the first items")
      task:cancel()
      assert.same({ nil, "cancelled" }, { code_of(task:wait(60)) })
      waiting.await(function() return closed == begun end, "their ends")
      assert.same({ 2, 0 }, { begun, told })
   end)

   works("waits for any of several descriptors", function()
      local a, b = core.socket.pair()
      local c, d = core.socket.pair()
      assert.same({ nil, "timeout" }, { loop.wait_any({ { a, "r" }, { c, "r" } }, loop.now() + 0.01) })
      core.socket.send(d, "x")
      assert.equal(2, loop.wait_any({ { a, "r" }, { c, "r" } }, loop.now() + 60))
      assert.equal(1, loop.wait_any({ { b, "w" } }, loop.now() + 60))
      for _, fd in ipairs{ a, b, c, d } do
         loop.current().cancel(fd)
         core.socket.close(fd)
      end
   end)

   works("unparks once, also before the wait", function()
      local used = loop.current()
      local token = used.token()
      used.unpark(token)
      used.park(token)
      local woken = {}
      local task = ssh.spawn(function()
         while not woken[1] do
            used.park(token)
         end
         return "woken"
      end)
      loop.sleep(0.001)
      woken[1] = true
      used.unpark(token)
      assert.equal("woken", task:wait(60))
      repeat -- it may wake too early, but not for ever
         local _, why = used.park(token, 0.001)
      until why == "timeout"
   end)

   works("refuses what refuses, and times out what is silent", function()
      local listener, port = assert(require "moonssh_testing".socket.listen("127.0.0.1", 0))
      local session, err = waiting.longer(function(timeout)
         return ssh.connect("moon@127.0.0.1:" .. port, light.options{ timeout = timeout })
      end, function(_, err)
         return err.stage == "identification"
      end)
      assert.same({ nil, "timeout", "identification" }, { session, err.code, err.stage })
      core.socket.close(listener)
      assert.same({ nil, "refused" }, { code_of(ssh.connect("moon@127.0.0.1:1", light.options())) })
   end)

   works("ends the calls on a session that is closed, and on one that is lost", function()
      local session = assert(server:connect())
      local task = ssh.spawn(function()
         return session:run("hang")
      end)
      waiting.await(function() return next(session._channels) end, "the command")
      session:close()
      assert.same({ nil, "closed" }, { code_of(task:wait(60)) })
      local lost <close> = assert(server:connect())
      assert.same({ nil, "eof" }, { code_of(lost:run("vanish")) })
   end)

   works("sees by keepalive that a server answers", function()
      local session <close> = assert(server:connect{ keepalive = { interval = 0.01, count = 100000 } })
      local before = session.info.packets_received
      waiting.await(function() return session.info.packets_received > before + 3 end, "answers")
      assert.is_nil(session.failure)
   end)

   works("waits where the running code cannot yield, or says so, and goes on", function()
      local session <close> = assert(server:connect())
      assert(session:run("echo before"))
      local ok, result = pcall(string.gsub, "x", "x", function()
         return (assert(session:run("echo within")).stdout:gsub("%s", ""))
      end)
      assert.equal(ok and "within" or "attempt to yield across a C-call boundary", result)
      assert.equal("after\n", assert(session:run("echo after")).stdout)
   end)

   it("lets calls wait in the main program", function()
      local session <close> = assert(server:connect())
      local task = ssh.spawn(function()
         return assert(session:run("sleep 0.01 task")).stdout
      end)
      assert.equal("main\n", assert(session:run("echo main")).stdout)
      assert.equal("task", task:wait(60))
   end)
end

return function(env, name, adapter, inside)
   env.describe(name, function()
      has_behaviour(env, adapter, inside)
   end)
end
