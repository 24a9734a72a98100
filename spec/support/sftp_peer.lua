-- An SFTP server made by hand, in memory: it serves a few files honestly, and anything else when it is told to.
--
--    local peer <close> = SftpPeer.new{ files = { ["/f"] = "text" }, on = { READ = function(server, request) … end } }
--    peer.sftp, peer.session               SFTP of the library, over a session in memory
--    peer.requests                         what came: { type = "READ", id =, body = }, and the fields named below
--
-- Options, all optional:
--    files         path → content
--    folders       path → list of names, or of { name, attributes }
--    on            type → function(server, request): what is sent in place of the honest answer: one packet or a list
--                  of them (see below), or nil: the honest one after all
--    extensions    name → data
--    version       packet in place of VERSION; greeting  text in place of it
--    most          bytes of them that one packet of the channel carries; default 32768
--    session       options of ssh.session
--
-- Packets, without their length: server.status(id, code, text), handle(id, text), data(id, text), names(id, list),
-- attributes(id, packed), extended(id, bytes), packet(type, id, bytes). server:send(packet) sends one at any time,
-- server:raw(bytes) what is no packet.

local MemorySession = require "spec.support.memory_session"
local wire = require "spec.support.wire"

local SftpPeer = {}
SftpPeer.__index = SftpPeer

local types = {
   [1] = "INIT", [3] = "OPEN", [4] = "CLOSE", [5] = "READ", [6] = "WRITE", [7] = "LSTAT", [8] = "FSTAT",
   [9] = "SETSTAT", [10] = "FSETSTAT", [11] = "OPENDIR", [12] = "READDIR", [13] = "REMOVE", [14] = "MKDIR",
   [15] = "RMDIR", [16] = "REALPATH", [17] = "STAT", [18] = "RENAME", [19] = "READLINK", [20] = "SYMLINK",
   [200] = "EXTENDED",
}

local MOST = 32768

-- Packets -----------------------------------------------------------------------------------------------------------

function SftpPeer.packet(type, id, bytes)
   return string.pack(">BI4", type, id) .. bytes
end

function SftpPeer.status(id, code, text)
   return SftpPeer.packet(101, id, string.pack(">I4s4s4", code, text or "", ""))
end

function SftpPeer.handle(id, text)
   return SftpPeer.packet(102, id, string.pack(">s4", text))
end

function SftpPeer.data(id, text)
   return SftpPeer.packet(103, id, string.pack(">s4", text))
end

function SftpPeer.attributes(id, packed)
   return SftpPeer.packet(105, id, packed)
end

function SftpPeer.extended(id, bytes)
   return SftpPeer.packet(201, id, bytes)
end

-- Attributes of a regular file, a folder or a link.
local modes = { file = 0x81a4, directory = 0x41ed, symlink = 0xa1ff }

function SftpPeer.packed(type, size)
   return string.pack(">I4I8I4", 5, size or 0, modes[type])
end

function SftpPeer.names(id, list)
   local parts = { string.pack(">I4", #list) }
   for _, entry in ipairs(list) do
      local name, packed = entry, nil
      if type(entry) == "table" then
         name, packed = entry[1], entry[2]
      end
      table.insert(parts, string.pack(">s4s4", name, name) .. (packed or SftpPeer.packed("file")))
   end
   return SftpPeer.packet(104, id, table.concat(parts))
end

-- What it does honestly ---------------------------------------------------------------------------------------------

local honest = {}

local function found(server, request, path)
   if server.files[path] then
      return SftpPeer.attributes(request.id, SftpPeer.packed("file", #server.files[path]))
   elseif server.folders[path] then
      return SftpPeer.attributes(request.id, SftpPeer.packed("directory"))
   end
   return SftpPeer.status(request.id, 2, "No such file")
end

local function open(server, request, what)
   server.n_handles = server.n_handles + 1
   local name = "handle " .. server.n_handles
   server.handles[name] = { path = request.path, rest = what }
   return SftpPeer.handle(request.id, name)
end

local function ok(_, request)
   return SftpPeer.status(request.id, 0)
end

function honest.OPEN(server, request)
   local flags = string.unpack(">I4", request.rest)
   local file = server.files[request.path]
   if not file and flags & 8 == 0 then
      return SftpPeer.status(request.id, server.folders[request.path] and 4 or 2, "No such file")
   elseif not file or flags & 16 ~= 0 then
      server.files[request.path] = ""
   end
   return open(server, request)
end

function honest.OPENDIR(server, request)
   if not server.folders[request.path] then
      return SftpPeer.status(request.id, 2, "No such file")
   end
   return open(server, request, server.folders[request.path])
end

function honest.CLOSE(server, request)
   server.handles[request.handle] = nil
   return SftpPeer.status(request.id, 0)
end

function honest.READ(server, request)
   local file = server.files[server.handles[request.handle].path]
   local offset, len = string.unpack(">I8I4", request.rest)
   local piece = file:sub(offset + 1, offset + len)
   return piece == "" and SftpPeer.status(request.id, 1) or SftpPeer.data(request.id, piece)
end

function honest.WRITE(server, request)
   local path = server.handles[request.handle].path
   local offset, data = string.unpack(">I8s4", request.rest)
   local file = server.files[path]
   file = file .. ("\0"):rep(offset - #file)
   server.files[path] = file:sub(1, offset) .. data .. file:sub(offset + #data + 1)
   return SftpPeer.status(request.id, 0)
end

function honest.READDIR(server, request)
   local handle = server.handles[request.handle]
   local list = handle.rest
   handle.rest = nil
   return list and #list > 0 and SftpPeer.names(request.id, list) or SftpPeer.status(request.id, 1)
end

function honest.STAT(server, request)
   return found(server, request, request.path)
end

honest.LSTAT = honest.STAT

function honest.FSTAT(server, request)
   return found(server, request, server.handles[request.handle].path)
end

function honest.RENAME(server, request)
   local to = string.unpack(">s4", request.rest)
   server.files[to], server.files[request.path] = server.files[request.path], nil
   return SftpPeer.status(request.id, 0)
end

function honest.REMOVE(server, request)
   server.files[request.path] = nil
   return SftpPeer.status(request.id, 0)
end

function honest.REALPATH(_, request)
   return SftpPeer.names(request.id, { request.path })
end

function honest.EXTENDED(_, request)
   return SftpPeer.status(request.id, 8)
end

for _, name in ipairs{ "MKDIR", "RMDIR", "SETSTAT", "FSETSTAT", "SYMLINK" } do
   honest[name] = ok
end

local with_handle = { CLOSE = true, READ = true, WRITE = true, FSTAT = true, FSETSTAT = true, READDIR = true }

-- The channel -------------------------------------------------------------------------------------------------------

function SftpPeer:raw(bytes)
   if self.channel.closed then
      return
   end
   local most = self.most
   for at = 1, #bytes, most do
      self.link.peer:send(wire.message("CHANNEL_DATA", "us", self.channel.remote, bytes:sub(at, at + most - 1)))
   end
end

function SftpPeer:send(packet)
   self:raw(string.pack(">s4", packet))
end

local function answer(self, request)
   local said = self.on[request.type] and self.on[request.type](self, request)
   if said == nil then
      said = honest[request.type](self, request)
   end
   for _, packet in ipairs(type(said) == "table" and said or { said }) do
      self:send(packet)
   end
end

local function take(self, packet)
   local number, id = string.unpack(">BI4", packet)
   local request = { type = types[number], id = id, body = packet:sub(6) }
   if request.type == "INIT" and self.greeting then
      return self:raw(self.greeting)
   elseif request.type == "INIT" then
      local parts = {}
      for name, data in pairs(self.extensions) do
         table.insert(parts, string.pack(">s4s4", name, data))
      end
      return self:send(self.version or string.pack(">BI4", 2, 3) .. table.concat(parts))
   end
   local first, at = string.unpack(">s4", request.body)
   request[with_handle[request.type] and "handle" or "path"] = first
   request.rest = request.body:sub(at)
   table.insert(self.requests, request)
   answer(self, request)
end

local function feed(self, channel, data)
   self.channel = channel
   self.inbox = self.inbox .. data
   while #self.inbox >= 4 do
      local length = string.unpack(">I4", self.inbox)
      if #self.inbox < 4 + length then
         return
      end
      local packet = self.inbox:sub(5, 4 + length)
      self.inbox = self.inbox:sub(5 + length)
      take(self, packet)
   end
end

-- Without `sftp` in the options being false, SFTP is started; then peer.err says why it was not.
function SftpPeer.new(options)
   options = options or {}
   local self = setmetatable({
      files = options.files or {}, folders = options.folders or {}, on = options.on or {},
      extensions = options.extensions or {}, version = options.version, greeting = options.greeting,
      most = options.most or MOST, handles = {}, n_handles = 0, requests = {}, inbox = "",
   }, SftpPeer)
   self.link = MemorySession.new{ session = options.session, chunk = options.chunk, peer = { steps = {
      run = function() end,
      data = function(_, channel, data)
         feed(self, channel, data)
      end,
   } } }
   assert(self.link:login())
   self.session = self.link.session
   self.sftp, self.err = self.session:sftp{ timeout = 60 }
   return self
end

-- The requests of a type.
function SftpPeer:asked(type)
   local list = {}
   for _, request in ipairs(self.requests) do
      if request.type == type then
         table.insert(list, request)
      end
   end
   return list
end

function SftpPeer:__close()
   self.session:close()
end

return SftpPeer
