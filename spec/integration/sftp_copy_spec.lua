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
            folder:write("h.part", data .. "more than there is")
            assert(sftp[way](sftp, path, folder:path("h"), { resume = true }))
            assert.is_true(folder:read("h") == data)
            assert(sftp[way](sftp, path, folder:path("i"), { resume = true }))
            assert.is_true(folder:read("i") == data)
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
