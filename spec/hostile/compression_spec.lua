-- Attacks, section Z: compression. What the server sends is deflated by hand; what the client sends is not compressed.

local Deflate = require "spec.support.peer.deflate"
local oracle = require "spec.support.oracle"
local wire = require "spec.support.wire"

local message = wire.message

local MOST = 256 * 1024

-- A run with compression of what the server sends, in which it sends raw deflate data at a moment.
local function sending(moment, make, options)
   options = options or {}
   local names = (options.compression or "zlib@openssh.com") .. ",none"
   return oracle.run{
      client = { session = { compression = names }, command = options.command },
      peer = {
         compression = options.compression or "zlib@openssh.com",
         inject = { [moment] = function(peer)
            for _, bytes in ipairs(make(peer.out.deflate or Deflate.new(), peer)) do
               peer:send_packet{ payload = bytes }
            end
         end },
      },
   }
end

-- IGNORE whose payload is n bytes long, deflated.
local function ignore_of(deflate, n)
   return deflate:run(wire.pack("bu", 2, n - 5) .. "x", n - 6)
end

describe("Z1: a packet that inflates", function()
   it("may grow to 256 KiB", function()
      local run = sending("authenticated", function(deflate) return { ignore_of(deflate, MOST) } end)
      local _, event = run.client:count("ignore")
      assert.are.equal(("x"):rep(MOST - 5), event[2])
      run.memory = 8 << 20
      oracle.finished(run)
   end)

   it("is rejected one byte beyond", function()
      local run = sending("authenticated", function(deflate) return { ignore_of(deflate, MOST + 1) } end)
      assert.are.equal(0, (run.client:count("ignore")))
      oracle.rejected(run, "protocol", 6, "inflates")
   end)

   it("a thousandfold is rejected at the limit, not after", function()
      local quiet = sending("authenticated", function() return {} end)
      local _, usual = quiet.client.session:memory()
      for _, n in ipairs{ 10 << 20, 36 << 20 } do
         local run = sending("authenticated", function(deflate) return { ignore_of(deflate, n) } end)
         local _, peak = run.client.session:memory()
         -- 36 MiB come as a packet of 240 KB.
         assert.is_true(peak - usual < 2 << 20, ("%d bytes, %d without"):format(peak, usual))
         oracle.rejected(run, "protocol", 6, "inflates")
      end
   end)

   it("is not inflated where compression was not asked for and the server can do without", function()
      local run = oracle.run{ peer = { compression = { "zlib@openssh.com", "zlib", "none" } } }
      assert.are.equal("none", run.client.session:info().compression.recv)
      oracle.finished(run)
   end)

   it("is not inflated before the login under zlib, unless that was named", function()
      local run = oracle.run{ client = { session = { compression = "zlib@openssh.com,none" } },
         peer = { compression = "zlib" } }
      oracle.rejected(run, "negotiation", 3)
   end)

   it("before the login is held to the same limit when zlib was named", function()
      local run = sending("accepted", function(deflate) return { ignore_of(deflate, MOST + 1) } end,
         { compression = "zlib" })
      oracle.rejected(run, "protocol", 6, "inflates")
      oracle.finished(sending("accepted", function() return {} end, { compression = "zlib" }))
   end)
end)

describe("Z2: what cannot be inflated", function()
   for name, make in pairs{
      ["a packet that inflates to nothing"] = function(deflate) return { deflate:header() .. "\0\0\0\xff\xff" } end,
      ["the header alone"] = function(deflate) return { deflate:header() } end,
      ["garbage"] = function() return { ("\xff"):rep(64) } end,
      ["a wrong header"] = function() return { "\x00\x00\0\0\0\xff\xff" } end,
      ["a wish for a dictionary"] = function() return { "\x78\xbb\1\2\3\4\0\0\0\xff\xff" } end,
      ["a block of the reserved type"] = function(deflate) return { deflate:header() .. "\6" .. ("\0"):rep(16) } end,
      ["a stored block whose length is wrong"] = function(deflate)
         return { deflate:header() .. "\0\5\0\5\0hello" }
      end,
      ["a distance too far back"] = function(deflate) return { deflate:header() .. "\x03\x02\0\0\0\0" } end,
   } do
      it(name .. " is rejected", function()
         local run = sending("authenticated", make)
         oracle.rejected(run, "protocol", 6)
      end)
   end

   it("the end of the stream is rejected, or what comes after it", function()
      for _, before in ipairs{ "", "\0\6\0\xf9\xff\2\0\0\0\1x" } do
         local run = sending("authenticated", function(deflate)
            return { deflate:header() .. before .. Deflate.FINAL, "\0\6\0\xf9\xff\2\0\0\0\1y" }
         end)
         oracle.rejected(run, "protocol", 6)
      end
   end)

   it("is not a block that is spread over two packets: each gives its own bytes", function()
      local first, second = message("IGNORE", "s", "first"), message("IGNORE", "s", "second")
      local run = sending("authenticated", function(deflate)
         local length = #first + #second
         return { deflate:header() .. "\0" .. ("<I2I2"):pack(length, ~length & 0xffff) .. first, second }
      end)
      assert.are.same({ "ignore", "first", n = 2 }, run.client.events[4])
      assert.are.same({ "ignore", "second", n = 2 }, run.client.events[5])
      oracle.finished(run)
   end)

   it("is not a packet with an empty block in front or behind", function()
      local payload = message("IGNORE", "s", "x")
      for _, around in ipairs{ { "\0\0\0\xff\xff", "" }, { "", "\0\0\0\xff\xff" } } do
         local run = sending("authenticated", function(deflate)
            return { deflate:header() .. around[1] .. "\0" .. ("<I2I2"):pack(#payload, ~#payload & 0xffff) .. payload ..
               around[2] }
         end)
         assert.are.equal(1, (run.client:count("ignore")))
         oracle.finished(run)
      end
   end)

   it("is rejected wherever a deflated packet is cut", function()
      local whole
      sending("authenticated", function(deflate)
         whole = deflate:run("\2\0\0\1\0x", 255)
         return { whole }
      end)
      for n = 3, #whole - 6 do
         local run = sending("authenticated", function(deflate)
            deflate:header()
            return { whole:sub(1, n) }
         end)
         assert.are.equal(0, (run.client:count("ignore")))
         local code, _, reason = run.client.session:failure()
         oracle.rejected(run, "protocol", reason)
         assert.are.equal("protocol", code)
      end
   end)
end)

describe("Z3: compression", function()
   it("goes on over ten key exchanges, each with a stream of its own, and the data are exact", function()
      local want = {}
      local function go_on(peer, channel, round)
         for i = 1, 5 do
            local piece = ("%d.%d,"):format(round, i):rep(500)
            table.insert(want, piece)
            peer:message("CHANNEL_DATA", "us", channel.remote, piece)
         end
         if round <= 10 then
            peer:rekey(function() go_on(peer, channel, round + 1) end)
         else
            peer.output = table.concat(want)
            peer:finish(channel)
         end
      end
      local run = oracle.run{
         client = { session = { compression = "zlib@openssh.com,none" } },
         peer = { compression = "zlib@openssh.com", steps = { run = function(peer, channel)
            go_on(peer, channel, 1)
         end } },
      }
      assert.are.equal(10, run.client.session:info().rekeys)
      assert.are.equal("zlib@openssh.com", run.client.session:info().compression.recv)
      oracle.finished(run)
   end)

   it("starts only after the login: a compressed packet before it is rejected", function()
      for _, moment in ipairs{ "newkeys", "accepted", "userauth" } do
         local run = sending(moment, function(deflate) return { deflate:stored(message("IGNORE", "s", "x")) } end)
         assert.are.equal(0, (run.client:count("ignore")))
         oracle.rejected(run, "protocol", 2, "out of place")
      end
   end)

   it("starts with the very next packet after it", function()
      local run = sending("authenticated", function(deflate)
         return { deflate:stored(message("IGNORE", "s", "x")) }
      end)
      assert.are.equal(1, (run.client:count("ignore")))
      oracle.finished(run)
      -- A packet that is not compressed there is garbage to zlib.
      run = oracle.run{ client = { session = { compression = "zlib@openssh.com,none" } }, peer = {
         compression = "zlib@openssh.com", inject = { authenticated = function(peer)
            peer:send_packet{ payload = message("IGNORE", "s", "x") }
         end } } }
      oracle.rejected(run, "protocol", 6)
   end)
end)
