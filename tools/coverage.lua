-- Sums up what gcov says of the core: lines and branches reached, file by file, the least covered first.
--
--    lua5.4 tools/coverage.lua build/coverage/obj

local folder = assert(arg[1], "usage: coverage.lua FOLDER")

local function lines_of(command)
   local pipe <close> = assert(io.popen(command))
   local lines = {}
   for line in pipe:lines() do
      table.insert(lines, line)
   end
   return lines
end

local rows, file = {}, nil
local notes = ("find %s -name '*.gcda' ! -path '*/testing/*' -print0"):format(folder)
for _, line in ipairs(lines_of(notes .. " | xargs -0 -r gcov --no-output --branch-probabilities")) do
   local name = line:match("^File '(.*)'$")
   if name then
      file = name:find("^csrc/") and { name = name, lines = 0, covered = 0, branches = 0, taken = 0 } or nil
      table.insert(rows, file)
   end
   local share, total = line:match("^Lines executed:([%d.]+)%% of (%d+)$")
   if file and share and file.lines == 0 then -- a second one is gcov's own sum, after the last file
      file.lines, file.covered = tonumber(total), share / 100 * total
   end
   share, total = line:match("^Taken at least once:([%d.]+)%% of (%d+)$")
   if file and share then
      file.branches, file.taken = tonumber(total), share / 100 * total
   end
end

local function percent(part, whole)
   return whole > 0 and 100 * part / whole or 100
end

table.sort(rows, function(a, b)
   return percent(a.covered, a.lines) < percent(b.covered, b.lines)
end)
local all = { name = "all", lines = 0, covered = 0, branches = 0, taken = 0 }
for _, row in ipairs(rows) do
   for _, field in ipairs{ "lines", "covered", "branches", "taken" } do
      all[field] = all[field] + row[field]
   end
end
table.insert(rows, all)
print(" lines   %     branches %")
for _, row in ipairs(rows) do
   print(("%6d %5.1f  %6d %5.1f  %s"):format(row.lines, percent(row.covered, row.lines), row.branches,
      percent(row.taken, row.branches), row.name))
end
