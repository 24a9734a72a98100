local core = require "moonssh.core"
local net = require "moonssh.net"
local process = require "spec.support.process"
local ssh = require "moonssh"
local tmp = require "spec.support.tmp"

describe("ssh_config", function()
   local folder

   before_each(function()
      folder = tmp.dir()
   end)

   after_each(function()
      folder:remove()
   end)

   local function config(text)
      return assert(ssh.config(folder:write("config", text)))
   end

   local function lookup(text, host, options)
      return assert(config(text):lookup(host or "web1", options))
   end

   -- The error of a file that cannot be used, or of a lookup in it.
   local function refused(text, host, options)
      local parsed, err = ssh.config(folder:write("config", text))
      if parsed then
         parsed, err = parsed:lookup(host or "web1", options)
      end
      assert.is_nil(parsed)
      return err
   end

   it("gives host, port and user where the file says nothing", function()
      local options = lookup("")
      assert.same({ hostname = "web1", port = 22, user = core.file.user(), ignored = {} }, options)
      assert.equal("deploy", lookup("", "web1", { user = "deploy" }).user)
      assert.equal("10.0.0.1", lookup("", "10.0.0.1").hostname)
   end)

   it("takes the first value of a keyword, and all of those that may come more than once", function()
      local options = lookup([[
Host web*
   Port 2222
   IdentityFile /a
   SendEnv LANG LC_*
Host *
   Port 22
   IdentityFile /b
   IdentityFile /a
   SendEnv -LC_* EDITOR
   Compression yes
]])
      assert.equal(2222, options.port)
      assert.same({ "/a", "/b" }, options.identityfile)
      assert.same({ "LANG", "EDITOR" }, options.sendenv)
      assert.equal("yes", options.compression)
   end)

   it("has what was given count before the file, and Match see it", function()
      local text = "Match user deploy\nPort 2200\nMatch all\nUser other\nPort 2300\n"
      local given, file = lookup(text, "web1", { user = "deploy" }), lookup(text)
      assert.same({ "deploy", 2200 }, { given.user, given.port })
      assert.same({ "other", 2300 }, { file.user, file.port })
      assert.equal(1, lookup(text, "web1", { port = 1 }).port)
   end)

   it("tells keywords that it does not act on, by name and value", function()
      local options = lookup("VisualHostKey yes\nTCPKeepAlive no\nPort 1\nProtocol 2\n")
      assert.same({ "protocol", "tcpkeepalive", "visualhostkey", protocol = "2", tcpkeepalive = "no",
         visualhostkey = "yes" }, options.ignored)
      assert.is_nil(options.visualhostkey)
   end)

   it("replaces tokens and variables, and looks at what came in no more", function()
      local options = lookup("HostName %h.test\nUser a\nIdentityFile ~/%r-%%h-%n\n")
      assert.equal("web1.test", options.hostname)
      assert.same({ core.file.home() .. "/a-%h-web1" }, options.identityfile)
      assert.equal(os.getenv("HOME") .. "/k", lookup("IdentityFile ${HOME}/k\n").identityfile[1])
      local err = refused("\nIdentityFile ${MOONSSH_NOT_SET}/x\n")
      assert.same({ "io", 2 }, { err.code, err.line })
      assert.is_truthy(err.message:find("no variable 'MOONSSH_NOT_SET'", 1, true))
   end)

   it("knows tags, which newer files have", function()
      local text = "Match originalhost web1\nTag here\nMatch tagged here\nPort 1\nMatch tagged x\nPort 2\n"
         .. "Match all\nPort 3\n"
      assert.equal(1, lookup(text).port)
      assert.equal(3, lookup(text, "web2").port)
      assert.equal(refused("\n\nMatch localnetwork 10.0.0.0/8\n").line, 3)
   end)

   describe("errors", function()
      for text, words in pairs{
         ["Nonsense yes\n"] = "line 1: unknown keyword 'nonsense'",
         ["\n# x\nPort 0\n"] = "line 3: port: '0' is not a port",
         ["Host a\n  Compression maybe"] = "line 2: compression: 'maybe' is not a value that it can have",
         ["Port 22 23"] = "line 1: port: it has a value too many, '23'",
         ["HostName \"a"] = "line 1: hostname: a quote is not closed",
         ["Match\n"] = "line 1: match: it has no value",
         ["Match host\n"] = "line 1: Match: 'host' has no value",
         ["Match all host x\n"] = "line 1: Match: 'all' is not alone",
         ["Match exec \"echo %q\"\n"] = "line 1: Match: unknown token '%q'",
         ["Port 1\0\n"] = "line 1: it has a NUL byte",
         ["Ciphers aes128-ctr,x\n"] = "line 1: ciphers: unknown algorithm 'x'",
         ["Port \27[2J"] = "line 1: port: '\\x1b[2J' is not a port",
      } do
         it(("say that %s"):format(words), function()
            local err = refused(text)
            assert.equal("io", err.code)
            assert.equal(folder:path("config"), err.path)
            assert.equal(folder:path("config") .. " " .. words, err.message)
         end)
      end

      it("spare unknown keywords that a line before them has ignored", function()
         assert.equal(1, lookup("IgnoreUnknown x*,Foo\nfoo 1\nXyz a b c\nPort 1\n").port)
         assert.equal(2, refused("IgnoreUnknown x*\nfoo 1\n").line)
         assert.equal(4, refused("Host other\nIgnoreUnknown foo\nHost *\nFoo 1\n").line)
         assert.equal(1, refused("Foo 1\nIgnoreUnknown foo\n").line)
      end)
   end)

   describe("files", function()
      local home

      before_each(function()
         home = core.file.home
         local root = folder:path()
         core.file.home = function()
            return root
         end
         folder:mkdir(".ssh")
      end)

      after_each(function()
         core.file.home = home
      end)

      it("include others, found by patterns, from ~/.ssh where they are relative", function()
         folder:write(".ssh/10-a.inc", "Port 10\nHost other\nUser x\n", "600")
         folder:write(".ssh/20-b.inc", "Port 20\nCompression yes\n", "600")
         local options = lookup("Include *.inc nothing-here/*\nHost web1\nUser y\n")
         assert.same({ 10, "yes", "y" }, { options.port, options.compression, options.user })
      end)

      it("count in an Include only where it is reached, and are read in any case", function()
         folder:write(".ssh/inc", "Port 10\nMatch all\nUser x\n", "600")
         local options = lookup("Host other\nInclude inc\nPort 11\nHost *\nPort 12\n")
         assert.same({ 12, core.file.user() }, { options.port, options.user })
         folder:write(".ssh/inc", "Nonsense 1\n", "600")
         local err = refused("Host other\nInclude inc\n")
         assert.same({ folder:path(".ssh/inc"), 1 }, { err.path, err.line })
      end)

      it("that include each other end in an error that names file and line", function()
         folder:write(".ssh/a", "Include b\n", "600")
         folder:write(".ssh/b", "\nInclude a\n", "600")
         local err = refused("Include a\n")
         assert.equal("io", err.code)
         assert.is_truthy(err.message:find("%.ssh/[ab] line [12]: Include: too deep"), err.message)
      end)

      it("may be sixteen deep", function()
         for i = 1, 16 do
            folder:write(".ssh/" .. i, i < 16 and ("Include %d\n"):format(i + 1) or "Port 7\n", "600")
         end
         assert.equal(7, lookup("Include 1\n").port)
         folder:write(".ssh/16", "Include 17\n", "600")
         folder:write(".ssh/17", "Port 8\n", "600")
         assert.is_truthy(refused("Include 1\n").message:find("too deep", 1, true))
      end)

      it("that would be read over and over are given up", function()
         for i = 1, 15 do
            folder:write(".ssh/" .. i, (("Include %d\n"):format(i + 1)):rep(2), "600")
         end
         assert.is_truthy(refused("Include 1\n").message:find("more than 1024 files", 1, true))
      end)

      it("that others can write to are not used", function()
         folder:write(".ssh/inc", "Port 10\n", "620")
         local err = refused("Include inc\n")
         assert.same({ "io", folder:path(".ssh/inc") }, { err.code, err.path })
         assert.is_truthy(err.message:find("others can write to it", 1, true))
         if process.uid() == 0 then
            folder:write(".ssh/inc", "Port 10\n", "600")
            process.check{ "chown", "1", folder:path(".ssh/inc") }
            assert.is_truthy(refused("Include inc\n").message:find("belongs to somebody else", 1, true))
         end
      end)

      it("of the user may be missing, and are checked as ssh does", function()
         local default = require "moonssh.config".default
         local options = assert(assert(default()):lookup("web1"))
         assert.equal("web1", options.hostname)
         folder:write(".ssh/config", "Port 99\n", "600")
         assert.equal(99, assert(default()):lookup("web1").port)
         folder:write(".ssh/config", "Port 99\n", "666")
         local none, err = default()
         assert.is_nil(none)
         assert.equal(folder:path(".ssh/config"), err.path)
      end)

      it("in strange places are errors at once", function()
         process.check{ "mkfifo", folder:path("fifo") }
         process.check{ "ln", "-s", folder:path("loop"), folder:path("loop") }
         process.check{ "truncate", "-s", "2M", folder:path("big") }
         for _, name in ipairs{ "fifo", ".", "loop", "big", "missing", "zero" } do
            local path = name == "zero" and "/dev/zero" or folder:path(name)
            local none, err = ssh.config(path)
            assert.is_nil(none)
            assert.same({ "io", path }, { err.code, err.path })
         end
      end)
   end)

   describe("Match exec", function()
      it("runs a command with its tokens, where it is reached", function()
         local marker = folder:path("marker")
         local text = ([[
Match host other exec "touch %s"
Match exec "test %%h-%%p = web1.test-22"
   Port 1
Match !exec "exit 3"
   User x
]]):format(marker)
         local options = lookup("HostName web1.test\n" .. text)
         assert.same({ 1, "x" }, { options.port, options.user })
         assert.is_nil(io.open(marker))
      end)

      it("lets other tasks go on", function()
         local fifo = folder:path("fifo")
         process.check{ "mkfifo", fifo }
         local parsed = config(("Match exec \"read line < '%s'; test $line = go\"\nPort 1\n"):format(fifo))
         local options
         ssh.loop.run(function()
            local task = ssh.spawn(function()
               options = assert(parsed:lookup("web1", { timeout = 60 }))
            end)
            ssh.spawn(function()
               local file <close> = assert(io.open(fifo, "w"))
               file:write("go\n")
            end)
            task:wait()
         end)
         assert.equal(1, options.port)
      end)

      it("ends a command that takes too long", function()
         local pid_path = folder:path("pid")
         local parsed = config(("Match exec \"echo $$ > '%s'; exec sleep 1000\"\nPort 1\n"):format(pid_path))
         local task = ssh.spawn(function()
            return parsed:lookup("web1")
         end)
         local pid = process.wait_until(function()
            ssh.loop.sleep(0)
            return tonumber((folder:read("pid") or ""):match("^(%d+)\n"))
         end, 60, "the command")
         task:cancel()
         ssh.loop.sleep(0)
         assert.is_false(process.alive(pid))
         local options, err = parsed:lookup("web1", { timeout = 0.01 })
         assert.is_nil(options)
         assert.same({ "timeout", 1 }, { err.code, err.line })
      end)

      it("is an error where the command is ended by a signal", function()
         local err = refused("\nMatch exec \"kill -9 $$\"\n")
         assert.same({ "io", 2 }, { err.code, err.line })
      end)

      it("puts no name into a command that the shell would make more of", function()
         local marker = folder:path("marker")
         for _, name in ipairs{ "a;touch " .. marker, "$(touch " .. marker .. ")", "a b", "-x", "'", "a|b", "`x`",
            "a&b", "~", "a\\", "{a,b}", "*" } do
            for _, token in ipairs{ "%h", "%n", "%r", "%k" } do
               local text = ("\nMatch exec \"true %s\"\nPort 1\n"):format(token)
               local err = refused(text, token == "%r" and "web1" or name, { user = token == "%r" and name or nil })
               assert.same({ "io", 2 }, { err.code, err.line })
            end
         end
         assert.is_nil(io.open(marker))
         assert.equal(1, lookup("Match exec \"true %h\"\nPort 1\n", "a-b.c_d").port)
      end)
   end)

   describe("CanonicalizeHostname", function()
      local resolve, asked

      -- Names that there are, and what they are really called.
      local names = { ["web1.example.com."] = "web1.example.com", ["db.other.test."] = "db7.cluster.test",
         ["plain"] = "plain.example.com", ["full.name."] = "full.name" }

      before_each(function()
         resolve, asked = net.resolve, {}
         net.resolve = function(host)
            table.insert(asked, host)
            if names[host] then
               return { { text = "10.0.0.1" }, canonical = names[host] }
            end
            return nil, { code = "resolve", message = "no such host" }
         end
      end)

      after_each(function()
         net.resolve = resolve
      end)

      local domains = "CanonicalDomains example.com other.test\n"

      it("looks for a name in the domains, and has the file read again with what it finds", function()
         local text = domains .. [[
CanonicalizeHostname yes
Host web1
   Port 1
Host *.example.com
   User canonical
Match canonical
   Compression yes
]]
         local options = lookup(text, "web1")
         assert.same({ "web1.example.com", 1, "canonical", "yes" }, { options.hostname, options.port, options.user,
            options.compression })
         assert.same({ "web1.example.com." }, asked)
         assert.equal("db.other.test", lookup(text, "db").hostname)
      end)

      it("leaves alone what is full, unknown, or for a proxy to resolve", function()
         local text = "CanonicalizeHostname yes\n" .. domains
         assert.equal("a.b.c", lookup(text, "a.b.c").hostname)
         assert.same({}, asked)
         assert.equal("nobody", lookup(text, "nobody").hostname)
         assert.same({ "nobody.example.com.", "nobody.other.test." }, asked)
         assert.equal("web1", lookup(text .. "ProxyJump x\n", "web1").hostname)
         assert.equal("web1.example.com", lookup("ProxyJump x\n" .. domains .. "CanonicalizeHostname always\n",
            "web1").hostname)
         assert.equal("full.name", lookup(text, "full.name.").hostname)
         assert.equal("web1", lookup(domains, "web1").hostname)
         assert.equal("a.b", lookup(text .. "CanonicalizeMaxDots 0\n", "a.b").hostname)
      end)

      it("is an error for an unknown name where CanonicalizeFallbackLocal says so", function()
         local err = refused("CanonicalizeHostname yes\nCanonicalizeFallbackLocal no\n" .. domains, "nobody")
         assert.equal("resolve", err.code)
      end)

      it("follows other names as far as the rules allow", function()
         local text = "CanonicalizeHostname yes\n" .. domains
         assert.equal("db7.cluster.test", lookup(text .. "CanonicalizePermittedCNAMEs *.other.test:*.cluster.test\n",
            "db").hostname)
         assert.equal("db.other.test", lookup(text .. "CanonicalizePermittedCNAMEs *.example.com:*.cluster.test\n",
            "db").hostname)
         assert.equal("plain.example.com", lookup("CanonicalizePermittedCNAMEs plain:*\n", "plain").hostname)
      end)
   end)

   -- What is read more than once for each of its characters would keep this spec busy for hours.
   it("is done with long lines and many of them in one go", function()
      local blanks = (" "):rep(1000000)
      for text, complaint in pairs{
         ["Port 22" .. blanks .. "x"] = "a value too many",
         ["ProxyJump a" .. blanks .. "x"] = "not a destination",
         ["SendEnv " .. ("A "):rep(1001)] = "more than 1000",
         ["SendEnv " .. ("-A "):rep(300000)] = "more than 1000",
         [("IgnoreUnknown x\n"):rep(60000)] = "more than 100",
      } do
         local err = refused(text)
         assert.equal("io", err.code)
         assert.is_truthy(err.message:find(complaint, 1, true), err.message:sub(1, 200))
      end
      assert.equal(23, lookup("Port 23" .. blanks).port)
      assert.equal("a", lookup("ProxyJump a" .. blanks .. "# x").proxyjump)
      local ignored = "IgnoreUnknown " .. ("x*,"):rep(300) .. "y*\n"
      assert.equal(24, lookup(ignored .. ("Ybc 1\n"):rep(100000) .. "Port 24").port)
   end)

   it("tells a wrong argument", function()
      local parsed = config("")
      assert.error_matches(function() parsed:lookup() end, "bad argument #1 to 'lookup'")
      assert.error_matches(function() parsed:lookup("a\nb") end, "not the name of a host")
      assert.error_matches(function() parsed:lookup("a", { usr = "x" }) end, "unknown option 'usr'")
      assert.error_matches(function() ssh.config(3) end, "bad argument #1 to 'config'")
   end)
end)
