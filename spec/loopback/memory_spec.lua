-- Every allocation failing: nothing is accepted that should not be, nothing is lost, the failure is said.

local testing = require "moonssh_testing"
local Pair = require "spec.support.pair"
local clear = require "spec.support.clear"

local OPTIONS = {
   { name = "AES-GCM", cipher = "aes128-gcm@openssh.com" },
   { name = "CTR with a MAC, compressed, by a group exchange", cipher = "aes128-ctr", mac = "hmac-sha2-256",
      compression = "zlib@openssh.com", kex = "diffie-hellman-group-exchange-sha256" },
}

-- A pair in which `side` takes its memory from `heap`; nil when it could not even be made.
local function make(options, side, heap)
   local plain = { cipher = options.cipher, mac = options.mac, compression = options.compression, kex = options.kex }
   local pair = Pair.new(plain)
   pair[side]:close()
   plain.role, plain.heap = side, heap
   plain.host_keys = side == "server" and { Pair.key("ed25519") } or nil
   local transport, code = testing.transport.new(plain)
   if not transport then
      assert.equal("memory", code)
      return nil
   end
   pair[side] = transport
   return pair
end

-- A session: keys, data both ways, a rekey, more data, an end. Stops as soon as either side has failed.
local function session(pair, change)
   pair.change = change
   local function failed()
      return pair.client:failure() or pair.server:failure()
   end
   if not (pair.client:start() and pair.server:start()) then
      return
   end
   pair:run()
   if failed() or not (pair.client:set_authenticated() and pair.server:set_authenticated()) then
      return
   end
   for round = 1, 2 do
      for i = 1, 3 do
         pair.client:send("\94" .. ("c"):rep(i * 3000))
         pair.server:send("\94" .. ("s"):rep(i * 3000))
      end
      if round == 1 then
         pair.client:rekey()
         pair.client:send("\94held")
      end
      pair:run()
      if failed() then
         return
      end
   end
   pair.client:disconnect(11, "done")
   pair:run()
end

-- Runs the session with the n-th allocation failing, for each n, until all of it goes through.
local function each_failure(options, side, fail_on, change, check)
   local n, ended = 0, false
   while not ended do
      n = n + 1
      local heap = testing.heap.new(n, fail_on)
      local pair = make(options, side, heap)
      if pair then
         session(pair, change)
         ended = heap:allocations() < n
         check(pair, ended)
         pair:close()
      end
      assert.equal(0, heap:in_use())
      assert.is_true(n < 5000)
   end
   return n
end

local KNOWN = { memory = true, disconnected = true, closed = true, limit = true }

for _, options in ipairs(OPTIONS) do
   for _, side in ipairs{ "client", "server" } do
      for _, fail_on in ipairs{ false, true } do
         local which = fail_on and "one allocation and all after it" or "one allocation"
         describe(("a %s under %s, with %s failing,"):format(side, options.name, which), function()
            it("ends in the right data or a failure that says so", function()
               local n = each_failure(options, side, fail_on, nil, function(pair, ended)
                  for _, role in ipairs{ "client", "server" } do
                     for i, payload in ipairs(pair:payloads(role)) do
                        assert.is_true(i <= 7)
                        assert.truthy(payload:find(role == "client" and "^\94s+$" or "^\94c+$") or
                           payload == "\94held")
                     end
                  end
                  local failure = pair[side]:failure()
                  if ended then
                     assert.is_true(failure.code == "closed" or failure.code == "disconnected")
                     assert.equal(7, #pair:payloads("server"))
                     assert.equal(6, #pair:payloads("client"))
                  elseif failure then
                     assert.is_true(KNOWN[failure.code])
                  end
               end)
               assert.is_true(n > 30)
            end)

            if side == "client" then
               it("never takes a host key whose signature is bad", function()
                  each_failure(options, side, fail_on, function(from, bytes)
                     return from == "server" and clear.edit(bytes, function(payload)
                        if payload:byte() == (options.kex and 33 or 31) then
                           return payload:sub(1, -2) .. string.char(payload:byte(-1) ~ 1)
                        end
                     end)
                  end, function(pair)
                     assert.is_nil(pair:kinds("client"):find("host_key", 1, true))
                     assert.equal("", pair.client:info().kex)
                     local failure = pair.client:failure()
                     assert.truthy(failure == nil or failure.code == "memory" or failure.code == "protocol")
                  end)
               end)
            end
         end)
      end
   end
end

describe("a wrong MAC, with each allocation failing,", function()
   it("is never let in", function()
      for n = 1, 60 do
         local heap = testing.heap.new()
         local pair = Pair.new({ cipher = "aes128-gcm@openssh.com" }, nil, heap):open(true):forget()
         pair.client:ask_mac(n % 2 == 0)
         heap:fail(n)
         assert(pair.server:send("\94" .. ("x"):rep(50000)))
         local wire = pair.server:output()
         wire = wire:sub(1, -2) .. string.char(wire:byte(-1) ~ 1)
         while wire ~= "" and not pair.client:failure() and #pair.events.client == 0 do
            wire = wire:sub(pair.client:feed(wire) + 1)
            pair:take("client")
         end
         assert.same({}, pair:payloads("client"))
         local failure = pair.client:failure()
         assert.truthy(failure and (failure.code == "mac" or failure.code == "memory")
            or pair:kinds("client") == "mac_error")
         pair:close()
      end
   end)
end)
