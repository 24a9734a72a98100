-- Copies a tree to a server, only what has changed, with a progress bar.
--
--    lua5.4 examples/sync.lua FOLDER [USER@]HOST[:PORT] REMOTE_FOLDER
--
-- A file has changed if its size or its time differs from that of the copy, a symbolic link if it says something else.
-- What the server has beyond the tree stays.
-- Further arguments name an identity and a known_hosts file in place of ssh_config's.

local ssh = require "moonssh"

local from, destination, to, identity, known_hosts = table.unpack(arg)
if not to then
   io.stderr:write("usage: sync.lua FOLDER [USER@]HOST[:PORT] REMOTE_FOLDER\n")
   os.exit(2)
end

-- The files, folders and links here: lists of { path =, size =, mtime =, target = }, paths within the tree.
local function look_here()
   local pipe = assert(io.popen(("find %s -mindepth 1 -printf '%%y %%s %%T@ %%l\\0%%P\\0'"):format(ssh.quote{ from })))
   local files, folders, links = {}, {}, {}
   local lists = { f = files, d = folders, l = links }
   for type, size, time, target, path in pipe:read("a"):gmatch("(%a) (%d+) (%d+)%S* (.-)\0(.-)\0") do
      if lists[type] then
         table.insert(lists[type], { path = path, size = tonumber(size), mtime = tonumber(time), target = target })
      end
   end
   assert(pipe:close())
   table.sort(folders, function(a, b)
      return a.path < b.path
   end)
   return files, folders, links
end

-- What is there: path → attributes.
local function look_there(sftp)
   local there = {}
   for path, attributes in sftp:walk(to) do
      there[path:sub(#to + 2)] = attributes
   end
   return there
end

local function has_changed(file, copy)
   return not copy or copy.size ~= file.size or copy.mtime ~= file.mtime
end

local WIDTH = 40
local bar = { total = 0, done = 0, parts = {} }

-- One line that is drawn over itself, where somebody looks.
function bar:draw()
   local share = self.total > 0 and self.done / self.total or 1
   local full = math.floor(share * WIDTH)
   io.stderr:write(("\r[%s%s] %3d %%  %.1f MiB"):format(("#"):rep(full), ("."):rep(WIDTH - full),
      math.floor(share * 100), self.done / 2^20))
end

function bar:set(path, done)
   self.done = self.done - (self.parts[path] or 0) + done
   self.parts[path] = done
   self:draw()
end

local session <close> = assert(ssh.connect(destination, { identity = identity, known_hosts = known_hosts }))
local sftp <close> = assert(session:sftp())
assert(sftp:mkdir(to, { parents = true }))

local files, folders, links = look_here()
local there = look_there(sftp)
for _, folder in ipairs(folders) do
   if not there[folder.path] then
      assert(sftp:mkdir(to .. "/" .. folder.path))
   end
end

local n_linked = 0
for _, link in ipairs(links) do
   local path, copy = to .. "/" .. link.path, there[link.path]
   if not copy or copy.type ~= "symlink" or assert(sftp:readlink(path)) ~= link.target then
      assert(not copy or sftp:remove(path))
      assert(sftp:symlink(link.target, path))
      n_linked = n_linked + 1
   end
end

local changed, names = {}, {}
for _, file in ipairs(files) do
   names[file.path] = true
   if has_changed(file, there[file.path]) then
      table.insert(changed, file)
      bar.total = bar.total + file.size
   end
end

local _, failures = ssh.map(changed, function(file)
   return sftp:put(from .. "/" .. file.path, to .. "/" .. file.path, {
      preserve = true,
      atomic = not names[file.path .. ".part"], -- a name that put would use
      progress = function(done)
         bar:set(file.path, done)
      end,
   })
end, { concurrency = 32 })

bar:draw()
io.stderr:write("\n")
local n_failed = 0
for _, err in pairs(failures) do
   n_failed = n_failed + 1
   io.stderr:write(tostring(err), "\n")
end
print(("%d of %d files copied"):format(#changed + n_linked - n_failed, #files + #links))
os.exit(n_failed == 0, true)
