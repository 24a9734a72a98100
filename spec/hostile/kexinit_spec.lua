-- Attacks, rows K6 to K9: KEXINIT, guesses, and what piles up while keys are exchanged.

local Peer = require "spec.support.peer"
local kex = require "spec.support.peer.kex"
local oracle = require "spec.support.oracle"
local wire = require "spec.support.wire"

local message = wire.message

local function fields_of(options)
   return Peer.new(options):step("kexinit")
end

-- A run against a server whose first KEXINIT is this payload.
local function sending(payload)
   return oracle.run{ peer = { steps = { kexinit = function() return payload end } } }
end

-- A key exchange that was begun after login and does not go on; `fill` is called with the run then.
local function stuck(fill, peer_options)
   local options = peer_options or {}
   options.inject = { authenticated = function(peer)
      peer.exchange = {}
      peer.steps.payload = function(_, number) return number ~= 1 end -- from here on it reads, and says nothing
      peer:send(kex.pack_init(fields_of()))
   end }
   local run = oracle.run{ peer = options, client = { command = false } }
   fill(run)
   return run
end

describe("K6: while a key exchange is open", function()
   it("the client's own data wait, and are bounded", function()
      local run = oracle.run{ client = { command = false } }
      local client = run.client
      local channel
      client.on.opened = function(_, opened)
         channel = opened
      end
      run.client.session:open("session", "")
      run:go()
      assert.is_truthy(channel)
      local before = client.session:memory()
      run.peer.steps.payload = function() return true end
      run.peer:send(kex.pack_init(fields_of()))
      run:go()
      -- A gibibyte is offered; nothing of it may be taken.
      local block, taken = ("x"):rep(1 << 20), 0
      for _ = 1, 1024 do
         taken = taken + (client.session:channel_write(channel, 0, block) or 0)
      end
      assert.is_true(taken <= 2 << 20, "took " .. taken)
      local _, peak = client.session:memory()
      assert.is_true(peak - before <= 4 << 20, "holds " .. peak)
      run:go()
      assert.are.equal(0, #run.peer:seen("CHANNEL_DATA"))
      oracle.alive(run)
   end)

   it("requests of the client beyond 2 MiB end it", function()
      stuck(function(run)
         local code
         for _ = 1, 5000 do
            local done
            done, code = run.client.session:global_request("x", true, ("d"):rep(1024))
            if not done then
               break
            end
         end
         assert.are.equal("limit", code)
         run.client:step()
         assert.are.equal("limit", (run.client.session:failure()))
      end)
   end)

   it("GLOBAL_REQUEST is rejected", function()
      stuck(function(run)
         for _ = 1, 20000 do
            run.peer:message("GLOBAL_REQUEST", "so", "x", true)
         end
         run:go()
         oracle.rejected(run, "protocol", 2, "out of place")
      end)
   end)

   it("20,000 unknown messages are answered without growing", function()
      stuck(function(run)
         local before = run.client.session:memory()
         for _ = 1, 20000 do
            run.peer:message("PING", "s", ("p"):rep(32))
         end
         run:go()
         local _, peak = run.client.session:memory()
         assert.is_true(peak - before <= 2 << 20, "grew by " .. peak - before)
         oracle.alive(run)
      end)
   end)
end)

describe("K7: a guessed packet", function()
   -- first_kex_packet_follows is set; `guess` comes behind KEXINIT; the server prefers what it guesses by.
   local function guessing(fields, guess, strict)
      return oracle.run{ peer = {
         strict = strict,
         steps = { kexinit = function()
            local default = fields_of{ strict = strict }
            default.follows = true
            for name, value in pairs(fields) do
               default[name] = value
            end
            return default
         end },
         inject = { kexinit = guess },
      } }
   end

   local wrong = message("KEX_REPLY", "sss", "a", "b", "c")
   local strict_mark = "kex-strict-s-v00@openssh.com"
   local first = "mlkem768x25519-sha256" -- what the client prefers

   it("is used when it is right: the reply is the very next packet", function()
      oracle.finished(guessing({ kex = { first, strict_mark } }, nil, true))
      oracle.finished(guessing({ kex = { first } }, nil, false))
   end)

   it("that is right is not skipped", function()
      oracle.rejected(guessing({ kex = { first, strict_mark } }, wrong, true), "protocol", 3)
   end)

   it("is skipped, once, when the key exchange was guessed wrong", function()
      local kex_list = { "ecdh-sha2-nistp256", "curve25519-sha256", strict_mark }
      oracle.finished(guessing({ kex = kex_list }, wrong, true))
      oracle.rejected(guessing({ kex = kex_list }, { wrong, wrong }, true), "protocol", 3)
   end)

   it("is skipped when the host key was guessed wrong", function()
      oracle.finished(guessing({ host_key = { "ecdsa-sha2-nistp256", "ssh-ed25519" } }, wrong, true))
   end)

   it("is skipped when what was guessed is unknown", function()
      local kex_list = { "unknown@example.com", "curve25519-sha256", strict_mark }
      oracle.finished(guessing({ kex = kex_list }, "\49", true))
   end)

   it("that is wrong and does not come, costs the reply", function()
      local run = guessing({ kex = { "ecdh-sha2-nistp256", "curve25519-sha256", strict_mark } }, nil, true)
      oracle.rejected(run, "protocol", 2)
   end)

   it("may be wrong a thousand times over: nothing is left of it", function()
      local default = fields_of{ strict = true }
      local run = oracle.run{
         limit = 20000,
         client = { command = false },
         peer = {
            steps = { kexinit = function(peer)
               local fields = fields_of{ strict = peer.exchanges == 0 }
               if peer.exchanges > 0 then
                  fields.kex, fields.follows = { "ecdh-sha2-nistp256", table.unpack(default.kex) }, true
               end
               return fields
            end },
            inject = { rekey_kexinit = wrong },
         },
         at_rest = function(run)
            local rekeys = run.client.session:info().rekeys
            run.memory_at = run.memory_at or {}
            run.memory_at[rekeys] = run.client.session:memory()
            run.peer.received = {}
            run.client.events = {}
            if rekeys == 1000 or run.client.session:failure() then
               return false
            end
            run.peer:rekey()
            return true
         end,
      }
      assert.are.equal(1000, run.client.session:info().rekeys)
      assert.are.equal(run.memory_at[20], run.memory_at[1000])
      oracle.alive(run)
   end)
end)

describe("K8: the session identifier", function()
   it("is that of the first exchange for ever, whatever hash comes later, and is what keys sign", function()
      local methods = { "curve25519-sha256", "diffie-hellman-group16-sha512", "ecdh-sha2-nistp384",
         "ecdh-sha2-nistp521", "curve25519-sha256" }
      local seen = {}
      local run = oracle.run{
         client = { auth = false, command = "date" },
         peer = { steps = { kexinit = function(peer)
            local fields = fields_of{ kex = methods[peer.exchanges + 1] }
            return fields
         end } },
         at_rest = function(run)
            local info = run.client.session:info()
            seen[info.session_id] = true
            if info.rekeys + 1 < #methods then
               run.peer:rekey()
               return true
            elseif not run.asked then
               run.asked = true
               run.client.methods = { "publickey" }
               run.client:authenticate()
               return true
            end
         end,
      }
      assert.are.equal(run.peer.session_id, (next(seen)))
      assert.is_nil(next(seen, (next(seen))))
      assert.are.equal(32, #run.peer.session_id)
      oracle.finished(run)
   end)
end)

describe("K9: KEXINIT", function()
   local whole = kex.pack_init(fields_of())

   it("is rejected when it is cut short, wherever that is", function()
      for n = 1, #whole - 1 do
         oracle.rejected(sending(whole:sub(1, n)), "protocol", 3, "KEXINIT")
      end
   end)

   it("is rejected when it is too long", function()
      for n = 1, 16 do
         oracle.rejected(sending(whole .. ("\0"):rep(n)), "protocol", 3, "KEXINIT")
      end
   end)

   local places = {}
   do
      local at = 18
      for i = 1, 10 do
         places[i] = at
         at = at + 4 + (">I4"):unpack(whole, at)
      end
   end

   it("is rejected when a list lies about its length", function()
      for _, at in ipairs(places) do
         local true_length = (">I4"):unpack(whole, at)
         for _, length in ipairs{ 0, 1, true_length + 1, true_length - 1, 65535, 65536, 0x7fffffff, 0x80000000,
            0xfffffff0, 0xffffffff } do
            if length ~= true_length and length >= 0 and length <= 0xffffffff then
               local lie = whole:sub(1, at - 1) .. (">I4"):pack(length) .. whole:sub(at + 4)
               oracle.rejected(sending(lie), "protocol", 3)
            end
         end
      end
   end)

   local function with_list(name, text)
      local fields = fields_of()
      fields[name] = text
      return sending(fields)
   end

   it("is rejected when a list is not well formed", function()
      local good = "curve25519-sha256,kex-strict-s-v00@openssh.com"
      for _, text in ipairs{ "," .. good, good .. ",", "a,," .. good, ",", good .. ",a\0b", good .. ",\xff",
         good .. ",a b", good .. "," .. ("n"):rep(65), ("n"):rep(60000) } do
         oracle.rejected(with_list("kex", text), "protocol", 3, "name%-list")
      end
      for _, name in ipairs{ "host_key", "cipher_c2s", "cipher_s2c", "mac_c2s", "mac_s2c", "compression_c2s",
         "compression_s2c" } do
         oracle.rejected(with_list(name, "a,,b"), "protocol", 3, "name%-list")
      end
   end)

   it("may have names of 64 bytes and 512 of them, and no more", function()
      local names = { "curve25519-sha256", "kex-strict-s-v00@openssh.com", ("n"):rep(64) }
      while #names < 512 do
         table.insert(names, "x" .. #names)
      end
      oracle.finished(with_list("kex", names))
      table.insert(names, "one-more")
      oracle.rejected(with_list("kex", names), "protocol", 3, "name%-list")
   end)

   it("of 5,000 names costs no time and no memory", function()
      local names = {}
      for i = 1, 5000 do
         names[i] = "name" .. i
      end
      oracle.rejected(with_list("kex", names), "protocol", 3, "name%-list")
   end)

   it("may have languages and a reserved field, which mean nothing", function()
      local fields = fields_of()
      fields.language_c2s, fields.language_s2c, fields.reserved = "de,,\xff", "x", 0xffffffff
      oracle.finished(sending(fields))
   end)

   for what, name in pairs{ kex = "kex", host_key = "host_key", cipher = "cipher_s2c", mac = "mac_c2s",
      compression = "compression_s2c" } do
      it("without a common " .. what .. " ends in negotiation, which tells both lists", function()
         local fields = fields_of{ cipher = "aes128-ctr" }
         fields[name] = { "a\\b@example.com" }
         local run = oracle.run{ peer = { steps = { kexinit = function() return kex.pack_init(fields) end } } }
         local found, ours, theirs = run.client.session:negotiation()
         assert.are.equal(what, found)
         assert.are.equal("a\\b@example.com", theirs)
         assert.is_truthy(#ours > 0)
         oracle.rejected(run, "negotiation", 3, "no common")
      end)
   end

   it("cannot make the client choose a mark as a method", function()
      local fields = fields_of()
      fields.kex = { "kex-strict-c-v00@openssh.com", "ext-info-c", "ext-info-s", "kex-strict-s-v00@openssh.com" }
      oracle.rejected(sending(kex.pack_init(fields)), "negotiation", 3)
   end)
end)
