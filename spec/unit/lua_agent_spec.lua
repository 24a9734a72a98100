local agents = require "moonssh.agent"
local key = require "moonssh.key"
local keys = require "spec.support.keys"
local server = require "spec.support.server"
local socket = require "moonssh_testing".socket
local tmp = require "spec.support.tmp"

local MAX_FRAME = 256 * 1024

local function frame(payload)
   return string.pack(">s4", payload)
end

describe("the agent's client", function()
   local folder, path, listener, agent, peer

   before_each(function()
      folder = tmp.dir()
      path = folder:path("agent")
      listener = assert(socket.listen(path))
      agent = assert(agents.open(path))
      peer = assert(socket.accept(listener, 60))
   end)

   after_each(function()
      agent:close()
      for _, fd in ipairs{ peer or listener, listener } do
         socket.close(fd)
      end
      folder:remove()
   end)

   local function one_of(payload)
      assert(socket.write(peer, frame(payload)))
   end

   local function requested()
      local text = ""
      repeat
         text = text .. assert(socket.read(peer, 65536, 5))
      until #text >= 4 and #text >= 4 + string.unpack(">I4", text)
      return text:sub(5)
   end

   it("asks for identities and takes the list apart", function()
      local blob = assert(key.load(keys.path("ed25519"))):blob()
      one_of(string.pack(">BI4s4s4s4s4", 12, 2, blob, "first", "x", ""))
      local list = assert(agent:identities())
      assert.equal("\11", requested())
      assert.same({ { blob = blob, comment = "first", type = "ssh-ed25519" }, { blob = "x", comment = "", type = "" } },
         list)
   end)

   it("asks for a signature with the flags of the hash", function()
      local signature = string.pack(">s4s4", "rsa-sha2-256", "sig")
      local blob = string.pack(">s4", "ssh-rsa")
      one_of(string.pack(">Bs4", 14, signature))
      assert.equal(signature, agent:sign(blob, "data", 2))
      assert.equal(string.pack(">Bs4s4I4", 13, blob, "data", 2), requested())
   end)

   it("writes each command as the protocol has it", function()
      local public = assert(key.load(keys.path("rsa") .. ".pub"))
      local commands = {
         { "remove", string.pack(">Bs4", 18, public:blob()), public },
         { "remove_all", "\19" },
         { "lock", string.pack(">Bs4", 22, "pw"), "pw" },
         { "unlock", string.pack(">Bs4", 23, "pw"), "pw" },
      }
      for _, command in ipairs(commands) do
         one_of("\6")
         assert.is_true(agent[command[1]](agent, command[3]))
         assert.equal(command[2], requested())
         one_of("\5")
         local ok, err = agent[command[1]](agent, command[3])
         assert.is_nil(ok)
         assert.equal("agent", err.code)
         assert.matches("it refused the request", err.message, 1, true)
         requested()
      end
   end)

   it("sends constraints with a key", function()
      local private = assert(key.load(keys.path("ed25519")))
      one_of("\6")
      assert.is_true(agent:add(private, { lifetime = 10, confirm = true }))
      local sent = requested()
      assert.equal(25, sent:byte())
      assert.equal(string.pack(">BI4B", 1, 10, 2), sent:sub(-6))
      one_of("\6")
      assert.is_true(agent:add(private))
      sent = requested()
      assert.equal(17, sent:byte())
      local type, _, _, comment, last = string.unpack(">s4s4s4s4", sent, 2)
      assert.equal("ssh-ed25519", type)
      assert.equal("moonssh spec", comment)
      assert.equal(#sent + 1, last)
   end)

   it("asks again on a new connection when the old one has ended meanwhile", function()
      socket.close(peer)
      peer = nil
      local _, err = agent:identities(0.05)
      assert.equal("timeout", err.code)
      peer = assert(socket.accept(listener, 60))
      assert.equal("\11", requested())
   end)

   describe("given an agent that is hostile", function()
      local blob = string.pack(">s4", "ssh-ed25519")
      local calls = {
         identities = function(timeout) return agent:identities(timeout) end,
         sign = function(timeout) return agent:sign(blob, "data", 0, timeout) end,
         remove_all = function(timeout) return agent:remove_all(timeout) end,
      }
      local good = {
         identities = string.pack(">BI4s4s4", 12, 1, blob, "c"),
         sign = string.pack(">Bs4", 14, string.pack(">s4s4", "ssh-ed25519", "s")),
         remove_all = "\6",
      }

      local function fails(name, code, pattern)
         local result, err = calls[name](0.05)
         assert.is_nil(result)
         assert.equal(code, err.code)
         assert.matches(pattern, err.message)
      end

      for _, length in ipairs{ 0, MAX_FRAME + 1, 0x7fffffff, 0xffffffff } do
         it(("refuses a frame of %d bytes"):format(length), function()
            assert(socket.write(peer, string.pack(">I4", length) .. "\12"))
            fails("identities", "agent", "frame of " .. length .. " bytes")
         end)
      end

      for name, answer in pairs(good) do
         it(("refuses an answer to %s that ends at any byte"):format(name), function()
            local text = frame(answer)
            for length = 1, #text - 1 do
               assert(socket.write(peer, text:sub(1, length)))
               assert(socket.shutdown(peer))
               fails(name, "agent", "it closed the connection")
               agent:close()
               socket.close(peer)
               agent = assert(agents.open(path))
               peer = assert(socket.accept(listener, 60))
            end
         end)

         it(("refuses frames in answer to %s that are cut short"):format(name), function()
            for length = 1, #answer - 1 do
               one_of(answer:sub(1, length))
               fails(name, "agent", "out of form")
               requested()
            end
         end)

         if #answer > 1 then
            it(("refuses an answer to %s with something behind it"):format(name), function()
               one_of(answer .. "\0")
               fails(name, "agent", "out of form")
            end)
         end

         it(("refuses every other type in answer to %s"):format(name), function()
            for type = 0, 255 do
               if type ~= answer:byte() then
                  one_of(string.char(type) .. answer:sub(2))
                  fails(name, "agent", type == 5 and "refused" or "answer of type " .. type)
                  requested()
               end
            end
         end)
      end

      it("refuses a count of identities that the frame cannot hold", function()
         for _, count in ipairs{ 2, 10000, 0xffffffff } do
            one_of(string.pack(">BI4s4s4", 12, count, blob, ""))
            fails("identities", "agent", "out of form")
            requested()
         end
      end)

      it("takes ten thousand identities if they fit into a frame", function()
         one_of(string.pack(">BI4", 12, 10000) .. string.pack(">s4s4", "12345", ""):rep(10000))
         assert.equal(10000, #assert(agent:identities()))
      end)

      it("gives up on silence when the time is over", function()
         fails("identities", "timeout", "no answer in time")
         assert.equal("read", select(2, agent:identities(0.01)).stage)
      end)

      it("gives up on an answer that stops in the middle", function()
         assert(socket.write(peer, frame(good.identities):sub(1, 12)))
         fails("identities", "timeout", "no answer in time")
      end)
   end)

   it("says that there is no agent", function()
      local none, err = agents.open(folder:path("nothing"))
      assert.is_nil(none)
      assert.equal("agent", err.code)
      assert.matches("cannot connect", err.message)
      assert.equal(folder:path("nothing"), err.path)
   end)

   it("cannot be used after close, which may be called twice", function()
      agent:close()
      agent:close()
      assert.is_true(agent.closed)
      assert.error_matches(function() agent:identities() end, "attempt to use a closed agent")
   end)

   it("raises for wrong arguments, naming them", function()
      assert.error_matches(function() agents.open(1) end, "bad argument #1 to 'agent'")
      assert.error_matches(function() agent:sign(1, "x") end, "bad argument #1 to 'sign' %(key expected%)")
      assert.error_matches(function() agent:sign("\0\0\0\1x", 1) end, "bad argument #2 to 'sign'")
      assert.error_matches(function() agent:add("x") end, "bad argument #1 to 'add' %(key expected%)")
      assert.error_matches(function() agent:add(assert(key.load(keys.path("rsa"))), { lifetme = 1 }) end,
         "unknown option 'lifetme'")
      assert.error_matches(function() agent:lock() end, "bad argument #1 to 'lock'")
   end)
end)

describe("OpenSSH's agent", function()
   if server.missing("agent") then
      pending(server.missing("agent"))
      return
   end

   it("takes our keys, signs with them, locks, unlocks and forgets", function()
      local real <close> = server.agent()
      local agent <close> = assert(agents.open(real.path))
      assert.same({}, assert(agent:identities()))
      for _, type in ipairs{ "ed25519", "ecdsa", "rsa" } do
         local private = assert(key.load(keys.path(type)))
         assert.is_true(agent:add(private, { lifetime = 3600 }))
         for algorithm, flags in pairs(type == "rsa" and agents.flags or { [private.type] = 0 }) do
            local signature = assert(agent:sign(private, "data", flags))
            assert.equal(algorithm, (string.unpack(">s4", signature)))
            assert.is_true(private:verify("data", signature))
            assert.is_false(private:verify("other", signature))
         end
      end
      local types = {}
      for i, identity in ipairs(assert(agent:identities())) do
         types[i] = identity.type
         assert.equal("moonssh spec", identity.comment)
      end
      assert.same({ "ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa" }, types)
      assert.is_true(agent:remove(assert(key.load(keys.path("ecdsa") .. ".pub"))))
      assert.equal(2, #assert(agent:identities()))
      assert.is_true(agent:lock("secret"))
      assert.same({}, assert(agent:identities()))
      local ok, err = agent:unlock("wrong")
      assert.is_nil(ok)
      assert.equal("agent", err.code)
      assert.is_true(agent:unlock("secret"))
      assert.is_true(agent:remove_all())
      assert.same({}, assert(agent:identities()))
   end)

   it("refuses a key that it does not hold", function()
      local real <close> = server.agent()
      local agent <close> = assert(agents.open(real.path))
      local signature, err = agent:sign(assert(key.load(keys.path("ed25519"))), "data")
      assert.is_nil(signature)
      assert.equal("agent", err.code)
   end)
end)
