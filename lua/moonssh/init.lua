-- SSH for Lua: what `require "moonssh"` gives.

local core = require "moonssh.core"
local callbacks = require "moonssh.callbacks"
local loop = require "moonssh.loop"
local quote = require "moonssh.quote"
local Session = require "moonssh.session"
local task = require "moonssh.task"
local transport = require "moonssh.transport"

---@class moonssh
---@field CALLBACK table<string, string> the types of callbacks by their names in capitals
---@field EAGAIN integer
---@field agent fun(path?: string): moonssh.agent|nil, moonssh.error?
---@field algorithms table<string, string[]> all there are, by kind, in order of preference
---@field config fun(path: string): moonssh.config|nil, moonssh.error?
---@field connect fun(destination: string, options?: moonssh.connect_options): moonssh.session|nil, moonssh.error?
---@field fleet fun(hosts: any, options?: moonssh.fleet_options): moonssh.fleet|nil, moonssh.error?
---@field reconnecting fun(to: string, options?: moonssh.reconnecting_options): moonssh.reconnecting|nil, moonssh.error?
---@field map fun(items: any, f: function, options?: moonssh.map_options): table, table
---@field key table load, parse, generate, external
---@field known_hosts fun(path: string|string[]): moonssh.known_hosts|nil, moonssh.error?
---@field serve_agent fun(session: moonssh.session, channel: moonssh.channel): true|nil, moonssh.error?
---@field version string
local ssh = {
   CALLBACK = callbacks.CALLBACK,
   EAGAIN = core.EAGAIN,
   loop = loop,
   session = Session.create,
   socket_recv = transport.socket_recv,
   socket_send = transport.socket_send,
   spawn = task.spawn,
   version = core.version,
}

--- One string that a POSIX shell takes apart into exactly these words.
---@param list string[]
---@return string
function ssh.quote(list)
   return quote.list(list)
end

-- The rest is loaded when it is first asked for: a script that only talks to its own sockets needs none of it.
local parts = {
   agent = function()
      return require "moonssh.agent".open
   end,
   algorithms = function()
      return require "moonssh.algorithms".list()
   end,
   config = function()
      return require "moonssh.config".open
   end,
   connect = function()
      return require "moonssh.client".connect
   end,
   fleet = function()
      return require "moonssh.fleet".fleet
   end,
   key = function()
      local key = require "moonssh.key"
      return { external = key.external, generate = key.generate, load = key.load, parse = key.parse }
   end,
   serve_agent = function()
      return require "moonssh.agent_server".serve_agent
   end,
   map = function()
      return require "moonssh.map".map
   end,
   reconnecting = function()
      return require "moonssh.reconnecting".reconnecting
   end,
   known_hosts = function()
      return require "moonssh.known_hosts".open
   end,
}

return setmetatable(ssh, {
   __index = function(self, name)
      local load = parts[name]
      if load then
         local part = load()
         rawset(self, name, part)
         return part
      end
   end,
})
