-- Attacks, rows C9 to C15: the connection layer, from channels that the server opens to its texts.

local oracle = require "spec.support.oracle"
local wire = require "spec.support.wire"

local message = wire.message
local at = oracle.at

describe("C9: channels that the server opens", function()
   for _, kind in ipairs{ "x11", "auth-agent@openssh.com", "forwarded-tcpip", "session", "direct-tcpip",
      ("t"):rep(32000) } do
      it("are refused, thousands of them, at no cost: " .. kind:sub(1, 30), function()
         local run = oracle.run{ client = { command = false } }
         local rounds, each = 10, #kind > 100 and 20 or 1000
         local used = {}
         for round = 1, rounds do
            for i = 1, each do
               run.peer:message("CHANNEL_OPEN", "suuur", kind, round * each + i, 0xffffffff, 0xffffffff, "rest")
            end
            run:go()
            used[round] = run.client.session:memory()
         end
         assert.are.equal(rounds * each, #run.peer:seen("CHANNEL_OPEN_FAILURE"))
         local _, peak = run.client.session:memory()
         assert.is_true(used[rounds] <= used[2], ("holds %d, and after two rounds %d"):format(used[rounds], used[2]))
         assert.is_true(peak - run.client.baseline < 2 << 20, "took " .. peak)
         oracle.alive(run)
      end)
   end

   -- Those that are wanted, as a program answers them.
   local forms = { x11 = wire.pack("su", "192.0.2.7", 6010), ["auth-agent@openssh.com"] = "",
      ["forwarded-tcpip"] = wire.pack("susu", "localhost", 80, "192.0.2.7", 6010),
      ["forwarded-streamlocal@openssh.com"] = wire.pack("ss", "/run/x", "") }

   for kind, data in pairs(forms) do
      it("cost nothing when they are asked about and refused, thousands of them: " .. kind, function()
         local run = oracle.run{ client = { command = false, on = { asked = function(client, channel)
            assert(client.session:channel_refuse(channel, 1, "no"))
         end } } }
         run.client.session:want(kind, true)
         local used, each = {}, kind == "x11" and 1000 or 100
         for round = 1, 10 do
            for i = 1, each do
               run.peer:message("CHANNEL_OPEN", "suuur", kind, i, 0xffffffff, 0xffffffff, data)
            end
            run:go()
            run.client.events = {}
            used[round] = run.client.session:memory()
         end
         assert.are.equal(10 * each, #run.peer:seen("CHANNEL_OPEN_FAILURE"))
         assert.is_true(used[10] <= used[2], ("holds %d, and after two rounds %d"):format(used[10], used[2]))
         oracle.alive(run)
      end)

      it("are as many as there may be channels when nobody answers: " .. kind, function()
         local run = oracle.run{ client = { command = false, session = { max_channels = 50 } } }
         run.client.session:want(kind, true)
         for i = 1, 500 do
            run.peer:message("CHANNEL_OPEN", "suuur", kind, i, 0xffffffff, 0xffffffff, data)
         end
         run:go()
         assert.are.equal(50, (run.client:count("asked")))
         assert.are.equal(450, #run.peer:seen("CHANNEL_OPEN_FAILURE"))
         local _, peak = run.client.session:memory()
         assert.is_true(peak - run.client.baseline < 2 << 20, "took " .. peak)
         oracle.alive(run)
      end)
   end

   it("do not make the answers pile up: reading stops when they are not taken", function()
      local run = oracle.run{ client = { command = false }, limit = 100000 }
      run.taken = 0
      for i = 1, 100000 do
         run.peer:message("CHANNEL_OPEN", "suuu", "x11", i, 0, 0)
      end
      run:peer_speaks()
      assert.are.equal(0, run.client.session:input_room())
      local _, peak = run.client.session:memory()
      assert.is_true(peak - run.client.baseline < 4 << 20, "holds " .. peak)
      run.taken = nil
      run:go()
      assert.are.equal(100000, #run.peer:seen("CHANNEL_OPEN_FAILURE"))
      oracle.alive(run)
   end)
end)

describe("C10: CHANNEL_OPEN", function()
   it("is rejected when it is cut short, whatever its type", function()
      for _, kind in ipairs{ "x11", "auth-agent@openssh.com", "forwarded-tcpip", "session", "unknown" } do
         local whole = message("CHANNEL_OPEN", "suuu", kind, 7, 1000, 1000)
         for n = 1, #whole - 1 do
            oracle.rejected(oracle.run{ peer = { inject = { authenticated = whole:sub(1, n) } } }, "protocol", 2)
         end
         local run = oracle.run{ peer = { inject = { authenticated = whole } } }
         assert.are.equal(1, #run.peer:seen("CHANNEL_OPEN_FAILURE"))
         oracle.finished(run)
      end
   end)

   it("is rejected when it is cut short where its type is wanted, before and after", function()
      for kind, data in pairs{ x11 = wire.pack("su", "a", 1), ["forwarded-tcpip"] = wire.pack("susu", "a", 1, "b", 2),
         ["forwarded-streamlocal@openssh.com"] = wire.pack("ss", "/a", "") } do
         local whole = message("CHANNEL_OPEN", "suuur", kind, 7, 1000, 1000, data)
         for n = 1, #whole do
            local run = oracle.run{ client = { command = false } }
            run.client.session:want(kind, true)
            run.peer:send(n < #whole and whole:sub(1, n) or whole .. "\0")
            oracle.rejected(run:go(), "protocol", 2)
            assert.are.equal(0, (run.client:count("asked")))
         end
      end
   end)
end)

describe("C11: answers to CHANNEL_OPEN", function()
   local function confirmation(id)
      return message("CHANNEL_OPEN_CONFIRMATION", "uuuu", id, 0, 1000, 1000)
   end
   local function failure(id, text)
      return message("CHANNEL_OPEN_FAILURE", "uuss", id, 1, text or "no", "en")
   end

   it("cannot come twice", function()
      for _, moment in ipairs{ "opened", "running" } do
         for _, make in ipairs{ confirmation, failure } do
            oracle.rejected(at(moment, function(_, id) return make(id) end), "protocol", 2)
         end
      end
   end)

   it("cannot be for another channel", function()
      for _, make in ipairs{ confirmation, failure } do
         oracle.rejected(at("opening", function(_, id) return make(id + 1) end), "protocol", 2)
      end
   end)

   it("are rejected when cut short", function()
      for _, make in ipairs{ confirmation, failure } do
         local length = #make(0)
         for n = 1, length - 1 do
            oracle.rejected(at("opening", function(_, id) return make(id):sub(1, n) end), "protocol", 2)
         end
      end
   end)

   it("may refuse, with any text", function()
      local text = "\27[2J\xff" .. ("n"):rep(30000)
      local run = oracle.run{ peer = { steps = { channel_open = function(_, channel)
         return failure(channel.remote, text)
      end } } }
      local _, event = run.client:count("open_failed")
      assert.are.same({ "open_failed", run.client.channel, 1, text, "en", n = 5 }, event)
      assert.is_nil(run.client.session:channel_state(run.client.channel))
      oracle.alive(run)
   end)
end)

describe("C12: strings in data that lie about their length", function()
   it("are rejected", function()
      for _, kind in ipairs{ "CHANNEL_DATA", "CHANNEL_EXTENDED_DATA" } do
         for _, length in ipairs{ 0, 3, 5, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff } do
            local run = at("running", function(_, id)
               local head = kind == "CHANNEL_DATA" and wire.pack("u", id) or wire.pack("uu", id, 1)
               return message(kind, "rur", head, length, "four")
            end)
            assert.are.equal(0, (run.client:count("data")))
            oracle.rejected(run, "protocol", 2)
         end
      end
   end)
end)

describe("C13: rekeying in mid transfer", function()
   -- The server sends 200 pieces on both streams, and echoes what it gets; at one boundary keys are exchanged anew.
   local pieces = {}
   for i = 1, 200 do
      pieces[i] = ("%d,"):format(i):rep(i)
   end
   local stdout, stderr = {}, {}
   for i, piece in ipairs(pieces) do
      table.insert(i % 3 == 0 and stderr or stdout, piece)
   end
   stdout, stderr = table.concat(stdout), table.concat(stderr)

   local function transfer(where, by)
      local echoed = {}
      local function go_on(peer, channel, from)
         for i = from, #pieces do
            if i == where and not peer.rekeyed then
               peer.rekeyed = true
               if by ~= "client" then
                  peer:rekey(function() go_on(peer, channel, i) end)
                  return
               end
               peer:message("GLOBAL_REQUEST", "so", "rekey now", false)
            end
            if i % 3 == 0 then
               peer:message("CHANNEL_EXTENDED_DATA", "uus", channel.remote, 1, pieces[i])
            else
               peer:message("CHANNEL_DATA", "us", channel.remote, pieces[i])
            end
         end
         peer:finish(channel)
      end
      local run = oracle.run{
         client = { on = {
            global_request = function(client) assert(client.session:rekey()) end,
            data = function(client, channel, stream)
               if by == "both" and not client.rekeyed and #client.stdout > 0 then
                  client.rekeyed = true
                  assert(client.session:rekey())
               end
               client.session:channel_write(channel, 0, tostring(stream))
            end,
         } },
         peer = { output = stdout, errors = stderr, steps = {
            run = function(peer, channel) go_on(peer, channel, 1) end,
            data = function(_, _, data) table.insert(echoed, data) end,
         } },
      }
      assert.is_true(run.client.session:info().rekeys >= 1)
      oracle.finished(run)
   end

   for by, step in pairs{ server = 1, client = 3, both = 7 } do
      it("changes nothing in the data, wherever it comes, started by " .. by, function()
         for where = 1, #pieces, step do
            transfer(where, by)
         end
      end)
   end
end)

describe("C14: text of the server's", function()
   local text = "\27[2J\27]0;x\7\xc2\x9b\xe2\x80\xae\r\n%s%n\\" .. ("long"):rep(5000)

   it("in DISCONNECT is escaped and cut in the failure's words, and told raw", function()
      local run = oracle.run{ peer = { inject = { authenticated = message("DISCONNECT", "uss", 11, text, "\27") } } }
      local _, event = run.client:count("disconnect")
      assert.are.same({ "disconnect", 11, text, "\27", n = 4 }, event)
      local code, _, reason = run.client.session:failure()
      assert.are.equal("disconnected", code)
      assert.are.equal(11, reason)
      local words = oracle.rejected(run, "disconnected")
      assert.is_truthy(words:find("\\x1b[2J", 1, true), words)
   end)

   it("in DISCONNECT counts whenever it comes, before keys and while they are exchanged", function()
      for _, moment in ipairs{ "ident", "kexinit", "reply", "newkeys", "service", "userauth", "opening", "running" } do
         local run = oracle.run{ peer = { strict = moment ~= "ident", inject = {
            [moment] = message("DISCONNECT", "uss", 2, text, "") } } }
         assert.are.equal(1, (run.client:count("disconnect")), moment)
         oracle.rejected(run, "disconnected")
      end
      local run = oracle.run{ peer = { rekey_first = true, inject = {
         rekey_kexinit = message("DISCONNECT", "uss", 2, text, "") } } }
      oracle.rejected(run, "disconnected")
   end)

   it("in DEBUG is told raw", function()
      local run = oracle.run{ peer = { inject = { accepted = message("DEBUG", "oss", true, text, "") } } }
      assert.are.same({ "debug", true, text, "", n = 4 }, select(2, run.client:count("debug")))
      oracle.finished(run)
   end)
end)

describe("C15: global requests that want a reply", function()
   it("are answered with failure, in order, 20,000 in a burst", function()
      local run = oracle.run{ client = { command = false } }
      local used = {}
      for round = 1, 3 do
         for _ = 1, 20000 do
            run.peer:message("GLOBAL_REQUEST", "so", "keepalive@openssh.com", true)
         end
         run:go()
         used[round] = run.client.session:memory()
      end
      assert.are.equal(60000, #run.peer:seen("REQUEST_FAILURE"))
      assert.is_true(used[3] <= used[1], ("holds %d, and after one burst %d"):format(used[3], used[1]))
      local _, peak = run.client.session:memory()
      assert.is_true(peak - run.client.baseline < 3 << 20, "took " .. peak)
      oracle.alive(run)
   end)
end)
