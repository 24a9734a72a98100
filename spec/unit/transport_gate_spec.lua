-- Every message number in every state: what is let in, what is answered with UNIMPLEMENTED, what ends the connection.

local Pair = require "spec.support.pair"
local clear = require "spec.support.clear"
local kexinit = require "spec.support.kexinit"

-- Known numbers by the phase they belong to, and by who may send them.
local TRANSPORT = { [1] = true, [2] = true, [3] = true, [4] = true }
local KNOWN = {}
for _, number in ipairs{ 1, 2, 3, 4, 5, 6, 7, 20, 21, 30, 31, 32, 33, 34, 50, 51, 52, 53, 60, 61, 80, 81, 82 } do
   KNOWN[number] = true
end
for number = 90, 100 do
   KNOWN[number] = true
end
local SERVER_ONLY = { [6] = true, [51] = true, [52] = true, [53] = true, [60] = true }
local CLIENT_ONLY = { [5] = true, [50] = true, [61] = true }

-- The verdict that the RFCs ask for. state: strict, kex (an exchange is under way), expected (its number), open
-- (authenticated), skips (a wrong guess is to come).
local function verdict(number, state)
   local foreign = state.receiver == "client" and CLIENT_ONLY or SERVER_ONLY
   if state.skips and number >= 30 and number <= 49 then
      return "dropped"
   elseif not KNOWN[number] then
      -- The numbers of the connection protocol are reserved until authentication (RFC 4252 6).
      local too_early = number >= 80 and number <= 127 and not state.open and (state.first or not state.kex)
      return (too_early or state.kex and state.strict and state.first) and "reject" or "unimplemented"
   elseif foreign[number] then
      return "reject"
   elseif number == state.expected then
      return "in"
   elseif number >= 20 and number <= 49 then
      return "reject"
   elseif TRANSPORT[number] then
      local strict = state.kex and state.strict and state.first
      return (number == 1 or not strict) and "in" or "reject"
   elseif state.kex then
      return "reject"
   elseif number == 5 then
      return "in"
   elseif number == 6 or number == 7 or number <= 79 then
      return state.open and "reject" or "in"
   end
   return state.open and "in" or "reject"
end

-- Both sides, with KEXINITs of these fields; only_server_kex says what the server prefers.
local function begin(fields, server_fields, options)
   local pair = Pair.new(options, options)
   fields = fields or {}
   fields.host_key = fields.host_key or "ssh-ed25519"
   assert(pair.client:kexinit(kexinit(fields)))
   server_fields = server_fields or fields
   server_fields.host_key = server_fields.host_key or "ssh-ed25519"
   assert(pair.server:kexinit(kexinit(server_fields)))
   return pair
end

-- Runs until the receiver expects this number, not a byte further; it is the client unless `receiver` says so.
local function until_expected(pair, number, receiver)
   receiver = receiver or "client"
   local sender = receiver == "client" and "server" or "client"
   local function there()
      local _, expected = pair[receiver]:gate()
      return expected == number and pair[receiver]:input_room() > 0
   end
   for _ = 1, 20 do
      pair:chunk(1)
      repeat
         pair:take(receiver)
         if there() then
            return pair
         end
      until not pair:move(sender)
      pair:chunk(nil):move(receiver)
      pair:take(sender)
   end
   error("never came to expect " .. number)
end

local GEX = { kex = "diffie-hellman-group-exchange-sha256", cipher = "aes128-ctr" }
local MARKS = { client = "kex-strict-c-v00@openssh.com", server = "kex-strict-s-v00@openssh.com" }

local function strict(more)
   local client, server = { marks = MARKS.client }, { marks = MARKS.server }
   for name, value in pairs(more or {}) do
      client[name], server[name] = value, value
   end
   return begin(client, server)
end

local function opened(authenticated)
   return Pair.new():open(authenticated):forget()
end

-- name, state for the verdict, function that gives the pair
local STATES = {
   { "before the server's KEXINIT", { first = true, kex = true, expected = 20 }, function()
      local pair = Pair.new()
      assert(pair.client:start())
      pair.server:queue("SSH-2.0-x\r\n")
      pair:run()
      return pair
   end },
   { "a strict first exchange, waiting for the reply", { first = true, kex = true, strict = true, expected = 31 },
      function() return until_expected(strict(), 31) end },
   { "a first exchange without strict, waiting for the reply", { first = true, kex = true, expected = 31 },
      function() return until_expected(begin{ cipher = "aes128-ctr" }, 31) end },
   { "a group exchange, waiting for the group", { first = true, kex = true, strict = true, expected = 31 },
      function() return until_expected(strict(GEX), 31) end },
   { "a group exchange, waiting for the reply", { first = true, kex = true, strict = true, expected = 33 },
      function() return until_expected(strict(GEX), 33) end },
   { "a strict first exchange, waiting for NEWKEYS",
      { first = true, kex = true, strict = true, expected = 21, clear = true },
      function() return until_expected(strict(), 21) end },
   { "a first exchange without strict, waiting for NEWKEYS", { first = true, kex = true, expected = 21,
      clear = true }, function() return until_expected(begin{ cipher = "aes128-ctr" }, 21) end },
   { "right after NEWKEYS", { expected = 20 }, function()
      local pair = Pair.new():start()
      pair:move("client")
      pair:take("server")
      pair.server:without_ext_info()
      return pair:run():forget()
   end },
   { "authentication", { expected = 20 }, function() return opened() end },
   { "an open session", { open = true, expected = 20 }, function() return opened(true) end },
   { "an open session that has sent KEXINIT", { open = true, expected = 20 }, function()
      local pair = opened(true)
      assert(pair.client:rekey())
      pair.client:output()
      return pair
   end },
   { "a rekey, waiting for the reply", { open = true, kex = true, strict = true, expected = 31 }, function()
      local pair = opened(true)
      assert(pair.server:rekey())
      return until_expected(pair, 31)
   end },
   { "a rekey of a server that waits for NEWKEYS",
      { receiver = "server", open = true, kex = true, strict = true, expected = 21 }, function()
         local pair = opened(true)
         assert(pair.server:rekey())
         return until_expected(pair, 21, "server")
      end },
   { "a rekey before authentication, waiting for the reply", { kex = true, strict = true, expected = 31 }, function()
      local pair = opened()
      assert(pair.server:kexinit(kexinit{ host_key = "ssh-ed25519" }))
      return until_expected(pair, 31)
   end },
   { "a wrong guess that is still to come", { first = true, kex = true, expected = 31, skips = true }, function()
      return until_expected(begin({ cipher = "aes128-ctr" },
         { cipher = "aes128-ctr", follows = true, kex = "ecdh-sha2-nistp256,curve25519-sha256" }), 31)
   end },
   { "a server before the client's KEXINIT", { receiver = "server", first = true, kex = true, expected = 20 },
      function()
         local pair = Pair.new()
         assert(pair.server:start())
         pair.client:queue("SSH-2.0-x\r\n")
         pair:run()
         return pair
      end },
   { "a server in a strict first exchange",
      { receiver = "server", first = true, kex = true, strict = true, expected = 30 },
      function() return until_expected(strict(), 30, "server") end },
   { "a server in a group exchange",
      { receiver = "server", first = true, kex = true, strict = true, expected = 34 },
      function() return until_expected(strict(GEX), 34, "server") end },
   { "a server in a group exchange, with the group sent",
      { receiver = "server", first = true, kex = true, strict = true, expected = 32 },
      function() return until_expected(strict(GEX), 32, "server") end },
   { "a server waiting for NEWKEYS",
      { receiver = "server", first = true, kex = true, strict = true, expected = 21 },
      function() return until_expected(strict(), 21, "server") end },
   { "a server in authentication", { receiver = "server", expected = 20 }, function() return opened() end },
   { "an open server", { receiver = "server", open = true, expected = 20 }, function() return opened(true) end },
}

-- What the receiver made of a message, told by what it did. A server's own keys are new already when its NEWKEYS is
-- awaited: then the message goes out in the clear, as it would before it.
local function observed(pair, state, number)
   local receiver = state.receiver
   local to, from = pair[receiver], pair[receiver == "client" and "server" or "client"]
   from:output()
   to:trace(true)
   if state.clear then
      assert(from:queue(clear.packet(string.char(number))))
   else
      assert(from:send_raw(string.char(number)))
   end
   assert.is_true(to:feed(from:output()) > 0)
   local kind = to:next()
   local failure, answered, received = to:failure(), false, 0
   for _ = 1, 10 do
      local direction, n = to:trace_next()
      answered = answered or direction == "sent" and n == 3
      received = received + (direction == "received" and 1 or 0)
   end
   assert.equal(1, received)
   if failure and failure.message:find("is out of place", 1, true) then
      assert.equal("protocol", failure.code)
      assert.equal(2, failure.reason)
      assert.equal("failed", kind)
      assert.truthy(failure.message:find(("message %d "):format(number), 1, true))
      return "reject"
   elseif answered then
      assert.equal("none", kind)
      return "unimplemented"
   elseif not failure and kind == "none" then
      return "dropped"
   end
   return "in"
end

describe("a message in", function()
   for _, row in ipairs(STATES) do
      local name, state, make = row[1], row[2], row[3]
      state.receiver = state.receiver or "client"
      it(name .. " gets the verdict it must, whatever its number", function()
         local counts = {}
         for number = 0, 255 do
            local pair = make()
            local expected = verdict(number, state)
            -- EXT_INFO is let in by the gate, and then judged by its place.
            assert.equal(number .. " " .. expected, number .. " " .. observed(pair, state, number))
            counts[expected] = (counts[expected] or 0) + 1
            pair:close()
         end
         assert.is_true(counts["in"] >= 2)
      end)
   end
end)

describe("a second message of its kind", function()
   local function rejected(pair, text)
      pair:run()
      assert.equal("protocol", pair.client:failure().code)
      assert.truthy(pair.client:failure().message:find(text, 1, true))
   end

   it("is rejected: KEXINIT", function()
      local pair = Pair.new():start()
      pair:move("server")
      assert(pair.server:send_raw(kexinit{}))
      rejected(pair, "message 20 (KEXINIT) is out of place")
   end)

   it("is rejected: the reply", function()
      local pair = until_expected(strict(), 21)
      pair.server:output()
      assert(pair.server:queue(clear.packet("\31x")))
      rejected(pair, "message 31 (KEX_31) is out of place")
   end)

   it("is rejected: NEWKEYS", function()
      local pair = opened()
      assert(pair.server:send_raw("\21"))
      rejected(pair, "message 21 (NEWKEYS) is out of place")
   end)

   it("with junk behind it is rejected: NEWKEYS", function()
      for junk = 1, 16 do
         local pair = until_expected(strict(), 21)
         pair.server:output()
         assert(pair.server:queue(clear.packet("\21" .. ("x"):rep(junk))))
         rejected(pair, "NEWKEYS is too long")
      end
   end)
end)

describe("messages 1 to 4", function()
   local function got(payload)
      local pair = opened(true)
      assert(pair.server:send_raw(payload))
      pair:run()
      return pair.events.client[1], pair.client:failure()
   end

   it("come up with their fields", function()
      local event = got("\2\0\0\0\3abc")
      assert.equal("ignore", event.kind)
      assert.equal("abc", event.data)
      event = got("\4\1\0\0\0\3abc\0\0\0\2en")
      assert.equal("debug", event.kind)
      assert.is_true(event.always_display)
      assert.equal("abc", event.data)
      assert.equal("en", event.language)
      event = got("\4\0\0\0\0\0\0\0\0\0")
      assert.is_false(event.always_display)
      event = got("\3\0\0\1\2")
      assert.equal("unimplemented", event.kind)
      assert.equal(258, event.sequence)
   end)

   it("are rejected when cut short or followed by junk", function()
      for _, payload in ipairs{ "\2\0\0\0\3abc", "\4\1\0\0\0\3abc\0\0\0\2en", "\3\0\0\1\2" } do
         for len = 1, #payload - 1 do
            local _, failure = got(payload:sub(1, len))
            assert.equal("protocol", failure.code)
         end
         local _, failure = got(payload .. "x")
         assert.equal("protocol", failure.code)
         assert.truthy(failure.message:find("is not well formed", 1, true))
      end
   end)

   it("a DISCONNECT is never lost, however it is cut", function()
      local payload = "\1\0\0\0\11\0\0\0\3bye\0\0\0\2en"
      for len = 1, #payload do
         local event, failure = got(payload:sub(1, len))
         assert.equal("disconnect", event.kind)
         assert.equal("disconnected", failure.code)
         assert.equal(len >= 5 and 11 or 0, event.reason)
         assert.equal(len >= 12 and "bye" or "", event.data)
      end
      assert.equal("en", (got(payload)).language)
   end)

   it("their text cannot harm a terminal", function()
      local _, failure = got("\1\0\0\0\2\0\0\0\8\27[2J\0\r\n\155\0\0\0\0")
      assert.equal("the peer disconnected: \\x1b[2J\\x00\\x0d\\x0a\\x9b", failure.message)
   end)

   it("an unknown message is answered with its sequence number", function()
      local pair = opened(true)
      for i = 0, 5 do
         assert(pair.client:send_raw("\200"))
         pair:run()
         local event = pair.events.client[#pair.events.client]
         assert.equal("unimplemented", event.kind)
         assert.equal(i, event.sequence)
      end
   end)
end)
