-- The benchmark: CPU time of moonssh beside OpenSSH's client and the floor, on this machine, in turn. Prints medians
-- and ratios; asserts nothing.
--
--    lua5.4 spec/bench/run.lua FLOOR [ROUNDS]

local server = require "spec.support.server"

local floor, rounds = arg[1], tonumber(arg[2] or 5)
local MEBIBYTES = 1024
local CONNECTS = 50

local function run(command)
   local pipe = assert(io.popen(command))
   local output = pipe:read "a"
   assert(pipe:close(), command .. " failed: " .. output)
   return output
end

-- Seconds of user and system time together that a command took, children included.
local function cpu_seconds(command)
   local timed = ("bash -c %s 2>&1"):format(("'%s'"):format(
      ('TIMEFORMAT="%%U %%S"; time %s >/dev/null'):format(command):gsub("'", [['\'']])))
   local user, system = run(timed):match "([%d.]+) ([%d.]+)%s*$"
   return tonumber(user) + tonumber(system)
end

local function floor_seconds(cipher)
   local user, system = run(("%s %s %d"):format(floor, cipher, MEBIBYTES)):match "([%d.]+) ([%d.]+)"
   return tonumber(user) + tonumber(system)
end

local function median(list)
   table.sort(list)
   return list[(#list + 1) // 2]
end

-- Runs the contestants in turn, so that drift of the machine hits all alike; gives the median of each.
local function compare(contestants)
   local figures = {}
   for _ = 1, rounds do
      for name, f in pairs(contestants) do
         figures[name] = figures[name] or {}
         table.insert(figures[name], f())
      end
   end
   for name, list in pairs(figures) do
      figures[name] = median(list)
   end
   return figures
end

local sshd <close> = server.sshd{}
local login = ("%s %d %s %s %s"):format(sshd.host, sshd.port, sshd.user, sshd.key_path, sshd.known_hosts_path)
local openssh = table.concat({
   "ssh -F none -T -o BatchMode=yes -o IdentitiesOnly=yes",
   "-o UserKnownHostsFile=%s -o GlobalKnownHostsFile=none -i %s -p %d %s@%s",
}, " "):format(sshd.known_hosts_path, sshd.key_path, sshd.port, sshd.user, sshd.host)
local command = ("head -c %dM /dev/zero"):format(MEBIBYTES)

print(("download of %d MiB, client CPU seconds (user+sys), median of %d"):format(MEBIBYTES, rounds))
print(("%-32s %9s %9s %9s %9s %9s"):format("", "moonssh", "ssh", "floor", "of ssh", "of floor"))
for _, cipher in ipairs{ "aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com" } do
   local figure = compare{
      moonssh = function()
         return cpu_seconds(("lua5.4 spec/bench/receive.lua %s %s \"%s\""):format(login, cipher, command))
      end,
      ssh = function()
         return cpu_seconds(("%s -c %s \"%s\""):format(openssh, cipher, command))
      end,
      floor = function()
         return floor_seconds((cipher:gsub("@.*", "")))
      end,
   }
   local ours, theirs = figure.moonssh, figure.ssh
   print(("%-32s %9.3f %9.3f %9.3f %9.2f %9.2f"):format(cipher, ours, theirs, figure.floor, ours / theirs,
      ours / figure.floor))
end

print(("\nconnect + public key + exec, client CPU milliseconds, median of %d: moonssh after start-up, ssh as a process")
   :format(rounds))
for _, kex in ipairs{ "curve25519-sha256", "sntrup761x25519-sha512@openssh.com" } do
   local figure = compare{
      moonssh = function()
         return tonumber(run(("lua5.4 spec/bench/connect.lua %s %s %d"):format(login, kex, CONNECTS)))
      end,
      ssh = function()
         return cpu_seconds(("%s -o KexAlgorithms=%s true"):format(openssh, kex)) * 1000
      end,
   }
   print(("%-36s moonssh %.2f, ssh %.2f"):format(kex, figure.moonssh, figure.ssh))
end
local figure = compare{
   moonssh = function()
      return tonumber(run(("lua5.4 spec/bench/connect.lua %s curve25519-sha256 %d"):format(login, CONNECTS)))
   end,
   libssh = function()
      return tonumber(run(("%s/connect_libssh %s %d"):format(floor:match("^(.*)/") or ".", login, CONNECTS)))
   end,
}
print(("%-36s moonssh %.2f, libssh %.2f, of libssh %.2f"):format("beside a program on libssh", figure.moonssh,
   figure.libssh, figure.moonssh / figure.libssh))

print("\nmany at once, in one process")
assert(os.execute(arg[-1] .. " spec/bench/many.lua"))
