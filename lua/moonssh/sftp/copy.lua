-- One file from here to there: fibers of a batch. A file is written under another name and then renamed, unless its
-- folder does not let one do that.

local core = require "moonssh.core"
local attributes = require "moonssh.sftp.attributes"
local errors = require "moonssh.errors"
local fiber = require "moonssh.sftp.fiber"
local Link = require "moonssh.sftp.link"
local part = require "moonssh.part"
local stripes = require "moonssh.sftp.stripes"

local TYPE = Link.type

local copy = {}

local READ, WRITE, CREATE, TRUNCATE = 1, 2, 8, 16

-- Permission bits that are passed on: never setuid and its kin.
local BITS = 511 -- 0777

-- Bytes between what is done without a gap and what is under way. A file that was sent over several channels may
-- have gaps in so many of its last bytes when the connection is lost: resuming begins before them. One that was sent
-- over a single channel may have some where the server does several writes at a time.
local SPREAD_GET = 64 * 1024 * 1024
local SPREAD_PUT = 32 * 1024 * 1024
local SPREAD_SERVER = 2 * 1024 * 1024

--- The error of a local file.
function copy.local_error(path, message, errno, offset)
   return Link.error("io", path, message, { errno = errno, offset = offset })
end

local denied = { [core.file.EACCES] = true, [core.file.EPERM] = true, [core.file.EROFS] = true }

-- What stays what it is when it is written to.
local special = { character = true, block = true, fifo = true, socket = true }

-- Local files --------------------------------------------------------------------------------------------------------

-- What is written in the place of a local file: it is cut to what is complete, and closed, however the fiber ends.
local Output = {}
Output.__index = Output

function Output.__close(self)
   if self.transfer then
      self.transfer:close()
   end
   if self.file and self.type == "file" and not self.complete then
      self.file:truncate(self.transfer and self.transfer.low or self.offset)
   end
   if self.file then
      self.file:close()
   end
   if self.remove and not self.complete and (self.transfer and self.transfer.low or self.offset) == 0 then
      core.file.remove(self.path)
   end
end

-- What is in the place of a file, and whether it is to be found through a symbolic link: a device that the caller has
-- named, not the server.
local function in_place(target, follows)
   local found = core.file.lstat(target)
   local behind = found and found.type == "symlink" and follows and core.file.stat(target)
   if behind and special[behind.type] then
      return behind, true
   end
   return found, false
end

-- Opens what is to be written, under a name for the meantime. → output | nil, err
local function open_output(target, name, options, mode, size, follows)
   local atomic = options.atomic ~= false
   local found, is_behind = in_place(target, follows)
   if found and found.type == "directory" then
      return nil, copy.local_error(target, "Is a directory")
   elseif found and special[found.type] then
      atomic = false -- a device stays one
   end
   local how = (options.resume and "u" or "w") .. (is_behind and "" or "n")
   local path = atomic and name or target
   local fresh = atomic and not core.file.lstat(path)
   local file, _, message, errno = core.file.open(path, how, mode)
   if not file and atomic and denied[errno] then
      atomic, path = false, target
      file, _, message, errno = core.file.open(path, how, mode)
   end
   if not file then
      return nil, copy.local_error(target, message, errno)
   end
   local self = setmetatable({ file = file, path = path, atomic = atomic, remove = fresh, offset = 0 }, Output)
   local now = file:stat()
   self.type = now and now.type
   if atomic and self.type ~= "file" then
      file:close()
      return nil, copy.local_error(path, "Not a regular file")
   end
   -- Of a file whose size nobody tells, nothing says that it begins with what is there.
   if options.resume and now and size and now.size <= size then
      self.offset = now.size
   end
   return self
end

-- Does what is to be done with a complete file. → true | nil, err
local function finish_output(self, target, options, found)
   local file = self.file
   local ok, _, message, errno = true, nil, nil, nil
   local function try(method, ...)
      if ok then
         ok, _, message, errno = file[method](file, ...)
      end
   end
   if self.type == "file" then
      try("truncate", self.transfer.low)
   end
   if options.mode or options.preserve and found.permissions then
      try("chmod", options.mode or found.permissions & BITS)
   end
   if options.preserve and found.mtime then
      try("times", found.atime, found.mtime)
   end
   if options.fsync then
      try("sync")
   end
   if ok and self.atomic then
      ok, _, message, errno = core.file.rename(self.path, target)
   end
   if not ok then
      return nil, copy.local_error(target, message, errno)
   end
   self.complete = true
   return true
end

-- Why a transfer has lost a channel: the session, the channel of its own, or one of those that have helped, has ended.
local function loss(batch)
   local sftp = batch.sftp
   local failure = batch._session.failure or sftp._link.failure
   for _, link in pairs(sftp._stripes) do
      failure = failure or link.failure
   end
   return failure or errors.closed("the SFTP channel")
end

-- What a transfer came to. → true | nil, err
local function outcome(transfer, remote, path)
   if transfer.state == "done" then
      return true
   end
   local cause, number, offset, text = transfer.core:failure()
   if cause == "status" then
      return nil, Link.status_error(number, text, remote, { offset = offset })
   elseif cause == "io" then
      return nil, copy.local_error(path, text, number, offset)
   elseif cause == "change" then
      return nil, Link.error("sftp", remote, ("it changed at byte %d while it was read"):format(offset),
         { offset = offset, status = "failure" })
   end
   local failure = loss(transfer.batch)
   return nil, Link.error(failure.code, transfer.spec.path, ("%s (at byte %d)"):format(failure.message, transfer.low),
      { offset = transfer.low })
end

-- An error of the server that ends in the middle names the place, too.
local function with_offset(err)
   if err.offset and not err.message:find("at byte", 1, true) then
      return errors.with(err, { message = ("%s (at byte %d)"):format(err.message, err.offset) })
   end
   return err
end

-- Runs a transfer to its end. → transfer | nil, err
local function move(batch, output, file, handle, spec, remote, path)
   local transfer, err = batch:transfer(file, handle, spec)
   if not transfer then
      return nil, err
   end
   output.transfer = transfer
   fiber.await(transfer, batch._session)
   local ok
   ok, err = outcome(transfer, remote, path)
   if not ok then
      return nil, with_offset(err)
   end
   return transfer
end

local function count(batch, spec, transfer)
   local result = batch.result
   result.files = result.files + 1
   result.bytes = result.bytes + transfer.moved
   if batch.options.progress then
      batch:tell(spec.path, transfer.low, transfer.low)
   end
end

-- get ----------------------------------------------------------------------------------------------------------------

-- Whether what was read is all: the size that was told before may have been out of date.
local function check_size(link, handle, remote, low, size)
   if not size or low >= size then
      return true
   end
   local now = link:call(TYPE.FSTAT, string.pack(">s4", handle), remote)
   if now and now.size == low then
      return true
   end
   return nil, Link.error("sftp", remote, ("it ended at byte %d of %d"):format(low, size),
      { status = "eof", offset = low })
end

--- Receives a file. `found`: its attributes, if they are known; `is_taken`: see part.of. → true | nil, err
function copy.get(batch, remote, target, found, is_taken)
   local sftp, options = batch.sftp, batch.options
   local link = sftp._link
   local opening, err = link:send(TYPE.OPEN, string.pack(">s4I4", remote, READ) .. attributes.NONE, remote)
   local asking = not found and opening and link:send(TYPE.STAT, string.pack(">s4", remote), remote)
   if not opening then
      return nil, err
   end
   local handle
   handle, err = link:await(opening)
   local _ <close> = link:guard(handle)
   if asking then
      found = link:await(asking)
   end
   if not handle then
      return nil, err
   end
   found = found or {}
   if found.type == "directory" then
      return nil, Link.error("sftp", remote, "is a directory", { status = "failure" })
   end
   -- Sizes of what is no regular file say nothing.
   local size = (found.type == "file" or found.type == "unknown") and found.size or nil
   size = size ~= 0 and size or nil
   local mode = options.mode or found.permissions and found.permissions & BITS | 128
   local output <close>, open_err = open_output(target, part.of(target, is_taken), options, mode or 438, size,
      not is_taken)
   if not output then
      return nil, open_err
   end
   local spec = { sends = false, block = sftp._read_block, offset = output.offset, size = size, spread = SPREAD_GET,
      path = remote }
   local transfer
   transfer, err = move(batch, output, output.file, handle, spec, remote, output.path)
   local ok = transfer ~= nil
   if ok then
      ok, err = check_size(link, handle, remote, transfer.low, size)
   end
   if ok then
      ok, err = finish_output(output, target, options, found)
   end
   if not ok then
      return nil, err
   end
   count(batch, spec, transfer)
   return true
end

-- put ----------------------------------------------------------------------------------------------------------------

-- Opens what is to be written in the place of a remote file, unless that is a device, and no file of a tree.
-- → handle | nil, err: nil alone for a device
local function open_part(link, name, rest, remote, looks)
   local opening, err = link:send(TYPE.OPEN, string.pack(">s4", name) .. rest, remote)
   local looking = opening and looks and link:send(TYPE.STAT, string.pack(">s4", remote), remote)
   if not opening then
      return nil, err
   end
   local handle
   handle, err = link:await(opening)
   local guard <close> = link:guard(handle)
   local there = looking and link:await(looking)
   if there and special[there.type] then
      if handle then
         link:call(TYPE.REMOVE, string.pack(">s4", name), remote)
      end
      return nil
   end
   guard.handle = nil
   return handle, err
end

-- Opens what is to be written at the server: under another name first. → handle, name | nil, err
local function open_remote(batch, remote, mode, is_taken)
   local link, options = batch.sftp._link, batch.options
   local flags = WRITE | CREATE | (options.resume and 0 or TRUNCATE)
   local rest = string.pack(">I4", flags) .. attributes.permissions(mode)
   local handle, err, name
   if options.atomic ~= false then
      name = part.of(remote, is_taken)
      handle, err = open_part(link, name, rest, remote, not is_taken)
   end
   if not handle and (not err or err.status == "permission_denied") then
      name = remote
      handle, err = link:call(TYPE.OPEN, string.pack(">s4", name) .. rest, remote)
   end
   return handle, handle and name or err
end

-- Where to go on, and the permissions of what is there if it is marked as having gaps. → offset, permissions | nil, err
local function resume_at(link, handle, name, size)
   local now, err = link:call(TYPE.FSTAT, string.pack(">s4", handle), name)
   if not now then
      return nil, err
   end
   local there = now.size or 0
   if there <= size then
      local is_marked = now.permissions and now.permissions & stripes.MARK ~= 0
      return math.max(0, there - (is_marked and SPREAD_PUT or SPREAD_SERVER)),
         is_marked and now.permissions & ~stripes.MARK or nil
   end
   local ok
   ok, err = link:call(TYPE.FSETSTAT, string.pack(">s4", handle) .. attributes.pack{ size = 0 }, name)
   return ok and 0 or nil, err
end

-- Has a file that was sent take its name. → true | nil, err
local function rename(batch, name, remote)
   local sftp = batch.sftp
   local link = sftp._link
   local ok, err = sftp:_rename(name, remote, remote)
   if not ok and err.code == "sftp" and err.status ~= "no_such_file"
      and not sftp.extensions["posix-rename@openssh.com"] then
      -- Version 3 does not rename over a file. One that is not there to be renamed must not cost the other.
      link:call(TYPE.REMOVE, string.pack(">s4", remote), remote)
      ok, err = sftp:_rename(name, remote, remote)
   end
   local there = not ok and err.code == "sftp" and link:call(TYPE.STAT, string.pack(">s4", remote), remote)
   if there and there.type == "directory" then
      link:call(TYPE.REMOVE, string.pack(">s4", name), name)
      err = Link.error("sftp", remote, "is a directory", { status = "failure" })
   end
   return ok, err
end

-- The last words of a handle: attributes, to disk, closed; in one flight. → true | nil, err
local function finish_remote(batch, guard, spec, remote, now)
   local sftp, options = batch.sftp, batch.options
   local link = sftp._link
   local handle = string.pack(">s4", guard.handle)
   local records = {}
   local function send(type, body)
      local record = link:send(type, body, remote)
      if record then
         table.insert(records, record)
      end
   end
   if options.preserve then
      send(TYPE.FSETSTAT, handle .. attributes.pack{ permissions = options.mode or now.permissions & BITS,
         atime = now.atime, mtime = now.mtime })
   elseif options.mode or spec.permissions then
      send(TYPE.FSETSTAT, handle .. attributes.permissions(options.mode or spec.permissions))
   end
   if options.fsync then
      send(TYPE.EXTENDED, string.pack(">s4", "fsync@openssh.com") .. handle)
   end
   send(TYPE.CLOSE, handle)
   guard.handle = nil
   local ok, err = true, link.failure
   for _, record in ipairs(records) do
      local this, this_err = link:await(record)
      if ok and not this then
         ok, err = nil, this_err
      end
   end
   if ok and not link.failure and spec.name ~= remote then
      ok, err = rename(batch, spec.name, remote)
   elseif ok and err then
      ok = nil
   end
   return ok, err
end

-- Opens the local file. → file, its attributes | nil, err
local function open_input(path)
   local file, _, message, errno = core.file.open(path, "r")
   if not file then
      return nil, copy.local_error(path, message, errno)
   end
   local now = file:stat()
   if not now or now.type == "directory" then
      file:close()
      return nil, copy.local_error(path, "Is a directory")
   end
   return file, now
end

local Input = {
   __close = function(self)
      if self.transfer then
         self.transfer:close()
      end
      self.file:close()
   end,
}

--- Sends a file; `is_taken`: see part.of. → true | nil, err
function copy.put(batch, path, remote, is_taken)
   local sftp, options = batch.sftp, batch.options
   local link = sftp._link
   local file, now = open_input(path)
   if not file then
      return nil, now
   end
   local input <close> = setmetatable({ file = file }, Input)
   local mode = options.mode or now.permissions & BITS
   local handle, name = open_remote(batch, remote, mode, is_taken)
   if not handle then
      return nil, name
   end
   local guard <close> = link:guard(handle)
   local offset, permissions = 0, nil
   if options.resume then
      offset, permissions = resume_at(link, handle, name, now.size)
      if not offset then
         return nil, permissions
      end
   end
   local spec = { sends = true, block = sftp._write_block, offset = offset, size = now.size, spread = SPREAD_PUT,
      path = path, name = name, handle = handle, permissions = permissions,
      watch = stripes.watch(batch, now.size - offset) }
   local transfer, err = move(batch, input, file, handle, spec, remote, path)
   local ok = transfer ~= nil
   if ok then
      ok, err = finish_remote(batch, guard, spec, remote, now)
   end
   if not ok then
      return nil, err
   end
   count(batch, spec, transfer)
   return true
end

return copy
