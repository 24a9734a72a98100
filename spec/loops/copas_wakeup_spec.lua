-- Copas from 3 on, by its documented calls: a thread sleeps until it is woken. They are put on Debian's here, which is
-- older. No other Copas is loaded in this file.
package.path = package.path .. ";/usr/share/lua/5.2/?.lua"

local copas = require "copas"

local asleep = {}

function copas.pauseforever()
   asleep[coroutine.running()] = true
   coroutine.yield()
end

function copas.wakeup(co)
   if asleep[co] then
      asleep[co] = nil
      copas.addthread(co)
   end
end

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

require "spec.support.loop_behaviour"(_ENV, "Copas with wakeup", require "moonssh.loop.copas", inside)
