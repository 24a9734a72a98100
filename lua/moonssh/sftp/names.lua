-- The methods of Sftp that tell what files there are: dir, walk, glob. Their iterators raise errors, as io.lines does.

local args = require "moonssh.args"
local errors = require "moonssh.errors"
local fiber = require "moonssh.sftp.fiber"
local Link = require "moonssh.sftp.link"
local listing = require "moonssh.sftp.listing"

local TYPE = Link.type

-- Methods of moonssh.sftp.
local methods = {}

-- Folders that are listed ahead of a walk.
local AHEAD = 16

--- An iterator over a folder: name, attributes.
---@param path? string default "."
---@param options? { timeout: number }
---@return fun(): string|nil, moonssh.sftp.attributes|nil
function methods:dir(path, options)
   self:_check("dir")
   args.path("dir", 1, path or ".")
   path = path or "."
   local deadline = self:_deadline("dir", 2, options)
   local reader, err = listing.open(self._link, path, deadline)
   if not reader then
      error(err, 0)
   end
   local names, at = {}, 1
   local function following()
      while not names[at] do
         if self.closed then
            error(errors.closed("the SFTP channel"), 0)
         end
         names, err = reader:next(deadline)
         at = 1
         if names == false then
            names = {}
            reader:__close()
            return nil
         elseif not names then
            error(err, 0)
         end
      end
      local name, found = names[at], names[at + 1]
      at = at + 2
      return name, found
   end
   return following, nil, nil, reader
end

-- walk ---------------------------------------------------------------------------------------------------------------

-- Has a folder listed, unless that has begun.
local function list(self, entry)
   if not entry.listed then
      local listed = { done = false }
      entry.listed = listed
      listed.job = fiber.start(function(job)
         listed.thrown = job.thrown
         fiber.finish(listed, self._session)
      end, function()
         listed.entries, listed.err = listing.all(self._link, entry.path)
      end)
   end
   return entry.listed
end

-- Has the folders that come next listed already.
local function look_ahead(self, stack)
   for i = #stack, math.max(1, #stack - AHEAD), -1 do
      if stack[i].found.type == "directory" then
         list(self, stack[i])
      end
   end
end

local Walk = {
   __close = function(walk)
      for _, entry in ipairs(walk.stack) do
         if entry.listed and entry.listed.job then
            fiber.cancel(entry.listed.job)
         end
      end
      walk.stack = {}
   end,
}

-- Puts what is in a folder on the stack, in the order of names. → true | nil, err
local function open_folder(self, walk, entry)
   local listed = list(self, entry)
   local ok, err = fiber.await(listed, self._session, walk.deadline, "read")
   if not ok then
      return nil, err
   elseif listed.thrown then
      error(listed.thrown.cause, 0)
   elseif not listed.entries then
      return nil, listed.err
   end
   local entries = {}
   for i = 1, #listed.entries, 2 do
      table.insert(entries, { path = listing.join(entry.path, listed.entries[i]), found = listed.entries[i + 1] })
   end
   table.sort(entries, function(a, b)
      return a.path > b.path
   end)
   table.move(entries, 1, #entries, #walk.stack + 1, walk.stack)
   look_ahead(self, walk.stack)
   return true
end

--- An iterator over all that is in a folder and below it: path, attributes; a folder before what is in it. Symbolic
--- links are not followed.
---@param path? string default "."
---@param options? { timeout: number }
---@return fun(): string|nil, moonssh.sftp.attributes|nil
function methods:walk(path, options)
   self:_check("walk")
   args.path("walk", 1, path or ".")
   local top = { path = path or ".", found = { type = "directory" } }
   local walk = setmetatable({ stack = { top }, deadline = self:_deadline("walk", 2, options) }, Walk)
   local last = table.remove(walk.stack)
   local function following()
      if last and last.found.type == "directory" then
         self:_check("walk")
         local ok, err = open_folder(self, walk, last)
         if not ok then
            error(err, 0)
         end
      end
      last = table.remove(walk.stack)
      if last then
         return last.path, last.found
      end
   end
   return following, nil, nil, walk
end

-- glob ---------------------------------------------------------------------------------------------------------------

-- One component of a pattern as a Lua pattern, or as plain text if nothing in it is special.
local function component(text)
   local pattern, plain, at = {}, {}, 1
   local special = false
   while at <= #text do
      local c = text:sub(at, at)
      local set, stop = text:match("^%[(!?%]?[^%]]*)%]()", at)
      if c == "*" then
         pattern[#pattern + 1], special = ".*", true
      elseif c == "?" then
         pattern[#pattern + 1], special = ".", true
      elseif c == "[" and set and set ~= "" and set ~= "!" then
         local negated, members = set:match("^(!?)(.*)$")
         members = members:gsub("[%%%]%^]", "%%%0")
         pattern[#pattern + 1], special = "[" .. (negated ~= "" and "^" or "") .. members .. "]", true
         at = stop - 1
      else
         if c == "\\" and at < #text then
            at = at + 1
            c = text:sub(at, at)
         end
         pattern[#pattern + 1] = c:gsub("%W", "%%%0")
         plain[#plain + 1] = c
      end
      at = at + 1
   end
   return special and "^" .. table.concat(pattern) .. "$" or nil, table.concat(plain), text:sub(1, 1) == "."
end

-- A name that begins with a dot is meant only by a pattern that does.
local function names_that_match(self, folder, pattern, dotted, deadline)
   local entries, err = listing.all(self._link, folder == "" and "." or folder, deadline)
   if not entries then
      if err.code == "sftp" then
         return {}
      end
      return nil, err
   end
   local names = {}
   for i = 1, #entries, 2 do
      local name = entries[i]
      if name:find(pattern) and (dotted or name:sub(1, 1) ~= ".") then
         table.insert(names, name)
      end
   end
   return names
end

-- The paths of the folders so far that go on with this component. → paths | nil, err
local function descend(self, folders, text, is_last, deadline)
   local pattern, plain, dotted = component(text)
   local result = {}
   for _, folder in ipairs(folders) do
      local names, err = { plain }, nil
      if pattern then
         names, err = names_that_match(self, folder, pattern, dotted, deadline)
      elseif is_last then
         local path = listing.join(folder, plain)
         local found
         found, err = self._link:call(TYPE.LSTAT, string.pack(">s4", path), path, deadline)
         names = (found and { plain }) or err.code == "sftp" and {} or nil
      end
      if not names then
         return nil, err
      end
      for _, name in ipairs(names) do
         table.insert(result, listing.join(folder, name))
      end
   end
   return result
end

--- The paths that a pattern with *, ? and [sets] stands for, in the order of names. → list | nil, err
---@param pattern string
---@param options? { timeout: number }
---@return string[]|nil
---@return moonssh.error? err
function methods:glob(pattern, options)
   self:_check("glob")
   args.path("glob", 1, pattern)
   local deadline = self:_deadline("glob", 2, options)
   local parts = {}
   for part in pattern:gmatch("[^/]+") do
      table.insert(parts, part)
   end
   local folders = { pattern:sub(1, 1) == "/" and "/" or "" }
   for i, part in ipairs(parts) do
      local err
      folders, err = descend(self, folders, part, i == #parts, deadline)
      if not folders then
         return nil, err
      end
   end
   if #parts == 0 then
      return {}
   end
   table.sort(folders)
   return folders
end

return methods
