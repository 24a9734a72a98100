-- Bytes as hexadecimal digits and back.
--
--    hex.decode "00 ff"  hex.encode("\0\xff")

local hex = {}

function hex.decode(text)
   local digits = text:gsub("%s", "")
   assert(#digits % 2 == 0 and not digits:find("%X"), "not hexadecimal")
   return (digits:gsub("%x%x", function(pair)
      return string.char(tonumber(pair, 16))
   end))
end

function hex.encode(bytes)
   return (bytes:gsub(".", function(byte)
      return ("%02x"):format(byte:byte())
   end))
end

return hex
