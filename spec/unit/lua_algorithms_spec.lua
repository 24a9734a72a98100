local algorithms = require "moonssh.algorithms"
local core = require "moonssh.core"
local ssh = require "moonssh"

-- Tables of the core's form, so that the cases do not depend on this machine.
local rows = {
   kex = { { name = "k1", default = true }, { name = "k2", default = true }, { name = "k-old" } },
   host_key = { { name = "h1", default = true } },
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
         { cipher = "chacha20-x,aes-gcm,aes-ctr", allow_unsafe = true } },
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
         { "legacy", "unknown preset 'legacy'" },
         { 5, "table or string expected, got number" },
         { { kexx = "k1" }, "unknown option 'kexx'" },
         { { kex = 5 }, "'kex' must be a list or a string, got number" },
         { { kex = { 5 } }, "'kex' must be a list of names" },
         { { kex = "k9" }, "unknown algorithm 'k9' in 'kex'" },
         { { kex = "-k9" }, "unknown algorithm 'k9' in 'kex'" },
         { { kex = "+k*" }, "unknown algorithm 'k%*' in 'kex'" },
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
