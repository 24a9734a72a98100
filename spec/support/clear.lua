-- The part of a stream that is not encrypted: identification lines, then packets up to NEWKEYS.

local clear = {}

-- A payload as a packet without encryption.
function clear.packet(payload)
   local padding = 8 - (#payload + 5) % 8
   if padding < 4 then
      padding = padding + 8
   end
   return (">I4B"):pack(1 + #payload + padding, padding) .. payload .. ("\0"):rep(padding)
end

-- Calls f(payload) for each packet of whole packets in the clear. What it returns takes the place of the payload;
-- false takes the packet out, nil leaves it. What comes after NEWKEYS is passed to `after`, if given.
function clear.edit(bytes, f, after)
   local parts, at = {}, 1
   while at <= #bytes do
      if bytes:find("^SSH%-", at) then
         local last = bytes:find("\n", at, true)
         table.insert(parts, bytes:sub(at, last))
         at = last + 1
      else
         local len, padding = (">I4B"):unpack(bytes, at)
         local payload = bytes:sub(at + 5, at + 3 + len - padding)
         local new = f(payload)
         if new == nil then
            table.insert(parts, bytes:sub(at, at + 3 + len))
         elseif new then
            table.insert(parts, clear.packet(new))
         end
         at = at + 4 + len
         if payload == "\21" then
            local rest = bytes:sub(at)
            table.insert(parts, after and after(rest) or rest)
            break
         end
      end
   end
   return table.concat(parts)
end

return clear
