-- The two callbacks that carry a session to a hand-made server in memory.
--
--    local session = ssh.connect("moon@peer", { socket = {}, callbacks = carry(peer), … })

local EAGAIN = require "moonssh.core".EAGAIN

return function(peer)
   peer:start()
   return {
      send = function(_, buffer, length)
         peer:feed(buffer:sub(1, length))
         return length
      end,
      recv = function(_, length)
         local bytes = peer:take(length)
         return bytes ~= "" and bytes or -EAGAIN
      end,
   }
end
