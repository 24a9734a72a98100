-- examples/sync.lua, against a server of ours.

local process = require "spec.support.process"
local server = require "spec.support.server"
local tmp = require "spec.support.tmp"

-- Runs it for two folders, after which they are the same.
local function sync(sshd, here, there)
   local result = process.run{ process.lua, "examples/sync.lua", here,
      ("%s@%s:%d"):format(sshd.user, sshd.host, sshd.port), there, sshd.key_path, sshd.known_hosts_path }
   assert.equal(0, result.status, result.stderr)
   assert.equal("", process.run{ "diff", "-r", "--no-dereference", here, there }.stdout, result.stderr)
   return result
end

describe("examples/sync.lua", function()
   it("copies a tree, and later only what has changed", function()
      local sshd <close> = server.sshd{}
      local folder <close> = tmp.dir()
      local here, there = folder:mkdir("here"), folder:path("there/copy")
      process.check{ "sh", "-c", ("cd %s && mkdir -p a/b 'c d' && for i in 1 2 3; do echo $i > a/$i; done;"
         .. " echo x > 'c d/e'; : > nothing"):format(here) }
      local first = sync(sshd, here, there)
      assert.equal("5 of 5 files copied\n", first.stdout)
      assert.truthy(first.stderr:find("100 %", 1, true))
      assert.equal("0 of 5 files copied\n", sync(sshd, here, there).stdout)
      process.check{ "sh", "-c", ("cd %s && echo changed > a/2 && mkdir new && echo y > new/f"):format(here) }
      assert.equal("2 of 6 files copied\n", sync(sshd, here, there).stdout)
   end)

   it("copies links, odd names, and names that others have while they are written", function()
      local sshd <close> = server.sshd{}
      local folder <close> = tmp.dir()
      local here, there = folder:mkdir("here"), folder:path("there")
      process.check{ "sh", "-c", ("cd %s && mkdir d && for i in 1 2 3 4 5 6 7 8; do echo $i > d/$i;"
         .. " echo p$i > d/$i.part; done; ln -s nowhere link; ln -s d folder; printf x > 'd/a\nb'"):format(here) }
      assert.equal("19 of 19 files copied\n", sync(sshd, here, there).stdout)
      assert.equal("0 of 19 files copied\n", sync(sshd, here, there).stdout)
      process.check{ "ln", "-sfn", "elsewhere", here .. "/link" }
      assert.equal("1 of 19 files copied\n", sync(sshd, here, there).stdout)
   end)

   it("says how it is used", function()
      local result = process.run{ process.lua, "examples/sync.lua" }
      assert.equal(2, result.status)
      assert.truthy(result.stderr:find("usage", 1, true))
   end)
end)
