-- What a list of host keys from the server does to known_hosts, with a server that lies.

local core = require "moonssh.core"
local ssh = require "moonssh"
local tmp = require "spec.support.tmp"
local update = require "moonssh.hostkey_update"

local SESSION_ID = ("s"):rep(32)

describe("a list of host keys", function()
   local folder, path, keys

   setup(function()
      keys = {}
      for name, type in pairs{ used = "ed25519", new = "ed25519", curve = "ecdsa", old = "ed25519", rsa = "rsa" } do
         keys[name] = ssh.key.generate(type)
      end
   end)

   before_each(function()
      folder = tmp.dir()
      path = folder:write("known", ("# first\nother %s\nweb1 %s one\n"):format(keys.old:public_line(),
         keys.used:public_line()))
   end)

   after_each(function()
      folder:remove()
   end)

   local function blobs(...)
      local parts = {}
      for i, name in ipairs{ ... } do
         parts[i] = string.pack(">s4", keys[name]:blob())
      end
      return table.concat(parts)
   end

   -- A session that is asked to prove; `sign` makes the answer, of the blobs that are to be proven.
   local function offer(data, sign, trust)
      local asked
      local session = {
         _core = { info = function() return { session_id = SESSION_ID } end, listen = function() end },
         _global_request = function(_, name, list)
            asked = { name = name, list = list }
            return asked
         end,
      }
      update.prepare(session, { host = "web1", port = 22, known = assert(ssh.known_hosts(path)) }, trust or {},
         keys.used:blob())
      update.offer(session, data)
      if asked and sign then
         asked.answered(sign(asked.list))
      end
      return asked, session
   end

   -- The right answer, but for what `change` makes of each signature.
   local function proof(change, algorithm)
      return function(list)
         local parts = {}
         for i, blob in ipairs{ string.unpack(">s4", list) } do
            if type(blob) == "string" then
               for _, key in pairs(keys) do
                  if key:blob() == blob then
                     local data = string.pack(">s4s4s4", "hostkeys-prove-00@openssh.com", SESSION_ID, blob)
                     local signature = key:sign(data, key.type == "ssh-rsa" and (algorithm or "rsa-sha2-512") or nil)
                     parts[i] = string.pack(">s4", change and change(signature, data, key) or signature)
                  end
               end
            end
         end
         return true, table.concat(parts)
      end
   end

   local function unchanged()
      return folder:read("known"):find("^# first\nother %S+ %S+\nweb1 %S+ %S+ one\n$") ~= nil
   end

   it("is asked for no key of RSA that has fewer bits than RequiredRSASize, and for all others", function()
      assert.is_nil((offer(blobs("used", "rsa"), nil, { rsa_bits = 4096 })))
      assert.equal(blobs("rsa"), offer(blobs("used", "rsa"), nil, { rsa_bits = 2048 }).list)
      assert.equal(blobs("rsa"), offer(blobs("used", "rsa")).list)
      assert.equal(blobs("curve"), offer(blobs("used", "rsa", "curve"), nil, { rsa_bits = 4096 }).list)
   end)

   it("is learnt once the server has proven each key, comments and order kept", function()
      local asked, session = offer(blobs("used", "new"), proof())
      assert.equal("hostkeys-prove-00@openssh.com", asked.name)
      assert.equal(blobs("new"), asked.list)
      assert.same({ added = 1, removed = 0 }, session._host_keys_updated)
      assert.equal("match", ssh.known_hosts(path):check("web1", 22, keys.new))
      assert.matches("^# first\nother %S+ %S+\nweb1 %S+ %S+ one\nweb1 ", folder:read("known"))
      offer(blobs("used", "new", "rsa"), proof())
      assert.equal("match", ssh.known_hosts(path):check("web1", 22, keys.rsa))
   end)

   it("is learnt hashed where names are to be", function()
      offer(blobs("used", "curve"), proof(), { hash = true })
      assert.matches("\n|1|%S+ ecdsa", folder:read("known"))
      assert.equal("match", ssh.known_hosts(path):check("web1", 22, keys.curve))
   end)

   it("has keys forgotten that the server has no more", function()
      folder:write("known", folder:read("known") .. "web1,web2 " .. keys.old:public_line() .. "\n")
      local asked, session = offer(blobs("used"))
      assert.is_nil(asked)
      assert.same({ added = 0, removed = 1 }, session._host_keys_updated)
      local known = ssh.known_hosts(path)
      assert.equal("changed", known:check("web1", 22, keys.old))
      assert.equal("match", known:check("web2", 22, keys.old))
      assert.equal("match", known:check("other", 22, keys.old))
   end)

   it("changes nothing where a proof is missing or wrong", function()
      local other = ssh.key.generate("ed25519")
      for _, sign in ipairs{
         function() return false, "" end,
         function() return true, "" end,
         function() return true, "junk" end,
         function() return true, string.pack(">s4", "") end,
         proof(function(signature) return signature:sub(1, -2) end),
         proof(function(signature) return signature:sub(1, -2) .. string.char(signature:byte(-1) ~ 1) end),
         proof(function(_, data) return other:sign(data) end),
         proof(function(_, data, key) return key:sign(data .. "x") end),
         function(list)
            local _, right = proof()(list)
            return true, right .. right
         end,
      } do
         offer(blobs("used", "new"), sign)
         assert.is_true(unchanged())
      end
      offer(blobs("used", "rsa"), proof(function(signature)
         return string.pack(">s4", "ssh-rsa") .. signature:sub(17)
      end))
      assert.is_true(unchanged())
   end)

   it("is passed over where it is odd", function()
      local many = {}
      for i = 1, 10000 do
         many[i] = string.pack(">s4", ("k"):rep(50))
      end
      for _, data in ipairs{ "", "junk", string.pack(">I4", 0xffffffff), table.concat(many), blobs("new"),
         blobs("used", "used"), blobs("used", "new", "new"), blobs("used") .. "\0", blobs("used")
         .. string.pack(">s4", "") , blobs("used") .. string.pack(">s4s4", "ssh-dss", "x") } do
         assert.is_nil((offer(data, proof())))
         assert.is_true(unchanged())
      end
   end)

   it("is passed over for keys that are revoked, and for hosts that patterns name", function()
      local text = folder:read("known")
      folder:write("known", text .. "@revoked * " .. keys.new:public_line() .. "\n")
      assert.is_nil((offer(blobs("used", "new"), proof())))
      folder:write("known", text .. "web? " .. keys.old:public_line() .. "\n")
      assert.is_nil((offer(blobs("used", "new"), proof())))
   end)

   it("is looked at once", function()
      local _, session = offer(blobs("used"))
      update.offer(session, blobs("used", "new"))
      assert.is_true(unchanged())
      assert.is_nil(session._host_key_update)
   end)

   it("leaves a file alone that another process has locked", function()
      local lock = assert(core.file.lock(path))
      local _, session = offer(blobs("used", "new"), proof())
      assert.equal("io", session._host_keys_updated.code)
      assert.is_true(unchanged())
      lock:close()
   end)
end)
