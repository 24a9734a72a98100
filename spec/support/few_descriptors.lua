-- The script of spec/integration/descriptors_spec.lua, which runs it with few descriptors.
--
--    lua5.4 spec/support/few_descriptors.lua PORT

local light = require "spec.support.light"
local loop = require "moonssh.loop"
local ssh = require "moonssh"

local destination = "moon@127.0.0.1:" .. arg[1]

local function count()
   local pipe <close> = io.popen("ls -l /proc/$PPID/fd | grep -c socket:") -- pipes come and go while it looks
   return tonumber(pipe:read("n"))
end

assert(ssh.connect(destination, light.options())):close()
local before = count()

-- Sessions that are dropped are collected when descriptors run out, though the collector sees no reason to.
collectgarbage("stop")
for _ = 1, 100 do
   assert(assert(ssh.connect(destination, light.options())):run("exit 0"))
end
collectgarbage("restart")
collectgarbage()

-- Those that are in use are not: the hosts there is no descriptor for have that as their error, and no other has one.
local held = {}
local list = {}
for i = 1, 80 do
   list[i] = i
end
local results, errors = ssh.map(list, function(i)
   local session, err = ssh.connect(destination, light.options())
   held[i] = session
   return session, err
end)
local codes, good = {}, 0
for i = 1, 80 do
   if results[i] then
      good = good + 1
      assert(results[i]:run("echo " .. i).stdout == i .. "\n")
   else
      local code = type(errors[i]) == "table" and errors[i].code or tostring(errors[i])
      codes[code] = true
      assert(tostring(errors[i]):find("Too many open files", 1, true), tostring(errors[i]))
   end
end
for _, session in pairs(held) do
   session:close()
end
local after = count()
assert(assert(ssh.connect(destination, light.options())):run("exit 0"))
local names = {}
for code in pairs(codes) do
   table.insert(names, code)
end
table.sort(names)
print(good > 20 and good < 80, after - before, table.concat(names, " "), loop.now() > 0)
