-- The private coroutines of SFTP: what they hold is given back, however they end.

local fiber = require "moonssh.sftp.fiber"

describe("a fiber", function()
   -- Starts one that holds something, and waits for a record; log is what has happened to it.
   local function start(after)
      local log, record = {}, { done = false }
      local function closing(name)
         return setmetatable({}, { __close = function(_, err)
            table.insert(log, name .. (err and " of " .. tostring(err) or ""))
         end })
      end
      local job = fiber.start(function(ended)
         table.insert(log, ended.thrown and "thrown" or "ended")
      end, function()
         local _ <close> = closing("inner")
         fiber.await(record, {})
         after()
      end)
      return log, job, record
   end

   it("closes what it holds when it ends", function()
      local log, job, record = start(function() end)
      assert.same({}, log)
      fiber.finish(record, {})
      assert.same({ "inner", "ended" }, log)
      assert.is_true(job.done)
   end)

   it("closes what it holds when it raises, before anybody is told", function()
      local log, job, record = start(function()
         error("boom", 0)
      end)
      fiber.finish(record, {})
      assert.same({ "inner of boom", "thrown" }, log)
      assert.equal("boom", job.thrown.cause)
      assert.truthy(job.thrown.traceback:find("lua_fiber_spec", 1, true))
   end)

   it("closes what it holds when it is cancelled, and tells nobody", function()
      local log, job, record = start(function()
         error("never", 0)
      end)
      fiber.cancel(job)
      assert.same({ "inner" }, log)
      fiber.finish(record, {})
      assert.same({ "inner" }, log)
   end)
end)
