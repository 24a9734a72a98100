-- Sessions over the connection of a ControlMaster of OpenSSH.

local core = require "moonssh.core"
local process = require "spec.support.process"
local server = require "spec.support.server"
local socket = require "moonssh_testing".socket
local ssh = require "moonssh"
local tmp = require "spec.support.tmp"

describe("control_path", function()
   local sshd, folder, path, master

   local function logins()
      return select(2, sshd:log():gsub("Accepted publickey", ""))
   end

   -- A master of ssh's that is logged in. sshd lets in first and logs then.
   local function start_master()
      local before = logins()
      folder:write("config", table.concat({ "Host web1", "HostName " .. sshd.host, "Port " .. sshd.port,
         "User " .. sshd.user, "IdentityFile " .. sshd.key_path, "IdentityAgent none", "IdentitiesOnly yes",
         "UserKnownHostsFile " .. sshd.known_hosts_path, "GlobalKnownHostsFile none",
         "ControlPath " .. folder:path("%r-%p") }, "\n"))
      path = folder:path(("%s-%d"):format(sshd.user, sshd.port))
      local started = process.start{ "ssh", "-M", "-N", "-F", folder:path("config"), "web1",
         stderr = folder:path("log") }
      process.wait_until(function()
         return process.run{ "ssh", "-O", "check", "-F", folder:path("config"), "web1" }.status == 0
            and logins() > before
      end, 60, "the ControlMaster")
      return started
   end

   setup(function()
      sshd, folder = server.sshd(), tmp.dir()
      master = start_master()
   end)

   teardown(function()
      master:close()
      sshd:stop()
      folder:remove()
   end)

   local function connect(options)
      local all = { config = folder:path("config"), control_path = path, timeout = 60, identity = {}, agent = false }
      for name, value in pairs(options or {}) do
         all[name] = value
      end
      return ssh.connect("web1", all)
   end

   it("logs nobody in anew: the session is there at once", function()
      local before = logins()
      local session <close> = assert(connect())
      assert.same({ sshd.user, "control" }, { session.info.user, session.info.auth })
      local result = assert(session:run("echo out; echo err >&2; exit 3"))
      assert.same({ "out\n", 3 }, { result.stdout, result.status })
      assert.is_truthy(result.stderr:find("err\n", 1, true))
      assert.equal(before, logins())
   end)

   it("carries commands side by side, and megabytes in both directions", function()
      local session <close> = assert(connect())
      local data = ("0123456789abcdef"):rep(1 << 17)
      local tasks = {}
      for i = 1, 4 do
         tasks[i] = ssh.spawn(function()
            return assert(session:run("cat", { stdin = data, timeout = 60 })).stdout
         end)
      end
      for _, task in ipairs(tasks) do
         assert.equal(data, task:wait(60))
      end
   end)

   it("carries what else a connection does", function()
      local session <close> = assert(connect())
      local channel <close> = assert(session:exec("cat", { pty = true }))
      channel:write("hello\n")
      assert.is_truthy(channel:expect("hello", { timeout = 60, plain = true }))
      local further <close> = assert(session:connect(("%s@127.0.0.1:%d"):format(sshd.user, sshd.port), { config = false,
         identity = sshd.key_path, agent = false, known_hosts = sshd.known_hosts_path, timeout = 60 }))
      assert.equal("deep\n", assert(further:run("echo deep")).stdout)
   end)

   it("may be what ssh_config says, with tokens", function()
      for _, control in ipairs{ true, folder:path("%r-%p") } do
         local session <close> = assert(connect{ control_path = control })
         assert.equal("hello\n", assert(session:run("echo hello")).stdout)
      end
      local none, err = ssh.connect("web1", { config = false, control_path = true })
      assert.is_nil(none)
      assert.is_truthy(err.message:find("ControlPath", 1, true))
   end)

   it("leaves the master and its other sessions alone, whatever is done", function()
      local one, other <close> = assert(connect()), assert(connect())
      local channel <close> = assert(other:exec("cat"))
      assert.is_true(one:disconnect(11, "over"))
      one:close()
      local third = assert(connect())
      third:exec("sleep 1000")
      third:close()
      channel:write("still\n")
      assert.equal("still", channel:read("l", 60))
      assert.equal(0, process.run{ "ssh", "-O", "check", "-F", folder:path("config"), "web1" }.status)
   end)

   it("says what a master does not do", function()
      local session <close> = assert(connect())
      for _, call in ipairs{ "ping", "rekey" } do
         local result, err = session[call](session)
         assert.is_nil(result)
         assert.equal("unsupported", err.code)
      end
      for call, err in pairs{
         listen = select(2, session:listen("localhost", 0, { timeout = 60 })),
         listen_unix = select(2, session:listen_unix("/tmp/never", { timeout = 60 })),
         forward_remote = select(2, session:forward_remote{ bind = 0, to = 1, timeout = 60 }),
         forward_dynamic = select(2, session:forward_dynamic{ bind = 0, remote = true, timeout = 60 }),
      } do
         assert.equal("unsupported", err.code, call)
      end
      assert.equal("fine\n", assert(session:run("echo fine")).stdout)
   end)

   it("ends its sessions with the master", function()
      local another = start_master
      master:close()
      os.remove(path)
      master = another()
      local session <close> = assert(connect())
      local channel <close> = assert(session:exec("echo started; sleep 1000"))
      assert.equal("started", channel:read("l", 60))
      master:close()
      local text, err = channel:read("l", 60)
      assert.is_nil(text)
      assert.is_truthy(err and session.failure)
      os.remove(path)
      master = start_master()
   end)

   describe("that leads to no master", function()
      it("is an error that names it", function()
         for name, code in pairs{ missing = "io", file = "refused" } do
            if name == "file" then
               folder:write("file", "")
            end
            local session, err = connect{ control_path = folder:path(name) }
            assert.is_nil(session)
            assert.same({ code, folder:path(name) }, { err.code, err.path })
         end
         assert.error_matches(function() connect{ jump = "a" } end, "only one of them")
      end)

      -- What something else says at a socket.
      local function against(bytes)
         local at = folder:path("other")
         os.remove(at)
         local listening = assert(socket.listen(at))
         local task = ssh.spawn(function()
            return connect{ control_path = at, timeout = bytes and 60 or 0.05 }
         end)
         ssh.loop.sleep(0)
         local fd = assert(socket.accept(listening, 60))
         if bytes then
            assert(core.socket.send(fd, bytes))
            core.socket.shutdown(fd)
         end
         local session, err = task:wait(60)
         socket.close(fd)
         socket.close(listening)
         assert.is_nil(session)
         return err
      end

      it("is an error whatever is said there, and however little", function()
         local hello = string.pack(">s4", string.pack(">I4I4", 1, 4))
         for _, bytes in ipairs{ "", "x", "SSH-2.0-x\r\n", string.pack(">I4", 0xffffffff),
            string.pack(">I4", 3) .. "abc",
            string.pack(">s4", string.pack(">I4I4", 1, 5)), string.pack(">s4", string.pack(">I4I4", 2, 4)), hello,
            hello .. "abc", hello .. string.pack(">s4", string.pack(">I4I4s4", 0x80000003, 1, "no")),
            hello .. string.pack(">s4", string.pack(">I4I4", 0x8000000f, 2)) } do
            assert.equal("io", against(bytes).code)
         end
         assert.equal("timeout", against().code)
      end)
   end)
end)
