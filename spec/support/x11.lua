-- What X clients and the specs of X11 forwarding have in common.

local tmp = require "spec.support.tmp"

local x11 = {
   NAME = "MIT-MAGIC-COOKIE-1",
   REAL = "the real cookie!",
}

local function padded(text)
   return text .. ("\0"):rep(-#text % 4)
end

-- The first bytes of an X connection.
function x11.prefix(order, cookie, name)
   name = name or x11.NAME
   return string.pack(order == "l" and "<c1BI2I2I2I2I2" or ">c1BI2I2I2I2I2", order, 0, 11, 0, #name, #cookie, 0)
      .. padded(name) .. padded(cookie)
end

-- The fields of the latest x11-req that a scripted server has: single, name, cookie, screen, and the cookie's bytes.
function x11.requested(server)
   local found
   for _, request in ipairs(server:received("channel_request")) do
      found = request.name == "x11-req" and request or found
   end
   local single, name, cookie, screen = string.unpack(">Bs4s4I4", found.data)
   return single, name, cookie, screen, (cookie:gsub("%x%x", function(digits)
      return string.char(tonumber(digits, 16))
   end))
end

-- The cookie that the server was given, as bytes.
function x11.fake(server)
   return (select(5, x11.requested(server)))
end

-- Has the server open a channel; gives its end of it once that is answered.
function x11.open(link, address, port)
   local channel = link.server:open("x11", string.pack(">s4I4", address or "192.0.2.7", port or 6010))
   link:settle()
   return channel
end

-- A folder with an Xauthority file for all displays; the folder and its path.
function x11.authority(cookie)
   local folder = tmp.dir()
   return folder, folder:write("Xauthority", string.pack(">I2s2s2s2s2", 65535, "", "", x11.NAME, cookie or x11.REAL))
end

return x11
