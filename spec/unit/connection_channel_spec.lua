-- The life of a channel (RFC 4254 5 and 6): opened, written to, read from, asked for things, ended.

local messages = require "spec.support.messages"
local testing = require "moonssh_testing"

describe("a channel", function()
   local connection, heap

   local function renew(options)
      if connection then
         connection:close()
      end
      heap = testing.heap.new()
      connection = testing.connection.new(heap, options)
   end

   before_each(function() renew() end)

   after_each(function()
      connection:close()
      assert.equal(0, heap:in_use())
   end)

   -- An open channel whose number is `id` here and 1000 + id there.
   local function opened(window, packet)
      local channel = assert(connection:open("session"))
      local sent = connection:sent()
      local id = messages.parse(sent[#sent]).sender
      local event = assert(connection:handle(
         messages.open_confirmation(id, 1000 + id, window or 100000, packet or 32768)))
      assert.equal("opened", event.type)
      assert.equal(channel, event.channel)
      return channel, id
   end

   local function event_of(payload)
      local event = assert(connection:handle(payload))
      return event
   end

   local function sent()
      return (connection:sent())
   end

   it("is opened with its type, window, packet size and data", function()
      renew { initial_window = 5001, max_packet = 1234 }
      assert(connection:open("direct-tcpip", "DATA"))
      assert.same({ messages.channel_open("direct-tcpip", 0, 5001, 1234, "DATA") }, sent())
      assert(connection:open("session"))
      assert.equal(1, messages.parse(sent()[1]).sender)
   end)

   it("begins with a window of about 2 MiB and packets of 32 KiB", function()
      assert(connection:open("session"))
      local open = messages.parse(sent()[1])
      assert.equal(2 * 1024 * 1024 - 1, open.window)
      assert.equal(32768, open.packet)
   end)

   it("is confirmed, once", function()
      local channel = opened(7777)
      local state = connection:state(channel)
      assert.same({
         open = true, eof_received = false, eof_sent = false, close_sent = false, send_window = 7777,
         receive_window = 2097151, window = 2097151,
      }, state)
      assert.same({ nil, "protocol" }, { connection:handle(messages.open_confirmation(0, 1, 1, 1)) })
   end)

   it("is refused with the server's words, and its handle is stale", function()
      local channel = assert(connection:open("session"))
      local event = event_of(messages.open_failure(0, 4, "no room", "en"))
      assert.equal("open_failed", event.type)
      assert.equal(channel, event.channel)
      assert.equal(4, event.reason)
      assert.equal("no room", event.data)
      assert.equal("en", event.language)
      assert.is_nil(connection:state(channel))
      assert.same({ nil, "closed" }, { connection:write(channel, "x") })
   end)

   it("takes no data before it is confirmed", function()
      local channel = assert(connection:open("session"))
      sent()
      assert.equal(0, connection:write(channel, "x"))
      assert.same({}, sent())
   end)

   it("sends what was asked of it before with the confirmation, in that order, and then end of file", function()
      local channel = assert(connection:open("session"))
      sent()
      assert.is_true(connection:request(channel, "env", false, "LANG"))
      assert.is_true(connection:eof(channel))
      assert.is_true(connection:eof(channel))
      assert.is_true(connection:request(channel, "exec", true, "true"))
      assert.same({ nil, "state" }, { connection:write(channel, "x") })
      assert.same({}, sent())
      assert.equal("opened", event_of(messages.open_confirmation(0, 1000, 100, 100)).type)
      assert.same({
         messages.channel_request(1000, "env", false, "LANG"), messages.channel_request(1000, "exec", true, "true"),
         messages.channel_eof(1000),
      }, sent())
      assert.is_true(connection:state(channel).eof_sent)
      assert.equal("reply", event_of(messages.channel_success(0)).type)
      assert.equal("none", event_of(messages.channel_success(0)).type) -- nobody asked for a second one
   end)

   it("sends nothing of that once it is closed, or where it is refused", function()
      local channel = assert(connection:open("session"))
      assert.is_true(connection:request(channel, "exec", true, "true"))
      assert.is_true(connection:eof(channel))
      sent()
      assert.is_true(connection:close_channel(channel))
      assert.same({ nil, "state" }, { connection:request(channel, "exec", true, "true") })
      assert(connection:handle(messages.open_confirmation(0, 1000, 100, 100)))
      assert.same({ messages.channel_close(1000) }, sent())
      local refused = assert(connection:open("session"))
      assert.is_true(connection:request(refused, "exec", true, "true"))
      sent()
      assert.equal("open_failed", event_of(messages.open_failure(1, 1, "", "")).type)
      assert.same({}, sent())
   end)

   it("is not opened past the limit of channels, until one is gone", function()
      renew { max_channels = 3 }
      local first = opened()
      opened()
      opened()
      sent()
      assert.same({ nil, "limit" }, { connection:open("session") })
      assert.same({}, sent())
      connection:release(first)
      assert.same({ nil, "limit" }, { connection:open("session") })
      assert(connection:handle(messages.channel_close(0)))
      local again = assert(connection:open("session"))
      assert.not_equal(first, again)
      assert.is_nil(connection:state(first))
   end)

   it("is not opened with an over-long type or data", function()
      assert.same({ nil, "limit" }, { connection:open(("t"):rep(65)) })
      assert.same({ nil, "limit" }, { connection:open("session", ("d"):rep(65537)) })
      assert.same({}, sent())
      assert(connection:open(("t"):rep(64), ("d"):rep(65536)))
   end)

   it("that cannot be opened leaves no trace", function()
      local before
      for i = 1, 3 do
         connection:limit(nil, -5)
         assert.same({ nil, "limit" }, { connection:open("session") })
         connection:limit()
         if i == 1 then
            before = heap:in_use()
         end
         assert.equal(before, heap:in_use())
      end
      local _, id = opened()
      assert.equal(0, id)
   end)

   describe("written to", function()
      it("sends data to the peer's number, in packets as large as it takes", function()
         local channel = opened(100000, 1000)
         assert.equal(2500, connection:write(channel, ("x"):rep(2500)))
         assert.same({
            messages.channel_data(1000, ("x"):rep(1000)),
            messages.channel_data(1000, ("x"):rep(1000)),
            messages.channel_data(1000, ("x"):rep(500)),
         }, sent())
         assert.equal(97500, connection:state(channel).send_window)
      end)

      it("sends stderr as extended data", function()
         local channel = opened(100000, 3)
         assert.equal(5, connection:write(channel, "abcde", 1))
         assert.same({ messages.extended_data(1000, 1, "abc"), messages.extended_data(1000, 1, "de") }, sent())
      end)

      it("stops at the window and goes on when it opens", function()
         local channel = opened(10)
         assert.equal(10, connection:write(channel, "0123456789abcdef"))
         assert.equal(0, connection:write(channel, "abcdef"))
         assert.same({ messages.channel_data(1000, "0123456789") }, sent())
         local event = event_of(messages.window_adjust(0, 4))
         assert.equal("window", event.type)
         assert.equal(channel, event.channel)
         assert.equal(4, connection:write(channel, "abcdef"))
         assert.same({ messages.channel_data(1000, "abcd") }, sent())
      end)

      it("stops when the outbox is full", function()
         local channel = opened(100000, 1000)
         connection:limit(1500)
         assert.equal(1491, connection:write(channel, ("x"):rep(5000)))
         assert.same({ 1000, 491 }, { #messages.parse(sent()[1]).data, 491 })
         connection:limit(0)
         assert.equal(0, connection:write(channel, "x"))
         assert.same({}, sent())
      end)

      it("takes nothing of nothing", function()
         local channel = opened()
         assert.equal(0, connection:write(channel, ""))
         assert.same({}, sent())
      end)

      it("sends no packet above 64 KiB, whatever the peer announces", function()
         local channel = opened(0xffffffff, 0xffffffff)
         assert.equal(100000, connection:write(channel, ("x"):rep(100000)))
         assert.same({ 65536, 34464 }, (function()
            local list = sent()
            return { #messages.parse(list[1]).data, #messages.parse(list[2]).data }
         end)())
      end)

      it("gets on byte by byte where the peer takes no more", function()
         local channel = opened(3, 1)
         assert.equal(3, connection:write(channel, "abcd"))
         assert.same({ messages.channel_data(1000, "a"), messages.channel_data(1000, "b"),
            messages.channel_data(1000, "c") }, sent())
      end)

      for _, len in ipairs { 0x100000000, 0x100000001, 0x7fffffffffffffff } do
         it(("takes what it can of %d bytes in one call"):format(len), function()
            local channel = opened(70000, 32768)
            assert.equal(70000, connection:write_endless(channel, len))
            assert.equal(0, connection:write_endless(channel, len))
            assert.equal(3, #sent())
         end)
      end

      it("passes on why the outbox refuses", function()
         local channel = opened()
         connection:limit(nil, -12)
         assert.same({ nil, "closed" }, { connection:write(channel, "x") })
         connection:limit()
         assert.equal(100000, connection:state(channel).send_window)
      end)
   end)

   describe("read from", function()
      it("gives the data of both streams", function()
         local channel = opened()
         local event = event_of(messages.channel_data(0, "out"))
         assert.same({ "data", channel, 0, "out" }, { event.type, event.channel, event.stream, event.data })
         event = event_of(messages.extended_data(0, 1, "err"))
         assert.same({ "data", channel, 1, "err" }, { event.type, event.channel, event.stream, event.data })
      end)

      it("keeps data until they are taken", function()
         local channel = opened()
         assert.equal("", connection:kept(channel, 0))
         for _, piece in ipairs { "one ", "two ", "three" } do
            assert.is_true(connection:keep(channel, 0, event_of(messages.channel_data(0, piece)).data))
         end
         connection:keep(channel, 1, event_of(messages.extended_data(0, 1, "err")).data)
         assert.equal("one two three", connection:kept(channel, 0))
         assert.equal("err", connection:kept(channel, 1))
         connection:take(channel, 0, 4)
         assert.equal("two three", connection:kept(channel, 0))
         connection:take(channel, 0, 1000)
         assert.equal("", connection:kept(channel, 0))
         assert.equal("err", connection:kept(channel, 1))
      end)

      it("says nothing of empty data", function()
         opened()
         assert.equal("none", event_of(messages.channel_data(0, "")).type)
         assert.equal("none", event_of(messages.extended_data(0, 1, "")).type)
      end)

      it("gives back large storage once it is empty", function()
         local channel = opened()
         local before = heap:in_use()
         for _ = 1, 60 do
            connection:keep(channel, 0, event_of(messages.channel_data(0, ("x"):rep(32768))).data)
         end
         assert.is_true(heap:in_use() > before + 60 * 32768)
         connection:take(channel, 0, 60 * 32768)
         assert.equal(before, heap:in_use())
      end)

      it("tells the end of the data, and lets a second one pass", function()
         local channel = opened()
         local event = event_of(messages.channel_eof(0))
         assert.same({ "eof", channel }, { event.type, event.channel })
         assert.is_true(connection:state(channel).eof_received)
         assert.equal("none", event_of(messages.channel_eof(0)).type)
      end)

      it("still takes requests and window after the end of the data", function()
         local channel = opened(5)
         event_of(messages.channel_eof(0))
         assert.equal("exit_status", event_of(messages.exit_status(0, 3)).type)
         assert.equal("window", event_of(messages.window_adjust(0, 5)).type)
         assert.equal(10, connection:write(channel, "0123456789"))
      end)
   end)

   describe("asked for things", function()
      it("sends the request and matches the replies by their order", function()
         local channel = opened()
         assert.is_true(connection:request(channel, "env", false, "E"))
         assert.is_true(connection:request(channel, "pty-req", true, "P"))
         assert.is_true(connection:request(channel, "exec", true, "X"))
         assert.same({
            messages.channel_request(1000, "env", false, "E"),
            messages.channel_request(1000, "pty-req", true, "P"),
            messages.channel_request(1000, "exec", true, "X"),
         }, sent())
         local event = event_of(messages.channel_failure(0))
         assert.same({ "reply", channel, false }, { event.type, event.channel, event.success })
         event = event_of(messages.channel_success(0))
         assert.same({ "reply", channel, true }, { event.type, event.channel, event.success })
         assert.equal("none", event_of(messages.channel_success(0)).type)
      end)

      it("drops replies that nobody asked for", function()
         local channel = opened()
         for _ = 1, 5000 do
            assert.equal("none", event_of(messages.channel_success(0)).type)
            assert.equal("none", event_of(messages.channel_failure(0)).type)
         end
         connection:request(channel, "shell", true)
         local event = event_of(messages.channel_failure(0))
         assert.same({ "reply", false }, { event.type, event.success })
      end)

      it("refuses over-long names and data", function()
         local channel = opened()
         sent()
         assert.same({ nil, "limit" }, { connection:request(channel, ("n"):rep(65), true) })
         assert.same({ nil, "limit" }, { connection:request(channel, "exec", true, ("x"):rep(65537)) })
         assert.same({}, sent())
      end)

      it("tells an exit status", function()
         local channel = opened()
         for _, status in ipairs { 0, 1, 255, 0xffffffff } do
            local event = event_of(messages.exit_status(0, status))
            assert.same({ "exit_status", channel, status }, { event.type, event.channel, event.reason })
         end
      end)

      it("tells an exit signal", function()
         local channel = opened()
         local event = event_of(messages.exit_signal(0, "KILL", true, "killed", "en"))
         assert.same({ "exit_signal", channel, "KILL", true, "killed", "en" },
            { event.type, event.channel, event.name, event.success, event.data, event.language })
      end)

      it("tells other requests and refuses those that want a reply", function()
         local channel = opened()
         sent()
         local event = event_of(messages.channel_request(0, "eow@openssh.com", false, ""))
         assert.same({ "request", channel, "eow@openssh.com", "" },
            { event.type, event.channel, event.name, event.data })
         assert.same({}, sent())
         event = event_of(messages.channel_request(0, "keepalive@openssh.com", true, "abc"))
         assert.same({ "request", "abc" }, { event.type, event.data })
         assert.same({ messages.channel_failure(1000) }, sent())
      end)

      it("acknowledges an exit status that wants it", function()
         opened()
         sent()
         assert.equal("exit_status",
            event_of(messages.channel_request(0, "exit-status", true, "\0\0\0\1")).type)
         assert.same({ messages.channel_success(1000) }, sent())
      end)
   end)

   describe("ended", function()
      it("sends EOF once and takes no more data", function()
         local channel = opened()
         sent()
         assert.is_true(connection:eof(channel))
         assert.is_true(connection:eof(channel))
         assert.same({ messages.channel_eof(1000) }, sent())
         assert.is_true(connection:state(channel).eof_sent)
         assert.same({ nil, "state" }, { connection:write(channel, "x") })
         assert.is_true(connection:request(channel, "signal", false, "TERM"))
         assert.equal("none", event_of(messages.window_adjust(0, 10)).type)
      end)

      it("sends CLOSE once and nothing after it", function()
         local channel = opened()
         sent()
         assert.is_true(connection:close_channel(channel))
         assert.is_true(connection:close_channel(channel))
         assert.same({ messages.channel_close(1000) }, sent())
         assert.is_true(connection:state(channel).close_sent)
         assert.same({ nil, "state" }, { connection:write(channel, "x") })
         assert.same({ nil, "state" }, { connection:request(channel, "exec", true) })
         assert.same({ nil, "state" }, { connection:eof(channel) })
         assert.same({}, sent())
      end)

      it("drops what comes after our CLOSE, but tells how it ended", function()
         local channel = opened()
         connection:close_channel(channel)
         sent()
         assert.equal("none", event_of(messages.channel_data(0, "late")).type)
         assert.equal("none", event_of(messages.extended_data(0, 1, "late")).type)
         assert.equal("none", event_of(messages.window_adjust(0, 10)).type)
         assert.equal("exit_status", event_of(messages.channel_request(0, "exit-status", true, "\0\0\0\1")).type)
         assert.equal("eof", event_of(messages.channel_eof(0)).type)
         assert.equal("closed", event_of(messages.channel_close(0)).type)
         assert.same({}, sent())
      end)

      it("answers the peer's CLOSE at once and keeps what can still be taken", function()
         local channel = opened()
         connection:keep(channel, 0, event_of(messages.channel_data(0, "last words")).data)
         sent()
         local event = event_of(messages.channel_close(0))
         assert.same({ "closed", channel }, { event.type, event.channel })
         assert.same({ messages.channel_close(1000) }, sent())
         local state = connection:state(channel)
         assert.same({ false, true, true }, { state.open, state.eof_received, state.close_sent })
         assert.same({ nil, "state" }, { connection:write(channel, "x") })
         assert.equal("last words", connection:kept(channel, 0))
         connection:take(channel, 0, 10)
         assert.same({}, sent())
         connection:release(channel)
         assert.is_nil(connection:state(channel))
         assert.equal("", connection:kept(channel, 0))
      end)

      it("is closed by releasing it, and says nothing more", function()
         local channel = opened()
         connection:keep(channel, 0, event_of(messages.channel_data(0, "unread")).data)
         sent()
         connection:release(channel)
         assert.same({ messages.channel_close(1000) }, sent())
         for _, payload in ipairs {
            messages.channel_data(0, "late"), messages.extended_data(0, 1, "late"), messages.channel_eof(0),
            messages.exit_status(0, 1), messages.channel_success(0), messages.window_adjust(0, 1),
            messages.channel_close(0),
         } do
            assert.equal("none", event_of(payload).type)
         end
         assert.same({}, sent())
         assert.same({ nil, "closed" }, { connection:write(channel, "x") })
         assert.same({ nil, "closed" }, { connection:close_channel(channel) })
         assert.same({ nil, "closed" }, { connection:keep(channel, 0, "x") })
         connection:release(channel)
      end)

      it("that is closed or released before it was confirmed is closed when it is", function()
         local channel = assert(connection:open("session"))
         connection:close_channel(channel)
         local released = assert(connection:open("session"))
         connection:release(released)
         sent()
         assert.equal("none", event_of(messages.open_confirmation(0, 1000, 10, 10)).type)
         assert.equal("none", event_of(messages.open_confirmation(1, 1001, 10, 10)).type)
         assert.same({ messages.channel_close(1000), messages.channel_close(1001) }, sent())
         assert.equal("closed", event_of(messages.channel_close(0)).type)
         assert.equal("none", event_of(messages.channel_close(1)).type)
         connection:release(channel)
         assert.equal(0, messages.parse((function()
            connection:open("session")
            return sent()[1]
         end)()).sender)
      end)

      it("that was released and is then refused is gone in silence", function()
         connection:release(assert(connection:open("session")))
         sent()
         assert.equal("none", event_of(messages.open_failure(0, 1, "no", "")).type)
         assert.same({}, sent())
      end)

      it("gives its number to another only when both sides have closed and the handle is given up", function()
         local function next_number()
            local channel = assert(connection:open("session"))
            local list = sent()
            connection:release(channel)
            local number = messages.parse(list[#list]).sender
            event_of(messages.open_failure(number, 1, "", ""))
            return number
         end
         local channel = opened()
         assert.equal(1, next_number())
         connection:close_channel(channel)
         assert.equal(1, next_number())
         event_of(messages.channel_close(0))
         assert.equal(1, next_number())
         connection:release(channel)
         assert.equal(0, next_number())
      end)

      it("never lets an old handle reach the channel that has its number now", function()
         local old = opened()
         connection:release(old)
         event_of(messages.channel_close(0))
         local new, id = opened()
         assert.equal(0, id)
         sent()
         assert.same({ nil, "closed" }, { connection:write(old, "x") })
         assert.same({ nil, "closed" }, { connection:close_channel(old) })
         assert.same({ nil, "closed" }, { connection:request(old, "exec", true) })
         assert.same({ nil, "closed" }, { connection:eof(old) })
         connection:release(old)
         connection:consumed(old, 10)
         connection:take(old, 0, 10)
         assert.same({}, sent())
         assert.is_true(connection:state(new).open)
      end)

      for _, handle in ipairs { 0, 1, -1, 0x100000000, 0x1ffffffff, math.mininteger } do
         it(("has no handle %d"):format(handle), function()
            assert.same({ nil, "closed" }, { connection:write(handle, "x") })
            assert.is_nil(connection:state(handle))
            connection:release(handle)
            connection:consumed(handle, 1)
         end)
      end
   end)

   it("one of many is reached by its number alone", function()
      local channels = {}
      for i = 0, 99 do
         channels[i] = opened()
      end
      for i = 99, 0, -1 do
         local event = event_of(messages.channel_data(i, "to " .. i))
         assert.same({ channels[i], "to " .. i }, { event.channel, event.data })
      end
   end)

   it("needs no more memory the thousandth time than the first", function()
      local function live()
         local channel, id = opened()
         connection:keep(channel, 0, event_of(messages.channel_data(id, "abc")).data)
         connection:request(channel, "exec", true)
         event_of(messages.channel_success(id))
         event_of(messages.exit_status(id, 0))
         event_of(messages.channel_close(id))
         connection:release(channel)
         sent()
      end
      live()
      local before = heap:in_use()
      for _ = 1, 1000 do
         live()
      end
      assert.equal(before, heap:in_use())
   end)
end)

describe("a global request", function()
   local connection

   before_each(function() connection = testing.connection.new() end)
   after_each(function() connection:close() end)

   it("is sent, and its replies are matched by their order", function()
      assert.is_true(connection:global_request("tcpip-forward", true, "DATA"))
      assert.is_true(connection:global_request("no-more", false))
      assert.is_true(connection:global_request("keepalive@openssh.com", true))
      assert.same({
         messages.global_request("tcpip-forward", true, "DATA"),
         messages.global_request("no-more", false),
         messages.global_request("keepalive@openssh.com", true),
      }, (connection:sent()))
      local event = connection:handle(messages.request_success("\0\0\0\22"))
      assert.same({ "global_reply", true, "\0\0\0\22" }, { event.type, event.success, event.data })
      event = connection:handle(messages.request_failure())
      assert.same({ "global_reply", false, "" }, { event.type, event.success, event.data })
      assert.equal("none", connection:handle(messages.request_failure()).type)
   end)

   it("is not confused by replies that nobody asked for", function()
      for _ = 1, 5000 do
         assert.equal("none", connection:handle(messages.request_success("x")).type)
         assert.equal("none", connection:handle(messages.request_failure()).type)
      end
      connection:global_request("a", true)
      assert.is_false(connection:handle(messages.request_failure()).success)
   end)

   it("of the peer is told, and refused if it wants a reply", function()
      local event = connection:handle(messages.global_request("hostkeys-00@openssh.com", false, "KEYS"))
      assert.same({ "global_request", "hostkeys-00@openssh.com", "KEYS" }, { event.type, event.name, event.data })
      assert.same({}, (connection:sent()))
      event = connection:handle(messages.global_request("keepalive@openssh.com", true))
      assert.equal("global_request", event.type)
      assert.same({ messages.request_failure() }, (connection:sent()))
   end)

   it("is not sent with an over-long name or data", function()
      assert.same({ nil, "limit" }, { connection:global_request(("n"):rep(65), true) })
      assert.same({ nil, "limit" }, { connection:global_request("n", true, ("x"):rep(65537)) })
      assert.same({}, (connection:sent()))
   end)
end)
