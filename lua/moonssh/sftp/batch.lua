-- One call of get or put: the fibers that do its work, at most so many at a time, and the task that waits for them,
-- in which the progress function runs.

local core = require "moonssh.core"
local errors = require "moonssh.errors"
local fiber = require "moonssh.sftp.fiber"
local pump = require "moonssh.pump"

local Batch = {}
Batch.__index = Batch

-- Files that are under way at once. Each has a handle at the server, and a descriptor here.
local CONCURRENT = 128

-- A descriptor of ours and the server's limit leave so many free for others.
local SPARE_HANDLES = 16

-- Bytes between two steps of progress.
local STEP = 1024 * 1024

-- An error after which nothing else can work.
local fatal = { closed = true, eof = true, disconnected = true, protocol = true, timeout = true, mac = true,
   memory = true, cancelled = true }

function Batch.new(sftp, options, about)
   local handles = sftp._limits.handles
   return setmetatable({
      sftp = sftp,
      options = options,
      about = about,
      result = { files = 0, folders = 0, links = 0, bytes = 0, skipped = 0 },
      failures = {},
      _session = sftp._session,
      _limit = handles > 2 * SPARE_HANDLES and math.min(CONCURRENT, handles - SPARE_HANDLES)
         or handles > 0 and math.max(1, handles // 2) or CONCURRENT,
      _active = {}, -- jobs
      _n_active = 0,
      _files = { first = 1, last = 0 }, -- to be done, first in, first out
      _folders = {}, -- to be done when there is nothing else, last in, first out
      _moved = {}, -- what progress has not been told yet
      _transfers = {},
   }, Batch)
end

-- Work ---------------------------------------------------------------------------------------------------------------

function Batch:_is_over()
   return self._n_active == 0 and self._files.first > self._files.last and not self._folders[1]
end

local function next_work(self)
   local files = self._files
   if files.first <= files.last then
      local work = files[files.first]
      files[files.first] = nil
      files.first = files.first + 1
      return work
   end
   return table.remove(self._folders)
end

-- Starts what there is room for. A fiber may end at once, and have more work done: that is for the outermost call.
local function go_on(self)
   if self._going then
      return
   end
   self._going = true
   while self._n_active < self._limit and not self._stopped do
      local work = next_work(self)
      if not work then
         break
      end
      self._n_active = self._n_active + 1
      local job
      job = fiber.start(function(ended)
         self._active[ended] = nil
         self._n_active = self._n_active - 1
         if ended.thrown then
            self._thrown = self._thrown or ended.thrown
            self:stop()
         end
         self._stamp = self._session._batch
         go_on(self)
      end, table.unpack(work, 1, work.n))
      if not job.done then
         self._active[job] = true
      end
   end
   self._going = false
end

--- Has f(...) run in a fiber when there is room: a folder after all files. Once the batch has stopped, never.
function Batch:add(f, ...)
   if not self._stopped then
      local files = self._files
      files.last = files.last + 1
      files[files.last] = table.pack(f, ...)
      go_on(self)
   end
end

function Batch:add_folder(f, ...)
   if not self._stopped then
      table.insert(self._folders, table.pack(f, ...))
      go_on(self)
   end
end

--- Starts nothing more.
function Batch:stop()
   self._stopped = true
   self._files, self._folders = { first = 1, last = 0 }, {}
end

--- Notes what could not be done; other files may.
function Batch:fail(err)
   table.insert(self.failures, err)
   if fatal[err.code] or self._session.failure or self.sftp._link.failure then
      self:stop()
   end
end

-- Transfers ----------------------------------------------------------------------------------------------------------

local Transfer = {}
Transfer.__index = Transfer

--- Moves a file between a local one and a handle. `spec`: sends, block, offset, size, spread, path. It is a record
--- that can be awaited; then it has state, low and core. → transfer | nil, err
function Batch:transfer(file, handle, spec)
   local session = self._session
   local transfers = session._transfers
   if not transfers then
      transfers = {}
      session._transfers, session._n_transfers = transfers, 0
   end
   local key = session._n_transfers + 1
   session._n_transfers = key
   local step = (self.options.progress or spec.watch) and STEP or 0
   local moving, code, message = core.transfer(file, spec.sends, key, spec.block, spec.offset, spec.size, spec.spread,
      step)
   if not moving then
      return nil, errors.from_core(code, message)
   end
   local transfer = setmetatable({
      done = false, core = moving, key = key, batch = self, spec = spec, low = spec.offset, moved = 0,
   }, Transfer)
   transfers[key] = transfer
   self._transfers[transfer] = true
   local ok
   ok, code, message = session._core:sftp_attach(self.sftp._link.ch, moving, handle)
   if not ok then
      transfer:close()
      return nil, session.failure or errors.from_core(code, message)
   end
   return transfer
end

--- The core says that it got on, or has ended.
function Transfer:_event()
   local state, low, moved = self.core:state()
   self.state, self.low, self.moved = state, low, moved
   local batch = self.batch
   if batch.options.progress then
      batch:tell(self.spec.path, self.spec.offset + moved, self.spec.size)
   end
   if state ~= "moving" then
      if not self.done then
         fiber.finish(self, batch._session)
      end
   elseif self.spec.watch then
      self.spec.watch(self)
   end
end

--- Frees it; what is still on the way is dropped. Its low mark stays.
function Transfer:close()
   if not self.core_closed then
      self.core_closed = true
      local _, low = self.core:state()
      self.low = low
      self.core:close()
      self.batch._session._transfers[self.key] = nil
      self.batch._transfers[self] = nil
   end
end

Transfer.__close = Transfer.close

-- Waiting ------------------------------------------------------------------------------------------------------------

--- Has progress be called with this, by the task that waits.
function Batch:tell(path, done, total)
   local moved = self._moved
   local last = moved[#moved]
   if last and last.path == path then
      last.done, last.total = done, total
   else
      table.insert(moved, { path = path, done = done, total = total })
   end
   self._stamp = self._session._batch
end

local function has_news(self)
   return self._moved[1] ~= nil or self._thrown ~= nil or self:_is_over()
end

local function call_progress(self)
   local moved = self._moved
   self._moved = {}
   for _, step in ipairs(moved) do
      self.options.progress(step.done, step.total or step.done, step.path)
   end
end

--- Ends every fiber; what they hold is given back.
function Batch:__close()
   self:stop()
   for job in pairs(self._active) do
      fiber.cancel(job)
   end
   self._active = {}
   for transfer in pairs(self._transfers) do
      transfer:close()
   end
end

--- Waits until all is done. → the result | nil, err with `result` and `failures`
function Batch:wait(deadline)
   local session = self._session
   repeat
      local ok, err = pump.run_until(session, has_news, deadline, self.about.stage, self, self)
      if not ok then
         self:stop()
         self:fail(err)
         break
      end
      if self._moved[1] then
         call_progress(self)
      end
   until self._thrown or self:_is_over()
   if self._thrown then
      error(errors.thrown(self._thrown.cause, self._thrown.traceback), 0)
   end
   local err = self.failures[1]
   if not err then
      return self.result
   end
   local fields = { result = self.result, failures = self.failures }
   local transfer = not err.path and next(self._transfers)
   if transfer then
      -- The session's failure, or a timeout: the file that was under way is what it is about.
      local _, low = transfer.core:state()
      fields.path, fields.offset = transfer.spec.path, low
      fields.message = ("%s: %s (at byte %d)"):format(errors.escape(transfer.spec.path, 400), err.message, low)
   elseif not err.path then
      fields.path = self.about.path
      fields.message = ("%s: %s"):format(errors.escape(fields.path, 400), err.message)
   end
   return nil, errors.with(err, fields)
end

return Batch
