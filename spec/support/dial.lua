-- Connects to a server of spec.support.server with nothing taken from the home folder or the environment.
--
--    local session, err = dial(server, { identity = server.key_path })
--
-- Without credentials in the options the server's own user key is used. `to` in the options is the destination.

local ssh = require "moonssh"

local credentials = { "identity", "password", "interactive", "agent" }

return function(server, options)
   local given = {
      known_hosts = server.known_hosts_path,
      config = false,
      agent = false,
      timeout = 60,
   }
   local has_credential = false
   for _, name in ipairs(credentials) do
      has_credential = has_credential or options and options[name] ~= nil
   end
   given.identity = has_credential and {} or server.key_path
   local to = ("%s@%s:%d"):format(server.user, server.host, server.port)
   for name, value in pairs(options or {}) do
      if name == "to" then
         to = value
      else
         given[name] = value
      end
   end
   return ssh.connect(to, given)
end
