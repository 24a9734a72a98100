-- API.md's low-level way, each step on its own: what may be called when, and what stands in the way.

local core = require "moonssh.core"
local dial = require "spec.support.dial"
local server = require "spec.support.server"
local ssh = require "moonssh"

-- What a call raises, without the place in front.
local function complaint(f, ...)
   local ok, message = pcall(f, ...)
   assert.is_false(ok)
   return (tostring(message):gsub("^[^:]*:%d+: ", ""))
end

describe("step by step", function()
   local sshd, session, fd

   setup(function()
      sshd = server.sshd()
   end)

   teardown(function()
      sshd:stop()
   end)

   before_each(function()
      fd = assert(core.socket.connect(core.resolve("127.0.0.1", sshd.port):result()[1]))
      session = ssh.session{ timeout = 60 }
   end)

   after_each(function()
      session:close()
      core.socket.close(fd)
   end)

   it("no credential leaves before the host key was accepted", function()
      assert.same({ n = 1, true }, table.pack(session:handshake(fd)))
      local sent = session.info.packets_sent
      local calls = {
         { "auth_none", "moon" },
         { "auth_password", "moon", "secret" },
         { "auth_publickey", "moon", sshd.key_path },
         { "auth_interactive", "moon", function() return {} end },
         { "auth_agent", "moon", false },
         { "authenticate", { user = "moon", password = "secret" } },
      }
      for _, call in ipairs(calls) do
         local ok, err = session[call[1]](session, table.unpack(call, 2))
         assert.is_nil(ok)
         assert.equal("host_key_unknown", err.code)
      end
      assert.equal(sent, session.info.packets_sent)
      assert.same({ n = 1, true }, table.pack(session:accept_host_key()))
      assert.is_true(session:auth_publickey(sshd.user, sshd.key_path))
      assert.same({ sshd.user, "publickey" }, { session.info.user, session.info.auth })
   end)

   it("calls that come before their step say which is missing", function()
      assert.equal("'ignore' before 'handshake'", complaint(session.ignore, session, "x"))
      assert(session:handshake(fd))
      assert.equal("'ignore' before the first key exchange is done", complaint(session.ignore, session, "x"))
      assert.equal("'rekey' before the first key exchange is done", complaint(session.rekey, session))
      assert(session:accept_host_key())
      assert.equal("'rekey' before the login is done", complaint(session.rekey, session))
      for _, name in ipairs{ "run", "exec" } do
         local result, err = session[name](session, "true")
         assert.is_nil(result)
         assert.equal("auth_failed", err.code)
      end
      assert.equal("'handshake' was called before", complaint(session.handshake, session, fd))
   end)

   it("wrong names of users are named", function()
      assert(session:handshake(fd))
      assert(session:accept_host_key())
      assert.equal("bad argument #1 to 'auth_none' (a user name cannot hold a NUL)",
         complaint(session.auth_none, session, "a\0b"))
      assert.equal("bad argument #1 to 'authenticate' (option 'user' is missing)",
         complaint(session.authenticate, session, { password = "x" }))
      assert.same({ "publickey", "password" }, session:auth_none("moon"))
   end)

   it("one login is under way at a time", function()
      assert(session:handshake(fd))
      assert(session:accept_host_key())
      local first = ssh.spawn(function() return session:auth_password(sshd.user, "wrong") end)
      local second = ssh.spawn(function() return session:auth_publickey(sshd.user, sshd.key_path) end)
      local _, first_error = first:wait()
      local _, second_error = second:wait()
      assert.same({ "auth_failed", "busy" }, { first_error.code, second_error.code })
      assert.is_true(session:auth_publickey(sshd.user, sshd.key_path))
   end)

   it("a login that was given up does not stand in the way of the next, nor answer for it", function()
      assert(session:handshake(fd))
      assert(session:accept_host_key())
      local _, err = session:auth_password(sshd.user, "wrong", 0)
      assert.same({ "timeout", "auth" }, { err.code, err.stage })
      local cancelled = ssh.spawn(function() return session:auth_password(sshd.user, "wrong") end)
      ssh.loop.sleep(0)
      cancelled:cancel()
      assert.is_true(session:auth_publickey(sshd.user, sshd.key_path))
   end)
end)

describe("a send callback", function()
   it("may set callbacks while close sends its farewell", function()
      local sshd <close> = server.sshd()
      local session = assert(dial(sshd))
      local farewells = 0
      session:callback_set("send", function(...)
         farewells = farewells + (session.closed and 1 or 0)
         assert(session:callback_get("send"))
         session:callback_set("debug", nil)
         return ssh.socket_send(...)
      end)
      assert(session:run("true"))
      session:close()
      assert.equal(1, farewells)
      assert.equal("attempt to use a closed session (in 'callback_set')",
         complaint(session.callback_set, session, "debug", nil))
   end)
end)
