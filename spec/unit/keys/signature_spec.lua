local testing = require "moonssh_testing"
local hex = require "spec.support.hex"
local key_file = require "spec.support.key_file"
local keygen = require "spec.support.keys"
local process = require "spec.support.process"
local tmp = require "spec.support.tmp"
local base, crypto, keys = testing.base, testing.crypto, testing.keys
local write = base.write

-- A key, and the algorithms it signs with.
local kinds = {
   { type = "ed25519", bits = 256, algorithms = { "ssh-ed25519" } },
   { type = "ecdsa", bits = 256, algorithms = { "ecdsa-sha2-nistp256" } },
   { type = "ecdsa", bits = 384, algorithms = { "ecdsa-sha2-nistp384" } },
   { type = "ecdsa", bits = 521, algorithms = { "ecdsa-sha2-nistp521" } },
   { type = "rsa", bits = 2048, algorithms = { "rsa-sha2-512", "rsa-sha2-256" } },
}

local function inner_of(signature)
   return base.read(signature, "string", "string")[2]
end

-- Whether a key refuses a signature, as every bad one is to be refused.
local function refuses(key, algorithm, data, signature)
   local ok, code = key:verify(algorithm, data, signature)
   assert.is_nil(ok)
   assert.equal("protocol", code)
end

describe("signature algorithms", function()
   it("have an order and a key type each", function()
      local names = {}
      for i, row in ipairs(keys.algorithms()) do
         names[i] = row.name .. " " .. row.type
      end
      local plain = { "ssh-ed25519 ssh-ed25519", "ecdsa-sha2-nistp256 ecdsa-sha2-nistp256",
         "ecdsa-sha2-nistp384 ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521 ecdsa-sha2-nistp521",
         "sk-ssh-ed25519@openssh.com sk-ssh-ed25519@openssh.com",
         "sk-ecdsa-sha2-nistp256@openssh.com sk-ecdsa-sha2-nistp256@openssh.com",
         "rsa-sha2-512 ssh-rsa", "rsa-sha2-256 ssh-rsa" }
      -- The same once more for certificates.
      local all = table.move(plain, 1, #plain, 1, {})
      for _, pair in ipairs(plain) do
         table.insert(all, (pair:gsub("@openssh.com", ""):gsub("%S+", "%0-cert-v01@openssh.com")))
      end
      table.insert(all, "ssh-rsa ssh-rsa")
      table.insert(all, "ssh-dss ssh-dss")
      assert.same(all, names)
   end)
end)

describe("a signature", function()
   for _, kind in ipairs(kinds) do
      local key = keys.generate(kind.type, kind.bits)
      local public = keys.parse_public(key:blob())

      for _, algorithm in ipairs(kind.algorithms) do
         it("by " .. algorithm .. " holds for its data and its key alone", function()
            local signature = assert(key:sign(algorithm, "the data"))
            assert.is_true(public:verify(algorithm, "the data", signature))
            assert.is_true(key:verify(algorithm, "the data", signature))
            refuses(public, algorithm, "the date", signature)
            refuses(public, algorithm, "", signature)
            refuses(keys.generate(kind.type, kind.bits), algorithm, "the data", signature)
         end)

         it("by " .. algorithm .. " holds for empty and for long data", function()
            for _, data in ipairs{ "", ("long"):rep(100000) } do
               assert.is_true(public:verify(algorithm, data, key:sign(algorithm, data)))
            end
         end)

         it("by " .. algorithm .. " has its exact form", function()
            local signature = key:sign(algorithm, "data")
            local inner = inner_of(signature)
            refuses(public, algorithm, "data", "")
            refuses(public, algorithm, "data", signature .. "\0")
            refuses(public, algorithm, "data", inner)
            refuses(public, algorithm, "data", write("string", algorithm, "string", ""))
            refuses(public, algorithm, "data", write("string", algorithm, "string", "\0" .. inner))
            refuses(public, algorithm, "data", write("string", algorithm, "string", inner .. "\0"))
            refuses(public, algorithm, "data", write("string", algorithm, "string", inner:sub(1, -2)))
            refuses(public, algorithm, "data", write("string", "", "string", inner))
            for len = 0, #signature - 1 do
               refuses(public, algorithm, "data", signature:sub(1, len))
            end
         end)

         it("by " .. algorithm .. " breaks with any bit", function()
            local signature = key:sign(algorithm, "data")
            for bit = 0, #signature * 8 - 1, kind.type == "rsa" and 7 or 1 do
               local at = bit // 8 + 1
               refuses(public, algorithm, "data", signature:sub(1, at - 1) ..
                  string.char(signature:byte(at) ~ 1 << bit % 8) .. signature:sub(at + 1))
            end
         end)

         it("by " .. algorithm .. " is no other algorithm's", function()
            local signature = key:sign(algorithm, "data")
            for _, other in ipairs(keys.algorithms()) do
               if other.name ~= algorithm then
                  refuses(public, other.name, "data", signature)
                  refuses(public, algorithm, "data", write("string", other.name, "string", inner_of(signature)))
                  refuses(public, other.name, "data", write("string", other.name, "string", inner_of(signature)))
               end
            end
            for _, unknown in ipairs{ "", "ssh-dss", algorithm .. "x", algorithm .. "\0" } do
               refuses(public, unknown, "data", signature)
               refuses(public, unknown, "data", write("string", unknown, "string", inner_of(signature)))
               assert.same({ nil, "unsupported" }, { key:sign(unknown, "data") })
            end
         end)
      end

      it(("is not made by a public key: %s %d"):format(kind.type, kind.bits), function()
         assert.same({ nil, "state" }, { public:sign(kind.algorithms[1], "data") })
         assert.same({ nil, "state" }, { public:export() })
      end)
   end

   it("by Ed25519 is that of RFC 8032", function()
      for _, case in ipairs{
         { "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b" ..
            "d25bf5f0595bbe24655141438e7a100b" },
         { "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c" ..
            "387b2eaeb4302aeeb00d291612bb0c00" },
         { "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659" ..
            "4a7c15e9716ed28dc027beceea1ec40a" },
      } do
         local key = assert(keys.parse_file(key_file.text(key_file.ed25519(hex.decode(case[1]), hex.decode(case[2])))))
         local signature = key:sign("ssh-ed25519", hex.decode(case[3]))
         assert.equal(case[4], hex.encode(inner_of(signature)))
         assert.is_true(key:verify("ssh-ed25519", hex.decode(case[3]), signature))
      end
   end)

   it("by Ed25519 has one form only: S below the order", function()
      -- RFC 8032 5.1.7. The order of the base point, little-endian, added to S.
      local order = hex.decode "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010"
      local key = keys.generate("ed25519")
      local inner = inner_of(key:sign("ssh-ed25519", "data"))
      local sum, carry = {}, 0
      for i = 1, 32 do
         carry = carry + inner:byte(32 + i) + order:byte(i)
         sum[i] = string.char(carry & 0xff)
         carry = carry >> 8
      end
      assert.equal(0, carry)
      inner = inner:sub(1, 32) .. table.concat(sum)
      refuses(key, "ssh-ed25519", "data", write("string", "ssh-ed25519", "string", inner))
   end)

   it("by ECDSA has two positive numbers below the order, in the only form of an mpint", function()
      local orders = {
         [256] = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
         [384] = "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
         [521] = "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa" ..
            "51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
      }
      for bits, order in pairs(orders) do
         local key = keys.generate("ecdsa", bits)
         local name = key:type()
         local r, s = table.unpack((base.read(inner_of(key:sign(name, "data")), "mpint", "mpint")))
         local function with(inner)
            return write("string", name, "string", inner)
         end
         assert.is_true(key:verify(name, "data", with(write("mpint", r, "mpint", s))))
         local n = hex.decode(order)
         for what, inner in pairs{
            ["r zero"] = write("mpint", "", "mpint", s), ["s zero"] = write("mpint", r, "mpint", ""),
            ["r the order"] = write("mpint", n, "mpint", s), ["s the order"] = write("mpint", r, "mpint", n),
            ["r negative"] = write("string", "\xff" .. r, "mpint", s),
            ["s padded"] = write("mpint", r, "string", "\0\0" .. s),
            ["r too long"] = write("mpint", "\1" .. ("\0"):rep(70), "mpint", s),
            ["r alone"] = write("mpint", r), ["three numbers"] = write("mpint", r, "mpint", s, "mpint", s),
            ["their order changed"] = write("mpint", s, "mpint", r),
            ["no strings"] = r .. s,
         } do
            refuses(key, name, "data", with(inner), what)
         end
      end
   end)

   it("by ECDSA is another one each time", function()
      local key = keys.generate("ecdsa", 256)
      local seen = {}
      for _ = 1, 200 do
         local r = base.read(inner_of(key:sign(key:type(), "data")), "mpint")[1]
         assert.is_nil(seen[r])
         seen[r] = true
      end
   end)

   it("by RSA may lack its leading zeros, as some signers drop them", function()
      local key = keys.parse_file(io.open(keygen.path("rsa"), "rb"):read("a"))
      local n, signature = 0, ""
      while signature:byte(1) ~= 0 do
         n = n + 1
         signature = inner_of(key:sign("rsa-sha2-256", "data " .. n))
      end
      assert.equal(256, #signature)
      assert.is_true(key:verify("rsa-sha2-256", "data " .. n, write("string", "rsa-sha2-256", "string", signature)))
      assert.is_true(key:verify("rsa-sha2-256", "data " .. n, write("string", "rsa-sha2-256", "string",
         signature:match("^\0+(.*)$"))))
      refuses(key, "rsa-sha2-256", "data " .. n, write("string", "rsa-sha2-256", "string", "\0" .. signature))
   end)
end)

describe("OpenSSH", function()
   -- The bytes that ssh-keygen -Y signs (PROTOCOL.sshsig).
   local function signed_bytes(message, hash)
      return write("bytes", "SSHSIG", "string", "moonssh", "string", "", "string", hash, "string",
         crypto.hash(hash, message))
   end

   for _, kind in ipairs(kinds) do
      it(("and we agree on signatures: %s %d"):format(kind.type, kind.bits), function()
         local folder <close> = tmp.dir()
         local path = keygen.make(folder, "id", { type = kind.type, bits = kind.bits })
         local key = assert(keys.parse_file(folder:read("id")))
         folder:write("message", "the message")

         process.check{ "ssh-keygen", "-q", "-Y", "sign", "-f", path, "-n", "moonssh", folder:path "message" }
         local file = keys.base64_decode(folder:read("message.sig"):match("%-\n(.-)\n%-"))
         local fields, _, done = base.read(file, 6, "u32", "string", "string", "string", "string", "string")
         assert.is_true(done)
         assert.equal(key:blob(), fields[3])
         local algorithm = kind.algorithms[1]
         assert.is_true(key:verify(algorithm, signed_bytes("the message", fields[6]), fields[7]))

         for _, ours in ipairs(kind.algorithms) do
            folder:write("message.sig", "-----BEGIN SSH SIGNATURE-----\n" .. keys.base64_encode(write("bytes", "SSHSIG",
               "u32", 1, "string", key:blob(), "string", "moonssh", "string", "", "string", "sha256", "string",
               key:sign(ours, signed_bytes("the message", "sha256")))) .. "\n-----END SSH SIGNATURE-----\n")
            local command = { "ssh-keygen", "-Y", "check-novalidate", "-n", "moonssh", "-s", folder:path "message.sig",
               stdin = "the message" }
            assert.matches("^Good \"moonssh\" signature", process.check(command))
            command.stdin = "another message"
            assert.not_equal(0, process.run(command).status)
         end
      end)
   end
end)

describe("OpenSSL", function()
   it("and we agree on RSA with both hashes", function()
      local folder <close> = tmp.dir()
      process.check{ "openssl", "genpkey", "-algorithm", "RSA", "-out", folder:path "key" }
      process.check{ "openssl", "pkey", "-in", folder:path "key", "-pubout", "-out", folder:path "public" }
      folder:write("message", "the message")
      local key = assert(keys.parse_file(folder:read("key")))
      for _, hash in ipairs{ "256", "512" } do
         local algorithm = "rsa-sha2-" .. hash
         process.check{ "openssl", "dgst", "-sha" .. hash, "-sign", folder:path "key", "-out", folder:path "signature",
            folder:path "message" }
         assert.equal(folder:read("signature"), inner_of(key:sign(algorithm, "the message")))
         assert.is_true(key:verify(algorithm, "the message", write("string", algorithm, "string",
            folder:read("signature"))))
      end
   end)
end)
