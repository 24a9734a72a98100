-- Connections made by the server (dial), and a session carried by one of them.

local memory = require "spec.support.memory"
local ScriptedServer = require "spec.support.scripted_server"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"

describe("dialling", function()
   local link, opened

   local function connect(opens)
      link = memory.connect{ server = { opens = opens } }
      return link.session
   end

   after_each(function()
      link.session:close()
   end)

   it("asks for the host and port, and gives a channel both ways", function()
      local session = connect{ ["direct-tcpip"] = function(channel, data)
         opened = { string.unpack(">s4I4s4I4", data) }
         channel.on_data = channel.write
         channel.on_eof = function()
            channel:eof()
         end
      end }
      local channel = assert(session:dial("db.internal", 5432))
      assert.same({ "db.internal", 5432, "127.0.0.1", 0 }, { table.unpack(opened, 1, 4) })
      assert(channel:write("select 1"))
      assert.equal("select 1", channel:read(8))
      assert(channel:eof())
      assert.is_nil(channel:read())
   end)

   it("asks for a Unix socket", function()
      local session = connect{ ["direct-streamlocal@openssh.com"] = function(channel, data)
         opened = { string.unpack(">s4s4I4", data) }
         channel:write("hello")
      end }
      assert.equal("hello", assert(session:dial_unix("/run/x.sock")):read(5))
      assert.same({ "/run/x.sock", "", 0 }, { table.unpack(opened, 1, 3) })
   end)

   it("tells why the server refuses", function()
      local session = connect{ ["direct-tcpip"] = false }
      local channel, err = session:dial("nowhere", 1)
      assert.is_nil(channel)
      assert.equal("channel_open", err.code)
      assert.equal(1, err.reason)
      channel, err = session:dial_unix("/x")
      assert.is_nil(channel)
      assert.equal(3, err.reason)
      assert.equal("hi", session:run("echo hi").stdout)
   end)

   it("says that a name is too long for a packet", function()
      local session = connect{}
      for _, open in ipairs{ { "dial", 22 }, { "dial_unix" } } do
         local channel, err = session[open[1]](session, ("x"):rep(65537), open[2])
         assert.is_nil(channel)
         assert.same({ "limit", "where to open the channel to is longer than 65536 bytes" }, { err.code, err.message })
      end
      assert(session:ping())
   end)

   it("times out, and leaves no channel", function()
      link = memory.connect{ server = { on = { channel_open = function()
         return true
      end } }, session = { loop = waiting.clock() } }
      local channel, err = link.session:dial("slow", 1, { timeout = 1 })
      assert.is_nil(channel)
      assert.same({ "timeout", "open" }, { err.code, err.stage })
      assert.is_nil(next(link.session._channels))
   end)

   it("raises for what is no host, port or path", function()
      local session = connect()
      assert.has_error(function() session:dial("", 1) end,
         "bad argument #1 to 'dial' (a host cannot be empty or hold a NUL)")
      assert.has_error(function() session:dial("a\0b", 1) end,
         "bad argument #1 to 'dial' (a host cannot be empty or hold a NUL)")
      assert.has_error(function() session:dial("a", 0) end,
         "bad argument #2 to 'dial' (a number from 1 to 65535 expected)")
      assert.has_error(function() session:dial("a", 65536) end,
         "bad argument #2 to 'dial' (a number from 1 to 65535 expected)")
      assert.has_error(function() session:dial("a", "22") end,
         "bad argument #2 to 'dial' (integer expected, got string)")
      assert.has_error(function() session:dial_unix("a\0") end,
         "bad argument #1 to 'dial_unix' (a path cannot be empty or hold a NUL)")
      assert.has_error(function() session:dial("a", 1, { wait = 1 }) end,
         "bad argument #3 to 'dial' (unknown option 'wait')")
   end)
end)

describe("a session over a channel", function()
   local link, inner, far, channel, session

   -- The far server sits behind the channel: what the channel gets is fed to it, and its output written back.
   before_each(function()
      far = ScriptedServer.new()
      link = memory.connect{ server = { opens = { ["direct-tcpip"] = function(end_of_server)
         inner = end_of_server
         local function answer()
            end_of_server:write(far:output(1 << 20))
         end
         end_of_server.on_data = function(_, data)
            far:feed(data)
            answer()
         end
         far:start()
         answer()
      end } } }
      channel = assert(link.session:dial("far", 22))
      session = ssh.session{ timeout = 60 }
   end)

   after_each(function()
      session:close()
      link.session:close()
   end)

   local function log_in()
      assert(session:handshake(channel))
      assert(session:accept_host_key())
      assert(session:auth_password("moon", "secret"))
   end

   it("works as one over a socket", function()
      log_in()
      assert.equal("hello", session:run("echo hello").stdout)
      assert.equal("moon", far.user)
      assert.is_nil(session.failure)
   end)

   it("moves more than the windows of both hold, both ways", function()
      log_in()
      local data = ("0123456789abcdef"):rep(400000)
      assert.is_true(session:run("cat", { stdin = data }).stdout == data)
   end)

   it("lets both be used at once, by tasks", function()
      log_in()
      local results = {}
      ssh.loop.run(function()
         local tasks = {}
         for i = 1, 20 do
            local one = i % 2 == 0 and session or link.session
            tasks[i] = ssh.spawn(function()
               results[i] = one:run("echo " .. i).stdout
            end)
         end
         for _, task in ipairs(tasks) do
            task:wait()
         end
      end)
      for i = 1, 20 do
         assert.equal(tostring(i), results[i])
      end
   end)

   it("times out by itself, with the session below going on", function()
      far.on.channel_open = function()
         return true
      end
      log_in()
      local result, err = session:run("echo x", { timeout = 0.05 })
      assert.is_nil(result)
      assert.equal("timeout", err.code)
      assert.equal("below", link.session:run("echo below").stdout)
   end)

   it("ends with the channel", function()
      log_in()
      inner:close()
      local result, err = session:run("echo x")
      assert.is_nil(result)
      assert.equal("eof", err.code)
      assert.equal("below", link.session:run("echo below").stdout)
   end)

   it("ends with the session below", function()
      log_in()
      far.on.channel_open = function()
         return true
      end
      local task = ssh.spawn(function()
         return select(2, session:run("echo x"))
      end)
      waiting.await(function()
         return #far:received("channel_open") > 0
      end)
      link.session:close()
      assert.equal("eof", task:wait().code)
      assert.equal("eof", session.failure.code)
   end)

   it("ends when the channel is closed here", function()
      log_in()
      channel:close()
      local result, err = session:run("echo x")
      assert.is_nil(result)
      assert.equal("eof", err.code)
   end)

   it("leaves the channel open when it is closed, as any socket of the caller's", function()
      log_in()
      session:close()
      link:settle()
      assert.is_false(channel.closed)
      assert.equal(11, far:received("disconnect")[1].reason)
   end)

   it("closes a channel that it was given for good", function()
      session:_own_socket()
      log_in()
      session:close()
      link:settle()
      assert.is_true(channel.closed)
      assert.equal(11, far:received("disconnect")[1].reason)
   end)

   it("keeps others from reading the channel", function()
      log_in()
      local data, err = channel:read(1)
      assert.is_nil(data)
      assert.equal("busy", err.code)
   end)

   it("is moved by steps alone", function()
      log_in()
      local task = ssh.spawn(function()
         return session:run("echo stepped").stdout
      end)
      assert.equal("stepped", task:wait())
      local seen
      session:callback_set("debug", function(_, _, message)
         seen = message
      end)
      far:send(require "spec.support.messages".debug(true, "news", ""))
      inner:write(far:output(1 << 20))
      waiting.await(function()
         session:step()
         return seen
      end)
      assert.equal("news", seen)
   end)

   it("needs a channel that is open, of a session of the same loop", function()
      local other = ssh.session{ loop = waiting.clock() }
      assert.has_error(function() other:handshake(channel) end,
         "bad argument #1 to 'handshake' (the channel's session uses another loop)")
      channel:close()
      assert.has_error(function() session:handshake(channel) end,
         "bad argument #1 to 'handshake' (the channel is closed)")
   end)

   it("waits without asking again and again", function()
      log_in()
      local calls = link.calls.recv
      far.on.channel_open = function()
         return true
      end
      local task = ssh.spawn(function()
         return session:run("echo x", { timeout = 0.2 })
      end)
      task:wait()
      -- The callbacks of the session below are asked each 10 ms, the one above adds nothing to that.
      assert.is_true(link.calls.recv - calls < 200)
   end)

   it("is collected with its channel", function()
      log_in()
      local weak = setmetatable({ session, channel }, { __mode = "v" })
      session, channel = ssh.session(), nil
      collectgarbage()
      collectgarbage()
      assert.is_nil(weak[1])
      assert.is_nil(weak[2])
      assert.equal("below", link.session:run("echo below").stdout)
   end)

   it("carries a third one", function()
      local third = ScriptedServer.new()
      far.opens = { ["direct-tcpip"] = function(end_of_server)
         local function answer()
            end_of_server:write(third:output(1 << 20))
            inner:write(far:output(1 << 20))
         end
         end_of_server.on_data = function(_, data)
            third:feed(data)
            answer()
         end
         third:start()
         answer()
      end }
      log_in()
      local last <close> = ssh.session{ timeout = 60 }
      assert(last:handshake(assert(session:dial("further", 22))))
      assert(last:accept_host_key())
      assert(last:auth_password("moon", "secret"))
      assert.equal("deep", last:run("echo deep").stdout)
      assert.equal(link.session:fd(), last:fd())
   end)
end)
