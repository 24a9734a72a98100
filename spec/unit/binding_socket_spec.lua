-- core.socket: sockets, pipes and terminals that never wait and never raise SIGPIPE.

local core = require "moonssh.core"
local process = require "spec.support.process"
local testing = require "moonssh_testing"
local tmp = require "spec.support.tmp"

local socket = core.socket
local EPIPE, ECONNREFUSED, ENAMETOOLONG, EBADF, ENOTSOCK, ENOENT = 32, 111, 36, 9, 88, 2

-- The leak check of a sanitizer does not work under strace.
local without_leak_check = { ASAN_OPTIONS = "detect_leaks=0" }

local function raises(pattern, f, ...)
   local ok, message = pcall(f, ...)
   assert.is_false(ok)
   assert.truthy(tostring(message):find(pattern), ("%q does not match %q"):format(message, pattern))
end

local function address(host, port)
   local resolver <close> = assert(core.resolve(host, port))
   return assert(resolver:result())[1]
end

local function wait(fd, events)
   local poller <close> = core.poller()
   poller:set(fd, events)
   return select(2, poller:wait(60)) > 0
end

describe("core.socket.take", function()
   -- Has python, a process of its own, send a message over the socket that is its output.
   local function send(code)
      local ours, theirs = socket.pair()
      local child = assert(core.process.spawn({ "/usr/bin/python3", "-c",
         "import socket, os\ns = socket.socket(fileno=1)\n" .. code }, theirs, theirs))
      socket.close(theirs)
      assert.is_true(wait(ours, "r"))
      local results = table.pack(socket.take(ours))
      socket.close(ours)
      child:close()
      return table.unpack(results, 1, results.n)
   end

   it("gives the descriptor that another process has sent, and none besides it", function()
      local before = #core.file.glob("/proc/self/fd/*")
      local fd = assert(send('socket.send_fds(s, [b"x"], [os.open("/proc/self/cmdline", 0)])'))
      assert.equal(before + 1, #core.file.glob("/proc/self/fd/*"))
      socket.close(fd)
      fd = assert(send('r, w = os.pipe()\nos.write(w, b"mine")\nsocket.send_fds(s, [b"x"], [r, w, r, w])'))
      assert.equal(before + 1, #core.file.glob("/proc/self/fd/*"))
      assert.equal("mine", socket.recv(fd))
      assert.equal("", socket.recv(fd))
      socket.close(fd)
   end)

   it("says that there is none, or none yet", function()
      for _, code in ipairs{ 's.send(b"SSH-2.0-x")', "pass" } do
         local fd, reason = send(code)
         assert.is_nil(fd)
         assert.equal("eof", reason)
      end
      local a, b = socket.pair()
      assert.equal(core.EAGAIN, select(4, socket.take(a)))
      socket.close(a)
      socket.close(b)
      assert.equal(EBADF, select(4, socket.take(a)))
      raises("number expected", socket.take)
   end)
end)

describe("core.socket.pair", function()
   it("gives two ends that carry bytes both ways", function()
      local a, b = socket.pair()
      assert.equal(5, socket.send(a, "he\0lo"))
      assert.equal("he\0lo", socket.recv(b))
      assert.equal(2, socket.send(b, "ok"))
      assert.equal("o", socket.recv(a, 1))
      assert.equal("k", socket.recv(a, 100))
      assert.is_true(socket.close(a))
      assert.is_true(socket.close(b))
   end)
end)

describe("core.socket.recv", function()
   it("says EAGAIN when there is nothing, and the empty string at the end", function()
      local a, b = socket.pair()
      assert.same({ nil, "io", "Resource temporarily unavailable", core.EAGAIN }, { socket.recv(a) })
      socket.send(b, "last")
      assert.is_true(socket.shutdown(b))
      assert.equal("last", socket.recv(a))
      assert.equal("", socket.recv(a))
      assert.equal("", socket.recv(a))
      assert.equal(1, socket.send(a, "x"))
      assert.equal("x", socket.recv(b))
      socket.close(a)
      socket.close(b)
   end)

   it("does not wait on a descriptor that would", function()
      local a, b = testing.socket.pair()
      assert.equal(core.EAGAIN, select(4, socket.recv(a)))
      local pipe <close> = process.start{ "sleep", "60", stdout = "pipe" }
      assert.is_true(pipe:pid() > 0)
      testing.socket.close(a)
      testing.socket.close(b)
   end)

   it("raises for a size or descriptor that is none", function()
      local a, b = socket.pair()
      raises("bad argument #2 to 'recv' %(value out of range%)", function() socket.recv(a, 0) end)
      raises("bad argument #2 to 'recv' %(value out of range%)", function() socket.recv(a, -1) end)
      raises("bad argument #2 to 'recv' %(number has no integer", function() socket.recv(a, 1.5) end)
      raises("bad argument #1 to 'recv' %(value out of range%)", function() socket.recv(-1) end)
      raises("bad argument #1 to 'recv' %(value out of range%)", function() socket.recv(2 ^ 40 // 1) end)
      socket.send(b, "x")
      assert.equal("x", socket.recv(a, math.maxinteger))
      socket.close(a)
      socket.close(b)
      assert.same({ nil, "io", "Bad file descriptor", EBADF }, { socket.recv(a) })
   end)
end)

describe("core.socket.send", function()
   it("takes a part of a string, counted as string.sub counts", function()
      local a, b = socket.pair()
      local text = "abcdef"
      for _, range in ipairs{ { 1 }, { 3 }, { 2, 4 }, { -2 }, { -3, -2 }, { 0 }, { -100, 2 }, { 4, 100 }, { 5, 4 },
         { 7 }, { 1, -100 }, { 1, 0 }, { math.mininteger, math.maxinteger } } do
         local expected = text:sub(range[1], range[2] or -1)
         assert.equal(#expected, socket.send(a, text, range[1], range[2]))
         assert.equal(expected, expected == "" and "" or socket.recv(b))
      end
      socket.close(a)
      socket.close(b)
   end)

   it("takes what fits, then says EAGAIN", function()
      local a, b = socket.pair()
      local block = ("x"):rep(1 << 20)
      local sent, result = 0, { 0 }
      while result[1] do
         sent = sent + result[1]
         result = { socket.send(a, block) }
      end
      assert.equal(core.EAGAIN, result[4])
      local received = 0
      while received < sent do
         received = received + #socket.recv(b, 1 << 20)
      end
      assert.equal(sent, received)
      assert.is_true(socket.send(a, block) > 0)
      socket.close(a)
      socket.close(b)
   end)

   -- The error, and what SIGPIPE would do: end the process, whose status is then not 0.
   local function sends_into(what)
      local result = process.run{ process.lua, "-e", [[
         local core = require "moonssh.core"
         local testing = require "moonssh_testing"
         local function report(...) print(select("#", ...), ...) end
         ]] .. what }
      assert.equal(0, result.status, result.stderr)
      assert.is_nil(result.signal)
      return result.stdout
   end

   it("into a closed socket is EPIPE, without SIGPIPE", function()
      assert.equal("4\tnil\tio\tBroken pipe\t" .. EPIPE .. "\n", sends_into[[
         local a, b = core.socket.pair()
         core.socket.close(b)
         report(core.socket.send(a, "x"))
      ]])
   end)

   it("into a closed pipe is EPIPE, without SIGPIPE", function()
      local folder <close> = tmp.dir()
      process.check{ "mkfifo", folder:path("fifo") }
      -- The FIFO is opened for both first, so that no open waits; the shell hands it on as descriptor 5, write only.
      local result = process.run{ "sh", "-c", ('exec 4<>"%s" 5>"%s" 4>&-; exec "$@"'):format(folder:path("fifo"),
         folder:path("fifo")), "sh", process.lua, "-e", [[
         local core = require "moonssh.core"
         print(core.socket.send(5, "x"))
         print(core.socket.send(5, ("x"):rep(100000)))
      ]] }
      assert.equal(0, result.status, result.stderr)
      assert.equal(("nil\tio\tBroken pipe\t%d\n"):format(EPIPE):rep(2), result.stdout)
   end)

   it("leaves the program's own handling of SIGPIPE alone", function()
      local folder <close> = tmp.dir()
      process.check{ "mkfifo", folder:path("fifo") }
      local result = process.run{ "sh", "-c", ('exec 4<>"%s" 5>"%s" 4>&-; exec "$@"'):format(folder:path("fifo"),
         folder:path("fifo")), "sh", process.lua, "-e", [[
         require "moonssh.core".socket.send(5, "x")
         io.stdout:write("alive\n")
         io.stdout:flush()
         os.execute("kill -PIPE " .. require "moonssh_testing".process.pid())
         io.stdout:write("not reached\n")
      ]] }
      assert.equal("alive\n", result.stdout)
      assert.equal(13, result.signal)
   end)

   it("does not wait on a pipe that blocks", function()
      local folder <close> = tmp.dir()
      process.check{ "mkfifo", folder:path("fifo") }
      local result = process.run{ "sh", "-c", ('exec 4<>"%s"; exec "$@"'):format(folder:path("fifo")), "sh",
         process.lua, "-e", [[
         local core = require "moonssh.core"
         print(core.socket.recv(4))
         local block, sent, n = ("x"):rep(100000), 0, 0
         local message
         while n do
            sent = sent + n
            n, _, message = core.socket.send(4, block)
         end
         print(sent, message)
         print(#core.socket.recv(4, 1000))
      ]] }
      assert.equal(0, result.status, result.stderr)
      local again = "Resource temporarily unavailable"
      assert.equal(("nil\tio\t%s\t%d\n65536\t%s\n1000\n"):format(again, core.EAGAIN, again), result.stdout)
   end)

   it("works on a terminal", function()
      local folder <close> = tmp.dir()
      local script = folder:write("script.lua", [[
         local core = require "moonssh.core"
         local poller = core.poller()
         poller:set(0, "r")
         print(core.socket.recv(0))
         print(core.socket.send(1, "hello\n"))
         poller:wait(60)
         print(core.socket.recv(0))
      ]])
      -- The word is typed when the greeting is there.
      local result = process.run{ "/usr/bin/python3", "-c", [[
import os, pty, sys, tty
pid, master = pty.fork()
if pid == 0:
    tty.setraw(0)
    os.dup2(os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT), 2)
    os.execvp(sys.argv[1], sys.argv[1:3])
seen = b""
def wait_for(text):
    global seen
    while text not in seen:
        seen += os.read(master, 1000)
wait_for(b"hello\n")
os.write(master, b"typed")
wait_for(b"typed\n")
print(seen.decode())
]], process.lua, script, folder:path("errors") }
      assert.equal(0, result.status, result.stderr)
      assert.equal(("nil\tio\tResource temporarily unavailable\t%d\nhello\n6\ntyped\n\n"):format(core.EAGAIN),
         result.stdout)
      assert.equal("", folder:read("errors"))
   end)
end)

describe("core.socket.connect", function()
   it("connects to an address of core.resolve", function()
      for _, host in ipairs{ "127.0.0.1", "::1" } do
         local listener, port = testing.socket.listen(host, 0)
         if listener then
            local fd, pending_flag = socket.connect(address(host, port))
            assert.equal("boolean", type(pending_flag))
            assert.is_true(wait(fd, "w"))
            assert.is_true(socket.finish(fd))
            local peer = testing.socket.accept(listener, 60)
            assert.equal(2, socket.send(fd, "hi"))
            assert.equal("hi", testing.socket.read(peer, 10, 60))
            for _, one in ipairs{ fd, peer, listener } do
               socket.close(one)
            end
         end
      end
   end)

   it("says refused where nobody listens", function()
      local listener, port = testing.socket.listen("127.0.0.1", 0)
      testing.socket.close(listener)
      local fd, code, message, errno = socket.connect(address("127.0.0.1", port))
      if fd then
         assert.is_true(wait(fd, "w"))
         local ok
         ok, code, message, errno = socket.finish(fd)
         assert.is_nil(ok)
         socket.close(fd)
      end
      assert.same({ "refused", "Connection refused", ECONNREFUSED }, { code, message, errno })
   end)

   it("binds to an address first, given either way", function()
      local listener, port = testing.socket.listen("127.0.0.1", 0)
      for _, bind in ipairs{ "127.0.0.2", address("127.0.0.2", 0) } do
         local fd = assert(socket.connect(address("127.0.0.1", port), bind))
         assert.is_true(wait(fd, "w"))
         assert.is_true(socket.finish(fd))
         local text = process.check{ "sh", "-c", "cat /proc/net/tcp" }
         assert.truthy(text:find(("0200007F:%%x+ 0100007F:%04X"):format(port)))
         socket.close(fd)
         socket.close(testing.socket.accept(listener, 60))
      end
      assert.same({ nil, "io" }, { table.unpack({ socket.connect(address("127.0.0.1", port), "::1") }, 1, 2) })
      assert.same({ nil, "io" }, { table.unpack({ socket.connect(address("127.0.0.1", port), "name") }, 1, 2) })
      assert.same({ nil, "io" }, { table.unpack({ socket.connect(address("127.0.0.1", port), "192.0.2.1") }, 1, 2) })
      socket.close(listener)
   end)

   it("sets TCP_NODELAY, close-on-exec and non-blocking", function()
      local listener, port = testing.socket.listen("127.0.0.1", 0)
      local result = process.run{ env = without_leak_check, "strace", "-e",
         "trace=socket,setsockopt,connect", process.lua, "-e", ([[
         local core = require "moonssh.core"
         core.socket.connect(core.resolve("127.0.0.1", %d):result()[1])
      ]]):format(port) }
      if result.status ~= 0 then
         pending("strace does not work here")
      else
         assert.truthy(result.stderr:find("socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK", 1, true)
            or result.stderr:find("socket%(AF_INET, SOCK_STREAM|[^\n]*SOCK_CLOEXEC"))
         assert.truthy(result.stderr:find("SOCK_NONBLOCK", 1, true))
         assert.truthy(result.stderr:find("TCP_NODELAY, [1]", 1, true))
      end
      socket.close(listener)
   end)

   it("raises for what is no address", function()
      for _, wrong in ipairs{ {}, { sockaddr = "" }, { sockaddr = "short" }, { sockaddr = ("\0"):rep(16) },
         { sockaddr = ("\255"):rep(28) }, { sockaddr = ("x"):rep(1000) }, { sockaddr = 5 }, { sockaddr = "\2\0" } } do
         raises("bad argument #1 to 'connect' %(not an address%)", function() socket.connect(wrong) end)
      end
      raises("bad argument #1 to 'connect' %(table expected", function() socket.connect("127.0.0.1") end)
      raises("bad argument #2 to 'connect'", function()
         socket.connect(address("127.0.0.1", 1), { sockaddr = "x" })
      end)
   end)

   it("is not finished before it is connected", function()
      assert.same({ nil, "io" }, { table.unpack({ socket.finish(0) }, 1, 2) })
      raises("bad argument #1 to 'finish'", function() socket.finish(-5) end)
   end)
end)

describe("core.socket.unix", function()
   it("connects to a path", function()
      local folder <close> = tmp.dir()
      local listener = assert(testing.socket.listen(folder:path("s")))
      local fd = assert(socket.unix(folder:path("s")))
      local peer = testing.socket.accept(listener, 60)
      socket.send(fd, "hi")
      assert.equal("hi", testing.socket.read(peer, 10, 60))
      for _, one in ipairs{ fd, peer, listener } do
         socket.close(one)
      end
      assert.same({ nil, "refused", "Connection refused", ECONNREFUSED }, { socket.unix(folder:path("s")) })
   end)

   it("connects to an abstract name, written with NUL or @", function()
      local name = "moonssh-" .. testing.process.pid()
      local server <close> = process.start{ "/usr/bin/python3", "-c", ([[
import socket
s = socket.socket(socket.AF_UNIX)
s.bind("\0%s")
s.listen()
print("ready", flush=True)
for _ in range(2):
    c = s.accept()[0]
    c.sendall(b"hello")
    c.close()
]]):format(name), stdout = "pipe" }
      assert.truthy(server:read("stdout", 60):find("ready"))
      for _, first in ipairs{ "\0", "@" } do
         local fd = assert(socket.unix(first .. name))
         assert.is_true(wait(fd, "r"))
         assert.equal("hello", socket.recv(fd))
         socket.close(fd)
      end
   end)

   it("says what is wrong with a path", function()
      local folder <close> = tmp.dir()
      assert.same({ nil, "io", "No such file or directory", ENOENT }, { socket.unix(folder:path("none")) })
      assert.same({ nil, "io", "File name too long", ENAMETOOLONG }, { socket.unix(("/x"):rep(54)) })
      assert.same({ nil, "io", "File name too long", ENAMETOOLONG }, { socket.unix("@" .. ("x"):rep(108)) })
      assert.equal("refused", select(2, socket.unix("@" .. ("x"):rep(107))))
      raises("bad argument #1 to 'unix' %(string contains zeros%)", function() socket.unix("/tmp/a\0b") end)
      raises("bad argument #1 to 'unix' %(empty path%)", function() socket.unix("") end)
   end)
end)

describe("core.socket.shutdown, close and prepare", function()
   it("say what is wrong with a descriptor", function()
      local a, b = socket.pair()
      socket.close(a)
      socket.close(b)
      assert.same({ nil, "io", "Bad file descriptor", EBADF }, { socket.close(a) })
      assert.same({ nil, "io", "Bad file descriptor", EBADF }, { socket.shutdown(a) })
      assert.same({ nil, "io", "Bad file descriptor", EBADF }, { socket.prepare(a) })
      assert.same({ nil, "io", "Socket operation on non-socket", ENOTSOCK }, { socket.shutdown(0) })
      assert.is_true(socket.prepare(0))
      raises("bad argument #1 to 'close'", function() socket.close("x") end)
   end)
end)
