-- New keys in the middle of things, started by either side or both, against real servers.

local core = require "moonssh.core"
local dial = require "spec.support.dial"
local server = require "spec.support.server"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"

local KIB, MIB = 1024, 1024 * 1024

-- 20 MiB that no shift or exchange of parts leaves the same.
local data = {}
for i = 1, 20 do
   data[i] = core.random(MIB)
end
data = table.concat(data)

local function pending_without(kind)
   local missing = server.missing(kind)
   if missing then
      pending(missing)
   end
   return missing
end

describe("while 20 MiB flow both ways", function()
   local ciphers = {
      { "aes128-gcm@openssh.com" },
      { "chacha20-poly1305@openssh.com" },
      { "aes128-ctr", "hmac-sha2-256-etm@openssh.com" },
      { "aes256-ctr", "hmac-sha2-512" },
   }

   local quiet, eager

   setup(function()
      quiet = server.sshd{ config = "LogLevel INFO" }
      eager = server.sshd{ config = "LogLevel INFO\nRekeyLimit 256K" }
   end)

   teardown(function()
      quiet:stop()
      eager:stop()
   end)

   -- Has the data (or so many MiB of them) come back, and gives how often keys were exchanged.
   local function flow(sshd, options, amount)
      local sent = amount and data:sub(1, amount * MIB) or data
      local session <close> = assert(dial(sshd, options))
      local id, key = session.info.session_id, session:host_key():fingerprint()
      local result = assert(session:run("cat", { stdin = sent }))
      assert.is_true(result.stdout == sent)
      assert.equal(0, result.status)
      assert.equal(id, session.info.session_id)
      assert.equal(key, session:host_key():fingerprint())
      assert.is_true(session.info.strict)
      return session.info.rekeys
   end

   it("none happens unasked", function()
      assert.equal(0, flow(quiet))
   end)

   for i, case in ipairs(ciphers) do
      local algorithms = { cipher = { case[1] }, mac = case[2] and { case[2] } }

      it("the server rekeys, with " .. table.concat(case, " and "), function()
         assert.is_true(flow(eager, { algorithms = algorithms }, i > 1 and 5 or 20) > 20)
      end)

      it("we rekey, with " .. table.concat(case, " and "), function()
         assert.is_true(flow(quiet, { algorithms = algorithms, rekey = { bytes = 512 * KIB } }) > 20)
      end)
   end

   it("both rekey", function()
      assert.is_true(flow(eager, { rekey = { bytes = 256 * KIB } }, 10) > 40)
   end)

   it("both rekey, and packets are compressed", function()
      assert.is_true(flow(eager, { rekey = { bytes = MIB }, compression = true }, 5) > 20)
   end)

   it("both rekey after few packets", function()
      assert.is_true(flow(eager, { rekey = { packets = 100 } }, 5) > 20)
   end)

   it("we rekey by hand, again and again", function()
      local session <close> = assert(dial(quiet))
      local count, sent = 0, 0
      local transfer = ssh.spawn(function()
         return assert(session:run("cat", { stdin = function()
            if sent == 0 or count <= 3 then
               sent = sent + 1
               return data
            end
         end })).stdout == data:rep(sent)
      end)
      repeat
         assert.is_true(session:rekey(60))
         count = count + 1
         assert.is_true(session.info.rekeys >= count)
         ssh.loop.sleep(0.01) -- or nothing but keys would flow
      until transfer.closed
      assert.is_true(transfer:wait())
      assert.is_true(count > 3)
      assert.is_true(session:rekey(60))
      assert.equal("fine\n", assert(session:run("echo fine")).stdout)
   end)

   it("several tasks rekey at once, on many channels", function()
      local session <close> = assert(dial(eager, { rekey = { bytes = MIB } }))
      local part = data:sub(1, 3 * MIB)
      local results, errors = ssh.map({ 1, 2, 3, 4, 5, 6 }, function(i)
         if i > 4 then
            for _ = 1, 10 do
               assert(session:rekey(60))
            end
            return true
         end
         local channel <close> = assert(session:exec("cat"))
         local writer = ssh.spawn(function()
            assert(channel:write(part))
            assert(channel:eof())
         end)
         local text = assert(channel:read("a"))
         writer:wait()
         return text == part
      end)
      assert.same({}, errors)
      assert.same({ true, true, true, true, true, true }, results)
      assert.is_true(session.info.rekeys >= 10)
   end)
end)

describe("new keys are taken", function()
   it("when some time has passed", function()
      local sshd <close> = server.sshd{ config = "LogLevel INFO" }
      local session <close> = assert(dial(sshd, { rekey = { seconds = 0.02 } }))
      local channel <close> = assert(session:exec("cat"))
      local reader = ssh.spawn(function()
         return channel:read("l")
      end)
      waiting.await(function()
         return session.info.rekeys >= 3 or reader.closed
      end, "three rekeys while nothing else is sent")
      assert(channel:write("still there\n"))
      assert.equal("still there", reader:wait(60))
   end)

   local part = data:sub(1, 3 * MIB)

   for _, kind in ipairs{ "dropbear", "paramiko", "npm" } do
      it("from " .. kind .. " as often as we ask", function()
         if pending_without(kind) then
            return
         end
         local peer <close> = server[kind]()
         local session <close> = assert(dial(peer, { rekey = { bytes = 512 * KIB } }))
         repeat -- how often in one run depends on how late its NEWKEYS comes: till then we go on sending
            local before = session.info.rekeys
            assert.is_true(assert(session:run("cat", { stdin = part })).stdout == part)
            assert.is_true(session.info.rekeys > before)
         until session.info.rekeys >= 5
         local before = session.info.rekeys
         assert.is_true(session:rekey(60))
         assert.is_true(session.info.rekeys > before)
         assert.is_true(assert(session:run("cat", { stdin = "after" })).stdout == "after")
      end)
   end

   -- Debian's asyncssh does not hold back data while it exchanges keys, which RFC 4253 7.1 forbids: none here.
   it("from asyncssh, whoever asks", function()
      local peer <close> = server.asyncssh()
      local session <close> = assert(dial(peer))
      for i = 1, 5 do
         assert.is_true(session:rekey(60))
         assert.is_true(assert(session:run("rekey", { timeout = 60 })).ok)
         assert.equal(2 * i, session.info.rekeys)
         assert.equal("after", assert(session:run("echo after")).stdout)
      end
   end)

   for _, kind in ipairs{ "paramiko", "npm" } do
      it("when " .. kind .. " asks, while data flow to and fro", function()
         if pending_without(kind) then
            return
         end
         local peer <close> = server[kind]()
         local session <close> = assert(dial(peer))
         -- Its request is answered first: the thread of paramiko's that answers also exchanges keys, and would wait
         -- for itself.
         local channel <close> = assert(session:exec("cat"))
         local sending = ssh.spawn(function()
            return assert(channel:write(part)):eof()
         end)
         local transfer = ssh.spawn(function()
            return assert(channel:read("a")) == part
         end)
         for i = 1, 3 do
            assert.is_true(assert(session:run("rekey", { timeout = 60 })).ok)
            assert.is_true(session.info.rekeys >= i)
         end
         assert.equal(channel, sending:wait())
         assert.is_true(transfer:wait())
         assert.equal("after", assert(session:run("echo after")).stdout)
      end)
   end
end)
