-- An interactive shell, as `ssh host` gives one.
--
--    lua5.4 examples/terminal.lua [user@]host[:port] [command]
--
-- At the beginning of a line, `~.` ends the session, `~?` says what there is, and `~~` sends a tilde. Everything else
-- goes to the server as it is typed. The script exits as the shell or the command does.

local ssh = require "moonssh"
local terminal = require "moonssh.terminal"

local destination, command = arg[1], arg[2]
if not destination then
   io.stderr:write("usage: lua5.4 examples/terminal.lua [user@]host[:port] [command]\n")
   os.exit(2)
end

-- Reads a line without showing it.
local function ask_hidden(prompt)
   io.stderr:write(prompt)
   local _ <close> = terminal.raw()
   local line = {}
   while true do
      local key = terminal.read()
      if not key or key:find("[\r\n\3\4]") then
         io.stderr:write("\r\n")
         return key and (table.concat(line) .. key:match("^[^\r\n\3\4]*")) or nil
      end
      line[#line + 1] = key
   end
end

local options = {
   password = ask_hidden,
   passphrase = function(path)
      return ask_hidden("Passphrase of " .. path .. ": ")
   end,
}

-- A host that is not known yet is shown, and asked about; one whose key has changed is refused.
local function ask_about_key(host, port, key, verdict)
   if verdict ~= "unknown" then
      return verdict == "match"
   end
   io.stderr:write(("The key of %s port %d is not known: %s %s\nConnect? [y/N] "):format(host, port, key.type,
      key:fingerprint()))
   return (terminal.read() or ""):find("^[yY]") ~= nil
end

local session, err = ssh.connect(destination, options)
if not session and err.code == "host_key_unknown" then
   options.host_keys = ask_about_key
   session, err = ssh.connect(destination, options)
end
if not session then
   io.stderr:write(tostring(err), "\n")
   os.exit(255)
end

-- Takes the escapes out of what is typed. → bytes to send, whether to end
local escape = { at_start = true, tilde = false }

local replies = {
   ["~"] = function()
      return "~"
   end,
   ["."] = function()
      return "", true
   end,
   ["?"] = function()
      terminal.write("~?\r\n  ~.  ends the session\r\n  ~~  sends a tilde\r\n  ~?  this list\r\n")
      return ""
   end,
}

function escape.take(typed)
   local out = {}
   for key in typed:gmatch(".") do
      if escape.tilde then
         escape.tilde = false
         local reply = replies[key]
         local bytes, ends = "~" .. key, false
         if reply then
            bytes, ends = reply()
         end
         out[#out + 1] = bytes
         if ends then
            return table.concat(out), true
         end
      elseif escape.at_start and key == "~" then
         escape.tilde = true
      else
         out[#out + 1] = key
      end
      escape.at_start = not escape.tilde and key:find("[\r\n]") ~= nil
   end
   return table.concat(out), false
end

local columns, rows = terminal.size()
local pty = columns and { term = os.getenv "TERM" or "vt100", columns = columns, rows = rows } or nil
local settings = { pty = pty, stderr = "merge" }

local status, signal = ssh.loop.run(function()
   local channel <close> = assert(command and session:exec(command, settings) or session:shell(settings))
   local _ <close> = pty and terminal.raw() or nil

   -- What is typed goes to the server; end of file, too.
   local _ <close> = ssh.spawn(function()
      while true do
         local typed = terminal.read()
         local bytes, ends = escape.take(typed or "")
         if bytes ~= "" and not channel:write(bytes) then
            return
         elseif ends then
            terminal.write("\r\nClosed.\r\n")
            channel:close()
            return
         elseif not typed then
            channel:eof()
            return
         end
      end
   end)

   -- A window that was resized is noticed within a moment.
   local _ <close> = pty and ssh.spawn(function()
      while true do
         ssh.loop.sleep(0.25)
         local wide, high = terminal.size()
         if wide and (wide ~= columns or high ~= rows) then
            columns, rows = wide, high
            channel:resize(columns, rows)
         end
      end
   end) or nil

   while true do
      local ok, output = pcall(channel.read, channel)
      if not ok or not output then
         break
      end
      terminal.write(output)
   end
   if not channel.closed then
      return channel:wait()
   end
end)

session:close()
if type(signal) == "string" then
   io.stderr:write("ended by signal ", signal, "\n")
end
os.exit(math.type(status) == "integer" and status or 255)
