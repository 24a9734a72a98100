-- core.session: life, input and output, clock, failures, authentication. Against a server in memory.

local core = require "moonssh.core"
local CorePair = require "spec.support.core_pair"
local messages = require "spec.support.messages"
local testing = require "moonssh_testing"

local function raises(pattern, f)
   local ok, message = pcall(f)
   assert.is_false(ok)
   assert.truthy(tostring(message):find(pattern), ("%q does not match %q"):format(message, pattern))
end

describe("core.session", function()
   it("raises for options that it does not know", function()
      raises("unknown option 'comand'", function() core.session{ comand = 1 } end)
      raises("option names are strings", function() core.session{ "kex" } end)
      raises("bad argument #1 to 'session' %(table expected, got string%)", function() core.session("x") end)
   end)

   it("raises for option values that are none", function()
      for name, wrong in pairs{ kex = 1, software = "a b", max_packet = -1, max_window = 1 << 32, rekey_seconds = 0,
         rekey_bytes = 1.5, rekey_packets = "1", require_strict = 1, allow_chacha = "yes",
         allow_cbc_etm = 1, max_channels = 0 / 0, channel_packet = 2 ^ 53, max_queue = {} } do
         raises("bad option '" .. name .. "'", function() core.session{ [name] = wrong } end)
      end
      for _, software in ipairs{ "", "a-b", "a\r\nb", "a\0", "\128", ("x"):rep(201) } do
         raises("bad option 'software'", function() core.session{ software = software } end)
      end
      for _, seconds in ipairs{ 0 / 0, math.huge, -1, 1e12, "1" } do
         raises("bad option 'rekey_seconds'", function() core.session{ rekey_seconds = seconds } end)
      end
   end)

   it("takes all options, with any values that make sense", function()
      local session <close> = assert(core.session{ software = "other_1.0", kex = "curve25519-sha256",
         host_key = "ssh-ed25519", cipher = "aes128-ctr", mac = "hmac-sha2-256", compression = "none",
         allow_chacha = true, allow_cbc_etm = false, require_strict = true, rekey_bytes = 1 << 40, rekey_seconds = 0.5,
         rekey_packets = 1000, max_packet = 1 << 20, max_queue = 1 << 20, max_channels = 1, max_window = (1 << 32) - 1,
         channel_packet = 32768 })
      assert(session:start())
      local output = session:output()
      assert.equal("SSH-2.0-other_1.0\r\n", output:sub(1, 19))
      for _, name in ipairs{ "curve25519-sha256", "ssh-ed25519", "aes128-ctr", "hmac-sha2-256" } do
         assert.truthy(output:find(name, 1, true))
      end
      assert.is_nil(output:find("aes256", 1, true))
   end)

   it("says which algorithm it does not know", function()
      local session, code, message = core.session{ cipher = "aes128-ctr,rot13" }
      assert.is_nil(session)
      assert.equal("unsupported", code)
      assert.truthy(message:find("rot13", 1, true))
   end)

   it("starts once", function()
      local session <close> = core.session()
      assert.is_true(session:start())
      assert.is_nil((session:start()))
   end)

   it("frees everything when it is closed, and raises afterwards", function()
      local pair = CorePair.new():run("auth_success")
      local used, peak = pair.session:memory()
      assert.is_true(used > 10000 and peak >= used)
      pair:close()
      for name, method in pairs(debug.getmetatable(pair.session).__index) do
         if name ~= "close" then
            raises("it is closed", function() method(pair.session) end)
         end
      end
   end)

   it("weighs in for the collector, so that dropped sessions do not pile up", function()
      local dropped, collected = 500, 0
      local watch = setmetatable({}, { __mode = "k" })
      for _ = 1, dropped do
         watch[assert(core.session())] = true
      end
      for _ in pairs(watch) do
         collected = collected + 1
      end
      assert.is_true(collected < dropped)
   end)
end)

describe("a session's transport", function()
   it("can be moved by hand, in pieces of any size", function()
      for _, piece in ipairs{ 1, 7, 1000, math.maxinteger } do
         local pair <close> = CorePair.new{ piece = piece }:run("auth_success")
         assert.is_not_nil(pair:saw("auth_success"))
         assert.same({ "host_key", "kex_done", "auth_success" },
            { pair.events[1][1], pair.events[2][1], pair.events[3][1] })
         assert.is_nil(pair.session:failure())
      end
   end)

   it("is garbage-collected between all calls without harm", function()
      collectgarbage("generational")
      local pair <close> = CorePair.new{ piece = 100 }
      while not pair:saw("auth_success") do
         pair:move()
         collectgarbage()
         pair:take()
         collectgarbage("step")
      end
      collectgarbage("incremental")
   end)

   it("shows its output without giving it away", function()
      local session <close> = core.session()
      assert.is_nil(session:output())
      session:start()
      local all = session:output()
      assert.equal(all, session:output())
      assert.equal(all:sub(1, 10), session:output(10))
      assert.is_nil(session:output(0))
      assert.is_true(session:output_done(10))
      assert.equal(all:sub(11), session:output())
      assert.same({ true, true }, { session:wants() })
      session:output_done(#all - 10)
      assert.is_nil(session:output())
      assert.same({ true, false }, { session:wants() })
      raises("bad argument #1 to 'output_done' %(more than there was%)", function() session:output_done(1) end)
      raises("bad argument #1 to 'output_done' %(value out of range%)", function() session:output_done(-1) end)
      raises("bad argument #1 to 'output' %(value out of range%)", function() session:output(-1) end)
      raises("bad argument #1 to 'output' %(number has no integer", function() session:output(0.5) end)
   end)

   it("takes no more than it has room for", function()
      local session <close> = core.session()
      session:start()
      local room = session:input_room()
      assert.is_true(room > 1000)
      raises("bad argument #1 to 'input' %(more than there is room for%)", function()
         session:input(("x"):rep(room + 1))
      end)
      assert.is_true(session:input(""))
      assert.is_true(session:input("SSH-2.0-x\r\n"))
      assert.is_nil(session:next())
      assert.equal("SSH-2.0-x", session:info().server)
   end)

   it("takes no input while a question is open", function()
      local pair <close> = CorePair.new{ on = { host_key = function() end } }:run()
      assert.equal("host_key", pair.events[#pair.events][1])
      assert.equal(0, pair.session:input_room())
      assert.is_false((pair.session:wants()))
      local a, b = core.socket.pair()
      core.socket.send(b, "x")
      assert.equal("full", pair.session:read(a))
      assert.equal("x", core.socket.recv(a))
      assert.is_true(pair.session:answer_host_key(true))
      pair:run("auth_success")
      assert.is_not_nil(pair:saw("auth_success"))
      core.socket.close(a)
      core.socket.close(b)
   end)

   it("reads a descriptor until there is nothing, and is told of its end", function()
      local session <close> = core.session()
      session:start()
      local a, b = core.socket.pair()
      assert.equal("again", session:read(a))
      core.socket.send(b, "SSH-2.0-x\r\n")
      assert.same({ "again" }, { session:read(a, true) })
      assert.is_nil(session:next())
      assert.equal("SSH-2.0-x", session:info().server)
      core.socket.close(b)
      assert.equal("eof", session:read(a))
      assert.equal("failed", session:next())
      assert.equal("eof", (session:failure()))
      assert.equal("full", session:read(a))
      core.socket.close(a)
   end)

   it("says whether the room was filled, so that there may be more", function()
      local session <close> = core.session()
      session:start()
      local a, b = core.socket.pair()
      local room = math.min(session:input_room(), 262144)
      local sent, n = 0, 0
      local block = ("line before the banner\r\n"):rep(1000)
      while n and sent < room do
         sent = sent + n
         n = core.socket.send(b, block)
      end
      assert.same({ sent < room and "again" or "more" }, { session:read(a) })
      core.socket.close(a)
      core.socket.close(b)
   end)

   it("writes to a descriptor until it is full", function()
      local pair <close> = CorePair.new():run("auth_success")
      local a, b = core.socket.pair()
      assert.is_true(pair.session:write(a))
      for _ = 1, 30 do
         assert.is_true(pair.session:ignore(("x"):rep(32768)))
      end
      assert.is_false(pair.session:write(a))
      assert.is_true(select(2, pair.session:wants()))
      local received, done = 0, false
      repeat
         local data = core.socket.recv(b, 1 << 18)
         received = received + #(data or "")
         if not data then
            assert.is_false(done)
            done = pair.session:write(a)
         end
      until received > 30 * 32768
      assert.is_true(pair.session:write(a))
      core.socket.close(b)
      pair.session:ignore("x")
      assert.same({ nil, "eof", "Broken pipe", 32 }, { pair.session:write(a) })
      core.socket.close(a)
      assert.same({ nil, "io", "Bad file descriptor", 9 }, { pair.session:write(a) })
      assert.same({ nil, "io", "Bad file descriptor", 9 }, { pair.session:read(a) })
      raises("bad argument #1 to 'read' %(value out of range%)", function() pair.session:read(-1) end)
      raises("bad argument #1 to 'write' %(number expected", function() pair.session:write("x") end)
   end)

   it("goes over pipes, too", function()
      local process = require "spec.support.process"
      local result = process.run{ process.lua, "-e", [[
         local core = require "moonssh.core"
         local session = core.session()
         session:start()
         io.stderr:write(tostring(session:read(0)), "\n")
         session:next()
         io.stderr:write(session:info().server, " ", tostring(session:write(1)), "\n")
         io.stderr:write(tostring(session:read(0)), "\n")
      ]], stdin = "SSH-2.0-pipe\r\n" }
      assert.equal("again\nSSH-2.0-pipe true\neof\n", result.stderr)
      assert.truthy(result.stdout:find("^SSH%-2%.0%-moonssh\r\n"))
   end)
end)

describe("a session's clock", function()
   it("has a rekey due by time", function()
      local pair <close> = CorePair.new{ options = { rekey_seconds = 100 } }
      pair.session:tick(1000)
      pair:run("auth_success")
      local deadline = pair.session:deadline()
      assert.equal("float", math.type(deadline))
      assert.is_true(deadline >= 1100 and deadline < 1101)
      pair.session:tick(deadline - 1)
      pair:run()
      assert.equal(0, pair.session:info().rekeys)
      pair.session:tick(deadline)
      pair:run()
      assert.equal(1, pair.session:info().rekeys)
      assert.is_true(pair.session:deadline() > deadline)
   end)

   it("raises for what is no time", function()
      local session <close> = core.session()
      raises("bad argument #1 to 'tick' %(number is not finite%)", function() session:tick(0 / 0) end)
      raises("bad argument #1 to 'tick' %(number is not finite%)", function() session:tick(math.huge) end)
      raises("bad argument #1 to 'tick' %(value out of range%)", function() session:tick(-1) end)
      raises("bad argument #1 to 'tick' %(value out of range%)", function() session:tick(1e300) end)
      raises("bad argument #1 to 'tick' %(number expected", function() session:tick() end)
   end)
end)

describe("a session's end", function()
   it("is told once, with its cause", function()
      local pair <close> = CorePair.new():run("auth_success")
      assert.is_nil(pair.session:failure())
      pair.server:send_raw(messages.disconnect(11, "good\27bye", "en"))
      pair:run()
      assert.same({ "disconnect", 11, "good\27bye", "en", n = 4 }, pair.events[#pair.events - 1])
      assert.same({ "failed", n = 1 }, pair.events[#pair.events])
      assert.is_nil(pair.session:next())
      local code, message, reason = pair.session:failure()
      assert.equal("disconnected", code)
      assert.equal(11, reason)
      assert.is_nil(message:find("\27", 1, true))
      assert.same({ nil, "disconnected", message }, { pair.session:rekey() })
      assert.same({ nil, "disconnected", message }, { pair.session:open("session") })
   end)

   it("may come from outside, with a code of the library's own", function()
      for code, expected in pairs{ timeout = "timeout", callback = "callback", host_key_changed = "host_key_changed",
         io = "io", closed = "closed" } do
         local pair <close> = CorePair.new():run("auth_success")
         assert.is_true(pair.session:fail(code, "the reason why", 0))
         assert.same({ expected, "the reason why", 0 }, { pair.session:failure() })
         assert.is_true(pair.session:fail("io", "later"))
         assert.same({ expected, "the reason why", 0 }, { pair.session:failure() })
         assert.equal("failed", pair.session:next())
         assert.is_nil(pair.session:next())
      end
      local pair <close> = CorePair.new():run("auth_success")
      pair.session:fail("timeout", "too slow", 11)
      pair:run()
      assert.equal(11, pair.server.log[#pair.server.log].reason)
      raises("bad argument #1 to 'fail' %(not an error code%)", function() pair.session:fail("", "x") end)
      raises("bad argument #1 to 'fail' %(not an error code%)", function() pair.session:fail(("x"):rep(32), "x") end)
      raises("bad argument #2 to 'fail' %(string contains zeros%)", function() pair.session:fail("io", "a\0") end)
      raises("bad argument #3 to 'fail' %(value out of range%)", function() pair.session:fail("io", "a", 1 << 32) end)
   end)

   it("may be a farewell", function()
      local pair <close> = CorePair.new():run("auth_success")
      assert.is_true(pair.session:disconnect(11, "bye"))
      pair:run()
      local last = pair.server.log[#pair.server.log]
      assert.same({ 11, "bye" }, { last.reason, last.text or last.data })
      assert.equal("closed", (pair.session:failure()))
      assert.equal("closed", select(2, pair.session:disconnect(11)))
      raises("bad argument #1 to 'disconnect'", function() pair.session:disconnect(-1) end)
   end)

   it("names what could not be agreed on", function()
      local pair <close> = CorePair.new{ options = { cipher = "aes128-ctr" },
         server = { transport = { cipher = "aes256-ctr" } } }:run()
      assert.equal("negotiation", (pair.session:failure()))
      assert.same({ "cipher", "aes128-ctr", "aes256-ctr" }, { pair.session:negotiation() })
      local fine <close> = core.session()
      assert.is_nil((fine:negotiation()))
   end)

   it("comes when the host key is refused", function()
      local pair <close> = CorePair.new{ on = { host_key = function(self)
         assert.is_true(self.session:answer_host_key(false))
      end } }:run()
      assert.equal("host_key_rejected", (pair.session:failure()))
      assert.same({}, pair.server:received("service_request"))
   end)
end)

describe("what a session tells of itself", function()
   it("is what was negotiated", function()
      local pair <close> = CorePair.new{ options = { cipher = "aes256-ctr", mac = "hmac-sha2-512" } }
      assert.equal("identification", pair.session:stage())
      local before = pair.session:info()
      assert.is_nil(before.kex)
      assert.same({}, before.cipher)
      assert.is_nil(pair.session:host_key())
      pair:run("auth_success")
      local info = pair.session:info()
      assert.equal("open", pair.session:stage())
      assert.equal("mlkem768x25519-sha256", info.kex)
      assert.equal("ssh-ed25519", info.host_key)
      assert.same({ send = "aes256-ctr", recv = "aes256-ctr" }, info.cipher)
      assert.same({ send = "hmac-sha2-512", recv = "hmac-sha2-512" }, info.mac)
      assert.same({ send = "none", recv = "none" }, info.compression)
      assert.is_true(info.strict)
      assert.equal(32, #info.session_id)
      assert.equal("SSH-2.0-moonssh", info.client)
      assert.truthy(info.server:find("^SSH%-2%.0%-"))
      assert.equal(0, info.rekeys)
      for _, name in ipairs{ "bytes_sent", "bytes_received", "packets_sent", "packets_received" } do
         assert.is_true(info[name] > 0)
      end
      assert.equal(pair:saw("host_key")[2], pair.session:host_key())
      assert.equal("ssh-ed25519", string.unpack(">s4", pair.session:host_key()))
      assert.truthy((pair.session:server_sig_algs() or "ssh-ed25519"):find("ssh-ed25519", 1, true))
   end)

   it("leaves the MAC out beside a cipher that needs none", function()
      local pair <close> = CorePair.new{ options = { cipher = "aes128-gcm@openssh.com" } }:run("auth_success")
      assert.same({}, pair.session:info().mac)
   end)

   it("changes with a key exchange in the middle", function()
      local pair <close> = CorePair.new():run("auth_success")
      local id = pair.session:info().session_id
      assert.is_true(pair.session:rekey())
      pair:run()
      assert.equal(1, pair.session:info().rekeys)
      assert.equal(id, pair.session:info().session_id)
      assert.is_nil(pair.session:failure())
      local early <close> = core.session()
      assert.equal("state", select(2, early:rekey()))
   end)

   it("includes a trace of packets", function()
      local pair <close> = CorePair.new()
      assert.is_nil(pair.session:trace_next())
      pair.session:trace(true)
      pair:run("auth_success")
      local names = {}
      for sent, number, name, length in pair.session.trace_next, pair.session do
         assert.equal("boolean", type(sent))
         assert.is_true(number >= 1 and number <= 127 and length >= 1)
         names[(sent and "> " or "< ") .. name] = number
      end
      assert.equal(20, names["< KEXINIT"])
      assert.equal(21, names["> NEWKEYS"])
      assert.equal(50, names["> USERAUTH_REQUEST"])
      assert.equal(52, names["< USERAUTH_SUCCESS"])
      pair.session:trace(false)
   end)
end)

describe("a session's messages", function()
   it("are given as they came", function()
      local pair <close> = CorePair.new():run("auth_success")
      pair.server:send(messages.ignore("a\0b"))
      pair.server:send(messages.debug(true, "text\27", "en"))
      pair.server:send(messages.debug(false, "", ""))
      pair.server:send(messages.unimplemented(7))
      assert.same({
         { "ignore", "a\0b", n = 2 },
         { "debug", true, "text\27", "en", n = 4 },
         { "debug", false, "", "", n = 4 },
         { "unimplemented", 7, n = 2 },
      }, pair:more())
   end)

   it("are not given when nobody listens", function()
      local pair <close> = CorePair.new():run("auth_success")
      local function ask()
         pair.server:send(messages.ignore("a"))
         pair.server:send(messages.debug(true, "b", ""))
         local kinds = {}
         for i, event in ipairs(pair:more()) do
            kinds[i] = event[1]
         end
         return kinds
      end
      pair.session:listen("ignore", false)
      assert.same({ "debug" }, ask())
      pair.session:listen("debug", false)
      assert.same({}, ask())
      pair.session:listen("ignore", true)
      assert.same({ "ignore" }, ask())
      pair.server:send(messages.global_request("unasked@example.com", false, "x"))
      assert.same({ { "global_request", "unasked@example.com", "x", n = 3 } }, pair:more())
      pair.session:listen("global_request", false)
      pair.server:send(messages.global_request("unasked@example.com", false, "x"))
      assert.same({}, pair:more())
      raises("bad argument #1 to 'listen' %(invalid option 'data'%)", function() pair.session:listen("data", true) end)
   end)

   it("are sent", function()
      local pair <close> = CorePair.new():run("auth_success")
      assert.is_true(pair.session:ignore("data"))
      assert.is_true(pair.session:ignore())
      assert.is_true(pair.session:debug(true, "text", "en"))
      pair:run()
      local log = pair.server.log
      assert.same({ "data", "", "text" }, { log[#log - 2].data, log[#log - 1].data, log[#log].data })
      assert.same({ "en", true }, { log[#log].language, log[#log].always_display })
      assert.equal("limit", select(2, pair.session:ignore(("x"):rep(1 << 20))))
      local early <close> = core.session()
      assert.equal("state", select(2, early:ignore("x")))
      assert.equal("state", select(2, early:debug(false, "x")))
   end)

   it("with a wrong MAC are asked about, if that is wished", function()
      for _, accept in ipairs{ true, false } do
         local pair <close> = CorePair.new():run("auth_success")
         pair.session:ask_mac(true)
         pair.server:send(messages.ignore("hello"))
         pair.tamper = function(bytes)
            pair.tamper = nil
            return bytes:sub(1, -2) .. string.char(bytes:byte(-1) ~ 1)
         end
         local events = pair:more()
         assert.equal("macerror", events[1][1])
         assert.equal("string", type(events[1][2]))
         if accept then
            assert.is_true(pair.session:answer_mac(true))
            assert.same({ { "ignore", "hello", n = 2 } }, pair:more())
            assert.is_nil(pair.session:failure())
         else
            assert.is_true(pair.session:answer_mac(false))
            assert.same({ { "failed", n = 1 } }, pair:more())
            assert.equal("mac", (pair.session:failure()))
         end
      end
      local pair <close> = CorePair.new():run("auth_success")
      assert.equal("state", select(2, pair.session:answer_mac(true)))
      assert.equal("state", select(2, pair.session:answer_host_key(true)))
   end)
end)

describe("a session's authentication", function()
   it("is refused before its time, and after", function()
      local session <close> = core.session()
      for _, call in ipairs{
         function() return session:auth_none("u") end,
         function() return session:auth_password("u", "p") end,
         function() return session:auth_probe("u", "ssh-ed25519", "blob") end,
         function() return session:auth_publickey("u", "ssh-ed25519", "blob", "sig") end,
         function() return session:auth_interactive("u") end,
         function() return session:auth_answer{} end,
         function() return session:auth_signing_data("u", "ssh-ed25519", "blob") end,
         function() return session:open("session") end,
         function() return session:global_request("x", true) end,
      } do
         assert.same({ nil, "state" }, { table.unpack({ call() }, 1, 2) })
      end
      local pair <close> = CorePair.new():run("auth_success")
      assert.equal("state", select(2, pair.session:auth_none("u")))
   end)

   it("by none tells what can go on", function()
      local pair <close> = CorePair.new{ login = function(session) assert(session:auth_none("moon")) end }:run()
      assert.same({ "auth_failure", "publickey,password,keyboard-interactive", false, n = 3 },
         pair:saw("auth_failure"))
      assert.equal("moon", pair.server.user)
   end)

   it("by password may have to change it, and shows banners", function()
      local pair <close> = CorePair.new{
         server = { banner = "Welcome\27\n", auth = { password = function(_, _, new)
            return new and new == "new" or "change"
         end } },
         on = { auth_password_change = function(self)
            assert(self.session:auth_password("moon", "secret", "new"))
         end },
      }:run()
      assert.same({ "banner", "Welcome\27\n", "", n = 3 }, pair:saw("banner"))
      assert.same({ "auth_password_change", "Your password has expired", "", n = 3 }, pair:saw("auth_password_change"))
      assert.same({ "auth_success", n = 1 }, pair:saw("auth_success"))
   end)

   it("by public key, probed and signed", function()
      local key <close> = core.key.generate("ed25519")
      local blob = key:blob()
      local wanted = assert(testing.keys.parse_public(blob))
      local pair <close> = CorePair.new{
         server = { auth = { keys = { wanted } } },
         login = function(session) assert(session:auth_probe("moon", "ssh-ed25519", blob)) end,
         on = { auth_pk_ok = function(self)
            local data = assert(self.session:auth_signing_data("moon", "ssh-ed25519", blob))
            local session_id = self.session:info().session_id
            assert.equal(string.pack(">s4", session_id), data:sub(1, #session_id + 4))
            collectgarbage()
            assert(self.session:auth_publickey("moon", "ssh-ed25519", blob, assert(key:sign(data, "ssh-ed25519"))))
         end },
      }:run()
      assert.same({ "auth_pk_ok", n = 1 }, pair:saw("auth_pk_ok"))
      assert.is_not_nil(pair:saw("auth_success"))
   end)

   it("by prompts", function()
      local rounds = {
         { { text = "One: ", echo = true, answer = "1" }, { text = "Two\27: ", echo = false, answer = "" } },
         {},
         { { text = "Three", echo = false, answer = ("x"):rep(1000) } },
      }
      local round = 0
      local pair <close> = CorePair.new{
         server = { auth = { rounds = rounds } },
         login = function(session) assert(session:auth_interactive("moon")) end,
         on = { auth_prompts = function(self, name, instruction, prompts)
            round = round + 1
            assert.same({ "", "" }, { name, instruction })
            assert.equal(#rounds[round], #prompts)
            local answers = {}
            for i, prompt in ipairs(prompts) do
               assert.same({ rounds[round][i].text, rounds[round][i].echo }, { prompt.text, prompt.echo })
               answers[i] = rounds[round][i].answer
            end
            assert.equal("state", select(2, self.session:auth_answer{ "1", "2", "3", "4" }))
            assert(self.session:auth_answer(answers))
         end },
      }:run()
      assert.equal(3, round)
      assert.is_not_nil(pair:saw("auth_success"))
   end)

   it("raises for answers that are no strings", function()
      local session <close> = core.session()
      raises("bad argument #1 to 'auth_answer' %(answers are strings%)", function() session:auth_answer{ 1 } end)
      raises("bad argument #1 to 'auth_answer' %(answers are strings%)", function()
         session:auth_answer{ "a", false }
      end)
      raises("bad argument #1 to 'auth_answer' %(table expected", function() session:auth_answer("a") end)
      local many = {}
      for i = 1, 65 do
         many[i] = "x"
      end
      raises("bad argument #1 to 'auth_answer' %(too many answers%)", function() session:auth_answer(many) end)
   end)
end)
