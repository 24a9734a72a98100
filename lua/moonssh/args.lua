-- Checks of arguments. What they raise names the argument and points at the first line outside the library.

local args = {}

-- "@./lua/moonssh/": where the sources of the library are.
local library = debug.getinfo(1, "S").source:match("^(.*)args%.lua$") or "\0"

--- Raises a mistake of the caller, at the place outside the library from which it was called.
---@param message string
function args.raise(message)
   local level = 2
   local info = debug.getinfo(level, "Sl")
   while info do
      if info.currentline > 0 and info.source:sub(1, #library) ~= library then
         error(("%s:%d: %s"):format(info.short_src, info.currentline, message), 0)
      end
      level = level + 1
      info = debug.getinfo(level, "Sl")
   end
   error(message, 0)
end

local function has_type(value, name)
   local its = type(value)
   if its == name then
      return name ~= "number" or value == value
   elseif name == "any" then
      return true
   elseif name == "integer" then
      return its == "number" and math.tointeger(value) ~= nil
   elseif name == "function" then
      local meta = getmetatable(value)
      return type(meta) == "table" and type(meta.__call) == "function"
   end
   return false
end

local function fits(value, types)
   if type(types) == "string" then
      return has_type(value, types)
   end
   for i = 1, #types do
      if has_type(value, types[i]) then
         return true
      end
   end
   return false
end

local function described(value, types)
   local expected = type(types) == "string" and types or table.concat(types, " or ")
   local got = math.type(value) == "float" and "float" or type(value)
   if type(value) == "number" and value ~= value then
      got = "not a number"
   end
   return ("%s expected, got %s"):format(expected, got)
end

--- What is wrong with a value, or nil.
---@return string?
function args.complaint(value, types)
   return not fits(value, types) and described(value, types) or nil
end

--- Raises that an argument is wrong. `fname` is the function's name, `index` counts without self.
---@param fname string
---@param index integer
---@param message string
function args.bad(fname, index, message)
   args.raise(("bad argument #%d to '%s' (%s)"):format(index, fname, message))
end

--- Raises unless the value has one of the types: Lua's, or "integer", "any"; "integer" takes floats with an integer
--- value (1e6), "function" what can be called, "number" no NaN.
---@param fname string
---@param index integer
---@param value any
---@param types string|string[]
function args.check(fname, index, value, types)
   if not fits(value, types) then
      args.bad(fname, index, described(value, types))
   end
end

--- As `check`, but nil is fine.
function args.optional(fname, index, value, types)
   if value ~= nil and not fits(value, types) then
      args.bad(fname, index, described(value, types))
   end
end

--- Raises unless the value is a path: any bytes but NUL, at which C ends it, and many a server all that it does.
function args.path(fname, index, value)
   args.check(fname, index, value, "string")
   if value:find("\0", 1, true) then
      args.bad(fname, index, "a path cannot hold a NUL")
   end
end

--- Raises unless `self` is a handle of this kind, and open.
---@param self any
---@param kind string "session", "channel", …
---@param fname string
function args.handle(self, kind, fname)
   local meta = getmetatable(self)
   if type(meta) ~= "table" or meta.__name ~= "moonssh." .. kind then
      args.raise(("calling '%s' on bad self (%s expected, got %s)"):format(fname, kind, type(self)))
   elseif self.closed then
      args.raise(("attempt to use a closed %s (in '%s')"):format(kind, fname))
   end
end

local no_options = setmetatable({}, {
   __newindex = function()
      error("options are not written to")
   end,
})

--- Checks a table of options: every key must be in the spec and every value of its type. Gives the table, or an
--- empty one for nil; it is the caller's, and not to be changed.
---@param fname string
---@param index integer
---@param options table|nil
---@param spec table<string, string|string[]>
---@return table
function args.options(fname, index, options, spec)
   if options == nil then
      return no_options
   end
   args.check(fname, index, options, "table")
   for key, value in pairs(options) do
      local types = spec[key]
      if not types then
         args.bad(fname, index, ("unknown option '%s'"):format(tostring(key)))
      elseif not fits(value, types) then
         args.bad(fname, index, ("option '%s': %s"):format(key, described(value, types)))
      end
   end
   return options
end

--- A spec that has the options of several.
function args.join(...)
   local spec = {}
   for _, part in ipairs{ ... } do
      for key, types in pairs(part) do
         spec[key] = types
      end
   end
   return spec
end

return args
