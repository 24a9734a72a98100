-- Attacks, rows K10 to K14 and K16: the values of the key exchange.

local oracle = require "spec.support.oracle"
local testing = require "moonssh_testing"
local wire = require "spec.support.wire"

local message = wire.message

-- A run in which the server's share is this one.
local function with_share(kex, share, strict)
   return oracle.run{ peer = { kex = kex, strict = strict, steps = { share = function(_, client_share)
      local bytes = share
      if type(share) == "function" then
         bytes = share(client_share)
      end
      return bytes, ("s"):rep(32)
   end } } }
end

local function hex(text)
   return (text:gsub("%s", ""):gsub("..", function(pair)
      return string.char(tonumber(pair, 16))
   end))
end

describe("K10: an X25519 share", function()
   local low_order = {
      ["0"] = ("\0"):rep(32),
      ["1"] = "\1" .. ("\0"):rep(31),
      ["of order 8"] = hex"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
      ["of order 8, the other"] = hex"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
      ["p - 1"] = hex"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      ["p"] = hex"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      ["p + 1"] = hex"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
   }

   for name, point in pairs(low_order) do
      it("that is the point " .. name .. " is rejected", function()
         oracle.rejected(with_share("curve25519-sha256", point), "protocol", 3)
      end)

      it("that is the point " .. name .. " with its top bit set is rejected", function()
         local set = point:sub(1, 31) .. string.char(point:byte(32) | 0x80)
         oracle.rejected(with_share("curve25519-sha256@libssh.org", set), "protocol", 3)
      end)
   end

   for _, n in ipairs{ 0, 1, 31, 33, 64, 1000, 40000 } do
      it("of " .. n .. " bytes is rejected", function()
         oracle.rejected(with_share("curve25519-sha256", ("\9"):rep(n)), "protocol", 3)
      end)
   end
end)

describe("K10: a share of a hybrid", function()
   local hybrids = {
      ["mlkem768x25519-sha256"] = { kem = "mlkem", length = 1088 + 32 },
      ["sntrup761x25519-sha512"] = { kem = "sntrup", length = 1039 + 32 },
      ["sntrup761x25519-sha512@openssh.com"] = { kem = "sntrup", length = 1039 + 32 },
   }

   for kex, hybrid in pairs(hybrids) do
      for _, change in ipairs{ -hybrid.length, -33, -32, -31, -1, 1, 31, 32, 40000 } do
         it(("of %s that is %d bytes off is rejected"):format(kex, change), function()
            oracle.rejected(with_share(kex, ("\9"):rep(hybrid.length + change)), "protocol", 3)
         end)
      end

      for name, half in pairs{ ["0"] = ("\0"):rep(32), ["1"] = "\1" .. ("\0"):rep(31),
         ["p"] = hex"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f" } do
         it("of " .. kex .. " whose curve's half is the point " .. name .. " is rejected", function()
            oracle.rejected(with_share(kex, function(client_share)
               return testing.crypto.kem(hybrid.kem):encapsulate(client_share):sub(1, -33) .. half
            end), "protocol", 3)
         end)
      end

      it("of " .. kex .. " that is nobody's gives a secret that is not the server's: its signature is none", function()
         oracle.rejected(with_share(kex, function(client_share)
            local good = testing.crypto.kem(hybrid.kem):encapsulate(client_share)
            return ("\9"):rep(#good - 32) .. good:sub(-32)
         end), "protocol", 3)
      end)
   end
end)

describe("K11: an ECDH point", function()
   local curves = {
      { kex = "ecdh-sha2-nistp256", kem = "p256", size = 32,
         p = hex"ffffffff00000001000000000000000000000000ffffffffffffffffffffffff" },
      { kex = "ecdh-sha2-nistp384", kem = "p384", size = 48,
         p = hex"fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff" },
      { kex = "ecdh-sha2-nistp521", kem = "p521", size = 66, p = "\1" .. ("\255"):rep(65) },
   }

   local function good(curve)
      return assert(testing.crypto.kem(curve.kem)):keypair()
   end

   for i, curve in ipairs(curves) do
      local function rejected(point)
         oracle.rejected(with_share(curve.kex, point), "protocol", 3)
      end

      it("is taken in the uncompressed form alone, on " .. curve.kem, function()
         local point = good(curve)
         local x, last = point:sub(2, 1 + curve.size), point:byte(-1)
         rejected(string.char(2 + last % 2) .. x)
         rejected(string.char(6 + last % 2) .. point:sub(2))
         rejected(string.char(7 - last % 2) .. point:sub(2))
         for _, form in ipairs{ 0, 1, 3, 5, 8, 255 } do
            rejected(string.char(form) .. point:sub(2))
         end
      end)

      it("must be on the curve, on " .. curve.kem, function()
         local point = good(curve)
         rejected(point:sub(1, -2) .. string.char(point:byte(-1) ~ 1))
         rejected("\4" .. ("\0"):rep(2 * curve.size))
         rejected("\4" .. ("\255"):rep(2 * curve.size))
         rejected("\4" .. curve.p .. point:sub(2 + curve.size))
         rejected(point:sub(1, 1 + curve.size) .. curve.p)
      end)

      it("cannot be infinity, on " .. curve.kem, function()
         rejected("\0")
         rejected("")
      end)

      it("cannot have another length, on " .. curve.kem, function()
         local point = good(curve)
         rejected(point:sub(1, -2))
         rejected(point .. "\0")
         rejected(good(curves[i % 3 + 1]))
         rejected(("\4"):rep(30000))
      end)
   end
end)

-- Arithmetic on big-endian magnitudes, as far as it is needed here.
local function plus(magnitude, n)
   local bytes = { magnitude:byte(1, -1) }
   for i = #bytes, 1, -1 do
      local sum = bytes[i] + n
      bytes[i] = sum & 255
      n = sum >> 8
   end
   return string.char(table.unpack(bytes))
end

-- The content of an mpint field.
local function mpint(magnitude)
   return (wire.pack("m", magnitude):sub(5))
end

local p14 = testing.crypto.standard_group(2048)

describe("K12: a Diffie-Hellman share", function()
   for name, share in pairs{
      ["0"] = "", ["0, written as a byte"] = "\0", ["1"] = "\1", ["-1"] = "\255",
      ["p - 1"] = mpint(plus(p14, -1)), ["p"] = mpint(p14), ["p + 1"] = mpint(plus(p14, 1)),
      ["of 8 KiB"] = ("\1"):rep(8192), ["negative"] = "\128" .. ("x"):rep(255),
      ["with a needless zero in front"] = "\0\1" .. ("x"):rep(200), ["a power of two"] = "\64" .. ("\0"):rep(200),
   } do
      it("that is " .. name .. " is rejected", function()
         oracle.rejected(with_share("diffie-hellman-group14-sha256", share), "protocol", 3)
      end)
   end

   it("of the client has twice as many bits of secret as its ciphers have of strength", function()
      -- The exponent cannot be seen; its size shows in that the share is never one of a small one.
      local run = oracle.run{ peer = { kex = "diffie-hellman-group14-sha256" } }
      local _, share = wire.unpack("bm", run.peer:seen("KEX_INIT")[1])
      assert.is_true(#share > 200)
      oracle.finished(run)
   end)
end)

describe("K13: a group of the server's", function()
   local function with_group(p, g)
      local run = oracle.run{ peer = {
         kex = "diffie-hellman-group-exchange-sha256",
         steps = { payload = function(peer, number)
            if number == wire.NUMBER.GEX_REQUEST then
               peer:message("GEX_GROUP", "ss", p, g)
               return true
            end
         end },
      } }
      assert.are.equal(0, #run.peer:seen("GEX_INIT"))
      oracle.rejected(run, "protocol", 3)
   end

   for _, bits in ipairs{ 0, 8, 512, 1024, 2040, 2047, 8193, 10240, 65536 } do
      it("of " .. bits .. " bits is rejected before anything is computed", function()
         local bytes = (bits + 7) // 8
         local top = bits % 8 == 0 and 0x80 or 1 << (bits % 8 - 1)
         with_group(bits == 0 and "" or mpint(string.char(top) .. ("\255"):rep(bytes - 1)), "\2")
      end)
   end

   it("with an even, negative or padded prime is rejected", function()
      with_group(mpint(plus(p14, -1)), "\2")
      with_group(p14, "\2") -- its top bit set: negative without a zero in front
      with_group("\0\0" .. p14, "\2")
   end)

   for name, g in pairs{ ["0"] = "", ["1"] = "\1", ["p - 1"] = mpint(plus(p14, -1)), ["p"] = mpint(p14),
      ["-1"] = "\255" } do
      it("with the generator " .. name .. " is rejected", function()
         with_group(mpint(p14), g)
      end)
   end

   it("is used when it is as it should be", function()
      oracle.finished(oracle.run{ peer = { kex = "diffie-hellman-group-exchange-sha256" } })
   end)

   it("is asked for between 2048 and 8192 bits", function()
      local run = oracle.run{ peer = { kex = "diffie-hellman-group-exchange-sha256" } }
      local _, least, wanted, most = wire.unpack("buuu", run.peer:seen("GEX_REQUEST")[1])
      assert.are.same({ 2048, 3072, 8192 }, { least, wanted, most })
      oracle.finished(run)
   end)
end)

describe("K14: the replies of a key exchange", function()
   -- What is cut is the payload that starts with this number; the first that comes.
   local function mutated(kex, number, mutate)
      local done
      return oracle.run{ peer = { kex = kex, steps = { sending = function(_, payload)
         if payload:byte() == number and not done then
            done = true
            return mutate(payload)
         end
         return payload
      end } } }
   end

   local flows = {
      { kex = "curve25519-sha256", 31 },
      { kex = "mlkem768x25519-sha256", 31, step = 67 },
      { kex = "sntrup761x25519-sha512", 31, step = 131 },
      { kex = "ecdh-sha2-nistp256", 31, step = 7 },
      { kex = "diffie-hellman-group14-sha256", 31, step = 31 },
      { kex = "diffie-hellman-group-exchange-sha256", 31, 33, step = 31 },
   }

   for _, flow in ipairs(flows) do
      for _, number in ipairs(flow) do
         it("are rejected when cut short: " .. number .. " of " .. flow.kex, function()
            local whole
            mutated(flow.kex, number, function(payload)
               whole = payload
               return payload
            end)
            for n = 1, #whole - 1, flow.step or 1 do
               local run = mutated(flow.kex, number, function(payload) return payload:sub(1, n) end)
               oracle.rejected(run, "protocol", 3)
            end
         end)

         it("are rejected with 1 to 16 bytes behind them (P9): " .. number .. " of " .. flow.kex, function()
            for _, n in ipairs{ 1, 2, 4, 16 } do
               local run = mutated(flow.kex, number, function(payload) return payload .. ("\0"):rep(n) end)
               oracle.rejected(run, "protocol", 3)
            end
         end)

         it("are rejected when a length in them lies: " .. number .. " of " .. flow.kex, function()
            local whole
            mutated(flow.kex, number, function(payload)
               whole = payload
               return payload
            end)
            local places, at = {}, 2
            while at < #whole do
               table.insert(places, at)
               at = at + 4 + (">I4"):unpack(whole, at)
            end
            for i, place in ipairs(places) do
               for _, change in ipairs{ 0, -1, 1, 0x7fffffff, 0xfffffff0, 0xffffffff } do
                  local run = mutated(flow.kex, number, function(payload)
                     local length = (">I4"):unpack(payload, place)
                     local lie = (change == 1 or change == -1) and length + change or change
                     return payload:sub(1, place - 1) .. (">I4"):pack(lie) .. payload:sub(place + 4)
                  end)
                  assert.is_truthy(run.client.session:failure(), "field " .. i)
                  oracle.rejected(run, "protocol", 3)
               end
            end
         end)
      end
   end

   it("NEWKEYS with anything behind it is rejected", function()
      for _, n in ipairs{ 1, 16 } do
         local run = oracle.run{ peer = { steps = { newkeys = function()
            return message("NEWKEYS", "r", ("\0"):rep(n))
         end } } }
         oracle.rejected(run, "protocol", 2)
      end
   end)
end)

describe("K16: the secret as an mpint", function()
   -- The server tries shares until the secret is of a kind; its hash is computed apart from the client's, and the
   -- client would not take the signature if its own were another.
   local function of_kind(is)
      local run = oracle.run{
         client = { auth = false },
         peer = { steps = { share = function(_, client_share)
            local public, secret
            repeat
               public, secret = testing.crypto.kem("x25519"):encapsulate(client_share)
            until is(secret)
            return public, secret
         end } },
      }
      assert.are.equal(1, (run.client:count("kex_done")))
      oracle.alive(run)
   end

   it("is hashed in its one encoding when it begins with a zero byte", function()
      of_kind(function(secret) return secret:byte() == 0 end)
   end)

   it("is hashed in its one encoding when it begins with a zero byte and a set bit", function()
      of_kind(function(secret) return secret:byte() == 0 and secret:byte(2) >= 128 end)
   end)

   it("is hashed in its one encoding when its top bit is set", function()
      of_kind(function(secret) return secret:byte() >= 128 end)
   end)

   it("is hashed in its one encoding when it begins with neither", function()
      for _ = 1, 100 do
         of_kind(function() return true end)
      end
   end)
end)
