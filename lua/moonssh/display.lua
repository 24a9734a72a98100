-- X displays: what DISPLAY names, how to connect to it, and its cookie in the Xauthority file.

local core = require "moonssh.core"
local errors = require "moonssh.errors"
local net = require "moonssh.net"
local paths = require "moonssh.paths"

local display = {}

local FIRST_PORT = 6000
local LAST_PORT = 65535
local FOLDER = "/tmp/.X11-unix/X"
local COOKIE = "MIT-MAGIC-COOKIE-1"

-- Families of addresses in the file (Xauth.h, X.h).
local INTERNET, INTERNET6, LOCAL, WILD = 0, 6, 256, 65535

-- Hosts that name this one: their cookies are the local ones.
local loopback = { localhost = true, ["127.0.0.1"] = true, ["::1"] = true }

---@class moonssh.display
---@field host? string nil for this host's sockets
---@field path? string a socket of its own
---@field number integer
---@field screen integer

--- Takes "host:number.screen" apart, as Xlib does. nil for what is no display.
---@param text string
---@return moonssh.display|nil
function display.parse(text)
   local host, number, screen = text:match("^(.*):(%d+)%.?(%d*)$")
   if not host or #number > 5 or #screen > 5 or host:find("[%c%s]") or host:sub(-1) == ":" and host ~= "::" then
      return nil
   end
   number, screen = math.tointeger(number), math.tointeger(screen) or 0
   if host:sub(1, 1) == "/" then
      return { path = text, number = number, screen = screen }
   elseif host == "" or host == "unix" or host:find("/unix$") then
      return { number = number, screen = screen }
   elseif FIRST_PORT + number > LAST_PORT then
      return nil
   end
   return { host = host:match("^%[(.*)%]$") or host, number = number, screen = screen }
end

-- The first of several Unix sockets that takes a connection; "@" stands for Linux's abstract names.
local function connect_unix(candidates)
   local text
   for _, path in ipairs(candidates) do
      local fd, _, message = core.socket.unix(path)
      if fd then
         return fd
      end
      text = text or ("%s: %s"):format(path, message)
   end
   return nil, errors.new("io", "cannot connect to the display: " .. text, { path = candidates[1] })
end

--- Connects to a display. → descriptor | nil, err
---@param place moonssh.display
---@param deadline? number
---@return integer|nil fd
---@return moonssh.error? err
function display.connect(place, deadline)
   if place.host then
      return net.connect(place.host, FIRST_PORT + place.number, {}, deadline)
   elseif place.path then
      return connect_unix{ place.path, (place.path:gsub("%.%d+$", "")) }
   end
   local path = FOLDER .. place.number
   return connect_unix{ path, "@" .. path }
end

-- The addresses under which a display may have its cookie: { family =, address = }.
local function addresses_of(place, deadline)
   if not place.host or loopback[place.host] then
      return { { family = LOCAL, address = core.file.hostname() } }
   end
   local list = net.resolve(place.host, 0, nil, deadline)
   local result = {}
   for _, address in ipairs(list or {}) do
      -- sockaddr_in has the address behind family and port, sockaddr_in6 behind the flow label, too.
      table.insert(result, address.family == "inet" and { family = INTERNET, address = address.sockaddr:sub(5, 8) }
         or { family = INTERNET6, address = address.sockaddr:sub(9, 24) })
   end
   return result
end

-- Calls f(family, address, number, name, data) for each entry of a file until it gives a value.
local function each_entry(text, f)
   local at = 1
   while at <= #text do
      local ok, family, address, number, name, data, after = pcall(string.unpack, ">I2s2s2s2s2", text, at)
      if not ok then
         return nil -- what follows is no file of this kind
      end
      local result = f(family, address, number, name, data)
      if result then
         return result
      end
      at = after
   end
end

--- The cookie of a display in an Xauthority file, as bytes; nil if there is none.
---@param place moonssh.display
---@param path string
---@param deadline? number
---@return string|nil
function display.cookie(place, path, deadline)
   local text = core.file.read(paths.expand(path))
   if not text then
      return nil
   end
   local addresses = addresses_of(place, deadline)
   local wanted = tostring(place.number)
   return each_entry(text, function(family, address, number, name, data)
      if name ~= COOKIE or number ~= "" and number ~= wanted then
         return nil
      elseif family == WILD then
         return data
      end
      for _, one in ipairs(addresses) do
         if family == one.family and address == one.address then
            return data
         end
      end
   end)
end

return display
