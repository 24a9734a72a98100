local testing = require "moonssh_testing"
local hex = require "spec.support.hex"
local python = require "spec.support.python"
local crypto, heap = testing.crypto, testing.heap

local curves = { "x25519", "p256", "p384", "p521" }
local methods = { "x25519", "p256", "p384", "p521", "dh14", "dh16" }

-- What both sides make of an exchange: the initiator's and the responder's secret, and the public values.
local function exchange(a, b)
   local initial = assert(a:keypair())
   local reply, theirs = b:encapsulate(initial)
   assert(reply, theirs)
   return assert(a:decapsulate(reply)), theirs, initial, reply
end

-- A changed copy: the byte at a position (from 1) exclusive-or a mask.
local function flipped(bytes, at, mask)
   return bytes:sub(1, at - 1) .. string.char(bytes:byte(at) ~ mask) .. bytes:sub(at + 1)
end

describe("key exchange", function()
   for _, name in ipairs(methods) do
      it("by " .. name .. " gives both sides the same secret, another one each time", function()
         local first, theirs = exchange(crypto.kem(name), crypto.kem(name))
         assert.equal(first, theirs)
         assert.not_equal(first, (exchange(crypto.kem(name), crypto.kem(name))))
      end)
   end

   it("has public values and secrets of the method's length", function()
      local lengths = { x25519 = { 32, 32 }, p256 = { 65, 32 }, p384 = { 97, 48 }, p521 = { 133, 66 } }
      for name, expected in pairs(lengths) do
         local secret, _, initial, reply = exchange(crypto.kem(name), crypto.kem(name))
         assert.same({ expected[1], expected[1], expected[2] }, { #initial, #reply, #secret })
      end
      assert.equal(256, #exchange(crypto.kem "dh14", crypto.kem "dh14"))
      assert.equal(512, #exchange(crypto.kem "dh16", crypto.kem "dh16"))
   end)

   it("never repeats a public value", function()
      local seen = {}
      for _ = 1, 10000 do
         local value = crypto.kem("x25519"):keypair()
         assert.is_nil(seen[value])
         seen[value] = true
      end
   end)

   it("goes in its order", function()
      for _, name in ipairs{ "x25519", "p256", "dh14" } do
         local peer = crypto.kem(name):keypair()
         local kem = crypto.kem(name)
         assert.same({ nil, "state" }, { kem:decapsulate(peer) })
         kem:keypair()
         assert.same({ nil, "state" }, { kem:keypair() })
         assert.same({ nil, "state" }, { kem:encapsulate(peer) })
      end
   end)

   it("gives back all its memory, also where an allocation fails", function()
      for _, name in ipairs{ "x25519", "p256", "dh14" } do
         local n = 0
         repeat
            n = n + 1
            local memory = heap.new(n)
            local kem, secret = crypto.kem(name, nil, nil, nil, memory), nil
            if kem then
               local initial = kem:keypair()
               local reply = initial and crypto.kem(name):encapsulate(initial)
               secret = reply and kem:decapsulate(reply)
               kem:close()
            end
            assert.equal(0, memory:in_use())
         until secret
         assert.is_true(n > 3)
      end
   end)
end)

describe("X25519", function()
   -- RFC 7748 6.1.
   local private = hex.decode "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
   local peer = hex.decode "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"

   it("gives the shared secret of RFC 7748", function()
      local kem = crypto.kem "x25519"
      kem:set_private(private)
      assert.equal("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
         hex.encode(kem:decapsulate(peer)))
   end)

   it("refuses every point of low order", function()
      for _, point in ipairs{
         ("00"):rep(32), "01" .. ("00"):rep(31),
         "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
         "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
         "ec" .. ("ff"):rep(30) .. "7f", "ed" .. ("ff"):rep(30) .. "7f", "ee" .. ("ff"):rep(30) .. "7f",
         -- The same with the bit set that is to be ignored.
         ("00"):rep(31) .. "80", "01" .. ("00"):rep(30) .. "80",
         "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b880",
         "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f11d7",
         "ec" .. ("ff"):rep(31), "ed" .. ("ff"):rep(31), "ee" .. ("ff"):rep(31),
      } do
         local kem = crypto.kem "x25519"
         kem:keypair()
         assert.same({ nil, "protocol" }, { kem:decapsulate(hex.decode(point)) })
         assert.same({ nil, "protocol" }, { crypto.kem("x25519"):encapsulate(hex.decode(point)) })
      end
   end)

   it("refuses any other length than 32", function()
      for _, len in ipairs{ 0, 1, 31, 33, 64, 1024 } do
         assert.same({ nil, "protocol" }, { crypto.kem("x25519"):encapsulate(("x"):rep(len)) })
      end
   end)
end)

describe("ECDH", function()
   -- NIST CAVP, KAS_ECC_CDH_PrimitiveTest, count 0 of each curve: the peer's x and y, the private key, our x and y, Z.
   local cases = {
      p256 = { "700c48f77f56584c5cc632ca65640db91b6bacce3a4df6b42ce7cc838833d287",
         "db71e509e3fd9b060ddb20ba5c51dcc5948d46fbf640dfe0441782cab85fa4ac",
         "7d7dc5f71eb29ddaf80d6214632eeae03d9058af1fb6d22ed80badb62bc1a534",
         "ead218590119e8876b29146ff89ca61770c4edbbf97d38ce385ed281d8a6b230",
         "28af61281fd35e2fa7002523acc85a429cb06ee6648325389f59edfce1405141",
         "46fc62106420ff012e54a434fbdd2d25ccc5852060561e68040dd7778997bd7b" },
      p384 = { "a7c76b970c3b5fe8b05d2838ae04ab47697b9eaf52e764592efda27fe7513272734466b400091adbf2d68c58e0c50066",
         "ac68f19f2e1cb879aed43a9969b91a0839c4c38a49749b661efedf243451915ed0905a32b060992b468c64766fc8437a",
         "3cc3122a68f0d95027ad38c067916ba0eb8c38894d22e1b15618b6818a661774ad463b205da88cf699ab4d43c9cf98a1",
         "9803807f2f6d2fd966cdd0290bd410c0190352fbec7ff6247de1302df86f25d34fe4a97bef60cff548355c015dbb3e5f",
         "ba26ca69ec2f5b5d9dad20cc9da711383a9dbe34ea3fa5a2af75b46502629ad54dd8b7d73a8abb06a3a3be47d650cc99",
         "5f9d29dc5e31a163060356213669c8ce132e22f57c9a04f40ba7fcead493b457e5621e766c40a2e3d4d6a04b25e533f1" },
      p521 = { "00685a48e86c79f0f0875f7bc18d25eb5fc8c0b07e5da4f4370f3a9490340854334b" ..
         "1e1b87fa395464c60626124a4e70d0f785601d37c09870ebf176666877a2046d",
         "01ba52c56fc8776d9e8f5db4f0cc27636d0b741bbe05400697942e80b739884a83bd" ..
         "e99e0f6716939e632bc8986fa18dccd443a348b6c3e522497955a4f3c302f676",
         "017eecc07ab4b329068fba65e56a1f8890aa935e57134ae0ffcce802735151f4eac6" ..
         "564f6ee9974c5e6887a1fefee5743ae2241bfeb95d5ce31ddcb6f9edb4d6fc47",
         "00602f9d0cf9e526b29e22381c203c48a886c2b0673033366314f1ffbcba240ba42f" ..
         "4ef38a76174635f91e6b4ed34275eb01c8467d05ca80315bf1a7bbd945f550a5",
         "01b7c85f26f5d4b2d7355cf6b02117659943762b6d1db5ab4f1dbc44ce7b2946eb6c" ..
         "7de342962893fd387d1b73d7a8672d1f236961170b7eb3579953ee5cdc88cd2d",
         "005fc70477c3e63bc3954bd0df3ea0d1f41ee21746ed95fc5e1fdf90930d5e136672" ..
         "d72cc770742d1711c3c3a4c334a0ad9759436a4d3c5bf6e74b9578fac148c831" },
   }
   local primes = {
      p256 = "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
      p384 = ("ff"):rep(31) .. "feffffffff0000000000000000ffffffff",
      p521 = "01" .. ("ff"):rep(65),
   }

   for name, case in pairs(cases) do
      it("over " .. name .. " gives NIST's shared secret", function()
         local kem = crypto.kem(name)
         kem:set_private(hex.decode(case[3]), hex.decode("04" .. case[4] .. case[5]))
         assert.equal(case[6], hex.encode(kem:decapsulate(hex.decode("04" .. case[1] .. case[2]))))
      end)

      it("over " .. name .. " refuses what is no uncompressed point on the curve", function()
         local good = hex.decode("04" .. case[1] .. case[2])
         local x, y = hex.decode(case[1]), hex.decode(case[2])
         local odd = y:byte(-1) & 1
         local prime = hex.decode(primes[name])
         local other = assert(crypto.kem(name == "p256" and "p384" or "p256"):keypair())
         for what, point in pairs{
            ["a compressed one"] = string.char(2 + odd) .. x,
            ["a compressed one, padded"] = string.char(2 + odd) .. x .. y,
            ["a hybrid one"] = string.char(6 + odd) .. x .. y,
            ["infinity"] = "\0",
            ["zeros"] = ("\0"):rep(#good),
            ["the origin"] = "\4" .. ("\0"):rep(#good - 1),
            ["nothing"] = "",
            ["one cut short"] = good:sub(1, -2),
            ["one too long"] = good .. "\0",
            ["x off the curve"] = flipped(good, #x + 1, 1),
            ["y off the curve"] = flipped(good, #good, 1),
            ["x as great as the prime"] = "\4" .. prime .. y,
            ["y as great as the prime"] = "\4" .. x .. prime,
            ["a point of another curve"] = other,
         } do
            local kem = crypto.kem(name)
            kem:keypair()
            assert.same({ nil, "protocol" }, { kem:decapsulate(point) }, what)
            assert.same({ nil, "protocol" }, { crypto.kem(name):encapsulate(point) }, what)
         end
         assert.is_string((crypto.kem(name):encapsulate(good)))
      end)
   end

   it("never gives a public value twice", function()
      for _, name in ipairs(curves) do
         assert.not_equal(crypto.kem(name):keypair(), crypto.kem(name):keypair())
      end
   end)
end)

describe("Diffie-Hellman", function()
   -- A big-endian number one greater or less.
   local function plus_one(bytes)
      local i = #bytes
      while bytes:byte(i) == 0xff do
         i = i - 1
      end
      return bytes:sub(1, i - 1) .. string.char(bytes:byte(i) + 1) .. ("\0"):rep(#bytes - i)
   end

   local function minus_one(bytes)
      return bytes:sub(1, -2) .. string.char(bytes:byte(-1) - 1)
   end

   -- The content of the mpint of a positive number.
   local function mpint(bytes)
      bytes = bytes:gsub("^\0+", "")
      return (bytes:byte(1) or 0) >= 0x80 and "\0" .. bytes or bytes
   end

   it("offers the groups of RFC 3526, the smallest that is big enough", function()
      for _, row in ipairs{ { 1, 2048 }, { 2048, 2048 }, { 2049, 3072 }, { 3072, 3072 }, { 4000, 4096 }, { 5000, 6144 },
         { 7000, 8192 }, { 8192, 8192 }, { 10000, 8192 } } do
         local p, g = crypto.standard_group(row[1])
         assert.equal(hex.encode(crypto.openssl_group(row[2])), hex.encode(p))
         assert.equal("\2", g)
      end
   end)

   it("agrees with another implementation, as initiator and as responder", function()
      local kems, lines = {}, {}
      local responses = {}
      for i, row in ipairs{ { 2048, "dh14" }, { 4096, "dh16" }, { 3072 }, { 6144 }, { 8192 } } do
         local p, g = crypto.standard_group(row[1])
         local function new()
            return row[2] and crypto.kem(row[2]) or crypto.kem("group", p, g, { 2048, 8192 })
         end
         kems[i] = new()
         lines[i] = hex.encode(p) .. " " .. hex.encode(assert(kems[i]:keypair()))
         responses[i] = new
      end
      local answers = python.run([[
import secrets
for line in lines:
    p, e = (int(word, 16) for word in line.split(' '))
    y = secrets.randbits(512)
    digits = lambda n: (lambda b: ('00' if b[0] & 0x80 else '') + b.hex())(n.to_bytes((n.bit_length() + 7) // 8, 'big'))
    print('%x' % p, '%x' % y, digits(pow(2, y, p)), pow(e, y, p).to_bytes((p.bit_length() + 7) // 8, 'big').hex())
]], lines)
      local further = {}
      for i, answer in ipairs(answers) do
         local p, y, f, secret = answer:match("(%S+) (%S+) (%S+) (%S+)")
         assert.equal(secret, hex.encode(assert(kems[i]:decapsulate(hex.decode(f)))))
         local reply, mine = responses[i]():encapsulate(hex.decode(f))
         further[i] = ("%s %s %s %s"):format(p, y, hex.encode(reply), hex.encode(mine))
      end
      local verdicts = python.run([[
for line in lines:
    p, y, e, k = (int(word, 16) for word in line.split(' '))
    print(pow(e, y, p) == k)
]], further)
      assert.same({ "True", "True", "True", "True", "True" }, verdicts)
   end)

   it("sends its public value in the only form of an mpint", function()
      for _ = 1, 60 do
         local value = crypto.kem("dh14"):keypair()
         local first, second = value:byte(1, 2)
         assert.is_true(first < 0x80)
         assert.is_true(first > 0 or second >= 0x80)
      end
   end)

   for name, bits in pairs{ dh14 = 2048, dh16 = 4096 } do
      it("by " .. name .. " refuses values that give the secret away, or are out of form", function()
         local p = crypto.standard_group(bits)
         for what, value in pairs{
            ["nothing, which is 0"] = "",
            ["0"] = "\0",
            ["1"] = "\1",
            ["1, padded"] = "\0\1",
            ["2, with one bit set"] = "\2",
            ["three bits set"] = "\7",
            ["three bits set, far apart"] = "\64" .. ("\0"):rep(100) .. "\1" .. ("\0"):rep(50) .. "\1",
            ["p - 1"] = mpint(minus_one(p)),
            ["p"] = mpint(p),
            ["p + 1"] = mpint(plus_one(p)),
            ["2 p or so"] = "\1" .. p,
            ["-1"] = "\xff",
            ["a negative one"] = ("\xaa"):rep(#p),
            ["a padded one"] = "\0" .. ("\x2a"):rep(100),
            ["one of 8 KiB"] = ("\x2a"):rep(8192),
         } do
            local kem = crypto.kem(name)
            kem:keypair()
            assert.same({ nil, "protocol" }, { kem:decapsulate(value) }, what)
            assert.same({ nil, "protocol" }, { crypto.kem(name):encapsulate(value) }, what)
         end
         assert.is_string((crypto.kem(name):encapsulate("\15")))
      end)
   end

   it("refuses groups out of bounds or out of form, before any arithmetic", function()
      local p, g = crypto.standard_group(2048)
      local bounds = { 2048, 8192 }
      local function odd(bits)
         return string.char(1 << (bits - 1) % 8) .. ("\xff"):rep((bits - 1) // 8)
      end
      for what, group in pairs{
         ["512 bits"] = { odd(512), g }, ["1024 bits"] = { odd(1024), g }, ["2047 bits"] = { odd(2047), g },
         ["8193 bits"] = { odd(8193), g }, ["10240 bits"] = { odd(10240), g }, ["65536 bits"] = { odd(65536), g },
         ["an even p"] = { minus_one(p), g }, ["no p"] = { "", g }, ["a p of zeros"] = { ("\0"):rep(256), g },
         ["no g"] = { p, "" }, ["g 0"] = { p, "\0" }, ["g 1"] = { p, "\1" }, ["g p-1"] = { p, minus_one(p) },
         ["g p"] = { p, p }, ["g too long"] = { p, "\2" .. ("\0"):rep(2000) },
      } do
         assert.same({ nil, "protocol" }, { crypto.kem("group", group[1], group[2], bounds) }, what)
      end
      assert.same({ nil, "protocol" }, { crypto.kem("group", p, g, { 2049, 8192 }) })
      assert.same({ nil, "protocol" }, { crypto.kem("group", p, g, { 1024, 2047 }) })
      assert.is_userdata((crypto.kem("group", p, g, { 2048, 2048 })))
      assert.is_userdata((crypto.kem("group", "\0" .. p, "\0" .. g, bounds)))
      assert.is_userdata((crypto.kem("group", odd(8192), g, { 2048, 10000 })))
      assert.same({ nil, "protocol" }, { crypto.kem("group", odd(8200), g, { 2048, 10000 }) })
   end)

   it("ends at the first try in a group where every public value is a power of two", function()
      local kem = crypto.kem("group", ("\xff"):rep(256), "\2", { 2048, 8192 })
      assert.same({ nil, "protocol" }, { kem:keypair() })
   end)

   it("refuses a secret that anybody could guess", function()
      -- In a ring that is no field, the square root of 1 that is neither 1 nor -1 gives 1 or itself.
      local n = 10007 * 10009
      local root = 2
      while root * root % n ~= 1 do
         root = root + 1
      end
      local refused = 0
      for _ = 1, 40 do
         local kem = crypto.kem("group", string.pack(">I4", n), "\5", { 16, 64 })
         if kem:keypair() then
            local secret, code = kem:decapsulate(mpint(string.pack(">I4", root)))
            if secret then
               assert.equal(root, string.unpack(">I4", secret))
            else
               assert.equal("protocol", code)
               refused = refused + 1
            end
         end
      end
      assert.is_true(refused > 0)
   end)
end)
