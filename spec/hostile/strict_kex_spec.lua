-- Attacks, rows K1 and K2: strict key exchange.

local oracle = require "spec.support.oracle"
local wire = require "spec.support.wire"

local message = wire.message

local optional = {
   IGNORE = message("IGNORE", "s", "x"),
   DEBUG = message("DEBUG", "oss", true, "x", ""),
   UNIMPLEMENTED = message("UNIMPLEMENTED", "u", 0),
   PING = message("PING", "s", "x"),
   ["an unknown message"] = "\200",
   EXT_INFO = message("EXT_INFO", "u", 0),
}

describe("K1: with a strict server", function()
   for name, payload in pairs(optional) do
      it(name .. " is rejected as the first packet", function()
         oracle.rejected(oracle.run{ peer = { inject = { ident = payload } } }, "protocol", 2)
      end)

      for _, moment in ipairs{ "kexinit", "reply" } do
         it(name .. " is rejected after the server's " .. moment, function()
            oracle.rejected(oracle.run{ peer = { inject = { [moment] = payload } } }, "protocol", 2, "out of place")
         end)
      end
   end

   it("a packet that was taken out of the encrypted stream is noticed", function()
      for _, cipher in ipairs{ "chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com", "aes128-ctr" } do
         -- The man in the middle puts an IGNORE in front of the reply, and drops the first encrypted packet for it.
         local run = oracle.run{ peer = {
            cipher = cipher, mac = "hmac-sha2-256-etm@openssh.com",
            inject = {
               kexinit = function(peer)
                  peer:send_packet{ payload = message("IGNORE", "s", "") }
                  peer.out.sequence = peer.out.sequence - 1
               end,
            },
            steps = { ext_info_message = function(peer)
               if peer.out.side.nonce then
                  peer.out.side:nonce()
               end
               peer.out.sequence = peer.out.sequence + 1
            end },
         } }
         oracle.rejected(run, "protocol", 2)
      end
   end)

   it("a packet dropped right after NEWKEYS ends in a wrong MAC", function()
      for _, cipher in ipairs{ "chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com", "aes128-ctr" } do
         local run = oracle.run{ peer = {
            cipher = cipher, mac = "hmac-sha2-256",
            inject = { newkeys = function(peer)
               local kept = table.move(peer.outbox, 1, #peer.outbox, 1, {})
               peer:send(message("IGNORE", "s", "dropped"))
               peer.outbox = kept
            end },
         } }
         -- chacha20 reads the length itself with the wrong number, and finds it impossible.
         local chacha = cipher:find("chacha") ~= nil
         oracle.rejected(run, chacha and "protocol" or "mac", chacha and 2 or 5)
      end
   end)
end)

describe("K1: with a server that is not strict", function()
   local function plain(peer, client)
      peer.strict = false
      return oracle.run{ peer = peer, client = client }
   end

   it("the optional messages are let pass, and session.info says so", function()
      for name, payload in pairs(optional) do
         if name ~= "EXT_INFO" then
            for _, moment in ipairs{ "ident", "kexinit", "reply" } do
               local run = plain{ inject = { [moment] = payload } }
               assert.is_false(run.client.session:info().strict)
               oracle.finished(run)
            end
         end
      end
   end)

   it("EXT_INFO in clear is rejected all the same", function()
      for _, moment in ipairs{ "ident", "kexinit", "reply" } do
         oracle.rejected(plain{ inject = { [moment] = optional.EXT_INFO } }, "protocol", 2, "EXT_INFO")
      end
   end)

   it("chacha20-poly1305 is not used unless it was allowed", function()
      local cipher = "chacha20-poly1305@openssh.com"
      local run = plain{ cipher = cipher }
      assert.are.equal("strict", (run.client.session:negotiation()))
      oracle.rejected(run, "negotiation", 3)
      run = plain({ cipher = cipher }, { session = { allow_chacha = true } })
      assert.is_false(run.client.session:info().strict)
      oracle.finished(run)
   end)

   it("CBC with encrypt-then-MAC is not used unless that was allowed; CBC with encrypt-and-MAC is", function()
      local etm = { cipher = "aes256-cbc", mac = "hmac-sha2-256-etm@openssh.com" }
      local function client(more)
         local session = { cipher = etm.cipher, mac = "hmac-sha2-256-etm@openssh.com,hmac-sha2-256" }
         for name, value in pairs(more or {}) do
            session[name] = value
         end
         return { session = session }
      end
      for _, more in ipairs{ {}, { allow_chacha = true } } do
         local run = plain({ cipher = etm.cipher, mac = etm.mac }, client(more))
         assert.are.equal("strict", (run.client.session:negotiation()))
         oracle.rejected(run, "negotiation", 3)
      end
      oracle.finished(plain({ cipher = etm.cipher, mac = etm.mac }, client{ allow_cbc_etm = true }))
      oracle.finished(plain({ cipher = etm.cipher, mac = "hmac-sha2-256" }, client()))
      oracle.rejected(plain({ cipher = "chacha20-poly1305@openssh.com" }, { session = { allow_cbc_etm = true } }),
         "negotiation", 3)
   end)

   it("encrypt-then-MAC with AES-CTR, and AES-GCM, are used: their counters do not depend on sequence numbers alone",
      function()
         oracle.finished(plain{ cipher = "aes128-ctr", mac = "hmac-sha2-256-etm@openssh.com" })
         oracle.finished(plain{ cipher = "aes128-gcm@openssh.com" })
      end)

   it("nothing goes on where strict key exchange is required", function()
      local run = plain({}, { session = { require_strict = true } })
      assert.are.equal("strict", (run.client.session:negotiation()))
      oracle.rejected(run, "negotiation", 3)
   end)
end)

describe("K2: whether key exchange is strict", function()
   -- The default KEXINIT with the mark in the first or in the later ones.
   local function marking(first, later)
      local Peer = require "spec.support.peer"
      local default = Peer.new{ strict = false }
      return function(peer)
         local fields = default:step("kexinit")
         local marked = first
         if peer.exchanges > 0 then
            marked = later
         end
         fields.kex = { "curve25519-sha256", marked and "kex-strict-s-v00@openssh.com" or nil }
         return fields
      end
   end

   -- Five key exchanges after the first, by one side or the other, and a message after each.
   local function rekeys(first, later, by_client)
      local run = oracle.run{
         peer = { strict = first, steps = { kexinit = marking(first, later) } },
         client = { command = false },
         at_rest = function(run)
            if run.client.session:info().rekeys >= 5 or run.client.session:failure() then
               return false
            end
            run.client.session:ignore("between")
            run.peer:message("IGNORE", "s", "between")
            if by_client then
               assert(run.client.session:rekey())
            else
               run.peer:rekey()
            end
            return true
         end,
      }
      oracle.alive(run)
      assert.are.equal(5, run.client.session:info().rekeys)
      assert.are.equal(first, run.client.session:info().strict)
      assert.are.equal(5, #run.peer:seen("IGNORE"))
      assert.are.equal(5, (run.client:count("ignore")))
   end

   it("is settled by the first KEXINIT: a mark that comes later does not make it strict", function()
      rekeys(false, true, false)
      rekeys(false, true, true)
   end)

   it("is settled by the first KEXINIT: a mark that goes away leaves it strict", function()
      rekeys(true, false, false)
      rekeys(true, false, true)
   end)

   it("sets both sequence numbers back at each NEWKEYS when it is", function()
      rekeys(true, true, false)
      rekeys(true, true, true)
   end)

   it("makes the client send its mark in its first KEXINIT alone", function()
      local run = oracle.run{ peer = {}, client = { command = false } }
      run.peer:rekey()
      run:go()
      local inits = run.peer:seen("KEXINIT")
      assert.are.equal(2, #inits)
      assert.is_truthy(inits[1]:find("kex-strict-c-v00@openssh.com", 1, true))
      assert.is_nil(inits[2]:find("kex-strict", 1, true))
      assert.is_nil(inits[2]:find("ext-info", 1, true))
      oracle.alive(run)
   end)
end)
