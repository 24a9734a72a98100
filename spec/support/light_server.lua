-- The script of spec.support.light: an SSH server for many connections at once, on the transport of the library in its
-- server role. It logs in by the password "secret", and by the ed25519 key that specs share. Writes "ready PORT", then
-- serves until it is killed.

local core = require "moonssh.core"
local loop = require "moonssh.loop"
local ScriptedServer = require "spec.support.scripted_server"
local keys = require "spec.support.keys"
local testing = require "moonssh_testing"
local socket = testing.socket
local ssh = require "moonssh"

local blob = core.base64_decode(keys.public("ed25519"):match("^%S+ (%S+)"))
local key = assert(testing.keys.parse_public(blob))

local Connection = {}
Connection.__index = Connection

-- Sends what there is to be sent, as far as the socket takes it.
function Connection:flush()
   self.left = self.left .. self.server:output(256 * 1024)
   while self.left ~= "" and not self.gone do
      local n, _, _, errno = core.socket.send(self.fd, self.left)
      if not n and errno ~= core.EAGAIN then
         self.gone = true
      elseif not n then
         return
      else
         self.left = self.left:sub(n + 1)
         if self.left == "" then
            self.left = self.server:output(256 * 1024)
         end
      end
   end
end

function Connection:serve()
   local fd = self.fd
   while not self.gone and not self.server.failed do
      loop.current().wait(fd, self.left == "" and "r" or "rw")
      local bytes, _, _, errno = core.socket.recv(fd, 64 * 1024)
      if bytes == "" or not bytes and errno ~= core.EAGAIN then
         break
      elseif bytes then
         self.server:feed(bytes)
      end
      self:flush()
   end
   self:flush()
   self.gone = true
   loop.current().cancel(fd)
   core.socket.close(fd)
   self.server:close()
end

local commands = {}

function commands.cat(channel)
   channel.on_data = channel.write
   channel.on_eof = function()
      channel:finish(0)
   end
end

function commands.echo(channel, text)
   channel:write(text .. "\n"):finish(0)
end

function commands.exit(channel, status)
   channel:finish(tonumber(status))
end

-- sleep SECONDS TEXT…: ends after that time, saying the text
function commands.sleep(channel, rest, connection)
   local seconds, text = rest:match("^(%S+) ?(.*)$")
   ssh.spawn(function()
      loop.sleep(tonumber(seconds))
      if not channel.closed and not connection.gone then
         channel:write(text):finish(0)
         connection:flush()
      end
   end)
end

function commands.flood(channel, count)
   channel:write(("x"):rep(tonumber(count))):finish(0)
end

-- Goes on until its client gives it up.
function commands.hang() end

local seen, n_seen = {}, 0

-- once TEXT: goes on as hang does, but when it is asked again it says the text.
function commands.once(channel, text)
   if seen[text] then
      channel:write(text):finish(0)
   else
      seen[text], n_seen = true, n_seen + 1
   end
end

-- How many texts `once` has hung for.
function commands.hung(channel)
   channel:write(tostring(n_seen)):finish(0)
end

-- debug TEXT: sends SSH_MSG_DEBUG before it ends
function commands.debug(channel, text, connection)
   connection.server:send(string.char(4, 1) .. string.pack(">s4s4", text, ""))
   channel:finish(0)
end

-- The signals that were sent on this connection, and the channels that are open beside this one.
function commands.seen(channel, _, connection)
   local names, open = {}, -1
   for _, message in ipairs(connection.server:received("channel_request")) do
      if message.name == "signal" then
         table.insert(names, (string.unpack(">s4", message.data)))
      end
   end
   for _ in pairs(connection.server.channels) do
      open = open + 1
   end
   channel:write(("%s %d"):format(table.concat(names, ","), open)):finish(0)
end

-- Leaves without a word.
function commands.vanish(_, _, connection)
   connection.gone = true
end

local function accept(fd)
   local connection = setmetatable({ fd = fd, left = "" }, Connection)
   connection.server = ScriptedServer.new{
      auth = { password = "secret", keys = { key } },
      opens = { ["direct-tcpip"] = commands.cat }, -- whatever the place is, it says what it hears
      exec = function(channel, line)
         local name, rest = line:match("^(%S+) ?(.*)$")
         if commands[name] then
            commands[name](channel, rest, connection)
         else
            channel:write("unknown command\n", 1):finish(127)
         end
      end,
   }
   assert(core.socket.prepare(fd))
   connection.server:start()
   connection:flush()
   ssh.spawn(connection.serve, connection)
end

local listener, port = assert(socket.listen("127.0.0.1", 0, 1024))
print(("ready %d"):format(port))
io.stdout:flush()
while true do
   loop.current().wait(listener, "r")
   local fd = socket.accept(listener, 0)
   if fd then
      accept(fd)
   end
end
