-- The agent forwarded to OpenSSH's sshd, asked by its own tools there.

local dial = require "spec.support.dial"
local server = require "spec.support.server"
local ssh = require "moonssh"

describe("the agent that is forwarded to sshd", function()
   local sshd, agent

   setup(function()
      sshd, agent = server.sshd{ config = "LogLevel INFO" }, server.agent()
      agent:add(sshd.key_path)
   end)

   teardown(function()
      sshd:stop()
      agent:stop()
   end)

   local LIST = "ssh-add -L 2>&1"

   it("is the local one, for those commands alone that ask for it", function()
      local session <close> = assert(dial(sshd, { agent = agent.path }))
      local result = assert(session:run(LIST, { forward_agent = true, timeout = 60 }))
      assert.equal(agent:list(), result.stdout)
      assert.is_true(result.ok)
      assert.is_false(session:run(LIST, { timeout = 60 }).ok)
   end)

   it("is there for all commands of a session that says so, many at a time", function()
      local session <close> = assert(dial(sshd, { agent = agent.path, forward_agent = true, session_timeout = 60 }))
      local expected, tasks = agent:list(), {}
      for i = 1, 5 do
         tasks[i] = ssh.spawn(function()
            return session:run(LIST).stdout
         end)
      end
      for _, task in ipairs(tasks) do
         assert.equal(expected, task:wait())
      end
   end)

   it("is what a handler makes of it", function()
      local calls = 0
      local session <close> = assert(dial(sshd, { session_timeout = 60, callbacks = { authagent = function(_, channel)
         calls = calls + 1
         assert(channel:read(5) == "\0\0\0\1\11")
         channel:write("\0\0\0\5\12\0\0\0\0")
         channel:read()
      end } }))
      local result = assert(session:run(LIST, { forward_agent = true }))
      assert.equal("The agent has no identities.\n", result.stdout)
      assert.equal(1, calls)
   end)

   it("is not there where nothing could serve it", function()
      local session <close> = assert(dial(sshd, { session_timeout = 60 }))
      local result = assert(session:run(LIST, { forward_agent = true }))
      assert.is_false(result.ok)
      assert.equal("still here", session:run("printf 'still here'").stdout)
   end)
end)
