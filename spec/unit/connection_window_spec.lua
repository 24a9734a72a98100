-- Windows (RFC 4254 5.2): what the peer may send follows what was consumed, grows to what the path needs, and ends.

local messages = require "spec.support.messages"
local testing = require "moonssh_testing"

local KIB, MIB = 1024, 1024 * 1024

describe("a receive window", function()
   local connection

   local function renew(options)
      if connection then
         connection:close()
      end
      connection = testing.connection.new(nil, options)
   end

   before_each(function() renew() end)
   after_each(function() connection:close() end)

   local function opened()
      local channel = assert(connection:open("session"))
      local list = connection:sent()
      local open = messages.parse(list[#list])
      assert(connection:handle(messages.open_confirmation(open.sender, 7, 0, 32768)))
      return channel, open.sender, open.window
   end

   -- The sum of all grants sent since the last call.
   local function granted()
      local sum = 0
      for _, payload in ipairs((connection:sent())) do
         local message = messages.parse(payload)
         assert.same({ "window_adjust", 7 }, { message.kind, message.channel })
         sum = sum + message.bytes
      end
      return sum
   end

   local function receive(id, len, stream)
      local data = ("x"):rep(len)
      return assert(connection:handle(stream == 1 and messages.extended_data(id, 1, data) or
         messages.channel_data(id, data)))
   end

   it("is as large as asked, made odd", function()
      for wanted, given in pairs { [1] = 1, [2] = 1, [3] = 3, [1000] = 999, [1001] = 1001 } do
         renew { initial_window = wanted }
         local _, _, window = opened()
         assert.equal(given, window)
      end
   end)

   it("shrinks by what was received and nothing else", function()
      local channel, id, window = opened()
      receive(id, 1000)
      receive(id, 24, 1)
      assert.equal(window - 1024, connection:state(channel).receive_window)
      assert.equal(window, connection:state(channel).window)
   end)

   it("is not opened again by data that nobody has consumed", function()
      renew { initial_window = 100 }
      local channel, id, window = opened()
      connection:keep(channel, 0, receive(id, window).data)
      assert.equal(0, granted())
      assert.equal(0, connection:state(channel).receive_window)
   end)

   it("is opened again when a quarter was consumed, not sooner", function()
      renew { initial_window = 4001 }
      local channel, id = opened()
      receive(id, 1500)
      connection:consumed(channel, 999)
      assert.equal(0, granted())
      connection:consumed(channel, 1)
      assert.equal(1000, granted())
      assert.equal(4001 - 500, connection:state(channel).receive_window)
      connection:consumed(channel, 500)
      assert.equal(0, granted())
   end)

   it("follows what is taken of kept data", function()
      renew { initial_window = 4001 }
      local channel, id = opened()
      connection:keep(channel, 0, receive(id, 2000).data)
      connection:keep(channel, 1, receive(id, 2001, 1).data)
      connection:take(channel, 0, 600)
      assert.equal(600, granted())
      connection:take(channel, 1, 5000)
      assert.equal(2001, granted())
      assert.equal(4001 - 1400, connection:state(channel).receive_window)
   end)

   it("is never opened beyond its size, whatever is said to be consumed", function()
      renew { initial_window = 4001 }
      local channel, id = opened()
      connection:consumed(channel, 1 << 40)
      assert.equal(0, granted())
      receive(id, 1500)
      connection:consumed(channel, math.maxinteger)
      assert.equal(1500, granted())
      connection:consumed(channel, 1500)
      assert.equal(0, granted())
      assert.equal(4001, connection:state(channel).receive_window)
   end)

   it("gives what there is before the peer runs dry, when unread data hold the most of it", function()
      renew { initial_window = 1001 }
      local channel, id = opened()
      connection:keep(channel, 1, receive(id, 900, 1).data)
      receive(id, 100)
      connection:consumed(channel, 100)
      assert.equal(100, granted())
      -- Less than a quarter is owed, more than the peer has left: told when data come, too.
      receive(id, 60)
      connection:consumed(channel, 40)
      assert.equal(0, granted())
      connection:keep(channel, 1, receive(id, 41, 1).data)
      assert.equal(40, granted())
   end)

   it("is opened again in growing steps when a reader goes on byte by byte after a pause", function()
      renew { initial_window = 1001 }
      local channel, id = opened()
      for _ = 1, 3 do
         connection:keep(channel, 0, receive(id, connection:state(channel).receive_window).data)
         local steps = {}
         for _ = 1, 1001 do
            connection:take(channel, 0, 1)
            table.insert(steps, granted())
         end
         local sum, n = 0, 0
         for _, step in ipairs(steps) do
            sum, n = sum + step, n + (step > 0 and 1 or 0)
         end
         assert.equal(connection:state(channel).receive_window, sum)
         assert.is_true(sum > 750 and n < 16, n)
      end
      assert.equal(1001, connection:state(channel).window)
   end)

   it("lets a peer go on for ever that is read", function()
      renew { initial_window = 5000, max_window = 5000 }
      local channel, id, left = opened()
      for _ = 1, 1000 do
         local len = math.min(left, 700)
         receive(id, len)
         connection:consumed(channel, len)
         left = left - len + granted()
         assert.is_true(left > 0)
      end
   end)

   it("counts data of an unknown type as read, so that the stream flows on", function()
      renew { initial_window = 100 * KIB }
      local _, id, left = opened()
      for _, code in ipairs { 0, 2, 7, 0xffffffff } do
         for _ = 1, 10 * MIB // (25 * KIB) do
            assert.equal("none", connection:handle(messages.extended_data(id, code, ("x"):rep(25 * KIB))).type)
            left = left - 25 * KIB + granted()
            assert.is_true(left >= 25 * KIB)
         end
      end
   end)

   it("counts data of an unknown type even while our own cannot be sent, and grants later", function()
      renew { initial_window = 100 * KIB }
      local channel, id = opened()
      connection:limit(0, -5)
      connection:handle(messages.extended_data(id, 2, ("x"):rep(30 * KIB)))
      assert.equal(0, granted())
      connection:limit()
      receive(id, 1)
      assert.equal(30 * KIB, granted())
      assert.equal(100 * KIB - 1 - 1, connection:state(channel).receive_window)
   end)

   it("is not opened after the end of the data or a close", function()
      renew { initial_window = 4000 }
      local channel, id = opened()
      receive(id, 2000)
      connection:handle(messages.channel_eof(id))
      connection:consumed(channel, 2000)
      assert.equal(0, granted())
      channel, id = opened()
      receive(id, 2000)
      connection:close_channel(channel)
      connection:sent()
      connection:consumed(channel, 2000)
      assert.equal(0, granted())
   end)

   -- A peer that sends as much as it may in packets of `packet` bytes, over a path on which each grant takes effect
   -- only after the peer has stopped for want of it (long) or at once (short). Gives the window after `total` bytes.
   local function transfer(options)
      local channel, id, credit = opened()
      local in_flight, received = 0, 0
      while received < options.total do
         local len = math.min(options.packet, credit, options.total - received)
         if len == 0 then
            assert.is_true(in_flight > 0)
            -- Grants arrive one by one, as they were sent.
            credit, in_flight = in_flight, 0
         else
            receive(id, len)
            credit = credit - len
            received = received + len
            connection:consumed(channel, len)
            for _, payload in ipairs((connection:sent())) do
               local bytes = messages.parse(payload).bytes
               if options.long then
                  in_flight = in_flight + bytes
               else
                  credit = credit + bytes
               end
            end
         end
      end
      return connection:state(channel).window
   end

   it("stays as it is on a short path", function()
      assert.equal(2 * MIB - 1, transfer { packet = 32768, total = 64 * MIB })
      assert.equal(2 * MIB - 1, transfer { packet = 32000, total = 16 * MIB })
      assert.equal(2 * MIB - 1, transfer { packet = 1000, total = 8 * MIB })
   end)

   -- The delay line: a grant sent when `received` bytes had come takes effect when `delay` more have come, or when the
   -- peer has nothing left to send.
   local function transfer_delayed(delay, total, packet)
      local channel, id, credit = opened()
      local received = 0
      local grants = {}
      while received < total do
         while grants[1] and (grants[1].at <= received or credit == 0) do
            credit = credit + table.remove(grants, 1).bytes
         end
         local len = math.min(packet, credit)
         receive(id, len)
         credit = credit - len
         received = received + len
         connection:consumed(channel, len)
         for _, payload in ipairs((connection:sent())) do
            table.insert(grants, { at = received + delay, bytes = messages.parse(payload).bytes })
         end
      end
      return connection:state(channel).window
   end

   it("grows to what a long path needs, and no further", function()
      local window = transfer_delayed(12 * MIB, 200 * MIB, 32768)
      assert.is_true(window >= 12 * MIB and window <= 40 * MIB, window)
      assert.equal(2 * MIB - 1, transfer_delayed(1 * MIB, 64 * MIB, 32768))
   end)

   it("grows up to the maximum of a channel", function()
      renew { max_window = 5 * MIB }
      assert.equal(5 * MIB - 1, transfer { long = true, packet = 32768, total = 64 * MIB })
   end)

   it("grows up to the maximum of all channels together", function()
      renew { max_window = 64 * MIB, max_total_window = 8 * MIB, max_channels = 4 }
      local other = connection:state((opened())).window
      local window = transfer { long = true, packet = 32768, total = 64 * MIB }
      assert.is_true(window > 3 * MIB)
      assert.is_true(window + other <= 8 * MIB)
   end)

   it("does not grow for a reader that lags", function()
      local channel, id, credit = opened()
      for _ = 1, 40 do
         -- The peer uses up all it may; only then is everything read.
         while credit > 0 do
            local len = math.min(32768, credit)
            connection:keep(channel, 0, receive(id, len).data)
            credit = credit - len
         end
         connection:take(channel, 0, 4 * MIB)
         credit = granted()
      end
      assert.equal(2 * MIB - 1, connection:state(channel).window)
   end)

   it("does not grow on a long path for a reader that is always half a window behind", function()
      local channel, id, credit = opened()
      local received, unread = 0, 0
      local grants = {}
      while received < 100 * MIB do
         while grants[1] and (grants[1].at <= received or credit == 0) do
            credit = credit + table.remove(grants, 1).bytes
         end
         local len = math.min(32768, credit)
         receive(id, len)
         credit, received, unread = credit - len, received + len, unread + len
         if unread > MIB then
            connection:consumed(channel, unread - MIB)
            unread = MIB
         end
         for _, payload in ipairs((connection:sent())) do
            table.insert(grants, { at = received + 12 * MIB, bytes = messages.parse(payload).bytes })
         end
      end
      assert.equal(2 * MIB - 1, connection:state(channel).window)
   end)

   it("grows where it is no larger than a packet", function()
      renew { initial_window = 1001, max_window = 100000 }
      local channel, id, credit = opened()
      for _ = 1, 100 do
         receive(id, math.min(credit, 32768))
         connection:consumed(channel, credit)
         credit = credit - math.min(credit, 32768) + granted()
      end
      assert.is_true(connection:state(channel).window > 32768)
   end)

   it("of many channels stay below the maximum together, and none is left without", function()
      renew { max_channels = 1024 }
      local sum, least = 0, math.huge
      for _ = 1, 1024 do
         local _, _, window = opened()
         sum = sum + window
         least = math.min(least, window)
      end
      assert.is_true(sum <= 256 * MIB)
      assert.is_true(least >= 32 * KIB - 1, least)
   end)

   it("goes back to all when its channel is gone", function()
      renew { max_channels = 2, max_total_window = 3 * MIB }
      local first, id = opened()
      local second, second_id, small = opened()
      assert.is_true(small < 1.1 * MIB)
      connection:release(first)
      connection:handle(messages.channel_close(id))
      connection:release(second)
      connection:handle(messages.channel_close(second_id))
      local _, _, window = opened()
      assert.equal(2 * MIB - 1, window)
   end)
end)
