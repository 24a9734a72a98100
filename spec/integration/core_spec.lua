-- The core alone, without the Lua library, against OpenSSH's sshd: log in, run commands, move much data.

local core = require "moonssh.core"
local CoreLogin = require "spec.support.core_login"
local keys = require "spec.support.keys"
local server = require "spec.support.server"
local state = require "moonssh_testing".state

local missing = server.missing("sshd")

describe("the core against sshd", function()
   if missing then
      pending("is not shown: " .. missing)
      return
   end

   local sshd

   setup(function()
      sshd = server.sshd{}
   end)

   teardown(function()
      sshd:stop()
   end)

   for _, cipher in ipairs{ "aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr" } do
      for _, mode in ipairs{ "keep", "direct" } do
         it(("receives 100 MB whole, with %s in mode %s"):format(cipher, mode), function()
            local client <close> = CoreLogin.connect(sshd, { options = { cipher = cipher } })
            client:run("auth_success")
            assert.equal(cipher, client.session:info().cipher.recv)
            -- Bytes that repeat in no length that matters, so that a piece lost or doubled shows.
            local command = "seq 1 20000000 | head -c 100000000"
            local out, status, err = client:exec(command .. "; echo done >&2; exit 3", mode)
            assert.equal(100000000, #out)
            assert.equal(core.hash("sha256", out), (client:exec(command .. " | openssl dgst -sha256 -binary")))
            assert.equal(3, status)
            assert.truthy(err:find("done\n$"))
            assert.is_true(select(2, client.session:memory()) < 8 << 20)
         end)
      end
   end

   it("sends 50 MB whole", function()
      local client <close> = CoreLogin.connect(sshd)
      client:run("auth_success")
      local session, channel = client.session, client:open()
      local data, sent, out, status = core.random(1 << 20):rep(50), 0, "", nil
      local function write()
         while sent < #data do
            local n = assert(session:channel_write(channel, 0, data, sent + 1))
            if n == 0 then
               return
            end
            sent = sent + n
         end
         if not client.ended then
            client.ended = assert(session:channel_eof(channel))
         end
      end
      assert(session:channel_request(channel, "exec", true, string.pack(">s4", "openssl dgst -sha256 -binary")))
      client.on.reply, client.on.window = write, write
      function client.on.data(_, _, stream)
         out = out .. (stream == 0 and session:channel_take(channel, 0) or "")
      end
      function client.on.exit_status(_, _, number)
         status = number
      end
      -- Room in the send queue is no event: it is looked for after each write to the socket.
      while not status do
         client:round()
         write()
      end
      assert.equal(core.hash("sha256", data), out)
      assert.equal(0, status)
   end)

   it("logs in with each kind of key", function()
      for _, case in ipairs{ { "ed25519", "ssh-ed25519" }, { "ecdsa", "ecdsa-sha2-nistp256" },
         { "rsa", "rsa-sha2-256" }, { "rsa", "rsa-sha2-512" } } do
         local client <close> = CoreLogin.connect(sshd, { key = case[1], algorithm = case[2] })
         client:run("auth_success")
         assert.is_nil(client.session:failure())
         assert.truthy(client.session:server_sig_algs():find("rsa-sha2-512", 1, true))
         assert.same({ "hello\n", 0 }, { table.unpack({ client:exec("echo hello") }, 1, 2) })
      end
   end)

   -- How often keys change in so many bytes depends on how far the peer is ahead when it is asked: up to a window.
   it("rekeys while data flow", function()
      local client <close> = CoreLogin.connect(sshd, { options = { rekey_bytes = 1 << 20 } })
      client:run("auth_success")
      local parts = {}
      for i = 1, 2000000 do
         parts[i] = i
      end
      parts[#parts + 1] = ""
      local whole = table.concat(parts, "\n")
      repeat
         local before = client.session:info().rekeys
         local out, status = client:exec("seq 1 2000000", "direct")
         assert.same({}, { client.session:failure() })
         assert.equal(#whole, #out)
         assert.is_true(out == whole, "the data have the right length, and differ")
         assert.equal(0, status)
         assert.is_true(client.session:info().rekeys > before, "no rekey in 15 MB")
      until client.session:info().rekeys > 5
   end)

   it("leaves nothing behind when memory runs out anywhere on the way", function()
      local code = ([[
         local CoreLogin = require "spec.support.core_login"
         local client <close> = CoreLogin.connect({ host = %q, port = %d, user = %q, key_paths = { ed25519 = %q },
            host_keys = { %q } })
         client:run("auth_success")
         assert(client.session:failure() == nil, (client.session:failure()))
         local out, status = client:exec("head -c 20000 /dev/zero", "direct")
         return #out .. " " .. status
      ]]):format(sshd.host, sshd.port, sshd.user, sshd.key_path, keys.public("ed25519", "host"))
      local setup_code = "require 'spec.support.core_login'"
      local whole = state.run{ setup = setup_code, code = code }
      assert.equal("20000 0", whole.result)
      assert.equal(0, whole.live)
      -- A prime step, so that over the runs every kind of place has its turn.
      local wrong = {}
      for fail_at = 1, whole.allocations, 13 do
         local run = state.run{ setup = setup_code, code = code, fail_at = fail_at, fail_count = 3 }
         if run.live ~= 0 or run.ok and run.result ~= whole.result then
            table.insert(wrong, fail_at .. ": " .. run.result)
         end
      end
      assert.same({}, wrong)
   end)

   it("serves eight states in eight threads at once", function()
      local results = state.threads(8, ([[
         local CoreLogin = require "spec.support.core_login"
         local client <close> = CoreLogin.connect({ host = %q, port = %d, user = %q, key_paths = { ed25519 = %q },
            host_keys = { %q } })
         client:run("auth_success")
         local out, status = client:exec("head -c 3000000 /dev/zero", "direct")
         return #out .. " " .. status
      ]]):format(sshd.host, sshd.port, sshd.user, sshd.key_path, keys.public("ed25519", "host")))
      for _, result in ipairs(results) do
         assert.same({ true, "3000000 0", 0 }, { result.ok, result.result, result.live })
      end
   end)
end)
