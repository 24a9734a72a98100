-- known_hosts beside OpenSSH and beside others who write it; and the keys that a server says it has.

local dial = require "spec.support.dial"
local keys = require "spec.support.keys"
local process = require "spec.support.process"
local server = require "spec.support.server"
local ssh = require "moonssh"
local tmp = require "spec.support.tmp"

local ed25519, ecdsa, rsa = keys.public("ed25519", "host"), keys.public("ecdsa", "host"), keys.public("rsa", "host")

describe("a known_hosts file", function()
   local folder

   before_each(function()
      folder = tmp.dir()
   end)

   after_each(function()
      folder:remove()
   end)

   it("is without a host as ssh-keygen -R leaves it", function()
      local text = table.concat({ "# comment", "web1 " .. ed25519, "web2 " .. ed25519, "[web1]:2222 " .. ecdsa, "",
         "  web1 " .. rsa .. " words # more", "web? " .. ecdsa, "@revoked web1 " .. rsa,
         "@cert-authority web1 " .. ecdsa, "WEB1 " .. ecdsa, "10.0.0.1 " .. rsa, "" }, "\n")
      for name, host in pairs{ web1 = { "web1", 22 }, web2 = { "web2", 22 }, ["[web1]:2222"] = { "web1", 2222 },
         ["10.0.0.1"] = { "10.0.0.1", 22 }, web9 = { "web9", 22 }, other = { "other", 22 } } do
         local ours, theirs = folder:write("ours", text, "640"), folder:write("theirs", text, "600")
         process.run{ "ssh-keygen", "-R", name, "-f", theirs }
         local known = assert(ssh.known_hosts(ours))
         known:remove(host[1], host[2])
         assert(known:save())
         assert.equal(folder:read("theirs"), folder:read("ours"), name)
         assert.equal("640\n", process.check{ "stat", "-c", "%a", ours })
      end
   end)

   it("has names that ssh-keygen has hashed, and ssh-keygen finds those that were hashed here", function()
      local path = folder:write("known", "web1,web2 " .. ed25519 .. "\n[web3]:2222 " .. ecdsa .. "\n", "600")
      process.check{ "ssh-keygen", "-H", "-f", path }
      local known = assert(ssh.known_hosts(path))
      assert.equal("match", known:check("web1", 22, ssh.key.parse(ed25519)))
      assert.equal("match", known:check("web3", 2222, ssh.key.parse(ecdsa)))
      known:add("web4", 22, ssh.key.parse(rsa), { hash = true, comment = "here" })
      known:add("web4", 2200, ssh.key.parse(rsa), { hash = true })
      known:remove("web1", 22)
      assert(known:save())
      assert.is_truthy(process.check{ "ssh-keygen", "-F", "web4", "-f", path }:find("found: line 3", 1, true))
      assert.is_truthy(process.check{ "ssh-keygen", "-F", "[web4]:2200", "-f", path }:find("found: line 4", 1, true))
      assert.equal(1, process.run{ "ssh-keygen", "-F", "web1", "-f", path }.status)
   end)

   it("is one of several: what is removed goes from all, what is new comes to the first", function()
      local first, second = folder:write("a", "# a\nweb1 " .. ed25519 .. "\n"), folder:write("b",
         "web1 " .. ecdsa .. "\n# b\n")
      local third = folder:path("c")
      local known = assert(ssh.known_hosts{ first, second, third })
      known:remove("web1")
      known:add("web2", nil, ssh.key.parse(rsa))
      assert(known:save())
      assert.equal("# a\nweb2 " .. rsa:match("^%S+ %S+") .. "\n", folder:read("a"))
      assert.equal("# b\n", folder:read("b"))
      assert.is_nil(folder:read("c"))
   end)

   -- Starts a process that changes the file, over and over or so many times.
   local function writer(path, text)
      local script = folder:write("writer" .. #text .. ".lua", [[
         local ssh = require "moonssh"
         local path, name = arg[1], arg[2]
         local key = ssh.key.parse(arg[3])
      ]] .. text)
      return function(name)
         return assert(process.start{ process.lua, script, path, name, ed25519, stderr = folder:path("errors") })
      end
   end

   it("loses nothing to several processes that add and remove at once", function()
      local path = folder:write("known", "# first\nkept " .. ed25519 .. "\n", "600")
      local start = writer(path, [[
         for i = 1, 40 do
            local known = assert(ssh.known_hosts(path))
            known:add(name .. "-" .. i, 22, key)
            if i > 1 and i % 2 == 0 then
               known:remove(name .. "-" .. (i - 1), 22)
            end
            assert(known:save())
         end
      ]])
      local all = {}
      for i = 1, 3 do
         all[i] = start("w" .. i)
      end
      for _, one in ipairs(all) do
         assert.same({ "exit", 0 }, { one:wait(60) }, folder:read("errors"))
         one:close()
      end
      local lines = {}
      for line in folder:read("known"):gmatch("[^\n]+") do
         table.insert(lines, (line:match("^%S+")))
      end
      assert.same({ "#", "kept" }, { lines[1], lines[2] })
      assert.equal(2 + 3 * 20, #lines)
      assert.same({}, ssh.known_hosts(path).problems)
   end)

   it("is the old or the new one when a writer is killed, whenever that is", function()
      local whole = {}
      for i = 1, 200 do
         whole[i] = ("host%d %s\n"):format(i, ed25519)
      end
      local path = folder:write("known", table.concat(whole), "600")
      local start = writer(path, [[
         while true do
            local known = assert(ssh.known_hosts(path))
            known:add("web1", 22, key)
            assert(known:save())
            known:remove("web1", 22)
            assert(known:save())
         end
      ]])
      for i = 1, 12 do
         local one = start("w")
         -- Until it has written: the file is another one then. And a little further, a little more each time.
         local inode = process.check{ "stat", "-c", "%i", path }
         process.wait_until(function()
            return process.check{ "stat", "-c", "%i", path } ~= inode
         end, 60, "the writer")
         for _ = 1, i * 1000 do
            inode = inode .. ""
         end
         one:kill(process.SIGKILL)
         one:wait(60)
         one:close()
         local text = folder:read("known"):gsub("\nweb1 [^\n]+\n", "\n")
         assert.equal(table.concat(whole), text)
         assert(ssh.known_hosts(path):save())
      end
   end)
end)

describe("UpdateHostKeys", function()
   local sshd, folder

   setup(function()
      sshd = server.sshd()
   end)

   teardown(function()
      sshd:stop()
   end)

   before_each(function()
      folder = tmp.dir()
   end)

   after_each(function()
      folder:remove()
   end)

   -- Connects with a known_hosts of these lines, and gives what it is afterwards.
   local function after(lines, config, options)
      local name = ("[%s]:%d "):format(sshd.host, sshd.port)
      local path = folder:write("known", name .. table.concat(lines, "\n" .. name) .. "\n", "600")
      local all = { config = folder:write("config", config), known_hosts = path }
      for key, value in pairs(options or {}) do
         all[key] = value
      end
      local session <close> = assert(dial(sshd, all))
      -- The first answer comes after the server's list, the second one after its proofs.
      assert(session:ping(60))
      assert(session:ping(60))
      local types = {}
      for type in folder:read("known"):gmatch("[^\n]- (%S+) [^\n]+\n") do
         types[#types + 1] = type
      end
      return table.concat(types, " "), session
   end

   it("learns the keys that the server proves, and forgets one that it has given up", function()
      local types = after({ sshd.host_keys.ed25519, keys.public("ecdsa", "user") }, "UpdateHostKeys yes\n")
      local _, count = types:gsub("%S+", "")
      assert.equal(3, count, types)
      local known = ssh.known_hosts(folder:path("known"))
      for type, line in pairs(sshd.host_keys) do
         assert.equal("match", known:check(sshd.host, sshd.port, ssh.key.parse(line)), type)
      end
      assert.equal("changed", known:check(sshd.host, sshd.port, ssh.key.parse(keys.public("ecdsa", "user"))))
   end)

   it("proves RSA keys, too, whatever key the exchange was with", function()
      local types = after({ sshd.host_keys.rsa }, "UpdateHostKeys yes\nHostKeyAlgorithms rsa-sha2-256\n")
      local _, count = types:gsub("%S+", "")
      assert.equal(3, count, types)
   end)

   it("does nothing where the file does not say so, or something else than known_hosts decides", function()
      assert.equal("ssh-ed25519", (after({ sshd.host_keys.ed25519 }, "")))
      assert.equal("ssh-ed25519", (after({ sshd.host_keys.ed25519 }, "UpdateHostKeys ask\n")))
      assert.equal("ssh-ed25519", (after({ sshd.host_keys.ed25519 }, "UpdateHostKeys no\n")))
      assert.equal("ssh-ed25519", (after({ sshd.host_keys.ed25519 }, "UpdateHostKeys yes\n", { host_keys = "off" })))
      assert.equal("ssh-ed25519", (after({ sshd.host_keys.ed25519 }, "UpdateHostKeys yes\n", {
         host_keys = ssh.key.parse(sshd.host_keys.ed25519):fingerprint() })))
   end)
end)
