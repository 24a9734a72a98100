--- What a file is called while it is written: NAME.part.

local part = {}

local SUFFIX = ".part"

-- Bytes of a name, with nearly every file system.
local MOST = 255

-- By which long names with the same beginning differ (FNV-1a).
local function sum(name)
   local value = 0x811c9dc5
   for i = 1, #name do
      value = (value ~ name:byte(i)) * 0x01000193 & 0xffffffff
   end
   return value
end

-- The front of a name, with no character of UTF-8 cut in two.
local function front(name, len)
   for back = 0, 3 do
      local following = name:byte(len - back + 1)
      if following & 0xc0 ~= 0x80 then
         return name:sub(1, len - back)
      end
   end
   return name:sub(1, len)
end

--- The path under which a file is written that is to have `path` in the end. It is none that is taken by a file that is
--- copied, too.
---@param path string
---@param is_taken? fun(name: string, path: string): boolean whether a name in the same folder is another file's
---@return string
function part.of(path, is_taken)
   local folder, name = path:match("^(.*/)([^/]*)$")
   if not folder then
      folder, name = "", path
   end
   local suffix = SUFFIX
   local result
   repeat
      result = name .. suffix
      if #result > MOST then
         local tail = ("~%08x"):format(sum(name)) .. suffix
         result = front(name, MOST - #tail) .. tail
      end
      suffix = "~" .. suffix
   until not is_taken or not is_taken(result, folder .. result)
   return folder .. result
end

return part
