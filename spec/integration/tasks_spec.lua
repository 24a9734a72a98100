-- Several tasks and sessions at once against real servers, and servers that stop, die or hang.

local core = require "moonssh.core"
local dial = require "spec.support.dial"
local process = require "spec.support.process"
local server = require "spec.support.server"
local socket = require "moonssh_testing".socket
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"

local MIB = 1024 * 1024

-- At a higher level the lines of sshd's own log get into the stderr of its commands.
local quiet = { config = "LogLevel INFO" }

local function signal(name, pid)
   process.check{ "kill", "-" .. name, pid }
end

-- The process of sshd that serves a session.
local function server_process(session)
   return assert(session:run("echo $PPID")).stdout:match("^%d+")
end

-- Commands that read nothing and do not end before their session does.
local lasting = "while kill -0 $PPID; do sleep 0.1; done 2>/dev/null"

-- A server that is stopped, or killed; <close> lets it go on, so that it can end.
local Stopped = {
   __close = function(self)
      process.run{ "kill", "-CONT", self.pid }
   end,
}

local function stop(pid)
   signal("STOP", pid)
   return setmetatable({ pid = pid }, Stopped)
end

describe("tasks", function()
   local sshd, session

   setup(function()
      sshd = server.sshd(quiet)
   end)

   teardown(function()
      sshd:stop()
   end)

   before_each(function()
      session = assert(dial(sshd))
   end)

   after_each(function()
      session:close()
   end)

   it("use one session beside each other", function()
      local data = core.random(MIB):rep(4)
      local tasks = {}
      for i = 1, 8 do
         tasks[i] = ssh.spawn(function()
            if i % 2 == 0 then
               return assert(session:run("cat", { stdin = data })).stdout == data
            end
            local channel <close> = assert(session:exec("for i in 1 2 3 4 5 6 7 8 9 10; do read a; echo $a " .. i
               .. "; done"))
            for round = 1, 10 do
               assert(channel:write(round, "\n"))
               assert.equal(round .. " " .. i, assert(channel:read("l")))
            end
            return channel:wait() == 0
         end)
      end
      for _, task in ipairs(tasks) do
         assert.is_true(task:wait(60))
      end
      assert.is_nil(session.failure)
   end)

   it("use a session each beside each other", function()
      local data = core.random(MIB)
      local results, errors = ssh.map({ 1, 2, 3, 4, 5, 6 }, function(i)
         local own <close> = assert(dial(sshd))
         local result = assert(own:run("cat; echo " .. i .. " >&2", { stdin = data }))
         return result.stdout == data and result.stderr
      end)
      assert.same({}, errors)
      assert.same({ "1\n", "2\n", "3\n", "4\n", "5\n", "6\n" }, results)
   end)

   it("are run to their end by loop.run, which gives the results of its function", function()
      local seen = {}
      local first, second = ssh.loop.run(function()
         ssh.spawn(function()
            table.insert(seen, assert(session:run("read x; echo $x", { stdin = "spawned\n" })).stdout)
         end)
         return assert(session:run("echo own")).stdout, 2
      end)
      assert.same({ "own\n", 2 }, { first, second })
      assert.same({ "spawned\n" }, seen)
   end)

   it("go on while one sleeps, and while one waits for a silent command", function()
      local order = {}
      ssh.loop.run(function()
         local silent = ssh.spawn(function()
            return session:run("exec cat", { stdin = function()
               ssh.loop.sleep(1000)
            end })
         end)
         ssh.spawn(function()
            for i = 1, 3 do
               table.insert(order, assert(session:run("echo " .. i)).stdout)
               ssh.loop.sleep(0.001)
            end
            silent:cancel()
         end)
      end)
      assert.same({ "1\n", "2\n", "3\n" }, order)
   end)

   it("keep their hands off a stream that another one reads", function()
      local channel <close> = assert(session:exec("read x; echo $x; echo $x >&2"))
      local reader = ssh.spawn(function()
         return channel:read("l")
      end)
      ssh.loop.sleep(0)
      local line, err = channel:read("l")
      assert.is_nil(line)
      assert.same({ "busy", "stdout" }, { err.code, err.stage })
      assert.equal("busy", select(2, channel:expect("x")).code)
      assert(channel:write("go\n"))
      assert.equal("go", channel:read_stderr("l"))
      assert.equal("go", (reader:wait(60)))
   end)

   it("that are cancelled leave the session to the others", function()
      local data = core.random(MIB)
      local commands = {
         function()
            return session:run("echo here; exec cat", { stdin = function()
               ssh.loop.sleep(1000)
            end })
         end,
         function()
            return session:run("exec yes", { stdout = function() end })
         end,
         function()
            return session:run("cat", { stdin = data:rep(64), stdout = function()
               ssh.loop.sleep(0.001)
            end })
         end,
         function()
            local channel <close> = assert(session:exec(("{ %s; } & read x"):format(lasting)))
            return channel:write(data:rep(64))
         end,
         function()
            return session:rekey() and session:run("read x; " .. lasting, { stdin = "x\n" })
         end,
      }
      -- The first one leads, as it begins to wait before the others: it hands on what it does for all.
      local victim = ssh.spawn(commands[1])
      local working = ssh.spawn(function()
         local result = assert(session:run("cat", { stdin = data:rep(16) }))
         return result.stdout == data:rep(16)
      end)
      ssh.loop.sleep(0.01)
      victim:cancel()
      assert.equal("cancelled", select(2, victim:wait(60)).code)
      assert.is_true(working:wait(60))
      for _, command in ipairs(commands) do
         for _, pause in ipairs{ 0, 0.002, 0.02 } do
            local task = ssh.spawn(command)
            ssh.loop.sleep(pause)
            task:cancel()
            assert.is_true(task.closed)
            assert.equal("fine\n", assert(session:run("echo fine", { timeout = 60 })).stdout)
         end
      end
      assert.is_nil(session.failure)
   end)

   it("that close a channel, or the session, end the calls that wait for it", function()
      local channel = assert(session:exec("exec cat"))
      local reading = ssh.spawn(function()
         return channel:read("a")
      end)
      local waiter = ssh.spawn(function()
         return channel:wait()
      end)
      local running = ssh.spawn(function()
         return session:run("exec cat", { stdin = function()
            ssh.loop.sleep(1000)
         end })
      end)
      ssh.loop.sleep(0.01)
      channel:close()
      assert.equal("closed", select(2, reading:wait(60)).code)
      assert.equal("closed", select(2, waiter:wait(60)).code)
      assert.is_false(running.closed)
      session:close()
      assert.equal("closed", select(2, running:wait(60)).code)
   end)

   describe("of which each has a deadline:", function()
      -- What a call that cannot be done gives, the server being stopped.
      local function stage_of(call)
         local ok, err = call()
         assert.is_nil(ok)
         assert.equal("timeout", err.code, tostring(err))
         return err.stage
      end

      it("every call ends at its timeout when the server hangs, and goes on when that does", function()
         local channel <close> = assert(session:exec("cat; echo end"))
         local bare <close> = assert(session:open())
         do
            local _ <close> = stop(server_process(session))
            assert.equal("open", stage_of(function()
               return session:run("true", { timeout = 0.05 })
            end))
            assert.equal("open", stage_of(function()
               return session:exec("true", { timeout = 0.05 })
            end))
            assert.equal("open", stage_of(function()
               return session:open{ timeout = 0.05 }
            end))
            assert.equal("request", stage_of(function()
               return bare:exec("true", 0.05)
            end))
            assert.equal("request", stage_of(function()
               return session:ping(0.05)
            end))
            assert.equal("read", stage_of(function()
               return channel:read("l", 0.05)
            end))
            assert.equal("read", stage_of(function()
               return channel:read_stderr(nil, 0.05)
            end))
            assert.equal("read", stage_of(function()
               return channel:wait(0.05)
            end))
            assert.equal("read", stage_of(function()
               return channel:expect("x", { timeout = 0.05 })
            end))
            session.timeout = 0.1
            assert.equal("write", stage_of(function()
               return channel:write(("x"):rep(32 * MIB))
            end))
            assert.equal("read", stage_of(function()
               return channel:read("l")
            end))
            session.timeout = nil
            assert.equal("kex", stage_of(function()
               return session:rekey(0.05)
            end))
            assert.is_nil(session.failure)
         end
         assert.equal("fine\n", assert(session:run("echo fine", { timeout = 60 })).stdout)
         assert.is_true(session:ping(60) >= 0)
         assert.equal(1, session.info.rekeys)
         local text = assert(channel:read(1000, 60))
         assert.equal(("x"):rep(1000), text)
      end)

      it("one does not wait for those of the others", function()
         local _ <close> = stop(server_process(session))
         local tasks = {}
         for i, timeout in ipairs{ 60, 0.05, 60, 0.1, 60 } do
            tasks[i] = ssh.spawn(function()
               return session:run("true", { timeout = timeout })
            end)
         end
         for _, i in ipairs{ 4, 2 } do
            assert.equal("timeout", select(2, tasks[i]:wait()).code)
         end
         for _, i in ipairs{ 1, 3, 5 } do
            assert.is_false(tasks[i].closed)
            tasks[i]:cancel()
         end
      end)

      it("connect has one for the whole, also when the server hangs in the middle", function()
         do
            local _ <close> = stop(sshd.process:pid())
            local other, err = waiting.longer(function(timeout)
               return dial(sshd, { timeout = timeout })
            end, function(_, err)
               return err.stage == "identification"
            end)
            assert.is_nil(other)
            assert.same({ "timeout", "identification" }, { err.code, err.stage })
         end
         assert(dial(sshd)):close()
      end)
   end)

   describe("that wait when the server", function()
      -- Starts what waits in every way there is; the command of each has begun when this returns.
      local function waiting_tasks()
         local data = core.random(MIB):rep(64)
         local idle = assert(session:exec("exec cat"))
         local writing = assert(session:exec("echo on; read x; " .. lasting))
         assert.equal("on", writing:read("l"))
         local seen = 0
         local calls = {
            function()
               return session:run("cat", { stdin = data, stdout = function(chunk)
                  seen = seen + #chunk
               end })
            end,
            function()
               return session:run("exec cat", { stdin = function()
                  ssh.loop.sleep(1000)
               end })
            end,
            function()
               return idle:read("a")
            end,
            function()
               return idle:read_stderr("l")
            end,
            function()
               return idle:wait()
            end,
            function()
               return writing:write(data)
            end,
            function()
               return writing:expect("never")
            end,
         }
         local tasks = {}
         for i, call in ipairs(calls) do
            tasks[i] = ssh.spawn(call)
         end
         while seen == 0 do
            ssh.loop.sleep(0.001)
         end
         return tasks
      end

      local function codes_of(tasks)
         local codes = {}
         for i, task in ipairs(tasks) do
            local value, err = task:wait(60)
            assert.is_nil(value, "result of call " .. i)
            codes[i] = err and err.code or "none"
         end
         return table.concat(codes, " ")
      end

      it("is killed in mid transfer learn that the connection is lost", function()
         local pid = server_process(session)
         local tasks = waiting_tasks()
         signal("KILL", pid)
         assert.equal("eof eof eof eof eof eof eof", codes_of(tasks))
         assert.equal("eof", session.failure.code)
         local cause = session.failure
         assert.equal("eof", select(2, session:run("true")).code)
         assert.equal("eof", select(2, session:exec("true")).code)
         assert.equal("eof", select(2, session:rekey()).code)
         assert.equal("eof", select(2, session:ping()).code)
         assert.equal(cause, session.failure)
      end)

      it("disconnects learn its reason", function()
         local asyncssh <close> = server.asyncssh()
         session:close()
         session = assert(dial(asyncssh))
         local channel = assert(session:exec("cat"))
         local tasks = {
            ssh.spawn(function()
               return channel:read("a")
            end),
            ssh.spawn(function()
               return channel:wait()
            end),
            ssh.spawn(function()
               return session:run("cat", { stdin = function()
                  ssh.loop.sleep(1000)
               end })
            end),
         }
         assert.equal("disconnected", select(2, session:run("disconnect 12 no\27 more")).code)
         local failure = session.failure
         assert.same({ "disconnected", 12, "no\27 more" }, { failure.code, failure.reason, failure.text })
         assert.is_nil(failure.message:find("\27"))
         assert.is_truthy(failure.message:find("more", 1, true))
         assert.equal("disconnected disconnected disconnected", codes_of(tasks))
      end)

      it("hangs are told so by keepalive", function()
         session:close()
         local ticks <close> = waiting.ticks(0.05)
         session = assert(dial(sshd, { keepalive = { interval = 0.05, count = 2 } }))
         local pid = server_process(session)
         local tasks = waiting_tasks()
         local _ <close> = stop(pid)
         waiting.await(function()
            ticks:tick()
            return session.failure
         end, "the end of the session")
         assert.equal("timeout timeout timeout timeout timeout timeout timeout", codes_of(tasks))
         assert.equal("timeout", session.failure.code)
         assert.matches("2 keepalive probes", session.failure.message)
      end)
   end)

   describe("with keepalive", function()
      it("are left alone by a server that answers, however little it says", function()
         session:close()
         local ticks <close> = waiting.ticks(0.02)
         session = assert(dial(sshd, { keepalive = { interval = 0.02, count = 1 } }))
         local channel <close> = assert(session:exec("exec cat"))
         local reader <close> = ssh.spawn(function()
            return channel:read("l")
         end)
         ssh.loop.sleep(0)
         for _ = 1, 4 do
            -- The first interval has seen bytes; a probe goes out at the end of one in which nothing came.
            local before = session.info.packets_received
            for _ = 1, 2 do
               ticks:tick()
               ssh.loop.sleep(0)
            end
            waiting.await(function() return session.info.packets_received > before end, "the answer")
         end
         assert.is_false(reader.closed)
         reader:cancel()
         assert.is_nil(session.failure)
         assert.equal("fine\n", assert(session:run("echo fine")).stdout)
      end)

      it("learn of a hanging server though none waits for the session", function()
         session:close()
         local ticks <close> = waiting.ticks(0.02)
         session = assert(dial(sshd, { keepalive = { interval = 0.02, count = 3 } }))
         local _ <close> = stop(server_process(session))
         waiting.await(function()
            ticks:tick()
            return session.failure
         end, "the end of the session")
         assert.equal("timeout", session.failure.code)
      end)

      it("can drop the session, which is collected", function()
         local ticks <close> = waiting.ticks(0.02)
         local other = assert(dial(sshd, { keepalive = { interval = 0.02, count = 3 } }))
         local weak = setmetatable({ other }, { __mode = "v" })
         ssh.loop.sleep(0)
         ticks:tick()
         ssh.loop.sleep(0)
         other = nil -- luacheck: ignore
         collectgarbage()
         collectgarbage()
         assert.is_nil(weak[1])
         ticks:tick()
         ssh.loop.sleep(0)
      end)

      it("raise for what is no interval", function()
         for _, wrong in ipairs{ { interval = 0 }, { interval = -1 }, { count = 1 }, { interval = 1, count = 0 },
            { intervall = 1 } } do
            assert.is_false((pcall(ssh.session, { keepalive = wrong })))
         end
      end)
   end)

   it("close at once a session whose server hangs", function()
      local _ <close> = stop(server_process(session))
      local writer = ssh.spawn(function()
         return session:run("cat", { stdin = ("x"):rep(32 * MIB) })
      end)
      ssh.loop.sleep(0.01)
      session:close()
      assert.equal("closed", select(2, writer:wait(60)).code)
   end)

   it("can have a session on a socket of their own, in a coroutine that is no task", function()
      local fd = assert(socket.connect(sshd.host, sshd.port))
      local co = coroutine.wrap(function()
         local other <close> = assert(dial(sshd, { socket = fd }))
         coroutine.yield(assert(other:run("echo one")).stdout)
         coroutine.yield(assert(other:run("echo two")).stdout)
      end)
      assert.equal("one\n", co())
      assert.equal("between\n", assert(session:run("echo between")).stdout)
      assert.equal("two\n", co())
      co()
      socket.close(fd)
   end)
end)
