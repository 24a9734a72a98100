--- Which algorithms a session offers: lists, ssh_config's "+", "-" and "^" forms, presets.

local core = require "moonssh.core"
local args = require "moonssh.args"
local errors = require "moonssh.errors"
local lists = require "moonssh.lists"
local match = require "moonssh.match"

local algorithms = {}

local kinds = { "kex", "host_key", "cipher", "mac", "compression" }

local known, defaults, is_known

-- What the presets offer, as far as this OpenSSL has it; "default" is what the core's tables say. "legacy" adds
-- to that what peers of old have: none of it is strong, and some of it is broken.
local presets = {
   legacy = {
      add = true,
      min_rsa_bits = 1024,
      kex = { "diffie-hellman-group14-sha1", "diffie-hellman-group-exchange-sha1", "diffie-hellman-group1-sha1" },
      host_key = { "ssh-rsa", "ssh-dss" },
      cipher = { "aes128-cbc", "aes192-cbc", "aes256-cbc", "3des-cbc" },
      mac = { "hmac-sha1-etm@openssh.com", "hmac-sha1", "hmac-sha1-96-etm@openssh.com", "hmac-sha1-96",
         "hmac-md5-etm@openssh.com", "hmac-md5", "hmac-md5-96-etm@openssh.com", "hmac-md5-96" },
      compression = {},
   },
   fips = {
      kex = { "ecdh-sha2-nistp256", "ecdh-sha2-nistp384", "ecdh-sha2-nistp521", "diffie-hellman-group16-sha512",
         "diffie-hellman-group18-sha512", "diffie-hellman-group14-sha256" },
      host_key = { "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "rsa-sha2-512",
         "rsa-sha2-256" },
      cipher = { "aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr" },
      mac = { "hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512" },
      compression = { "none", "zlib@openssh.com" },
   },
}

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

--- All algorithms there are: `{ kex =, host_key =, cipher =, mac =, compression = }`, each in order of preference.
---@return table<string, string[]>
function algorithms.list()
   tables()
   local all = {}
   for _, kind in ipairs(kinds) do
      all[kind] = lists.copy(known[kind])
   end
   return all
end

--- The names offered by default for a kind.
---@return string[]
function algorithms.defaults(kind)
   tables()
   return lists.copy(defaults[kind])
end

local function complain(fname, text)
   -- Options are the last argument: the only one of `session`, the second one of `connect`.
   args.bad(fname, fname == "session" and 1 or 2, "option 'algorithms': " .. text)
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
         if not lists.has(all, name) then
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

-- Names with the patterns among them replaced by what they match: in ssh_config only keys may be named so, beside
-- what is taken away.
local function expand(kind, names)
   local all = {}
   for _, name in ipairs(names) do
      local matched = { name }
      if kind == "host_key" and name:find("[*?]") then
         matched = {}
         for _, one in ipairs(known[kind]) do
            if match.pattern(name, one) then
               matched[#matched + 1] = one
            end
         end
      end
      all = join(all, matched)
   end
   return all
end

local function stands_for_something(kind, sign, name)
   if name:find("[*?]") then
      return sign == "-" or kind == "host_key" and #expand(kind, { name }) > 0
   end
   return is_known[kind][name]
end

-- One kind's list from its option, and the names in it that were given.
local function resolve_kind(fname, kind, option)
   if type(option) ~= "table" and type(option) ~= "string" then
      complain(fname, ("'%s' must be a list or a string, got %s"):format(kind, type(option)))
   end
   local names, sign = split(option)
   for _, name in ipairs(names) do
      if type(name) ~= "string" then
         complain(fname, ("'%s' must be a list of names"):format(kind))
      elseif not stands_for_something(kind, sign, name) then
         complain(fname, ("unknown algorithm '%s' in '%s'"):format(errors.escape(name, 64), kind))
      end
   end
   local base = defaults[kind]
   if sign == "-" then
      names = without(base, names)
   else
      names = expand(kind, names)
   end
   local list = sign == "+" and join(base, names) or sign == "^" and join(names, base) or names
   if #list == 0 then
      complain(fname, ("no algorithm is left in '%s'"):format(kind))
   end
   return list, sign == "-" and {} or names
end

-- What a preset comes to.
local function resolve_preset(fname, name)
   local preset = presets[name]
   if not preset then
      complain(fname, ("unknown preset '%s'"):format(errors.escape(name, 64)))
   end
   local result = { min_rsa_bits = preset.min_rsa_bits }
   for _, kind in ipairs(kinds) do
      local list = {}
      for _, one in ipairs(preset[kind]) do
         if is_known[kind][one] then
            list[#list + 1] = one
         end
      end
      result[kind] = table.concat(preset.add and join(defaults[kind], list) or list, ",")
   end
   return result
end

local function is_chacha(name)
   return name:find("^chacha20") ~= nil
end

local function is_cbc(name)
   return name:find("%-cbc$") ~= nil
end

local function is_etm(name)
   return name:find("%-etm@openssh%.com$") ~= nil
end

-- A list without the names that a function is true of; nil when none is left.
local function sieve(list, is_out)
   local left = {}
   for _, name in ipairs(list) do
      if not is_out(name) then
         left[#left + 1] = name
      end
   end
   return left[1] and left
end

--- What core.session takes, from the options `algorithms` and `compression` of a public function. A wrong option
--- raises, naming the function. Only what differs from the default is set. A cipher that is unsafe without strict key
--- exchange is allowed there if it is named.
---@param fname string
---@param option table|string|nil
---@param compression boolean|nil
---@return table { kex =, host_key =, cipher =, mac =, compression = (names with commas), allow_chacha =, … }
function algorithms.resolve(fname, option, compression)
   tables()
   if option ~= nil and type(option) ~= "table" and type(option) ~= "string" then
      complain(fname, ("table or string expected, got %s"):format(type(option)))
   end
   local result = type(option) == "string" and option ~= "default" and resolve_preset(fname, option) or {}
   local given = type(option) == "table" and option or {}
   for kind in pairs(given) do
      if not is_known[kind] then
         complain(fname, ("unknown option '%s'"):format(errors.escape(tostring(kind), 64)))
      end
   end
   for _, kind in ipairs(kinds) do
      if given[kind] ~= nil then
         local list, named = resolve_kind(fname, kind, given[kind])
         result[kind] = table.concat(list, ",")
         for _, name in ipairs(kind == "cipher" and named or {}) do
            result.allow_chacha = result.allow_chacha or is_chacha(name) or nil
            result.allow_cbc_etm = result.allow_cbc_etm or is_cbc(name) or nil
         end
      end
   end
   if compression and given.compression == nil then
      result.compression = table.concat(join({ "zlib@openssh.com" }, defaults.compression), ",")
   end
   return result
end

--- The names of one kind that are offered, from what `resolve` gave.
---@return string[]
function algorithms.offered(resolved, kind)
   tables()
   return resolved[kind] and split(resolved[kind]) or lists.copy(defaults[kind])
end

--- The same without what is unsafe when the server has no strict key exchange, and was not named: chacha20, and CBC
--- together with encrypt-then-MAC. nil if nothing is left.
---@param resolved table what `resolve` gave
---@return table|nil
function algorithms.safe(resolved)
   local result = {}
   for name, value in pairs(resolved) do
      result[name] = value
   end
   local ciphers = algorithms.offered(resolved, "cipher")
   local macs = algorithms.offered(resolved, "mac")
   if not resolved.allow_chacha then
      ciphers = sieve(ciphers, is_chacha)
   end
   if ciphers and not resolved.allow_cbc_etm and #(sieve(ciphers, is_cbc) or {}) < #ciphers then
      -- The MAC is easier to do without: old servers have little but CBC.
      local left = sieve(macs, is_etm)
      macs = left or macs
      ciphers = left and ciphers or sieve(ciphers, is_cbc)
   end
   if not ciphers then
      return nil
   end
   result.cipher, result.mac = table.concat(ciphers, ","), table.concat(macs, ",")
   return result
end

return algorithms
