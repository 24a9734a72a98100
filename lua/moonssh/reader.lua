-- One stream of a channel, as read by Lua.
--
-- Data are kept in the core, within the channel's window, until they are asked for. What was taken from there but not
-- given to the caller yet (the start of a long line, what follows a match, data of mode "direct") is in the list part
-- of the reader, from `first` to `last`; the first piece begins after `offset`.

local args = require "moonssh.args"
local errors = require "moonssh.errors"

---@class moonssh.reader
local Reader = { __name = "moonssh.reader" }
Reader.__index = Reader

local NEWLINE = 10

-- A line this long is taken out of the core, so that the window cannot keep its end away.
local LONG = 64 * 1024

local names = { [0] = "stdout", [1] = "stderr" }

function Reader.new(channel, stream)
   return setmetatable({
      _channel = channel,
      _stream = stream,
      name = names[stream],
      first = 1,
      last = 0,
      offset = 0,
      size = 0, -- bytes in the list
      searched = 0, -- so many bytes of the list, and then of the core's, have no newline
      uncredited = 0, -- bytes of mode "direct" that the window was not credited for
   }, Reader)
end

-- Bytes --------------------------------------------------------------------------------------------------------------

--- Bytes kept in the core.
function Reader:kept()
   local channel = self._channel
   if channel._released or channel._gate then
      return 0
   end
   return channel._session._core:channel_kept(channel._ch, self._stream)
end

--- Bytes there are.
function Reader:available()
   return self.size + self:kept()
end

--- Appends a piece to the list.
function Reader:append(bytes)
   self.last = self.last + 1
   self[self.last] = bytes
   self.size = self.size + #bytes
end

--- Moves up to `max` bytes from the core to the list.
function Reader:pull(max)
   local channel = self._channel
   if max > 0 and not channel._released and not channel._gate then
      local bytes = channel._session._core:channel_take(channel._ch, self._stream, max)
      if bytes then
         self:append(bytes)
      end
   end
end

--- Credits the window for data of mode "direct" that were consumed: `count` bytes, or all of them.
function Reader:credit(count)
   local channel = self._channel
   local uncredited = self.uncredited
   if not count or count > uncredited then
      count = uncredited
   end
   if count > 0 then
      self.uncredited = uncredited - count
      if not channel._released then
         channel._session._core:channel_consumed(channel._ch, count)
      end
   end
end

local function clear(self)
   for i = self.first, self.last do
      self[i] = nil
   end
   self.first, self.last, self.offset, self.size, self.searched = 1, 0, 0, 0, 0
end

--- The whole list as one string, which stays in it.
function Reader:joined()
   if self.last > self.first or self.offset > 0 then
      local bytes = table.concat(self, "", self.first, self.last):sub(self.offset + 1)
      local searched = self.searched
      clear(self)
      self:append(bytes)
      self.searched = searched
   end
   return self[self.first] or ""
end

--- Takes the first `count` bytes out of the list.
function Reader:cut(count)
   if count == self.size and self.offset == 0 then
      local bytes = self.first == self.last and self[self.first] or table.concat(self, "", self.first, self.last)
      clear(self)
      return bytes
   end
   if count > #(self[self.first] or "") - self.offset then
      self:joined()
   end
   local piece = self[self.first]
   local bytes = count == #piece and piece or piece:sub(self.offset + 1, self.offset + count)
   self.offset = self.offset + count
   self.size = self.size - count
   self.searched = 0
   if self.offset == #piece then
      self[self.first] = nil
      self.first, self.offset = self.first + 1, 0
   end
   return bytes
end

--- Takes the first piece out of the list; nil when there is none.
function Reader:pop()
   local first = self.first
   local piece = self[first]
   if not piece or self.offset > 0 then
      return piece and self:cut(#piece - self.offset)
   end
   self[first] = nil
   if first == self.last then
      self.first, self.last = 1, 0
   else
      self.first = first + 1
   end
   self.size, self.searched = self.size - #piece, 0
   return piece
end

-- Takes `count` bytes that are available.
local function take(self, count)
   if count == 0 then
      return ""
   elseif self.size == 0 then
      local channel = self._channel
      self.searched = 0
      return channel._released and "" or channel._session._core:channel_take(channel._ch, self._stream, count) or ""
   end
   self:pull(count - self.size)
   return self:cut(count)
end

-- Conditions and takings of each kind of read ------------------------------------------------------------------------

local function at_end(self)
   return self._channel._eof or self._channel._released
end

-- Unread data of the other stream leave the peer no window: nothing more can come here.
local function is_stuck(self)
   return self._channel:_stuck(self._stream) ~= nil
end

local kinds = {}

kinds.any = {
   ready = function(self)
      return self:available() > 0 or at_end(self) or is_stuck(self)
   end,
   take = function(self)
      local count = self:available()
      return count > 0 and take(self, count) or nil
   end,
}

kinds.count = {
   ready = function(self, count)
      local available = self:available()
      if available >= count and available > 0 or at_end(self) then
         return true
      end
      self:pull(count - self.size)
      return is_stuck(self)
   end,
   take = function(self, count)
      local available = self:available()
      if available == 0 or available < count and not at_end(self) then
         return nil
      end
      return take(self, math.min(count, available))
   end,
}

-- Where the next line ends, counted over the list and the core's data; nil when that has not come yet.
local function line_end(self)
   if self.size > 0 and self.searched < self.size then
      local text = self.first == self.last and self[self.first] or self:joined()
      local at = text:find("\n", self.offset + self.searched + 1, true)
      if at then
         return at - self.offset
      end
      self.searched = self.size
   end
   local kept = self:kept()
   if kept == 0 or self.size + kept == self.searched then
      return nil
   end
   local channel = self._channel
   local at = channel._session._core:channel_find(channel._ch, self._stream, NEWLINE, self.searched - self.size + 1)
   if at then
      return self.size + at
   end
   self.searched = self.size + kept
   if kept >= LONG then
      self:pull(kept)
   end
end

local function line_ready(self)
   return line_end(self) ~= nil or at_end(self) or is_stuck(self)
end

local function take_line(self, keep)
   local length = line_end(self)
   if length then
      local line = take(self, length)
      return keep and line or line:sub(1, -2)
   end
   local count = self:available()
   return at_end(self) and count > 0 and take(self, count) or nil
end

kinds.l = {
   ready = line_ready,
   take = function(self)
      return take_line(self, false)
   end,
}

kinds.L = {
   ready = line_ready,
   take = function(self)
      return take_line(self, true)
   end,
}

kinds.a = {
   ready = function(self)
      if at_end(self) then
         return true
      end
      self:pull(self:kept())
      return is_stuck(self)
   end,
   take = function(self)
      return at_end(self) and take(self, self:available()) or nil
   end,
}

-- Reading ------------------------------------------------------------------------------------------------------------

local function kind_of(fname, what)
   if what == nil then
      return kinds.any
   elseif type(what) == "number" and math.tointeger(what) and what >= 0 then
      return kinds.count, math.tointeger(what)
   end
   local name = type(what) == "string" and what:match("^%*?([lLa])$")
   if not name then
      args.bad(fname, 1, "invalid format")
   end
   return kinds[name]
end

local Guard = {
   __close = function(guard)
      guard.reader._busy = false
   end,
}

--- Waits until ready(self, a) is true, for the one task that may wait for this stream. → true | nil, err
function Reader:wait_until(ready, a, deadline)
   if ready(self, a) then
      return true
   elseif self._busy then
      return nil, errors.new("busy", ("another task reads %s"):format(self.name), { stage = self.name })
   end
   local _ <close> = setmetatable({ reader = self }, Guard)
   self._busy = true
   return self._channel:_await(ready, deadline, "read", self, a)
end

--- What stands in the way of reading: the session has failed. After the peer's DISCONNECT, or the end of the
--- connection, what had come before may still be read.
function Reader:_hindrance()
   local failure = self._channel._session.failure
   if failure and not (failure.code == "disconnected" or failure.code == "eof") then
      return failure
   end
end

function Reader:_read(fname, what, timeout)
   local channel = self._channel
   channel:_check(fname)
   args.optional(fname, 2, timeout, "number")
   local kind, count = kind_of(fname, what)
   local err = self:_hindrance()
   if err then
      return nil, err
   end
   local deadline = channel._session:_deadline(timeout)
   while true do
      local ok
      ok, err = self:wait_until(kind.ready, count, deadline)
      if not ok then
         return nil, err
      end
      local value = kind.take(self, count)
      if value == nil then
         err = not at_end(self) and channel:_stuck_error(self._stream) or nil
      end
      if err then
         return nil, err
      elseif value ~= nil or at_end(self) then
         channel:_deliver()
         return value
      end
   end
end

--- Reads "l", "L", "a" or a count as `io` does, or without any what is there, waiting for at least a byte. nil at end
--- of file; nil, err when it fails.
---@param what? "l"|"L"|"a"|integer
---@param timeout? number
---@return string|nil
---@return moonssh.error? err
function Reader:read(what, timeout)
   return self:_read("read", what, timeout)
end

--- An iterator over the stream, as file:lines; it raises errors.
---@param what? "l"|"L"|"a"|integer
---@return fun(): string|nil
function Reader:lines(what)
   local kind = what == nil and "l" or what
   kind_of("lines", kind)
   return function()
      local value, err = self:_read("lines", kind)
      if err then
         error(err, 0)
      end
      return value
   end
end

return Reader
