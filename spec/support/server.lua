-- Real servers for specs, each on a free port of 127.0.0.1 with throw-away keys in a folder of its own.
--
--    local server <close> = server.sshd{ config = "RekeyLimit 64K\n" }
--    server.host, server.port, server.user, server.password      where and as whom to log in
--    server.key_path                 the user's ed25519 key; server.key_paths.rsa, .ecdsa, .ed25519 for the others
--    server.known_hosts_path         a known_hosts with all its host keys; server.host_keys.ed25519 is a public line
--    server:log()                    what it wrote so far
--    server:stop()                   ends it and all below it; <close> and collection do the same
--
-- Options of all: host_keys (list of key types), authorized (list of public lines; the three user keys), password.
--
--    server.sshd{ config = "…", match = "…" }          config lines before ours, Match blocks after them
--    server.dropbear{ arguments = { "-I", "5" } }      further arguments; authorized keys and password as above
--    server.asyncssh{ … } server.paramiko{ … } server.npm{ … }    servers that do as they are told: see scripted.lua
--    server.agent()                  an ssh-agent: agent.path, agent:add(key_path), agent:stop()
--
-- server.missing("npm") is nil where a peer can be started, else why not: for pending() of a spec.
-- When a test fails, the ends of the logs of the servers it used are printed.

local keys = require "spec.support.keys"
local process = require "spec.support.process"
local socket = require "moonssh_testing".socket
local tmp = require "spec.support.tmp"

local START_TIMEOUT = 60
local LOG_LINES = 60

local server = { recent = {} }
local Server = {}
Server.__index = Server

local kinds = {
   sshd = "spec.support.openssh",
   agent = "spec.support.openssh",
   dropbear = "spec.support.dropbear",
   asyncssh = "spec.support.scripted",
   paramiko = "spec.support.scripted",
   npm = "spec.support.scripted",
}

-- --- for the modules that know one kind of server

-- The parts that all kinds share: a folder, keys, and the lists of what is authorized.
function server.prepare(kind, options)
   local self = setmetatable({
      kind = kind,
      host = "127.0.0.1",
      folder = tmp.dir(),
      host_keys = {},
      host_key_paths = {},
      key_paths = {},
   }, Server)
   for _, type in ipairs(options.host_keys or { "ed25519", "ecdsa", "rsa" }) do
      self.host_keys[type] = keys.public(type, "host")
      self.host_key_paths[type] = keys.path(type, "host")
   end
   local authorized = {}
   for _, type in ipairs{ "ed25519", "ecdsa", "rsa" } do
      self.key_paths[type] = keys.path(type, "user")
      table.insert(authorized, keys.public(type, "user"))
   end
   self.key_path = self.key_paths.ed25519
   self.authorized = table.concat(options.authorized or authorized, "\n") .. "\n"
   self.log_path = self.folder:path("log")
   table.insert(server.recent, self)
   return self
end

-- A port that nothing listens on just now. Another process may take it before it is used: so launch tries again.
local function free_port()
   local fd, port = assert(socket.listen("127.0.0.1", 0))
   socket.close(fd)
   return port
end

-- Whether something at the port introduces itself as an SSH server.
local function has_banner(port)
   local fd = socket.connect("127.0.0.1", port)
   local text = fd and socket.read(fd, 4, 1)
   if fd then
      socket.close(fd)
   end
   return text == "SSH-"
end

-- Whether the process itself listens at the port, and not another spec's server that took it first.
local function listens(pid, port)
   local inode
   for line in io.lines("/proc/net/tcp") do
      local at, found = line:match("^%s*%d+: %x+:(%x+) %x+:%x+ 0A %x+:%x+ %x+:%x+ %x+ +%d+ +%d+ (%d+) ")
      inode = at and tonumber(at, 16) == port and found or inode
   end
   local pipe <close> = io.popen(("readlink /proc/%d/fd/* 2>/dev/null"):format(pid))
   return inode ~= nil and pipe:read("a"):find("socket:[" .. inode .. "]", 1, true) ~= nil
end

-- Starts a server that must be told its port: command(port) gives what process.start takes.
function Server:launch(command)
   for _ = 1, 5 do
      self.port = free_port()
      self.process = assert(process.start(command(self.port)))
      process.wait_until(function()
         return self.process:wait(0) or has_banner(self.port) and listens(self.process:pid(), self.port)
      end, START_TIMEOUT, "the banner of " .. self.kind)
      if not self.process:wait(0) then
         return self:ready()
      end
      self.process:close()
   end
   error(("%s does not start:\n%s"):format(self.kind, self:log()))
end

-- Writes the known_hosts once the port is known.
function Server:ready()
   local lines = {}
   for _, line in pairs(self.host_keys) do
      table.insert(lines, ("[%s]:%d %s\n"):format(self.host, self.port, line))
   end
   table.sort(lines)
   self.known_hosts_path = self.folder:write("known_hosts", table.concat(lines))
   return self
end

-- --- for specs

function Server:log()
   return self.folder.root and self.folder:read("log") or self.last_log or ""
end

function Server:stop()
   if self.process then
      self.process:close()
      self.process = nil
   end
   if self.folder.root then
      self.last_log = self:log()
      self.folder:remove()
   end
end

Server.__gc = Server.stop
Server.__close = Server.stop

-- The ends of the logs of the servers that run, or ran until lately: for a failed test.
function server.recent_logs()
   local parts = {}
   for _, one in ipairs(server.recent) do
      local lines = {}
      for line in one:log():gmatch("[^\n]+") do
         table.insert(lines, line)
      end
      local first = math.max(1, #lines - LOG_LINES + 1)
      table.insert(parts, ("--- log of %s\n%s\n"):format(one.kind, table.concat(lines, "\n", first)))
   end
   return table.concat(parts)
end

-- Forgets those that were stopped; called before each test.
function server.forget_stopped()
   for i = #server.recent, 1, -1 do
      if not server.recent[i].folder.root then
         table.remove(server.recent, i)
      end
   end
end

-- Why a kind cannot be started here, or nil.
function server.missing(kind)
   return require(assert(kinds[kind], "no such kind of server")).missing(kind)
end

for kind, module in pairs(kinds) do
   server[kind] = function(options)
      return require(module)[kind](options or {})
   end
end

return server
