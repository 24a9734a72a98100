-- Keys whose private half is in a security key: what they sign is verified, and their files are read and written.

local certificate = require "spec.support.certificate"
local key = require "moonssh.key"
local key_file = require "spec.support.key_file"
local process = require "spec.support.process"
local testing = require "moonssh_testing"
local tmp = require "spec.support.tmp"
local core = require "moonssh.core"

local write = testing.base.write

local function words(line)
   return line:match("^%S+ %S+")
end

for _, kind in ipairs{ "ed25519", "ecdsa" } do
   describe("a security key's " .. kind .. " key", function()
      local sk = certificate.security_key(kind)
      local public = assert(key.from_blob(sk.blob))
      local folder

      before_each(function()
         folder = tmp.dir()
      end)

      after_each(function()
         folder:remove()
      end)

      local function private_file()
         return key_file.text{ public = sk.blob, private = write("string", sk.type, "bytes", sk.private) }
      end

      it("has the type and fingerprint that ssh-keygen says", function()
         assert.equal(sk.type, public.type)
         assert.equal(256, public.bits)
         assert.is_false(public.private)
         local path = folder:write("id.pub", public:public_line() .. "\n")
         assert.equal(process.check{ "ssh-keygen", "-l", "-f", path }:match("^%d+ (%S+)"), public:fingerprint())
      end)

      it("verifies what it has signed, flags and counter with it", function()
         for _, case in ipairs{ { 1, 0 }, { 0, 1 }, { 5, 0xffffffff } } do
            local signature = sk.sign("data", table.unpack(case))
            assert.is_true(public:verify("data", signature))
            assert.is_false(public:verify("date", signature))
            for at = #signature - 5, #signature do
               local bent = signature:sub(1, at - 1) .. string.char(signature:byte(at) ~ 1) .. signature:sub(at + 1)
               assert.is_false(public:verify("data", bent))
            end
            for n = 0, #signature - 1 do
               assert.is_false(public:verify("data", signature:sub(1, n)))
            end
            assert.is_false(public:verify("data", signature .. "\0"))
         end
         assert.is_false(public:verify("data", certificate.security_key(kind).sign("data")))
         -- The application is signed, too.
         local name, numbers = string.unpack(">s4", sk.blob)
         numbers = sk.blob:sub(numbers, -9)
         local foreign = assert(key.from_blob(write("string", name, "bytes", numbers, "string", "ssh:x")))
         assert.is_false(foreign:verify("data", sk.sign("data")))
      end)

      it("makes signatures that ssh-keygen verifies as we do", function()
         local message = "what is signed\n"
         local body = "SSHSIG" .. write("string", "spec", "string", "", "string", "sha512", "string",
            core.hash("sha512", message))
         local text = core.base64_encode("SSHSIG" .. string.pack(">I4", 1) .. write("string", sk.blob, "string", "spec",
            "string", "", "string", "sha512", "string", sk.sign(body)))
         local signature = folder:write("sig", ("-----BEGIN SSH SIGNATURE-----\n%s\n-----END SSH SIGNATURE-----\n")
            :format(text:gsub(("."):rep(70), "%0\n")))
         local allowed = folder:write("allowed", "me " .. public:public_line() .. "\n")
         local result = process.run{ "sh", "-c", 'ssh-keygen -Y verify -f "$1" -I me -n spec -s "$2" < "$3"', "sh",
            allowed, signature, folder:write("message", message) }
         assert.equal(0, result.status, result.stdout .. result.stderr)
         assert.is_true(public:verify(body, sk.sign(body)))
      end)

      it("is read from its private file, but does not sign", function()
         local path = folder:write("id", private_file(), "600")
         local loaded = assert(key.load(path))
         assert.equal(sk.blob, loaded:blob())
         assert.equal("made by a spec", loaded.comment)
         assert.is_false(loaded.private)
         assert.equal(words(process.check{ "ssh-keygen", "-y", "-f", path }), words(loaded:public_line()))
         local none, err = loaded:sign("data")
         assert.is_nil(none)
         assert.equal("unsupported", err.code)
         assert.equal(("a key of type %s signs in its security key only: through an agent, or a key.external"):format(
            sk.type), err.message)
      end)

      it("is written as a private file with its handle, for ssh-keygen too", function()
         local loaded = assert(key.parse(private_file()))
         for _, passphrase in ipairs{ "", "a phrase" } do
            local text = assert(loaded:export{ passphrase = passphrase ~= "" and passphrase or nil })
            local path = folder:write("out" .. #passphrase, text, "600")
            assert.equal(words(process.check{ "ssh-keygen", "-y", "-P", passphrase, "-f", path }),
               words(loaded:public_line()))
            assert.equal(loaded:_agent_fields(), assert(key.load(path, passphrase)):_agent_fields())
         end
         for _, format in ipairs{ "pem", "pkcs8" } do
            local none, err = loaded:export{ format = format }
            assert.is_nil(none)
            assert.equal("unsupported", err.code)
         end
         local none, err = public:export()
         assert.is_nil(none)
         assert.same({ "key_format", "the handle of this key is not here to be exported" }, { err.code, err.message })
      end)

      it("from a private file that is damaged is refused", function()
         local fields = write("string", sk.type, "bytes", sk.private)
         for n = 0, #fields - 1 do
            local none, err = key.parse(key_file.text{ public = sk.blob, private = fields:sub(1, n), comment = "" })
            assert.is_nil(none)
            assert.equal("key_format", err.code)
         end
         local blob = sk.blob
         for n = 0, #blob - 1 do
            assert.is_nil((key.from_blob(blob:sub(1, n))))
         end
         assert.is_nil((key.from_blob(blob .. "\0")))
      end)

      it("may be certified", function()
         local authority = testing.keys.generate("ed25519")
         local blob = certificate.blob{ key = sk.blob, authority = authority, use = 1, key_id = "hardware" }
         local certified = assert(key.from_blob(blob))
         local path = folder:write("id-cert.pub", certified:public_line() .. "\n")
         local shown = process.check{ "ssh-keygen", "-L", "-f", path }
         assert.equal(shown:match("Type: (%S+) user certificate"), certified.type)
         assert.equal(shown:match("Public key: %S+ (%S+)"), certified:fingerprint())
         assert.same({ "hardware", sk.blob }, { certified:certificate().key_id, certified:certificate().public })
         assert.is_true(certified:verify("data", sk.sign("data")))
      end)

      it("signs through who holds it", function()
         local external = assert(key.external{ public = sk.blob, sign = function(data) return sk.sign(data) end })
         assert.is_true(public:verify("data", assert(external:sign("data"))))
         assert.equal(sk.type, external:_default_algorithm())
      end)
   end)
end
