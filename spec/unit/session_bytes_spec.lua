-- However the bytes are cut on their way, a session does the same; and where they end, it fails cleanly.

local ScriptedServer = require "spec.support.scripted_server"
local SessionPair = require "spec.support.session_pair"
local testing = require "moonssh_testing"

-- One algorithm of each kind keeps the stream short, so that every byte of it can be tried.
local SHORT = { kex = "curve25519-sha256", host_key = "ssh-ed25519", cipher = "aes128-gcm@openssh.com",
   compression = "none" }

local function new(heap, changes)
   local session, transport = { heap = heap }, {}
   for name, value in pairs(SHORT) do
      session[name], transport[name] = value, value
   end
   local options = {
      session = session,
      server = {
         transport = transport, banner = "Welcome",
         exec = function(channel)
            channel:write("out"):write("err", 1):write(("long "):rep(20)):finish(5)
         end,
      },
      login = function(pair_session)
         assert(pair_session:none("moon"))
      end,
      on = { auth_failure = function(self)
         assert(self.session:password("moon", "secret"))
      end },
   }
   for name, value in pairs(changes or {}) do
      options[name] = value
   end
   return SessionPair.new(options)
end

describe("the stream of a session", function()
   local whole, length

   setup(function()
      local pair = new()
      pair:run()
      assert(pair.status == 5, "the script runs")
      whole, length = pair.transcript, pair.bytes_to_client
      pair:close()
   end)

   -- The same events as when nothing is cut.
   local function same(changes)
      local pair = new(nil, changes)
      pair:run()
      assert.same(whole, pair.transcript)
      assert.same({ "out" .. ("long "):rep(20), "err", 5 }, { pair.out, pair.err, pair.status })
      pair:close()
   end

   it("may come byte by byte", function()
      same{ to_client = 1 }
      same{ to_client = 1, to_server = 1 }
   end)

   it("may be taken in any pieces", function()
      for size = 2, 40 do
         same{ to_client = size, to_server = size }
      end
      same{ to_server = 1 }
      same{ to_server = 3 }
   end)

   it("may come and be taken in pieces of changing size, and not at all at times", function()
      for seed = 1, 100 do
         math.randomseed(seed)
         same{
            to_client = function() return math.random(37) end,
            to_server = function() return math.random(3) == 1 and math.random(37) or 0 end,
         }
      end
   end)

   it("may be split in two anywhere", function()
      for at = 1, length - 1 do
         local moved = 0
         same{ to_client = function()
            local size = moved < at and at - moved or math.huge
            moved = moved + math.min(size, 1 << 20)
            return math.min(size, 1 << 20)
         end }
      end
   end)

   -- Runs with the server's stream ended after n bytes, when it is told to be moved in that many.
   local function cut(n)
      local heap = testing.heap.new()
      local left = n
      local pair = new(heap)
      pair.to_client = function()
         return left
      end
      local move = pair.move_to_client
      function pair:move_to_client()
         local before = self.bytes_to_client
         local moved = move(self)
         left = left - (self.bytes_to_client - before)
         return moved
      end
      pair:run()
      if left == 0 and not pair.ended then
         pair.ended = true
         pair.session:feed_eof()
         pair:run()
      end
      return pair, heap
   end

   it("may end after any byte", function()
      for n = 0, length - 1 do
         local pair, heap = cut(n)
         local code, _, reason = pair.session:failure()
         assert.same({ "eof", 0, n }, { code, reason, pair.bytes_to_client })
         assert.equal("failed", pair.events[#pair.events].type)
         -- What came before is the beginning of the whole, and nothing more.
         for i = 1, #pair.transcript - 1 do
            assert.equal(whole[i], pair.transcript[i])
         end
         assert.is_true(pair.status == nil or pair.status == 5)
         pair:close()
         assert.equal(0, heap:in_use())
      end
   end)

   it("may carry many sessions without one disturbing another", function()
      local pairs_, n = {}, 20
      for i = 1, n do
         pairs_[i] = new(nil, { to_client = i, to_server = n - i + 1 }):start()
      end
      local moved
      repeat
         moved = false
         for _, pair in ipairs(pairs_) do
            local any = pair:move_to_server()
            any = pair:move_to_client() or any
            moved = pair:take() or any or moved
         end
      until not moved
      for _, pair in ipairs(pairs_) do
         assert.same(whole, pair.transcript)
         pair:close()
      end
   end)

   it("is not read while the client's own queue is full, and goes on when it is not", function()
      local server = ScriptedServer.new():start()
      local session = assert(testing.session.new{ max_queue = 100 })
      assert(session:start())
      local function turn()
         while session:next() do
            session:answer_host_key(true)
         end
      end
      assert.is_true(session:queued() > 100)
      assert.equal(0, session:input_room())
      turn()
      server:feed(session:output())
      assert.is_true(session:input_room() > 0)
      session:close()
      server:close()
   end)
end)
