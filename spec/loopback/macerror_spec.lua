-- A wrong MAC can be asked about. What is accepted keeps the stream in step, in every way of sealing.

local Pair = require "spec.support.pair"

local WAYS = {
   { cipher = "aes128-gcm@openssh.com" },
   { cipher = "aes256-gcm@openssh.com" },
   { cipher = "chacha20-poly1305@openssh.com" },
   { cipher = "aes128-ctr", mac = "hmac-sha2-256", plain = true },
   { cipher = "aes192-ctr", mac = "hmac-sha2-512", plain = true },
   { cipher = "aes256-ctr", mac = "hmac-sha2-256-etm@openssh.com" },
   { cipher = "aes128-ctr", mac = "hmac-sha2-512-etm@openssh.com" },
}

local TAG = { ["hmac-sha2-256"] = 32, ["hmac-sha2-512"] = 64, ["hmac-sha2-256-etm@openssh.com"] = 32,
   ["hmac-sha2-512-etm@openssh.com"] = 64 }

local function open(way, compression)
   local pair = Pair.new{ cipher = way.cipher, mac = way.mac, compression = compression }:open(true):forget()
   pair.client:ask_mac(true)
   return pair
end

-- The bytes with the last one, which is of the tag, changed.
local function spoil(bytes)
   return bytes:sub(1, -2) .. string.char(bytes:byte(-1) ~ 1)
end

for _, way in ipairs(WAYS) do
   for _, compression in ipairs{ "none", "zlib@openssh.com", "zlib" } do
      describe(("a wrong MAC under %s, %s, %s"):format(way.cipher, way.mac or "", compression), function()
         it("is asked about, and nothing is read until the answer", function()
            local pair = open(way, compression)
            assert(pair.server:send("\94the payload"))
            local wire = spoil(pair.server:output())
            pair.client:feed(wire)
            pair:take("client")
            local event = pair.events.client[1]
            assert.equal("mac_error", event.kind)
            if not way.plain then
               assert.equal(wire:sub(1, -1 - (TAG[way.mac] or 16)), event.data)
            elseif compression == "none" then
               assert.equal("\94the payload", event.data)
            else
               assert.are_not.equal("\94the payload", event.data)
               assert.is_true(#event.data >= 12 and #event.data < 40)
            end
            assert.equal(0, pair.client:input_room())
            assert.equal("none", (pair.client:next()))
            assert.is_nil(pair.client:failure())
            assert(pair.client:send("\94writing goes on"))
            assert.is_true(pair.client:queued() > 0)
         end)

         it("accepted, gives the packet, and those after it", function()
            local pair = open(way, compression)
            pair.answer_mac = true
            local expected = {}
            for i = 1, 20 do
               local text = ("\94packet %d %s"):format(i, ("abc"):rep(i * 50))
               assert(pair.server:send(text))
               local wire = pair.server:output()
               if i % 3 ~= 0 then
                  wire = spoil(wire)
               end
               -- Some in one piece with the next, some in two.
               pair.client:feed(wire:sub(1, 20))
               pair:take("client")
               pair.client:feed(wire:sub(21))
               if i % 4 ~= 0 then
                  pair:take("client")
               end
               expected[i] = text
            end
            pair:run()
            assert.same(expected, pair:payloads("client"))
            -- Also under the next keys.
            pair:forget()
            assert(pair.server:rekey())
            pair:run()
            assert(pair.server:send("\94after"))
            pair.client:feed(spoil(pair.server:output()))
            assert(pair.server:send("\94well"))
            pair:run()
            assert.same({ "\94after", "\94well" }, pair:payloads("client"))
            assert.equal("kex_done mac_error payload payload", pair:kinds("client"))
         end)

         it("refused, ends the connection with DISCONNECT 5", function()
            local pair = open(way, compression)
            pair.answer_mac = false
            assert(pair.server:send("\94payload"))
            pair.client:feed(spoil(pair.server:output()))
            pair:run()
            assert.equal("mac_error failed", pair:kinds("client"))
            assert.equal("mac", pair.client:failure().code)
            assert.equal("disconnect failed", pair:kinds("server"))
            assert.equal(5, pair.events.server[1].reason)
         end)

         it("ends the connection if nobody asked to be asked", function()
            local pair = open(way, compression)
            pair.client:ask_mac(false)
            assert(pair.server:send("\94payload"))
            pair.client:feed(spoil(pair.server:output()))
            pair:run()
            assert.equal("failed", pair:kinds("client"))
            assert.equal("mac", pair.client:failure().code)
            assert.equal(5, pair.events.server[1].reason)
         end)
      end)
   end

   it(("padding out of range fails unasked under %s %s"):format(way.cipher, way.mac or ""), function()
      for _, padding in ipairs{ 0, 3, 63, 255 } do
         local pair = open(way)
         pair.answer_mac = true
         -- 60 bytes are right for encrypt-and-MAC, 64 for the others.
         assert(pair.server:send_forged(string.char(padding) .. "\94" .. ("x"):rep(way.plain and 58 or 62)))
         pair.client:feed(spoil(pair.server:output()))
         pair:run()
         assert.same({}, pair:payloads("client"))
         local failure = pair.client:failure()
         if way.plain then
            assert.equal("mac", failure.code)
            assert.equal("failed", pair:kinds("client"))
         else
            assert.equal("protocol", failure.code)
            assert.equal("mac_error failed", pair:kinds("client"))
         end
      end
   end)
end

describe("the answer", function()
   it("is refused when nothing was asked", function()
      local pair = Pair.new():open(true)
      assert.same({ n = 2, nil, "state" }, table.pack(pair.client:answer_mac(true)))
      assert.same({ n = 2, nil, "state" }, table.pack(pair.client:answer_host_key(true)))
   end)
end)
