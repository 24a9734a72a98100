-- Logging in to sshd with every kind of key, from every kind of file.

local dial = require "spec.support.dial"
local keys = require "spec.support.keys"
local process = require "spec.support.process"
local server = require "spec.support.server"
local ssh = require "moonssh"
local tmp = require "spec.support.tmp"

local PASSPHRASE = "a passphrase"

local kinds = {
   { name = "ed25519", type = "ed25519" },
   { name = "ecdsa_256", type = "ecdsa", bits = 256 },
   { name = "ecdsa_384", type = "ecdsa", bits = 384 },
   { name = "ecdsa_521", type = "ecdsa", bits = 521 },
   { name = "rsa", type = "rsa", bits = 2048 },
}

local function contents(path)
   local file <close> = assert(io.open(path, "rb"))
   return file:read("a")
end

describe("sshd lets us in", function()
   local folder, sshd, paths

   setup(function()
      folder = tmp.dir()
      paths = {}
      local authorized = {}
      for _, kind in ipairs(kinds) do
         paths[kind.name] = keys.make(folder, kind.name, { type = kind.type, bits = kind.bits })
         table.insert(authorized, (contents(paths[kind.name] .. ".pub"):gsub("\n", "")))
      end
      sshd = server.sshd{ authorized = authorized }
   end)

   teardown(function()
      sshd:stop()
      folder:remove()
   end)

   -- A copy of the key in another format, encrypted with a passphrase if there is one.
   local function converted(kind, format, passphrase)
      local path = folder:path(("%s_%s_%s"):format(kind.name, format, passphrase and "locked" or "open"))
      process.check{ "cp", paths[kind.name], path }
      local command = { "ssh-keygen", "-q", "-p", "-P", "", "-N", passphrase or "", "-f", path }
      if format ~= "OpenSSH" then
         table.move({ "-m", format }, 1, 2, #command + 1, command)
      else
         table.move({ "-a", "2" }, 1, 2, #command + 1, command)
      end
      process.check(command)
      return path
   end

   local function logs_in(options)
      local session <close> = assert(dial(sshd, options))
      assert.equal("publickey", session.info.auth)
      assert.equal(sshd.user, session.info.user)
   end

   for _, kind in ipairs(kinds) do
      for _, format in ipairs(kind.type == "ed25519" and { "OpenSSH" } or { "OpenSSH", "PEM", "PKCS8" }) do
         it(("with an %s key in %s"):format(kind.name, format), function()
            logs_in{ identity = converted(kind, format) }
         end)

         it(("with an encrypted %s key in %s"):format(kind.name, format), function()
            logs_in{ identity = converted(kind, format, PASSPHRASE), passphrase = PASSPHRASE }
         end)
      end
   end

   it("F4: but not with a private key that others may read, as ssh does not", function()
      for _, mode in ipairs{ "640", "604", "610", "602" } do
         for _, passphrase in ipairs{ false, PASSPHRASE } do
            local path = converted(kinds[1], "OpenSSH", passphrase or nil)
            process.check{ "chmod", mode, path }
            local session, err = dial(sshd, { identity = path, passphrase = PASSPHRASE })
            assert.is_nil(session)
            assert.equal("key_format", err.code)
            assert.equal(("%s: its permissions, 0%s, are too open: others may read this private key"):format(path,
               mode), err.message)
            local ours = process.run{ "ssh-keygen", "-y", "-P", passphrase or "", "-f", path }
            assert.is_true(ours.status ~= 0)
            -- Whoever loads it by hand knows what they do.
            logs_in{ identity = assert(ssh.key.load(path, PASSPHRASE)) }
            os.remove(path)
         end
      end
   end)

   it("with a key handle", function()
      logs_in{ identity = assert(ssh.key.load(paths.rsa)) }
   end)

   it("with one of several keys, of which it asks the passphrase of the one that is accepted only", function()
      local stranger = keys.make(folder, "stranger", { type = "ed25519", passphrase = PASSPHRASE, rounds = 2 })
      local good = converted(kinds[1], "OpenSSH", PASSPHRASE)
      local asked = {}
      local session <close> = assert(dial(sshd, { identity = { stranger, good }, passphrase = function(path)
         table.insert(asked, path)
         return PASSPHRASE
      end }))
      assert.same({ good }, asked)
      assert.equal("publickey", session.info.auth)
   end)

   it("with the second of two keys, though the first is missing", function()
      logs_in{ identity = { folder:path("missing"), paths.ed25519 } }
   end)

   describe("but not", function()
      local function fails(options)
         local session, err = dial(sshd, options)
         assert.is_nil(session)
         return err
      end

      it("without the passphrase", function()
         local path = converted(kinds[1], "OpenSSH", PASSPHRASE)
         local err = fails{ identity = path }
         assert.equal("passphrase", err.code)
         assert.equal(path .. " is encrypted and no passphrase was given", err.message)
      end)

      it("with a wrong passphrase", function()
         local path = converted(kinds[1], "OpenSSH", PASSPHRASE)
         local err = fails{ identity = path, passphrase = "wrong" }
         assert.equal("passphrase", err.code)
         assert.equal("wrong passphrase for " .. path, err.message)
      end)

      it("with a file that is missing", function()
         local err = fails{ identity = folder:path("missing") }
         assert.equal("io", err.code)
         assert.equal(folder:path("missing"), err.path)
      end)

      it("with a public file given by mistake", function()
         local err = fails{ identity = paths.ed25519 .. ".pub" }
         assert.equal("key_format", err.code)
         assert.matches("is a public key: the private half is needed", err.message, 1, true)
         assert.matches(paths.ed25519 .. ".pub", err.message, 1, true)
      end)

      it("with something that is no key", function()
         local err = fails{ identity = folder:write("nonsense", "nonsense\n") }
         assert.equal("key_format", err.code)
      end)

      it("with a key that it does not know", function()
         local stranger = keys.make(folder, "unknown", { type = "ed25519" })
         local err = fails{ identity = stranger }
         assert.equal("auth_failed", err.code)
         assert.same({ "publickey" }, err.tried)
         assert.same({ "publickey", "password" }, err.methods)
      end)
   end)
end)
