-- Attacks, row P5 (CVE-2008-5161): under CBC with encrypt-and-MAC nothing tells an attacker what is wrong with a
-- packet: not how many bytes were read before it was refused, nor the words.

local Pair = require "spec.support.pair"

local MOST = 4096 -- max_packet
local WAYS = {
   { cipher = "aes128-cbc", mac = "hmac-sha2-256", tag = 32 },
   { cipher = "aes192-cbc", mac = "hmac-sha1", tag = 20 },
   { cipher = "aes256-cbc", mac = "umac-64@openssh.com", tag = 8 },
   { cipher = "3des-cbc", mac = "hmac-md5-96", tag = 12 },
}

local function open(way)
   return Pair.new{ cipher = way.cipher, mac = way.mac, max_packet = MOST }:open(true):forget()
end

-- Feeds all of it, in as many pieces as the client has room for.
local function feed(pair, bytes)
   while #bytes > 0 do
      pair:take("client")
      local taken = pair.client:feed(bytes:sub(1, math.max(pair.client:input_room(), 1)))
      assert(taken > 0 or pair.client:failure(), "no room")
      if taken == 0 then
         return
      end
      bytes = bytes:sub(taken + 1)
   end
   pair:take("client")
end

-- That these bytes, the first of which begin a bad packet, are refused as any other bad packet is.
local function refused_as_all(way, pair, bytes)
   local whole = 4 + MOST + way.tag
   local junk = ("\xa5"):rep(whole - #bytes - 1)
   feed(pair, bytes .. junk)
   assert.equal("", (pair:kinds("client"):gsub("mac_error", "")))
   assert.is_nil(pair.client:failure())
   feed(pair, "\xa5")
   local failure = pair.client:failure()
   assert.same({ "mac", 5, "the message authentication code of a packet does not match" },
      { failure.code, failure.reason, failure.message })
   pair:run()
   assert.equal(5, pair.events.server[1].reason)
end

for _, way in ipairs(WAYS) do
   describe(("P5: under %s with %s"):format(way.cipher, way.mac), function()
      it("a changed byte is refused after the same number of bytes, wherever it is", function()
         for at = 1, 64 do
            local pair = open(way)
            assert(pair.server:send("\94" .. ("secret "):rep(20)))
            local wire = pair.server:output()
            refused_as_all(way, pair, wire:sub(1, at - 1) .. string.char(wire:byte(at) ~ 0x41) .. wire:sub(at + 1))
            pair:close()
         end
      end)

      it("so is a wrong length, padding or tag, each by itself", function()
         local forged = {
            tag = function(pair)
               assert(pair.server:send("\94hello"))
               local wire = pair.server:output()
               return wire:sub(1, -2) .. string.char(wire:byte(-1) ~ 1)
            end,
            padding = function(pair)
               assert(pair.server:send_forged("\3" .. ("\94"):rep(27)))
               return pair.server:output()
            end,
            ["padding that leaves nothing"] = function(pair)
               assert(pair.server:send_forged("\27" .. ("\94"):rep(27)))
               return pair.server:output()
            end,
            length = function(pair)
               -- What is no multiple of the block.
               assert(pair.server:send_forged("\4" .. ("\94"):rep(59), 61))
               return pair.server:output()
            end,
         }
         for _, forge in pairs(forged) do
            local pair = open(way)
            refused_as_all(way, pair, forge(pair))
            pair:close()
         end
      end)

      it("so is a packet that the application was asked about", function()
         local pair = open(way)
         pair.client:ask_mac(true)
         pair.answer_mac = false
         assert(pair.server:send("\94hello"))
         local wire = pair.server:output()
         refused_as_all(way, pair, wire:sub(1, -2) .. string.char(wire:byte(-1) ~ 1))
         assert.is_truthy(pair:kinds("client"):find("^mac_error"))
      end)

      it("what the application accepts keeps the chain", function()
         local pair = open(way)
         pair.client:ask_mac(true)
         pair.answer_mac = true
         for i = 1, 5 do
            assert(pair.server:send("\94packet " .. i))
            local wire = pair.server:output()
            feed(pair, i % 2 == 0 and wire or wire:sub(1, -2) .. string.char(wire:byte(-1) ~ 1))
         end
         pair:run()
         assert.same({ "\94packet 1", "\94packet 2", "\94packet 3", "\94packet 4", "\94packet 5" },
            pair:payloads("client"))
      end)

      it("the end of the connection ends it, whatever was wrong", function()
         local pair = open(way)
         assert(pair.server:send("\94hello"))
         feed(pair, "\1" .. pair.server:output():sub(2))
         pair.client:feed_eof()
         pair:take("client")
         assert.equal("eof", pair.client:failure().code)
      end)
   end)
end
