local behaviour = require "spec.support.loop_behaviour"
local loop = require "moonssh.loop"

behaviour(_ENV, "the built-in loop", nil, loop.run)
