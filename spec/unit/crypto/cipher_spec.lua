local testing = require "moonssh_testing"
local hex = require "spec.support.hex"
local crypto = testing.crypto

-- NIST SP 800-38A, appendix F: one text, three keys.
local text = hex.decode [[6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51
   30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710]]
local keys = {
   ["128"] = hex.decode "2b7e151628aed2a6abf7158809cf4f3c",
   ["192"] = hex.decode "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
   ["256"] = hex.decode "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
}
local ivs = {
   ctr = hex.decode "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
   cbc = hex.decode "000102030405060708090a0b0c0d0e0f",
}
local sealed = {
   ["aes128-ctr"] = [[874d6191b620e3261bef6864990db6ce 9806f66b7970fdff8617187bb9fffdff
      5ae4df3edbd5d35e5b4f09020db03eab 1e031dda2fbe03d1792170a0f3009cee]],
   ["aes192-ctr"] = [[1abc932417521ca24f2b0459fe7e6e0b 090339ec0aa6faefd5ccc2c6f4ce8e94
      1e36b26bd1ebc670d1bd1d665620abf7 4f78a7f6d29809585a97daec58c6b050]],
   ["aes256-ctr"] = [[601ec313775789a5b7a7f504bbf3d228 f443e3ca4d62b59aca84e990cacaf5c5
      2b0930daa23de94ce87017ba2d84988d dfc9c58db67aada613c2dd08457941a6]],
   ["aes128-cbc"] = [[7649abac8119b246cee98e9b12e9197d 5086cb9b507219ee95db113a917678b2
      73bed6b8e3c1743b7116e69e22229516 3ff1caa1681fac09120eca307586e1a7]],
   ["aes192-cbc"] = [[4f021db243bc633d7178183a9fa071e8 b4d9ada9ad7dedf4e5e738763f69145a
      571b242012fb7ae07fa9baac3df102e0 08b0e27988598881d920a9e64f5615cd]],
   ["aes256-cbc"] = [[f58c4c04d6e5f1ba779eabfb5f7bfbd6 9cfc4e967edb808d679f777bc6702c7d
      39f23369a9d9bacfa530e26304231461 b2eb05e2c39be9fcda6c19078c6a9d1b]],
}

describe("AES", function()
   for name, expected in pairs(sealed) do
      local key, iv = keys[name:match("%d+")], ivs[name:match("%l+$")]

      it(name .. " gives the values of SP 800-38A, whole and block by block", function()
         local cipher = crypto.cipher(name, true, key, iv)
         assert.equal(hex.encode(hex.decode(expected)), hex.encode(cipher:apply(text)))
         local pieces = {}
         cipher = crypto.cipher(name, true, key, iv)
         for i = 1, #text, 16 do
            pieces[#pieces + 1] = cipher:apply(text:sub(i, i + 15))
         end
         assert.equal(hex.decode(expected), table.concat(pieces))
      end)

      it(name .. " decrypts them, its state running on", function()
         local cipher = crypto.cipher(name, false, key, iv)
         local whole = hex.decode(expected)
         assert.equal(text, cipher:apply(whole:sub(1, 32)) .. cipher:apply("") .. cipher:apply(whole:sub(33)))
      end)
   end

   it("takes whole blocks only", function()
      local cipher = crypto.cipher("aes128-ctr", true, keys["128"], ivs.ctr)
      for _, len in ipairs{ 1, 15, 17, 31 } do
         local out, code = cipher:apply(("x"):rep(len))
         assert.is_nil(out)
         assert.equal("protocol", code)
      end
      assert.equal(hex.decode(sealed["aes128-ctr"]), cipher:apply(text))
   end)

   it("carries its counter through all 16 bytes", function()
      local iv = ("\xff"):rep(16)
      local two = crypto.cipher("aes128-ctr", true, keys["128"], iv):apply(("\0"):rep(32))
      assert.equal(crypto.cipher("aes128-ctr", true, keys["128"], ("\0"):rep(16)):apply(("\0"):rep(16)), two:sub(17))
   end)

   it("knows the sizes of its modes", function()
      assert.same({ 16, 16, 16 }, { crypto.cipher_sizes("aes128-ctr") })
      assert.same({ 24, 16, 16 }, { crypto.cipher_sizes("aes192-cbc") })
      assert.same({ 32, 16, 16 }, { crypto.cipher_sizes("aes256-ctr") })
      assert.same({ 24, 8, 8 }, { crypto.cipher_sizes("3des-cbc") })
   end)
end)

describe("triple DES", function()
   it("gives the values of SP 800-67's example in CBC", function()
      local key = hex.decode "0123456789abcdef 23456789abcdef01 456789abcdef0123"
      local cipher = crypto.cipher("3des-cbc", true, key, ("\0"):rep(8))
      assert.equal("a826fd8ce53b855f", hex.encode(cipher:apply("The qufc")))
   end)
end)

describe("AES-GCM", function()
   local key = hex.decode "feffe9928665731c6d6a8f9467308308"
   local iv = hex.decode "cafebabefacedbaddecaf888"

   it("gives McGrew and Viega's test case 3", function()
      local plain = hex.decode [[d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
         1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255]]
      local out, tag = crypto.gcm(true, key, iv):seal(nil, plain)
      assert.equal([[42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e]] ..
         [[21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985]], hex.encode(out))
      assert.equal("4d5c2af327cd64a62cf35abd2ba6fab4", hex.encode(tag))
      assert.equal(plain, crypto.gcm(false, key, iv):open(nil, out, tag))
   end)

   it("gives test cases 1, 13 and 14: nothing, and zeros", function()
      local zeros = ("\0"):rep(16)
      local out, tag = crypto.gcm(true, zeros, ("\0"):rep(12)):seal(nil, "")
      assert.equal("", out)
      assert.equal("58e2fccefa7e3061367f1d57a4e7455a", hex.encode(tag))
      out, tag = crypto.gcm(true, zeros:rep(2), ("\0"):rep(12)):seal(nil, "")
      assert.equal("", out)
      assert.equal("530f8afbc74536b9a963b4f1c4cb738b", hex.encode(tag))
      out, tag = crypto.gcm(true, zeros:rep(2), ("\0"):rep(12)):seal(nil, zeros)
      assert.equal("cea7403d4d606b6e074ec5d3baf39d18", hex.encode(out))
      assert.equal("d0d1c8a799996bf0265b98b5d48ab919", hex.encode(tag))
   end)

   for _, len in ipairs{ 16, 32 } do
      it(("with a key of %d bytes counts its packets in the IV"):format(len), function()
         local k = ("k"):rep(len)
         local sealer, opener = crypto.gcm(true, k, iv), crypto.gcm(false, k, iv)
         for i = 0, 5 do
            local fresh = crypto.gcm(true, k, iv:sub(1, 11) .. string.char(0x88 + i))
            local aad, plain = ("%04d"):format(i), ("packet"):rep(i)
            local out, tag = sealer:seal(aad, plain)
            assert.same({ out, tag }, { fresh:seal(aad, plain) })
            assert.equal(plain, opener:open(aad, out, tag))
         end
      end)
   end

   it("carries the counter through its 8 bytes and not into the fixed part", function()
      local function at(suffix)
         return crypto.gcm(true, key, hex.decode("01020304" .. suffix))
      end
      for _, pair in ipairs{ { "00000000000000ff", "0000000000000100" }, { "00000000ffffffff", "0000000100000000" },
         { "00ffffffffffffff", "0100000000000000" }, { "ffffffffffffffff", "0000000000000000" } } do
         local gcm = at(pair[1])
         gcm:seal("aaaa", "first")
         assert.same({ at(pair[2]):seal("aaaa", "second") }, { gcm:seal("aaaa", "second") })
      end
   end)

   it("counts the invocations that are left", function()
      local gcm = crypto.gcm(true, key, iv)
      assert.equal(-1, gcm:left())
      gcm:seal("aaaa", "x")
      gcm:seal("aaaa", "x")
      assert.equal(-3, gcm:left())
   end)

   it("refuses a packet with any bit of tag, text or length flipped", function()
      local opener = crypto.gcm(false, key, iv)
      local out, tag = crypto.gcm(true, key, iv):seal("\0\0\0\32", ("secret text "):rep(3))
      local all = "\0\0\0\32" .. out .. tag
      for bit = 0, #all * 8 - 1 do
         local at = bit // 8 + 1
         local bad = all:sub(1, at - 1) .. string.char(all:byte(at) ~ 1 << bit % 8) .. all:sub(at + 1)
         local plain, code = opener:open(bad:sub(1, 4), bad:sub(5, -17), bad:sub(-16))
         assert.is_nil(plain)
         assert.equal("mac", code)
      end
      -- The IV stood still, so the true packet still opens.
      assert.equal(("secret text "):rep(3), opener:open("\0\0\0\32", out, tag))
   end)

   it("opens without a tag when asked to, and stays in step", function()
      local sealer, opener = crypto.gcm(true, key, iv), crypto.gcm(false, key, iv)
      local out = sealer:seal("aaaa", "one")
      assert.is_nil((opener:open("aaaa", out, ("\0"):rep(16))))
      assert.equal("one", opener:open_unverified(out))
      local second, tag = sealer:seal("aaaa", "two")
      assert.equal("two", opener:open("aaaa", second, tag))
   end)

   it("works in one direction only", function()
      local sealer, opener = crypto.gcm(true, key, iv), crypto.gcm(false, key, iv)
      assert.same({ nil, "state" }, { opener:seal("aaaa", "x") })
      assert.same({ nil, "state" }, { sealer:open("aaaa", "x", ("t"):rep(16)) })
      assert.same({ nil, "state" }, { sealer:open_unverified("x") })
   end)

   it("takes keys of 16 and 32 bytes only", function()
      for _, len in ipairs{ 0, 1, 15, 17, 24, 31, 33 } do
         assert.is_nil((crypto.gcm(true, ("k"):rep(len), iv)))
      end
   end)
end)
