-- Each algorithm alone against each real server that has it: data go both ways, and session.info tells what was asked.

local core = require "moonssh.core"
local dial = require "spec.support.dial"
local keys = require "spec.support.keys"
local server = require "spec.support.server"
local ssh = require "moonssh"
local tmp = require "spec.support.tmp"

local ecdh = { "ecdh-sha2-nistp256", "ecdh-sha2-nistp384", "ecdh-sha2-nistp521" }
local aes_ctr = { "aes128-ctr", "aes192-ctr", "aes256-ctr" }
local aead = { "aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com" }
local macs = { "hmac-sha2-256", "hmac-sha2-512", "hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com" }
local is_aead = { [aead[1]] = true, [aead[2]] = true, [aead[3]] = true }

local function join(...)
   local all = {}
   for _, list in ipairs{ ... } do
      table.move(type(list) == "table" and list or { list }, 1, type(list) == "table" and #list or 1, #all + 1, all)
   end
   return all
end

local groups = { "diffie-hellman-group14-sha256", "diffie-hellman-group16-sha512", "diffie-hellman-group18-sha512" }
local odd_groups = { "diffie-hellman-group15-sha512", "diffie-hellman-group17-sha512" }
local sntrup = "sntrup761x25519-sha512@openssh.com"
local curve = { "curve25519-sha256", "curve25519-sha256@libssh.org" }

-- What each server has of what we have, as it is started here.
local peers = {
   {
      kind = "sshd",
      options = { config = table.concat({
         "KexAlgorithms " .. table.concat(join(sntrup, curve, ecdh, groups,
            "diffie-hellman-group-exchange-sha256"), ","),
         "Ciphers " .. table.concat(join(aead, aes_ctr), ","),
         "MACs " .. table.concat(macs, ","),
         "LogLevel INFO",
      }, "\n") },
      kex = join(sntrup, curve, ecdh, groups, "diffie-hellman-group-exchange-sha256"),
      host_key = { "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
         "rsa-sha2-256", "rsa-sha2-512" },
      cipher = join(aead, aes_ctr),
      mac = macs,
      compression = { "none", "zlib@openssh.com" },
   },
   {
      kind = "dropbear",
      kex = join(curve, ecdh, "diffie-hellman-group14-sha256"),
      host_key = { "ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-256" },
      cipher = { "chacha20-poly1305@openssh.com", "aes128-ctr", "aes256-ctr" },
      mac = { "hmac-sha2-256" },
      compression = { "none", "zlib@openssh.com" },
   },
   {
      kind = "asyncssh",
      options = { compression = { "none", "zlib@openssh.com", "zlib" } },
      kex = join(curve, ecdh, groups, odd_groups, "diffie-hellman-group-exchange-sha256"),
      host_key = { "ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-256", "rsa-sha2-512" },
      cipher = join(aead, aes_ctr),
      mac = macs,
      compression = { "none", "zlib@openssh.com", "zlib" },
   },
   {
      kind = "paramiko",
      kex = join(curve[2], ecdh, "diffie-hellman-group14-sha256", "diffie-hellman-group16-sha512"),
      host_key = { "ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-256", "rsa-sha2-512" },
      cipher = aes_ctr,
      mac = macs,
      options = { compression = { "none", "zlib@openssh.com", "zlib" } },
      compression = { "none", "zlib@openssh.com", "zlib" },
   },
   {
      kind = "npm",
      kex = join(curve, ecdh, groups, odd_groups),
      host_key = { "ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-256", "rsa-sha2-512" },
      cipher = join(aead, aes_ctr),
      mac = macs,
      options = { compression = { "none", "zlib@openssh.com", "zlib" } },
      compression = { "none", "zlib@openssh.com", "zlib" },
   },
}

-- Not a length that any block or packet has, and half of it shrinks.
local data = core.random(150001) .. ("compressible "):rep(11538)

-- What session.info says, where both directions agree.
local function agreed(pair)
   assert.equal(pair.send, pair.recv)
   return pair.send
end

-- Logs in with these algorithms alone, moves data both ways, and gives session.info.
local function try(running, algorithms)
   local session <close> = assert(dial(running, { algorithms = algorithms, known_hosts = running.all_known_hosts }))
   local result = assert(session:run("cat", { stdin = data }))
   assert.is_true(result.stdout == data)
   assert.equal(0, result.status)
   local info = session.info
   assert.is_true(info.bytes_received > 150000)
   assert.is_true(info.bytes_sent > 150000)
   return info
end

for _, peer in ipairs(peers) do
   describe(peer.kind .. " and we agree on", function()
      local missing = server.missing(peer.kind)
      if missing then
         pending(missing)
         return
      end

      local running, folder

      setup(function()
         local options = {}
         for name, value in pairs(peer.options or {}) do
            options[name] = value
         end
         folder = tmp.dir()
         local lines = {}
         if peer.kind == "sshd" then
            for _, bits in ipairs{ 384, 521 } do
               local path = keys.make(folder, "host" .. bits, { type = "ecdsa", bits = bits })
               options.config = options.config .. "\nHostKey " .. path
               table.insert(lines, folder:read("host" .. bits .. ".pub"))
            end
         end
         running = server[peer.kind](options)
         for i, line in ipairs(lines) do
            lines[i] = ("[%s]:%d %s"):format(running.host, running.port, line)
         end
         local file <close> = assert(io.open(running.known_hosts_path))
         table.insert(lines, file:read("a"))
         running.all_known_hosts = folder:write("known_hosts", table.concat(lines))
      end)

      teardown(function()
         running:stop()
         folder:remove()
      end)

      for _, name in ipairs(peer.kex) do
         it("the key exchange " .. name, function()
            local info = try(running, { kex = { name } })
            assert.equal(name, info.kex)
            assert.equal(peer.kind ~= "paramiko", info.strict)
         end)
      end

      for _, name in ipairs(peer.host_key) do
         it("the host key " .. name, function()
            assert.equal(name, try(running, { host_key = { name } }).host_key)
         end)
      end

      for _, name in ipairs(peer.cipher) do
         it("the cipher " .. name, function()
            local info = try(running, { cipher = { name } })
            assert.equal(name, agreed(info.cipher))
            if is_aead[name] then
               assert.is_nil(agreed(info.mac))
            else
               assert.is_truthy(agreed(info.mac):find("^hmac%-sha2%-"))
            end
         end)
      end

      for _, name in ipairs(peer.mac) do
         it("the MAC " .. name, function()
            local info = try(running, { cipher = { "aes128-ctr" }, mac = { name } })
            assert.same({ "aes128-ctr", name }, { agreed(info.cipher), agreed(info.mac) })
         end)
      end

      for _, name in ipairs(peer.compression) do
         it("the compression " .. name, function()
            local info = try(running, { compression = { name } })
            assert.equal(name, agreed(info.compression))
            -- A half of the data is the same words over and over.
            assert.equal(name ~= "none", info.bytes_sent < 250000)
         end)
      end
   end)
end

-- What no server of this system has under these names: spec/integration/hybrid_spec.lua, and sntrup's other name.
local nowhere = { ["mlkem768x25519-sha256"] = true, ["sntrup761x25519-sha512"] = true }

describe("algorithms", function()
   it("are all tried on some server", function()
      for kind, names in pairs(ssh.algorithms) do
         for _, name in ipairs(names) do
            local tried = nowhere[name]
            for _, peer in ipairs(peers) do
               for _, one in ipairs(peer[kind]) do
                  tried = tried or one == name
               end
            end
            assert.is_true(tried, name)
         end
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
