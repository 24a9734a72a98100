local behaviour = require "spec.support.loop_behaviour"
local light = require "spec.support.light"
local adapter = require "moonssh.loop.luv"
local uv = require "luv"

-- Runs f in a coroutine, and the loop until it has nothing left to do.
local function inside(f)
   local ended, cause = false, nil
   local co = coroutine.create(function()
      local ok, err = xpcall(f, debug.traceback)
      ended, cause = true, not ok and err or nil
   end)
   assert(coroutine.resume(co))
   uv.run()
   assert(not cause, cause)
   assert.is_true(ended)
end

behaviour(_ENV, "luv", adapter, inside)

describe("luv", function()
   it("goes on with timers of its own while calls wait, by the option loop", function()
      local server <close> = light.start()
      local ticks = 0
      local timer = uv.new_timer()
      inside(function()
         local session <close> = assert(server:connect{ loop = adapter })
         timer:start(1, 1, function()
            ticks = ticks + 1
         end)
         for _ = 1, 1000 do
            assert(session:run("sleep 0.01"))
            if ticks > 3 then
               break
            end
         end
         timer:close()
      end)
      assert.is_true(ticks > 3)
   end)
end)
