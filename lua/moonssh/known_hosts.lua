--- known_hosts files: which keys are known of a host, and which are revoked.
---
--- Read as OpenSSH reads them: a line is `[@marker] names keytype base64 [comment]`; names are a comma list of
--- patterns, or one hashed name. A line that cannot be used is left out and told in `problems`; what is written back
--- keeps every line that was not meant.

local core = require "moonssh.core"
local errors = require "moonssh.errors"
local args = require "moonssh.args"
local certificates = require "moonssh.certificate"
local lists = require "moonssh.lists"
local match = require "moonssh.match"
local key = require "moonssh.key"
local locks = require "moonssh.lock"
local paths = require "moonssh.paths"
local wire = require "moonssh.wire"

local MAX_FILE = 64 * 1024 * 1024
local DEFAULT_PORT = 22
local SALT_LENGTH = 20

-- Names whose entries are kept.
local MOST_FOUND = 8

-- Where many have new keys go that are not to be kept: a file that is always empty.
local NOWHERE = "/dev/null"

---@class moonssh.known_hosts
---@field problems { path: string, line: integer, reason: string }[] lines that were skipped
---@field paths string[]
local KnownHosts = { __name = "moonssh.known_hosts" }

local known_hosts = {}

-- --- lines

-- The name under which a host is looked up: the port is part of it unless it is the usual one.
local function name_of(host, port)
   host = host:lower()
   if port and port ~= DEFAULT_PORT then
      return ("[%s]:%d"):format(host, port)
   end
   return host
end

local function check_port(fname, port)
   args.optional(fname, 2, port, "integer")
   if port and (port < 1 or port > 65535) then
      args.bad(fname, 2, "a port from 1 to 65535 expected")
   end
end

local function hash_name(name, salt)
   return core.hmac("sha1", salt, name)
end

-- salt and hash of a hashed name, or nil.
local function split_hashed(names)
   local salt, hash = names:match("^|1|([^|]+)|([^|]+)$")
   salt, hash = salt and core.base64_decode(salt), hash and core.base64_decode(hash)
   if salt and hash and #salt == SALT_LENGTH and #hash == SALT_LENGTH then
      return salt, hash
   end
end

-- Whether the blob has the form of its type. A key whose type we do not know, or that is too short for us to use, is
-- still a known key of that host, so nothing more is asked for.
local function is_well_formed(type, blob)
   local fields = wire.strings(blob)
   if not fields or fields[1] ~= type then
      return false
   elseif type == "ssh-ed25519" then
      return #fields == 2 and #fields[2] == 32
   elseif type == "ssh-rsa" then
      return #fields == 3 and #fields[2] > 0 and #fields[3] > 0
   elseif type:find("^ecdsa%-sha2%-") then
      return #fields == 3 and fields[2] == type:sub(12) and #fields[3] > 0
   end
   return #fields >= 2
end

local markers = { ["@revoked"] = "revoked", ["@cert-authority"] = "cert-authority" }

-- The parts of a line as { marker =, names =, type =, blob =, comment = }; nil for an empty line or comment; nil and
-- the reason for one that cannot be used.
local function parse_line(text)
   local rest = (text:sub(-1) == "\r" and text:sub(1, -2) or text):match("^[ \t]*(.*)$")
   if rest == "" or rest:sub(1, 1) == "#" then
      return nil
   elseif rest:find("\0", 1, true) then
      return nil, "a NUL byte"
   end
   local entry = {}
   if rest:sub(1, 1) == "@" then
      local word, after = rest:match("^(@[^ \t]*)[ \t]+(.*)$")
      entry.marker = markers[word]
      if not entry.marker then
         return nil, "an unknown marker"
      elseif after:sub(1, 1) == "@" then
         return nil, "more than one marker"
      end
      rest = after
   end
   local type, encoded
   entry.names, type, encoded, entry.comment = rest:match("^([^ \t]+)[ \t]+([^ \t]+)[ \t]+([^ \t]+)[ \t]*(.*)$")
   if not entry.names or type:sub(1, 1) == "#" or encoded:sub(1, 1) == "#" then
      return nil, "too few fields"
   end
   if entry.names:sub(1, 1) == "|" then
      entry.salt, entry.hash = split_hashed(entry.names)
      if not entry.salt then
         return nil, "a broken hashed name"
      end
   end
   entry.type, entry.blob = type, core.base64_decode(encoded)
   if not entry.blob then
      return nil, "the key is not base64"
   elseif not is_well_formed(type, entry.blob) then
      return nil, "the key is damaged, or not of the type that the line says"
   end
   return entry
end

local function matches(entry, name)
   if entry.salt then
      return core.equal(hash_name(name, entry.salt), entry.hash)
   end
   return entry.names == name or match.list(entry.names, name) == "positive"
end

-- The lines of a text that may speak of a name, as { number, line, number, line, … }.
local function candidates(text, name)
   local found, code, message = core.key.known_lines(text, name)
   return found or error(errors.from_core(code, message), 0)
end

-- --- files

-- A file as { text = } or { lines = }, or both. A missing file is empty.
local function read(path)
   if path == NOWHERE then
      return { text = "" }
   end
   local text, _, message, errno = core.file.read(path, MAX_FILE)
   if not text and errno ~= core.file.ENOENT then
      return nil, errors.new("io", ("cannot read %s: %s"):format(path, message), { path = path, errno = errno })
   end
   return { text = text or "" }
end

local function lines_of(file)
   local lines, text = file.lines, file.text
   if not lines then
      lines = {}
      for line in (text:sub(-1) == "\n" and text or text ~= "" and text .. "\n" or ""):gmatch("([^\n]*)\n") do
         lines[#lines + 1] = line
      end
      file.lines = lines
   end
   return lines
end

local function text_of(file)
   file.text = file.text or table.concat(file.lines, "\n")
   return file.text
end

-- The line without a host, or false where nothing is left of it. Only the name goes where others stand beside it; a
-- pattern that still reaches the host takes the line with it.
local function line_without(text, name, blob)
   local entry = candidates(text, name)[1] and parse_line(text)
   if not entry or entry.marker or blob and entry.blob ~= blob or not matches(entry, name) then
      return text
   end
   local left = {}
   for item in entry.names:gmatch("[^,]+") do
      if item:lower() ~= name then
         left[#left + 1] = item
      end
   end
   local names = table.concat(left, ",")
   if entry.salt or not names:find("[^,!]") or match.list(names, name) == "positive"
      or not (","  .. names):find(",[^!]") then
      return false
   end
   local first, last = text:find(entry.names, 1, true)
   return text:sub(1, first - 1) .. names .. text:sub(last + 1)
end

-- Applies what was asked for to a file.
local function apply(file, change)
   local lines = lines_of(file)
   file.text = nil
   if change.line then
      lines[#lines + 1] = change.line
      return
   end
   local kept = 0
   for i = 1, #lines do
      local line = line_without(lines[i], change.remove, change.blob)
      if line then
         kept = kept + 1
         lines[kept] = line
      end
   end
   for i = #lines, kept + 1, -1 do
      lines[i] = nil
   end
end

-- Forgets what was made of the files as they were.
local function forget(self)
   self._parsed, self._found, self._n_found = nil, {}, 0
end

-- All lines taken apart, and what is wrong with the others; kept until a line changes.
local function parsed(self)
   local all = self._parsed
   if all then
      return all
   end
   all = { entries = {}, problems = {} }
   for i, path in ipairs(self.paths) do
      for number, text in ipairs(lines_of(self._files[i])) do
         local entry, reason = parse_line(text)
         if entry then
            entry.path, entry.line = path, number
            table.insert(all.entries, entry)
         elseif reason then
            table.insert(all.problems, { path = path, line = number, reason = reason })
         end
      end
   end
   self._parsed = all
   return all
end

function KnownHosts.__index(self, name)
   if name == "problems" then
      return parsed(self).problems
   end
   return KnownHosts[name]
end

--- Reads one or several files. A missing file is empty; one that cannot be read is an error.
---@param path string|string[] new keys go to the first
---@return moonssh.known_hosts|nil
---@return table? err
function known_hosts.open(path)
   args.check("known_hosts", 1, path, { "string", "table" })
   local self = setmetatable({ paths = {}, _files = {}, _changes = {} }, KnownHosts)
   forget(self)
   for i, one in ipairs(type(path) == "table" and path or { path }) do
      self.paths[i] = paths.expand(one)
      local file, err = read(self.paths[i])
      if not file then
         return nil, err
      end
      self._files[i], self._changes[i] = file, {}
   end
   return self
end

--- Whether a value is an object of `known_hosts.open`.
function known_hosts.is(value)
   return getmetatable(value) == KnownHosts
end

-- --- questions

-- The entries that speak of a name: those of certificate authorities, or all others. Those of some names are kept.
local function entries_of(self, name, authorities)
   local known = self._found[name]
   if not known then
      known = { [true] = {}, [false] = {} }
      for i, path in ipairs(self.paths) do
         local lines = candidates(text_of(self._files[i]), name)
         for at = 1, #lines, 2 do
            local entry = parse_line(lines[at + 1])
            if entry and matches(entry, name) then
               entry.path, entry.line = path, lines[at]
               table.insert(known[entry.marker == "cert-authority"], entry)
            end
         end
      end
      if self._n_found == MOST_FOUND then
         self._found, self._n_found = {}, 0
      end
      self._found[name], self._n_found = known, self._n_found + 1
   end
   return known[authorities]
end

--- The entries of the authorities that may certify a host. As in ssh, one that is known by the name alone may certify
--- it on any port.
function KnownHosts:_authorities(host, port)
   local found = entries_of(self, name_of(host, port), true)
   if port and port ~= DEFAULT_PORT then
      local more = entries_of(self, name_of(host), true)
      found = table.move(more, 1, #more, #found + 1, lists.copy(found))
   end
   return found
end

-- The first of the entries that has a blob.
local function with_blob(entries, blob)
   for _, entry in ipairs(entries) do
      if entry.blob == blob then
         return entry
      end
   end
end

-- The certificate in a blob, or nil where it is a plain key's.
local function certificate_in(blob)
   local core_key = string.unpack(">s4", blob):find("-cert-v01@", 1, true) and core.key.parse_public(blob)
   if core_key then
      local found = certificates.of(core_key)
      core_key:close()
      return found
   end
end

-- The entry that revokes a certificate's authority, or its key. As an authority may be known of a host by its name
-- alone, so may what is wrong with it.
local function revocation(self, host, port, certificate)
   local names = { name_of(host, port), port and port ~= DEFAULT_PORT and name_of(host) or nil }
   for _, name in ipairs(names) do
      for _, entry in ipairs(entries_of(self, name, false)) do
         local is_meant = entry.blob == certificate.signature_key or entry.blob == certificate.public
         if is_meant and entry.marker == "revoked" then
            return entry
         end
      end
   end
end

-- The verdict on a certificate, with its entry. nil where its authority is not known; with that known, and why the
-- certificate is not good, where it is not.
local function check_certificate(self, host, port, certificate, signature_algorithms)
   local entry = revocation(self, host, port, certificate)
   if entry then
      return "revoked", entry
   end
   entry = with_blob(self:_authorities(host, port), certificate.signature_key)
   if not entry then
      return nil
   end
   local reason = certificates.host_complaint(certificate, host, signature_algorithms)
   if reason then
      return nil, entry, reason
   end
   return "match", entry
end

-- The verdict on a plain key, with the entry that decided.
local function check_plain(self, host, port, blob)
   local verdict, decisive = "unknown", nil
   for _, entry in ipairs(entries_of(self, name_of(host, port), false)) do
      local same = entry.blob == blob
      if same and entry.marker == "revoked" then
         return "revoked", entry
      elseif same and verdict ~= "match" then
         verdict, decisive = "match", entry
      elseif not entry.marker and verdict == "unknown" then
         verdict, decisive = "changed", entry
      end
   end
   return verdict, decisive
end

--- What is known of a host's key: "match"; "changed" where other keys are known of the host, be it of another type;
--- "revoked", which wins over all; else "unknown". With it the number of the line that decided, and its path.
--- A certificate matches when its authority is one of the host's and it is good for the host now; else it is its key
--- that is asked for, as ssh does, and `reason` says what is wrong with a certificate of such an authority.
---@param host string
---@param port integer|nil 22 if nil
---@param host_key moonssh.key|string a key, or its blob
---@param signature_algorithms string[]|nil what authorities may sign with; nil: all but SHA-1
---@return "match"|"unknown"|"changed"|"revoked"
---@return integer? line
---@return string? path
---@return string? reason
function KnownHosts:check(host, port, host_key, signature_algorithms)
   args.handle(self, "known_hosts", "check")
   args.check("check", 1, host, "string")
   check_port("check", port)
   local blob = key.blob_of("check", 3, host_key)
   local certificate = certificate_in(blob)
   local verdict, entry = check_plain(self, host, port, certificate and certificate.public or blob)
   local reason
   if certificate and verdict ~= "revoked" then
      local better, decisive
      better, decisive, reason = check_certificate(self, host, port, certificate, signature_algorithms)
      if better then
         verdict, entry = better, decisive
      end
   end
   return verdict, entry and entry.line, entry and entry.path, reason
end

-- The entries with a key that is known of a host and not revoked: { path =, line =, type =, blob = }.
function KnownHosts:_known(host, port)
   local known, revoked = {}, {}
   local entries = entries_of(self, name_of(host, port), false)
   for _, entry in ipairs(entries) do
      revoked[entry.blob] = revoked[entry.blob] or entry.marker == "revoked"
   end
   for _, entry in ipairs(entries) do
      if not entry.marker and not revoked[entry.blob] then
         known[#known + 1] = entry
      end
   end
   return known
end

--- All usable lines, in order.
---@return { path: string, line: integer, marker: string?, names: string, hashed: boolean, type: string, blob: string,
---   comment: string, fingerprint: string }[]
function KnownHosts:entries()
   args.handle(self, "known_hosts", "entries")
   local list = {}
   for i, entry in ipairs(parsed(self).entries) do
      list[i] = {
         path = entry.path,
         line = entry.line,
         marker = entry.marker,
         names = entry.names,
         hashed = entry.salt ~= nil,
         type = entry.type,
         blob = entry.blob,
         comment = entry.comment,
         fingerprint = core.key.fingerprint(entry.blob, "sha256"),
      }
   end
   return list
end

-- --- changes

--- The line that makes a key known of a host. Raises for a host name that the format cannot hold.
---@param host string
---@param port integer|nil
---@param host_key moonssh.key|string
---@param options { hash: boolean?, comment: string? }|nil
---@return string line without its end
function known_hosts.line(host, port, host_key, options)
   local name = name_of(host, port)
   if host == "" or host:find("[%c%s,#|!*?@\127-\255]") then
      args.bad("add", 1, "host name with a character that cannot stand in known_hosts")
   end
   -- Of a certificate it is the key in it that is known: its authority stands for the rest.
   local blob = key.is(host_key) and host_key._plain or key.blob_of("add", 3, host_key)
   if options and options.hash then
      local salt = core.random(SALT_LENGTH)
      name = ("|1|%s|%s"):format(core.base64_encode(salt), core.base64_encode(hash_name(name, salt)))
   end
   local line = ("%s %s %s"):format(name, string.unpack(">s4", blob), core.base64_encode(blob))
   local comment = options and options.comment
   return comment and comment ~= "" and line .. " " .. comment:gsub("[%c\127]", " ") or line
end

-- A change of the file with that index, to be saved.
local function change(self, index, what)
   table.insert(self._changes[index], what)
   apply(self._files[index], what)
   forget(self)
end

-- Writes changes to one file as it is now: others may have changed it meanwhile. Additions alone are appended, in one
-- write; all else makes a new file that takes the place of the old one.
local function write(path, changes, patience)
   if path == NOWHERE then
      return true
   end
   local lock <close>, err = locks.acquire(path, changes[1].line ~= nil, patience)
   if not lock then
      return nil, err
   end
   local only_added, added = true, {}
   for i, one in ipairs(changes) do
      only_added = only_added and one.line ~= nil
      added[i] = one.line and one.line .. "\n"
   end
   local file
   local ok, code, message, errno
   if only_added then
      ok, code, message, errno = core.file.append(path, table.concat(added))
   else
      file, err = read(path)
      if not file then
         return nil, err
      end
      for _, one in ipairs(changes) do
         apply(file, one)
      end
      local lines = file.lines
      ok, code, message, errno = core.file.replace(path, #lines > 0 and table.concat(lines, "\n") .. "\n" or "")
   end
   if not ok then
      return nil, errors.new(code, ("cannot write %s: %s"):format(path, message), { path = path, errno = errno })
   end
   return true
end

--- Writes a line down at once, whatever else is not saved yet.
---@return true|nil
---@return table? err
function KnownHosts:_learn(line)
   local ok, err = write(self.paths[1], { { line = line } })
   if not ok then
      return nil, err
   end
   apply(self._files[1], { line = line })
   forget(self)
   return true
end

--- Makes a key known of a host, in the first file. `save` writes it.
---@param host string
---@param port integer|nil 22 if nil
---@param host_key moonssh.key|string a key, or its blob
---@param options? { hash: boolean, comment: string }
---@return true
function KnownHosts:add(host, port, host_key, options)
   args.handle(self, "known_hosts", "add")
   args.check("add", 1, host, "string")
   check_port("add", port)
   options = args.options("add", 4, options, { hash = "boolean", comment = "string" })
   local line = known_hosts.line(host, port, host_key, options)
   if not self.paths[1] then
      args.raise("bad call of 'add' (no known_hosts file was named)")
   end
   change(self, 1, { line = line })
   return true
end

--- Forgets the keys of a host in all files, but not those that are revoked. Where other names share a line, they stay.
--- `save` writes it.
---@param host string
---@param port integer|nil 22 if nil
---@return true
function KnownHosts:remove(host, port)
   args.handle(self, "known_hosts", "remove")
   args.check("remove", 1, host, "string")
   check_port("remove", port)
   local name = name_of(host, port)
   for i, file in ipairs(self._files) do
      for _, text in ipairs(lines_of(file)) do
         if line_without(text, name) ~= text then
            change(self, i, { remove = name })
            break
         end
      end
   end
   return true
end

-- Forgets one key of a host in the first file.
function KnownHosts:_remove_key(host, port, blob)
   change(self, 1, { remove = name_of(host, port), blob = blob })
end

-- Reads a file anew after it was written.
local function reread(self, index)
   local file, err = read(self.paths[index])
   if not file then
      return nil, err
   end
   self._changes[index], self._files[index] = {}, file
   forget(self)
   return true
end

--- Writes what was added and removed, to the files as they are by now: what others have written meanwhile stays. Each
--- file is the old or the new one at any time.
---@return true|nil
---@return table? err
function KnownHosts:save()
   args.handle(self, "known_hosts", "save")
   return self:_save()
end

-- As `save`; `patience` is how long to wait for others who write, 0 not at all.
function KnownHosts:_save(patience)
   for i, path in ipairs(self.paths) do
      if self._changes[i][1] then
         local ok, err = write(path, self._changes[i], patience)
         if ok then
            ok, err = reread(self, i)
         end
         if not ok then
            return nil, err
         end
      end
   end
   return true
end

return known_hosts
