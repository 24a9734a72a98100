-- examples/custom_transport.lua: its transports one by one, and the script as a whole.

local dial = require "spec.support.dial"
local hex = require "spec.support.hex"
local memory = require "spec.support.memory"
local process = require "spec.support.process"
local server = require "spec.support.server"
local ssh = require "moonssh"
local tmp = require "spec.support.tmp"
local Tunnel = require "spec.support.tunnel"
local waiting = require "spec.support.waiting"

local SCRIPT = "examples/custom_transport.lua"
local transports = dofile(SCRIPT)

local EAGAIN = -ssh.EAGAIN

-- A transport that takes and gives what it is told.
local function plain(input)
   local lower = { taken = "", input = input or "", most = math.maxinteger }
   lower.send = function(_, buffer, length)
      local n = math.min(lower.most, length)
      if n < 1 then
         return n == 0 and EAGAIN or n
      end
      lower.taken = lower.taken .. buffer:sub(1, n)
      return n
   end
   lower.recv = function(_, length)
      local data = lower.input:sub(1, math.min(lower.most, length))
      lower.input = lower.input:sub(#data + 1)
      return data == "" and (lower.ended or EAGAIN) or data
   end
   return lower
end

local function send(transport, buffer)
   return transport.send(nil, buffer, #buffer, 0)
end

local function recv(transport, length)
   return transport.recv(nil, length, 0)
end

describe("a counted transport", function()
   it("counts what was taken and given, and nothing else", function()
      local lower = plain("hello")
      local counted, counts = transports.counted(lower)
      lower.most = 3
      assert.equal(3, send(counted, "abcdef"))
      assert.equal("hel", recv(counted, 10))
      lower.most = 0
      assert.equal(EAGAIN, send(counted, "abcdef"))
      assert.equal(EAGAIN, recv(counted, 10))
      lower.most = -1
      assert.equal(-1, send(counted, "abcdef"))
      assert.same({ sent = 3, received = 3 }, counts)
   end)
end)

describe("a throttled transport", function()
   it("takes and gives so many bytes a second", function()
      local time = 100
      local lower = plain(("x"):rep(5000))
      local throttled = transports.throttled(lower, 1600, function() return time end)
      local buffer = ("y"):rep(5000)
      assert.equal(160, send(throttled, buffer))
      assert.equal(EAGAIN, send(throttled, buffer))
      assert.equal(160, #recv(throttled, 5000))
      assert.equal(EAGAIN, recv(throttled, 5000))
      time = time + 1 / 16
      assert.equal(100, send(throttled, buffer))
      assert.equal(20, #recv(throttled, 20))
      assert.equal(80, #recv(throttled, 5000))
      time = time + 1000 -- saves up no more than at the start
      assert.equal(160, send(throttled, buffer))
      local total = 0
      for _ = 1, 1024 do
         time = time + 1 / 1024
         total = total + math.max(send(throttled, buffer), 0)
      end
      assert.equal(1600, total)
      assert.equal(160 + 100 + 160 + 1600, #lower.taken)
   end)

   it("carries a session", function()
      local link = memory.connect()
      local session = link.session
      local clock = 0
      local lower = { send = session:callback_get("send"), recv = session:callback_get("recv") }
      local throttled = transports.throttled(lower, 100000, function()
         clock = clock + 0.001
         return clock
      end)
      session:callback_set("send", throttled.send)
      session:callback_set("recv", throttled.recv)
      local data = ("0123456789"):rep(5000)
      assert.equal(data, assert(session:run("cat", { stdin = data })).stdout)
      assert.is_true(clock > 0.4) -- of its own clock: 50000 bytes are half a second, less what was saved up
      session:close()
   end)
end)

describe("a recorded transport", function()
   local folder

   before_each(function()
      folder = tmp.dir()
   end)

   after_each(function()
      folder:remove()
   end)

   -- A session that was recorded from its first byte to its last: the record, and what went each way.
   local function record(algorithms)
      local path = folder:path("record")
      local file = assert(io.open(path, "wb"))
      local link = memory.connect{ login = "none", session = { algorithms = algorithms } }
      local session = link.session
      local went = { [">"] = "", ["<"] = "" }
      local carried = { send = session:callback_get("send"), recv = session:callback_get("recv") }
      local lower = {
         send = function(...)
            local n = carried.send(...)
            went[">"] = went[">"] .. select(2, ...):sub(1, math.max(n, 0))
            return n
         end,
         recv = function(...)
            local data = carried.recv(...)
            went["<"] = went["<"] .. (type(data) == "string" and data or "")
            return data
         end,
      }
      local recorded = transports.recorded(lower, file)
      session:callback_set("send", recorded.send)
      session:callback_set("recv", recorded.recv)
      assert(session:handshake())
      assert(session:accept_host_key())
      assert(session:auth_password("moon", "secret"))
      assert.equal("hello", assert(session:run("echo hello")).stdout)
      local fingerprint = session:host_key():fingerprint()
      session:close()
      file:close()
      return transports.read_record(path), went, fingerprint
   end

   it("is a record of every byte, with directions and times", function()
      local list, went = record()
      local seen, time = { [">"] = "", ["<"] = "" }, 0
      for _, piece in ipairs(list) do
         seen[piece.direction] = seen[piece.direction] .. piece.bytes
         assert.is_true(piece.time >= time)
         time = piece.time
      end
      assert.same(went, seen)
   end)

   it("is shown by name up to the new keys, and by size behind them", function()
      local list = record{ kex = { "curve25519-sha256" } }
      local lines = transports.transcript(list)
      local text = table.concat(lines, "\n"):gsub("%d+%.%d+", "T")
      assert.is_truthy(text:find("T > SSH-", 1, true))
      assert.is_truthy(text:find(">    key exchange: curve25519-sha256", 1, true))
      for _, direction in ipairs{ ">", "<" } do
         for _, name in ipairs{ "KEXINIT, ", "NEWKEYS, 16 bytes", "%d+ bytes, encrypted" } do
            assert.is_truthy(text:find("T " .. direction .. " " .. name), direction .. name)
         end
      end
      assert.is_truthy(text:find("> message 30, 48 bytes", 1, true))
      assert.is_nil(text:find("secret", 1, true))
   end)

   it("shows the same however the bytes were cut", function()
      local list = record()
      local cut = {}
      for _, piece in ipairs(list) do
         for i = 1, #piece.bytes do
            table.insert(cut, { direction = piece.direction, time = piece.time, bytes = piece.bytes:sub(i, i) })
         end
      end
      local function clear(lines)
         local kept = {}
         for _, line in ipairs(lines) do
            if not line:find("encrypted") then
               table.insert(kept, line)
            end
         end
         return kept
      end
      assert.same(clear(transports.transcript(list)), clear(transports.transcript(cut)))
   end)

   it("replayed, is the server up to its signature, which no longer fits", function()
      local list, _, fingerprint = record()
      local seen = {}
      local session = ssh.session{ callbacks = transports.replayed(list), timeout = 60 }
      session:trace(function(packet)
         if packet.direction == "recv" then
            table.insert(seen, packet.name)
         end
      end)
      local ok, err = session:handshake(nil, { host = "moon", host_keys = fingerprint })
      assert.is_nil(ok)
      assert.is_truthy(err.message:find("signature", 1, true), err.message)
      assert.equal("KEXINIT", seen[1])
      assert.is_nil(session.info.user)
      session:close()
   end)

   it("replayed, tells another client what the server would have agreed on", function()
      local list = record()
      local session = ssh.session{ callbacks = transports.replayed(list), timeout = 60,
         algorithms = { compression = { "zlib" }, kex = { "curve25519-sha256" } } }
      local ok, err = session:handshake(nil, { host = "moon", host_keys = "off" })
      assert.is_nil(ok)
      assert.equal("negotiation", err.code)
      assert.equal("zlib", err.ours)
      assert.is_truthy(err.theirs:find("none", 1, true))
      session:close()
   end)

   it("that was cut off is not taken for one", function()
      for _, text in ipairs{ "> 0.1 10\nabc", "hello\n", "> 0.1 3\nabc" } do
         assert.error_matches(function() transports.read_record(folder:write("bad", text)) end, "is no record")
      end
      assert.same({ { direction = ">", time = 0.1, bytes = "a\nc" } },
         transports.read_record(folder:write("good", "> 0.1 3\na\nc\n")))
   end)
end)

describe("a transport through something that waits", function()
   -- A memory session whose bytes go through a pipe of { read, write }, which waits for its turn each time.
   it("carries a session, while tasks do the waiting", function()
      local ScriptedServer = require "spec.support.scripted_server"
      local far = ScriptedServer.new():start()
      local pipe = { closed = false }
      function pipe.write(_, data)
         ssh.loop.sleep(0)
         far:feed(data)
         return pipe
      end
      function pipe.read()
         return waiting.await(function()
            local data = far:output(1000)
            return data ~= "" and data or pipe.closed and ""
         end)
      end
      local transport = transports.through(pipe)
      local session = ssh.session{ callbacks = transport, timeout = 60 }
      assert(session:handshake())
      assert(session:accept_host_key())
      assert(session:auth_password("moon", "secret"))
      local data = ("0123456789"):rep(20000)
      assert.equal(data, assert(session:run("cat", { stdin = data })).stdout)
      session:close()
      pipe.closed = true
   end)
end)

-- What a WebSocket server sends: unmasked.
local function from_server(first, data)
   return string.char(first) .. (#data < 126 and string.char(#data)
      or #data < 65536 and string.pack(">BI2", 126, #data) or string.pack(">BI8", 127, #data)) .. data
end

local ACCEPTED = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"

describe("a WebSocket transport", function()
   -- Undoes a client's frame: its first byte, its data, the rest.
   local function unmask(bytes)
      local length, at = bytes:byte(2), 3
      assert.is_true(length >= 128)
      length = length - 128
      if length >= 126 then
         length, at = string.unpack(length == 126 and ">I2" or ">I8", bytes, 3)
      end
      local data = {}
      for i = 1, length do
         data[i] = string.char(bytes:byte(at + 3 + i) ~ bytes:byte(at + (i - 1) % 4))
      end
      return bytes:byte(1), table.concat(data), bytes:sub(at + 4 + length)
   end

   -- One whose server has accepted it.
   local function opened(input)
      local lower = plain(ACCEPTED .. (input or ""))
      local transport = transports.websocket(lower, "moon:80", "/ssh")
      assert.equal(EAGAIN, send(transport, "too early"))
      local request = lower.taken
      lower.taken = ""
      return transport, lower, request
   end

   it("asks for the upgrade first", function()
      local transport, lower, request = opened("\130\2hi")
      assert.is_truthy(request:find("^GET /ssh HTTP/1%.1\r\nHost: moon:80\r\n"))
      assert.is_truthy(request:find("\r\nSec%-WebSocket%-Key: [%w+/]+A==\r\n"))
      assert.is_truthy(request:find("\r\n\r\n$"))
      assert.equal("hi", recv(transport, 10))
      assert.equal(3, send(transport, "abc"))
      local first, data, rest = unmask(lower.taken)
      assert.same({ 0x82, "abc", "" }, { first, data, rest })
   end)

   it("puts each piece into a masked frame, of every kind of length", function()
      for _, length in ipairs{ 1, 2, 3, 7, 8, 9, 125, 126, 127, 1000, 32768 } do
         local transport, lower = opened("\130\1x")
         assert.equal("x", recv(transport, 1))
         local buffer = hex.decode(("00ff10"):rep(length)):sub(1, length)
         assert.equal(length, send(transport, buffer))
         local first, data, rest = unmask(lower.taken)
         assert.equal(0x82, first)
         assert.equal(buffer, data)
         assert.equal("", rest)
      end
   end)

   it("says how much was sent only when the frame is out, whatever the socket takes", function()
      local transport, lower = opened("\130\1x")
      assert.equal("x", recv(transport, 1))
      lower.most = 0
      assert.equal(EAGAIN, send(transport, "hello"))
      lower.most = 1
      -- Each call sends what goes; here all of it, a byte at a time.
      assert.equal(5, send(transport, "hello, and more"))
      local _, data, rest = unmask(lower.taken)
      assert.same({ "hello", "" }, { data, rest })
      lower.most = -1
      assert.equal(-1, send(transport, "x"))
   end)

   it("takes frames apart, of every kind, cut anywhere", function()
      local long, longer = ("a"):rep(300), ("b"):rep(70000)
      local input = from_server(0x82, "one") .. from_server(0x89, "are you there") .. from_server(0x02, "two")
         .. from_server(0x00, long) .. from_server(0x80, "") .. from_server(0x82, longer) .. from_server(0x88, "")
      for _, most in ipairs{ 1, 2, 3, 1000, 1 << 20 } do
         local transport, lower = opened(input)
         lower.most = most
         local got = {}
         repeat
            table.insert(got, recv(transport, 100000))
         until got[#got] == ""
         assert.equal("onetwo" .. long .. longer, table.concat(got))
         -- The question was answered.
         lower.most = 1 << 20
         send(transport, "x")
         local first, pong = unmask(lower.taken)
         assert.same({ 0x8A, "are you there" }, { first, pong })
      end
   end)

   it("ends where it is refused, or a frame is longer than anything", function()
      local transport = transports.websocket(plain("HTTP/1.1 403 Forbidden\r\n\r\n"), "moon", "/")
      assert.equal(-1, recv(transport, 100))
      transport = opened("\130\127\255\255\255\255\255\255\255\255")
      assert.equal(-1, recv(transport, 100))
      transport = opened("\130\127\0\0\0\0\0\16\0\1")
      assert.equal(-1, recv(transport, 100))
   end)
end)

describe("with sshd", function()
   if server.missing("sshd") then
      pending(server.missing("sshd"))
      return
   end

   local sshd, websocket, tls

   setup(function()
      sshd = server.sshd{}
      websocket, tls = Tunnel.start("websocket", sshd), Tunnel.start("tls", sshd)
   end)

   teardown(function()
      websocket:stop()
      tls:stop()
      sshd:stop()
   end)

   local function work_through(session)
      local data = ("0123456789abcdef"):rep(5000)
      assert.equal(data, assert(session:run("cat", { stdin = data })).stdout)
      assert.is_true(session:rekey())
      assert.equal("hello\n", assert(session:run("echo hello")).stdout)
      session:close()
   end

   it("a session goes through a WebSocket, also by a socket that takes and gives little", function()
      for _, most in ipairs{ 1 << 20, 100 } do
         local lower = {
            send = function(socket, buffer, length, ...)
               return ssh.socket_send(socket, buffer, math.min(length, most), ...)
            end,
            recv = function(socket, length, ...)
               return ssh.socket_recv(socket, math.min(length, most), ...)
            end,
         }
         work_through(assert(dial(sshd, {
            to = sshd.user .. "@" .. websocket:address(),
            host_key_alias = ("[%s]:%d"):format(sshd.host, sshd.port),
            callbacks = transports.websocket(lower, websocket:address(), "/"),
         })))
      end
   end)

   it("a session goes through TLS, and through a throttled one", function()
      for _, rate in ipairs{ false, 8 << 20 } do
         local connection, transport = transports.tls(tls.host, tls.port, tls.certificate)
         transport = rate and transports.throttled(transport, rate) or transport
         work_through(assert(dial(sshd, { socket = connection, callbacks = transport })))
         connection:close()
      end
   end)

   it("a session goes through a channel of another session, and that through one more", function()
      local first <close> = assert(dial(sshd))
      local channel <close> = assert(first:dial(sshd.host, sshd.port))
      local second <close> = assert(dial(sshd, { socket = {}, callbacks = transports.through(channel) }))
      local further <close> = assert(second:dial(sshd.host, sshd.port))
      local counted, counts = transports.counted(transports.through(further))
      local third = assert(dial(sshd, { socket = {}, callbacks = counted }))
      work_through(third)
      assert.equal(third.info.bytes_received, counts.received)
   end)

   it("the script runs to its end and shows each", function()
      local result = process.run{ process.lua, SCRIPT, ("%s@%s:%d"):format(sshd.user, sshd.host, sshd.port), env = {
         IDENTITY = sshd.key_path, KNOWN_HOSTS = sshd.known_hosts_path, SSH_AUTH_SOCK = false,
         WEBSOCKET = websocket:address(), TLS = tls:address(), TLS_CA = tls.certificate,
      } }
      assert.equal("", result.stderr)
      assert.equal(0, result.status)
      for _, said in ipairs{ "throttled: 400000 bytes of output", "recorded: ", "< SSH-2.0-OpenSSH", "< KEXINIT, ",
         "bytes, encrypted", "replayed: key exchange: the host key's signature is not valid",
         "negotiation; the server has none,zlib@openssh.com", "through a channel: hello\n",
         "through a WebSocket: hello\n", "through TLS: hello\n" } do
         assert.is_truthy(result.stdout:find(said, 1, true), said .. "\n" .. result.stdout)
      end
   end)
end)
