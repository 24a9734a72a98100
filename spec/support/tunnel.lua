-- Tunnels to a server of spec.support.server, by servers that are not ours: WebSocket by Python's websockets, TLS by
-- its ssl.
--
--    local tunnel <close> = Tunnel.start("websocket", server)        or "tls"
--    tunnel.host, tunnel.port, tunnel.certificate

local process = require "spec.support.process"

local Tunnel = {}
Tunnel.__index = Tunnel

local START_TIMEOUT = 60

function Tunnel.start(kind, server)
   local self = setmetatable({ host = "127.0.0.1", log = server.folder:path(kind .. ".log") }, Tunnel)
   self.process = assert(process.start{ "/usr/bin/python3", "spec/support/tunnel_server.py", kind, server.port,
      server.folder:path(), stdout = "pipe", stderr = self.log })
   local said = ""
   while not said:find("\n") do
      local data = self.process:read("stdout", START_TIMEOUT)
      if not data or data == "" then
         local log <close> = assert(io.open(self.log))
         error(("the %s tunnel does not start:\n%s"):format(kind, log:read("a")))
      end
      said = said .. data
   end
   local port, certificate = said:match("^ready (%d+) ?(%S*)")
   self.port, self.certificate = tonumber(port), certificate
   return self
end

function Tunnel:address()
   return ("%s:%d"):format(self.host, self.port)
end

function Tunnel:stop()
   self.process:close()
end

Tunnel.__close = Tunnel.stop

return Tunnel
