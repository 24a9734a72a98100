--- `connect`: from a destination to a session that is logged in.

local agents = require "moonssh.agent"
local algorithms = require "moonssh.algorithms"
local args = require "moonssh.args"
local auth = require "moonssh.auth"
local Channel = require "moonssh.channel"
local configs = require "moonssh.config"
local control = require "moonssh.control"
local displays = require "moonssh.display"
local forwards = require "moonssh.config.forwards"
local destinations = require "moonssh.destination"
local hostkey = require "moonssh.hostkey"
local key = require "moonssh.key"
local loop = require "moonssh.loop"
local net = require "moonssh.net"
local paths = require "moonssh.paths"
local route = require "moonssh.route"
local Session = require "moonssh.session"
local settings = require "moonssh.settings"
local transport = require "moonssh.transport"
local updates = require "moonssh.hostkey_update"

local DEFAULT_TIMEOUT = 30

local default_identities = { "~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa", "~/.ssh/id_ed25519_sk",
   "~/.ssh/id_ecdsa_sk" }
local DEFAULT_XAUTHORITY = "~/.Xauthority"

local client = {}

local families = { any = true, inet = true, inet6 = true }

---@class moonssh.connect_options : moonssh.session_options, moonssh.login_options
---@field port? integer
---@field timeout? number for the whole of connect, default 30
---@field session_timeout? number the session's timeout afterwards
---@field host_keys? string|string[]|fun(host: string, port: integer, key: moonssh.key, verdict: string): boolean
---@field known_hosts? string|string[]
---@field revoked_host_keys? string|string[]
---@field host_key_alias? string
---@field config? string|moonssh.config|false ssh_config
---@field control_path? string|boolean the socket of a ControlMaster of OpenSSH, or true for that of ssh_config
---@field jump? string|moonssh.session|(string|moonssh.session)[]|false hosts to go through
---@field proxy_command? string|string[]|false a program to go through
---@field bind_address? string
---@field address_family? "any"|"inet"|"inet6"
---@field socket? any a descriptor, an object with getfd(), or a channel of a session; it stays the caller's

-- Those of the login and of the session come from there; the session's timeout has another name here.
local connect_options = args.join(Session.options, auth.options, {
   port = "integer",
   timeout = "number",
   session_timeout = "number",
   host_keys = { "string", "table", "function" },
   known_hosts = { "string", "table" },
   revoked_host_keys = { "string", "table" },
   host_key_alias = "string",
   config = { "string", "table", "boolean" },
   control_path = { "string", "boolean" },
   jump = { "string", "table", "boolean" },
   proxy_command = { "string", "table", "boolean" },
   bind_address = "string",
   address_family = "string",
   socket = { "integer", "table", "userdata" },
})

-- Whether the callbacks move all bytes; then the socket is no business of ours.
local function is_carried(options)
   local callbacks = options.callbacks
   return callbacks ~= nil and callbacks.send ~= nil and callbacks.recv ~= nil
end

local function is_session(value)
   return getmetatable(value) == Session
end

-- Why a value cannot be the option `jump`, or nil.
local function jump_complaint(jump)
   local list = (type(jump) == "string" or is_session(jump)) and { jump } or jump or {}
   if jump == true or #list == 0 and jump then
      return "'jump': a destination, a session or a list of them expected"
   end
   for i, hop in ipairs(list) do
      if is_session(hop) then
         if i > 1 then
            return "'jump': only the first hop can be a session"
         elseif hop.closed then
            return "'jump': the session is closed"
         end
      elseif type(hop) ~= "string" then
         return "'jump': a destination, a session or a list of them expected"
      else
         local _, complaint = destinations.parse(hop)
         if complaint then
            return ("'jump': %s"):format(complaint)
         end
      end
   end
end

-- Why a value cannot be the option `proxy_command`, or nil.
local function command_complaint(command)
   local fits = not command or type(command) == "string" and command:find("%S")
      or type(command) == "table" and command[1] ~= nil
   for _, argument in ipairs(type(command) == "table" and command or {}) do
      fits = fits and type(argument) == "string" and not argument:find("\0", 1, true)
   end
   return not fits and "'proxy_command': a command or a list of arguments expected" or nil
end

-- Options of which there can be one alone.
local function route_complaint(options)
   local complaint = jump_complaint(options.jump) or command_complaint(options.proxy_command)
   local given = (options.jump and 1 or 0) + (options.proxy_command and 1 or 0)
      + (options.control_path and 1 or 0) + (options.socket ~= nil and 1 or 0)
   return complaint
      or given > 1 and "'jump', 'proxy_command', 'control_path' and 'socket': only one of them expected" or nil
end

local function check(options)
   auth.check_options("connect", 2, options)
   Session.check_options("connect", 2, options)
   local config = options.config
   local port, family, bind, socket = options.port, options.address_family, options.bind_address, options.socket
   local complaint = hostkey.complaint(options.host_keys)
      or hostkey.files_complaint(options.known_hosts)
      or (config == true or type(config) == "table" and not configs.is(config))
         and "'config': a path, a configuration or false expected"
      or route_complaint(options)
      or hostkey.files_complaint(options.revoked_host_keys, "revoked_host_keys")
      or port and (port < 1 or port > 65535) and "'port': a number from 1 to 65535 expected"
      or family and not families[family] and "'address_family': 'any', 'inet' or 'inet6' expected"
      or options.user and destinations.complaint("user", options.user) and "'user': not a login name"
      or bind and destinations.complaint("host", bind) and "'bind_address': a name or an address expected"
      or socket ~= nil and not is_carried(options) and not transport.descriptor(socket)
         and (getmetatable(socket) ~= Channel or socket.closed)
         and "'socket': no descriptor, and no object with getfd()"
   if complaint then
      args.bad("connect", 2, "option " .. complaint)
   end
end

-- --- what the options do not say

-- The identities of the home folder that are there.
local function home_identities()
   local found = {}
   for _, path in ipairs(default_identities) do
      if paths.exists(paths.expand(path)) then
         table.insert(found, path)
      end
   end
   return found
end

-- The options of the login, with what ssh takes from the home folder and the environment.
local function login_options(options, user)
   local login = { user = user }
   for name in pairs(auth.options) do
      login[name] = login[name] or options[name]
   end
   if options.identity == nil then
      login.identity = home_identities()
      login.identities_only = options.identities_only or false
   else
      login.identities_only = options.identities_only
   end
   return login
end

-- With a host that shows another key than is known of it, and that StrictHostKeyChecking "no" has us go on with, as ssh
-- does: it gets nothing that it could use, as a password, and nothing is forwarded.
local function be_wary(session, login, options)
   local order = {}
   for _, name in ipairs(options.preferred_auth or { "publickey" }) do
      if name ~= "password" and name ~= "keyboard-interactive" then
         order[#order + 1] = name
      end
   end
   login.preferred_auth = order
   options._forwards = nil
   session._options.forward_agent, session._options.forward_x11 = nil, nil
end

-- The agent of the environment. One that is not there any more is no reason to fail: nobody asked for it. Who says
-- that there is no identity gets none of its either.
local function environment_agent(options)
   local path = os.getenv("SSH_AUTH_SOCK")
   local identity = options.identity
   if not path or path == "" or type(identity) == "table" and not key.is(identity) and identity[1] == nil
      and options.identities_only ~= false then
      return nil
   end
   return agents.open(path)
end

local function session_options(options, target)
   local resolved = algorithms.resolve("connect", options.algorithms, options.compression)
   if type(options.algorithms) ~= "table" or options.algorithms.host_key == nil then
      local offered = algorithms.offered(resolved, "host_key")
      resolved.host_key = table.concat(hostkey.order(offered, target, target.known), ",")
   end
   local result = { timeout = options.session_timeout, _algorithms = resolved }
   for name in pairs(Session.options) do
      if name ~= "timeout" then
         result[name] = options[name]
      end
   end
   if options._forwarded_agent then
      result.agent = options._forwarded_agent
   elseif result.agent == nil then
      result.agent = true -- that of the environment, if there is one
   end
   result._env, result._shell, result._trust = options._env, options._shell, options._trust
   if result.display == nil then
      local display = os.getenv("DISPLAY")
      result.display = display and displays.parse(display) and display or nil
   end
   if result.xauthority == nil then
      local path = os.getenv("XAUTHORITY")
      result.xauthority = path and path ~= "" and path or DEFAULT_XAUTHORITY
   end
   return result
end

-- --- one attempt

-- What an attempt has open; leaving it without success, by an error or cancelled, closes it all.
local Attempt = {}
Attempt.__index = Attempt

function Attempt:__close()
   if self.agent then
      self.agent:close()
   end
   if self.done then
      return
   end
   self:close_route()
end

-- Closes what was opened, the session first.
function Attempt:close_route()
   -- Once a session has taken the socket, it closes it.
   local taken = self.session and self.session._socket ~= nil
   if self.session then
      self.session:close()
   end
   if self.fd and not taken then
      net.close(self.fd)
   elseif self.channel and not taken then
      self.channel:close()
   end
   if not taken then
      for i = #self.companions, 1, -1 do
         self.companions[i]:close()
      end
   end
end

-- UpdateHostKeys: where known_hosts decides, and has the key of the server itself.
local function prepare_update(session, target, options)
   local policy = options.host_keys or "strict"
   local blob = session._host_key_blob
   local verdict, _, path = target.known:check(target.host_key_alias or target.host,
      not target.host_key_alias and target.port or nil, blob)
   if (policy == "strict" or policy == "accept-new") and verdict == "match" and path == target.known.paths[1]
      and not string.unpack(">s4", blob):find("-cert-v01@", 1, true) then
      updates.prepare(session, target, options._trust, blob)
   end
end

local establish

local function attempt_once(target, options, sessions, limit)
   local attempt <close> = setmetatable({ companions = {}, establish = establish }, Attempt)
   local socket, err = route.open(attempt, target, options, limit)
   if err then
      return nil, route.explain(attempt, err)
   end
   local session
   session, err = Session.new(sessions)
   if not session then
      return nil, err
   end
   attempt.session = session
   options._trust.address = target.address
   if attempt.fd or attempt.channel then
      session:_own_socket(attempt.companions)
   end
   local ok
   ok, err = session:handshake(socket, {
      host = target.host,
      port = target.port,
      host_key_alias = options.host_key_alias,
      host_keys = options.host_keys or "strict",
      known_hosts = target.known,
      revoked_host_keys = options.revoked_host_keys,
   }, limit)
   if ok and options._update_host_keys then
      prepare_update(session, target, options)
   end
   if ok then
      local login = login_options(options, target.user)
      if options.agent == nil then
         attempt.agent = environment_agent(options)
         login.agent = attempt.agent
      end
      if options._trust.changed then
         be_wary(session, login, options)
      end
      ok, err = session:authenticate(login, limit)
   end
   if ok and options._forwards then
      ok, err = forwards.start(session, options._forwards, limit)
   end
   if not ok then
      return nil, route.explain(attempt, err)
   end
   attempt.done = true
   return session
end

-- A session over the connection that a ControlMaster of OpenSSH has.
local function attach(target, options, sessions, limit)
   local attempt <close> = setmetatable({ companions = {} }, Attempt)
   local fd, err = control.open(options._control, limit.at)
   attempt.fd = fd
   if not fd then
      return nil, err
   end
   local session
   session, err = Session.new(sessions)
   if not session then
      return nil, err
   end
   attempt.session = session
   session:_own_socket()
   session:_attach(fd, target.user)
   attempt.done = true
   return session
end

-- --- the public call

-- Where ssh_config allows more time for the connection alone than there is by default for all, it is that.
local function set_limit(limit, options)
   local allowed = options._connect_timeout
   if not options.timeout and not options._path and limit.at and allowed and allowed > DEFAULT_TIMEOUT then
      limit.at = limit.at + allowed - DEFAULT_TIMEOUT
   end
end

-- The options that hold, with what ssh_config says, and the target: host, port, user, and what is known of the host.
local function prepare(parsed, options, limit)
   local all, target = settings.of(parsed, options, limit)
   if not all then
      return nil, target
   end
   set_limit(limit, all)
   local err
   target.host_key_alias = all.host_key_alias
   target.known, err = hostkey.known(all.known_hosts)
   if not target.known then
      return nil, err
   end
   return all, target
end

-- What connect does once its arguments are checked; hops are connected to by it, too.
function establish(parsed, options, limit)
   local given, target = prepare(parsed, options, limit)
   if not given then
      return nil, target
   end
   local sessions = session_options(given, target)
   if given._control then
      return attach(target, given, sessions, limit)
   end
   local session, err = attempt_once(target, given, sessions, limit)
   if not session and err.code == "negotiation" and err.what == "strict" and not err.hop and given.socket == nil
      and not (given.callbacks and given.callbacks.recv) and not given.require_strict then
      -- The server has no strict key exchange, and what was agreed on is unsafe without it: once more, without that.
      sessions._algorithms = algorithms.safe(sessions._algorithms)
      if sessions._algorithms then
         session, err = attempt_once(target, given, sessions, limit)
      end
   end
   return session, err
end

-- Connects, through a session if there is one.
local function connect(destination, options, via)
   args.check("connect", 1, destination, "string")
   options = args.options("connect", 2, options, connect_options)
   check(options)
   local parsed, complaint = destinations.parse(destination)
   if not parsed then
      args.bad("connect", 1, complaint)
   end
   local _ <close> = loop.bind(options.loop)
   local timeout = options.timeout or DEFAULT_TIMEOUT
   local limit = { at = timeout < math.huge and loop.now() + timeout or nil }
   local all = { _via = via }
   for name, value in pairs(options) do
      all[name] = value
   end
   return establish(parsed, all, limit)
end

--- Resolves, connects, exchanges keys, verifies the host key and logs in.
---@param destination string `[user@]host[:port]`, `ssh://user@host:port`, or an alias of ssh_config
---@param options? moonssh.connect_options
---@return moonssh.session|nil
---@return moonssh.error? err
function client.connect(destination, options)
   return connect(destination, options)
end

--- As `connect`, through a session that is logged in.
---@param session moonssh.session
---@param destination string
---@param options? moonssh.connect_options
---@return moonssh.session|nil
---@return moonssh.error? err
function client.connect_through(session, destination, options)
   return connect(destination, options, session)
end

return client
