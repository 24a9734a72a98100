local hex = require "spec.support.hex"
local macs = require "spec.support.macs"
local memory = require "spec.support.memory"
local messages = require "spec.support.messages"
local python = require "spec.support.python"
local ssh = require "moonssh"

-- Every way to protect a packet, and the usual ones with compression. `raw`: the packet is shown as it came, without so
-- many bytes of MAC, and not as the payload.
local modes = {}

local function add(cipher, mac, raw, compression)
   table.insert(modes, {
      name = cipher .. (mac and " and " .. mac or "") .. (compression and ", compressed" or ""),
      cipher = cipher, mac = mac, raw = raw, compression = compression,
   })
end

local CTR = { "aes128-ctr", "aes192-ctr", "aes256-ctr" }
for _, compression in ipairs{ false, "zlib@openssh.com" } do
   for _, cipher in ipairs{ "aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com" } do
      add(cipher, nil, 16, compression)
   end
   for i, mac in ipairs(ssh.algorithms.mac) do
      if not compression or mac:find("sha2", 1, true) then
         add(CTR[i % 3 + 1], mac, macs.is_etm(mac) and macs.tag(mac) or nil, compression)
      end
   end
end

-- Where the text of an IGNORE begins in its packet: after the packet's length, the padding's, the number, the text's.
local TEXT_AT = 4 + 1 + 1 + 4 + 1

local function connect(mode, handler)
   local names = {
      cipher = { mode.cipher },
      mac = mode.mac and { mode.mac },
      compression = mode.compression and { mode.compression } or nil,
   }
   local link = memory.connect{ session = { algorithms = names, callbacks = { macerror = handler } },
      server = { transport = { mac = mode.mac } } }
   -- Flips a bit of the next packet: the last of its MAC, or tag, unless it is told the byte.
   function link:send_wrong(payload, at)
      self:send(payload)
      self.change = function(bytes)
         self.change = nil
         self.wrong = bytes
         at = at or #bytes
         return bytes:sub(1, at - 1) .. string.char(bytes:byte(at) ~ 1) .. bytes:sub(at + 1)
      end
      return self
   end
   return link
end

for _, mode in ipairs(modes) do
   describe("with " .. mode.name, function()
      describe("a wrong MAC", function()
         it("ends the session when there is no macerror callback", function()
            local link = connect(mode)
            link:send_wrong(messages.ignore("damaged"))
            local ok, err = link.session:ping()
            assert.is_nil(ok)
            assert.equal("mac", err.code)
            assert.equal(err, link.session.failure)
            assert.equal(5, link.server:received("disconnect")[1].reason)
         end)

         it("is accepted with 0, and the stream stays in step", function()
            local packets, ignored = {}, {}
            local link = connect(mode, function(_, packet)
               table.insert(packets, packet)
               return 0
            end)
            link.session:callback_set("ignore", function(_, message)
               table.insert(ignored, message)
            end)
            link:send_wrong(messages.ignore("damaged")):settle()
            assert.equal(1, #packets)
            assert.same({ "damaged" }, ignored)
            assert.equal("hello", assert(link.session:run("echo hello")).stdout)
            link:send_wrong(messages.ignore("again")):settle()
            assert.same({ "damaged", "again" }, ignored)
            local data = ("0123456789"):rep(20000)
            assert.equal(data, assert(link.session:run("cat", { stdin = data })).stdout)
            assert.is_true(link.session:rekey())
            assert.equal("hello", assert(link.session:run("echo hello")).stdout)
         end)

         it("is accepted for data of a channel", function()
            local link = connect(mode, function() return 0 end)
            link.server.exec = function(channel)
               link:send_wrong("")
               channel:write("damaged but taken")
               channel:finish(0)
            end
            link.server.send = (function(original)
               return function(server, payload)
                  return payload == "" and server or original(server, payload)
               end
            end)(link.server.send)
            assert.equal("damaged but taken", assert(link.session:run("x")).stdout)
         end)

         it("ends the session for every answer but 0", function()
            for _, answer in ipairs{ 1, -1, 0.5, 0.0, "0", "", false, true, {}, print } do
               local link = connect(mode, function() return answer end)
               link:send_wrong(messages.ignore("damaged"))
               local ok, err = link.session:ping()
               assert.is_nil(ok)
               assert.equal("mac", err.code)
               assert.equal(5, link.server:received("disconnect")[1].reason)
            end
            local link = connect(mode, function() end)
            link:send_wrong(messages.ignore("damaged"))
            assert.equal("mac", select(2, link.session:ping()).code)
         end)
      end)

      it("the callback gets the session, what there is to see of the packet, and abstract", function()
         local seen
         local link = connect(mode, function(...)
            seen = table.pack(...)
            return 0
         end)
         link.session.abstract = "mine"
         link:send_wrong(messages.ignore("damaged")):settle()
         assert.equal(3, seen.n)
         assert.equal(link.session, seen[1])
         assert.equal("mine", seen[3])
         if mode.raw then
            -- All of it but the tag, as it came.
            assert.equal(link.wrong:sub(1, -1 - mode.raw), seen[2])
         elseif not mode.compression then
            assert.equal(messages.ignore("damaged"), seen[2])
         else
            -- It is the first packet of the stream, so that anybody can inflate it.
            local inflated = python.run([[
import zlib
print(zlib.decompressobj().decompress(bytes.fromhex(lines[0])).hex())
]], { hex.encode(seen[2]) })
            assert.equal(messages.ignore("damaged"), hex.decode(inflated[1]))
         end
      end)

      if not mode.compression then
         it("a packet that was changed within is decrypted when it is accepted, with the change", function()
            local packets, ignored = {}, {}
            local link = connect(mode, function(_, packet)
               table.insert(packets, packet)
               return 0
            end)
            link.session:callback_set("ignore", function(_, message)
               table.insert(ignored, message)
            end)
            link:send_wrong(messages.ignore("damaged"), TEXT_AT):settle()
            assert.same({ "eamaged" }, ignored)
            assert.equal(1, #packets)
            if not mode.raw then
               assert.equal(messages.ignore("eamaged"), packets[1])
            end
            assert.equal("hello", assert(link.session:run("echo hello")).stdout)
         end)
      end
   end)
end

describe("the macerror callback", function()
   local mode = modes[1]

   it("that throws ends the session with code mac, and its error is raised", function()
      local cause = {}
      local link = connect(mode, function()
         load("error(...)")(cause)
      end)
      link:send_wrong(messages.ignore("damaged"))
      local ok, err = pcall(link.session.ping, link.session)
      assert.is_false(ok)
      assert.equal("callback", err.code)
      assert.equal(cause, err.cause)
      assert.equal("macerror", err.callback)
      assert.equal("mac", link.session.failure.code)
      assert.equal(5, link.server:received("disconnect")[1].reason)
   end)

   it("may close the session", function()
      local link = connect(mode, function(session)
         session:close()
         return 0
      end)
      link:send_wrong(messages.ignore("damaged"))
      local ok, err = link.session:ping()
      assert.is_nil(ok)
      assert.equal("closed", err.code)
      assert.is_true(link.session.closed)
   end)

   it("is not asked about packets that are out of form", function()
      local calls = 0
      local link = connect(mode, function()
         calls = calls + 1
         return 0
      end)
      link:send(messages.ignore("x"))
      link.change = function(bytes)
         return "\127\255\255\255" .. bytes:sub(5)
      end
      local ok, err = link.session:ping()
      assert.is_nil(ok)
      assert.is_true(err.code == "protocol" or err.code == "mac", err.code)
      assert.equal(0, calls)
   end)
end)
