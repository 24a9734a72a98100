-- core.key: key objects. The formats and algorithms themselves have specs of their own.

local core = require "moonssh.core"
local keys = require "spec.support.keys"
local process = require "spec.support.process"
local tmp = require "spec.support.tmp"

local function read(path)
   local file <close> = assert(io.open(path, "rb"))
   return file:read("a")
end

local function raises(pattern, f)
   local ok, message = pcall(f)
   assert.is_false(ok)
   assert.truthy(tostring(message):find(pattern), ("%q does not match %q"):format(message, pattern))
end

describe("core.key.parse_file", function()
   for type, facts in pairs{ ed25519 = { "ssh-ed25519", 256 }, rsa = { "ssh-rsa", 2048 },
      ecdsa = { "ecdsa-sha2-nistp256", 256 } } do
      it("gives the private key of a file: " .. type, function()
         local key <close> = assert(core.key.parse_file(read(keys.path(type))))
         collectgarbage()
         assert.same(facts, { key:type(), key:bits() })
         assert.is_true(key:is_private())
         assert.equal("moonssh spec", key:comment())
         assert.equal(keys.public(type):match("^%S+ (%S+)"), core.base64_encode(key:blob()))
         collectgarbage()
      end)
   end

   it("tells a wrong passphrase, a missing one, and what is no key", function()
      local folder <close> = tmp.dir()
      local text = read(keys.make(folder, "id", { type = "ed25519", passphrase = "right", rounds = 4 }))
      for _, wrong in ipairs{ "wrong", "", false } do
         local key, code, message = core.key.parse_file(text, wrong or nil)
         assert.is_nil(key)
         assert.equal("passphrase", code)
         assert.truthy(#message > 10)
         assert.is_nil(message:find("right", 1, true))
      end
      local key <close> = assert(core.key.parse_file(text, "right"))
      assert.equal("ssh-ed25519", key:type())
      for _, wrong in ipairs{ "", "nonsense", "\0", text:sub(1, 100) } do
         assert.same({ nil, "key_format" }, { table.unpack({ core.key.parse_file(wrong) }, 1, 2) })
      end
   end)

   it("gives a public key for a public file", function()
      local key <close> = assert(core.key.parse_file(keys.public("rsa")))
      assert.is_false(key:is_private())
      local signature, code = key:sign("data", "rsa-sha2-256")
      assert.is_nil(signature)
      assert.equal("string", type(code))
   end)
end)

describe("a key", function()
   it("signs and verifies", function()
      for _, type in ipairs{ "ed25519", "rsa", "ecdsa" } do
         local key <close> = assert(core.key.parse_file(read(keys.path(type))))
         local public <close> = assert(core.key.parse_public(key:blob()))
         assert.is_false(public:is_private())
         assert.equal("", public:comment())
         for _, algorithm in ipairs(core.key.algorithms()) do
            if algorithm.key_type == key:type() then
               local signature = assert(key:sign("a\0b", algorithm.name))
               collectgarbage()
               assert.is_true(public:verify("a\0b", signature, algorithm.name))
               assert.is_false(public:verify("a\0c", signature, algorithm.name))
               assert.is_false(public:verify("a\0b", signature:sub(1, -2), algorithm.name))
               assert.is_false(public:verify("a\0b", signature .. "x", algorithm.name))
               assert.is_false(public:verify("a\0b", "", algorithm.name))
               assert.is_false(public:verify("a\0b", signature, "ssh-dss"))
            else
               assert.same({ nil, "unsupported" }, { table.unpack({ key:sign("x", algorithm.name) }, 1, 2) })
            end
         end
      end
   end)

   it("is exported in OpenSSH's format, with and without passphrase", function()
      local folder <close> = tmp.dir()
      local key <close> = assert(core.key.generate("ed25519"))
      local plain = assert(key:export(nil, "my comment"))
      local path = folder:write("id", plain, "600")
      assert.equal("ssh-ed25519 " .. core.base64_encode(key:blob()) .. " my comment\n",
         process.check{ "ssh-keygen", "-y", "-f", path })
      local locked = assert(key:export("secret"))
      assert.equal("passphrase", select(2, core.key.parse_file(locked)))
      local again <close> = assert(core.key.parse_file(locked, "secret"))
      assert.equal(key:blob(), again:blob())
   end)

   it("has the fingerprint that ssh-keygen prints", function()
      for _, hash in ipairs{ "sha256", "md5" } do
         local printed = process.check{ "ssh-keygen", "-l", "-E", hash, "-f", keys.path("rsa") .. ".pub" }
         local key <close> = assert(core.key.parse_file(keys.public("rsa")))
         assert.equal(printed:match("^%d+ (%S+)"), core.key.fingerprint(key:blob(), hash))
      end
      assert.truthy(core.key.fingerprint(""):find("^SHA256:"))
      raises("bad argument #2 to 'fingerprint' %(invalid option 'sha1'%)", function()
         core.key.fingerprint("", "sha1")
      end)
   end)
end)

describe("core.key.generate", function()
   it("makes keys of each type and size", function()
      for _, want in ipairs{ { "ed25519", nil, "ssh-ed25519", 256 }, { "ecdsa", nil, "ecdsa-sha2-nistp256", 256 },
         { "ecdsa", 384, "ecdsa-sha2-nistp384", 384 }, { "ecdsa", 521, "ecdsa-sha2-nistp521", 521 },
         { "rsa", 2048, "ssh-rsa", 2048 } } do
         local key <close> = assert(core.key.generate(want[1], want[2]))
         assert.same({ want[3], want[4], true }, { key:type(), key:bits(), key:is_private() })
      end
   end)

   it("refuses other types and sizes", function()
      raises("bad argument #1 to 'generate' %(invalid option 'dsa'%)", function() core.key.generate("dsa") end)
      raises("bad argument #2 to 'generate' %(value out of range%)", function() core.key.generate("rsa", 16385) end)
      raises("bad argument #2 to 'generate' %(value out of range%)", function() core.key.generate("rsa", -1) end)
      raises("bad argument #2 to 'generate' %(number has no integer", function() core.key.generate("rsa", 0.5) end)
      for _, wrong in ipairs{ { "rsa", 1024 }, { "ecdsa", 255 }, { "ed25519", 512 } } do
         local key, code, message = core.key.generate(wrong[1], wrong[2])
         assert.is_nil(key)
         assert.equal("string", type(code))
         assert.equal("string", type(message))
      end
   end)
end)

describe("core.key.parse_public", function()
   it("says why a blob is no key", function()
      for _, blob in ipairs{ "", "x", ("\0"):rep(100), "\0\0\0\11ssh-ed25519\0\0\0\31" .. ("x"):rep(31),
         "\255\255\255\255ssh-rsa" } do
         local key, code, message = core.key.parse_public(blob)
         assert.is_nil(key)
         assert.equal("key_format", code)
         assert.equal("string", type(message))
      end
      raises("bad argument #1 to 'parse_public' %(string expected", function() core.key.parse_public() end)
   end)
end)

describe("core.key.algorithms", function()
   it("lists the signature algorithms with their key types", function()
      local types = {}
      for _, row in ipairs(core.key.algorithms()) do
         types[row.name] = row.key_type
      end
      assert.equal("ssh-ed25519", types["ssh-ed25519"])
      assert.equal("ssh-rsa", types["rsa-sha2-512"])
      assert.equal("ssh-rsa", types["rsa-sha2-256"])
      assert.equal("ecdsa-sha2-nistp256", types["ecdsa-sha2-nistp256"])
   end)
end)

describe("core.key.known_lines", function()
   local salt = ("s"):rep(20)

   local function hashed(name, kept)
      kept = kept or salt
      return ("|1|%s|%s"):format(core.base64_encode(kept), core.base64_encode(core.hmac("sha1", kept, name)))
   end

   local function found(text, name)
      local lines = assert(core.key.known_lines(text, name))
      local numbers = {}
      for i = 1, #lines, 2 do
         table.insert(numbers, lines[i])
      end
      return numbers, lines[2]
   end

   it("finds names, in whatever case and place of a list, and not parts of them", function()
      assert.same({ 1, 3, 5, 6 }, (found("web1 a b\n#web1 a b\n\tx,WEB1,y a b\nweb11,web,aweb1 a b\n"
         .. "@revoked  web1 a b\nweb1", "web1")))
      local numbers, line = found("x a b\n web1  a b\r", "web1")
      assert.same({ 2 }, numbers)
      assert.equal(" web1  a b\r", line)
      assert.same({ 1 }, (found("[web1]:2222 a b\nweb1 a b", "[web1]:2222")))
   end)

   it("gives lines with patterns, whatever they are", function()
      assert.same({ 1, 2, 3, 4 }, (found("*.org a\nx?z a\n!web2,w a\n@cert-authority * a", "web1")))
   end)

   it("finds hashed names, and takes nothing else for one", function()
      local good = hashed("web1")
      assert.same({ 1, 3 }, (found(good .. " a b\n" .. hashed("web2") .. " a b\n@revoked " .. good, "web1")))
      for _, bad in ipairs{ "|1|", "|", "|2" .. good:sub(3), good .. "=", good:sub(1, -2),
         "|1|" .. good:sub(4):gsub("|", "A"), good:sub(1, 3) .. "!" .. good:sub(5), hashed("web1", ("s"):rep(19)) } do
         assert.same({}, (found(bad .. " a b", "web1")), bad)
      end
   end)

   it("finds nothing in a text without lines or names", function()
      for _, text in ipairs{ "", "\n\n", " \t\n", "@revoked", "@revoked \n", ",,,\n", "\0 web1\n" } do
         assert.same({}, (found(text, "web1")))
      end
   end)
end)
