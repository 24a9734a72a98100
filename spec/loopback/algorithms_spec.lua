-- Client role against server role, in memory, through the algorithms.

local testing = require "moonssh_testing"
local Pair = require "spec.support.pair"

-- All names of a class (0 kex, 1 host_key, 2 cipher, 3 mac, 4 compression) in order of preference, and the default
-- ones.
local function names(class)
   local all, default, i = {}, {}, 0
   while true do
      local name, is_default = testing.transport.algorithm_at(class, i)
      if not name then
         return all, default
      end
      table.insert(all, name)
      if is_default then
         table.insert(default, name)
      end
      i = i + 1
   end
end

local KEX, CIPHERS, MACS, COMPRESSIONS = names(0), names(2), names(3), names(4)

local HOST_KEYS = {
   ["ssh-ed25519"] = { "ed25519" },
   ["ecdsa-sha2-nistp256"] = { "ecdsa", 256 },
   ["ecdsa-sha2-nistp384"] = { "ecdsa", 384 },
   ["ecdsa-sha2-nistp521"] = { "ecdsa", 521 },
   ["rsa-sha2-256"] = { "rsa", 2048 },
   ["rsa-sha2-512"] = { "rsa", 2048 },
   ["ssh-rsa"] = { "rsa", 2048 },
   ["ssh-dss"] = { "dsa" },
}

-- Payloads of all sorts of lengths, which arrive in order.
local function texts()
   local list = {}
   for _, len in ipairs{ 1, 2, 11, 12, 13, 27, 255, 1024, 4096, 32768, 100000 } do
      table.insert(list, "\94" .. ("moonssh "):rep(len // 8 + 1):sub(1, len))
   end
   return list
end

local function exchange(pair)
   for _, text in ipairs(texts()) do
      assert(pair.client:send(text))
      assert(pair.server:send(text:sub(1, 1), text:sub(2)))
   end
   pair:run()
   assert.same(texts(), pair:payloads("server"))
   assert.same(texts(), pair:payloads("client"))
end

local function open(options, host_key)
   local pair = Pair.new(options, { host_keys = { Pair.key(table.unpack(HOST_KEYS[host_key or "ssh-ed25519"])) } })
   return pair:open(true)
end

-- Of the hash that a key exchange method goes with.
local function hash_length(kex)
   for _, row in ipairs{ { "sha512", 64 }, { "nistp521", 64 }, { "nistp384", 48 }, { "sha1", 20 } } do
      if kex:find(row[1], 1, true) then
         return row[2]
      end
   end
   return 32
end

describe("a client and a server", function()
   it("prefer what is strong, and offer by default what is safe", function()
      local _, kex = names(0)
      assert.same({ "mlkem768x25519-sha256", "sntrup761x25519-sha512", "sntrup761x25519-sha512@openssh.com",
         "curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256", "ecdh-sha2-nistp384",
         "ecdh-sha2-nistp521", "diffie-hellman-group16-sha512", "diffie-hellman-group18-sha512",
         "diffie-hellman-group14-sha256", "diffie-hellman-group-exchange-sha256" }, kex)
      local _, host_key = names(1)
      assert.same({ "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
         "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com", "rsa-sha2-512", "rsa-sha2-256" }, host_key)
      local _, cipher = names(2)
      assert.equal(6, #cipher)
      local _, mac = names(3)
      assert.same({ "hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256",
         "hmac-sha2-512" }, mac)
      local all, compression = names(4)
      assert.same({ "none", "zlib@openssh.com" }, compression)
      assert.equal("zlib", all[3])
   end)

   it("take AES-GCM first where the processor has AES, chacha20 where it has not", function()
      local file <close> = assert(io.open("/proc/cpuinfo"))
      local has_aes = file:read("a"):find("%f[%w]aes%f[%W]") ~= nil
      local first = has_aes and "aes128-gcm@openssh.com" or "chacha20-poly1305@openssh.com"
      assert.equal(first, CIPHERS[1])
      assert.equal(first, Pair.new():open().client:info().cipher_send)
   end)

   for _, kex in ipairs(KEX) do
      it("agree on a secret by " .. kex, function()
         local pair = open{ kex = kex }
         for _, side in ipairs{ "client", "server" } do
            local info = pair[side]:info()
            assert.equal(kex, info.kex)
            assert.equal(hash_length(kex), #info.session_id)
            assert.is_true(info.strict)
         end
         assert.equal(pair.client:info().session_id, pair.server:info().session_id)
         exchange(pair)
      end)
   end

   for algorithm, key in pairs(HOST_KEYS) do
      it("verify a host key by " .. algorithm, function()
         local pair = open({ host_key = algorithm }, algorithm)
         assert.equal(algorithm, pair.client:info().host_key)
         assert.equal(Pair.key(table.unpack(key)):blob(), pair.client:host_key())
         assert.equal("host_key kex_done", pair:kinds("client"))
         assert.equal("kex_done", pair:kinds("server"))
      end)
   end

   for _, kex in ipairs(KEX) do
      for algorithm in pairs(HOST_KEYS) do
         it(("combine %s with %s"):format(kex, algorithm), function()
            local pair = open({ kex = kex, host_key = algorithm }, algorithm)
            assert.equal(kex, pair.server:info().kex)
            assert.equal(algorithm, pair.server:info().host_key)
         end)
      end
   end

   for _, cipher in ipairs(CIPHERS) do
      local aead = not cipher:find("%-ctr") and not cipher:find("%-cbc")
      for _, mac in ipairs(aead and { MACS[1] } or MACS) do
         for _, compression in ipairs(COMPRESSIONS) do
            it(("carry data under %s, %s, %s, before and after a rekey"):format(cipher, mac, compression), function()
               local pair = open{ cipher = cipher, mac = mac, compression = compression }
               for _, side in ipairs{ "client", "server" } do
                  local info = pair[side]:info()
                  assert.equal(cipher, info.cipher_send)
                  assert.equal(cipher, info.cipher_recv)
                  assert.equal(aead and "" or mac, info.mac_send)
                  assert.equal(aead and "" or mac, info.mac_recv)
                  assert.equal(compression, info.compression_send)
                  assert.equal(compression, info.compression_recv)
               end
               exchange(pair)
               assert(pair:forget().client:rekey())
               pair:run()
               assert.equal("kex_done", pair:kinds("client"))
               assert.equal("kex_done", pair:kinds("server"))
               exchange(pair)
            end)
         end
      end
   end

   it("refuse a list with a name that is not known", function()
      local none, code, message = testing.transport.new{ cipher = "aes128-ctr,rot13" }
      assert.is_nil(none)
      assert.equal("unsupported", code)
      assert.equal("unknown cipher algorithm 'rot13'", message)
   end)

   it("refuse to be a server without a host key", function()
      local none, code = testing.transport.new{ role = "server" }
      assert.is_nil(none)
      assert.equal("unsupported", code)
   end)

   for _, class in ipairs{ "kex", "host_key", "cipher", "mac", "compression" } do
      it("say which lists had no " .. class .. " in common", function()
         local one = { kex = "curve25519-sha256", host_key = "rsa-sha2-256", cipher = "aes128-ctr",
            mac = "hmac-sha2-256", compression = "none" }
         local two = { kex = "ecdh-sha2-nistp256", host_key = "ssh-ed25519", cipher = "aes256-ctr",
            mac = "hmac-sha2-512", compression = "zlib" }
         local pair = Pair.new({ cipher = "aes128-ctr", [class] = one[class] },
            { host_keys = { Pair.key("ed25519"), Pair.key("rsa", 2048) }, [class] = two[class] })
         pair:start():run()
         local failure, why = pair.client:failure(), pair.client:negotiation()
         assert.equal("negotiation", failure.code)
         assert.equal(3, failure.reason)
         assert.equal(class, why.what)
         assert.equal(one[class], why.ours)
         assert.truthy(why.theirs:find(two[class], 1, true))
         assert.truthy(failure.message:find(two[class], 1, true))
         assert.truthy(pair:kinds("server"):find("failed", 1, true))
      end)
   end
end)
