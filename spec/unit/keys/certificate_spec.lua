-- Certificates: what ssh-keygen makes is read as it reads it, and what is damaged or made to do harm is refused.

local certificate = require "spec.support.certificate"
local key = require "moonssh.key"
local keygen = require "spec.support.keys"
local process = require "spec.support.process"
local testing = require "moonssh_testing"
local tmp = require "spec.support.tmp"

local strings = certificate.strings
local write = testing.base.write

local ed25519 = testing.keys.generate("ed25519")
local authority = testing.keys.generate("ed25519")

local function made(fields)
   fields.key = fields.key or ed25519:blob()
   fields.authority = fields.authority or authority
   return certificate.blob(fields)
end

local function refused(blob, pattern)
   local none, code, message = testing.keys.parse_public(blob)
   assert.is_nil(none)
   assert.equal("key_format", code)
   assert.matches(pattern, message)
end

local function parsed(fields)
   return assert(key.from_blob(made(fields))):certificate()
end

describe("a certificate of ssh-keygen", function()
   local folder

   setup(function()
      folder = tmp.dir()
      for _, kind in ipairs{ { "ed25519" }, { "ecdsa", 256 }, { "ecdsa", 384 }, { "ecdsa", 521 }, { "rsa", 2048 } } do
         keygen.make(folder, kind[1] .. (kind[2] or ""), { type = kind[1], bits = kind[2], comment = "of a spec" })
      end
   end)

   teardown(function()
      folder:remove()
   end)

   -- What ssh-keygen shows of it.
   local function shown(path)
      local text = process.check{ "ssh-keygen", "-L", "-f", path, env = { TZ = "UTC" } }
      local function list(title)
         local found = {}
         for line in (text:match(title .. ":([^:]*)\n        %u") or ""):gmatch("\n                ([^\n]+)") do
            table.insert(found, line)
         end
         return found
      end
      return {
         type = text:match("Type: %S+ (%l+) certificate"),
         fingerprint = text:match("Public key: %S+ (%S+)"),
         signed_by = text:match("Signing CA: %S+ (%S+)"),
         algorithm = text:match("%(using (%S+)%)"),
         key_id = text:match('Key ID: "(.-)"\n'),
         serial = math.tointeger(text:match("Serial: (%d+)")),
         principals = list("Principals"),
      }
   end

   for _, name in ipairs{ "ed25519", "ecdsa256", "ecdsa384", "ecdsa521", "rsa2048" } do
      for _, signer in ipairs{ "ed25519", "ecdsa384", "rsa2048" } do
         it(("for %s, signed by %s, says what it says there"):format(name, signer), function()
            local path = folder:path(name)
            process.check{ "ssh-keygen", "-q", "-s", folder:path(signer), "-I", "an id", "-z", "77", "-n", "moon,web",
               "-V", "20200101000000:20400102030405", "-O", "clear", "-O", "permit-pty", "-O", "force-command=ls -l",
               path .. ".pub", env = { TZ = "UTC" } }
            local loaded = assert(key.load(path .. "-cert.pub"))
            local found = loaded:certificate()
            local expected = shown(path .. "-cert.pub")
            assert.equal(expected.fingerprint, loaded:fingerprint())
            assert.equal(expected.signed_by, assert(key.from_blob(found.signature_key)):fingerprint())
            assert.equal(expected.algorithm, found.signature_algorithm)
            assert.same({ expected.type, expected.key_id, expected.serial, expected.principals },
               { found.type, found.key_id, found.serial, found.principals })
            assert.same({ "user", "an id", 77, { "moon", "web" } },
               { found.type, found.key_id, found.serial, found.principals })
            assert.same({ 1577836800, 2209086245 }, { found.valid_after, found.valid_before })
            assert.same({ ["force-command"] = "ls -l" }, found.critical_options)
            assert.same({ ["permit-pty"] = "" }, found.extensions)
            assert.equal(found.public, assert(key.load(path)):blob())
            assert.equal("of a spec", loaded.comment)
            assert.is_false(loaded.private)
            assert.matches("^%S+%-cert%-v01@openssh%.com$", loaded.type)
            assert.equal(folder:read(name .. "-cert.pub"), loaded:public_line() .. "\n")
            assert.is_nil(assert(key.load(path)):certificate())
         end)
      end
   end

   it("for a host, valid for ever, has no options", function()
      process.check{ "ssh-keygen", "-q", "-h", "-s", folder:path("ed25519"), "-I", "", "-n", "web1",
         folder:path("ecdsa256") .. ".pub" }
      local found = assert(key.load(folder:path("ecdsa256-cert.pub"))):certificate()
      assert.same({ "host", "", 0, { "web1" }, {}, {}, 0, math.maxinteger },
         { found.type, found.key_id, found.serial, found.principals, found.critical_options, found.extensions,
            found.valid_after, found.valid_before })
   end)

   it("has the data of options as they are where these are not one string", function()
      local one, two = write("string", "a value"), write("string", "a", "string", "b")
      local blob = certificate.blob{ key = ed25519:blob(), authority = authority, use = 1,
         critical = strings{ "one", one, "two", two },
         extensions = strings{ "bare", "text", "flag", "" } }
      local line = string.unpack(">s4", blob) .. " " .. testing.keys.base64_encode(blob)
      local found = assert(key.parse(line)):certificate()
      assert.same({ one = "a value", two = two }, found.critical_options)
      assert.same({ bare = "text", flag = "" }, found.extensions)
   end)

   it("signs nothing, and verifies what its key has signed", function()
      process.check{ "ssh-keygen", "-q", "-s", folder:path("ed25519"), "-I", "id", folder:path("rsa2048") .. ".pub" }
      local private = assert(key.load(folder:path("rsa2048")))
      local public = assert(key.load(folder:path("rsa2048-cert.pub")))
      assert.is_true(public:verify("data", assert(private:sign("data"))))
      assert.is_false(public:verify("data!", assert(private:sign("data"))))
      local none, err = public:sign("data")
      assert.is_nil(none)
      assert.equal("key_format", err.code)
   end)

   it("signed with SHA-1 by an RSA key is refused", function()
      process.check{ "ssh-keygen", "-q", "-t", "ssh-rsa", "-s", folder:path("rsa2048"), "-I", "id",
         folder:path("ecdsa521") .. ".pub" }
      local none, err = key.load(folder:path("ecdsa521-cert.pub"))
      assert.is_nil(none)
      assert.equal("key_format", err.code)
      assert.equal(folder:path("ecdsa521-cert.pub") .. ": certificate: signed with an algorithm that is not accepted",
         err.message)
   end)
end)

describe("H8: a certificate", function()
   it("made field by field parses", function()
      local found = parsed{ serial = -1, key_id = "\0\27", principals = "", valid_after = -2, valid_before = -1,
         critical = write("string", "a", "string", write("string", "b"), "string", "c", "string", "raw"),
         extensions = write("string", "d", "string", "") }
      assert.same({ "host", -1, "\0\27", {}, math.maxinteger, math.maxinteger, { a = "b", c = "raw" }, { d = "" } },
         { found.type, found.serial, found.key_id, found.principals, found.valid_after, found.valid_before,
            found.critical_options, found.extensions })
   end)

   it("signed by a certificate is refused at once, ten thousand deep too", function()
      local nested = made{ signature_key = made{} }
      refused(nested, "^certificate: signed by a key of a type that cannot be an authority's$")
      -- From the inside out: what stands before and after the one within, whose length alone has to be known.
      local before, after, length = {}, {}, #ed25519:blob()
      local shell = made{ signature_key = "", signature = "" }
      local head = shell:sub(1, -9)
      for _ = 1, 10000 do
         table.insert(before, head .. string.pack(">I4", length))
         table.insert(after, string.pack(">I4", 0))
         length = #head + 8 + length
      end
      local list = {}
      for i = #before, 1, -1 do
         list[#list + 1] = before[i]
      end
      local deep = table.concat(list) .. ed25519:blob() .. table.concat(after)
      assert.equal(length, #deep)
      refused(deep, "^certificate: signed by a key of a type that cannot be an authority's$")
   end)

   it("is for a user or for a host", function()
      for _, use in ipairs{ 0, 3, 0x7fffffff, 0xffffffff } do
         refused(made{ use = use }, "neither for a user nor for a host$")
      end
   end)

   it("has bounded and well-formed lists", function()
      local many = {}
      for i = 1, 256 do
         many[i] = "host" .. i
      end
      assert.equal(256, #parsed{ principals = strings(many) }.principals)
      many[257] = "one more"
      refused(made{ principals = strings(many) }, "its principals are out of form, or more than 256$")
      for _, bytes in ipairs{ "\0", "\0\0\0\1", "\255\255\255\255", strings{ "a" } .. "\0" } do
         refused(made{ principals = bytes }, "its principals are out of form")
      end
      for _, bytes in ipairs{ "\0", strings{ "name" }, strings{ "a", "", "b" }, strings{ "a", "" } .. "\0" } do
         refused(made{ critical = bytes }, "its options are out of form$")
         refused(made{ extensions = bytes }, "its options are out of form$")
      end
   end)

   it("is signed by the key that it names, over all of it", function()
      local other = testing.keys.generate("ed25519")
      refused(made{ signature_key = other:blob() }, "its authority's signature is not valid$")
      refused(made{ signature = function() return authority:sign("ssh-ed25519", "") end },
         "its authority's signature is not valid$")
      refused(made{ signature = function(body) return authority:sign("ssh-ed25519", body) .. "\0" end },
         "its authority's signature is not valid$")
      refused(made{ signature = write("string", "ssh-ed25519", "string", "") }, "signature is not valid$")
      for _, name in ipairs{ "", "none", "ssh-rsa", "ssh-ed25519-cert" } do
         refused(made{ signature = write("string", name, "string", ("s"):rep(64)) },
            "signed with an algorithm that is not accepted$")
      end
      refused(made{ signature = write("string", "ecdsa-sha2-nistp256", "string", ("s"):rep(64)) }, "is not valid$")
      refused(made{ signature = "" }, "signed with an algorithm that is not accepted$")
      for _, blob in ipairs{ "", "\0\0\0\1", write("string", "ssh-dsa") } do
         refused(made{ signature_key = blob, signature = "" }, "that cannot be an authority's$")
      end
      refused(made{ signature_key = write("string", "ssh-ed25519", "string", "short") }, "^ssh%-ed25519 key")
   end)

   it("is for a key that is good by itself", function()
      for _, numbers in ipairs{ write("string", ""), write("string", ("x"):rep(31)), write("string", ("x"):rep(33)) } do
         refused(made{ key = write("string", "ssh-ed25519", "bytes", numbers) }, "^ssh%-ed25519 key with numbers")
      end
      local short = write("string", "ssh-rsa", "mpint", "\1\0\1", "mpint", "\255" .. ("\1"):rep(127))
      refused(made{ key = short }, "^ssh%-rsa key of 1024 bits: less than 2048 are not accepted$")
      refused(made{ key = write("string", "ecdsa-sha2-nistp256", "string", "nistp384", "string", "x") },
         "^certificate: cut short")
   end)

   it("cut anywhere, or with anything changed, is refused", function()
      local whole = made{ critical = strings{ "a", "b" }, extensions = strings{ "c", "d" } }
      assert(testing.keys.parse_public(whole))
      for n = 0, #whole - 1 do
         refused(whole:sub(1, n), ".")
      end
      refused(whole .. "\0", "left over$")
      for at = 1, #whole do
         refused(whole:sub(1, at - 1) .. string.char(whole:byte(at) ~ 1 << at % 8) .. whole:sub(at + 1), ".")
      end
   end)

   it("fails cleanly wherever memory runs out", function()
      local blob = made{}
      local n, done = 0, false
      while not done do
         n = n + 1
         local memory = testing.heap.new(n)
         local found, code = testing.keys.parse_public(blob, memory)
         done = found ~= nil
         if found then
            found:close()
         else
            assert.equal("memory", code)
         end
         assert.equal(0, memory:in_use())
      end
      assert.is_true(n > 5)
   end)
end)
