-- API.md's "Session" and "Channel", as a script meets them: arguments, results, ends.

local core = require "moonssh.core"
local dial = require "spec.support.dial"
local light = require "spec.support.light"
local memory = require "spec.support.memory"
local process = require "spec.support.process"
local server = require "spec.support.server"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"

-- What a call raises, without the place in front.
local function complaint(f, ...)
   local ok, message = pcall(f, ...)
   assert.is_false(ok)
   return (tostring(message):gsub("^[^:]*:%d+: ", ""))
end

describe("a session's", function()
   local sshd, session

   setup(function()
      sshd = server.sshd()
   end)

   teardown(function()
      sshd:stop()
   end)

   before_each(function()
      session = assert(dial(sshd, { session_timeout = 60 }))
   end)

   after_each(function()
      session:close()
   end)

   it("run says that a command is too long for a request, and goes on", function()
      local result, err = session:run("true " .. ("x"):rep(70000))
      assert.is_nil(result)
      assert.equal("limit", err.code)
      assert.equal("the request 'exec' is longer than 65536 bytes", err.message)
      result, err = session:run("true", { env = { LC_LONG = ("x"):rep(70000) } })
      assert.is_nil(result)
      assert.equal("the request 'env' is longer than 65536 bytes", err.message)
      local text = ("x"):rep(60000)
      assert.equal(text, assert(session:run("printf " .. text)).stdout)
   end)

   it("run says so without waiting for what it has not asked for", function()
      -- In a process of its own, where nothing else moves the session, and no time ends the wait.
      local result = process.run{ timeout = 60, process.lua, "-e", ([[
         local dial = require "spec.support.dial"
         local session = assert(dial{ host = %q, port = %d, user = %q, key_path = %q, known_hosts_path = %q })
         print(select(2, session:run("true " .. ("x"):rep(70000))).code, session:run("true").status)
      ]]):format(sshd.host, sshd.port, sshd.user, sshd.key_path, sshd.known_hosts_path) }
      assert.equal("limit\t0\n", result.stdout)
   end)

   it("calls refuse a NUL where the server has a C string, for sshd would end the connection", function()
      for _, name in ipairs{ "run", "exec" } do
         assert.equal(("bad argument #1 to '%s' (a command line cannot hold a NUL)"):format(name),
            complaint(session[name], session, "a\0b"))
      end
      assert.equal("bad argument #2 to 'run' (no environment variable: 'A')",
         complaint(session.run, session, "true", { env = { A = "b\0" } }))
      assert.equal("bad argument #2 to 'run' (a terminal's name cannot hold a NUL)",
         complaint(session.run, session, "true", { pty = { term = "x\0" } }))
      assert.equal("bad argument #1 to 'subsystem' (a name cannot hold a NUL)",
         complaint(session.subsystem, session, "sftp\0"))
      assert.equal("ok\n", assert(session:run("echo ok")).stdout)
   end)

   it("timeout field is checked when it is used", function()
      session.timeout = "soon"
      assert.equal("bad field 'timeout' of the session (number expected, got string)",
         complaint(session.ping, session))
      session.timeout = 0 / 0
      assert.equal("bad field 'timeout' of the session (number expected, got not a number)",
         complaint(session.run, session, "true"))
      session.timeout = nil
      assert.is_true(assert(session:run("true")).ok)
   end)

   it("numbers may be floats with an integer value, as everywhere in Lua", function()
      local result = assert(session:run("stty size", { pty = { columns = 160 / 2, rows = 25.0 }, max_output = 1e6 }))
      assert.is_truthy(result.stdout:find("25 80", 1, true))
      local channel <close> = assert(session:exec("printf abc"))
      assert.equal("ab", channel:read(2.0))
      assert.equal("bad argument #1 to 'read' (invalid format)", complaint(channel.read, channel, 1.5))
      assert.equal("bad argument #1 to 'resize' (columns: an integer from 0 to 2^32-1 expected, got 1.5)",
         complaint(channel.resize, channel, 1.5, 2))
   end)

   it("login calls raise once it is logged in", function()
      assert.equal("'auth_none' on a session that is logged in", complaint(session.auth_none, session, "moon"))
      assert.equal("'authenticate' on a session that is logged in",
         complaint(session.authenticate, session, { user = "moon", password = "x" }))
      assert.is_nil(session.failure)
   end)

   it("messages give one result", function()
      assert.same({ n = 1, true }, table.pack(session:ignore("x")))
      assert.same({ n = 1, true }, table.pack(session:debug("x\0y", true, "en")))
   end)

   it("channel gives code closed for what the server has ended", function()
      local channel <close> = assert(session:exec("exit 3"))
      assert.equal(3, channel:wait())
      -- That the command has ended does not say that the channel has.
      while channel:signal("TERM") do
         assert(session:ping())
      end
      assert.is_nil(channel:read())
      for _, call in ipairs{ { "write", "x" }, { "signal", "TERM" }, { "resize", 80, 24 }, { "break_", 100 },
         { "exec", "true" }, { "setenv", "LC_X", "y" } } do
         local result, err = channel[call[1]](channel, table.unpack(call, 2))
         assert.is_nil(result)
         assert.equal("closed", err.code)
      end
      assert.is_false(channel.closed)
      assert.is_nil(session.failure)
   end)
end)

describe("options of a session", function()
   it("are held to their ranges, and named", function()
      assert.equal("bad argument #1 to 'session' (option 'limits.window': a number from 1 to 4294967295 expected)",
         complaint(ssh.session, { limits = { window = 1 << 32 } }))
      assert.equal("bad argument #1 to 'session' (option 'limits.packet': a number from 1 to 268435456 expected)",
         complaint(ssh.session, { limits = { packet = math.maxinteger } }))
      assert.equal("bad argument #1 to 'session' (option 'limits.queue': a number from 1 to 1099511627776 expected)",
         complaint(ssh.session, { limits = { queue = math.maxinteger } }))
      assert.equal("bad argument #1 to 'session' (option 'rekey.seconds': a number from 0 to 1000000000 expected)",
         complaint(ssh.session, { rekey = { seconds = math.huge } }))
      assert.equal("bad argument #1 to 'session' (option 'rekey.bytes': not positive)",
         complaint(ssh.session, { rekey = { bytes = -1 } }))
      ssh.session{ limits = { window = 1e6, packet = 1, channels = 1, queue = 1 }, rekey = { bytes = 1e9 } }:close()
   end)

   it("take no socket that is none", function()
      local session <close> = ssh.session()
      for _, socket in ipairs{ -1, 1.5, "0", 1 << 31, { getfd = 5 }, { getfd = function() return "0" end } } do
         assert.equal("bad argument #1 to 'handshake' (no descriptor, and no object with getfd())",
            complaint(session.handshake, session, socket))
      end
   end)
end)

describe("a tracer", function()
   it("sees each packet with its fields, and may end its own work", function()
      local link = memory.connect()
      local seen = {}
      link.session:trace(function(packet)
         table.insert(seen, packet)
         if #seen == 3 then
            link.session:trace(nil)
         end
      end)
      assert.equal("hello", assert(link.session:run("echo hello")).stdout)
      assert.equal(3, #seen)
      for _, packet in ipairs(seen) do
         assert.is_true(packet.time <= ssh.loop.now() and packet.length > 0)
      end
      assert.same({ "send", 90, "CHANNEL_OPEN" }, { seen[1].direction, seen[1].type, seen[1].name })
      assert.same({ "recv", 91, "CHANNEL_OPEN_CONFIRMATION" }, { seen[2].direction, seen[2].type, seen[2].name })
   end)
end)

describe("a timeout", function()
   -- A server that leaves one kind of message without an answer.
   local function deaf_to(kind)
      return { on = { [kind] = function() return true end } }
   end

   it("names the stage that the call was in", function()
      local cases = {
         { "channel_open", "open", function(session) return session:run("true", { timeout = 0.02 }) end },
         { "channel_request", "request", function(session) return session:exec("true", { timeout = 0.02 }) end },
         { "global_request", "request", function(session) return session:ping(0.02) end },
         { "channel_data", "read", function(session) return assert(session:exec("cat")):read("l", 0.02) end },
      }
      for _, case in ipairs(cases) do
         local link = memory.connect{ server = deaf_to(case[1]), session = { loop = waiting.clock() } }
         local result, err = case[3](link.session)
         assert.is_nil(result)
         assert.same({ "timeout", case[2] }, { err.code, err.stage })
         assert.is_nil(link.session.failure)
         link.session:close()
      end
      local link = memory.connect{ login = false, server = deaf_to("userauth_request"),
         session = { loop = waiting.clock() } }
      local _, err = link.session:auth_password("moon", "secret", 0.02)
      assert.same({ "timeout", "auth" }, { err.code, err.stage })
      local said = false
      local session <close> = ssh.session{ loop = waiting.clock(), callbacks = {
         send = function(_, _, length) return length end,
         recv = function()
            local bytes = said and -ssh.EAGAIN or "SSH-2.0-silent\r\n"
            said = true
            return bytes
         end,
      } }
      _, err = session:handshake(nil, { timeout = 0.02 })
      assert.same({ "timeout", "kex" }, { err.code, err.stage })
   end)

   it("may be any number but NaN", function()
      local link = memory.connect()
      for _, seconds in ipairs{ math.huge, 1e300, math.maxinteger } do
         assert.is_true(assert(link.session:run("exit 0", { timeout = seconds })).ok)
         assert.is_true(link.session:ping(seconds) >= 0)
         assert.equal(7, ssh.spawn(function() return 7 end):wait(seconds))
      end
      local deaf = memory.connect{ server = deaf_to("channel_open") }
      for _, seconds in ipairs{ 0, -1, -math.huge } do
         assert.equal("timeout", select(2, deaf.session:run("exit 0", { timeout = seconds })).code)
      end
      assert.equal("bad argument #1 to 'ping' (number expected, got not a number)",
         complaint(link.session.ping, link.session, 0 / 0))
   end)
end)

describe("a loop of one's own", function()
   it("drives a session by fd, events, deadline and step, which never waits", function()
      local sshd <close> = server.sshd()
      local session <close> = assert(dial(sshd))
      local channel <close> = assert(session:exec("echo one; sleep 0.05; echo two"))
      local poller <close> = core.poller()
      poller:set(session:fd(), session:events())
      local pollable = session:pollable()
      local text = ""
      while not text:find("two") do
         assert.same({ session:fd(), session:events() }, { pollable:pollfd(), pollable:events() })
         assert(poller:wait(10))
         assert.is_true(session:step())
         text = text .. (channel:read(nil, 0) or "")
      end
      assert.equal("one\ntwo\n", text)
      sshd:stop()
      repeat
         assert(poller:wait(10))
      until not session:step()
      assert.equal("eof", session.failure.code)
      assert.is_false(session:step())
   end)

   it("moves tasks by step, which does not wait for what they wait for", function()
      local host <close> = light.start()
      local session <close> = assert(host:connect())
      local channel <close> = assert(session:exec("cat"))
      local log = {}
      local task = ssh.spawn(function()
         table.insert(log, "begun")
         for line in channel:lines() do
            table.insert(log, line)
         end
      end)
      session.timeout = 60
      assert.is_true(session:deadline() <= ssh.loop.now())
      assert.is_true(session:step())
      assert.same({ "begun" }, log)
      assert.is_true(session:deadline() > ssh.loop.now() and session:deadline() <= ssh.loop.now() + 60)
      channel:write("hello\n")
      local poller <close> = core.poller()
      while not log[2] do
         poller:set(session:fd(), session:events())
         assert(poller:wait(60))
         assert.is_true(session:step())
      end
      assert.same({ "begun", "hello" }, log)
      task:cancel()
      assert(session:run("echo on"))
   end)

   it("has tasks and keepalives that are due counted in by deadline", function()
      local host <close> = light.start()
      local session <close> = assert(host:connect{ keepalive = { interval = 1000 } })
      session:step()
      assert.is_true(session:deadline() <= ssh.loop.now() + 1000)
      local before = ssh.loop.now()
      local task = ssh.spawn(ssh.loop.sleep, 500)
      session:step()
      assert.is_true(session:deadline() >= before + 500 and session:deadline() <= ssh.loop.now() + 500)
      assert.is_true(session:pollable():timeout() <= 500)
      task:cancel()
   end)
end)
