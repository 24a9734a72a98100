-- The messages of the key exchange methods from a server that means harm, and the host key's signature.

local testing = require "moonssh_testing"
local Pair = require "spec.support.pair"
local clear = require "spec.support.clear"
local wire = require "spec.support.wire"

local GEX = "diffie-hellman-group-exchange-sha256"

-- A small group is enough here: aes128 asks for 3072 bits.
local function options(kex)
   return { kex = kex, cipher = "aes128-ctr", host_key = "ssh-ed25519" }
end

-- Exchanges keys while each message of the server with this number goes through `change`.
local function exchange(kex, number, change, more, opts)
   local pair = Pair.new(opts or options(kex), more)
   local seen = 0
   function pair.change(side, bytes)
      if side == "server" then
         return clear.edit(bytes, function(payload)
            if payload:byte() == number then
               seen = seen + 1
               return change(payload, pair)
            end
         end)
      end
   end
   pair:start():run()
   assert.is_true(seen > 0)
   return pair
end

local function rejected(pair, text)
   local failure = pair.client:failure()
   assert.truthy(failure)
   assert.equal("protocol", failure.code)
   assert.equal(3, failure.reason)
   assert.equal("failed", pair:kinds("client"))
   if text then
      assert.truthy(failure.message:find(text, 1, true))
   end
   assert.equal("", pair.client:info().kex)
   pair:close()
end

-- The reply with one field changed: 1 the host key, 2 the public value, 3 the signature.
local function field(n, change)
   return function(payload, pair)
      local fields = { (">s4s4s4"):unpack(payload, 2) }
      fields[n] = change(fields[n], pair)
      return payload:sub(1, 1) .. (">s4s4s4"):pack(fields[1], fields[2], fields[3])
   end
end

local METHODS = {
   { "curve25519-sha256", 31 },
   { "ecdh-sha2-nistp256", 31 },
   { "ecdh-sha2-nistp384", 31 },
   { "ecdh-sha2-nistp521", 31 },
   { "diffie-hellman-group14-sha256", 31 },
   { GEX, 33 },
}

for _, method in ipairs(METHODS) do
   local kex, number = method[1], method[2]
   describe("the reply of " .. kex, function()
      it("is taken when nothing is changed", function()
         local pair = exchange(kex, number, function(payload)
            return payload
         end)
         assert.equal("host_key kex_done", pair:kinds("client"))
      end)

      it("is rejected when cut", function()
         local step = kex:find("diffie") and 11 or 1
         local len = 1
         while true do
            local whole
            local pair = exchange(kex, number, function(payload)
               whole = #payload
               return len < whole and payload:sub(1, len) or nil
            end)
            if len >= whole then
               break
            end
            rejected(pair, "cut short or too long")
            len = len + step
         end
      end)

      it("is rejected with anything behind it", function()
         for junk = 1, 16, 5 do
            rejected(exchange(kex, number, function(payload)
               return payload .. ("x"):rep(junk)
            end), "cut short or too long")
         end
      end)

      it("is rejected for a field whose length lies", function()
         for n = 1, 3 do
            for _, lie in ipairs{ 0, -1, 1, 0x7fffffff, 0xfffffff0, 0xffffffff } do
               rejected(exchange(kex, number, function(payload)
                  local at = 2
                  for _ = 2, n do
                     at = at + 4 + (">I4"):unpack(payload, at)
                  end
                  local len = (">I4"):unpack(payload, at)
                  local new = math.abs(lie) == 1 and len + lie or lie
                  return payload:sub(1, at - 1) .. (">I4"):pack(new) .. payload:sub(at + 4)
               end))
            end
         end
      end)

      it("is rejected for any byte of the signature that was changed", function()
         for at = 1, 16, 3 do
            rejected(exchange(kex, number, field(3, function(signature)
               local i = #signature + 1 - at
               return signature:sub(1, i - 1) .. string.char(signature:byte(i) ~ 4) .. signature:sub(i + 1)
            end)), "signature is not valid")
         end
      end)

      it("is rejected for another host key", function()
         rejected(exchange(kex, number, field(1, function()
            return testing.keys.generate("ed25519"):blob()
         end)), "signature is not valid")
      end)

      it("is rejected for another public value", function()
         local other
         exchange(kex, number, function(payload)
            other = select(2, (">s4s4"):unpack(payload, 2))
         end)
         rejected(exchange(kex, number, field(2, function()
            return other
         end)), "not valid")
      end)
   end)
end

describe("a public value that is not valid", function()
   local NOT_VALID = "the server's public value is not valid"

   local function all_rejected(kex, number, values)
      for _, value in ipairs(values) do
         rejected(exchange(kex, number, field(2, function()
            return value
         end)), NOT_VALID)
      end
   end

   local function hex(text)
      return (text:gsub("%x%x", function(digits)
         return string.char(tonumber(digits, 16))
      end))
   end

   it("is rejected by curve25519-sha256: a point of low order, another length", function()
      local low = {
         "0000000000000000000000000000000000000000000000000000000000000000",
         "0100000000000000000000000000000000000000000000000000000000000000",
         "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
         "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
         "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
         "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
         "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      }
      for i, point in ipairs(low) do
         low[i] = hex(point)
      end
      all_rejected("curve25519-sha256", 31, low)
      all_rejected("curve25519-sha256", 31, { "", ("\9"):rep(31), ("\9"):rep(33), ("\9"):rep(64), ("\9"):rep(5000) })
   end)

   for kex, len in pairs{ ["ecdh-sha2-nistp256"] = 32, ["ecdh-sha2-nistp384"] = 48, ["ecdh-sha2-nistp521"] = 66 } do
      it("is rejected by " .. kex .. ": compressed, hybrid, off the curve, infinite, of another length", function()
         local point
         exchange(kex, 31, function(payload)
            point = select(2, (">s4s4"):unpack(payload, 2))
         end)
         assert.equal(1 + 2 * len, #point)
         local x, y = point:sub(2, 1 + len), point:sub(2 + len)
         all_rejected(kex, 31, {
            "", "\0", "\4", "\2" .. x, "\3" .. x, "\6" .. x .. y, "\7" .. x .. y,
            "\4" .. x .. string.char(y:byte() ~ 1) .. y:sub(2),
            "\4" .. x .. y:sub(1, -2) .. string.char(y:byte(-1) ~ 1),
            "\4" .. ("\0"):rep(2 * len), "\4" .. ("\255"):rep(2 * len), point .. "\0", point:sub(1, -2),
            "\4" .. ("\1"):rep(2 * (len == 32 and 48 or 32)),
         })
      end)
   end

   it("is rejected by Diffie-Hellman: 0, 1, p-1, p, above, negative, not minimal, far too long", function()
      local p = testing.crypto.standard_group(2048)
      local last = p:byte(-1)
      local minus, plus = p:sub(1, -2) .. string.char(last - 1), p:sub(1, -3) .. string.char(p:byte(-2), 0)
      if last == 255 then
         plus = "\1" .. ("\0"):rep(#p)
      end
      all_rejected("diffie-hellman-group14-sha256", 31, {
         "", "\0", "\1", "\0\1", "\0" .. minus, "\0" .. p, "\0" .. plus, "\255", "\128", minus,
         "\0\0" .. minus, "\0" .. ("\1"):rep(256), ("\1"):rep(8192),
      })
   end)
end)

describe("a group of the server", function()
   local p, g = testing.crypto.standard_group(3072)

   local function with(new_p, new_g)
      return exchange(GEX, 31, function()
         return wire.message("GEX_GROUP", "ss", new_p, new_g)
      end)
   end

   it("is taken when it is what was asked for", function()
      assert.equal(384, #p)
      assert.equal("host_key kex_done", (with("\0" .. p, g)):kinds("client"))
   end)

   it("is rejected when it is too small, too large, even or negative", function()
      local function number(bits)
         return "\0" .. string.char(128) .. ("\0"):rep(bits // 8 - 2) .. "\1"
      end
      for _, bits in ipairs{ 512, 1024, 2040, 8200, 10240, 65536 } do
         rejected(with(number(bits), g), "the server's group is not acceptable")
      end
      rejected(with("\127" .. p:sub(2, 256), g), "the server's group is not acceptable") -- 2047 bits
      rejected(with("\0" .. p:sub(1, -2) .. "\2", g), "the server's group is not acceptable")
      rejected(with(p, g), "the server's group is not well formed")
      rejected(with("", g), "the server's group is not acceptable")
      rejected(with("\0\0" .. p, g), "the server's group is not well formed")
   end)

   it("is rejected for a generator of 0, 1, p-1, p, or a negative one", function()
      local minus = p:sub(1, -2) .. string.char(p:byte(-1) - 1)
      for _, generator in ipairs{ "", "\1", "\0" .. minus, "\0" .. p } do
         rejected(with("\0" .. p, generator), "the server's group is not acceptable")
      end
      rejected(with("\0" .. p, "\255"), "the server's group is not well formed")
   end)

   it("is rejected when cut, or with anything behind it", function()
      local whole = wire.message("GEX_GROUP", "ss", "\0" .. p, g)
      for len = 1, #whole - 1, 7 do
         rejected(exchange(GEX, 31, function()
            return whole:sub(1, len)
         end))
      end
      rejected(exchange(GEX, 31, function()
         return whole .. "\0"
      end), "the server's group is not well formed")
   end)

   it("is asked for by the strength of the cipher", function()
      for cipher, bits in pairs{ ["aes128-ctr"] = 3072, ["aes192-ctr"] = 7680, ["aes256-ctr"] = 8192 } do
         local pair, request = Pair.new{ kex = GEX, cipher = cipher }, nil
         function pair.change(side, bytes)
            if side == "client" then
               clear.edit(bytes, function(payload)
                  request = payload:byte() == 34 and payload or request
               end)
            end
         end
         pair:start():run()
         assert.equal(wire.message("GEX_REQUEST", "uuu", 2048, bits, 8192), request)
      end
   end)
end)

describe("a client that means harm", function()
   local function to_server(kex, number, change)
      local pair = Pair.new(options(kex))
      function pair.change(side, bytes)
         if side == "client" then
            return clear.edit(bytes, function(payload)
               return payload:byte() == number and change(payload) or nil
            end)
         end
      end
      pair:start():run()
      local failure = pair.server:failure()
      assert.equal("protocol", failure.code)
      assert.equal(3, failure.reason)
      assert.equal("disconnect failed", pair:kinds("client"))
   end

   it("is rejected for a public value that is not valid, cut, or too long", function()
      for _, payload in ipairs{ "\30", "\30\0\0\0\0", "\30\0\0\0\32", "\30\0\0\0\32" .. ("\0"):rep(32),
         "\30\0\0\0\32" .. ("\9"):rep(33), "\30\0\0\32\0" .. ("\9"):rep(8192) } do
         to_server("curve25519-sha256", 30, function()
            return payload
         end)
      end
   end)

   it("is rejected for a request of a group that cannot be", function()
      for _, sizes in ipairs{ { 2048, 1024, 8192 }, { 8192, 8192, 2048 }, { 1024, 1024, 1024 },
         { 9000, 9000, 9000 }, { 0xffffffff, 0xffffffff, 0xffffffff }, { 2049, 2049, 2050 } } do
         to_server(GEX, 34, function()
            return wire.message("GEX_REQUEST", "uuu", table.unpack(sizes))
         end)
      end
      for len = 1, 12 do
         to_server(GEX, 34, function(payload)
            return payload:sub(1, len)
         end)
      end
   end)
end)

describe("the host key", function()
   local rsa, ecdsa = Pair.key("rsa", 2048), Pair.key("ecdsa", 384)

   -- The server signs as it likes: H is its session id by then.
   local function signed(algorithm, sign, key)
      local opts = { host_key = algorithm, cipher = "aes128-ctr" }
      return exchange("curve25519-sha256", 31, field(3, function(_, pair)
         return sign(pair.server:info().session_id)
      end), { host_keys = { key } }, opts)
   end

   it("signs with the algorithm that was negotiated", function()
      local pair = signed("rsa-sha2-512", function(hash)
         return assert(rsa:sign("rsa-sha2-512", hash))
      end, rsa)
      assert.equal("host_key kex_done", pair:kinds("client"))
   end)

   it("is rejected when it signs with another, though it could", function()
      rejected(signed("rsa-sha2-512", function(hash)
         return assert(rsa:sign("rsa-sha2-256", hash))
      end, rsa), "signature is not valid")
      rejected(signed("rsa-sha2-256", function(hash)
         return assert(rsa:sign("rsa-sha2-512", hash))
      end, rsa), "signature is not valid")
   end)

   it("is rejected when the signature names SHA-1, is empty, or has something behind it", function()
      rejected(signed("rsa-sha2-512", function(hash)
         local good = assert(rsa:sign("rsa-sha2-512", hash))
         return wire.pack("ss", "ssh-rsa", select(2, wire.unpack("ss", good)))
      end, rsa), "signature is not valid")
      for _, change in ipairs{
         function() return "" end,
         function() return wire.pack("ss", "rsa-sha2-512", "") end,
         function(good) return good .. "\0" end,
         function(good) return good:sub(1, -2) end,
         function(good) return good:sub(1, 20) end,
      } do
         rejected(signed("rsa-sha2-512", function(hash)
            return change(assert(rsa:sign("rsa-sha2-512", hash)))
         end, rsa), "signature is not valid")
      end
   end)

   it("is rejected when it signs something else", function()
      rejected(signed("ecdsa-sha2-nistp384", function(hash)
         return assert(ecdsa:sign("ecdsa-sha2-nistp384", hash:reverse()))
      end, ecdsa), "signature is not valid")
   end)

   it("is rejected when it is of another kind than negotiated, though it signs well", function()
      local pair = exchange("curve25519-sha256", 31, field(1, function()
         return ecdsa:blob()
      end))
      rejected(pair, "the host key is not of the negotiated kind")
   end)

   it("is rejected when it is no key", function()
      for _, blob in ipairs{ "", "x", wire.pack("s", "ssh-ed25519"), wire.pack("ss", "ssh-ed25519", ("x"):rep(31)),
         wire.pack("ss", "ssh-ed25519", ("x"):rep(33)), wire.pack("ss", "rot13", ("x"):rep(32)),
         Pair.key("ed25519"):blob() .. "\0", ("x"):rep(20000) } do
         rejected(exchange("curve25519-sha256", 31, field(1, function()
            return blob
         end)), "host key")
      end
   end)
end)

describe("the question of the host key", function()
   local function asked()
      local pair = Pair.new()
      pair.answer = nil
      pair:start():run()
      assert.equal("host_key", pair:kinds("client"))
      return pair
   end

   it("holds everything up until it is answered", function()
      local pair = asked()
      assert.equal("host_key", pair.client:stage())
      assert.equal(0, pair.client:input_room())
      assert.equal(0, pair.client:queued())
      assert.equal(Pair.key("ed25519"):blob(), pair.events.client[1].data)
      assert.equal(Pair.key("ed25519"):blob(), pair.client:host_key())
      assert(pair.client:send("\5\0\0\0\0"))
      assert.equal(0, pair.client:queued())
      assert(pair.client:answer_host_key(true))
      pair:run()
      assert.equal("host_key kex_done", pair:kinds("client"))
      assert.equal("kex_done payload", pair:kinds("server"))
      assert.equal("open", pair.client:stage())
   end)

   it("answered no, ends with DISCONNECT 9, and nothing but that is sent", function()
      local pair = asked()
      assert(pair.client:send("\50a secret"))
      assert(pair.client:answer_host_key(false))
      assert.equal("host_key_rejected", pair.client:failure().code)
      pair:run()
      assert.equal("disconnect failed", pair:kinds("server"))
      assert.equal(9, pair.events.server[1].reason)
      assert.equal("host_key failed", pair:kinds("client"))
      assert.same({ n = 2, nil, "host_key_rejected" }, table.pack(pair.client:answer_host_key(true)))
   end)
end)
