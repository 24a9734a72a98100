local core = require "moonssh.core"
local loop = require "moonssh.loop"
local memory = require "spec.support.memory"
local messages = require "spec.support.messages"
local ssh = require "moonssh"
local ScriptedServer = require "spec.support.scripted_server"
local waiting = require "spec.support.waiting"

local function code_of(value, err)
   return value, err and err.code
end

-- A scripted server behind one end of a pair of sockets, moved by a task; the other end is given.
local function serve(options)
   local near, far = core.socket.pair()
   local server = ScriptedServer.new(options)
   server:start()
   local pending = ""
   local task = ssh.spawn(function()
      while true do
         pending = pending .. server:output(1 << 20)
         if pending ~= "" then
            local n = core.socket.send(far, pending)
            pending = pending:sub((n or 0) + 1)
         end
         loop.current().wait(far, pending ~= "" and "rw" or "r")
         local bytes = core.socket.recv(far, 65536)
         if bytes == "" then
            return
         elseif bytes then
            server:feed(bytes)
         end
      end
   end)
   return near, server, function()
      task:cancel()
      loop.current().cancel(far)
      core.socket.close(far)
   end
end

describe("a session over a descriptor", function()
   local fd, server, stop, session

   before_each(function()
      fd, server, stop = serve()
      session = ssh.session{ timeout = 60 }
   end)

   after_each(function()
      session:close()
      loop.current().cancel(fd)
      core.socket.close(fd)
      stop()
   end)

   local function log_in(socket)
      assert.is_true(session:handshake(socket or fd))
      assert.is_true(session:accept_host_key())
      assert.is_true(session:auth_password("moon", "secret"))
   end

   -- Waits until the server has received so many messages of a kind.
   local function await(kind, count)
      while #server:received(kind) < count do
         loop.sleep(0.001)
      end
   end

   it("works, and leaves the descriptor to whoever gave it", function()
      log_in()
      assert.equal(fd, session:fd())
      assert.equal("hello", session:run("echo hello").stdout)
      session:close()
      assert.equal(1, core.socket.send(fd, "x"))
   end)

   it("takes an object with getfd()", function()
      log_in{ getfd = function() return fd end }
      assert.equal(fd, session:fd())
      assert.equal("hello", session:run("echo hello").stdout)
   end)

   it("asks for the host key, and sends nothing of a login before it is accepted", function()
      assert.is_true(session:handshake(fd))
      assert.equal("ssh-ed25519", session:host_key().type)
      assert.is_truthy(session:host_key():fingerprint():find("^SHA256:"))
      local calls = {
         function() return session:auth_none("moon") end,
         function() return session:auth_password("moon", "secret") end,
         function() return session:auth_publickey("moon", "/nowhere") end,
         function() return session:auth_interactive("moon", print) end,
         function() return session:authenticate{ user = "moon", password = "secret" } end,
      }
      for _, call in ipairs(calls) do
         assert.same({ nil, "host_key_unknown" }, { code_of(call()) })
      end
      assert.same({ nil, "auth_failed" }, { code_of(session:run("echo hello")) })
      assert.is_true(session:accept_host_key())
      assert.is_true(session:accept_host_key())
      assert.is_true(session:ignore("the first message"))
      waiting.await(function() return server.log[1] end, "what the client sent")
      assert.equal("ignore", server.log[1].kind)
   end)

   it("judges the host key by a policy in the handshake", function()
      assert.is_true(session:handshake(fd, { host = "example", host_keys = "off" }))
      assert.is_true(session:auth_password("moon", "secret"))
   end)

   it("that a policy refuses ends with that error", function()
      local ok, err = session:handshake(fd, { host = "example", host_keys = "SHA256:" .. ("A"):rep(43) })
      assert.is_nil(ok)
      assert.equal("host_key_rejected", err.code)
      assert.equal(err, session.failure)
      assert.equal(err, select(2, session:auth_password("moon", "secret")))
      await("disconnect", 1)
      assert.equal(9, server:received("disconnect")[1].reason)
   end)

   it("that says nothing ends in the timeout, with the stage named", function()
      local a, b = core.socket.pair()
      local ok, err = session:handshake(a, { timeout = 0.02 })
      assert.is_nil(ok)
      assert.equal("timeout", err.code)
      assert.equal("identification", err.stage)
      assert.same({ nil, "host_key_unknown" }, { code_of(session:accept_host_key(0.02)) })
      session:close()
      session = ssh.session()
      core.socket.send(b, "SSH-2.0-mute\r\n")
      ok, err = session:handshake(a, { timeout = 0.02 })
      assert.is_nil(ok)
      assert.equal("kex", err.stage)
      session:close()
      for _, one in ipairs{ a, b } do
         loop.current().cancel(one)
         core.socket.close(one)
      end
   end)

   it("that its send handler ends in one task is ended for all who wait", function()
      local broken = false
      session.timeout = nil
      session:callback_set("send", function(...)
         return broken and error("broken") or ssh.socket_send(...)
      end)
      log_in()
      local tasks = {}
      for i = 1, 2 do
         local channel = assert(session:exec("cat"))
         tasks[i] = ssh.spawn(function()
            return channel:read()
         end)
      end
      local channel = assert(session:exec("cat"))
      waiting.await(function() return session._waits_for end, "a task that leads")
      broken = true
      assert.is_false(pcall(channel.write, channel, "x"))
      waiting.await(function() return tasks[1].closed and tasks[2].closed end, "the end of the tasks")
      for _, task in ipairs(tasks) do
         assert.same({ nil, "callback" }, { code_of(task:wait()) })
      end
   end)

   it("that is lost fails with eof, and stays so", function()
      log_in()
      stop()
      stop = function() end
      local ok, err = session:run("echo hello")
      assert.is_nil(ok)
      assert.equal("eof", err.code)
      assert.equal(session.failure, select(2, session:ping()))
      assert.is_false(session:step())
   end)

   it("moves a mebibyte each way at once through small socket buffers", function()
      log_in()
      local data = ("0123456789abcdef"):rep(65536)
      assert.equal(data, session:run("cat", { stdin = data }).stdout)
   end)

   it("lets several tasks use it, whoever leads", function()
      log_in()
      local tasks = {}
      for i = 1, 10 do
         tasks[i] = ssh.spawn(function()
            for j = 1, 5 do
               local text = i .. "/" .. j
               assert(session:run("echo " .. text).stdout == text)
               assert(session:ping())
            end
            return true
         end)
      end
      tasks[1]:cancel()
      tasks[2]:cancel()
      for i = 3, 10 do
         assert.is_true(tasks[i]:wait(60))
      end
   end)

   it("goes on where code that cannot yield waits above the task that leads", function()
      log_in()
      local outer
      server.exec = function(channel, line)
         if line == "outer" then
            outer = channel
            return
         end
         channel:write(line):finish(0)
         if line == "after" then
            outer:finish(0)
         end
      end
      -- The main program leads below; the task runs the loop from within gsub, and must lead in its stead.
      local inner
      local task = ssh.spawn(function()
         inner = ("x"):gsub("x", function() return session:run("inner").stdout end)
         return session:run("after").stdout
      end)
      assert.equal(0, assert(session:run("outer")).status)
      assert.equal("inner", inner)
      assert.equal("after", task:wait(60))
   end)

   it("hands the lead on when the leading task is cancelled", function()
      log_in()
      server.exec = function() end
      local leader = ssh.spawn(function() return session:run("endless") end)
      await("channel_request", 1)
      server.exec = function(channel) channel:write("done"):finish(0) end
      local follower = ssh.spawn(function() return session:run("x").stdout end)
      loop.sleep(0)
      leader:cancel()
      assert.equal("done", follower:wait(60))
   end)

   it("can be closed by another task during a call", function()
      log_in()
      server.exec = function() end
      local tasks = {}
      for i = 1, 3 do
         tasks[i] = ssh.spawn(function() return session:run("endless") end)
      end
      await("channel_request", 3)
      session:close()
      for i = 1, 3 do
         assert.same({ nil, "closed" }, { code_of(tasks[i]:wait(60)) })
      end
      assert.is_nil(session.failure)
      assert.is_true(session.closed)
   end)

   it("is moved by steps in a loop of one's own", function()
      log_in()
      local output
      ssh.spawn(function()
         output = session:run("echo stepped").stdout
      end)
      local poller = core.poller()
      loop.current().turn()
      while not output do
         poller:set(session:fd(), session:events())
         poller:wait(0.01)
         assert.is_true(session:step())
      end
      assert.equal("stepped", output)
      poller:close()
   end)

   it("is pollable as cqueues wants it", function()
      log_in()
      local pollable = session:pollable()
      assert.equal(fd, pollable:pollfd())
      assert.equal("r", pollable:events())
      assert.is_true(pollable:timeout() > 0)
      assert.is_true(session:deadline() > loop.now())
   end)

   it("is collected when it is dropped", function()
      local weak = setmetatable({}, { __mode = "k" })
      log_in()
      weak[session] = true
      local channel = assert(session:exec("cat"))
      weak[channel] = true
      assert.equal(channel, channel:write("x"))
      assert.equal("x", channel:read())
      channel, session = nil, nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
      assert.is_nil(next(weak))
      session = ssh.session()
   end)
end)

describe("a session with keepalive", function()
   local function connect(server)
      return memory.connect{ server = server, session = { keepalive = { interval = 0.002, count = 2 } } }
   end

   it("fails when so many probes are not answered, for whoever waits", function()
      local link = connect{ on = { global_request = function() return true end }, exec = function() end }
      local result, err = link.session:run("endless")
      assert.is_nil(result)
      assert.equal("timeout", err.code)
      assert.equal("the server has answered none of 2 keepalive probes", link.session.failure.message)
      assert.equal(2, #link.server:received("global_request"))
      link.session:close()
   end)

   it("also when nobody waits for it, while the loop runs", function()
      local link = connect{ on = { global_request = function() return true end } }
      repeat
         loop.sleep(0.002)
      until link.session.failure
      assert.equal("timeout", link.session.failure.code)
      link.session:close()
   end)

   it("goes on as long as they are answered", function()
      local link = connect()
      repeat
         loop.sleep(0.002)
      until #link.server:received("global_request") > 10
      assert.is_nil(link.session.failure)
      assert.equal("hello", link.session:run("echo hello").stdout)
      link.session:close()
   end)

   it("keeps neither the loop running nor the session alive", function()
      local weak = setmetatable({}, { __mode = "k" })
      do
         local link = connect()
         weak[link.session] = true
         loop.run(function()
            loop.sleep(0.005)
         end)
      end
      collectgarbage()
      collectgarbage()
      assert.is_nil(next(weak))
   end)
end)

describe("a session", function()
   local link, session

   before_each(function()
      link = memory.connect()
      session = link.session
   end)

   after_each(function()
      session:close()
   end)

   it("knows itself and its server", function()
      local info = session.info
      assert.is_truthy(info.client:find("^SSH%-2%.0%-moonssh"))
      assert.is_truthy(info.server:find("^SSH%-2%.0%-"))
      assert.equal("moon", info.user)
      assert.equal("password", info.auth)
      assert.is_true(info.strict)
      assert.equal(info.cipher.send, info.cipher.recv)
      assert.equal(32, #info.session_id)
      assert.equal(0, info.rekeys)
      assert.equal(0, info.callbacks_dropped)
      assert.is_true(info.bytes_sent > 0 and info.bytes_received > 0)
      assert.is_true(info.packets_sent > 0 and info.packets_received > 0)
      session:close()
      assert.equal("moon", session.info.user)
   end)

   it("measures a round trip", function()
      assert.is_true(session:ping() >= 0)
      local request = link.server:received("global_request")[1]
      assert.equal("keepalive@openssh.com", request.name)
      assert.is_true(request.want)
   end)

   it("matches answers to pings in their order, after one that timed out too", function()
      local held = {}
      link.server.on.global_request = function()
         table.insert(held, messages.request_failure())
         return true
      end
      assert.same({ nil, "timeout" }, { code_of(session:ping(0.01)) })
      local task = ssh.spawn(function() return session:ping() end)
      while #held < 2 do
         loop.sleep(0.001)
      end
      link:send(held[1]):settle()
      loop.sleep(0)
      assert.is_false(task.closed)
      link:send(held[2]):settle()
      assert.is_true(task:wait(60) >= 0)
   end)

   it("exchanges keys anew", function()
      assert.is_true(session:rekey())
      assert.is_true(session:rekey())
      assert.equal(2, session.info.rekeys)
      assert.equal("hello", session:run("echo hello").stdout)
   end)

   it("sends IGNORE and DEBUG", function()
      assert.is_true(session:ignore("padding\0"))
      assert.is_true(session:ignore())
      assert.is_true(session:debug("note", true, "en"))
      assert.is_true(session:debug("quiet"))
      link:settle()
      local ignored, debugged = link.server:received("ignore"), link.server:received("debug")
      assert.equal("padding\0", ignored[1].data)
      assert.equal(2, #ignored)
      assert.equal("note", debugged[1].data)
      assert.equal(2, #debugged)
      assert.error_matches(function() session:ignore(1) end, "bad argument #1 to 'ignore'")
      assert.error_matches(function() session:debug() end, "bad argument #1 to 'debug'")
   end)

   it("disconnects with a reason, and is at its end", function()
      assert.is_true(session:disconnect(2, "enough"))
      assert.equal(2, link.server:received("disconnect")[1].reason)
      assert.equal("closed", session.failure.code)
      assert.same({ nil, session.failure }, { session:run("x") })
      assert.same({ nil, session.failure }, { session:disconnect() })
   end)

   it("says goodbye when it is closed", function()
      session:close()
      assert.equal(11, link.server:received("disconnect")[1].reason)
   end)

   it("keeps the banner", function()
      local other = memory.connect{ server = { banner = "welcome\n" } }
      assert.equal("welcome\n", other.session.banner)
      assert.is_nil(session.banner)
      other.session:close()
   end)

   it("shows its packets to a tracer", function()
      local seen = {}
      session:trace(function(packet)
         table.insert(seen, packet)
      end)
      assert.is_true(session:ping() >= 0)
      assert.equal("send", seen[1].direction)
      assert.equal(80, seen[1].type)
      assert.equal("GLOBAL_REQUEST", seen[1].name)
      assert.equal(1 + 4 + #"keepalive@openssh.com" + 1, seen[1].length)
      assert.is_number(seen[1].time)
      assert.equal("recv", seen[2].direction)
      assert.equal(82, seen[2].type)
      session:trace(nil)
      assert.is_true(session:ping() >= 0)
      assert.equal(2, #seen)
   end)

   it("raises what a tracer throws, and goes on", function()
      session:trace(function()
         load("error('oops', 0)")()
      end)
      local ok, err = pcall(session.ping, session)
      assert.is_false(ok)
      assert.equal("callback", err.code)
      assert.equal("oops", err.cause)
      session:trace(nil)
      assert.is_true(session:ping() >= 0)
   end)

   it("uses its own timeout where a call names none", function()
      link.server.on.global_request = function() return true end
      session.timeout = 0.01
      assert.same({ nil, "timeout" }, { code_of(session:ping()) })
      session.timeout = nil
      assert.same({ nil, "timeout" }, { code_of(session:ping(0.01)) })
   end)

   it("fails for all with one cause when the peer breaks the protocol", function()
      link.server.exec = function() end
      local task = ssh.spawn(function() return session:run("endless") end)
      while #link.server:received("channel_request") < 1 do
         loop.sleep(0.001)
      end
      link:send(messages.channel_data(77, "x"))
      local _, err = task:wait(60)
      assert.equal("protocol", err.code)
      assert.equal(session.failure.message, err.message)
      assert.equal(session.failure, select(2, session:ping()))
      assert.equal(session.failure, select(2, session:rekey()))
      assert.equal(session.failure, select(2, session:ignore("x")))
      assert.equal(2, link.server:received("disconnect")[1].reason)
   end)

   it("takes no notice of requests nobody knows", function()
      link.server.exec = function(channel)
         link:send(messages.global_request("hostkeys-00@openssh.com", false, "junk"))
         channel:send(messages.channel_request(channel.peer, "surprise", true, "x")):write("ok"):finish(0)
      end
      assert.equal("ok", session:run("x").stdout)
      link:settle()
      assert.equal(1, #link.server:received("channel_failure"))
   end)

   it("says which algorithms it does not know", function()
      assert.error_matches(function() ssh.session{ algorithms = { cipher = { "rot13" } } } end, "rot13")
   end)
end)
