-- Key exchanges after the first one: started by either side, by both at once, by limits, while data flow.

local testing = require "moonssh_testing"
local Pair = require "spec.support.pair"
local kexinit = require "spec.support.kexinit"

local MESSAGES = 60

local function message(side, i)
   return ("\94%s %d %s"):format(side, i, ("x"):rep(i * 37 % 700))
end

local function expected(side)
   local list = {}
   for i = 1, MESSAGES do
      list[i] = message(side, i)
   end
   return list
end

-- Both sides send their messages, one after the other; before the n-th, `act` is called with the pair.
local function talk(pair, n, act)
   for i = 1, MESSAGES do
      if i == n then
         act(pair)
      end
      assert(pair.client:send(message("client", i)))
      assert(pair.server:send(message("server", i)))
      -- One move at a time, so that messages of both sides are on their way when the exchange begins.
      if i % 3 == 0 then
         pair:move("client")
         pair:take("server")
      end
      if i % 4 == 0 then
         pair:move("server")
         pair:take("client")
      end
   end
   pair:run()
   assert.same(expected("client"), pair:payloads("server"))
   assert.same(expected("server"), pair:payloads("client"))
end

local ciphers = {
   { cipher = "aes128-gcm@openssh.com" },
   { cipher = "chacha20-poly1305@openssh.com" },
   { cipher = "aes128-ctr", mac = "hmac-sha2-256" },
   { cipher = "aes256-ctr", mac = "hmac-sha2-512-etm@openssh.com", compression = "zlib@openssh.com" },
}

describe("a rekey", function()
   for _, options in ipairs(ciphers) do
      local name = options.cipher .. (options.mac and " with " .. options.mac or "")

      for _, side in ipairs{ "client", "server" } do
         it(("of a %s at every message boundary loses nothing, under %s"):format(side, name), function()
            for n = 1, MESSAGES do
               local pair = Pair.new(options, options):open(true):forget():chunk(n % 5 * 97 + 50)
               talk(pair, n, function()
                  assert(pair[side]:rekey())
               end)
               assert.equal(1, pair.client:info().rekeys)
               assert.equal(1, pair.server:info().rekeys)
               pair:close()
            end
         end)
      end

      it("of both at once is one exchange, under " .. name, function()
         for n = 1, MESSAGES, 7 do
            local pair = Pair.new(options, options):open(true):forget():chunk(n + 20)
            talk(pair, n, function()
               assert(pair.client:rekey())
               assert(pair.server:rekey())
               assert(pair.client:rekey()) -- asked for twice is once
            end)
            assert.equal(1, pair.client:info().rekeys)
            assert.equal(1, pair.server:info().rekeys)
         end
      end)
   end

   it("keeps the session id, even if the hash is another one", function()
      local pair = Pair.new{ kex = "curve25519-sha256,ecdh-sha2-nistp521,ecdh-sha2-nistp384",
         host_key = "ssh-ed25519" }:open(true)
      local id = pair.client:info().session_id
      for _, kex in ipairs{ "ecdh-sha2-nistp521", "ecdh-sha2-nistp384", "curve25519-sha256" } do
         assert(pair.client:kexinit(kexinit{ kex = kex, host_key = "ssh-ed25519" }))
         pair:run()
         assert.equal(kex, pair.server:info().kex)
         assert.equal(id, pair.client:info().session_id)
         assert.equal(id, pair.server:info().session_id)
      end
      assert.equal(32, #id)
   end)

   it("asks about the host key only the first time", function()
      local pair = Pair.new():open(true):forget()
      assert(pair.server:rekey())
      pair:run()
      assert.equal("kex_done", pair:kinds("client"))
   end)

   it("refuses another host key", function()
      local pair = Pair.new({}, { host_keys = { Pair.key("ed25519"), Pair.key("rsa", 2048) } }):open(true)
      assert(pair.server:kexinit(kexinit{ host_key = "rsa-sha2-512" }))
      pair:run()
      local failure = pair.client:failure()
      assert.equal("protocol", failure.code)
      assert.equal(9, failure.reason)
      assert.truthy(failure.message:find("host key changed", 1, true))
      assert.equal(Pair.key("ed25519"):blob(), pair.client:host_key())
   end)

   it("is refused before authentication, when OpenSSH would not answer, but taken from the peer", function()
      local pair = Pair.new({ rekey_bytes = 1 }, { rekey_bytes = 1 }):start()
      assert.same({ n = 2, nil, "state" }, table.pack(pair.client:rekey()))
      pair:run():forget()
      assert.same({ n = 2, nil, "state" }, table.pack(pair.client:rekey()))
      assert(pair.client:send("\5x"))
      pair.client:tick(1 << 40)
      pair:run()
      assert.equal(0, pair.client:info().rekeys)
      assert.is_nil(pair.client:deadline())
      assert(pair.server:kexinit(kexinit{ host_key = "ssh-ed25519" }))
      pair:run()
      assert.equal(1, pair.client:info().rekeys)
   end)

   it("that the peer answers with UNIMPLEMENTED ends the connection instead of hanging", function()
      local pair = Pair.new():open(true)
      for _ = 1, 3 do
         assert(pair.client:send("\94x"))
      end
      assert(pair.client:rekey())
      pair.client:output()
      assert(pair.server:send_raw("\3\0\0\0\2")) -- of some other packet
      assert(pair.server:send_raw("\3\0\0\0\3"))
      pair:run()
      assert.equal("unimplemented", pair.events.client[3].kind)
      assert.equal("protocol", pair.client:failure().code)
      assert.truthy(pair.client:failure().message:find("answer to our key exchange", 1, true))
   end)

   it("begins at the limit of bytes, of either direction", function()
      for _, limits in ipairs{ { { rekey_bytes = 10000 }, {} }, { {}, { rekey_bytes = 10000 } } } do
         local pair = Pair.new(limits[1], limits[2]):open(true)
         local n = 0
         while pair.client:info().rekeys == 0 do
            assert(pair.client:send("\94" .. ("x"):rep(999)))
            pair:run()
            n = n + 1
         end
         assert.equal(10, n)
         assert.equal(1, pair.server:info().rekeys)
         assert.equal(10, #pair:payloads("server"))
      end
   end)

   it("begins at the limit of packets, of either direction", function()
      for _, limits in ipairs{ { { rekey_packets = 20 }, {} }, { {}, { rekey_packets = 20 } } } do
         local pair = Pair.new(limits[1], limits[2]):open(true)
         local n = 0
         while pair.server:info().rekeys == 0 do
            assert(pair.client:send("\94x"))
            pair:run()
            n = n + 1
         end
         assert.equal(20, n)
      end
   end)

   it("begins when its time has come", function()
      local pair = Pair.new{ rekey_ms = 1000 }
      assert.is_nil(pair.client:deadline())
      pair.client:tick(5000)
      pair:open(true)
      assert.equal(6000, pair.client:deadline())
      pair.client:tick(5999)
      pair:run()
      assert.equal(0, pair.client:info().rekeys)
      pair.client:tick(6000)
      assert.is_nil(pair.client:deadline())
      pair:run()
      assert.equal(1, pair.client:info().rekeys)
      assert.equal(7000, pair.client:deadline())
   end)

   it("counts an hour from the first tick if there was none before", function()
      local pair = Pair.new():open(true)
      assert.is_nil(pair.client:deadline())
      pair.client:tick(123)
      assert.equal(123 + 3600 * 1000, pair.client:deadline())
   end)

   it("comes long before the packet counter runs out, and without it the connection ends", function()
      local pair = Pair.new():open(true)
      pair.client:packets((1 << 31) - 1)
      assert(pair.client:send("\94x"))
      pair:run()
      assert.equal(1, pair.client:info().rekeys)

      pair = Pair.new({ rekey_packets = 1 << 40 }, { rekey_packets = 1 << 40 }):open(true)
      pair.client:packets(0xfffffff0 - 2)
      assert(pair.client:send("\94x"))
      assert.same({ n = 2, nil, "limit" }, table.pack(pair.client:send("\94x")))
      assert.equal("limit", pair.client:failure().code)

      pair = Pair.new({ rekey_packets = 1 << 40 }, { rekey_packets = 1 << 40 }):open(true)
      pair.server:packets(nil, 0xfffffff0 - 1)
      assert(pair.client:send("\94x"))
      pair:run()
      assert.equal("protocol", pair.server:failure().code)
   end)

   it("can follow upon another without an end", function()
      local heap = testing.heap.new()
      local pair = Pair.new({ heap = heap }):open(true)
      local before
      for i = 1, 100 do
         assert(pair.client:rekey())
         pair:run():forget()
         if i == 20 then
            before = heap:in_use()
         end
      end
      assert.equal(100, pair.server:info().rekeys)
      assert.equal(before, heap:in_use())
   end)

   it("may be due with every packet and still lets data through", function()
      local pair = Pair.new({ rekey_bytes = 1 }, { rekey_bytes = 1 }):open(true)
      for i = 1, 20 do
         assert(pair.client:send("\94" .. i))
         assert(pair.server:send("\94" .. i))
      end
      pair:run()
      assert.equal(20, #pair:payloads("client"))
      assert.equal(20, #pair:payloads("server"))
   end)
end)

describe("while a key exchange is under way", function()
   -- The client has begun, the server does not answer.
   local function begun()
      local pair = Pair.new():open(true):forget()
      assert(pair.client:rekey())
      pair.client:output()
      return pair
   end

   it("payloads wait, transport messages do not", function()
      local pair = begun()
      assert(pair.client:send("\5wait"))
      assert(pair.client:send("\94wait"))
      assert.equal(0, pair.client:queued())
      assert(pair.client:send("\2\0\0\0\1x"))
      assert.is_true(pair.client:queued() > 0)
   end)

   it("there is no room for bulk data", function()
      local pair = Pair.new():open(true)
      assert.is_true(pair.client:room() > 500000)
      assert(pair.client:rekey())
      assert.equal(0, pair.client:room())
      pair:run()
      assert.is_true(pair.client:room() > 500000)
   end)

   it("what waits is bounded by 2 MiB", function()
      local heap = testing.heap.new()
      local pair = Pair.new{ heap = heap }:open(true)
      assert(pair.client:rekey())
      local text, sent = "\94" .. ("x"):rep(65535), 0
      local ok, code = pair.client:send(text)
      while ok do
         sent = sent + #text
         ok, code = pair.client:send(text)
      end
      assert.equal("limit", code)
      assert.equal("limit", pair.client:failure().code)
      assert.is_true(sent > 1900000 and sent <= 2 << 20)
      assert.is_true(heap:peak() < 4 << 20)
   end)

   it("data of the peer from before its KEXINIT are delivered, later ones rejected", function()
      local pair = begun()
      assert(pair.server:send("\94early"))
      pair:run()
      assert.same({ "\94early" }, pair:payloads("client"))

      pair = Pair.new():open(true):forget()
      assert(pair.server:rekey())
      assert(pair.server:send_raw("\94late"))
      pair:run()
      assert.equal("protocol", pair.client:failure().code)
      assert.truthy(pair.client:failure().message:find("message 94 (CHANNEL_DATA) is out of place", 1, true))
      assert.same({}, pair:payloads("client"))
   end)

   it("a flood is rejected at its first message", function()
      local heap = testing.heap.new()
      local pair = Pair.new{ heap = heap }:open(true):forget()
      assert(pair.server:rekey())
      for _ = 1, 20000 do
         assert(pair.server:send_raw("\80\0\0\0\1x\1"))
      end
      pair:run()
      assert.equal("protocol", pair.client:failure().code)
      assert.is_true(heap:peak() < 2 << 20)
   end)

   it("IGNORE, DEBUG, UNIMPLEMENTED and unknown messages are taken in a later exchange", function()
      local pair = Pair.new():open(true):forget()
      assert(pair.server:rekey())
      pair.server:send_raw("\2\0\0\0\1x")
      pair.server:send_raw("\4\1\0\0\0\1x\0\0\0\0")
      pair.server:send_raw("\3\0\0\0\7")
      pair.server:send_raw("\192")
      pair:run()
      assert.equal("ignore debug unimplemented kex_done", pair:kinds("client"))
      assert.equal("unimplemented kex_done", pair:kinds("server"))
   end)
end)
