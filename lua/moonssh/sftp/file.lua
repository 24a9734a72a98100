-- A file at the server, with the methods of a file of `io`. It reads ahead while it is read from start to end, and
-- writes behind: what a write could not do is told by the next one, by flush, seek or close. While many writes are
-- unanswered, small ones are held back until they fill a block, or until an answer comes.

local args = require "moonssh.args"
local attributes = require "moonssh.sftp.attributes"
local errors = require "moonssh.errors"
local Link = require "moonssh.sftp.link"
local numeral = require "moonssh.sftp.numeral"
local pump = require "moonssh.pump"
local write_behind = require "moonssh.sftp.write_behind"

local TYPE, REPLY = Link.type, Link.reply

---@class moonssh.sftp.file
---@field closed boolean
local File = { __name = "moonssh.sftp_file" }
File.__index = File

for name, method in pairs(write_behind) do
   File[name] = method
end

local READ, WRITE, APPEND, CREATE, TRUNCATE = 1, 2, 4, 8, 16

-- A mode besides those of io: to write over what is there, which is not cut before.
File.OVER = WRITE | CREATE

local modes = {
   r = READ,
   w = WRITE | CREATE | TRUNCATE,
   a = WRITE | APPEND | CREATE,
   ["r+"] = READ | WRITE,
   ["w+"] = READ | WRITE | CREATE | TRUNCATE,
   ["a+"] = READ | WRITE | APPEND | CREATE,
}

-- Bytes asked for ahead of the reader at most.
local AHEAD = 8 * 1024 * 1024

-- Requests of a channel that are not answered, of all files, beside which a file has one read on the way.
local CROWD = 8192

-- The first piece that is asked for: a file may be read in small parts.
local FIRST = 32 * 1024

--- Opens a file. → file | nil, err
function File.open(sftp, path, mode, permissions, deadline)
   local flags = math.type(mode) and mode or modes[(mode:gsub("b", "", 1))]
   if not flags then
      args.bad("open", 2, "invalid mode")
   end
   local body = string.pack(">s4I4", path, flags) .. attributes.permissions(permissions)
   local handle, err = sftp._link:call(TYPE.OPEN, body, path, deadline)
   if not handle then
      return nil, err
   end
   return setmetatable({
      closed = false,
      path = path,
      _sftp = sftp,
      _link = sftp._link,
      _handle = handle,
      _reads = flags & READ ~= 0,
      _writes = flags & WRITE ~= 0,
      _append = flags & APPEND ~= 0,
      _at = 0, -- where the program reads or writes next
      _piece = "", -- what was read, from `_from` on not yet given out
      _from = 1,
      _ahead = {}, -- reads that were sent: records with offset and len, oldest first
      _next = 0, -- where the next one begins
      _flying = 0,
      _most = FIRST,
      _eof = false,
      _behind = {}, -- writes that were sent, oldest first
      _first = 1,
      _last = 0,
      _written = 0, -- bytes of them
      _held = {}, -- pieces that are held back, up to `_at`
      _held_len = 0,
      _at_end = nil, -- of a file to append to: whether `_at` is where a write goes; nil as long as nothing has moved
   }, File)
end

local function check(self, fname)
   args.handle(self, "sftp_file", fname)
   self._sftp:_check(fname)
end

local at = Link.at

-- What was read ahead is of no use any more.
function File:_drop_ahead()
   for _, record in ipairs(self._ahead) do
      self._link:forget(record)
   end
   self._ahead, self._flying = {}, 0
   self._piece, self._from, self._eof = "", 1, false
   self._next, self._most = self._at, FIRST
end

-- Writing ------------------------------------------------------------------------------------------------------------

--- Writes strings or numbers. → the file | nil, err
---@param ... string|number
---@return moonssh.sftp.file|nil
---@return moonssh.error? err
function File:write(...)
   check(self, "write")
   for i = 1, select("#", ...) do
      args.check("write", i, (select(i, ...)), { "string", "number" })
   end
   if not self._writes then
      return nil, Link.error("io", self.path, "the file is not open for writing")
   end
   local deadline = self._link._session:_deadline()
   for i = 1, select("#", ...) do
      local ok, err = self:_write(tostring((select(i, ...))), deadline)
      if not ok then
         return nil, err
      end
   end
   return self
end

--- Waits until all that was written has been answered. → the file | nil, err
---@param options? { timeout: number }
---@return moonssh.sftp.file|nil
---@return moonssh.error? err
function File:flush(options)
   check(self, "flush")
   local ok, err = self:_settle(0, self._sftp:_deadline("flush", 1, options))
   if not ok then
      return nil, err
   end
   return self
end

-- Reading ------------------------------------------------------------------------------------------------------------

-- Keeps reads on the way: more of them the longer the file is read without a jump. One is enough for a file while
-- others have many.
local function read_ahead(self, wanted)
   local link, block = self._link, self._sftp._read_block
   local most = math.min(math.max(self._most, wanted), AHEAD)
   while self._flying < most and not self._eof and (link.n_open < CROWD or not self._ahead[1]) do
      local len = math.min(block, most)
      local record, err = link:send(TYPE.READ, string.pack(">s4I8I4", self._handle, self._next, len), self.path)
      if not record then
         return nil, err
      end
      record.offset, record.len = self._next, len
      table.insert(self._ahead, record)
      self._next, self._flying = self._next + len, self._flying + len
   end
   pump.flush(link._session)
   return true
end

-- The rest of a short answer is asked for, and what is behind it once more: it is simplest, and rare.
local function drop_behind(self, offset)
   for _, record in ipairs(self._ahead) do
      self._link:forget(record)
   end
   self._ahead, self._flying, self._next = {}, 0, offset
end

-- Gets the next piece. → true | false at the end of the file | nil, err
local function fetch(self, wanted, deadline)
   if not self._ahead[1] then
      local ok, err = read_ahead(self, wanted)
      if not ok then
         return nil, err
      end
   end
   local record = self._ahead[1]
   local data, err = self._link:await(record, deadline)
   if not record.done then
      return nil, at(err, record.offset)
   end
   table.remove(self._ahead, 1)
   self._flying = self._flying - record.len
   if not data then
      drop_behind(self, record.offset)
      if err.status == "eof" then
         return false
      end
      return nil, at(err, record.offset)
   elseif #data > record.len then
      return nil, Link.error("protocol", self.path, "the server sent more than was asked for",
         { offset = record.offset })
   end
   self._piece, self._from = data, 1
   if #data < record.len then
      drop_behind(self, record.offset + #data)
   else
      self._most = math.min(self._most * 2, AHEAD)
      return read_ahead(self, wanted)
   end
   return true
end

-- Makes sure that something is at hand. → true | false at the end | nil, err
local function fill(self, wanted, deadline)
   if self._from <= #self._piece then
      return true
   end
   return fetch(self, wanted, deadline)
end

local function take(self, count)
   local piece = self._piece
   local bytes = count >= #piece - self._from + 1 and self._from == 1 and piece
      or piece:sub(self._from, self._from + count - 1)
   self._from = self._from + #bytes
   self._at = self._at + #bytes
   return bytes
end

--- Up to `count` bytes, what there is at once; nil at the end. → string | nil, err
function File:_read_some(count, deadline)
   local ok, err = fill(self, count, deadline)
   if not ok then
      return nil, err
   end
   return take(self, count)
end

local function read_count(self, count, deadline)
   if count == 0 then
      local ok, err = fill(self, 1, deadline)
      return ok and "" or nil, err
   end
   local parts, missing = {}, count
   while missing > 0 do
      local piece, err = self:_read_some(missing, deadline)
      if err then
         return nil, err
      elseif not piece then
         break
      end
      parts[#parts + 1] = piece
      missing = missing - #piece
   end
   return parts[1] and table.concat(parts) or nil
end

local function read_line(self, keep, deadline)
   local parts = {}
   while true do
      local ok, err = fill(self, 1, deadline)
      if ok == nil then
         return nil, err
      elseif not ok then
         return parts[1] and table.concat(parts) or nil
      end
      local stop = self._piece:find("\n", self._from, true)
      parts[#parts + 1] = take(self, (stop or #self._piece) - self._from + 1)
      if stop then
         local line = table.concat(parts)
         return keep and line or line:sub(1, -2)
      end
   end
end

--- The rest of the file. → string | nil, err
function File:_read_all(deadline)
   local parts = {}
   while true do
      local piece, err = self:_read_some(self._sftp._read_block, deadline)
      if err then
         return nil, err
      elseif not piece then
         return table.concat(parts)
      end
      parts[#parts + 1] = piece
   end
end

local function read_number(self, deadline)
   local failure
   local value = numeral(function()
      local ok, err = fill(self, 1, deadline)
      failure = failure or err
      return ok and self._piece:sub(self._from, self._from) or ""
   end, function()
      take(self, 1)
   end)
   if failure then
      return nil, failure
   end
   return value
end

local function read_one(self, fname, index, format, deadline)
   if math.type(format) then
      local count = math.tointeger(format)
      if not count or count < 0 then
         args.bad(fname, index, "invalid format")
      end
      return read_count(self, count, deadline)
   end
   local kind = type(format) == "string" and format:match("^%*?([lLan])")
   if kind == "l" or kind == "L" then
      return read_line(self, kind == "L", deadline)
   elseif kind == "a" then
      return self:_read_all(deadline)
   elseif kind == "n" then
      return read_number(self, deadline)
   end
   args.bad(fname, index, "invalid format")
end

local function read(self, fname, ...)
   if not self._reads then
      return nil, Link.error("io", self.path, "the file is not open for reading")
   end
   local deadline = self._link._session:_deadline()
   local ok, err = self:_settle(0, deadline)
   if not ok then
      return nil, err
   end
   self._at_end = false
   local n = math.max(1, select("#", ...))
   local results = {}
   for i = 1, n do
      local value
      value, err = read_one(self, fname, i, select("#", ...) == 0 and "l" or (select(i, ...)), deadline)
      if err then
         return nil, err
      end
      results[i] = value
      if value == nil then
         return table.unpack(results, 1, i)
      end
   end
   return table.unpack(results, 1, n)
end

--- Reads as file:read of `io` does. → values | nil at the end | nil, err
---@param ... "l"|"L"|"a"|"n"|integer
---@return any ...
function File:read(...)
   check(self, "read")
   return read(self, "read", ...)
end

--- An iterator as file:lines of `io`; it raises errors.
---@param ... "l"|"L"|"a"|"n"|integer
---@return fun(): any ...
function File:lines(...)
   check(self, "lines")
   local formats = table.pack(...)
   return function()
      check(self, "lines")
      local results = table.pack(read(self, "lines", table.unpack(formats, 1, formats.n)))
      if results[1] == nil and errors.is(results[2]) then
         error(results[2], 0)
      end
      return table.unpack(results, 1, results.n)
   end
end

--- Moves as file:seek of `io`. → offset | nil, err
---@param whence? "set"|"cur"|"end"
---@param offset? integer
---@return integer|nil
---@return moonssh.error? err
function File:seek(whence, offset)
   check(self, "seek")
   args.optional("seek", 2, offset, "integer")
   local deadline = self._link._session:_deadline()
   local ok, err = self:_settle(0, deadline)
   if not ok then
      return nil, err
   end
   if self._append and not self._reads and self._at_end == nil then
      ok, err = self:_go_to_end(deadline)
      if not ok then
         return nil, err
      end
   end
   local base = 0
   if whence == nil or whence == "cur" then
      base = self._at
   elseif whence == "end" then
      local found
      found, err = self:_stat(deadline)
      if not found then
         return nil, err
      end
      base = found.size or 0
   elseif whence ~= "set" then
      args.bad("seek", 1, "invalid option '" .. tostring(whence) .. "'")
   end
   local target = base + (math.tointeger(offset) or 0)
   if target < 0 then
      return nil, Link.error("io", self.path, "Invalid argument")
   end
   if target ~= self._at then
      self._at, self._at_end = target, false
      self:_drop_ahead()
   end
   return target
end

-- The rest -----------------------------------------------------------------------------------------------------------

function File:_stat(deadline)
   local ok, err = self:_send_held()
   if not ok then
      return nil, err
   end
   return self._link:call(TYPE.FSTAT, string.pack(">s4", self._handle), self.path, deadline)
end

--- The attributes of the open file. → attributes | nil, err
---@param options? { timeout: number }
---@return moonssh.sftp.attributes|nil
---@return moonssh.error? err
function File:stat(options)
   check(self, "stat")
   return self:_stat(self._sftp:_deadline("stat", 1, options))
end

--- Sets attributes of the open file: see Sftp.setstat. → true | nil, err
---@param values moonssh.sftp.attributes
---@param options? { timeout: number }
---@return true|nil
---@return moonssh.error? err
function File:setstat(values, options)
   check(self, "setstat")
   local body = string.pack(">s4", self._handle) .. attributes.check("setstat", 1, values)
   local deadline = self._sftp:_deadline("setstat", 2, options)
   local ok, err = self:_settle(0, deadline)
   if not ok then
      return nil, err
   end
   return self._link:call(TYPE.FSETSTAT, body, self.path, deadline)
end

function File:_fsync(deadline)
   if not self._sftp.extensions["fsync@openssh.com"] then
      return nil, Link.unsupported("fsync@openssh.com", self.path)
   end
   local ok, err = self:_settle(0, deadline)
   if not ok then
      return nil, err
   end
   return self._sftp:_extended("fsync@openssh.com", string.pack(">s4", self._handle), self.path, deadline)
end

--- Has the server bring it to its disk (fsync@openssh.com). → true | nil, err
---@param options? { timeout: number }
---@return true|nil
---@return moonssh.error? err
function File:fsync(options)
   check(self, "fsync")
   return self:_fsync(self._sftp:_deadline("fsync", 1, options))
end

--- The file system that holds it (fstatvfs@openssh.com): see Sftp.statvfs. → table | nil, err
---@param options? { timeout: number }
---@return table<string, integer>|nil
---@return moonssh.error? err
function File:statvfs(options)
   check(self, "statvfs")
   local deadline = self._sftp:_deadline("statvfs", 1, options)
   if not self._sftp.extensions["fstatvfs@openssh.com"] then
      return nil, Link.unsupported("fstatvfs@openssh.com", self.path)
   end
   local body, err = self._sftp:_extended("fstatvfs@openssh.com", string.pack(">s4", self._handle), self.path, deadline,
      REPLY.EXTENDED)
   return self._sftp._parse_statvfs(body, err, self.path)
end

--- Closes it and waits for the answer. → true | nil, err
function File:_close(deadline)
   self.closed = true
   local ok, err = self:_settle(0, deadline)
   local handle = self._handle
   self._handle = nil
   local closed, close_err = self._link:call(TYPE.CLOSE, string.pack(">s4", handle), self.path, deadline)
   if ok and not closed then
      ok, err = nil, close_err
   end
   return ok and true or nil, err
end

--- Closes it. What was written and could not be is told here at the latest. → true | nil, err
---@return true|nil
---@return moonssh.error? err
function File:close()
   if self.closed then
      return true
   elseif self._sftp.closed or self._link._session.closed then
      self.closed = true
      return true
   end
   self:_drop_ahead()
   return self:_close(self._link._session:_deadline())
end

File.__close = File.close

-- A finaliser may run in the middle of anything: the handle is only noted.
function File:__gc()
   if not self.closed then
      table.insert(self._sftp._handles, self._handle)
   end
end

return File
