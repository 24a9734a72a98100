-- The hybrid key exchange that no server of this system has, against another implementation: npm's mlkem with node's
-- X25519, either side of it, alone and through a whole handshake.

local crypto = require "moonssh_testing".crypto
local hex = require "spec.support.hex"
local oracle = require "spec.support.oracle"
local process = require "spec.support.process"
local server = require "spec.support.server"

local MODULES = "build/npm/node_modules"
local TIMEOUT = 60

describe("mlkem768x25519-sha256 of npm's mlkem", function()
   local missing = server.missing("npm")
   if missing then
      pending(missing)
      return
   end

   local node

   setup(function()
      node = assert(process.start{ "node", "spec/support/npm_hybrid.js", stdin = "pipe", stdout = "pipe",
         stderr = "stdout", env = { NODE_PATH = MODULES } })
   end)

   teardown(function()
      node:close()
   end)

   -- What it answers to a command: bytes, bytes.
   local function ask(name, bytes)
      assert(node:write(name .. " " .. hex.encode(bytes or "") .. "\n"))
      local answer = ""
      repeat
         local more = assert(node:read("stdout", TIMEOUT), "no answer")
         assert.not_equal("", more, "it has ended: " .. answer)
         answer = answer .. more
      until answer:find("\n")
      local first, second = answer:match("^(%x+) ?(%x*)\n$")
      assert(first, answer)
      return hex.decode(first), hex.decode(second)
   end

   it("gives the secret that we give, when it answers us", function()
      for _ = 1, 5 do
         local kem = crypto.kem "mlkem"
         local reply, theirs = ask("encapsulate", (kem:keypair()))
         assert.equal(hex.encode(theirs), hex.encode(kem:decapsulate(reply)))
      end
   end)

   it("gives the secret that we give, when we answer it", function()
      for _ = 1, 5 do
         local reply, ours = crypto.kem("mlkem"):encapsulate((ask "keypair"))
         assert.equal(hex.encode(ours), hex.encode((ask("decapsulate", reply))))
      end
   end)

   it("carries a login and a command", function()
      local asked = 0
      local run = oracle.run{ peer = {
         kex = "mlkem768x25519-sha256",
         steps = { share = function(_, client_share)
            asked = asked + 1
            return ask("encapsulate", client_share)
         end },
      } }
      oracle.finished(run)
      assert.equal(1, asked)
   end)
end)
