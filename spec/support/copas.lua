-- Debian's Copas is for older versions of Lua, but runs on this one.
package.path = package.path .. ";/usr/share/lua/5.2/?.lua"

local copas = require "copas"

-- Runs f in a thread, and Copas until it has ended.
local function inside(f)
   local ended, cause = false, nil
   copas.addthread(function()
      local ok, err = xpcall(f, debug.traceback)
      ended, cause = true, not ok and err or nil
   end)
   while not ended do
      copas.step()
   end
   assert(not cause, cause)
end

return { copas = copas, inside = inside }
