-- The servers of spec/support, tried with OpenSSH's client: what other specs rest on.

local process = require "spec.support.process"
local server = require "spec.support.server"

-- The command line of ssh for a server, with further options.
local function ssh_command(peer, command, options)
   local argv = { "ssh", "-F", "none", "-p", peer.port, "-o", "UserKnownHostsFile=" .. peer.known_hosts_path,
      "-o", "GlobalKnownHostsFile=none", "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes",
      "-o", "IdentityAgent=none", "-i", peer.key_path }
   table.move(options or {}, 1, #(options or {}), #argv + 1, argv)
   table.insert(argv, peer.user .. "@" .. peer.host)
   table.insert(argv, command)
   return argv
end

-- Runs ssh against a server: result as of process.run.
local function ssh(peer, command, options)
   local argv = ssh_command(peer, command, options)
   argv.env = options and options.env
   argv.stdin = options and options.stdin
   return process.run(argv)
end

-- Options that make ssh log in with these answers, given one by one, instead of a key.
local function answering(folder, answers)
   local list = folder:write("answers", table.concat(answers, "\n") .. "\n")
   local askpass = folder:write("askpass", ("#!/bin/sh\nsed -n 1p %s\nsed -i 1d %s\n"):format(list, list), "700")
   return { "-o", "PubkeyAuthentication=no", env = { SSH_ASKPASS = askpass, SSH_ASKPASS_REQUIRE = "force" } }
end

describe("sshd of spec.support", function()
   it("lets its made-up user in with each key and runs a command", function()
      local peer <close> = server.sshd{}
      for _, type in ipairs{ "ed25519", "ecdsa", "rsa" } do
         local result = ssh(peer, "echo $USER $HOME; exit 3", { "-i", peer.key_paths[type] })
         assert.equal(("%s %s\n"):format(peer.user, peer.home), result.stdout)
         assert.equal(3, result.status)
      end
   end)

   it("takes the password", function()
      local peer <close> = server.sshd{ password = "pass word" }
      local result = ssh(peer, "echo in", answering(peer.folder, { "pass word" }))
      assert.equal("in\n", result.stdout)
   end)

   it("takes further configuration", function()
      local peer <close> = server.sshd{
         config = "Ciphers aes128-ctr",
         match = "Match User moon\nForceCommand echo forced",
      }
      assert.equal("forced\n", ssh(peer, "true").stdout)
      assert.equal(255, ssh(peer, "true", { "-c", "aes256-ctr" }).status)
   end)

   it("is never another one that was faster to take the port", function()
      local socket = require "moonssh_testing".socket
      local first <close> = server.sshd{}
      local listen, n = socket.listen, 0
      function socket.listen(...)
         n = n + 1
         local fd, port = listen(...)
         return fd, n == 1 and first.port or port
      end
      local second <close> = server.sshd{}
      socket.listen = listen
      assert.is_true(n > 1)
      assert.are_not.equal(first.port, second.port)
      assert.equal("second\n", ssh(second, "echo second").stdout)
   end)

   it("works for the real user too", function()
      local peer <close> = server.sshd{ account = false }
      assert.equal(peer.user .. "\n", ssh(peer, "id -un").stdout)
   end)

   it("is gone after stop, with its connections and what they run", function()
      local peer = server.sshd{}
      local command = ssh_command(peer, "echo $$; exec sleep 1000")
      command.stdout = "pipe"
      local client <close> = assert(process.start(command))
      local pid = tonumber(client:read("stdout", 60):match("^%d+"))
      assert.is_true(process.alive(pid))
      peer:stop()
      assert.equal("exit", (client:wait(60)))
      process.wait_until(function()
         return not process.alive(pid)
      end, 60, "the end of the remote command")
   end)

   it("dies with the process that started it", function()
      local child <close> = assert(process.start{ process.lua, "-e", [[
         local peer = require "spec.support.server".sshd{}
         print(peer.process:pid())
         io.stdout:flush()
         io.read("l")
      ]], stdin = "pipe", stdout = "pipe" })
      local pid = tonumber(child:read("stdout", 60):match("^%d+"))
      assert.is_true(process.alive(pid))
      child:kill(process.SIGKILL)
      child:wait()
      process.wait_until(function()
         return not process.alive(pid)
      end, 60, "the end of sshd")
   end)
end)

describe("dropbear of spec.support", function()
   it("lets its user in by key and by password", function()
      local peer <close> = server.dropbear{}
      assert.equal("hello\n", ssh(peer, "echo hello").stdout)
      assert.equal("hello\n", ssh(peer, "echo hello", answering(peer.folder, { "secret" })).stdout)
   end)
end)

describe("ssh-agent of spec.support", function()
   it("holds the keys it is given and signs with them", function()
      local peer <close> = server.sshd{}
      local agent <close> = server.agent()
      agent:add(peer.key_paths.ecdsa)
      assert.truthy(agent:list():find("^ecdsa%-sha2%-nistp256 "))
      local result = ssh(peer, "echo in", { "-o", "IdentitiesOnly=no", "-o", "IdentityAgent=" .. agent.path,
         "-i", "/dev/null" })
      assert.equal("in\n", result.stdout)
   end)
end)

for _, kind in ipairs{ "asyncssh", "paramiko", "npm" } do
   describe(kind .. " of spec.support", function()
      if server.missing(kind) then
         pending(server.missing(kind))
         return
      end

      local peer
      lazy_setup(function()
         peer = server[kind]{
            banner = "hello there\n",
            methods = { "publickey", "password", "keyboard-interactive" },
            rounds = { {
               name = "lock", instruction = "say it",
               prompts = {
                  { text = "word? ", echo = false, answer = "one" },
                  { text = "number? ", echo = true, answer = "2" },
               },
            } },
         }
      end)
      lazy_teardown(function()
         peer:stop()
      end)

      it("lets its user in by key, with a banner", function()
         local result = ssh(peer, "echo to you")
         assert.equal("to you", result.stdout)
         assert.equal(0, result.status)
         assert.truthy(result.stderr:find("hello there", 1, true))
      end)

      it("takes the password and the answers to its questions", function()
         local by_password = answering(peer.folder, { "secret" })
         table.insert(by_password, "-oPreferredAuthentications=password")
         assert.equal("in", ssh(peer, "echo in", by_password).stdout)
         local by_answers = answering(peer.folder, { "one", "2" })
         table.insert(by_answers, "-oPreferredAuthentications=keyboard-interactive")
         assert.equal("in", ssh(peer, "echo in", by_answers).stdout)
         local wrong = answering(peer.folder, { "one", "3" })
         table.insert(wrong, "-oPreferredAuthentications=keyboard-interactive")
         assert.equal(255, ssh(peer, "echo in", wrong).status)
      end)

      it("does what it is told on a channel", function()
         assert.truthy(ssh(peer, "stderr oh").stderr:find("oh$"))
         assert.equal(7, ssh(peer, "exit 7").status)
         assert.equal("back", ssh(peer, "cat", { stdin = "back" }).stdout)
         assert.equal(200000, #ssh(peer, "flood 200000").stdout)
         assert.equal("moon", ssh(peer, "env WHO", { "-o", "SetEnv=WHO=moon" }).stdout)
         assert.equal(kind ~= "npm" and "failure" or "", ssh(peer, "global nothing@example.org").stdout)
      end)

      it("sends the messages it is told to", function()
         local said = ssh(peer, "debug true look here", { "-vvv" }).stderr
         assert.truthy(said:find("Remote: look here", 1, true))
         said = ssh(peer, "ignore 3 nothing", { "-vvv" }).stderr
         assert.truthy(said:find("Received SSH2_MSG_IGNORE", 1, true) or said:find("receive packet: type 2\n", 1, true))
         said = ssh(peer, "unimplemented 5", { "-vvv" }).stderr
         assert.truthy(said:find("Received SSH2_MSG_UNIMPLEMENTED for 5", 1, true))
         said = ssh(peer, "disconnect 11 that is all", {}).stderr
         assert.truthy(said:find("Received disconnect from 127.0.0.1 port %d+:11: that is all"))
         said = ssh(peer, "rekey", { "-vvv" }).stderr
         local _, newkeys = said:gsub("SSH2_MSG_NEWKEYS received", "")
         assert.equal(2, newkeys)
         assert.equal(255, ssh(peer, "abort").status)
      end)
   end)
end
