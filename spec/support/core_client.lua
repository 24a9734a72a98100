-- A client for the specs: the core's session driven as the Lua library would, but without it, and in memory.
--
--    local client = CoreClient.new{ auth = "publickey", command = "date" }
--    client:step()       takes events until there are none, and acts on them
--
-- Options, all optional:
--    core        the module to use; default moonssh.core
--    session     options of core.session
--    accept      what the question for the host key is answered with: a boolean, function(blob) → boolean, or
--                "later": it stays open; default true
--    auth        "none", "password", "publickey", "probe", "interactive", or a list of these, tried in turn
--                while the server says failure; function(client) for other things, false for nothing; default
--                "password"
--    user, password, key, answers
--    command     run once authenticated; false: nothing; or function(client)
--    on          event → function(client, …), before what is done by default; true as its result: instead of it
--    mac         what a wrong MAC is answered with: nil (never asked), true or false
--
-- What it leaves: events, a list of { kind, … }; stdout, stderr, status; failed (true once the event came).

local keys = require "spec.support.peer.keys"

local CoreClient = {}
CoreClient.__index = CoreClient

function CoreClient.new(options)
   options = options or {}
   local core = options.core or require "moonssh.core"
   local self = setmetatable({
      module = core,
      session = core.session(options.session or {}),
      accept = options.accept == nil or options.accept,
      user = options.user or "moon",
      password = options.password or "secret",
      answers = options.answers,
      command = options.command == nil and "date" or options.command,
      on = options.on or {},
      mac = options.mac,
      events = {},
      stdout = "", stderr = "",
   }, CoreClient)
   local auth = options.auth == nil and "password" or options.auth
   self.methods = type(auth) == "table" and table.move(auth, 1, #auth, 1, {}) or { auth or nil }
   self.key = options.key
   self.baseline = self.session:memory()
   if self.mac ~= nil then
      self.session:ask_mac(true)
   end
   return self
end

-- The public half is given by the private key's type: one algorithm each.
local function algorithm_of(key)
   return key:type() == "ssh-rsa" and "rsa-sha2-512" or key:type()
end

local attempts = {}

function attempts:none()
   return self.session:auth_none(self.user)
end

function attempts:password()
   return self.session:auth_password(self.user, self.password)
end

function attempts:interactive()
   return self.session:auth_interactive(self.user)
end

function attempts:probe()
   local key = self.key or keys.user()
   return self.session:auth_probe(self.user, algorithm_of(key), key:blob())
end

function attempts:publickey()
   local key = self.key or keys.user()
   local algorithm, blob = algorithm_of(key), key:blob()
   local data = self.session:auth_signing_data(self.user, algorithm, blob)
   return self.session:auth_publickey(self.user, algorithm, blob, key:sign(algorithm, data))
end

function CoreClient:authenticate()
   local method = table.remove(self.methods, 1)
   if type(method) == "function" then
      method(self)
   elseif method then
      self.last_result = table.pack(attempts[method](self))
   end
end

local defaults = {}

function defaults:host_key(blob)
   local accept = self.accept
   if type(accept) == "function" then
      accept = accept(blob)
   end
   if accept ~= "later" then
      self:verdict(accept)
   end
end

function CoreClient:verdict(accept)
   self.accepted = accept
   self.session:answer_host_key(accept)
end

function defaults:macerror()
   self.session:answer_mac(self.mac)
end

function defaults:kex_done()
   if not self.kex_done then
      self.kex_done = true
      self:authenticate()
   end
end

function defaults:auth_failure()
   self:authenticate()
end

function defaults:auth_pk_ok()
   self.methods = { "publickey" }
   self:authenticate()
end

function defaults:auth_prompts(_, _, prompts)
   local answers = {}
   for i = 1, #prompts do
      answers[i] = self.answers and self.answers[i] or self.password
   end
   self.session:auth_answer(answers)
end

function defaults:auth_success()
   if type(self.command) == "function" then
      self.command(self)
   elseif self.command then
      self.channel = self.session:open("session", "")
   end
end

function defaults:opened(channel)
   if channel == self.channel then
      self.session:channel_request(channel, "exec", true, (">s4"):pack(self.command))
   end
end

-- Takes what is kept of a stream.
function CoreClient:collect(channel, stream)
   local name = stream == 1 and "stderr" or "stdout"
   while true do
      local bytes = self.session:channel_take(channel, stream, 65536)
      if not bytes or bytes == "" then
         return
      end
      self[name] = self[name] .. bytes
   end
end

function defaults:data(channel, stream)
   self:collect(channel, stream)
end

function defaults:exit_status(_, status)
   self.status = status
end

function defaults:closed(channel)
   self.closed = true
   self.session:channel_release(channel)
end

function defaults:failed()
   self.failed = true
end

-- Takes events until there are none; how many there were.
function CoreClient:step()
   local n = 0
   while true do
      local event = table.pack(self.session:next())
      if event[1] == nil then
         return n
      end
      n = n + 1
      table.insert(self.events, event)
      local special, default = self.on[event[1]], defaults[event[1]]
      local done = special and special(self, table.unpack(event, 2, event.n))
      if default and not done then
         default(self, table.unpack(event, 2, event.n))
      end
   end
end

-- How many events of a kind came, and the first of them.
function CoreClient:count(kind)
   local n, first = 0, nil
   for _, event in ipairs(self.events) do
      if event[1] == kind then
         n, first = n + 1, first or event
      end
   end
   return n, first
end

return CoreClient
