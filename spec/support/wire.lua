-- The data types of RFC 4251 section 5 and the message numbers, for specs that write or read payloads by hand.
--
--    wire.message("CHANNEL_EOF", "u", 7)                  a payload
--    local number, id = wire.unpack("bu", payload)        its fields; raises when they are not there
--
-- Formats have a letter a field: b byte, o boolean, u uint32, q uint64, s string, n name-list (a table, or its text),
-- m mpint from a big-endian magnitude, r raw bytes (when unpacking: all that is left).

local wire = {}

wire.NUMBER = {
   DISCONNECT = 1, IGNORE = 2, UNIMPLEMENTED = 3, DEBUG = 4, SERVICE_REQUEST = 5, SERVICE_ACCEPT = 6, EXT_INFO = 7,
   KEXINIT = 20, NEWKEYS = 21, KEX_INIT = 30, KEX_REPLY = 31, GEX_GROUP = 31, GEX_INIT = 32, GEX_REPLY = 33,
   GEX_REQUEST = 34, USERAUTH_REQUEST = 50, USERAUTH_FAILURE = 51, USERAUTH_SUCCESS = 52, USERAUTH_BANNER = 53,
   USERAUTH_PK_OK = 60, USERAUTH_PASSWD_CHANGEREQ = 60, USERAUTH_INFO_REQUEST = 60, USERAUTH_INFO_RESPONSE = 61,
   GLOBAL_REQUEST = 80, REQUEST_SUCCESS = 81, REQUEST_FAILURE = 82, CHANNEL_OPEN = 90,
   CHANNEL_OPEN_CONFIRMATION = 91, CHANNEL_OPEN_FAILURE = 92, CHANNEL_WINDOW_ADJUST = 93, CHANNEL_DATA = 94,
   CHANNEL_EXTENDED_DATA = 95, CHANNEL_EOF = 96, CHANNEL_CLOSE = 97, CHANNEL_REQUEST = 98, CHANNEL_SUCCESS = 99,
   CHANNEL_FAILURE = 100, PING = 192, PONG = 193,
}

-- The mpint of a non-negative number in its one right encoding: no needless zero in front, one before a set top bit.
local function mpint(magnitude)
   local bytes = magnitude:gsub("^\0+", "")
   if bytes ~= "" and bytes:byte() >= 0x80 then
      bytes = "\0" .. bytes
   end
   return (">s4"):pack(bytes)
end

local pack = {
   b = function(value) return string.char(value) end,
   o = function(value) return value and "\1" or "\0" end,
   u = function(value) return (">I4"):pack(value) end,
   q = function(value) return (">I8"):pack(value) end,
   s = function(value) return (">s4"):pack(value) end,
   n = function(value) return (">s4"):pack(type(value) == "table" and table.concat(value, ",") or value) end,
   m = mpint,
   r = function(value) return value end,
}

local unpack = {
   b = function(bytes, at) return (">I1"):unpack(bytes, at) end,
   o = function(bytes, at)
      local value, after = (">I1"):unpack(bytes, at)
      return value ~= 0, after
   end,
   u = function(bytes, at) return (">I4"):unpack(bytes, at) end,
   q = function(bytes, at) return (">I8"):unpack(bytes, at) end,
   s = function(bytes, at) return (">s4"):unpack(bytes, at) end,
   n = function(bytes, at)
      local text, after = (">s4"):unpack(bytes, at)
      local names = {}
      for name in text:gmatch("[^,]+") do
         table.insert(names, name)
      end
      return names, after
   end,
   m = function(bytes, at)
      local value, after = (">s4"):unpack(bytes, at)
      return (value:gsub("^\0", "")), after
   end,
   r = function(bytes, at) return bytes:sub(at), #bytes + 1 end,
}

function wire.pack(format, ...)
   local parts = {}
   for i = 1, #format do
      parts[i] = pack[format:sub(i, i)]((select(i, ...)))
   end
   return table.concat(parts)
end

-- The fields of `format` from the first byte on.
function wire.unpack(format, bytes)
   local values, at = {}, 1
   for i = 1, #format do
      values[i], at = unpack[format:sub(i, i)](bytes, at)
   end
   return table.unpack(values, 1, #format)
end

-- A payload: a message's name or number, and its fields.
function wire.message(name, format, ...)
   return string.char(wire.NUMBER[name] or name) .. wire.pack(format or "", ...)
end

return wire
