-- What `ssh -G` says for a host, and a comparison of it, key by key, with what the library makes of the same file.
--
--    local oracle = ssh_g.ask(path, "web1", { "-l", "deploy" })     -- { values = { keyword = { text, … } }, error = }
--    ssh_g.compare(options, oracle)                                  -- a list of differences in words, empty if none

local process = require "spec.support.process"
local tokens = require "moonssh.config.tokens"

local ssh_g = {}

local function parse(text)
   local values = {}
   for line in text:gmatch("[^\n]+") do
      local key, value = line:match("^(%S+) ?(.*)$")
      key = key:lower()
      values[key] = values[key] or {}
      table.insert(values[key], value)
   end
   return values
end

--- Asks ssh. `error` has its complaint where it refuses the file.
function ssh_g.ask(path, host, arguments)
   local command = { "ssh", "-G", "-F", path }
   table.move(arguments or {}, 1, #(arguments or {}), #command + 1, command)
   table.insert(command, host)
   local result = process.run(command)
   if result.status ~= 0 then
      return { error = result.stderr }
   end
   return { values = parse(result.stdout) }
end

local defaults

-- What ssh says without any file.
local function standard()
   defaults = defaults or ssh_g.ask("/dev/null", "nowhere").values
   return defaults
end

local lists = { ciphers = true, macs = true, kexalgorithms = true, hostkeyalgorithms = true,
   pubkeyacceptedalgorithms = true, casignaturealgorithms = true, hostbasedacceptedalgorithms = true }

local function split(text)
   local list = {}
   for name in text:gmatch("[^,]+") do
      list[#list + 1] = name
   end
   return list
end

-- What ssh makes of "+a", "-a" or "^a" with its own defaults: the forms in which we hand lists on.
local function assembled(key, text)
   local sign, rest = text:match("^([-+^]?)(.*)$")
   if sign == "" then
      return text
   end
   local given, base, seen, all = split(rest), split(standard()[key][1]), {}, {}
   local function add(names)
      for _, name in ipairs(names) do
         if not seen[name] then
            seen[name] = true
            all[#all + 1] = name
         end
      end
   end
   if sign == "-" then
      for _, name in ipairs(given) do
         seen[name] = true
      end
      add(base)
   elseif sign == "+" then
      add(base)
      add(given)
   else
      add(given)
      add(base)
   end
   return table.concat(all, ",")
end

-- Keywords that ssh prints on one line each; of the others the values share a line.
local per_line = { identityfile = true, certificatefile = true, sendenv = true, setenv = true, localforward = true,
   remoteforward = true, dynamicforward = true }

local function ours(options, key)
   local value = options[key]
   if value == nil then
      value = options.ignored[key]
   end
   if value == nil then
      return nil
   elseif lists[key] then
      return { assembled(key, value) }
   elseif type(value) ~= "table" then
      return { tostring(value) }
   elseif per_line[key] then
      return value
   end
   return { table.concat(value, " ") }
end

-- Defaults that depend on other keywords, and what ssh itself adds.
local skipped = { host = true, updatehostkeys = true }

-- ssh leaves the tokens and home folders of these for later.
local unexpanded = { identityfile = true, certificatefile = true, revokedhostkeys = true, globalknownhostsfile = true }

-- ssh shows a LocalForward that leads to a socket as a DynamicForward, too.
local function without_sockets(list, locals)
   local kept = {}
   for _, one in ipairs(list) do
      local is_local = false
      for _, forward in ipairs(locals or {}) do
         is_local = is_local or forward:sub(1, #one + 2) == one .. " /"
      end
      if not is_local then
         kept[#kept + 1] = one
      end
   end
   return kept[1] and kept or nil
end

local function theirs(oracle, key, values)
   local list = oracle.values[key]
   if key == "proxyjump" and list and list[1] == "none" then
      return nil
   elseif key == "dynamicforward" and list then
      return without_sockets(list, oracle.values.localforward)
   elseif not list or not unexpanded[key] then
      return list
   end
   local expanded, home = {}, values.d:gsub("%%", "%%%%") .. "/"
   for i, text in ipairs(list) do
      expanded[i] = tokens.expand(text:gsub("^~/", home):gsub(" ~/", " " .. home), values, true)
   end
   return expanded
end

--- The differences between what the library and what ssh says.
function ssh_g.compare(options, oracle, original)
   local differences, keys = {}, {}
   local values = tokens.values{ host = options.hostname, original = original, port = options.port,
      user = options.user, alias = options.hostkeyalias }
   for key in pairs(oracle.values) do
      keys[key] = true
   end
   for _, set in ipairs{ options, options.ignored } do
      for key in pairs(set) do
         keys[key] = true
      end
   end
   for key in pairs(keys) do
      if type(key) == "string" and key ~= "ignored" and not skipped[key] then
         local here = ours(options, key)
         local there = theirs(oracle, key, values)
         local is_default = not here and not there or not here and not (there and standard()[key] == nil)
            and table.concat(oracle.values[key] or {}, "\n") == table.concat(standard()[key] or {}, "\n")
         if not is_default and table.concat(here or {}, "\n") ~= table.concat(there or {}, "\n") then
            table.insert(differences, ("%s: ours %q, ssh's %q"):format(key, table.concat(here or { "(none)" }, "\n"),
               table.concat(there or { "(none)" }, "\n")))
         end
      end
   end
   return differences
end

return ssh_g
