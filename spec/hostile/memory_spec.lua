-- Attacks, rows M2, H2 and H3: each allocation of a session failing in its turn, against servers that cheat: nothing
-- bad is taken for good for want of memory. Sessions with honest servers are in spec/unit/session_memory_spec.lua.

local Peer = require "spec.support.peer"
local keys = require "spec.support.peer.keys"
local testing = require "moonssh_testing"
local wire = require "spec.support.wire"

-- What each script's server does, what its client must never hear, and what it ends in with memory enough.
local scripts = {
   ["a bad signature"] = {
      peer = { steps = { signature = function(peer) return peer.host_key:sign("ssh-ed25519", "something else") end } },
      never = { "host_key", "kex_done", "auth_success" }, ending = "protocol",
   },
   ["a signature by another key"] = {
      peer = { steps = { signature = function(_, hash) return keys.ed25519("other"):sign("ssh-ed25519", hash) end } },
      never = { "host_key", "kex_done", "auth_success" }, ending = "protocol",
   },
   ["a host key that is not accepted"] = {
      accept = false, never = { "kex_done", "auth_success" }, ending = "host_key_rejected",
   },
   ["a bad share"] = {
      peer = { steps = { share = function() return ("\0"):rep(32), "secret" end } },
      never = { "host_key", "kex_done", "auth_success" }, ending = "protocol",
   },
   ["another host key in a later exchange"] = {
      peer = { rekey_first = true, steps = {
         host_key_blob = function(peer)
            return (peer.exchanges == 0 and peer.host_key or keys.ed25519("other")):blob()
         end,
         signature = function(peer, hash)
            return (peer.exchanges == 0 and peer.host_key or keys.ed25519("other")):sign("ssh-ed25519", hash)
         end,
      } },
      never = { "data" }, ending = "protocol",
   },
   ["a bad tag"] = {
      peer = { inject = { authenticated = function(peer)
         peer:send_packet{ payload = wire.message("IGNORE", "s", "forged"), tag = ("t"):rep(16) }
      end } },
      never = { "ignore" }, ending = "mac",
   },
   ["a wrong password"] = {
      peer = { password = "another" }, never = { "auth_success" },
   },
   ["a bomb"] = {
      peer = { compression = "zlib@openssh.com", inject = { authenticated = function(peer)
         peer:send_packet{ payload = peer.out.deflate:run("\2\0\16\0\0x", 1 << 20) }
      end } },
      session = { compression = "zlib@openssh.com,none" },
      never = { "ignore" }, ending = "protocol",
   },
}

-- Runs a script on a heap. Gives the session and the kinds of events that came.
local function run(script, heap)
   local options = { heap = heap }
   for name, value in pairs(script.session or {}) do
      options[name] = value
   end
   local heard = {}
   local session, code = testing.session.new(options)
   if not session then
      assert.are.equal("memory", code)
      return nil, heard
   end
   local peer = Peer.new(script.peer)
   -- A command that fails for want of memory says so and changes nothing: the session may go on, but here nobody does.
   local function commanded(done, reason)
      heard.gave_up = heard.gave_up or not done and reason
   end
   local react = {
      host_key = function() session:answer_host_key(script.accept ~= false) end,
      kex_done = function()
         if heard.kex_done == 1 then
            commanded(session:password("moon", "secret"))
         end
      end,
      auth_success = function() commanded(session:open("session")) end,
      opened = function(event)
         commanded(session:request(event.channel, "exec", true, wire.pack("s", "date")))
      end,
   }
   session:start()
   peer:start()
   repeat
      local moved = false
      repeat
         local event = session:next()
         if event and not heard.failed then
            heard[event.type] = (heard[event.type] or 0) + 1
            moved = true
            if react[event.type] then
               react[event.type](event)
            end
         end
      until not event or heard.failed
      local output = session:output()
      if output ~= "" then
         peer:feed(output)
         moved = true
      end
      local input = peer:take()
      while input ~= "" do
         local taken = session:feed(input)
         if not taken or taken == 0 then
            break
         end
         input = input:sub(taken + 1)
         moved = true
         if input ~= "" then
            peer.outbox = { input, table.unpack(peer.outbox) }
            break
         end
      end
   until not moved
   return session, heard
end

for name, script in pairs(scripts) do
   for how, fail_on in pairs{ ["an allocation fails"] = false, ["an allocation and all after it fail"] = true } do
      describe("M2: when " .. how, function()
         it("a session never takes for good " .. name, function()
            local n = 0
            repeat
               n = n + 1
               local heap = testing.heap.new(n, fail_on)
               local session, heard = run(script, heap)
               for _, kind in ipairs(script.never) do
                  assert.is_nil(heard[kind], ("%s, with allocation %d failing"):format(kind, n))
               end
               local done = heap:allocations() < n
               if session then
                  local code, words = session:failure()
                  if done then
                     assert.are.equal(script.ending, code)
                  else
                     -- It failed for want of memory, or it noticed what is wrong nonetheless.
                     assert.is_true(code == "memory" or code == script.ending or heard.gave_up == "memory",
                        ("%d: %s, %s"):format(n, code, words))
                  end
                  session:close()
               end
               assert.are.equal(0, heap:in_use())
            until done
            assert.is_true(n > 15, "only " .. n)
         end)
      end)
   end
end
