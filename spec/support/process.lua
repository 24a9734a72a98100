-- Processes that specs start. Whatever is started here dies with the spec's process, and close (also <close>, and
-- collection) kills the whole tree below it.
--
--    local server <close> = process.start{ "/usr/sbin/sshd", "-D", stderr = "/tmp/log" }
--    local result = process.run{ "ssh-keygen", "-y", "-f", path }      -- result.stdout, .stderr, .status, .signal
--    process.wait_until(function() return ready() end, 10, "the server's banner")
--
-- Options beside the arguments: env (NAME = value, or false to remove it), cwd, and stdin, stdout, stderr, each
-- "pipe" or a path (a file is appended to); stderr may also be "stdout". What is not given is /dev/null.
-- A started process has pid(), wait(timeout), kill(number), read("stdout"|"stderr", timeout), write(data),
-- close_stdin() and close(); csrc/testing/process.c says what each returns.

local testing = require "moonssh_testing".process

local process = {
   alive = testing.alive, -- whether a process of this number exists and has not ended
   now = testing.now,
   pid = testing.pid,
   uid = testing.uid,
   SIGHUP = 1, SIGINT = 2, SIGKILL = 9, SIGTERM = 15, SIGCONT = 18, SIGSTOP = 19,
}

local option_names = { env = true, cwd = true, stdin = true, stdout = true, stderr = true }

-- Our own environment with the given changes, as the list that exec takes.
local function environment(changes)
   local list = {}
   for _, entry in ipairs(testing.environment()) do
      if changes[entry:match("^([^=]*)=")] == nil then
         list[#list + 1] = entry
      end
   end
   for name, value in pairs(changes) do
      if value then
         list[#list + 1] = name .. "=" .. value
      end
   end
   return list
end

function process.start(options)
   local argv = {}
   for i, argument in ipairs(options) do
      argv[i] = tostring(argument)
   end
   for key in pairs(options) do
      assert(math.type(key) == "integer" or option_names[key], "unknown option of process.start: " .. tostring(key))
   end
   return testing.spawn(argv, environment(options.env or {}), options)
end

-- Runs a program to its end. `stdin` is the text it reads here. `timeout` is for what hangs: a whole script with
-- sanitizers takes its time on a busy machine.
function process.run(options)
   local argv = table.move(options, 1, #options, 1, {
      env = options.env, cwd = options.cwd, stdin = options.stdin and "pipe", stdout = "pipe", stderr = "pipe",
   })
   local deadline = testing.now() + (options.timeout or 240)
   local child <close> = assert(process.start(argv))
   if options.stdin then
      assert(child:write(options.stdin))
      child:close_stdin()
   end
   local result = { stdout = "", stderr = "" }
   local open = { "stdout", "stderr" }
   while #open > 0 do
      for i = #open, 1, -1 do
         -- A short wait on each in turn: neither pipe may fill up while the other is waited for.
         local data = child:read(open[i], 0.02)
         if data == "" then
            table.remove(open, i)
         elseif data then
            result[open[i]] = result[open[i]] .. data
         end
      end
      assert(testing.now() < deadline, "timeout: " .. tostring(options[1]) .. "\n" .. result.stderr)
   end
   local how, code = child:wait(math.max(0, deadline - testing.now()))
   result.status = how == "exit" and code or nil
   result.signal = how == "signal" and code or nil
   return result
end

-- Like run, but raises unless the program ends with status 0; returns what it wrote.
function process.check(options)
   local result = process.run(options)
   if result.status ~= 0 then
      error(("%s ended with status %s, signal %s\n%s%s"):format(table.concat(options, " "), result.status,
         result.signal, result.stdout, result.stderr), 2)
   end
   return result.stdout
end

-- Asks until the condition gives a true value, which is returned; raises with `what` after `timeout` seconds. For
-- conditions that cannot be waited for otherwise: it asks every few milliseconds.
function process.wait_until(condition, timeout, what)
   local deadline = testing.now() + timeout
   while true do
      local value = condition()
      if value then
         return value
      end
      if testing.now() > deadline then
         error(("waited %g s in vain for %s"):format(timeout, what or "a condition"), 2)
      end
      testing.sleep(0.005)
   end
end

-- The path of a program, or nil where it is not installed.
function process.find(name)
   local path = os.getenv("PATH") .. ":/usr/sbin:/sbin:/usr/local/sbin"
   for folder in path:gmatch("[^:]+") do
      local file <close> = io.open(folder .. "/" .. name, "rb")
      if file then
         return folder .. "/" .. name
      end
   end
   return nil
end

-- The Lua interpreter that runs this spec, for scripts that specs start: under `make asan` it is one of our own.
process.lua = os.getenv("MOONSSH_LUA") or "lua5.4"

return process
