--- One function for many items, many at a time: what `map` and fleets are made of.

local errors = require "moonssh.errors"
local loop = require "moonssh.loop"
local task = require "moonssh.task"

local work = {}

-- The pause before the first further attempt, in seconds; it doubles each time, up to the last one.
local FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5

-- What does not get better by itself.
local permanent = {}
for _, code in ipairs{ "auth_failed", "auth_trivial", "callback", "cancelled", "host_key_changed", "host_key_rejected",
   "host_key_revoked", "host_key_unknown", "key_format", "negotiation", "passphrase", "unsupported" } do
   permanent[code] = true
end

--- Whether an error is one that does not get better by itself.
function work.is_permanent(err)
   return errors.is(err) and permanent[err.code] or false
end

-- Calls f; what it throws becomes an error value. → value | nil, err
local function call(f, ...)
   local ok, value, err = xpcall(f, errors.describe, ...)
   if ok then
      return value, err
   end
   local failure = errors.described(value)
   return nil, errors.thrown(failure.cause, failure.traceback)
end

-- Calls f in a task of its own that is cancelled when the time is up.
local function call_within(timeout, f, ...)
   local one <close> = task.spawn(call, f, ...)
   local value, err = one:wait(timeout)
   if not one.closed then
      return nil, errors.new("timeout", ("not done within %g s"):format(timeout), { stage = err.stage })
   end
   return value, err
end

local function attempt(job, item, index)
   if job.timeout then
      return call_within(job.timeout, job.f, item, index)
   end
   return call(job.f, item, index)
end

-- → value, err, attempts
local function attempts(job, item, index)
   local pause = FIRST_PAUSE
   for n = 1, job.retries + 1 do
      if job.pace then
         job.pace(index)
      end
      local value, err = attempt(job, item, index)
      if value ~= nil or err == nil or n > job.retries or work.is_permanent(err) then
         return value, value == nil and err or nil, n
      end
      loop.sleep(pause)
      pause = math.min(2 * pause, LONGEST_PAUSE)
   end
end

local Workers = {
   __close = function(workers)
      for _, worker in ipairs(workers) do
         worker:cancel()
      end
   end,
}

---@class moonssh.job
---@field next fun(): any the next item, nil after the last
---@field f fun(item: any, index: integer): any, any
---@field begin? fun(item: any, index: integer)
---@field pace? fun(index: integer) called before each attempt; its time does not count
---@field finish fun(item: any, index: integer, value: any, err: any, attempts: integer)
---@field concurrency integer
---@field retries integer
---@field timeout? number for an attempt

-- The next item and its index, or nil.
local function take(job)
   local item
   if not job.exhausted then
      item = job.next()
      job.exhausted = item == nil
   end
   if item == nil then
      return nil
   end
   job.count = job.count + 1
   return item, job.count
end

-- Some schedulers end a task by an error of its wait, which looks like one of the item's.
local function is_cancelled()
   local fiber = loop.current().running()
   return fiber and fiber.cancelled
end

-- Works on an item, and then on the next ones, as long as there are any.
local function labour(job, item, index)
   while item ~= nil do
      if job.begin then
         job.begin(item, index)
      end
      local value, err, count = attempts(job, item, index)
      if is_cancelled() then
         return
      end
      job.finish(item, index, value, err, count)
      item, index = take(job)
   end
end

--- Does a job to its end. Only what `next` and `finish` throw ends it early, and is thrown.
---@param job moonssh.job
function work.run(job)
   job.count, job.exhausted = 0, false
   local workers <close> = setmetatable({}, Workers)
   while #workers < job.concurrency do
      local item, index = take(job)
      if item == nil then
         break
      end
      workers[#workers + 1] = task.spawn(labour, job, item, index)
   end
   for _, worker in ipairs(workers) do
      local _, err = worker:wait()
      if err then
         error(err, 0)
      end
   end
end

return work
