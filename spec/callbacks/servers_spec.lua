-- The callbacks with real servers, over TCP.

local dial = require "spec.support.dial"
local server = require "spec.support.server"
local ssh = require "moonssh"

local function connect(to, options)
   options = options or {}
   options.identity = options.identity or to.key_path
   options.known_hosts = to.known_hosts_path
   options.agent = false
   options.config = false
   return assert(ssh.connect(("%s@%s:%d"):format(to.user, to.host, to.port), options))
end

describe("with asyncssh", function()
   if server.missing("asyncssh") then
      pending(server.missing("asyncssh"))
      return
   end

   local asyncssh

   setup(function()
      asyncssh = server.asyncssh{}
   end)

   teardown(function()
      asyncssh:stop()
   end)

   it("the ignore callback sees each IGNORE", function()
      local seen = {}
      local session <close> = connect(asyncssh)
      session:callback_set("ignore", function(_, message)
         table.insert(seen, message)
      end)
      assert(session:run("ignore 2000 hello there"))
      local count = 0
      for _, message in ipairs(seen) do
         count = count + (message == "hello there" and 1 or 0)
      end
      assert.equal(2000, count)
   end)

   it("the debug callback sees each DEBUG, and may run commands", function()
      local seen = {}
      local session <close> = connect(asyncssh)
      session:callback_set("debug", function(_, always_display, message, language)
         local echo = assert(session:run("echo " .. message))
         table.insert(seen, { always_display, message, language, echo.stdout })
      end)
      assert(session:run("debug true one"))
      assert(session:run("debug false two"))
      while #seen < 2 do
         assert(session:ping())
      end
      assert.same({ true, "one" }, { seen[1][1], seen[1][2] })
      assert.same({ false, "two" }, { seen[2][1], seen[2][2] })
      assert.is_truthy(seen[1][4]:find("one", 1, true))
   end)
end)

describe("with sshd", function()
   if server.missing("sshd") then
      pending(server.missing("sshd"))
      return
   end

   local sshd

   setup(function()
      sshd = server.sshd{}
   end)

   teardown(function()
      sshd:stop()
   end)

   it("send and recv chain to the defaults, and see every byte", function()
      local sent, received, sockets = 0, 0, {}
      local callbacks = {
         send = function(socket, buffer, length, flags)
            sockets[socket] = true
            local n = ssh.socket_send(socket, buffer, length, flags)
            sent = sent + math.max(n, 0)
            return n
         end,
         recv = function(socket, length, flags)
            local bytes = ssh.socket_recv(socket, length, flags)
            received = received + (type(bytes) == "string" and #bytes or 0)
            return bytes
         end,
      }
      local session <close> = connect(sshd, { callbacks = callbacks })
      local data = ("0123456789abcdef"):rep(100000)
      assert.equal(data, assert(session:run("cat", { stdin = data })).stdout)
      local info = session.info
      assert.equal(info.bytes_sent, sent)
      assert.equal(info.bytes_received, received)
      assert.is_true(sockets[session:fd()])
   end)

   it("send and recv take a byte at a time from the socket", function()
      local callbacks = {
         send = function(socket, buffer, _, flags) return ssh.socket_send(socket, buffer, 1, flags) end,
         recv = function(socket, _, flags) return ssh.socket_recv(socket, 1, flags) end,
      }
      local session <close> = connect(sshd, { callbacks = callbacks })
      assert.equal("hello\n", assert(session:run("echo hello")).stdout)
   end)
end)

describe("the disconnect callback", function()
   -- Connects, and does what it is told with the session. What the callback and the failure say, as one list.
   local function told(to, options, f)
      local seen, session = {}, nil
      options.callbacks = { disconnect = function(one, reason, message)
         session = one
         table.insert(seen, { reason, message })
      end }
      local connected, err = dial(to, options)
      if connected then
         -- A server may let what it was asked end first: then it is the next call that finds the session at its end.
         local result
         result, err = f(connected)
         err = not result and connected.failure and err or select(2, connected:ping())
      end
      assert.equal("disconnected", err.code)
      assert.equal(1, #seen)
      assert.same({ err.reason, err.text }, seen[1])
      assert.same({ session.failure.reason, session.failure.text }, seen[1])
      session:close()
      return seen[1]
   end

   for _, kind in ipairs{ "asyncssh", "paramiko", "npm" } do
      it("hears " .. kind .. " hang up while channels are open", function()
         if server.missing(kind) then
            pending(server.missing(kind))
            return
         end
         local peer <close> = server[kind]{}
         assert.same({ 11, "see you" }, told(peer, {}, function(session)
            local other = assert(session:exec("cat"))
            local result, err = session:run("disconnect 11 see you")
            assert.is_false(other.closed)
            return result, err
         end))
      end)
   end

   it("hears asyncssh hang up in the middle of the first key exchange", function()
      local peer <close> = server.asyncssh{ at_kexinit = { "disconnect 2 not now" } }
      assert.same({ 2, "not now" }, told(peer, {}))
   end)

   it("hears asyncssh hang up while it authenticates", function()
      local peer <close> = server.asyncssh{ before_auth = { "disconnect 14 nobody gets in" } }
      assert.same({ 14, "nobody gets in" }, told(peer, {}))
   end)

   it("hears sshd hang up while it authenticates", function()
      local peer <close> = server.sshd{ config = "MaxAuthTries 1" }
      local strangers = { assert(ssh.key.generate("ed25519")), assert(ssh.key.generate("ed25519")) }
      assert.same({ 2, "Too many authentication failures" }, told(peer, { identity = strangers }))
   end)
end)
