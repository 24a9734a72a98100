-- File attributes as they are sent (draft-ietf-secsh-filexfer-02, section 5).

local args = require "moonssh.args"

local attributes = {}

---@class moonssh.sftp.attributes
---@field size? integer
---@field uid? integer
---@field gid? integer
---@field permissions? integer without the type
---@field atime? integer seconds since 1970
---@field mtime? integer
---@field type? "file"|"directory"|"symlink"|"fifo"|"socket"|"block"|"character"|"unknown" as received; not sent

local types = {
   size = "integer", uid = "integer", gid = "integer", permissions = "integer", atime = "integer", mtime = "integer",
   type = "string",
}
local most = {
   size = math.maxinteger, uid = 0xffffffff, gid = 0xffffffff, permissions = 0xffffffff, atime = 0xffffffff,
   mtime = 0xffffffff,
}

local SIZE, OWNER, PERMISSIONS, TIMES = 1, 2, 4, 8

--- None at all.
attributes.NONE = string.pack(">I4", 0)

-- A time as the protocol can say it: a file may have an earlier or a later one.
local function seconds(time)
   return math.max(0, math.min(time, most.mtime))
end

--- Those of a table that was checked, or of a file.
function attributes.pack(given)
   local flags, parts = 0, {}
   if given.size then
      flags = flags | SIZE
      parts[#parts + 1] = string.pack(">I8", given.size)
   end
   if given.uid then
      flags = flags | OWNER
      parts[#parts + 1] = string.pack(">I4I4", given.uid, given.gid)
   end
   if given.permissions then
      flags = flags | PERMISSIONS
      parts[#parts + 1] = string.pack(">I4", given.permissions)
   end
   if given.mtime then
      flags = flags | TIMES
      parts[#parts + 1] = string.pack(">I4I4", seconds(given.atime or given.mtime), seconds(given.mtime))
   end
   return string.pack(">I4", flags) .. table.concat(parts)
end

--- Those of an argument; raises on a wrong one.
---@return string
function attributes.check(fname, index, given)
   args.check(fname, index, given, "table")
   args.options(fname, index, given, types)
   for name, limit in pairs(most) do
      local value = given[name]
      if value and (value < 0 or value > limit) then
         args.bad(fname, index, ("option '%s': out of range"):format(name))
      end
   end
   if (given.uid == nil) ~= (given.gid == nil) then
      args.bad(fname, index, "'uid' and 'gid' go together")
   elseif given.atime and not given.mtime then
      args.bad(fname, index, "'atime' goes with 'mtime'")
   end
   return attributes.pack(given)
end

--- Permissions only.
function attributes.permissions(mode)
   return mode and attributes.pack{ permissions = mode } or attributes.NONE
end

return attributes
