-- The extensions of OpenSSH's SFTP server.

local file_servers = require "spec.support.file_servers"
local process = require "spec.support.process"
local tmp = require "spec.support.tmp"

local function sh(script)
   return process.check{ "sh", "-c", script }
end

describe("SFTP's extensions with OpenSSH", function()
   local server, session, sftp, folder

   setup(function()
      server = file_servers.kinds["internal-sftp"]()
      session, sftp = file_servers.open(server)
   end)

   teardown(function()
      sftp:close()
      session:close()
      server:stop()
   end)

   before_each(function()
      folder = tmp.dir()
   end)

   after_each(function()
      folder:remove()
   end)

   it("are announced", function()
      for name, version in pairs{ ["posix-rename@openssh.com"] = "1", ["statvfs@openssh.com"] = "2",
         ["fstatvfs@openssh.com"] = "2", ["hardlink@openssh.com"] = "1", ["fsync@openssh.com"] = "1",
         ["lsetstat@openssh.com"] = "1", ["limits@openssh.com"] = "1", ["expand-path@openssh.com"] = "1",
         ["copy-data"] = "1", ["home-directory"] = "1", ["users-groups-by-id@openssh.com"] = "1" } do
         assert.equal(version, sftp.extensions[name])
      end
      assert.same({ 262144, 261120, 261120 }, { sftp:limits().packet, sftp:limits().read, sftp:limits().write })
   end)

   it("hardlink makes a second name", function()
      local path = folder:write("f", "text")
      assert.is_true(sftp:hardlink(path, folder:path("g")))
      assert.equal(sh("stat -c %i " .. path), sh("stat -c %i " .. folder:path("g")))
      local ok, err = sftp:hardlink(folder:path("nothing"), folder:path("h"))
      assert.is_nil(ok)
      assert.same({ "sftp", "no_such_file" }, { err.code, err.status })
   end)

   it("statvfs and fstatvfs tell of the file system", function()
      local path = folder:write("f", "")
      local found = assert(sftp:statvfs(folder.root))
      local size, blocks = sh("stat -f -c '%S %b' " .. folder.root):match("(%d+) (%d+)")
      assert.same({ tonumber(size), tonumber(blocks) }, { found.frsize, found.blocks })
      assert.is_true(found.bavail <= found.blocks and found.namemax >= 14)
      local file <close> = assert(sftp:open(path))
      assert.equal(found.fsid, file:statvfs().fsid)
   end)

   it("fsync brings a file to the disk", function()
      local file <close> = assert(sftp:open(folder:path("f"), "w"))
      file:write("text")
      assert.is_true(file:fsync())
      assert.equal("text", folder:read("f"))
      assert.is_true(sftp:fsync(folder:path("f")))
   end)

   it("lsetstat changes the link itself", function()
      folder:write("f", "")
      sh(("touch -d @1 %s/f && ln -s f %s/l"):format(folder.root, folder.root))
      assert.is_true(sftp:lsetstat(folder:path("l"), { mtime = 1234567890 }))
      assert.equal("1\n", sh("stat -c %Y " .. folder:path("f")))
      assert.equal("1234567890\n", sh("stat -c %Y " .. folder:path("l")))
      assert.equal(1234567890, sftp:lstat(folder:path("l")).mtime)
   end)

   it("users-groups-by-id names users and groups", function()
      local uid = assert(sftp:stat(server.folder:path("home"))).uid
      local users, groups = sftp:users_groups({ uid, 4123456789 }, { 5, 4123456789 })
      assert.same({ [uid] = server.user }, users)
      assert.same({ [5] = "tty" }, groups)
      users, groups = sftp:users_groups()
      assert.same({ {}, {} }, { users, groups })
   end)

   it("home-directory and expand-path know other users", function()
      assert.equal(server.home, sftp:home(server.user))
      assert.equal(server.home .. "/x", sftp:expand("~" .. server.user .. "/x"))
      assert.equal("/etc", sftp:expand("/usr/../etc"))
      local home, err = sftp:home("nobody-of-this-name")
      assert.is_nil(home)
      assert.equal("sftp", err.code)
   end)

   it("are missed by name where the server has them not", function()
      local all = sftp.extensions
      sftp.extensions = {}
      local path = folder:write("f", "text")
      for _, call in ipairs{
         function() return sftp:hardlink(path, folder:path("g")) end,
         function() return sftp:statvfs(path) end,
         function() return sftp:fsync(path) end,
         function() return sftp:users_groups({ 0 }) end,
         function() return sftp:home("root") end,
      } do
         local ok, err = call()
         assert.is_nil(ok)
         assert.equal("unsupported", err.code)
      end
      assert.is_true(sftp:copy(path, folder:path("copy")))
      assert.equal("text", folder:read("copy"))
      assert.is_true(sftp:lsetstat(path, { mtime = 5 }))
      assert.equal("5\n", sh("stat -c %Y " .. path))
      folder:write("target", "old")
      assert.is_table(sftp:put(path, folder:path("target")))
      assert.equal("text", folder:read("target"))
      sftp.extensions = all
   end)
end)
