--- What connect is to do: its options, and where they are silent what ssh_config says.
---
--- What config alone can say is in fields that begin with an underscore; of these the session keeps `_env`, `_shell`
--- and `_trust`.

local algorithms = require "moonssh.algorithms"
local config = require "moonssh.config"
local core = require "moonssh.core"
local destinations = require "moonssh.destination"
local errors = require "moonssh.errors"
local forwards = require "moonssh.config.forwards"
local match = require "moonssh.match"
local paths = require "moonssh.paths"
local tokens = require "moonssh.config.tokens"

local settings = {}

local default_known_hosts = { "~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts" }

-- --- algorithms

-- A list of ssh_config with the names alone that there are here: nil where nothing is left of what adds or takes away.
-- What a plain list names and nobody knows leaves an empty one, which is an error of whoever uses it.
local function known_names(kind, text)
   local sign, rest = text:match("^([-+^]?)(.*)$")
   local all, left = algorithms.list()[kind], {}
   for pattern in rest:gmatch("[^,]+") do
      if sign == "-" and pattern:find("[*?]") then
         left[#left + 1] = pattern
      else
         for _, name in ipairs(all) do
            if match.pattern(pattern, name) then
               left[#left + 1] = name
            end
         end
      end
   end
   if sign ~= "" then
      return left[1] and sign .. table.concat(left, ",") or nil
   end
   return left
end

local kinds = { kex = "kexalgorithms", host_key = "hostkeyalgorithms", cipher = "ciphers", mac = "macs" }

-- The option `algorithms`; nil, err where a list has nothing that there is.
local function algorithms_of(given, found)
   if type(given) == "string" then
      return given
   end
   local lists = {}
   for kind, keyword in pairs(kinds) do
      local text = found[keyword]
      local list = text and not (given and given[kind]) and known_names(kind, text)
      if type(list) == "table" and not list[1] then
         return nil, errors.with(config.complaint(found, keyword, ("%s: none of them is known here: %s"):format(keyword,
            errors.escape(text))), { code = "unsupported" })
      end
      lists[kind] = list or nil
   end
   for kind, list in pairs(given or {}) do
      lists[kind] = list
   end
   return next(lists) and lists or nil
end

local by_sha1 = { ["ssh-rsa"] = true, ["ssh-dss"] = true }

-- The signature algorithms that a list leaves of all that there are, in order; nil without a list. Those by SHA-1 are
-- there only where they are named.
local function signature_algorithms(text)
   if not text then
      return nil
   end
   local sign, rest = text:match("^([-+^]?)(.*)$")
   local left = {}
   for _, row in ipairs(core.key.algorithms()) do
      local named = match.list(rest, row.name) == "positive"
      local is_default = sign ~= "" and not by_sha1[row.name]
      if sign == "-" and is_default and not named or sign ~= "-" and (is_default or named) then
         left[#left + 1] = row.name
      end
   end
   return left
end

local function set_of(list)
   local set = list and {}
   for _, name in ipairs(list or {}) do
      set[name] = true
   end
   return set
end

-- --- trust

local policies = { ["true"] = "strict", ask = "strict", ["accept-new"] = "accept-new", ["false"] = "off" }

local function known_hosts(found)
   if not found.userknownhostsfile and not found.globalknownhostsfile then
      return nil
   end
   local list = {}
   for i, files in ipairs{ found.userknownhostsfile or { default_known_hosts[1] },
      found.globalknownhostsfile or { default_known_hosts[2] } } do
      for _, path in ipairs(files) do
         if path:lower() ~= "none" then
            list[#list + 1] = path
         elseif i == 1 then
            list.unwritable = true -- the first one that is left is not the user's to add to
         end
      end
   end
   return list
end

-- --- login

-- Of files those that are there, each, with `other`, or else the one with that behind its name.
local function files(list, other)
   local found = {}
   for _, path in ipairs(list) do
      path = path:lower() ~= "none" and paths.expand(path)
      if path and paths.exists(path) then
         found[#found + 1] = path
      elseif path and other and paths.exists(path .. other) then
         found[#found + 1] = path .. other
      end
   end
   return found
end

local function agent_of(text)
   if not text or text == "SSH_AUTH_SOCK" then
      return nil
   elseif text:lower() == "none" then
      return false
   end
   local name = text:match("^%$([%a_][%w_]*)$")
   local path = not name and text or os.getenv(name)
   return path and path ~= "" and path or false
end

-- What ForwardAgent says: true for the agent of the login, the path of another one, or nothing.
local function forwarded_agent(text)
   if text == nil or text == "no" then
      return nil
   end
   return text == "yes" or agent_of(text) or false
end

local switches = {
   hostbased = "hostbasedauthentication",
   publickey = "pubkeyauthentication",
   password = "passwordauthentication",
   ["keyboard-interactive"] = "kbdinteractiveauthentication",
}
local default_order = "hostbased,publickey,keyboard-interactive,password"

-- The methods in order, without those that are switched off or not known here; nil where the file says nothing of it.
local function methods(found)
   local order, changed = {}, found.preferredauthentications ~= nil
   for name in (found.preferredauthentications or default_order):gmatch("[^,%s]+") do
      local switch = switches[name] and found[switches[name]]
      if switch == "no" or switch == "false" then
         changed = true
      elseif switches[name] then
         order[#order + 1] = name
      end
   end
   return changed and order or nil
end

--- Where the keys of this host are, which vouch for its users.
settings.host_keys = { "/etc/ssh/ssh_host_ecdsa_key", "/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_rsa_key" }

-- --- the session

-- Variables that are sent with each command: those of the environment that SendEnv names, and those of SetEnv.
local function environment(found)
   local env
   for _, pattern in ipairs(found.sendenv or {}) do
      for name, value in pairs(core.environment()) do
         if match.pattern(pattern, name) then
            env = env or {}
            env[name] = value
         end
      end
   end
   for _, text in ipairs(found.setenv or {}) do
      local name, value = text:match("^([^=]*)=(.*)$")
      if name ~= "" then
         env = env or {}
         env[name] = value
      end
   end
   return env
end

local function rekey_of(text)
   local bytes, seconds = (text or ""):match("^(%d+) (%d+)$")
   bytes, seconds = tonumber(bytes), tonumber(seconds)
   local rekey = { bytes = bytes ~= 0 and bytes or nil, seconds = seconds ~= 0 and seconds or nil }
   return next(rekey) and rekey or nil
end

local function keepalive_of(found)
   local interval = found.serveraliveinterval
   if not interval or interval == 0 then
      return nil
   end
   return { interval = interval, count = math.max(1, found.serveralivecountmax or 3) }
end

-- What a shell is to be here: a command in its stead, and whether it gets a terminal.
local function shell_of(found)
   local terminal = found.requesttty == "true" or found.requesttty == "force"
   if found.remotecommand or terminal then
      return { command = found.remotecommand, pty = terminal or nil }
   end
end

-- Options as a file's values have them.
local function options_of(found)
   local forwarded = forwarded_agent(found.forwardagent)
   return {
      -- Of some identities there is the public half alone, the rest is in an agent.
      identity = found.identityfile and files(found.identityfile, ".pub"),
      identities_only = found.identitiesonly == "yes",
      certificate = found.certificatefile and files(found.certificatefile),
      agent = agent_of(found.identityagent),
      hostbased = found.hostbasedauthentication == "yes" and { key = files(settings.host_keys) } or nil,
      preferred_auth = methods(found),
      host_keys = policies[found.stricthostkeychecking],
      known_hosts = known_hosts(found),
      host_key_alias = found.hostkeyalias,
      bind_address = found.bindaddress,
      address_family = found.addressfamily,
      compression = found.compression == "yes" or nil,
      keepalive = keepalive_of(found),
      rekey = rekey_of(found.rekeylimit),
      forward_agent = forwarded ~= nil and forwarded ~= false or nil,
      _forwarded_agent = type(forwarded) == "string" and forwarded or nil,
      forward_x11 = found.forwardx11 == "yes" or nil,
   }
end

-- --- together

-- What a file says for a host: nothing where there is to be no file.
local function ask(option, target, options, limit)
   if option == false then
      return { hostname = target.host, user = options.user or target.user or core.file.user(),
         port = options.port or target.port or 22, ignored = {} }
   end
   local parsed, err = option, nil
   if option == nil then
      parsed, err = config.default()
   elseif not config.is(option) then
      parsed, err = config.open(option)
   end
   if not parsed then
      return nil, err
   end
   return parsed:_lookup(target.host, { user = options.user or target.user, port = options.port or target.port },
      limit.at)
end

-- Why what the files make of the destination is none, or nil.
local function complaint_about(found)
   if found.refuseconnection then
      return errors.with(config.complaint(found, "refuseconnection", "RefuseConnection: "
         .. errors.escape(found.refuseconnection, 400)), { code = "refused" })
   end
   local host, user = destinations.complaint("host", found.hostname), found.user and
      destinations.complaint("user", found.user)
   if host or user then
      return config.complaint(found, host and "hostname" or "user", ("%s: '%s'"):format(host or user,
         errors.escape(host and found.hostname or found.user, 80)))
   elseif not found.user then
      return errors.new("io", "the login name of this process is not known")
   end
end

-- The path of a ControlMaster's socket; nil where none is to be used.
local function control_of(option, found, target)
   if option == true then
      return found.controlpath, not found.controlpath
         and errors.new("io", "ssh_config names no ControlPath for the host") or nil
   elseif not option then
      return nil
   end
   local path, complaint = tokens.expand(paths.expand(option), tokens.values{ host = found.hostname,
      original = target.host, port = found.port, user = found.user, alias = found.hostkeyalias })
   return path, complaint and errors.new("io", "control_path: " .. complaint)
end

-- What neither options nor files say: what a hop takes from the target's options, and what is always so.
local function fall_back(all, fallback)
   if all.identity == nil and fallback.identity ~= nil then
      all.identities_only = fallback.identities_only
   end
   for name, value in pairs(fallback) do
      if all[name] == nil and name ~= "identities_only" then
         all[name] = value
      end
   end
   all.known_hosts = all.known_hosts or default_known_hosts
end

--- The options with what the files say, and the target: { host =, port =, user =, original = }. It may wait.
---@param target { host: string, port: integer?, user: string? } of moonssh.destination
---@param options moonssh.connect_options
---@param limit { at: number? }
---@return table|nil options
---@return table target or the error
function settings.of(target, options, limit)
   local found, err = ask(options.config, target, options, limit)
   err = err or complaint_about(found)
   if err then
      return nil, err
   end
   local all = options_of(found)
   if options.identity ~= nil then
      all.identities_only = nil
   end
   if options.forward_agent ~= nil then
      all._forwarded_agent = nil
   end
   for name, value in pairs(options) do
      all[name] = value
   end
   fall_back(all, options._fallback or {})
   all._via = options._via
   all.algorithms, err = algorithms_of(options.algorithms, found)
   if err then
      return nil, err
   end
   all._control, err = control_of(options.control_path, found, target)
   if err then
      return nil, err
   end
   all._env, all._shell = environment(found), shell_of(found)
   all._forwards = options._path == nil and forwards.of(found) or nil
   all._update_host_keys = found.updatehostkeys == "true"
   all._attempts, all._connect_timeout = found.connectionattempts, found.connecttimeout
   all._trust = {
      lenient = options.host_keys == nil and all.host_keys == "off",
      hash = found.hashknownhosts == "yes",
      check_ip = found.checkhostip == "yes",
      rsa_bits = found.requiredrsasize,
      revoked = found.revokedhostkeys,
      pubkey_algorithms = set_of(signature_algorithms(found.pubkeyacceptedalgorithms)),
      hostbased_algorithms = set_of(signature_algorithms(found.hostbasedacceptedalgorithms)),
      ca_algorithms = signature_algorithms(found.casignaturealgorithms),
   }
   all._found = found
   return all, { host = found.hostname, port = found.port, user = found.user, original = target.host }
end

return settings
