-- One SFTP channel: its requests and their replies. An Sftp has one, and further ones to send a large file faster.

local errors = require "moonssh.errors"
local fiber = require "moonssh.sftp.fiber"
local pump = require "moonssh.pump"

---@class moonssh.sftp.link
---@field n_open integer requests that are not answered, those of transfers aside
local Link = {}
Link.__index = Link

-- Packet types (draft-ietf-secsh-filexfer-02, section 3).
Link.type = {
   OPEN = 3, CLOSE = 4, READ = 5, WRITE = 6, LSTAT = 7, FSTAT = 8, SETSTAT = 9, FSETSTAT = 10, OPENDIR = 11,
   READDIR = 12, REMOVE = 13, MKDIR = 14, RMDIR = 15, REALPATH = 16, STAT = 17, RENAME = 18, READLINK = 19,
   SYMLINK = 20, EXTENDED = 200,
}

local TYPE = Link.type
local HANDLE, DATA, NAME, ATTRS, EXTENDED_REPLY = 102, 103, 104, 105, 201

-- The replies that are no STATUS.
local replies = {
   [TYPE.OPEN] = HANDLE, [TYPE.OPENDIR] = HANDLE, [TYPE.READ] = DATA, [TYPE.READDIR] = NAME, [TYPE.REALPATH] = NAME,
   [TYPE.READLINK] = NAME, [TYPE.STAT] = ATTRS, [TYPE.LSTAT] = ATTRS, [TYPE.FSTAT] = ATTRS,
}
Link.reply = { NAME = NAME, EXTENDED = EXTENDED_REPLY, NONE = 0 }

local statuses = {
   [0] = "ok", "eof", "no_such_file", "permission_denied", "failure", "bad_message", "no_connection",
   "connection_lost", "op_unsupported",
}

local texts = {
   eof = "end of file", no_such_file = "no such file", permission_denied = "permission denied", failure = "failure",
   bad_message = "bad message", no_connection = "no connection", connection_lost = "connection lost",
   op_unsupported = "operation unsupported",
}

-- The SFTP version that is spoken.
local VERSION = 3

-- Bytes of requests that may wait for the channel's window before a writer waits.
local QUEUE = 1024 * 1024

-- What stands for a path in messages.
local function shown(path)
   return errors.escape(path, 400)
end

--- The error of a status.
---@param code integer
---@param text string the server's message
---@param path? string
---@param fields? table
function Link.status_error(code, text, path, fields)
   local status = statuses[code] or "unknown"
   local message = text ~= "" and errors.escape(text) or texts[status] or "status " .. tostring(code)
   if path then
      message = shown(path) .. ": " .. message
   end
   local err = errors.new("sftp", message, fields)
   err.status, err.number, err.text, err.path = status, code, text, path
   return err
end

--- An error of ours about a path.
function Link.error(code, path, message, fields)
   local err = errors.new(code, shown(path) .. ": " .. message, fields)
   err.path = path
   return err
end

--- The error of something that needs an extension that the server lacks.
function Link.unsupported(name, path)
   return Link.error("unsupported", path or name, "the server has no " .. name)
end

--- An error with the place in the file, if it has none yet.
function Link.at(err, offset)
   if err.offset then
      return err
   end
   return errors.with(err, { offset = offset, message = ("%s (at byte %d)"):format(err.message, offset) })
end

--- The one name that a reply holds. → name | nil, err
function Link.one_name(names, err, path)
   if not names then
      return nil, err
   elseif #names ~= 2 then
      return nil, Link.error("protocol", path, ("the server gave %d names instead of one"):format(#names // 2))
   end
   return names[1]
end

--- Opens a channel for SFTP; it is ready, or has failed, when the link is `done`. → link | nil, err
function Link.open(session)
   local self = setmetatable({ done = false, n_open = 0, _session = session, _pending = {} }, Link)
   local plan = { { "subsystem", true, string.pack(">s4", "sftp") } }
   local channel, err = session:_open("session", "", plan, function(channel)
      local ok, code, message = session._core:sftp_start(channel._ch)
      if not ok then
         self:_fail(errors.from_core(code, message))
      end
   end)
   if not channel then
      return nil, err
   end
   self.channel, self.ch = channel, channel._ch
   channel._link = self
   channel:_set_stderr("discard")
   return self
end

-- Events -------------------------------------------------------------------------------------------------------------

--- The end of the link: everything that waits for it gets the error.
function Link:_fail(err)
   if self.failure then
      return
   end
   self.failure = err
   local session = self._session
   if not session.closed and self.ch and not self.channel._released then
      session._core:sftp_stop(self.ch)
   end
   local pending = self._pending
   self._pending = {}
   for _, record in pairs(pending) do
      record.err = err
      fiber.finish(record, session)
   end
   for _, transfer in pairs(session._transfers or {}) do
      transfer:_event()
   end
   if not self.done then
      fiber.finish(self, session)
   end
end

--- Looks whether the channel's state means the end.
function Link:_look()
   local channel = self.channel
   local subsystem = channel._plan and channel._plan[1]
   if channel._refusal then
      self:_fail(channel._refusal)
   elseif subsystem and subsystem.done and not subsystem.success then
      self:_fail(errors.new("channel_request", "the server has no SFTP: it refused the subsystem",
         { request = "subsystem" }))
   elseif channel._ended then
      self:_fail(errors.new("eof", "the server has ended the SFTP channel"))
   end
end

--- An event of the machine: a reply (id, then a status and its text, or a kind and its value), or its own.
function Link:_event(id, what, value)
   if id == "ready" then
      self.version, self.extensions = VERSION, value
      fiber.finish(self, self._session)
      return
   elseif id == "failed" then
      self:_fail(errors.new(what, "SFTP: " .. value))
      return
   end
   self.n_open = self.n_open - 1
   local record = self._pending[id]
   self._pending[id] = nil
   if not record then
      -- Nobody waits any more; a handle must not stay open at the server.
      if what == "handle" then
         self:close_handle(value)
      end
      return
   end
   if math.type(what) then
      record.status, record.text = what, value
   else
      record.value = value
   end
   fiber.finish(record, self._session)
   if record.answered then
      record:answered()
   end
end

-- Requests -----------------------------------------------------------------------------------------------------------

--- Queues a request. The record gets `status` and `text`, or `value`, or `err`. `path` is for messages.
---@return table|nil record
---@return moonssh.error? err
function Link:send(type, body, path, reply)
   if self.failure then
      return nil, self.failure
   end
   local session = self._session
   local id, code, message = session._core:sftp_request(self.ch, type, reply or replies[type] or 0, body)
   if not id then
      return nil, session.failure or self.failure or path and Link.error(code, path, message)
         or errors.from_core(code, message)
   end
   self.n_open = self.n_open + 1
   local record = { id = id, path = path, done = false }
   self._pending[id] = record
   return record
end

--- Has nobody wait for a reply any more.
function Link:forget(record)
   if not record.done and self._pending[record.id] == record then
      self._pending[record.id] = nil
   end
end

local Forgetting = {
   __close = function(guard)
      guard.link:forget(guard.record)
   end,
}

-- An error that is not about a file alone, as of a file.
local function about(err, path)
   if not path or err.path then
      return err
   end
   return errors.with(err, { path = path, message = shown(path) .. ": " .. err.message })
end

--- What a reply says: its value, or true for OK. → value | nil, err
function Link.result(record)
   if record.err then
      return nil, about(record.err, record.path)
   elseif record.value ~= nil then
      return record.value
   elseif record.status == 0 then
      return true
   end
   return nil, Link.status_error(record.status, record.text, record.path)
end

--- Waits for the reply to a request. → value | nil, err
function Link:await(record, deadline)
   if not record.done then
      local _ <close> = setmetatable({ link = self, record = record }, Forgetting)
      local ok, err = fiber.await(record, self._session, deadline, "request")
      if not ok then
         return nil, err.code == "timeout" and about(err, record.path) or err
      end
   end
   return Link.result(record)
end

--- Sends a request and waits for its reply. → value | nil, err
function Link:call(type, body, path, deadline, reply)
   local record, err = self:send(type, body, path, reply)
   if not record then
      return nil, err
   end
   return self:await(record, deadline)
end

--- Gives a handle back to the server; nobody waits for the answer.
function Link:close_handle(handle)
   if not self.failure and not self._session.closed and not self._session.failure then
      local record = self:send(TYPE.CLOSE, string.pack(">s4", handle))
      if record then
         self._pending[record.id] = nil
         if not fiber.running() then
            pump.flush(self._session)
         end
      end
   end
end

local Handle = {
   __close = function(guard)
      if guard.handle then
         guard.link:close_handle(guard.handle)
      end
   end,
}

--- A value that closes the handle at the end of its block, unless `handle` was set to nil in it.
function Link:guard(handle)
   return setmetatable({ link = self, handle = handle }, Handle)
end

local function has_room(self)
   return self.failure or self._session._core:sftp_queue(self.ch) <= QUEUE
end

--- Waits until what is queued has gone out but for a little. → true | nil, err
function Link:await_room(deadline)
   local core = self._session._core
   if self.failure or core:sftp_queue(self.ch) <= QUEUE then
      return true
   end
   return pump.run_until(self._session, has_room, deadline, "write", self, self, nil, true)
end

--- Closes the channel.
function Link:close()
   self:_fail(errors.closed("the SFTP channel"))
   pump.wake_all(self._session)
   self.channel:close()
end

return Link
