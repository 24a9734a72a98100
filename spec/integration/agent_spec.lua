-- Logging in to sshd with keys that a real ssh-agent holds.

local dial = require "spec.support.dial"
local keys = require "spec.support.keys"
local process = require "spec.support.process"
local server = require "spec.support.server"
local socket = require "moonssh_testing".socket
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"
local tmp = require "spec.support.tmp"

describe("with an agent", function()
   local sshd, agent, folder

   setup(function()
      sshd = server.sshd()
   end)

   teardown(function()
      sshd:stop()
   end)

   before_each(function()
      agent = server.agent()
      folder = tmp.dir()
   end)

   after_each(function()
      agent:stop()
      folder:remove()
   end)

   for _, type in ipairs{ "ed25519", "ecdsa", "rsa" } do
      it("that holds an " .. type .. " key we log in", function()
         agent:add(sshd.key_paths[type])
         local session <close> = assert(dial(sshd, { agent = agent.path, identity = nil }))
         assert.equal("publickey", session.info.auth)
      end)
   end

   it("given as a handle we log in, and the handle stays open", function()
      agent:add(sshd.key_path)
      local handle <close> = assert(ssh.agent(agent.path))
      local session <close> = assert(dial(sshd, { agent = handle }))
      assert.is_false(handle.closed)
      assert.equal(1, #assert(handle:identities()))
      assert.equal("publickey", session.info.auth)
   end)

   it("the right one of several keys is found", function()
      for i = 1, 3 do
         agent:add(keys.make(folder, "stranger" .. i, { type = "ed25519" }))
      end
      agent:add(sshd.key_paths.rsa)
      local session <close> = assert(dial(sshd, { agent = agent.path, identities_only = false }))
      assert.equal("publickey", session.info.auth)
   end)

   it("the private half of an identity is the agent's, without its passphrase", function()
      -- Whether its public half stands beside it or only in it.
      local path = folder:path("locked")
      process.check{ "cp", sshd.key_path, path }
      process.check{ "ssh-keygen", "-q", "-p", "-P", "", "-N", "a passphrase", "-a", "2", "-f", path }
      agent:add(sshd.key_path)
      local session <close> = assert(dial(sshd, { agent = agent.path, identity = path }))
      assert.equal("publickey", session.info.auth)
      process.check{ "cp", sshd.key_path .. ".pub", path .. ".pub" }
      local other <close> = assert(dial(sshd, { agent = agent.path, identity = path }))
      assert.equal("publickey", other.info.auth)
   end)

   it("a public file is enough as identity", function()
      agent:add(sshd.key_path)
      local session <close> = assert(dial(sshd, { agent = agent.path, identity = sshd.key_path .. ".pub" }))
      assert.equal("publickey", session.info.auth)
   end)

   it("only the keys of identity are offered, unless told otherwise", function()
      local stranger = keys.make(folder, "stranger", { type = "ed25519" })
      agent:add(sshd.key_path)
      local session, err = dial(sshd, { agent = agent.path, identity = stranger })
      assert.is_nil(session)
      assert.equal("auth_failed", err.code)
      local other <close> = assert(dial(sshd, { agent = agent.path, identity = stranger, identities_only = false }))
      assert.equal("publickey", other.info.auth)
   end)

   it("that is not there the error says so", function()
      local session, err = dial(sshd, { agent = folder:path("nothing") })
      assert.is_nil(session)
      assert.equal("agent", err.code)
   end)

   it("that hangs the deadline of connect holds", function()
      local listener = assert(socket.listen(folder:path("silent")))
      local session, err = waiting.longer(function(timeout)
         return dial(sshd, { agent = folder:path("silent"), timeout = timeout })
      end, function(_, err)
         return err.stage == "auth"
      end)
      socket.close(listener)
      assert.is_nil(session)
      assert.equal("timeout", err.code)
      assert.equal("auth", err.stage)
   end)

   it("that holds a key for one host only we log in to that host, and to no other", function()
      local other <close> = server.sshd{ host_keys = { "ecdsa" } }
      local list = folder:write("known_hosts", "here " .. sshd.host_keys.ed25519 .. "\nhere " .. sshd.host_keys.ecdsa
         .. "\nhere " .. sshd.host_keys.rsa .. "\nthere " .. keys.public("ed25519", "elsewhere") .. "\n")
      agent:add(sshd.key_path, "-h", "here", "-H", list)
      for _ = 1, 2 do
         local session <close> = assert(dial(sshd, { agent = agent.path, known_hosts = sshd.known_hosts_path }))
         assert.equal("publickey", session.info.auth)
      end
      -- A handle's connection is not spent by being bound to a session.
      local handle <close> = assert(ssh.agent(agent.path))
      for _ = 1, 2 do
         local session <close> = assert(dial(sshd, { agent = handle }))
         assert.equal("publickey", session.info.auth)
         assert.equal(1, #assert(handle:identities()))
      end
      local restricted <close> = server.agent()
      restricted:add(sshd.key_path, "-h", "there", "-H", list)
      local session, err = dial(other, { agent = restricted.path })
      assert.is_nil(session)
      assert.equal("auth_failed", err.code)
   end)

   it("that is forwarded shows no key that is for another way only", function()
      local list = folder:write("known_hosts", "here " .. sshd.host_keys.ed25519 .. "\nhere " .. sshd.host_keys.ecdsa
         .. "\nhere " .. sshd.host_keys.rsa .. "\n")
      agent:add(sshd.key_path, "-h", "here", "-H", list)
      agent:add(sshd.key_paths.ecdsa)
      local session <close> = assert(dial(sshd, { agent = agent.path, forward_agent = true }))
      local shown = assert(session:run("ssh-add -L")).stdout
      assert.equal(keys.public("ecdsa") .. "\n", shown)
   end)

   it("session:auth_agent logs in step by step", function()
      agent:add(sshd.key_path)
      local fd = assert(socket.connect(sshd.host, sshd.port))
      local session <close> = assert(ssh.session())
      assert(session:handshake(fd, { host = sshd.host, port = sshd.port, known_hosts = sshd.known_hosts_path }))
      assert.is_true(session:auth_agent(sshd.user, agent.path))
      session:close()
      socket.close(fd)
   end)
end)
