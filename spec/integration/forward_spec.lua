-- Forwarding through OpenSSH's sshd, with plain sockets and real programs at the ends.

local core = require "moonssh.core"
local dial = require "spec.support.dial"
local process = require "spec.support.process"
local server = require "spec.support.server"
local sockets = require "spec.support.sockets"
local ssh = require "moonssh"
local stream = require "spec.support.stream"
local tmp = require "spec.support.tmp"
local waiting = require "spec.support.waiting"

local MIB = 1024 * 1024

-- Sends back what comes, as it comes.
local function echo(connection)
   while true do
      local data = connection:some()
      if not data or data == "" then
         return
      end
      connection:write(data)
   end
end

-- A port where nobody listens.
local function free_port()
   local there = stream.serve("127.0.0.1:0", echo)
   there:close()
   return there.port
end

-- Runs a program to its end while the loop goes on. → its output, its exit status
local function run(options)
   options.stdout, options.stderr = "pipe", "stdout"
   local child <close> = assert(process.start(options))
   local output, how, status = "", nil, nil
   waiting.await(function()
      output = output .. (child:read("stdout", 0) or "")
      how, status = child:wait(0)
      return how
   end, options[1])
   for data in function() return child:read("stdout", 60) end do
      if data == "" then
         break
      end
      output = output .. data
   end
   return output, status
end

describe("with sshd,", function()
   local sshd, session, there

   setup(function()
      sshd = server.sshd{ config = "LogLevel ERROR\nGatewayPorts clientspecified" }
   end)

   teardown(function()
      sshd:stop()
   end)

   before_each(function()
      session = assert(dial(sshd))
      session.timeout = 60
      there = stream.serve("127.0.0.1:0", echo)
   end)

   after_each(function()
      session:close()
      there:close()
   end)

   -- Says something through a place, and expects to hear it again.
   local function assert_echo(to, text)
      local client <close> = stream.connect(to)
      client:write(text)
      client:shutdown()
      assert.equal(text, client:rest())
   end

   local function assert_idle(forward)
      waiting.await(function() return forward.connections == 0 end, "the connections' end")
   end

   describe("a local forward", function()
      it("carries connections to where the server reaches, both ways and to both ends", function()
         local forward <close> = assert(session:forward_local{ bind = "127.0.0.1:0", to = "127.0.0.1:" .. there.port })
         assert_echo(forward.port, "hello")
         assert_echo("127.0.0.1:" .. forward.port, ("0123456789abcdef"):rep(MIB // 4))
         assert_idle(forward)
         assert.equal(2, there.accepted)
      end)

      it("goes on sending one way when the other has ended", function()
         local back = stream.serve("127.0.0.1:0", function(connection)
            local got = connection:rest()
            connection:write(#got .. " bytes, then " .. ("x"):rep(MIB))
         end)
         local forward <close> = assert(session:forward_local{ bind = 0, to = back.port })
         local client <close> = stream.connect(forward.port)
         client:write("four")
         client:shutdown()
         assert.equal(#"4 bytes, then " + MIB, #client:rest())
         back:close()
      end)

      it("has each side feel that the other does not read, and holds little meanwhile", function()
         local release = false
         local slow = stream.serve("127.0.0.1:0", function(connection)
            waiting.await(function() return release end)
            connection:write(tostring(#connection:rest()))
         end)
         local forward <close> = assert(session:forward_local{ bind = 0, to = slow.port })
         local client <close> = stream.connect(forward.port)
         local sent, stuck = 0, 0
         local block = ("x"):rep(65536)
         waiting.await(function() -- until the socket takes no more, and stays like that
            local n = core.socket.send(client.fd, block)
            sent, stuck = sent + (n or 0), n and 0 or stuck + 1
            return stuck == 100
         end)
         assert.is_true(sent < 64 * MIB)
         assert.is_true(session._core:memory() < 8 * MIB)
         assert.equal("others go on", session:run("printf 'others go on'").stdout)
         release = true
         client:shutdown()
         assert.equal(tostring(sent), client:rest())
         slow:close()
      end)

      it("carries hundreds of connections at once", function()
         local forward <close> = assert(session:forward_local{ bind = "127.0.0.1:0", to = there.port })
         local clients, tasks = {}, {}
         for i = 1, 200 do
            clients[i] = stream.connect("127.0.0.1:" .. forward.port)
            tasks[i] = ssh.spawn(function()
               local text = ("%d "):format(i):rep(5000)
               clients[i]:write(text)
               clients[i]:shutdown()
               return clients[i]:rest() == text
            end)
         end
         for i, task in ipairs(tasks) do
            assert.is_true(task:wait(), i)
            clients[i]:close()
         end
         assert_idle(forward)
         assert.equal(200, there.accepted)
      end)

      it("begins and ends at Unix sockets, too", function()
         local folder <close> = tmp.dir()
         local agent <close> = server.agent()
         local path = folder:path("socket")
         local forward = assert(session:forward_local{ bind = path, to = agent.path })
         assert.same({ nil, path }, { forward.port, forward.path })
         local client = stream.connect(path)
         client:write("\0\0\0\1\11")
         assert.equal("\0\0\0\5\12\0\0\0\0", client:read(9))
         forward:close()
         assert.is_nil(io.open(path))
         client:write("\0\0\0\1\11") -- a connection that is open goes on
         assert.equal("\0\0\0\5\12\0\0\0\0", client:read(9))
         client:close()
      end)

      it("at a Unix socket for its owner, or as mode says, in place of one that is left over", function()
         local folder <close> = tmp.dir()
         local path = folder:path("socket")
         core.socket.close(assert(core.socket.listen_unix(path)))
         assert.equal("io", select(2, session:forward_local{ bind = path, to = there.port }).code)
         for mode, expected in pairs{ [false] = 384, [432] = 432 } do
            local forward <close> = assert(session:forward_local{ bind = path, to = there.port, replace = true,
               mode = mode or nil })
            assert.equal(expected, core.file.lstat(path).permissions)
            assert_echo(path, "hello")
            assert.equal(path, forward.path)
         end
         assert.has_error(function() session:forward_local{ bind = path, to = there.port, mode = 512 } end)
         assert.has_error(function() session:forward_remote{ bind = path, to = there.port, mode = 384 } end)
      end)

      it("ends a connection that comes to nothing, tells of it, and listens on", function()
         local told = {}
         local port = free_port()
         local forward <close> = assert(session:forward_local{ bind = "127.0.0.1:0", to = port,
            on_error = function(err, origin)
               table.insert(told, { err.code, err.reason, origin.host })
               error("from on_error")
            end })
         local reported, report = {}, ssh.loop.on_error
         ssh.loop.on_error = function(err) table.insert(reported, err.cause) end
         for _ = 1, 2 do
            local client <close> = stream.connect("127.0.0.1:" .. forward.port)
            assert.equal("", client:rest() or "")
         end
         ssh.loop.on_error = report
         assert.same({ { "channel_open", 2, "127.0.0.1" }, { "channel_open", 2, "127.0.0.1" } }, told)
         assert.equal(2, #reported)
         assert.matches("from on_error", reported[1], 1, true)
         there:close()
         there = stream.serve("127.0.0.1:" .. port, echo)
         assert_echo("127.0.0.1:" .. forward.port, "now there is somebody")
      end)

      it("says where it cannot listen", function()
         local forward, err = session:forward_local{ bind = "127.0.0.1:" .. there.port, to = 1 }
         assert.is_nil(forward)
         assert.equal("io", err.code)
         forward, err = session:forward_local{ bind = "/nowhere/at/all", to = 1 }
         assert.is_nil(forward)
         assert.same({ "io", "/nowhere/at/all" }, { err.code, err.path })
      end)

      it("is used by curl", function()
         local web = stream.serve("127.0.0.1:0", function(connection)
            local head = ""
            while not head:find("\r\n\r\n", 1, true) do
               head = head .. assert(connection:some())
            end
            connection:write(("HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n"):format(MIB) .. ("w"):rep(MIB))
         end)
         local forward <close> = assert(session:forward_local{ bind = 0, to = web.port })
         local output, status = run{ "curl", "--silent", "--show-error", "--noproxy", "*",
            "http://127.0.0.1:" .. forward.port .. "/" }
         assert.same({ 0, MIB }, { status, #output })
         web:close()
      end)
   end)

   describe("a remote forward", function()
      it("carries connections from the server to here", function()
         local forward <close> = assert(session:forward_remote{ bind = 0, to = there.port })
         assert_echo("127.0.0.1:" .. forward.port, "hello")
         local data = ("0123456789abcdef"):rep(MIB // 8)
         assert_echo("127.0.0.1:" .. forward.port, data)
         assert_idle(forward)
      end)

      it("at every address, and several at once", function()
         local forwards = {}
         for i, bind in ipairs{ "*:0", "127.0.0.1:0", ":0" } do
            forwards[i] = assert(session:forward_remote{ bind = bind, to = there.port })
         end
         for i, forward in ipairs(forwards) do
            assert_echo("127.0.0.1:" .. forward.port, "number " .. i)
         end
         forwards[2]:close()
         assert(session:ping())
         assert.has_error(function() stream.connect("127.0.0.1:" .. forwards[2].port) end)
         assert_echo("127.0.0.1:" .. forwards[3].port, "still")
      end)

      it("from a Unix socket to a Unix socket", function()
         local folder <close> = tmp.dir()
         process.check{ "chmod", "777", folder:path("") }
         local agent <close> = server.agent()
         local path = folder:path("socket")
         local forward <close> = assert(session:forward_remote{ bind = path, to = agent.path })
         assert.equal(path, forward.path)
         local client <close> = stream.connect(path)
         client:write("\0\0\0\1\11")
         assert.equal("\0\0\0\5\12\0\0\0\0", client:read(9))
      end)

      it("ends a connection that comes to nothing here", function()
         local told
         local forward <close> = assert(session:forward_remote{ bind = 0, to = free_port(),
            on_error = function(err) told = err.code end })
         local client <close> = stream.connect("127.0.0.1:" .. forward.port)
         assert.equal("", client:rest() or "")
         assert.equal("refused", told)
      end)

      it("is an error where the server cannot listen", function()
         local forward, err = session:forward_remote{ bind = "127.0.0.1:" .. there.port, to = 1 }
         assert.is_nil(forward)
         assert.equal("channel_request", err.code)
      end)
   end)

   describe("a dynamic forward whose clients are at the server", function()
      local function curl(forward, option, host, port)
         return run{ "curl", "--silent", "--show-error", "--noproxy", "", option, "127.0.0.1:" .. forward.port,
            ("http://%s:%d/"):format(host, port) }
      end

      it("serves them in every version of SOCKS from here", function()
         local forward <close> = assert(session:forward_dynamic{ bind = "localhost:0", remote = true })
         local web = stream.serve("127.0.0.1:0", function(connection)
            assert(connection:some())
            connection:write("HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nserved")
         end)
         for _, option in ipairs{ "--socks4", "--socks4a", "--socks5", "--socks5-hostname" } do
            local output, status = curl(forward, option, option == "--socks4a" and "localhost" or "127.0.0.1", web.port)
            assert.same({ 0, "served" }, { status, output }, option)
         end
         local output, status = curl(forward, "--socks5", "127.0.0.1", free_port())
         assert.equal(97, status, output)
         web:close()
         assert_idle(forward)
      end)

      it("asks permit where they may go, and ends what is none of theirs", function()
         local asked, told = {}, {}
         local forward <close> = assert(session:forward_dynamic{ bind = "127.0.0.1:0", remote = true,
            permit = function(host, port)
               table.insert(asked, { host, port })
               return port == there.port
            end,
            on_error = function(err, origin) table.insert(told, { err.code, origin.host }) end })
         local function answer(request)
            local client <close> = stream.connect(forward.port)
            client:write(request)
            client:shutdown()
            return client:rest() or ""
         end
         local function socks5(port)
            return "\5\1\0\5\1\0\1\127\0\0\1" .. string.pack(">I2", port)
         end
         assert.equal("\5\0" .. "\5\0\0\1\0\0\0\0\0\0" .. "early", answer(socks5(there.port) .. "early"))
         assert.equal("\5\0" .. "\5\2\0\1\0\0\0\0\0\0", answer(socks5(1)))
         assert.same({ { "127.0.0.1", there.port }, { "127.0.0.1", 1 } }, asked)
         assert.equal("", answer("GET / HTTP/1.0\r\n\r\n"))
         assert.equal("\5\255", answer("\5\1\2"))
         assert.equal("", answer("\5"))
         assert_idle(forward)
         assert.same({ { "refused", "127.0.0.1" }, { "protocol", "127.0.0.1" }, { "protocol", "127.0.0.1" },
            { "protocol", "127.0.0.1" } }, told)
         assert.has_error(function() session:forward_dynamic{ bind = 0, permit = print } end)
      end)
   end)

   describe("a listener", function()
      it("gives channels to work with", function()
         local listener <close> = assert(session:listen("localhost", 0))
         local client <close> = stream.connect("127.0.0.1:" .. listener.port)
         local channel <close>, originator = assert(listener:accept(60))
         assert.equal("127.0.0.1", originator.host)
         client:write("a line\nand more")
         client:shutdown()
         assert.equal("a line", channel:read("l"))
         assert.equal("and more", channel:read("a"))
         assert(channel:write("an answer"))
         channel:eof()
         assert.equal("an answer", client:rest())
      end)
   end)

   describe("a dynamic forward", function()
      local forward

      before_each(function()
         forward = assert(session:forward_dynamic{ bind = "127.0.0.1:0" })
      end)

      it("serves curl in every version of SOCKS, names resolved there or here", function()
         local web = stream.serve("127.0.0.1:0", function(connection)
            assert(connection:some())
            connection:write("HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nserved")
         end)
         for option, host in pairs{
            ["--socks4"] = "127.0.0.1", ["--socks4a"] = "localhost", ["--socks5"] = "127.0.0.1",
            ["--socks5-hostname"] = "localhost",
         } do
            local output, status = run{ "curl", "--silent", "--show-error", "--noproxy", "", option,
               "127.0.0.1:" .. forward.port, ("http://%s:%d/"):format(host, web.port) }
            assert.same({ 0, "served" }, { status, output }, option)
         end
         local output, status = run{ "curl", "--silent", "--show-error", "--noproxy", "", "--socks5-hostname",
            "127.0.0.1:" .. forward.port, ("http://127.0.0.1:%d/"):format(free_port()) }
         assert.equal(97, status, output) -- the proxy has refused
         web:close()
      end)

      it("takes data that come right behind the request, and answers nonsense", function()
         local client = stream.connect(forward.port)
         client:write("\5\1\0\5\1\0\1\127\0\0\1" .. string.pack(">I2", there.port) .. "early")
         client:shutdown()
         assert.equal("\5\0" .. "\5\0\0\1\0\0\0\0\0\0" .. "early", client:rest())
         client:close()
         client = stream.connect(forward.port)
         client:write("GET / HTTP/1.0\r\n\r\n")
         assert.equal("", client:rest() or "")
         client:close()
         client = stream.connect(forward.port)
         client:write("\5\1\2")
         assert.equal("\5\255", client:rest())
         client:close()
         assert_idle(forward)
      end)
   end)

   it("forwards end with their session, and leave no descriptor", function()
      sockets.leaves_nothing_open(function()
         local own = assert(dial(sshd))
         local here = assert(own:forward_local{ bind = "127.0.0.1:0", to = there.port })
         local remote = assert(own:forward_remote{ bind = 0, to = there.port })
         local dynamic = assert(own:forward_dynamic{ bind = 0 })
         local client <close> = stream.connect("127.0.0.1:" .. here.port)
         client:write("x")
         assert.equal("x", client:read(1))
         own:close()
         assert.same({ true, true, true }, { here.closed, remote.closed, dynamic.closed })
         assert.equal("", client:rest() or "")
         assert.has_error(function() stream.connect("127.0.0.1:" .. here.port) end)
         assert.has_error(function() stream.connect("127.0.0.1:" .. dynamic.port) end)
         client:close()
         waiting.await(function() return there.open == 0 end, "the connection's end")
      end)
   end)

   it("forwards end when the connection is lost", function()
      sockets.leaves_nothing_open(function()
         local own <close> = assert(dial(sshd))
         local here = assert(own:forward_local{ bind = "127.0.0.1:0", to = there.port })
         local client <close> = stream.connect("127.0.0.1:" .. here.port)
         client:write("x")
         assert.equal("x", client:read(1))
         local _, err = own:run("kill -9 $PPID")
         assert.equal("eof", err.code)
         assert.equal("", client:rest() or "")
         assert.is_true(here.closed)
         client:close()
         waiting.await(function()
            local listens, connection = pcall(stream.connect, "127.0.0.1:" .. here.port)
            if listens then
               connection:close()
            end
            return not listens
         end, "the listener's end")
         waiting.await(function() return there.open == 0 end, "the connection's end")
      end)
   end)
end)

describe("with descriptors of numbers beyond what select takes,", function()
   it("connecting and forwarding go on", function()
      local sshd <close> = server.sshd{ config = "LogLevel ERROR" }
      local folder <close> = tmp.dir()
      local script = folder:write("script.lua", ([[
         local ssh = require "moonssh"
         local held = {}
         for i = 1, tonumber(arg[1]) do
            held[i] = assert(io.open("/dev/null"))
         end
         local session <close> = assert(ssh.connect("%s@%s:%d", { identity = "%s", known_hosts = "%s", agent = false,
            config = false, timeout = 60, session_timeout = 60 }))
         local listener <close> = assert(session:listen("localhost", 0))
         local forward <close> = assert(session:forward_local{ bind = "127.0.0.1:0", to = listener.port })
         local channel <close> = assert(session:dial("127.0.0.1", listener.port))
         local there <close> = assert(listener:accept())
         local task = ssh.spawn(function() return there:read(1000000) end)
         channel:write(("x"):rep(1000000))
         print(#task:wait(), session:run("echo hello").stdout, forward.port > 0)
      ]]):format(sshd.user, sshd.host, sshd.port, sshd.key_path, sshd.known_hosts_path))
      local limit = tonumber(process.check{ "sh", "-c", "ulimit -Hn" }) or math.huge
      local count = math.min(5000, limit - 64)
      assert.is_true(count > 1100, "too few descriptors are allowed here")
      assert.equal("1000000\thello\n\ttrue\n", process.check{ "sh", "-c", 'ulimit -n "$1"; shift; exec "$@"', "sh",
         count + 64, process.lua, script, count })
   end)
end)

describe("where sshd forbids forwarding,", function()
   it("dialling and listening are refused", function()
      local config = "LogLevel ERROR\nAllowTcpForwarding no\nAllowStreamLocalForwarding no"
      local sshd <close> = server.sshd{ config = config }
      local session <close> = assert(dial(sshd))
      assert.same({ "channel_open", 1 }, (function()
         local _, err = session:dial("127.0.0.1", sshd.port)
         return { err.code, err.reason }
      end)())
      assert.equal("channel_request", select(2, session:listen("localhost", 0)).code)
      assert.equal("channel_request", select(2, session:listen_unix("/tmp/never")).code)
      local forward <close> = assert(session:forward_dynamic{ bind = 0 })
      local client <close> = stream.connect(forward.port)
      client:write("\5\1\0\5\1\0\1\127\0\0\1\0\80")
      assert.equal("\5\0" .. "\5\2\0\1\0\0\0\0\0\0", client:rest())
   end)
end)
