-- Compression: when it starts, what it carries, and what a hostile stream may not do.

local testing = require "moonssh_testing"
local Pair = require "spec.support.pair"
local kexinit = require "spec.support.kexinit"

local DELAYED, AT_ONCE = "zlib@openssh.com", "zlib"

local function open(compression, heap)
   return Pair.new({ compression = compression, heap = heap }):open(true):forget()
end

-- A packet of the server whose payload is these bytes, uncompressed by us: the client will inflate them.
local function send_bare(pair, bytes)
   local padding = 16 - (1 + #bytes) % 16
   padding = padding < 4 and padding + 16 or padding
   assert(pair.server:send_forged(string.char(padding) .. bytes .. ("\0"):rep(padding)))
   pair:run()
end

-- A stored block of the deflate format (RFC 1951 3.2.4), not the last one.
local function stored(bytes)
   return ("<BI2I2"):pack(0, #bytes, ~#bytes & 0xffff) .. bytes
end

local ZLIB_HEADER = "\x78\x9c"

local function rejected(pair, text)
   local failure = pair.client:failure()
   assert.truthy(failure)
   assert.equal("protocol", failure.code)
   assert.equal(6, failure.reason)
   assert.truthy(failure.message:find(text, 1, true))
   assert.equal(6, pair.events.server[#pair.events.server - 1].reason)
   assert.same({}, pair:payloads("client"))
end

describe("compression", function()
   it("by zlib starts with the first packet after NEWKEYS", function()
      local pair = Pair.new({ compression = AT_ONCE }):open():forget()
      local text = "\53" .. ("a"):rep(5000)
      assert(pair.server:send(text))
      assert.is_true(pair.server:queued() < 200)
      pair:run()
      assert.same({ text }, pair:payloads("client"))
   end)

   it("by zlib@openssh.com starts when the user is authenticated", function()
      local pair = Pair.new({ compression = DELAYED }):open():forget()
      local text = "\53" .. ("a"):rep(5000)
      assert(pair.server:send(text))
      assert.is_true(pair.server:queued() > 5000)
      pair:run()
      assert(pair.server:send("\52"))
      assert(pair.server:set_authenticated())
      assert(pair.server:send("\94" .. text))
      assert.is_true(pair.server:queued() < 300)
      pair.client:feed(pair.server:output())
      assert.equal("payload", (pair.client:next()))
      assert(pair.client:set_authenticated())
      local kind, event = pair.client:next()
      assert.equal("payload", kind)
      assert.equal("\94" .. text, event.data)
   end)

   it("by zlib@openssh.com is not expected before that", function()
      local pair = Pair.new({ compression = DELAYED }):open():forget()
      assert(pair.server:set_authenticated())
      assert(pair.server:send("\53" .. ("a"):rep(5000)))
      pair:run()
      assert.equal("failed", pair:kinds("client"))
      assert.equal("protocol", pair.client:failure().code) -- 0x78 is the start of a zlib stream, not of a message
      assert.truthy(pair.client:failure().message:find("message 120 ", 1, true))
   end)

   it("keeps its start in order when the success is held back by a rekey", function()
      local pair = Pair.new({ compression = DELAYED }):open():forget()
      assert(pair.server:kexinit(kexinit{ compression = DELAYED, host_key = "ssh-ed25519" }))
      assert(pair.server:send("\52"))
      assert(pair.server:set_authenticated())
      assert(pair.server:send("\94" .. ("a"):rep(5000)))
      function pair.on_event(side, event)
         if side == "client" and event.kind == "payload" and event.data == "\52" then
            assert(pair.client:set_authenticated())
         end
      end
      pair:run()
      assert.same({ "\52", "\94" .. ("a"):rep(5000) }, pair:payloads("client"))
      assert(pair.client:send("\94" .. ("b"):rep(5000)))
      assert.is_true(pair.client:queued() < 300)
      pair:run()
      assert.same({ "\94" .. ("b"):rep(5000) }, pair:payloads("server"))
   end)

   for _, compression in ipairs{ DELAYED, AT_ONCE } do
      it("carries data exactly through ten rekeys, by " .. compression, function()
         local pair = open(compression)
         local sent = {}
         math.randomseed(7)
         for i = 1, 10 do
            for _ = 1, 10 do
               local bytes = {}
               for k = 1, math.random(1, 3000) do
                  bytes[k] = string.char(math.random(0, i * 25))
               end
               local text = "\94" .. table.concat(bytes)
               table.insert(sent, text)
               assert(pair.server:send(text))
               assert(pair.client:send(text:sub(1, 1), text:sub(2)))
            end
            assert(pair[i % 2 == 0 and "client" or "server"]:rekey())
            pair:run()
         end
         assert.same(sent, pair:payloads("client"))
         assert.same(sent, pair:payloads("server"))
      end)
   end

   it("lets a packet inflate to 256 KiB, and no further", function()
      local pair = open(DELAYED)
      assert(pair.server:send_raw("\94" .. ("\0"):rep((256 << 10) - 1)))
      pair:run()
      assert.equal(256 << 10, #pair:payloads("client")[1])
      assert(pair:forget().server:send_raw("\94" .. ("\0"):rep(256 << 10)))
      pair:run()
      rejected(pair, "inflates to more than 262144 bytes")
   end)

   it("stops a bomb at little memory", function()
      local heap = testing.heap.new()
      local pair = Pair.new({ compression = DELAYED }, nil, heap):open(true):forget()
      heap:peak()
      local before = heap:in_use()
      assert(pair.server:send_raw("\94" .. ("\0"):rep(10 << 20)))
      assert.is_true(pair.server:queued() < 12000)
      pair:run()
      rejected(pair, "inflates to more than")
      assert.is_true(heap:peak() - before < 1 << 20)
   end)

   it("takes what a hand-made stream says, over several packets", function()
      local pair = open(DELAYED)
      send_bare(pair, ZLIB_HEADER .. stored("\94hello"))
      send_bare(pair, stored("\94") .. stored("more"))
      assert.same({ "\94hello", "\94more" }, pair:payloads("client"))
      assert.is_nil(pair.client:failure())
   end)

   it("gives a block that is cut between two packets byte by byte, as it comes", function()
      local pair = open(DELAYED)
      local block = ZLIB_HEADER .. stored("\94one\94two")
      send_bare(pair, block:sub(1, #block - 4))
      send_bare(pair, block:sub(-4))
      assert.same({ "\94one", "\94two" }, pair:payloads("client"))
   end)

   for name, bytes in pairs{
      ["an empty block"] = ZLIB_HEADER .. stored(""),
      ["a header alone"] = ZLIB_HEADER,
      ["garbage"] = "\255\255\255\255\255\255\255\255",
      ["the end of the stream"] = ZLIB_HEADER .. "\1\1\0\254\255\94\0\94\0\94",
      ["bytes behind its end"] = ZLIB_HEADER .. "\1\1\0\254\255\94\0\94\0\94junk",
      ["the wish for a dictionary"] = "\x78\xbb\0\0\0\1" .. stored("\94x"),
      ["a wrong block type"] = ZLIB_HEADER .. "\6\0\0\0\0\0\0",
      ["a reference to before the start"] = ZLIB_HEADER .. "\x4b\x04\x12\x00\x00",
   } do
      it("rejects " .. name, function()
         local pair = open(DELAYED)
         send_bare(pair, bytes)
         rejected(pair, "cannot be decompressed")
      end)
   end

   it("rejects an empty flush in the middle of the stream", function()
      local pair = open(DELAYED)
      send_bare(pair, ZLIB_HEADER .. stored("\94hello"))
      send_bare(pair:forget(), stored(""))
      rejected(pair, "cannot be decompressed")
   end)
end)
