-- The runner of the suite is what every other spec's word rests on: it must not call a broken run a good one.

local function quote(text)
   return "'" .. text:gsub("'", "'\\''") .. "'"
end

describe("the spec runner", function()
   local folder

   before_each(function()
      local pipe = assert(io.popen("mktemp -d"))
      folder = pipe:read("l")
      pipe:close()
   end)

   after_each(function()
      os.execute("rm -rf " .. quote(folder))
   end)

   local function spec(name, text)
      local file <close> = assert(io.open(folder .. "/" .. name .. "_spec.lua", "w"))
      file:write(text)
   end

   -- Runs the runner on the folder: whether it was content, its last line, and all it printed.
   local function run(arguments, path)
      local command = ("lua5.4 tools/spec.lua --jobs 2 %s %s 2>&1"):format(arguments or "", quote(path or folder))
      local pipe = assert(io.popen(command))
      local output = pipe:read("a")
      local content = pipe:close() or false
      return content, output:match("([^\n]*)\n$"), output
   end

   it("counts the tests of all files", function()
      spec("a", "it('one', function() end) it('two', function() end)")
      spec("b", "describe('b', function() it('three', function() assert.equal(1, 1) end) end)")
      local content, last = run()
      assert.equal("3 passed, 0 failed", last)
      assert.is_true(content)
   end)

   it("names a failing test and fails", function()
      spec("a", "it('holds', function() end) it('does not hold', function() assert.equal(1, 2) end)")
      local content, last, output = run()
      assert.equal("1 passed, 1 failed", last)
      assert.is_false(content)
      assert.truthy(output:find("FAILED: does not hold", 1, true))
   end)

   it("counts an error in a test as a failure", function()
      spec("a", "it('breaks', function() error('broken on purpose') end)")
      local content, last, output = run()
      assert.equal("0 passed, 1 failed", last)
      assert.is_false(content)
      assert.truthy(output:find("broken on purpose", 1, true))
   end)

   it("counts a file that does not load as failed", function()
      spec("a", "it('one', function() end)")
      spec("b", "this is not Lua")
      local content, last = run()
      assert.equal("1 passed, 1 failed", last)
      assert.is_false(content)
   end)

   it("counts a file whose describe fails as failed", function()
      spec("a", "it('one', function() end)")
      spec("b", "describe('b', function() require 'no.such.module' it('two', function() end) end)")
      local content, last = run()
      assert.equal("1 passed, 1 failed", last)
      assert.is_false(content)
   end)

   it("counts a failing setup or before_each as failed", function()
      spec("a", "describe('a', function() setup(function() error('no') end) it('one', function() end) end)")
      spec("b", "describe('b', function() before_each(function() error('no') end) it('one', function() end) end)")
      local content, last = run()
      assert.equal("0 passed, 2 failed", last)
      assert.is_false(content)
   end)

   it("counts a crash as failed and says in which test", function()
      spec("a", "it('one', function() end) it('crashes', function() os.execute('kill -SEGV $PPID') end)")
      local content, last, output = run()
      assert.equal("1 passed, 1 failed", last)
      assert.is_false(content)
      assert.truthy(output:find("was killed by signal 11, in: crashes", 1, true))
   end)

   it("counts a file that leaves in the middle as failed, whatever its status", function()
      spec("a", "it('leaves', function() os.exit(0) end)")
      local content, last, output = run()
      assert.equal("0 passed, 1 failed", last)
      assert.is_false(content)
      assert.truthy(output:find("ended early, with status 0, in: leaves", 1, true))
   end)

   it("counts a bad status after good tests as failed, as a leak check gives", function()
      spec("a", [[
         it('passes', function() end)
         setmetatable({}, { __gc = function() os.exit(23) end })
      ]])
      local content, last, output = run()
      assert.equal("1 passed, 1 failed", last)
      assert.is_false(content)
      assert.truthy(output:find("ended with status 23", 1, true))
   end)

   it("counts a file that hangs as failed", function()
      spec("a", "it('hangs', function() os.execute('sleep 60') end)")
      local content, last, output = run("--timeout 0.5")
      assert.equal("0 passed, 1 failed", last)
      assert.is_false(content)
      assert.truthy(output:find("did not end within 0.5 s, in: hangs", 1, true))
   end)

   it("fails on a file without a test", function()
      spec("a", "it('one', function() end)")
      spec("b", "local nothing = 1")
      local content, last = run()
      assert.equal("1 passed, 1 failed", last)
      assert.is_false(content)
   end)

   it("fails where there is no spec at all", function()
      local content, last = run()
      assert.equal("0 passed, 1 failed", last)
      assert.is_false(content)
   end)

   it("fails on a file that is not there", function()
      local content, last = run(nil, folder .. "/none_spec.lua")
      assert.truthy(last:find("^0 passed, [1-9]%d* failed$"))
      assert.is_false(content)
   end)

   it("reports what was skipped, with the reason, and fails if that was all", function()
      spec("a", "it('waits', function() pending('there is no node') end)")
      local content, last, output = run()
      assert.equal("0 passed, 0 failed, 1 skipped", last)
      assert.is_false(content)
      assert.truthy(output:find("skipped: waits: [^\n]*there is no node"))
      spec("b", "it('one', function() end)")
      content, last = run()
      assert.equal("1 passed, 0 failed, 1 skipped", last)
      assert.is_true(content)
   end)

   it("takes away what a spec leaves behind, killed even", function()
      local seen = folder .. "/seen"
      spec("a", ([[
         it('dies', function()
            local pipe = io.popen('mktemp -d')
            local file = io.open(%q, 'w')
            file:write(pipe:read('l'))
            file:close()
            os.execute('kill -9 $PPID')
         end)]]):format(seen))
      local content, _, output = run()
      assert.is_false(content)
      assert.truthy(output:find(", in: dies", 1, true), output)
      local file <close> = assert(io.open(seen))
      local left = assert(file:read("l"))
      assert.is_nil(os.rename(left, left))
   end)
end)
