-- A channel as the transport of a further session. Both are moved by whoever waits for the further one: its leader
-- waits for the channel, as a task that uses the channel would, and so leads the session below when nobody else does.

local pump = require "moonssh.pump"

local Carrier = {}
Carrier.__index = Carrier

-- Bytes that are handed down at a time.
local CHUNK = 64 * 1024

--- Takes the channel over: nobody else reads it from now on.
function Carrier.new(channel)
   channel.stdout._busy = true
   if not channel._on_stderr then
      channel._session._core:channel_mode(channel._ch, 1, "discard")
   end
   return setmetatable({ channel = channel, below = channel._session, kicks = 0 }, Carrier)
end

local function is_gone(self)
   return self.channel._released or self.below.closed
end

--- Takes in what has come: see transport.read.
function Carrier:read(session)
   local handle, reader = session._core, self.channel.stdout
   local room = handle:input_room()
   if room == 0 then
      return "full"
   elseif not is_gone(self) then
      if reader.size == 0 then
         reader:pull(room)
      end
      if reader.size > 0 then
         handle:input(reader:cut(math.min(reader.size, room)))
         reader:credit()
         pump.flush(self.below)
         return "more"
      elseif not self.channel._eof and not self.below.failure then
         return "again"
      end
   end
   handle:input_eof()
   return "eof"
end

-- Hands down what the channel takes now. → how many bytes, and whether that was all of it; nil when it takes none ever
local function hand_down(self, session)
   local handle, total = session._core, 0
   while not is_gone(self) do
      local bytes = handle:output(CHUNK)
      if not bytes then
         return total, true
      end
      local taken = self.below._core:channel_write(self.channel._ch, 0, bytes, 1)
      if not taken then
         return nil
      elseif taken == 0 then
         return total, false
      end
      handle:output_done(taken)
      total = total + taken
   end
end

--- Sends what is queued: see transport.write. nil, code, message when it cannot be sent any more.
function Carrier:write(session)
   local total, done = hand_down(self, session)
   if not total then
      return nil, "eof", "the channel that carries the session has ended"
   elseif total > 0 then
      pump.flush(self.below)
   end
   return done
end

-- Whether there is something to do for the session above; what can be sent meanwhile is sent.
local function attention(wait)
   local self, session = wait.carrier, wait.session
   if self.kicks ~= wait.kicks or session.closed or is_gone(self) or self.below.failure then
      return true
   end
   local reads, writes = session._core:wants()
   local channel = self.channel
   return writes and hand_down(self, session) ~= 0 or reads and (channel._eof or channel.stdout:available() > 0)
end

--- Waits, at most until the deadline, for something to do. An error in a handler of the session below is raised.
function Carrier:wait(session, deadline)
   local wait = { carrier = self, session = session, kicks = self.kicks }
   pump.run_until(self.below, attention, deadline, nil, self.channel, wait, nil, true)
end

--- Ends all such waits.
function Carrier:kick()
   self.kicks = self.kicks + 1
   if not self.below.closed then
      pump.touch(self.below, self.channel)
   end
end

--- Moves the session below, without waiting. → the error of a handler, to be raised
function Carrier:step()
   if not self.below.closed then
      return pump.step(self.below)
   end
end

--- Ends the channel, after what was handed down.
function Carrier:close()
   self.channel:close()
end

return Carrier
