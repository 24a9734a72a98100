-- Files of ssh_config, taken apart once: what they say does not depend on the host that is asked for later.
--
-- A file is { path, items }. An item has the number of its line, and is one of
--    { host = patterns }  { match = conditions }  { include = files }  { unknown = keyword }
--    { name = keyword, row =, value = }

local core = require "moonssh.core"
local criteria = require "moonssh.config.criteria"
local errors = require "moonssh.errors"
local keywords = require "moonssh.config.keywords"
local lexer = require "moonssh.config.lexer"
local paths = require "moonssh.paths"

local MAX_FILE = 1024 * 1024
local MAX_DEPTH = 16
local MAX_FILES = 1024
local EISDIR = 21
local NOWHERE = "/dev/null" -- how people write that there is to be no file

local reader = {}

--- The error of a line.
---@param path string
---@param line integer
---@param message string
---@return moonssh.error
function reader.line_error(path, line, message)
   return errors.new("io", ("%s line %d: %s"):format(errors.escape(path), line, message), { path = path, line = line })
end

-- --- lines

local function read_host(arguments)
   for _, pattern in ipairs(arguments) do
      if pattern == "" then
         return nil, "Host: one of its values is empty"
      end
   end
   return { host = arguments }
end

local function read_match(rest)
   local conditions, complaint = criteria.parse(rest)
   if not conditions then
      return nil, "Match: " .. complaint
   end
   return { match = conditions }
end

local function read_value(keyword, arguments, rest)
   local row, name = keywords.find(keyword)
   if not row then
      return { unknown = keyword }
   end
   local value, complaint = row.read(arguments, rest)
   if value == nil then
      return nil, ("%s: %s"):format(keyword, complaint)
   elseif arguments[1] then
      return nil, ("%s: it has a value too many, '%s'"):format(keyword, errors.escape(arguments[1], 80))
   end
   return { name = name, row = row, value = value }
end

-- The item of a line; nil for a line that says nothing; nil and a complaint.
local function read_line(text)
   local keyword, rest = lexer.line(text)
   if not keyword then
      return nil
   elseif rest == "" then
      return nil, ("%s: it has no value"):format(errors.escape(keyword, 80))
   end
   local arguments = lexer.arguments(rest)
   if not arguments then
      return nil, ("%s: a quote is not closed"):format(errors.escape(keyword, 80))
   elseif keyword == "host" then
      return read_host(arguments)
   elseif keyword == "match" then
      return read_match(rest)
   elseif keyword == "include" then
      return { patterns = arguments }
   end
   return read_value(keyword, arguments, rest)
end

-- --- files

local read_file

-- The pattern of an Include, from where relative ones start.
local function pattern_of(pattern, options)
   if pattern == "" then
      return nil, "Include: one of its values is empty"
   elseif pattern:sub(1, 1) == "~" then
      if not options.user then
         return nil, ("Include: '%s' is not a path for a file of the system"):format(errors.escape(pattern))
      end
      return paths.expand(pattern)
   elseif pattern:sub(1, 1) ~= "/" then
      return paths.expand((options.user and "~/.ssh/" or "/etc/ssh/") .. pattern)
   end
   return pattern
end

-- Reads the files of an Include into the item. nil, err
local function include(item, path, number, options, depth)
   item.include = {}
   for _, pattern in ipairs(item.patterns) do
      local full, complaint = pattern_of(pattern, options)
      local found, message
      if full then
         found, complaint, message = core.file.glob(full)
      end
      if not found then
         return nil, reader.line_error(path, number, message and "Include: " .. message or complaint)
      elseif found[1] and depth >= MAX_DEPTH then
         return nil, reader.line_error(path, number, "Include: too deep; files that include each other?")
      end
      for _, one in ipairs(found) do
         local file, err = read_file(one, { user = options.user, check = true, count = options.count }, depth + 1)
         if err then
            return nil, err
         end
         table.insert(item.include, file)
      end
   end
   return true
end

-- Only what its owner or root alone can change is followed.
local function permission_complaint(mode, uid)
   if uid ~= 0 and uid ~= core.file.uid() then
      return "it belongs to somebody else"
   elseif mode & tonumber("022", 8) ~= 0 then
      return "others can write to it"
   end
end

-- The text of a file; "" for a missing one, and for a folder that a pattern has found.
local function text_of(path, options, depth)
   if path == NOWHERE then
      return ""
   end
   local data, mode, message, errno = core.file.read(path, MAX_FILE)
   if not data then
      if errno == core.file.ENOENT and (depth > 0 or options.may_miss) or errno == EISDIR and depth > 0 then
         return ""
      end
      return nil, errors.new("io", ("cannot read %s: %s"):format(errors.escape(path), message),
         { path = path, errno = errno })
   end
   local complaint = options.check and permission_complaint(mode, message)
   if complaint then
      return nil, errors.new("io", ("%s is not used: %s"):format(errors.escape(path), complaint), { path = path })
   end
   return data
end

function read_file(path, options, depth)
   options.count[1] = options.count[1] + 1
   if options.count[1] > MAX_FILES then
      return nil, errors.new("io", ("%s: more than %d files of configuration"):format(errors.escape(path), MAX_FILES),
         { path = path })
   end
   local text, err = text_of(path, options, depth)
   if not text then
      return nil, err
   end
   local file, number = { path = path, items = {} }, 0
   for line in (text:sub(-1) == "\n" and text or text .. "\n"):gmatch("([^\n]*)\n") do
      number = number + 1
      local item, complaint
      if line:find("\0", 1, true) then
         complaint = "it has a NUL byte"
      else
         item, complaint = read_line(line)
      end
      if complaint then
         return nil, reader.line_error(path, number, complaint)
      elseif item then
         item.line, item.path, item.user = number, path, options.user
         local ok = true
         if item.patterns then
            ok, err = include(item, path, number, options, depth)
         end
         if not ok then
            return nil, err
         end
         table.insert(file.items, item)
      end
   end
   return file
end

--- Reads a file and those that it includes.
---@param path string
---@param options { user: boolean, check: boolean, may_miss: boolean } whether it is a user's, with what others may
--- write to refused, and empty when it is missing
---@return table|nil file
---@return table? err
function reader.read(path, options)
   return read_file(path, { user = options.user, check = options.check, may_miss = options.may_miss, count = { 0 } }, 0)
end

return reader
