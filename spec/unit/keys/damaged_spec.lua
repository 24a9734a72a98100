-- Private key files that are damaged, or made to do harm.

local testing = require "moonssh_testing"
local hex = require "spec.support.hex"
local key_file = require "spec.support.key_file"
local keygen = require "spec.support.keys"
local process = require "spec.support.process"
local tmp = require "spec.support.tmp"
local base, keys = testing.base, testing.keys
local write = base.write

local seed = hex.decode "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
local public = hex.decode "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"

-- The fields of a good file, changed as the table says.
local function fields(changes)
   local made = key_file.ed25519(seed, public)
   for name, value in pairs(changes) do
      made[name] = value
   end
   return made
end

local function refused(text, expected_code, pattern, passphrase)
   local key, code, message = keys.parse_file(text, passphrase)
   assert.is_nil(key)
   assert.equal(expected_code, code)
   assert.matches(pattern, message)
end

describe("an OpenSSH private key file", function()
   it("made field by field loads", function()
      local key = assert(keys.parse_file(key_file.text(fields{})))
      assert.equal("made by a spec", key:comment())
      assert.equal(fields({}).public, key:blob())
   end)

   it("has two check numbers that are equal", function()
      refused(key_file.text(fields{ check1 = 1, check2 = 2 }), "key_format", "its check numbers differ$")
   end)

   it("has the padding 1, 2, 3 and so on", function()
      local bare = key_file.section(fields{ padding = "" })
      local need = 8 - #bare % 8
      local right = ("\1\2\3\4\5\6\7\8"):sub(1, need)
      assert(keys.parse_file(key_file.text(fields{ padding = right })))
      for at = 1, need do
         refused(key_file.text(fields{ padding = right:sub(1, at - 1) .. "\0" .. right:sub(at + 1) }), "key_format",
            "its padding is wrong$")
      end
      refused(key_file.text(fields{ padding = ("\0"):rep(need) }), "key_format", "its padding is wrong$")
      local long = {}
      for i = 1, need + 256 do
         long[i] = string.char(i & 0xff)
      end
      refused(key_file.text(fields{ padding = table.concat(long) }), "key_format", "its padding is wrong$")
   end)

   it("holds exactly one key", function()
      for _, n in ipairs{ 0, 2, 0x7fffffff, 0xffffffff } do
         refused(key_file.text(fields{ n_keys = n }), "key_format", "it does not hold exactly one key$")
      end
   end)

   it("has a public part that is its private part's", function()
      local other = keys.generate("ed25519"):blob()
      refused(key_file.text(fields{ public = other }), "key_format", "its public part is another key's$")
      refused(key_file.text(fields{ public = "" }), "key_format", "its public part is another key's$")
      refused(key_file.text(fields{ public = fields({}).public .. "\0" }), "key_format", "another key's$")
      -- And so it is within the private part: the seed, and the public key that stands there twice.
      local wrong = ("x"):rep(32)
      for _, made in ipairs{ write("string", "ssh-ed25519", "string", public, "string", wrong .. public),
         write("string", "ssh-ed25519", "string", wrong, "string", seed .. wrong),
         write("string", "ssh-ed25519", "string", public, "string", seed .. wrong),
         write("string", "ssh-ed25519", "string", public, "string", seed),
         write("string", "ssh-ed25519", "string", "", "string", ""),
         write("string", "ssh-ed25519", "string", public) } do
         refused(key_file.text(fields{ private = made }), "key_format", "")
      end
   end)

   it("has nothing left over", function()
      refused(key_file.text(fields{ rest = "\0" }), "key_format", "left over, or missing, at its end$")
      refused(key_file.text(fields{ cipher = "aes256-gcm@openssh.com", kdf = "bcrypt" }), "key_format",
         "left over, or missing, at its end$")
      refused(key_file.text(fields{ sealed = "" }), "key_format", "no multiple of the cipher's block$")
      refused(key_file.text(fields{ sealed = key_file.section(fields{}) .. "\1" }), "key_format",
         "no multiple of the cipher's block$")
   end)

   it("has a cipher and a key derivation that are known, or none of either", function()
      refused(key_file.text(fields{ cipher = "\27aes" }), "key_format", 'cipher not supported: "\\x1baes"$')
      refused(key_file.text(fields{ kdf = "scrypt" }), "key_format", 'derivation not supported: "scrypt"$')
      refused(key_file.text(fields{ kdf = "bcrypt" }), "key_format", 'derivation not supported: "bcrypt"$')
      refused(key_file.text(fields{ cipher = "aes256-ctr" }), "key_format", 'derivation not supported: "none"$')
   end)

   it("has bounded rounds of bcrypt", function()
      local function sealed(rounds)
         local options = write("string", ("s"):rep(16), "u32", rounds)
         return key_file.text(fields{ cipher = "aes256-ctr", kdf = "bcrypt", options = options,
            sealed = ("x"):rep(160) })
      end
      refused(sealed(0), "key_format", "its key derivation options are out of form$", "pw")
      refused(sealed(1), "passphrase", "^wrong passphrase", "pw")
      refused(sealed(1024), "passphrase", "^this private key needs a passphrase$")
      refused(sealed(1025), "limit", "^private key with 1025 rounds of bcrypt: at most 1024 are done$", "pw")
      refused(sealed(0xffffffff), "limit", "^private key with 4294967295 rounds", "pw")
   end)

   it("has key derivation options in their one form", function()
      local good = write("string", ("s"):rep(16), "u32", 1)
      local function sealed(options)
         return key_file.text(fields{ cipher = "aes256-ctr", kdf = "bcrypt", options = options,
            sealed = ("x"):rep(160) })
      end
      for _, options in ipairs{ "", "\0", good .. "\0", write("string", "", "u32", 1),
         write("string", ("s"):rep(257), "u32", 1), write("u32", 0xffffffff, "u32", 1) } do
         refused(sealed(options), "key_format", "its key derivation options are out of form$", "pw")
      end
      for len = 0, #good - 1 do
         refused(sealed(good:sub(1, len)), "key_format", "its key derivation options are out of form$", "pw")
      end
   end)

   it("has a comment of any bytes, but not of any length", function()
      assert.equal("\0\27\xff", assert(keys.parse_file(key_file.text(fields{ comment = "\0\27\xff" }))):comment())
      assert.equal("", assert(keys.parse_file(key_file.text(fields{ comment = "" }))):comment())
      refused(key_file.text(fields{ comment = ("c"):rep(70000) }), "limit", "^comment of the key: limit$")
   end)

   it("has numbers of RSA that belong together", function()
      local text = io.open(keygen.path("rsa"), "rb"):read("a")
      local file = keys.base64_decode(text:match("%-\n(.-)\n%-"))
      local section = base.read(file, 15, "string", "string", "string", "u32", "string", "string")[7]
      local names = { "n", "e", "d", "iqmp", "p", "q" }
      local function numbers()
         local values = base.read(section, "u32", "u32", "string", "mpint", "mpint", "mpint", "mpint", "mpint", "mpint")
         local rsa = {}
         for i, name in ipairs(names) do
            rsa[name] = values[i + 3]
         end
         return rsa
      end
      assert.equal(keys.parse_file(text):blob(), assert(keys.parse_file(key_file.text(key_file.rsa(numbers())))):blob())
      for _, name in ipairs(names) do
         for _, change in ipairs{ function() return "" end, function() return "\1" end,
            function(value) return value .. "\0" end,
            function(value) return value:sub(1, -2) .. string.char(value:byte(-1) ~ 1) end,
            function(value) return value:sub(1, -2) .. string.char(value:byte(-1) ~ 2) end,
            function(value) return string.char(value:byte() ~ 1) .. value:sub(2) end } do
            local rsa = numbers()
            rsa[name] = change(rsa[name])
            refused(key_file.text(key_file.rsa(rsa)), "key_format", "^ssh%-rsa key")
         end
      end
      local rsa = numbers()
      rsa.p, rsa.q = rsa.q, rsa.p
      refused(key_file.text(key_file.rsa(rsa)), "key_format", "^ssh%-rsa key")
      rsa = numbers()
      rsa.p, rsa.q = rsa.n, "\1"
      refused(key_file.text(key_file.rsa(rsa)), "key_format", "^ssh%-rsa key")
   end)

   it("has a scalar of ECDSA that gives its point", function()
      local key = keys.generate("ecdsa", 256)
      local file = keys.base64_decode(key:export():match("%-\n(.-)\n%-"))
      local section = base.read(file, 15, "string", "string", "string", "u32", "string", "string")[7]
      local values = base.read(section, "u32", "u32", "string", "string", "string", "mpint")
      local scalar = values[6]
      local function with(number)
         return key_file.text{ public = key:blob(), private = write("string", values[3], "string", values[4], "string",
            values[5], "mpint", number) }
      end
      local order = hex.decode "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"
      assert.equal(key:blob(), assert(keys.parse_file(with(scalar))):blob())
      for _, bad in ipairs{ "", "\1", order, ("\xff"):rep(32), ("\xff"):rep(1000), scalar .. "\0",
         scalar:sub(1, -2) .. string.char(scalar:byte(-1) ~ 1) } do
         refused(with(bad), "key_format", "^ecdsa%-sha2%-nistp256 key with numbers that make no key pair$")
      end
   end)
end)

describe("a damaged file", function()
   local folder <close> = tmp.dir()
   local files = {}

   local function add(name, passphrase)
      files[#files + 1] = { name = name, text = assert(folder:read(name)), passphrase = passphrase }
   end

   for _, kind in ipairs{ { "ed25519", 256 }, { "ecdsa", 256 }, { "ecdsa", 521 }, { "rsa", 2048 } } do
      for _, format in ipairs{ "RFC4716", "PEM", "PKCS8" } do
         if kind[1] ~= "ed25519" or format == "RFC4716" then
            local name = table.concat({ kind[1], kind[2], format }, " ")
            keygen.make(folder, name, { type = kind[1], bits = kind[2], format = format })
            add(name)
         end
      end
   end
   for _, cipher in ipairs{ "aes256-ctr", "aes256-cbc", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com" } do
      keygen.make(folder, cipher, { type = "ed25519", cipher = cipher, passphrase = "secret", rounds = 1 })
      add(cipher, "secret")
   end
   for _, format in ipairs{ "PEM", "PKCS8" } do
      keygen.make(folder, "sealed " .. format, { type = "ecdsa", bits = 256, format = format, passphrase = "secret" })
      add("sealed " .. format, "secret")
   end
   process.check{ "openssl", "genpkey", "-algorithm", "ED25519", "-out", folder:path "openssl ed25519" }
   add "openssl ed25519"
   -- The seed is all there is in it: a changed one is another key.
   files[#files].seed_only = true

   local codes = { key_format = true, passphrase = true, limit = true, unsupported = true }

   -- Whether a changed file asks for hundreds of rounds of bcrypt, which take seconds. Too many are refused at once.
   local function is_costly(text)
      local bytes = keys.base64_decode(text:match("%-\n([%w+/=\n]+)\n%-") or "") or ""
      local options = select(2, bytes:find("bcrypt", 1, true))
      if not options or #bytes < options + 28 then
         return false
      end
      local rounds = string.unpack(">I4", bytes, options + 25)
      return rounds > 16 and rounds <= 1024
   end

   -- Reads a changed file: an error, or the same key.
   local function check(file, text, blob)
      if file.passphrase and is_costly(text) then
         return
      end
      local key, code, message = keys.parse_file(text, file.passphrase)
      if key then
         assert.equal(file.seed_only and key:blob() or blob, key:blob())
         key:close()
      else
         assert.is_true(codes[code], code)
         assert.is_string(message)
      end
   end

   for _, file in ipairs(files) do
      local blob = assert(keys.parse_file(file.text, file.passphrase)):blob()

      it("is refused wherever it is cut off: " .. file.name, function()
         -- Without its last line feed it is whole.
         for len = 0, #file.text - 2 do
            local key, code = keys.parse_file(file.text:sub(1, len), file.passphrase)
            assert.is_nil(key, len)
            assert.is_true(codes[code], code)
         end
         assert.equal(blob, assert(keys.parse_file(file.text:sub(1, -2), file.passphrase)):blob())
      end)

      it("is refused, or the same key, with any byte of its content changed: " .. file.name, function()
         local head, body, tail = file.text:match("^(%-.-\n)([%w+/=\n]+\n)(%-.*)$")
         if not body then
            head, body, tail = file.text:match("^(%-.-\n\n)([%w+/=\n]+\n)(%-.*)$")
         end
         local bytes = keys.base64_decode(body)
         for at = 1, #bytes do
            local changed = bytes:sub(1, at - 1) .. string.char(bytes:byte(at) ~ 1 << at % 8) .. bytes:sub(at + 1)
            check(file, head .. keys.base64_encode(changed):gsub(("."):rep(64), "%0\n") .. "\n" .. tail, blob)
         end
      end)

      it("is refused, or the same key, with any character of its text changed: " .. file.name, function()
         -- Each try costs a key derivation where the file is encrypted, and much arithmetic where it is RSA.
         for at = 1, #file.text, (file.passphrase or file.name:find("rsa")) and 5 or 1 do
            check(file, file.text:sub(1, at - 1) .. string.char(file.text:byte(at) ~ 1 << at % 7) ..
               file.text:sub(at + 1), blob)
         end
      end)
   end
end)
