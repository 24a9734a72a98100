-- An agent in Lua, forwarded to OpenSSH's sshd and asked there by OpenSSH's own tools: with keys that exist nowhere
-- else they list, sign, and log in at a second sshd.

local certificate = require "spec.support.certificate"
local dial = require "spec.support.dial"
local keys = require "spec.support.keys"
local process = require "spec.support.process"
local server = require "spec.support.server"
local ssh = require "moonssh"
local tmp = require "spec.support.tmp"

describe("an agent in Lua, forwarded to sshd", function()
   local mine = {
      ed25519 = assert(ssh.key.generate("ed25519", { comment = "in Lua" })),
      ecdsa = assert(ssh.key.generate("ecdsa", { bits = 384, comment = "in Lua" })),
      rsa = assert(ssh.key.generate("rsa", { bits = 2048, comment = "in Lua" })),
   }
   local sk = certificate.security_key("ed25519")
   mine.sk = assert(ssh.key.external{ public = sk.blob, sign = function(data) return sk.sign(data) end })
   local first, second, folder, session, uses

   setup(function()
      local lines = {}
      for _, key in pairs(mine) do
         table.insert(lines, key:public_line())
      end
      first, second = server.sshd(), server.sshd{ authorized = lines }
      folder = tmp.dir()
   end)

   teardown(function()
      first:stop()
      second:stop()
      folder:remove()
   end)

   after_each(function()
      session:close()
   end)

   local algorithms = { [0] = nil, [2] = "rsa-sha2-256", [4] = "rsa-sha2-512" }

   -- A session whose agent has these keys of mine; each use of one is noted.
   local function connect(...)
      local held = {}
      for _, type in ipairs{ ... } do
         held[mine[type]:blob()] = mine[type]
      end
      uses = {}
      session = assert(dial(first, { session_timeout = 60, forward_agent = true, callbacks = {
         authagent_identities = function()
            local list = {}
            for blob, key in pairs(held) do
               table.insert(list, { blob = blob, comment = key.comment })
            end
            return list
         end,
         authagent_sign = function(its, blob, data, flags)
            table.insert(uses, { data = data, flags = flags, binds = its.agent_binds })
            return held[blob] and held[blob]:sign(data, algorithms[flags])
         end,
      } }))
   end

   -- What a command on the first server wrote, which has to succeed.
   local function run(command, options)
      local result = assert(session:run(command, options))
      assert(result.ok, ("%s: status %s\n%s%s"):format(command, result.status, result.stdout, result.stderr))
      return result.stdout
   end

   -- ssh to the second server, with keys from the agent only.
   local function hop(command, ...)
      local words = { "ssh", "-F", "none", "-p", second.port, "-o", "UserKnownHostsFile=" .. second.known_hosts_path,
         "-o", "GlobalKnownHostsFile=none", "-o", "IdentityFile=none", "-o", "BatchMode=yes", ... }
      table.insert(words, second.user .. "@" .. second.host)
      table.insert(words, command)
      for i, word in ipairs(words) do
         words[i] = tostring(word)
      end
      return ssh.quote(words)
   end

   for _, type in ipairs{ "ed25519", "ecdsa", "rsa" } do
      local key = mine[type]
      describe("with a key of type " .. type, function()
         it("is listed by ssh-add", function()
            connect(type)
            assert.equal(key:public_line() .. "\n", run("ssh-add -L"))
            local line = run("ssh-add -l")
            assert.equal(("%d %s in Lua (%s)\n"):format(key.bits, key:fingerprint(), type:upper()), line)
         end)

         it("signs for ssh-keygen, and another ssh-keygen finds the signature good", function()
            connect(type)
            local public = folder:write("key.pub", key:public_line() .. "\n")
            local file = folder:write("file", "what is signed\n")
            local words = ssh.quote{ "ssh-keygen", "-q", "-Y", "sign", "-n", "a spec", "-f", public }
            run(("%s < %s > %s"):format(words, ssh.quote{ file }, ssh.quote{ file .. ".sig" }))
            local signers = folder:write("signers", "moon " .. key:public_line() .. "\n")
            process.check{ "ssh-keygen", "-Y", "verify", "-f", signers, "-I", "moon", "-n", "a spec",
               "-s", file .. ".sig", stdin = "what is signed\n" }
            assert.equal(1, #uses)
            assert.equal(type == "rsa" and 4 or 0, uses[1].flags)
            assert.equal("SSHSIG", uses[1].data:sub(1, 6))
         end)

         it("logs ssh in at a second server, which it knows by a bind of that server's key", function()
            connect(type)
            assert.equal("hello from there\n", run(hop("echo hello from there")))
            assert.equal(1, #uses)
            local binds = uses[1].binds
            assert.equal(1, #binds)
            assert.equal(assert(ssh.key.parse(second.host_keys.ed25519)), binds[1].host_key)
            assert.is_false(binds[1].forwarding)
            assert.equal(binds[1].session_id, (string.unpack(">s4", uses[1].data)))
         end)
      end)
   end

   it("logs ssh in with a key of a security key, which signs by a function", function()
      connect("sk")
      assert.equal(mine.sk:public_line() .. " \n", run("ssh-add -L"))
      assert.equal("there\n", run(hop("echo there")))
   end)

   it("is served within a handler that counts the connections, too", function()
      connect("ed25519")
      local count = 0
      session:callback_set("authagent", function(its, channel)
         count = count + 1
         assert(ssh.serve_agent(its, channel))
      end)
      assert.equal(mine.ed25519:public_line() .. "\n", run("ssh-add -L"))
      assert.equal("there\n", run(hop("echo there")))
      assert.equal(2, count)
   end)

   it("signs with RSA and SHA-256 where the second server wants that", function()
      connect("rsa")
      run(hop("true", "-o", "PubkeyAcceptedAlgorithms=rsa-sha2-256"))
      assert.equal(2, uses[1].flags)
   end)

   it("is forwarded on by ssh, which says so", function()
      connect("ed25519")
      local seen
      local list = session:callback_get("authagent_identities")
      session:callback_set("authagent_identities", function(its, ...)
         seen = its.agent_binds
         return list(its, ...)
      end)
      assert.equal(mine.ed25519:public_line() .. "\n", run(hop("ssh-add -L", "-A")))
      assert.equal(1, #seen)
      assert.is_true(seen[1].forwarding)
      assert.equal(assert(ssh.key.parse(second.host_keys.ed25519)), seen[1].host_key)
   end)

   it("refuses what its handlers refuse, and the tools say so", function()
      connect("ed25519")
      session:callback_set("authagent_sign", function() end)
      local result = assert(session:run(hop("true")))
      assert.equal(255, result.status)
      assert.matches("agent refused operation", result.stderr, 1, true)
      session:callback_set("authagent_identities", function() end)
      result = assert(session:run("ssh-add -l"))
      assert.equal(1, result.status)
      assert.matches("agent refused operation", result.stderr, 1, true)
      for _, command in ipairs{ "ssh-add -D", "ssh-add -x", ssh.quote{ "ssh-add", keys.path("ed25519") } } do
         assert.is_false(assert(session:run(command, { stdin = "x\nx\n" })).ok)
      end
      assert.equal("goes on", run("printf 'goes on'"))
   end)

   it("may ask another agent, and wait for it", function()
      connect("ed25519")
      local agent <close> = server.agent()
      agent:add(keys.path("ecdsa"))
      local handle <close> = assert(ssh.agent(agent.path))
      session:callback_set("authagent_identities", function() return handle:identities() end)
      session:callback_set("authagent_sign", function(_, blob, data, flags) return handle:sign(blob, data, flags) end)
      assert.equal(agent:list(), run("ssh-add -L"))
      run(ssh.quote{ "ssh-add", "-T", keys.path("ecdsa") .. ".pub" })
   end)

   it("serves many that ask at the same time", function()
      connect("ed25519", "ecdsa")
      local tasks = {}
      for i = 1, 4 do
         tasks[i] = ssh.spawn(run, hop("echo " .. i))
      end
      for i = 1, 4 do
         assert.equal(i .. "\n", assert(tasks[i]:wait()))
      end
   end)

   it("without handlers is the local one, which ssh uses for the second hop", function()
      local agent <close> = server.agent()
      local path = folder:write("ed25519", assert(mine.ed25519:export()), "600")
      agent:add(path)
      session = assert(dial(first, { agent = agent.path, identity = first.key_path, session_timeout = 60 }))
      assert.equal("there\n", run(hop("echo there"), { forward_agent = true }))
   end)

   describe("by the example", function()
      -- Runs it with these answers to its questions.
      local function example(command, answers)
         local result = process.run{ process.lua, "examples/agent_in_lua.lua",
            ("ssh://%s@%s:%d"):format(first.user, first.host, first.port), command,
            stdin = answers,
            env = { IDENTITY = first.key_path, KNOWN_HOSTS = first.known_hosts_path, SSH_AUTH_SOCK = false } }

         session = ssh.session() -- for after_each
         return result
      end

      -- The second server takes the keys that are listed on the first.
      local function adopt()
         local authorized = second.folder:path("authorized_keys")
         return "ssh-add -L > " .. ssh.quote{ authorized } .. " && "
      end

      after_each(function()
         second.folder:write("authorized_keys", second.authorized)
      end)

      it("logs in where it is allowed to, and says what for", function()
         local result = example(adopt() .. hop("echo hello from there"), "y\n")
         assert.equal("", result.stderr)
         assert.matches("hello from there\n", result.stdout, 1, true)
         assert.equal(0, result.status)
         assert.matches("the server has asked for the list of keys\n", result.stdout, 1, true)
         local where = assert(ssh.key.parse(second.host_keys.ed25519)):fingerprint()
         assert.matches(("for a login as '%s' at the host with the key %s\n"):format(second.user, where), result.stdout,
            1, true)
      end)

      it("does not where it is not", function()
         local result = example(adopt() .. hop("echo hello from there"), "n\nn\n")
         assert.equal(255, result.status)
         assert.is_nil(result.stdout:find("hello from there\n", 1, true))
         assert.matches("Permission denied", result.stdout .. result.stderr, 1, true)
      end)
   end)
end)
