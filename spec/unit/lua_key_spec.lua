local key = require "moonssh.key"
local keys = require "spec.support.keys"
local process = require "spec.support.process"
local tmp = require "spec.support.tmp"

local kinds = {
   { name = "ed25519", type = "ed25519", key_type = "ssh-ed25519", bits = 256 },
   { name = "ecdsa 256", type = "ecdsa", size = 256, key_type = "ecdsa-sha2-nistp256", bits = 256 },
   { name = "ecdsa 384", type = "ecdsa", size = 384, key_type = "ecdsa-sha2-nistp384", bits = 384 },
   { name = "ecdsa 521", type = "ecdsa", size = 521, key_type = "ecdsa-sha2-nistp521", bits = 521 },
   { name = "rsa", type = "rsa", size = 2048, key_type = "ssh-rsa", bits = 2048 },
}
local formats = { "OpenSSH", "PEM", "PKCS8" }

local function words(line)
   return line:match("^%S+ %S+")
end

describe("a key", function()
   local folder

   before_each(function()
      folder = tmp.dir()
   end)

   after_each(function()
      folder:remove()
   end)

   local function make(kind, format, passphrase, cipher)
      return keys.make(folder, "id", {
         type = kind.type, bits = kind.size, format = format ~= "OpenSSH" and format or nil,
         passphrase = passphrase, cipher = cipher, rounds = passphrase and format == "OpenSSH" and 2 or nil,
      })
   end

   for _, kind in ipairs(kinds) do
      for _, format in ipairs(formats) do
         -- ssh-keygen writes ed25519 in its own format only.
         if kind.type ~= "ed25519" or format == "OpenSSH" then
            it(("of %s in %s is the one that ssh-keygen reads, encrypted or not"):format(kind.name, format), function()
               local path = make(kind, format)
               local loaded = assert(key.load(path))
               assert.equal(kind.key_type, loaded.type)
               assert.equal(kind.bits, loaded.bits)
               assert.is_true(loaded.private)
               assert.equal(words(process.check{ "ssh-keygen", "-y", "-f", path }), words(loaded:public_line()))
               for _, hash in ipairs{ "sha256", "md5" } do
                  assert.equal(process.check{ "ssh-keygen", "-l", "-E", hash, "-f", path }:match("^%d+ (%S+)"),
                     loaded:fingerprint(hash))
               end
               process.check{ "ssh-keygen", "-q", "-p", "-P", "", "-N", "a passphrase", "-f", path,
                  table.unpack(format ~= "OpenSSH" and { "-m", format } or { "-a", "2" }) }
               local none, err = key.load(path)
               assert.is_nil(none)
               assert.equal("passphrase", err.code)
               assert.equal(path .. " is encrypted and no passphrase was given", err.message)
               none, err = key.load(path, "wrong")
               assert.is_nil(none)
               assert.equal("passphrase", err.code)
               assert.equal("wrong passphrase for " .. path, err.message)
               assert.equal(path, err.path)
               assert.equal(loaded:blob(), assert(key.load(path, "a passphrase")):blob())
            end)
         end
      end

      it(("of %s signs what it and ssh-keygen verify"):format(kind.name), function()
         local made = assert(key.generate(kind.type, { bits = kind.size, comment = "me" }))
         assert.equal(kind.key_type, made.type)
         assert.equal(kind.bits, made.bits)
         local signature = assert(made:sign("data"))
         local public = assert(key.parse(made:public_line()))
         assert.is_false(public.private)
         assert.is_true(public:verify("data", signature))
         assert.is_false(public:verify("data.", signature))
         assert.is_false(public:verify("data", signature:sub(1, -2)))
         assert.is_false(public:verify("data", signature .. "\0"))
         assert.is_false(public:verify("data", ""))
         assert.is_false(assert(key.generate(kind.type, { bits = kind.size })):verify("data", signature))
      end)

      it(("of %s is exported so that ssh-keygen and we read it again"):format(kind.name), function()
         local made = assert(key.generate(kind.type, { bits = kind.size, comment = "a comment" }))
         for _, passphrase in ipairs{ "", "phrase" } do
            local options = passphrase ~= "" and { passphrase = passphrase } or nil
            local path = folder:write("out" .. passphrase, assert(made:export(options)), "600")
            assert.equal(words(made:public_line()),
               words(process.check{ "ssh-keygen", "-y", "-P", passphrase, "-f", path }))
            local again = assert(key.load(path, passphrase))
            assert.equal(made:blob(), again:blob())
            assert.equal("a comment", again.comment)
            assert.is_true(made == again)
         end
      end)
   end

   for _, kind in ipairs(kinds) do
      for _, format in ipairs{ "pem", "pkcs8" } do
         it(("of %s is exported as %s where it can be, for others to read"):format(kind.name, format), function()
            local made = assert(key.generate(kind.type, { bits = kind.size, comment = "a comment" }))
            if kind.type == "ed25519" and format == "pem" then
               local none, err = made:export{ format = format }
               assert.is_nil(none)
               assert.equal("unsupported", err.code)
               assert.equal("a key of type ssh-ed25519 cannot be written in the format 'pem'", err.message)
               return
            end
            for _, passphrase in ipairs{ "", "a phrase" } do
               local text = assert(made:export{ format = format, passphrase = passphrase ~= "" and passphrase or nil })
               assert.equal(passphrase ~= "", text:find("ENCRYPTED", 1, true) ~= nil)
               local path = folder:write("out" .. passphrase, text, "600")
               local again = assert(key.load(path, passphrase))
               assert.equal(made:blob(), again:blob())
               assert.equal("", again.comment)
               assert.is_true(made:verify("data", assert(again:sign("data"))))
               if kind.type ~= "ed25519" then
                  assert.equal(words(made:public_line()),
                     words(process.check{ "ssh-keygen", "-y", "-P", passphrase, "-f", path }))
               end
               if passphrase ~= "" then
                  local none, err = key.load(path, "another phrase")
                  assert.is_nil(none)
                  assert.equal("passphrase", err.code)
               end
            end
         end)
      end
   end

   it("of ed25519 in PKCS#8 is what openssl reads", function()
      local made = assert(key.generate("ed25519"))
      local path = folder:write("out", assert(made:export{ format = "pkcs8" }), "600")
      local der = process.check{ "openssl", "pkey", "-in", path, "-pubout", "-outform", "DER" }
      assert.equal(made:blob():sub(-32), der:sub(-32))
   end)

   for _, cipher in ipairs{ "aes128-cbc", "aes256-ctr", "aes256-gcm@openssh.com" } do
      it("encrypted with " .. cipher .. " is read", function()
         local path = make(kinds[1], "OpenSSH", "a passphrase", cipher)
         assert.equal(words(process.check{ "ssh-keygen", "-y", "-P", "a passphrase", "-f", path }),
            words(assert(key.load(path, "a passphrase")):public_line()))
      end)
   end

   it("of RSA signs with SHA-512 by default, with SHA-256 or SHA-1 where that is named", function()
      local private = assert(key.load(keys.path("rsa")))
      assert.equal("rsa-sha2-512", (string.unpack(">s4", assert(private:sign("data")))))
      assert.equal("rsa-sha2-256", (string.unpack(">s4", assert(private:sign("data", "rsa-sha2-256")))))
      local old = assert(private:sign("data", "ssh-rsa"))
      assert.equal("ssh-rsa", (string.unpack(">s4", old)))
      assert.is_false(private:verify("data", old))
      local none, err = private:sign("data", "ssh-ed25519")
      assert.is_nil(none)
      assert.equal("unsupported", err.code)
   end)

   it("asks a function for the passphrase, once and only if the file is encrypted", function()
      local asked = {}
      local function ask(path)
         table.insert(asked, path)
         return "a passphrase"
      end
      assert(key.load(keys.path("ed25519"), ask))
      assert.same({}, asked)
      local path = make(kinds[1], "OpenSSH", "a passphrase")
      assert(key.load(path, ask))
      assert.same({ path }, asked)
      local none, err = key.load(path, function() return nil end)
      assert.is_nil(none)
      assert.equal("passphrase", err.code)
      assert.error_matches(function()
         key.load(path, function() error("typed ^C") end)
      end, "typed ^C", 1, true)
      assert.error_matches(function()
         key.load(path, function() return 7 end)
      end, "bad result of 'passphrase' %(string expected, got number%)")
   end)

   it("says what is wrong with its file", function()
      local cases = {
         { folder:path("missing"), "io", "No such file" },
         { folder:path(), "io", "Is a directory" },
         { "/dev/zero", "io", "Not a regular file" },
         { folder:write("empty", ""), "key_format", "." },
         { folder:write("text", "hello\n"), "key_format", "." },
         { folder:write("huge", ("x"):rep(1024 * 1024 + 1)), "io", "." },
      }
      for _, case in ipairs(cases) do
         local none, err = key.load(case[1])
         assert.is_nil(none)
         assert.equal(case[2], err.code)
         assert.equal(case[1], err.path)
         assert.matches(case[3], err.message)
         assert.is_truthy(err.message:find(case[1], 1, true))
      end
   end)

   it("from a public file is public, and cannot sign", function()
      local public = assert(key.load(keys.path("ed25519") .. ".pub"))
      assert.is_false(public.private)
      assert.equal("moonssh spec", public.comment)
      assert.equal(keys.public("ed25519"), public:public_line())
      local none, err = public:sign("data")
      assert.is_nil(none)
      assert.equal("key_format", err.code)
      none, err = public:export()
      assert.is_nil(none)
      assert.equal("key_format", err.code)
      assert.equal(keys.public("ed25519") .. "\n", public:export{ format = "public" })
   end)

   it("shows its public half while it is locked", function()
      local path = make(kinds[5], "PEM", "a passphrase")
      local found, locked = key.peek(path)
      assert.is_true(locked)
      assert.equal(words(folder:read("id.pub")), words(found:public_line()))
      os.remove(path .. ".pub")
      found, locked = key.peek(path)
      assert.is_nil(found)
      assert.is_true(locked)
      found, locked = key.peek(keys.path("ed25519"))
      assert.is_true(found.private)
      assert.is_false(locked)
   end)

   it("may be held by somebody else", function()
      local private = assert(key.load(keys.path("ed25519")))
      local asked = {}
      local external = assert(key.external{
         public = keys.public("ed25519"),
         sign = function(data, algorithm)
            table.insert(asked, { data, algorithm })
            return private:sign(data, algorithm)
         end,
      })
      assert.is_true(external.private)
      assert.equal(private:fingerprint(), external:fingerprint())
      assert.is_true(private:verify("data", assert(external:sign("data"))))
      assert.same({ { "data", "ssh-ed25519" } }, asked)
      for _, public in ipairs{ private, private:blob() } do
         assert.equal(private:blob(), assert(key.external{ public = public, sign = print }):blob())
      end
      local none, err = assert(key.external{ public = private, sign = function() return nil, "no" end }):sign("data")
      assert.is_nil(none)
      assert.equal("agent", err.code)
      none, err = assert(key.external{ public = private, sign = function() return "junk" end }):sign("data")
      assert.is_nil(none)
      assert.equal("key_format", err.code)
      none, err = key.external{ public = "junk", sign = print }
      assert.is_nil(none)
      assert.equal("key_format", err.code)
   end)

   it("cannot sign after close, which may be called twice", function()
      local private <close> = assert(key.generate("ed25519"))
      private:close()
      private:close()
      assert.is_true(private.closed)
      assert.error_matches(function() private:sign("data") end, "attempt to use a closed key %(in 'sign'%)")
   end)

   it("raises for wrong arguments, naming them", function()
      local private = assert(key.generate("ed25519"))
      assert.error_matches(function() key.load(1) end, "bad argument #1 to 'load'")
      assert.error_matches(function() key.load("x", 1) end, "bad argument #2 to 'load'")
      assert.error_matches(function() key.parse() end, "bad argument #1 to 'parse'")
      assert.error_matches(function() key.generate("dsa") end, "#1 to 'generate' %(unknown key type 'dsa'%)")
      assert.error_matches(function() key.generate("rsa", { bit = 1 }) end, "unknown option 'bit'")
      assert.error_matches(function() key.external{ sign = print } end, "bad argument #1 to 'external'")
      assert.error_matches(function() key.external{ public = private } end, "bad argument #1 to 'external'")
      assert.error_matches(function() private:sign() end, "bad argument #1 to 'sign'")
      assert.error_matches(function() private:verify("x") end, "bad argument #2 to 'verify'")
      assert.error_matches(function() private:fingerprint("sha1") end, "bad argument #1 to 'fingerprint'")
      assert.error_matches(function() private:export{ format = "x" } end, "unknown format 'x'")
   end)
end)
