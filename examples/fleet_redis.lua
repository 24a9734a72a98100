-- A fleet that several machines work on: hosts wait in a stream of Redis, workers take them, and put results back. A
-- worker that dies loses no host: what it had taken is taken over, and each host has its result once.
--
--    lua5.4 examples/fleet_redis.lua REDIS add HOSTS COMMAND…     a file with a destination a line; appends jobs
--    lua5.4 examples/fleet_redis.lua REDIS work NAME [OPTION]…    takes jobs until all have their results
--    lua5.4 examples/fleet_redis.lua REDIS results                prints them
--
-- REDIS is redis://HOST:PORT, or the path of a Unix socket. Options of a worker: --concurrency=N (16),
-- --take-over=SECONDS (30: a job whose worker has said nothing for so long), and, for ssh.connect, --identity=PATH,
-- --known-hosts=PATH, --host-keys=POLICY.

-- Debian's lua-redis is not on the path of Lua 5.4.
package.path = package.path .. ";/usr/share/lua/5.3/?.lua"

local redis = require "redis"
local ssh = require "moonssh"

local JOBS, GROUP, RESULTS = "fleet:jobs", "workers", "fleet:results"
local PAUSE = 0.1 -- seconds between two looks at a stream without jobs

-- It has no commands for streams, but lets us define them.
for _, name in ipairs{ "xadd", "xgroup", "xlen", "xreadgroup", "xautoclaim", "xclaim" } do
   redis.define_command(name, { command = name:upper() })
end

local function connect(where)
   if where:sub(1, 1) ~= "/" then
      return redis.connect(where)
   end
   local unix = require "socket.unix"
   local socket = (type(unix) == "table" and unix.stream or unix)()
   assert(socket:connect(where))
   return redis.connect{ socket = socket }
end

-- The result and the end of a job are one step, and only the first one to acknowledge a job sets its result.
local FINISH = [[
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 1 then
   redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
   return 1
end
return 0
]]

local function add(client, hosts, command)
   for host in io.lines(hosts) do
      host = host:match("^%s*(%S+)")
      if host and host:sub(1, 1) ~= "#" then
         client:xadd(JOBS, "*", "host", host, "command", command)
      end
   end
end

-- What a stream gives for an entry: { id, { name, value, … } }.
local function job_of(entry)
   local job = { id = entry[1] }
   for i = 1, #entry[2], 2 do
      job[entry[2][i]] = entry[2][i + 1]
   end
   return job
end

local Worker = {}
Worker.__index = Worker

-- A job that another worker has taken and not come back from, or else a new one, or nil.
function Worker:take()
   local claimed = self.client:xautoclaim(JOBS, GROUP, self.name, self.take_over_ms, "0-0", "COUNT", 1)
   local entry = claimed[2][1]
   if not entry then
      local streams = self.client:xreadgroup("GROUP", GROUP, self.name, "COUNT", 1, "STREAMS", JOBS, ">")
      entry = streams and streams[1][2][1]
   end
   return entry and job_of(entry)
end

-- The next job; nil when every job has its result.
function Worker:next()
   while true do
      local job = self:take()
      if job then
         self.held[job.id] = true
         return job
      elseif self.client:hlen(RESULTS) >= self.client:xlen(JOBS) then
         return nil
      end
      ssh.loop.sleep(PAUSE)
   end
end

-- Says of the jobs in hand that they are, so that nobody takes them over.
function Worker:keep()
   while true do
      ssh.loop.sleep(self.take_over_ms / 3000)
      for id in pairs(self.held) do
         self.client:xclaim(JOBS, GROUP, self.name, 0, id, "JUSTID")
      end
   end
end

function Worker:finish(job, result, err)
   local text = err and "error " .. tostring(err) or ("%s %s"):format(result.status or result.signal, result.stdout)
   self.held[job.id] = nil
   self.client:eval(FINISH, 2, JOBS, RESULTS, GROUP, job.id, ("%s %s"):format(job.host, text))
end

function Worker:work(concurrency, options)
   pcall(self.client.xgroup, self.client, "CREATE", JOBS, GROUP, "0", "MKSTREAM") -- it may be there already
   local keeper <close> = ssh.spawn(self.keep, self)
   ssh.map(function()
      return self:next()
   end, function(job)
      local session <close>, err = ssh.connect(job.host, options)
      if not session then
         return nil, err
      end
      return session:run(job.command)
   end, { concurrency = concurrency, on_result = function(job, result, err)
      self:finish(job, result, err)
   end })
   assert(not keeper.closed, "the jobs in hand could not be kept")
end

local function work(client, name, ...)
   local settings = { concurrency = "16", ["take-over"] = "30" }
   for _, word in ipairs{ ... } do
      local key, value = word:match("^%-%-([%l-]+)=(.*)$")
      settings[assert(key, "not an option: " .. word)] = value
   end
   local worker = setmetatable({ client = client, name = name, held = {},
      take_over_ms = math.floor(tonumber(settings["take-over"]) * 1000) }, Worker)
   worker:work(math.tointeger(tonumber(settings.concurrency)), { identity = settings.identity,
      known_hosts = settings["known-hosts"], host_keys = settings["host-keys"] })
end

local function results(client)
   for id, result in pairs(client:hgetall(RESULTS)) do
      print(id, (result:gsub("[%c\128-\255]+", " ")))
   end
end

local where, what = arg[1], arg[2]
local client = connect(assert(where, "usage: fleet_redis.lua REDIS add|work|results ..."))
if what == "add" then
   add(client, arg[3], table.concat(arg, " ", 4))
elseif what == "work" then
   work(client, table.unpack(arg, 3))
elseif what == "results" then
   results(client)
else
   error("unknown command " .. tostring(what), 0)
end
