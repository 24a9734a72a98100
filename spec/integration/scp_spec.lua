-- Copying by SCP with the scp of OpenSSH at the server.

local dial = require "spec.support.dial"
local process = require "spec.support.process"
local server = require "spec.support.server"
local tmp = require "spec.support.tmp"

local MIB = 1024 * 1024

describe("with sshd,", function()
   local sshd, session, folder

   setup(function()
      sshd = server.sshd{ config = "LogLevel ERROR" }
   end)

   teardown(function()
      sshd:stop()
   end)

   before_each(function()
      session = assert(dial(sshd))
      session.timeout = 60
      folder = tmp.dir()
   end)

   after_each(function()
      session:close()
      folder:remove()
   end)

   local function modes(path)
      return process.check{ "stat", "-c", "%a %Y", path }:match("%C+")
   end

   it("scp_get copies a file, under another name until it is whole", function()
      local data = ("0123456789abcdef"):rep(3 * MIB // 16) .. "\n\0end"
      local from, to = folder:write("a file; with 'odd' $name", data, "640"), folder:path("copy")
      local seen = {}
      assert.is_true(assert(session:scp_get(from, to, { progress = function(done, total, path)
         assert.same({ #data, to }, { total, path })
         assert.is_nil(io.open(to))
         seen[#seen + 1] = done
      end })))
      assert.equal(data, folder:read("copy"))
      assert.equal(#data, seen[#seen])
      assert.is_nil(io.open(to .. ".part"))
      assert.is_true(assert(session:scp_get(folder:write("empty", ""), to)))
      assert.equal("", folder:read("copy"))
   end)

   it("scp_put copies a file, also into a folder", function()
      local data = ("\0\1\2\255"):rep(MIB)
      local from = folder:write("file", data, "604")
      assert.is_true(assert(session:scp_put(from, folder:path("copy"))))
      assert.equal(data, folder:read("copy"))
      folder:mkdir("folder")
      local done
      assert.is_true(assert(session:scp_put(from, folder:path("folder"), { progress = function(n) done = n end })))
      assert.equal(data, folder:read("folder/file"))
      assert.equal(#data, done)
      assert.is_true(assert(session:scp_put(folder:write("empty", ""), folder:path("copy"))))
      assert.equal("", folder:read("copy"))
   end)

   it("both keep times and permissions when they are told to", function()
      local from = folder:write("file", "text", "751")
      process.check{ "touch", "-d", "@1000000000", from }
      assert(session:scp_get(from, folder:path("got"), { preserve = true }))
      assert(session:scp_put(from, folder:path("put"), { preserve = true }))
      assert.equal("751 1000000000", modes(folder:path("got")))
      assert.equal("751 1000000000", modes(folder:path("put")))
   end)

   it("scp_get copies names that others have while they are written", function()
      folder:mkdir("from")
      for name, data in pairs{ x = "1", ["x.part"] = "2", y = "3", ["y.part"] = "4", ["y.part.part"] = "5",
         ["y~.part"] = "6", [("n"):rep(255)] = "7" } do
         folder:write("from/" .. name, data)
      end
      assert.is_true(assert(session:scp_get(folder:path("from"), folder:path("to"), { recursive = true })))
      assert.equal("", process.run{ "diff", "-r", folder:path("from"), folder:path("to") }.stdout)
   end)

   it("both copy trees", function()
      local script = [[cd "$0"; mkdir -p tree/sub/empty "tree/a b"; echo one >tree/one; echo two >"tree/a b/two words"
         head -c 300000 /dev/urandom >tree/sub/bytes; chmod 700 tree/sub; chmod 600 tree/one; : >tree/sub/nothing
         touch -d @1000000000 tree/sub tree/one; echo dash >tree/-dash]]
      process.check{ "sh", "-c", script, folder:path("") }
      for name, options in pairs{ plain = { recursive = true }, kept = { recursive = true, preserve = true } } do
         assert.is_true(assert(session:scp_get(folder:path("tree"), folder:path("got " .. name), options)))
         assert.is_true(assert(session:scp_put(folder:path("tree"), folder:path("put " .. name), options)))
         process.check{ "diff", "-r", folder:path("tree"), folder:path("got " .. name) }
         process.check{ "diff", "-r", folder:path("tree"), folder:path("put " .. name) }
      end
      assert.equal("700 1000000000", modes(folder:path("got kept/sub")))
      assert.equal("600 1000000000", modes(folder:path("put kept/one")))
   end)

   it("an error names the file, on either side, and the session goes on", function()
      local ok, err = session:scp_get(folder:path("nowhere"), folder:path("copy"))
      assert.is_nil(ok)
      assert.same({ "sftp", "no_such_file", folder:path("nowhere") }, { err.code, err.status, err.path })
      assert.is_nil(io.open(folder:path("copy.part")))
      ok, err = session:scp_put(folder:write("file", "x"), folder:path("no/such/folder"))
      assert.is_nil(ok)
      assert.same({ "sftp", "no_such_file" }, { err.code, err.status })
      ok, err = session:scp_get(folder:path("file"), folder:path("no/such/folder"))
      assert.is_nil(ok)
      assert.same({ "io", folder:path("no/such/folder") }, { err.code, err.path })
      ok, err = session:scp_get(folder:path("file"), folder:path(""))
      assert.is_nil(ok)
      assert.same({ "io", "Is a directory" }, { err.code, err.message:match("Is a directory") })
      ok, err = session:scp_get(folder:path(""), folder:path("copy"))
      assert.is_nil(ok)
      assert.equal("sftp", err.code)
      ok, err = session:scp_put(folder:path("missing"), folder:path("copy"))
      assert.is_nil(ok)
      assert.same({ "io", folder:path("missing") }, { err.code, err.path })
      ok, err = session:scp_put(folder:path(""), folder:path("copy"))
      assert.is_nil(ok)
      assert.same({ "io", folder:path(""):match("^(.-)/*$") }, { err.code, err.path })
      assert.equal("still", session:run("printf still").stdout)
   end)

   it("an error of one file of a tree does not end the others", function()
      local script = [[cd "$0"; mkdir tree; echo a >tree/a; ln -s nowhere tree/b; echo c >tree/c; mkfifo tree/d]]
      process.check{ "sh", "-c", script, folder:path("") }
      local ok, err = session:scp_put(folder:path("tree"), folder:path("put"), { recursive = true })
      assert.is_nil(ok)
      assert.same({ "io", folder:path("tree/b") }, { err.code, err.path })
      assert.same({ "a\n", "c\n" }, { folder:read("put/a"), folder:read("put/c") })
      ok, err = session:scp_get(folder:path("tree"), folder:path("got"), { recursive = true })
      assert.is_nil(ok)
      assert.same({ "sftp", "no_such_file" }, { err.code, err.status })
      assert.same({ "a\n", "c\n" }, { folder:read("got/a"), folder:read("got/c") })
   end)

   it("a server without scp is told of", function()
      local bare <close> = server.sshd{ config = "LogLevel ERROR\nForceCommand echo no such thing here >&2; exit 127" }
      local other <close> = assert(dial(bare))
      for _, try in ipairs{ function() return other:scp_get("/etc/passwd", folder:path("x"), { timeout = 60 }) end,
         function() return other:scp_put(folder:write("y", "y"), "/tmp/never", { timeout = 60 }) end } do
         local ok, err = try()
         assert.is_nil(ok)
         assert.equal("sftp", err.code)
         assert.matches("no such thing here", err.message, 1, true)
      end
   end)

   it("the connection lost in the middle leaves no half file", function()
      folder:write("big", ("x"):rep(8 * MIB))
      local ok, err = session:scp_get(folder:path("big"), folder:path("copy"), { progress = function(done)
         if done > MIB and not session.failure then
            session:run("kill -9 $PPID")
         end
      end })
      assert.is_nil(ok)
      assert.equal("eof", err.code)
      assert.is_nil(io.open(folder:path("copy")))
      assert.is_nil(io.open(folder:path("copy.part")))
   end)

   it("wants paths", function()
      for _, name in ipairs{ "scp_get", "scp_put" } do
         assert.has_error(function() session[name](session, "", "x") end)
         assert.has_error(function() session[name](session, "x", "") end)
         assert.has_error(function() session[name](session, "x\0y", "x") end)
         assert.has_error(function() session[name](session, "x", nil) end)
         assert.has_error(function() session[name](session, "x", "y", { resume = true }) end)
      end
   end)
end)

describe("with dropbear,", function()
   it("scp_get and scp_put copy one file after the other", function()
      local dropbear <close> = server.dropbear{}
      local session <close> = assert(dial(dropbear))
      local folder <close> = tmp.dir()
      for i = 1, 20 do
         local text = ("text"):rep(i)
         assert.is_true(assert(session:scp_get(folder:write("f", text), folder:path("g"))))
         assert.equal(text, folder:read("g"))
         assert.is_true(assert(session:scp_put(folder:path("g"), folder:path("h"))))
         assert.equal(text, folder:read("h"))
      end
   end)
end)
