-- What the connection makes of messages out of form and out of place.

local messages = require "spec.support.messages"
local testing = require "moonssh_testing"

local NEVER, OTHER = 5, 0xffffffff -- channel numbers that are not ours

-- Every message to the channel with number 0, well formed.
local to_channel = {
   open_confirmation = messages.open_confirmation(0, 1000, 100, 100),
   open_failure = messages.open_failure(0, 1, "no", "en"),
   window_adjust = messages.window_adjust(0, 10),
   data = messages.channel_data(0, "data"),
   extended_data = messages.extended_data(0, 1, "data"),
   other_data = messages.extended_data(0, 9, "data"),
   eof = messages.channel_eof(0),
   close = messages.channel_close(0),
   request = messages.channel_request(0, "keepalive@openssh.com", true, "rest"),
   exit_status = messages.exit_status(0, 1),
   exit_signal = messages.exit_signal(0, "TERM", true, "text", "en"),
   success = messages.channel_success(0),
   failure = messages.channel_failure(0),
}

local to_connection = {
   global_request = messages.global_request("name", true, "rest"),
   request_success = messages.request_success("rest"),
   request_failure = messages.request_failure(),
   channel_open = messages.channel_open("x11", 3, 100, 100, "rest"),
}

-- Messages that end in bytes whose form is another layer's: any length of these is fine.
local open_ended = {
   open_confirmation = 0, request = #"rest", global_request = #"rest", request_success = #"rest",
   channel_open = #"rest",
}

local states = {}

function states.none() end

function states.opening(c)
   return assert(c:open("session"))
end

function states.open(c)
   local channel = states.opening(c)
   assert(c:handle(messages.open_confirmation(0, 1000, 100000, 32768)))
   return channel
end

function states.eof_received(c)
   local channel = states.open(c)
   assert(c:handle(messages.channel_eof(0)))
   return channel
end

function states.close_sent(c)
   local channel = states.open(c)
   assert(c:close_channel(channel))
   return channel
end

function states.released(c)
   c:release(states.open(c))
end

function states.close_received(c)
   local channel = states.open(c)
   assert(c:handle(messages.channel_close(0)))
   return channel
end

function states.gone(c)
   c:release(states.close_received(c))
end

function states.released_while_opening(c)
   c:release(states.opening(c))
end

local anything = {
   window_adjust = "window", data = "data", extended_data = "data", other_data = "none", eof = "eof",
   close = "closed", request = "request", exit_status = "exit_status", exit_signal = "exit_signal",
   success = "none", failure = "none",
}

local function but(verdicts, changes)
   local changed = {}
   for name, verdict in pairs(verdicts) do
      if changes[name] ~= false then
         changed[name] = changes[name] or verdict
      end
   end
   return changed
end

-- The event each message is in each state; where there is none, it breaks the protocol.
local verdicts = {
   none = {},
   opening = { open_confirmation = "opened", open_failure = "open_failed" },
   open = anything,
   eof_received = but(anything, { data = false, extended_data = false, other_data = false, eof = "none" }),
   close_sent = but(anything, { data = "none", extended_data = "none", window_adjust = "none" }),
   released = {
      window_adjust = "none", data = "none", extended_data = "none", other_data = "none", eof = "none",
      close = "none", request = "none", exit_status = "none", exit_signal = "none", success = "none",
      failure = "none",
   },
   close_received = {},
   gone = {},
   released_while_opening = { open_confirmation = "none", open_failure = "none" },
}

describe("the connection", function()
   local c, heap

   local function renew(options)
      if c then
         c:close()
      end
      heap = testing.heap.new()
      c = testing.connection.new(heap, options)
   end

   before_each(function() renew() end)

   after_each(function()
      c:close()
      assert.equal(0, heap:in_use())
   end)

   local function rejected(payload, code)
      local event, err = c:handle(payload)
      assert.is_nil(event)
      assert.equal(code or "protocol", err)
      local recorded, message, reason = c:failure()
      assert.equal(code or "protocol", recorded)
      assert.is_nil(message:find("[^\x20-\x7e]"))
      assert.equal(2, reason)
      -- It sticks, and commands give it too.
      assert.same({ nil, code or "protocol" }, { c:handle(messages.request_failure()) })
      assert.same({ nil, code or "protocol" }, { c:open("session") })
      assert.same({ nil, code or "protocol" }, { c:global_request("x", true) })
   end

   for state, enter in pairs(states) do
      for name, payload in pairs(to_channel) do
         local expected = verdicts[state][name]
         it(("takes %s in state %s %s"):format(name, state, expected and "as " .. expected or "for a breach"),
            function()
               enter(c)
               if expected then
                  assert.equal(expected, c:handle(payload).type)
                  assert.is_nil(c:failure())
               else
                  rejected(payload)
               end
            end)

         it(("takes %s in state %s for a breach when its channel is not ours"):format(name, state), function()
            for _, number in ipairs { NEVER, OTHER } do
               renew()
               enter(c)
               rejected(payload:sub(1, 1) .. string.pack(">I4", number) .. payload:sub(6))
            end
         end)
      end

      it(("takes any other number in state %s for a breach"):format(state), function()
         for number = 0, 255 do
            if number < 80 or number > 100 or (number > 82 and number < 90) then
               renew()
               enter(c)
               rejected(string.char(number) .. "\0\0\0\0")
            end
         end
         renew()
         rejected("")
      end)

      it(("may get messages to nobody in state %s"):format(state), function()
         enter(c)
         assert.equal("global_request", c:handle(to_connection.global_request).type)
         for _, name in ipairs { "request_success", "request_failure", "channel_open" } do
            assert.equal("none", c:handle(to_connection[name]).type)
         end
      end)
   end

   local function cut(name, payload, enter)
      for len = 1, #payload - 1 do
         renew()
         enter(c)
         if open_ended[name] and len >= #payload - open_ended[name] then
            assert(c:handle(payload:sub(1, len)))
         else
            rejected(payload:sub(1, len))
         end
      end
      for _, more in ipairs { "\0", ("x"):rep(16) } do
         renew()
         enter(c)
         if open_ended[name] then
            assert(c:handle(payload .. more))
         else
            rejected(payload .. more)
         end
      end
   end

   for name, payload in pairs(to_channel) do
      it(("takes %s for a breach when it is cut or has bytes too many"):format(name), function()
         cut(name, payload, name:find("^open_") and states.opening or states.open)
      end)
   end

   for name, payload in pairs(to_connection) do
      it(("takes %s for a breach when it is cut or has bytes too many"):format(name), function()
         cut(name, payload, states.none)
      end)
   end

   it("takes any message with any four bytes at the edges of numbers without harm", function()
      local edges = { 0, 1, 3, 5, 0x7f, 0xff, 0xffff, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff }
      for _, group in ipairs { to_channel, to_connection } do
         for name, payload in pairs(group) do
            for at = 2, #payload - 3 do
               for _, edge in ipairs(edges) do
                  renew()
                  states[name:find("^open_") and "opening" or "open"](c)
                  local event, err = c:handle(payload:sub(1, at - 1) .. string.pack(">I4", edge) ..
                     payload:sub(at + 4))
                  assert.is_true(event ~= nil or err == "protocol")
               end
            end
         end
      end
   end)

   describe("rejects", function()
      for _, lie in ipairs { 0, 3, 5, 6, 0x7fffffff, 0xfffffff0, 0xffffffff } do
         it(("data that say they are %d bytes and are 4"):format(lie), function()
            states.open(c)
            rejected(string.pack(">BI4I4", 94, 0, lie) .. "data")
            renew()
            states.open(c)
            rejected(string.pack(">BI4I4I4", 95, 0, 1, lie) .. "data")
         end)
      end

      it("one byte over the window", function()
         renew { initial_window = 101 }
         states.open(c)
         assert.equal("data", c:handle(messages.channel_data(0, ("x"):rep(100))).type)
         assert.equal("data", c:handle(messages.extended_data(0, 1, "x")).type)
         rejected(messages.channel_data(0, "x"))
      end)

      it("one byte over the window in data that are discarded", function()
         renew { initial_window = 101 }
         local channel = states.open(c)
         c:close_channel(channel)
         assert.equal("none", c:handle(messages.channel_data(0, ("x"):rep(101))).type)
         rejected(messages.channel_data(0, "x"))
         renew { initial_window = 101 }
         states.open(c)
         rejected(messages.extended_data(0, 2, ("x"):rep(102)))
      end)

      it("one byte over the packet size", function()
         renew { max_packet = 50 }
         states.open(c)
         assert.equal("data", c:handle(messages.channel_data(0, ("x"):rep(50))).type)
         rejected(messages.channel_data(0, ("x"):rep(51)))
         renew { max_packet = 50 }
         states.open(c)
         rejected(messages.extended_data(0, 1, ("x"):rep(51)))
      end)

      it("a maximum packet size of 0", function()
         states.opening(c)
         rejected(messages.open_confirmation(0, 1, 1000, 0))
      end)

      it("a window over 2^32-1", function()
         local channel = states.open(c)
         assert.equal("window", c:handle(messages.window_adjust(0, 0xffffffff - 100000)).type)
         assert.equal(0xffffffff, c:state(channel).send_window)
         for _ = 1, 1000 do
            assert.equal("none", c:handle(messages.window_adjust(0, 0)).type)
         end
         rejected(messages.window_adjust(0, 1))
         renew()
         states.opening(c)
         c:handle(messages.open_confirmation(0, 1, 0xffffffff, 1000))
         rejected(messages.window_adjust(0, 1))
         renew()
         states.open(c)
         rejected(messages.window_adjust(0, 0xffffffff))
      end)

      for _, len in ipairs { 0, 1, 2, 3, 5, 8 } do
         it(("an exit status of %d bytes"):format(len), function()
            states.open(c)
            rejected(messages.channel_request(0, "exit-status", false, ("\0"):rep(len)))
         end)
      end
   end)

   it("takes a thousand exit signals in the memory of one", function()
      states.open(c)
      local signal = messages.exit_signal(0, "TERM", true, ("text"):rep(1000), "en")
      c:handle(signal)
      local before = heap:in_use()
      heap:peak()
      for _ = 1, 1000 do
         assert.equal("exit_signal", c:handle(signal).type)
         assert.equal("exit_status", c:handle(messages.exit_status(0, 1)).type)
      end
      assert.equal(before, heap:peak())
   end)

   it("opens with a window and packet size at their edges without spinning", function()
      for _, packet in ipairs { 1, 0x7fffffff, 0xffffffff } do
         for _, window in ipairs { 0, 1, 0xffffffff } do
            renew()
            local channel = states.opening(c)
            c:handle(messages.open_confirmation(0, 1, window, packet))
            local wanted = math.min(window, 1000)
            assert.equal(wanted, c:write(channel, ("x"):rep(1000)))
         end
      end
   end)

   describe("refuses channels that the peer opens", function()
      local kinds = {
         session = 1, x11 = 1, ["auth-agent@openssh.com"] = 1, ["forwarded-tcpip"] = 1,
         ["forwarded-streamlocal@openssh.com"] = 1, ["direct-tcpip"] = 1, ["direct-streamlocal@openssh.com"] = 1,
         ["tun@openssh.com"] = 1, [""] = 3, ["x11\0"] = 3, unknown = 3, [("t"):rep(65536)] = 3,
      }

      for kind, reason in pairs(kinds) do
         it(("of type %s, with reason %d"):format(kind:sub(1, 40):gsub("%c", "?"), reason), function()
            assert.equal("none", c:handle(messages.channel_open(kind, 0xfffffffe, 0, 0, "anything")).type)
            local sent = c:sent()
            assert.equal(1, #sent)
            local answer = messages.parse(sent[1])
            assert.same({ "open_failure", 0xfffffffe, reason, "" },
               { answer.kind, answer.channel, answer.reason, answer.language })
         end)
      end

      it("a hundred thousand times in the memory of once", function()
         local kind_names = {}
         for kind in pairs(kinds) do
            table.insert(kind_names, kind)
         end
         local before = heap:in_use()
         heap:peak()
         local answers = 0
         for i = 1, 100000 do
            assert(c:handle(messages.channel_open(i % 1000 == 0 and ("t"):rep(65536) or kind_names[i % 8 + 1], i)))
            if i % 1000 == 0 then
               answers = answers + #c:sent()
            end
         end
         assert.equal(100000, answers)
         assert.equal(before, heap:peak())
      end)

      it("and fails when the refusal cannot be queued", function()
         c:limit(nil, -5)
         assert.same({ nil, "limit" }, { c:handle(to_connection.channel_open) })
         assert.equal("limit", (c:failure()))
      end)
   end)

   it("answers a burst of global requests one by one, in the memory of none", function()
      local before = heap:in_use()
      heap:peak()
      for _ = 1, 20000 do
         c:handle(messages.global_request("keepalive@openssh.com", true))
      end
      assert.equal(20000, #c:sent())
      assert.equal(before, heap:peak())
   end)

   it("shows what it cannot take in printable words", function()
      states.open(c)
      rejected(messages.channel_request(0, "exit-status", false, "\27[2J!"))
      assert.equal("malformed CHANNEL_REQUEST", (select(2, c:failure())))
   end)

   it("survives each failing allocation of a channel's life", function()
      -- Gives true when all went well; else the error, of which nothing may be left.
      local function live()
         local channel, err = c:open("session")
         if not channel then
            return nil, err
         end
         local id = messages.parse(c:sent()[1]).sender
         assert(c:handle(messages.open_confirmation(id, 1000, 100, 100)))
         for stream = 0, 1 do
            local ok
            ok, err = c:keep(channel, stream, ("x"):rep(1000))
            if not ok then
               return nil, err
            end
         end
         assert.equal(("x"):rep(1000), c:kept(channel, 1))
         return true
      end
      local n = 0
      repeat
         n = n + 1
         renew()
         heap:fail(n, n % 2 == 0)
         local ok, err = live()
         assert.is_true(ok or err == "memory")
      until ok
      assert.equal(5, n)
   end)

   it("cannot be made without memory", function()
      assert.is_nil(testing.connection.new(testing.heap.new(1)))
      assert.is_nil(testing.auth.new(testing.heap.new(1)))
   end)
end)
