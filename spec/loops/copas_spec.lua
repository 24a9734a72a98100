local threads = require "spec.support.copas"
local adapter = require "moonssh.loop.copas"
local behaviour = require "spec.support.loop_behaviour"
local light = require "spec.support.light"
local socket = require "socket"

local copas, inside = threads.copas, threads.inside

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
