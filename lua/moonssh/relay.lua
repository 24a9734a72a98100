-- Relays a channel to a descriptor. Bytes go between the two in the core, and no Lua string is made of them; what one
-- side does not take stays with the other, and stops it: the channel's window, or the socket's buffers.

local core = require "moonssh.core"
local errors = require "moonssh.errors"
local loop = require "moonssh.loop"
local pump = require "moonssh.pump"

local relay = {}

local Relay = {}
Relay.__index = Relay

--- Waits for something that concerns a channel, in the background. Who leads the session is told of errors in
--- handlers, which are not the business of this. `room`: see pump.run_until. → true | nil, err
function relay.wait(channel, predicate, a, room)
   local session = channel._session
   channel._own = true
   while true do
      local ok, result, err = pcall(pump.run_until, session, predicate, nil, nil, channel, a, nil, room)
      if ok then
         return result, err
      elseif not (errors.is(result) and result.code == "callback") then
         error(result, 0)
      end
      pump.raise(session, result)
   end
end

local function await(self, predicate, room)
   return relay.wait(self.channel, predicate, self, room)
end

local function await_descriptor(self, events)
   self.session._loop.wait(self.fd, events)
end

-- From the channel to the descriptor ---------------------------------------------------------------------------------

local function has_ended(self)
   return self.channel._eof or self.channel._released or self.session.closed
end

local function may_go_down(self)
   return self.stopped or self.reader:available() > 0 or has_ended(self)
end

-- Sends a string that was taken out of the channel already. → true | nil, err
local function send(self, bytes)
   local first = 1
   while first <= #bytes do
      local n, code, message, errno = core.socket.send(self.fd, bytes, first)
      if n then
         first = first + n
      elseif errno ~= core.EAGAIN then
         return nil, errors.from_core(code, message)
      else
         await_descriptor(self, "w")
         if self.stopped then
            return nil, self.stopped
         end
      end
   end
   return true
end

-- Moves what has come, until the descriptor takes no more or there is none. → true | nil, err
local function drain(self)
   local reader, channel = self.reader, self.channel
   if reader.size > 0 then
      local ok, err = send(self, reader:cut(reader.size))
      if not ok then
         return nil, err
      end
   end
   while not self.stopped and reader:kept() > 0 do
      local moved, code, message = self.session._core:channel_to_fd(channel._ch, self.fd)
      if not moved then
         return nil, errors.from_core(code, message)
      end
      pump.flush(self.session)
      if not self.stopped and reader:kept() > 0 then
         await_descriptor(self, "w")
      end
   end
   return not self.stopped or nil, self.stopped or nil
end

-- → true at the end of the channel's data | nil, err
local function go_down(self)
   while true do
      local ok, err = await(self, may_go_down)
      if ok then
         ok, err = drain(self)
      end
      if not ok then
         return nil, err
      elseif has_ended(self) and self.reader:available() == 0 then
         core.socket.shutdown(self.fd)
         return true
      end
   end
end

-- From the descriptor to the channel ---------------------------------------------------------------------------------

local function is_over(self)
   return self.done or self.channel._ended or self.channel._released or self.session.closed
end

-- Moves what there is; the state says why that ended.
local function take(self)
   if is_over(self) then
      return true
   end
   self.state, self.code, self.message = self.session._core:channel_from_fd(self.channel._ch, self.fd)
   return self.state ~= "full"
end

local function go_up(self)
   while not is_over(self) do
      await_descriptor(self, "r") -- others get their turn here, however much there is
      if not take(self) then
         pump.flush(self.session)
         local ok, err = await(self, take, true)
         if not ok then
            return nil, err
         end
      end
      pump.flush(self.session)
      if is_over(self) then
         return true
      elseif not self.state then
         return nil, errors.from_core(self.code, self.message)
      elseif self.state == "eof" then
         return self.channel:eof()
      end
   end
   return true
end

-- The task of that direction. Where it fails, the other one ends, too.
local function run_up(self)
   local ok, err = go_up(self)
   self.up_done = true
   if not ok then
      self.stopped = err
   end
   if not is_over(self) then
      pump.touch(self.session, self.channel)
      if self.stopped then
         self.session._loop.cancel(self.fd)
      end
   end
end

-- Both ---------------------------------------------------------------------------------------------------------------

-- Leaves, however that happens: the other direction is ended with it, and both ends are closed.
function Relay:__close()
   self.done = true
   self.session._relays[self] = nil
   local adapter = self.session._loop
   if self.fiber then
      adapter.cancel_fiber(self.fiber)
   end
   adapter.cancel(self.fd)
   core.socket.close(self.fd)
   self.channel:close()
end

local function up_is_done(self)
   return self.up_done or self.stopped or self.channel._ended or self.channel._released
end

--- Moves bytes both ways until both directions have come to their end, and closes both. An end of file on one side is
--- handed on to the other, which may still send. The descriptor must not block.
---@param channel moonssh.channel
---@param fd integer
---@return true|nil
---@return moonssh.error? err
function relay.run(channel, fd)
   local self <close> = setmetatable({
      channel = channel,
      session = channel._session,
      reader = channel.stdout,
      fd = fd,
      done = false,
      stopped = false,
      up_done = false,
   }, Relay)
   self.session._relays[self] = true
   channel.stdout._busy = true
   channel:_set_stderr("discard")
   self.fiber = self.session._loop.spawn_background(run_up, loop.report_failed, self)
   local ok, err = go_down(self)
   if ok then
      ok, err = await(self, up_is_done)
   end
   return ok and not self.stopped or nil, err or self.stopped or nil
end

--- The session has ended: so do its relays, also those whose descriptor takes nothing.
---@param err moonssh.error
function relay.stop_all(session, err)
   for self in pairs(session._relays) do
      self.stopped = self.stopped or err
      session._loop.cancel(self.fd)
   end
end

return relay
