-- The tour that `make demo` gives; examples/demo.sh starts the server for it. Each step prints its Lua, then runs that
-- very text.

local ssh = require "moonssh"

local folder, port, user = os.getenv "DEMO_FOLDER", os.getenv "DEMO_PORT", os.getenv "DEMO_USER"
local colours = os.getenv "DEMO_COLOUR" == "yes"

local function paint(code, text)
   return colours and ("\27[%sm%s\27[0m"):format(code, text) or text
end

-- What the steps see as globals.
local tour = setmetatable({
   ssh = ssh,
   destination = ("%s@127.0.0.1:%s"):format(user, port),
   key = folder .. "/user_key",
   known_hosts = folder .. "/known_hosts",
   seen = {},
}, { __index = _G })

-- All that a step prints is indented and set off from its code.
function tour.print(...)
   local parts = table.pack(...)
   for i = 1, parts.n do
      parts[i] = tostring(parts[i])
   end
   local text = table.concat(parts, " "):gsub("\n$", "")
   for line in (text .. "\n"):gmatch "(.-)\n" do
      print("      " .. paint("32", line))
   end
end

local number = 0
local function step(title, code)
   number = number + 1
   code = code:gsub("%s+$", "")
   print(("\n%s %s"):format(paint("1;34", number .. "."), paint("1", title)))
   for line in (code .. "\n"):gmatch "(.-)\n" do
      print("   " .. paint("33", line))
   end
   io.flush()
   assert(load(code, "=step " .. number, "t", tour))()
   io.flush()
end

print(paint("1", "moonssh: SSH for Lua. A tour against an sshd of its own at 127.0.0.1:" .. port))

step("A stranger is refused: with an empty known_hosts nothing is trusted", [[
local session, err = ssh.connect(destination, { identity = key, known_hosts = {} })
print(session, err.code)
print(err)]])

step("Connect: the host key must be the known one, the login is by public key", [[
session = assert(ssh.connect(destination, {
   identity = key,
   known_hosts = known_hosts,
   callbacks = {
      debug = function(session, always_display, message)
         table.insert(seen, message)
      end,
   },
}))
print("host key ", session:host_key():fingerprint())
print("banner   ", session.banner)]])

step("What was negotiated", [[
local info = session.info
print("server      ", info.server)
print("key exchange", info.kex, info.strict and "(strict)" or "(not strict)")
print("host key    ", info.host_key)
print("cipher      ", info.cipher.send)
print("login       ", info.user, "by", info.auth)]])

step("Run a command", [[
local result = assert(session:run("echo $TOUR on $(uname -s); echo oops >&2; exit 3"))
print("stdout", result.stdout)
print("stderr", result.stderr)
print("status", result.status, "ok", result.ok)]])

step("A list of arguments is quoted for the remote shell, whatever is in it", [[
print(session:run{ "printf", "<%s>\\n", "two words", "$HOME; rm -rf", "it's" }.stdout)]])

step("Stream a command line by line while it runs", [[
local channel <close> = assert(session:exec("for i in 1 2 3; do echo line $i; sleep 0.1; done"))
for line in channel:lines() do
   print(line)
end
print("exit status", (channel:wait()))]])

step("Talk to a program", [[
local channel <close> = assert(session:exec("read name; echo hello, $name"))
channel:write("moon\n"):eof()
print(channel:read "a")]])

step("Expect: wait for a prompt and answer it, on a terminal", [[
local channel <close> = assert(session:exec("printf 'colour? '; read c; echo you like $c", { pty = true }))
assert(channel:expect({ "colour%? $" }, { timeout = 60 }))
channel:write("green\n")
local _, text, colour = channel:expect({ "you like (%w+)" }, { timeout = 60 })
print("it said", colour)]])

step("Many things at once on one connection: tasks", [[
local tasks = {}
for i = 1, 5 do
   tasks[i] = ssh.spawn(function()
      return session:run("sleep 0.1; echo task " .. i).stdout
   end)
end
for _, task in ipairs(tasks) do
   print(task:wait())
end]])

step("Callbacks: what the server said in SSH_MSG_DEBUG while we worked", [[
for _, message in ipairs(seen) do
   print((message:gsub("%c", "?")))
end]])

step("Callbacks: send and recv are the transport. Here they count and pass on", [[
local sent, received = 0, 0
session:callback_set("send", function(...)
   local n = ssh.socket_send(...)
   sent = sent + math.max(n, 0)
   return n
end)
session:callback_set("recv", function(...)
   local data = ssh.socket_recv(...)
   received = received + (type(data) == "string" and #data or 0)
   return data
end)
assert(session:run("head -c 100000 /dev/zero"))
print(sent, "bytes sent,", received, "received for 100000 bytes of output")
session:callback_set("send", nil)
session:callback_set("recv", nil)]])

step("New keys at any time; the session goes on", [[
assert(session:rekey())
print("rekeys", session.info.rekeys, "ping", session:ping(60) < 60 and "answered")
session:close()]])

step("Callbacks: disconnect tells why a server hangs up. This one takes two wrong keys", [[
local strangers = {}
for i = 1, 3 do
   strangers[i] = ssh.key.generate("ed25519")
end
local session, err = ssh.connect(destination, {
   identity = strangers,
   known_hosts = known_hosts,
   callbacks = {
      disconnect = function(session, reason, message)
         print("the server says", reason, message)
      end,
   },
})
print(session, err.code)]])

print("\n" .. paint("1", "That was it. The server, its keys and its folder go away now."))
