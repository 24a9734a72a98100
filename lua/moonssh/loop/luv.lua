-- luv's loop. Calls wait in coroutines, however they are run: the loop goes on with them. In the main program a call
-- runs the loop until it is done. Not for use in a callback of luv's outside of a coroutine.

local uv = require "luv"
local Hub = require "moonssh.loop.hub"

local handle -- watches the hub's descriptor, and nothing else: descriptors of sessions never get a handle

local hub = Hub.new{
   nests = true,
   suspend = coroutine.yield,
   resume = Hub.resume,
   attend = function(fd, turn)
      if not handle or handle:is_closing() then
         handle = assert(uv.new_poll(fd))
      end
      assert(handle:start("r", function()
         if not turn() then
            handle:stop()
         end
      end))
   end,
   step = function()
      uv.run("once")
   end,
}

---@type moonssh.adapter
local adapter = hub:adapter()

function adapter.spawn(f)
   hub:push(coroutine.create(f))
end

return adapter
