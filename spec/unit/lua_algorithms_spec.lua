local algorithms = require "moonssh.algorithms"
local core = require "moonssh.core"
local ssh = require "moonssh"

-- Tables of the core's form, so that the cases do not depend on this machine.
local rows = {
   kex = { { name = "k1", default = true }, { name = "k2", default = true }, { name = "k-old" } },
   host_key = { { name = "h1", default = true }, { name = "h2-cert" }, { name = "h3-cert" } },
   cipher = { { name = "chacha20-x", default = true }, { name = "aes-gcm", default = true },
      { name = "aes-ctr", default = true }, { name = "aes-cbc" } },
   mac = { { name = "m-etm@x", default = true }, { name = "m", default = true } },
   compression = { { name = "none", default = true }, { name = "zlib@openssh.com" }, { name = "zlib" } },
}

describe("the option algorithms", function()
   local fresh

   setup(function()
      local real = core.algorithms
      core.algorithms = function() return rows end
      fresh = assert(loadfile("lua/moonssh/algorithms.lua"))()
      fresh.list() -- reads the tables, once
      core.algorithms = real
   end)

   local function resolve(option, compression)
      return fresh.resolve("connect", option, compression)
   end

   local cases = {
      { "a list in place of the default", { kex = { "k-old", "k1" } }, { kex = "k-old,k1" } },
      { "a string in place of the default", { kex = "k-old,k1" }, { kex = "k-old,k1" } },
      { "a name named twice once", { kex = "k1,k1" }, { kex = "k1" } },
      { "+ at the end", { kex = "+k-old,k1" }, { kex = "k1,k2,k-old" } },
      { "^ in front", { kex = "^k-old,k2" }, { kex = "k-old,k2,k1" } },
      { "- away", { kex = "-k1" }, { kex = "k2" } },
      { "- with patterns", { cipher = "-aes-*" }, { cipher = "chacha20-x" } },
      { "- of what is not there by default", { kex = "-k-old" }, { kex = "k1,k2" } },
      { "several kinds", { kex = "k2", mac = "m" }, { kex = "k2", mac = "m" } },
      { "nothing for nothing", {}, {} },
      { "nothing for the preset", "default", {} },
      { "an unsafe cipher that is named, as allowed", { cipher = "^chacha20-x" },
         { cipher = "chacha20-x,aes-gcm,aes-ctr", allow_chacha = true } },
      { "CBC that is named, as allowed, but not chacha20 for that", { cipher = "+aes-cbc" },
         { cipher = "chacha20-x,aes-gcm,aes-ctr,aes-cbc", allow_cbc_etm = true } },
      { "a pattern for keys", { host_key = "*-cert" }, { host_key = "h2-cert,h3-cert" } },
      { "+ with a pattern for keys", { host_key = "+h3*,h?-cert" }, { host_key = "h1,h3-cert,h2-cert" } },
      { "^ with a pattern for keys", { host_key = "^*-cert" }, { host_key = "h2-cert,h3-cert,h1" } },
   }

   for _, case in ipairs(cases) do
      it("takes " .. case[1], function()
         assert.same(case[3], resolve(case[2]))
      end)
   end

   it("puts compression first where it is asked for, unless it is named", function()
      assert.same({ compression = "zlib@openssh.com,none" }, resolve(nil, true))
      assert.same({ compression = "none" }, resolve({ compression = "none" }, true))
      assert.same({}, resolve(nil, false))
   end)

   it("raises for what is none, naming it", function()
      local wrong = {
         { "modern", "unknown preset 'modern'" },
         { 5, "table or string expected, got number" },
         { { kexx = "k1" }, "unknown option 'kexx'" },
         { { kex = 5 }, "'kex' must be a list or a string, got number" },
         { { kex = { 5 } }, "'kex' must be a list of names" },
         { { kex = "k9" }, "unknown algorithm 'k9' in 'kex'" },
         { { kex = "-k9" }, "unknown algorithm 'k9' in 'kex'" },
         { { kex = "+k*" }, "unknown algorithm 'k%*' in 'kex'" },
         { { host_key = "+x*" }, "unknown algorithm 'x%*' in 'host_key'" },
         { { kex = "m" }, "unknown algorithm 'm' in 'kex'" },
         { { kex = "-*" }, "no algorithm is left in 'kex'" },
         { { kex = "" }, "no algorithm is left in 'kex'" },
         { { kex = {} }, "no algorithm is left in 'kex'" },
      }
      for _, case in ipairs(wrong) do
         assert.error_matches(function() resolve(case[1]) end,
            "bad argument #2 to 'connect' %(option 'algorithms': " .. case[2])
      end
   end)

   it("is narrowed to what is safe without strict key exchange", function()
      assert.equal("aes-gcm,aes-ctr", fresh.safe(resolve(nil)).cipher)
      assert.equal("aes-ctr", fresh.safe(resolve{ cipher = "-aes-gcm", kex = "k1" }).cipher)
      assert.equal("k1", fresh.safe(resolve{ cipher = "-aes-gcm", kex = "k1" }).kex)
      assert.is_nil(fresh.safe(resolve{ cipher = "-aes*" }))
   end)

   it("keeps what was named when it is narrowed", function()
      local named = fresh.safe(resolve{ cipher = { "chacha20-x", "aes-ctr" } })
      assert.equal("chacha20-x,aes-ctr", named.cipher)
   end)
end)

describe("a preset", function()
   local function resolved(name)
      local result = algorithms.resolve("session", name)
      for _, kind in ipairs{ "kex", "host_key", "cipher", "mac", "compression" } do
         local list = {}
         for one in result[kind]:gmatch("[^,]+") do
            list[#list + 1] = one
         end
         result[kind] = list
      end
      return result
   end

   it("legacy is the default with the old ones behind it", function()
      local legacy = resolved "legacy"
      for _, kind in ipairs{ "kex", "host_key", "cipher", "mac", "compression" } do
         local default = algorithms.defaults(kind)
         assert.same(default, table.move(legacy[kind], 1, #default, 1, {}))
      end
      local function behind(kind)
         return table.concat(legacy[kind], " ", #algorithms.defaults(kind) + 1)
      end
      assert.equal("diffie-hellman-group14-sha1 diffie-hellman-group-exchange-sha1 diffie-hellman-group1-sha1",
         behind "kex")
      assert.equal("aes128-cbc aes192-cbc aes256-cbc 3des-cbc", behind "cipher")
      assert.equal("hmac-sha1-etm@openssh.com hmac-sha1 hmac-sha1-96-etm@openssh.com hmac-sha1-96 "
         .. "hmac-md5-etm@openssh.com hmac-md5 hmac-md5-96-etm@openssh.com hmac-md5-96", behind "mac")
      assert.is_nil(legacy.allow_chacha)
      assert.is_nil(legacy.allow_cbc_etm)
   end)

   it("legacy keeps CBC, and gives up encrypt-then-MAC, with a server that is not strict", function()
      local safe = algorithms.safe(algorithms.resolve("session", "legacy"))
      assert.is_nil(safe.cipher:find("chacha", 1, true))
      assert.is_truthy(safe.cipher:find("3des-cbc", 1, true))
      assert.is_nil(safe.mac:find("etm", 1, true))
      -- Where there is no other MAC, CBC goes.
      safe = algorithms.safe{ cipher = "aes128-ctr,aes128-cbc", mac = "hmac-sha2-256-etm@openssh.com" }
      assert.same({ "aes128-ctr", "hmac-sha2-256-etm@openssh.com" }, { safe.cipher, safe.mac })
      assert.is_nil(algorithms.safe{ cipher = "aes128-cbc", mac = "hmac-sha2-256-etm@openssh.com" })
   end)

   it("fips has what is approved, and nothing else", function()
      for kind, list in pairs(resolved "fips") do
         assert.is_true(#list > 0)
         for _, name in ipairs(list) do
            for _, other in ipairs{ "25519", "chacha", "umac", "sha1", "md5", "cbc", "dss", "^ssh%-" } do
               assert.is_nil(name:find(other), kind .. " " .. name)
            end
         end
      end
   end)

   it("is taken by a session, and what it takes in is offered", function()
      local session <close> = assert(ssh.session{ algorithms = "fips" })
      assert.is_false(session.closed)
      local old <close> = assert(ssh.session{ algorithms = "legacy" })
      assert.is_false(old.closed)
   end)
end)

describe("ssh.algorithms", function()
   it("lists what there is, in order of preference", function()
      for _, kind in ipairs{ "kex", "host_key", "cipher", "mac", "compression" } do
         local names = {}
         for i, row in ipairs(core.algorithms()[kind]) do
            names[i] = row.name
         end
         assert.is_true(#names > 0)
         assert.same(names, ssh.algorithms[kind])
         assert.same(names, algorithms.list()[kind])
      end
   end)

   it("has no weak algorithm among the defaults", function()
      for _, kind in ipairs{ "kex", "host_key", "cipher", "mac" } do
         for _, name in ipairs(algorithms.defaults(kind)) do
            for _, weak in ipairs{ "sha1", "cbc", "md5", "dss", "3des", "^ssh%-rsa$", "^none$", "group1%-" } do
               assert.is_nil(name:find(weak), name)
            end
         end
      end
   end)
end)
