-- How a file is written: without waiting for the answers. What a write could not do is told by what comes next. While
-- many writes are unanswered, small ones are held back until they fill a block, or until an answer comes.

local Link = require "moonssh.sftp.link"
local pump = require "moonssh.pump"

local TYPE = Link.type

-- Methods of moonssh.sftp.file.
local methods = {}

-- Bytes written behind the writer at most.
local BEHIND = 8 * 1024 * 1024

-- Unanswered writes beside which a small one is held back.
local MANY = 32

local at = Link.at

-- Takes the answer to the oldest write. A failure is kept for whoever asks next.
local function take_answer(self, deadline)
   local record = self._behind[self._first]
   local ok, err = self._link:await(record, deadline)
   if not ok and not record.done then
      return nil, err
   end
   self._behind[self._first] = nil
   self._first = self._first + 1
   self._written = self._written - record.len
   if not ok and not self._failed then
      self._failed = at(err, record.offset)
   end
   return true
end

-- The failure of a write that was sent before, once.
local function failed(self)
   local err = self._failed
   self._failed = nil
   return err
end

-- An answer has come: what was held back beside it may go.
local function answered(record)
   local self = record.file
   if self._held_len > 0 and not self.closed then
      local ok, err = self:_send_held()
      self._failed = self._failed or not ok and err or nil
   end
end

--- Sends what is held back. → true | nil, err
function methods:_send_held()
   if self._held_len == 0 then
      return true
   end
   local piece, offset = table.concat(self._held), self._at - self._held_len
   self._held, self._held_len = {}, 0
   local record, err = self._link:send(TYPE.WRITE, string.pack(">s4I8s4", self._handle, offset, piece), self.path)
   if not record then
      return nil, at(err, offset)
   end
   record.offset, record.len, record.file, record.answered = offset, #piece, self, answered
   self._last = self._last + 1
   self._behind[self._last] = record
   self._written = self._written + #piece
   pump.flush(self._link._session)
   return true
end

--- Takes answers until at most `most` bytes are unanswered, and those that are there. → true | nil, err
function methods:_settle(most, deadline)
   local sent, send_err = true, nil
   if most == 0 then
      sent, send_err = self:_send_held()
   end
   if not sent then
      return nil, send_err
   end
   while self._first <= self._last and (self._written > most or self._behind[self._first].done) do
      local ok, err = take_answer(self, deadline)
      if not ok then
         return nil, err
      end
   end
   local err = failed(self)
   if err then
      return nil, err
   end
   return true
end

--- Has what is appended go to where the file ends. The server sees to that by itself, if it knows how.
function methods:_go_to_end(deadline)
   local found, err = self:_stat(deadline)
   if not found then
      return nil, err
   end
   self._at, self._at_end = found.size or self._at, true
   return true
end

-- Sends what is held back when there is room for it. → true | nil, err
local function send_in_turn(self, deadline)
   local ok, err = self:_settle(BEHIND - self._sftp._write_block, deadline)
   if ok then
      ok, err = self._link:await_room(deadline)
   end
   if not ok then
      return nil, err
   end
   return self:_send_held()
end

--- Sends a string in blocks. → true | nil, err
function methods:_write(data, deadline)
   local block = self._sftp._write_block
   local ok, err = self:_settle(BEHIND, deadline)
   if ok and self._append and not self._at_end then
      ok, err = self:_go_to_end(deadline)
   end
   if self._reads then
      self:_drop_ahead()
   end
   local first = 1
   while ok and first <= #data do
      local room = block - self._held_len
      local piece = first == 1 and #data <= room and data or data:sub(first, first + room - 1)
      self._held[#self._held + 1] = piece
      self._held_len, self._at = self._held_len + #piece, self._at + #piece
      first = first + #piece
      if self._held_len == block or self._last - self._first < MANY then
         ok, err = send_in_turn(self, deadline)
      end
   end
   self._next = self._at
   return ok, err
end

return methods
