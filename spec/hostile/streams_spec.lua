-- Attacks, section 2.1 and 2.2: the server's stream cut, split and held up at every byte; each of its messages cut at
-- every length, and with wrong lengths in it.

local oracle = require "spec.support.oracle"
local samples = require "spec.support.samples"
local wire = require "spec.support.wire"

local message = wire.message

-- A session with a bit of everything: key exchange, authentication that fails once, a command with output on both
-- streams, a key exchange in its middle, the end of the channel, and DISCONNECT.
local function script(more)
   local case = {
      client = { auth = { "none", "interactive", "publickey" }, on = {} },
      peer = {
         rekey_first = true, errors = "to stderr\n", status = 3,
         steps = { info_response = function(peer)
            return message("USERAUTH_FAILURE", "so", "publickey", true), peer
         end },
         inject = {
            accepted = message("USERAUTH_BANNER", "ss", "welcome", ""),
            running = function(peer)
               return { message("CHANNEL_WINDOW_ADJUST", "uu", peer.channels[1].remote, 100),
                  message("DEBUG", "oss", false, "debug", "") }
            end,
            closed = message("DISCONNECT", "uss", 11, "bye", ""),
         },
      },
   }
   for name, value in pairs(more or {}) do
      case[name] = value
   end
   return case
end

-- What the client heard, in order; events of the same stream in pieces count as one.
local function heard(run)
   local list = {}
   for _, event in ipairs(run.client.events) do
      local kind = event[1]
      if kind ~= "data" and kind ~= "host_key" and kind ~= "window" then
         local shown = {}
         for i = 1, event.n do
            shown[i] = type(event[i]) == "table" and "table" or tostring(event[i])
         end
         table.insert(list, table.concat(shown, " "))
      end
   end
   return list
end

local whole = oracle.run(script())
local expected = heard(whole)
local length = whole.peer_bytes

local function complete(run)
   assert.are.same(expected, heard(run))
   assert.are.equal("hello\n", run.client.stdout)
   assert.are.equal("to stderr\n", run.client.stderr)
   oracle.rejected(run, "disconnected")
end

describe("the script", function()
   it("is what it is said to be", function()
      assert.are.equal("disconnected", (whole.client.session:failure()))
      assert.are.equal(3, whole.client.status)
      assert.are.equal(2, whole.client:count("kex_done"))
      assert.is_true(length > 1500)
      for _, kind in ipairs{ "banner", "auth_failure", "auth_prompts", "auth_success", "opened", "reply", "debug",
         "exit_status", "eof", "closed", "disconnect" } do
         assert.is_true(whole.client:count(kind) >= 1, kind)
      end
   end)
end)

describe("the server's stream", function()
   it("cut at any byte ends in one failure, and in no event that was not there before", function()
      for n = 0, length do
         local run = oracle.run(script{ cut = n })
         local code = run.client.session:failure()
         if code ~= "disconnected" then
            assert.are.equal("eof", code, "cut at " .. n)
            local list = heard(run)
            assert.are.equal("failed", table.remove(list))
            for i, event in ipairs(list) do
               assert.are.equal(expected[i], event, "cut at " .. n)
            end
         end
         oracle.rejected(run, code)
         assert.are.equal("disconnected" == code, n >= length, "cut at " .. n)
      end
   end)

   it("split in two at any byte is the same", function()
      for n = 1, length do
         local at = 0
         complete(oracle.run(script{ chunk = function(available)
            local take = at < n and n - at or available
            at = at + math.min(take, available)
            return take
         end }))
      end
   end)

   it("byte by byte is the same", function()
      complete(oracle.run(script{ chunk = 1 }))
   end)

   it("in pieces of random sizes is the same", function()
      for seed = 1, 100 do
         math.randomseed(seed)
         complete(oracle.run(script{ chunk = function() return math.random(1, 37) end }))
      end
   end)
end)

describe("the client's stream", function()
   for name, rule in pairs{
      ["one byte at a time"] = function() return 1 end,
      ["three bytes at a time"] = function() return 3 end,
      ["random numbers of bytes at a time"] = function() return math.random(0, 40) end,
   } do
      it("is the same when the transport takes " .. name, function()
         math.randomseed(1)
         complete(oracle.run(script{ taken = rule }))
      end)
   end

   it("waits when the transport takes nothing for long", function()
      local n = 0
      complete(oracle.run(script{ taken = function()
         n = n + 1
         return n % 10000 == 0 and 1000 or 0
      end }))
   end)

   it("and the server's may both trickle", function()
      complete(oracle.run(script{ taken = 1, chunk = 1 }))
   end)
end)

-- --- each kind of message, cut and with wrong lengths

-- Where a message comes up: options of peer and client, and the shortest that is accepted when that is not the whole.
local scenes = {
   [1] = { moment = "running", always = "disconnected" },
   [2] = { moment = "running" }, [3] = { moment = "running" }, [4] = { moment = "running" },
   [6] = { own = true }, [7] = { own = true },
   [20] = { own = true, places = {} }, -- K9 has its lengths, K14 those of the next
   [31] = { own = true, places = {} },
   [51] = { own = true, client = { auth = { "none", "password" } } },
   [53] = { moment = "userauth" },
   ["60 publickey"] = { own = true, number = 60, client = { auth = "probe" } },
   ["60 interactive"] = { own = true, number = 60, client = { auth = "interactive" } },
   ["60 password"] = { own = true, number = 60, peer = { steps = { userauth = function()
      return message("USERAUTH_PASSWD_CHANGEREQ", "ss", "change it", "en")
   end } } },
   [80] = { moment = "running", shortest = 1 + 4 + #"x@example.com" + 1 },
   [81] = { moment = "running", shortest = 1 }, [82] = { moment = "running" },
   [90] = { moment = "running", shortest = 1 + 4 + #"x11" + 12 },
   [91] = { own = true, shortest = 1 + 16, places = { 2, 10, 14 } }, -- its number for the channel is its own affair
   [92] = { own = true, peer = { steps = { channel_open = function(_, channel)
      return message("CHANNEL_OPEN_FAILURE", "uuss", channel.remote, 1, "no such thing", "en")
   end } } },
   [93] = { moment = "running" }, [94] = { moment = "running" }, [95] = { moment = "running" },
   [96] = { own = true }, [97] = { own = true },
   ["98 other"] = { moment = "running", number = 98, shortest = 1 + 4 + 4 + #"x@example.com" + 1 },
   ["98 exit-status"] = { own = true, number = 98 },
   ["98 exit-signal"] = { own = true, number = 98, peer = { steps = { run = function(peer, channel)
      peer:message("CHANNEL_REQUEST", "usososs", channel.remote, "exit-signal", false, "TERM", true, "why", "en")
   end } } },
   [99] = { own = true }, [100] = { moment = "running" },
}
-- A run in which the first message of a scene is changed by a function.
local function changed(scene, number, change)
   local steps = {}
   for name, step in pairs(scene.peer and scene.peer.steps or {}) do
      steps[name] = step
   end
   local done, marked = false, not scene.moment
   steps.sending = function(_, payload)
      if marked and not done and payload:byte() == number then
         done = true
         return change(payload)
      end
      return payload
   end
   return oracle.run{
      client = scene.client and { auth = scene.client.auth } or nil,
      peer = { steps = steps, inject = scene.moment and { [scene.moment] = function(peer)
         marked = true
         return samples[number](peer)
      end } or nil },
   }
end

local function whole_of(scene, number)
   local found
   changed(scene, number, function(payload)
      found = payload
      return payload
   end)
   return assert(found, "the message does not come: " .. number)
end

-- Ended by it, with a code that belongs to its kind.
local function ended(run, scene, number, shown)
   local code, words, reason = run.client.session:failure()
   assert.is_truthy(code, shown .. ": nothing comes of it")
   if scene.always then
      assert.are.equal(scene.always, code, shown)
      oracle.rejected(run, code)
   else
      assert.is_truthy(code == "protocol" or code == "limit", shown .. ": " .. words)
      assert.are.equal(number == 20 and 3 or number == 31 and 3 or 2, reason, shown)
      oracle.rejected(run, code, reason)
   end
end

for key, scene in pairs(scenes) do
   local number = scene.number or key
   describe("message " .. key, function()
      it("is rejected when it is cut, at any length", function()
         local payload = whole_of(scene, number)
         for n = 0, #payload - 1 do
            local run = changed(scene, number, function(all) return all:sub(1, n) end)
            local shown = ("message %s cut to %d bytes"):format(key, n)
            if scene.shortest and n >= scene.shortest then
               oracle.alive(run)
            elseif n == 0 then
               oracle.rejected(run, "protocol", 2, "padding")
            else
               ended(run, scene, number, shown)
            end
         end
      end)

      it("is rejected when there is more of it (P9)", function()
         for n = 1, 16 do
            local run = changed(scene, number, function(all) return all .. ("\0"):rep(n) end)
            if scene.shortest and number ~= 82 then
               oracle.alive(run)
            else
               ended(run, scene, number, ("message %s with %d bytes more"):format(key, n))
            end
         end
      end)

      it("is taken or rejected, cleanly, with any wrong length in it", function()
         local payload = whole_of(scene, number)
         local places = scene.places or {}
         for at = 2, scene.places and 0 or #payload - 3 do
            table.insert(places, at)
         end
         for _, at in ipairs(places) do
            for _, value in ipairs{ 0, 1, 2, 3, 4, 7, 8, 0xff, 0x100, 0xffff, 0x10000, 0x7fffffff, 0x80000000,
               0xfffffff0, 0xfffffffe, 0xffffffff } do
               local run = changed(scene, number, function(all)
                  return all:sub(1, at - 1) .. (">I4"):pack(value) .. all:sub(at + 4)
               end)
               local code, words, reason = run.client.session:failure()
               oracle.kept_secrets(run)
               if code then
                  assert.is_truthy(code == "protocol" or code == "limit" or code == "negotiation" or
                     code == "disconnected" or code == "mac", ("%s at %d: %s"):format(key, at, words))
                  oracle.rejected(run, code, code ~= "disconnected" and reason or nil)
               else
                  oracle.alive(run)
                  oracle.close(run)
               end
            end
         end
      end)
   end)
end

describe("a message without a number", function()
   it("cannot be: an empty payload is rejected in every phase", function()
      for _, moment in ipairs{ "ident", "kexinit", "reply", "newkeys", "userauth", "authenticated", "running" } do
         oracle.rejected(oracle.run{ peer = { inject = { [moment] = "" } } }, "protocol", 2, "padding")
      end
   end)
end)
