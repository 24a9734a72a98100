-- Runs the suite: every spec file in a busted process of its own, several at a time, so that a crash, a hang or a
-- leak costs one file and is laid at its door. Ends with the line "N passed, N failed" (", N skipped"), and with
-- status 0 only if something passed and nothing failed.
--
--    lua5.4 tools/spec.lua [--jobs N] [--timeout SECONDS] [--lua INTERPRETER] [--verbose] [PATH…]
--
-- A PATH is a spec file or a folder searched for *_spec.lua; without one it is spec. The environment is handed on:
-- LUA_PATH_5_4 and LUA_CPATH_5_4 say which build is tested, and MOONSSH_LUA tells specs that start scripts of their
-- own the interpreter.

local usage = "usage: spec.lua [--jobs N] [--timeout SECONDS] [--lua INTERPRETER] [--verbose] [PATH...]\n"

local function quote(text)
   return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function lines_of(command)
   local pipe = assert(io.popen(command))
   local lines = {}
   for line in pipe:lines() do
      lines[#lines + 1] = line
   end
   return lines, pipe:close()
end

local function contents(path)
   local file <close> = io.open(path, "rb")
   return file and file:read("a") or ""
end

local function parse(arguments)
   local options = { jobs = "1", timeout = "600", lua = "lua5.4", paths = {} }
   local i = 1
   while arguments[i] do
      local name = arguments[i]:match("^%-%-(%l+)$")
      if name == "verbose" then
         options.verbose = true
      elseif name and options[name] and name ~= "paths" and arguments[i + 1] then
         i = i + 1
         options[name] = arguments[i]
      elseif arguments[i]:sub(1, 1) == "-" then
         return nil
      else
         table.insert(options.paths, arguments[i])
      end
      i = i + 1
   end
   if #options.paths == 0 then
      options.paths[1] = "spec"
   end
   return options
end

-- The spec files below the given paths, sorted and each once. A path that is not there is kept: it fails when run.
local function spec_files(paths)
   local files, seen = {}, {}
   for _, path in ipairs(paths) do
      local found = lines_of(("test -d %s && find %s -name '*_spec.lua' -type f | LC_ALL=C sort"):format(
         quote(path), quote(path)))
      if #found == 0 and path:find("%.lua$") then
         found = { path }
      end
      for _, file in ipairs(found) do
         if not seen[file] then
            seen[file] = true
            table.insert(files, file)
         end
      end
   end
   return files
end

-- What became of one file, from the events its process wrote and the status it ended with.
local function judge(events, status, timeout)
   local verdict = { pass = 0, fail = 0, skip = 0, reasons = {} }
   local running, ended
   for line in events:gmatch("[^\n]+") do
      local kind, text = line:match("^(%l+)\t?(.*)$")
      if verdict[kind] then
         verdict[kind] = verdict[kind] + 1
         running = nil
         if kind == "skip" then
            table.insert(verdict.reasons, text)
         end
      elseif kind == "start" then
         running = text
      elseif kind == "end" then
         ended = true
      end
   end
   if status == 124 or status == 137 and not ended then
      verdict.problem = ("did not end within %s s"):format(timeout)
   elseif status > 128 then
      verdict.problem = ("was killed by signal %d"):format(status - 128)
   elseif not ended then
      verdict.problem = ("ended early, with status %d"):format(status)
   elseif status ~= 0 and verdict.fail == 0 then
      verdict.problem = ("ended with status %d although no test failed"):format(status)
   elseif verdict.pass + verdict.fail + verdict.skip == 0 then
      verdict.problem = "has no tests"
   end
   if verdict.problem then
      verdict.fail = verdict.fail + 1
      if running then
         verdict.problem = verdict.problem .. ", in: " .. running
      end
   end
   return verdict
end

local options = parse(arg)
if not options then
   io.stderr:write(usage)
   os.exit(2)
end

local files = spec_files(options.paths)
local scratch = lines_of("mktemp -d")[1]
-- Also when the run is interrupted.
local _ <close> = setmetatable({}, { __close = function()
   os.execute(("chmod -R u+rwX %s && rm -rf %s"):format(quote(scratch), quote(scratch)))
end })
local tools = arg[0]:match("^(.*/)") or "./"

-- One shell a file: $1 is its number, $2 its path. It says on standard output that it is done; the rest is in files.
-- What a spec leaves behind, killed by a signal say, goes with its own folder for temporary files.
local job = ([[
result=%s/$1
mkdir "$result"
TMPDIR=$result timeout --foreground -k 10 %s %s %s --ignore-lua --run=suite \
   --output=%sspec_report.lua -Xoutput "$result.events" "$2" </dev/null >"$result.log" 2>&1
echo $? >"$result.status"
echo "$1"]]):format(scratch, quote(options.timeout), quote(options.lua),
   quote(os.getenv("BUSTED") or "/usr/bin/busted"), tools)

local list <close> = assert(io.open(scratch .. "/list", "wb"))
for number, file in ipairs(files) do
   list:write(number, "\0", file, "\0")
end
list:close()

local total = { pass = 0, fail = 0, skip = 0 }
local failed, skipped = {}, {}
local done = assert(io.popen(("MOONSSH_LUA=%s xargs -0 -r -n 2 -P %s sh -c %s sh <%s/list"):format(
   quote(options.lua), quote(options.jobs), quote(job), scratch)))

for line in done:lines() do
   local number = tonumber(line)
   local base = scratch .. "/" .. line
   local verdict = judge(contents(base .. ".events"), tonumber(contents(base .. ".status")) or 1, options.timeout)
   print(("%-6s %4d passed %3d failed %3d skipped  %s"):format(verdict.fail == 0 and "ok" or "FAILED", verdict.pass,
      verdict.fail, verdict.skip, files[number]))
   if verdict.fail > 0 or options.verbose then
      io.write(contents(base .. ".log"))
   end
   if verdict.problem then
      print("FAILED: " .. files[number] .. " " .. verdict.problem)
   end
   io.stdout:flush()
   for kind in pairs(total) do
      total[kind] = total[kind] + verdict[kind]
   end
   if verdict.fail > 0 then
      table.insert(failed, files[number])
   end
   for _, reason in ipairs(verdict.reasons) do
      table.insert(skipped, reason)
   end
   files[number] = nil
end
done:close()

-- A runner that was killed between two files must not count as a suite that passed.
for _, file in pairs(files) do
   print("FAILED: " .. file .. " was not run")
   table.insert(failed, file)
   total.fail = total.fail + 1
end
if total.pass + total.fail + total.skip == 0 then
   print("FAILED: there are no tests in " .. table.concat(options.paths, " "))
   total.fail = 1
end
for _, reason in ipairs(skipped) do
   print("skipped: " .. reason)
end
for _, file in ipairs(failed) do
   print("failed: " .. file)
end
print(("%d passed, %d failed%s"):format(total.pass, total.fail,
   total.skip > 0 and (", %d skipped"):format(total.skip) or ""))
os.exit(total.fail == 0 and total.pass > 0, true)
