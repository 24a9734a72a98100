local loop = require "moonssh.loop"
local memory = require "spec.support.memory"
local messages = require "spec.support.messages"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"

local function code_of(value, err)
   return value, err and err.code
end

describe("a channel", function()
   local link, session, peer, channel

   local function start(options, server, adapter)
      server = server or {}
      server.exec = server.exec or function(end_of_server)
         peer = end_of_server
      end
      link = memory.connect{ server = server, session = { loop = adapter,
         limits = { window = 2 * 1024 * 1024 } } }
      session = link.session
      channel = assert(session:exec("talk", options))
   end

   before_each(function()
      start()
   end)

   after_each(function()
      session:close()
   end)

   local function later(f)
      return ssh.spawn(function()
         loop.sleep(0.001)
         f()
      end)
   end

   describe("reads", function()
      it("what is there, waiting for a byte", function()
         peer:write("abc"):write("def")
         assert.equal("abcdef", channel:read())
         later(function() peer:write("x") end)
         assert.equal("x", channel:read())
         peer:eof()
         assert.is_nil(channel:read())
         assert.same({ n = 1 }, table.pack(channel:read()))
      end)

      it("lines, with their end or without", function()
         peer:write("one\ntwo\r\n\nthree"):eof()
         assert.equal("one", channel:read("l"))
         assert.equal("two\r\n", channel:read("L"))
         assert.equal("", channel:read("l"))
         assert.equal("three", channel:read("L"))
         assert.is_nil(channel:read("l"))
      end)

      it("a line that comes in pieces", function()
         later(function()
            peer:write("a long ")
            loop.sleep(0.001)
            peer:write("line\nnext")
         end)
         assert.equal("a long line", channel:read("l"))
         assert.equal("next", channel:read(4))
         for _, piece in ipairs{ "x", "yz" } do
            peer:write(piece)
            assert.same({ nil, "timeout" }, { code_of(channel:read("l", 0)) })
         end
         peer:write("\nnext")
         assert.equal("xyz", channel:read("l"))
         assert.equal("next", channel:read(4))
      end)

      it("a line longer than the window", function()
         local line = ("0123456789abcdef"):rep(150000)
         later(function() peer:write(line .. "\nrest") end)
         assert.equal(line, channel:read("*l"))
         assert.equal("rest", channel:read(4))
      end)

      it("a count, or less at end of file", function()
         peer:write("abcdefg")
         assert.equal("abc", channel:read(3))
         assert.equal("", channel:read(0))
         later(function() peer:write("h"):eof() end)
         assert.equal("defgh", channel:read(100))
         assert.is_nil(channel:read(1))
         assert.is_nil(channel:read(0))
      end)

      it("a count larger than the window", function()
         local data = ("0123456789abcdef"):rep(300000)
         later(function() peer:write(data .. "rest") end)
         assert.equal(data, channel:read(#data))
         assert.equal("rest", channel:read(4))
      end)

      it("everything up to end of file", function()
         local data = ("0123456789abcdef"):rep(300000)
         later(function() peer:write(data):finish(0) end)
         assert.equal(data, channel:read("a"))
         assert.equal("", (channel:read("a")))
         assert.is_nil(channel:read("l"))
      end)

      it("stderr apart from stdout", function()
         peer:write("out"):write("err", 1):write("line\n", 1):eof()
         assert.equal("out", channel:read("a"))
         assert.equal("errline", channel:read_stderr("l"))
         assert.is_nil(channel.stderr:read())
      end)

      it("lines in a loop", function()
         peer:write("1\n2\n3"):eof()
         local lines = {}
         for line in channel:lines() do
            table.insert(lines, line)
         end
         assert.same({ "1", "2", "3" }, lines)
         start()
         peer:write("a\nb\n", 1):eof()
         lines = {}
         for line in channel.stderr:lines("L") do
            table.insert(lines, line)
         end
         assert.same({ "a\n", "b\n" }, lines)
      end)

      it("in a loop that raises the error it meets", function()
         session.timeout = 0.01
         local ok, err = pcall(function()
            for _ in channel:lines() do
               error("no line came")
            end
         end)
         assert.is_false(ok)
         assert.equal("timeout", err.code)
      end)

      it("until a timeout, losing nothing", function()
         peer:write("half")
         assert.same({ nil, "timeout" }, { code_of(channel:read("l", 0.01)) })
         assert.same({ nil, "timeout" }, { code_of(channel:read(10, 0.01)) })
         assert.same({ nil, "timeout" }, { code_of(channel:read("a", 0.01)) })
         peer:write(" line\n")
         assert.equal("half line", channel:read("l", 60))
         local ok, err = channel:read(nil, 0.001)
         assert.is_nil(ok)
         assert.equal("read", err.stage)
      end)

      it("with a timeout of 0 what is there already", function()
         peer:write("here")
         assert.equal("here", channel:read(nil, 0))
         assert.same({ nil, "timeout" }, { code_of(channel:read(nil, 0)) })
      end)

      it("for one task at a time", function()
         local first = ssh.spawn(function() return channel:read("l") end)
         loop.sleep(0)
         local ok, err = channel:read()
         assert.is_nil(ok)
         assert.equal("busy", err.code)
         assert.equal("stdout", err.stage)
         local second = ssh.spawn(function() return channel:read_stderr("l") end)
         peer:write("out\n"):write("err\n", 1)
         assert.equal("out", first:wait())
         assert.equal("err", second:wait())
         first = ssh.spawn(function() return channel:read("l") end)
         loop.sleep(0)
         first:cancel()
         peer:write("free\n")
         assert.equal("free", channel:read("l"))
      end)

      it("8-bit data as it is", function()
         local bytes = {}
         for i = 0, 255 do
            bytes[i + 1] = string.char(i)
         end
         bytes = table.concat(bytes)
         peer:write(bytes)
         assert.equal(bytes, channel:read(256))
      end)

      it("raising for wrong formats", function()
         for _, what in ipairs{ "n", "x", "", -1, 1.5, {}, true } do
            assert.error_matches(function() channel:read(what) end, "bad argument #1 to 'read' %(invalid format%)")
         end
         assert.error_matches(function() channel:lines("n") end, "bad argument #1 to 'lines'")
         assert.error_matches(function() channel:read("l", "x") end, "bad argument #2 to 'read'")
      end)
   end)

   describe("whose streams share a window", function()
      local flood = ("x"):rep(3 * 1024 * 1024)

      it("tells of unread stderr that holds up stdout", function()
         peer:write(flood, 1):write("out")
         local ok, err = channel:read("l")
         assert.is_nil(ok)
         assert.equal("limit", err.code)
         assert.equal("stderr", err.stage)
         assert.equal(#flood, #channel:read_stderr(#flood))
         assert.equal("out", channel:read(3))
      end)

      it("tells of unread stdout that holds up stderr, and the end", function()
         peer:write(flood):finish(0)
         local ok, err = channel:read_stderr()
         assert.is_nil(ok)
         assert.equal("limit", err.code)
         assert.equal("stdout", err.stage)
         ok, err = channel:wait()
         assert.is_nil(ok)
         assert.equal("limit", err.code)
         assert.equal("stdout", err.stage)
         assert.equal(#flood, #channel:read("a"))
         assert.equal(0, (channel:wait()))
      end)

      it("holds up no other channel", function()
         peer:write(flood)
         link:settle()
         local other
         link.server.exec = function(end_of_server)
            other = end_of_server
            other:write("hello"):finish(0)
         end
         assert.equal("hello", assert(session:run("x")).stdout)
      end)

      it("may discard stderr", function()
         start{ stderr = "discard" }
         peer:write(flood, 1):write("out\n")
         assert.equal("out", channel:read("l"))
         peer:eof()
         assert.is_nil(channel:read_stderr())
      end)

      it("may merge stderr into stdout, in the order in which they came", function()
         start{ stderr = "merge" }
         peer:write("1 "):write("2 ", 1):write("3"):eof()
         assert.equal("1 2 3", channel:read("a"))
         assert.is_nil(channel:read_stderr())
      end)

      it("may give stderr to a function, in the task that waits for the channel", function()
         local pieces, tasks = {}, {}
         start{
            stderr = function(piece)
               table.insert(pieces, piece)
               tasks[coroutine.running()] = true
               loop.sleep(0)
            end,
         }
         local reader
         reader = ssh.spawn(function()
            return channel:read("a"), coroutine.running()
         end)
         peer:write(flood, 1):write("out"):write("small", 1):eof()
         local out, thread = reader:wait()
         assert.equal("out", out)
         assert.equal(flood .. "small", table.concat(pieces))
         assert.same({ [thread] = true }, tasks)
      end)

      it("raises for an unknown mode", function()
         assert.error_matches(function() session:exec("x", { stderr = "both" }) end,
            "bad argument #2 to 'exec' %(option 'stderr': unknown mode 'both'%)")
      end)
   end)

   describe("writes", function()
      it("strings and numbers, one after the other, and gives itself", function()
         assert.equal(channel, channel:write("a", 1, 2.5, "\0"))
         assert.equal("a12.5\0", peer.received)
      end)

      it("more than the window, as it opens", function()
         start(nil, { window = 50000, keeps_window = true })
         local data = ("0123456789"):rep(50000)
         local writer = ssh.spawn(function()
            return channel:write(data)
         end)
         loop.sleep(0.001)
         assert.equal(50000, #peer.received)
         assert.is_false(writer.closed)
         for i = 2, 10 do
            peer:grant(50000)
            waiting.await(function() return #peer.received == i * 50000 end, "what the window allows")
         end
         assert.equal(channel, writer:wait(60))
         assert.equal(data, peer.received)
      end)

      it("until a timeout, and tells how far it got", function()
         start(nil, { window = 1000, keeps_window = true })
         session.timeout = 0.02
         local ok, err = channel:write(("x"):rep(5000))
         assert.is_nil(ok)
         assert.equal("timeout", err.code)
         assert.equal("write", err.stage)
         assert.equal(1000, err.written)
      end)

      it("several strings, and tells how far it got in all", function()
         start(nil, { window = 1000, keeps_window = true })
         session.timeout = 0.02
         local _, err = channel:write("abc", 12, ("x"):rep(5000))
         assert.same({ "timeout", 1000 }, { err.code, err.written })
         assert.equal("abc12" .. ("x"):rep(995), peer.received)
      end)

      it("whole strings, when several tasks write", function()
         start(nil, { window = 3000, keeps_window = true })
         local tasks = {}
         for i = 1, 4 do
            tasks[i] = ssh.spawn(function()
               return channel:write((tostring(i)):rep(10000))
            end)
         end
         while #peer.received < 40000 do
            loop.sleep(0.001)
            peer:grant(3000)
         end
         for i = 1, 4 do
            assert.equal(channel, tasks[i]:wait(60))
         end
         local seen = {}
         for i = 1, 4 do
            local part = peer.received:sub(10000 * i - 9999, 10000 * i)
            assert.equal(part:sub(1, 1):rep(10000), part)
            seen[part:sub(1, 1)] = true
         end
         assert.same({ ["1"] = true, ["2"] = true, ["3"] = true, ["4"] = true }, seen)
      end)

      it("not after eof", function()
         assert.equal(channel, channel:eof())
         assert.is_true(peer.eof_received)
         assert.error_matches(function() channel:write("x") end, "attempt to write after 'eof'")
         assert.equal(channel, channel:eof())
      end)

      it("not to a channel that the server has closed", function()
         peer:close()
         link:settle()
         assert.same({ nil, "closed" }, { code_of(channel:write("x")) })
         assert.same({ nil, "closed" }, { code_of(channel:signal("TERM")) })
         assert.equal(channel, channel:eof())
      end)

      it("raising for what is no string", function()
         assert.error_matches(function() channel:write("a", {}) end,
            "bad argument #2 to 'write' %(string or number expected, got table%)")
      end)
   end)

   describe("sends", function()
      local function last_request()
         local list = link.server:received("channel_request")
         return list[#list]
      end

      it("signals, sizes and breaks", function()
         assert.equal(channel, channel:signal("TERM"))
         assert.same({ "signal", false, string.pack(">s4", "TERM") },
            { last_request().name, last_request().want, last_request().data })
         channel:signal("SIGHUP")
         assert.equal(string.pack(">s4", "HUP"), last_request().data)
         channel:resize(132, 43)
         assert.same({ "window-change", string.pack(">I4I4I4I4", 132, 43, 0, 0) },
            { last_request().name, last_request().data })
         assert.is_true(channel:break_(500))
         assert.same({ "break", true, string.pack(">I4", 500) },
            { last_request().name, last_request().want, last_request().data })
         assert.error_matches(function() channel:resize(-1, 2) end, "bad argument #1 to 'resize'")
         assert.error_matches(function() channel:signal(9) end, "bad argument #1 to 'signal'")
      end)

      it("variables, a terminal and the command in one flight with the confirmed open", function()
         local from = #link.server.log
         local other = assert(session:exec({ "ls", "a b" }, {
            env = { LANG = "C" },
            pty = { term = "vt100", columns = 100, rows = 30, modes = { ECHO = 0, VINTR = 3, IUTF8 = true } },
         }))
         local names = {}
         for i = from + 1, #link.server.log do
            local message = link.server.log[i]
            table.insert(names, message.name or message.type or message.kind)
         end
         assert.same({ "session", "pty-req", "env", "exec" }, names)
         local log = link.server.log
         assert.equal(string.pack(">s4", "ls 'a b'"), log[#log].data)
         assert.equal(string.pack(">s4s4", "LANG", "C"), log[#log - 1].data)
         assert.is_false(log[#log - 1].want)
         assert.equal(string.pack(">s4I4I4I4I4s4", "vt100", 100, 30, 0, 0,
            string.pack(">BI4BI4BI4B", 1, 3, 42, 1, 53, 0, 0)), log[#log - 2].data)
         other:close()
      end)

      it("nothing of a wrong terminal", function()
         local function raises(pty, message)
            assert.error_matches(function() session:exec("x", { pty = pty }) end, message)
         end
         raises({ colums = 1 }, "unknown option 'colums'")
         raises({ columns = -1 }, "columns: an integer from 0 to 2%^32%-1 expected, got %-1")
         raises({ modes = { ECO = 1 } }, "unknown terminal mode 'ECO'")
         raises({ modes = { ECHO = "on" } }, "terminal mode ECHO: an integer")
         assert.error_matches(function() session:exec("x", { env = { A = {} } }) end,
            "environment variables are strings")
      end)

      it("step by step on a channel with nothing started", function()
         local open = assert(session:open())
         assert.is_true(open:request_pty{ term = "dumb" })
         assert.is_true(open:setenv("A", "b"))
         assert.is_true(open:exec("talk"))
         peer:write("hi"):finish(3)
         assert.equal("hi", open:read("a"))
         assert.equal(3, (open:wait()))
         local names = {}
         for _, message in ipairs(link.server:received("channel_request")) do
            table.insert(names, message.name)
         end
         assert.same({ "exec", "pty-req", "env", "exec" }, names)
      end)
   end)

   describe("is refused", function()
      it("with the server's reason", function()
         link.server.on.channel_open = function(server, message)
            server:send(messages.open_failure(message.sender, 4, "no \27room", "en"))
            return true
         end
         local other, err = session:exec("x")
         assert.is_nil(other)
         assert.equal("channel_open", err.code)
         assert.equal(4, err.reason)
         assert.equal("no \27room", err.text)
         assert.equal("the server refused the channel: resource shortage (no \\x1broom)", err.message)
         assert.equal("channel_open", select(2, session:run("x")).code)
         assert.is_true(session:ping() >= 0)
      end)

      it("when a request is, and then closed", function()
         link.server.on.channel_request = function(server, message)
            server:send(messages.channel_failure(server.channels[message.channel].peer))
            return true
         end
         local other, err = session:subsystem("sftp")
         assert.is_nil(other)
         assert.equal("channel_request", err.code)
         assert.equal("subsystem", err.request)
         link:settle()
         assert.equal(1, #link.server:received("channel_close"))
         local open = assert(session:open())
         assert.equal("channel_request", select(2, open:shell()).code)
         open:close()
      end)

      it("in time", function()
         start(nil, nil, waiting.clock())
         link.server.on.channel_open = function() return true end
         local other, err = session:exec("x", { timeout = 0.02 })
         assert.is_nil(other)
         assert.equal("timeout", err.code)
         assert.equal("open", err.stage)
         link.server.on.channel_open = nil
         link.server.on.channel_request = function() return true end
         other, err = session:exec("x", { timeout = 0.02 })
         assert.is_nil(other)
         assert.equal("request", err.stage)
      end)
   end)

   describe("ends", function()
      it("with a status", function()
         peer:finish(7)
         assert.same({ 7, n = 2 }, table.pack(channel:wait()))
         assert.same({ 7, n = 2 }, table.pack(channel:wait()))
      end)

      it("with a signal", function()
         peer:send(messages.exit_signal(peer.peer, "KILL", true, "oops", "en")):eof():close()
         assert.same({ nil, "KILL", n = 2 }, table.pack(channel:wait()))
      end)

      it("with neither", function()
         peer:close()
         assert.same({ n = 2 }, table.pack(channel:wait()))
      end)

      it("or not, until a timeout", function()
         assert.same({ nil, "timeout" }, { code_of(channel:wait(0.01)) })
      end)

      it("with what came before still to be read", function()
         peer:write("last words"):finish(0)
         assert.equal(0, (channel:wait()))
         assert.equal("last words", channel:read("a"))
      end)
   end)

   describe("is closed", function()
      it("once, and cannot be used then", function()
         assert.is_false(channel.closed)
         channel:close()
         channel:close()
         assert.is_true(channel.closed)
         assert.equal(1, #link.server:received("channel_close"))
         for _, name in ipairs{ "read", "write", "eof", "wait", "expect", "lines", "signal", "read_stderr" } do
            assert.error_matches(function() channel[name](channel, "x") end,
               ("attempt to use a closed channel %%(in '%s'%%)"):format(name))
         end
         assert.error_matches(function() channel.stderr:read() end, "attempt to use a closed channel")
      end)

      it("at the end of its block", function()
         do
            local other <close> = assert(session:exec("x"))
            assert.is_false(other.closed)
         end
         assert.equal(1, #link.server:received("channel_close"))
      end)

      it("under a task that reads, which is told", function()
         local reader = ssh.spawn(function() return channel:read() end)
         local waiter = ssh.spawn(function() return channel:wait() end)
         loop.sleep(0)
         channel:close()
         assert.same({ nil, "closed" }, { code_of(reader:wait(60)) })
         assert.same({ nil, "closed" }, { code_of(waiter:wait(60)) })
      end)

      it("with its session, under a task that reads", function()
         local reader = ssh.spawn(function() return channel:read() end)
         loop.sleep(0)
         session:close()
         assert.same({ nil, "closed" }, { code_of(reader:wait(60)) })
         assert.error_matches(function() channel:read() end, "attempt to use a closed session")
         channel:close()
         assert.is_true(channel.closed)
      end)

      it("when it is collected", function()
         channel = nil
         collectgarbage()
         collectgarbage()
         assert.is_true(session:ping() >= 0)
         assert.equal(1, #link.server:received("channel_close"))
      end)
   end)

   it("that was collected makes room for another", function()
      session:close()
      link = memory.connect{ session = { limits = { channels = 1 } } }
      session = link.session
      link.server.exec = function() end
      do
         channel = assert(session:exec("first"))
         assert.same({ nil, "limit" }, { code_of(session:exec("second")) })
         channel = nil
      end
      collectgarbage()
      collectgarbage()
      link:settle()
      channel = assert(session:exec("second"))
   end)

   describe("of a session that has failed", function()
      it("gives what came before the peer's DISCONNECT, then the failure", function()
         peer:write("last line\nrest")
         link:send(messages.disconnect(11, "bye", ""))
         link:settle()
         assert.equal("disconnected", session.failure.code)
         assert.equal("last line", channel:read("l"))
         assert.equal("rest", channel:read())
         assert.equal(session.failure, select(2, channel:read()))
         assert.equal(session.failure, select(2, channel:write("x")))
         assert.equal(session.failure, select(2, channel:wait()))
      end)

      it("gives nothing after the peer broke the protocol", function()
         peer:write("data")
         link:send(messages.channel_data(99, "to nobody"))
         link:settle()
         assert.equal("protocol", session.failure.code)
         assert.same({ nil, session.failure }, { channel:read() })
         assert.same({ nil, session.failure }, { channel:expect("d") })
      end)
   end)
end)
