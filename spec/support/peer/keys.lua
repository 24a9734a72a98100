-- Keys for the hand-made server and the client against it: objects of the testing module, each made once a process.
-- RSA keys take time to make: these come from the cache that all specs share.

local shared = require "spec.support.keys"
local testing = require "moonssh_testing"

local keys = {}
local made = {}

local function once(name, make)
   made[name] = made[name] or assert(make())
   return made[name]
end

-- A host key, and with a name another one.
function keys.ed25519(name)
   return once("ed25519 " .. (name or "host"), function()
      return testing.keys.generate("ed25519")
   end)
end

-- What the client proves itself with.
function keys.user()
   return keys.ed25519("user")
end

function keys.ecdsa(bits)
   return once("ecdsa " .. bits, function()
      return testing.keys.generate("ecdsa", bits)
   end)
end

function keys.rsa()
   return once("rsa", function()
      local file <close> = assert(io.open(shared.path("rsa", "peer"), "rb"))
      return testing.keys.parse_file(file:read("a"))
   end)
end

return keys
