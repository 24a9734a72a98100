-- A number in a stream of bytes, as file:read("n") of `io` finds it: the longest text that begins as numerals do, which
-- need not be one in the end.

-- The longest text that io takes for a number.
local MOST = 200

local Scanner = {}
Scanner.__index = Scanner

-- Takes up to `most` bytes of a kind; gives how many.
function Scanner:accept(kind, most)
   local n = 0
   while n < (most or MOST + 1) and self.text do
      local c = self.peek()
      if c == "" or not c:find(kind) then
         break
      elseif #self.text == MOST then
         self.text = nil
         break
      end
      self.take()
      self.text, n = self.text .. c, n + 1
   end
   return n
end

--- Reads a number.
---@param peek fun(): string the next byte, which stays; "" at the end
---@param take fun() takes that byte
---@return number|nil
return function(peek, take)
   local scanner = setmetatable({ peek = peek, take = take, text = "" }, Scanner)
   while peek():find("%s") do
      take()
   end
   scanner:accept("[-+]", 1)
   local digit, exponent, count = "%d", "[eE]", scanner:accept("0", 1)
   if count == 1 and scanner:accept("[xX]", 1) == 1 then
      digit, exponent, count = "%x", "[pP]", 0
   end
   count = count + scanner:accept(digit)
   if scanner:accept("%.", 1) == 1 then
      count = count + scanner:accept(digit)
   end
   if count > 0 and scanner:accept(exponent, 1) == 1 then
      scanner:accept("[-+]", 1)
      scanner:accept("%d")
   end
   return scanner.text and tonumber(scanner.text)
end
