-- When descriptors run out.

local light = require "spec.support.light"
local process = require "spec.support.process"

describe("with few descriptors", function()
   it("dropped sessions are collected, and who gets none is told so", function()
      local server <close> = light.start()
      local result = process.run{ "sh", "-c", 'ulimit -n 64; exec "$0" "$@"', process.lua,
         "spec/support/few_descriptors.lua", server.port }
      assert.equal("", result.stderr)
      assert.equal("true\t0\tio\ttrue\n", result.stdout)
      assert.equal(0, result.status)
   end)
end)
