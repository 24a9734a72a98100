-- The part of a session that connects and logs in, each step on its own.

local core = require "moonssh.core"
local loop = require "moonssh.loop"
local args = require "moonssh.args"
local Carrier = require "moonssh.carrier"
local Channel = require "moonssh.channel"
local errors = require "moonssh.errors"
local pump = require "moonssh.pump"
local transport = require "moonssh.transport"

-- Methods of moonssh.session.
local methods = {}

local function check(self, name, started)
   args.handle(self, "session", name)
   self:_check(name, started)
end

-- Connecting ---------------------------------------------------------------------------------------------------------

---@class moonssh.handshake_options
---@field host? string
---@field port? integer
---@field host_key_alias? string
---@field host_keys? string|string[]|fun(host: string, port: integer, key: moonssh.key, verdict: string): boolean
---@field known_hosts? string|string[]
---@field revoked_host_keys? string|string[]
---@field timeout? number

local handshake_options = {
   host = "string",
   port = "integer",
   host_key_alias = "string",
   host_keys = { "string", "table", "function" },
   known_hosts = { "string", "table" },
   revoked_host_keys = { "string", "table" },
   timeout = "number",
}

-- Where known_hosts tells of the host, its algorithms are offered first: the core starts with another list then.
local function order_host_keys(self, options)
   local hostkey = require "moonssh.hostkey"
   local complaint = hostkey.complaint(options.host_keys) or hostkey.files_complaint(options.known_hosts)
      or hostkey.files_complaint(options.revoked_host_keys, "revoked_host_keys")
   if complaint then
      args.bad("handshake", 2, "option " .. complaint)
   elseif not options.known_hosts or self._options._algorithms or self._algorithms.host_key then
      return true
   end
   local known, err = hostkey.known(options.known_hosts)
   if not known then
      return nil, err
   end
   local algorithms = {}
   for name, value in pairs(self._algorithms) do
      algorithms[name] = value
   end
   local defaults = require "moonssh.algorithms".defaults("host_key")
   algorithms.host_key = table.concat(hostkey.order(defaults, options, known), ",")
   local handle, code, message = core.session(self._core_options(self._options, algorithms))
   if not handle then
      return nil, errors.from_core(code, message)
   end
   self._core:close()
   self._core, self._algorithms = handle, algorithms
   self:_apply_callbacks()
   return true
end

local function set_socket(self, socket)
   if getmetatable(socket) == Channel then
      if socket.closed or socket._session._loop ~= self._loop then
         args.bad("handshake", 1, socket.closed and "the channel is closed"
            or "the channel's session uses another loop")
      end
      self._socket, self._carrier = socket, Carrier.new(socket)
      return true
   end
   local fd = transport.descriptor(socket)
   local handled = self._callbacks.send and self._callbacks.recv
   if not fd and not handled then
      args.bad("handshake", 1, socket == nil and "a socket, unless the callbacks send and recv are set"
         or "no descriptor, and no object with getfd()")
   end
   self._socket, self._fd, self._drained = socket, fd, fd ~= nil
   if fd then
      self._loop.cancel(fd) -- an earlier descriptor of that number may be known to the loop
      local ok, code, message = core.socket.prepare(fd)
      if not ok then
         return nil, errors.from_core(code, message)
      end
   end
   return true
end

local function host_key_asked(self)
   return self._host_key_state ~= nil or self._kex_done > 0
end

local function first_kex_done(self)
   return self._kex_done > 0
end

-- Has the policy judge the server's key, and answers.
local function verify(self, options, limit)
   local ok, err = require "moonssh.hostkey".verify(self, options, limit)
   if self.closed then
      return nil, errors.closed("the session")
   elseif self.failure then
      return nil, self.failure
   elseif ok == false then
      return true
   elseif not ok then
      self._host_key_state = "rejected"
      self:_end(err)
      self._core:answer_host_key(false)
      pump.flush(self)
      pump.wake_all(self)
      return nil, err
   end
   self._host_key_state = "accepted"
   self._core:answer_host_key(true)
   return true
end

--- Exchanges identifications and keys over a socket (a descriptor, or an object with getfd()), over a channel of
--- another session, or over the callbacks send and recv. With `host_keys` or `known_hosts` in the options the server's
--- key is judged; otherwise the question stays open for accept_host_key. → true | nil, err
---@param limit? { at: number? } connect's deadline, which moves
---@param socket any
---@param options? moonssh.handshake_options
---@return true|nil
---@return moonssh.error? err
function methods:handshake(socket, options, limit)
   check(self, "handshake")
   options = args.options("handshake", 2, options, handshake_options)
   if self._started then
      args.raise("'handshake' was called before")
   end
   local ok, err = order_host_keys(self, options)
   if ok then
      ok, err = set_socket(self, socket)
   end
   if not ok then
      return nil, err
   end
   local _ <close> = loop.bind(self._loop)
   self._host = options.host
   self._started = true
   self._core:start()
   limit = limit or { at = self:_deadline(options) }
   ok, err = self:_await(host_key_asked, limit.at, nil, self, self)
   if not ok then
      return nil, err
   elseif not (options.host_keys or options.known_hosts or options.revoked_host_keys) then
      return true
   end
   ok, err = verify(self, options, limit)
   if not ok then
      return nil, err
   elseif not (options.host_keys or options.known_hosts) then
      return true
   end
   return self:_await(first_kex_done, limit.at, nil, self, self)
end

-- Uses the connection of a ControlMaster: the descriptor is in proxy mode, see moonssh.control.
function methods:_attach(fd, user)
   self._loop.cancel(fd)
   self._socket, self._fd = fd, fd
   self._started, self._attached = true, true
   self._core:attach()
   self._host_key_state, self._kex_done, self._authenticated = "accepted", 1, true
   self._user, self._auth = user, "control"
end

--- The server's host key, as soon as it has shown one.
---@return moonssh.key|nil
---@return moonssh.error? err
function methods:host_key()
   check(self, "host_key")
   if not self._host_key_blob then
      return nil, self.failure or errors.new("host_key_unknown", "the server has not shown its host key yet")
   end
   return require "moonssh.key".from_blob(self._host_key_blob, self._algorithms.min_rsa_bits)
end

--- Accepts the key that the server has shown, and waits for the end of the key exchange. → true | nil, err
---@param timeout? number
---@return true|nil
---@return moonssh.error? err
function methods:accept_host_key(timeout)
   check(self, "accept_host_key", true)
   args.optional("accept_host_key", 1, timeout, "number")
   if self.failure then
      return nil, self.failure
   elseif self._host_key_state == "asked" then
      self._host_key_state = "accepted"
      self._core:answer_host_key(true)
   elseif self._host_key_state ~= "accepted" then
      return nil, errors.new("host_key_unknown", "the server has not shown its host key yet")
   end
   return self:_await(first_kex_done, self:_deadline(timeout), nil, self, self)
end

-- Logging in ---------------------------------------------------------------------------------------------------------

local function has_auth_event(self)
   return self._auth_events[1] ~= nil
end

--- The next event of authentication: its kind and values | nil, err
function methods:_next_auth_event(deadline)
   local ok, err = self:_await(has_auth_event, deadline, "auth", self, self)
   if not ok then
      return nil, err
   end
   return table.unpack(table.remove(self._auth_events, 1), 1, 4)
end

-- What stands in the way of a login: nothing of it leaves before the host key is accepted.
local function login_hindrance(self, name)
   check(self, name, true)
   if self.failure then
      return self.failure
   elseif self._authenticated then
      args.raise(("'%s' on a session that is logged in"):format(name))
   elseif self._logging_in then
      return errors.new("busy", "another task is logging in", { stage = "auth" })
   elseif self._host_key_state ~= "accepted" or self._kex_done == 0 then
      return errors.new("host_key_unknown", "the server's host key has not been accepted")
   end
end

local LoggingIn = {
   __close = function(guard)
      guard.session._logging_in = nil
   end,
}

-- A value that keeps others from logging in until the end of its block.
local function logging_in(self)
   self._logging_in = true
   self._auth_events = {} -- none of an earlier login that gave up
   return setmetatable({ session = self }, LoggingIn)
end

local function check_user(name, user)
   if user:find("\0", 1, true) then
      args.bad(name, 1, "a user name cannot hold a NUL")
   end
end

-- A method that logs in: `types` are those of its arguments, before an optional timeout.
local function login_method(name, function_name, types)
   return function(self, ...)
      local err = login_hindrance(self, name)
      for i, type_names in ipairs(types) do
         args.check(name, i, (select(i, ...)), type_names)
      end
      local timeout = select(#types + 1, ...)
      args.optional(name, #types + 1, timeout, "number")
      check_user(name, (...))
      if err then
         return nil, err
      end
      local values = table.pack(...)
      values[#types + 1] = self:_deadline(timeout)
      local _ <close> = logging_in(self)
      local _ <close> = loop.bind(self._loop)
      return require "moonssh.auth"[function_name](self, table.unpack(values, 1, #types + 1))
   end
end

--- Asks which methods the server allows, by the method "none": a list of names, empty when that let us in.
---@type fun(self: moonssh.session, user: string, timeout?: number): string[]|nil, moonssh.error?
methods.auth_none = login_method("auth_none", "none", { "string" })

---@type fun(self: moonssh.session, user: string, password: string|function, timeout?: number): true|nil, moonssh.error?
methods.auth_password = login_method("auth_password", "password", { "string", { "string", "function" } })

--- With a key handle, or the path of a private key.
---@type fun(self: moonssh.session, user: string, key: any, timeout?: number): true|nil, moonssh.error?
methods.auth_publickey = login_method("auth_publickey", "publickey", { "string", { "string", "table" } })

--- With the keys of an agent: a handle, a socket path, or nil for the one of the environment.
---@type fun(self: moonssh.session, user: string, agent: any, timeout?: number): true|nil, moonssh.error?
methods.auth_agent = login_method("auth_agent", "agent", { "string", { "string", "table", "boolean", "nil" } })

---@type fun(self: moonssh.session, user: string, f: function, timeout?: number): true|nil, moonssh.error?
methods.auth_interactive = login_method("auth_interactive", "interactive", { "string", "function" })

local hostbased_options = { host = "string", user = "string", passphrase = { "string", "function" },
   timeout = "number" }

--- Logs in by a key of this host, which vouches for its user (RFC 4252 9): a key handle, or the path of a private key.
--- The server has to know the host by `host` (default: this system's name) and its key, and the user's name there,
--- `user` (default: the login name).
---@param user string
---@param key string|moonssh.key
---@param options? { host: string?, user: string?, passphrase: string|function?, timeout: number? }
---@return true|nil
---@return moonssh.error? err
function methods:auth_hostbased(user, key, options)
   local err = login_hindrance(self, "auth_hostbased")
   args.check("auth_hostbased", 1, user, "string")
   args.check("auth_hostbased", 2, key, { "string", "table" })
   options = args.options("auth_hostbased", 3, options, hostbased_options)
   check_user("auth_hostbased", user)
   if options.host == "" then
      args.bad("auth_hostbased", 3, "option 'host': the name is empty")
   elseif err then
      return nil, err
   end
   local _ <close> = logging_in(self)
   return require "moonssh.auth".hostbased(self, user, key, options, self:_deadline(options))
end

--- Logs in with what the options hold. → true | nil, err
---@param options moonssh.login_options
---@param limit? { at: number? } connect's deadline, which moves
---@return true|nil
---@return moonssh.error? err
function methods:authenticate(options, limit)
   local err = login_hindrance(self, "authenticate")
   local auth = require "moonssh.auth"
   options = args.options("authenticate", 1, options, args.join(auth.options, { timeout = "number" }))
   auth.check_options("authenticate", 1, options)
   if not options.user then
      args.bad("authenticate", 1, "option 'user' is missing")
   end
   if err then
      return nil, err
   end
   local deadline = limit or self:_deadline(options)
   local _ <close> = logging_in(self)
   local _ <close> = loop.bind(self._loop)
   local ok
   ok, err = auth.authenticate(self, options, deadline)
   self:_trim()
   return ok, err
end

return methods
