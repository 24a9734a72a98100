-- A session that has nothing to do gives its buffers back, and takes them anew.

local MemorySession = require "spec.support.memory_session"
local SessionPair = require "spec.support.session_pair"
local testing = require "moonssh_testing"

describe("an idle session", function()
   it("gives back the buffers that hold nothing", function()
      local heap = testing.heap.new()
      local pair = SessionPair.new{ session = { heap = heap }, command = "cat", input = ("x"):rep(200000) }
      pair:run()
      assert.equal(200000, #pair.out)
      local before = heap:in_use()
      pair.session:trim()
      assert.is_true(before - heap:in_use() > 8 * 1024)
      local after = heap:in_use()
      pair.session:trim()
      assert.equal(after, heap:in_use())
      pair.out, pair.left = "", nil
      pair.command, pair.input = "echo again", nil
      pair.channel = assert(pair.session:open("session"))
      pair:run()
      assert.equal("again", pair.out)
      pair:close()
      assert.equal(0, heap:in_use())
   end)

   it("loses nothing of what it still holds, at whatever moment it is asked", function()
      local pair
      local function trim()
         pair.session:trim()
         return 7
      end
      pair = SessionPair.new{ command = "cat", input = ("0123456789"):rep(500), to_client = trim, to_server = trim }
      pair:run()
      assert.equal(("0123456789"):rep(500), pair.out)
      assert.equal(0, pair.status)
      pair:close()
   end)

   it("does so after its login", function()
      local link = MemorySession.new()
      local trimmed = 0
      local session = link.session
      function session._trim()
         trimmed = trimmed + 1
      end
      assert(link:login())
      assert.equal(1, trimmed)
   end)
end)
