-- The methods of Sftp that ask about the server: its file systems, homes, users.

local args = require "moonssh.args"
local errors = require "moonssh.errors"
local Link = require "moonssh.sftp.link"

local TYPE, REPLY = Link.type, Link.reply

-- Methods of moonssh.sftp.
local methods = {}

local statvfs_fields = { "bsize", "frsize", "blocks", "bfree", "bavail", "files", "ffree", "favail", "fsid", "flag",
   "namemax" }

--- The fields of a reply to statvfs.
function methods._parse_statvfs(body, err, path)
   if not body then
      return nil, err
   elseif #body < 8 * #statvfs_fields then
      return nil, Link.error("protocol", path, "the server's answer is too short")
   end
   local values = { string.unpack(">" .. ("I8"):rep(#statvfs_fields), body) }
   local result = {}
   for i, name in ipairs(statvfs_fields) do
      result[name] = values[i]
   end
   result.readonly, result.nosuid = result.flag & 1 ~= 0, result.flag & 2 ~= 0
   return result
end

--- The file system that holds a path (statvfs@openssh.com): bsize, frsize, blocks, bfree, bavail, … → table | nil, err
---@param path string
---@param options? { timeout: number }
---@return table<string, integer>|nil
---@return moonssh.error? err
function methods:statvfs(path, options)
   self:_check("statvfs")
   args.path("statvfs", 1, path)
   local deadline = self:_deadline("statvfs", 2, options)
   if not self.extensions["statvfs@openssh.com"] then
      return nil, Link.unsupported("statvfs@openssh.com", path)
   end
   local body, err = self:_extended("statvfs@openssh.com", string.pack(">s4", path), path, deadline, REPLY.EXTENDED)
   return methods._parse_statvfs(body, err, path)
end

--- The home directory of the user, or of another one (home-directory). → string | nil, err
---@param user? string
---@param options? { timeout: number }
---@return string|nil
---@return moonssh.error? err
function methods:home(user, options)
   self:_check("home")
   args.path("home", 1, user or "")
   local deadline = self:_deadline("home", 2, options)
   local own = self._session.info.user or ""
   if user == nil or user == own then
      -- A session begins at home.
      local names, err = self._link:call(TYPE.REALPATH, string.pack(">s4", "."), ".", deadline)
      return Link.one_name(names, err, ".")
   elseif not self.extensions["home-directory"] then
      return nil, Link.unsupported("home-directory", user)
   end
   local names, err = self:_extended("home-directory", string.pack(">s4", user), user, deadline, REPLY.NAME)
   return Link.one_name(names, err, user)
end

--- The absolute path of one that may begin with ~ or ~user (expand-path@openssh.com). → string | nil, err
---@param path string
---@param options? { timeout: number }
---@return string|nil
---@return moonssh.error? err
function methods:expand(path, options)
   self:_check("expand")
   args.path("expand", 1, path)
   local deadline = self:_deadline("expand", 2, options)
   local user, rest = path:match("^~([^/]*)/*(.*)$")
   if user and user ~= "" and self.extensions["expand-path@openssh.com"] then
      local names, err = self:_extended("expand-path@openssh.com", string.pack(">s4", path), path, deadline, REPLY.NAME)
      return Link.one_name(names, err, path)
   elseif user then
      local home, err = self:home(user ~= "" and user or nil, options)
      if not home then
         return nil, err
      end
      path = rest == "" and home or home .. "/" .. rest
   end
   local names, err = self._link:call(TYPE.REALPATH, string.pack(">s4", path), path, deadline)
   return Link.one_name(names, err, path)
end

local function pack_ids(fname, index, ids)
   args.optional(fname, index, ids, "table")
   local parts = {}
   for i, id in ipairs(ids or {}) do
      if args.complaint(id, "integer") or id < 0 or id > 0xffffffff then
         args.bad(fname, index, "ids are integers from 0 to 2^32-1")
      end
      parts[i] = string.pack(">I4", id)
   end
   return table.concat(parts)
end

-- A list of strings in a string; names that the server does not know are empty.
local function unpack_names(text, ids)
   local names, at = {}, 1
   for _, id in ipairs(ids or {}) do
      local ok, name, following = pcall(string.unpack, ">s4", text, at)
      if not ok then
         return nil
      end
      names[id], at = name ~= "" and name or nil, following
   end
   return names
end

--- The names of users and groups by their numbers (users-groups-by-id@openssh.com), those that the server knows.
--- → users, groups (each number → name) | nil, err
---@param uids? integer[]
---@param gids? integer[]
---@param options? { timeout: number }
---@return table<integer, string>|nil users
---@return table<integer, string>|moonssh.error groups
function methods:users_groups(uids, gids, options)
   self:_check("users_groups")
   local body = string.pack(">s4s4", pack_ids("users_groups", 1, uids), pack_ids("users_groups", 2, gids))
   local deadline = self:_deadline("users_groups", 3, options)
   if not self.extensions["users-groups-by-id@openssh.com"] then
      return nil, Link.unsupported("users-groups-by-id@openssh.com")
   end
   local answer, err = self:_extended("users-groups-by-id@openssh.com", body, nil, deadline, REPLY.EXTENDED)
   if not answer then
      return nil, err
   end
   local ok, users, groups = pcall(string.unpack, ">s4s4", answer)
   users, groups = ok and unpack_names(users, uids), ok and unpack_names(groups, gids)
   if not users or not groups then
      return nil, errors.new("protocol", "the server's names of users and groups are malformed")
   end
   return users, groups
end

return methods
