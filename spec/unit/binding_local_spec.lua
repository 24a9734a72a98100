-- core.file's objects and names, and core.transfer: what local files need for SFTP.

local core = require "moonssh.core"
local process = require "spec.support.process"
local tmp = require "spec.support.tmp"

local file = core.file

local function sh(script)
   return process.check{ "sh", "-c", script }
end

describe("core.file", function()
   local folder

   before_each(function()
      folder = tmp.dir()
   end)

   after_each(function()
      folder:remove()
   end)

   it("opens files to read, to write anew, and to write as they are", function()
      local path = folder:write("f", "text")
      local f <close> = assert(file.open(path, "r"))
      assert.equal("ex", f:read(1, 2))
      assert.equal("xt", f:read(2, 100))
      assert.equal("", f:read(100, 1))
      assert(file.open(path, "u")):close()
      assert.equal("text", folder:read("f"))
      assert(file.open(path, "w")):close()
      assert.equal("", folder:read("f"))
      assert(file.open(folder:path("new"), "w", 384)):close()
      assert.equal("600\n", sh("stat -c %a " .. folder:path("new")))
      assert.has_error(function()
         file.open(path, "x")
      end)
   end)

   it("does not follow a link where it is not to", function()
      folder:write("f", "text")
      sh("ln -s f " .. folder:path("l"))
      assert(file.open(folder:path("l"), "r")):close()
      for _, mode in ipairs{ "rn", "wn", "un" } do
         local f, code = file.open(folder:path("l"), mode)
         assert.is_nil(f)
         assert.equal("io", code)
      end
      assert.equal("text", folder:read("f"))
   end)

   it("tells and sets what an open file is", function()
      local path = folder:write("f", "text", "640")
      local f = assert(file.open(path, "u"))
      assert.is_true(f:truncate(2))
      assert.is_true(f:chmod(384))
      assert.is_true(f:times(1000, 2000))
      assert.is_true(f:sync())
      local found = f:stat()
      assert.same({ 2, 384, 1000, 2000, "file" },
         { found.size, found.permissions, found.atime, found.mtime, found.type })
      f:close()
      assert.has_error(function()
         f:stat()
      end)
   end)

   it("does what there is to do to names, and says why it cannot", function()
      local root = folder.root
      assert.is_true(file.mkdir(root .. "/d", 448))
      assert.equal("directory", file.stat(root .. "/d").type)
      assert.same({ nil, "io", "File exists", file.EEXIST }, { file.mkdir(root .. "/d") })
      folder:write("f", "text")
      assert.is_true(file.symlink("f", root .. "/l"))
      assert.equal("f", file.readlink(root .. "/l"))
      assert.equal("symlink", file.lstat(root .. "/l").type)
      assert.equal("file", file.stat(root .. "/l").type)
      assert.is_true(file.rename(root .. "/f", root .. "/g"))
      assert.is_true(file.chmod(root .. "/g", 256))
      assert.is_true(file.times(root .. "/g", 5, 6))
      assert.equal("400 5 6\n", sh("stat -c '%a %X %Y' " .. root .. "/g"))
      local names = file.list(root)
      table.sort(names)
      assert.same({ "d", "g", "l" }, names)
      assert.is_true(file.remove(root .. "/l"))
      for _, name in ipairs{ "stat", "lstat", "readlink", "remove", "list" } do
         local result, code, _, number = file[name](root .. "/nothing")
         assert.same({ nil, "io", file.ENOENT }, { result, code, number })
      end
   end)
end)

describe("core.transfer", function()
   it("is at its beginning, and takes nothing but what it needs", function()
      local f = assert(file.open("/dev/null", "r"))
      local transfer = core.transfer(f, true, 7, 1000, 5, 10, 100, 0)
      assert.same({ "moving", 5, 0 }, { transfer:state() })
      assert.is_nil(transfer:failure())
      transfer:close()
      for _, arguments in ipairs{
         { io.stdout, true, 1, 1, 0, nil, 1, 0 }, { f, true, "x", 1, 0, nil, 1, 0 }, { f, true, 1, 0, 0, nil, 1, 0 },
         { f, true, 1, 1 << 20, 0, nil, 1, 0 }, { f, true, 1, 1, -1, nil, 1, 0 }, { f, true, 1, 1, 0, -1, 1, 0 },
         { f, true, 1, 1, 0, nil, 0, 0 }, { f, true, 1, 1, 0, nil, 1, -1 },
      } do
         assert.has_error(function()
            core.transfer(table.unpack(arguments, 1, 8))
         end)
      end
      f:close()
      assert.has_error(function()
         core.transfer(f, true, 1, 1, 0, nil, 1, 0)
      end)
      assert.has_error(function()
         transfer:state()
      end)
   end)

   it("and files may be forged with no harm", function()
      local session = core.session()
      assert.has_error(function()
         session:sftp_attach(1, io.stdout, "h")
      end)
      for _, name in ipairs{ "sftp_start", "sftp_queue", "sftp_path" } do
         local result, code = session[name](session, 12345)
         assert.is_nil(result)
         assert.equal("closed", code)
      end
      assert.is_false(session:sftp_stop(12345))
      assert.is_nil((session:sftp_request(12345, 1, 0, "")))
      session:close()
   end)
end)
