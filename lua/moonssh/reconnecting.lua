--- `ssh.reconnecting`: what looks like a session, and connects again when that was lost.
---
--- Nothing is done twice: a call that was under way when the connection went ends with its error, and who called knows
--- what to do about it. The next call connects anew.

local args = require "moonssh.args"
local client = require "moonssh.client"
local errors = require "moonssh.errors"
local loop = require "moonssh.loop"
local Session = require "moonssh.session"
local task = require "moonssh.task"
local work = require "moonssh.work"

---@class moonssh.reconnecting_options : moonssh.connect_options
---@field attempts? integer to connect again, in a row, default 10
---@field pause? number seconds before the second attempt, default 0.5; it doubles each time, up to 30
---@field on_loss? fun(err: moonssh.error, in_flight: moonssh.in_flight[]) told of each loss
---@field on_connect? fun(session: moonssh.session, count: integer) called with each session before it is used

---@class moonssh.in_flight what was under way when a connection was lost: a call, or a channel that was open
---@field call string the name of the method
---@field arguments table as of table.pack
---@field handle? any what the call had given

---@class moonssh.reconnecting : moonssh.session
---@field session moonssh.session the one in use, which may be lost
---@field connects integer how many there have been
local Reconnecting = { __name = "moonssh.reconnecting" }

local own_options = { attempts = "integer", pause = "number", on_loss = "function", on_connect = "function" }

local DEFAULT_ATTEMPTS, DEFAULT_PAUSE, LONGEST_PAUSE = 10, 0.5, 30
local DEFAULT_KEEPALIVE = { interval = 15, count = 3 }

-- What needs no connection, and goes to the session that there is.
local direct = { callback_get = true, deadline = true, disconnect = true, events = true, fd = true, host_key = true,
   pollable = true, step = true, wake = true }

local methods = {}

local function is_lost(session)
   return session.closed or session.failure ~= nil
end

-- Notes a loss, once for each session. Gives what was in flight.
local function note_loss(self, session)
   local state = self._state
   if state.lost == session then
      return state.in_flight
   end
   local list = {}
   for entry in pairs(state.calls) do
      list[#list + 1] = entry.session == session and entry or nil
   end
   for handle, entry in pairs(state.handles) do
      list[#list + 1] = entry.session == session and not entry.active and not handle.closed and entry or nil
      state.handles[handle] = nil
   end
   table.sort(list, function(a, b)
      return a.number < b.number
   end)
   for i, entry in ipairs(list) do
      list[i] = { call = entry.call, arguments = entry.arguments, handle = entry.handle }
   end
   state.lost, state.in_flight = session, list
   if state.on_loss then
      loop.tell(state.on_loss, session.failure or errors.closed("the session"), list)
   end
   return list
end

local function connect_once(state)
   local session, err = client.connect(state.destination, state.options)
   if not session then
      return nil, err
   end
   state.connects = state.connects + 1
   if state.tracer then
      session:trace(state.tracer)
   end
   if state.on_connect then
      loop.tell(state.on_connect, session, state.connects)
   end
   return session
end

local function connect_again(state)
   local pause = state.pause
   local session, err
   for n = 1, state.attempts do
      session, err = connect_once(state)
      if session and state.closed then
         session:close()
         return nil, errors.closed("the session")
      elseif session then
         state.session:close()
         state.session = session
         return session
      elseif work.is_permanent(err) or n == state.attempts then
         break
      end
      loop.sleep(pause)
      pause = math.min(2 * pause, LONGEST_PAUSE)
   end
   return nil, err
end

-- A session that is not known to be lost. Of several that find it lost, one connects. Gives the seconds that it took as
-- well.
local function live(self, timeout)
   local state = self._state
   local session = state.session
   if not is_lost(session) then
      return session, nil, 0
   end
   note_loss(self, session)
   local _ <close> = loop.bind(state.options.loop)
   if not state.connecting or state.connecting.closed then
      state.connecting = task.spawn(connect_again, state)
   end
   local connecting, began = state.connecting, loop.now()
   local result, err = connecting:wait(timeout)
   if state.closed then
      return nil, errors.closed("the session")
   elseif not connecting.closed then
      return nil, errors.timeout("connect")
   end
   return result, err, loop.now() - began
end

local ends_in_timeout = { ping = true, rekey = true }

-- The timeout that a call names, or the session's own, or nil.
local function timeout_of(state, name, arguments)
   local last = arguments[arguments.n]
   local timeout
   if type(last) == "table" then
      timeout = last.timeout
   elseif ends_in_timeout[name] then
      timeout = last
   end
   if timeout == nil then
      timeout = state.options.session_timeout
   end
   return math.type(timeout) and timeout == timeout and timeout or nil
end

-- The arguments with the time that connecting has taken off the timeout that they name.
local function shortened(name, arguments, seconds)
   local last = arguments[arguments.n]
   local result = table.move(arguments, 1, arguments.n, 1, { n = arguments.n })
   if ends_in_timeout[name] and math.type(last) then
      result[result.n] = last - seconds
   elseif type(last) == "table" and math.type(last.timeout) then
      local options = {}
      for key, value in pairs(last) do
         options[key] = value
      end
      options.timeout = last.timeout - seconds
      result[result.n] = options
   end
   return result
end

local Active = {
   __close = function(guard)
      guard.entry.active = false
      guard.calls[guard.entry] = nil
   end,
}

-- Calls a method of the session, and keeps note of that meanwhile, and of a handle that it gives.
local function relay(self, name, ...)
   local state = self._state
   local arguments = table.pack(...)
   local session, err, seconds = live(self, timeout_of(state, name, arguments))
   if not session then
      return nil, err
   end
   state.number = state.number + 1
   local entry = { call = name, arguments = arguments, session = session, active = true, number = state.number }
   state.calls[entry] = true
   local _ <close> = setmetatable({ entry = entry, calls = state.calls }, Active)
   local given = seconds > 0 and shortened(name, arguments, seconds) or arguments
   local results = table.pack(session[name](session, table.unpack(given, 1, given.n)))
   err = results[2]
   if is_lost(session) and not state.closed then
      local list = note_loss(self, session)
      if results[1] == nil and errors.is(err) then
         results[2] = errors.with(err, { in_flight = list })
      end
   end
   if type(results[1]) == "table" and results[1].close then
      entry.handle = results[1]
      state.handles[results[1]] = entry -- for as long as the handle is in use
   end
   return table.unpack(results, 1, results.n)
end

--- See moonssh.session. The handler is set on every session to come as well.
function methods:callback_set(cbtype, f)
   local state = self._state
   local previous, err = state.session:callback_set(cbtype, f)
   if not err then
      state.options.callbacks[cbtype] = f
   end
   return previous, err
end

--- See moonssh.session. Every session to come is traced as well.
function methods:trace(f)
   self._state.tracer = f
   self._state.session:trace(f)
end

--- Closes it for good.
function methods:close()
   local state = self._state
   if not state.closed then
      state.closed = true
      state.session:close()
      if state.connecting then
         state.connecting:cancel()
      end
   end
end

function Reconnecting.__index(self, key)
   local state = rawget(self, "_state")
   if key == "closed" or key == "session" or key == "connects" then
      return state[key]
   elseif methods[key] then
      return methods[key]
   end
   local value = Session[key]
   if type(value) ~= "function" or type(key) ~= "string" or key:sub(1, 1) == "_" then
      return state.session[key]
   end
   return function(_, ...)
      if state.closed then
         args.raise(("attempt to use a closed session (in '%s')"):format(key))
      elseif direct[key] then
         return state.session[key](state.session, ...)
      end
      return relay(self, key, ...)
   end
end

function Reconnecting.__newindex(self, key, value)
   local state = self._state
   if key == "timeout" then
      state.options.session_timeout = value
   elseif key == "abstract" then
      state.options.abstract = value
   end
   state.session[key] = value
end

Reconnecting.__close = methods.close
Reconnecting.__gc = methods.close

local reconnecting = {}

--- Connects, and gives what is used like a session and connects again when that was lost.
---@param destination string
---@param options? moonssh.reconnecting_options
---@return moonssh.reconnecting|nil
---@return moonssh.error? err of the first attempt
function reconnecting.reconnecting(destination, options)
   args.check("reconnecting", 1, destination, "string")
   args.optional("reconnecting", 2, options, "table")
   local state = { destination = destination, options = {}, calls = {}, number = 0, connects = 0, closed = false,
      handles = setmetatable({}, { __mode = "k" }) }
   for name, value in pairs(options or {}) do
      local types = own_options[name]
      if types then
         args.options("reconnecting", 2, { [name] = value }, own_options)
         state[name] = value
      else
         state.options[name] = value
      end
   end
   state.attempts, state.pause = state.attempts or DEFAULT_ATTEMPTS, state.pause or DEFAULT_PAUSE
   if state.attempts < 1 then
      args.bad("reconnecting", 2, "option 'attempts': not positive")
   end
   state.options.keepalive = state.options.keepalive or DEFAULT_KEEPALIVE
   state.options.callbacks = {}
   for cbtype, f in pairs(options and options.callbacks or {}) do
      state.options.callbacks[cbtype] = f
   end
   local session, err = connect_once(state)
   if not session then
      return nil, err
   end
   state.session = session
   return setmetatable({ _state = state }, Reconnecting)
end

return reconnecting
