--- ssh_config: what the files of OpenSSH's client say for a host.

local args = require "moonssh.args"
local errors = require "moonssh.errors"
local lookup = require "moonssh.config.lookup"
local loop = require "moonssh.loop"
local paths = require "moonssh.paths"
local reader = require "moonssh.config.reader"
local values = require "moonssh.config.values"

local USER_FILE = "~/.ssh/config"
local SYSTEM_FILE = "/etc/ssh/ssh_config"

local MAX_IGNORE_LINES = 100

---@class moonssh.config
---@field paths string[] the files that were named, without those that they include
local Config = { __name = "moonssh.config" }
Config.__index = Config

local config = {}

-- Unknown keywords are mistakes at once, unless a line before them has them ignored, which may depend on the host.
local function check_unknown(file, patterns)
   for _, item in ipairs(file.items) do
      if item.name == "ignoreunknown" then
         patterns[#patterns + 1] = item.value
         if #patterns > MAX_IGNORE_LINES then
            return reader.line_error(item.path, item.line, ("ignoreunknown: there are more than %d of it"):format(
               MAX_IGNORE_LINES))
         end
      elseif item.unknown and not values.is_ignored(patterns[1] and table.concat(patterns, ","), item.unknown) then
         return reader.line_error(item.path, item.line,
            ("unknown keyword '%s'"):format(errors.escape(item.unknown, 80)))
      end
      for _, one in ipairs(item.include or {}) do
         local err = check_unknown(one, patterns)
         if err then
            return err
         end
      end
   end
end

local function add(self, path, options, patterns)
   local file, err = reader.read(path, options)
   err = err or check_unknown(file, patterns)
   if err then
      return nil, err
   end
   table.insert(self.paths, path)
   table.insert(self._files, file)
   return true
end

local function new()
   return setmetatable({ paths = {}, _files = {} }, Config)
end

--- Reads a file of ssh_config and those that it includes. A mistake in them is an error that names file and line.
---@param path string
---@return moonssh.config|nil
---@return moonssh.error? err
function config.open(path)
   args.check("config", 1, path, "string")
   local self = new()
   local ok, err = add(self, paths.expand(path), { user = true }, {})
   if not ok then
      return nil, err
   end
   return self
end

--- The files that ssh reads: the user's, which others must not be able to change, and the system's. Either may be
--- missing.
---@return moonssh.config|nil
---@return moonssh.error? err
function config.default()
   local self, patterns = new(), {}
   local ok, err = add(self, paths.expand(USER_FILE), { user = true, check = true, may_miss = true }, patterns)
   if ok then
      ok, err = add(self, SYSTEM_FILE, { user = false, may_miss = true }, patterns)
   end
   if not ok then
      return nil, err
   end
   return self
end

--- Whether a value is a parsed configuration.
function config.is(value)
   return getmetatable(value) == Config
end

--- What the files say for a host, by keywords in lower case, with values as `ssh -G` prints them; lists for keywords
--- with several. `hostname`, `port` and `user` are always there. Keywords that the library does not act on are in
--- `ignored` instead: their names as a list, and their values by name. It may wait: for a name server where names are
--- made canonical, and for commands of "Match exec".
---@param host string as one would give it to ssh
---@param options? { user: string, port: integer, timeout: number } what is known beside the files
---@return table|nil
---@return moonssh.error? err
function Config:lookup(host, options)
   args.handle(self, "config", "lookup")
   args.check("lookup", 1, host, "string")
   options = args.options("lookup", 2, options, { user = "string", port = "integer", timeout = "number" })
   if host == "" or host:find("[%z\1-\31\127]") then
      args.bad("lookup", 1, "not the name of a host")
   end
   local found, err = lookup.run(self._files, host, options, options.timeout and loop.now() + options.timeout)
   if not found then
      return nil, err
   end
   return found
end

--- As `lookup`, with a deadline in place of a timeout; in `_from` is where the values come from.
function Config:_lookup(host, given, deadline)
   local found, from = lookup.run(self._files, host, given, deadline)
   if not found then
      return nil, from
   end
   found._from = from
   return found
end

--- What is wrong with a value that `_lookup` has given, with the file and the line that it is from.
---@param found table
---@param keyword string
---@param message string
---@return moonssh.error
function config.complaint(found, keyword, message)
   local item = found._from and found._from[keyword]
   return item and reader.line_error(item.path, item.line, message) or errors.new("io", "ssh_config: " .. message)
end

return config
