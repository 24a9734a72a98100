--- Paths of local files as people write them.

local args = require "moonssh.args"
local core = require "moonssh.core"

local paths = {}

--- The path with a leading "~" or "~/" replaced by the home folder, if the user has one. Raises for what cannot be
--- a path.
---@param path string
---@return string
function paths.expand(path)
   if type(path) ~= "string" then
      args.raise(("bad path (string expected, got %s)"):format(type(path)))
   elseif path:find("\0", 1, true) then
      args.raise("bad path (it holds a NUL)")
   end
   local rest = path:match("^~(.*)$")
   if rest == "" or rest and rest:sub(1, 1) == "/" then
      local home = core.file.home()
      return home and home .. rest or path
   end
   return path
end

--- Whether there is something of this name. What cannot be told counts: whoever uses it learns why.
---@param path string
---@return boolean
function paths.exists(path)
   local found, _, _, errno = core.file.stat(path)
   return found ~= nil or errno ~= core.file.ENOENT
end

return paths
