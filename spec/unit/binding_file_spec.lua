-- core.file: local files, whatever stands in their place.

local core = require "moonssh.core"
local process = require "spec.support.process"
local tmp = require "spec.support.tmp"

local file = core.file
local EACCES, EISDIR, EINVAL, EFBIG, ELOOP, ENOTDIR, ENOSPC = 13, 21, 22, 27, 40, 20, 28

-- The leak check of a sanitizer does not work under strace.
local without_leak_check = { ASAN_OPTIONS = "detect_leaks=0" }

local function raises(pattern, f)
   local ok, message = pcall(f)
   assert.is_false(ok)
   assert.truthy(tostring(message):find(pattern), ("%q does not match %q"):format(message, pattern))
end

-- The errno of a call that must fail with "io".
local function errno(...)
   local result, code, message, number = ...
   assert.is_nil(result)
   assert.equal("io", code)
   assert.equal("string", type(message))
   return number
end

describe("core.file.read", function()
   local folder

   before_each(function()
      folder = tmp.dir()
   end)

   after_each(function()
      folder:remove()
   end)

   it("gives content, permissions and owner", function()
      local path = folder:write("key", "a\0b\n", "640")
      assert.same({ "a\0b\n", tonumber("640", 8), process.uid() }, { file.read(path) })
      assert.equal("", (file.read(folder:write("empty", ""))))
      local large = core.random(700000)
      assert.equal(large, (file.read(folder:write("large", large))))
   end)

   it("reads at most as much as is allowed", function()
      local path = folder:write("f", ("x"):rep(1000))
      assert.equal(1000, #file.read(path, 1000))
      assert.equal(EFBIG, errno(file.read(path, 999)))
      assert.equal(EFBIG, errno(file.read(path, 0)))
      assert.equal("", (file.read(folder:write("empty", ""), 0)))
      folder:write("m", ("x"):rep(1 << 20))
      assert.equal(1 << 20, #file.read(folder:path("m")))
      folder:write("m", ("x"):rep((1 << 20) + 1))
      assert.equal(EFBIG, errno(file.read(folder:path("m"))))
   end)

   it("reads a file whose size is not known before", function()
      local text = file.read("/proc/self/status")
      assert.truthy(text:find("^Name:"))
   end)

   it("does not read, or wait for, what is no file", function()
      process.check{ "mkfifo", folder:path("fifo") }
      assert.equal(EINVAL, errno(file.read(folder:path("fifo"))))
      assert.same({ nil, "io", "Not a regular file", EINVAL }, { file.read("/dev/zero") })
      assert.equal(EINVAL, errno(file.read("/dev/null")))
      assert.equal(EISDIR, errno(file.read(folder:path())))
      assert.equal(EISDIR, errno(file.read("/")))
   end)

   it("says what is missing", function()
      assert.same({ nil, "io", "No such file or directory", file.ENOENT }, { file.read(folder:path("none")) })
      assert.equal(file.ENOENT, errno(file.read("")))
      folder:write("f", "")
      assert.equal(ENOTDIR, errno(file.read(folder:path("f/g"))))
      assert.equal(file.ENOENT, errno(file.read("~/no-such-name")))
   end)

   it("ends at a loop of links, and follows others", function()
      process.check{ "ln", "-s", folder:path("b"), folder:path("a") }
      process.check{ "ln", "-s", folder:path("a"), folder:path("b") }
      assert.equal(ELOOP, errno(file.read(folder:path("a"))))
      folder:write("f", "text")
      process.check{ "ln", "-s", folder:path("f"), folder:path("link") }
      assert.equal("text", (file.read(folder:path("link"))))
   end)

   it("says that it may not read", function()
      if process.uid() ~= 0 then
         assert.equal(EACCES, errno(file.read(folder:write("f", "", "000"))))
      else
         -- Root may read any file; without that power it may not.
         local path = folder:write("f", "", "000")
         local result = process.run{ "setpriv", "--bounding-set=-all", "--inh-caps=-all", process.lua, "-e", ([[
            print(require "moonssh.core".file.read(%q))]]):format(path) }
         if result.status ~= 0 or not result.stdout:find("^nil") then
            pending("this user may read everything")
         else
            assert.equal("nil\tio\tPermission denied\t13\n", result.stdout)
         end
      end
   end)

   it("raises for what is no path and no size", function()
      raises("bad argument #1 to 'read' %(string contains zeros%)", function() file.read("a\0b") end)
      raises("bad argument #1 to 'read' %(string expected", function() file.read(nil) end)
      raises("bad argument #2 to 'read' %(value out of range%)", function() file.read("a", -1) end)
      raises("bad argument #2 to 'read' %(value out of range%)", function() file.read("a", 1 << 32) end)
      raises("bad argument #2 to 'read' %(number has no integer", function() file.read("a", 0.5) end)
   end)
end)

describe("core.file.append", function()
   local folder

   before_each(function()
      folder = tmp.dir()
   end)

   after_each(function()
      folder:remove()
   end)

   local function mode(name)
      return process.check{ "stat", "-c", "%a", folder:path(name) }:gsub("\n", "")
   end

   it("makes the file and the folders above it, for their owner alone", function()
      assert.is_true(file.append(folder:path("a/b/known_hosts"), "line 1\n"))
      assert.is_true(file.append(folder:path("a/b/known_hosts"), "line 2\n"))
      assert.equal("line 1\nline 2\n", folder:read("a/b/known_hosts"))
      assert.equal("600", (mode("a/b/known_hosts")))
      assert.equal("700", (mode("a/b")))
      assert.equal("700", (mode("a")))
   end)

   it("keeps the permissions of a file that is there", function()
      folder:write("f", "old\n", "644")
      assert.is_true(file.append(folder:path("f"), "new\n"))
      assert.equal("644", (mode("f")))
   end)

   it("begins a line of its own where the last one has no end", function()
      folder:write("f", "unfinished")
      assert.is_true(file.append(folder:path("f"), "new\n"))
      assert.equal("unfinished\nnew\n", folder:read("f"))
      folder:write("g", "")
      assert.is_true(file.append(folder:path("g"), "new\n"))
      assert.equal("new\n", folder:read("g"))
   end)

   it("follows a link to a file", function()
      folder:write("real", "1\n")
      process.check{ "ln", "-s", folder:path("real"), folder:path("link") }
      assert.is_true(file.append(folder:path("link"), "2\n"))
      assert.equal("1\n2\n", folder:read("real"))
   end)

   it("does not write to, or wait for, what is no file", function()
      process.check{ "mkfifo", folder:path("fifo") }
      assert.equal(EINVAL, errno(file.append(folder:path("fifo"), "x\n")))
      assert.equal(EISDIR, errno(file.append(folder:path(), "x\n")))
      assert.equal(EINVAL, errno(file.append("/dev/null", "x\n")))
      folder:write("f", "")
      assert.equal(ENOTDIR, errno(file.append(folder:path("f/g/h"), "x\n")))
      assert.equal(file.ENOENT, errno(file.append("", "x\n")))
      process.check{ "ln", "-s", folder:path("b"), folder:path("a") }
      process.check{ "ln", "-s", folder:path("a"), folder:path("b") }
      assert.equal(ELOOP, errno(file.append(folder:path("a"), "x\n")))
   end)

   it("writes a line at once, and flushes it", function()
      folder:write("f", "unfinished")
      local result = process.run{ env = without_leak_check, "strace", "-e",
         "trace=write,pwrite64,writev,fsync", process.lua, "-e", ([[
         assert(require "moonssh.core".file.append(%q, "new\n"))]]):format(folder:path("f")) }
      if result.status ~= 0 then
         pending("strace does not work here")
      else
         assert.truthy(result.stderr:find('write(3, "\\nnew\\n", 5)', 1, true), result.stderr)
         assert.truthy(result.stderr:find('fsync(3)', 1, true))
      end
   end)

   it("leaves no half line on a full disk", function()
      -- A limit on the size of files shows the same: the write stops in the middle.
      folder:write("f", ("x"):rep(1000) .. "\n")
      local result = process.run{ "sh", "-c", 'trap "" XFSZ; ulimit -f 2; exec "$@"', "sh", process.lua, "-e", ([[
         print(require "moonssh.core".file.append(%q, ("y"):rep(2000) .. "\n"))]]):format(folder:path("f")) }
      assert.equal(0, result.status, result.stderr)
      assert.equal("nil\tio\tNo space left on device\t" .. ENOSPC .. "\n", result.stdout)
      assert.equal(("x"):rep(1000) .. "\n", folder:read("f"))
      result = process.run{ "sh", "-c", 'trap "" XFSZ; ulimit -f 0; exec "$@"', "sh", process.lua, "-e", ([[
         print(require "moonssh.core".file.append(%q, "y\n"))]]):format(folder:path("g")) }
      assert.equal("nil\tio\tFile too large\t" .. EFBIG .. "\n", result.stdout)
      assert.equal("", folder:read("g"))
   end)

   it("keeps whole lines when two processes write", function()
      local script = ([[
         local core = require "moonssh.core"
         for i = 1, 200 do
            assert(core.file.append(%q, ("%%s %%d %%s\n"):format(arg[1], i, (arg[1]):rep(i))))
         end
      ]]):format(folder:path("known_hosts"))
      local path = folder:write("script.lua", script)
      local a <close> = process.start{ process.lua, path, "a" }
      local b <close> = process.start{ process.lua, path, "b" }
      assert.same({ "exit", 0 }, { a:wait(60) })
      assert.same({ "exit", 0 }, { b:wait(60) })
      local seen = { a = 0, b = 0 }
      for line in folder:read("known_hosts"):gmatch("[^\n]+") do
         local who, number, text = line:match("^(%a) (%d+) (%a+)$")
         assert.equal(seen[who] + 1, tonumber(number))
         assert.equal(who:rep(tonumber(number)), text)
         seen[who] = tonumber(number)
      end
      assert.same({ a = 200, b = 200 }, seen)
   end)

   it("raises for what is no path and no data", function()
      raises("bad argument #1 to 'append' %(string contains zeros%)", function() file.append("a\0b", "x") end)
      raises("bad argument #2 to 'append' %(string expected", function() file.append("a") end)
   end)
end)

describe("core.file.replace", function()
   local folder

   before_each(function()
      folder = tmp.dir()
   end)

   after_each(function()
      folder:remove()
   end)

   local function facts(name)
      return process.check{ "stat", "-c", "%a %u", folder:path(name) }:gsub("\n", "")
   end

   local function names()
      return process.check{ "ls", "-A", folder:path() }
   end

   it("writes a file anew, keeping its permissions", function()
      folder:write("f", "old and longer\n", "640")
      assert.is_true(file.replace(folder:path("f"), "new\0\n"))
      assert.equal("new\0\n", folder:read("f"))
      assert.equal("640 " .. process.uid(), (facts("f")))
      assert.is_true(file.replace(folder:path("f"), ""))
      assert.equal("", folder:read("f"))
      assert.equal("f\n", names())
   end)

   it("makes a file that is not there, for its owner alone", function()
      assert.is_true(file.replace(folder:path("f"), "text"))
      assert.equal("text", folder:read("f"))
      assert.equal("600 " .. process.uid(), (facts("f")))
      local large = core.random(1 << 20):rep(3)
      assert.is_true(file.replace(folder:path("f"), large))
      assert.is_true(large == folder:read("f"))
   end)

   it("leaves a link a link", function()
      folder:mkdir("real")
      folder:write("real/f", "old")
      process.check{ "ln", "-s", "real/f", folder:path("link") }
      assert.is_true(file.replace(folder:path("link"), "new"))
      assert.equal("new", folder:read("real/f"))
      assert.equal("real/f\n", process.check{ "readlink", folder:path("link") })
   end)

   it("shows the old text or the new one at any time, never a part", function()
      local path = folder:write("f", ("a"):rep(100000))
      local script = ([[
         local core = require "moonssh.core"
         for i = 1, 100 do
            assert(core.file.replace(%q, (i %% 2 == 0 and "a" or "b"):rep(100000)))
         end]]):format(path)
      local writer <close> = process.start{ process.lua, "-e", script }
      local reads = 0
      repeat
         local text = file.read(path)
         assert.is_true(text == text:sub(1, 1):rep(100000))
         reads = reads + 1
      until writer:wait(0)
      assert.is_true(reads > 0)
      assert.equal("f\n", names())
   end)

   it("leaves the old file, and nothing else, when it fails", function()
      folder:write("f", "old")
      local result = process.run{ "sh", "-c", 'trap "" XFSZ; ulimit -f 2; exec "$@"', "sh", process.lua, "-e", ([[
         print(require "moonssh.core".file.replace(%q, ("y"):rep(5000)))]]):format(folder:path("f")) }
      assert.equal("nil\tio\tFile too large\t" .. EFBIG .. "\n", result.stdout)
      assert.equal("old", folder:read("f"))
      assert.equal("f\n", names())
      assert.equal(file.ENOENT, errno(file.replace(folder:path("none/f"), "x")))
      assert.equal(EISDIR, errno(file.replace(folder:mkdir("d"), "x")))
      assert.equal("d\nf\n", names())
   end)

   it("raises for what is no path and no data", function()
      raises("bad argument #1 to 'replace' %(string contains zeros%)", function() file.replace("a\0b", "x") end)
      raises("bad argument #2 to 'replace' %(string expected", function() file.replace("a") end)
   end)
end)

describe("core.file.home, user and hostname", function()
   it("are what the system says", function()
      local entry = process.check{ "getent", "passwd", tostring(process.uid()) }
      assert.equal(entry:match("^[^:]+"), file.user())
      assert.equal(entry:match("^[^:]*:[^:]*:[^:]*:[^:]*:[^:]*:([^:]*)"), file.home())
      assert.equal(process.check{ "uname", "-n" }:gsub("\n", "") .. "", file.hostname())
   end)

   it("come from the password database, not from the environment", function()
      local script = "local f = require 'moonssh.core'.file print(f.home(), f.user())"
      local elsewhere = { HOME = "/elsewhere", USER = "x", LOGNAME = "y" }
      local result = process.check{ process.lua, "-e", script, env = elsewhere }
      assert.equal(("%s\t%s\n"):format(file.home(), file.user()), result)
   end)

   it("are as far as possible there for a user whom the database does not know", function()
      local script = "local f = require 'moonssh.core'.file print(f.home()) print(f.user())"
      local function as_nobody(home)
         return process.run{ "setpriv", "--reuid=54321", "--clear-groups", process.lua, "-e", script,
            env = { HOME = home } }
      end
      local result = as_nobody("/some/where")
      if result.status ~= 0 then
         pending("only root can be another user")
         return
      end
      local nothing = "nil\tio\tNo such file or directory\t2\n"
      assert.equal("/some/where\n" .. nothing, result.stdout)
      assert.equal(nothing .. nothing, as_nobody("").stdout)
      assert.equal(nothing .. nothing, as_nobody(false).stdout)
   end)
end)

describe("core.file.glob", function()
   it("gives the paths that match, in order", function()
      local folder <close> = tmp.dir()
      for _, name in ipairs{ "b.conf", "a.conf", "c.txt" } do
         folder:write(name, "")
      end
      assert.same({ folder:path("a.conf"), folder:path("b.conf") }, core.file.glob(folder:path("*.conf")))
      assert.same({ folder:path("c.txt") }, core.file.glob(folder:path("c.txt")))
      assert.same({}, core.file.glob(folder:path("nothing*")))
   end)
end)

describe("core.file.uid", function()
   it("is the number of the user", function()
      assert.equal(process.uid(), core.file.uid())
   end)
end)

describe("core.file.home", function()
   it("is that of another user, too", function()
      assert.equal("/root", core.file.home("root"))
      assert.is_nil((core.file.home("nobody-of-this-name")))
   end)
end)
