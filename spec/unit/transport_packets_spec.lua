-- Binary packets: lengths, padding, tags and counters, under every way of sealing them.

local testing = require "moonssh_testing"
local Pair = require "spec.support.pair"

-- Ways of sealing: block is what the padded part is a multiple of, apart tells that the length field is not in it.
local WAYS = {
   { name = "aes128-gcm", cipher = "aes128-gcm@openssh.com", block = 16, apart = true, tag = 16 },
   { name = "chacha20-poly1305", cipher = "chacha20-poly1305@openssh.com", block = 8, apart = true, tag = 16 },
   { name = "aes128-ctr, hmac-sha2-256", cipher = "aes128-ctr", mac = "hmac-sha2-256", block = 16, tag = 32 },
   { name = "aes256-ctr, hmac-sha2-512-etm", cipher = "aes256-ctr", mac = "hmac-sha2-512-etm@openssh.com", block = 16,
      apart = true, tag = 64 },
}

local function open(way, heap)
   return Pair.new({ cipher = way.cipher, mac = way.mac, heap = heap }):open(true):forget()
end

local function inner(padding, payload, fill)
   return string.char(padding) .. payload .. ("p"):rep(fill or padding)
end

-- What a client made of it: the payloads, and its failure.
local function outcome(pair)
   pair:run()
   return pair:payloads("client"), pair.client:failure()
end

local function rejected(pair, code, text)
   local payloads, failure = outcome(pair)
   assert.same({}, payloads)
   assert.truthy(failure)
   assert.equal(code, failure.code)
   assert.equal(code == "mac" and 5 or 2, failure.reason)
   if text then
      assert.truthy(failure.message:find(text, 1, true))
   end
   -- The other side was told, and it stays so.
   assert.truthy(pair:kinds("server"):find("disconnect", 1, true))
   assert.equal("failed", (pair.client:next()))
   assert.equal(0, pair.client:input_room())
   assert.same({ n = 2, nil, code }, table.pack(pair.client:send("\94x")))
end

for _, way in ipairs(WAYS) do
   describe("a packet under " .. way.name, function()
      local length_code = (not way.apart) and "mac" or "protocol"

      local function fits(length)
         local padded = way.apart and length or length + 4
         return padded % way.block == 0 and length >= 6
      end

      it("is rejected at once for an impossible length, without taking memory for it", function()
         for _, length in ipairs{ 0, 1, 2, 3, 4, 5, 7, 11, 13, 17, 35001, 262145, 262144 + 16, 262160, 0x7fffffff,
            0x80000000, 0xfffffff0, 0xfffffffc, 0xfffffffb, 0xffffffff } do
            local heap = testing.heap.new()
            local pair = open(way, heap)
            heap:peak()
            local before = heap:in_use()
            assert(pair.server:send_forged(inner(4, ("x"):rep(way.apart and 27 or 23)), length))
            rejected(pair, length_code)
            assert.is_true(heap:peak() - before < 10000)
         end
      end)

      it("may be as long as 64 KiB before the user is authenticated, 256 KiB after", function()
         for _, case in ipairs{ { false, 65536 }, { true, 262144 } } do
            local authenticated, most = case[1], case[2]
            -- The longest length that is a whole number of blocks, and the next one.
            local length = way.apart and most or most - 4
            local pair = Pair.new({ cipher = way.cipher, mac = way.mac }):open(authenticated):forget()
            local number = authenticated and "\94" or "\53"
            assert(pair.server:send_forged(inner(4, number .. ("x"):rep(length - 6))))
            local payloads = outcome(pair)
            assert.equal(1, #payloads)
            assert.equal(length - 5, #payloads[1])
            assert(pair.server:send_forged(inner(4, number .. ("x"):rep(length - 6 + way.block))))
            pair:forget()
            rejected(pair, length_code)
         end
      end)

      it("is taken with any length that is a whole number of blocks", function()
         for length = 0, 96 do
            local pair = open(way)
            local payload = "\94" .. ("x"):rep(length - 6)
            -- Those that no cipher can seal are rejected by their length field.
            local ok = length >= 6 and pair.server:send_forged(inner(4, payload))
            if ok and fits(length) then
               assert.same({ payload }, (outcome(pair)))
               assert.is_nil(pair.client:failure())
            elseif ok then
               rejected(pair, length_code)
            end
            pair:close()
         end
      end)

      it("is rejected for padding that is too short, or leaves no payload", function()
         local length = way.apart and 32 or 28
         for _, padding in ipairs{ 0, 1, 2, 3, length - 1, length, length + 1, 254, 255 } do
            local pair = open(way)
            assert(pair.server:send_forged(inner(padding, "\94", length - 2)))
            rejected(pair, "protocol", "impossible padding")
         end
         for _, padding in ipairs{ 4, 5, length - 2 } do
            local pair = open(way)
            assert(pair.server:send_forged(inner(padding, "\94", length - 2)))
            assert.equal(1, #(outcome(pair)))
         end
      end)

      it("is rejected for any bit that was flipped", function()
         local pair = open(way)
         assert(pair.server:send("\94payload"))
         local size = #pair.server:output()
         for bit = 0, size * 8 - 1 do
            pair = open(way)
            assert(pair.server:send("\94payload"))
            local wire = pair.server:output()
            local at = bit // 8 + 1
            wire = wire:sub(1, at - 1) .. string.char(wire:byte(at) ~ 1 << bit % 8) .. wire:sub(at + 1)
            pair.client:feed(wire)
            pair:take("client")
            -- A length that is greater now waits for more: it comes.
            while not pair.client:failure() do
               pair.client:feed(("\0"):rep(32768))
               pair:take("client")
            end
            assert.same({}, pair:payloads("client"))
            local code = pair.client:failure().code
            assert.is_true(code == "mac" or at <= 4 and code == "protocol")
            pair:close()
         end
      end)

      it("is rejected if its tag is cut out, with what follows in its place", function()
         local pair = open(way)
         assert(pair.server:send("\94payload"))
         local wire = pair.server:output()
         assert(pair.server:send("\94payload"))
         pair.client:feed(wire:sub(1, #wire - way.tag) .. pair.server:output())
         pair:take("client")
         assert.equal("mac", pair.client:failure().code)
         assert.same({}, pair:payloads("client"))
      end)

      it("is rejected when it comes a second time, or out of order", function()
         local pair = open(way)
         assert(pair.server:send("\94one"))
         local one = pair.server:output()
         assert(pair.server:send("\94two"))
         local two = pair.server:output()
         pair.client:feed(one .. one)
         pair:take("client")
         assert.same({ "\94one" }, pair:payloads("client"))
         -- Only chacha20 reads the length by the sequence number, too: it may be impossible, or too great.
         if not way.name:find("chacha") then
            assert.equal("mac", pair.client:failure().code)
         end

         pair = open(way)
         assert(pair.server:send("\94one"))
         pair.server:output()
         assert(pair.server:send("\94two"))
         pair.client:feed(pair.server:output() .. two)
         pair:take("client")
         assert.same({}, pair:payloads("client"))
         if not way.name:find("chacha") then
            assert.equal("mac", pair.client:failure().code)
         end
      end)

      it("goes on past the end of the sequence numbers", function()
         local pair = open(way)
         pair.client:sequence(0xfffffffd, 0xfffffffe)
         pair.server:sequence(0xfffffffe, 0xfffffffd)
         for i = 1, 6 do
            assert(pair.client:send("\94c" .. i))
            assert(pair.server:send("\94s" .. i))
         end
         local payloads, failure = outcome(pair)
         assert.is_nil(failure)
         assert.same({ "\94s1", "\94s2", "\94s3", "\94s4", "\94s5", "\94s6" }, payloads)
         assert.equal(6, #pair:payloads("server"))
         assert.same({ 3, 4 }, { pair.client:sequence() })
      end)

      it("conceals the length of what is sent so", function()
         local sizes, n_sizes = {}, 0
         local pair = Pair.new({ cipher = way.cipher, mac = way.mac }):open():forget()
         for len = 1, 700 do
            assert(pair.client:send_concealed("\50" .. ("x"):rep(len)))
            local size = pair.client:queued()
            if len <= 220 then
               n_sizes = n_sizes + (sizes[size] and 0 or 1)
               sizes[size] = true
            end
            pair:run()
            assert.equal(len + 1, #pair:payloads("server")[len])
         end
         assert.equal(1, n_sizes)
         assert.is_true(sizes[240 + (way.apart and 4 or 0) + way.tag])
      end)
   end)
end

describe("a packet without encryption", function()
   local function raw(bytes)
      local heap = testing.heap.new()
      local client = assert(testing.transport.new{ heap = heap })
      assert(client:start())
      client:output()
      client:feed("SSH-2.0-x\r\n" .. bytes)
      local kind = client:next()
      return kind, client:failure(), client, heap
   end

   it("is rejected at once for an impossible length", function()
      for _, length in ipairs{ 0, 1, 4, 5, 7, 11, 13, 15, 16, 35000, 35001, 65540, 262144, 262145, 0x7fffffff,
         0xfffffff0, 0xfffffff4, 0xfffffffc, 0xffffffff } do
         local kind, failure, client, heap = raw((">I4B"):pack(length, 4) .. ("x"):rep(20))
         assert.equal("failed", kind)
         assert.equal("protocol", failure.code)
         assert.equal(2, failure.reason)
         assert.equal(("packet: impossible length (%d)"):format(length), failure.message)
         assert.is_true(#client:output() > 16) -- DISCONNECT
         assert.is_true(heap:peak() < 100000)
      end
   end)

   it("waits for the rest of a possible one", function()
      for _, length in ipairs{ 12, 20, 1236, 65532 } do
         local kind = raw((">I4B"):pack(length, 4) .. ("x"):rep(6))
         assert.equal("none", kind)
      end
   end)

   it("is rejected for impossible padding", function()
      for _, padding in ipairs{ 0, 1, 2, 3, 11, 12, 13, 255 } do
         local kind, failure = raw((">I4B"):pack(12, padding) .. ("\2"):rep(11))
         assert.equal("failed", kind)
         assert.equal(("packet: impossible padding (%d)"):format(padding), failure.message)
      end
   end)

   it("must not make the sequence number wrap before the first keys", function()
      local client = assert(testing.transport.new{})
      assert(client:start())
      client:sequence(nil, 0xfffffffe)
      client:feed("SSH-2.0-x\r\n")
      for i = 1, 2 do
         client:feed((">I4B"):pack(12, 5) .. "\2\0\0\0\1x" .. ("\0"):rep(5))
         local kind = client:next()
         assert.equal("ignore", kind)
         if i == 1 then
            assert.is_nil(client:failure())
         end
      end
      assert.equal("failed", (client:next()))
      assert.equal("protocol", client:failure().code)
   end)
end)

describe("padding", function()
   it("is never the same twice", function()
      local pair = Pair.new{ cipher = "aes128-ctr", mac = "hmac-sha2-256" }:start()
      local seen = {}
      local seal = assert(testing.transport.seal{})
      for _ = 1, 3000 do
         pair.client:output()
         pair.client:send_raw("\2\0\0\0\1x")
         local plain = seal:open(0, pair.client:output())
         local padding = plain:sub(-plain:byte())
         assert.is_nil(seen[padding])
         seen[padding] = true
      end
   end)
end)

describe("storage", function()
   it("grows with the reads and is given back when the stream is quiet", function()
      local pair = Pair.new():open(true)
      for _ = 1, 200 do
         for _ = 1, 10 do
            assert(pair.server:send("\94" .. ("x"):rep(32768)))
         end
         pair:run():forget()
      end
      local input, output = pair.client:storage(), select(2, pair.server:storage())
      assert.is_true(input >= 256 << 10 and input <= 1 << 20)
      assert.is_true(output >= 256 << 10 and output <= 1 << 20)
      for _ = 1, 200 do
         assert(pair.server:send("\94small"))
         pair:run():forget()
      end
      assert.is_true(pair.client:storage() <= 16 << 10)
      assert.is_true(select(2, pair.server:storage()) <= 16 << 10)
   end)

   it("is small for a session at rest", function()
      local heap = testing.heap.new()
      local pair = Pair.new{ heap = heap }:open(true)
      pair:take("client")
      assert.is_true(heap:in_use() < 64 << 10) -- both sides
      pair:close()
      assert.equal(0, heap:in_use())
   end)
end)
