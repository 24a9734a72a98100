-- `make demo`: the tour runs to its end by itself, shows what it says, and leaves nothing behind.

local process = require "spec.support.process"
local tmp = require "spec.support.tmp"

describe("the tour", function()
   local folder

   before_each(function()
      folder = tmp.dir()
   end)

   after_each(function()
      folder:remove()
   end)

   local function tour(example, argument)
      return process.run{ "sh", "examples/demo.sh", example, argument,
         env = { TMPDIR = folder:path(), LUA = process.lua } }
   end

   it("shows each step's Lua and what came of it, without colours where there is no terminal", function()
      local result = tour()
      assert.equal("", result.stderr)
      assert.equal(0, result.status)
      local steps = 0
      for number in result.stdout:gmatch("\n(%d+)%. ") do
         steps = steps + 1
         assert.equal(steps, tonumber(number))
      end
      assert.equal(13, steps)
      assert.is_nil(result.stdout:find("\27", 1, true))
      for _, said in ipairs{ "nil host_key_unknown", "host key  SHA256:", "banner    Welcome to a private sshd",
         "key exchange sntrup761x25519-sha512", "stdout moonssh on Linux", "stderr oops", "status 3 ok false",
         "<$HOME; rm -rf>", "line 3", "hello, moon", "it said green", "task 5",
         "rekeys 1 ping answered", "the server says 2 Too many authentication failures", "nil disconnected" } do
         assert.is_truthy(result.stdout:find("\n      " .. said, 1, true), said)
      end
      assert.is_truthy(result.stdout:find("environment: TOUR=moonssh\n", 1, true))
   end)

   it("leaves no file and no server", function()
      local result = tour()
      assert.is_truthy(result.stdout:find("127%.0%.0%.1:%d+"))
      assert.equal("", process.run{ "ls", "-A", folder:path() }.stdout)
      assert.equal("", process.run{ "pgrep", "-f", "-a", folder:path() }.stdout) -- its files are in sshd's arguments
   end)

   it("runs another example in its place", function()
      local result = tour("examples/callbacks.lua")
      assert.equal("", result.stderr)
      assert.equal(0, result.status)
      assert.is_truthy(result.stdout:find("\nmacerror +a packet of %d+ bytes"))
      assert.equal("", process.run{ "ls", "-A", folder:path() }.stdout)
   end)

   it("gives the other example what it wants beside a destination", function()
      local result = tour("examples/agent_in_lua.lua", "ssh-add -l; exit 5")
      assert.same({ "", 5 }, { result.stderr, result.status })
      assert.matches("^the server has asked for the list of keys\n", result.stdout)
      assert.matches("\n256 SHA256:%S+ ed25519 of this process %(ED25519%)\n", result.stdout)
   end)
end)
