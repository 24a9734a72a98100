-- SSH_MSG_KEXINIT: what is well formed, what is chosen, and guessed packets.

local testing = require "moonssh_testing"
local Pair = require "spec.support.pair"
local clear = require "spec.support.clear"
local kexinit = require "spec.support.kexinit"

-- A client that has got this KEXINIT: its failure, and itself.
local function given(payload)
   local client = assert(testing.transport.new{})
   assert(client:start())
   client:output()
   local bytes = "SSH-2.0-x\r\n" .. clear.packet(payload)
   while bytes ~= "" and not client:failure() do
      bytes = bytes:sub(client:feed(bytes) + 1)
      client:next()
   end
   return client:failure(), client
end

local function rejected(payload, text)
   local failure = given(payload)
   assert.truthy(failure)
   assert.equal("protocol", failure.code)
   assert.equal(3, failure.reason)
   assert.truthy(failure.message:find(text, 1, true))
end

local function accepted(payload)
   local failure, client = given(payload)
   assert.is_nil(failure)
   assert.equal(31, select(2, client:gate()))
end

local STRICT = { marks = "kex-strict-s-v00@openssh.com" }

local function with(n, list, more)
   local options = { marks = STRICT.marks, lists = { [n] = list } }
   for name, value in pairs(more or {}) do
      options[name] = value
   end
   return kexinit(options)
end

describe("our KEXINIT", function()
   it("has marks in the first exchange only, and languages in none", function()
      local pair = Pair.new()
      pair.keep = true
      pair:open(true)
      local payloads = {}
      for _, side in ipairs{ "client", "server" } do
         clear.edit(table.concat(pair.wire[side]), function(payload)
            if payload:byte() == 20 then
               payloads[side] = payload
            end
         end)
      end
      local client = (">s4"):unpack(payloads.client, 18)
      local server = (">s4"):unpack(payloads.server, 18)
      local marks = ",ext-info-c,kex-strict-c-v00@openssh.com"
      assert.equal(marks, client:sub(-#marks))
      assert.equal(",ext-info-s,kex-strict-s-v00@openssh.com", server:sub(-#marks))
      assert.equal(("\0"):rep(8 + 1 + 4), payloads.client:sub(-13))
      assert.are_not.equal(payloads.client:sub(2, 17), payloads.server:sub(2, 17))

      pair.client:trace(true)
      assert(pair.client:rekey())
      assert.same({ "sent", 20, #payloads.client - #marks }, { pair.client:trace_next() })
   end)

   it("has a cookie of its own each time", function()
      local seen = {}
      for _ = 1, 500 do
         local client = assert(testing.transport.new{})
         assert(client:start())
         local cookie
         clear.edit(client:output(), function(payload)
            cookie = payload:sub(2, 17)
         end)
         assert.is_nil(seen[cookie])
         seen[cookie] = true
      end
   end)
end)

describe("a KEXINIT", function()
   it("is taken as it is", function()
      accepted(kexinit(STRICT))
   end)

   it("may have any reserved field, and any languages", function()
      accepted(kexinit{ marks = STRICT.marks, reserved = 0xffffffff })
      accepted(kexinit{ marks = STRICT.marks, language = "en,,\0 \255" })
   end)

   it("is rejected when cut at any length", function()
      local whole = kexinit(STRICT)
      for len = 1, #whole - 1 do
         rejected(whole:sub(1, len), "KEXINIT is cut short or too long")
      end
   end)

   it("is rejected with anything behind it", function()
      for junk = 1, 16 do
         rejected(kexinit(STRICT) .. ("\0"):rep(junk), "KEXINIT is cut short or too long")
      end
   end)

   it("is rejected for a list whose length lies", function()
      local whole = kexinit(STRICT)
      local at = 18
      for _ = 1, 10 do
         local len = (">I4"):unpack(whole, at)
         for _, lie in ipairs{ len + 1, len + 0x10000, 0x7fffffff, 0xfffffff0, 0xffffffff } do
            rejected(whole:sub(1, at - 1) .. (">I4"):pack(lie) .. whole:sub(at + 4), "KEXINIT")
         end
         if len > 0 then
            rejected(whole:sub(1, at - 1) .. (">I4"):pack(len - 1) .. whole:sub(at + 4), "KEXINIT")
         end
         at = at + 4 + len
      end
   end)

   it("is rejected for a list that is not well formed", function()
      for n = 1, 8 do
         for _, list in ipairs{ ",a", "a,", "a,,b", ",", "a b", "a\0", "\0", "a\127", "\228", ("x"):rep(65),
            ("n,"):rep(512) .. "n" } do
            rejected(with(n, list), ("name-list %d is not well formed"):format(n))
         end
      end
   end)

   it("may have 512 names of 64 bytes", function()
      local filler = ("x"):rep(64) .. ","
      accepted(with(1, filler:rep(510) .. "curve25519-sha256," .. STRICT.marks))
      accepted(with(3, filler:rep(511) .. "aes128-ctr"))
   end)

   it("is no negotiation with an empty list", function()
      for n, what in pairs{ "kex", "host_key", "cipher", "cipher", [7] = "compression", [8] = "compression" } do
         local failure, client = given(with(n, ""))
         assert.equal("negotiation", failure.code)
         assert.equal(3, failure.reason)
         assert.equal(what, client:negotiation().what)
         assert.equal("", client:negotiation().theirs)
      end
   end)

   it("needs no MAC in common when the cipher has its own", function()
      accepted(kexinit{ marks = STRICT.marks, cipher = "aes128-gcm@openssh.com", mac = "hmac-md5" })
      local failure, client = given(kexinit{ marks = STRICT.marks, cipher = "aes128-ctr", mac = "hmac-md5" })
      assert.equal("negotiation", failure.code)
      assert.equal("mac", client:negotiation().what)
      assert.equal("hmac-md5", client:negotiation().theirs)
   end)

   it("may choose differently for each direction", function()
      local pair = Pair.new()
      assert(pair.client:start())
      local lists = { [3] = "aes256-ctr", [4] = "chacha20-poly1305@openssh.com", [5] = "hmac-sha2-512",
         [8] = "zlib@openssh.com" }
      assert(pair.server:kexinit(kexinit{ marks = STRICT.marks, host_key = "ssh-ed25519", lists = lists }))
      pair:run()
      local info = pair.client:info()
      assert.equal("aes256-ctr", info.cipher_send)
      assert.equal("chacha20-poly1305@openssh.com", info.cipher_recv)
      assert.equal("hmac-sha2-512", info.mac_send)
      assert.equal("", info.mac_recv)
      assert.equal("none", info.compression_send)
      assert.equal("zlib@openssh.com", info.compression_recv)
   end)

   it("never makes a mark be chosen", function()
      local failure = given(kexinit{ kex = "ext-info-c,kex-strict-c-v00@openssh.com,kex-strict-s-v00@openssh.com" })
      assert.equal("negotiation", failure.code)
   end)

   it("has the client's preference win", function()
      local pair = Pair.new({ kex = "ecdh-sha2-nistp384,curve25519-sha256", cipher = "aes256-ctr,aes128-ctr" },
         { kex = "curve25519-sha256,ecdh-sha2-nistp384", cipher = "aes128-ctr,aes256-ctr" }):open()
      assert.equal("ecdh-sha2-nistp384", pair.server:info().kex)
      assert.equal("aes256-ctr", pair.server:info().cipher_send)
   end)
end)

describe("a guessed packet", function()
   local OURS = { kex = "curve25519-sha256,ecdh-sha2-nistp256", host_key = "ssh-ed25519,rsa-sha2-256" }

   -- A server that guesses, or a client, with these preferences; how it goes on.
   local function guess(side, preferences, packets, options)
      local pair = Pair.new(options or OURS, { kex = OURS.kex, host_key = OURS.host_key,
         host_keys = { Pair.key("ed25519"), Pair.key("rsa", 2048) } })
      local fields = { kex = preferences.kex or OURS.kex, host_key = preferences.host_key or OURS.host_key,
         follows = true, marks = side == "client" and "kex-strict-c-v00@openssh.com" or STRICT.marks }
      assert(pair[side]:kexinit(kexinit(fields)))
      for _, payload in ipairs(packets) do
         assert(pair[side]:send_raw(payload))
      end
      assert(pair[side == "client" and "server" or "client"]:start())
      return pair:run()
   end

   local function done(pair)
      assert.equal("host_key kex_done", pair:kinds("client"))
      assert.equal("kex_done", pair:kinds("server"))
   end

   it("that is right is part of the exchange", function()
      -- The client's own first message is the guess.
      done(guess("client", {}, {}))
   end)

   for _, case in ipairs{
      { "method", { kex = "ecdh-sha2-nistp256,curve25519-sha256" } },
      { "host key", { host_key = "rsa-sha2-256,ssh-ed25519" } },
      { "unknown method", { kex = "rot13@example.com,curve25519-sha256" } },
   } do
      for _, side in ipairs{ "client", "server" } do
         it(("of a %s for a wrong %s is dropped, whatever it is"):format(side, case[1]), function()
            for _, payload in ipairs{ "\30", "\31garbage", "\34\0\0", "\49" } do
               done(guess(side, case[2], { payload }))
            end
         end)

         it(("of a %s for a wrong %s is dropped once only"):format(side, case[1]), function()
            local pair = guess(side, case[2], { "\30x", "\31x" })
            local failure = pair[side == "client" and "server" or "client"]:failure()
            assert.equal("protocol", failure.code)
         end)

         it(("of a %s for a wrong %s is dropped in rekeys, too, with nothing kept"):format(side, case[1]), function()
            local heap = testing.heap.new()
            local pair = Pair.new({ kex = OURS.kex, host_key = OURS.host_key, heap = heap }):open(true)
            local before
            for i = 1, 60 do
               assert(pair[side]:kexinit(kexinit{ kex = case[2].kex or OURS.kex,
                  host_key = case[2].host_key or OURS.host_key, follows = true }))
               assert(pair[side]:send_raw("\31wrong guess"))
               pair:run():forget()
               assert.equal(i, pair.client:info().rekeys)
               assert.equal(i, pair.server:info().rekeys)
               if i == 20 then
                  before = heap:in_use()
               end
            end
            assert.equal(before, heap:in_use())
         end)
      end
   end

   it("must come before NEWKEYS", function()
      local pair = guess("server", { kex = "ecdh-sha2-nistp256,curve25519-sha256" }, {})
      -- No guess came: the server's reply was taken for it.
      assert.equal("protocol", pair.client:failure().code)
      assert.truthy(pair.client:failure().message:find("NEWKEYS", 1, true))
   end)
end)
