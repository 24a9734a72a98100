-- Counts this process's open descriptors: not those of objects that only wait for the collector, nor the pollers of
-- loops, which are made when they are first needed.

local core = require "moonssh.core"

return function()
   collectgarbage()
   collectgarbage()
   local count = 0
   for _, fd in ipairs(core.file.list("/proc/self/fd")) do
      if core.file.readlink("/proc/self/fd/" .. fd) ~= "anon_inode:[eventpoll]" then
         count = count + 1
      end
   end
   return count
end
