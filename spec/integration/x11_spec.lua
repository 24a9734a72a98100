-- X clients that run behind OpenSSH's sshd, on a display of ours.

local core = require "moonssh.core"
local dial = require "spec.support.dial"
local process = require "spec.support.process"
local server = require "spec.support.server"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"
local xserver = require "spec.support.xserver"

describe("X11 forwarded to sshd", function()
   local sshd, display
   local missing = xserver.missing()

   setup(function()
      if not missing then
         sshd = server.sshd{ config = "LogLevel INFO\nX11Forwarding yes\nX11DisplayOffset 40" }
         display = xserver.start()
      end
   end)

   teardown(function()
      if not missing then
         sshd:stop()
         display:stop()
      end
   end)

   local function test(name, f)
      it(name, function()
         if missing then
            return pending(missing)
         end
         f()
      end)
   end

   local function connect(options)
      local given = { display = display.name, xauthority = display.xauthority, session_timeout = 60 }
      for key, value in pairs(options or {}) do
         given[key] = value
      end
      return assert(dial(sshd, given))
   end

   -- What a client says of the display, without what depends on the way to it.
   local function screen(text)
      return (text:gsub("name of display:[^\n]*\n", ""):gsub("[^\n]*focus[^\n]*\n", ""))
   end

   test("shows the display to xdpyinfo, as it is seen here", function()
      local session <close> = connect()
      local result = assert(session:run("xdpyinfo", { forward_x11 = true }))
      assert.matches("name of display:    localhost:%d+%.0\n", result.stdout)
      assert.equal(screen(display:client{ "xdpyinfo" }.stdout), screen(result.stdout))
      assert.is_false(session:run("xdpyinfo").ok)
   end)

   test("keeps the display's cookie from the server", function()
      local session <close> = connect()
      local result = assert(session:run("xauth list", { forward_x11 = true }))
      local fake = result.stdout:match("MIT%-MAGIC%-COOKIE%-1%s+(%x+)\n")
      assert.equal(32, #fake)
      assert.not_equal(display.cookie, fake)
   end)

   test("puts the window of xclock on it, for as long as it runs", function()
      local session <close> = connect()
      local function shown()
         return display:client{ "xwininfo", "-root", "-tree" }.stdout:find('"xclock"', 1, true) ~= nil
      end
      local channel = assert(session:exec("echo $$; exec xclock", { forward_x11 = true }))
      local pid = channel:read("l")
      waiting.await(shown, "the window")
      assert(session:run{ "kill", "-KILL", pid })
      assert.same({ nil, "KILL" }, { channel:wait(60) })
      waiting.await(function() return not shown() end, "the window's end")
      channel:close()
      assert.equal("on", session:run("printf on").stdout)
   end)

   test("serves many clients at a time", function()
      local session <close> = connect{ forward_x11 = true }
      local tasks = {}
      for i = 1, 3 do
         tasks[i] = ssh.spawn(function()
            return session:run("for i in 1 2 3; do xdpyinfo | grep -c dimensions & done; wait").stdout
         end)
      end
      for _, task in ipairs(tasks) do
         assert.equal("1\n1\n1\n", task:wait())
      end
   end)

   test("moves large requests and answers", function()
      local session <close> = connect()
      local result = assert(session:run("xwd -root -silent | wc -c; xlsfonts | wc -l", { forward_x11 = true }))
      local bytes, fonts = result.stdout:match("^(%d+)\n(%d+)\n$")
      assert.equal(#display:client{ "xwd", "-root", "-silent" }.stdout, tonumber(bytes))
      assert.is_true(tonumber(fonts) > 0)
   end)

   test("allows one connection where one was asked for", function()
      local session <close> = connect()
      local result = assert(session:run("xdpyinfo >/dev/null 2>&1; echo $?; xdpyinfo >/dev/null 2>&1; echo $?",
         { forward_x11 = { single = true } }))
      assert.equal("0\n1\n", result.stdout)
   end)

   test("shuts out who does not know the cookie", function()
      local session <close> = connect()
      local result = assert(session:run("XAUTHORITY=/dev/null xdpyinfo >/dev/null 2>&1; echo $?; "
         .. "xauth -q add $DISPLAY . 00112233445566778899aabbccddeeff; xdpyinfo >/dev/null 2>&1; echo $?",
         { forward_x11 = true }))
      assert.equal("1\n1\n", result.stdout)
      local mine = ("ab"):rep(16)
      result = assert(session:run("xauth list; xdpyinfo >/dev/null 2>&1; echo $?", { forward_x11 = { cookie = mine } }))
      assert.matches(mine .. "\n1\n$", result.stdout) -- the display does not know that one
      result = assert(session:run("xdpyinfo >/dev/null; echo $?", { forward_x11 = { cookie = display.cookie } }))
      assert.equal("0\n", result.stdout)
   end)

   test("gives connections to a handler", function()
      local from, order
      local session <close> = connect{ callbacks = { x11 = function(_, channel, host, port)
         from = { host, port }
         order = channel:read(1)
         local reason = "not today"
         local little = order == "l"
         channel:write(string.pack(little and "<BBI2I2I2" or ">BBI2I2I2", 0, #reason, 11, 0, 3),
            reason .. ("\0"):rep(12 - #reason))
         channel:eof()
         channel:read("a")
      end } }
      local result = assert(session:run("xdpyinfo", { forward_x11 = true }))
      assert.matches("not today", result.stderr)
      assert.is_true(from[1] == "127.0.0.1" or from[1] == "::1") -- whichever localhost is first
      assert.is_true(from[2] > 0 and from[2] < 65536)
      assert.is_truthy(order == "l" or order == "B")
   end)

   test("takes DISPLAY and XAUTHORITY from the environment", function()
      local script = [[
         local ssh = require "moonssh"
         local session = assert(ssh.connect(arg[1], { identity = arg[2], known_hosts = arg[3], timeout = 60 }))
         io.write(session:run("xdpyinfo | grep -c dimensions", { forward_x11 = true, timeout = 60 }).stdout)
      ]]
      local path = sshd.folder:write("environment.lua", script)
      local to = ("%s@%s:%d"):format(sshd.user, sshd.host, sshd.port)
      local result = process.run{ process.lua, path, to, sshd.key_path, sshd.known_hosts_path,
         env = { DISPLAY = display.name, XAUTHORITY = display.xauthority, LUA_PATH_5_4 = package.path,
            LUA_CPATH_5_4 = package.cpath } }
      assert.same({ "", "1\n" }, { result.stderr, result.stdout })
   end)

   test("is not asked for in general where there is no display, as with ssh -X", function()
      local script = [[
         local ssh = require "moonssh"
         local session = assert(ssh.connect(arg[1],
            { identity = arg[2], known_hosts = arg[3], config = arg[4], timeout = 60 }))
         io.write(session:run("echo [$DISPLAY]", { timeout = 60 }).stdout)
         session:callback_set("x11", print)
         io.write(session:run("echo [$DISPLAY]", { timeout = 60 }).stdout)
      ]]
      local path = sshd.folder:write("headless.lua", script)
      local config = sshd.folder:write("headless_config", "ForwardX11 yes\n")
      local to = ("%s@%s:%d"):format(sshd.user, sshd.host, sshd.port)
      local result = process.run{ process.lua, path, to, sshd.key_path, sshd.known_hosts_path, config,
         env = { DISPLAY = false, LUA_PATH_5_4 = package.path, LUA_CPATH_5_4 = package.cpath } }
      assert.equal("", result.stderr)
      assert.matches("^%[%]\n%[localhost:%d+%.0%]\n$", result.stdout)
   end)

   -- Runs examples/x11.lua with a command on the server.
   local function example(command, mode)
      local to = ("%s@%s:%d"):format(sshd.user, sshd.host, sshd.port)
      return process.run{ process.lua, "examples/x11.lua", to, command, mode,
         env = { IDENTITY = sshd.key_path, KNOWN_HOSTS = sshd.known_hosts_path, DISPLAY = display.name,
            XAUTHORITY = display.xauthority, LUA_PATH_5_4 = package.path, LUA_CPATH_5_4 = package.cpath } }
   end

   test("is shown by the example", function()
      local result = example("xdpyinfo | grep -c dimensions; exit 3")
      assert.same({ "1\n", 3 }, { result.stdout, result.status })
      result = example("xdpyinfo", "refuse")
      assert.matches("^from [%x.:]+ port %d+: a client of X11%.0\n", result.stdout)
      assert.matches("this display is but a script", result.stdout .. result.stderr)
      assert.equal(1, result.status)
   end)

   test("reaches a display that has no socket file", function()
      local hidden <close> = xserver.start("-nolisten", "unix")
      assert.is_nil((core.socket.unix("/tmp/.X11-unix/X" .. hidden.number)))
      local session <close> = connect{ display = hidden.name, xauthority = hidden.xauthority }
      assert.equal("1\n", session:run("xdpyinfo | grep -c dimensions", { forward_x11 = true }).stdout)
   end)

   test("is refused by a server that forwards none", function()
      local closed <close> = server.sshd{ config = "LogLevel INFO\nX11Forwarding no" }
      local session <close> = assert(dial(closed, { session_timeout = 60, display = display.name }))
      local result, err = session:run("true", { forward_x11 = true })
      assert.is_nil(result)
      assert.same({ "channel_request", "x11-req" }, { err.code, err.request })
   end)
end)
