-- Where a forward begins or ends on this side: "host:port", "port", or the path of a Unix socket.

local core = require "moonssh.core"
local errors = require "moonssh.errors"
local loop = require "moonssh.loop"
local net = require "moonssh.net"

local endpoint = {}

local EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT = 98, 99, 97

-- A free port of one address may be taken at another of the same name: so often another one is tried.
local TRIES = 16

local function port_of(text)
   local port = text:find("^%d+$") and #text <= 5 and tonumber(text)
   return port and port <= 65535 and port or nil
end

--- The parts of a place: { host =, port = } or { path = }; nil when it is none. "" and "*" for a host are every
--- address; without a host it is "localhost". Port 0 is any.
---@param text string|integer
---@return table|nil
function endpoint.parse(text)
   if math.type(text) == "integer" then
      text = tostring(text)
   elseif type(text) ~= "string" or text:find("\0", 1, true) then
      return nil
   elseif text:find("/", 1, true) then
      return { path = text }
   end
   local host, port = text:match("^%[([%x:.%%%w]+)%]:(%d+)$")
   if not host then
      host, port = text:match("^([^:]*):(%d+)$")
   end
   if not port then
      host, port = "localhost", text
   end
   local number = port_of(port)
   return number and { host = host == "*" and "" or host, port = number } or nil
end

-- Listening ----------------------------------------------------------------------------------------------------------

local function close_all(list)
   for _, fd in ipairs(list) do
      net.close(fd)
   end
end

-- The addresses to bind.
local function addresses_of(place, port, deadline)
   if place.host ~= "" then
      return net.resolve(place.host, port, nil, deadline)
   end
   local list = {}
   for _, name in ipairs{ "0.0.0.0", "::" } do
      local found, err = net.resolve(name, port, nil, deadline)
      if not found then
         return nil, err
      end
      list[#list + 1] = found[1]
   end
   return list
end

-- Binds every address of a place at one port; those of a family that this machine lacks do not count.
-- → list of descriptors, port | nil, message, errno
local function bind_all(place, port, deadline)
   local fds, bound, message, errno = {}, port, nil, nil
   local addresses, err = addresses_of(place, port, deadline)
   for i = 1, addresses and #addresses or 0 do
      local fd, at
      fd, at, message, errno = core.socket.listen(addresses[i])
      if fd then
         fds[#fds + 1] = fd
         if bound == 0 then
            bound = at
            addresses, err = addresses_of(place, bound, deadline)
         end
      elseif errno ~= EADDRNOTAVAIL and errno ~= EAFNOSUPPORT then
         close_all(fds)
         return nil, message, errno
      end
      if not addresses then
         break
      end
   end
   if not addresses then
      close_all(fds)
      return nil, err
   elseif not fds[1] then
      return nil, message or "no address to bind", errno
   end
   return fds, bound
end

--- Listens at a place; of a Unix socket that is for its owner alone, or has the place's `mode`, and with `replace` it
--- takes the place of one that is there. → { fd, … }, port | nil, err
---@param place table
---@param deadline number|nil
function endpoint.listen(place, deadline)
   if place.path then
      local there = place.replace and core.file.lstat(place.path)
      if there and there.type == "socket" then
         os.remove(place.path)
      end
      local fd, code, message = core.socket.listen_unix(place.path)
      if fd and place.mode then
         local ok, why, text = core.file.chmod(place.path, place.mode)
         if not ok then
            net.close(fd)
            os.remove(place.path)
            fd, code, message = nil, why, text
         end
      end
      if not fd then
         return nil, errors.new(code, ("cannot listen at %s: %s"):format(errors.escape(place.path), message),
            { path = place.path })
      end
      return { fd }
   end
   local fds, port, errno
   for _ = 1, place.port == 0 and TRIES or 1 do
      fds, port, errno = bind_all(place, place.port, deadline)
      if fds or errno ~= EADDRINUSE then
         break
      end
   end
   if fds then
      return fds, port
   elseif errors.is(port) then
      return nil, port
   end
   return nil, errors.new("io", ("cannot listen at %s port %d: %s"):format(
      place.host == "" and "every address" or errors.escape(place.host), place.port, tostring(port)),
      { host = place.host, port = place.port })
end

--- Takes a connection from one of the descriptors, waiting for it. → fd, host, port | nil, err; nil alone when whoever
--- listens is closed
---@param fds integer[]
---@param owner { closed: boolean }
function endpoint.accept(fds, owner)
   local watched = {}
   for i, fd in ipairs(fds) do
      watched[i] = { fd, "r" }
   end
   while not owner.closed do
      local index = loop.wait_any(watched)
      local fd, host, port, errno = core.socket.accept(fds[index or 1])
      if fd then
         return fd, host, port
      elseif errno ~= core.EAGAIN then
         return nil, errors.new(host, port)
      end
   end
end

-- Connecting ---------------------------------------------------------------------------------------------------------

--- Connects to a place. → fd | nil, err
---@param place table
---@param deadline number|nil
function endpoint.connect(place, deadline)
   if not place.path then
      return net.connect(place.host == "" and "localhost" or place.host, place.port, {}, deadline)
   end
   local fd, code, message = core.socket.unix(place.path)
   if not fd then
      return nil, errors.new(code, ("cannot connect to %s: %s"):format(errors.escape(place.path), message),
         { path = place.path })
   end
   return fd
end

return endpoint
