-- API.md's "Keys, agent, known hosts", as a script meets them: arguments, use after close, errors.

local server = require "spec.support.server"
local ssh = require "moonssh"
local tmp = require "spec.support.tmp"

-- What a call raises, without the place in front.
local function complaint(f, ...)
   local ok, message = pcall(f, ...)
   assert.is_false(ok)
   return (tostring(message):gsub("^[^:]*:%d+: ", ""))
end

describe("a key", function()
   local key

   before_each(function()
      key = assert(ssh.key.generate("ed25519", { comment = "moon" }))
   end)

   it("has its fields, and can be closed twice", function()
      assert.same({ "ssh-ed25519", 256, "moon", true, false },
         { key.type, key.bits, key.comment, key.private, key.closed })
      local public = assert(ssh.key.parse(key:public_line()))
      assert.same({ "ssh-ed25519", 256, "moon", false }, { public.type, public.bits, public.comment, public.private })
      assert.is_true(public == key)
      key:close()
      key:close()
      assert.is_true(key.closed)
      local kept
      do
         local other <close> = ssh.key.generate("ed25519")
         kept = other
      end
      assert.is_true(kept.closed)
   end)

   it("raises for every method after close, and for what is no key", function()
      local methods = { "sign", "verify", "export", "fingerprint", "blob", "public_line" }
      key:close()
      for _, name in ipairs(methods) do
         assert.equal(("attempt to use a closed key (in '%s')"):format(name), complaint(key[name], key, "x", "y"))
         assert.equal(("calling '%s' on bad self (key expected, got string)"):format(name), complaint(key[name], "x"))
      end
      assert.matches("^ssh%-ed25519 key SHA256:", tostring(key))
   end)

   it("says which algorithm it does not sign with", function()
      local signature, err = key:sign("data", "rsa-sha2-256")
      assert.is_nil(signature)
      assert.equal("unsupported", err.code)
      assert.equal("a key of type ssh-ed25519 does not sign with rsa-sha2-256", err.message)
   end)

   it("is made with sizes that there are", function()
      for _, bits in ipairs{ -1, 1 << 40, math.maxinteger, math.mininteger } do
         assert.equal("bad argument #2 to 'generate' (option 'bits': a number up to 16384 expected)",
            complaint(ssh.key.generate, "rsa", { bits = bits }))
      end
      for _, case in ipairs{ { "rsa", 1024 }, { "ecdsa", 255 }, { "ed25519", 512 } } do
         local made, err = ssh.key.generate(case[1], { bits = case[2] })
         assert.is_nil(made)
         assert.equal("unsupported", err.code)
      end
      assert.equal(384, ssh.key.generate("ecdsa", { bits = 384 }).bits)
   end)

   it("comes from a path that can be one", function()
      assert.equal("bad path (it holds a NUL)", complaint(ssh.key.load, "a\0b"))
      local loaded, err = ssh.key.load("/")
      assert.is_nil(loaded)
      assert.same({ "io", "/" }, { err.code, err.path })
   end)
end)

describe("known_hosts", function()
   local folder, key, known

   before_each(function()
      folder = tmp.dir()
      key = ssh.key.generate("ed25519")
      known = assert(ssh.known_hosts(folder:path("known")))
   end)

   after_each(function()
      folder:remove()
   end)

   it("takes ports that can be one", function()
      for _, port in ipairs{ 0, -1, 65536, math.maxinteger } do
         for name, last in pairs{ check = key, add = key, remove = false } do
            assert.equal(("bad argument #2 to '%s' (a port from 1 to 65535 expected)"):format(name),
               complaint(known[name], known, "moon", port, last or nil))
         end
      end
      assert.equal("bad argument #2 to 'check' (integer expected, got float)",
         complaint(known.check, known, "moon", 22.5, key))
      assert.equal("bad argument #2 to 'add' (integer expected, got string)",
         complaint(known.add, known, "moon", "22", key))
      assert.is_true(known:add("moon", 22.0, key))
      assert.equal("match", (known:check("moon", nil, key)))
   end)

   it("raises for paths and objects that are none", function()
      assert.equal("bad path (it holds a NUL)", complaint(ssh.known_hosts, "a\0b"))
      assert.equal("bad path (string expected, got number)", complaint(ssh.known_hosts, { 5 }))
      assert.equal("bad argument #2 to 'connect' (option 'known_hosts': a list of paths expected)",
         complaint(ssh.connect, "moon", { known_hosts = { 5 } }))
      for _, name in ipairs{ "check", "add", "remove", "entries", "save" } do
         assert.equal(("calling '%s' on bad self (known_hosts expected, got table)"):format(name),
            complaint(known[name], {}))
      end
   end)
end)

describe("an agent", function()
   local running, agent

   setup(function()
      running = server.agent()
   end)

   teardown(function()
      running:stop()
   end)

   before_each(function()
      agent = assert(ssh.agent(running.path))
   end)

   after_each(function()
      agent:close()
   end)

   it("has its path, and can be closed twice", function()
      assert.equal(running.path, agent.path)
      assert.is_false(agent.closed)
      agent:close()
      agent:close()
      assert.is_true(agent.closed)
      for _, name in ipairs{ "identities", "sign", "add", "remove", "remove_all", "lock", "unlock" } do
         assert.equal(("attempt to use a closed agent (in '%s')"):format(name), complaint(agent[name], agent))
         assert.equal(("calling '%s' on bad self (agent expected, got nil)"):format(name), complaint(agent[name]))
      end
   end)

   it("holds, signs with and forgets keys", function()
      local key = ssh.key.generate("ed25519", { comment = "from Lua" })
      assert.is_true(agent:add(key, { lifetime = 60 }))
      local list = assert(agent:identities())
      assert.same({ { blob = key:blob(), comment = "from Lua", type = "ssh-ed25519" } }, list)
      assert.is_true(key:verify("data", assert(agent:sign(key:blob(), "data"))))
      assert.is_true(key:verify("data", assert(agent:sign(key, "data", 0))))
      assert.is_true(agent:lock("pass word"))
      assert.same({}, assert(agent:identities()))
      assert.is_true(agent:unlock("pass word"))
      assert.is_true(agent:remove(key))
      assert.same({}, assert(agent:identities()))
      assert.is_true(agent:remove_all())
   end)

   it("names wrong arguments", function()
      local key = ssh.key.generate("ed25519")
      assert.equal("bad argument #1 to 'sign' (key expected)", complaint(agent.sign, agent, "junk", "data"))
      assert.equal("bad argument #2 to 'sign' (string expected, got nil)", complaint(agent.sign, agent, key))
      for _, flags in ipairs{ -1, 1 << 32 } do
         assert.equal("bad argument #3 to 'sign' (not a number of 32 bits)",
            complaint(agent.sign, agent, key, "data", flags))
      end
      for _, lifetime in ipairs{ 0, -1, 1 << 32, math.huge } do
         assert.equal("bad argument #2 to 'add' (option 'lifetime': seconds from 1 to 2^32-1 expected)",
            complaint(agent.add, agent, key, { lifetime = lifetime }))
      end
      for _, name in ipairs{ "lock", "unlock" } do
         assert.equal(("bad argument #1 to '%s' (a passphrase of an agent cannot hold a NUL)"):format(name),
            complaint(agent[name], agent, "a\0b"))
      end
      assert.equal("bad argument #2 to 'remove' (number expected, got string)",
         complaint(agent.remove, agent, key, "soon"))
      assert.equal("bad argument #1 to 'remove_all' (number expected, got not a number)",
         complaint(agent.remove_all, agent, 0 / 0))
   end)

   it("that is not there is an error", function()
      local none, err = ssh.agent("/nonexistent/socket")
      assert.is_nil(none)
      assert.same({ "agent", "/nonexistent/socket" }, { err.code, err.path })
      none, err = ssh.agent("")
      assert.is_nil(none)
      assert.equal("no agent: its path is empty", err.message)
      assert.equal("bad path (it holds a NUL)", complaint(ssh.agent, "a\0b"))
   end)
end)
