-- KEXINIT payloads made by hand, for both sides of a pair.
--
--    kexinit{ kex = "curve25519-sha256", follows = true }   a payload; what is not named is the default list
--
-- Fields: kex host_key cipher mac compression language (one list for both directions), marks (behind the methods;
-- default none), follows, reserved, cookie, and lists = { [n] = text } for the n-th of the ten lists alone.

local testing = require "moonssh_testing"
local wire = require "spec.support.wire"

local CLASSES = { "kex", "host_key", "cipher", "mac", "compression" }

local function default(class)
   local names, i = {}, 0
   while true do
      local name, is_default = testing.transport.algorithm_at(class, i)
      if not name then
         return table.concat(names, ",")
      end
      if is_default then
         table.insert(names, name)
      end
      i = i + 1
   end
end

local function kexinit(options)
   local list = {}
   for i, class in ipairs(CLASSES) do
      list[class] = options[class] or default(i - 1)
   end
   if options.marks then
      list.kex = list.kex .. "," .. options.marks
   end
   local language = options.language or ""
   local lists = { list.kex, list.host_key, list.cipher, list.cipher, list.mac, list.mac, list.compression,
      list.compression, language, language }
   for n, text in pairs(options.lists or {}) do
      lists[n] = text
   end
   return "\20" .. (options.cookie or testing.crypto.random(16)) .. wire.pack("ssssssssss", table.unpack(lists)) ..
      wire.pack("ou", options.follows, options.reserved or 0)
end

return kexinit
