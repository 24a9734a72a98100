--- `ssh.map`: one function for many hosts, or whatever else there is to work on.

local args = require "moonssh.args"
local loop = require "moonssh.loop"
local work = require "moonssh.work"

local map = {}

---@class moonssh.map_options
---@field concurrency? integer how many at a time, default 64
---@field timeout? number seconds for an attempt at an item
---@field retries? integer further attempts where one has failed, default 0
---@field on_result? fun(item: any, result: any, err: any, index: integer) called as each is done

local DEFAULT_CONCURRENCY = 64

--- Options of whatever works on many items.
map.options = { concurrency = "integer", timeout = "number", retries = "integer", on_result = "function" }

--- Checks what their types do not tell. Gives the part of a job that they make.
function map.check(fname, index, options)
   local concurrency, retries, timeout = options.concurrency or DEFAULT_CONCURRENCY, options.retries or 0,
      options.timeout
   if concurrency < 1 then
      args.bad(fname, index, "option 'concurrency': not positive")
   elseif retries < 0 then
      args.bad(fname, index, "option 'retries': negative")
   elseif timeout and timeout <= 0 then
      args.bad(fname, index, "option 'timeout': not positive")
   end
   return { concurrency = concurrency, retries = retries, timeout = timeout and timeout < math.huge and timeout or nil }
end

--- The items of a list, or what a function gives until nil, one at a time.
function map.each(items)
   if type(items) == "function" then
      return items
   end
   local i = 0
   return function()
      i = i + 1
      return items[i]
   end
end

--- Calls f(item, index) for every item, `concurrency` at a time. Gives the first results and the errors, returned or
--- thrown, both by index. One that fails stops no other.
---@param items any[]|fun(): any a list, or a function that gives one item at a time, and nil in the end
---@param f fun(item: any, index: integer): any, any
---@param options? moonssh.map_options
---@return table results
---@return table errors
function map.map(items, f, options)
   args.check("map", 1, items, { "table", "function" })
   args.check("map", 2, f, "function")
   options = args.options("map", 3, options, map.options)
   local job = map.check("map", 3, options)
   local on_result = options.on_result
   local results, failures = {}, {}
   job.f, job.next = f, map.each(items)
   function job.finish(item, index, value, err)
      results[index], failures[index] = value, err
      if on_result then
         loop.tell(on_result, item, value, err, index)
      end
   end
   work.run(job)
   return results, failures
end

return map
