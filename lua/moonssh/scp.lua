-- Copying files by SCP, for servers without SFTP: the protocol of rcp, spoken with the server's scp. There is no RFC;
-- what OpenSSH's scp does with -O is the measure.
--
-- The server says names, sizes and kinds of what it sends. A name is never a path here, the one at the top must be the
-- one that was asked for, and what was not asked for ends the copy.

local args = require "moonssh.args"
local core = require "moonssh.core"
local errors = require "moonssh.errors"
local part = require "moonssh.part"

local scp = {}

-- Bytes that are read or written at a time.
local CHUNK = 256 * 1024

-- Longest line of the protocol, and most of the server's stderr that an error shows.
local LONGEST_LINE = 8192
local MOST_STDERR = 1024

local DEEPEST = 64 -- folders within folders
local PERMISSIONS = 511 -- 0777

-- Seconds that the server's scp may take to end when all has come.
local LAST_WORDS = 10

---@class moonssh.scp_options
---@field recursive? boolean a tree
---@field preserve? boolean times and permissions
---@field progress? fun(done: integer, total: integer, path: string)
---@field timeout? number

local option_types = { recursive = "boolean", preserve = "boolean", progress = "function", timeout = "number" }

-- Errors -------------------------------------------------------------------------------------------------------------

local function failure(code, path, message, fields)
   local err = errors.new(code, ("%s: %s"):format(errors.escape(path), message), fields)
   err.path = path
   return err
end

local statuses = { ["No such file"] = "no_such_file", ["ermission denied"] = "permission_denied" }

-- What the server says of something: "scp: /some/path: No such file or directory".
local function server_error(path, text)
   local status = "failure"
   for pattern, name in pairs(statuses) do
      status = text:find(pattern, 1, true) and name or status
   end
   return failure("sftp", path, errors.escape(text), { status = status, text = text })
end

local function local_error(path, message, errno)
   message = tostring(message):gsub("^" .. path:gsub("%p", "%%%0") .. ": ", "")
   return failure("io", path, message, { errno = errno })
end

-- The other side -----------------------------------------------------------------------------------------------------

-- A copy under way: its channel, and the first error that did not end it.
local Copy = {}
Copy.__index = Copy

function Copy.__close(copy)
   copy.channel:close()
end

-- Notes an error of one file of many.
function Copy:note(err)
   self.first_error = self.first_error or err
end

function Copy:broken(message)
   return failure("protocol", self.remote, message)
end

function Copy:left()
   return self.deadline and math.max(0, self.deadline - self.session._loop.now())
end

-- The server's scp has ended, or never begun: what it said on stderr, or its exit status, tells.
function Copy:ended()
   local status, signal = self.channel:wait(self:left())
   if errors.is(signal) then
      return signal
   end
   local text = (self.stderr:match("%S.*") or ""):match("^.*%S") or ""
   if text ~= "" then
      return server_error(self.remote, text)
   end
   return server_error(self.remote, ("scp at the server has ended with %s"):format(
      status and "status " .. status or signal and "signal " .. signal or "no status"))
end

function Copy:read(count)
   local data, err = self.channel:read(count, self:left())
   if not data or #data < count then
      return nil, err or self:ended()
   end
   return data
end

-- A line without its end.
function Copy:line()
   local index, text = self.channel:expect("\n", { plain = true, max = LONGEST_LINE, timeout = self:left() })
   if index then
      return text:sub(1, -2)
   elseif text.code == "limit" then
      return nil, self:broken("the server says a line without end")
   end
   return nil, (text.code ~= "eof" or self.session.failure) and text or self:ended()
end

function Copy:send(data)
   local ok, err = self.channel:_write(data, self.deadline)
   if not ok and err.code == "closed" and not self.session.failure then
      err = self:ended()
   end
   return ok, err
end

-- Takes the server's answer: true | nil, err; `over` when nothing can follow.
function Copy:answer(path)
   local kind, err = self:read(1)
   if not kind then
      return nil, err, true
   elseif kind == "\0" then
      return true
   elseif kind ~= "\1" and kind ~= "\2" then
      return nil, self:broken("the server answers in no way that there is"), true
   end
   local text
   text, err = self:line()
   if not text then
      return nil, err, true
   end
   return nil, server_error(path, text), kind == "\2"
end

local function start(session, fname, remote, path, options, flags)
   for i = 1, 2 do
      local place = (fname == "scp_get") == (i == 1) and remote or path
      args.check(fname, i, place, "string")
      if place == "" or place:find("\0", 1, true) then
         args.bad(fname, i, "a path cannot be empty or hold a NUL")
      end
   end
   options = args.options(fname, 3, options, option_types)
   local words = { "scp", flags }
   words[#words + 1] = options.recursive and "-r" or nil
   words[#words + 1] = options.preserve and "-p" or nil
   words[#words + 1] = remote:find("^%-") and "--" or nil
   words[#words + 1] = remote
   local copy = setmetatable({
      session = session,
      remote = remote,
      options = options,
      deadline = session:_deadline(options),
      stderr = "",
   }, Copy)
   local channel, err = session:exec(words, {
      timeout = copy:left(),
      stderr = function(text)
         copy.stderr = (copy.stderr .. text):sub(1, MOST_STDERR)
      end,
   })
   copy.channel = channel
   return channel and copy or nil, err
end

local function base_name(path)
   return path:match("([^/]*)/*$")
end

-- From there ---------------------------------------------------------------------------------------------------------

-- Whether a name may be one of a file in a folder.
local function is_name(name)
   return name ~= "" and name ~= "." and name ~= ".." and not name:find("[/%z]")
end

-- Whether the server means what was asked for. Devices name files behind a colon, and some repeat all of it.
local function is_asked_for(remote, name)
   local base = base_name(remote)
   return name == base or name == base:match("[^:]*$") or not is_name(base) or base:find("^~") ~= nil
end

-- What is written in the place of a file: under another name first, where the folder lets one do that.
local Output = {}
Output.__index = Output

function Output.__close(output)
   if output.file then
      output.file:close()
   end
   if not output.complete and output.path ~= output.target then
      os.remove(output.path)
   end
end

local function create(path, mode)
   -- It has its permissions before it has anything else.
   local made, _, message, errno = core.file.open(path, "wn", mode | 128)
   if not made then
      return nil, message, errno
   end
   made:close()
   return io.open(path, "r+b")
end

-- `files`: the files of this copy whose names end as those of parts do.
local function open_output(target, mode, files)
   local found = core.file.stat(target)
   if found and found.type == "directory" then
      return nil, local_error(target, "Is a directory")
   end
   local in_place = found and found.type ~= "file"
   local path = in_place and target or part.of(target, function(_, other)
      return files[other]
   end)
   local output = setmetatable({ target = target, path = path }, Output)
   local message, errno
   output.file, message, errno = create(output.path, mode)
   if not output.file and not in_place then
      output.path = target
      output.file, message, errno = create(target, mode)
   end
   if not output.file then
      return nil, local_error(target, message, errno)
   end
   return output
end

local function finish_output(output, mode, times, preserve)
   local ok, message, errno = output.file:close()
   output.file = nil
   if ok and preserve then
      core.file.chmod(output.path, mode)
      if times then
         core.file.times(output.path, times.atime, times.mtime)
      end
   end
   if ok and output.path ~= output.target then
      ok, message, errno = os.rename(output.path, output.target)
   end
   output.complete = ok
   return ok, not ok and local_error(output.target, message, errno) or nil
end

-- Takes the bytes of a file. What cannot be written here is taken nevertheless, and told to the server.
-- → true | nil, err
local function take_file(copy, target, mode, size, times)
   local output <close>, trouble = open_output(target, mode, copy.files)
   local ok, err = copy:send("\0")
   local done = 0
   while ok and done < size do
      local data
      data, err = copy:read(math.min(size - done, CHUNK))
      if not data then
         return nil, err
      end
      done = done + #data
      if not trouble then
         local written, message, errno = output.file:write(data)
         trouble = not written and local_error(target, message, errno) or nil
      end
      if copy.options.progress then
         copy.options.progress(done, size, target)
      end
   end
   if not ok then
      return nil, err
   end
   local over
   ok, err, over = copy:answer(copy.remote)
   if over then
      return nil, err
   elseif not ok then
      copy:note(err) -- the server could not read all of it: what came is no file
      return copy:send("\0")
   end
   if not trouble then
      ok, trouble = finish_output(output, mode, times, copy.options.preserve)
      if ok then
         copy.files[target] = target:find("%.part$") ~= nil or nil
         return copy:send("\0")
      end
   end
   copy:note(trouble)
   return copy:send("\1" .. errors.escape(trouble.message) .. "\n")
end

-- A folder that is there already will do; a symbolic link to one will not, unless the caller has named it.
local function make_folder(target, is_top)
   local ok, _, message, errno = core.file.mkdir(target, PERMISSIONS)
   local found = not ok and (is_top and core.file.stat or core.file.lstat)(target)
   ok = ok or found and found.type == "directory"
   return ok, not ok and local_error(target, message, errno) or nil
end

local controls = {}

-- T: times of what comes next. "T" mtime " " microseconds " " atime " " microseconds
function controls.T(copy, line)
   local mtime, atime = line:match("^(%d+) %d+ (%d+) %d+$")
   if not mtime or #mtime > 18 or #atime > 18 then
      return nil, copy:broken("the server tells times that are none")
   end
   copy.times = { mtime = tonumber(mtime), atime = tonumber(atime) }
   return copy:send("\0")
end

-- Where something of that name goes; nil, err for a name that cannot be.
local function target_of(copy, name)
   local depth = #copy.folders
   if depth > 0 then
      if not is_name(name) then
         return nil, copy:broken(("the server sends a file of the name '%s'"):format(errors.escape(name)))
      end
      return copy.folders[depth].path .. "/" .. name
   elseif copy.n_top > 0 then
      return nil, copy:broken("the server sends more than was asked for")
   elseif not is_asked_for(copy.remote, name) then
      return nil, copy:broken(("the server sends '%s' instead"):format(errors.escape(name)))
   end
   copy.n_top = copy.n_top + 1
   return copy.target
end

-- The fields of C and D: "C" mode " " size " " name
local function described(copy, line)
   local mode, size, name = line:match("^([0-7]+) (%d+) (.+)$")
   if not mode or #mode > 6 or #size > 18 then
      return nil, copy:broken("the server describes a file that cannot be")
   end
   return tonumber(mode, 8) & PERMISSIONS, tonumber(size), name
end

-- C: a file.
function controls.C(copy, line)
   local mode, size, name = described(copy, line)
   if not mode then
      return nil, size
   end
   local target, err = target_of(copy, name)
   if not target then
      return nil, err
   end
   local times = copy.times
   copy.times = nil
   return take_file(copy, target, mode, size, times)
end

-- D: a folder, whose files follow up to its E.
function controls.D(copy, line)
   local mode, size, name = described(copy, line)
   if not mode then
      return nil, size
   elseif not copy.options.recursive then
      return nil, copy:broken("the server sends a folder, and none was asked for")
   elseif #copy.folders >= DEEPEST then
      return nil, failure("limit", copy.remote, ("folders within folders, more than %d"):format(DEEPEST))
   end
   local target, err = target_of(copy, name)
   local ok = target
   if ok then
      ok, err = make_folder(target, not copy.folders[1])
   end
   if not ok then
      return nil, err
   end
   table.insert(copy.folders, { path = target, mode = mode, times = copy.times })
   copy.times = nil
   return copy:send("\0")
end

-- E: the folder has ended.
function controls.E(copy, line)
   local folder = table.remove(copy.folders)
   if line ~= "" or not folder then
      return nil, copy:broken("the server ends a folder that it has not begun")
   end
   if copy.options.preserve then
      core.file.chmod(folder.path, folder.mode)
      if folder.times then
         core.file.times(folder.path, folder.times.atime, folder.times.mtime)
      end
   end
   return copy:send("\0")
end

-- One thing that the server says. → true | nil, err; nil alone at the end
local function take_control(copy)
   local kind, err = copy.channel:read(1, copy:left())
   if not kind then
      return nil, err
   end
   local line
   line, err = copy:line()
   if not line then
      return nil, err
   elseif kind == "\1" or kind == "\2" then
      copy:note(server_error(copy.remote, line))
      return kind == "\1" or nil, copy.first_error
   end
   local control = controls[kind]
   if not control then
      return nil, copy:broken("the server says what is not in the protocol")
   end
   return control(copy, line)
end

--- Copies a file, or with `recursive` a tree, from the server: see session:scp_get.
function scp.get(session, remote, target, options)
   local copy <close>, err = start(session, "scp_get", remote, target, options, "-f")
   if not copy then
      return nil, err
   end
   copy.target, copy.folders, copy.n_top, copy.files = target, {}, 0, {}
   local ok
   ok, err = copy:send("\0")
   while ok do
      ok, err = take_control(copy)
   end
   if err then
      return nil, err
   end
   -- Closed earlier, the channel would be taken for the next one by dropbear: its program's end ends that.
   copy.channel:wait(math.min(copy:left() or LAST_WORDS, LAST_WORDS))
   if copy.folders[1] then
      return nil, copy:ended()
   elseif copy.first_error then
      return nil, copy.first_error
   elseif copy.n_top == 0 then
      return nil, copy:ended()
   end
   return true
end

-- To there -----------------------------------------------------------------------------------------------------------

local send_entry

-- Announces what follows. → true | nil, err, over
local function announce(copy, kind, path, found, size)
   if copy.options.preserve then
      local ok, err = copy:send(("T%d 0 %d 0\n"):format(math.max(0, found.mtime), math.max(0, found.atime)))
      local over = not ok
      if ok then
         ok, err, over = copy:answer(path)
      end
      if not ok then
         return nil, err, over
      end
   end
   local ok, err = copy:send(("%s%04o %d %s\n"):format(kind, found.permissions & PERMISSIONS, size, base_name(path)))
   if not ok then
      return nil, err, true
   end
   return copy:answer(path)
end

-- Sends exactly the announced number of bytes: what the file has lost meanwhile is made up with zeros, and told.
local function send_bytes(copy, file, path, size)
   local done, trouble = 0, nil
   while done < size do
      local count = math.min(size - done, CHUNK)
      local data, message, errno = nil, nil, nil
      if not trouble then
         data, message, errno = file:read(count)
      end
      if not trouble and (not data or #data < count) then
         local lost = ("it has become shorter: byte %d is missing"):format(done + #(data or ""))
         trouble = local_error(path, message or lost, errno)
      end
      data = data or ""
      local ok, err = copy:send(data .. ("\0"):rep(count - #data))
      if not ok then
         return nil, err
      end
      done = done + count
      if copy.options.progress then
         copy.options.progress(done, size, path)
      end
   end
   return true, trouble
end

local function send_file(copy, path, found)
   local file <close>, message, errno = io.open(path, "rb")
   if not file then
      copy:note(local_error(path, message, errno))
      return true
   end
   local ok, err, over = announce(copy, "C", path, found, found.size)
   if not ok and not over then
      copy:note(err)
      return true
   end
   local trouble
   if ok then
      ok, trouble = send_bytes(copy, file, path, found.size)
      err = trouble
   end
   if ok then
      ok, err = copy:send(trouble and "\1" .. errors.escape(trouble.message) .. "\n" or "\0")
   end
   if not ok then
      return nil, err
   end
   ok, err, over = copy:answer(path)
   if trouble or not ok and not over then
      copy:note(trouble or err)
      return true
   end
   return ok, err
end

local function send_folder(copy, path, found, depth)
   local names, _, message, errno = core.file.list(path)
   if not names then
      copy:note(local_error(path, message, errno))
      return true
   end
   local ok, err, over = announce(copy, "D", path, found, 0)
   if not ok and not over then
      copy:note(err)
      return true
   end
   table.sort(names)
   for _, name in ipairs(names) do
      if ok then
         ok, err = send_entry(copy, path .. "/" .. name, depth + 1)
      end
   end
   if ok then
      ok, err = copy:send("E\n")
   end
   if ok then
      ok, err, over = copy:answer(path)
      if not ok and not over then
         copy:note(err)
         return true
      end
   end
   return ok, err
end

-- Sends what is at a path. → true, also where one file of many could not be sent | nil, err
function send_entry(copy, path, depth)
   local found, _, message, errno = core.file.stat(path)
   local trouble
   if not found then
      trouble = local_error(path, message, errno)
   elseif base_name(path):find("\n", 1, true) then
      trouble = local_error(path, "a name with a line feed cannot be said in this protocol")
   elseif depth > DEEPEST then
      trouble = failure("limit", path, ("folders within folders, more than %d"):format(DEEPEST))
   elseif found.type == "file" then
      return send_file(copy, path, found)
   elseif found.type == "directory" and copy.options.recursive then
      return send_folder(copy, path, found, depth)
   elseif found.type == "directory" then
      trouble = local_error(path, "Is a directory, and 'recursive' is not set")
   else
      trouble = local_error(path, "not a regular file")
   end
   copy:note(trouble)
   return true
end

--- Copies a file, or with `recursive` a tree, to the server: see session:scp_put.
function scp.put(session, path, remote, options)
   local copy <close>, err = start(session, "scp_put", remote, path, options, "-t")
   if not copy then
      return nil, err
   end
   local ok
   ok, err = copy:answer(remote)
   if ok then
      ok, err = send_entry(copy, path:match("^(.-)/*$"), 0)
   end
   if not ok then
      return nil, err
   end
   copy.channel:eof()
   local status, signal = copy.channel:wait(copy:left())
   if errors.is(signal) then
      return nil, signal
   elseif copy.first_error then
      return nil, copy.first_error
   elseif status and status ~= 0 or not status and signal then
      return nil, copy:ended()
   end
   return true
end

return scp
