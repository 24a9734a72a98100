-- examples/callbacks.lua, against sshd.

local process = require "spec.support.process"
local server = require "spec.support.server"
local ssh = require "moonssh"

describe("examples/callbacks.lua", function()
   if server.missing("sshd") then
      pending(server.missing("sshd"))
      return
   end

   local function run(destination, env)
      return process.run{ process.lua, "examples/callbacks.lua", destination, env = env }
   end

   it("shows every type called, and runs to its end", function()
      local sshd <close> = server.sshd{ config = "X11Forwarding yes" }
      local result = run(("%s@%s:%d"):format(sshd.user, sshd.host, sshd.port),
         { IDENTITY = sshd.key_path, KNOWN_HOSTS = sshd.known_hosts_path, SSH_AUTH_SOCK = false })
      assert.equal("", result.stderr)
      assert.equal(0, result.status)
      local shown = {}
      for cbtype, text in result.stdout:gmatch("([%l%d_]+) +([^\n]+)\n") do
         shown[cbtype] = shown[cbtype] or text
      end
      for _, cbtype in pairs(ssh.CALLBACK) do
         assert.is_truthy(shown[cbtype], cbtype .. "\n" .. result.stdout)
      end
      assert.equal("'nothing, to fill the line'", shown.ignore)
      assert.equal("'I am only a string', language 'en', to be displayed: true", shown.debug)
      assert.equal("reason 11, 'that was all', after 2 messages", shown.disconnect)
      assert.is_truthy(shown.macerror:find("^a packet of %d+ bytes with a wrong MAC, taken$"))
      assert.is_truthy(shown.authagent_sign:find("^%d+ bytes are to be signed, with flags 0$"))
      assert.is_truthy(result.stdout:find("what came of it there: -----BEGIN SSH SIGNATURE-----", 1, true))
      assert.is_truthy(shown.x11:find("^a connection from [%x.:]+, port %d+, which speaks X11$"))
      assert.is_truthy(result.stdout:find("what came of it there: no windows today\n", 1, true))
   end)

   it("says how it is used", function()
      local result = run()
      assert.equal(2, result.status)
      assert.equal("usage: callbacks.lua DESTINATION\n", result.stderr)
   end)
end)
