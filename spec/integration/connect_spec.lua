-- From a destination to a socket: names, addresses, deadlines, and what is left open when it fails.

local core = require "moonssh.core"
local dial = require "spec.support.dial"
local keys = require "spec.support.keys"
local loop = require "moonssh.loop"
local net = require "moonssh.net"
local Peer = require "spec.support.peer"
local server = require "spec.support.server"
local socket = require "moonssh_testing".socket
local sockets = require "spec.support.sockets"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"
local tmp = require "spec.support.tmp"

describe("connect", function()
   local sshd, folder

   setup(function()
      sshd = server.sshd()
   end)

   teardown(function()
      sshd:stop()
   end)

   before_each(function()
      folder = tmp.dir()
   end)

   after_each(function()
      folder:remove()
   end)

   it("takes user and port from the destination, in either form, or from the options", function()
      for _, to in ipairs{ "%s@127.0.0.1:%d", "ssh://%s@127.0.0.1:%d", "ssh://%s@127.0.0.1:%d/" } do
         local session <close> = assert(dial(sshd, { to = to:format(sshd.user, sshd.port) }))
         assert.equal(sshd.user, session.info.user)
      end
      local session <close> = assert(dial(sshd, { to = "nobody@127.0.0.1:1", user = sshd.user, port = sshd.port }))
      assert.equal(sshd.user, session.info.user)
   end)

   it("runs a command on what it connected to", function()
      local session <close> = assert(dial(sshd))
      local result = assert(session:run("echo hello; exit 3"))
      assert.equal("hello\n", result.stdout)
      assert.equal(3, result.status)
   end)

   it("resolves a name", function()
      local path = folder:write("known", ("[localhost]:%d %s\n"):format(sshd.port, sshd.host_keys.ed25519))
      local session <close> = assert(dial(sshd, { to = ("%s@localhost:%d"):format(sshd.user, sshd.port),
         known_hosts = path }))
      assert.is_nil(session.failure)
   end)

   it("says that a name does not resolve, naming the stage by its code", function()
      local session, err = dial(sshd, { to = "moon@no..such..name" })
      assert.is_nil(session)
      assert.equal("resolve", err.code)
      assert.matches("no..such..name", err.message, 1, true)
   end)

   it("says that a port refuses", function()
      local fd, port = assert(socket.listen("127.0.0.1", 0))
      socket.close(fd)
      sockets.leaves_nothing_open(function()
         local session, err = dial(sshd, { to = "moon@127.0.0.1:" .. port })
         assert.is_nil(session)
         assert.equal("refused", err.code)
         assert.matches("127.0.0.1", err.message, 1, true)
         assert.equal(port, err.port)
      end)
   end)

   it("raises for a destination that is none", function()
      for _, to in ipairs{ "", "-oX", "a b", "moon@", "moon@host:port", "ssh://host/path" } do
         assert.error_matches(function() dial(sshd, { to = to }) end, "bad argument #1 to 'connect'")
      end
      assert.error_matches(function() ssh.connect() end, "bad argument #1 to 'connect'")
   end)

   it("raises for options that are none", function()
      local function raises(options, text)
         assert.error_matches(function() dial(sshd, options) end, text)
      end
      raises({ comand = 1 }, "unknown option 'comand'")
      raises({ port = 0 }, "option 'port'")
      raises({ socket = true }, "option 'socket'")
      raises({ port = 65536 }, "option 'port'")
      raises({ timeout = "1" }, "option 'timeout'")
      raises({ address_family = "inet5" }, "option 'address_family'")
      raises({ user = "-l" }, "option 'user'")
      raises({ algorithms = "modern" }, "unknown preset 'modern'")
      raises({ algorithms = { cipher = "rot13" } }, "unknown algorithm 'rot13'")
      raises({ algorithms = { ciphers = "rot13" } }, "unknown option 'ciphers'")
      raises({ callbacks = { ignor = print } }, "ignor")
   end)

   it("negotiates what algorithms names, in each of its forms", function()
      local cases = {
         { { cipher = { "aes256-ctr" }, mac = "hmac-sha2-512" }, "aes256-ctr", "hmac-sha2-512" },
         { { cipher = "^aes192-ctr", mac = "^hmac-sha2-256" }, "aes192-ctr", "hmac-sha2-256" },
         { { cipher = "-aes*gcm*,chacha20*,aes128-ctr,aes192*", mac = "-*etm*,hmac-sha2-256" }, "aes256-ctr",
            "hmac-sha2-512" },
      }
      for _, case in ipairs(cases) do
         local session <close> = assert(dial(sshd, { algorithms = case[1] }))
         assert.same({ send = case[2], recv = case[2] }, session.info.cipher)
         assert.same({ send = case[3], recv = case[3] }, session.info.mac)
      end
      local session <close> = assert(dial(sshd, { compression = true }))
      assert.same({ send = "zlib@openssh.com", recv = "zlib@openssh.com" }, session.info.compression)
   end)

   it("gives the session its timeout, callbacks and abstract", function()
      local seen = 0
      local session <close> = assert(dial(sshd, { session_timeout = 7, abstract = "mine", callbacks = {
         send = function(fd, buffer, length, flags, abstract)
            assert.equal("mine", abstract)
            seen = seen + 1
            return ssh.socket_send(fd, buffer, length, flags)
         end,
      } }))
      assert.equal(7, session.timeout)
      assert.is_true(seen > 1)
   end)

   it("opens the socket that send and recv are then given", function()
      local sockets_seen = {}
      local session <close> = assert(dial(sshd, { callbacks = {
         send = function(fd, ...)
            sockets_seen[fd] = true
            return ssh.socket_send(fd, ...)
         end,
         recv = function(fd, ...)
            sockets_seen[fd] = true
            return ssh.socket_recv(fd, ...)
         end,
      } }))
      assert.equal("hi\n", assert(session:run("echo hi")).stdout)
      local fd = next(sockets_seen)
      assert.equal("integer", math.type(fd))
      assert.is_nil(next(sockets_seen, fd))
   end)

   describe("over a socket of the caller's", function()
      it("leaves it open", function()
         local fd = assert(socket.connect(sshd.host, sshd.port))
         local session = assert(dial(sshd, { socket = fd }))
         assert.equal("hi\n", assert(session:run("echo hi")).stdout)
         session:close()
         assert.is_true(pcall(socket.write, fd, "x"))
         socket.close(fd)
      end)

      it("takes a socket of LuaSocket, and leaves it to its owner", function()
         local connection = assert(require "socket".connect("127.0.0.1", sshd.port))
         local session = assert(dial(sshd, { socket = connection }))
         assert.equal("here\n", session:run("echo here").stdout)
         assert.equal(math.tointeger(connection:getfd()), session:fd())
         session:close()
         assert.equal("127.0.0.1", (connection:getpeername()))
         connection:close()
      end)

      it("takes an object with getfd", function()
         local fd = assert(socket.connect(sshd.host, sshd.port))
         local session <close> = assert(dial(sshd, { socket = { getfd = function() return fd end } }))
         assert.equal("hi\n", assert(session:run("echo hi")).stdout)
         session:close()
         socket.close(fd)
      end)
   end)

   describe("fails and leaves nothing open", function()
      it("when the host key is unknown", function()
         sockets.leaves_nothing_open(function()
            local session, err = dial(sshd, { known_hosts = folder:path("none") })
            assert.is_nil(session)
            assert.equal("host_key_unknown", err.code)
         end)
      end)

      it("when the login fails", function()
         local stranger = keys.make(folder, "stranger", { type = "ed25519" })
         sockets.leaves_nothing_open(function()
            local session, err = dial(sshd, { identity = stranger })
            assert.is_nil(session)
            assert.equal("auth_failed", err.code)
         end)
      end)

      it("when there is no algorithm in common", function()
         local narrow <close> = server.sshd{ config = "Ciphers aes256-ctr\nMACs hmac-sha2-256" }
         sockets.leaves_nothing_open(function()
            local session, err = dial(narrow, { algorithms = { cipher = { "aes128-gcm@openssh.com" } } })
            assert.is_nil(session)
            assert.equal("negotiation", err.code)
            assert.matches("cipher", err.what)
         end)
      end)

      it("when a function of the caller's raises", function()
         sockets.leaves_nothing_open(function()
            assert.error_matches(function()
               dial(sshd, { password = function() error("no terminal") end })
            end, "no terminal")
         end)
      end)

      it("when the task is cancelled, wherever it waits", function()
         local listener, port = assert(socket.listen("127.0.0.1", 0))
         sockets.leaves_nothing_open(function()
            local task = ssh.spawn(function()
               dial(sshd, { to = "moon@127.0.0.1:" .. port })
            end)
            local accepted = waiting.await(function() return socket.accept(listener, 0) end, "the connection")
            task:cancel()
            socket.close(accepted)
         end)
         socket.close(listener)
      end)
   end)

   describe("ends in the timeout, with its stage,", function()
      -- Connects to a server that one task plays; serve(fd) has the accepted descriptor.
      local function connect_to(serve, options)
         local listener, port = assert(socket.listen("127.0.0.1", 0))
         local fd
         local task = ssh.spawn(function()
            loop.wait(listener, "r")
            fd = assert(socket.accept(listener, 0))
            core.socket.prepare(fd)
            serve(fd)
         end)
         local given = { to = "moon@127.0.0.1:" .. port }
         for name, value in pairs(options or {}) do
            given[name] = value
         end
         local session, err = dial(sshd, given)
         task:cancel()
         if fd then
            net.close(fd)
         end
         net.close(listener)
         assert.is_nil(session)
         assert.equal("timeout", err.code)
         return err.stage
      end

      local function ends_at(stage, serve, options)
         assert.equal(stage, waiting.longer(function(timeout)
            options = options or {}
            options.timeout = timeout
            return connect_to(serve, options)
         end, function(reached)
            return reached == stage
         end))
      end

      -- Serves with a server made by hand, which falls silent when it comes to a step.
      local function silent_at(step)
         return function(fd)
            local silent
            local peer = Peer.new{ steps = { [step] = function(self)
               silent = silent or self:take()
            end } }
            peer:start()
            while true do
               local bytes = peer:take()
               if silent then
                  bytes, silent = silent, ""
               end
               if bytes ~= "" then
                  core.socket.send(fd, bytes)
               end
               loop.wait(fd, "r")
               local data = core.socket.recv(fd, 65536)
               if data == "" then
                  return
               elseif data then
                  peer:feed(data)
               end
            end
         end
      end

      it("when the server says nothing", function()
         ends_at("identification", function() end)
      end)

      it("when the server drips", function()
         ends_at("identification", function(fd)
            while true do
               core.socket.send(fd, "x")
               loop.sleep(0.02)
            end
         end)
      end)

      it("when the server stops in the key exchange", function()
         ends_at("kex", function(fd)
            core.socket.send(fd, "SSH-2.0-silent\r\n")
         end)
      end)

      it("when the server stops after its host key", function()
         ends_at("kex", silent_at("newkeys"), { host_keys = "off" })
      end)

      it("when the server stops in the login", function()
         for _, step in ipairs{ "service_request", "userauth" } do
            ends_at("auth", silent_at(step), { host_keys = "off" })
         end
      end)

      it("when connections are not taken", function()
         local port, release = sockets.busy_port()
         sockets.leaves_nothing_open(function()
            local session, err = waiting.longer(function(timeout)
               return dial(sshd, { to = "moon@127.0.0.1:" .. port, timeout = timeout })
            end, function(_, err)
               return err.stage == "connect"
            end)
            assert.is_nil(session)
            assert.equal("timeout", err.code)
            assert.equal("connect", err.stage)
         end)
         release()
      end)

      it("when the name server says nothing", function()
         local real, near, far = core.resolve, core.socket.pair()
         core.resolve = function()
            return {
               fd = function() return near end,
               result = function() return nil, "again" end,
               close = function() end,
            }
         end
         local session, err = dial(sshd, { to = "moon@web1", timeout = 0.05 })
         core.resolve = real
         net.close(near)
         net.close(far)
         assert.is_nil(session)
         assert.equal("timeout", err.code)
         assert.equal("resolve", err.stage)
      end)
   end)

   it("does not hold up other tasks", function()
      local port, release = sockets.busy_port()
      local connecting = ssh.spawn(function()
         return dial(sshd, { to = "moon@127.0.0.1:" .. port })
      end)
      for _ = 1, 5 do
         ssh.loop.sleep(0.005)
      end
      assert.is_false(connecting.closed)
      connecting:cancel()
      release()
   end)

   it("is done by many tasks at once", function()
      local hosts = {}
      for i = 1, 8 do
         hosts[i] = i
      end
      local results = ssh.map(hosts, function(i)
         local session <close> = assert(dial(sshd))
         return assert(session:run("echo " .. i)).stdout
      end, { concurrency = 8 })
      for i = 1, 8 do
         assert.equal(i .. "\n", results[i])
      end
   end)

   describe("to a server without strict key exchange", function()
      local listener, port, peers, serving

      -- Serves one server made by hand after the other.
      before_each(function()
         listener, port = assert(socket.listen("127.0.0.1", 0))
         peers = {}
         serving = ssh.spawn(function()
            while true do
               loop.wait(listener, "r")
               local fd = assert(socket.accept(listener, 0))
               core.socket.prepare(fd)
               local peer = Peer.new{ strict = false,
                  cipher = { "chacha20-poly1305@openssh.com", "aes128-ctr" } }
               table.insert(peers, peer)
               ssh.spawn(function()
                  peer:start()
                  repeat
                     local bytes = peer:take()
                     if bytes ~= "" then
                        core.socket.send(fd, bytes)
                     end
                     loop.wait(fd, "r")
                     local data, _, _, errno = core.socket.recv(fd, 65536)
                     if data and data ~= "" then
                        peer:feed(data)
                     end
                  until data == "" or not data and errno ~= core.EAGAIN
                  net.close(fd)
               end)
            end
         end)
      end)

      after_each(function()
         serving:cancel()
         net.close(listener)
      end)

      local function connect(options)
         options.to = "moon@127.0.0.1:" .. port
         options.host_keys = "off"
         return dial(sshd, options)
      end

      local chacha_first = { cipher = "^chacha20-poly1305@openssh.com" }

      it("connects anew without chacha20, if that was agreed on and not asked for", function()
         local session <close> = assert(connect{})
         assert.equal(2, #peers)
         assert.equal("aes128-ctr", session.info.cipher.send)
         assert.is_false(session.info.strict)
         assert.equal(0, #peers[1]:seen("USERAUTH_REQUEST"))
      end)

      it("does not connect anew where nothing else is left", function()
         local session, err = connect{ algorithms = { cipher = "-aes*" } }
         assert.is_nil(session)
         assert.equal("negotiation", err.code)
         assert.equal("strict", err.what)
         assert.equal(1, #peers)
      end)

      it("does not take it for having been named with a MAC", function()
         local session <close> = assert(connect{ algorithms = { mac = "^hmac-sha2-256-etm@openssh.com" } })
         assert.equal("aes128-ctr", session.info.cipher.send)
      end)

      it("takes chacha20 where it is asked for by name", function()
         local session <close> = assert(connect{ algorithms = chacha_first })
         assert.equal(1, #peers)
         assert.equal("chacha20-poly1305@openssh.com", session.info.cipher.send)
         assert.is_false(session.info.strict)
      end)

      it("refuses it with require_strict", function()
         local session, err = connect{ require_strict = true }
         assert.is_nil(session)
         assert.equal("negotiation", err.code)
         assert.equal("strict", err.what)
         assert.equal(1, #peers)
      end)
   end)
end)
