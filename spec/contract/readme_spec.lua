-- What README.md shows is run, against a server of ours in place of the hosts that it names.

local core = require "moonssh.core"
local dial = require "spec.support.dial"
local server = require "spec.support.server"
local ssh = require "moonssh"
local tmp = require "spec.support.tmp"
local xserver = require "spec.support.xserver"

local function read(path)
   local file <close> = assert(io.open(path, "rb"))
   return file:read("a")
end

-- The Lua blocks of the README, in order.
local function blocks()
   local list = {}
   for code in read("README.md"):gmatch("```lua\n(.-)```") do
      list[#list + 1] = code
   end
   return list
end

describe("the README", function()
   local sshd, agent, folder

   setup(function()
      sshd, agent, folder = server.sshd(), server.agent(), tmp.dir()
   end)

   teardown(function()
      sshd:stop()
      agent:stop()
      folder:remove()
   end)

   -- What a block sees: the library, with hosts, keys and files of ours behind the names that it uses.
   local function environment(said)
      local fake = setmetatable({
         connect = function(_, options)
            return dial(sshd, { identity = sshd.key_path, callbacks = options and options.callbacks })
         end,
         agent = function()
            return ssh.agent(agent.path)
         end,
         key = setmetatable({ load = function()
            return ssh.key.load(sshd.key_path)
         end }, { __index = ssh.key }),
         known_hosts = function()
            return ssh.known_hosts(sshd.known_hosts_path)
         end,
      }, { __index = ssh })
      return setmetatable({
         require = function(name)
            return name == "moonssh" and fake or require(name)
         end,
         print = function(...)
            said[#said + 1] = table.pack(...)
         end,
         ssh = fake,
         hosts = { "web1", "web2" },
         file = assert(io.open(folder:path("out"), "wb")),
         received = 0,
      }, { __index = _G })
   end

   -- Runs a block whose text has a word, with more in its environment.
   local function run(word, more, change)
      local said = {}
      local env = environment(said)
      for name, value in pairs(more or {}) do
         env[name] = value
      end
      for _, code in ipairs(blocks()) do
         if code:find(word, 1, true) then
            assert(load(change and change(code) or code, "=README", "t", env))()
            return said, env
         end
      end
      error("no block with " .. word)
   end

   it("has blocks that are Lua, each of which is run below", function()
      local words = { "uname -a", "err.methods", "ssh.session()", '"sort"', "tail -f", "session:dial", "forward_local",
         "session:sftp()", "session:scp_put", "ssh.spawn", "ssh.map", "ssh.fleet", "callback_set", "xdpyinfo",
         "authagent_sign", "ssh.key.load", "ssh.config(" }
      local list = blocks()
      assert.equal(#words, #list)
      for i, code in ipairs(list) do
         assert.is_truthy(code:find(words[i], 1, true), code)
      end
   end)

   it("connects and runs a command", function()
      local said = run("uname -a")
      assert.is_truthy(said[1][1]:find("Linux", 1, true))
      assert.equal(0, said[1][2])
   end)

   it("shows why a login failed", function()
      local failing = setmetatable({ connect = function()
         return dial(sshd, { identity = ssh.key.generate("ed25519") })
      end }, { __index = ssh })
      local said = run("err.methods", { ssh = failing })
      assert.equal("auth_failed", said[1][1].code)
      assert.equal("publickey,password", said[1][2])
   end)

   it("goes step by step", function()
      local fd = assert(core.socket.connect(core.resolve("127.0.0.1", sshd.port):result()[1]))
      local said = run("ssh.session()", { fd = fd }, function(code)
         return code:gsub('"deploy"', ("%q"):format(sshd.user)):gsub('"id_ed25519"', ("%q"):format(sshd.key_path))
      end)
      assert.matches("^SHA256:", said[1][1])
      core.socket.close(fd)
   end)

   it("runs and streams commands", function()
      local session <close> = assert(dial(sshd))
      local _, env = run('"sort"', { session = session }, function(code)
         return code:gsub('"ls", "%-l", "two words"', '"test", "two words"'):gsub("tar c /srv", "echo tar")
      end)
      env.file:close()
      assert.equal("tar\n", folder:read("out"))
      local said = run("tail -f", { session = session }, function(code)
         return code:gsub("tail %-f /var/log/syslog", "echo one; echo two")
      end)
      assert.same({ { "one", n = 1 }, { "two", n = 1 } }, said)
   end)

   it("carries a session over a channel", function()
      local session <close> = assert(dial(sshd))
      run("session:dial", { session = session }, function(code)
         return (code:gsub('"deploy"', ("%q"):format(sshd.user)):gsub('"id_ed25519"', ("%q"):format(sshd.key_path))
            :gsub('"10.0.0.5"', '"127.0.0.1"'):gsub("22", sshd.port):gsub('"~/.ssh/known_hosts"',
               ("%q"):format(sshd.known_hosts_path)):gsub("ssh%.session%(%)", "ssh.session{ timeout = 60 }"))
      end)
   end)

   it("forwards", function()
      local session <close> = assert(dial(sshd))
      local said = run("forward_local", { session = session }, function(code)
         return (code:gsub("bind = 1080", "bind = 0"))
      end)
      assert.matches("^http://127.0.0.1:%d+/$", said[1][1])
   end)

   it("copies files", function()
      local session <close> = assert(dial(sshd))
      folder:mkdir("site/a")
      folder:write("site/b", "text")
      local said = run("session:sftp()", { session = session }, function(code)
         local names = { site = "site", ["/srv/site"] = "up", ["/var/log/syslog"] = "site/b", syslog = "got" }
         return (code:gsub('"([%w/]+)"', function(name)
            return names[name] and ("%q"):format(folder:path(names[name]))
         end))
      end)
      assert.equal("text", folder:read("up/b"))
      assert.equal("text", folder:read("got"))
      assert.same({ 4, 4, n = 2 }, said[1])
      assert.equal(3, #said)
   end)

   it("copies by SCP", function()
      local session <close> = assert(dial(sshd))
      folder:write("startup.cfg", "text")
      run("session:scp_put", { session = session }, function(code)
         return (code:gsub('"([%w/]*%.cfg)"', function(name)
            return ("%q"):format(folder:path(name == "/tmp/startup.cfg" and "up.cfg" or name))
         end))
      end)
      assert.equal("text", folder:read("backup.cfg"))
   end)

   it("runs tasks", function()
      local said = run("ssh.spawn")
      table.sort(said, function(a, b) return a[1] < b[1] end)
      assert.equal("web1", said[1][1])
      assert.equal("web2", said[2][1])
   end)

   it("works on many hosts", function()
      local said = run("ssh.map", nil, function(code)
         return code .. "\nprint(results, errors)"
      end)
      local results, errors = said[1][1], said[1][2]
      assert.same({ true, true }, { results[1].ok, results[2].ok })
      assert.same({}, errors)
   end)

   it("has a fleet", function()
      local fake = setmetatable({ fleet = function(path, options)
         assert.equal("hosts.txt", path)
         options.retries = 0
         options.connect = { identity = sshd.key_path, known_hosts = sshd.known_hosts_path, agent = false }
         local good = ("%s@%s:%d"):format(sshd.user, sshd.host, sshd.port)
         return ssh.fleet({ good, good, "no-such-host.invalid" }, options)
      end }, { __index = ssh })
      local said = run("ssh.fleet", { ssh = fake })
      assert.equal(2, said[1][1])
      assert.same({ "no-such-host.invalid", "resolve" }, { said[2][1], said[2][2] })
   end)

   it("forwards X11", function()
      if xserver.missing() then
         return pending(xserver.missing())
      end
      local forwarding <close> = server.sshd{ config = "X11Forwarding yes" }
      local display <close> = xserver.start()
      local session <close> = assert(dial(forwarding, { display = display.name, xauthority = display.xauthority }))
      local result
      run("xdpyinfo", { session = session, assert = function(...)
         result = assert(...)
         return ...
      end })
      assert.is_true(result.ok)
   end)

   it("counts what comes in a callback", function()
      local session <close> = assert(dial(sshd))
      local _, env = run("callback_set", { session = session })
      assert(session:run("head -c 5000 /dev/zero"))
      assert.is_true(env.received > 5000)
   end)

   it("shows a key in Lua to the server", function()
      local session <close> = assert(dial(sshd))
      local said = run("authagent_sign", { session = session })
      assert.matches("^256 SHA256:%S+ in Lua %(ED25519%)\n$", said[1][1])
   end)

   it("loads keys, asks an agent and known_hosts", function()
      agent:add(sshd.key_path)
      local said = run("ssh.key.load", nil, function(code)
         return (code:gsub('"web1", 22', ('"127.0.0.1", %d'):format(sshd.port)))
      end)
      assert.equal("ssh-ed25519", said[1][1])
      assert.equal(2, #said - 1)
      assert.equal("changed", said[3][1])
   end)

   it("asks ssh_config", function()
      local path = folder:write("config", "Host web1\nHostName web1.test\nProxyJump bastion\nIdentityFile /a\n")
      local said = run("ssh.config(", nil, function(code)
         return (code:gsub('"~/.ssh/config"', ("%q"):format(path)))
      end)
      assert.same({ "web1.test", 22, "bastion", "/a", n = 4 }, said[1])
   end)

   it("names every public function", function()
      local text = read("README.md")
      local missing = {}
      -- Those of the session's class that are no methods.
      local inner = { check_options = true, create = true, start = true }
      local function look(what, list)
         for name, value in pairs(list) do
            if type(name) == "string" and name:sub(1, 1) ~= "_" and not inner[name] and type(value) == "function"
               and not text:find("%f[%w_]" .. name .. "%f[^%w_]") then
               missing[#missing + 1] = what .. "." .. name
            end
         end
      end
      look("ssh", ssh)
      look("session", require "moonssh.session")
      look("channel", require "moonssh.channel")
      look("key", getmetatable(ssh.key.generate("ed25519")).__index)
      look("agent", getmetatable(assert(ssh.agent(agent.path))).__index)
      look("key", ssh.key)
      look("sftp", require "moonssh.sftp")
      look("file", require "moonssh.sftp.file")
      table.sort(missing)
      assert.same({}, missing)
   end)
end)
