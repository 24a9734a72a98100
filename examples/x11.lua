-- Runs a command on a server with X11 forwarded, and shows who connects.
--
--    lua5.4 examples/x11.lua deploy@web1 'xclock'              on the display that DISPLAY names
--    lua5.4 examples/x11.lua deploy@web1 'xclock' refuse       by a handler that tells each client that it may not
--    sh examples/demo.sh examples/x11.lua 'xdpyinfo' refuse    the same against a private sshd
--
-- IDENTITY and KNOWN_HOSTS in the environment name files for the login itself, where those of ssh are not meant.

local ssh = require "moonssh"

local destination, command, mode = arg[1], arg[2], arg[3]
if not command then
   io.stderr:write("usage: x11.lua DESTINATION COMMAND [refuse]\n")
   os.exit(2)
end

local session <close> = assert(ssh.connect(destination, {
   identity = os.getenv "IDENTITY",
   known_hosts = os.getenv "KNOWN_HOSTS",
   forward_x11 = true,
}))

-- An X server's first answer to a client, where it lets it not in: what the client shows as the reason. All numbers
-- are in the byte order that the client's first byte names.
local function refusal(order, reason)
   local padded = reason .. ("\0"):rep(-#reason % 4)
   local format = (order == "l" and "<" or ">") .. "BBI2I2I2"
   return format:pack(0, #reason, 11, 0, #padded // 4) .. padded
end

-- Without a handler connections go to the display. A handler has them to itself: the made-up cookie that the server
-- was given has been found in them already, and what is read here is what the display would see. It may read and write
-- for as long as it likes, while the command and other connections go on.
if mode == "refuse" then
   session:callback_set("x11", function(_, channel, host, port)
      local first = channel:read(12)
      if first then
         local major, minor = (first:sub(1, 1) == "l" and "<I2I2" or ">I2I2"):unpack(first, 3)
         print(("from %s port %d: a client of X%d.%d"):format((host:gsub("%c", "?")), port, major, minor))
         channel:write(refusal(first:sub(1, 1), "this display is but a script"))
      end
      channel:eof()
      channel:read("a") -- until the client goes
   end)
end

local result = assert(session:run(command))
io.write(result.stdout, result.stderr)
os.exit(result.status or 1, true)
