-- Whole files and trees, there and back, compared with what they were.

local file_servers = require "spec.support.file_servers"
local process = require "spec.support.process"
local tmp = require "spec.support.tmp"

local function sh(script)
   return process.check{ "sh", "-c", script }
end

-- Bytes that repeat nowhere near: a block in a wrong place shows.
local function pattern(size)
   local parts = {}
   for i = 1, size // 1000 + 1 do
      parts[i] = string.pack("<I8", i * 0x9e3779b97f4a7c15):rep(125)
   end
   return table.concat(parts):sub(1, size)
end

-- A tree with what trees have in them, the same each time.
local function make_tree(folder, name)
   sh(([[
      mkdir -p %s && cd %s
      mkdir -p a/b/c empty 'with space' && chmod 700 a/b
      for i in $(seq 1 150); do echo "file $i" > a/f$i; done
      head -c 300000 /dev/zero | tr '\0' x > a/b/large
      : > a/b/nothing
      printf 'bytes' > 'with space/line
break'
      ln -s ../f1 a/b/link; ln -s /does/not/exist dangling; ln -s a folder-link
      chmod 640 a/f2; chmod 755 a/f3; touch -d @1000000000 a/f4; touch -d @1200000000 a/b
   ]]):format(folder:path(name), folder:path(name)))
   return folder:path(name)
end

local function compare(one, other)
   assert.equal("", process.run{ "diff", "-r", "--no-dereference", one, other }.stdout)
end

local function names_in(path)
   local names = {}
   for name in sh("ls -A " .. path):gmatch("[^\n]+") do
      table.insert(names, name)
   end
   return names
end

-- Names, types, permissions and times, as text.
local function attributes_of(path)
   return sh(("cd %s && find . -mindepth 1 ! -type l -printf '%%P %%y %%m %%Ts\\n' | sort"):format(path))
end

for name, start in pairs(file_servers.kinds) do
   describe("get and put with " .. name, function()
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

      it("copy files of any size", function()
         local block = sftp._read_block
         for _, size in ipairs{ 0, 1, 4096, block - 1, block, block + 1, 3 * block + 17, 1500000 } do
            local data = pattern(size)
            local path = folder:write("f", data)
            local got = assert(sftp:get(path, folder:path("got")))
            assert.same({ 1, size }, { got.files, got.bytes })
            assert.is_true(folder:read("got") == data)
            local put = assert(sftp:put(path, folder:path("put")))
            assert.same({ 1, size }, { put.files, put.bytes })
            assert.is_true(folder:read("put") == data)
            assert.equal("f\ngot\nput\n", sh("ls " .. folder.root))
         end
      end)

      it("tell their progress, file by file, up to the end", function()
         local path = folder:write("f", pattern(2500000))
         for _, way in ipairs{ "get", "put" } do
            local steps = {}
            assert(sftp[way](sftp, path, folder:path("g"), { progress = function(done, total, file)
               table.insert(steps, done)
               assert.same({ 2500000, path }, { total, file })
            end }))
            assert.equal(2500000, steps[#steps])
            for i = 2, #steps do
               assert.is_true(steps[i] >= steps[i - 1])
            end
         end
      end)

      it("replace what is there only by what is complete", function()
         folder:write("new", "new")
         folder:write("old", "old")
         assert.is_nil(sftp:get(folder:path("nothing"), folder:path("old")))
         assert.equal("old", folder:read("old"))
         assert.is_nil(sftp:put(folder:path("nothing"), folder:path("old")))
         assert.equal("old", folder:read("old"))
         assert(sftp:get(folder:path("new"), folder:path("old")))
         assert.equal("new", folder:read("old"))
         folder:write("old", "a longer one")
         assert(sftp:put(folder:path("new"), folder:path("old")))
         assert.equal("new", folder:read("old"))
      end)

      it("write in place when asked to", function()
         folder:write("new", "new")
         for _, way in ipairs{ "get", "put" } do
            local path = folder:write("old", "a longer one")
            local number = sh("stat -c %i " .. path)
            assert(sftp[way](sftp, folder:path("new"), path, { atomic = false }))
            assert.equal("new", folder:read("old"))
            assert.equal(number, sh("stat -c %i " .. path))
         end
      end)

      it("leave a symbolic link to a device one", function()
         local path = folder:write("f", "text")
         local null = folder:path("null")
         sh("ln -s /dev/null " .. null)
         for _, way in ipairs{ "get", "put" } do
            assert.equal(4, assert(sftp[way](sftp, path, null)).bytes)
            assert.equal("symbolic link\n", sh("stat -c %F " .. null))
         end
         assert.equal("f\nnull\n", sh("ls " .. folder.root))
      end)

      it("go on with what is there", function()
         local data = pattern(3000000)
         local path = folder:write("f", data)
         for _, way in ipairs{ "get", "put" } do
            folder:write("g.part", data:sub(1, 1234567))
            local done = assert(sftp[way](sftp, path, folder:path("g"), { resume = true }))
            assert.is_true(folder:read("g") == data)
            if way == "get" then
               assert.equal(3000000 - 1234567, done.bytes)
            end
            folder:write("g.part", data:sub(1, 2900000))
            done = assert(sftp[way](sftp, path, folder:path("g"), { resume = true }))
            assert.is_true(folder:read("g") == data)
            -- Of what was sent the last 2 MiB are sent again.
            assert.equal(100000 + (way == "put" and 2097152 or 0), done.bytes)
            folder:write("h.part", data .. "more than there is")
            assert(sftp[way](sftp, path, folder:path("h"), { resume = true }))
            assert.is_true(folder:read("h") == data)
            assert(sftp[way](sftp, path, folder:path("i"), { resume = true }))
            assert.is_true(folder:read("i") == data)
            folder:write("j.part", "of a file that was not empty then")
            assert(sftp[way](sftp, folder:write("empty", ""), folder:path("j"), { resume = true }))
            assert.equal("", folder:read("j"))
         end
      end)

      it("keep permissions and times when asked to", function()
         local path = folder:write("f", "text", "640")
         sh("touch -d @1000000000 " .. path)
         for _, way in ipairs{ "get", "put" } do
            assert(sftp[way](sftp, path, folder:path(way), { preserve = true }))
            assert.equal("640 1000000000\n", sh("stat -c '%a %Y' " .. folder:path(way)))
            assert(sftp[way](sftp, path, folder:path(way), { mode = 384 }))
            assert.equal("600\n", sh("stat -c %a " .. folder:path(way)))
         end
         -- What the protocol cannot say becomes what is next to it.
         for _, time in ipairs{ -86400, 5000000000 } do
            sh(("touch -d @%d %s"):format(time, path))
            local here = tonumber(sh("stat -c %Y " .. path))
            assert(sftp:put(path, folder:path("put"), { preserve = true }))
            assert.equal(math.max(0, math.min(here, 0xffffffff)), tonumber(sh("stat -c %Y " .. folder:path("put"))))
         end
         sh("touch " .. path)
         sh("chmod 4755 " .. path)
         for _, way in ipairs{ "get", "put" } do
            local new = folder:path("new-" .. way)
            assert(sftp[way](sftp, path, new))
            assert.equal(0, tonumber(sh("stat -c %a " .. new), 8) & ~511)
         end
         if process.uid() == 0 then
            sh("chmod 6755 " .. path)
            for _, way in ipairs{ "get", "put" } do
               assert(sftp[way](sftp, path, folder:path(way), { preserve = true }))
               assert.equal("755\n", sh("stat -c %a " .. folder:path(way)))
            end
         end
      end)

      it("copy trees", function()
         local tree = make_tree(folder, "tree")
         local put = assert(sftp:put(tree, folder:path("up"), { recursive = true, preserve = true }))
         compare(tree, folder:path("up"))
         local got = assert(sftp:get(folder:path("up"), folder:path("down"), { recursive = true, preserve = true }))
         compare(tree, folder:path("down"))
         assert.same({ 153, 6, 3 }, { put.files, put.folders, put.links })
         assert.same({ put.files, put.folders, put.links, put.bytes }, { got.files, got.folders, got.links, got.bytes })
         assert.equal(attributes_of(tree), attributes_of(folder:path("up")))
         assert.equal(attributes_of(tree), attributes_of(folder:path("down")))
         -- Once more over what is there, where nothing has changed, and where something has.
         sh(("echo changed > %s/a/f7 && touch -d @1 %s/a/f7"):format(tree, tree))
         local again = assert(sftp:put(tree, folder:path("up"), { recursive = true, preserve = true, resume = true }))
         assert.same({ 1, 152 }, { again.files, again.skipped })
         compare(tree, folder:path("up"))
         assert(sftp:get(tree, folder:path("down"), { recursive = true }))
         compare(tree, folder:path("down"))
      end)

      it("copy names as long as names can be, and those that others have while they are written", function()
         local long = ("n"):rep(254)
         local files = { x = pattern(1500000), ["x.part"] = "a", y = "b", ["y.part"] = pattern(1500000),
            ["y~.part"] = "c", ["y.part.part"] = pattern(700000), [long .. "1"] = pattern(700000), [long .. "2"] = "d",
            [("é"):rep(127)] = "e", g = pattern(1500000), ["g.part"] = "f", ["g~"] = pattern(700000) }
         folder:mkdir("from")
         for file, data in pairs(files) do
            folder:write("from/" .. file, data)
         end
         sh(("ln -s y %s/z && ln -s nothing %s/z.part"):format(folder:path("from"), folder:path("from")))
         for _, way in ipairs{ "get", "put" } do
            local done = assert(sftp[way](sftp, folder:path("from"), folder:path(way), { recursive = true }))
            assert.same({ 12, 2 }, { done.files, done.links })
            compare(folder:path("from"), folder:path(way))
         end
         local one = folder:path("from/" .. long .. "1")
         assert(sftp:get(one, folder:path(long)))
         assert.is_true(folder:read(long) == files[long .. "1"])
         assert(sftp:put(one, folder:path(long), { atomic = false }))
         assert.is_true(folder:read(long) == files[long .. "1"])
      end)

      it("do not put a folder's name on a file", function()
         folder:write("f", "text")
         for _, way in ipairs{ "get", "put" } do
            local to = folder:mkdir(way)
            local done, err = sftp[way](sftp, folder:path("f"), to)
            assert.is_nil(done)
            assert.same({ way == "get" and "io" or "sftp", to }, { err.code, err.path })
            assert.matches("[Ii]s a directory", err.message)
            assert.same({ "f", "get", way == "put" and "put" or nil }, names_in(folder.root))
         end
      end)

      it("bring what they write to the disk when asked to, or say that the server cannot", function()
         folder:write("f", "text")
         assert(sftp:get(folder:path("f"), folder:path("g"), { fsync = true }))
         assert.equal("text", folder:read("g"))
         local done, err = sftp:put(folder:path("f"), folder:path("h"), { fsync = true })
         if sftp.extensions["fsync@openssh.com"] then
            assert.equal(1, done.files)
            assert.equal("text", folder:read("h"))
         else
            assert.is_nil(done)
            assert.same({ "unsupported", folder:path("h") }, { err.code, err.path })
            assert.same({ "f", "g" }, names_in(folder.root))
         end
      end)

      it("keep the times of links when asked to, where the server can", function()
         local tree = folder:mkdir("t")
         sh(("ln -s nothing %s/l && touch -h -d @1000000000 %s/l"):format(tree, tree))
         for _, way in ipairs{ "get", "put" } do
            assert(sftp[way](sftp, tree, folder:path(way), { recursive = true, preserve = true }))
            if way == "get" or sftp.extensions["lsetstat@openssh.com"] then
               assert.equal("1000000000\n", sh("stat -c %Y " .. folder:path(way .. "/l")))
            end
         end
      end)

      it("say what a tree's files failed of, and copy the others", function()
         if process.uid() ~= 0 then
            sh(("mkdir %s/t && cd %s/t && touch a b c && chmod 0 b"):format(folder.root, folder.root))
            local got, err = sftp:get(folder:path("t"), folder:path("u"), { recursive = true })
            assert.is_nil(got)
            assert.same({ "sftp", "permission_denied", folder:path("t/b") }, { err.code, err.status, err.path })
            assert.equal(2, err.result.files)
         end
         sh(("mkdir -p %s/x/sub %s/y && touch %s/x/a %s/x/c %s/x/sub/d && mkdir %s/y/a.part"):format(folder.root,
            folder.root, folder.root, folder.root, folder.root, folder.root))
         for _, way in ipairs{ "get", "put" } do
            local done, err = sftp[way](sftp, folder:path("x"), folder:path("y"), { recursive = true })
            assert.is_nil(done)
            assert.truthy(err.path:find("/a", 1, true))
            assert.equal(1, #err.failures)
            assert.equal(2, err.result.files)
         end
      end)
   end)
end
