-- A writer of zlib streams (RFC 1950, 1951) as a server sends them, one after the other through all its packets: plain
-- stored blocks, and runs of one byte that grow a thousandfold when they are inflated.

local Deflate = {}
Deflate.__index = Deflate

function Deflate.new()
   return setmetatable({ started = false }, Deflate)
end

function Deflate:header()
   if self.started then
      return ""
   end
   self.started = true
   return "\x78\x01"
end

-- One stored block a 65,535 bytes; it begins and ends on a byte.
function Deflate:stored(bytes)
   local parts = { self:header() }
   for at = 1, math.max(#bytes, 1), 65535 do
      local piece = bytes:sub(at, at + 65534)
      table.insert(parts, ("\0" .. ("<I2I2"):pack(#piece, ~#piece & 0xffff)) .. piece)
   end
   return table.concat(parts)
end

-- Writes bits, the lowest first, as deflate packs them.
local function bit_writer()
   local bytes, held, n = {}, 0, 0
   local writer = {}
   function writer.put(value, count)
      held = held | value << n
      n = n + count
      while n >= 8 do
         table.insert(bytes, string.char(held & 255))
         held, n = held >> 8, n - 8
      end
   end
   -- A code of the fixed tree: these go with their highest bit first.
   function writer.code(value, count)
      for i = count - 1, 0, -1 do
         writer.put(value >> i & 1, 1)
      end
   end
   function writer.finish()
      if n > 0 then
         writer.put(0, 8 - n)
      end
      return table.concat(bytes)
   end
   return writer
end

-- Bytes that inflate to `first`, then `count` times its last byte, and an empty stored block that ends on a byte.
function Deflate:run(first, count)
   local header = self:header()
   local writer = bit_writer()
   writer.put(0, 1) -- not the last block
   writer.put(1, 2) -- the fixed tree
   for i = 1, #first do
      local byte = first:byte(i)
      if byte < 144 then
         writer.code(0x30 + byte, 8)
      else
         writer.code(0x190 + byte - 144, 9)
      end
   end
   local matches = count // 258
   for _ = 1, matches do
      writer.code(0xc5, 8) -- length 258
      writer.code(0, 5) -- distance 1
   end
   for _ = 1, count - matches * 258 do
      local byte = first:byte(-1)
      writer.code(byte < 144 and 0x30 + byte or 0x190 + byte - 144, byte < 144 and 8 or 9)
   end
   writer.code(0, 7) -- end of block
   writer.put(0, 3) -- a stored block, not the last
   return header .. writer.finish() .. "\0\0\xff\xff"
end

-- What ends a stream: an empty block marked as the last, and the checksum of an empty text.
Deflate.FINAL = "\1\0\0\xff\xff\0\0\0\1"

return Deflate
