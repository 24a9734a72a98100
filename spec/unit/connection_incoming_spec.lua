-- Channels that the peer opens (RFC 4254 5.1, 6.3.2, 7.2): asked for, accepted, refused.

local messages = require "spec.support.messages"
local testing = require "moonssh_testing"

local X11, AGENT, TCPIP, STREAMLOCAL = 0, 1, 2, 3

local kinds = {
   { X11, "x11", ">s4I4", "192.0.2.7", 6010 },
   { AGENT, "auth-agent@openssh.com", "" },
   { TCPIP, "forwarded-tcpip", ">s4I4s4I4", "localhost", 8080, "192.0.2.7", 50000 },
   { STREAMLOCAL, "forwarded-streamlocal@openssh.com", ">s4s4", "/run/x.sock", "" },
}

local function data_of(row)
   return string.pack(row[3], table.unpack(row, 4))
end

describe("a channel that the peer opens", function()
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

   local function open(type, data, window, packet)
      return connection:handle(messages.channel_open(type, 77, window or 5000, packet or 32768, data or ""))
   end

   local function refusal()
      local message = messages.parse(connection:sent()[1])
      assert.equal("open_failure", message.kind)
      assert.equal(77, message.channel)
      return message.reason, message.text
   end

   it("is refused unless its kind is wanted, and nothing is asked", function()
      for _, row in ipairs(kinds) do
         assert.equal("none", open(row[2], data_of(row)).type)
         assert.same({ 1, "not requested" }, { refusal() })
         connection:want(row[1], true)
         assert.equal("asked", open(row[2], data_of(row)).type)
         connection:want(row[1], false)
         assert.equal("none", open(row[2], data_of(row)).type)
         assert.same({ 1, "not requested" }, { refusal() })
         for _, other in ipairs{ "session", "direct-tcpip", "direct-streamlocal@openssh.com", "tun@openssh.com" } do
            assert.equal("none", open(other, "whatever").type)
            assert.same({ 1, "not requested" }, { refusal() })
         end
         assert.equal("none", open("X11", data_of(row)).type)
         assert.same({ 3, "unknown channel type" }, { refusal() })
      end
   end)

   it("is asked for with all that is said of it", function()
      for _, row in ipairs(kinds) do
         connection:want(row[1], true)
         local event = open(row[2], data_of(row))
         assert.equal("asked", event.type)
         assert.equal(row[2], event.name)
         connection:release(event.channel)
      end
      local event = open("x11", data_of(kinds[1]))
      assert.same({ "", 0, "192.0.2.7", 6010 }, { event.data, event.reason, event.language, event.origin_port })
      event = open("forwarded-tcpip", data_of(kinds[3]))
      assert.same({ "localhost", 8080, "192.0.2.7", 50000 },
         { event.data, event.reason, event.language, event.origin_port })
      event = open("forwarded-streamlocal@openssh.com", data_of(kinds[4]))
      assert.same({ "/run/x.sock", 0, "", 0 }, { event.data, event.reason, event.language, event.origin_port })
   end)

   local function asked(window, packet)
      connection:want(AGENT, true)
      local event = assert(open("auth-agent@openssh.com", "", window, packet))
      assert.equal("asked", event.type)
      return event.channel
   end

   it("is open once it is accepted, both ways", function()
      local channel = asked(6, 4)
      assert.is_true(connection:accept(channel))
      local confirmation = messages.parse(connection:sent()[1])
      assert.same({ "open_confirmation", 77, 0, 2097151, 32768, "" }, { confirmation.kind, confirmation.channel,
         confirmation.sender, confirmation.window, confirmation.packet, confirmation.data })
      assert.equal(6, connection:state(channel).send_window)
      assert.equal(4, connection:room(channel))
      assert.equal(6, connection:write(channel, "abcdefgh"))
      assert.same({ messages.channel_data(77, "abcd"), messages.channel_data(77, "ef") }, (connection:sent()))
      assert.equal(0, connection:room(channel))
      assert.equal("data", connection:handle(messages.channel_data(0, "hello")).type)
      assert.equal("eof", connection:handle(messages.channel_eof(0)).type)
      assert.equal("closed", connection:handle(messages.channel_close(0)).type)
      connection:release(channel)
      assert.is_nil(connection:state(channel))
   end)

   it("is gone once it is refused, with reason and text", function()
      local channel = asked()
      assert.is_true(connection:refuse(channel, 4, "busy"))
      assert.same({ 4, "busy" }, { refusal() })
      assert.is_nil(connection:state(channel))
      assert.same({ nil, "closed" }, { connection:refuse(channel, 4, "busy") })
      assert.same({ nil, "closed" }, { connection:accept(channel) })
      assert.same({}, (connection:sent()))
   end)

   it("is refused when its handle is given up", function()
      connection:release(asked())
      assert.same({ 1, "" }, { refusal() })
   end)

   it("is answered once", function()
      local channel = asked()
      assert.is_true(connection:accept(channel))
      assert.same({ nil, "state" }, { connection:accept(channel) })
      assert.same({ nil, "state" }, { connection:refuse(channel, 1, "") })
      local own = connection:open("session")
      assert.same({ nil, "state" }, { connection:accept(own) })
   end)

   it("takes no long text of refusal", function()
      local channel = asked()
      assert.same({ nil, "limit" }, { connection:refuse(channel, 1, ("x"):rep(65)) })
      assert.is_true(connection:refuse(channel, 1, ("x"):rep(64)))
      assert.same({ 1, ("x"):rep(64) }, { refusal() })
   end)

   it("can be used for nothing before it is accepted", function()
      local channel = asked()
      assert.same({ nil, "state" }, { connection:write(channel, "x") })
      assert.same({ nil, "state" }, { connection:eof(channel) })
      assert.same({ nil, "state" }, { connection:close_channel(channel) })
      assert.same({ nil, "state" }, { connection:request(channel, "x", false, "") })
      assert.equal(0, connection:room(channel))
      assert.is_false(connection:state(channel).open)
      assert.same({}, (connection:sent()))
   end)

   it("gets nothing from the peer before it is accepted", function()
      for _, message in ipairs{ messages.channel_data(0, "x"), messages.channel_eof(0), messages.channel_close(0),
         messages.window_adjust(0, 1), messages.open_confirmation(0, 0, 1, 1), messages.open_failure(0, 1, "", "") } do
         renew()
         asked()
         assert.same({ nil, "protocol" }, { connection:handle(message) })
      end
   end)

   it("cannot have a packet size of 0", function()
      connection:want(AGENT, true)
      assert.same({ nil, "protocol" }, { open("auth-agent@openssh.com", "", 1, 0) })
   end)

   it("is refused for ports over 65535, and for addresses with a NUL or too long", function()
      connection:want(X11, true)
      connection:want(TCPIP, true)
      connection:want(STREAMLOCAL, true)
      local function check(type, form, ...)
         assert.equal("none", assert(open(type, string.pack(form, ...))).type)
         assert.same({ 1, "not a possible address" }, { refusal() })
      end
      for _, port in ipairs{ 65536, 0x7fffffff, 0xffffffff } do
         check("x11", ">s4I4", "a", port)
         check("forwarded-tcpip", ">s4I4s4I4", "a", port, "b", 1)
         check("forwarded-tcpip", ">s4I4s4I4", "a", 1, "b", port)
      end
      for _, text in ipairs{ "\0", "a\0", "\0a", "a\0b", ("x"):rep(1025) } do
         check("x11", ">s4I4", text, 1)
         check("forwarded-tcpip", ">s4I4s4I4", text, 1, "b", 1)
         check("forwarded-tcpip", ">s4I4s4I4", "a", 1, text, 1)
         check("forwarded-streamlocal@openssh.com", ">s4s4", text, "")
      end
      assert.equal("asked", open("x11", string.pack(">s4I4", ("x"):rep(1024), 65535)).type)
   end)

   it("is rejected when cut short anywhere, or too long", function()
      for _, row in ipairs(kinds) do
         local whole = messages.channel_open(row[2], 77, 1000, 1000, data_of(row))
         for n = 1, #whole - 1 do
            renew()
            connection:want(row[1], true)
            assert.same({ nil, "protocol" }, { connection:handle(whole:sub(1, n)) })
         end
         renew()
         connection:want(row[1], true)
         assert.same({ nil, "protocol" }, { connection:handle(whole .. "\0") })
      end
   end)

   it("is refused for want of room when there are as many channels as may be", function()
      renew { max_channels = 2 }
      local channel = asked()
      assert(connection:open("session"))
      connection:sent()
      assert.equal("none", open("auth-agent@openssh.com").type)
      assert.same({ 4, "too many channels" }, { refusal() })
      connection:refuse(channel, 1, "")
      assert.equal("asked", open("auth-agent@openssh.com").type)
   end)

   it("costs nothing after it was refused, 100,000 times", function()
      connection:want(X11, true)
      local used
      for i = 1, 100000 do
         local event = open("x11", data_of(kinds[1]))
         if i % 2 == 0 then
            connection:refuse(event.channel, 1, "no")
         else
            connection:release(event.channel)
         end
         if i % 1000 == 0 then
            connection:sent()
            used = used or heap:in_use()
            assert.equal(used, heap:in_use())
         end
      end
   end)

   it("is reported when there is no memory for it", function()
      local channel = asked()
      connection:refuse(channel, 1, "")
      assert.is_true(heap:in_use() > 0)
      renew()
      connection:want(AGENT, true)
      heap:fail(1)
      assert.same({ nil, "memory" }, { open("auth-agent@openssh.com") })
      assert.equal("memory", (connection:failure()))
   end)
end)
