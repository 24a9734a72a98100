-- Attacks, rows C1 to C8: the connection layer, what concerns a channel.

local oracle = require "spec.support.oracle"
local wire = require "spec.support.wire"

local message = wire.message
local at = oracle.at

-- A channel that is open, on which nothing was asked for yet.
local function with_channel(options)
   options = options or {}
   local on = options.on or {}
   local channel
   on.opened = on.opened or function(_, opened)
      channel = opened
      return true
   end
   local run = oracle.run{ client = { command = function(client)
      client.channel = client.session:open("session", "")
   end, on = on, session = options.session }, peer = options.peer }
   return run, channel, run.peer.channels[1]
end

describe("C1: exit-status and exit-signal", function()
   local function ending(name, rest)
      return at("running", function(_, id)
         return message("CHANNEL_REQUEST", "usor", id, name, false, rest)
      end)
   end

   it("must have a status of four bytes", function()
      for _, n in ipairs{ 0, 1, 2, 3, 5, 8 } do
         oracle.rejected(ending("exit-status", ("\0"):rep(n)), "protocol", 2)
      end
   end)

   it("may tell any status, and more than once", function()
      for _, status in ipairs{ 0, 255, 256, 0x7fffffff, 0xffffffff } do
         local run = at("running", function(_, id)
            return { message("CHANNEL_REQUEST", "usou", id, "exit-status", false, status),
               message("CHANNEL_REQUEST", "usou", id, "exit-status", true, status) }
         end)
         local n, first = run.client:count("exit_status")
         assert.are.equal(3, n)
         assert.are.equal(status, first[3])
         oracle.finished(run)
      end
   end)

   it("must have a signal that is whole", function()
      local whole = wire.pack("soss", "TERM", true, "because", "en")
      for n = 0, #whole - 1 do
         oracle.rejected(ending("exit-signal", whole:sub(1, n)), "protocol", 2)
      end
      oracle.rejected(ending("exit-signal", whole .. "\0"), "protocol", 2)
   end)

   it("may be told a thousand times: nothing is left of it", function()
      local used = {}
      local run = oracle.run{ client = { on = { exit_signal = function(client)
         table.insert(used, (client.session:memory()))
      end } }, peer = { inject = { running = function(peer)
         for _ = 1, 1000 do
            peer:message("CHANNEL_REQUEST", "usosoos", peer.channels[1].remote, "exit-signal", false,
               "TERM", true, "", "")
         end
      end } } }
      assert.are.equal(0, #used)
      assert.is_truthy(run.client.session:failure())
   end)
end)

describe("C2: the window we may write into", function()
   local function adjusting(window, ...)
      local more = { ... }
      local run, channel, theirs = with_channel{ peer = { steps = { channel_open = function(_, opened)
         return message("CHANNEL_OPEN_CONFIRMATION", "uuuu", opened.remote, opened.id, window, 32768)
      end } } }
      for _, n in ipairs(more) do
         run.peer:message("CHANNEL_WINDOW_ADJUST", "uu", theirs.remote, n)
      end
      return run:go(), channel
   end

   it("may grow to 2^32 - 1", function()
      for _, case in ipairs{ { 0, 0xffffffff }, { 0xffffffff, 0 }, { 0xfffffffe, 1 }, { 1, 0x7fffffff, 0x7fffffff } } do
         local run, channel = adjusting(table.unpack(case))
         assert.are.equal(0xffffffff, (select(3, run.client.session:channel_state(channel))))
         oracle.alive(run)
      end
   end)

   it("may not grow to 2^32", function()
      for _, case in ipairs{ { 0xffffffff, 1 }, { 1, 0xffffffff }, { 0x80000000, 0x80000000 },
         { 0xffffffff, 0xffffffff } } do
         oracle.rejected(adjusting(table.unpack(case)), "protocol", 2, "window")
      end
   end)

   it("may be adjusted by nothing, again and again", function()
      local run, _, theirs = with_channel{}
      local before = run.client.session:memory()
      for _ = 1, 20 do
         for _ = 1, 5000 do
            run.peer:message("CHANNEL_WINDOW_ADJUST", "uu", theirs.remote, 0)
         end
         run:go()
      end
      assert.are.equal(0, (run.client:count("window")))
      assert.is_true(run.client.session:memory() - before < 1 << 20)
      oracle.alive(run)
   end)
end)

describe("C3: the server's maximum packet", function()
   local function opened_with(window, packet)
      return with_channel{ peer = { steps = {
         channel_open = function(_, opened)
            return message("CHANNEL_OPEN_CONFIRMATION", "uuuu", opened.remote, opened.id, window, packet)
         end,
         data = function(peer, _, data)
            peer.got = (peer.got or 0) + #data
            peer.largest = math.max(peer.largest or 0, #data)
         end,
      } } }
   end

   it("of 0 is rejected: nothing could ever be written", function()
      for _, window in ipairs{ 0, 1, 0xffffffff } do
         oracle.rejected(opened_with(window, 0), "protocol", 2, "packet")
      end
   end)

   it("of 1 lets data through, byte by byte", function()
      local run, channel = opened_with(1000, 1)
      local taken = run.client.session:channel_write(channel, 0, ("x"):rep(100))
      run:go()
      assert.are.equal(100, taken)
      assert.are.equal(100, run.peer.got)
      assert.are.equal(1, run.peer.largest)
      oracle.alive(run)
   end)

   it("of 2^32 - 1 is not taken at its word", function()
      local run, channel = opened_with(0xffffffff, 0xffffffff)
      local block, written = ("x"):rep(10 << 20), 0
      while written < #block do
         local taken = run.client.session:channel_write(channel, 0, block, written + 1)
         assert.is_truthy(taken)
         written = written + taken
         run:go()
      end
      assert.are.equal(#block, run.peer.got)
      assert.is_true(run.peer.largest <= 262144, "packets of " .. run.peer.largest)
      oracle.alive(run)
   end)

   it("with a window of 0 takes nothing, and does not spin", function()
      local run, channel = opened_with(0, 32768)
      assert.are.equal(0, (run.client.session:channel_write(channel, 0, "x")))
      run:go()
      assert.is_nil(run.peer.got)
      oracle.alive(run)
   end)
end)

describe("C4: messages after the end of a channel", function()
   local function all(id)
      return {
         DATA = message("CHANNEL_DATA", "us", id, "late"),
         EXTENDED_DATA = message("CHANNEL_EXTENDED_DATA", "uus", id, 1, "late"),
         EOF = message("CHANNEL_EOF", "u", id),
         CLOSE = message("CHANNEL_CLOSE", "u", id),
         REQUEST = message("CHANNEL_REQUEST", "uso", id, "late", true),
         WINDOW_ADJUST = message("CHANNEL_WINDOW_ADJUST", "uu", id, 1),
         SUCCESS = message("CHANNEL_SUCCESS", "u", id),
      }
   end

   it("cannot be data after the server's EOF", function()
      for _, name in ipairs{ "DATA", "EXTENDED_DATA" } do
         oracle.rejected(at("eof", function(_, id) return all(id)[name] end), "protocol", 2)
      end
   end)

   it("can be a second EOF, which tells nothing new", function()
      local run = at("eof", function(_, id) return all(id).EOF end)
      assert.are.equal(1, (run.client:count("eof")))
      oracle.finished(run)
   end)

   it("can be requests and windows after the server's EOF", function()
      for _, name in ipairs{ "REQUEST", "WINDOW_ADJUST", "SUCCESS" } do
         oracle.finished(at("eof", function(_, id) return all(id)[name] end))
      end
   end)

   it("cannot be anything after the server's CLOSE", function()
      for name in pairs(all(0)) do
         local run = at("closed", function(_, id) return all(id)[name] end)
         assert.are.equal("hello\n", run.client.stdout)
         oracle.rejected(run, "protocol", 2)
      end
   end)

   it("are passed over after our CLOSE, until the server closes, too", function()
      for name in pairs(all(0)) do
         local run, channel, theirs = with_channel{ peer = { steps = { close = function() end } } }
         assert(run.client.session:channel_close(channel))
         run:go()
         local events = #run.client.events
         run.peer:send(all(theirs.remote)[name])
         run:go()
         assert.are.equal(0, (run.client:count("data")))
         assert.are.equal("", run.client.stdout)
         assert.is_true(#run.client.events <= events + 2)
         oracle.alive(run)
      end
   end)

   it("find no channel any more when the program gave it up in its own callback", function()
      for _, event in ipairs{ "data", "eof", "exit_status", "closed", "reply", "window" } do
         local run = oracle.run{
            client = { on = { [event] = function(client, channel)
               client.session:channel_release(channel)
               return true
            end } },
            peer = { errors = "to stderr", inject = { running = function(peer)
               peer:message("CHANNEL_WINDOW_ADJUST", "uu", peer.channels[1].remote, 1)
            end } },
         }
         assert.is_true(run.client:count(event) >= 1, event)
         oracle.alive(run)
         oracle.close(run)
      end
   end)
end)

describe("C5: a channel number that is none", function()
   local bodies = {
      CHANNEL_OPEN_CONFIRMATION = { "uuu", 0, 1000, 1000 }, CHANNEL_OPEN_FAILURE = { "uss", 1, "", "" },
      CHANNEL_WINDOW_ADJUST = { "u", 1 }, CHANNEL_DATA = { "s", "x" }, CHANNEL_EXTENDED_DATA = { "us", 1, "x" },
      CHANNEL_EOF = { "" }, CHANNEL_CLOSE = { "" }, CHANNEL_REQUEST = { "so", "x", true }, CHANNEL_SUCCESS = { "" },
      CHANNEL_FAILURE = { "" },
   }

   for name, body in pairs(bodies) do
      local function to(id)
         return message(name, "u" .. body[1], id, table.unpack(body, 2))
      end

      it("is rejected in " .. name .. " when no channel was ever opened", function()
         for _, id in ipairs{ 0, 1, 1023, 1024, 0x7fffffff, 0xffffffff } do
            oracle.rejected(oracle.run{ peer = { inject = { authenticated = to(id) } } }, "protocol", 2)
         end
      end)

      it("is rejected in " .. name .. " beside a channel that is open", function()
         for _, other in ipairs{ 1, 2, 1024, 0x10000, 0xffffffff } do
            local run = at("running", function(_, id) return to(id + other & 0xffffffff) end)
            oracle.rejected(run, "protocol", 2)
         end
      end)

      it("is rejected in " .. name .. " once the channel is closed", function()
         local run = oracle.run{}
         run.peer:send(to(run.peer.channels[1].remote))
         run:go()
         oracle.rejected(run, "protocol", 2)
      end)

      if not name:find("OPEN") then
         it("is rejected in " .. name .. " while the channel is being opened", function()
            oracle.rejected(at("opening", function(_, id) return to(id) end), "protocol", 2)
         end)
      end
   end
end)

describe("C6: data beyond what we allow", function()
   it("are rejected from the first byte over the window on", function()
      for extra = 0, 1 do
         -- Nothing is taken, so the window is what it was.
         local run, _, theirs = with_channel{ on = { data = function() return true end } }
         local left = theirs.window + extra
         while left > 0 do
            local n = math.min(left, theirs.packet)
            run.peer:message("CHANNEL_DATA", "us", theirs.remote, ("d"):rep(n))
            left = left - n
         end
         run:go()
         if extra == 0 then
            oracle.alive(run)
         else
            run.memory = 8 << 20
            oracle.rejected(run, "protocol", 2, "window")
         end
      end
   end)

   it("are rejected when a packet of them is larger than we take", function()
      for extra = 0, 1 do
         local run, _, theirs = with_channel()
         run.peer:message("CHANNEL_DATA", "us", theirs.remote, ("d"):rep(theirs.packet + extra))
         run:go()
         if extra == 0 then
            assert.are.equal(theirs.packet, #run.client.stdout)
            oracle.alive(run)
         else
            oracle.rejected(run, "protocol", 2)
         end
      end
   end)

   it("count the same on stderr, whose window is that of stdout", function()
      local run, _, theirs = with_channel{ on = { data = function() return true end } }
      local left = theirs.window
      while left > 0 do
         local n = math.min(left, theirs.packet)
         run.peer:message("CHANNEL_EXTENDED_DATA", "uus", theirs.remote, 1, ("d"):rep(n))
         left = left - n
      end
      run:go()
      oracle.alive(run)
      run.peer:message("CHANNEL_DATA", "us", theirs.remote, "d")
      run:go()
      run.memory = 8 << 20
      oracle.rejected(run, "protocol", 2, "window")
   end)
end)

describe("C7: extended data of unknown types", function()
   for _, kind in ipairs{ 0, 2, 7, 0xffffffff } do
      it("of type " .. kind .. " are dropped and their window given back, also while we cannot send", function()
         local run, channel, theirs = with_channel{ peer = { steps = {} } }
         local sent, more = 0, 10 << 20
         run.taken = 0
         while sent < more do
            local n = math.min(theirs.packet, theirs.window - (run.used or 0))
            if n <= 0 then
               -- Only now are the client's bytes taken, and its adjustments read.
               run.taken = nil
               local before = theirs.window
               run:go()
               assert.is_true(theirs.window > before, "the window is not given back")
               run.taken = 0
               n = math.min(theirs.packet, theirs.window - run.used)
            end
            run.peer:message("CHANNEL_EXTENDED_DATA", "uus", theirs.remote, kind, ("e"):rep(n))
            run.used = (run.used or 0) + n
            sent = sent + n
            run:peer_speaks()
         end
         run.taken = nil
         run:go()
         assert.are.equal(0, (run.client:count("data")))
         assert.is_true((run.client.session:channel_state(channel)))
         oracle.alive(run)
      end)
   end
end)

describe("C8: replies that nobody asked for", function()
   it("are dropped, 5,000 of each", function()
      for _, name in ipairs{ "REQUEST_SUCCESS", "REQUEST_FAILURE", "CHANNEL_SUCCESS", "CHANNEL_FAILURE" } do
         local run, channel, theirs = with_channel{}
         for _ = 1, 5000 do
            run.peer:message(name, name:find("CHANNEL") and "u" or "", theirs.remote)
         end
         run:go()
         assert.are.equal(0, (run.client:count("reply")))
         assert.are.equal(0, (run.client:count("global_reply")))
         -- The next real request gets its own answer.
         assert(run.client.session:global_request("x", true, ""))
         assert(run.client.session:channel_request(channel, "env", true, wire.pack("ss", "a", "b")))
         run:go()
         assert.are.same({ "global_reply", false, "", n = 3 }, select(2, run.client:count("global_reply")))
         assert.are.same({ "reply", channel, true, n = 3 }, select(2, run.client:count("reply")))
         oracle.alive(run)
      end
   end)

   it("are matched in order when one too many comes before the real one", function()
      local run, channel = with_channel{}
      run.peer.steps.channel_request = function(peer, theirs)
         peer:message("CHANNEL_FAILURE", "u", theirs.remote)
         peer:message("CHANNEL_SUCCESS", "u", theirs.remote)
      end
      assert(run.client.session:channel_request(channel, "env", true, wire.pack("ss", "a", "b")))
      run:go()
      assert.are.same({ "reply", channel, false, n = 3 }, select(2, run.client:count("reply")))
      assert.are.equal(1, (run.client:count("reply")))
      oracle.alive(run)
   end)
end)
