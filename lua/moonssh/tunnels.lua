-- The part of a session that carries connections: dialling from the server, listening there, forwarding.

local args = require "moonssh.args"
local forward = require "moonssh.forward"
local Listener = require "moonssh.listener"

-- Methods of moonssh.session.
local methods = {}

local function check(self, name)
   args.handle(self, "session", name)
   self:_check(name, true)
end

local open_timeout = { timeout = "number" }

-- What ends up in a C string at the server cannot hold a NUL.
local function check_name(fname, what, name)
   args.check(fname, 1, name, "string")
   if name == "" or name:find("\0", 1, true) then
      args.bad(fname, 1, what .. " cannot be empty or hold a NUL")
   end
end

local function open_direct(self, fname, index, options, type, data)
   options = args.options(fname, index, options, open_timeout)
   return self:_open_channel(options, nil, type, data)
end

--- A connection from the server to a port. → channel | nil, err (`channel_open` when the server does not reach it)
---@param host string as the server resolves it
---@param port integer
---@param options? { timeout: number }
---@return moonssh.channel|nil
---@return moonssh.error? err
function methods:dial(host, port, options)
   check(self, "dial")
   check_name("dial", "a host", host)
   args.check("dial", 2, port, "integer")
   if port < 1 or port > 65535 then
      args.bad("dial", 2, "a number from 1 to 65535 expected")
   end
   -- RFC 4254 7.2. There is no connection of which this one would be the continuation.
   local data = string.pack(">s4I4s4I4", host, port, "127.0.0.1", 0)
   return open_direct(self, "dial", 3, options, "direct-tcpip", data)
end

--- A connection from the server to a Unix socket there. → channel | nil, err
---@param path string
---@param options? { timeout: number }
---@return moonssh.channel|nil
---@return moonssh.error? err
function methods:dial_unix(path, options)
   check(self, "dial_unix")
   check_name("dial_unix", "a path", path)
   -- PROTOCOL of OpenSSH, 2.4: the path, and two reserved fields.
   return open_direct(self, "dial_unix", 2, options, "direct-streamlocal@openssh.com",
      string.pack(">s4s4I4", path, "", 0))
end

-- Runs f unless the session cannot have channels. → its results | nil, err
local function unless_hindered(self, f, ...)
   local err = self:_hindrance()
   if err then
      return nil, err
   end
   return f(...)
end

--- Has the server listen at an address: "localhost", "" for all, or as it names them. Port 0 is any; `listener.port` is
--- the bound one. What listens beyond the server's own loopback, its GatewayPorts must allow. → listener | nil, err
--- (`channel_request` when the server refuses)
---@param host string
---@param port integer
---@param options? { timeout: number }
---@return moonssh.listener|nil
---@return moonssh.error? err
function methods:listen(host, port, options)
   check(self, "listen")
   args.check("listen", 1, host, "string")
   args.check("listen", 2, port, "integer")
   options = args.options("listen", 3, options, open_timeout)
   if host:find("\0", 1, true) then
      args.bad("listen", 1, "a host cannot hold a NUL")
   elseif port < 0 or port > 65535 then
      args.bad("listen", 2, "a number from 0 to 65535 expected")
   end
   return unless_hindered(self, Listener.tcp, self, host, math.tointeger(port), self:_deadline(options))
end

--- Has the server listen at a path. → listener | nil, err
---@param path string
---@param options? { timeout: number }
---@return moonssh.listener|nil
---@return moonssh.error? err
function methods:listen_unix(path, options)
   check(self, "listen_unix")
   check_name("listen_unix", "a path", path)
   options = args.options("listen_unix", 2, options, open_timeout)
   return unless_hindered(self, Listener.unix, self, path, self:_deadline(options))
end

---@class moonssh.forward_options
---@field bind string|integer "host:port", a port (of localhost), or the path of a Unix socket; port 0 is any
---@field to? string|integer the same: where the connections go on
---@field on_error? fun(err: moonssh.error, origin: table) told of connections that came to nothing
---@field timeout? number
---@field mode? integer of a Unix socket that is listened at here: who may connect; 0600 by default
---@field replace? boolean a Unix socket that is there already makes way for it

--- Listens here, and carries each connection to a place that the server reaches. In the background: it goes on while
--- something waits. → forward | nil, err
---@param options moonssh.forward_options
---@return moonssh.forward|nil
---@return moonssh.error? err
function methods:forward_local(options)
   check(self, "forward_local")
   return forward.here(self, options)
end

--- Has the server listen, and carries each connection to a place that is reached from here. → forward | nil, err
---@param options moonssh.forward_options
---@return moonssh.forward|nil
---@return moonssh.error? err
function methods:forward_remote(options)
   check(self, "forward_remote")
   return forward.there(self, options)
end

--- Listens here for SOCKS 4, 4a and 5, and carries each connection to where it asks for, as the server reaches and
--- resolves it. With `remote` it is the other way round: the server listens, and connections go on from here to where
--- its clients ask for and `permit(host, port)` allows, which is everywhere without it. → forward | nil, err
---@param options moonssh.forward_options with `remote` and `permit`, and without `to`
---@return moonssh.forward|nil
---@return moonssh.error? err
function methods:forward_dynamic(options)
   check(self, "forward_dynamic")
   return forward.dynamic(self, options)
end

return methods
