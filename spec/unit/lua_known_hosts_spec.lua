local core = require "moonssh.core"
local key = require "moonssh.key"
local keys = require "spec.support.keys"
local known_hosts = require "moonssh.known_hosts"
local process = require "spec.support.process"
local tmp = require "spec.support.tmp"

local function public(type)
   return (keys.public(type, "host"):match("^%S+ %S+"))
end

local ed25519, ecdsa, rsa = public("ed25519"), public("ecdsa"), public("rsa")
local parsed = {}
for _, line in ipairs{ ed25519, ecdsa, rsa } do
   parsed[line] = assert(key.parse(line))
end

local function hashed(name)
   local salt = ("s"):rep(20)
   return ("|1|%s|%s"):format(core.base64_encode(salt), core.base64_encode(core.hmac("sha1", salt, name)))
end

local function lines_of(folder, name)
   local lines = {}
   for line in assert(folder:read(name)):gmatch("([^\n]*)\n") do
      lines[#lines + 1] = line
   end
   return lines
end

describe("known_hosts", function()
   local folder

   before_each(function()
      folder = tmp.dir()
   end)

   after_each(function()
      folder:remove()
   end)

   local function open(text)
      return assert(known_hosts.open(folder:write("known_hosts", text)))
   end

   -- What ssh-keygen finds for a host: by line number, its marker ("", "REVOKED", "CA") and the key's fingerprint.
   local function oracle(path, name)
      local found, line, marker = {}, nil, nil
      for text in process.run{ "ssh-keygen", "-l", "-F", name, "-f", path }.stdout:gmatch("[^\n]+") do
         local number, mark = text:match("^# Host .* found: line (%d+) ?(.*)$")
         if number then
            line, marker = tonumber(number), mark
         else
            found[line] = { marker = marker, fingerprint = text:match("SHA256:%S+") }
         end
      end
      return found
   end

   local function verdict_of(entry, fingerprint)
      if not entry or entry.marker == "CA" then
         return "unknown"
      elseif entry.marker == "REVOKED" then
         return entry.fingerprint == fingerprint and "revoked" or "unknown"
      end
      return entry.fingerprint == fingerprint and "match" or "changed"
   end

   -- Lines of all kinds: names of all kinds under each marker, then keys of all kinds.
   local function table_of_lines()
      local lines = {}
      local names = { "web1", "WEB1", "web1,web2", "web2,web1", "web2", "web?", "web*", "*", "w*1", "?eb1", "web??",
         "!web1", "web*,!web1", "!web1,web*", "web*,!web2", "!*,web1", "[web1]:2222", "[web1]:22", "[web*]:2222",
         "[web1]:*", "[*]:2222,!web1", "*:2222", "web1,", ",web1", ",", "10.0.0.1", "10.0.*", "::1", "[::1]:2222",
         hashed("web1"), hashed("[web1]:2222"), hashed("::1"), hashed("web1") .. ",web1", "web1," .. hashed("web1"),
         "|1|", "|1|AAAA|AAAA", "|2|" .. hashed("web1"):sub(4), hashed("web1") .. "|", "\194\160web1", "web1\194\160",
         ("a"):rep(1100) .. ",web1", "#web1", "web1#" }
      for _, name in ipairs(names) do
         for _, marker in ipairs{ "", "@revoked ", "@cert-authority " } do
            table.insert(lines, marker .. name .. " " .. ed25519)
         end
      end
      local type, base64 = ed25519:match("^(%S+) (%S+)")
      for _, marker in ipairs{ "@revoked", "@cert-authority", "@", "@@revoked", "@Revoked", "@revokedx", "@revoked,",
         "@revoked @revoked", "@revoked @cert-authority", "@unknown" } do
         table.insert(lines, marker .. " web1 " .. ed25519)
         table.insert(lines, " \t" .. marker .. "web1 " .. ed25519)
      end
      for _, text in ipairs{ ed25519, ecdsa, rsa, "ssh-rsa " .. base64, "ssh-ed25519 " .. rsa:match(" (.*)"),
         "ecdsa-sha2-nistp384 " .. ecdsa:match(" (.*)"), "nonsense " .. base64, type, type .. " ",
         type .. " #" .. base64,
         type .. "  \t " .. base64, type .. " " .. base64 .. " comment", type .. " " .. base64 .. "\tcomment  more",
         type .. " " .. base64:sub(1, -2) .. "!", type .. " !" .. base64, type .. " " .. base64 .. "AAAA", type .. " =",
         type:upper() .. " " .. base64, type .. "\194\160" .. base64, type .. " " .. base64 .. " #",
         "# " .. ed25519 } do
         table.insert(lines, "web1 " .. text)
         table.insert(lines, "\tweb1\t" .. text .. "\r")
      end
      local whole = "@revoked web1 " .. ed25519
      for length = 0, #whole do
         table.insert(lines, whole:sub(1, length))
         table.insert(lines, ("web1 " .. ed25519):sub(1, length))
      end
      return lines
   end

   -- Lines that a generator makes of pieces, most of them fine; the same ones each time.
   local function random_lines(count)
      math.randomseed(20240229)
      local function one_of(list)
         return list[math.random(#list)]
      end
      local atoms = { "web1", "web2", "w", "*", "?", "eb", "1", "10.0.", "0.1", "[", "]:", "2222", ":", ".", "!",
         "::1" }
      local blanks = { " ", " ", " ", "\t", "  ", " \t " }
      local markers = { "", "", "", "@revoked ", "@cert-authority ", "@revoked @revoked ", "@x ", "@" }
      local lines = {}
      for i = 1, count do
         local names = {}
         for n = 1, math.random(3) do
            local parts = {}
            for part = 1, math.random(3) do
               parts[part] = one_of(atoms)
            end
            names[n] = one_of{ table.concat(parts), "web1", "!web1", "web*", "[web1]:2222" }
         end
         local list = table.concat(names, ",")
         if math.random(8) == 1 then
            list = hashed(one_of{ "web1", "web2", "[web1]:2222" })
         end
         local type, base64 = one_of{ ed25519, ecdsa, rsa }:match("^(%S+) (%S+)")
         if math.random(12) == 1 then
            type = one_of{ "ssh-rsa", "ssh-ed25519", "x", "#" }
         elseif math.random(12) == 1 then
            base64 = base64:sub(1, math.random(#base64))
         end
         lines[i] = one_of{ "", "", " " } .. one_of(markers) .. list .. one_of(blanks) .. type .. one_of(blanks)
            .. base64 .. one_of{ "", " comment", " ", "\t# x" }
      end
      return lines
   end

   local all_hosts = { { "web1", 22, "web1" }, { "web1", 2222, "[web1]:2222" }, { "web2", 22, "web2" },
      { "::1", 22, "::1" }, { "::1", 2222, "[::1]:2222" }, { "10.0.0.1", 22, "10.0.0.1" } }

   for name, make in pairs{
      ["several hundred lines"] = table_of_lines,
      ["two thousand generated lines"] = function() return random_lines(2000) end,
   } do
      it("judges each of " .. name .. " as ssh-keygen does", function()
         local lines = make()
         local path = folder:write("all", table.concat(lines, "\n") .. "\n")
         assert.is_true(#lines > 300)
         local found = {}
         for i, host in ipairs(all_hosts) do
            found[i] = oracle(path, host[3])
         end
         local judged = { match = 0, changed = 0, revoked = 0, unknown = 0 }
         for number, line in ipairs(lines) do
            local one = assert(known_hosts.open(folder:write("one", line .. "\n")))
            for i, host in ipairs(all_hosts) do
               for _, shown in pairs(parsed) do
                  local wanted = verdict_of(found[i][number], shown:fingerprint())
                  local verdict, at = one:check(host[1], host[2], shown)
                  assert.equal(wanted, verdict, ("%s, %s key, line %q"):format(host[3], shown.type, line))
                  assert.equal(wanted ~= "unknown" and 1 or nil, at)
                  judged[wanted] = judged[wanted] + 1
               end
            end
         end
         local all = judged.match > 20 and judged.changed > 40 and judged.revoked > 10
         assert.is_true(all, "the lines cover all verdicts")
      end)
   end

   it("takes any bytes for lines, without raising", function()
      math.randomseed(20240301)
      local bytes = {}
      for i = 1, 200000 do
         bytes[i] = string.char(({ 10, 32, 44, 64, 124, math.random(0, 255), math.random(33, 126) })[math.random(7)])
      end
      local known = open(table.concat(bytes))
      assert.is_true(#known.problems > 1000)
      assert.equal("unknown", (known:check("web1", 22, parsed[ed25519])))
   end)

   it("finds the line that decides, among others", function()
      local known = open(table.concat({ "# comment", "", "web2 " .. ed25519, "web1 " .. rsa, "web1 " .. ed25519, "" },
         "\n"))
      assert.same({ "match", 5, known.paths[1] }, { known:check("web1", 22, parsed[ed25519]) })
      assert.same({ "changed", 4, known.paths[1] }, { known:check("web1", 22, parsed[ecdsa]) })
      assert.same({ "unknown" }, { known:check("web3", 22, parsed[ed25519]) })
      assert.same({ "match", 5, known.paths[1] }, { known:check("WEB1", nil, parsed[ed25519]:blob()) })
   end)

   it("takes a known host with a key of another type as changed", function()
      local known = open("web1 " .. ed25519 .. "\n")
      assert.equal("changed", (known:check("web1", 22, parsed[rsa])))
      assert.equal("changed", (known:check("web1", 22, parsed[ecdsa])))
   end)

   it("takes a host known by a type it has never heard of as changed", function()
      local blob = string.pack(">s4s4", "ssh-new@example.com", "xyz")
      local known = open(("web1 ssh-new@example.com %s\n"):format(core.base64_encode(blob)))
      assert.equal("changed", (known:check("web1", 22, parsed[ed25519])))
   end)

   it("lets a revoked line win, wherever it stands", function()
      local known = open(("web1 %s\n@revoked * %s\n"):format(ed25519, ed25519))
      assert.same({ "revoked", 2, known.paths[1] }, { known:check("web1", 22, parsed[ed25519]) })
      known = open(("@revoked web1 %s\nweb1 %s\n"):format(ed25519, ed25519))
      assert.same({ "revoked", 1, known.paths[1] }, { known:check("web1", 22, parsed[ed25519]) })
      assert.equal("changed", (known:check("web1", 22, parsed[rsa])))
   end)

   it("honours a revoked marker that a tab ends, which ssh-keygen does not", function()
      local known = open("@revoked\tweb1\t" .. ed25519 .. "\n")
      assert.equal("revoked", (known:check("web1", 22, parsed[ed25519])))
   end)

   it("does not take the key of a certificate authority for a host's", function()
      local known = open("@cert-authority web1 " .. ed25519 .. "\n")
      assert.equal("unknown", (known:check("web1", 22, parsed[ed25519])))
      assert.equal("cert-authority", known:entries()[1].marker)
      assert.same({}, known.problems)
   end)

   it("tells the lines it skips, and why", function()
      local known = open(table.concat({ "web1 " .. ed25519, "@other web1 " .. ed25519,
         "@revoked @revoked web1 " .. ed25519,
         "web1", "|1|x|y " .. ed25519, "web1 ssh-rsa " .. ed25519:match(" (.*)"), "web1 ssh-rsa !", "a\0b " .. ed25519,
         "" }, "\n"))
      local told = {}
      for i, problem in ipairs(known.problems) do
         assert.equal(known.paths[1], problem.path)
         told[i] = problem.line .. ": " .. problem.reason
      end
      assert.same({ "2: an unknown marker", "3: more than one marker", "4: too few fields", "5: a broken hashed name",
         "6: the key is damaged, or not of the type that the line says", "7: the key is not base64", "8: a NUL byte" },
         told)
      assert.equal(1, #known:entries())
   end)

   it("reads several files, of which a missing one is empty", function()
      local first, second = folder:path("missing"), folder:write("second", "web1 " .. ed25519 .. "\n")
      local known = assert(known_hosts.open{ first, second })
      assert.same({ "match", 1, second }, { known:check("web1", 22, parsed[ed25519]) })
   end)

   it("is an error where a file cannot be read", function()
      local fifo = folder:path("fifo")
      process.check{ "mkfifo", fifo }
      for _, path in ipairs{ folder:path(), fifo, "/dev/zero" } do
         local known, err = known_hosts.open(path)
         assert.is_nil(known)
         assert.equal("io", err.code)
         assert.equal(path, err.path)
      end
   end)

   it("lists what it has read", function()
      local entry = open("\n@revoked " .. hashed("web1") .. " " .. rsa .. " one two\n"):entries()[1]
      assert.same({ path = folder:path("known_hosts"), line = 2, marker = "revoked", names = hashed("web1"),
         hashed = true, type = "ssh-rsa", blob = parsed[rsa]:blob(), comment = "one two",
         fingerprint = parsed[rsa]:fingerprint() }, entry)
   end)

   it("raises for wrong arguments, naming them", function()
      local known = open("")
      assert.error_matches(function() known_hosts.open(1) end, "bad argument #1 to 'known_hosts'")
      assert.error_matches(function() known:check(1, 22, ed25519) end, "bad argument #1 to 'check'")
      assert.error_matches(function() known:check("a", "22", ed25519) end, "bad argument #2 to 'check'")
      assert.error_matches(function() known:check("a", 22, {}) end, "bad argument #3 to 'check' %(key expected%)")
      assert.error_matches(function() known:add("a", 22, parsed[rsa], { hsh = true }) end, "unknown option 'hsh'")
      for _, host in ipairs{ "", "a b", "a,b", "*", "!a", "a\n", "#a", "@revoked", "|1|a" } do
         assert.error_matches(function() known:add(host, 22, parsed[rsa]) end, "bad argument #1 to 'add'")
      end
   end)

   it("adds keys that it then knows, and that ssh-keygen finds", function()
      local known = open("# kept")
      assert.is_true(known:add("Web1", 22, parsed[ed25519], { comment = "by hand\nx" }))
      assert.is_true(known:add("web1", 2222, parsed[rsa], { hash = true }))
      assert.is_true(known:add("::1", 22, parsed[ecdsa]))
      assert.equal("match", (known:check("web1", 22, parsed[ed25519])))
      assert.equal("# kept", folder:read("known_hosts"), "nothing is written before save")
      assert.is_true(known:save())
      local lines = lines_of(folder, "known_hosts")
      assert.equal("# kept", lines[1])
      assert.equal("web1 " .. ed25519 .. " by hand x", lines[2])
      assert.matches("^|1|[%w+/=]+|[%w+/=]+ ssh%-rsa ", lines[3])
      assert.equal("::1 " .. ecdsa, lines[4])
      local path = folder:path("known_hosts")
      assert.equal(parsed[ed25519]:fingerprint(), oracle(path, "web1")[2].fingerprint)
      assert.equal(parsed[rsa]:fingerprint(), oracle(path, "[web1]:2222")[3].fingerprint)
      assert.is_true(known:save(), "a second save has nothing to write")
      assert.equal(4, #lines_of(folder, "known_hosts"))
   end)

   it("makes the file and its folder where they are missing, for nobody else to read", function()
      local known = assert(known_hosts.open(folder:path("new/known_hosts")))
      known:add("web1", 22, parsed[ed25519])
      assert.is_true(known:save())
      local modes = process.check{ "stat", "-c", "%a", folder:path("new"), folder:path("new/known_hosts") }
      assert.equal("700\n600\n", modes)
   end)

   it("removes a host and keeps everything else as it is", function()
      local path = folder:write("known_hosts", table.concat({ "# comment", "", "web1 " .. ed25519 .. " c",
         "web2,web1  " .. rsa .. " shared", "  web1,web2 " .. ecdsa, "@revoked web1 " .. rsa,
         hashed("web1") .. " " .. rsa, "web* " .. ecdsa, "web1,!web9 " .. ecdsa, "nonsense", "web2 " .. ed25519, ""
      }, "\n"), "640")
      local known = assert(known_hosts.open(path))
      assert.is_true(known:remove("WEB1", 22))
      assert.equal("unknown", (known:check("web1", 22, parsed[ed25519])))
      assert.equal("match", (known:check("web2", 22, parsed[rsa])))
      assert.is_true(known:save())
      assert.same({ "# comment", "", "web2  " .. rsa .. " shared", "  web2 " .. ecdsa,
         "@revoked web1 " .. rsa, "nonsense", "web2 " .. ed25519 }, lines_of(folder, "known_hosts"))
      assert.equal("640\n", process.check{ "stat", "-c", "%a", path })
      assert.equal("known_hosts\n", process.check{ "ls", "-A", folder:path() }, "no other file is left behind")
   end)

   it("keeps what others have added between reading and saving", function()
      local known = open("web1 " .. ed25519 .. "\n")
      known:remove("web1", 22)
      known:add("web3", 22, parsed[rsa])
      folder:write("known_hosts", ("web1 %s\nweb2 %s\n"):format(ed25519, ed25519))
      assert.is_true(known:save())
      assert.same({ "web2 " .. ed25519, "web3 " .. rsa }, lines_of(folder, "known_hosts"))
      assert.equal("match", (known:check("web2", 22, parsed[ed25519])))
   end)

   it("writes a file that is a symbolic link where it points to", function()
      folder:write("real", "web1 " .. ed25519 .. "\n")
      process.check{ "ln", "-s", "real", folder:path("link") }
      local known = assert(known_hosts.open(folder:path("link")))
      known:remove("web1", 22)
      assert.is_true(known:save())
      assert.equal("", folder:read("real"))
      assert.equal("real\n", process.check{ "readlink", folder:path("link") })
   end)

   it("says when it cannot write", function()
      local known = assert(known_hosts.open("/proc/nothing/known_hosts"))
      known:add("web1", 22, parsed[ed25519])
      local ok, err = known:save()
      assert.is_nil(ok)
      assert.equal("io", err.code)
      assert.equal("/proc/nothing/known_hosts", err.path)
   end)

   it("says when the disk is full, or the file is gone from where it can be read, and learns nothing then", function()
      local path = folder:write("known_hosts", "web2 " .. ed25519 .. "\n")
      local real, full = core.file, setmetatable({}, { __index = core.file })
      local function refuse()
         return nil, "io", "No space left on device", 28
      end
      full.append, full.replace = refuse, refuse
      local function with(file, f)
         core.file = file
         local results = table.pack(pcall(f))
         core.file = real
         return table.unpack(results, 2, results.n)
      end
      local known = assert(known_hosts.open(path))
      known:add("web1", 22, parsed[ed25519])
      local changed = assert(known_hosts.open(path))
      changed:remove("web2", 22)
      for _, write in ipairs{ function() return known:save() end, function() return changed:save() end,
         function() return assert(known_hosts.open(path)):_learn("web1 " .. ed25519) end } do
         local ok, err = with(full, write)
         assert.is_nil(ok)
         assert.same({ "io", path, ("cannot write %s: No space left on device"):format(path) },
            { err.code, err.path, err.message })
         assert.equal("web2 " .. ed25519 .. "\n", folder:read("known_hosts"))
      end
      assert.equal("unknown", (assert(known_hosts.open(path)):check("web1", 22, parsed[ed25519])))
      -- What is to be changed is read anew.
      local unreadable = setmetatable({ read = function() return nil, "io", "Input/output error", 5 end },
         { __index = real })
      local ok, err = with(unreadable, function() return changed:save() end)
      assert.is_nil(ok)
      assert.equal(("cannot read %s: Input/output error"):format(path), err.message)
      assert.equal("web2 " .. ed25519 .. "\n", folder:read("known_hosts"))
      assert.is_true(changed:save())
      assert.equal("", folder:read("known_hosts"))
   end)

   it("is not torn by two processes that add a hundred hosts each", function()
      local path = folder:path("known_hosts")
      local script = folder:write("add.lua", [[
         local known_hosts = require "moonssh.known_hosts"
         local host_key = assert(require("moonssh.key").parse(arg[3]))
         for i = 1, 100 do
            local known = assert(known_hosts.open(arg[1]))
            known:add(arg[2] .. i, 22, host_key)
            assert(known:save())
         end
      ]])
      local a = assert(process.start{ process.lua, script, path, "a", ed25519 })
      local b = assert(process.start{ process.lua, script, path, "b", ed25519 })
      assert.equal("exit", (a:wait(60)))
      assert.equal("exit", (b:wait(60)))
      local known = assert(known_hosts.open(path))
      assert.same({}, known.problems)
      assert.equal(200, #known:entries())
      for i = 1, 100 do
         assert.equal("match", (known:check("a" .. i, 22, parsed[ed25519])))
         assert.equal("match", (known:check("b" .. i, 22, parsed[ed25519])))
      end
   end)
end)
