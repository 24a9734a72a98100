-- Channels: what is streamed, asked for and told on them, against OpenSSH's sshd and asyncssh.

local core = require "moonssh.core"
local dial = require "spec.support.dial"
local process = require "spec.support.process"
local server = require "spec.support.server"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"

local MIB = 1024 * 1024

-- At a higher level the lines of sshd's own log get into the stderr of its commands.
local quiet = { config = "LogLevel INFO" }

describe("a channel", function()
   local sshd, session

   setup(function()
      sshd = server.sshd(quiet)
      session = assert(dial(sshd))
      session.timeout = 60
   end)

   teardown(function()
      session:close()
      sshd:stop()
   end)

   describe("is read", function()
      it("by lines, with and without their ends", function()
         local channel <close> = assert(session:exec([[printf 'one\n\ntwo\r\nthree\nlast']]))
         assert.equal("one", channel:read("l"))
         assert.equal("\n", channel:read("L"))
         assert.equal("two\r", channel:read("l"))
         assert.equal("three\n", channel:read("L"))
         assert.equal("last", channel:read("L"))
         assert.same({}, { channel:read("l") })
         assert.same({}, { channel:read("L") })
         assert.equal(0, channel:wait())
      end)

      it("by counts, to its end, and by what is there", function()
         local channel <close> = assert(session:exec("printf abcdefghij; read x; printf klm; read x; printf nop"))
         assert.equal("abc", channel:read(3))
         assert.equal("", channel:read(0))
         assert.equal("defg", channel:read(4))
         assert.equal("hij", channel:read())
         assert(channel:write("\n"))
         assert.equal("klm", channel:read())
         assert(channel:write("\n"))
         assert.equal("nop", channel:read(100))
         assert.is_nil(channel:read(1))
         assert.is_nil(channel:read())
         assert.equal("", channel:read("a"))
         assert.equal("", channel:read("a"))
      end)

      it("over many packets and windows", function()
         local channel <close> = assert(session:exec("seq 1 1000000"))
         assert.equal("1", channel:read("l"))
         local count, sum = 1, 1
         for _ = 1, 1000 do
            count = count + 1
            sum = sum + tonumber(channel:read("l"))
         end
         local text = channel:read(3 * MIB)
         assert.equal(3 * MIB, #text)
         local rest = text .. channel:read("a")
         for line in rest:gmatch("(%d+)\n") do
            count = count + 1
            sum = sum + tonumber(line)
         end
         assert.same({ 1000000, 500000500000 }, { count, sum })
      end)

      it("in a for loop", function()
         local channel = assert(session:exec("seq 1 5; printf 6"))
         local lines = {}
         for line in channel:lines() do
            lines[#lines + 1] = line
         end
         assert.same({ "1", "2", "3", "4", "5", "6" }, lines)
         channel = assert(session:exec("printf abcdefg"))
         lines = {}
         for piece in channel:lines(3) do
            lines[#lines + 1] = piece
         end
         assert.same({ "abc", "def", "g" }, lines)
         channel:close()
      end)

      it("by a line that is longer than any window", function()
         local channel <close> = assert(session:exec(("head -c %d /dev/zero | tr '\\0' x; echo; echo end"):format(
            70 * MIB)))
         local line = assert(channel:read("l"))
         assert.equal(70 * MIB, #line)
         assert.is_nil(line:find("[^x]"))
         assert.equal("end", channel:read("l"))
      end)

      it("apart from its stderr", function()
         local channel <close> = assert(session:exec("seq 1 3; seq 11 13 >&2; printf err >&2"))
         assert.equal("11", channel:read_stderr("l"))
         assert.equal("1", channel:read("l"))
         assert.equal("12\n", channel.stderr:read("L"))
         local lines = {}
         for line in channel.stderr:lines() do
            lines[#lines + 1] = line
         end
         assert.same({ "13", "err" }, lines)
         assert.equal("2\n3\n", channel:read("a"))
         assert.is_nil(channel:read_stderr("l"))
      end)

      it("after its end as before", function()
         local channel <close> = assert(session:exec("echo out; echo err >&2; exit 3"))
         assert.equal(3, channel:wait())
         assert.equal(3, (channel:wait()))
         assert.equal("out\n", channel:read("a"))
         assert.equal("err\n", channel:read_stderr("a"))
      end)

      it("not at all once it is closed", function()
         local channel = assert(session:exec("echo out"))
         channel:close()
         channel:close()
         assert.is_true(channel.closed)
         for _, name in ipairs{ "read", "read_stderr", "lines", "eof", "wait", "expect" } do
            assert.error_matches(function()
               channel[name](channel, "l")
            end, "closed channel %(in '" .. name .. "'%)")
         end
         assert.error_matches(function()
            channel:write("x")
         end, "closed")
      end)

      it("not in a form there is none of", function()
         local channel <close> = assert(session:exec("true"))
         for _, wrong in ipairs{ "x", -1, 1.5, true, {} } do
            assert.error_matches(function()
               channel:read(wrong)
            end, "bad argument #1 to 'read'")
         end
      end)
   end)

   describe("is written to", function()
      it("piece by piece, numbers too", function()
         local channel <close> = assert(session:exec("cat"))
         assert.equal(channel, channel:write("a", 1, "b", 2.5, ""))
         assert.equal(channel, channel:eof())
         assert.equal(channel, channel:eof())
         assert.equal("a1b2.5", channel:read("a"))
         assert.error_matches(function()
            channel:write("more")
         end, "after 'eof'")
      end)

      it("as fast as it is read, and no faster", function()
         local data = core.random(MIB):rep(16)
         local channel <close> = assert(session:exec("cat"))
         local writer = ssh.spawn(function()
            assert(channel:write(data))
            return channel:eof()
         end)
         local first = channel:read(1000)
         ssh.loop.sleep(0.05)
         assert.is_false(writer.closed)
         assert.is_true(first .. channel:read("a") == data)
         assert.equal(channel, (writer:wait()))
         assert.equal(0, channel:wait())
      end)

      it("by several tasks, each of whose strings stays whole", function()
         local channel = assert(session:exec("cat"))
         local writers = {}
         for i, letter in ipairs{ "a", "b", "c", "d" } do
            writers[i] = ssh.spawn(function()
               for _ = 1, 4 do
                  assert(channel:write(letter:rep(MIB)))
               end
               return true
            end)
         end
         for _ = 1, 16 do
            local piece = channel:read(MIB)
            assert.is_true(piece == piece:sub(1, 1):rep(MIB))
         end
         -- Nobody may be told that his string was not written, when it has come back.
         channel:close()
         for i = 1, 4 do
            assert.is_true(writers[i]:wait())
         end
      end)

      it("until its command has ended", function()
         local channel <close> = assert(session:exec("exit 5"))
         assert.equal(5, channel:wait())
         local result, err = true, nil
         while result do
            result, err = channel:write("x")
         end
         assert.equal("closed", err.code)
         result, err = channel:write(("x"):rep(MIB))
         assert.is_nil(result)
         assert.same({ "closed", 0 }, { err.code, err.written })
      end)
   end)

   describe("ends", function()
      it("its own side and still reads", function()
         local channel <close> = assert(session:exec("cat; echo still here; echo err >&2; exit 6"))
         assert(channel:write("data "))
         channel:eof()
         assert.equal("data still here\n", channel:read("a"))
         assert.equal("err\n", channel:read_stderr("a"))
         assert.equal(6, channel:wait())
      end)

      it("at the server's side, and is still written to", function()
         local channel <close> = assert(session:exec("exec >&- 2>&-; read x; exit $x"))
         assert.is_nil(channel:read("l"))
         assert.is_nil(channel:read_stderr("l"))
         assert(channel:write("7\n"))
         assert.equal(7, channel:wait())
      end)

      it("with a status, a signal, or neither known before", function()
         local channel <close> = assert(session:exec("read x; kill -TERM $$"))
         assert.equal("timeout", select(2, channel:wait(0.05)).code)
         assert(channel:write("x\n"))
         assert.same({ n = 2, nil, "TERM" }, table.pack(channel:wait()))
      end)

      it("when it is closed, in mid transfer, before its data, or twenty times at once", function()
         for _, command in ipairs{ "yes", "true", "cat", "yes >&2" } do
            for _ = 1, 5 do
               assert(session:exec(command)):close()
            end
         end
         for i = 1, 20 do
            local channel = assert(session:exec("yes"))
            if i % 2 == 0 then
               assert(channel:read(100000))
            else
               channel:eof()
            end
            channel:close()
         end
         assert.equal("fine\n", assert(session:run("echo fine")).stdout)
      end)

      it("when it is collected", function()
         for _ = 1, 50 do
            assert(session:exec("cat"))
         end
         collectgarbage()
         collectgarbage()
         assert.equal("fine\n", assert(session:run("echo fine")).stdout)
         waiting.await(function()
            return tonumber(assert(session:run("pgrep -P $PPID | wc -l")).stdout) < 50
         end, "the end of a command")
      end)
   end)

   describe("on a terminal", function()
      it("is told a new size", function()
         local channel <close> = assert(session:exec("stty size; read x; stty size",
            { pty = { columns = 100, rows = 30 } }))
         assert.equal("30 100\r", channel:read("l"))
         assert.equal(channel, channel:resize(132, 50))
         assert(channel:write("\n"))
         assert.equal(1, (channel:expect("50 132\r\n")))
         for _, wrong in ipairs{ { -1, 1 }, { 1, 1 << 32 }, { "x", 1 }, { 1 } } do
            assert.error_matches(function()
               channel:resize(wrong[1], wrong[2])
            end, "bad argument #%d to 'resize'")
         end
      end)

      it("is talked to with expect", function()
         local channel <close> = assert(session:shell{ pty = true })
         assert.equal(1, (channel:expect{ "[#$] $" }))
         assert(channel:write("PS1='re''ady> '\n"))
         assert.equal(1, (channel:expect("ready> ", { plain = true })))
         assert(channel:write("echo $((6*7))-$((1+1))\n"))
         local index, text, first, second = channel:expect{ "(no)match", "(%d+)%-(%d+)\r\n" }
         assert.same({ 2, "42", "2" }, { index, first, second })
         assert.is_truthy(text:find("\n42%-2\r\n$"))
         assert.equal(1, (channel:expect("ready> ", { plain = true })))
         local none, err = channel:expect("never", { timeout = 0.05 })
         assert.is_nil(none)
         assert.same({ "timeout", "read", "" }, { err.code, err.stage, err.result })
         assert(channel:write("printf 'a%sb' xxxxxxxxxx; exit 4\n"))
         none, err = channel:expect("never", { max = 20 })
         assert.is_nil(none)
         assert.same({ "limit", 20 }, { err.code, #err.result })
         none, err = channel:expect("never")
         assert.is_nil(none)
         assert.equal("eof", err.code)
         assert.is_truthy(err.result:find("axxxxxxxxxxb", 1, true))
         assert.equal(4, channel:wait())
      end)

      it("is interrupted as by hand", function()
         local channel <close> = assert(session:shell{ pty = true })
         -- What is interrupted tells itself that it has begun: the shell is deaf while it starts it.
         assert(channel:write("sh -c \"echo be''gin; exec sleep 1000\"\n"))
         assert(channel:expect("begin\r\n"))
         assert(channel:write("\3"))
         assert(channel:expect("[#$] $"))
         assert(channel:write("echo st''atus $?\n"))
         assert.equal("130", select(3, channel:expect("status (%d+)\r\n")))
         assert(channel:write("\4"))
         assert.is_nil(select(2, channel:read("a")))
         assert.equal("number", type((channel:wait())))
      end)

      it("takes a break, which it is told", function()
         local channel <close> = assert(session:exec("cat", { pty = true }))
         assert.is_true(channel:break_(100))
         local plain <close> = assert(session:exec("cat"))
         local ok, err = plain:break_(100)
         assert.is_nil(ok)
         assert.same({ "channel_request", "break" }, { err.code, err.request })
         assert(plain:write("on\n"))
         assert.equal("on", plain:read("l"))
      end)
   end)

   describe("runs", function()
      it("a shell", function()
         local channel <close> = assert(session:shell())
         assert(channel:write("echo $((1+2)); echo err >&2\nexit 8\n"))
         assert.equal("3\n", channel:read("a"))
         assert.equal("err\n", channel:read_stderr("a"))
         assert.equal(8, channel:wait())
      end)

      it("a subsystem", function()
         local channel <close> = assert(session:subsystem("sftp"))
         assert(channel:write(string.pack(">I4BI4", 5, 1, 3)))
         local length = string.unpack(">I4", channel:read(4))
         local kind, version = string.unpack(">BI4", channel:read(length))
         assert.same({ 2, 3 }, { kind, version })
         channel:eof()
         assert.equal("", channel:read("a"))
         assert.equal(0, channel:wait())
      end)

      it("no subsystem that is missing, which is told", function()
         local channel, err = session:subsystem("nothing")
         assert.is_nil(channel)
         assert.same({ "channel_request", "subsystem" }, { err.code, err.request })
         assert.equal("fine\n", assert(session:run("echo fine")).stdout)
      end)

      it("a command, step by step", function()
         local channel <close> = assert(session:open())
         assert.is_true(channel:setenv("WHO", "moon"))
         assert.is_true(channel:request_pty{ term = "vt100", columns = 90, rows = 20 })
         assert.is_true(channel:exec("echo $WHO $TERM; stty size"))
         assert.equal("moon vt100\r\n20 90\r\n", channel:read("a"))
         assert.equal(0, channel:wait())
      end)

      it("one thing only", function()
         local channel = assert(session:open())
         assert.is_true(channel:exec{ "echo", "a  b" })
         local ok, err = channel:exec("echo again")
         assert.is_nil(ok)
         assert.is_true(err.code == "channel_request" or err.code == "closed", err.code)
         assert.equal("a  b\n", channel:read("a"))
         channel:close()
         channel = assert(session:open())
         assert.is_true(channel:shell())
         channel:eof()
         assert.equal(0, channel:wait())
         channel:close()
         channel = assert(session:open())
         assert.equal("channel_request", select(2, channel:subsystem("nothing")).code)
         channel:close()
      end)
   end)

   describe("gives its stderr", function()
      it("to nobody", function()
         local channel <close> = assert(session:exec("head -c 20000000 /dev/zero >&2; echo done",
            { stderr = "discard" }))
         assert.equal("done", channel:read("l"))
         assert.is_nil(channel:read_stderr("l"))
      end)

      it("among its stdout", function()
         local channel <close> = assert(session:exec("echo a; read x; echo b >&2; read x; echo c",
            { stderr = "merge" }))
         for _, letter in ipairs{ "a", "b", "c" } do
            assert.equal(letter, channel:read("l"))
            assert(letter == "c" or channel:write("\n"))
         end
         assert.is_nil(channel:read_stderr("l"))
      end)

      it("to a function, all of it", function()
         local pieces = {}
         local channel <close> = assert(session:exec("yes | head -c 20000000 >&2; echo done; exit 2", {
            stderr = function(chunk)
               pieces[#pieces + 1] = chunk
               if #pieces % 20 == 0 then
                  ssh.loop.sleep(0)
               end
            end,
         }))
         assert.equal("done", channel:read("l"))
         assert.is_nil(channel:read("l"))
         assert.equal(2, channel:wait())
         assert.is_true(table.concat(pieces) == ("y\n"):rep(10000000))
      end)

      it("to its reader, within the window: then a read of the other stream says so", function()
         local channel <close> = assert(session:exec("head -c 20000000 /dev/zero >&2; echo done"))
         for _ = 1, 2 do
            local line, err = channel:read("l")
            assert.is_nil(line)
            assert.same({ "limit", "stderr" }, { err.code, err.stage })
            local status
            status, err = channel:wait()
            assert.is_nil(status)
            assert.same({ "limit", "stderr" }, { err.code, err.stage })
         end
         assert.same({ "limit", "stderr" }, { (function(_, err)
            return err.code, err.stage
         end)(channel:expect("done")) })
         assert.equal(20000000, #channel:read_stderr(20000000))
         assert.equal("done", channel:read("l"))
         assert.equal(0, channel:wait())
      end)

      it("before its stdout, where that fills the window", function()
         local channel <close> = assert(session:exec("head -c 20000000 /dev/zero; echo done >&2"))
         local line, err = channel:read_stderr("l")
         assert.is_nil(line)
         assert.same({ "limit", "stdout" }, { err.code, err.stage })
         assert.equal(20000000, #channel:read("a"))
         assert.equal("done", channel:read_stderr("l"))
      end)

      it("in a way there is", function()
         assert.error_matches(function()
            session:exec("true", { stderr = "keeep" })
         end, "'stderr': unknown mode 'keeep'")
      end)
   end)

   describe("is one of many", function()
      it("at once, thirty of them", function()
         local channels = {}
         for i = 1, 30 do
            channels[i] = assert(session:exec("while read x; do echo $x " .. i .. "; done"))
         end
         for round = 1, 3 do
            for i = 30, 1, -1 do
               assert(channels[i]:write(round, "\n"))
            end
            for i = 1, 30 do
               assert.equal(round .. " " .. i, channels[i]:read("l"))
            end
         end
         for i = 1, 30 do
            channels[i]:eof()
            assert.equal(0, channels[i]:wait())
            channels[i]:close()
         end
      end)

      it("and holds up no other when it is not read, nor takes more than its window", function()
         local other <close> = assert(dial(sshd))
         local unread = {}
         for i = 1, 3 do
            unread[i] = assert(other:exec("yes " .. i))
         end
         for i = 1, 20 do
            assert.equal(i .. "\n", assert(other:run("echo " .. i)).stdout)
         end
         assert.equal(20 * MIB, #assert(other:run("head -c 20971520 /dev/zero")).stdout)
         assert.is_true(other._core:memory() < 8 * MIB)
         for i = 1, 3 do
            assert.equal((i .. "\n"):rep(100), unread[i]:read(200))
            unread[i]:close()
         end
      end)

      it("with windows as small as asked for", function()
         local other <close> = assert(dial(sshd, { limits = { window = 32768, packet = 32768, queue = 65536 } }))
         local data = core.random(MIB):rep(4)
         assert.is_true(assert(other:run("cat", { stdin = data })).stdout == data)
         local channel <close> = assert(other:exec("yes"))
         assert(channel:read("l"))
         assert.equal("fine\n", assert(other:run("echo fine")).stdout)
         assert.is_true(other._core:memory() < MIB)
      end)

      it("but no more than the session may have", function()
         local other <close> = assert(dial(sshd, { limits = { channels = 3 } }))
         local channels = {}
         for i = 1, 3 do
            channels[i] = assert(other:exec("cat"))
         end
         local channel, err = other:exec("cat")
         assert.is_nil(channel)
         assert.equal("limit", err.code)
         channels[1]:close()
         channels[2]:eof()
         assert.equal(0, channels[2]:wait())
         channels[2]:close()
         assert.equal("fine\n", assert(other:run("echo fine")).stdout)
      end)

      it("but no more than the server lets us have", function()
         local narrow <close> = server.sshd{ config = "MaxSessions 3\nLogLevel INFO" }
         local other <close> = assert(dial(narrow))
         local channels = {}
         for i = 1, 3 do
            channels[i] = assert(other:exec("cat"))
         end
         for _ = 1, 3 do
            local channel, err = other:exec("cat")
            assert.is_nil(channel)
            assert.same({ "channel_open", 2, "open failed" }, { err.code, err.reason, err.text })
            assert.is_truthy(tostring(err):find("connect failed", 1, true))
         end
         channels[1]:eof()
         assert.equal(0, channels[1]:wait())
         assert.is_nil(channels[1]:read("l"))
         channels[1]:close()
         -- sshd has room again once it has looked after its closed channels.
         local result
         process.wait_until(function()
            result = other:run("echo fine")
            return result
         end, 60, "room for a channel")
         assert.equal("fine\n", result.stdout)
      end)
   end)
end)

describe("a channel of asyncssh", function()
   it("tells it signals, breaks and sizes in their order", function()
      local asyncssh <close> = server.asyncssh()
      local session <close> = assert(dial(asyncssh))
      local channel <close> = assert(session:exec("events", { pty = true }))
      assert.equal("ready", channel:read("l", 60))
      assert.equal(channel, channel:signal("TERM"))
      assert.equal("signal TERM", channel:read("l", 60))
      assert.equal(channel, channel:signal("SIGUSR1"))
      assert.equal("signal USR1", channel:read("l", 60))
      assert.equal(channel, channel:resize(70, 20))
      assert.equal("size 70 20", channel:read("l", 60))
      assert.is_true(channel:break_(500))
      assert.equal("break 500", channel:read("l", 60))
      channel:eof()
      assert.equal(0, channel:wait(60))
   end)

   it("may be closed by the server without a word", function()
      local asyncssh <close> = server.asyncssh()
      local session <close> = assert(dial(asyncssh))
      local channel <close> = assert(session:exec("close said"))
      assert.same({ n = 2 }, table.pack(channel:wait(60)))
      assert.equal("said", channel:read("a"))
      assert.equal("after", assert(session:run("echo after")).stdout)
   end)
end)
