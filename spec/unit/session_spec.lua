-- The session: the layers in one machine, each thing in its time, one failure for all.

local messages = require "spec.support.messages"
local ScriptedServer = require "spec.support.scripted_server"
local SessionPair = require "spec.support.session_pair"
local testing = require "moonssh_testing"

describe("a session", function()
   local pair, heap

   local function new(options)
      heap = testing.heap.new()
      options = options or {}
      options.session = options.session or {}
      options.session.heap = heap
      pair = SessionPair.new(options)
      return pair
   end

   after_each(function()
      if pair then
         pair:close()
         assert.equal(0, heap:in_use())
      end
      pair = nil
   end)

   local function types()
      local list = {}
      for i, event in ipairs(pair.events) do
         list[i] = event.type
      end
      return list
   end

   local function finished(out, status)
      assert.is_nil(pair.session:failure())
      assert.is_nil(pair.server.failed)
      assert.same({ out, status }, { pair.out, pair.status })
   end

   it("runs a command from the identification to the exit status", function()
      new{ command = "echo hello" }:run()
      finished("hello", 0)
      assert.same({ "host_key", "kex_done", "auth_success", "opened", "reply", "data", "exit_status", "eof", "closed" },
         types())
      assert.is_true(pair.session:authenticated())
   end)

   it("needs at most five exchanges for that", function()
      new{ login = function(session)
         assert(session:password("moon", "secret"))
      end }:start()
      -- Each side speaks until it has nothing more to say; then the other.
      local exchanges = 0
      while pair:move_to_server() do
         exchanges = exchanges + 1
         while pair:move_to_client() do
            pair:take()
         end
         if pair.status then
            break
         end
      end
      finished("hello", 0)
      assert.is_true(exchanges <= 5, exchanges)
   end)

   it("carries both streams at once", function()
      new{
         server = { exec = function(channel)
            for i = 1, 50 do
               channel:write(("o"):rep(i * 100)):write(("e"):rep(i * 50), 1)
            end
            channel:finish(3)
         end },
      }:run()
      finished(("o"):rep(127500), 3)
      assert.equal(("e"):rep(63750), pair.err)
   end)

   it("carries megabytes there and back", function()
      local bytes = {}
      for i = 1, 300000 do
         bytes[i] = string.pack(">I4", i * 2654435761 % 0x100000000)
      end
      local input = table.concat(bytes):rep(3)
      new{ command = "cat", input = input }:run()
      finished(input, 0)
   end)

   it("lets the client write no more than the server's window", function()
      new{ command = "cat", input = ("x"):rep(100000),
         server = { window = 1000, keeps_window = true, exec = function() end } }:run()
      assert.is_nil(pair.session:failure())
      assert.equal(99000, #pair.left)
      pair.server.channels[0]:grant(600)
      pair:run()
      assert.equal(98400, #pair.left)
   end)

   it("bounds what an unread channel holds", function()
      new{
         server = { exec = function(channel)
            channel:write(("x"):rep(10 * 1024 * 1024)):finish(0)
         end },
         on = { data = function(self, event)
            assert(self.session:keep(event.channel, event.stream, event.data))
            return true
         end, closed = function() return true end },
      }:run()
      assert.is_nil(pair.status)
      assert.equal(2 * 1024 * 1024 - 1, #pair.session:kept(pair.channel, 0))
      local total = 0
      repeat
         local kept = #pair.session:kept(pair.channel, 0)
         total = total + kept
         pair.session:take(pair.channel, 0, kept)
         pair:run()
      until kept == 0
      assert.equal(10 * 1024 * 1024, total)
      assert.equal(0, pair.status)
   end)

   it("reads one channel while another is not read", function()
      new{ command = false, server = { exec = function(channel, command)
         channel:write(("x"):rep(tonumber(command))):finish(0)
      end }, on = {
         opened = function() return true end,
         data = function(self, event)
            if event.channel == self.stuck then
               assert(self.session:keep(event.channel, 0, event.data))
            else
               self.session:consumed(event.channel, #event.data)
               self.out = self.out .. event.data
            end
            return true
         end,
      } }:run_to("auth_success")
      pair.stuck = pair.session:open("session")
      local read = pair.session:open("session")
      pair:run()
      pair.session:request(pair.stuck, "exec", true, string.pack(">s4", "5000000"))
      pair.session:request(read, "exec", true, string.pack(">s4", "6000000"))
      pair:run()
      assert.equal(6000000, #pair.out)
      assert.equal(0, pair.status)
   end)

   describe("logs in", function()
      local function logs_in(auth, login, on)
         new{ server = { auth = auth }, login = login, on = on }:run()
         finished("hello", 0)
         assert.equal("moon", pair.server.user)
      end

      it("with nothing, where that is enough", function()
         logs_in({ none = true }, function(session) assert(session:none("moon")) end)
      end)

      it("with a key, asked about first or not", function()
         for _, kind in ipairs{ "ed25519", "ecdsa" } do
            local key = assert(testing.keys.generate(kind))
            local algorithm = key:type()
            local function sign(self)
               local data = testing.auth.signing_data(self.session:info().session_id, "moon", algorithm, key:blob())
               assert(self.session:publickey("moon", algorithm, key:blob(), key:sign(algorithm, data)))
            end
            logs_in({ keys = { key } }, function(session) assert(session:probe("moon", algorithm, key:blob())) end,
               { auth_pk_ok = sign })
            pair:close()
            logs_in({ keys = { key } }, function() sign(pair) end)
            pair:close()
            -- A signature of another key is none.
            local other = assert(testing.keys.generate(kind))
            new{ server = { auth = { keys = { key } } }, login = function(session)
               local data = testing.auth.signing_data(session:info().session_id, "moon", algorithm, key:blob())
               assert(session:publickey("moon", algorithm, key:blob(), other:sign(algorithm, data)))
            end }:run()
            assert.is_false(pair.session:authenticated())
            assert.equal("publickey,password,keyboard-interactive", pair:saw("auth_failure").text)
            pair:close()
         end
         pair = nil
      end)

      it("with answers to prompts, in rounds", function()
         local rounds = {
            { { text = "Password:", answer = "pw" }, { text = "Token:", echo = true, answer = "123" } },
            {},
            { { text = "Sure?", answer = "yes" } },
         }
         logs_in({ rounds = rounds }, function(session) assert(session:interactive("moon")) end, {
            auth_prompts = function(self, event)
               local round = rounds[#self.server:received("info_response") + 1]
               local answers = {}
               for i, prompt in ipairs(event.prompts) do
                  assert.equal(round[i].text, prompt.text)
                  assert.equal(round[i].echo or false, prompt.echo)
                  answers[i] = round[i].answer
               end
               assert(self.session:answer(answers))
            end,
         })
         assert.equal(3, #pair.server:received("info_response"))
      end)

      it("with a new password, when the old one has expired", function()
         logs_in({ password = function(_, old, new_password)
            return old == "old" and (new_password == "new" or "change")
         end }, function(session) assert(session:password("moon", "old")) end, {
            auth_password_change = function(self, event)
               assert.equal("Your password has expired", event.text)
               assert(self.session:password("moon", "old", "new"))
            end,
         })
      end)

      it("with two methods, where one is not enough", function()
         logs_in({ password = "secret", rounds = { { { text = "Code:", answer = "1" } } }, second = true },
            function(session) assert(session:password("moon", "secret")) end, {
               auth_failure = function(self, event)
                  assert.is_true(event.partial)
                  assert(self.session:interactive("moon"))
               end,
               auth_prompts = function(self)
                  assert(self.session:answer{ "1" })
               end,
            })
      end)

      it("not with a wrong password", function()
         new{ login = function(session) assert(session:password("moon", "wrong")) end }:run()
         local failure = pair:saw("auth_failure")
         assert.is_false(failure.partial)
         assert.is_false(pair.session:authenticated())
         assert.is_nil(pair.session:failure())
      end)

      it("and shows the banner", function()
         new{ server = { banner = "Welcome" } }:run()
         finished("hello", 0)
         assert.equal("Welcome", pair:saw("banner").text)
      end)
   end)

   it("hides how long a password or an answer is", function()
      local function sizes(login, on)
         local seen = {}
         for len = 1, 100, 9 do
            local right = ("p"):rep(len)
            new{ server = { auth = { password = right, rounds = { { { text = "?", answer = right } } } } },
               login = function(session) login(session, ("p"):rep(len)) end,
               on = on and { auth_prompts = function(self) on(self.session, ("p"):rep(len)) end } }
            pair:run_to("kex_done")
            if on then
               pair:move_to_server()
               while not pair:saw("auth_prompts") do
                  pair:move_to_client()
                  pair:take()
               end
            end
            seen[pair.session:queued()] = true
            pair:run()
            finished("hello", 0)
            pair:close()
         end
         pair = nil
         local n = 0
         for _ in pairs(seen) do
            n = n + 1
         end
         return n
      end
      assert.equal(1, sizes(function(session, password) assert(session:password("moon", password)) end))
      assert.equal(1, sizes(function(session) assert(session:interactive("moon")) end,
         function(session, answer) assert(session:answer{ answer }) end))
   end)

   describe("takes commands only in their time:", function()
      local function auth_commands(session)
         return {
            { session:none("moon") },
            { session:password("moon", "secret") },
            { session:probe("moon", "alg", "BLOB") },
            { session:publickey("moon", "alg", "BLOB", "SIG") },
            { session:interactive("moon") },
            { session:answer{} },
         }
      end

      local function connection_commands(session)
         return { { session:open("session") }, { session:global_request("x", true) } }
      end

      local function all(commands, err)
         for _, result in ipairs(commands) do
            assert.same({ nil, err }, result)
         end
      end

      it("authentication before the keys are exchanged", function()
         new()
         all(auth_commands(pair.session), "state")
         pair:start()
         all(auth_commands(pair.session), "state")
         pair.on.host_key = function(self)
            all(auth_commands(self.session), "state")
            self.session:answer_host_key(true)
            all(auth_commands(self.session), "state")
            return true
         end
         pair:run()
         finished("hello", 0)
         assert.equal(1, #pair.server:received("userauth_request"))
      end)

      it("authentication after it has succeeded", function()
         new():run()
         all(auth_commands(pair.session), "state")
      end)

      it("the connection before authentication has succeeded", function()
         new{ login = function(session)
            all(connection_commands(session), "state")
            assert(session:none("moon"))
            all(connection_commands(session), "state")
         end }
         all(connection_commands(pair.session), "state")
         pair:run()
         assert.truthy(pair:saw("auth_failure"))
         all(connection_commands(pair.session), "state")
         assert.equal(0, #pair.server:received("channel_open"))
         assert(pair.session:password("moon", "secret"))
         pair:run()
         finished("hello", 0)
      end)

      it("IGNORE and DEBUG before the keys are exchanged", function()
         new()
         for _ = 1, 2 do
            assert.same({ nil, "state" }, { pair.session:ignore("x") })
            assert.same({ nil, "state" }, { pair.session:debug(true, "x", "") })
            pair:start()
         end
      end)
   end)

   it("sends IGNORE and DEBUG", function()
      new():run_to("kex_done")
      assert(pair.session:ignore(("x"):rep(32768)))
      assert(pair.session:debug(true, "message", "en"))
      assert.same({ nil, "limit" }, { pair.session:ignore(("x"):rep(32769)) })
      assert.same({ nil, "limit" }, { pair.session:debug(true, ("x"):rep(32760), "") })
      pair:run()
      finished("hello", 0)
      local seen = {}
      for _, entry in ipairs(pair.server.log) do
         if entry.kind == "ignore" or entry.kind == "debug" then
            table.insert(seen, { entry.kind, #entry.data, entry.language, entry.always_display })
         end
      end
      assert.same({ { "ignore", 32768, "", false }, { "debug", 7, "en", true } }, seen)
   end)

   it("tells IGNORE, DEBUG, UNIMPLEMENTED and DISCONNECT", function()
      new():run_to("auth_success")
      pair.server:send(messages.ignore("noise"))
      pair.server:send(messages.debug(true, "words", "en"))
      pair.server:send(messages.unimplemented(7))
      pair.server:send(messages.disconnect(11, "bye", "en"))
      pair:run()
      assert.equal("noise", pair:saw("ignore").data)
      local debug = pair:saw("debug")
      assert.same({ "words", "en", true }, { debug.data, debug.language, debug.always_display })
      assert.equal(7, pair:saw("unimplemented").sequence)
      local disconnect = pair:saw("disconnect")
      assert.same({ 11, "bye", "en" }, { disconnect.reason, disconnect.data, disconnect.language })
      assert.equal("failed", pair.events[#pair.events].type)
      assert.equal("disconnected", (pair.session:failure()))
      assert.same({ nil, "disconnected" }, { pair.session:open("session") })
      assert.same({ nil, "disconnected" }, { pair.session:ignore("x") })
   end)

   describe("fails", function()
      -- All commands give the code of the failure, and nothing happens any more.
      local function failed(code, reason)
         local session = pair.session
         local recorded, message, given = session:failure()
         assert.same({ code, reason or 0 }, { recorded, given })
         for _ = 1, 3 do
            assert.equal("failed", session:next().type)
         end
         assert.equal(0, session:input_room())
         for _, result in ipairs{
            { session:none("moon") }, { session:answer{} }, { session:open("session") },
            { session:global_request("x", true) }, { session:ignore("x") }, { session:debug(true, "x", "") },
            { session:rekey() },
         } do
            assert.same({ nil, code }, result)
         end
         if pair.channel then
            for _, result in ipairs{
               { session:write(pair.channel, "x") }, { session:eof(pair.channel) },
               { session:close_channel(pair.channel) }, { session:request(pair.channel, "x", true) },
            } do
               assert.same({ nil, code }, result)
            end
         end
         session:fail(-13, 11, "later")
         assert.same({ code, message, reason or 0 }, { session:failure() })
      end

      it("with the first cause, whoever finds it, and says so to the server", function()
         new{ server = { exec = function(channel)
            channel:send(messages.channel_data(99, "x"))
         end } }:run()
         failed("protocol", 2)
         assert.same({ "disconnected", 2 }, { pair.server.failed.code, pair.server.failed.reason })
      end)

      it("in authentication", function()
         new{ server = { on = { service_request = function(server)
            server:send(messages.userauth_success())
            return true
         end } } }:run()
         failed("protocol", 2)
         assert.is_false(pair.session:authenticated())
         assert.is_nil(pair:saw("auth_success"))
         assert.equal(2, pair.server.failed.reason)
      end)

      it("when the stream ends", function()
         new():run_to("opened")
         pair.session:feed_eof()
         pair:run()
         failed("eof")
      end)

      it("when it is ended from outside", function()
         new():run_to("opened")
         pair.session:fail(-13, 0, "no answer in time")
         failed("timeout")
         assert.equal("no answer in time", (select(2, pair.session:failure())))
      end)

      it("when we disconnect", function()
         new():run_to("opened")
         assert(pair.session:disconnect(11, "enough"))
         assert.same({ nil, "closed" }, { pair.session:write(pair.channel, "x") })
         failed("closed", 0)
         pair:run()
         assert.same({ "disconnected", 11 }, { pair.server.failed.code, pair.server.failed.reason })
      end)

      it("when the host key is not accepted, having sent no name", function()
         new{ on = { host_key = function(self)
            self.session:answer_host_key(false)
            return true
         end } }:run()
         failed("host_key_rejected", 9)
         assert.same({}, pair.server:received("service_request"))
         assert.same({}, pair.server:received("userauth_request"))
         assert.equal(9, pair.server.failed.reason)
      end)

      it("when data of a channel cannot be kept", function()
         new{ on = { data = function(self, event)
            heap:fail(1, true)
            assert.same({ nil, "memory" }, { self.session:keep(event.channel, 0, event.data) })
            heap:fail(0)
            return true
         end } }:run()
         failed("memory")
      end)
   end)

   it("is a client", function()
      local session, code, message = testing.session.new{ server = true }
      assert.is_nil(session)
      assert.equal("unsupported", code)
      assert.equal("a session is a client", message)
   end)

   it("is not made with an algorithm that is not known", function()
      heap = testing.heap.new()
      local session, code = testing.session.new{ heap = heap, cipher = "rot13" }
      assert.is_nil(session)
      assert.equal("unsupported", code)
      assert.equal(0, heap:in_use())
   end)

   it("gives back the memory of each channel", function()
      new{ command = false }:run()
      local function live()
         pair.command = "echo hello"
         pair.channel = assert(pair.session:open("session"))
         pair:run()
      end
      live()
      live()
      local before = heap:in_use()
      for _ = 1, 50 do
         live()
      end
      assert.equal(before, heap:in_use())
   end)

   it("reads the server's key from its memory alone", function()
      local server = ScriptedServer.new():start()
      heap = testing.heap.new()
      local session = assert(testing.session.new{ heap = heap })
      session:start()
      server:feed(session:output())
      session:feed(server:output())
      while session:next() do end
      server:feed(session:output())
      session:feed(server:output())
      local event = session:next()
      assert.equal("host_key", event.type)
      assert.equal("ssh-ed25519", (string.unpack(">s4", event.data)))
      assert.is_nil(session:next())
      assert.equal(0, session:input_room())
      session:close()
      server:close()
      assert.equal(0, heap:in_use())
   end)
end)
