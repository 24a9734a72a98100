-- The servers whose SFTP the specs use: name → function that starts one.
--
--    for name, start in pairs(file_servers) do local server <close> = start() … end
--    file_servers.open(server) → session, sftp, folder     a folder of this machine, seen by both sides

local dial = require "spec.support.dial"
local server = require "spec.support.server"

local file_servers = {}

file_servers.kinds = {
   ["internal-sftp"] = function()
      return server.sshd{}
   end,
   ["sftp-server"] = function()
      return server.sshd{ config = "Subsystem sftp /usr/lib/openssh/sftp-server" }
   end,
   asyncssh = function()
      return server.asyncssh{}
   end,
   paramiko = function()
      return server.paramiko{}
   end,
}

-- A session with SFTP on it.
function file_servers.open(started, options)
   local session = assert(dial(started, options))
   return session, assert(session:sftp{ timeout = 60 })
end

return file_servers
