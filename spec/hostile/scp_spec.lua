-- What a hostile server may say to SCP: names that are paths, files that nobody asked for, lines that are none. In
-- memory.

local memory = require "spec.support.memory"
local process = require "spec.support.process"
local tmp = require "spec.support.tmp"

describe("SCP with a hostile server", function()
   local folder, link, session, commands, script

   -- The server's scp says what `script` has, one item for each answer of ours, and ends after it (with `ends`, after
   -- its last).
   before_each(function()
      folder = tmp.dir()
      folder:mkdir("target")
      commands = {}
      link = memory.connect{ server = { exec = function(channel, command)
         table.insert(commands, command)
         local at, ended = 1, false
         local function finish()
            if not ended then
               ended = true
               channel:finish(script.status or 0)
            end
         end
         local function say()
            local item = script[at]
            at = at + 1
            if item and not ended then
               channel:write(item)
            end
            if not item or script.ends and not script[at] then
               finish()
            end
         end
         channel.on_data, channel.on_eof = say, finish
         if script.first then
            say()
         end
      end } }
      session = link.session
   end)

   after_each(function()
      session:close()
      folder:remove()
   end)

   local function files()
      return process.check{ "find", folder:path(""), "-mindepth", "1", "-printf", "%P\n" }
   end

   local function get(said, options, remote, target)
      script = said
      return session:scp_get(remote or "/etc/motd", folder:path("target/" .. (target or "motd")), options)
   end

   it("gets what it asks for", function()
      assert.is_true(assert(get{ "C0644 5 motd\n", "hello\0" }))
      assert.equal("hello", folder:read("target/motd"))
      assert.equal("scp -f /etc/motd", commands[1])
      assert.is_true(assert(get({ "D0755 0 tree\n", "C0600 1 a\n", "a\0", "D0700 0 b\n", "E\n", "E\n" },
         { recursive = true }, "/x/tree/", "tree")))
      assert.equal("scp -f -r /x/tree/", commands[2])
   end)

   it("takes no name for another", function()
      local names = { "passwd", "..", ".", "/etc/motd", "../motd", "motd/", "MOTD", "motd ", "mo\0td", "\27[2J" }
      for _, name in ipairs(names) do
         local ok, err = get{ ("C0644 1 %s\n"):format(name), "x\0" }
         assert.is_nil(ok, name)
         assert.same({ "protocol", "/etc/motd" }, { err.code, err.path }, name)
         assert.is_nil(tostring(err):find("[%z\1-\31]"), name)
         assert.equal("target\n", files(), name)
      end
   end)

   it("writes nothing outside of a tree", function()
      local options = { recursive = true }
      for _, name in ipairs{ "..", ".", "../x", "/tmp/x", "a/../../x", "a/b", "x\0y" } do
         for _, line in ipairs{ "C0644 1 %s\n", "D0755 0 %s\n" } do
            local ok, err = get({ "D0755 0 tree\n", line:format(name), "x\0" }, options, "tree")
            assert.is_nil(ok, name)
            assert.equal("protocol", err.code, name)
         end
      end
      assert.equal("target\ntarget/motd\n", files())
   end)

   it("writes through no link that is in place in a tree", function()
      folder:mkdir("outside")
      folder:mkdir("target/tree")
      assert(os.execute(("ln -s ../../outside '%s' && ln -s ../../outside/f '%s'"):format(
         folder:path("target/tree/link"), folder:path("target/tree/f.part"))))
      for _, said in ipairs{
         { "D0755 0 tree\n", "D0755 0 link\n", "C0644 4 f\n", "evil\0", "E\n", "E\n" },
         { "D0755 0 tree\n", "C0644 4 f\n", "evil\0", "E\n" },
      } do
         local ok, err = get(said, { recursive = true }, "/etc/tree", "tree")
         assert.equal(nil, ok and folder:read("outside/f"))
         assert.truthy(ok or err.code == "io", tostring(err))
         assert.is_nil(folder:read("outside/f"))
      end
      -- The one at the top is the caller's own.
      assert(os.execute(("ln -s ../outside '%s'"):format(folder:path("target/top"))))
      assert(get({ "D0755 0 tree\n", "C0644 4 f\n", "good\0", "E\n" }, { recursive = true }, "/etc/tree", "top"))
      assert.equal("good", folder:read("outside/f"))
   end)

   it("takes no more than was asked for", function()
      local ok, err = get{ "C0644 1 motd\n", "x\0", "C0644 1 motd\n", "y\0" }
      assert.same({ nil, "protocol" }, { ok, err.code })
      assert.equal("x", folder:read("target/motd"))
      for _, said in ipairs{ { "D0755 0 motd\n", "C0644 1 x\n", "x\0", "E\n" }, { "E\n" } } do
         ok, err = get(said)
         assert.same({ nil, "protocol" }, { ok, err.code })
      end
      ok, err = get({ "D0755 0 motd\n", "E\n", "E\n" }, { recursive = true }, nil, "tree")
      assert.same({ nil, "protocol" }, { ok, err.code })
      local deep = {}
      for i = 1, 100 do
         deep[i] = "D0755 0 motd\n"
      end
      ok, err = get(deep, { recursive = true }, nil, "tree")
      assert.same({ nil, "limit" }, { ok, err.code })
   end)

   it("takes no line that is none", function()
      for _, line in ipairs{ "C\n", "C0644\n", "C0644 5\n", "C0644 -1 motd\n", "C0648 1 motd\n", "C0644 x motd\n",
         "C0644 9999999999999999999 motd\n", "C00000000644 1 motd\n", "C0644  motd\n", "T1 0 1\n", "T-1 0 1 0\n",
         "T99999999999999999999 0 1 0\n", "Xmotd\n", "\n\n", ("C"):rep(100000), "hello\n", "E motd\n" } do
         local ok, err = get{ line, "x\0" }
         assert.is_nil(ok, line)
         assert.equal("protocol", err.code, line)
      end
      assert.equal("target\n", files())
   end)

   it("leaves nothing half where the server ends in the middle, at every byte", function()
      local whole = { "C0644 5 motd\n", "hello\0" }
      local said = table.concat(whole)
      for length = 0, #said - 1 do
         local ok, err = get{ said:sub(1, length), status = 1, ends = true }
         assert.is_nil(ok, length)
         assert.equal("sftp", err.code, length)
         assert.equal("target\n", files(), length)
      end
   end)

   it("says what the server says, with nothing that a terminal would act on", function()
      local ok, err = get{ "\1scp: /etc/motd: \27]0;x\7 Permission denied\n", ends = true }
      assert.is_nil(ok)
      assert.same({ "sftp", "permission_denied" }, { err.code, err.status })
      assert.is_nil(tostring(err):find("[%z\1-\31]"))
      assert.equal("scp: /etc/motd: \27]0;x\7 Permission denied", err.text)
      ok, err = get{ "\2fatal\n", ends = true }
      assert.same({ nil, "sftp" }, { ok, err.code })
      ok, err = get{ "C0644 5 motd\n", "hello\1scp: read error\n" }
      assert.same({ nil, "sftp" }, { ok, err.code })
      assert.equal("target\n", files())
   end)

   it("sends to a server that answers in no way that there is, and stops", function()
      local path = folder:write("file", "text")
      for _, said in ipairs{ { "x", first = true }, { "\0", "\3", first = true }, { "\0", "\0", "?", first = true },
         { "\1" .. ("x"):rep(100000), first = true } } do
         script = said
         local ok, err = session:scp_put(path, "/tmp/file")
         assert.is_nil(ok)
         assert.equal("protocol", err.code)
      end
      script = { first = true, status = 1 }
      local ok, err = session:scp_put(path, "/tmp/file")
      assert.same({ nil, "sftp" }, { ok, err.code })
      script = { "\0", "\1scp: disk full\n", first = true }
      ok, err = session:scp_put(path, "/tmp/file")
      assert.same({ nil, "sftp", "scp: disk full" }, { ok, err.code, err.text })
      assert.equal("scp -t /tmp/file", commands[#commands])
   end)

   it("ends when nothing comes", function()
      script = { "" }
      local ok, err = session:scp_get("/etc/motd", folder:path("target/motd"), { timeout = 0.05 })
      assert.same({ nil, "timeout" }, { ok, err.code })
      assert.is_nil(session.failure)
   end)

   it("names a file that looks like an option, or like a command", function()
      get({}, nil, "-rf")
      get({}, nil, "a; rm b")
      assert.same({ "scp -f -- -rf", "scp -f 'a; rm b'" }, commands)
   end)
end)
