-- A server for many connections at once, in a process of its own; it costs little. The user is "moon"; the password is
-- "secret", and the shared ed25519 key is taken.
--
--    local server <close> = light.start()
--    local session = assert(server:connect{ loop = adapter })      options of ssh.connect; host keys are not looked at
--    server:destination(), light.options{ … }                       for ssh.map and the like
--
-- What it runs: cat, echo TEXT, exit STATUS, sleep SECONDS TEXT, flood BYTES, hang, once TEXT (hangs the first time),
-- hung (how many texts that was so for), debug TEXT (sends SSH_MSG_DEBUG), vanish (the connection ends), and seen: the
-- names of the signals that came, and how many channels are open.

local process = require "spec.support.process"
local ssh = require "moonssh"

local START_TIMEOUT = 60

local light = {}
local Light = {}
Light.__index = Light

function light.start()
   local self = setmetatable({}, Light)
   self.process = assert(process.start{ process.lua, "spec/support/light_server.lua", stdout = "pipe" })
   local said = ""
   while not said:find("\n") do
      local data = self.process:read("stdout", START_TIMEOUT)
      assert(data and data ~= "", "the light server does not start")
      said = said .. data
   end
   self.port = assert(math.tointeger(said:match("^ready (%d+)\n")))
   return self
end

function Light:destination()
   return ("moon@127.0.0.1:%d"):format(self.port)
end

function light.options(options)
   local result = { password = "secret", identity = {}, agent = false, host_keys = "off", known_hosts = {},
      timeout = 60 }
   for name, value in pairs(options or {}) do
      result[name] = value
   end
   return result
end

function Light:connect(options)
   return ssh.connect(self:destination(), light.options(options))
end

function Light:stop()
   self.process:close()
end

Light.__close = Light.stop

return light
