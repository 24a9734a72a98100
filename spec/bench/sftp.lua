-- One job of the SFTP benchmark: the client that is timed.
--
--    lua5.4 spec/bench/sftp.lua HOST PORT USER KEY KNOWN_HOSTS CIPHER get|put FROM TO
--
-- Prints the seconds that the copy took after the login, and the most memory that the process had, in MiB.

local core = require "moonssh.core"
local ssh = require "moonssh"

local host, port, user, key, known_hosts, cipher, way, from, to = table.unpack(arg)
local session <close> = assert(ssh.connect(host, {
   port = tonumber(port),
   user = user,
   identity = key,
   known_hosts = known_hosts,
   algorithms = { cipher = { cipher } },
}))
local sftp <close> = assert(session:sftp())
local began = core.now()
assert(sftp[way](sftp, from, to, { recursive = true, atomic = to ~= "/dev/null" }))
local took = core.now() - began
local status <close> = assert(io.open("/proc/self/status"))
print(("%.3f %d"):format(took, tonumber(status:read("a"):match("VmHWM:%s*(%d+)")) // 1024))
