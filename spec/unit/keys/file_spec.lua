-- Key files that ssh-keygen and openssl made: every format, type and cipher.

local testing = require "moonssh_testing"
local process = require "spec.support.process"
local keygen = require "spec.support.keys"
local tmp = require "spec.support.tmp"
local keys, heap = testing.keys, testing.heap

local kinds = {
   { type = "ed25519", name = "ssh-ed25519", bits = 256 },
   { type = "ecdsa", name = "ecdsa-sha2-nistp256", bits = 256 },
   { type = "ecdsa", name = "ecdsa-sha2-nistp384", bits = 384 },
   { type = "ecdsa", name = "ecdsa-sha2-nistp521", bits = 521 },
   { type = "rsa", name = "ssh-rsa", bits = 2048 },
}

local function public_of(folder, name)
   local type, encoded, comment = folder:read(name .. ".pub"):match("^(%S+) (%S+) (.-)\n$")
   return type, keys.base64_decode(encoded), comment
end

-- Checks that a file made by ssh-keygen gives the key that its public file says.
local function check_loads(folder, name, passphrase, kind)
   local key, code, message = keys.parse_file(folder:read(name), passphrase)
   assert(key, tostring(code) .. ": " .. tostring(message))
   local type, blob = public_of(folder, name)
   assert.equal(kind.name, type)
   assert.equal(type, key:type())
   assert.equal(blob, key:blob())
   assert.equal(kind.bits, key:bits())
   assert.is_true(key:private())
   return key
end

describe("a private key file", function()
   for _, kind in ipairs(kinds) do
      for _, format in ipairs{ "RFC4716", "PEM", "PKCS8" } do
         it(("of %s made with -m %s loads, in clear and encrypted"):format(kind.name, format), function()
            local folder <close> = tmp.dir()
            local options = { type = kind.type, bits = kind.bits, format = format, comment = "a b", rounds = 2 }
            keygen.make(folder, "clear", options)
            local key = check_loads(folder, "clear", nil, kind)
            -- PEM has no place for a comment; ssh-keygen has no PEM for Ed25519.
            assert.equal((format == "RFC4716" or kind.type == "ed25519") and "a b" or "", key:comment())
            -- A passphrase that is not needed does no harm.
            check_loads(folder, "clear", "unneeded", kind)

            options.passphrase = "geheim \xc3\xa4"
            keygen.make(folder, "sealed", options)
            check_loads(folder, "sealed", "geheim \xc3\xa4", kind)
            local none, code, message = keys.parse_file(folder:read("sealed"))
            assert.is_nil(none)
            assert.equal("passphrase", code)
            assert.equal("this private key needs a passphrase", message)
            for _, wrong in ipairs{ "", "geheim", "geheim \xc3\xa4x" } do
               none, code, message = keys.parse_file(folder:read("sealed"), wrong)
               assert.is_nil(none)
               assert.equal("passphrase", code)
               assert.matches("^wrong passphrase for this private key", message)
            end
         end)
      end

      it(("of %s that we wrote is read by ssh-keygen"):format(kind.name), function()
         local folder <close> = tmp.dir()
         local key = assert(keys.generate(kind.type, kind.bits))
         assert.equal(kind.name, key:type())
         assert.equal(kind.bits, key:bits())
         local line = key:type() .. " " .. keys.base64_encode(key:blob()) .. " our comment\n"
         folder:write("clear", key:export(nil, "our comment"), "600")
         assert.equal(line, process.check{ "ssh-keygen", "-y", "-f", folder:path("clear") })
         folder:write("sealed", key:export("pass", "our comment"), "600")
         assert.equal(line, process.check{ "ssh-keygen", "-y", "-P", "pass", "-f", folder:path("sealed") })
         assert.not_equal(0, process.run{ "ssh-keygen", "-y", "-P", "wrong", "-f", folder:path("sealed") }.status)
         local again = assert(keys.parse_file(folder:read("sealed"), "pass"))
         assert.equal(key:blob(), again:blob())
         assert.equal("our comment", again:comment())
         assert.is_nil((keys.parse_file(folder:read("sealed"), "wrong")))
      end)
   end

   for _, cipher in ipairs{ "aes128-ctr", "aes192-ctr", "aes256-ctr", "aes128-cbc", "aes192-cbc", "aes256-cbc",
      "3des-cbc", "aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com" } do
      it("encrypted with " .. cipher .. " loads", function()
         local folder <close> = tmp.dir()
         for _, kind in ipairs{ kinds[1], kinds[5] } do
            keygen.make(folder, kind.type, { type = kind.type, bits = kind.bits, cipher = cipher, passphrase = "pw",
               rounds = 1 })
            check_loads(folder, kind.type, "pw", kind)
            local none, code, message = keys.parse_file(folder:read(kind.type), "no")
            assert.is_nil(none)
            assert.equal("passphrase", code)
            assert.matches("^wrong passphrase", message)
         end
      end)
   end

   it("made with many rounds of bcrypt loads", function()
      local folder <close> = tmp.dir()
      keygen.make(folder, "id", { type = "ed25519", passphrase = "pw", rounds = 40 })
      check_loads(folder, "id", "pw", kinds[1])
   end)

   for _, algorithm in ipairs{ "ED25519", "RSA", "EC" } do
      it("made by openssl loads: " .. algorithm, function()
         local folder <close> = tmp.dir()
         local path = folder:path "key"
         local command = { "openssl", "genpkey", "-out", path, "-algorithm", algorithm }
         if algorithm == "EC" then
            table.move({ "-pkeyopt", "ec_paramgen_curve:P-384" }, 1, 2, 7, command)
         end
         process.check(command)
         local key = assert(keys.parse_file(folder:read("key")))
         -- Both say the public numbers in the same bytes at the end: the key, the point, or the modulus.
         process.check{ "openssl", "pkey", "-in", path, "-pubout", "-outform", "DER", "-out", folder:path "public" }
         -- RSA's exponent stands behind it in one, and in front of it in the other.
         local theirs = folder:read("public"):sub(1, algorithm == "RSA" and -6 or -1)
         assert.equal(theirs:sub(-32), key:blob():sub(-32))
         for _, cipher in ipairs{ "-aes256", "-des3" } do
            process.check{ "openssl", "pkcs8", "-topk8", "-in", path, "-out", folder:path "sealed", "-v2",
               cipher:sub(2), "-passout", "pass:pw" }
            assert.equal(key:blob(), assert(keys.parse_file(folder:read("sealed"), "pw")):blob())
            assert.equal("passphrase", select(2, keys.parse_file(folder:read("sealed"), "px")))
            assert.equal("passphrase", select(2, keys.parse_file(folder:read("sealed"))))
         end
         process.check{ "openssl", "pkcs8", "-topk8", "-in", path, "-out", folder:path "scrypt", "-scrypt", "-passout",
            "pass:pw" }
         assert.equal(key:blob(), assert(keys.parse_file(folder:read("scrypt"), "pw")):blob())
      end)
   end

   it("never takes a wrong passphrase for damage, though one in 256 leaves what looks like padding", function()
      local folder <close> = tmp.dir()
      keygen.make(folder, "pem", { type = "ecdsa", bits = 256, format = "PEM", passphrase = "secret" })
      keygen.make(folder, "pkcs8", { type = "ecdsa", bits = 256, format = "PKCS8", passphrase = "secret" })
      for name, tries in pairs{ pem = 2000, pkcs8 = 1000 } do
         local text = folder:read(name)
         for i = 1, tries do
            local key, code = keys.parse_file(text, "wrong " .. i)
            assert.is_nil(key)
            assert.equal("passphrase", code)
         end
      end
   end)

   it("loads with text before it, and with lines that end in CR and LF", function()
      local folder <close> = tmp.dir()
      for _, format in ipairs{ "RFC4716", "PEM" } do
         keygen.make(folder, format, { type = "ecdsa", bits = 256, format = format })
         local text = folder:read(format)
         local _, blob = public_of(folder, format)
         assert.equal(blob, assert(keys.parse_file("some text\n\n" .. text)):blob())
         assert.equal(blob, assert(keys.parse_file((text:gsub("\n", "\r\n")))):blob())
         assert.equal(blob, assert(keys.parse_file(text .. "\ntrailing\n")):blob())
      end
   end)

   it("loads behind other armour, such as the parameters that openssl writes before an EC key", function()
      local folder <close> = tmp.dir()
      process.check{ "openssl", "ecparam", "-name", "prime256v1", "-genkey", "-out", folder:path "ec" }
      assert.matches("^%-%-%-%-%-BEGIN EC PARAMETERS%-%-%-%-%-\n", folder:read("ec"))
      process.check{ "chmod", "600", folder:path "ec" }
      local type, encoded = process.check{ "ssh-keygen", "-y", "-f", folder:path "ec" }:match("^(%S+) (%S+)")
      local key = assert(keys.parse_file(folder:read("ec")))
      assert.same({ type, encoded }, { key:type(), keys.base64_encode(key:blob()) })
   end)

   it("of DSA is read in every format", function()
      local folder <close> = tmp.dir()
      keygen.make(folder, "dsa", { type = "dsa" })
      local blob = select(2, public_of(folder, "dsa"))
      for _, format in ipairs{ "RFC4716", "PEM", "PKCS8" } do
         for _, passphrase in ipairs{ "", "secret" } do
            folder:write("copy", folder:read("dsa"), "600")
            process.check{ "ssh-keygen", "-q", "-p", "-a", "1", "-m", format, "-P", "", "-N", passphrase, "-f",
               folder:path "copy" }
            local key = assert(keys.parse_file(folder:read("copy"), passphrase))
            assert.same({ "ssh-dss", 1024, true }, { key:type(), key:bits(), key:private() })
            assert.equal(blob, key:blob())
            if passphrase ~= "" then
               assert.equal("passphrase", select(2, keys.parse_file(folder:read("copy"), "wrong")))
            end
         end
      end
   end)

   it("of DSA signs as its public half says", function()
      local folder <close> = tmp.dir()
      keygen.make(folder, "dsa", { type = "dsa" })
      local key = assert(keys.parse_file(folder:read("dsa")))
      local public = assert(keys.parse_file(folder:read("dsa.pub")))
      assert.same({ "ssh-dss", 1024 }, { key:type(), key:bits() })
      assert.equal(public:blob(), key:blob())
      local signature = assert(key:sign("ssh-dss", "the data"))
      assert.is_true(public:verify("ssh-dss", "the data", signature))
      assert.is_nil((public:verify("ssh-dss", "the date", signature)))
      assert.is_nil((public:verify("ssh-rsa", "the data", signature)))
      for at = #signature - 39, #signature do
         assert.is_nil((public:verify("ssh-dss", "the data", signature:sub(1, at - 1) ..
            string.char(signature:byte(at) ~ 1) .. signature:sub(at + 1))))
      end
      for _, other in ipairs{ signature:sub(1, -2), signature .. "\0" } do
         assert.is_nil((public:verify("ssh-dss", "the data", other)))
      end
   end)

   it("of a kind that is not supported says so", function()
      local folder <close> = tmp.dir()
      local function refused(text, pattern)
         local none, code, message = keys.parse_file(text, "pw")
         assert.is_nil(none)
         assert.equal("key_format", code)
         assert.matches(pattern, message)
      end
      keygen.make(folder, "dsa", { type = "dsa" })
      refused("ssh-old " .. folder:read("dsa.pub"):match(" (%S+)"), "")
      for _, row in ipairs{ { "-algorithm", "ED448" }, { "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048" },
         { "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1" } } do
         process.check{ "openssl", "genpkey", "-out", folder:path "other", table.unpack(row) }
         refused(folder:read("other"), "^private key of a kind not supported")
      end
      process.check{ "openssl", "genrsa", "-out", folder:path "small", "1024" }
      refused(folder:read("small"), "^ssh%-rsa key of 1024 bits: less than 2048 are not accepted")
      refused("PuTTY-User-Key-File-1: ssh-rsa\nEncryption: none\n", "^PuTTY key file of a version not supported")
      process.check{ "openssl", "pkey", "-in", folder:path "other", "-pubout", "-out", folder:path "public" }
      refused(folder:read("public"), "^PEM public keys are not supported")
   end)

   it("with a key derivation that takes too long is refused before it begins", function()
      local folder <close> = tmp.dir()
      process.check{ "openssl", "genpkey", "-out", folder:path "key", "-algorithm", "ED25519" }
      process.check{ "openssl", "pkcs8", "-topk8", "-in", folder:path "key", "-out", folder:path "sealed", "-iter",
         "3000", "-passout", "pass:pw" }
      assert(keys.parse_file(folder:read("sealed"), "pw"))
      -- The count stands in the file as the integer 3000 (02 02 0b b8); a longer one of the same length in base64.
      local der = keys.base64_decode(folder:read("sealed"):match("%-\n(.-)\n%-"))
      local at = assert(der:find("\2\2\11\184", 1, true))
      assert.is_nil(der:find("\2\2\11\184", at + 1, true))
      local salt_at = at - 10
      assert.equal("\4\8", der:sub(salt_at, salt_at + 1))
      -- Six bytes of salt less make room for six bytes more of iterations.
      local costly = der:sub(1, salt_at) .. "\6" .. der:sub(salt_at + 2, salt_at + 7) .. "\2\4\127\255\255\255" ..
         der:sub(at + 4)
      local none, code, message = keys.parse_file("-----BEGIN ENCRYPTED PRIVATE KEY-----\n" ..
         keys.base64_encode(costly):gsub(("."):rep(64), "%0\n") .. "\n-----END ENCRYPTED PRIVATE KEY-----\n", "pw")
      assert.is_nil(none)
      assert.equal("limit", code)
      assert.equal("private key with a key derivation that takes too long", message)
   end)
end)

describe("a public key file", function()
   it("loads as a line, with its comment", function()
      local folder <close> = tmp.dir()
      for _, kind in ipairs(kinds) do
         keygen.make(folder, kind.name, { type = kind.type, bits = kind.bits, comment = "me  at home" })
         local line = folder:read(kind.name .. ".pub")
         local _, blob = public_of(folder, kind.name)
         for _, text in ipairs{ line, line:sub(1, -2), "\n# a remark\n\n  " .. line, line:gsub("\n", "\r\n"),
            'no-pty,command="echo \\"a b\\"; ls" ' .. line, "cert-authority\t" .. line } do
            local key = assert(keys.parse_file(text))
            assert.equal(blob, key:blob())
            assert.equal(kind.name, key:type())
            assert.equal("me  at home", key:comment())
            assert.is_false(key:private())
         end
      end
   end)

   it("loads in RFC 4716's form", function()
      local folder <close> = tmp.dir()
      for _, kind in ipairs(kinds) do
         local path = keygen.make(folder, kind.name, { type = kind.type, bits = kind.bits })
         local text = process.check{ "ssh-keygen", "-e", "-m", "RFC4716", "-f", path }
         local _, blob = public_of(folder, kind.name)
         local key = assert(keys.parse_file(text))
         assert.equal(blob, key:blob())
         assert.is_false(key:private())
         assert.matches("^%d+%-bit %w+, converted by .+ from OpenSSH$", key:comment())
         local body = text:match("\n([^:\n]+\n.+)$")
         local head = "---- BEGIN SSH2 PUBLIC KEY ----\nSubject: me, \\\nand you\nComment: x\n"
         assert.equal("x", assert(keys.parse_file(head .. body)):comment())
      end
   end)

   it("says what is wrong with it", function()
      local folder <close> = tmp.dir()
      keygen.make(folder, "id", { type = "ed25519" })
      local type, encoded = folder:read("id.pub"):match("^(%S+) (%S+)")
      local function refused(text, pattern)
         local none, code, message = keys.parse_file(text)
         assert.is_nil(none)
         assert.equal("key_format", code)
         assert.matches(pattern, message)
      end
      for _, text in ipairs{ "", "\n\n", "# nothing\n", "hello", "hello world", "\0\0\0", "ssh-ed25519x " .. encoded,
         ("x"):rep(70000), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "-----BEGIN ",
         "\27[31m" } do
         refused(text, "^not a key$")
      end
      refused(type, "^key blob: cut short$")
      refused(("x"):rep((1 << 20) + 1), "^not a key: too long for one$")
      refused(type .. " !!!!", "^damaged public key: not base64$")
      refused("ssh-rsa " .. encoded, "^damaged public key: of another type than it says$")
      refused(type .. " " .. encoded:sub(1, -5), "^ssh%-ed25519 key blob: out of form$")
      refused("---- BEGIN SSH2 PUBLIC KEY ----\n" .. encoded, "^damaged public key: cut short$")
   end)
end)

describe("a fingerprint", function()
   it("is what ssh-keygen -l prints", function()
      local folder <close> = tmp.dir()
      for _, kind in ipairs(kinds) do
         local path = keygen.make(folder, kind.name, { type = kind.type, bits = kind.bits })
         local _, blob = public_of(folder, kind.name)
         for _, hash in ipairs{ "SHA256", "MD5" } do
            local line = process.check{ "ssh-keygen", "-l", "-E", hash:lower(), "-f", path .. ".pub" }
            assert.equal(line:match("^%d+ (%S+)"), keys.fingerprint(blob, hash))
         end
      end
   end)

   it("refuses other hashes, and too little room", function()
      assert.same({ nil, "unsupported" }, { keys.fingerprint("blob", "SHA1") })
      assert.same({ nil, "limit" }, { keys.fingerprint("blob", "SHA256", 50) })
      assert.equal(50, #keys.fingerprint("blob", "SHA256", 51))
      assert.same({ nil, "limit" }, { keys.fingerprint("blob", "MD5", 51) })
      assert.equal(51, #keys.fingerprint("blob", "MD5", 52))
   end)
end)

describe("memory", function()
   it("comes back, also where an allocation fails, whatever is read", function()
      local folder <close> = tmp.dir()
      keygen.make(folder, "new", { type = "ecdsa", bits = 256, passphrase = "secret", rounds = 1 })
      keygen.make(folder, "pem", { type = "rsa", bits = 2048, format = "PEM", passphrase = "secret" })
      for _, name in ipairs{ "new", "pem", "new.pub" } do
         local text, n = folder:read(name), 0
         repeat
            n = n + 1
            local memory = heap.new(n)
            local key, code = keys.parse_file(text, "secret", memory)
            if key then
               key:close()
            else
               assert.equal("memory", code)
            end
            assert.equal(0, memory:in_use())
         until key
         assert.is_true(n > 2, name)
      end
   end)
end)
