-- SFTP: files at the server.

local args = require "moonssh.args"
local attributes = require "moonssh.sftp.attributes"
local errors = require "moonssh.errors"
local File = require "moonssh.sftp.file"
local Link = require "moonssh.sftp.link"
local pump = require "moonssh.pump"

local TYPE, REPLY = Link.type, Link.reply

---@class moonssh.sftp
---@field closed boolean
---@field version integer of the protocol: 3
---@field extensions table<string, string> that the server has announced, with their versions
local Sftp = { __name = "moonssh.sftp" }
Sftp.__index = Sftp

for _, part in ipairs{ "moonssh.sftp.about", "moonssh.sftp.names", "moonssh.sftp.transfers" } do
   for name, method in pairs(require(part)) do
      Sftp[name] = method
   end
end

-- Without limits@openssh.com: what every server takes (draft, section 3), and OpenSSH's sftp asks for.
local STANDARD = { packet = 34000, read = 32768, write = 32768, handles = 0 }

-- Blocks begin at pages, here and there.
local PAGE = 4096

-- The core takes and sends packets of at most 256 KiB.
local MOST = 255 * 1024

local open_options = { timeout = "number", channels = "integer" }
local call_options = { timeout = "number" }

local function is_done(record)
   return record.done
end

-- What the server allows, from limits@openssh.com: four uint64, 0 for no limit.
local function parse_limits(body)
   if #body < 32 then
      return nil
   end
   local packet, read, write, handles = string.unpack(">I8I8I8I8", body)
   local function within(value, standard)
      return value > 0 and math.ult(value, 1 << 31) and value or standard
   end
   return {
      packet = within(packet, MOST), read = within(read, MOST), write = within(write, MOST),
      handles = within(handles, 0),
   }
end

local function ask_limits(self, deadline)
   local limits
   if self.extensions["limits@openssh.com"] then
      local body, err = self:_extended("limits@openssh.com", "", nil, deadline, REPLY.EXTENDED)
      if not body and (err.code ~= "sftp" or self._link.failure) then
         return nil, err
      end
      limits = body and parse_limits(body)
   end
   self._limits = limits or STANDARD
   -- A block and the head of its packet fit in what the server takes at once.
   local function block(most)
      local size = math.min(most, MOST, self._limits.packet - 1024)
      return size > PAGE and size // PAGE * PAGE or math.max(size, 1)
   end
   self._read_block, self._write_block = block(self._limits.read), block(self._limits.write)
   return true
end

--- Starts SFTP on a new channel of a session. → sftp | nil, err
---@param session moonssh.session
---@param options? { timeout: number, channels: integer }
---@return moonssh.sftp|nil
---@return moonssh.error? err
function Sftp.start(session, options)
   options = args.options("sftp", 1, options, open_options)
   local channels = options.channels or 8
   if channels < 1 or channels > 64 then
      args.bad("sftp", 1, "option 'channels': a number from 1 to 64 expected")
   end
   local deadline = session:_deadline(options)
   local link, err = Link.open(session)
   if not link then
      return nil, err
   end
   local self = setmetatable({ closed = false, _session = session, _link = link, _stripes = {}, _handles = {} }, Sftp)
   self._most_channels = channels
   local guard <close> = link.channel:_closer()
   local ok
   ok, err = pump.run_until(session, is_done, deadline, "open", link, link)
   err = link.failure or err
   if not ok or err then
      return nil, err
   end
   self.version, self.extensions = link.version, link.extensions
   ok, err = ask_limits(self, deadline)
   if not ok then
      return nil, err
   end
   guard.done = true
   return self
end

local function check(self, fname)
   args.handle(self, "sftp", fname)
   args.handle(self._session, "session", fname)
   self._session:_check(fname)
   local dropped = self._handles
   while dropped[1] do
      self._link:close_handle(table.remove(dropped))
   end
end

Sftp._check = check

--- The deadline of a call's last argument.
function Sftp:_deadline(fname, index, options)
   return self._session:_deadline(args.options(fname, index, options, call_options))
end

local function s4(...)
   return string.pack((">" .. ("s4"):rep(select("#", ...))), ...)
end

--- A request of an extension. → value | nil, err
function Sftp:_extended(name, body, path, deadline, reply)
   return self._link:call(TYPE.EXTENDED, s4(name) .. body, path, deadline, reply)
end

local function stat(self, fname, type, path, options)
   check(self, fname)
   args.path(fname, 1, path)
   return self._link:call(type, s4(path), path, self:_deadline(fname, 2, options))
end

-- Attributes ---------------------------------------------------------------------------------------------------------

--- The attributes of a file; a symbolic link is followed. → attributes | nil, err
---@param path string
---@param options? { timeout: number }
---@return moonssh.sftp.attributes|nil
---@return moonssh.error? err
function Sftp:stat(path, options)
   return stat(self, "stat", TYPE.STAT, path, options)
end

--- The attributes of a file, or of the symbolic link itself. → attributes | nil, err
---@param path string
---@param options? { timeout: number }
---@return moonssh.sftp.attributes|nil
---@return moonssh.error? err
function Sftp:lstat(path, options)
   return stat(self, "lstat", TYPE.LSTAT, path, options)
end

--- Whether there is a file of this name; a symbolic link counts by itself. → boolean | nil, err
---@param path string
---@param options? { timeout: number }
---@return boolean|nil
---@return moonssh.error? err
function Sftp:exists(path, options)
   local found, err = stat(self, "exists", TYPE.LSTAT, path, options)
   if found then
      return true
   elseif err.status == "no_such_file" then
      return false
   end
   return nil, err
end

--- Sets attributes: any of size, permissions, uid and gid, mtime (and atime). → true | nil, err
---@param path string
---@param values moonssh.sftp.attributes
---@param options? { timeout: number }
---@return true|nil
---@return moonssh.error? err
function Sftp:setstat(path, values, options)
   check(self, "setstat")
   args.path("setstat", 1, path)
   local body = s4(path) .. attributes.check("setstat", 2, values)
   return self._link:call(TYPE.SETSTAT, body, path, self:_deadline("setstat", 3, options))
end

--- As setstat, but of a symbolic link itself; needs lsetstat@openssh.com where the path is one. → true | nil, err
---@param path string
---@param values moonssh.sftp.attributes
---@param options? { timeout: number }
---@return true|nil
---@return moonssh.error? err
function Sftp:lsetstat(path, values, options)
   check(self, "lsetstat")
   args.path("lsetstat", 1, path)
   local body = s4(path) .. attributes.check("lsetstat", 2, values)
   local deadline = self:_deadline("lsetstat", 3, options)
   if self.extensions["lsetstat@openssh.com"] then
      return self:_extended("lsetstat@openssh.com", body, path, deadline)
   end
   local found, err = self._link:call(TYPE.LSTAT, s4(path), path, deadline)
   if not found then
      return nil, err
   elseif found.type == "symlink" then
      return nil, Link.unsupported("lsetstat@openssh.com", path)
   end
   return self._link:call(TYPE.SETSTAT, body, path, deadline)
end

-- Names --------------------------------------------------------------------------------------------------------------

local function make_folder(self, path, mode, deadline)
   local made, err = self._link:call(TYPE.MKDIR, s4(path) .. attributes.permissions(mode), path, deadline)
   if made then
      return true
   end
   return nil, err
end

-- Makes a folder that may be there already, and those above it that are missing.
local function make_folders(self, path, mode, deadline)
   local made, err = make_folder(self, path, mode, deadline)
   if made or err.code ~= "sftp" then
      return made, err
   end
   local found = self._link:call(TYPE.STAT, s4(path), path, deadline)
   if found then
      if found.type == "directory" then
         return true
      end
      return nil, err
   end
   local parent = path:match("^(.*[^/])/+[^/]+/*$")
   if not parent or err.status ~= "no_such_file" and err.status ~= "failure" then
      return nil, err
   end
   local ok
   ok, err = make_folders(self, parent, nil, deadline)
   if not ok then
      return nil, err
   end
   return make_folder(self, path, mode, deadline)
end

--- Makes a folder; with `parents`, those above it as well, and one that is there is fine. → true | nil, err
---@param path string
---@param options? { parents: boolean, mode: integer, timeout: number }
---@return true|nil
---@return moonssh.error? err
function Sftp:mkdir(path, options)
   check(self, "mkdir")
   args.path("mkdir", 1, path)
   options = args.options("mkdir", 2, options, { parents = "boolean", mode = "integer", timeout = "number" })
   local deadline = self._session:_deadline(options)
   return (options.parents and make_folders or make_folder)(self, path, options.mode, deadline)
end

local function on_path(fname, type)
   return function(self, path, options)
      check(self, fname)
      args.path(fname, 1, path)
      return self._link:call(type, s4(path), path, self:_deadline(fname, 2, options))
   end
end

local remove_folder, remove_file = on_path("rmdir", TYPE.RMDIR), on_path("remove", TYPE.REMOVE)

--- Removes an empty folder. → true | nil, err
---@param path string
---@param options? { timeout: number }
---@return true|nil
---@return moonssh.error? err
function Sftp:rmdir(path, options)
   return remove_folder(self, path, options)
end

--- Removes a file or symbolic link. → true | nil, err
---@param path string
---@param options? { timeout: number }
---@return true|nil
---@return moonssh.error? err
function Sftp:remove(path, options)
   return remove_file(self, path, options)
end

--- Renames, over what has the new name where the server can; `path` is for messages. → value | nil, err
function Sftp:_rename(from, to, path, deadline)
   if self.extensions["posix-rename@openssh.com"] then
      return self:_extended("posix-rename@openssh.com", s4(from, to), path, deadline)
   end
   return self._link:call(TYPE.RENAME, s4(from, to), path, deadline)
end

-- What a call with two paths gives: the server does not say which of them an error is about.
local function of_both(ok, err, to)
   if err and err.code == "sftp" then
      err = errors.with(err, { to = to, message = ("%s (to %s)"):format(err.message, errors.escape(to, 400)) })
   end
   return ok, err
end

--- Renames a file, over one that has the new name if the server has posix-rename@openssh.com. → true | nil, err
---@param from string
---@param to string
---@param options? { timeout: number }
---@return true|nil
---@return moonssh.error? err
function Sftp:rename(from, to, options)
   check(self, "rename")
   args.path("rename", 1, from)
   args.path("rename", 2, to)
   local ok, err = self:_rename(from, to, from, self:_deadline("rename", 3, options))
   return of_both(ok, err, to)
end

-- The draft has the link first. OpenSSH took the target first, and nearly all followed; asyncssh decides by the
-- client's name, and ours gets the draft's order.
function Sftp:_symlink(target, link)
   local server = self._session.info.server or ""
   return server:find("AsyncSSH", 1, true) and s4(link, target) or s4(target, link)
end

--- Makes a symbolic link at `path` that says `target`. → true | nil, err
---@param target string
---@param path string
---@param options? { timeout: number }
---@return true|nil
---@return moonssh.error? err
function Sftp:symlink(target, path, options)
   check(self, "symlink")
   args.path("symlink", 1, target)
   args.path("symlink", 2, path)
   return self._link:call(TYPE.SYMLINK, self:_symlink(target, path), path, self:_deadline("symlink", 3, options))
end

--- What a symbolic link says. → string | nil, err
---@param path string
---@param options? { timeout: number }
---@return string|nil
---@return moonssh.error? err
function Sftp:readlink(path, options)
   local names, err = on_path("readlink", TYPE.READLINK)(self, path, options)
   return Link.one_name(names, err, path)
end

--- The absolute path of a name. → string | nil, err
---@param path string
---@param options? { timeout: number }
---@return string|nil
---@return moonssh.error? err
function Sftp:realpath(path, options)
   local names, err = on_path("realpath", TYPE.REALPATH)(self, path, options)
   return Link.one_name(names, err, path)
end

--- Makes a second name for a file (hardlink@openssh.com). → true | nil, err
---@param from string
---@param to string
---@param options? { timeout: number }
---@return true|nil
---@return moonssh.error? err
function Sftp:hardlink(from, to, options)
   check(self, "hardlink")
   args.path("hardlink", 1, from)
   args.path("hardlink", 2, to)
   local deadline = self:_deadline("hardlink", 3, options)
   if not self.extensions["hardlink@openssh.com"] then
      return nil, Link.unsupported("hardlink@openssh.com", from)
   end
   local ok, err = self:_extended("hardlink@openssh.com", s4(from, to), from, deadline)
   return of_both(ok, err, to)
end

--- What the server allows: bytes of a packet, of a read, of a write; files that may be open (0: not told).
---@return { packet: integer, read: integer, write: integer, handles: integer }
function Sftp:limits()
   check(self, "limits")
   local copy = {}
   for name, value in pairs(self._limits) do
      copy[name] = value
   end
   return copy
end

-- Files --------------------------------------------------------------------------------------------------------------

--- Opens a file as io.open does. → file | nil, err
---@param path string
---@param mode? "r"|"w"|"a"|"r+"|"w+"|"a+" and with "b"
---@param permissions? integer of a file that is made
---@param options? { timeout: number }
---@return moonssh.sftp.file|nil
---@return moonssh.error? err
function Sftp:open(path, mode, permissions, options)
   check(self, "open")
   args.path("open", 1, path)
   args.optional("open", 2, mode, "string")
   args.optional("open", 3, permissions, "integer")
   return File.open(self, path, mode or "r", permissions, self:_deadline("open", 4, options))
end

--- All of a file. → string | nil, err
---@param path string
---@param options? { timeout: number }
---@return string|nil
---@return moonssh.error? err
function Sftp:read_file(path, options)
   check(self, "read_file")
   args.path("read_file", 1, path)
   local deadline = self:_deadline("read_file", 2, options)
   local file <close>, err = File.open(self, path, "r", nil, deadline)
   if not file then
      return nil, err
   end
   return file:_read_all(deadline)
end

--- Writes a file anew. → true | nil, err
---@param path string
---@param data string
---@param options? { timeout: number, mode: integer }
---@return true|nil
---@return moonssh.error? err
function Sftp:write_file(path, data, options)
   check(self, "write_file")
   args.path("write_file", 1, path)
   args.check("write_file", 2, data, { "string", "number" })
   options = args.options("write_file", 3, options, { timeout = "number", mode = "integer" })
   local deadline = self._session:_deadline(options)
   local file <close>, err = File.open(self, path, "w", options.mode, deadline)
   if not file then
      return nil, err
   end
   local ok
   ok, err = file:_write(tostring(data), deadline)
   if ok then
      ok, err = file:_close(deadline)
   end
   return ok and true or nil, err
end

--- Has the server bring a file to its disk (fsync@openssh.com). → true | nil, err
---@param path string
---@param options? { timeout: number }
---@return true|nil
---@return moonssh.error? err
function Sftp:fsync(path, options)
   check(self, "fsync")
   args.path("fsync", 1, path)
   local deadline = self:_deadline("fsync", 2, options)
   local file <close>, err = File.open(self, path, "r", nil, deadline)
   if not file then
      return nil, err
   end
   return file:_fsync(deadline)
end

-- Reads from one file, writes to another.
local function copy_through(from, to, deadline)
   while true do
      local piece, err = from:_read_some(from._sftp._read_block, deadline)
      if not piece then
         return err == nil, err
      end
      local ok
      ok, err = to:_write(piece, deadline)
      if not ok then
         return nil, err
      end
   end
end

--- Copies a file at the server, by copy-data where the server has it. → true | nil, err
---@param from string
---@param to string
---@param options? { timeout: number }
---@return true|nil
---@return moonssh.error? err
function Sftp:copy(from, to, options)
   check(self, "copy")
   args.path("copy", 1, from)
   args.path("copy", 2, to)
   local deadline = self:_deadline("copy", 3, options)
   local source <close>, err = File.open(self, from, "r", nil, deadline)
   if not source then
      return nil, err
   end
   local found
   found, err = source:_stat(deadline)
   if not found then
      return nil, err
   end
   local mode = found.permissions and found.permissions & 511
   -- What is longer, and so not the same file, is emptied. Some servers cannot cut a file but to nothing.
   local there = self._link:call(TYPE.STAT, s4(to), to, deadline)
   local is_longer = there and (there.size or 0) > (found.size or 0)
   local target <close>, open_err = File.open(self, to, is_longer and "w" or File.OVER, mode, deadline)
   if not target then
      return nil, open_err
   end
   local ok
   if self.extensions["copy-data"] then
      local body = string.pack(">s4I8I8s4I8", source._handle, 0, 0, target._handle, 0)
      ok, err = self:_extended("copy-data", body, to, deadline)
   else
      ok, err = copy_through(source, target, deadline)
   end
   if ok then
      ok, err = target:_close(deadline)
   end
   return ok and true or nil, err
end

-- The end ------------------------------------------------------------------------------------------------------------

--- Closes it, with its files.
function Sftp:close()
   if self.closed then
      return
   end
   self.closed = true
   self._link:close()
   for _, link in ipairs(self._stripes) do
      link:close()
   end
end

Sftp.__close = Sftp.close

return Sftp
