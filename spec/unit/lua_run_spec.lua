local loop = require "moonssh.loop"
local memory = require "spec.support.memory"
local messages = require "spec.support.messages"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"

describe("session:run", function()
   local link, session, commands

   local function connect(options)
      commands = {}
      link = memory.connect{
         session = options,
         server = {
            exec = function(channel, line)
               local name = line:match("^%S+")
               commands[name](channel, line)
            end,
         },
      }
      session = link.session
      function commands.cat(channel)
         channel.on_data = channel.write
         channel.on_eof = function() channel:finish(0) end
      end
   end

   before_each(function()
      connect()
   end)

   after_each(function()
      session:close()
   end)

   it("gives both streams and the status", function()
      function commands.both(channel)
         channel:write("out"):write("err", 1):write("put"):write("or", 1):finish(3)
      end
      assert.same({ stdout = "output", stderr = "error", status = 3, ok = false },
         session:run("both"))
      function commands.ok(channel)
         channel:finish(0)
      end
      assert.same({ stdout = "", stderr = "", status = 0, ok = true }, session:run("ok"))
   end)

   it("gives the signal that ended it, or neither", function()
      function commands.killed(channel)
         channel:write("x"):send(messages.exit_signal(channel.peer, "TERM", false, "", "")):eof():close()
      end
      assert.same({ stdout = "x", stderr = "", signal = "TERM", ok = false }, session:run("killed"))
      function commands.vanished(channel)
         channel:close()
      end
      assert.same({ stdout = "", stderr = "", ok = false }, session:run("vanished"))
   end)

   it("closes its channel, and sends end of file at once where there is no input", function()
      local eof
      function commands.check(channel)
         channel.on_eof = function()
            eof = true
            channel:finish(0)
         end
      end
      assert.is_true(session:run("check").ok)
      assert.is_true(eof)
      link:settle()
      assert.equal(1, #link.server:received("channel_close"))
      assert.is_nil(next(link.server.channels))
   end)

   it("sends request, input and end of file in one flight", function()
      local from = #link.server.log
      assert.equal("data", session:run("cat", { stdin = "data" }).stdout)
      local kinds = {}
      for i = from + 1, #link.server.log do
         local message = link.server.log[i]
         table.insert(kinds, message.name or message.type or message.kind)
      end
      assert.same({ "session", "exec", "channel_data", "channel_eof" }, { table.unpack(kinds, 1, 4) })
   end)

   it("quotes a list of words", function()
      function commands.printf(channel, line)
         channel:write(line):finish(0)
      end
      assert.equal([[printf '%s\n' 'a b' 'it'\''s']], session:run{ "printf", "%s\\n", "a b", "it's" }.stdout)
   end)

   it("sends input from a string larger than any window", function()
      local data = ("0123456789abcdef"):rep(100000)
      link.server.window = 20000
      assert.equal(data, session:run("cat", { stdin = data }).stdout)
   end)

   it("sends input from a function, which may wait", function()
      local i = 0
      local result = session:run("cat", {
         stdin = function()
            i = i + 1
            if i <= 3 then
               loop.sleep(0.001)
               return "piece " .. i .. "\n"
            end
         end,
      })
      assert.equal("piece 1\npiece 2\npiece 3\n", result.stdout)
      assert.equal(4, i)
   end)

   it("goes on taking output while the input function waits for it", function()
      local seen = ""
      local lines = { "first", "second" }
      local result = session:run("cat", {
         stdin = function()
            local line = table.remove(lines, 1)
            if line == "second" then
               waiting.await(function() return seen:find("first", 1, true) end, "the first line")
            end
            return line
         end,
         stdout = function(chunk) seen = seen .. chunk end,
      })
      assert.equal("firstsecond", seen)
      assert.equal("", result.stdout)
   end)

   it("leaves an input function that still waits when the command has ended", function()
      local left
      function commands.quick(channel)
         channel.on_data = function() channel:write("done"):finish(0) end
      end
      local pieces = { "go on" }
      assert.equal("done", session:run("quick", {
         stdin = function()
            if pieces[1] then
               return table.remove(pieces)
            end
            local _ <close> = setmetatable({}, { __close = function() left = true end })
            loop.sleep(60)
         end,
      }).stdout)
      assert.is_true(left)
   end)

   it("raises what the functions of its options throw, and gives the channel up", function()
      local cause = {}
      local function fail()
         load("error(...)")(cause)
      end
      function commands.talk(channel)
         channel:write("out"):write("err", 1)
      end
      for _, name in ipairs{ "stdin", "stdout", "stderr" } do
         local ok, caught = pcall(session.run, session, "talk", { [name] = fail })
         assert.is_false(ok)
         assert.equal(cause, caught)
      end
      local ok, caught = pcall(session.run, session, "talk", { stdin = function() return 12 end })
      assert.is_false(ok)
      assert.is_truthy(caught:find("bad result of stdin (string or nil expected, got number)", 1, true))
      link:settle()
      assert.equal(4, #link.server:received("channel_close"))
      assert.is_nil(session.failure)
   end)

   it("does not mind input that nobody reads", function()
      function commands.quick(channel)
         channel:write("done"):finish(0)
      end
      local data = ("x"):rep(5000000)
      assert.equal("done", session:run("quick", { stdin = data }).stdout)
      local calls = 0
      assert.equal("done", session:run("quick", {
         stdin = function()
            calls = calls + 1
            return data
         end,
      }).stdout)
      assert.is_true(calls <= 2)
   end)

   it("gives output to functions, which may wait and use the session", function()
      local out, err = {}, {}
      function commands.hello(channel)
         channel:write("hello"):finish(0)
      end
      function commands.lots(channel)
         for i = 1, 50 do
            channel:write(("%05d"):format(i):rep(1000)):write(("e%d "):format(i), 1)
         end
         channel:finish(0)
      end
      local result = session:run("lots", {
         stdout = function(chunk)
            table.insert(out, chunk)
            if #out == 3 then
               assert.equal("hello", session:run("hello").stdout)
            end
         end,
         stderr = function(chunk)
            table.insert(err, chunk)
            loop.sleep(0)
         end,
      })
      local expected, errors = {}, {}
      for i = 1, 50 do
         expected[i] = ("%05d"):format(i):rep(1000)
         errors[i] = ("e%d "):format(i)
      end
      assert.equal(table.concat(expected), table.concat(out))
      assert.equal(table.concat(errors), table.concat(err))
      assert.same({ stdout = "", stderr = "", status = 0, ok = true }, result)
   end)

   it("merges stderr into stdout in the order in which they came", function()
      function commands.mixed(channel)
         for i = 1, 20 do
            channel:write(("o%02d"):format(i):rep(i * 100)):write(("e%02d"):format(i):rep(i * 77), 1)
         end
         channel:finish(0)
      end
      local expected = {}
      for i = 1, 20 do
         table.insert(expected, ("o%02d"):format(i):rep(i * 100))
         table.insert(expected, ("e%02d"):format(i):rep(i * 77))
      end
      local result = session:run("mixed", { merge = true })
      assert.equal(table.concat(expected), result.stdout)
      assert.equal("", result.stderr)
   end)

   it("takes both streams together, however much comes on each", function()
      local piece = ("x"):rep(500000)
      function commands.flood(channel)
         for _ = 1, 8 do
            channel:write(piece):write(piece, 1)
         end
         channel:finish(0)
      end
      local result = session:run("flood")
      assert.equal(4000000, #result.stdout)
      assert.equal(4000000, #result.stderr)
   end)

   it("stops at max_output, with what there was", function()
      function commands.flood(channel)
         channel:write(("x"):rep(100000)):write("e", 1)
      end
      local result, err = session:run("flood", { max_output = 5000 })
      assert.is_nil(result)
      assert.equal("limit", err.code)
      assert.equal("stdout", err.stage)
      assert.equal(("x"):rep(5000), err.result.stdout)
      function commands.exact(channel)
         channel:write(("x"):rep(5000)):write(("y"):rep(5000), 1):finish(0)
      end
      assert.is_true(session:run("exact", { max_output = 5000 }).ok)
      local total = 0
      assert.is_true(session:run("exact", { max_output = 0, stderr = function() end, stdout = function(chunk)
         total = total + #chunk
      end }).ok)
      assert.equal(5000, total)
   end)

   it("ends in its timeout: signals and closes, and gives what there was", function()
      connect{ loop = waiting.clock() }
      function commands.slow(channel)
         channel:write("half")
      end
      local result, err = session:run("slow", { timeout = 0.03 })
      assert.is_nil(result)
      assert.equal("timeout", err.code)
      assert.equal("read", err.stage)
      assert.equal("half", err.result.stdout)
      assert.is_nil(err.result.status)
      link:settle()
      local requests = link.server:received("channel_request")
      assert.same({ "signal", string.pack(">s4", "TERM") }, { requests[#requests].name, requests[#requests].data })
      assert.equal(1, #link.server:received("channel_close"))
      assert.equal("x", session:run("cat", { stdin = "x" }).stdout)
   end)

   it("that is cancelled closes its channel, and the others go on", function()
      function commands.slow() end
      local task = ssh.spawn(function()
         return session:run("slow")
      end)
      local other = ssh.spawn(function()
         return session:run("cat", { stdin = function()
            waiting.await(function() return task.closed end, "the end of the first task")
         end })
      end)
      waiting.await(function() return #link.server:received("channel_request") == 2 end, "the commands")
      task:cancel()
      assert.equal("cancelled", select(2, task:wait()).code)
      assert.is_true(other:wait().ok)
      link:settle()
      assert.equal(2, #link.server:received("channel_close"))
   end)

   it("tells of the failure that ended the session, with what there was", function()
      function commands.bye(channel)
         channel:write("so far")
         link:send(messages.disconnect(11, "bye", ""))
      end
      local result, err = session:run("bye")
      assert.is_nil(result)
      assert.equal("disconnected", err.code)
      assert.equal("so far", err.result.stdout)
      assert.is_nil(session.failure.result)
   end)

   it("many at once, each with its own output", function()
      local tasks = {}
      for i = 1, 50 do
         tasks[i] = ssh.spawn(function()
            local text = ("%d,"):format(i):rep(2000)
            return session:run("cat", { stdin = text }).stdout == text
         end)
      end
      for i = 1, 50 do
         assert.is_true(tasks[i]:wait(60))
      end
   end)

   it("keeps no more of the output than the function has not seen", function()
      local piece = ("x"):rep(1000000)
      function commands.flood(channel)
         for _ = 1, 12 do
            channel:write(piece)
         end
         channel:finish(0)
      end
      local most = 0
      local total = 0
      session:run("flood", {
         stdout = function(chunk)
            total = total + #chunk
            most = math.max(most, (select(1, session._core:memory())))
         end,
      })
      assert.equal(12000000, total)
      assert.is_true(most < 6 * 1024 * 1024, most)
   end)

   it("raises for wrong arguments", function()
      local function raises(message, ...)
         local arguments = table.pack(...)
         assert.error_matches(function()
            session:run(table.unpack(arguments, 1, arguments.n))
         end, message)
      end
      raises("bad argument #1 to 'run' %(string or table expected, got nil%)", nil)
      raises("bad argument #1 to 'run' %(a list of words expected%)", {})
      raises("unknown option 'comand'", "x", { comand = 1 })
      raises("option 'stdin': string or function expected, got boolean", "x", { stdin = true })
      raises("option 'max_output': negative", "x", { max_output = -1 })
      raises("option 'timeout': number expected, got string", "x", { timeout = "1" })
   end)
end)
