-- Copas, from its first versions, which know sockets only, to those with timers. Calls wait in its threads; in the main
-- program a call steps Copas until it is done.

local copas = require "copas"
local Hub = require "moonssh.loop.hub"

-- What Copas takes for a socket: a descriptor that a read has to wait for once.
local function shim_of(fd)
   local waited = false
   return {
      getfd = function()
         return fd
      end,
      dirty = function()
         return false
      end,
      settimeout = function()
         return 1
      end,
      receive = function()
         waited = not waited
         if waited then
            return nil, "timeout", ""
         end
         return "ready"
      end,
      close = function()
         return 1
      end,
   }
end

-- Later versions let a thread sleep until it is woken. Before, one that yields nothing is forgotten, and can be added
-- again.
local suspend = copas.wakeup and (copas.pauseforever or function()
   copas.sleep(-1)
end) or coroutine.yield

local hub = Hub.new{
   suspend = suspend,
   resume = copas.wakeup or copas.addthread,
   attend = function(fd, turn)
      copas.addthread(function()
         local shim = shim_of(fd)
         repeat
            copas.receive(shim, 1)
         until not turn()
      end)
   end,
   step = function()
      copas.step()
   end,
}

---@type moonssh.adapter
local adapter = hub:adapter()

function adapter.spawn(f)
   hub:push(function()
      copas.addthread(f)
   end)
end

return adapter
