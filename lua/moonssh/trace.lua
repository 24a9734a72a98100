-- Shows each packet to a function of the user's.

local callbacks = require "moonssh.callbacks"
local loop = require "moonssh.loop"

local trace = {}

--- Gives the tracer what the core has noted. It is called in place, as the handlers of the transport are.
function trace.run(session)
   local handle = session._core
   local time = loop.now()
   while session._tracer do
      local sent, number, name, length = handle:trace_next()
      if sent == nil then
         return
      end
      local packet = {
         direction = sent and "send" or "recv",
         type = number,
         name = name,
         length = length,
         time = time,
      }
      local ok, err = callbacks.call(session, "trace", session._tracer, packet)
      if not ok then
         session._raise = session._raise or err
      end
      if session.closed then
         session:_finish_close()
         return
      end
   end
end

return trace
