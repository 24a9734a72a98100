-- Each algorithm alone against each real server: data go both ways, and session.info tells what was asked. Which server
-- has which is found out here, printed as a table, and compared with the one in the README.

local core = require "moonssh.core"
local dial = require "spec.support.dial"
local keys = require "spec.support.keys"
local process = require "spec.support.process"
local server = require "spec.support.server"
local ssh = require "moonssh"
local tmp = require "spec.support.tmp"

local classes = { "kex", "host_key", "cipher", "mac", "compression" }
local titles = { kex = "key exchange", host_key = "host key", cipher = "cipher", mac = "MAC",
   compression = "compression" }
local peers = { "sshd", "dropbear", "asyncssh", "paramiko", "npm" }

-- What no server here has a key for, or the other side of: their own specs have servers for them.
local function is_tried(name)
   return not name:find("%-cert%-v01") and not name:find("^sk%-") and name ~= "mlkem768x25519-sha256"
end

-- Those of our algorithms that OpenSSH has, as sshd_config takes them.
local function shared(query, kind)
   local theirs = {}
   for name in process.check{ "ssh", "-Q", query }:gmatch("%S+") do
      theirs[name] = true
   end
   local both = {}
   for _, name in ipairs(ssh.algorithms[kind]) do
      if theirs[name] then
         both[#both + 1] = name
      end
   end
   return table.concat(both, ",")
end

local function sshd_config(folder, lines)
   local config = {
      "KexAlgorithms " .. shared("kex", "kex"),
      "Ciphers " .. shared("cipher", "cipher"),
      "MACs " .. shared("mac", "mac"),
      "HostKeyAlgorithms +ssh-rsa,ssh-dss",
      "LogLevel INFO",
   }
   for _, bits in ipairs{ 384, 521 } do
      table.insert(config, "HostKey " .. keys.make(folder, "host" .. bits, { type = "ecdsa", bits = bits }))
      table.insert(lines, folder:read("host" .. bits .. ".pub"))
   end
   return table.concat(config, "\n")
end

-- Starts a server of a kind with all that it has, and a known_hosts with all its keys.
local function start(kind, folder)
   local lines = {}
   local options = { everything = true, compression = kind ~= "sshd" and { "none", "zlib@openssh.com", "zlib" } or nil,
      host_keys = kind ~= "dropbear" and { "ed25519", "ecdsa", "rsa", "dsa" } or nil }
   if kind == "sshd" then
      options.config = sshd_config(folder, lines)
   end
   local running = server[kind](options)
   for i, line in ipairs(lines) do
      lines[i] = ("[%s]:%d %s"):format(running.host, running.port, line)
   end
   local file <close> = assert(io.open(running.known_hosts_path))
   table.insert(lines, file:read("a"))
   running.all_known_hosts = folder:write("known_hosts", table.concat(lines))
   return running
end

-- Not a length that any block or packet has, and half of it shrinks.
local data = core.random(20001) .. ("compressible "):rep(1538)

-- What session.info says, where both directions agree.
local function agreed(pair)
   assert.equal(pair.send, pair.recv)
   return pair.send
end

local found = {
   kex = function(info) return info.kex end,
   host_key = function(info) return info.host_key end,
   cipher = function(info) return agreed(info.cipher) end,
   mac = function(info) return agreed(info.mac) end,
   compression = function(info) return agreed(info.compression) end,
}

-- Logs in with this algorithm alone and moves data both ways: session.info, or nil when the server has it not.
local function try(running, kind, name)
   local algorithms = { [kind] = { name }, cipher = kind == "mac" and { "aes128-ctr" } or nil }
   if kind == "cipher" then
      -- Servers without strict key exchange are no peers for CBC with encrypt-then-MAC, but for who names it.
      algorithms = { cipher = { name } }
   end
   local session <close>, err = dial(running, { algorithms = algorithms, known_hosts = running.all_known_hosts })
   if not session and err.code == "negotiation" then
      assert.same({ kind, name }, { err.what, err.ours })
      assert.is_nil(("," .. err.theirs .. ","):find("," .. name .. ",", 1, true))
      return nil, nil
   end
   assert(session, ("%s: %s"):format(name, err))
   local result = assert(session:run("cat", { stdin = data }))
   assert.is_true(result.stdout == data, name)
   assert.equal(0, result.status)
   local info = session.info
   assert.equal(name, found[kind](info))
   assert.is_true(info.bytes_received > 20000 and info.bytes_sent > 20000)
   if kind == "compression" then
      -- A half of the data is the same words over and over.
      assert.equal(name ~= "none", info.bytes_sent < 35000)
   end
   return info
end

-- kind of peer → { version =, [algorithm] = true }
local results = {}

for _, kind in ipairs(peers) do
   describe(kind .. " and we agree on each", function()
      local missing = server.missing(kind)
      if missing then
         pending(missing)
         return
      end

      local running, folder

      setup(function()
         folder = tmp.dir()
         running = start(kind, folder)
         results[kind] = {}
      end)

      teardown(function()
         running:stop()
         folder:remove()
      end)

      for _, class in ipairs(classes) do
         it(titles[class] .. " that it has", function()
            local n = 0
            for _, name in ipairs(ssh.algorithms[class]) do
               local info = is_tried(name) and try(running, class, name)
               if info then
                  n = n + 1
                  results[kind][name] = true
                  results[kind].version = info.server:match("^SSH%-2%.0%-(.+)$")
                  assert.equal(kind ~= "paramiko", info.strict)
               end
            end
            assert.is_true(n > 0)
         end)
      end
   end)
end

-- --- the table

-- The lines of a table in Markdown: an algorithm a row, a server a column.
local function table_lines()
   local columns = {}
   for _, kind in ipairs(peers) do
      columns[#columns + 1] = results[kind] and results[kind].version or kind
   end
   local lines = { "| | " .. table.concat(columns, " | ") .. " |", "| --- |" .. (" :-: |"):rep(#columns) }
   for _, class in ipairs(classes) do
      for _, name in ipairs(ssh.algorithms[class]) do
         if is_tried(name) then
            local cells = {}
            for i, kind in ipairs(peers) do
               cells[i] = results[kind] and results[kind][name] and "✓" or ""
            end
            lines[#lines + 1] = ("| %s | %s |"):format(name, table.concat(cells, " | "))
         end
      end
   end
   return lines
end

local function cells(line)
   local list = {}
   for cell in line:gsub("^|", ""):gmatch("%s*([^|]-)%s*|") do
      list[#list + 1] = cell
   end
   return list
end

-- The README's table: version of a server → algorithm → whether it is marked, and the algorithms in their order.
local function readme_table()
   local file <close> = assert(io.open("README.md"))
   local marks, names, heads = {}, {}, nil
   local inside = false
   for line in file:lines() do
      inside = inside and line ~= "" or line:find("^### Tried with") ~= nil or inside and not heads
      local row = inside and line:find("^|") and cells(line)
      if row and not heads then
         heads = row
         for i = 2, #heads do
            marks[heads[i]] = {}
         end
      elseif row and not row[2]:find("^:?%-") then
         names[#names + 1] = row[1]
         for i = 2, #heads do
            marks[heads[i]][row[1]] = row[i] == "✓"
         end
      end
   end
   return marks, names
end

describe("algorithms", function()
   it("are in the README with the servers that have them, as it was found out here", function()
      print(table.concat(table_lines(), "\n"))
      local marks, names = readme_table()
      local there, n = {}, 0
      for _, name in ipairs(names) do
         there[name] = true
      end
      for _, class in ipairs(classes) do
         for _, name in ipairs(ssh.algorithms[class]) do
            if is_tried(name) then
               n = n + 1
               assert(there[name], name)
               -- Of another version than the one in the table nothing is known.
               for kind, result in pairs(results) do
                  local column = marks[result.version]
                  assert(not column or column[name] == (result[name] or false), name .. " with " .. kind)
               end
            end
         end
      end
      assert.equal(n, #names)
   end)

   it("are all had by some server of those in the README, but for what has specs of its own", function()
      local marks, names = readme_table()
      for _, name in ipairs(names) do
         local had = false
         for _, column in pairs(marks) do
            had = had or column[name]
         end
         assert.is_true(had, name)
      end
   end)

   it("that the server does not have are told, with what each side offers", function()
      local dropbear <close> = server.dropbear()
      for _, case in ipairs{
         { "kex", "diffie-hellman-group16-sha512", "curve25519-sha256" },
         { "host_key", "ecdsa-sha2-nistp521", "ssh-ed25519" },
         { "cipher", "aes128-gcm@openssh.com", "aes128-ctr" },
         { "mac", "hmac-sha2-512", "hmac-sha2-256" },
         { "compression", "zlib", "none" },
      } do
         local kind, name, theirs = table.unpack(case)
         local algorithms = { cipher = { "aes128-ctr" } }
         algorithms[kind] = { name }
         local session, err = dial(dropbear, { algorithms = algorithms })
         assert.is_nil(session)
         assert.same({ "negotiation", kind, name }, { err.code, err.what, err.ours })
         assert.is_truthy(("," .. err.theirs .. ","):find("," .. theirs .. ",", 1, true))
      end
   end)
end)

describe("the preset legacy", function()
   -- A server as old devices are: nothing that is offered by default, and an RSA key of 1024 bits.
   local running, folder

   setup(function()
      folder = tmp.dir()
      local path = keys.make(folder, "small", { type = "rsa", bits = 1024 })
      running = server.sshd{ host_keys = {}, config = table.concat({
         "HostKey " .. path, "HostKeyAlgorithms ssh-rsa", "KexAlgorithms diffie-hellman-group1-sha1",
         "Ciphers 3des-cbc", "MACs hmac-md5", "PubkeyAcceptedAlgorithms ssh-rsa", "LogLevel DEBUG",
      }, "\n") }
      running.known_hosts_path = folder:write("known_hosts",
         ("[%s]:%d %s"):format(running.host, running.port, folder:read("small.pub")))
   end)

   teardown(function()
      running:stop()
      folder:remove()
   end)

   it("logs in to what the default does not reach", function()
      local session <close> = assert(dial(running, { algorithms = "legacy", identity = running.key_paths.rsa }))
      local result = assert(session:run("cat", { stdin = data }))
      assert.is_true(result.stdout == data)
      local info = session.info
      assert.same({ "diffie-hellman-group1-sha1", "ssh-rsa", "3des-cbc", "hmac-md5" },
         { info.kex, info.host_key, info.cipher.send, info.mac.recv })
      assert.equal(1024, session:host_key().bits)
   end)

   it("is needed for that, and for the small key too", function()
      local session, err = dial(running, { identity = running.key_paths.rsa })
      assert.is_nil(session)
      assert.same({ "negotiation", "kex", "diffie-hellman-group1-sha1" },
         { err.code, err.what, err.theirs:match("^[^,]+") })
      session, err = dial(running, { identity = running.key_paths.rsa, algorithms = {
         kex = "+diffie-hellman-group1-sha1", host_key = "+ssh-rsa", cipher = "+3des-cbc", mac = "+hmac-md5" } })
      assert.is_nil(session)
      assert.equal("protocol", err.code)
      assert.is_truthy(err.message:find("1024 bits", 1, true), err.message)
   end)
end)
