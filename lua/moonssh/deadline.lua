--- Deadlines that move: the time that passes inside the user's own functions is not the peer's.

local loop = require "moonssh.loop"

local deadline = {}

--- A deadline as a table `{ at = seconds on the loop's clock, or nil for none }`, from a number, nil, or such a table.
---@param value number|{ at: number? }|nil
---@return { at: number? }
function deadline.of(value)
   if type(value) == "table" then
      return value
   end
   return { at = value }
end

--- Calls one of the user's functions and moves the deadline by the time that it took. What it raises is raised.
---@return any ... its results
function deadline.outside(limit, f, ...)
   local started = loop.now()
   local results = table.pack(f(...))
   if limit.at then
      limit.at = limit.at + (loop.now() - started)
   end
   return table.unpack(results, 1, results.n)
end

return deadline
