-- Copas from 3 on, by its documented calls: a thread sleeps until it is woken. They are put on Debian's here, which is
-- older. No other Copas is loaded in this file.

local threads = require "spec.support.copas"

local copas = threads.copas
local asleep = {}

function copas.pauseforever()
   asleep[coroutine.running()] = true
   coroutine.yield()
end

function copas.wakeup(co)
   if asleep[co] then
      asleep[co] = nil
      copas.addthread(co)
   end
end

require "spec.support.loop_behaviour"(_ENV, "Copas with wakeup", require "moonssh.loop.copas",
   threads.inside)
