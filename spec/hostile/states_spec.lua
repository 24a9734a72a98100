-- Attacks, row K3: every message number in every state of a client, against a table of what must come of it.
--
-- A known message is well formed. Where it is out of place the client ends. A number without a name is answered
-- UNIMPLEMENTED, but in the first key exchange of a strict server, and before authentication from 80 to 127, which
-- are those of what runs after it (RFC 4252 6): there the client ends, too.

local oracle = require "spec.support.oracle"
local samples = require "spec.support.samples"
local wire = require "spec.support.wire"

-- What may come of a number: "rejected"; "alive" (the script goes on to its end); "disconnected"; "consumed" (it was in
-- place, but the script's own message then no longer is: the client ends, or goes on).
local function verdicts(special, unknown)
   local table_of = {}
   for number = 0, 255 do
      table_of[number] = special[number] or samples[number] and "rejected" or unknown
   end
   table_of[1] = "disconnected"
   return table_of
end

local function with(base, more)
   local merged = {}
   for number, verdict in pairs(base) do
      merged[number] = verdict
   end
   for number, verdict in pairs(more) do
      merged[number] = verdict
   end
   return merged
end

local optional = { [2] = "alive", [3] = "alive", [4] = "alive" }

local before_login = with(optional, {})
for number = 80, 127 do
   before_login[number] = "rejected"
end

local open = with(optional, { [80] = "alive", [81] = "alive", [82] = "alive", [90] = "alive" })
local on_channel = with(open, { [93] = "alive", [94] = "alive", [95] = "alive", [98] = "alive", [99] = "alive",
   [100] = "alive" })

-- A state is a moment of the peer's script, or the client at rest after it; `unknown` is what numbers without a name
-- lead to.
local states = {
   { name = "before the server's KEXINIT, which is strict", moment = "ident", strict = true, special = {},
      unknown = "rejected" },
   { name = "between KEXINIT and reply of a strict server", moment = "kexinit", strict = true, special = {},
      unknown = "rejected" },
   { name = "between reply and NEWKEYS of a strict server", moment = "reply", strict = true, special = {},
      unknown = "rejected" },
   { name = "before the server's KEXINIT", moment = "ident", special = before_login },
   { name = "between KEXINIT and reply", moment = "kexinit", special = before_login },
   { name = "between reply and NEWKEYS", moment = "reply", special = before_login },
   { name = "after NEWKEYS", moment = "newkeys", ext_info = false, special = with(before_login, { [7] = "alive" }) },
   { name = "before SERVICE_ACCEPT", moment = "service", special = before_login },
   { name = "with a password on its way", moment = "accepted", special = with(before_login, { [7] = "alive",
      [53] = "alive" }) },
   { name = "with a signature on its way", moment = "userauth", auth = "publickey",
      special = with(before_login, { [7] = "alive", [53] = "alive" }) },
   { name = "with a probe on its way", moment = "userauth", auth = "probe",
      special = with(before_login, { [53] = "alive" }) },
   { name = "with keyboard-interactive on its way", moment = "userauth", auth = "interactive",
      special = with(before_login, { [53] = "alive", [60] = "consumed" }) },
   { name = "with answers to prompts on their way", moment = "answered", auth = "interactive",
      special = with(before_login, { [7] = "alive", [53] = "alive", [60] = "consumed" }) },
   { name = "after a failure, with nothing on its way", at_rest = true, auth = "none",
      special = with(before_login, { [7] = "alive", [53] = "alive", [20] = "alive" }) },
   { name = "authenticated, without a channel", at_rest = true, command = false, special = with(open, {
      [20] = "alive" }) },
   { name = "with a channel being opened", moment = "opening", special = open },
   { name = "with a channel open", moment = "opened", special = on_channel },
   { name = "with a command running", moment = "running", special = on_channel },
   { name = "after the channel's EOF", moment = "eof", special = with(on_channel, { [94] = "rejected",
      [95] = "rejected", [96] = "alive" }) },
   { name = "after the channel's CLOSE", moment = "closed", special = open },
   { name = "between KEXINIT and reply of a later exchange", moment = "rekey_kexinit", special = optional },
   { name = "between reply and NEWKEYS of a later exchange", moment = "rekey_reply", special = optional },
   { name = "waiting for the server's KEXINIT of an exchange of its own", at_rest = true, command = false,
      rekey = true, special = with(open, { [20] = "consumed" }) },
}

-- Runs a state with `payloads(peer)`, a list, sent in it.
local function run(state, payloads)
   local function inject(peer)
      return payloads(peer)
   end
   local case = oracle.prepare{
      client = { auth = state.auth, command = state.command },
      peer = {
         strict = state.strict or false, ext_info = state.ext_info,
         rekey_first = state.moment and state.moment:find("^rekey") and true or nil,
         inject = state.moment and state.moment ~= "answered" and { [state.moment] = inject } or nil,
         steps = {
            info_response = state.moment == "answered" and function(peer)
               peer:answer(inject(peer))
               return wire.message("USERAUTH_SUCCESS")
            end or nil,
         },
      },
      at_rest = state.at_rest and function(self)
         if self.done then
            return false
         end
         self.done = true
         if state.rekey then
            assert(self.client.session:rekey())
            self.peer.steps.payload = function(peer, number, payload)
               if number == 20 then
                  peer:answer(inject(peer))
                  peer.steps.payload = nil
                  peer:handle(payload)
                  return true
               end
            end
         else
            self.peer:answer(inject(self.peer))
         end
         return true
      end or nil,
   }
   return case:go()
end

-- Message 20 where keys may be exchanged: the peer's own, so that the exchange goes on to its end.
local function payload_of(state, number, peer)
   if number == 20 and state.special[20] == "alive" then
      peer:rekey()
      return {}
   end
   return { samples[number] and samples[number](peer) or string.char(number) .. "\0\0\0\1x" }
end

local function judge(state, number, verdict)
   local case = run(state, function(peer) return payload_of(state, number, peer) end)
   local code, words, reason = case.client.session:failure()
   local shown = ("message %d: %s (%s)"):format(number, code, words)
   oracle.kept_secrets(case)
   if verdict == "alive" then
      assert.is_nil(code, shown)
   elseif verdict == "disconnected" then
      assert.are.equal("disconnected", code, shown)
      oracle.rejected(case, code)
   elseif verdict == "rejected" or code then
      assert.is_truthy(code == "protocol" or code == "mac", shown)
      oracle.rejected(case, code, reason)
      assert.is_truthy(reason == 2 or reason == 3 or reason == 5, shown)
   end
end

for _, state in ipairs(states) do
   state.verdicts = verdicts(state.special, state.unknown or "unimplemented")
   describe("K3: a client " .. state.name, function()
      it("does with each of the known messages what it must", function()
         for number in pairs(samples) do
            judge(state, number, state.verdicts[number])
         end
      end)

      it("rejects those without a name that are out of the question here", function()
         for number, verdict in pairs(state.verdicts) do
            if verdict == "rejected" and not samples[number] then
               judge(state, number, "rejected")
            end
         end
      end)

      it("answers UNIMPLEMENTED to each of the others, naming it, and goes on", function()
         local sent = {}
         local case = run(state, function(peer)
            for number = 0, 255 do
               if state.verdicts[number] == "unimplemented" then
                  table.insert(sent, peer.out.sequence)
                  peer:send(string.char(number) .. "anything")
               end
            end
            return {}
         end)
         local answered = {}
         for _, payload in ipairs(case.peer:seen("UNIMPLEMENTED")) do
            local _, sequence = wire.unpack("bu", payload)
            table.insert(answered, sequence)
         end
         assert.are.same(sent, answered)
         oracle.alive(case)
         if state.unknown == "rejected" then
            assert.are.equal(0, #sent)
         else
            assert.is_true(#sent > 150)
         end
      end)
   end)
end
