-- Servers that are reached through others, and through programs.

local descriptors = require "spec.support.descriptors"
local dial = require "spec.support.dial"
local process = require "spec.support.process"
local server = require "spec.support.server"
local ssh = require "moonssh"
local tmp = require "spec.support.tmp"

describe("a server", function()
   local servers, folder

   setup(function()
      servers = {}
      for i = 1, 4 do
         servers[i] = server.sshd{ host_keys = { i % 2 == 0 and "ecdsa" or "ed25519" } }
      end
      dial(servers[1]):close() -- the loop's own descriptor is there from now on
   end)

   teardown(function()
      for _, one in ipairs(servers) do
         one:stop()
      end
   end)

   before_each(function()
      folder = tmp.dir()
   end)

   after_each(function()
      folder:remove()
   end)

   -- The lines of a Host: each has an identity and a known_hosts of its own.
   local types = { "ed25519", "ecdsa", "rsa", "ed25519" }
   local function host(i, more)
      local one = servers[i]
      return table.concat({ "Host h" .. i, "HostName 127.0.0.1", "Port " .. one.port, "User " .. one.user,
         "IdentityFile " .. one.key_paths[types[i]], "IdentityAgent none",
         "UserKnownHostsFile " .. one.known_hosts_path, "GlobalKnownHostsFile none", more or "", "" }, "\n")
   end

   local function config(...)
      return folder:write("config", table.concat{ ... })
   end

   local function connect(to, options)
      local all = { timeout = 60, agent = false }
      for name, value in pairs(options) do
         all[name] = value
      end
      return ssh.connect(to, all)
   end

   describe("behind three others", function()
      it("is reached by ProxyJump, each hop with trust and keys of its own", function()
         local before = descriptors()
         local session = assert(connect("h4", { config = config(host(1), host(2), host(3),
            host(4, "ProxyJump h1,h2,h3")) }))
         -- What sshd sees is the hop before.
         assert.equal(("127.0.0.1 %d\n"):format(servers[4].port), assert(session:run(
            "echo $SSH_CONNECTION | cut -d' ' -f3,4")).stdout)
         local data = ("0123456789"):rep(100000)
         assert.equal(data, assert(session:run("cat", { stdin = data })).stdout)
         session:close()
         assert.equal(before, descriptors())
      end)

      it("is reached where each names the one before", function()
         local session <close> = assert(connect("h3", { config = config(host(1), host(2, "ProxyJump h1"),
            host(3, "ProxyJump h2")) }))
         assert.equal("hello\n", assert(session:run("echo hello")).stdout)
      end)

      it("is lost when the cable of one in the middle is pulled, and nothing hangs", function()
         local before = descriptors()
         local middle = server.sshd()
         local lines = ("Host middle\nPort %d\nUserKnownHostsFile %s\n"):format(middle.port, middle.known_hosts_path)
            .. host(2):gsub("Host h2", "Host middle")
         local session = assert(connect("h4", { config = config(host(1), lines, host(4, "ProxyJump h1,middle")) }))
         local task = ssh.spawn(function()
            return session:run("sleep 1000", { timeout = 60 })
         end)
         local channel = assert(session:exec("echo started; sleep 1000"))
         assert.equal("started", channel:read("l"))
         middle:stop()
         local result, err = task:wait(60)
         assert.is_nil(result)
         assert.is_truthy(err.code == "eof" or err.code == "io", err.code)
         assert.equal(err.code, session.failure.code)
         session:close()
         assert.equal(before, descriptors())
      end)
   end)

   describe("behind itself", function()
      it("is reached by other names for the same place", function()
         local path = config(host(1), (host(1, "ProxyJump h1"):gsub("Host h1", "Host again")),
            (host(1, "ProxyJump h1,again"):gsub("Host h1", "Host once_more")))
         for _, name in ipairs{ "again", "once_more" } do
            local session <close> = assert(connect(name, { config = path }))
            assert.equal("hello\n", assert(session:run("echo hello")).stdout)
         end
      end)

      it("is reached by the option jump, whatever it is called", function()
         local session <close> = assert(connect("h1", { config = config(host(1)), jump = "h1" }))
         assert.equal("hello\n", assert(session:run("echo hello")).stdout)
      end)
   end)

   describe("behind one other", function()
      it("is reached by the option jump: a destination, a list, or a session", function()
         local path = config(host(1), host(2), host(3))
         local outer <close> = assert(connect("h1", { config = path }))
         for _, jump in ipairs{ "h1", { "h1" }, { "h1", "h3" }, { outer }, { outer, "h3" } } do
            local session <close> = assert(connect("h2", { config = path, jump = jump }))
            assert.equal("hello\n", assert(session:run("echo hello")).stdout)
         end
         local session <close> = assert(connect("h2", { config = path, jump = outer }))
         assert.equal("hello\n", assert(session:run("echo hello")).stdout)
         session:close()
         assert.is_false(outer.closed)
         assert.equal("still\n", assert(outer:run("echo still")).stdout)
      end)

      it("is reached by session:connect, also where the file names other ways", function()
         local outer <close> = assert(dial(servers[1]))
         local path = config(host(2, "ProxyCommand false"))
         local session <close> = assert(outer:connect("h2", { config = path, timeout = 60 }))
         local third <close> = assert(outer:connect(("%s@127.0.0.1:%d"):format(servers[3].user, servers[3].port), {
            config = false, identity = servers[3].key_path, known_hosts = servers[3].known_hosts_path, timeout = 60,
            agent = false }))
         assert.equal("third\n", assert(third:run("echo third")).stdout)
         local further <close> = assert(session:connect("h3", { config = config(host(3)), timeout = 60 }))
         assert.equal("hello\n", assert(further:run("echo hello")).stdout)
         assert.error_matches(function() outer:connect() end, "bad argument #1 to 'connect'")
         assert.error_matches(function() outer:connect("h2", { prot = 1 }) end, "unknown option 'prot'")
      end)

      it("is reached with the keys and known_hosts of the call where the file says nothing of the hop", function()
         local known = folder:write("known", servers[1].folder:read("known_hosts")
            .. servers[2].folder:read("known_hosts"))
         local to = ("%s@127.0.0.1:%d"):format(servers[2].user, servers[2].port)
         local hop = ("%s@127.0.0.1:%d"):format(servers[1].user, servers[1].port)
         local session <close> = assert(connect(to, { config = false, identity = servers[1].key_path,
            known_hosts = known, jump = hop }))
         assert.equal("hello\n", assert(session:run("echo hello")).stdout)
      end)

      it("gets no password that is for another", function()
         local to = ("%s@127.0.0.1:%d"):format(servers[2].user, servers[2].port)
         local hop = ("%s@127.0.0.1:%d"):format(servers[1].user, servers[1].port)
         local known = folder:write("known", servers[1].folder:read("known_hosts")
            .. servers[2].folder:read("known_hosts"))
         local session, err = connect(to, { config = false, identity = {}, password = servers[1].password,
            known_hosts = known, jump = hop })
         assert.is_nil(session)
         assert.same({ "auth_failed", hop }, { err.code, err.hop })
         assert.same({}, err.tried)
      end)
   end)

   describe("is not reached", function()
      it("through a hop that is not known, whatever policy there is for the target alone", function()
         local to = ("%s@127.0.0.1:%d"):format(servers[2].user, servers[2].port)
         local hop = ("%s@127.0.0.1:%d"):format(servers[1].user, servers[1].port)
         local fingerprint = assert(ssh.key.parse(servers[2].host_keys.ecdsa)):fingerprint()
         for _, policy in ipairs{ "off", fingerprint, { fingerprint } } do
            local session, err = connect(to, { config = false, identity = servers[1].key_path, jump = hop,
               host_keys = policy, known_hosts = folder:path("none") })
            assert.is_nil(session)
            assert.same({ "host_key_unknown", hop }, { err.code, err.hop })
         end
         -- These are for hops as well.
         for _, policy in ipairs{ "accept-new", function() return true end } do
            connect(to, { config = false, identity = servers[1].key_path, jump = hop, host_keys = policy,
               known_hosts = folder:path("none") }):close()
         end
      end)

      it("through a hop whose key is not known, and the error says which one", function()
         local path = config(("Host h2\nUserKnownHostsFile %s\n"):format(folder:path("none")), host(1), host(2),
            host(3, "ProxyJump h1,h2"))
         local session, err = connect("h3", { config = path })
         assert.is_nil(session)
         assert.same({ "host_key_unknown", "h2" }, { err.code, err.hop })
         assert.matches("^through h2: ", err.message)
      end)

      it("where it is not there", function()
         local outer <close> = assert(dial(servers[1]))
         local session, err = outer:connect("moon@127.0.0.1:1", { config = false, timeout = 60, known_hosts = {} })
         assert.is_nil(session)
         assert.equal("channel_open", err.code)
         assert.is_nil(outer.failure)
      end)

      it("by ways that go in a circle", function()
         local path = config(host(1, "ProxyJump h2"), host(2, "ProxyJump h3"), host(3, "ProxyJump h1"))
         local before = descriptors()
         local session, err = connect("h1", { config = path })
         assert.is_nil(session)
         assert.same({ "io", path, 9 }, { err.code, err.path, err.line })
         assert.is_truthy(err.message:find("circle", 1, true))
         session, err = connect("h1", { config = config(host(1, "ProxyJump h1")) })
         assert.is_nil(session)
         assert.is_truthy(err.message:find(path .. " line 9: ProxyJump leads in a circle", 1, true), err.message)
         -- Everything goes through a bastion, which is to go through itself, then.
         session, err = connect("h2", { config = config("Host *\nProxyJump h1\n", host(1), host(2)) })
         assert.is_nil(session)
         assert.same({ "io", path, 2 }, { err.code, err.path, err.line })
         assert.equal(before, descriptors())
      end)

      it("by options that make no sense", function()
         local function raises(options, text)
            options.config = false
            assert.error_matches(function() ssh.connect("a", options) end, text)
         end
         raises({ jump = true }, "'jump'")
         raises({ jump = {} }, "'jump'")
         raises({ jump = { "a", 3 } }, "'jump'")
         raises({ jump = "a:x" }, "'jump'")
         raises({ jump = "-a" }, "'jump': host begins with a dash")
         raises({ jump = "a", proxy_command = "b" }, "only one of them")
         raises({ proxy_command = "" }, "'proxy_command'")
         raises({ proxy_command = {} }, "'proxy_command'")
         raises({ proxy_command = { "a\0b" } }, "'proxy_command'")
      end)
   end)

   describe("behind a program", function()
      local relay = "perl spec/support/relay.pl"

      -- Nothing is left of a process, not even the news of its end.
      local function is_gone(pid)
         local file <close> = io.open(("/proc/%d/stat"):format(pid))
         return file == nil
      end

      it("is reached by ProxyCommand and proxy_command, and the program ends with the session", function()
         local before = descriptors()
         local path = config(host(1, ("ProxyCommand %s %%h %%p # comment"):format(relay)))
         for _, options in ipairs{
            { config = path },
            { config = path, proxy_command = relay .. " %h %p" },
            { config = path, proxy_command = { "perl", "spec/support/relay.pl", "%h", "%p" } },
         } do
            local session = assert(connect("h1", options))
            local pid = session._companions[1]:pid()
            local data = ("0123456789"):rep(50000)
            assert.equal(data, assert(session:run("cat", { stdin = data })).stdout)
            session:close()
            assert.is_true(is_gone(pid))
         end
         assert.equal(before, descriptors())
      end)

      it("is reached over the connection that ProxyCommand passes on with ProxyUseFdpass", function()
         local program = folder:write("pass.py", "import socket, sys\n"
            .. "s = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
            .. "socket.send_fds(socket.socket(fileno=1), [b'x'], [s.fileno()])\n")
         local before = descriptors()
         local lines = ("ProxyCommand /usr/bin/python3 %s %%h %%p\nProxyUseFdpass yes"):format(program)
         local session <close> = assert(connect("h1", { config = config(host(1, lines)) }))
         assert.equal("hello\n", assert(session:run("echo hello")).stdout)
         session:close()
         assert.equal(before, descriptors())
         for command, text in pairs{
            ["echo SSH-2.0-no"] = "has passed no connection",
            ["exit 3"] = "the proxy command has ended with status 3",
         } do
            local none, err = connect("h1", { config = config(host(1, ("ProxyCommand sh -c '%s'\nProxyUseFdpass yes")
               :format(command))) })
            assert.is_nil(none)
            assert.is_truthy(err.message:find(text, 1, true), err.message)
         end
         local none, err = connect("h1", { timeout = 1, config = config(host(1,
            "ProxyCommand sleep 1000\nProxyUseFdpass yes")) })
         assert.is_nil(none)
         assert.same({ "timeout", "connect" }, { err.code, err.stage })
         -- A program that the caller names is spoken with.
         local other <close> = assert(connect("h1", { config = config(host(1, lines)),
            proxy_command = relay .. " %h %p" }))
         assert.equal("hello\n", assert(other:run("echo hello")).stdout)
         other:close()
         assert.equal(before, descriptors())
      end)

      it("says how a program has ended that brings no connection", function()
         local session, err = connect("h1", { config = config(host(1)), proxy_command = "sh -c 'exit 3'" })
         assert.is_nil(session)
         assert.is_truthy(err.message:find("the proxy command has ended with status 3", 1, true), err.message)
         session, err = connect("h1", { config = config(host(1)), proxy_command = { "no-such-program" } })
         assert.is_nil(session)
         assert.same({ "io", "cannot run no-such-program: No such file or directory" }, { err.code, err.message })
      end)

      it("J2: says that no process can be made, and signals none", function()
         local result = process.run{ env = { ASAN_OPTIONS = "detect_leaks=0" }, "strace", "-qq", "-e",
            "trace=clone,clone3,fork,vfork,kill", "-e", "inject=clone,clone3,fork,vfork:error=EAGAIN", process.lua,
            "-e", [[
               local session, err = require("moonssh").connect("h", { config = false, user = "u", identity = {},
                  agent = false, known_hosts = {}, proxy_command = { "true" } })
               print(session, err.code, err.message)]] }
         if result.status ~= 0 then
            pending("strace does not work here")
            return
         end
         assert.equal("nil\tio\tcannot run true: Resource temporarily unavailable\n", result.stdout)
         assert.is_truthy(result.stderr:find("EAGAIN", 1, true), result.stderr)
         assert.is_nil(result.stderr:find("kill(", 1, true), result.stderr)
      end)

      it("ends a program that never answers", function()
         local before, pid_path = descriptors(), folder:path("pid")
         local session, err = connect("h1", { config = config(host(1)), timeout = 1,
            proxy_command = ("sh -c 'echo $$ > %s; trap \"\" HUP; exec sleep 1000'"):format(pid_path) })
         assert.is_nil(session)
         assert.equal("timeout", err.code)
         local pid = tonumber(folder:read("pid"))
         assert.is_true(pid == nil or is_gone(pid))
         assert.equal(before, descriptors())
      end)

      it("gives the shell no name that it would make more of", function()
         local marker = folder:path("marker")
         local function touched()
            local file = io.open(marker)
            return file ~= nil
         end
         for byte = 0, 127 do
            local c = string.char(byte)
            if not c:find("[%w._:@%%+,=/-]") then
               local ok, session, err = pcall(connect, "h1", { config = config(host(1)), proxy_command = "true %r",
                  user = "a" .. c .. "touch " .. marker .. c })
               -- What cannot be in a name at all is raised, as a mistake of the caller.
               assert.is_true(not ok or session == nil)
               assert.is_truthy((ok and err.message or session):find(ok and "does not go into a command" or "user"))
            end
         end
         local ok = pcall(connect, "h1", { config = config(host(1)), proxy_command = "true %r", user = "-x" })
         assert.is_false(ok)
         for _, name in ipairs{ "a;b", "a`b", "$(x)", "a|b", "-oX", "a b", "a\nb", "a'b" } do
            local path = config(("Host x\nHostName \"%s\"\nProxyCommand touch %s; true %%h\n"):format(name, marker))
            local session
            ok, session = pcall(connect, "x", { config = path })
            assert.is_true(not ok or not session)
         end
         assert.is_false(touched())
      end)

      it("passes names to a program without a shell as they are", function()
         local out = folder:path("out")
         local user = "a b;$(touch x)'\"\\%n%s*"
         local session = connect("h1", { config = config(host(1)), user = user, proxy_command = { "sh", "-c",
            "printf %%s \"$1\" > " .. out, "sh", "%r" } })
         assert.is_nil(session)
         assert.equal(user, folder:read("out"))
      end)
   end)
end)
