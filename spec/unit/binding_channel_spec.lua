-- core.session's channels: requests, data and what becomes of them. Against a server in memory.

local core = require "moonssh.core"
local CorePair = require "spec.support.core_pair"
local messages = require "spec.support.messages"
local testing = require "moonssh_testing"

local function raises(pattern, f)
   local ok, message = pcall(f)
   assert.is_false(ok)
   assert.truthy(tostring(message):find(pattern), ("%q does not match %q"):format(message, pattern))
end

-- A server that runs "hold": a command that does only what the spec has it do.
local function logged_in(options, on)
   return CorePair.new{ options = options, on = on, server = { exec = function() end } }:run("auth_success")
end

local large = ("0123456789abcdef"):rep(1024)

describe("a channel of core.session", function()
   it("is opened, runs a command, and ends with its status", function()
      local pair <close> = CorePair.new():run("auth_success")
      local session = pair.session
      local channel = assert(session:open("session", ""))
      assert.equal("integer", math.type(channel))
      assert.same({ { "opened", channel, n = 2 } }, pair:more())
      assert.same({ true, false }, { table.unpack({ session:channel_state(channel) }, 1, 2) })
      assert.is_true(session:channel_request(channel, "env", false, string.pack(">s4s4", "A", "b")))
      assert.is_true(session:channel_request(channel, "exec", true, string.pack(">s4", "exit 7")))
      local events = pair:more()
      assert.same({
         { "reply", channel, true, n = 3 },
         { "exit_status", channel, 7, n = 3 },
         { "eof", channel, n = 2 },
         { "closed", channel, n = 2 },
      }, events)
      assert.same({ false, true }, { table.unpack({ session:channel_state(channel) }, 1, 2) })
      assert.is_true(session:channel_release(channel))
      assert.is_nil((session:channel_state(channel)))
      local other = assert(session:open("session"))
      assert.is_not.equal(channel, other)
   end)

   it("may be refused", function()
      local pair <close> = logged_in()
      local channel = assert(pair.session:open("direct-tcpip", "x"))
      pair.session:channel_mode(channel, 0, "direct")
      assert.same({ { "open_failed", channel, 3, "unknown channel type", "", n = 5 } }, pair:more())
      assert.is_nil((pair.session:channel_state(channel)))
   end)

   it("is limited in number", function()
      local pair <close> = logged_in{ max_channels = 2 }
      assert(pair.session:open("session"))
      assert(pair.session:open("session"))
      assert.equal("limit", select(2, pair.session:open("session")))
   end)

   it("gives what the server asks and says on it", function()
      local pair <close> = logged_in()
      local channel, server = pair:open()
      server:send(messages.exit_signal(server.peer, "TERM", true, "killed\27", "en"))
      server:send(messages.channel_request(server.peer, "odd@example", true, "data"))
      pair.server:send(messages.global_request("keepalive@example", true, "xyz"))
      assert.same({
         { "exit_signal", channel, "TERM", true, "killed\27", "en", n = 6 },
         { "request", channel, "odd@example", "data", n = 4 },
         { "global_request", "keepalive@example", "xyz", n = 3 },
      }, pair:more())
      assert.is_true(pair.session:global_request("x@example", true, "data"))
      assert.same({ { "global_reply", false, "", n = 3 } }, pair:more())
   end)

   it("sends what the window takes, from an offset on", function()
      local pair <close> = CorePair.new{ server = { window = 100, packet = 32768, keeps_window = true,
         exec = function() end } }:run("auth_success")
      local channel, server = pair:open()
      local session = pair.session
      assert.equal(100, select(3, session:channel_state(channel)))
      assert.equal(10, session:channel_write(channel, 0, "0123456789"))
      assert.equal(7, session:channel_write(channel, 0, "0123456789", 4))
      assert.equal(0, session:channel_write(channel, 0, "0123456789", 11))
      assert.equal(0, session:channel_write(channel, 0, ""))
      assert.equal(83, session:channel_write(channel, 0, large))
      assert.equal(0, session:channel_write(channel, 0, large))
      pair:run()
      assert.equal("0123456789" .. "3456789" .. large:sub(1, 83), server.received)
      server:grant(50)
      assert.same({ { "window", channel, n = 2 } }, pair:more())
      assert.equal(50, session:channel_write(channel, 1, large))
      for _, wrong in ipairs{ 0, -1, 12, math.mininteger } do
         raises("bad argument #4 to 'channel_write' %(value out of range%)", function()
            session:channel_write(channel, 0, "0123456789", wrong)
         end)
      end
      assert.is_true(session:channel_eof(channel))
      assert.equal("state", select(2, session:channel_write(channel, 0, "x")))
      pair:run()
      assert.is_true(server.eof_received)
      assert.is_true(session:channel_close(channel))
      assert.same({ { "closed", channel, n = 2 } }, pair:more())
   end)

   it("is an error when its handle is stale or invented, never another channel", function()
      local pair <close> = logged_in()
      local session = pair.session
      local channel = pair:open()
      session:channel_release(channel)
      pair:run()
      local fresh = pair:open()
      for _, handle in ipairs{ channel, 0, -1, 1, 42, 1 << 32, math.mininteger, math.maxinteger } do
         if handle ~= fresh then
            assert.same({ nil, "closed", "the channel is closed" }, { session:channel_write(handle, 0, "x") })
            assert.equal("closed", select(2, session:channel_request(handle, "env", false)))
            assert.equal("closed", select(2, session:channel_eof(handle)))
            assert.equal("closed", select(2, session:channel_close(handle)))
            assert.equal("closed", select(2, session:channel_mode(handle, 0, "direct")))
            assert.is_false(session:channel_consumed(handle, 1))
            assert.equal(0, session:channel_kept(handle, 0))
            assert.is_nil(session:channel_take(handle, 0, 1))
            assert.is_nil(session:channel_find(handle, 0, 10))
            assert.is_nil((session:channel_state(handle)))
            assert.is_true(session:channel_release(handle))
         end
      end
      assert.equal(1, session:channel_write(fresh, 0, "x"))
   end)

   it("raises for what is no handle, stream or mode", function()
      local session <close> = core.session()
      for _, wrong in ipairs{ "x", 1.5, {}, 0 / 0 } do
         raises("bad argument #1 to 'channel_eof' ", function() session:channel_eof(wrong) end)
      end
      for _, wrong in ipairs{ -1, 2, 0.5, "x" } do
         raises("bad argument #2 to 'channel_kept' ", function() session:channel_kept(1, wrong) end)
         raises("bad argument #2 to 'channel_write' ", function() session:channel_write(1, wrong, "") end)
      end
      raises("bad argument #3 to 'channel_mode' %(invalid option 'x'%)", function() session:channel_mode(1, 0, "x") end)
      raises("bad argument #3 to 'channel_mode' %(only stderr can be merged%)", function()
         session:channel_mode(1, 0, "merge")
      end)
      raises("bad argument #4 to 'channel_mode' %(value out of range%)", function()
         session:channel_mode(1, 0, "direct", -1)
      end)
      raises("bad argument #3 to 'channel_take' %(value out of range%)", function() session:channel_take(1, 0, 0) end)
      raises("bad argument #3 to 'channel_find' %(value out of range%)", function() session:channel_find(1, 0, 256) end)
      raises("bad argument #4 to 'channel_find' %(value out of range%)", function()
         session:channel_find(1, 0, 10, 0)
      end)
      raises("bad argument #2 to 'channel_consumed' %(value out of range%)", function()
         session:channel_consumed(1, -1)
      end)
   end)
end)

describe("data of a channel", function()
   local pair, session, channel, server

   before_each(function()
      pair = logged_in()
      session = pair.session
      channel, server = pair:open()
   end)

   after_each(function()
      pair:close()
   end)

   it("are kept until they are taken", function()
      server:write("hello "):write("error", 1):write("world\n")
      assert.same({
         { "data", channel, 0, nil, n = 4 },
         { "data", channel, 1, nil, n = 4 },
         { "data", channel, 0, nil, n = 4 },
      }, pair:more())
      assert.equal(12, session:channel_kept(channel, 0))
      assert.equal(5, session:channel_kept(channel, 1))
      assert.equal("hel", session:channel_take(channel, 0, 3))
      assert.equal("lo world\n", session:channel_take(channel, 0))
      assert.is_nil(session:channel_take(channel, 0))
      assert.equal(0, session:channel_kept(channel, 0))
      assert.equal("error", session:channel_take(channel, 1, 100))
   end)

   it("can be searched for a byte", function()
      server:write("one\ntwo\n\0")
      pair:run()
      assert.equal(4, session:channel_find(channel, 0, 10))
      assert.equal(4, session:channel_find(channel, 0, 10, 4))
      assert.equal(8, session:channel_find(channel, 0, 10, 5))
      assert.equal(9, session:channel_find(channel, 0, 0, 1))
      assert.is_nil(session:channel_find(channel, 0, 10, 9))
      assert.is_nil(session:channel_find(channel, 0, 10, 10))
      assert.is_nil(session:channel_find(channel, 0, 10, math.maxinteger))
      assert.is_nil(session:channel_find(channel, 1, 10))
      session:channel_take(channel, 0, 4)
      assert.equal(4, session:channel_find(channel, 0, 10))
   end)

   it("come directly when they are large", function()
      assert.is_true(session:channel_mode(channel, 0, "direct"))
      server:write(large)
      local events = pair:more()
      assert.same({ { "data", channel, 0, large, n = 4 } }, events)
      assert.equal(0, session:channel_kept(channel, 0))
      assert.is_true(session:channel_consumed(channel, #large))
   end)

   it("are kept all the same when they are small, or while something is kept", function()
      session:channel_mode(channel, 0, "direct")
      server:write("small"):write(large):write(large)
      assert.same({
         { "data", channel, 0, nil, n = 4 },
         { "data", channel, 0, nil, n = 4 },
         { "data", channel, 0, nil, n = 4 },
      }, pair:more())
      assert.equal("small" .. large .. large, session:channel_take(channel, 0))
      server:write(large)
      assert.equal(large, pair:more()[1][4])
   end)

   it("are kept beyond the budget", function()
      session:channel_mode(channel, 0, "direct", 2 * #large + 10)
      server:write(large):write(large):write(large)
      local events = pair:more()
      assert.same({ large, large, nil }, { events[1][4], events[2][4], events[3][4] })
      assert.equal(#large, session:channel_kept(channel, 0))
      assert.equal(large, session:channel_take(channel, 0))
      session:channel_consumed(channel, #large)
      server:write(large):write(large)
      events = pair:more()
      assert.same({ large, nil }, { events[1][4], events[2][4] })
      session:channel_mode(channel, 1, "direct", 0)
      server:write(large, 1)
      assert.is_nil(pair:more()[1][4])
   end)

   it("cannot be credited twice", function()
      session:channel_mode(channel, 0, "direct")
      server:write(large)
      pair:run()
      raises("bad argument #2 to 'channel_consumed' %(more than was given%)", function()
         session:channel_consumed(channel, #large + 1)
      end)
      assert.is_true(session:channel_consumed(channel, #large - 1))
      assert.is_true(session:channel_consumed(channel, 1))
      raises("bad argument #2 to 'channel_consumed' %(more than was given%)", function()
         session:channel_consumed(channel, 1)
      end)
      assert.is_true(session:channel_consumed(channel, 0))
   end)

   it("of stderr can be merged into stdout, in order", function()
      session:channel_mode(channel, 1, "merge")
      server:write("out "):write("err ", 1):write("out")
      local events = pair:more()
      assert.same({ 0, 0, 0 }, { events[1][3], events[2][3], events[3][3] })
      assert.equal("out err out", session:channel_take(channel, 0))
      assert.equal(0, session:channel_kept(channel, 1))
      session:channel_mode(channel, 0, "direct")
      server:write(large, 1)
      assert.same({ { "data", channel, 0, large, n = 4 } }, pair:more())
      session:channel_mode(channel, 0, "discard")
      server:write("gone", 1):write("gone")
      assert.same({}, pair:more())
   end)

   it("can be discarded, without an event and without end", function()
      session:channel_mode(channel, 0, "discard")
      for _ = 1, 20 do
         server:write(large:rep(16))
      end
      assert.same({}, pair:more())
      assert.equal(0, session:channel_kept(channel, 0))
      assert.same({}, server.queue)
      server:write("seen", 1):finish(0)
      assert.same({ "data", "exit_status", "eof", "closed" }, (function()
         local kinds = {}
         for i, event in ipairs(pair:more()) do
            kinds[i] = event[1]
         end
         return kinds
      end)())
   end)

   it("stop at the window until they are credited", function()
      for _, mode in ipairs{ "keep", "direct" } do
         local other, far = pair:open()
         session:channel_mode(other, 0, mode)
         for _ = 1, 1024 do
            far:write(large)
         end
         local got = 0
         for _, event in ipairs(pair:more()) do
            got = got + #(event[4] or "")
         end
         got = got + session:channel_kept(other, 0)
         assert.is_true(got > 0 and got < 1024 * #large)
         assert.equal(0, select(4, session:channel_state(other)))
         assert.is_true(#far.queue > 0)
         if mode == "direct" then
            session:channel_consumed(other, got)
         else
            assert.equal(got, #session:channel_take(other, 0))
         end
         local more = 0
         for _, event in ipairs(pair:more()) do
            more = more + #(event[4] or "")
         end
         assert.is_true(more + session:channel_kept(other, 0) > 0)
      end
   end)

   it("can be taken after the channel was closed", function()
      server:write("last words"):finish(0)
      pair:run("closed")
      assert.equal("last words", session:channel_take(channel, 0))
      session:channel_release(channel)
      assert.is_nil(session:channel_take(channel, 0))
   end)

   it("of many channels do not mix", function()
      local channels, all = {}, {}
      for i = 1, 50 do
         local near, far = pair:open()
         channels[i] = { near = near, far = far }
         assert(session:channel_mode(near, 0, i % 2 == 0 and "direct" or "keep"))
      end
      for i = 50, 1, -1 do
         channels[i].far:write(string.char(i):rep(2000)):write(string.char(i))
      end
      for _, event in ipairs(pair:more()) do
         all[event[2]] = (all[event[2]] or "") .. (event[4] or session:channel_take(event[2], 0) or "")
      end
      for i = 1, 50 do
         assert.equal(string.char(i):rep(2001), all[channels[i].near])
         session:channel_release(channels[i].near)
      end
   end)
end)

describe("an event that could not be made into values", function()
   -- What the client has in its input when memory runs out, and how the events look.
   local script = [[
      local CorePair = require "spec.support.core_pair"
      local messages = require "spec.support.messages"
      pair = CorePair.new{ server = { exec = function() end } }:run("auth_success")
      local channel, server = pair:open()
      pair.session:channel_mode(channel, 0, "direct")
      server:write(("d"):rep(1100)):write("kept"):write(("k"):rep(1100)):write("error", 1)
      pair.server:send(messages.debug(true, ("text"):rep(20), "language"))
      server:send(messages.exit_signal(server.peer, ("S"):rep(50), false, ("message"):rep(10), "xx"))
      server:send(messages.channel_request(server.peer, ("name"):rep(20), false, ("data"):rep(20)))
      pair.server:send(messages.global_request(("global"):rep(10), false, ("data"):rep(30)))
      server:finish(5)
      pair.take = function() return false end
      pair:run()
      next, session, pcall, take = pair.session.next, pair.session, pcall, pair.session.channel_take
      channel_handle, tostring, concat = channel, tostring, table.concat
      -- Made beforehand, so that recording the events needs no memory.
      events = {}
      for i = 1, 20 do
         events[i] = { false, false, false, false, false, false }
      end
      collectgarbage()
      collectgarbage("stop")
   ]]

   -- Each event is asked for until it is there; its values are compared afterwards.
   local code = [[
      local n, misses = 0, 0
      while true do
         local ok, kind, a, b, c, d, e = pcall(next, session)
         if not ok then
            misses = misses + 1
         elseif kind then
            n = n + 1
            local event = events[n]
            event[1], event[2], event[3], event[4], event[5], event[6] = kind, a, b, c, d, e
         else
            break
         end
      end
      local parts = { misses }
      for i = 1, n do
         local line = {}
         for j = 1, 6 do
            line[j] = tostring(events[i][j])
         end
         parts[i + 1] = concat(line, " ")
      end
      parts[#parts + 1] = take(session, channel_handle, 0)
      parts[#parts + 1] = take(session, channel_handle, 1)
      return concat(parts, "\n"):gsub("d+", "d"):gsub("k+", "k")
   ]]

   it("is given again, and nothing is kept twice", function()
      local whole = testing.state.run{ setup = script, code = code }
      assert.is_true(whole.ok, whole.result)
      assert.equal(0, whole.live)
      local lines = {}
      for line in whole.result:gmatch("[^\n]+") do
         table.insert(lines, line)
      end
      assert.equal("0", lines[1])
      assert.truthy(lines[2]:find("^data %d+ 0 d nil nil$"))
      assert.equal(14, #lines)
      assert.equal("kept" .. "k", lines[13])
      assert.equal("error", lines[14])
      local expected = whole.result:match("^%d+\n(.*)")
      local missed, ended = 0, 0
      for fail_at = 1, whole.allocations do
         local run = testing.state.run{ setup = script, code = code, fail_at = fail_at, fail_count = 2 }
         assert.equal(0, run.live)
         -- Where the spec's own code ran out of memory there is nothing to compare.
         local misses, rest = run.result:match("^(%d+)\n(.*)")
         if run.ok and rest then
            missed = missed + tonumber(misses)
            -- What cannot be kept ends the session, after all that came before.
            local before = rest:match("^(.*\n)failed")
            ended = ended + (before and 1 or 0)
            assert.equal(before and expected:sub(1, #before) or expected, before or rest)
         end
      end
      assert.is_true(ended > 0)
      assert.is_true(missed > 5)
   end)
end)
