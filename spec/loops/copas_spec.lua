-- Debian's Copas is for older versions of Lua, but runs on this one.
package.path = package.path .. ";/usr/share/lua/5.2/?.lua"

local behaviour = require "spec.support.loop_behaviour"
local copas = require "copas"
local light = require "spec.support.light"
local adapter = require "moonssh.loop.copas"
local socket = require "socket"

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

behaviour(_ENV, "Copas", adapter, inside)

describe("Copas", function()
   it("goes on with its sockets while calls wait, by the option loop", function()
      local server <close> = light.start()
      local listener = assert(socket.bind("127.0.0.1", 0))
      local _, port = listener:getsockname()
      local heard = {}
      copas.addserver(listener, function(client)
         table.insert(heard, (copas.receive(client, 5)))
      end)
      inside(function()
         local session <close> = assert(server:connect{ loop = adapter })
         local client = socket.connect("127.0.0.1", port)
         client:send("hello")
         while not heard[1] do
            assert(session:run("sleep 0.01"))
         end
         client:close()
      end)
      assert.same({ "hello" }, heard)
   end)
end)
