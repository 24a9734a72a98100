-- Connects, authenticates with a key, runs `true` and disconnects, again and again; prints the CPU milliseconds of one
-- round, user and system, without what starting Lua and loading the library cost.
--
--    lua5.4 spec/bench/connect.lua HOST PORT USER KEY KNOWN_HOSTS KEX ROUNDS

local ssh = require "moonssh"

local host, port, user, key, known_hosts, kex, rounds = table.unpack(arg)
local function round()
   local session <close> = assert(ssh.connect(host, {
      port = tonumber(port),
      user = user,
      identity = key,
      known_hosts = known_hosts,
      config = false, -- what is compared with does not read it either
      algorithms = { kex = { kex } },
   }))
   assert(assert(session:run("true")).ok)
end

round()
local start = os.clock()
for _ = 1, rounds do
   round()
end
print(string.format("%.3f", (os.clock() - start) / rounds * 1000))
