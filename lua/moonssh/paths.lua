--- Paths of local files as people write them.

local core = require "moonssh.core"

local paths = {}

--- The path with a leading "~" or "~/" replaced by the home folder, if the user has one.
---@param path string
---@return string
function paths.expand(path)
   local rest = path:match("^~(.*)$")
   if rest == "" or rest and rest:sub(1, 1) == "/" then
      local home = core.file.home()
      return home and home .. rest or path
   end
   return path
end

return paths
