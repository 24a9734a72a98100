-- The session object of the binding over a socket, driven as the library's pump drives it, without the library: for
-- specs of the core against real servers.
--
--    local client <close> = CoreLogin.connect(server, { options = { cipher = "aes128-ctr" }, on = { … } })
--    client:run("auth_success")           until this event, or the end; raises after a while
--    client:exec("command", "direct")  →  stdout, status, stderr

local core = require "moonssh.core"
local process = require "spec.support.process"

local CoreLogin = {}
CoreLogin.__index = CoreLogin

local LIMIT = 120

local react = {}

-- What known_hosts of the server has: the key is compared as bytes.
function react:host_key(blob)
   local known = false
   for _, line in pairs(self.server.host_keys) do
      known = known or core.base64_decode(line:match("^%S+ (%S+)")) == blob
   end
   assert(self.session:answer_host_key(known))
end

function react:kex_done()
   if self.asked then
      return
   end
   self.asked = true
   local session, key, user = self.session, self.key, self.server.user
   local algorithm = self.algorithm
   local data = assert(session:auth_signing_data(user, algorithm, key:blob()))
   assert(session:auth_publickey(user, algorithm, key:blob(), assert(key:sign(data, algorithm))))
end

function CoreLogin.connect(server, options)
   options = options or {}
   local file <close> = assert(io.open(server.key_paths[options.key or "ed25519"], "rb"))
   local resolver <close> = assert(core.resolve(server.host, server.port))
   local self = setmetatable({
      server = server,
      session = assert(core.session(options.options)),
      key = assert(core.key.parse_file(file:read("a"))),
      algorithm = options.algorithm or "ssh-ed25519",
      fd = assert(core.socket.connect(resolver:result()[1])),
      poller = assert(core.poller()),
      on = options.on or {},
      events = {},
   }, CoreLogin)
   assert(self.session:start())
   return self
end

-- Takes all events; true when one was of this kind.
function CoreLogin:take(kind)
   local found = false
   for event, a, b, c, d, e in self.session.next, self.session do
      found = found or event == kind or event == "failed"
      table.insert(self.events, event)
      local handler = self.on[event] or react[event]
      if handler then
         handler(self, a, b, c, d, e)
      end
   end
   return found
end

-- Sends, waits for the socket a second at most, reads, takes the events; true when one was of this kind.
function CoreLogin:round(kind)
   assert(self.session:write(self.fd) ~= nil)
   local _, output = self.session:wants()
   assert(self.poller:set(self.fd, output and "rw" or "r"))
   local _, n = self.poller:wait(1)
   if n > 0 then
      assert(self.session:read(self.fd, not self.asked))
   end
   return self:take(kind)
end

function CoreLogin:run(kind)
   local deadline = process.now() + LIMIT
   while not self:round(kind) do
      assert(process.now() < deadline, "timeout")
   end
   return self
end

function CoreLogin:open()
   local channel = assert(self.session:open("session"))
   self:run("opened")
   return channel
end

function CoreLogin:exec(command, mode)
   local session, channel = self.session, self:open()
   local out, err, status = {}, {}, nil
   if mode then
      assert(session:channel_mode(channel, 0, mode))
   end
   function self.on.data(_, handle, stream, data)
      assert(handle == channel)
      if data then
         session:channel_consumed(channel, #data)
      end
      table.insert(stream == 0 and out or err, data or session:channel_take(channel, stream))
   end
   function self.on.exit_status(_, _, number)
      status = number
   end
   assert(session:channel_request(channel, "exec", true, string.pack(">s4", command)))
   self:run("closed")
   session:channel_release(channel)
   return table.concat(out), status, table.concat(err)
end

function CoreLogin:close()
   self.session:close()
   self.key:close()
   self.poller:close()
   core.socket.close(self.fd)
end

CoreLogin.__close = CoreLogin.close

return CoreLogin
