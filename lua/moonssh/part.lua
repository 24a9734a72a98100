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
--- copied, too, and none that such a file is written under: that of a name and of what else is in its folder alone, so
--- that a copy that is resumed finds it again.
---@param path string
---@param is_taken? fun(name: string, path: string): boolean whether a name in the same folder is another file's
---@return string
function part.of(path, is_taken)
   local folder, name = path:match("^(.*/)([^/]*)$")
   if not folder then
      folder, name = "", path
   end
   local function taken(other)
      return is_taken and is_taken(other, folder .. other)
   end
   local tag = ("~%08x"):format(sum(name))
   local n = #name + #SUFFIX > MOST and 1 or 0
   local stem
   repeat
      local tail = n == 0 and "" or n == 1 and tag or ("%s~%d"):format(tag, n)
      local room = MOST - #SUFFIX - #tail
      stem = (#name > room and front(name, room) or name) .. tail
      n = n + 1
      -- What is left of it without .part may be the name of a file that is written under just this one.
   until not taken(stem .. SUFFIX) and (stem == name or not taken(stem))
   return folder .. stem .. SUFFIX
end

return part
