-- Many at once, in one process: what idle sessions and sleeping tasks cost, and wake-ups beside idle descriptors.
-- Prints figures; asserts nothing but that things work.
--
--    lua5.4 spec/bench/many.lua [PART…]      sessions, memory, map, tasks, wakeups; default all, each on its own

local core = require "moonssh.core"
local light = require "spec.support.light"
local loop = require "moonssh.loop"
local ssh = require "moonssh"

local function contents(path)
   local file <close> = assert(io.open(path))
   return file:read("a")
end

local function resident_kib()
   return tonumber(contents("/proc/self/statm"):match("^%d+ (%d+)")) * 4
end

local function settle()
   for _ = 1, 3 do
      collectgarbage()
   end
end

-- KiB that f has taken for each of `count`: resident, and as Lua counts.
local function taken(count, f)
   settle()
   local before, lua_before = resident_kib(), collectgarbage("count")
   local held = f()
   settle()
   return (resident_kib() - before) / count, (collectgarbage("count") - lua_before) / count, held
end

local function list_of(count)
   local list = {}
   for i = 1, count do
      list[i] = i
   end
   return list
end

local parts = {}

function parts.sessions()
   local server <close> = light.start()
   local count = 1000
   local function connect()
      local session = assert(server:connect())
      assert(session:run("echo hello").ok)
      return session
   end
   connect() -- loads what is loaded once
   local each, of_lua, sessions = taken(count, function()
      local sessions, errors = ssh.map(list_of(count), connect, { concurrency = 50 })
      assert(next(errors) == nil, select(2, next(errors)))
      return sessions
   end)
   print(("%d idle sessions, each after a command: %.1f KiB resident each (%.1f as Lua counts)"):format(count, each,
      of_lua))
   local busy, began = 0, os.clock()
   local _, errors = ssh.map(sessions, function(session)
      busy = busy + 1
      return session:run("echo " .. busy)
   end, { concurrency = count })
   assert(next(errors) == nil)
   print(("  a command on each of them at once: %.2f s of CPU, none left out"):format(os.clock() - began))
end

function parts.memory()
   local MemorySession = require "spec.support.memory_session"
   local Server = require "spec.support.scripted_server"
   local count = 10000
   local function connect()
      local server = Server.new{}
      local link = MemorySession.new{ peer = setmetatable({
         start = function() server:start() end,
         feed = function(_, bytes) server:feed(bytes) end,
         take = function() return server:output() end,
         host_key = true,
      }, require "spec.support.peer") }
      assert(link:login())
      server:close()
      link.peer, link.said = false, ""
      return link.session
   end
   connect()
   local each, _, sessions = taken(count, function()
      local sessions = {}
      for i = 1, count do
         sessions[i] = connect()
         if i % 100 == 0 then
            collectgarbage()
         end
      end
      return sessions
   end)
   print(("%d idle sessions on transports in memory: %.0f MiB resident"):format(#sessions, each * count / 1024))
end

function parts.map()
   local server <close> = light.start()
   local count = 1000
   local list = list_of(count)
   local function ask()
      local session <close> = assert(server:connect())
      return assert(session:run("sleep 0.1"))
   end
   ask()
   local began, cpu = loop.now(), os.clock()
   local results, errors = ssh.map(list, ask, { concurrency = count })
   assert(next(errors) == nil, select(2, next(errors)))
   local wall
   wall, cpu = loop.now() - began, os.clock() - cpu
   print(("map over %d hosts that take 100 ms each, all at once: %.2f s, %.2f s of CPU (%.1f x)"):format(#results, wall,
      cpu, wall / cpu))
end

function parts.tasks()
   local count = 10000
   local each, of_lua, tasks = taken(count, function()
      local tasks = {}
      for i = 1, count do
         tasks[i] = ssh.spawn(loop.sleep, 3600)
      end
      loop.sleep(0.001)
      return tasks
   end)
   print(("%d sleeping tasks: %.2f KiB resident each (%.2f as Lua counts)"):format(#tasks, each, of_lua))
   for _, task in ipairs(tasks) do
      task:cancel()
   end
end

-- A task that answers each byte, beside others that wait for descriptors on which nothing happens.
local function wakeup_cost(idle, rounds)
   local pollers, tasks = {}, {} -- the descriptor of a poller with nothing to poll is as idle as any
   for i = 1, idle do
      pollers[i] = assert(core.poller())
      tasks[i] = ssh.spawn(loop.wait, pollers[i]:fd(), "r")
   end
   local a, b = assert(core.socket.pair())
   local echo = ssh.spawn(function()
      for _ = 1, rounds do
         loop.current().wait(a, "r")
         core.socket.send(a, core.socket.recv(a))
      end
   end)
   loop.sleep(0)
   local began = os.clock()
   for _ = 1, rounds do
      core.socket.send(b, "x")
      loop.current().wait(b, "r")
      core.socket.recv(b)
   end
   local cost = (os.clock() - began) / rounds
   echo:wait()
   for _, task in ipairs(tasks) do
      task:cancel()
   end
   for _, poller in ipairs(pollers) do
      loop.current().cancel(poller:fd())
      poller:close()
   end
   for _, fd in ipairs{ a, b } do
      loop.current().cancel(fd)
      core.socket.close(fd)
   end
   return cost * 1e6
end

function parts.wakeups()
   local most = tonumber(contents("/proc/self/limits"):match("Max open files%s+(%d+)"))
   for _, idle in ipairs{ 10, 100, 1000, 10000 } do
      if most and idle + 50 > most then
         print(("a round trip beside %d idle descriptors: not with a limit of %d open files"):format(idle, most))
      else
         print(("a round trip beside %5d idle descriptors: %.1f us of CPU"):format(idle, wakeup_cost(idle, 20000)))
      end
   end
end

if arg[2] == nil and arg[1] then
   parts[arg[1]]()
else
   for _, name in ipairs(arg[1] and arg or { "sessions", "memory", "map", "tasks", "wakeups" }) do
      assert(os.execute(("%s spec/bench/many.lua %s"):format(arg[-1], name)))
   end
end
