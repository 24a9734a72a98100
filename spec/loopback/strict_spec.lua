-- Strict key exchange (OpenSSH's PROTOCOL 1.10) and what becomes of the ciphers that need it.

local Pair = require "spec.support.pair"
local clear = require "spec.support.clear"
local kexinit = require "spec.support.kexinit"

local CLIENT_MARK, SERVER_MARK = "kex-strict-c-v00@openssh.com", "kex-strict-s-v00@openssh.com"

-- Both sides begin with these marks behind their methods.
local function begin(pair, client_marks, server_marks, options)
   local fields = { host_key = "ssh-ed25519", marks = client_marks }
   for name, value in pairs(options or {}) do
      fields[name] = value
   end
   assert(pair.client:kexinit(kexinit(fields)))
   fields.marks = server_marks
   assert(pair.server:kexinit(kexinit(fields)))
   return pair
end

local function loose(options, cipher, mac)
   local pair = Pair.new(options, options)
   return begin(pair, nil, nil, { cipher = cipher, mac = mac }):run()
end

local IGNORE = "\2\0\0\0\1x"

describe("strict key exchange", function()
   it("is agreed on by its marks, and sets both sequence numbers to zero at NEWKEYS", function()
      local pair = Pair.new():open()
      assert.is_true(pair.client:info().strict)
      assert.is_true(pair.server:info().strict)
      assert.same({ 0, 1 }, { pair.client:sequence() }) -- the server has sent EXT_INFO
      assert.same({ 1, 0 }, { pair.server:sequence() })
   end)

   it("is not agreed on without the peer's mark, and the sequence numbers go on", function()
      local pair = loose({ allow_chacha = true })
      assert.is_false(pair.client:info().strict)
      assert.is_false(pair.server:info().strict)
      assert.same({ 3, 3 }, { pair.client:sequence() })
   end)

   it("resets the numbers at each later NEWKEYS, whoever starts", function()
      local pair = Pair.new():open(true)
      for round = 1, 5 do
         local side = round % 2 == 0 and "server" or "client"
         for _ = 1, round * 3 do
            assert(pair.client:send("\94a"))
            assert(pair.server:send("\94b"))
         end
         assert(pair[side]:rekey())
         pair:run()
         assert.same({ 0, 0 }, { pair.client:sequence() })
         assert.same({ 0, 0 }, { pair.server:sequence() })
         assert.equal(round, pair.client:info().rekeys)
         assert.is_true(pair.client:send("\94after"))
         pair:run()
         assert.same({ 1, 0 }, { pair.client:sequence() })
      end
   end)

   it("stays although a later KEXINIT lacks the mark", function()
      local pair = Pair.new():open(true)
      assert(pair.client:kexinit(kexinit{ host_key = "ssh-ed25519" }))
      pair:run()
      assert.is_true(pair.server:info().strict)
      assert.equal(1, pair.server:info().rekeys)
      assert.same({ 0, 0 }, { pair.server:sequence() })
   end)

   it("is not taken up in a later KEXINIT", function()
      local pair = loose({ allow_chacha = true })
      assert(pair.client:kexinit(kexinit{ host_key = "ssh-ed25519", marks = CLIENT_MARK }))
      pair:run()
      assert.is_false(pair.server:info().strict)
      assert.equal(1, pair.server:info().rekeys)
      assert.same({ 6, 6 }, { pair.server:sequence() })
   end)

   it("does not mistake the mark of the wrong side", function()
      local pair = begin(Pair.new({ allow_chacha = true }, { allow_chacha = true }), SERVER_MARK, CLIENT_MARK):run()
      assert.is_false(pair.client:info().strict)
      assert.is_false(pair.server:info().strict)
   end)

   it("can be demanded", function()
      local pair = begin(Pair.new({ require_strict = true, allow_chacha = true }), nil, nil):run()
      assert.equal("negotiation", pair.client:failure().code)
      assert.equal("strict", pair.client:negotiation().what)
      assert.is_nil(Pair.new({ require_strict = true }):open().client:failure())
   end)

   for _, side in ipairs{ "client", "server" } do
      for _, payload in ipairs{ IGNORE, "\3\0\0\0\9", "\4\0\0\0\0\0\0\0\0\0", "\192\0\0\0\0", "\255" } do
         it(("rejects a message %d as the first packet from a %s"):format(payload:byte(), side), function()
            local pair = Pair.new()
            local to = pair[side == "client" and "server" or "client"]
            pair[side]:queue("SSH-2.0-x\r\n")
            pair[side]:send_raw(payload)
            assert(to:start())
            -- The rest of its beginning, from a transport of its own.
            local rest = Pair.new()[side]
            assert(rest:start())
            pair[side]:queue((rest:output():gsub("^[^\n]*\n", "")))
            pair:run()
            local failure = to:failure()
            assert.equal("protocol", failure.code)
            assert.equal(2, failure.reason)
            assert.truthy(failure.message:find("KEXINIT was not the first packet", 1, true))
         end)
      end
   end

   it("rejects everything but its own messages between KEXINIT and NEWKEYS", function()
      for _, payload in ipairs{ IGNORE, "\3\0\0\0\9", "\4\0\0\0\0\0\0\0\0\0", "\192\0\0\0\0" } do
         local pair = Pair.new():start()
         pair:move("server")
         pair.server:send_raw(payload)
         pair:run()
         local failure = pair.client:failure()
         assert.equal("protocol", failure.code)
         assert.truthy(failure.message:find(("message %d "):format(payload:byte()), 1, true))
      end
   end)

   it("still takes a DISCONNECT there", function()
      local pair = Pair.new():start()
      pair:move("server")
      pair:take("client")
      pair.server:send_raw("\1\0\0\0\11\0\0\0\3bye\0\0\0\0")
      pair:run()
      assert.equal("disconnect", pair.events.client[1].kind)
      assert.equal("bye", pair.events.client[1].data)
      assert.equal("disconnected", pair.client:failure().code)
   end)

   it("notices a packet that was dropped after NEWKEYS", function()
      local pair = Pair.new():start()
      local dropped
      -- The server's last flight is reply, NEWKEYS, EXT_INFO: the last one goes missing.
      function pair.change(side, bytes)
         return side == "server" and clear.edit(bytes, function() end, function(rest)
            dropped = rest
            return ""
         end)
      end
      pair:run()
      assert.is_true(#dropped > 0)
      assert.equal("host_key kex_done", pair:kinds("client"))
      pair.change = nil
      assert(pair.server:send("\6\0\0\0\0"))
      pair:run()
      assert.equal("mac", pair.client:failure().code)
      assert.equal(5, pair.client:failure().reason)
   end)
end)

describe("without strict key exchange", function()
   local chacha = "chacha20-poly1305@openssh.com"

   it("chacha20-poly1305 is refused, by either side", function()
      local pair = loose({}, chacha .. ",aes128-ctr")
      for _, side in ipairs{ "client", "server" } do
         local failure, why = pair[side]:failure(), pair[side]:negotiation()
         if failure.code ~= "disconnected" then
            assert.equal("negotiation", failure.code)
            assert.equal(3, failure.reason)
            assert.equal("strict", why.what)
            assert.truthy(why.theirs:find(chacha, 1, true))
         end
      end
      assert.equal("negotiation", pair.client:failure().code)
   end)

   it("chacha20-poly1305 is used if it is allowed", function()
      local pair = loose({ allow_chacha = true }, chacha)
      assert.equal("host_key kex_done", pair:kinds("client"))
      assert.equal(chacha, pair.client:info().cipher_send)
      assert.is_false(pair.client:info().strict)
   end)

   for _, cipher in ipairs{ "aes128-gcm@openssh.com", "aes256-ctr" } do
      for _, mac in ipairs{ "hmac-sha2-256", "hmac-sha2-256-etm@openssh.com" } do
         it(("%s with %s is used as ever"):format(cipher, mac), function()
            local pair = loose({}, cipher, mac)
            assert.equal("host_key kex_done", pair:kinds("client"))
            assert.equal(cipher, pair.server:info().cipher_recv)
         end)
      end
   end
end)
