-- API.md's "Session" and "Channel", as a script meets them: arguments, results, ends.

local dial = require "spec.support.dial"
local server = require "spec.support.server"
local ssh = require "moonssh"

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
      session = assert(dial(sshd, { session_timeout = 20 }))
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
