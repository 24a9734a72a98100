-- Every message number in every state of a session, every message cut at every length, and floods.

local messages = require "spec.support.messages"
local SessionPair = require "spec.support.session_pair"
local testing = require "moonssh_testing"

local key = assert(testing.keys.generate("ed25519"))
local KEY = { "moon", "ssh-ed25519", key:blob() }

-- One well-formed payload of every message that has a row; numbers without one are just themselves.
local payloads = {
   [1] = messages.disconnect(2, "bye", "en"), [2] = messages.ignore("noise"), [3] = messages.unimplemented(3),
   [4] = messages.debug(true, "words", "en"), [5] = messages.service_request("ssh-userauth"),
   [6] = messages.service_accept("ssh-userauth"), [7] = messages.ext_info(0), [20] = "\20", [21] = "\21",
   [50] = messages.userauth_request("u", "ssh-connection", "none"), [51] = messages.userauth_failure("password", false),
   [52] = messages.userauth_success(), [53] = messages.userauth_banner("Hello", "en"),
   [60] = messages.pk_ok(KEY[2], KEY[3]), [61] = messages.info_response(0),
   [80] = messages.global_request("name", true, "rest"), [81] = messages.request_success("rest"),
   [82] = messages.request_failure(), [90] = messages.channel_open("x11", 3, 1, 1, "rest"),
   [91] = messages.open_confirmation(0, 9, 100, 100), [92] = messages.open_failure(0, 1, "no", "en"),
   [93] = messages.window_adjust(0, 1), [94] = messages.channel_data(0, "data"),
   [95] = messages.extended_data(0, 1, "data"), [96] = messages.channel_eof(0), [97] = messages.channel_close(0),
   [98] = messages.channel_request(0, "name", true, "rest"), [99] = messages.channel_success(0),
   [100] = messages.channel_failure(0),
}
for number = 30, 34 do
   payloads[number] = string.char(number) .. ("\0"):rep(8)
end

local INFO_REQUEST = messages.prompts("name", "instruction", { { text = "Password:" } })

-- Bytes at the end whose form is another layer's.
local open_ended = { [80] = 4, [81] = 4, [90] = 4, [91] = 0, [98] = 4 }

-- --- states: each takes a pair that is not started and brings it there

local function silent()
   return true
end

local states = {}

function states.first_packet(pair)
   pair.raw = true
   assert(pair.session:start())
   pair.session:output()
   pair.session:feed("SSH-2.0-hostile\r\n")
   pair:take()
end

function states.keys_begun(pair)
   pair.raw = true
   assert(pair.session:start())
   pair.server:start()
   pair:move_to_client()
   pair:take()
end

function states.keys_exchanged(pair)
   pair.login = function() end
   pair:run()
end

function states.service_asked(pair)
   pair.server.on.service_request = silent
   pair.server.on.userauth_request = silent
   pair:run()
end

local function asked(login)
   return function(pair)
      pair.login = login
      pair.server.on.userauth_request = silent
      pair:run()
   end
end

states.none_asked = asked(function(session) assert(session:none("moon")) end)
states.password_asked = asked(function(session) assert(session:password("moon", "pw")) end)
states.probe_asked = asked(function(session) assert(session:probe(table.unpack(KEY))) end)
states.key_asked = asked(function(session)
   assert(session:publickey("moon", KEY[2], KEY[3], key:sign(KEY[2], "data")))
end)
states.interactive_asked = asked(function(session) assert(session:interactive("moon")) end)

function states.prompts_open(pair)
   states.interactive_asked(pair)
   pair.server:send(INFO_REQUEST)
   pair:run()
   assert(pair:saw("auth_prompts"))
end

function states.prompts_answered(pair)
   pair.server.on.info_response = silent
   states.prompts_open(pair)
   assert(pair.session:answer{ "a" })
   pair:run()
end

function states.logged_in(pair)
   pair.command = false
   pair:run()
   assert(pair.session:authenticated())
end

function states.opening(pair)
   pair.server.on.channel_open = silent
   pair:run()
   assert(pair.channel)
end

function states.open(pair)
   pair.on.opened = silent
   pair:run()
   assert(pair:saw("opened"))
end

function states.requested(pair)
   pair.server.on.channel_request = silent
   pair:run()
   assert(pair:saw("opened"))
end

function states.eof_received(pair)
   states.requested(pair)
   pair.server:send(payloads[96])
   pair:run()
end

function states.close_sent(pair)
   states.requested(pair)
   pair.server.on.channel_close = silent
   assert(pair.session:close_channel(pair.channel))
   pair:run()
end

function states.closed(pair)
   states.requested(pair)
   pair.on.closed = silent
   pair.server.on.channel_close = silent
   pair.server:send(payloads[97])
   pair:run()
end

-- Our KEXINIT is out, the server has not answered it.
function states.rekey_begun(pair)
   states.requested(pair)
   assert(pair.session:rekey())
end

-- The server's KEXINIT came: it must not send anything else until the keys are new.
function states.rekey_asked(pair)
   states.requested(pair)
   pair.server:rekey()
   pair:move_to_client()
   pair:take()
end

-- --- verdicts: the event a message is in a state; "none": let pass; "unimplemented": answered so; else it is rejected

local UNKNOWN = {}
for number = 0, 255 do
   if not payloads[number] then
      UNKNOWN[number] = "unimplemented"
   end
end

local function with(...)
   local all = {}
   for _, part in ipairs{ ... } do
      for number, verdict in pairs(part) do
         all[number] = verdict
      end
   end
   return all
end

local ANY_TIME = with(UNKNOWN, { [1] = "disconnect", [2] = "ignore", [3] = "unimplemented_event", [4] = "debug" })
-- Before authentication the numbers of what runs after it are errors, known or not (RFC 4252 6).
local EARLY = with(ANY_TIME)
for number = 80, 127 do
   EARLY[number] = false
end
local AUTH = with(EARLY, { [7] = "none", [53] = "banner" })
local ASKED = with(AUTH, { [51] = "auth_failure", [52] = "auth_success" })
local LOGGED_IN = with(ANY_TIME, { [80] = "global_request", [81] = "none", [82] = "none", [90] = "none" })
local OPEN = with(LOGGED_IN, { [93] = "window", [94] = "data", [95] = "data", [96] = "eof", [97] = "closed",
   [98] = "request", [99] = "none", [100] = "none" })
local REQUESTED = with(OPEN, { [99] = "reply", [100] = "reply" })

local verdicts = {
   first_packet = EARLY,
   keys_begun = { [1] = "disconnect" },
   keys_exchanged = with(EARLY, { [7] = "none" }),
   service_asked = with(EARLY, { [6] = "none", [7] = "none" }),
   none_asked = ASKED,
   password_asked = with(ASKED, { [60] = "auth_password_change" }),
   probe_asked = with(AUTH, { [51] = "auth_failure", [60] = "auth_pk_ok" }),
   key_asked = ASKED,
   interactive_asked = ASKED,
   prompts_open = AUTH,
   prompts_answered = ASKED,
   logged_in = LOGGED_IN,
   opening = with(LOGGED_IN, { [91] = "opened", [92] = "open_failed" }),
   open = OPEN,
   requested = REQUESTED,
   eof_received = with(REQUESTED, { [94] = false, [95] = false, [96] = "none" }),
   close_sent = with(REQUESTED, { [93] = "none", [94] = "none", [95] = "none" }),
   closed = LOGGED_IN,
   rekey_begun = REQUESTED,
   rekey_asked = ANY_TIME,
}

-- A clear packet, as before the first NEWKEYS (RFC 4253 6).
local function clear_packet(payload)
   local padding = 8 - (5 + #payload) % 8
   if padding < 4 then
      padding = padding + 8
   end
   return string.pack(">I4B", 1 + #payload + padding, padding) .. payload .. ("\0"):rep(padding)
end

-- The payloads of a stream of clear packets.
local function clear_payloads(bytes)
   local at = 1
   return function()
      if at <= #bytes then
         local length, padding = string.unpack(">I4B", bytes, at)
         at = at + 4 + length
         return bytes:sub(at - length + 1, at - padding - 1)
      end
   end
end

describe("a session", function()
   local pair, heap

   local function enter(state)
      heap = testing.heap.new()
      pair = SessionPair.new{ session = { heap = heap } }
      states[state](pair)
      assert.is_nil(pair.session:failure())
      pair.events = {}
   end

   local function leave()
      pair:close()
      assert.equal(0, heap:in_use())
   end

   local function inject(payload)
      if pair.raw then
         local packet = clear_packet(payload)
         assert.equal(#packet, pair.session:feed(packet))
      else
         pair.server:send_raw(payload)
         while pair:move_to_client() do end
      end
      pair:take()
   end

   -- Ended by the message, having told nobody of it. What belongs to a key exchange ends with its own reason.
   local function rejected(number)
      local recorded, message, reason = pair.session:failure()
      assert.equal("protocol", recorded)
      assert.is_true(reason == 2 or reason == 3 and number >= 20 and number < 50, message)
      assert.is_nil(message:find("[^\x20-\x7e]"))
      assert.equal(1, #pair.events)
      assert.equal("failed", pair.events[1].type)
      assert.same({ nil, "protocol" }, { pair.session:open("session") })
      if pair.raw then
         -- DISCONNECT in clear at the end of the output.
         assert.truthy(pair.session:output():find(string.pack(">BI4", 1, reason), 1, true))
      else
         pair:move_to_server()
         assert.same({ "disconnected", reason }, { pair.server.failed.code, pair.server.failed.reason })
      end
   end

   local function unimplemented_answers()
      local n = 0
      for _, entry in ipairs(pair.server.log) do
         n = n + (entry.kind == "unimplemented" and 1 or 0)
      end
      return n
   end

   for state, expected in pairs(verdicts) do
      it(("judges every message number in state %s"):format(state), function()
         for number = 0, 255 do
            local verdict = expected[number]
            if verdict ~= "unimplemented" then
               enter(state)
               inject(payloads[number] or string.char(number))
               if not verdict then
                  rejected(number)
               elseif verdict == "disconnect" then
                  assert.equal("disconnect", pair.events[1].type)
                  assert.equal("disconnected", (pair.session:failure()))
               else
                  assert.is_nil(pair.session:failure(), number)
                  local event = pair.events[1] and pair.events[1].type or "none"
                  assert.equal(verdict:gsub("_event", ""), event, "message " .. number)
               end
               leave()
            end
         end
      end)

      if expected[255] == "unimplemented" then
         it(("answers unknown message numbers with UNIMPLEMENTED in state %s"):format(state), function()
            enter(state)
            local n = 0
            for number = 0, 255 do
               if expected[number] == "unimplemented" then
                  inject(string.char(number) .. "anything")
                  n = n + 1
               end
            end
            assert.is_nil(pair.session:failure())
            assert.same({}, pair.events)
            if pair.raw then
               local answers = 0
               for payload in clear_payloads(pair.session:output()) do
                  answers = answers + 1
                  assert.equal(3, payload:byte())
               end
               assert.equal(n, answers)
            else
               pair:move_to_server()
               assert.equal(n, unimplemented_answers())
            end
            leave()
         end)
      end
   end

   it("takes a DISCONNECT for the end, however badly it is formed", function()
      for len = 1, #payloads[1] do
         enter("requested")
         inject(payloads[1]:sub(1, len))
         assert.equal("disconnect", pair.events[1].type)
         assert.equal("disconnected", (pair.session:failure()))
         leave()
      end
   end)

   it("rejects every other message that is cut, at every length", function()
      local where = {
         [2] = "open", [3] = "open", [4] = "open", [6] = "service_asked", [7] = "none_asked",
         [51] = "none_asked", [53] = "none_asked", [60] = "probe_asked", [91] = "opening", [92] = "opening",
      }
      local n = 0
      local function cut(number, payload, state)
         for len = 1, #payload - 1 do
            if len < #payload - (open_ended[number] or -1) then
               enter(state)
               inject(payload:sub(1, len))
               assert.is_true(#pair.events == 1, ("message %d cut to %d bytes"):format(number, len))
               rejected(number)
               leave()
               n = n + 1
            end
         end
      end
      for number, payload in pairs(payloads) do
         if number >= 80 or where[number] then
            cut(number, payload, where[number] or "requested")
         end
      end
      cut(60, INFO_REQUEST, "interactive_asked")
      cut(60, messages.password_change("prompt", "en"), "password_asked")
      cut(98, messages.exit_status(0, 1), "requested")
      cut(98, messages.exit_signal(0, "TERM", true, "text", "en"), "requested")
      assert.is_true(n > 300, n)
   end)

   it("sends no authentication before the keys are in use and accepted, whatever comes", function()
      for number = 0, 255 do
         for _, state in ipairs{ "first_packet", "keys_begun" } do
            enter(state)
            inject(payloads[number] or string.char(number))
            local _, err = pair.session:password("moon", "secret")
            assert.equal(pair.session:failure() or "state", err)
            assert.is_nil(pair.session:output():find("ssh-userauth", 1, true))
            leave()
         end
      end
   end)

   describe("holds out against a flood of", function()
      -- Sends n messages as fast as the session reads, while what it answers is taken only when it stops reading.
      local function flood(n, make)
         enter("open")
         pair:run()
         local before = heap:in_use()
         heap:peak()
         local stops = 0
         local i = 0
         while i < n do
            for _ = 1, 500 do
               i = i + 1
               pair.server:send_raw(make(i))
            end
            while pair.server.transport:queued() > 0 do
               if not pair:move_to_client() then
                  stops = stops + 1
                  pair.session:output(64 * 1024)
               end
               pair:take()
               pair.events, pair.transcript = {}, {}
            end
         end
         assert.is_nil(pair.session:failure())
         local peak = heap:peak()
         assert.is_true(peak - before < 4 * 1024 * 1024, peak - before)
         pair.session:output()
         return stops
      end

      it("a hundred thousand opened channels", function()
         local kinds = { "x11", "auth-agent@openssh.com", "forwarded-tcpip", "session", "direct-tcpip", ("t"):rep(200) }
         local stops = flood(100000, function(i)
            return messages.channel_open(kinds[i % #kinds + 1], i, 1 << 20, 32768)
         end)
         assert.is_true(stops > 0)
         leave()
      end)

      it("twenty thousand global requests", function()
         flood(20000, function()
            return messages.global_request("keepalive@openssh.com", true)
         end)
         leave()
      end)

      it("replies that nobody asked for", function()
         flood(5000, function(i)
            return i % 2 == 0 and messages.request_success("x") or messages.channel_failure(0)
         end)
         assert(pair.session:global_request("x", true))
         leave()
      end)

      it("windows of nothing and data of no kind", function()
         flood(20000, function(i)
            return i % 2 == 0 and messages.window_adjust(0, 0) or messages.extended_data(0, 7, ("x"):rep(500))
         end)
         leave()
      end)
   end)

   it("stops at each credential once, however long the server says no", function()
      local tries = 0
      enter("keys_exchanged")
      pair.server.on.userauth_request = function(server, message)
         tries = tries + 1
         server:send(messages.userauth_failure(("password,publickey,m" .. message.method):sub(1, 40), true))
         return true
      end
      local err
      repeat
         local ok
         ok, err = pair.session:password("moon", "secret")
         pair:run()
      until not ok
      assert.same({ "limit", 20 }, { err, tries })
      assert.is_nil(pair.session:failure())
      leave()
   end)

   it("takes banners up to 64 KiB together, then ends", function()
      enter("none_asked")
      for _ = 1, 20000 do
         pair.server:send_raw(messages.userauth_banner(("b"):rep(1000), ""))
         pair:run()
         if pair.session:failure() then
            break
         end
      end
      assert.equal("limit", (pair.session:failure()))
      assert.is_true(#pair.events <= 66)
      assert.equal(2, pair.server.failed.reason)
      leave()
   end)
end)
