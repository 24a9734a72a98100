-- Every call of OpenSSL that can fail, made to fail in turn: what depends on it fails, and nothing passes for good.

local testing = require "moonssh_testing"
local keygen = require "spec.support.keys"
local tmp = require "spec.support.tmp"
local crypto, faults, keys = testing.crypto, testing.faults, testing.keys

after_each(function()
   faults.arm(0)
end)

-- Asked about one curve after the other: without an answer the key is of none, or of the next.
local harmless = { EVP_PKEY_get_group_name = true }

-- Runs `work` with each of its calls failing in turn, in both ways a number can say so. It must give a true value when
-- none fails, and nil whenever one does.
local function fails_with_each_call(work, what)
   faults.arm(0)
   assert.is_truthy(work(), what)
   local calls = faults.calls()
   assert.is_true(calls > 0, what)
   for n = 1, calls do
      for _, value in ipairs{ 0, -1 } do
         faults.arm(n, value)
         local result = work()
         local name = faults.struck()
         faults.arm(0)
         assert.is_string(name, what)
         if not harmless[name] then
            assert.is_nil(result, ("%s went well although %s gave %d"):format(what, name, value))
         end
      end
   end
   assert.is_truthy(work(), what)
end

describe("a failing call of OpenSSL", function()
   it("fails hashing and HMAC", function()
      for _, name in ipairs{ "md5", "sha1", "sha256", "sha384", "sha512" } do
         fails_with_each_call(function() return (crypto.hash(name, "a", "b")) end, name)
         fails_with_each_call(function() return (crypto.hmac(name, "key", "a", "b")) end, "hmac " .. name)
      end
      local hmac = crypto.new_hmac("sha256", "key")
      local expected = hmac:compute("text")
      fails_with_each_call(function() return (hmac:compute("text")) end, "an HMAC that is set up")
      assert.equal(expected, hmac:compute("text"))
   end)

   it("fails randomness", function()
      fails_with_each_call(function() return (crypto.random(16)) end, "random")
   end)

   it("fails bcrypt_pbkdf", function()
      fails_with_each_call(function() return (crypto.bcrypt_pbkdf("password", "salt", 2, 40)) end, "bcrypt_pbkdf")
   end)

   it("fails the ciphers, both when they are set up and for each packet", function()
      local key, iv = ("k"):rep(16), ("i"):rep(16)
      for _, name in ipairs{ "aes128-ctr", "aes128-cbc" } do
         fails_with_each_call(function()
            local cipher = crypto.cipher(name, true, key, iv)
            return cipher and cipher:apply(("x"):rep(32))
         end, name)
      end
      local function sealed()
         local gcm = crypto.gcm(true, key, iv:sub(1, 12))
         if gcm then
            return gcm:seal("aaaa", "text")
         end
         return nil
      end
      fails_with_each_call(sealed, "sealing with GCM")
      local text, tag = sealed()
      for _, aad in ipairs{ "aaaa", "aaab" } do
         local function open()
            local gcm = crypto.gcm(false, key, iv:sub(1, 12))
            return gcm and gcm:open(aad, text, tag)
         end
         if aad == "aaaa" then
            fails_with_each_call(open, "opening with GCM")
         else
            assert.is_nil((open()))
         end
      end
      fails_with_each_call(function()
         local gcm = crypto.gcm(false, key, iv:sub(1, 12))
         return gcm and gcm:open_unverified(text)
      end, "opening with GCM, unverified")
   end)

   it("fails chacha20-poly1305", function()
      local key = ("k"):rep(64)
      local function with(method, ...)
         local arguments = table.pack(...)
         return function()
            local chacha = crypto.chachapoly(key)
            return chacha and chacha[method](chacha, table.unpack(arguments))
         end
      end
      local packet = crypto.chachapoly(key):seal(1, "\0\0\0\4text")
      fails_with_each_call(with("seal", 1, "\0\0\0\4text"), "sealing")
      fails_with_each_call(with("open", 1, packet), "opening")
      fails_with_each_call(with("open_unverified", 1, packet), "opening unverified")
      fails_with_each_call(with("length", 1, packet:sub(1, 4)), "the length")
   end)

   it("fails key exchange, in every step", function()
      for _, name in ipairs{ "x25519", "p256", "p384", "p521", "dh14", "dh16" } do
         local peer = crypto.kem(name):keypair()
         fails_with_each_call(function()
            local kem = crypto.kem(name)
            return kem and kem:encapsulate(peer)
         end, name .. " as responder")
         fails_with_each_call(function()
            local kem = crypto.kem(name)
            return kem and kem:keypair() and kem:decapsulate(peer)
         end, name .. " as initiator")
      end
   end)

   local kinds = { { "ed25519", 256 }, { "ecdsa", 256 }, { "ecdsa", 384 }, { "ecdsa", 521 }, { "rsa", 2048 } }

   it("fails signing and checking, and never lets a bad signature pass", function()
      for _, kind in ipairs(kinds) do
         local key = assert(keys.generate(kind[1], kind[2]))
         local public = assert(keys.parse_public(key:blob()))
         for _, algorithm in ipairs(keys.algorithms()) do
            if algorithm.type == key:type() then
               local signature = assert(key:sign(algorithm.name, "data"))
               fails_with_each_call(function() return (key:sign(algorithm.name, "data")) end, "signing")
               fails_with_each_call(function()
                  return (public:verify(algorithm.name, "data", signature))
               end, "checking")
               for n = 1, 20 do
                  for _, value in ipairs{ 0, -1 } do
                     faults.arm(n, value)
                     assert.is_nil((public:verify(algorithm.name, "date", signature)))
                  end
               end
               faults.arm(0)
            end
         end
      end
   end)

   it("fails making keys and reading blobs", function()
      for _, kind in ipairs(kinds) do
         if kind[1] ~= "rsa" then
            fails_with_each_call(function() return (keys.generate(kind[1], kind[2])) end, "generating " .. kind[1])
         end
         local blob = keys.generate(kind[1], kind[2]):blob()
         fails_with_each_call(function() return (keys.parse_public(blob)) end, "a blob of " .. kind[1])
      end
   end)

   it("fails reading and writing key files", function()
      local folder <close> = tmp.dir()
      for i, kind in ipairs(kinds) do
         for _, format in ipairs{ "RFC4716", "PEM", "PKCS8" } do
            local path = ("%d%s"):format(i, format)
            keygen.make(folder, path, { type = kind[1], bits = kind[2], format = format, passphrase = "secret",
               rounds = 1 })
            local text = folder:read(path)
            fails_with_each_call(function() return (keys.parse_file(text, "secret")) end, path)
            assert.is_nil((keys.parse_file(text, "wrong")))
         end
         local key = keys.parse_file(folder:read(i .. "RFC4716"), "secret")
         fails_with_each_call(function() return (key:export()) end, "writing " .. kind[1])
      end
   end)
end)
