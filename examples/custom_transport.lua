-- Transports of your own, by the callbacks send and recv: counted, throttled, recorded and replayed, through a channel
-- of another session, through a WebSocket, through TLS.
--
--    lua5.4 examples/custom_transport.lua DESTINATION
--    sh examples/demo.sh examples/custom_transport.lua        against a private sshd
--
-- In the environment: IDENTITY and KNOWN_HOSTS, files for the login, where those of ssh are not meant; WEBSOCKET, a
-- "host:port" from which a WebSocket server leads on to DESTINATION; TLS, the same of a server that speaks TLS, with
-- TLS_CA, the file of the authority that it is checked against. `dofile` of this script gives the transports alone.

local ssh = require "moonssh"

local EAGAIN = -ssh.EAGAIN

-- A transport here is a pair { send =, recv = }, ready to be given to a session. Those that take a `lower` one work on
-- top of it, so they stack; at the bottom is the socket. The rules are those of the callbacks:
--
--    send(socket, buffer, length, flags, abstract, session)      how many bytes were taken, EAGAIN for "later", or -1
--    recv(socket, length, flags, abstract, session)              up to so many bytes, EAGAIN, "" at the end, or -1
--
-- Neither may wait. What send has not taken it is given again, with more behind it.
local transports = {}

transports.socket = { send = ssh.socket_send, recv = ssh.socket_recv }

-- --- counting: do what the lower one does, and look at the result

function transports.counted(lower)
   local counts = { sent = 0, received = 0 }
   return {
      send = function(...)
         local n = lower.send(...)
         counts.sent = counts.sent + math.max(n, 0)
         return n
      end,
      recv = function(...)
         local data = lower.recv(...)
         counts.received = counts.received + (type(data) == "string" and #data or 0)
         return data
      end,
   }, counts
end

-- --- throttling: take and give less, or nothing for now

-- An allowance that fills up by `rate` bytes a second, to a tenth of a second's worth.
local function allowance(rate, now)
   local most = math.max(rate / 10, 1)
   local level, at = most, now()
   return function()
      local time = now()
      level, at = math.min(most, level + (time - at) * rate), time
      return level // 1 | 0
   end, function(n)
      level = level - n
   end
end

function transports.throttled(lower, rate, now)
   local may_send, sent = allowance(rate, now or ssh.loop.now)
   local may_receive, received = allowance(rate, now or ssh.loop.now)
   return {
      send = function(socket, buffer, length, ...)
         local n = math.min(length, may_send())
         if n < 1 then
            return EAGAIN -- the session asks again within some milliseconds
         end
         n = lower.send(socket, buffer:sub(1, n), n, ...)
         sent(math.max(n, 0))
         return n
      end,
      recv = function(socket, length, ...)
         local n = math.min(length, may_receive())
         if n < 1 then
            return EAGAIN
         end
         local data = lower.recv(socket, n, ...)
         received(type(data) == "string" and #data or 0)
         return data
      end,
   }
end

-- --- recording, and what can be done with a record

-- Each piece with its direction and time: "> 0.015625 32\n", 32 bytes, "\n". Only what anybody on the line can see:
-- nothing in a record is readable behind the key exchange.
function transports.recorded(lower, file)
   local began = ssh.loop.now()
   local function note(direction, bytes)
      assert(file:write(("%s %.6f %d\n"):format(direction, ssh.loop.now() - began, #bytes), bytes, "\n"))
   end
   return {
      send = function(socket, buffer, ...)
         local n = lower.send(socket, buffer, ...)
         if n > 0 then
            note(">", buffer:sub(1, n))
         end
         return n
      end,
      recv = function(...)
         local data = lower.recv(...)
         if type(data) == "string" and data ~= "" then
            note("<", data)
         end
         return data
      end,
   }
end

-- A record as a list of { direction =, time =, bytes = }.
function transports.read_record(path)
   local file <close> = assert(io.open(path, "rb"))
   local record = {}
   for line in file:lines("l") do
      local direction, time, length = line:match("^([<>]) (%S+) (%d+)$")
      local bytes = direction and file:read(tonumber(length) + 1)
      if not bytes or #bytes <= tonumber(length) then
         error(path .. " is no record, or was cut off", 0)
      end
      table.insert(record, { direction = direction, time = tonumber(time), bytes = bytes:sub(1, -2) })
   end
   return record
end

-- A server that says what it has said then, whatever it is told now. That serves a client up to the key exchange: the
-- server's identification and its lists of algorithms are its own, but the keys are new each time, and so the server's
-- recorded signature does not fit. It is what makes SSH safe from replays, and leaves one good use: to ask a server
-- that is out of reach what it would have agreed on with a client that is set up in another way.
function transports.replayed(record)
   local at, rest = 0, ""
   return {
      send = function(_, _, length)
         return length
      end,
      recv = function(_, length)
         while rest == "" do
            at = at + 1
            if not record[at] then
               return ""
            elseif record[at].direction == "<" then
               rest = record[at].bytes
            end
         end
         local data = rest:sub(1, length)
         rest = rest:sub(length + 1)
         return data
      end,
   }
end

local NEWKEYS = 21
local names = { [1] = "DISCONNECT", [2] = "IGNORE", [4] = "DEBUG", [20] = "KEXINIT", [NEWKEYS] = "NEWKEYS" }

-- Takes the whole packets off the front of a side's bytes, as far as they are in the clear (RFC 4253 4.2 and 6), and
-- tells of them.
local function look(side, tell)
   while not side.secret do
      local line, after = side.bytes:match("^([^\n]*)\r?\n()")
      if not side.identified then
         if not line then
            return
         end
         side.identified = line:find("^SSH%-") ~= nil
         tell(line)
         side.bytes = side.bytes:sub(after)
      else
         if #side.bytes < 6 or #side.bytes < 4 + string.unpack(">I4", side.bytes) then
            return
         end
         local length, _, number = string.unpack(">I4BB", side.bytes)
         tell(("%s, %d bytes"):format(names[number] or "message " .. number, 4 + length))
         if number == 20 then
            tell("   key exchange: " .. string.unpack(">s4", side.bytes, 4 + 1 + 1 + 16 + 1))
         end
         side.bytes = side.bytes:sub(5 + length)
         side.secret = number == NEWKEYS
      end
   end
   if side.bytes ~= "" then
      tell(("%d bytes, encrypted"):format(#side.bytes))
      side.bytes = ""
   end
end

-- A record as lines of text: messages by name while they can be read, sizes and times afterwards.
function transports.transcript(record)
   local lines, sides = {}, { [">"] = { bytes = "" }, ["<"] = { bytes = "" } }
   for _, piece in ipairs(record) do
      local side = sides[piece.direction]
      side.bytes = side.bytes .. piece.bytes
      look(side, function(text)
         table.insert(lines, ("%8.3f %s %s"):format(piece.time, piece.direction, text))
      end)
   end
   return lines
end

-- --- something that waits, below something that must not: tasks do the waiting, and buffers are in between

-- Through a channel of another session, or whatever has read() and write(data). (For a channel alone there is a shorter
-- way: `socket = channel`, or session:connect.)
function transports.through(channel)
   local inbox, outbox = "", ""
   local reading, writing, ended = false, false, false
   local LIMIT = 256 * 1024

   -- Has recv or send asked again.
   local function wake(session)
      if not session.closed then
         session:wake()
      end
   end

   local function read(session)
      local data, err
      if not channel.closed then
         data, err = channel:read()
      end
      inbox, reading = inbox .. (data or ""), false
      ended = ended or not data and (err and -1 or "")
      wake(session)
   end

   local function write(session)
      while outbox ~= "" and not ended do
         local piece = outbox
         outbox = ""
         if channel.closed or not channel:write(piece) then
            ended = -1
         end
      end
      writing = false
      wake(session)
   end

   return {
      send = function(_, buffer, length, _, _, session)
         local n = math.min(length, LIMIT - #outbox)
         if ended then
            return -1
         elseif n < 1 then
            return EAGAIN
         end
         outbox = outbox .. buffer:sub(1, n)
         if not writing then
            writing = true
            ssh.spawn(write, session)
         end
         return n
      end,
      recv = function(_, length, _, _, session)
         if inbox == "" then
            if ended then
               return ended
            elseif not reading then
               reading = true
               ssh.spawn(read, session)
            end
            return EAGAIN
         end
         local data = inbox:sub(1, length)
         inbox = inbox:sub(length + 1)
         return data
      end,
   }
end

-- --- framing: what is sent is not what goes over the line

local function random_bytes(n)
   local file <close> = assert(io.open("/dev/urandom", "rb"))
   return file:read(n)
end

-- Sixteen random bytes in base64.
local function random_key()
   local digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
   return random_bytes(21):gsub(".", function(byte)
      local i = byte:byte() % 64 + 1
      return digits:sub(i, i)
   end) .. "A=="
end

-- Four bytes of the mask over and over (RFC 6455 5.3).
local function masked(data, mask)
   local key = string.unpack("<I4", mask)
   key = key | key << 32
   local words = {}
   local padded = data .. ("\0"):rep(-#data % 8)
   for at = 1, #padded, 8 do
      words[#words + 1] = string.pack("<I8", string.unpack("<I8", padded, at) ~ key)
   end
   return table.concat(words):sub(1, #data)
end

local BINARY, CLOSE, PING, PONG = 2, 8, 9, 10

local function frame(opcode, data)
   local mask = random_bytes(4)
   local length = #data < 126 and string.pack("B", 128 | #data)
      or #data < 65536 and string.pack(">BI2", 128 | 126, #data)
      or string.pack(">BI8", 128 | 127, #data)
   return string.char(128 | opcode) .. length .. mask .. masked(data, mask)
end

-- A frame that says it is longer is not waited for.
local LONGEST = 1 << 20

-- Takes a frame apart: opcode, data, where the next one begins; nil where it is not all there, false for one too long.
local function parse(bytes)
   if #bytes < 2 then
      return nil
   end
   local opcode, length = bytes:byte(1) & 15, bytes:byte(2) & 127
   local extra = length == 126 and 2 or length == 127 and 8 or 0
   if #bytes < 2 + extra then
      return nil
   elseif extra > 0 then
      length = string.unpack(">I" .. extra, bytes, 3)
   end
   local at = 3 + extra
   if math.ult(LONGEST, length) then
      return false
   elseif #bytes < at + length - 1 then
      return nil
   end
   return opcode, bytes:sub(at, at + length - 1), at + length
end

-- RFC 6455, the client's side: an HTTP request first, then each piece of the stream is a frame. (A client that meets
-- servers which may not be what they seem also checks Sec-WebSocket-Accept; SSH has its own idea of who is there.)
function transports.websocket(lower, host, path)
   local out = ("GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" ..
      "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n"):format(path, host, random_key())
   local open, raw, inbox = false, "", ""
   local pending -- how much of the session's bytes the end of `out` stands for
   local ended

   -- Sends what is framed already. true when nothing is left.
   local function flush(socket, ...)
      while out ~= "" do
         local n = lower.send(socket, out, #out, ...)
         if n < 1 then
            return false, n
         end
         out = out:sub(n + 1)
      end
      return true
   end

   -- Takes in what has come: the answer to the request, then frames.
   local function take(bytes)
      raw = raw .. bytes
      if not open then
         local status, after = raw:match("^HTTP/1%.1 (%d+).-\r\n\r\n()")
         if not status then
            return
         elseif status ~= "101" then
            ended = -1
            return
         end
         open, raw = true, raw:sub(after)
      end
      local opcode, data, after = parse(raw)
      while opcode do
         raw = raw:sub(after)
         if opcode == CLOSE then
            ended = ""
         elseif opcode == PING then
            out = out .. frame(PONG, data)
         elseif opcode <= BINARY then -- the first frame of a message, or one that continues it
            inbox = inbox .. data
         end
         opcode, data, after = parse(raw)
      end
      if opcode == false then
         ended = -1
      end
   end

   return {
      send = function(socket, buffer, length, ...)
         -- A frame that has begun must be ended, and what is in it counts as sent only then: until then the session
         -- keeps it, and asks again.
         if not pending and open then
            pending = math.min(length, 32768)
            out = out .. frame(BINARY, buffer:sub(1, pending))
         end
         local done, n = flush(socket, ...)
         if done and pending then
            n, pending = pending, nil
            return n
         end
         return n == -1 and -1 or EAGAIN
      end,
      recv = function(socket, length, flags, ...)
         flush(socket, flags, ...)
         while inbox == "" and not ended do
            local bytes = lower.recv(socket, length, flags, ...)
            if type(bytes) ~= "string" or bytes == "" then
               return bytes
            end
            take(bytes)
         end
         if inbox == "" then
            return ended
         end
         local data = inbox:sub(1, length)
         inbox = inbox:sub(length + 1)
         return data
      end,
   }
end

-- --- TLS, by LuaSec: another library's connection as the socket

-- An open TLS connection: the socket for ssh.connect (it has getfd), and the transport that speaks through it.
function transports.tls(host, port, authority)
   local tls = require "ssl"
   local plain = assert(require "socket".tcp())
   assert(plain:connect(host, port))
   local connection = assert(tls.wrap(plain, { mode = "client", protocol = "any", options = "all",
      verify = { "peer", "fail_if_no_peer_cert" }, cafile = authority }))
   connection:sni(host)
   assert(connection:dohandshake())
   connection:settimeout(0)
   -- TLS may want to read before it can write, and the other way round; either way it is "later".
   local later = { timeout = true, wantread = true, wantwrite = true }
   return connection, {
      send = function(_, buffer)
         local n, problem, partial = connection:send(buffer)
         n = n or partial
         if n and n > 0 then
            return n
         end
         return later[problem] and EAGAIN or -1
      end,
      recv = function(_, length)
         local data, problem, partial = connection:receive(length)
         data = data or partial
         if data and data ~= "" then
            return data
         elseif problem == "closed" then
            return ""
         end
         return later[problem] and EAGAIN or -1
      end,
   }
end

if not (arg and arg[0] and arg[0]:find("custom_transport%.lua$")) then
   return transports
end

-- --- a tour

local destination = arg[1]
if not destination then
   io.stderr:write("usage: custom_transport.lua DESTINATION\n")
   os.exit(2)
end
local user, host = destination:match("^(.*@)(.*)$")
user, host = user or "", host or destination
local port = tonumber(host:match(":(%d+)$")) or 22

local function connect(transport, options, to)
   options = options or {}
   options.callbacks, options.identity, options.known_hosts = transport, os.getenv "IDENTITY", os.getenv "KNOWN_HOSTS"
   return assert(ssh.connect(to or destination, options))
end

-- What comes from the other side is shown without what a terminal would take for commands.
local function say(format, ...)
   print((format:format(...):gsub("%s+$", ""):gsub("%c", "?")))
end

do
   local transport, counts = transports.counted(transports.throttled(transports.socket, 1 << 20))
   local session <close> = connect(transport)
   local before, began = counts.received, ssh.loop.now()
   local output = assert(session:run("head -c 400000 /dev/zero")).stdout
   say("throttled: %d bytes of output were %d on the line, in %.1f s at 1 MiB/s", #output, counts.received - before,
      ssh.loop.now() - began)
   assert(counts.sent == session.info.bytes_sent and counts.received == session.info.bytes_received)
end

do
   local path = os.tmpname()
   local remover <close> = setmetatable({}, { __close = function() os.remove(path) end }) -- luacheck: ignore
   local file = assert(io.open(path, "wb"))
   local session = connect(transports.recorded(transports.socket, file))
   assert(session:run("echo recorded"))
   session:close()
   file:close()
   local record = transports.read_record(path)
   say("recorded: %d pieces", #record)
   for _, line in ipairs(transports.transcript(record)) do
      say("   %s", line)
   end

   -- The same server once more, without it: the lists of algorithms are its own, the signature no longer fits.
   local _, err = ssh.connect(destination, { callbacks = transports.replayed(record), socket = {}, identity = {},
      known_hosts = os.getenv "KNOWN_HOSTS" })
   say("replayed: %s", err)
   _, err = ssh.connect(destination, { callbacks = transports.replayed(record), socket = {}, identity = {},
      known_hosts = os.getenv "KNOWN_HOSTS", algorithms = { compression = { "zlib" } } })
   say("replayed to a client that wants zlib alone: %s; the server has %s", err.code, err.theirs)
end

do
   local outer <close> = connect()
   local channel <close> = assert(outer:dial("127.0.0.1", port)) -- from the server to itself
   -- The socket is what the callbacks make of it; as one is given, nothing is connected.
   local inner <close> = connect(transports.through(channel), { socket = {} })
   say("through a channel: %s", assert(inner:run("echo hello")).stdout)
end

local at = os.getenv "WEBSOCKET"
if at then
   -- The library connects to the WebSocket server. The key is that of the host behind it.
   local alias = port == 22 and host or host:gsub("^(.*):", "[%1]:")
   local session <close> = connect(transports.websocket(transports.socket, at, "/"), { host_key_alias = alias },
      user .. at)
   say("through a WebSocket: %s", assert(session:run("echo hello")).stdout)
end

at = os.getenv "TLS"
if at then
   local connection, transport = transports.tls(at:match("^(.*):"), tonumber(at:match("%d+$")), os.getenv "TLS_CA")
   local session <close> = connect(transport, { socket = connection })
   say("through TLS: %s", assert(session:run("echo hello")).stdout)
   session:close()
   connection:close()
end
