-- SFTP against real servers: what is done through it is looked at with other eyes, and the other way round.

local file_servers = require "spec.support.file_servers"
local process = require "spec.support.process"
local tmp = require "spec.support.tmp"

local function sh(script)
   return process.check{ "sh", "-c", script }
end

for name, start in pairs(file_servers.kinds) do
   describe("SFTP with " .. name, function()
      local server, session, sftp, folder

      setup(function()
         server = start()
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

      it("speaks version 3 and knows what the server allows", function()
         assert.equal(3, sftp.version)
         assert.equal("table", type(sftp.extensions))
         local limits = sftp:limits()
         assert.is_true(limits.read >= 32768 and limits.write >= 32768 and limits.packet >= 34000)
      end)

      it("tells the attributes of files, folders and links", function()
         local path = folder:write("f", ("x"):rep(1234), "640")
         sh(("touch -d @1234567890 %s && ln -s f %s/l"):format(path, folder.root))
         local found = assert(sftp:stat(path))
         assert.same({ 1234, 416, 1234567890, "file" }, { found.size, found.permissions, found.mtime, found.type })
         assert.equal("file", assert(sftp:stat(folder:path("l"))).type)
         assert.equal("symlink", assert(sftp:lstat(folder:path("l"))).type)
         assert.equal("directory", assert(sftp:stat(folder.root)).type)
      end)

      it("moves files also where a packet is more than may be queued", function()
         local _ <close>, files = file_servers.open(server, { limits = { queue = 4096 }, session_timeout = 60 })
         local data = ("what is put piece by piece\n"):rep(40000)
         assert(files:put(folder:write("f", data), folder:path("g")))
         assert.is_true(folder:read("g") == data)
         assert(files:get(folder:path("g"), folder:path("h")))
         assert.is_true(folder:read("h") == data)
      end)

      it("says what is wrong with a path, by name", function()
         local path = folder:path("nothing")
         local found, err = sftp:stat(path)
         assert.is_nil(found)
         assert.same({ "sftp", "no_such_file", path }, { err.code, err.status, err.path })
         assert.truthy(err.message:find(path, 1, true))
         assert.is_false(sftp:exists(path))
         assert.is_true(sftp:exists(folder.root))
      end)

      it("sets permissions, times and size", function()
         local path = folder:write("f", ("x"):rep(1234))
         assert.is_true(sftp:setstat(path, { permissions = 384, mtime = 1000000000, atime = 1100000000, size = 5 }))
         assert.equal("600 5\n", sh("stat -c '%a %s' " .. path))
         assert.is_true(sftp:setstat(path, { mtime = 1000000000, atime = 1100000000 }))
         assert.equal("1100000000 1000000000\n", sh("stat -c '%X %Y' " .. path))
      end)

      it("makes and removes folders", function()
         local path = folder:path("a/b c/" .. (name == "paramiko" and "\u{e9}" or "\xff")) -- paramiko wants UTF-8
         local ok, err = sftp:mkdir(path)
         assert.is_nil(ok)
         assert.equal("no_such_file", err.status)
         assert.is_true(sftp:mkdir(path, { parents = true }))
         assert.is_true(sftp:mkdir(path, { parents = true }))
         assert.equal("directory", sftp:stat(path).type)
         assert.is_true(sftp:rmdir(path))
         assert.is_false(sftp:exists(path))
         sh(("mkdir -p %s/a/x/y && touch %s/a/x/y/1 %s/a/2 && ln -s / %s/a/root"):format(folder.root, folder.root,
            folder.root, folder.root))
         assert.is_true(sftp:remove_tree(folder:path("a")))
         assert.is_false(sftp:exists(folder:path("a")))
         assert.is_true(sftp:exists("/etc"))
      end)

      it("renames, links and removes", function()
         local path = folder:write("f", "text")
         folder:write("old", "old")
         assert.is_true(sftp:rename(path, folder:path("g")))
         assert.equal("text", folder:read("g"))
         if sftp.extensions["posix-rename@openssh.com"] then
            assert.is_true(sftp:rename(folder:path("g"), folder:path("old")))
            assert.equal("text", folder:read("old"))
         end
         assert.is_true(sftp:symlink("some/target", folder:path("l")))
         assert.equal("some/target\n", sh("readlink " .. folder:path("l")))
         assert.equal("some/target", sftp:readlink(folder:path("l")))
         assert.is_true(sftp:remove(folder:path("l")))
         assert.is_false(sftp:exists(folder:path("l")))
         sh(("mkdir %s/real && ln -s real %s/way"):format(folder.root, folder.root))
         assert.equal(sh("realpath " .. folder:path("way")):sub(1, -2), sftp:realpath(folder:path("way")))
      end)

      it("names both paths where an error may be about either", function()
         local from, to = folder:path("nothing"), folder:path("g")
         for _, call in ipairs{ "rename", "hardlink" } do
            local ok, err = sftp[call](sftp, from, to)
            assert.is_nil(ok)
            assert.equal(from, err.path)
            if err.code == "sftp" then
               assert.same({ "no_such_file", to }, { err.status, err.to })
               assert.truthy(err.message:find(from, 1, true) and err.message:find(to, 1, true))
            else
               assert.equal("unsupported", err.code)
            end
         end
      end)

      it("takes no path with a NUL, of which servers die", function()
         for _, call in ipairs{ "stat", "lstat", "setstat", "lsetstat", "exists", "mkdir", "rmdir", "remove",
            "remove_tree", "rename", "symlink", "readlink", "realpath", "hardlink", "copy", "statvfs", "fsync",
            "expand", "home", "glob", "walk", "dir", "open", "read_file", "write_file", "get", "put" } do
            local ok, err = pcall(sftp[call], sftp, "a\0b", call:find("setstat$") and {} or nil)
            assert.is_false(ok)
            assert.truthy(err:find(("bad argument #1 to '%s' (a path cannot hold a NUL)"):format(call), 1, true))
         end
         for _, call in ipairs{ "rename", "symlink", "hardlink", "copy", "get", "put" } do
            local ok, err = pcall(sftp[call], sftp, "a", "a\0b")
            assert.is_false(ok)
            assert.truthy(err:find(("bad argument #2 to '%s' (a path cannot hold a NUL)"):format(call), 1, true))
         end
         assert.is_true(sftp:exists(folder.root))
      end)

      it("reads and writes whole files of any bytes", function()
         local data = {}
         for i = 1, 300000 do
            data[i] = string.pack("<I4", i * 2654435761 & 0xffffffff)
         end
         data = table.concat(data)
         assert.is_true(sftp:write_file(folder:path("f"), data))
         assert.is_true(folder:read("f") == data)
         assert.is_true(sftp:read_file(folder:path("f")) == data)
         assert.is_true(sftp:write_file(folder:path("f"), ""))
         assert.equal("", folder:read("f"))
         assert.equal("", sftp:read_file(folder:path("f")))
         local text, err = sftp:read_file(folder:path("g"))
         assert.is_nil(text)
         assert.equal("no_such_file", err.status)
      end)

      it("reads files as io does", function()
         local path = folder:write("f", "one\ntwo\n\n  12.5 0x10\nrest\nend")
         local ours, theirs = assert(sftp:open(path)), assert(io.open(path))
         for _, formats in ipairs{ { "l" }, { "L" }, { "l" }, { "n" }, { "n" }, { "l" }, { 2 }, { 0 }, { "l", 3 },
            { 9 }, { 1 }, { 0 }, { "a" }, { "l" } } do
            assert.same(table.pack(theirs:read(table.unpack(formats))), table.pack(ours:read(table.unpack(formats))))
         end
         assert.same({ theirs:seek("set", 4) }, { ours:seek("set", 4) })
         assert.equal("two", ours:read())
         assert.equal(8, ours:seek())
         assert.equal(#folder:read("f"), ours:seek("end"))
         assert.is_nil(ours:read())
         assert.equal(#folder:read("f") - 3, ours:seek("cur", -3))
         assert.equal("end", ours:read("a"))
         assert.equal("integer", math.type(ours:seek("set", 2.0)))
         assert.equal(folder:read("f"):sub(3), ours:read(1 << 40))
         assert.is_true(ours:close())
         assert.is_true(ours.closed)
         theirs:close()
         local lines = {}
         local file <close> = assert(sftp:open(path, "rb"))
         for line in file:lines() do
            table.insert(lines, line)
         end
         assert.same({ "one", "two", "", "  12.5 0x10", "rest", "end" }, lines)
      end)

      it("reads numbers as io does", function()
         local texts = { "12.5x yz", "0x1fg", "-.5e3,", "+7-7", "1e+", "0x", "0x.8p1q", ".", " \n 08", "1..2", "--1",
            "1e5e5", "", ("1"):rep(200) .. " 2", ("1"):rep(201) .. " 2", "0xap", "nan", "1_000" }
         local path = folder:write("f", table.concat(texts, "\n") .. "\n")
         local ours <close> = assert(sftp:open(path))
         local theirs <close> = assert(io.open(path))
         for _ = 1, 3 * #texts do
            for _, format in ipairs{ "n", 1, "n", "l" } do
               assert.same({ theirs:read(format) }, { (ours:read(format)) })
               assert.equal(theirs:seek(), ours:seek())
            end
         end
      end)

      it("writes files as io does", function()
         local path = folder:path("f")
         local file = assert(sftp:open(path, "w", 384))
         assert.equal(file, file:write("one", 2, "three"))
         assert.equal(file, file:flush())
         assert.equal("one2three", folder:read("f"))
         assert.equal(3, file:seek("set", 3))
         file:write("-")
         assert.is_true(file:close())
         assert.equal("one-three", folder:read("f"))
         assert.equal("600\n", sh("stat -c %a " .. path))
         file = assert(sftp:open(path, "r+"))
         assert.equal("one", file:read(3))
         file:write("+")
         assert.equal("three", file:read("a"))
         file:close()
         assert.equal("one+three", folder:read("f"))
         file = assert(sftp:open(path, "w+"))
         file:write("new")
         file:seek("set")
         assert.equal("new", file:read("a"))
         file:close()
         local none, err = sftp:open(folder:path("no/where"), "w")
         assert.is_nil(none)
         assert.equal("no_such_file", err.status)
         assert.has_error(function()
            sftp:open(path, "x")
         end)
      end)

      it("appends", function()
         local path = folder:write("f", "one")
         local file = assert(sftp:open(path, "a"))
         file:write("two")
         assert.is_true(file:close())
         assert.equal("onetwo", folder:read("f"))
      end)

      it("appends at the end, wherever it has been in between", function()
         for _, mode in ipairs{ "a", "a+" } do
            local path = folder:write("f", "one")
            local their_path = folder:write("g", "one")
            local ours <close> = assert(sftp:open(path, mode))
            local theirs <close> = assert(io.open(their_path, mode))
            for _, file in ipairs{ ours, theirs } do
               file:write("two")
               file:write("three")
            end
            assert.equal(theirs:seek(), ours:seek())
            assert.equal(theirs:seek("set", 1), ours:seek("set", 1))
            for _, file in ipairs{ ours, theirs } do
               file:write("four")
            end
            assert.equal(15, ours:seek())
            if mode == "a+" then
               ours:seek("set", 1)
               assert.equal("netwo", ours:read(5))
            end
            ours:write("five")
            ours:flush()
            assert.equal("onetwothreefourfive", folder:read("f"))
         end
         folder:write("f", "1234")
         assert.equal(4, assert(sftp:open(folder:path("f"), "a")):seek())
      end)

      it("puts small writes together", function()
         local path = folder:path("f")
         local sent = session.info.packets_sent
         local file = assert(sftp:open(path, "w+"))
         local expected = {}
         for i = 1, 20000 do
            expected[i] = i .. ";"
            assert.equal(file, file:write(i, ";"))
         end
         assert.equal(0, file:seek("set", 0))
         assert.equal("1;2;", file:read(4))
         file:seek("end")
         file:write("end")
         assert.equal(#table.concat(expected) + 3, file:stat().size)
         assert.is_true(file:close())
         assert.is_true(folder:read("f") == table.concat(expected) .. "end")
         assert.is_true(session.info.packets_sent - sent < 200)
      end)

      it("lists, walks and globs", function()
         sh(("cd %s && mkdir -p d/e && touch d/e/x d/1 d/2 .hidden 'a b' && ln -s d link"):format(folder.root))
         local found = {}
         for entry, attributes in sftp:dir(folder.root) do
            found[entry] = attributes.type
         end
         assert.same({ d = "directory", [".hidden"] = "file", ["a b"] = "file", link = "symlink" }, found)
         local paths = {}
         for path in sftp:walk(folder.root) do
            table.insert(paths, path:sub(#folder.root + 2))
         end
         assert.same({ ".hidden", "a b", "d", "d/1", "d/2", "d/e", "d/e/x", "link" }, paths)
         local function glob(pattern)
            local list = assert(sftp:glob(folder.root .. "/" .. pattern))
            for i, path in ipairs(list) do
               list[i] = path:sub(#folder.root + 2)
            end
            return list
         end
         assert.same({ "a b", "d", "link" }, glob("*"))
         assert.same({ "d/1", "d/2" }, glob("d/[0-9]"))
         assert.same({ "d/2" }, glob("?/[!1e]"))
         assert.same({ "d/e/x", "link/e/x" }, glob("*/?/x"))
         assert.same({ ".hidden" }, glob(".h*"))
         assert.same({ "a b" }, glob("a\\ b"))
         assert.same({}, glob("nothing/*"))
         local ok, err = pcall(sftp.dir, sftp, folder:path("nothing"))
         assert.is_false(ok)
         assert.equal("no_such_file", err.status)
      end)

      it("copies at the server", function()
         local data = ("0123456789"):rep(50000)
         folder:write("f", data, "640")
         assert.is_true(sftp:copy(folder:path("f"), folder:path("g")))
         assert.is_true(folder:read("g") == data)
         assert.equal("640\n", sh("stat -c %a " .. folder:path("g")))
         -- Over something longer, something shorter, and onto itself, by whatever name.
         folder:write("h", "short")
         assert.is_true(sftp:copy(folder:path("h"), folder:path("g")))
         assert.equal("short", folder:read("g"))
         assert.is_true(sftp:copy(folder:path("f"), folder:path("g")))
         assert.is_true(folder:read("g") == data)
         sh(("ln %s %s"):format(folder:path("f"), folder:path("same")))
         sftp:copy(folder:path("f"), folder:path("same"))
         sftp:copy(folder:path("f"), folder:path("f"))
         assert.is_true(folder:read("f") == data)
      end)

      it("knows where home is", function()
         local home = assert(sftp:home())
         assert.equal("directory", sftp:stat(home).type)
         assert.equal(home .. "/x", sftp:expand("~/x"))
      end)
   end)
end

describe("a file that is written in small pieces, and never waited for", function()
   it("gets all of them in their places, however many", function()
      local server <close> = file_servers.kinds["internal-sftp"]()
      local session <close>, sftp = file_servers.open(server)
      local folder <close> = tmp.dir()
      local one, other = assert(sftp:open(folder:path("one"), "w")), assert(sftp:open(folder:path("other"), "w"))
      local expected = {}
      for i = 1, 70000 do
         expected[i] = ("%d\n"):format(i)
         assert(one:write(expected[i]))
         if i % 7 == 0 then
            assert(other:write(expected[i]))
         end
      end
      assert.is_true(one:close())
      assert.is_true(folder:read("one") == table.concat(expected))
      -- What was held back goes when answers come, whoever it is that waits.
      assert.is_true(sftp:exists(folder:path("other")))
      process.wait_until(function()
         sftp:exists(folder:path("other"))
         return folder:read("other"):sub(-6) == "70000\n"
      end, 60, "the last line")
      other:close()
      local n = 0
      for line in io.lines(folder:path("other")) do
         n = n + 7
         assert.equal(n, tonumber(line))
      end
      assert.equal(70000, n)
      assert.is_nil(session.failure)
   end)
end)
