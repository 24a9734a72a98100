-- Keys whose private half is elsewhere: `ssh.key.external`.

local certificate = require "spec.support.certificate"
local errors = require "moonssh.errors"
local keys = require "spec.support.keys"
local loop = require "moonssh.loop"
local memory = require "spec.support.memory"
local server = require "spec.support.server"
local ssh = require "moonssh"
local testing = require "moonssh_testing"
local waiting = require "spec.support.waiting"

-- What a signer may give that is no signature of its own over the data by the algorithm, and what is said of it.
local function wrong_signatures(private, other)
   return {
      { function() return 12 end, "key_format", "but a number" },
      { function() return true end, "key_format", "but a boolean" },
      { function() return "junk" end, "key_format", "but a string" },
      { function() return "" end, "key_format", "but a string" },
      { function() return string.pack(">s4s4", "ssh-rsa", "x") end, "key_format", "but one by ssh-rsa" },
      { function() return string.pack(">s4s4", "a\27b", "x") end, "key_format", "but one by a\\x1bb" },
      { function() return string.pack(">s4", private.type) end, "key_format", "not good for its public half" },
      { function() return string.pack(">s4s4", private.type, "x") end, "key_format", "not good for its public half" },
      { function(data) return other:sign(data) end, "key_format", "not good for its public half" },
      { function(data) return private:sign(data .. "x") end, "key_format", "not good for its public half" },
      { function(data) return private:sign(data) .. "\0" end, "key_format", "not good for its public half" },
      { function(data) return private:sign(data):sub(1, -2) end, "key_format", "not good for its public half" },
      { function() end, "agent", "the key refused to sign" },
      { function() return nil, "the card is not there" end, "agent", "the key refused to sign: the card is not there" },
      { function() return nil, errors.new("timeout", "too late") end, "timeout", "too late" },
   }
end

describe("an external key", function()
   local private, other = assert(ssh.key.generate("ed25519")), assert(ssh.key.generate("ed25519"))

   local function external(sign, public)
      return assert(ssh.key.external{ public = public or private, sign = sign })
   end

   it("is made of a blob, a public line or a key, and looks like the key", function()
      for _, public in ipairs{ private, private:blob(), private:public_line(), private:public_line() .. " name\n" } do
         local key = external(print, public)
         assert.equal(private, key)
         assert.equal("ssh-ed25519", key.type)
         assert.equal(256, key.bits)
         assert.is_true(key.private)
         assert.equal(private:fingerprint(), key:fingerprint())
      end
      assert.equal("name", external(print, private:public_line() .. " name").comment)
   end)

   it("does not change the key that it was made of", function()
      external(function() error("not this one") end, other)
      assert.is_true(other:verify("data", assert(other:sign("data"))))
   end)

   it("is not made without a public half, or without a signer", function()
      assert.error_matches(function() ssh.key.external() end, "bad argument #1 to 'external'")
      assert.error_matches(function() ssh.key.external{ sign = print } end, "option 'public'", 1, true)
      assert.error_matches(function() ssh.key.external{ public = 1, sign = print } end, "option 'public'", 1, true)
      assert.error_matches(function() ssh.key.external{ public = private } end, "option 'sign'", 1, true)
      assert.error_matches(function() ssh.key.external{ public = private, sign = "x" } end, "option 'sign'", 1, true)
      assert.error_matches(function() ssh.key.external{ public = private, sing = print } end, "unknown option 'sing'")
      for _, public in ipairs{ "junk", "", "ssh-ed25519 AAAA" } do
         local none, err = ssh.key.external{ public = public, sign = print }
         assert.is_nil(none)
         assert.equal("key_format", err.code)
      end
   end)

   it("may be called rather than a function", function()
      local callable = setmetatable({}, { __call = function(_, data) return private:sign(data) end })
      assert.is_true(private:verify("data", assert(external(callable):sign("data"))))
   end)

   for type, algorithms in pairs{ ed25519 = { "ssh-ed25519" }, ecdsa = { "ecdsa-sha2-nistp256" },
      rsa = { "rsa-sha2-512", "rsa-sha2-256" } } do
      it("of type " .. type .. " is asked with the data and the algorithm", function()
         local held = assert(ssh.key.load(keys.path(type)))
         local asked = {}
         local key = external(function(...)
            table.insert(asked, table.pack(...))
            return held:sign(...)
         end, held)
         assert.is_true(held:verify("data", assert(key:sign("data"))))
         for _, algorithm in ipairs(algorithms) do
            local signature = assert(key:sign("more\0", algorithm))
            assert.equal(algorithm, (string.unpack(">s4", signature)))
            assert.is_true(key:verify("more\0", signature))
         end
         assert.same({ "data", algorithms[1], n = 2 }, asked[1])
         for i, algorithm in ipairs(algorithms) do
            assert.same({ "more\0", algorithm, n = 2 }, asked[i + 1])
         end
      end)
   end

   it("is not asked for an algorithm that its type does not have", function()
      local key = external(function() error("asked") end)
      for _, algorithm in ipairs{ "rsa-sha2-512", "ecdsa-sha2-nistp256", "none", "" } do
         local none, err = key:sign("data", algorithm)
         assert.is_nil(none)
         assert.equal("unsupported", err.code)
      end
   end)

   it("gives no signature that is not good, and says what is wrong", function()
      for _, case in ipairs(wrong_signatures(private, other)) do
         local none, err = external(case[1]):sign("data")
         assert.is_nil(none)
         assert.equal(case[2], err.code)
         assert.matches(case[3], err.message, 1, true)
      end
      local rsa = assert(ssh.key.load(keys.path("rsa")))
      local none, err = external(function(data) return rsa:sign(data, "rsa-sha2-256") end, rsa):sign("data")
      assert.is_nil(none)
      assert.matches("by rsa-sha2-512, but one by rsa-sha2-256", err.message, 1, true)
   end)

   it("throws what its signer throws", function()
      local cause = {}
      local ok, err = pcall(function() return external(function() error(cause) end):sign("data") end)
      assert.is_false(ok)
      assert.equal(cause, err)
   end)

   it("may wait, and others go on", function()
      local gate = loop.current().token()
      local key = external(function(data)
         loop.current().park(gate)
         return private:sign(data)
      end)
      local signing = ssh.spawn(key.sign, key, "data")
      local quick = ssh.spawn(function() return private:sign("data") end)
      assert.is_true(private:verify("data", assert(quick:wait())))
      assert.is_false(signing.closed)
      loop.current().unpark(gate)
      assert.is_true(private:verify("data", assert(signing:wait())))
   end)

   it("may be closed while it signs, and is not asked afterwards", function()
      local key
      key = external(function(data)
         key:close()
         return private:sign(data)
      end)
      assert.is_true(private:verify("data", assert(key:sign("data"))))
      assert.error_matches(function() key:sign("data") end, "attempt to use a closed key")
   end)

   it("has nothing to export, or to give an agent", function()
      local key = external(function(data) return private:sign(data) end)
      local none, err = key:export()
      assert.is_nil(none)
      assert.equal("key_format", err.code)
      local agent <close> = server.agent()
      local handle <close> = assert(ssh.agent(agent.path))
      none, err = handle:add(key)
      assert.is_nil(none)
      assert.equal("key_format", err.code)
   end)

   for _, kind in ipairs{ "ed25519", "ecdsa" } do
      it("may be a security key's, of type " .. kind, function()
         local sk, stranger = certificate.security_key(kind), certificate.security_key(kind)
         local key = external(function(data) return sk.sign(data) end, sk.blob)
         assert.equal(sk.type, key.type)
         assert.is_true(key.private)
         local signature = assert(key:sign("data"))
         assert.is_true(key:verify("data", signature))
         local none, err = external(function(data) return stranger.sign(data) end, sk.blob):sign("data")
         assert.is_nil(none)
         assert.matches("not good for its public half", err.message, 1, true)
      end)
   end

   describe("at a login", function()
      local link

      -- Logs in to a server in memory that takes these public keys.
      local function login(identity, known)
         link = memory.connect{ login = false, server = { auth = { keys = known, methods = "publickey" } } }
         return link.session:authenticate{ user = "moon", identity = identity }
      end

      local function known(key)
         return assert(testing.keys.parse_public(key:blob()))
      end

      -- The requests with a signature that the server has seen.
      local function signed()
         local count = 0
         for _, request in ipairs(link.server:received("userauth_request")) do
            if request.method == "publickey" and request.rest:byte() == 1 then
               count = count + 1
            end
         end
         return count
      end

      after_each(function()
         link.session:close()
      end)

      it("signs the login", function()
         local asked = 0
         assert.is_true(login(external(function(data)
            asked = asked + 1
            return private:sign(data)
         end), { known(private) }))
         assert.equal(1, asked)
         assert.equal(1, signed())
      end)

      it("sends no signature that is not good, and the error says what was wrong", function()
         for _, case in ipairs(wrong_signatures(private, other)) do
            local ok, err = login(external(case[1]), { known(private) })
            assert.is_nil(ok)
            assert.equal(case[2], err.code)
            assert.matches(case[3], err.message, 1, true)
            assert.equal(0, signed())
            assert.is_true(link.session:authenticate{ user = "moon", identity = private })
            link.session:close()
         end
      end)

      it("is one of several, and the next is tried where it refuses", function()
         local asked = {}
         local list = {
            external(function() table.insert(asked, "stranger") end, assert(ssh.key.generate("ed25519"))),
            external(function() table.insert(asked, "refuses") end, other),
            external(function(data)
               table.insert(asked, "signs")
               return private:sign(data)
            end),
            assert(ssh.key.load(keys.path("ecdsa"))),
         }
         assert.is_true(login(list, { known(private), known(other) }))
         assert.same({ "refuses", "signs" }, asked)
         assert.equal(1, signed())
      end)

      it("throws from the login, and the session can log in still", function()
         local ok, err = pcall(login, external(function() error("oops", 0) end), { known(private) })
         assert.is_false(ok)
         assert.equal("oops", err)
         assert.equal(0, signed())
         assert.is_true(link.session:auth_publickey("moon", private))
      end)

      it("may wait, and other sessions go on", function()
         local gate = loop.current().token()
         local waits
         local key = external(function(data)
            waits = true
            loop.current().park(gate)
            return private:sign(data)
         end)
         local logging_in = ssh.spawn(login, key, { known(private) })
         waiting.await(function() return waits end, "the signer")
         local elsewhere = memory.connect()
         assert.equal("hello", assert(elsewhere.session:run("echo hello")).stdout)
         elsewhere.session:close()
         loop.current().unpark(gate)
         assert.is_true(logging_in:wait())
      end)

      it("may close the session while it signs, as other functions of a login may", function()
         local ok, err = login(external(function(data)
            link.session:close()
            return private:sign(data)
         end), { known(private) })
         assert.is_nil(ok)
         assert.equal("closed", err.code)
         local folder <close> = require "spec.support.tmp".dir()
         local locked = keys.make(folder, "locked", { type = "ed25519", passphrase = "x", rounds = 2 })
         for name, f in pairs{
            password = function() return "secret" end,
            interactive = function() return { "answer" } end,
            passphrase = function() return "x" end,
         } do
            link = memory.connect{ login = false, server = { auth = {
               password = "secret", rounds = { { { text = "?", echo = true, answer = "answer" } } },
               keys = { known(assert(ssh.key.load(locked, "x"))) },
            } } }
            local options = { user = "moon", identity = name == "passphrase" and locked or nil }
            options[name] = function()
               link.session:close()
               return f()
            end
            ok, err = link.session:authenticate(options)
            assert.is_nil(ok)
            assert.equal("closed", err.code)
         end
      end)
   end)
end)
