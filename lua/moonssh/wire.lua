-- What is made of the data types of SSH alone (RFC 4251 5).

local wire = {}

--- The strings that a message is made of, or nil where it is not made of strings alone, or of more than `max`.
---@param bytes string
---@param max? integer
---@return string[]?
function wire.strings(bytes, max)
   local list, n, place = {}, 0, 1
   while place <= #bytes do
      local left = #bytes - place + 1
      local length = left >= 4 and string.unpack(">I4", bytes, place)
      if not length or length > left - 4 or n == max then
         return nil
      end
      n = n + 1
      list[n], place = string.unpack(">s4", bytes, place)
   end
   return list
end

return wire
