-- Dropbear, whose windows are small and whose offer is short: see spec/support/server.lua for how specs use it.

local account = require "spec.support.account"
local process = require "spec.support.process"

local dropbear = {}

function dropbear.missing()
   if not process.find("dropbear") then
      return "dropbear is not installed"
   end
   -- It reads authorized keys from the home folder only, and that shall not be the real one.
   return not account.available() and "libnss-wrapper is not installed" or nil
end

-- options besides the common ones: arguments.
function dropbear.dropbear(options)
   local server = require "spec.support.server".prepare("dropbear", options)
   local made = account.create(server.folder, { password = options.password, authorized = server.authorized })
   server.user, server.password, server.home = made.user, made.password, made.home
   local command = { process.find("dropbear"), "-F", "-E", "-m", "-P", server.folder:path("pid") }
   for type, path in pairs(server.host_key_paths) do
      local converted = server.folder:path("host_" .. type)
      process.check{ "dropbearconvert", "openssh", "dropbear", path, converted }
      table.insert(command, "-r")
      table.insert(command, converted)
   end
   table.move(options.arguments or {}, 1, #(options.arguments or {}), #command + 1, command)
   local last = #command
   command.env, command.stderr = made.env, server.log_path
   return server:launch(function(port)
      command[last + 1] = "-p"
      command[last + 2] = server.host .. ":" .. port
      return command
   end)
end

return dropbear
