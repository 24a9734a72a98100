-- New keys in the middle of everything, asked for by either side or by both at once: nobody above notices.

local SessionPair = require "spec.support.session_pair"

local WHO = {
   ["the client"] = function(pair) assert(pair.session:rekey()) end,
   ["the server"] = function(pair) assert(pair.server:rekey()) end,
   ["both at once"] = function(pair)
      assert(pair.session:rekey())
      assert(pair.server:rekey())
   end,
}

-- A script with authentication in several steps, both streams, window grants and an orderly end.
local function script(changes)
   local options = {
      session = { initial_window = 2000 },
      server = {
         banner = "Welcome",
         auth = { password = "secret", rounds = { { { text = "Code:", answer = "1" } } }, second = true },
         exec = function(channel)
            channel:write(("o"):rep(3000)):write(("e"):rep(1500), 1):write("end"):finish(7)
         end,
      },
      on = {
         auth_failure = function(self) assert(self.session:interactive("moon")) end,
         auth_prompts = function(self) assert(self.session:answer{ "1" }) end,
      },
   }
   for name, value in pairs(changes or {}) do
      options[name] = value
   end
   return SessionPair.new(options)
end

local function without_kex(transcript)
   local list = {}
   for _, line in ipairs(transcript) do
      if not line:find("^kex_done") then
         table.insert(list, line)
      end
   end
   return list
end

-- The data of each stream in a piece: where packets end depends on when grants arrive, which is not the point here.
local function result(pair)
   return { pair.out, pair.err, pair.status, pair.session:failure() or false, pair.server.failed or false }
end

describe("new keys", function()
   local whole, n_events

   setup(function()
      local pair = script()
      pair:run()
      whole, n_events = without_kex(pair.transcript), #pair.transcript
      assert(pair.status == 7 and pair.out == ("o"):rep(3000) .. "end" and pair.err == ("e"):rep(1500))
      pair:close()
   end)

   for who, rekey in pairs(WHO) do
      it(("may be asked for by %s after any event once the user is authenticated"):format(who), function()
         for at = 3, n_events do
            local pair = script()
            pair:run(function() return #pair.events >= at and pair.session:authenticated() end)
            rekey(pair)
            pair:run()
            assert.same({ ("o"):rep(3000) .. "end", ("e"):rep(1500), 7, false, false }, result(pair))
            assert.is_true(pair.session:info().rekeys >= 1)
            if who ~= "the client" then
               assert.equal(pair.session:info().rekeys + 1, pair.server.n_kex)
            end
            local seen = without_kex(pair.transcript)
            assert.equal(whole[1], seen[1])
            assert.equal(whole[#whole], seen[#seen])
            pair:close()
         end
      end)

      for how, size in pairs{ ["at once"] = 1 << 20, ["byte by byte"] = 1 } do
         it(("may be asked for by %s at each of 200 messages, moved %s"):format(who, how), function()
            local pieces = {}
            for i = 1, 200 do
               pieces[i] = ("piece %d "):format(i)
            end
            local got = {}
            local pair
            -- A piece is written before the KEXINIT, in its flight, or held behind it; the next one when the echo is
            -- back and the keys are new.
            local function go_on()
               local i = #got + 1
               if pair.session:info().rekeys < #got or i == pair.last then
                  return
               end
               pair.last = i
               -- The server's side is through, too, when our NEWKEYS has reached it.
               while pair.server.n_kex <= pair.session:info().rekeys do
                  assert(pair:move_to_server())
               end
               if i > #pieces then
                  assert(pair.session:eof(pair.channel))
               elseif i % 2 == 0 then
                  assert.equal(#pieces[i], pair.session:write(pair.channel, pieces[i]))
                  rekey(pair)
               else
                  rekey(pair)
                  pair.left = pieces[i]
               end
            end
            pair = SessionPair.new{
               command = "cat", to_client = size, to_server = size,
               on = {
                  opened = function(self, event)
                     assert(self.session:request(event.channel, "exec", true, string.pack(">s4", "cat")))
                     go_on()
                     return true
                  end,
                  data = function(self, event)
                     table.insert(got, event.data)
                     self.session:consumed(event.channel, #event.data)
                     go_on()
                     return true
                  end,
                  kex_done = function(self)
                     if self.channel then
                        go_on()
                     end
                  end,
               },
            }
            -- Writes what is due, without the EOF that the default sends after it.
            function pair:write()
               if self.left and self.session:write(self.channel, self.left) == #self.left then
                  self.left = nil
               end
            end
            pair:run()
            assert.same(pieces, got)
            assert.equal(0, pair.status)
            assert.is_nil(pair.session:failure())
            assert.equal(200, pair.session:info().rekeys)
            pair:close()
         end)
      end
   end

   it("come by themselves when enough has been sent, while data flow both ways", function()
      local input = ("0123456789abcdef"):rep(65536)
      local pair = SessionPair.new{
         command = "cat", input = input,
         session = { rekey_bytes = 100000 }, server = { transport = { rekey_bytes = 150000 } },
      }
      pair:run()
      assert.same({ input, 0 }, { pair.out, pair.status })
      assert.is_true(pair.session:info().rekeys >= 8, pair.session:info().rekeys)
      pair:close()
   end)

   it("come by themselves when time is up", function()
      local pair = SessionPair.new{ session = { rekey_ms = 1000 } }
      pair.session:tick(50)
      assert.is_nil(pair.session:deadline())
      pair:run()
      assert.equal(1050, pair.session:deadline())
      pair.session:tick(1049)
      pair:run()
      assert.equal(0, pair.session:info().rekeys)
      pair.session:tick(1050)
      pair:run()
      assert.equal(1, pair.session:info().rekeys)
      assert.equal(2050, pair.session:deadline())
      assert.is_nil(pair.session:failure())
      pair:close()
   end)

   it("do not let bulk data pile up while the server is silent", function()
      local pair = SessionPair.new{ command = "cat" }
      pair:run_to("opened")
      assert(pair.session:rekey())
      for _ = 1, 1000 do
         local taken = assert(pair.session:write(pair.channel, ("x"):rep(1 << 20)))
         assert.equal(0, taken)
      end
      assert.is_true(pair.session:queued() < 5000)
      pair:close()
   end)
end)
