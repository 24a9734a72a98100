-- The benchmark of SFTP: moonssh beside OpenSSH's sftp, libssh and libssh2, on this machine, in turn. Prints medians
-- and ratios; asserts nothing.
--
--    lua5.4 spec/bench/run_sftp.lua PROGRAMS [ROUNDS]       PROGRAMS: the folder with floor, delay, libssh, libssh2

local process = require "spec.support.process"
local server = require "spec.support.server"
local tmp = require "spec.support.tmp"

local programs, rounds = arg[1], tonumber(arg[2] or 3)
local MEBIBYTES, FAR_MEBIBYTES, FILES, FAR_FILES_OF_OPENSSH = 1024, 256, 2000, 100
local ONE_WAY = 25 -- milliseconds

local function run(command)
   local pipe = assert(io.popen(command))
   local output = pipe:read "a"
   assert(pipe:close(), command .. " failed: " .. output)
   return output
end

-- CPU seconds (user and system, children included) and seconds that a command took.
local function timed(command)
   local quoted = ("TIMEFORMAT='%%U %%S %%R'; time %s >/dev/null 2>&1"):format(command):gsub("'", [['\'']])
   local user, system, real = run(("bash -c '%s' 2>&1"):format(quoted)):match "([%d.]+) ([%d.]+) ([%d.]+)%s*$"
   return tonumber(user) + tonumber(system), tonumber(real)
end

local function median(list)
   table.sort(list)
   return list[(#list + 1) // 2]
end

-- Runs the contestants in turn, so that drift of the machine hits all alike; gives the medians.
local function compare(contestants, n)
   local figures = {}
   for _ = 1, n or rounds do
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

local function show(title, figures, names, unit)
   local parts = { ("%-44s"):format(title) }
   for _, name in ipairs(names) do
      table.insert(parts, figures[name] and ("%9.3f"):format(figures[name]) or ("%9s"):format("-"))
   end
   for _, name in ipairs(names) do
      if name ~= "moonssh" and figures[name] then
         table.insert(parts, ("  %.2f of %s"):format(figures.moonssh / figures[name], name))
      end
   end
   print(table.concat(parts) .. (unit or ""))
end

local folder <close> = tmp.dir()
local sshd <close> = server.sshd{ config = "MaxSessions 10" }
local root = folder.root
-- Small files in memory, if the machine has a folder there: on a disk, ext4 searches long for an inode where many were
-- deleted in the last minutes, and who makes the most files pays for what was run before.
local memory <close> = tmp.dir(os.execute("test -w /dev/shm") and "/dev/shm" or nil)
local ram = memory.root
run(("head -c %dM /dev/urandom > %s/big"):format(MEBIBYTES, root))
run(("head -c %dM %s/big > %s/far"):format(FAR_MEBIBYTES, root, root))
run(("mkdir %s/small %s/few && cd %s/small && for i in $(seq 1 %d); do head -c 4096 %s/far > f$i; done"):format(ram,
   ram, ram, FILES, root))
run(("cd %s/small && for i in $(seq 1 %d); do cp f$i ../few; done"):format(ram, FAR_FILES_OF_OPENSSH))

local function moonssh(port, cipher, way, from, to)
   local known_hosts = folder:write("known_hosts", (folder.known_hosts:gsub(":" .. sshd.port, ":" .. port)))
   return ("lua5.4 spec/bench/sftp.lua %s %d %s %s %s %s %s %s %s"):format(sshd.host, port, sshd.user, sshd.key_path,
      known_hosts, cipher, way, from, to)
end

do
   local file <close> = assert(io.open(sshd.known_hosts_path))
   folder.known_hosts = file:read("a")
end

local function openssh(port, cipher, way, from, to)
   local batch = folder:write("batch", ("%s -r %s %s\n"):format(way, from, to))
   return ("sftp -q -F none -o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile="
      .. "/dev/null -c %s -i %s -P %d -b %s %s@%s"):format(cipher, sshd.key_path, port, batch, sshd.user, sshd.host)
end

local function library(name)
   return function(port, cipher, way, from, to, count)
      local remote, path = from, to
      if way == "put" then
         remote, path = to, from
      end
      return ("%s/%s %s %d %s %s %s %s %s %s %s"):format(programs, name, sshd.host, port, sshd.user, sshd.key_path,
         cipher, way, remote, path, count or "")
   end
end

local libssh, libssh2 = library("libssh"), library("libssh2")

local function cpu(command, ...)
   local line = command(...)
   return function()
      local seconds = timed(line)
      run(("rm -rf %s/got"):format(root))
      return seconds
   end
end

print(("\nSFTP: %d MiB, client CPU seconds (user+sys), median of %d"):format(MEBIBYTES, rounds))
print(("%-44s%9s%9s%9s%9s%9s"):format("", "moonssh", "sftp", "libssh", "libssh2", "floor"))
local names = { "moonssh", "sftp", "libssh", "libssh2", "floor" }
for _, cipher in ipairs{ "aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes128-ctr" } do
   for _, way in ipairs{ "get", "put" } do
      for _, to in ipairs{ "/dev/null", root .. "/got" } do
         local contestants = {
            moonssh = cpu(moonssh, sshd.port, cipher, way, root .. "/big", to),
            sftp = cpu(openssh, sshd.port, cipher, way, root .. "/big", to),
            libssh = cpu(libssh, sshd.port, cipher, way, root .. "/big", to),
         }
         if cipher == "aes128-ctr" then -- Debian's libssh2 has none of the others
            contestants.libssh2 = cpu(libssh2, sshd.port, cipher, way, root .. "/big", to)
         elseif way == "get" then
            contestants.floor = function()
               local user, system = run(("%s/floor %s %d"):format(programs, (cipher:gsub("@.*", "")), MEBIBYTES))
                  :match "([%d.]+) ([%d.]+)"
               return tonumber(user) + tonumber(system)
            end
         end
         show(("%s %s %s"):format(cipher, way, to == "/dev/null" and to or "to a file"), compare(contestants), names)
      end
   end
end

-- Seconds of a command, and with `own` those that it prints itself: after the login. Each begins with new folders.
local function seconds(line, own)
   return function()
      run(("rm -rf %s/got %s/got %s/into && mkdir %s/into"):format(root, ram, ram, ram))
      if own then
         return tonumber(run(line):match("^[%d.]+"))
      end
      local _, real = timed(line)
      return real
   end
end

print(("\n%d files of 4 KiB here, seconds, median of %d"):format(FILES, rounds))
for _, way in ipairs{ "put", "get" } do
   local cipher, from = "aes128-ctr", ram .. "/small"
   show(way, compare{
      moonssh = seconds(moonssh(sshd.port, cipher, way, from, ram .. "/got"), true),
      libssh = seconds(libssh(sshd.port, cipher, way, from, ram .. "/into", FILES)),
      libssh2 = seconds(libssh2(sshd.port, cipher, way, from, ram .. "/into", FILES)),
   }, { "moonssh", "libssh", "libssh2" })
end

local proxy <close> = assert(process.start{ programs .. "/delay", sshd.port, ONE_WAY, stdout = "pipe" })
local far = tonumber(assert(proxy:read("stdout", 60)):match("%d+"))

print(("\n%d ms round trip, seconds"):format(2 * ONE_WAY))
for _, way in ipairs{ "get", "put" } do
   local cipher, to = "aes128-gcm@openssh.com", root .. "/got"
   local figures = compare({
      moonssh = seconds(moonssh(far, cipher, way, root .. "/far", to), true),
      sftp = seconds(openssh(far, cipher, way, root .. "/far", to)),
   }, 1)
   print(("%s of %d MiB: moonssh %.2f, sftp %.2f: %.1f x as fast"):format(way, FAR_MEBIBYTES, figures.moonssh,
      figures.sftp, figures.sftp / figures.moonssh))
end
for _, way in ipairs{ "put", "get" } do
   local cipher, to = "aes128-gcm@openssh.com", ram .. "/got"
   local figures = compare({
      moonssh = seconds(moonssh(far, cipher, way, ram .. "/small", to), true),
      sftp = seconds(openssh(far, cipher, way, ram .. "/few", to)),
   }, 1)
   local ours, theirs = FILES / figures.moonssh, FAR_FILES_OF_OPENSSH / figures.sftp
   print(("%s of files of 4 KiB: moonssh %.0f a second, sftp %.1f: %.0f x as many"):format(way, ours, theirs,
      ours / theirs))
end

run(("truncate -s 10G %s/huge"):format(root))
for _, size in ipairs{ 1, 10 } do
   run(("truncate -s %dG %s/huge"):format(size, root))
   local took, peak = run(moonssh(sshd.port, "aes128-gcm@openssh.com", "get", root .. "/huge", "/dev/null"))
      :match("([%d.]+) (%d+)")
   print(("get of %d GiB: %s seconds, at most %s MiB of memory"):format(size, took, peak))
end
