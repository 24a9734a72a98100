--- Which algorithms a session offers: lists, ssh_config's "+", "-" and "^" forms, presets.

local core = require "moonssh.core"
local args = require "moonssh.args"
local errors = require "moonssh.errors"
local match = require "moonssh.match"

local algorithms = {}

local kinds = { "kex", "host_key", "cipher", "mac", "compression" }

local known, defaults, is_known

-- The core's tables as lists of names, read once.
local function tables()
   if known then
      return
   end
   local rows = core.algorithms()
   known, defaults, is_known = {}, {}, {}
   for _, kind in ipairs(kinds) do
      known[kind], defaults[kind], is_known[kind] = {}, {}, {}
      for i, row in ipairs(rows[kind]) do
         known[kind][i] = row.name
         is_known[kind][row.name] = true
         if row.default then
            table.insert(defaults[kind], row.name)
         end
      end
   end
end

local function copy(list)
   return table.move(list, 1, #list, 1, {})
end

--- All algorithms there are: `{ kex =, host_key =, cipher =, mac =, compression = }`, each in order of preference.
---@return table<string, string[]>
function algorithms.list()
   tables()
   local all = {}
   for _, kind in ipairs(kinds) do
      all[kind] = copy(known[kind])
   end
   return all
end

--- The names offered by default for a kind.
---@return string[]
function algorithms.defaults(kind)
   tables()
   return copy(defaults[kind])
end

local function complain(fname, text)
   -- Options are the last argument: the only one of `session`, the second one of `connect`.
   args.bad(fname, fname == "session" and 1 or 2, "option 'algorithms': " .. text)
end

local function contains(list, name)
   for _, one in ipairs(list) do
      if one == name then
         return true
      end
   end
   return false
end

-- A list without what another one names.
local function without(list, names)
   local left = {}
   for _, name in ipairs(list) do
      local gone = false
      for _, pattern in ipairs(names) do
         gone = gone or match.pattern(pattern, name)
      end
      if not gone then
         left[#left + 1] = name
      end
   end
   return left
end

local function join(first, second)
   local all = {}
   for _, list in ipairs{ first, second } do
      for _, name in ipairs(list) do
         if not contains(all, name) then
            all[#all + 1] = name
         end
      end
   end
   return all
end

-- The names of an option, and its sign ("+", "-", "^" or "").
local function split(option)
   if type(option) == "table" then
      return option, ""
   end
   local sign, rest = option:match("^([-+^]?)(.*)$")
   local names = {}
   for name in rest:gmatch("[^,%s]+") do
      names[#names + 1] = name
   end
   return names, sign
end

-- One kind's list from its option.
local function resolve_kind(fname, kind, option)
   if type(option) ~= "table" and type(option) ~= "string" then
      complain(fname, ("'%s' must be a list or a string, got %s"):format(kind, type(option)))
   end
   local names, sign = split(option)
   for _, name in ipairs(names) do
      if type(name) ~= "string" then
         complain(fname, ("'%s' must be a list of names"):format(kind))
      elseif not is_known[kind][name] and not (sign == "-" and name:find("[*?]")) then
         complain(fname, ("unknown algorithm '%s' in '%s'"):format(errors.escape(name, 64), kind))
      end
   end
   local base = defaults[kind]
   local list = sign == "+" and join(base, names) or sign == "-" and without(base, names)
      or sign == "^" and join(names, base) or join(names, {})
   if #list == 0 then
      complain(fname, ("no algorithm is left in '%s'"):format(kind))
   end
   return list, sign == "-" and {} or names
end

-- Whether a cipher is unsafe without strict key exchange. Naming it allows it there.
local function is_unsafe(kind, name)
   return kind == "cipher" and name:find("^chacha20") ~= nil
end

--- What core.session takes, from the options `algorithms` and `compression` of a public function. A wrong option
--- raises, naming the function. Only what differs from the default is set.
---@param fname string
---@param option table|string|nil
---@param compression boolean|nil
---@return table { kex =, host_key =, cipher =, mac =, compression = (names with commas), allow_unsafe = }
function algorithms.resolve(fname, option, compression)
   tables()
   if type(option) == "string" then
      if option ~= "default" then
         complain(fname, ("unknown preset '%s'"):format(errors.escape(option, 64)))
      end
      option = nil
   elseif option ~= nil and type(option) ~= "table" then
      complain(fname, ("table or string expected, got %s"):format(type(option)))
   end
   local result = {}
   for kind in pairs(option or {}) do
      if not is_known[kind] then
         complain(fname, ("unknown option '%s'"):format(errors.escape(tostring(kind), 64)))
      end
   end
   for _, kind in ipairs(kinds) do
      if option and option[kind] ~= nil then
         local list, named = resolve_kind(fname, kind, option[kind])
         result[kind] = table.concat(list, ",")
         for _, name in ipairs(named) do
            result.allow_unsafe = result.allow_unsafe or is_unsafe(kind, name) or nil
         end
      end
   end
   if compression and not result.compression then
      result.compression = table.concat(join({ "zlib@openssh.com" }, defaults.compression), ",")
   end
   return result
end

--- The same without the ciphers that are unsafe when the server has no strict key exchange; nil if none is left.
---@param resolved table what `resolve` gave
---@return table|nil
function algorithms.safe(resolved)
   local result = {}
   for name, value in pairs(resolved) do
      result[name] = value
   end
   local left = {}
   for _, name in ipairs(resolved.cipher and split(resolved.cipher) or defaults.cipher) do
      if not is_unsafe("cipher", name) then
         left[#left + 1] = name
      end
   end
   result.cipher = table.concat(left, ",")
   return left[1] and result or nil
end

return algorithms
