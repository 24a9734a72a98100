-- Attacks, row P7: counters that come to their end. The framing that the hand-made server uses keeps its own.

local Peer = require "spec.support.peer"
local framing = require "spec.support.peer.framing"
local testing = require "moonssh_testing"
local wire = require "spec.support.wire"

local message = wire.message

describe("P7: the invocation counter of AES-GCM", function()
   local key = ("k"):rep(32)

   -- Five packets from the core to the framing apart, and back.
   local function carries(counter)
      local iv = "fix!" .. (">I8"):pack(counter)
      local secrets = { key = key, iv = iv }
      local core = { send = testing.transport.seal{ cipher = "aes256-gcm@openssh.com", key = key, iv = iv,
         encrypt = true }, recv = testing.transport.seal{ cipher = "aes256-gcm@openssh.com", key = key, iv = iv } }
      local apart = { send = framing.new("aes256-gcm@openssh.com", nil, secrets),
         recv = framing.new("aes256-gcm@openssh.com", nil, secrets) }
      for i = 1, 5 do
         local payload = ("payload %d"):format(i)
         local body = "\6" .. payload .. "\1\2\3\4\5\6"
         local sealed = assert(core.send:seal(i, (">s4"):pack(body)))
         assert.are.equal(payload, (apart.recv:open(i, sealed, 1)))
         local back = apart.send:seal(i, { payload = payload, padding = "\6\5\4\3\2\1" })
         assert.are.equal("\6" .. payload .. "\6\5\4\3\2\1", (assert(core.recv:open(i, back))))
      end
   end

   it("carries over all of its eight bytes", function()
      for _, counter in ipairs{ 0, 0xff - 2, 0xffff - 2, 0xffffffff - 2, 0xffffffffff - 2, 0x7fffffffffffffff - 2 } do
         carries(counter)
      end
   end)

   it("carries where the key exchange begins it high: it wraps as RFC 5647 has it", function()
      carries(-3) -- 2^64 - 3
   end)
end)

-- The core's transport as a client, against the hand-made server; `moved` is called after each round.
local function joined(options, peer_options)
   local transport = assert(testing.transport.new(options))
   local peer = Peer.new(peer_options)
   local events = {}
   transport:start()
   peer:start()
   local function go()
      repeat
         local moved = false
         while true do
            local kind = transport:next()
            if kind == "none" or events[#events] == "failed" then
               break
            end
            table.insert(events, kind)
            moved = true
            if kind == "host_key" then
               transport:answer_host_key(true)
            end
         end
         local output = transport:output()
         if output ~= "" then
            peer:feed(output)
            moved = true
         end
         local input = peer:take()
         if input ~= "" then
            transport:feed(input)
            moved = true
         end
      until not moved
   end
   go()
   return transport, peer, go, events
end

describe("P7: the sequence number", function()
   it("wraps after the first key exchange, under every framing, and goes on", function()
      for _, suite in ipairs{ { "aes128-ctr", "hmac-sha2-256" }, { "aes128-ctr", "hmac-sha2-512-etm@openssh.com" },
         { "chacha20-poly1305@openssh.com" }, { "aes128-gcm@openssh.com" } } do
         local transport, peer, go, events = joined({}, { cipher = suite[1], mac = suite[2], ext_info = false })
         transport:sequence(0xfffffffe, 0xfffffffe)
         peer.into.sequence, peer.out.sequence = 0xfffffffe, 0xfffffffe
         for i = 1, 5 do
            transport:send(message("IGNORE", "s", "up " .. i))
            peer:message("IGNORE", "s", "down " .. i)
            go()
         end
         local n = 0
         for _, kind in ipairs(events) do
            n = n + (kind == "ignore" and 1 or 0)
         end
         assert.are.equal(5, n, suite[1])
         assert.are.equal(5, #peer:seen("IGNORE"), suite[1])
         assert.are.same({ 3, 3 }, { transport:sequence() })
         assert.is_nil((transport:failure()))
      end
   end)

   it("may not wrap within the first key exchange", function()
      local transport, peer, go = joined({}, { strict = false, steps = { ident = function() return "" end,
         kexinit = function() end } })
      transport:sequence(nil, 0xfffffffd)
      peer:raw("SSH-2.0-peer\r\n")
      for _ = 1, 2 do
         peer:message("IGNORE", "s", "x")
      end
      go()
      assert.is_nil((transport:failure()))
      peer:message("IGNORE", "s", "x")
      go()
      local failure = transport:failure()
      assert.are.equal("protocol", failure.code)
      assert.are.equal(2, failure.reason)
   end)
end)

describe("P7: the number of packets under one key", function()
   it("leads to new keys long before 2^31, in either direction", function()
      for _, direction in ipairs{ "sent", "received" } do
         local transport, peer, go = joined({}, {})
         transport:set_authenticated() -- before that no exchange is begun
         local last = (1 << 31) - 2
         transport:packets(direction == "sent" and last or nil, direction == "received" and last or nil)
         for i = 1, 4 do
            if direction == "sent" then
               transport:send(message("IGNORE", "s", "x" .. i))
            else
               peer:message("IGNORE", "s", "x" .. i)
            end
            go()
         end
         assert.are.equal(2, #peer:seen("KEXINIT"), direction)
         assert.is_nil((transport:failure()))
         assert.is_true((transport:packets()) < 10)
      end
   end)

   it("ends it before 2^32 when the server does not exchange keys", function()
      local transport, peer, go = joined({}, {})
      peer.steps.payload = function(_, number) return number == 20 end -- our KEXINIT is not heard
      transport:packets(nil, 0xffffffe0)
      for i = 1, 32 do
         peer:message("IGNORE", "s", "x" .. i)
      end
      go()
      local failure = transport:failure()
      assert.are.equal("protocol", failure.code)
      assert.are.equal(2, failure.reason)
   end)
end)
