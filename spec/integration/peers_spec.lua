-- What each kind of server does that the others do not: whatever they send, a session goes on or says why it ended.

local core = require "moonssh.core"
local dial = require "spec.support.dial"
local server = require "spec.support.server"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"

local MIB = 1024 * 1024

local kinds = { "sshd", "dropbear", "asyncssh", "paramiko", "npm" }
local scripted = { "asyncssh", "paramiko", "npm" }
local has_shell = { sshd = true, dropbear = true }

-- How what is run is said to a shell, and to the servers that are scripts.
local commands = {
   echo = { "printf 'hello there'", "echo hello there" },
   stderr = { "printf 'oh no' >&2", "stderr oh no" },
   exit = { "exit 7", "exit 7" },
   flood = { "head -c 5000000 /dev/zero | tr '\\0' x", "flood 5000000" },
   env = { "printf %s \"$WHO\"", "env WHO" },
}

-- A test with a server of its own, pending where that cannot be started.
local function with(kind, options, text, test)
   it(text, function()
      if server.missing(kind) then
         pending(server.missing(kind))
         return
      end
      local peer <close> = server[kind](options)
      test(peer)
   end)
end

-- Handlers that note what they get, and the notes.
local function noting()
   local notes = {}
   local function note(kind)
      return function(_, ...)
         local words = { kind }
         for i = 1, select("#", ...) - 1 do -- the last one is abstract
            words[i + 1] = tostring((select(i, ...)))
         end
         table.insert(notes, table.concat(words, "|"))
      end
   end
   return { debug = note("debug"), ignore = note("ignore"), disconnect = note("disconnect") }, notes
end

for _, kind in ipairs(kinds) do
   describe(kind, function()
      local missing = server.missing(kind)
      if missing then
         pending(missing)
         return
      end

      local peer, session

      setup(function()
         peer = server[kind](kind == "sshd" and { config = "LogLevel INFO" } or nil)
         session = assert(dial(peer))
      end)

      teardown(function()
         session:close()
         peer:stop()
      end)

      local function run(name, options)
         return assert(session:run(commands[name][has_shell[kind] and 1 or 2], options))
      end

      it("runs commands", function()
         assert.same({ stdout = "hello there", status = 0, ok = true, stderr = "" }, run("echo"))
         assert.equal("oh no", run("stderr").stderr)
         assert.equal(7, run("exit").status)
      end)

      it("is told by session.info", function()
         local names = { sshd = "OpenSSH", dropbear = "dropbear", asyncssh = "AsyncSSH", paramiko = "paramiko",
            npm = "ssh2js" }
         local info = session.info
         assert.is_truthy(info.server:find("^SSH%-2%.0%-" .. names[kind]), info.server)
         assert.matches("^SSH%-2%.0%-moonssh_", info.client)
         assert.equal(kind ~= "paramiko", info.strict)
         assert.same({ peer.user, "publickey" }, { info.user, info.auth })
      end)

      it("sends and takes much", function()
         assert.equal(("x"):rep(5000000), run("flood").stdout)
         local data = core.random(MIB):rep(3)
         assert.is_true(assert(session:run("cat", { stdin = data })).stdout == data)
      end)

      it("has several channels at once", function()
         local channels = {}
         for i = 1, 5 do
            channels[i] = assert(session:exec("cat"))
         end
         for i = 5, 1, -1 do
            assert(channels[i]:write(("%d"):format(i):rep(1000)))
            channels[i]:eof()
         end
         for i = 1, 5 do
            assert.equal(("%d"):format(i):rep(1000), channels[i]:read("a"))
            assert.equal(0, channels[i]:wait())
            channels[i]:close()
         end
      end)

      it("gets variables and a terminal", function()
         if kind ~= "dropbear" then
            assert.equal("moon", run("env", { env = { WHO = "moon" } }).stdout)
         end
         local options = { pty = { term = "vt220", columns = 77, rows = 33 } }
         if has_shell[kind] then
            assert.equal("vt220\r\n33 77\r\n", assert(session:run("echo $TERM; stty size", options)).stdout)
         else
            assert.equal("vt220 77 33", assert(session:run("pty", options)).stdout)
         end
      end)

      it("answers pings, and takes what it need not understand", function()
         assert.is_true(session:ping(60) >= 0)
         assert.is_true(session:ignore("nothing to see"))
         assert.is_true(session:ignore(("x"):rep(30000)))
         assert.is_true(session:debug("a word", true, "en"))
         assert.is_true(session:ping(60) >= 0)
         assert.is_nil(session.failure)
      end)

      it("is left by a DISCONNECT of ours", function()
         local other = assert(dial(peer))
         assert.is_true(other:disconnect(11, "that is all"))
         assert.equal("closed", other.failure.code)
         assert.equal("closed", select(2, other:run("true")).code)
         other:close()
         assert.equal("hello there", run("echo").stdout)
      end)
   end)
end

for _, kind in ipairs(scripted) do
   describe(kind .. " sends at will", function()
      local missing = server.missing(kind)
      if missing then
         pending(missing)
         return
      end

      local peer, session, callbacks, notes

      setup(function()
         peer = server[kind]()
      end)

      teardown(function()
         peer:stop()
      end)

      before_each(function()
         callbacks, notes = noting()
         session = assert(dial(peer, { callbacks = callbacks }))
         for i = #notes, 1, -1 do
            notes[i] = nil
         end
      end)

      after_each(function()
         session:close()
      end)

      -- asyncssh sends an empty IGNORE before every packet.
      local function noted()
         local list = {}
         for _, note in ipairs(notes) do
            if note ~= "ignore|" then
               list[#list + 1] = note
            end
         end
         return list
      end

      it("IGNORE", function()
         assert.is_true(assert(session:run("ignore 3 some words")).ok)
         assert.same({ "ignore|some words", "ignore|some words", "ignore|some words" }, noted())
         assert.is_true(assert(session:run("ignore 2000 x")).ok)
         assert.equal("after", assert(session:run("echo after")).stdout)
         assert.equal(2003, #noted())
      end)

      it("DEBUG", function()
         assert.is_true(assert(session:run("debug true look here")).ok)
         assert.is_true(assert(session:run("debug false and there")).ok)
         assert.same({ "debug|true|look here|en", "debug|false|and there|en" }, noted())
      end)

      it("UNIMPLEMENTED, of which nothing comes", function()
         assert.is_true(assert(session:run("unimplemented 5")).ok)
         assert.is_true(assert(session:run("unimplemented 4294967295")).ok)
         assert.equal("after", assert(session:run("echo after")).stdout)
      end)

      it("what nobody knows, which is answered and of which nothing comes", function()
         local sent = {}
         session:trace(function(packet)
            if packet.direction == "send" then
               table.insert(sent, packet.name)
            end
         end)
         assert.is_true(assert(session:run("raw c8010203")).ok)
         assert.is_truthy((" " .. table.concat(sent, " ") .. " "):find(" UNIMPLEMENTED ", 1, true))
         assert.equal("after", assert(session:run("echo after")).stdout)
      end)

      it("global requests, which are answered", function()
         if kind ~= "npm" then
            assert.equal("failure", assert(session:run("global nothing@example.org", { timeout = 60 })).stdout)
         end
         -- keepalive@openssh.com, want reply
         assert.is_true(assert(session:run("raw 50" .. "00000015" .. ("keepalive@openssh.com"):gsub(".", function(c)
            return ("%02x"):format(c:byte())
         end) .. "00")).ok)
         assert.equal("after", assert(session:run("echo after")).stdout)
      end)

      it("DISCONNECT, whose reason reaches everybody", function()
         local other = ssh.spawn(function()
            return session:run("cat", { stdin = function()
               ssh.loop.sleep(1000)
            end })
         end)
         local result, err = session:run("disconnect 14 no more methods", { timeout = 60 })
         assert.is_nil(result)
         for _, one in ipairs{ err, session.failure, select(2, other:wait(60)) } do
            assert.same({ "disconnected", 14, "no more methods" }, { one.code, one.reason, one.text })
            assert.is_truthy(tostring(one):find("no more methods", 1, true))
         end
         assert.same({ "disconnect|14|no more methods|en" }, noted())
      end)

      it("nothing any more", function()
         local result, err = session:run("abort", { timeout = 60 })
         assert.is_nil(result)
         assert.equal("eof", err.code)
         assert.same({}, noted())
      end)

      it("a message that makes no sense, which ends the session with one cause", function()
         local result, err = session:run("raw 5e000000ff00000000", { timeout = 60 })
         assert.is_nil(result)
         assert.equal("protocol", err.code)
         assert.equal("protocol", session.failure.code)
         assert.is_truthy(tostring(session.failure):find("CHANNEL_DATA", 1, true), tostring(session.failure))
         result, err = session:exec("echo more")
         assert.is_nil(result)
         assert.equal(session.failure, err)
      end)

      if kind ~= "paramiko" then
         it("a signal as the end of a command", function()
            local channel <close> = assert(session:exec("exit-signal SEGV true dumped"))
            assert.same({ n = 2, nil, "SEGV" }, table.pack(channel:wait(60)))
            assert.equal("TERM", assert(session:run("exit-signal TERM false x")).signal)
         end)
      end
   end)
end

describe("a banner before the login reaches session.banner:", function()
   local text = "first line\nsecond \27[31mline\n"

   for _, kind in ipairs(scripted) do
      with(kind, { banner = text }, kind .. "'s", function(peer)
         local session <close> = assert(dial(peer))
         -- npm's ends lines in its own way, and adds one.
         assert.equal(text, (session.banner:gsub("\r\n", "\n"):gsub("\n\n$", "\n")))
      end)
   end

   it("dropbear's", function()
      local file = require "spec.support.tmp".dir()
      local peer <close> = server.dropbear{ arguments = { "-b", file:write("banner", "hello\n") } }
      local session <close> = assert(dial(peer))
      assert.equal("hello\n", session.banner)
      file:remove()
   end)
end)

describe("npm", function()
   with("npm", { greeting = "come in" }, "may say something before it says who it is", function(peer)
      local session <close> = assert(dial(peer))
      assert.equal("in", assert(session:run("echo in")).stdout)
      assert.is_nil(session.info.server:find("come in", 1, true))
   end)
end)

describe("asyncssh", function()
   with("asyncssh", { before_auth = { "debug true early", "ignore 2 early" } },
      "may talk before the login", function(peer)
         local callbacks, notes = noting()
         local session <close> = assert(dial(peer, { callbacks = callbacks }))
         assert.equal("in", assert(session:run("echo in")).stdout)
         local all = table.concat(notes, " ")
         assert.is_truthy(all:find("debug|true|early|en", 1, true))
         assert.is_truthy(all:find("ignore|early ignore|", 1, true))
      end)

   with("asyncssh", { before_auth = { "disconnect 2 go away" } }, "may refuse us before the login", function(peer)
      local callbacks, notes = noting()
      local session, err = dial(peer, { callbacks = callbacks })
      assert.is_nil(session)
      assert.same({ "disconnected", 2, "go away" }, { err.code, err.reason, err.text })
      assert.is_truthy(table.concat(notes, " "):find("disconnect|2|go away|en", 1, true))
   end)
end)

describe("dropbear", function()
   for _, window in ipairs{ "1024", "10000" } do
      with("dropbear", { arguments = { "-W", window } }, "has a window of " .. window .. " bytes", function(peer)
         local session <close> = assert(dial(peer))
         local data = core.random(300001)
         assert.is_true(assert(session:run("cat", { stdin = data })).stdout == data)
         local channel <close> = assert(session:exec("cat"))
         local writer = ssh.spawn(function()
            assert(channel:write(data))
            return channel:eof()
         end)
         assert.is_true(channel:read("a") == data)
         assert.is_truthy(writer:wait())
      end)
   end

   with("dropbear", { arguments = { "-I", "1" } }, "ends a session that is idle, and says why or not", function(peer)
      local dialled, err
      waiting.await(function()
         dialled, err = dial(peer)
         return dialled or err.code ~= "eof" and err.code ~= "disconnected" -- a slow login is idle, too
      end, "a login")
      local session <close> = assert(dialled, err)
      local result
      result, err = session:run("while kill -0 $PPID; do sleep 0.1; done", { timeout = 60 })
      assert.is_nil(result)
      assert.is_true(err.code == "disconnected" or err.code == "eof", err.code)
      assert.equal(err.code, session.failure.code)
   end)
end)

describe("paramiko, without strict key exchange,", function()
   local peer

   setup(function()
      peer = server.paramiko()
   end)

   teardown(function()
      peer:stop()
   end)

   it("is talked to with a cipher that is safe there, and we are told", function()
      local session <close> = assert(dial(peer))
      assert.is_false(session.info.strict)
      assert.is_truthy(session.info.cipher.send:find("^aes%d+%-ctr$"))
      assert.equal("in", assert(session:run("echo in")).stdout)
   end)

   it("is refused by require_strict, before anything of a login leaves", function()
      local session, err = dial(peer, { require_strict = true, password = function()
         error("asked for the password")
      end })
      assert.is_nil(session)
      assert.same({ "negotiation", "strict" }, { err.code, err.what })
   end)

   it("has nothing in common with chacha20, named or not", function()
      for _, cipher in ipairs{ "chacha20-poly1305@openssh.com", "-aes*" } do
         local session, err = dial(peer, { algorithms = { cipher = cipher } })
         assert.is_nil(session)
         assert.same({ "negotiation", "cipher" }, { err.code, err.what })
      end
   end)

   it("may be talked to when chacha20 is named among others", function()
      local session <close> = assert(dial(peer, { algorithms = { cipher = "^chacha20-poly1305@openssh.com" } }))
      assert.is_false(session.info.strict)
      assert.is_truthy(session.info.cipher.send:find("^aes%d+%-ctr$"))
   end)
end)

describe("sshd", function()
   with("sshd", { config = "ClientAliveInterval 1\nClientAliveCountMax 60\nLogLevel INFO" },
      "is answered each time that it asks whether we are there", function(peer)
         local session <close> = assert(dial(peer))
         local channel <close> = assert(session:exec("cat"))
         local asked, answered = 0, 0
         session:trace(function(packet)
            asked = asked + (packet.name == "CHANNEL_REQUEST" and packet.direction == "recv" and 1 or 0)
            answered = answered + (packet.name == "CHANNEL_FAILURE" and packet.direction == "send" and 1 or 0)
         end)
         local reader = ssh.spawn(function()
            return channel:read("l")
         end)
         waiting.await(function() return answered >= 2 and answered == asked end, "two questions and answers")
         assert(channel:write("still\n"))
         assert.equal("still", reader:wait(60))
      end)

   with("sshd", { config = "LogLevel INFO" }, "is ended by TERM, which we are told as a lost connection", function(peer)
      local session <close> = assert(dial(peer))
      -- More than once: sshd does not block TERM between looking whether one came and its poll, and may sleep on it.
      local result, err = session:run("while kill -TERM $PPID; do sleep 0.1; done", { timeout = 60 })
      assert.is_nil(result)
      assert.is_true(err.code == "disconnected" or err.code == "eof", err.code)
   end)

   with("sshd", { config = "MaxAuthTries 1" }, "that has had enough of us says so", function(peer)
      local session, err = dial(peer, { password = "wrong" })
      assert.is_nil(session)
      assert.same({ "disconnected", 2 }, { err.code, err.reason })
      assert.is_truthy(tostring(err):find("Too many authentication failures", 1, true))
   end)
end)
