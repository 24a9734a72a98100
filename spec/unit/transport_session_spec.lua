-- A transport as its caller sees it: output, room, stages, numbers, trace, and its end.

local testing = require "moonssh_testing"
local Pair = require "spec.support.pair"

describe("the send queue", function()
   it("gives its bytes in any pieces", function()
      for _, size in ipairs{ 1, 3, 1000 } do
         local pair = Pair.new():chunk(size):open(true)
         assert(pair.client:send("\94" .. ("x"):rep(5000)))
         pair:run()
         assert.same({ "\94" .. ("x"):rep(5000) }, pair:payloads("server"))
      end
   end)

   it("has room for bulk data up to three quarters of its limit, and stops the reading past it", function()
      local pair = Pair.new{ max_queue = 100000 }:open(true)
      assert.equal(75000, pair.client:room())
      local text = "\94" .. ("x"):rep(1000)
      while pair.client:room() > 0 do
         assert(pair.client:send(text))
      end
      assert.is_true(pair.client:queued() >= 75000 and pair.client:queued() < 77000)
      assert.is_true(pair.client:input_room() > 0)
      while pair.client:queued() <= 100000 do
         assert(pair.client:send(text))
      end
      assert.equal(0, pair.client:input_room())
      pair.client:output(50000)
      assert.is_true(pair.client:input_room() > 0)
      assert.is_true(pair.client:room() > 0)
   end)

   it("has an end, which fails the transport", function()
      local heap = testing.heap.new()
      local pair = Pair.new({}, nil, heap):open(true)
      local ok, code, n = true, nil, 0
      while ok do
         ok, code = pair.client:send("\94" .. ("x"):rep(100000))
         n = n + 1
      end
      assert.equal("limit", code)
      assert.is_true(n < 60)
      assert.equal("limit", pair.client:failure().code)
   end)

   it("is not moved by reading", function()
      local pair = Pair.new():open(true)
      assert(pair.client:send("\94one"))
      local first = pair.client:output(5)
      assert(pair.server:send("\94two"))
      pair:run()
      assert.equal(5, #first)
      assert.is_true(pair.server:failure() ~= nil) -- five bytes are missing
   end)
end)

describe("a payload", function()
   it("must have a byte, and a transport that has begun", function()
      local transport = assert(testing.transport.new{})
      assert.same({ n = 2, nil, "state" }, table.pack(transport:send("\94x")))
      local pair = Pair.new():open(true)
      assert.same({ n = 2, nil, "state" }, table.pack(pair.client:send("")))
      assert.is_nil(pair.client:failure())
   end)

   it("sent before the first exchange is done waits until both NEWKEYS are through", function()
      local pair = Pair.new():start()
      assert(pair.client:send("\5early"))
      assert(pair.client:send_concealed("\50secret"))
      assert(pair.client:send("\2\0\0\0\1x"))
      assert.equal(0, pair.client:room())
      local waiting = pair.client:queued()
      local done
      function pair.on_event(side, event)
         if side == "client" and event.kind == "kex_done" then
            done = true
         elseif side == "client" and event.kind == "host_key" then
            -- NEWKEYS is out, and alone.
            assert.equal(16, pair.client:queued())
         end
      end
      assert.is_true(waiting > 0)
      pair:run()
      assert.is_true(done)
      assert.equal("kex_done payload payload ignore", pair:kinds("server"))
   end)
end)

describe("stages", function()
   it("say what is waited for", function()
      local pair = Pair.new()
      pair.answer = nil
      assert.equal("identification", pair.client:stage())
      pair:start():move("server")
      pair:take("client")
      assert.equal("kex", pair.client:stage())
      pair:run()
      assert.equal("host_key", pair.client:stage())
      assert.equal("kex", pair.server:stage())
      pair.client:answer_host_key(true)
      pair:run()
      assert.equal("open", pair.client:stage())
      assert(pair.client:set_authenticated())
      assert(pair.client:rekey())
      assert.equal("open", pair.client:stage())
   end)
end)

describe("set_authenticated", function()
   it("is refused before the first exchange, and a second time", function()
      local pair = Pair.new()
      assert.same({ n = 2, nil, "state" }, table.pack(pair.client:set_authenticated()))
      pair:open()
      assert(pair.client:set_authenticated())
      assert.same({ n = 2, nil, "state" }, table.pack(pair.client:set_authenticated()))
   end)
end)

describe("the numbers", function()
   it("are empty before the first exchange", function()
      local info = assert(testing.transport.new{}):info()
      for _, name in ipairs{ "kex", "host_key", "cipher_send", "cipher_recv", "mac_send", "mac_recv",
         "compression_send", "compression_recv", "session_id", "server_ident" } do
         assert.equal("", info[name])
      end
      assert.equal("SSH-2.0-moonssh_test", info.client_ident)
      assert.equal(0, info.packets_sent)
   end)

   it("agree on both sides", function()
      local pair = Pair.new():open(true)
      for _ = 1, 5 do
         assert(pair.client:send("\94x"))
      end
      pair:run()
      local client, server = pair.client:info(), pair.server:info()
      assert.equal(client.packets_sent, server.packets_received)
      assert.equal(server.packets_sent, client.packets_received)
      assert.equal(client.bytes_sent, server.bytes_received)
      assert.equal(server.bytes_sent, client.bytes_received)
      assert.equal(3 + 5, client.packets_sent) -- KEXINIT, the public value, NEWKEYS
      assert.equal(server.client_ident, client.client_ident)
   end)
end)

describe("the trace", function()
   it("has each packet's direction, number and length of payload", function()
      local pair = Pair.new{ compression = "zlib@openssh.com" }:open(true)
      pair.client:trace(true)
      assert(pair.client:send("\94" .. ("x"):rep(99)))
      assert(pair.server:send("\98", ("y"):rep(49)))
      pair:run()
      assert.same({ "sent", 94, 100 }, { pair.client:trace_next() })
      assert.same({ "received", 98, 50 }, { pair.client:trace_next() })
      assert.is_nil(pair.client:trace_next())
   end)

   it("keeps 4096, and none when it is off", function()
      local pair = Pair.new():open(true)
      assert(pair.client:send("\94x"))
      assert.is_nil(pair.client:trace_next())
      pair.client:trace(true)
      for _ = 1, 5000 do
         assert(pair.client:send("\94x"))
         pair.client:output()
      end
      local n = 0
      while pair.client:trace_next() do
         n = n + 1
      end
      assert.equal(4096, n)
   end)
end)

describe("the end of a transport", function()
   local function ended(pair)
      assert.equal("failed", (pair.client:next()))
      assert.equal("failed", (pair.client:next()))
      assert.equal(0, pair.client:input_room())
      assert.equal(0, pair.client:room())
      assert.is_nil(pair.client:deadline())
      local code = pair.client:failure().code
      for _, call in ipairs{ "rekey", "set_authenticated", "start" } do
         assert.same({ n = 2, nil, code }, table.pack(pair.client[call](pair.client)))
      end
      assert.same({ n = 2, nil, code }, table.pack(pair.client:send("\94x")))
      assert.same({ n = 2, nil, code }, table.pack(pair.client:disconnect(11, "again")))
      pair.client:tick(1 << 40)
   end

   it("by our DISCONNECT lets that out and nothing after it", function()
      local pair = Pair.new():open(true)
      assert(pair.client:disconnect(11, "so long"))
      assert(not pair.client:send("\94late"))
      pair:run()
      local event = pair.events.server[#pair.events.server - 1]
      assert.equal("disconnect", event.kind)
      assert.equal(11, event.reason)
      assert.equal("so long", event.data)
      assert.equal("closed", pair.client:failure().code)
      assert.same({ code = "disconnected", reason = 11, message = "the peer disconnected: so long" },
         pair.server:failure())
      ended(pair)
   end)

   it("by the peer's DISCONNECT is its event, then the failure, and no answer", function()
      local pair = Pair.new():open(true):forget()
      assert(pair.server:disconnect(2, "you\27[0m"))
      pair:run()
      assert.equal("disconnect failed", pair:kinds("client"))
      assert.equal("you\27[0m", pair.events.client[1].data)
      assert.equal("the peer disconnected: you\\x1b[0m", pair.client:failure().message)
      assert.equal(0, pair.client:queued())
      ended(pair)
   end)

   it("is in the clear before the first exchange", function()
      local pair = Pair.new():start()
      assert(pair.client:disconnect(11, "no"))
      pair:run()
      assert.equal("disconnected", pair.server:failure().code)
   end)

   it("asked for by the layers above tells the peer why; the first failure stays", function()
      local pair = Pair.new():open(true)
      pair.client:fail(2, "the banner is too long")
      pair.client:fail(11, "later")
      pair:run()
      assert.same({ code = "protocol", reason = 2, message = "the banner is too long" }, pair.client:failure())
      assert.equal("the peer disconnected: the banner is too long", pair.server:failure().message)
      ended(pair)
   end)

   it("without a reason says nothing to the peer", function()
      local pair = Pair.new():open(true)
      pair.client:fail(0, "the network is down")
      assert.equal(0, pair.client:queued())
      ended(pair)
   end)

   it("by a lost connection comes after all that was complete", function()
      local pair = Pair.new():open(true)
      assert(pair.server:send("\94one"))
      assert(pair.server:send("\94two"))
      local bytes = pair.server:output()
      pair.client:feed(bytes:sub(1, -2))
      pair.client:feed_eof()
      pair:take("client")
      assert.same({ "\94one" }, pair:payloads("client"))
      assert.equal("eof", pair.client:failure().code)
      ended(pair)
   end)

   it("frees its keys and buffers, but not what is to be sent", function()
      local heap = testing.heap.new()
      local pair = Pair.new({}, nil, heap):open(true)
      for _ = 1, 50 do
         assert(pair.server:send("\94" .. ("x"):rep(30000)))
      end
      pair:run()
      pair.client:fail(2, "over")
      pair.client:next()
      assert.is_true(heap:in_use() < 16 << 10)
      assert.is_true(pair.client:queued() > 0)
      pair:run()
      assert.equal("the peer disconnected: over", pair.server:failure().message)
   end)
end)
