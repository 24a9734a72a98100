-- API.md's "Connecting": rows of the table of options, as a script meets them.

local core = require "moonssh.core"
local dial = require "spec.support.dial"
local server = require "spec.support.server"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"

-- What a call raises, without the place in front.
local function complaint(f, ...)
   local ok, message = pcall(f, ...)
   assert.is_false(ok)
   return (tostring(message):gsub("^[^:]*:%d+: ", ""))
end

describe("connect's option", function()
   local sshd

   setup(function()
      sshd = server.sshd()
   end)

   teardown(function()
      sshd:stop()
   end)

   local function failure(options)
      local session, err = dial(sshd, options)
      assert.is_nil(session)
      return err
   end

   it("bind_address is an address or a name, of the family that is connected to", function()
      for _, bind in ipairs{ "127.0.0.1", "localhost" } do
         local session <close> = assert(dial(sshd, { bind_address = bind }))
         assert.is_nil(session.failure)
      end
      assert.equal("bind_address has no address of this family", failure{ bind_address = "::1" }.attempts[1].message)
      assert.equal("resolve", failure{ bind_address = "no..such..name" }.code)
      assert.equal("io", failure{ bind_address = "192.0.2.1" }.code)
      for _, bind in ipairs{ "", "a\0b", "a b" } do
         assert.equal("bad argument #2 to 'connect' (option 'bind_address': a name or an address expected)",
            complaint(dial, sshd, { bind_address = bind }))
      end
   end)

   it("socket is used instead of connecting, made non-blocking, and stays open", function()
      local fd = assert(core.socket.connect(core.resolve("127.0.0.1", sshd.port):result()[1]))
      local object = { getfd = function() return fd end }
      local seen
      local session = assert(dial(sshd, { to = sshd.user .. "@no..such..name", host_key_alias = "moon",
         known_hosts = {}, host_keys = "off", socket = object, callbacks = {
            send = function(socket, ...)
               seen = socket
               return ssh.socket_send(socket, ...)
            end,
         } }))
      assert.equal(object, seen)
      assert.equal(fd, session:fd())
      assert.equal("hello\n", assert(session:run("echo hello")).stdout)
      session:close()
      repeat
         local data, _, _, errno = core.socket.recv(fd)
      until data == "" or errno ~= core.EAGAIN
      core.socket.close(fd)
      for _, socket in ipairs{ -1, {}, io.stdout } do
         assert.equal("bad argument #2 to 'connect' (option 'socket': no descriptor, and no object with getfd())",
            complaint(dial, sshd, { socket = socket }))
      end
      assert.equal("io", failure{ socket = 99999 }.code)
   end)

   it("host_keys says what becomes of each verdict", function()
      local key = ssh.key.parse(sshd.host_keys.ed25519)
      local other = ssh.key.generate("ed25519")
      local name = ("[127.0.0.1]:%d "):format(sshd.port)
      local changed = sshd.folder:write("changed", name .. other:public_line() .. "\n")
      local revoked = sshd.folder:write("revoked", "@revoked * " .. key:public_line() .. "\n")
      local verdicts = {}
      local function take(host, port, shown, verdict)
         table.insert(verdicts, { host, port, shown:fingerprint() == key:fingerprint(), verdict })
         return true
      end
      local cases = {
         -- policy, file, the error's code or false
         { "strict", {}, "host_key_unknown" }, { "strict", changed, "host_key_changed" },
         { "strict", revoked, "host_key_revoked" }, { nil, {}, "host_key_unknown" },
         { "accept-new", changed, "host_key_changed" }, { "accept-new", revoked, "host_key_revoked" },
         { "accept-new", {}, "host_key_unknown" },
         { "off", {}, false }, { "off", changed, false }, { "off", revoked, "host_key_revoked" },
         { take, {}, false }, { take, changed, false }, { take, revoked, "host_key_revoked" },
         { function() return 1 end, sshd.known_hosts_path, "host_key_rejected" },
         { key:fingerprint(), changed, false }, { { other:fingerprint(), key:fingerprint("md5") }, {}, false },
         { other:fingerprint(), sshd.known_hosts_path, "host_key_rejected" },
      }
      for i, case in ipairs(cases) do
         local session, err = dial(sshd, { host_keys = case[1], known_hosts = case[2] })
         assert.equal(case[3], session == nil and err.code, "case " .. i)
         if session then
            session:close()
         end
      end
      assert.same({ { "127.0.0.1", sshd.port, true, "unknown" }, { "127.0.0.1", sshd.port, true, "changed" } },
         verdicts)
   end)

   it("timeout names the stage that it ended in", function()
      local fd, port = assert(require "moonssh_testing".socket.listen("127.0.0.1", 0))
      local err = waiting.longer(function(timeout)
         return failure{ to = "moon@127.0.0.1:" .. port, timeout = timeout }
      end, function(err)
         return err.stage == "identification"
      end)
      assert.same({ "timeout", "identification" }, { err.code, err.stage })
      core.socket.close(fd)
      local resolve, near, far = core.resolve, core.socket.pair()
      core.resolve = function() -- the real one may know a name at once
         return {
            fd = function() return near end,
            result = function() return nil, "again" end,
            close = function() end,
         }
      end
      err = failure{ to = "moon@web1:1", timeout = 0.01 }
      core.resolve = resolve
      assert.same({ "timeout", "resolve" }, { err.code, err.stage })
      core.socket.close(near)
      core.socket.close(far)
      assert.same("connect", failure{ timeout = 0 }.stage)
   end)

   it("preferred_auth may leave nothing to try, which is told", function()
      local err = failure{ identity = sshd.key_path, preferred_auth = { "password" } }
      assert.equal("auth_failed", err.code)
      assert.same({}, err.tried)
      assert.matches("tried nothing; the server has not said what it accepts", err.message, 1, true)
   end)
end)
