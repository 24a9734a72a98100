-- Work that goes on while its caller waits: private coroutines, resumed by the replies that they wait for. They are no
-- tasks: nothing of the user's runs in them, and whoever moves the session moves them.
--
-- What is waited for is a *record*: a table that gets `done`. In a fiber, await lets it yield; elsewhere it waits for
-- the session.

local errors = require "moonssh.errors"
local pump = require "moonssh.pump"

local fiber = {}

-- coroutine → job
local jobs = setmetatable({}, { __mode = "k" })

local function step(job, ...)
   local ok, err = coroutine.resume(job.thread, ...)
   if coroutine.status(job.thread) == "dead" then
      if not ok then
         job.thrown = { cause = err, traceback = debug.traceback(job.thread, errors.text(err)) }
         coroutine.close(job.thread) -- what it holds is given back
      end
      jobs[job.thread] = nil
      job.done = true
      job.finished(job)
   end
end

--- Starts f(...); finished(job) is called at its end, with job.thrown when it has raised.
function fiber.start(finished, f, ...)
   local job = { thread = coroutine.create(f), finished = finished, done = false }
   jobs[job.thread] = job
   step(job, ...)
   return job
end

--- Ends a job where it waits, closing its <close> variables.
function fiber.cancel(job)
   if not job.done then
      job.done = true
      jobs[job.thread] = nil
      coroutine.close(job.thread)
   end
end

--- Marks a record as done; fibers that wait for it go on at once, a task when the pump looks.
function fiber.finish(record, session)
   record.done = true
   record._stamp = session._batch
   local waiting = record.waiting
   record.waiting = nil
   for _, job in ipairs(waiting or {}) do
      if not job.done then
         step(job)
      end
   end
end

local function is_done(record)
   return record.done
end

--- Whether the running code is a fiber.
function fiber.running()
   return jobs[coroutine.running()] ~= nil
end

--- Waits until the record is done. → true | nil, err
function fiber.await(record, session, deadline, stage)
   local job = jobs[coroutine.running()]
   if not job then
      return pump.run_until(session, is_done, deadline, stage or "request", record, record)
   end
   if not record.done then
      record.waiting = record.waiting or {}
      table.insert(record.waiting, job)
      coroutine.yield()
   end
   return true
end

return fiber
