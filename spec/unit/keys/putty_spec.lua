-- PuTTY's key files, made by puttygen.

local key = require "moonssh.key"
local keygen = require "spec.support.keys"
local process = require "spec.support.process"
local testing = require "moonssh_testing"
local tmp = require "spec.support.tmp"

local PASSPHRASE = "a passphrase"

local kinds = {
   { "ed25519" }, { "ecdsa", 256 }, { "ecdsa", 384 }, { "ecdsa", 521 }, { "rsa", 2048 },
}

describe("a PuTTY key file", function()
   local folder

   setup(function()
      folder = tmp.dir()
      folder:write("passphrase", PASSPHRASE .. "\n")
      folder:write("none", "")
      for _, kind in ipairs(kinds) do
         keygen.make(folder, kind[1] .. (kind[2] or ""), { type = kind[1], bits = kind[2], comment = "of a spec" })
      end
   end)

   teardown(function()
      folder:remove()
   end)

   -- A key of ssh-keygen's in PuTTY's format.
   local function converted(name, parameters, encrypted)
      local path = folder:path(("%s_%s_%s.ppk"):format(name, parameters:gsub("%W", "_"), tostring(encrypted)))
      process.check{ "puttygen", folder:path(name), "-O", "private", "-o", path, "-P", "--new-passphrase",
         folder:path(encrypted and "passphrase" or "none"), "--ppk-param", parameters, "-q" }
      return path
   end

   local function contents(path)
      return folder:read(path:match("[^/]+$"))
   end

   local function refused(text, code, pattern, passphrase)
      local none, err = key.parse(text, passphrase)
      assert.is_nil(none)
      assert.equal(code, err.code, err.message)
      assert.matches(pattern, err.message)
   end

   for _, kind in ipairs(kinds) do
      local name = kind[1] .. (kind[2] or "")
      for _, parameters in ipairs{ "version=2", "version=3,memory=1024,passes=2",
         "version=3,kdf=argon2i,memory=64,passes=3,parallelism=2",
         "version=3,kdf=argon2d,memory=100,passes=1,parallelism=3" } do
         it(("of %s, %s, is the key that it was made of"):format(name, parameters), function()
            local original = assert(key.load(folder:path(name)))
            for _, encrypted in ipairs{ false, true } do
               local path = converted(name, parameters, encrypted)
               local loaded = assert(key.load(path, encrypted and PASSPHRASE or nil))
               assert.equal(original:blob(), loaded:blob())
               assert.equal("of a spec", loaded.comment)
               assert.is_true(loaded.private)
               assert.is_true(original:verify("data", assert(loaded:sign("data"))))
               if encrypted then
                  local none, err = key.load(path)
                  assert.is_nil(none)
                  assert.equal(path .. " is encrypted and no passphrase was given", err.message)
                  none, err = key.load(path, "another")
                  assert.is_nil(none)
                  assert.equal("wrong passphrase for " .. path, err.message)
               end
            end
         end)
      end
   end

   it("of DSA is the key that puttygen says it is", function()
      local path = folder:path("dsa.ppk")
      process.check{ "puttygen", "-t", "dsa", "-b", "1024", "-O", "private", "-o", path, "-q", "--new-passphrase",
         folder:path("none"), "--random-device", "/dev/urandom" }
      local loaded = assert(key.load(path))
      assert.equal(process.check{ "puttygen", "-L", path }:match("^%S+ %S+"), loaded:public_line():match("^%S+ %S+"))
      assert.is_true(loaded.private)
      assert.is_true(loaded:verify("data", assert(loaded:sign("data"))))
   end)

   it("may have the line ends of Windows", function()
      local text = contents(converted("ed25519", "version=3", false)):gsub("\n", "\r\n")
      assert(key.parse(text))
   end)

   for _, parameters in ipairs{ "version=2", "version=3,memory=8,passes=1" } do
      for _, encrypted in ipairs{ false, true } do
         it(("cut short anywhere is refused: %s, %s"):format(parameters, encrypted and "locked" or "open"), function()
            local text = contents(converted("ecdsa256", parameters, encrypted))
            assert(key.parse(text, PASSPHRASE))
            -- The last line needs no end.
            for n = 0, #text - 2 do
               local none, err = key.parse(text:sub(1, n), PASSPHRASE)
               assert.is_nil(none)
               -- With a part of the MAC left it is like one of another passphrase.
               assert.is_true(err.code == "key_format" or encrypted and err.code == "passphrase", n)
            end
            refused(text .. "more\n", "key_format", "out of form$", PASSPHRASE)
         end)

         it(("with a byte changed is refused: %s, %s"):format(parameters, encrypted and "locked" or "open"), function()
            local text = contents(converted("ed25519", parameters, encrypted))
            local blob = assert(key.parse(text, PASSPHRASE)):blob()
            for at = 1, #text do
               local bent = text:sub(1, at - 1) .. string.char(text:byte(at) ~ 1 << at % 7) .. text:sub(at + 1)
               local found, err = key.parse(bent, PASSPHRASE)
               -- What is left of a line's end or of unused bits in base64 may read the same.
               assert.is_true(found and found:blob() == blob or not found and (err.code == "key_format"
                  or err.code == "passphrase" or err.code == "limit"), at)
            end
         end)
      end
   end

   it("that asks for absurd work is refused at once", function()
      local text = contents(converted("ed25519", "version=3,memory=8,passes=1", true))
      for name, values in pairs{ Memory = { "4294967295", "262145", "0" }, Passes = { "4294967295", "2147483648", "0" },
         Parallelism = { "4294967295", "65", "2", "0" } } do
         for _, value in ipairs(values) do
            local changed, n = text:gsub("(Argon2%-" .. name .. ": )%d+", "%1" .. value)
            assert.equal(1, n)
            refused(changed, "limit", "derivation is out of bounds: %d+ KiB, %d+ passes, %d+ lanes$", PASSPHRASE)
         end
         for _, value in ipairs{ "4294967296", "-1", "", "1x", "99999999999" } do
            refused(text:gsub("(Argon2%-" .. name .. ": )%d+", "%1" .. value), "key_format", "its key derivation is",
               PASSPHRASE)
         end
      end
      refused(text:gsub("Argon2id", "scrypt"), "key_format", "its key derivation is", PASSPHRASE)
      refused(text:gsub("(Public%-Lines: )%d+", "%14294967295"), "key_format", "its public part is", PASSPHRASE)
   end)

   it("of a kind that is not known says so", function()
      local text = contents(converted("ed25519", "version=3", false))
      refused(text:gsub("File%-3", "File-1"), "key_format", "of a version not supported: only 2 and 3 are$")
      refused(text:gsub("File%-3", "File-4"), "key_format", "of a version not supported: only 2 and 3 are$")
      refused(text:gsub("Encryption: none", "Encryption: \27des"), "key_format", 'cipher not supported: "\\x1bdes"$')
      local path = folder:path("ed448.ppk")
      process.check{ "puttygen", "-t", "ed448", "-O", "private", "-o", path, "-q", "--new-passphrase",
         folder:path("none") }
      local none, err = key.load(path)
      assert.is_nil(none)
      assert.equal(path .. ': key type not supported: "ssh-ed448"', err.message)
   end)

   it("gives its memory back, also where there is none", function()
      local text = contents(converted("rsa2048", "version=3,memory=8,passes=1", true))
      local n = 0
      local found
      repeat
         n = n + 1
         local memory = testing.heap.new(n)
         local loaded, code = testing.keys.parse_file(text, PASSPHRASE, memory)
         if loaded then
            loaded:close()
         else
            assert.equal("memory", code)
         end
         found = loaded ~= nil
         assert.equal(0, memory:in_use())
      until found
      assert.is_true(n > 6)
   end)

   it("has a MAC over its comment and its type, too", function()
      for _, version in ipairs{ "2", "3" } do
         local text = contents(converted("ed25519", "version=" .. version, false))
         refused(text:gsub("of a spec", "of a spoc"), "key_format", "its MAC is wrong$")
      end
   end)
end)
