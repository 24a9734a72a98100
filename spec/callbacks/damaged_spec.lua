-- sshd's own packets, damaged on their way: a proxy turns one bit in the MAC, or tag, of a chosen one. Where a packet
-- begins and ends is known because it is the only one that comes: the answer to one question.

local dial = require "spec.support.dial"
local macs = require "spec.support.macs"
local messages = require "spec.support.messages"
local Proxy = require "spec.support.proxy"
local server = require "spec.support.server"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"

local AEAD = "AEAD"

local function tag_of(mac)
   return mac == AEAD and 16 or macs.tag(mac)
end

-- Every way of sealing that we know, and the usual ones with compression as well.
local modes = {}
for _, compression in ipairs{ "none", "zlib@openssh.com" } do
   for _, cipher in ipairs{ "aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com" } do
      table.insert(modes, { cipher = cipher, mac = AEAD, raw = true, compression = compression })
   end
   for i, mac in ipairs(ssh.algorithms.mac) do
      if compression == "none" or mac:find("sha2") then
         table.insert(modes, { cipher = i % 2 == 0 and "aes128-ctr" or "aes256-ctr", mac = mac,
            raw = macs.is_etm(mac), compression = compression })
      end
   end
end

describe("sshd's packet with a wrong MAC", function()
   if server.missing("sshd") then
      pending(server.missing("sshd"))
      return
   end

   local sshd

   setup(function()
      sshd = server.sshd{ config = "MACs " .. table.concat(ssh.algorithms.mac, ",") }
   end)

   teardown(function()
      sshd:stop()
   end)

   local function connect(mode, proxy, callbacks)
      local session = assert(dial(sshd, { socket = proxy.fd, callbacks = callbacks, algorithms = {
         cipher = { mode.cipher },
         mac = mode.mac ~= AEAD and { mode.mac } or nil,
         compression = { mode.compression },
      } }))
      assert.equal(mode.cipher, session.info.cipher.recv)
      assert.equal(mode.mac ~= AEAD and mode.mac or nil, session.info.mac.recv)
      assert.equal(mode.compression, session.info.compression.recv)
      return session
   end

   -- The bytes of the one packet that comes in answer to a question: the fewest, and by how many it may be longer,
   -- as compression is not the same each time.
   local function answer_length(proxy, session, ask)
      local least, most = math.maxinteger, 0
      for _ = 1, 12 do
         local before = session.info.packets_received
         local length = proxy:measure(ask)
         assert.equal(before + 1, session.info.packets_received)
         least, most = math.min(least, length), math.max(most, length)
      end
      return least, most - least
   end

   -- Has one bit turned, counted from the end of so many bytes.
   local function damage(proxy, length, bit)
      local packet = {}
      proxy:hold(length, function(bytes)
         local at = length - bit // 8
         packet.bytes = bytes
         return bytes:sub(1, at - 1) .. string.char(bytes:byte(at) ~ (1 << bit % 8)) .. bytes:sub(at + 1)
      end)
      return packet
   end

   for _, mode in ipairs(modes) do
      describe(("(%s, %s, compression %s)"):format(mode.cipher, mode.mac, mode.compression), function()
         it("is accepted with 0, wherever the bit is, and all goes on", function()
            local seen = {}
            local proxy <close> = Proxy.new(sshd)
            local session <close> = connect(mode, proxy, { macerror = function(_, packet)
               table.insert(seen, packet)
               return 0
            end })
            local function ask()
               assert(session:ping())
            end
            assert.equal("hello\n", assert(session:run("echo hello")).stdout)
            local length, longer = answer_length(proxy, session, ask)
            local tag = tag_of(mode.mac)
            local sure = tag - longer -- so many of the last bytes are of the tag in any case
            assert.is_true(sure >= 8 and (longer == 0 or mode.compression ~= "none"))
            for i, bit in ipairs{ 0, 7, sure * 4 + 3, sure * 8 - 1 } do
               local packet = damage(proxy, length, bit)
               ask()
               assert.equal(i, #seen)
               if mode.raw then
                  assert.is_true(#seen[i] >= length - tag and #seen[i] <= length + longer - tag)
                  assert.equal(packet.bytes:sub(1, #seen[i]), seen[i])
               elseif mode.compression == "none" then
                  assert.equal(messages.request_failure(), seen[i])
               else
                  assert.are_not.equal(messages.request_failure(), seen[i])
                  assert.is_true(#seen[i] > 1 and #seen[i] < length)
               end
            end
            assert.equal("hello\n", assert(session:run("echo hello")).stdout)
            assert.is_true(session:rekey())
            local data = ("0123456789"):rep(20000)
            assert.equal(data, assert(session:run("cat", { stdin = data })).stdout)
            assert.equal(4, #seen)
         end)

         it("ends the session without a handler, with DISCONNECT 5", function()
            local proxy <close> = Proxy.new(sshd)
            local session = connect(mode, proxy)
            assert.equal("hello\n", assert(session:run("echo hello")).stdout)
            local function ask()
               return session:ping()
            end
            local length = answer_length(proxy, session, ask)
            local function told()
               return select(2, sshd:log():gsub("Received disconnect from [^\n]*:5: ", ""))
            end
            local before = told()
            damage(proxy, length, 8)
            local ok, err = ask()
            assert.is_nil(ok)
            assert.equal("mac", err.code)
            assert.equal(err, session.failure)
            waiting.await(function() return told() == before + 1 end, "sshd to log the DISCONNECT")
            session:close()
         end)
      end)
   end

   it("carries its data to the channel when it is accepted", function()
      for _, mode in ipairs(modes) do
         if mode.compression ~= "none" then
            break
         end
         local calls = 0
         local proxy <close> = Proxy.new(sshd)
         local session <close> = connect(mode, proxy, { macerror = function(_, packet)
            calls = calls + 1
            if not mode.raw then
               assert.equal("abc\n", messages.parse(packet).data)
            end
            return 0
         end })
         local channel <close> = assert(session:exec("cat"))
         local function echo()
            assert(channel:write("abc\n"))
            assert.equal("abc", channel:read("l"))
         end
         echo() -- what comes once at the start has come
         local length = answer_length(proxy, session, echo)
         damage(proxy, length, 5)
         echo()
         echo()
         assert.equal(1, calls)
         assert(channel:eof())
         assert.is_nil(channel:read())
         assert.equal(0, channel:wait())
      end
   end)
end)
