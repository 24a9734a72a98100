-- The callbacks with real servers, over TCP.

local server = require "spec.support.server"
local ssh = require "moonssh"

local function connect(to, options)
   options = options or {}
   options.identity = options.identity or to.key_path
   options.known_hosts = to.known_hosts_path
   options.agent = false
   options.config = nil
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
      assert(session:run("ignore 5 hello there"))
      local count = 0
      for _, message in ipairs(seen) do
         count = count + (message == "hello there" and 1 or 0)
      end
      assert.equal(5, count)
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

   it("the disconnect callback sees DISCONNECT", function()
      local seen
      local session <close> = connect(asyncssh)
      session:callback_set("disconnect", function(_, reason, message)
         seen = { reason, message }
      end)
      local _, err = session:run("disconnect 11 see you")
      -- asyncssh lets the command end first, so that it may be the next call that finds the session at its end.
      if not session.failure then
         _, err = session:ping(10)
      end
      assert.equal("disconnected", err.code)
      assert.equal(11, err.reason)
      assert.same({ 11, "see you" }, seen)
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

   it("macerror accepts a packet that was damaged on its way, in every mode", function()
      for _, cipher in ipairs{ "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr" } do
         local damage, seen = false, 0
         local callbacks = {
            recv = function(socket, length, flags)
               local bytes = ssh.socket_recv(socket, length, flags)
               if damage and type(bytes) == "string" then
                  damage = false
                  return bytes:sub(1, -2) .. string.char(bytes:byte(-1) ~ 128)
               end
               return bytes
            end,
            macerror = function()
               seen = seen + 1
               return 0
            end,
         }
         local session <close> = connect(sshd, { callbacks = callbacks, algorithms = { cipher = { cipher } } })
         damage = true
         assert(session:ping())
         assert.equal(1, seen)
         assert.equal("hello\n", assert(session:run("echo hello")).stdout)
      end
   end)
end)
