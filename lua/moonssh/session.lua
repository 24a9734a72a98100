-- A session: one SSH connection.

local core = require "moonssh.core"
local args = require "moonssh.args"
local calls = require "moonssh.calls"
local callbacks = require "moonssh.callbacks"
local displays = require "moonssh.display"
local errors = require "moonssh.errors"
local forward = require "moonssh.forward"
local handshake = require "moonssh.handshake"
local keepalive = require "moonssh.keepalive"
local loop = require "moonssh.loop"
local paths = require "moonssh.paths"
local pump = require "moonssh.pump"
local transport = require "moonssh.transport"
local tunnels = require "moonssh.tunnels"

--- Sizes are bytes, times seconds.
---@class moonssh.session_options
---@field abstract? any passed to every callback
---@field agent? boolean|string|moonssh.agent the local agent, for channels that are relayed to it
---@field algorithms? string|{ kex: any, host_key: any, cipher: any, mac: any, compression: any } a preset, or lists
---@field callbacks? table<string, function> by type
---@field compression? boolean zlib@openssh.com first
---@field display? string the X display that connections are relayed to
---@field forward_agent? boolean for all commands that do not say otherwise
---@field forward_x11? boolean|moonssh.x11 for all commands that do not say otherwise
---@field keepalive? { interval: number, count: integer }
---@field limits? { window: integer, packet: integer, channels: integer, queue: integer }
---@field loop? moonssh.adapter
---@field rekey? { bytes: integer, seconds: number, packets: integer }
---@field require_strict? boolean
---@field timeout? number for calls that name none
---@field xauthority? string file with the display's cookie

---@class moonssh.info
---@field client string
---@field server? string
---@field kex? string
---@field host_key? string
---@field session_id? string
---@field cipher { send: string?, recv: string? }
---@field mac { send: string?, recv: string? } nil beside an AEAD cipher
---@field compression { send: string?, recv: string? }
---@field strict boolean
---@field user? string
---@field auth? string
---@field bytes_sent integer
---@field bytes_received integer
---@field packets_sent integer
---@field packets_received integer
---@field rekeys integer
---@field callbacks_dropped integer

---@class moonssh.session
---@field abstract any passed to every callback
---@field timeout number|nil seconds, for calls that name none
---@field closed boolean
---@field failure moonssh.error|nil what ended it
---@field agent_binds { host_key: moonssh.key, session_id: string, forwarding: boolean }[] see the README
---@field banner string|nil the server's authentication banner
---@field forwards moonssh.forward[]|nil those that ssh_config asks for
---@field forward_problems moonssh.error[]|nil why others of them could not be begun
---@field info moonssh.info after close as it was then
local Session = { __name = "moonssh.session" }

local SOFTWARE = "moonssh_0.1"
-- Packets of this length are to be taken by everybody (RFC 4253 6.1); a smaller limit is for data alone.
local SMALLEST_PACKET = 35000

-- Most data in a packet of a channel.
local CHANNEL_PACKET = 32768

local BY_APPLICATION = 11 -- SSH_DISCONNECT_BY_APPLICATION, RFC 4253 11.1

for _, methods in ipairs{ handshake, calls, tunnels } do
   for name, method in pairs(methods) do
      Session[name] = method
   end
end

-- Fields that are made up when they are read.
local getters = {}

function Session.__index(self, key)
   local method = Session[key]
   if method ~= nil then
      return method
   end
   local getter = getters[key]
   return getter and getter(self)
end

--- Options of a session of its own; those of a connection have them, too.
Session.options = {
   abstract = "any",
   agent = { "boolean", "string", "table" },
   algorithms = { "table", "string" },
   callbacks = "table",
   compression = "boolean",
   display = "string",
   forward_agent = "boolean",
   forward_x11 = { "boolean", "table" },
   keepalive = "table",
   limits = "table",
   loop = "table",
   rekey = "table",
   require_strict = "boolean",
   timeout = "number",
   xauthority = "string",
}

local limit_options = { window = "integer", packet = "integer", channels = "integer", queue = "integer" }
local rekey_options = { bytes = "integer", seconds = "number", packets = "integer" }
local keepalive_options = { interval = "number", count = "integer" }

-- Least and most of what is not just positive.
local ranges = {
   ["limits.window"] = { 1, 0xffffffff },
   ["limits.packet"] = { 1, 256 * 1024 * 1024 },
   ["limits.channels"] = { 1, 0xffffffff },
   ["limits.queue"] = { 1, 1 << 40 },
   ["rekey.seconds"] = { 0, 1e9 },
}

-- Checks a table of numbers within the options.
local function check_numbers(fname, index, what, numbers, types)
   for name, value in pairs(args.options(fname, index, numbers, types)) do
      local full = ("%s.%s"):format(what, name)
      local range = ranges[full]
      if value <= 0 then
         args.bad(fname, index, ("option '%s': not positive"):format(full))
      elseif range and (value < range[1] or value > range[2]) then
         args.bad(fname, index, ("option '%s': a number from %.0f to %.0f expected"):format(full, range[1], range[2]))
      end
   end
end

--- Checks what the types of the options alone do not tell.
function Session.check_options(fname, index, options)
   callbacks.check(fname, index, options.callbacks or {})
   check_numbers(fname, index, "limits", options.limits, limit_options)
   check_numbers(fname, index, "rekey", options.rekey, rekey_options)
   check_numbers(fname, index, "keepalive", options.keepalive, keepalive_options)
   if options.keepalive and not options.keepalive.interval then
      args.bad(fname, index, "option 'keepalive.interval' is missing")
   end
   if type(options.agent) == "table" and not require "moonssh.agent".is(options.agent) then
      args.bad(fname, index, "option 'agent': boolean, path or agent expected")
   end
   if options.display and not displays.parse(options.display) then
      args.bad(fname, index, "option 'display': no display")
   end
   if options.loop then
      loop.check_adapter(fname, index, options.loop)
   end
end

-- The options of the core, from those of the session and the algorithms that they resolve to.
function Session._core_options(options, algorithms)
   local limits, rekey = options.limits or {}, options.rekey or {}
   local result = {
      software = SOFTWARE,
      require_strict = options.require_strict,
      max_window = limits.window,
      max_packet = limits.packet and math.max(limits.packet, SMALLEST_PACKET),
      channel_packet = limits.packet and math.min(limits.packet, CHANNEL_PACKET),
      max_channels = limits.channels,
      max_queue = limits.queue,
      rekey_bytes = rekey.bytes,
      rekey_seconds = rekey.seconds,
      rekey_packets = rekey.packets,
   }
   for name, value in pairs(algorithms) do
      result[name] = value
   end
   return result
end

-- The path of the local agent, from the option `agent`.
local function agent_path(option)
   if type(option) == "string" then
      return paths.expand(option)
   elseif type(option) == "table" then
      return option.path
   end
   local path = option and os.getenv("SSH_AUTH_SOCK")
   return path and path ~= "" and path or nil
end

--- Tells the core what the handlers ask of it.
function Session:_apply_callbacks()
   local handle, handlers = self._core, self._callbacks
   handle:ask_mac(handlers.macerror ~= nil)
   handle:listen("ignore", handlers.ignore ~= nil)
   handle:listen("debug", handlers.debug ~= nil)
end

--- A session that is connected to nothing, from options that were checked. `_algorithms` in them is what they resolve
--- to already.
function Session.new(options)
   local algorithms = options._algorithms
      or require "moonssh.algorithms".resolve("session", options.algorithms, options.compression)
   local handle, code, message = core.session(Session._core_options(options, algorithms))
   if not handle then
      return nil, errors.from_core(code, message)
   end
   local adapter = loop.of(options.loop)
   local self = setmetatable({
      closed = false,
      abstract = options.abstract,
      timeout = options.timeout,
      _core = handle,
      _loop = adapter,
      _token = adapter.token(),
      _options = options,
      _algorithms = algorithms,
      _callbacks = {},
      _queue = { first = 1, last = 0 }, -- handlers to be started
      _handlers_waiting = 0,
      _callbacks_dropped = 0,
      _agent_path = agent_path(options.agent),
      _agent_binds = {},
      _agent_weight = 0, -- of the requests of agent channels that are worked on
      _send_size = 64 * 1024,
      _empty = 0, -- answers of recv in a row that brought nothing
      _refused = 0, -- answers of send in a row that took nothing
      _channels = setmetatable({}, { __mode = "v" }), -- handle → channel
      _agent_granted = false,
      _display = options.display and displays.parse(options.display),
      _xauthority = options.xauthority,
      _grants = {}, -- what the server may open: see moonssh.grants
      _listeners = {}, -- set of what the server listens at
      _forwards = {}, -- set of what is carried on in the background
      _carried = {}, -- set of the tasks of their connections
      _relays = {}, -- set of what moves between a channel and a descriptor: see moonssh.relay
      _incoming = {}, -- type → who answers opens of it: see moonssh.incoming
      _dropped = {}, -- handles of channels that were collected
      _auth_events = {},
      _global_requests = {}, -- those that are to be answered, oldest first
      _kex_done = 0,
      _authenticated = false,
      _batch = 0, -- number of the events that were taken together
      _stamp = 0,
      _n_room = 0,
      -- Read at every turn of the pump, so they are never nil: that would ask __index.
      _ended = false, -- whether `failure` is set
      _first = false,
      _last = false,
      _leader = false,
      _starting = false,
      _waits_for = false,
      _received = false, -- the state of the input, where waiting has read it
      _drained = false, -- its descriptor was read empty, and not waited for since
      _more = false, -- there may be more to read, whatever the descriptor says
      _inline = false,
      _raise = false,
      _mute = false,
      _spare = false,
      _sent = false,
      _tracer = false,
      _write_failure = false,
      _patient = false, -- see moonssh.channel
      _attached = false, -- to the connection of a ControlMaster
      _carrier = false, -- the channel that carries it, if one does
   }, Session)
   for cbtype, f in pairs(options.callbacks or {}) do
      self._callbacks[cbtype] = f
   end
   self:_apply_callbacks()
   handle:listen("global_request", false) -- but for moonssh.hostkey_update
   return self
end

--- A session that is connected to nothing yet.
---@param options? moonssh.session_options
---@return moonssh.session
function Session.create(options)
   options = args.options("session", 1, options, Session.options)
   Session.check_options("session", 1, options)
   return Session.new(options)
end

-- Checks -------------------------------------------------------------------------------------------------------------

--- Raises where a handler in place calls its own session, and, if `started`, before the handshake.
function Session:_check(name, started)
   if self._inline then
      args.raise(("'%s' called on its own session from the %s callback"):format(name, self._inline))
   elseif started and not self._started then
      args.raise(("'%s' before 'handshake'"):format(name))
   end
end

local function check(self, name, started)
   args.handle(self, "session", name)
   self:_check(name, started)
end

--- The absolute deadline of a timeout, of options with one, or of the session's own; nil for none.
---@param timeout number|{ timeout: number }|nil
---@return number?
function Session:_deadline(timeout)
   if type(timeout) == "table" then
      timeout = timeout.timeout
   end
   if timeout == nil then
      timeout = self.timeout
      local complaint = timeout ~= nil and args.complaint(timeout, "number")
      if complaint then
         args.raise(("bad field 'timeout' of the session (%s)"):format(complaint))
      end
   end
   return timeout and timeout < math.huge and self._loop.now() + timeout or nil
end

--- See pump.run_until.
function Session:_await(predicate, deadline, stage, subject, a, b, room)
   return pump.run_until(self, predicate, deadline, stage, subject, a, b, room)
end

--- Sends what was queued, without waiting. → `result` (default true) | nil, err. An error in the send callback is
--- raised.
function Session:_send_now(result)
   pump.flush(self)
   local err = self._raise
   if err then
      self._raise = false
      error(err, 0)
   end
   if self.failure and not self.closed then
      return nil, self.failure
   end
   return result or true
end

--- Sets what has ended the session.
---@param err moonssh.error
function Session:_end(err)
   self.failure, self._ended = err, true
   forward.stop_all(self)
end

--- Records what ended the session; the first cause stays.
---@param err moonssh.error
---@param reason? integer of the DISCONNECT that is sent (default: by application); 0 for none
function Session:_fail(err, reason)
   if not self.failure then
      self:_end(err)
      -- What is told to the core is told to the server; what a handler threw is nobody's business there.
      local told = err.code == "callback" and "a callback failed" or errors.escape(err.message, 400)
      self._core:fail(err.code, told, reason or BY_APPLICATION)
      self._stamp = self._batch
   end
end

-- Callbacks and traces -----------------------------------------------------------------------------------------------

-- In a handler that is called in place they may be used although the session is closed: close sends a farewell.
local function check_callbacks(self, name)
   if getmetatable(self) ~= Session or not self._inline then
      args.handle(self, "session", name)
   end
end

--- Sets a callback's handler, nil for none. → the one before, or nil; nil, err for an unknown type
---@param cbtype string
---@param f function|nil
---@return function|nil previous
---@return moonssh.error? err
function Session:callback_set(cbtype, f)
   check_callbacks(self, "callback_set")
   if not callbacks.known(cbtype) then
      return nil, callbacks.unknown(cbtype)
   end
   args.optional("callback_set", 2, f, "function")
   local previous = self._callbacks[cbtype]
   self._callbacks[cbtype] = f
   self:_apply_callbacks()
   if cbtype == "send" or cbtype == "recv" then
      pump.kick(self)
   end
   return previous
end

--- The handler of a callback, or nil; nil, err for an unknown type.
---@param cbtype string
---@return function|nil handler
---@return moonssh.error? err
function Session:callback_get(cbtype)
   check_callbacks(self, "callback_get")
   if not callbacks.known(cbtype) then
      return nil, callbacks.unknown(cbtype)
   end
   return self._callbacks[cbtype]
end

--- Has f{ direction =, type =, name =, length =, time = } called for each packet; nil stops it.
---@param f fun(packet: { direction: "send"|"recv", type: integer, name: string, length: integer, time: number })|nil
function Session:trace(f)
   check_callbacks(self, "trace")
   args.optional("trace", 1, f, "function")
   self._tracer = f or false
   self._core:trace(f ~= nil)
end

function getters.info(self)
   if self._core_closed then
      return self._last_info
   end
   local info = self._core:info()
   info.user, info.auth = self._user, self._auth
   info.callbacks_dropped = self._callbacks_dropped
   return info
end

function getters.agent_binds(self)
   return require "moonssh.agent_server".binds(self)
end

-- For a loop of one's own --------------------------------------------------------------------------------------------

--- The descriptor to wait for, or nil.
---@return integer|nil
function Session:fd()
   check(self, "fd")
   local carrying = self
   while carrying._carrier do
      carrying = carrying._carrier.below
   end
   return carrying._fd
end

--- What to wait for.
---@return "r"|"w"|"rw"
function Session:events()
   check(self, "events")
   if self._carrier then
      return self._carrier.below:events()
   end
   local reads, writes = self._core:wants()
   return writes and (reads and "rw" or "w") or "r"
end

-- The loop that step turns: the built-in one, where nobody runs it.
local function turned(self)
   local adapter = self._loop
   return adapter.turn and not adapter.running() and adapter
end

--- When to call step at the latest, on the clock of loop.now; nil when there is no hurry. What tasks wait for counts,
--- where step is what moves them.
---@return number|nil
function Session:deadline()
   check(self, "deadline")
   local at, adapter = pump.deadline(self), turned(self)
   local due = adapter and adapter.due()
   return at and due and math.min(at, due) or at or due or nil
end

--- Does what can be done without waiting. → whether the session goes on. An error of a handler is raised.
---@return boolean
function Session:step()
   check(self, "step", true)
   local err = pump.step(self)
   local adapter = turned(self)
   if adapter then
      adapter.turn()
   end
   if err then
      error(err, 0)
   end
   return not self.closed and self.failure == nil
end

--- Has a call that waits for this session look again.
function Session:wake()
   check(self, "wake")
   pump.kick(self)
end

--- An object with the methods pollfd, events and timeout, as cqueues polls.
---@return { pollfd: fun(): integer?, events: fun(): string, timeout: fun(): number? }
function Session:pollable()
   check(self, "pollable")
   local session = self
   return {
      pollfd = function()
         return session:fd()
      end,
      events = function()
         return session:events()
      end,
      timeout = function()
         local at = session:deadline()
         return at and math.max(0, at - session._loop.now())
      end,
   }
end

-- The end ------------------------------------------------------------------------------------------------------------

--- Closes it: says goodbye as far as the transport takes it now, and ends every call that waits. Its socket is closed
--- if the library has opened it.
function Session:close()
   if not self.closed then
      if self._attached and not self._inline then
         require "moonssh.control".take_leave(self)
      end
      self.closed = true
      if not self._inline then
         self:_finish_close()
      end
   end
end

--- The second half of close; a handler that is called in place returns before.
function Session:_finish_close()
   local handle = self._core
   if self._released then
      return
   end
   self._released = true
   forward.cancel_all(self)
   local err
   if self._started then
      if not self.failure then
         handle:disconnect(BY_APPLICATION, "")
      end
      transport.write(self)
      err = self._raise
      self._raise = false
   end
   pump.wake_all(self)
   if self._attender then
      self._loop.unpark(self._attender)
   end
   keepalive.stop(self)
   if self._carrier and self._owns_socket then
      self._carrier:close()
   end
   self:_close_socket()
   self:_close_companions()
   self._last_info, self._core_closed = getters.info(self), true
   handle:close()
   if err then
      error(err, 0)
   end
end

--- Gives back memory that a session without anything to do needs not.
function Session:_trim()
   if not self.closed and not self._inline then
      self._core:trim()
   end
end

--- Called at the login.
function Session:_start_keepalive()
   keepalive.start(self)
end

--- Has the library own the socket of the session, and what ends with it: sessions and programs that it goes through,
--- the nearest one last.
---@param companions? table[]
function Session:_own_socket(companions)
   self._owns_socket, self._companions = true, companions
end

function Session:_close_companions()
   local list = self._companions or {}
   self._companions = nil
   for i = #list, 1, -1 do
      list[i]:close()
   end
end

function Session:_close_socket()
   local fd = self._fd
   if fd then
      self._loop.cancel(fd)
      if self._owns_socket then
         core.socket.close(fd)
      end
      self._fd = nil
   end
end

Session.__close = Session.close

-- The core frees itself; it may be gone already.
function Session:__gc()
   if not self.closed then
      self.closed = true
      self:_close_socket()
   end
end

return Session
