-- examples/fleet_redis.lua: two workers at a Redis server of ours, one of which dies.

package.path = package.path .. ";/usr/share/lua/5.3/?.lua" -- Debian's lua-redis is not on the path of Lua 5.4

local keys = require "spec.support.keys"
local light = require "spec.support.light"
local process = require "spec.support.process"
local redis = require "redis"
local tmp = require "spec.support.tmp"

local JOBS, AT_ONCE = 24, 3
local START_TIMEOUT = 60

for _, name in ipairs{ "xpending", "xlen", "xgroup" } do
   redis.define_command(name, { command = name:upper() })
end

describe("examples/fleet_redis.lua", function()
   local folder, server, hosts, path, client

   setup(function()
      folder, server = tmp.dir(), light.start()
      path = folder:path("redis")
      hosts = assert(process.start{ "redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--dir",
         folder:path(), stdout = folder:path("log") })
      client = process.wait_until(function()
         local unix = require "socket.unix"
         local socket = (type(unix) == "table" and unix.stream or unix)()
         return socket:connect(path) and redis.connect{ socket = socket }
      end, START_TIMEOUT, "redis-server")
   end)

   teardown(function()
      hosts:close()
      server:stop()
      folder:remove()
   end)

   local function example(...)
      return { process.lua, "examples/fleet_redis.lua", path, ... }
   end

   local function worker(name)
      local command = example("work", name, "--concurrency=" .. AT_ONCE, "--take-over=0.5", "--host-keys=off",
         "--identity=" .. keys.path("ed25519"), "--known-hosts=" .. folder:path("known_hosts"))
      command.stderr = folder:path(name)
      return assert(process.start(command))
   end

   -- How many jobs a worker has taken and not finished.
   local function in_hand(name)
      for _, consumer in ipairs(client:xpending("fleet:jobs", "workers")[4] or {}) do
         if consumer[1] == name then
            return tonumber(consumer[2])
         end
      end
      return 0
   end

   it("has each host's result once, although a worker was killed", function()
      local list = folder:write("hosts", server:destination() .. "\n")
      for i = 1, JOBS do
         local command = i <= AT_ONCE and "once" or "echo"
         process.check(example("add", list, ("%s job-%d-"):format(command, i)))
      end
      assert.equal(JOBS, client:xlen("fleet:jobs"))
      -- It takes the first jobs, which hang as long as it lives. A job that was taken over before it hung would hang in
      -- the hands of the other.
      local victim <close> = worker("victim")
      local session <close> = assert(server:connect())
      process.wait_until(function()
         return tonumber(assert(session:run("hung")).stdout) == AT_ONCE
      end, START_TIMEOUT, "jobs that hang")
      assert.equal(AT_ONCE, in_hand("victim"))
      local other <close> = worker("other")
      process.wait_until(function()
         return client:hlen("fleet:results") >= JOBS - AT_ONCE
      end, START_TIMEOUT, "the results of the others")
      victim:kill(process.SIGKILL)
      local how, code = other:wait(60)
      assert.same({ "exit", 0 }, { how, code }, folder:read("other"))
      local seen = {}
      for _, result in pairs(client:hgetall("fleet:results")) do
         local host, number = result:match("^(%S+) 0 job%-(%d+)%-%s*$")
         assert.equal(server:destination(), host, result)
         seen[tonumber(number)] = (seen[tonumber(number)] or 0) + 1
      end
      for i = 1, JOBS do
         assert.equal(1, seen[i])
      end
      assert.equal(0, in_hand("victim") + in_hand("other"))
      local _, lines = process.check(example("results")):gsub("\n", "")
      assert.equal(JOBS, lines)
   end)
end)
