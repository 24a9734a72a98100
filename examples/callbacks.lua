-- The session callbacks, each of them called: what it gets, what it may answer, and what it is good for.
--
--    lua5.4 examples/callbacks.lua DESTINATION
--    sh examples/demo.sh examples/callbacks.lua        against a private sshd
--
-- IDENTITY and KNOWN_HOSTS in the environment name files for the login, where those of ssh are not meant.

local ssh = require "moonssh"

local destination = arg[1]
if not destination then
   io.stderr:write("usage: callbacks.lua DESTINATION\n")
   os.exit(2)
end

-- What the other side says is shown without what a terminal would take for commands. The handlers below get it as it
-- came: DEBUG and DISCONNECT carry any bytes that a server likes, and to print those is to let it write on the screen.
local function show(cbtype, format, ...)
   print(("%-22s%s"):format(cbtype, (format:format(...):gsub("%s+$", ""):gsub("%c", "?"))))
end

-- --- without a server: send and recv are the transport, and what they carry may come from anywhere

-- OpenSSH's server never sends IGNORE. Here is one that does, in a few lines: as much of the protocol as comes before
-- keys, an identification and packets in the clear (RFC 4253 4.2, 6 and 11).
do
   local function packet(payload)
      local padding = 4 + -(#payload + 9) % 8 -- to a multiple of 8 bytes, at least 4
      return string.pack(">I4B", 1 + #payload + padding, padding) .. payload .. ("\0"):rep(padding)
   end

   local says = "SSH-2.0-a_few_lines\r\n"
      .. packet(string.pack(">Bs4", 2, "nothing, to fill the line"))
      .. packet(string.pack(">BBs4s4", 4, 1, "I am only a string", "en"))
      .. packet(string.pack(">BI4s4s4", 1, 11, "that was all", "en"))
   local shown = {}

   local session <close> = ssh.session{
      -- Whatever this is, handlers get it last, and may put something else in its place: the next one finds that.
      abstract = { messages = 0 },
      callbacks = {
         -- socket is what handshake was given: here nothing. The result is how many bytes were taken.
         send = function(_, buffer, length)
            if not shown.send then
               show("send", "%d bytes, the first line is '%s'", length, buffer:match("^[^\r\n]*"))
               shown.send = true
            end
            return length
         end,
         -- As many bytes as there are, and not more than asked for; -ssh.EAGAIN when there are none now.
         recv = function(_, length)
            local data = says:sub(1, length)
            says = says:sub(length + 1)
            if not shown.recv then
               show("recv", "up to %d bytes are wanted, %d given", length, #data)
               shown.recv = true
            end
            return data ~= "" and data or -ssh.EAGAIN
         end,
         ignore = function(_, message, abstract)
            abstract.messages = abstract.messages + 1
            show("ignore", "'%s'", message)
         end,
         debug = function(_, always_display, message, language, abstract)
            abstract.messages = abstract.messages + 1
            show("debug", "'%s', language '%s', to be displayed: %s", message, language, always_display)
         end,
         disconnect = function(_, reason, message, _, abstract)
            show("disconnect", "reason %d, '%s', after %d messages", reason, message, abstract.messages)
         end,
      },
   }
   local ok, err = session:handshake()
   assert(not ok and err.code == "disconnected" and session.failure == err)
end

-- --- with a server

local function connect(options)
   options.identity, options.known_hosts = os.getenv "IDENTITY", os.getenv "KNOWN_HOSTS"
   return assert(ssh.connect(destination, options))
end

-- A wrong MAC says that somebody has touched the packet, or the line has. Here it is the recv handler that damages one
-- on its way. Only for the integer 0 is the packet taken nonetheless; think twice before you give that.
do
   local damage = false
   local session <close> = connect{
      callbacks = {
         recv = function(...)
            local data = ssh.socket_recv(...)
            if damage and type(data) == "string" and data ~= "" then
               damage = false
               data = data:sub(1, -2) .. string.char(data:byte(-1) ~ 1)
            end
            return data
         end,
         macerror = function(_, packet)
            show("macerror", "a packet of %d bytes with a wrong MAC, taken", #packet)
            return 0
         end,
      },
   }
   assert(session:run("true"))
   damage = true
   assert(session:ping()) -- its answer is the packet
   assert(session:run("true"))
end

-- Handlers are set, replaced and removed at any time, also from inside one. callback_set gives the one before, to chain
-- to or to put back.
do
   local session <close> = connect{}
   local calls = 0
   local previous = session:callback_set("send", function(...)
      calls = calls + 1
      return ssh.socket_send(...)
   end)
   assert(previous == nil)
   assert(session:ping())
   session:callback_set("send", nil)
   local before = calls
   assert(session:ping())
   assert(before > 0 and calls == before)
end

-- An agent that exists in this process only. The server opens a channel to it when a program there asks; from then on
-- all is up to the handlers, which may wait, ask a person, or say no with nil.
do
   local key = assert(ssh.key.generate("ed25519", { comment = "of examples/callbacks.lua" }))
   local session <close> = connect{
      callbacks = {
         authagent = function(session, channel)
            show("authagent", "the server has opened a channel to the agent")
            assert(ssh.serve_agent(session, channel)) -- as it is done without this handler
         end,
         authagent_identities = function(_, agent_path)
            show("authagent_identities", "one key is listed, and not those of %s", agent_path or "a local agent")
            return { { blob = key:blob(), comment = key.comment } }
         end,
         authagent_sign = function(_, blob, data, flags)
            show("authagent_sign", "%d bytes are to be signed, with flags %d", #data, flags)
            return blob == key:blob() and assert(key:sign(data)) or nil
         end,
      },
   }
   local result = assert(session:run([[
      folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT && cd "$folder" || exit
      ssh-add -L >key.pub && echo data | ssh-keygen -q -Y sign -n example -f key.pub 2>&1 | head -n 1
   ]], { forward_agent = true }))
   show("", "what came of it there: %s", result.stdout)
end

-- Windows of programs there, on a display here: or on none. The handler gets each connection once its cookie was found
-- to be right, and is the display, or takes the bytes to one. This one refuses, as an X server does.
do
   local session <close> = connect{
      callbacks = {
         x11 = function(_, channel, shost, sport)
            local first = assert(channel:read(12))
            local order = first:byte() == ("l"):byte() and "<" or ">"
            show("x11", "a connection from %s, port %d, which speaks X%d", shost, sport,
               (string.unpack(order .. "I2", first, 3)))
            local reason = "no windows today"
            assert(channel:write(string.pack(order .. "BBI2I2I2", 0, #reason, 11, 0, #reason // 4), reason))
            assert(channel:eof())
         end,
      },
   }
   local result, err = session:run("xdpyinfo 2>&1", { forward_x11 = true })
   show("", "what came of it there: %s", result and result.stdout:match("[^\n]+") or err)
end
