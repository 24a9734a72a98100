-- Channels that are relayed to the local agent.

local agent_peer = require "spec.support.agent_peer"
local loop = require "moonssh.loop"
local server = require "spec.support.server"
local socket = require "moonssh_testing".socket
local sockets = require "spec.support.sockets"
local ssh = require "moonssh"
local tmp = require "spec.support.tmp"
local waiting = require "spec.support.waiting"

local frame = agent_peer.frame

local FAILURE = "\5"
local IDENTITIES = "\11"
local LONGEST = 256 * 1024

describe("an agent channel without handlers", function()
   local folder, path, listener, link, session, fd

   before_each(function()
      folder = tmp.dir()
      path = folder:path("agent")
      listener = assert(socket.listen(path))
      link = agent_peer.connect{ session = { agent = path } }
      session = link.session
   end)

   after_each(function()
      link:close()
      if fd then
         socket.close(fd)
         fd = nil
      end
      socket.close(listener)
      folder:remove()
   end)

   -- What the local agent gets, `length` bytes or to the end of file.
   local function received(length)
      local text = ""
      waiting.await(function()
         local bytes = socket.read(fd, 1 << 20, 0)
         text = text .. (bytes or "")
         return bytes == "" or length and #text >= length
      end, "bytes for the agent")
      return text
   end

   local function says(payload)
      assert(socket.write(fd, frame(payload), 60))
      session:wake()
   end

   -- The local agent's end of the connection, over which it is told first that it is forwarded. It need not know what
   -- that is.
   local function accept()
      fd = waiting.await(function()
         return socket.accept(listener, 0)
      end, "a connection to the agent")
      local told = received(4)
      local length = 4 + string.unpack(">I4", told)
      told = told .. (#told < length and received(length - #told) or "")
      local kind, name, host_key, _, _, forwarded = string.unpack(">Bs4s4s4s4B", told, 5)
      assert.same({ 27, "session-bind@openssh.com", link.session:host_key():blob(), 1 },
         { kind, name, host_key, forwarded })
      says(FAILURE)
   end

   it("is relayed to the local agent, frame by frame as they are", function()
      local peer = link:serve()
      local connected
      for i, payload in ipairs{ IDENTITIES, "\255 what nobody knows \0", ("x"):rep(3000), "\27junk" } do
         peer:write(frame(payload))
         if not connected then
            accept()
            connected = true
         end
         assert.equal(frame(payload), received(4 + #payload))
         says("\14answer " .. i)
         assert.equal("\14answer " .. i, peer:answer())
      end
   end)

   it("is not connected to the agent before the first whole frame", function()
      local peer = link:serve():write(frame(IDENTITIES):sub(1, -2))
      assert.is_true(session:ping() >= 0)
      loop.sleep(0)
      assert.is_nil(socket.accept(listener, 0))
      peer:write(frame(IDENTITIES):sub(-1))
      accept()
   end)

   it("is not relayed where one of the handlers is set, not even what the other one is for", function()
      local peer = link:serve()
      session:callback_set("authagent_sign", function() end)
      assert.equal(FAILURE, peer:ask(IDENTITIES))
      session:callback_set("authagent_sign", nil)
      session:callback_set("authagent_identities", function() end)
      assert.equal(FAILURE, peer:ask(string.pack(">Bs4s4I4", 13, "b", "data", 0)))
      assert.is_nil(socket.accept(listener, 0))
      session:callback_set("authagent_identities", nil)
      peer:write(frame(IDENTITIES))
      accept()
      assert.equal(frame(IDENTITIES), received(5))
   end)

   it("asks one thing after the other, and answers in order", function()
      local peer = link:serve():write(frame("one") .. frame("two") .. frame("three"))
      accept()
      for _, name in ipairs{ "one", "two", "three" } do
         assert.equal(frame(name), received(7))
         assert.is_nil(socket.read(fd, 1, 0))
         says("to " .. name)
         assert.equal("to " .. name, peer:answer())
      end
   end)

   it("moves the longest frames both ways", function()
      local peer = link:serve():write(frame(("q"):rep(LONGEST)))
      accept()
      assert.equal(LONGEST + 4, #received(LONGEST + 4))
      local answer = ("a"):rep(LONGEST)
      local writer = ssh.spawn(function()
         -- In pieces, as nothing takes it in while this writes.
         local bytes = frame(answer)
         for at = 1, #bytes, 4096 do
            assert(socket.write(fd, bytes:sub(at, at + 4095), 60))
            loop.sleep(0)
         end
      end)
      assert.equal(answer, peer:answer())
      assert.is_true(writer:wait() == nil)
   end)

   it("has a connection of its own for each channel", function()
      local first = link:serve():write(frame("first"))
      accept()
      local first_fd = fd
      local second = link:serve():write(frame("second"))
      accept()
      assert.equal(frame("second"), received(10))
      says("to second")
      assert.equal("to second", second:answer())
      socket.close(fd)
      fd = first_fd
      assert.equal(frame("first"), received(9))
      says("to first")
      assert.equal("to first", first:answer())
   end)

   it("holds the peer back while the agent does not answer", function()
      local peer = link:serve()
      local large = ("x"):rep(200 * 1024)
      for i = 1, 40 do
         peer:write(frame(large .. i))
      end
      accept()
      local first = frame(large .. 1)
      assert.equal(first, received(#first))
      assert.is_true(session:ping() >= 0)
      -- What was taken in, and what is in the window; the server still has the rest.
      assert.is_true(session._agent_weight < 2 * 1024 * 1024)
      assert.is_true(#peer.remote.queue > 20)
   end)

   it("answers FAILURE and ends where there is no agent", function()
      link:close()
      link = agent_peer.connect{ session = { agent = folder:path("nothing") } }
      session = link.session
      local peer = link:serve():write(frame(IDENTITIES) .. frame(IDENTITIES))
      assert.equal(FAILURE, peer:answer())
      assert.equal(FAILURE, peer:answer())
      assert.is_true(peer:ended())
      local ok, err = peer.task:wait()
      assert.is_nil(ok)
      assert.equal("agent", err.code)
   end)

   for name, answer in pairs{
      ["closes the connection"] = "",
      ["ends within its answer"] = "\0\0\0\9abc",
      ["answers with an empty frame"] = "\0\0\0\0",
      ["answers with a frame of 4 GiB"] = "\255\255\255\255",
   } do
      it("answers FAILURE and ends where the agent " .. name .. ", and does not try again", function()
         local peer = link:serve():write(frame("one") .. frame("two"))
         accept()
         assert.equal(frame("one"), received(7))
         assert(socket.write(fd, answer))
         socket.shutdown(fd)
         session:wake()
         assert.equal(FAILURE, peer:answer())
         assert.equal(FAILURE, peer:answer())
         assert.is_true(peer:ended())
         local ok, err = peer.task:wait()
         assert.is_nil(ok)
         assert.equal("agent", err.code)
         assert.is_nil(socket.accept(listener, 0))
         assert.is_nil(session.failure)
      end)
   end

   it("goes on with its answers after the peer's end of file, and then hangs up", function()
      local peer = link:serve():write(frame("one")):eof()
      accept()
      assert.equal(frame("one"), received(7))
      says("to one")
      assert.equal("to one", peer:answer())
      assert.is_true(peer.task:wait())
      assert.equal("", received())
   end)

   it("hangs up on the agent when the peer goes, asked or not", function()
      for _, last in ipairs{ "", frame("two"), frame("two"):sub(1, -2) } do
         local peer = link:serve():write(frame("one"))
         accept()
         assert.equal(frame("one"), received(7))
         says("to one")
         assert.equal("to one", peer:answer())
         peer:write(last)
         loop.sleep(0)
         peer.remote:close()
         session:wake()
         assert.is_true(peer.task:wait())
         received()
         socket.close(fd)
         fd = nil
      end
   end)

   it("leaves no connection behind, however the session ends", function()
      sockets.leaves_nothing_open(function()
         for i = 1, 3 do
            local one = agent_peer.connect{ session = { agent = path } }
            local peer = one:serve():write(frame("one") .. frame("two"):sub(1, 5))
            accept()
            received(7)
            if i == 1 then
               one.session:close()
            elseif i == 2 then
               peer.task:cancel()
               one.session:close()
            else
               one.memory.ended = true
               one.session:wake()
               peer.task:wait()
               one.session:close()
            end
            peer.task:wait()
            received()
            socket.close(fd)
            fd = nil
         end
      end)
   end)

   it("goes to the real agent", function()
      local agent <close> = server.agent()
      local key_path = require "spec.support.keys".path("ed25519")
      agent:add(key_path)
      local other = agent_peer.connect{ session = { agent = agent.path } }
      local peer = other:serve()
      local key = assert(ssh.key.load(key_path))
      assert.equal(string.pack(">BI4s4s4", 12, 1, key:blob(), "moonssh spec"), peer:ask(IDENTITIES))
      local answer = peer:ask(string.pack(">Bs4s4I4", 13, key:blob(), "data", 0))
      assert.is_true(key:verify("data", (string.unpack(">s4", answer, 2))))
      other:close()
   end)
end)

describe("the option agent of a session", function()
   it("names the agent: a path, a handle, or that of the environment", function()
      local agent <close> = server.agent()
      local handle <close> = assert(ssh.agent(agent.path))
      local function path_of(option)
         local session <close> = ssh.session{ agent = option }
         return session._agent_path
      end
      assert.equal(agent.path, path_of(agent.path))
      assert.equal(agent.path, path_of(handle))
      assert.is_nil(path_of(false))
      assert.is_nil(path_of(nil))
      local environment = os.getenv("SSH_AUTH_SOCK")
      assert.equal(environment ~= "" and environment or nil, path_of(true))
      assert.equal(os.getenv("HOME") .. "/agent", path_of("~/agent"))
   end)

   it("is nothing else", function()
      assert.error_matches(function() ssh.session{ agent = 12 } end, "option 'agent'")
      assert.error_matches(function() ssh.session{ agent = {} } end,
         "option 'agent': boolean, path or agent expected", 1, true)
      assert.error_matches(function() ssh.connect("moon@localhost", { agent = {} }) end,
         "option 'agent': boolean, path or agent expected", 1, true)
   end)
end)
