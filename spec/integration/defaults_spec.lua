-- What connect takes from the home folder and the environment, seen by a process with a home of its own.

local account = require "spec.support.account"
local process = require "spec.support.process"
local server = require "spec.support.server"
local tmp = require "spec.support.tmp"

describe("what is taken from the home folder and the environment", function()
   local sshd, folder, home

   setup(function()
      if account.available() then
         sshd = server.sshd()
      end
   end)

   teardown(function()
      if sshd then
         sshd:stop()
      end
   end)

   before_each(function()
      if not sshd then
         pending("libnss-wrapper is not installed")
         return
      end
      folder = tmp.dir()
      home = account.create(folder, { user = sshd.user })
   end)

   after_each(function()
      if folder then
         folder:remove()
      end
   end)

   -- Runs a script as somebody with that home. `to` is the destination in it.
   local function run(text, env)
      -- For the sanitizer's sake: its runtime is loaded behind the wrapper of the accounts.
      local sanitizer = (os.getenv("ASAN_OPTIONS") or "") .. ":verify_asan_link_order=0"
      local all = { SSH_AUTH_SOCK = false, ASAN_OPTIONS = sanitizer, NSS_WRAPPER_DISABLE_DEEPBIND = "1" }
      for _, from in ipairs{ home.env, env or {} } do
         for name, value in pairs(from) do
            all[name] = value
         end
      end
      local head = ('local ssh, to = require "moonssh", "127.0.0.1:%d"\n'):format(sshd.port)
      local script = folder:write("script.lua", head .. text)
      return process.run{ process.lua, script, env = all }
   end

   local connect = [[
      local session <close> = assert(ssh.connect(to))
      io.write(session.info.user, " ", session.info.auth)
   ]]

   local function install(name, from)
      process.check{ "cp", from, home.home .. "/.ssh/" .. name }
   end

   it("are login name, identity and known_hosts", function()
      install("known_hosts", sshd.known_hosts_path)
      for _, type in ipairs{ "ed25519", "ecdsa", "rsa" } do
         install("id_" .. type, sshd.key_paths[type])
         assert.equal(sshd.user .. " publickey", run(connect).stdout)
         os.remove(home.home .. "/.ssh/id_" .. type)
      end
   end)

   it("are the keys of the agent", function()
      install("known_hosts", sshd.known_hosts_path)
      local agent <close> = server.agent()
      agent:add(sshd.key_path)
      assert.equal(sshd.user .. " publickey", run(connect, { SSH_AUTH_SOCK = agent.path }).stdout)
      local result = run([[
         for _, options in ipairs{ { agent = false }, { identity = {} }, { identity = to } } do
            local session, err = ssh.connect(to, options)
            io.write(tostring(session), " ", err.code, "\n")
         end
      ]], { SSH_AUTH_SOCK = agent.path })
      assert.equal("nil auth_failed\nnil auth_failed\nnil io\n", result.stdout)
   end)

   it("are not needed: an agent that is gone is passed over", function()
      install("known_hosts", sshd.known_hosts_path)
      install("id_ed25519", sshd.key_path)
      assert.equal(sshd.user .. " publickey", run(connect, { SSH_AUTH_SOCK = folder:path("gone") }).stdout)
   end)

   it("is a known_hosts that is made when accept-new learns the first key", function()
      install("id_ed25519", sshd.key_path)
      folder:write("home/.ssh/config", "HashKnownHosts no\n", "600") -- whatever the system's file says
      local result = run([[
         assert(ssh.connect(to, { host_keys = "accept-new" })):close()
         assert(ssh.connect("~" and to)):close()
         io.write("fine")
      ]])
      assert.equal("fine", result.stdout, result.stderr)
      assert.matches("^%[127.0.0.1%]:%d+ ssh%-ed25519 ", folder:read("home/.ssh/known_hosts"))
   end)

   it("is ssh_config", function()
      install("known_hosts", sshd.known_hosts_path)
      folder:write("home/.ssh/config", ("Host web1\nHostName %s\nPort %d\nIdentityFile %s\n"):format(sshd.host,
         sshd.port, sshd.key_path), "600")
      assert.equal(sshd.user .. " publickey", run((connect:gsub("%(to%)", '("web1")'))).stdout)
      folder:write("home/.ssh/config", "Nonsense 1\n", "600")
      local result = run([[
         local session, err = ssh.connect(to)
         io.write(tostring(err), "\n")
         session, err = ssh.connect(to, { config = false, identity = {} })
         io.write(err.code, "\n")
      ]])
      assert.equal(home.home .. "/.ssh/config line 1: unknown keyword 'nonsense'\nauth_failed\n", result.stdout)
   end)

   it("is nothing where options name something else, and nothing at all for a bare session", function()
      install("id_ed25519", sshd.key_path)
      install("known_hosts", sshd.known_hosts_path)
      local result = run(([[
         local session, err = ssh.connect(to, { known_hosts = "%s" })
         io.write(err.code, "\n")
         session, err = ssh.connect(to, { identity = {}, password = "wrong" })
         io.write(table.concat(err.tried, ","), "\n")
         session, err = ssh.connect(to, { identity = "~/.ssh/other" })
         io.write(err.code, " ", err.path, "\n")
      ]]):format(folder:path("none")))
      assert.equal(("host_key_unknown\npassword\nio %s/.ssh/other\n"):format(home.home), result.stdout, result.stderr)
   end)
end)
