-- session:run against OpenSSH's sshd, and against asyncssh for what sshd does not do.

local core = require "moonssh.core"
local dial = require "spec.support.dial"
local process = require "spec.support.process"
local server = require "spec.support.server"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"

local MIB = 1024 * 1024

-- At a higher level the lines of sshd's own log get into the stderr of its commands.
local quiet = { config = "LogLevel INFO" }

local function sha256(text)
   return (core.hash("sha256", text):gsub(".", function(c)
      return ("%02x"):format(c:byte())
   end))
end

-- Commands that tell their number and end when their streams are closed: sshd passes no signals on to commands of root.
local unread = "echo $$; while printf .; do sleep 0.02; done"
local echoing = "echo $$; exec cat"

-- Runs a command that ends in its timeout, having written something before. → err
local function time_out(session, command, options)
   return waiting.longer(function(timeout)
      options.timeout = timeout
      local result, err = session:run(command, options)
      assert.is_nil(result)
      assert.equal("timeout", err.code)
      return err
   end, function(err)
      return err.result and err.result.stdout ~= ""
   end)
end

-- Waits for the end of processes that were left at the server.
local function await_end(pids)
   for pid in pids:gmatch("%d+") do
      process.wait_until(function()
         return not process.alive(tonumber(pid))
      end, 60, "the end of the command")
   end
end

describe("session:run", function()
   local sshd, session

   setup(function()
      sshd = server.sshd(quiet)
      session = assert(dial(sshd))
   end)

   teardown(function()
      session:close()
      sshd:stop()
   end)

   describe("gives", function()
      it("both streams, status and ok", function()
         assert.same({ stdout = "out\n", stderr = "err\n", status = 0, ok = true },
            assert(session:run("echo out; echo err >&2")))
         assert.same({ stdout = "", stderr = "", status = 7, ok = false }, assert(session:run("exit 7")))
         assert.same({ stdout = "", stderr = "", status = 255, ok = false }, assert(session:run("exit 255")))
      end)

      it("the signal that ended it, and no status then", function()
         for _, name in ipairs{ "TERM", "KILL", "HUP", "INT", "SEGV" } do
            assert.same({ stdout = "before\n", stderr = "", signal = name, ok = false },
               assert(session:run("ulimit -c 0; echo before; kill -" .. name .. " $$")))
         end
      end)

      it("every byte as it is", function()
         local all = {}
         for byte = 0, 255 do
            all[#all + 1] = string.char(byte)
         end
         local bytes = table.concat(all):rep(40)
         assert.is_true(bytes == assert(session:run("cat", { stdin = bytes })).stdout)
         assert.is_true(bytes == assert(session:run("cat >&2", { stdin = bytes })).stderr)
      end)

      it("64 MiB of each stream at once", function()
         local line = ("0123456789abcdef"):rep(4):sub(2) .. "\n"
         local result = assert(session:run(("yes %s | head -c %d & yes %s | head -c %d >&2; wait"):format(
            line:sub(1, -2), 64 * MIB, line:sub(1, -2):reverse(), 64 * MIB)))
         assert.equal(0, result.status)
         assert.is_true(result.stdout == line:rep(MIB))
         assert.is_true(result.stderr == (line:sub(1, -2):reverse() .. "\n"):rep(MIB))
      end)
   end)

   describe("sends", function()
      it("end of file at once where there is no stdin", function()
         assert.equal("0\n", assert(session:run("wc -c | tr -d ' '")).stdout)
      end)

      it("a string", function()
         assert.equal("given", assert(session:run("cat", { stdin = "given" })).stdout)
         assert.equal("", assert(session:run("cat", { stdin = "" })).stdout)
      end)

      it("64 MiB, and gets them back", function()
         local data = core.random(MIB):rep(64)
         local result = assert(session:run("cat", { stdin = data }))
         assert.is_true(data == result.stdout)
      end)

      it("64 MiB piece by piece as a function gives them", function()
         local piece, left, sum = core.random(MIB), 64, {}
         local result = assert(session:run("openssl dgst -sha256 -r", { stdin = function()
            left = left - 1
            if left >= 0 then
               sum[#sum + 1] = piece
               return piece
            end
         end }))
         assert.equal(sha256(table.concat(sum)) .. " *stdin\n", result.stdout)
         assert.equal(-1, left)
      end)

      it("what a function gives that waits, while output goes on", function()
         local heard, turn = {}, 0
         local result = assert(session:run("cat", {
            stdin = function()
               while heard.last ~= turn do
                  if turn == 0 then
                     break
                  end
                  ssh.loop.sleep(0.001)
               end
               turn = turn + 1
               return turn <= 5 and "line " .. turn .. "\n" or nil
            end,
            stdout = function(chunk)
               heard[#heard + 1] = chunk
               heard.last = tonumber(chunk:match("(%d+)\n$"))
            end,
         }))
         assert.equal("line 1\nline 2\nline 3\nline 4\nline 5\n", table.concat(heard))
         assert.equal("", result.stdout)
      end)

      it("no more than the command wants to read", function()
         local result = assert(session:run("head -c 5; exit 3", { stdin = ("x"):rep(8 * MIB) }))
         assert.same({ stdout = "xxxxx", stderr = "", status = 3, ok = false }, result)
         local calls = 0
         result = assert(session:run("head -c 5", { stdin = function()
            calls = calls + 1
            return ("y"):rep(65536)
         end }))
         assert.equal("yyyyy", result.stdout)
         assert.is_true(calls >= 1)
      end)

      it("an error of the stdin function to the caller, and ends the command", function()
         local pid
         local ok, err = pcall(session.run, session, echoing, {
            stdin = function()
               while not pid do
                  ssh.loop.sleep(0.001)
               end
               error({ mine = true })
            end,
            stdout = function(chunk)
               pid = (pid or "") .. chunk
            end,
         })
         assert.is_false(ok)
         assert.same({ mine = true }, err)
         await_end(pid)
         assert.equal("fine\n", assert(session:run("echo fine")).stdout)
      end)
   end)

   describe("hands", function()
      it("each stream to its function", function()
         local out, err = {}, {}
         local result = assert(session:run("echo one; echo two >&2; exit 4", {
            stdout = function(chunk)
               out[#out + 1] = chunk
            end,
            stderr = function(chunk)
               err[#err + 1] = chunk
            end,
         }))
         assert.same({ "one\n", "two\n" }, { table.concat(out), table.concat(err) })
         assert.same({ stdout = "", stderr = "", status = 4, ok = false }, result)
      end)

      it("32 MiB of both to functions that wait", function()
         local out, err, calls = {}, {}, 0
         local function into(list)
            return function(chunk)
               list[#list + 1] = chunk
               calls = calls + 1
               if calls % 50 == 0 then
                  ssh.loop.sleep(0)
               end
            end
         end
         assert.is_true(assert(session:run(
            ("yes out | head -c %d & yes error | head -c %d >&2; wait"):format(32 * MIB, 32 * MIB),
            { stdout = into(out), stderr = into(err) })).ok)
         assert.is_true(table.concat(out) == ("out\n"):rep(8 * MIB))
         assert.is_true(table.concat(err) == ("error\n"):rep(6 * MIB):sub(1, 32 * MIB))
      end)

      it("stderr into stdout in the order it comes, with merge", function()
         local heard, answered = "", 0
         local result = assert(session:run([[
            for i in 1 2 3 4 5; do echo out $i; read answer; echo err $i >&2; read answer; done
         ]], { merge = true, stdin = function()
            waiting.await(function() return select(2, heard:gsub("\n", "")) > answered end, "a line")
            answered = answered + 1
            return "go\n"
         end, stdout = function(chunk)
            heard = heard .. chunk
         end }))
         local expected = {}
         for i = 1, 5 do
            expected[#expected + 1] = "out " .. i .. "\nerr " .. i .. "\n"
         end
         assert.equal(table.concat(expected), heard)
         assert.same({ stdout = "", stderr = "", status = 0, ok = true }, result)
      end)

      it("both streams to one function, with merge", function()
         local all = {}
         assert(session:run("echo a; echo b >&2", { merge = true, stdout = function(chunk)
            all[#all + 1] = chunk
         end }))
         local text = table.concat(all)
         assert.is_true(text == "a\nb\n" or text == "b\na\n")
      end)

      it("an error of a function to the caller, and ends the command", function()
         local text = ""
         local ok, err = pcall(session.run, session, "echo $$; exec yes", { stdout = function(chunk)
            text = text .. chunk
            error("mine", 0)
         end })
         assert.same({ false, "mine" }, { ok, err })
         await_end(text:match("^%d+"))
         assert.equal("fine\n", assert(session:run("echo fine")).stdout)
      end)
   end)

   describe("stops", function()
      it("at max_output, with what fits", function()
         local result, err = session:run("echo $$; exec yes", { max_output = 1000 })
         assert.is_nil(result)
         assert.same({ "limit", "stdout", 1000, "" }, { err.code, err.stage, #err.result.stdout, err.result.stderr })
         local pid, rest = err.result.stdout:match("^(%d+)\n(.*)$")
         assert.equal(("y\n"):rep(500):sub(1, #rest), rest)
         await_end(pid)
         result, err = session:run("exec yes >&2", { max_output = 10 })
         assert.is_nil(result)
         assert.same({ "limit", "stderr", "y\ny\ny\ny\ny\n" }, { err.code, err.stage, err.result.stderr })
      end)

      it("not below max_output, which counts each stream alone and not what functions take", function()
         local result = assert(session:run("printf 12345; printf 12345 >&2", { max_output = 5 }))
         assert.same({ "12345", "12345" }, { result.stdout, result.stderr })
         local seen = 0
         result = assert(session:run("head -c 100000 /dev/zero; printf 12345 >&2", { max_output = 5,
            stdout = function(chunk)
               seen = seen + #chunk
            end }))
         assert.same({ 100000, "12345" }, { seen, result.stderr })
         assert.equal("limit", select(2, session:run("printf 1", { max_output = 0 })).code)
         assert.is_true(assert(session:run("true", { max_output = 0 })).ok)
      end)

      it("at its timeout, with what was done; the command is ended, the session goes on", function()
         local err = time_out(session, "echo oh >&2; " .. unread, {})
         assert.equal("read", err.stage)
         assert.equal("oh\n", err.result.stderr)
         assert.is_nil(err.result.status)
         assert.is_false(err.result.ok)
         await_end(err.result.stdout:match("^(%d+)\n%.*$"))
         assert.equal("fine\n", assert(session:run("echo fine")).stdout)
      end)

      it("at the session's timeout where it has none of its own", function()
         session.timeout = 0.3
         local result, err = session:run(unread)
         session.timeout = nil
         assert.is_nil(result)
         assert.equal("timeout", err.code)
         assert.equal("fine\n", assert(session:run("echo fine")).stdout)
      end)

      it("at its timeout where stdin is not read, and where output never ends", function()
         local err = time_out(session, unread, { stdin = ("x"):rep(16 * MIB) })
         await_end(err.result.stdout)
         err = time_out(session, unread, { stdin = function()
            return ("x"):rep(65536)
         end })
         await_end(err.result.stdout)
         err = time_out(session, echoing, { stdin = function()
            ssh.loop.sleep(1000)
         end })
         await_end(err.result.stdout)
         local text
         waiting.longer(function(timeout)
            local result, problem
            text = ""
            result, problem = session:run("echo $$; exec yes", { timeout = timeout, stdout = function(chunk)
               text = #text < 100 and text .. chunk or text
            end })
            assert.is_nil(result)
            assert.equal("timeout", problem.code)
         end, function()
            return text ~= ""
         end)
         await_end(text:match("^%d*"))
         assert.equal("fine\n", assert(session:run("echo fine")).stdout)
      end)
   end)

   describe("sets up", function()
      it("the environment", function()
         local hostile = "a'b\"c$d`e\\f\ng \xff"
         local result = assert(session:run([[printf '%s|%s|%s' "$WHO" "$HOW" "$EMPTY"; env | grep -c '^EMPTY=$']],
            { env = { WHO = "moon", HOW = hostile, EMPTY = "" } }))
         assert.equal("moon|" .. hostile .. "|1\n", result.stdout)
         assert.equal("12", assert(session:run("printf %s $N", { env = { N = 12 } })).stdout)
      end)

      it("a terminal", function()
         local result = assert(session:run("tty; echo $TERM; stty size; echo err >&2", { pty = true }))
         assert.matches("^/dev/pts/%d+\r\nxterm\r\n24 80\r\nerr\r\n$", result.stdout)
         assert.equal("", result.stderr)
         result = assert(session:run("echo $TERM; stty size", {
            pty = { term = "vt100", columns = 132, rows = 43 } }))
         assert.equal("vt100\r\n43 132\r\n", result.stdout)
         assert.equal("not a tty\n", assert(session:run("tty")).stdout)
      end)

      it("the modes of a terminal", function()
         local result = assert(session:run("stty -a", { pty = { modes = {
            ECHO = false, ICANON = 0, ONLCR = 0, IXON = false, VINTR = 24, TTY_OP_OSPEED = 9600, TTY_OP_ISPEED = 9600,
         } } }))
         for _, word in ipairs{ "-echo", "-icanon", "-onlcr", "-ixon", "intr = ^X", "speed 9600 baud" } do
            assert.is_truthy((" " .. result.stdout):find("[ \n]" .. word:gsub("%p", "%%%0")), word)
         end
         assert.is_nil(result.stdout:find("\r"))
         result = assert(session:run("stty -a", { pty = { modes = { ECHO = true, ICANON = 1, ONLCR = true } } }))
         for _, word in ipairs{ "echo", "icanon", "onlcr" } do
            assert.is_truthy((" " .. result.stdout):find("[ \n]" .. word), word)
         end
      end)

      it("a terminal, whose end is that of the command that is given up", function()
         await_end(time_out(session, "echo $$; exec sleep 1000", { pty = true }).result.stdout)
      end)
   end)

   describe("quotes a list", function()
      local function round_trip(words)
         local command = { "printf", "%s\\0" }
         table.move(words, 1, #words, #command + 1, command)
         local result = assert(session:run(command))
         assert.equal("", result.stderr)
         assert.is_true(result.stdout == table.concat(words, "\0") .. "\0", ssh.quote(command))
      end

      it("of words that a shell would take for something else", function()
         round_trip{ "", " ", "a b", "'", "''", "it's", '"', "$HOME", "${HOME}", "$(id)", "`id`", "\\", "\\\\", "\\n",
            "*", "?", "[a]", "~", "~root", "{a,b}", "!", "!!", "#", "# x", ";", "; id", "&", "&&", "|", "||", ">x",
            "<x", "\n", "\r\n", "\t", "-n", "--", "-e", "A=b", "(x)", "=ls", "^", "%s", "%%", "\27[2J", "\1", "\127",
            "\xff\xfe", "ä", "\u{202e}", ("x"):rep(20000) }
      end)

      it("of ten thousand random words", function()
         local special = " '\"$`\\*?[]{}()!#;&|<>~=\n\t\r%-"
         for _ = 1, 25 do
            local words = {}
            for i = 1, 400 do
               local word = {}
               for j = 1, math.random(0, 12) do
                  local at = math.random(#special * 2)
                  word[j] = at <= #special and special:sub(at, at) or string.char(math.random(255))
               end
               words[i] = table.concat(word)
            end
            round_trip(words)
         end
      end)

      it("of which the first word is the program, whatever it looks like", function()
         assert.equal(127, assert(session:run{ "A=b", "echo" }).status)
         assert.equal(127, assert(session:run{ "if" }).status)
         assert.equal("1\n", assert(session:run{ "echo", 1 }).stdout)
      end)
   end)

   it("runs commands one after the other and at once, on one session", function()
      for i = 1, 20 do
         assert.equal(i .. "\n", assert(session:run("echo " .. i)).stdout)
      end
      local numbers = {}
      for i = 1, 20 do
         numbers[i] = i
      end
      local results = ssh.map(numbers, function(i)
         return assert(session:run("sleep 0.05; echo " .. i)).stdout
      end)
      for i = 1, 20 do
         assert.equal(i .. "\n", results[i])
      end
   end)

   it("is told apart from others by each stream's own data", function()
      local results = ssh.map({ "a", "b", "c" }, function(letter)
         return assert(session:run("yes " .. letter .. " | head -c 8388608")).stdout
      end)
      for i, letter in ipairs{ "a", "b", "c" } do
         assert.is_true(results[i] == (letter .. "\n"):rep(4 * MIB))
      end
   end)

   it("lets a command hold its streams open beyond its end, like ssh", function()
      local result = assert(session:run("(sleep 0.2; echo late) & echo first"))
      assert.equal("first\nlate\n", result.stdout)
   end)

   it("raises for what is none of its arguments", function()
      for _, case in ipairs{
         { "bad argument #1 to 'run'" },
         { "bad argument #1 to 'run'", true },
         { "bad argument #1 to 'run'", {} },
         { "NUL", { "echo", "a\0b" } },
         { "unknown option 'comand'", "true", { comand = 1 } },
         { "'stdin'", "true", { stdin = 1 } },
         { "'max_output'", "true", { max_output = -1 } },
         { "unknown terminal mode 'ECCHO'", "true", { pty = { modes = { ECCHO = 1 } } } },
         { "columns", "true", { pty = { columns = -1 } } },
         { "bad argument #2 to 'run'", "true", 5 },
         { "environment", "true", { env = { A = {} } } },
      } do
         local ok, err = pcall(session.run, session, case[2], case[3])
         assert.is_false(ok, case[1])
         assert.is_truthy(tostring(err):find(case[1], 1, true), tostring(err))
      end
      assert.equal("fine\n", assert(session:run("echo fine")).stdout)
   end)

   it("refuses a NUL in a command line, of which a server would run the start alone", function()
      local ok, err = pcall(session.run, session, "echo a\0b")
      assert.is_false(ok)
      assert.matches("bad argument #1 to 'run'.*NUL", tostring(err))
   end)

   it("raises after close", function()
      local other = assert(dial(sshd))
      other:close()
      local ok, err = pcall(other.run, other, "true")
      assert.is_false(ok)
      assert.matches("closed", tostring(err))
   end)
end)

describe("session:run on asyncssh", function()
   local asyncssh, session

   setup(function()
      asyncssh = server.asyncssh()
      session = assert(dial(asyncssh))
   end)

   teardown(function()
      session:close()
      asyncssh:stop()
   end)

   it("gives neither status nor signal where the server tells none", function()
      assert.same({ stdout = "said", stderr = "", ok = false }, assert(session:run("close said")))
   end)

   it("gives any signal by the name the server has for it", function()
      assert.same({ stdout = "", stderr = "", signal = "USR1", ok = false },
         assert(session:run("exit-signal USR1 false by hand")))
      assert.equal("moon@example.org", assert(session:run("exit-signal moon@example.org true dumped")).signal)
   end)

   it("gives what came before the connection was lost", function()
      local other <close> = assert(dial(asyncssh))
      local result, err = other:run("abort")
      assert.is_nil(result)
      assert.equal("eof", err.code)
      assert.same({ stdout = "", stderr = "", ok = false }, err.result)
      assert.equal("eof", other.failure.code)
      assert.equal("eof", select(2, other:run("echo more")).code)
   end)
end)

describe("session:run on an account with a forced command", function()
   it("gives what that one does", function()
      local sshd <close> = server.sshd{ config = quiet.config,
         match = 'Match User moon\nForceCommand echo "$SSH_ORIGINAL_COMMAND"; exit 9' }
      local session <close> = assert(dial(sshd))
      assert.same({ stdout = "what I want\n", stderr = "", status = 9, ok = false },
         assert(session:run("what I want")))
   end)
end)

describe("session:run on a server that refuses", function()
   it("terminals says so, and the session goes on", function()
      local sshd <close> = server.sshd{ config = "PermitTTY no\nLogLevel INFO" }
      local session <close> = assert(dial(sshd))
      local result, err = session:run("true", { pty = true })
      assert.is_nil(result)
      assert.equal("channel_request", err.code)
      assert.equal("pty-req", err.request)
      assert.equal("fine\n", assert(session:run("echo fine")).stdout)
   end)

   it("sessions says so", function()
      local sshd <close> = server.sshd{ config = "MaxSessions 0" }
      local session <close> = assert(dial(sshd))
      local result, err = session:run("true")
      assert.is_nil(result)
      assert.same({ "channel_open", 2, "open failed" }, { err.code, err.reason, err.text })
      assert.is_nil(session.failure)
   end)

   it("to wait ends a command by a signal", function()
      local dropbear <close> = server.dropbear()
      local session <close> = assert(dial(dropbear))
      await_end(time_out(session, "echo $$; exec sleep 1000", {}).result.stdout)
   end)

   it("variables runs the command without them", function()
      local dropbear <close> = server.dropbear()
      local session <close> = assert(dial(dropbear))
      assert.equal("none\n", assert(session:run("echo ${WHO-none}", { env = { WHO = "moon" } })).stdout)
   end)
end)
