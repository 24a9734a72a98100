local testing = require "moonssh_testing"
local hex = require "spec.support.hex"
local crypto = testing.crypto

describe("a hash", function()
   -- FIPS 180-4's examples and RFC 1321's, of "abc" and of nothing.
   local digests = {
      md5 = { "900150983cd24fb0d6963f7d28e17f72", "d41d8cd98f00b204e9800998ecf8427e" },
      sha1 = { "a9993e364706816aba3e25717850c26c9cd0d89d", "da39a3ee5e6b4b0d3255bfef95601890afd80709" },
      sha256 = { "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
         "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
      sha384 = { "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
         "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b" },
      sha512 = { "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a" ..
         "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
         "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce" ..
         "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e" },
   }

   for name, expected in pairs(digests) do
      it(name .. " gives the published digests", function()
         assert.equal(expected[1], hex.encode(crypto.hash(name, "abc")))
         assert.equal(expected[2], hex.encode(crypto.hash(name, "")))
         assert.equal(expected[2], hex.encode(crypto.hash(name)))
      end)
   end

   it("takes its input in parts", function()
      assert.equal(crypto.hash("sha256", "abcdef"), crypto.hash("sha256", "ab", "", "c", "def"))
   end)
end)

describe("HMAC", function()
   -- RFC 4231: key, data, and the first bytes of HMAC-SHA-256, -384 and -512.
   local cases = {
      { ("\x0b"):rep(20), "Hi There",
         "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
         "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6",
         "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde" ..
         "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854" },
      { "Jefe", "what do ya want for nothing?",
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
         "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
         "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554" ..
         "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737" },
      { ("\xaa"):rep(20), ("\xdd"):rep(50),
         "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
         "88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b2a5ab39dc13814b94e3ab6e101a34f27",
         "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39" ..
         "bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb" },
      { hex.decode "0102030405060708090a0b0c0d0e0f10111213141516171819", ("\xcd"):rep(50),
         "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
         "3e8a69b7783c25851933ab6290af6ca77a9981480850009cc5577c6e1f573b4e6801dd23c4a7d679ccf8a386c674cffb",
         "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3db" ..
         "a91ca5c11aa25eb4d679275cc5788063a5f19741120c4f2de2adebeb10a298dd" },
      { ("\xaa"):rep(131), "Test Using Larger Than Block-Size Key - Hash Key First",
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
         "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952",
         "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352" ..
         "6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598" },
   }

   for i, case in ipairs(cases) do
      it("gives the values of RFC 4231, case " .. i, function()
         assert.equal(case[3], hex.encode(crypto.hmac("sha256", case[1], case[2])))
         assert.equal(case[4], hex.encode(crypto.hmac("sha384", case[1], case[2])))
         assert.equal(case[5], hex.encode(crypto.hmac("sha512", case[1], case[2])))
      end)
   end

   it("gives RFC 2202's first values with MD5 and SHA-1", function()
      assert.equal("9294727a3638bb1c13f48ef8158bfc9d", hex.encode(crypto.hmac("md5", ("\x0b"):rep(16), "Hi There")))
      assert.equal("b617318655057264e28bc0b6fb378c8ef146be00",
         hex.encode(crypto.hmac("sha1", ("\x0b"):rep(20), "Hi There")))
   end)

   it("starts over for each message, and takes it in parts", function()
      local hmac = crypto.new_hmac("sha256", "Jefe")
      for _ = 1, 3 do
         assert.equal(cases[2][3], hex.encode(hmac:compute("what do ya ", "", "want for nothing?")))
         assert.equal(hex.encode(crypto.hmac("sha256", "Jefe", "another")), hex.encode(hmac:compute("another")))
      end
   end)

   it("takes the empty key as a key, not as none", function()
      assert.equal("b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad",
         hex.encode(crypto.hmac("sha256", "", "")))
   end)
end)

describe("comparison in constant time", function()
   it("tells equal bytes from different ones", function()
      assert.is_true(crypto.equal("", ""))
      assert.is_true(crypto.equal("same\0a", "same\0a"))
      assert.is_false(crypto.equal("same\0a", "same\0b"))
      assert.is_false(crypto.equal("xame", "same"))
   end)
end)

describe("randomness", function()
   it("never repeats", function()
      local seen = {}
      for _ = 1, 10000 do
         local bytes = crypto.random(16)
         assert.equal(16, #bytes)
         assert.is_nil(seen[bytes])
         seen[bytes] = true
      end
      assert.equal("", crypto.random(0))
   end)
end)

describe("bcrypt_pbkdf", function()
   -- OpenBSD's regression test, and its like from other implementations with longer and embedded zero input.
   local cases = {
      { 4, "password", "salt", "5bbf0cc293587f1c3635555c27796598d47e579071bf427e9d8fbe842aba34d9" },
      { 4, "password", "\0", "c12b566235eee04c212598970a579a67" },
      { 4, "\0", "salt", "6051be18c2f4f82cbf0efee5471b4bb9" },
      { 4, "password\0", "salt\0", "7410e44cf4fa07bfaac8a928b1727fac001375e7bf7384370f48efd121743050" },
      { 4, "pass\0wor", "sa\0l", "c2bffd9db38f6569efef4372f4de83c0" },
      { 4, "pass\0word", "sa\0lt", "4ba4ac3925c0e8d7f0cdb6bb1684a56f" },
      { 8, "password", "salt", "e1367ec5151a33faac4cc1c144cd23fa15d5548493ecc99b9b5d9c0d3b27bec7" ..
         "6227ea66088b849b20ab7aa478010246e74bba51723fefa9f9474d6508845e8d" },
      { 42, "password", "salt", "833cf0dcf56db65608e8f0dc0ce882bd" },
   }

   for i, case in ipairs(cases) do
      it("gives the published key, case " .. i, function()
         local key = crypto.bcrypt_pbkdf(case[2], case[3], case[1], #case[4] // 2)
         assert.equal(case[4], hex.encode(key))
      end)
   end

   it("refuses empty input and keys out of bounds", function()
      for _, bad in ipairs{ { "", "salt", 4, 32 }, { "p", "", 4, 32 }, { "p", "salt", 0, 32 }, { "p", "salt", 4, 0 },
         { "p", "salt", 1, 1025 }, { "p", ("s"):rep((1 << 20) + 1), 1, 32 } } do
         local key, code = crypto.bcrypt_pbkdf(table.unpack(bad))
         assert.is_nil(key)
         assert.equal("limit", code)
      end
   end)
end)
