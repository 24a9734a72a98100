-- Runs a command on many hosts, with a progress bar on a terminal (plain lines elsewhere), and a table of results.
--
--    lua5.4 examples/fleet.lua [OPTION]… HOSTS COMMAND…
--
-- HOSTS is a file with a destination a line, or destinations with commas between them. Options: --concurrency=N,
-- --timeout=SECONDS, --rate=CONNECTIONS_A_SECOND, --retries=N, and, for ssh.connect, --identity=PATH,
-- --known-hosts=PATH, --host-keys=strict|accept-new|off. Ends with status 1 if a host has failed.

local ssh = require "moonssh"

local numbers = { concurrency = true, timeout = true, rate = true, retries = true }
local connecting = { ["identity"] = "identity", ["known-hosts"] = "known_hosts", ["host-keys"] = "host_keys" }

local function parse(arguments)
   local options, words = { connect = {} }, {}
   for _, word in ipairs(arguments) do
      local name, value = word:match("^%-%-([%l-]+)=(.*)$")
      if #words == 0 and name and numbers[name] then
         options[name] = math.tointeger(tonumber(value)) or assert(tonumber(value), "no number: " .. value)
      elseif #words == 0 and name and connecting[name] then
         options.connect[connecting[name]] = value
      elseif #words == 0 and name then
         error("unknown option --" .. name, 0)
      else
         table.insert(words, word)
      end
   end
   assert(words[2], "usage: fleet.lua [OPTION]... HOSTS COMMAND...")
   local hosts = table.remove(words, 1)
   if hosts:find("[,@]") then
      local list = {}
      for host in hosts:gmatch("[^,]+") do
         table.insert(list, host)
      end
      hosts = list
   end
   return hosts, table.concat(words, " "), options
end

-- Whether standard error is a terminal: the progress goes there, the results to standard output.
local on_terminal = os.execute("test -t 2") or false

local WIDTH = 40

local function draw(progress)
   local share = progress.total and progress.total > 0 and progress.done / progress.total or 0
   local full = math.floor(share * WIDTH)
   io.stderr:write(("\r[%s%s] %d/%s  %d failed  %d running  %s\27[K"):format(("#"):rep(full), ("."):rep(WIDTH - full),
      progress.done, progress.total or "?", progress.failed, progress.running,
      progress.remaining and ("%.0f s to go"):format(progress.remaining) or ""))
end

-- The first line of what a host has to say, without what a terminal might take for orders.
local function line_of(entry)
   local text = entry.err and tostring(entry.err) or entry.output
   text = text:match("^[^\n]*"):gsub("[%c\128-\255]", "?")
   return #text > 60 and text:sub(1, 57) .. "..." or text
end

local hosts, command, options = parse(arg)
if on_terminal then
   options.progress = draw
else
   function options.on_result(entry)
      io.stderr:write(("%s %s: %s\n"):format(entry.ok and "ok" or "FAILED", entry.host, line_of(entry)))
   end
end

local fleet = assert(ssh.fleet(hosts, options))
local report = fleet:run(command)
if on_terminal then
   io.stderr:write("\n")
end

print(("%-32s %-16s %8s  %s"):format("HOST", "STATUS", "SECONDS", "OUTPUT"))
for _, entry in ipairs(report.entries) do
   print(("%-32s %-16s %8.2f  %s"):format(entry.host, entry.status, entry.seconds, line_of(entry)))
end
print(("\n%d hosts, %d ok, %d failed"):format(report.count, report.ok, report.failed))
for _, group in ipairs(report:by_status()) do
   print(("%6d  status %s"):format(group.count, group.status))
end
for i, group in ipairs(report:by_output()) do
   print(("%6d  said the same (%d): %s"):format(group.count, i, line_of(group)))
end
os.exit(report.failed == 0, true)
