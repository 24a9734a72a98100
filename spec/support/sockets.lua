-- Sockets of the spec's own process: which are open, and one that says nothing.
--
--    sockets.leaves_nothing_open(function() … end)
--    local port, release = sockets.busy_port()

local core = require "moonssh.core"
local loop = require "moonssh.loop"
local net = require "moonssh.net"
local process = require "spec.support.process"
local socket = require "moonssh_testing".socket

local assert = require "luassert"
local sockets = {}

-- The sockets that are open, as text. What the collector would close counts as well.
local function open_sockets()
   local list = {}
   -- Its status says nothing: the ends of its own pipes go while it looks.
   local listing = process.run{ "ls", "-l", ("/proc/%d/fd"):format(process.pid()) }.stdout
   for socket_name in listing:gmatch("socket:%S+") do
      list[#list + 1] = socket_name
   end
   table.sort(list)
   return table.concat(list, " ")
end

-- Runs f and sees that it leaves no more sockets than there were, before anything is collected.
function sockets.leaves_nothing_open(f)
   collectgarbage()
   collectgarbage("stop")
   local before = open_sockets()
   local ok, err = pcall(f)
   local after = open_sockets()
   collectgarbage("restart")
   assert(ok, err)
   assert.equal(before, after)
end

-- A port on which connections are neither taken nor refused: its queue is full.
function sockets.busy_port()
   local fd, port = assert(socket.listen("127.0.0.1", 0))
   local held = {}
   for i = 1, 300 do
      local address = assert(core.resolve("127.0.0.1", port):result())[1]
      local client, pending = core.socket.connect(address)
      held[i] = client
      if pending and not loop.wait(client, "w", loop.now() + 0.2) then
         break
      end
   end
   return port, function()
      for _, client in ipairs(held) do
         net.close(client)
      end
      socket.close(fd)
   end
end

return sockets
