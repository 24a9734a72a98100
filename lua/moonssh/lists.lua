--- Small things to do with lists.

local lists = {}

--- Whether a value is in a list.
---@param list any[]
---@param value any
---@return boolean
function lists.has(list, value)
   for _, one in ipairs(list) do
      if one == value then
         return true
      end
   end
   return false
end

--- A list of the same values.
---@param list any[]
---@return any[]
function lists.copy(list)
   return table.move(list, 1, #list, 1, {})
end

return lists
