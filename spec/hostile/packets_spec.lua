-- Attacks, section P: the binary packet layer.

local oracle = require "spec.support.oracle"
local wire = require "spec.support.wire"

local message = wire.message

-- The framings there are, and whether their length is known to be good or bad only after the MAC: then it must fail as
-- the MAC does.
local suites = {
   { cipher = "aes128-ctr", mac = "hmac-sha2-256", block = 16, counted = 4, blind = true },
   { cipher = "aes192-ctr", mac = "hmac-sha2-512", block = 16, counted = 4, blind = true },
   { cipher = "aes256-ctr", mac = "hmac-sha2-256-etm@openssh.com", block = 16, counted = 0 },
   { cipher = "aes128-ctr", mac = "hmac-sha2-512-etm@openssh.com", block = 16, counted = 0 },
   { cipher = "aes128-gcm@openssh.com", block = 16, counted = 0 },
   { cipher = "aes256-gcm@openssh.com", block = 16, counted = 0 },
   { cipher = "chacha20-poly1305@openssh.com", block = 8, counted = 0 },
   { cipher = "aes192-ctr", mac = "umac-128@openssh.com", block = 16, counted = 4, blind = true },
   { cipher = "aes256-ctr", mac = "umac-64-etm@openssh.com", block = 16, counted = 0 },
   { cipher = "aes256-cbc", mac = "hmac-sha2-256", block = 16, counted = 4, blind = true, conceals = true },
   { cipher = "3des-cbc", mac = "hmac-md5-96", block = 8, counted = 4, blind = true, conceals = true },
   { cipher = "aes128-cbc", mac = "hmac-sha1-etm@openssh.com", block = 16, counted = 0 },
   { cipher = "3des-cbc", mac = "hmac-sha1-96-etm@openssh.com", block = 8, counted = 0 },
}
-- "conceals": whatever is wrong with a packet, it is only said after as many bytes as the largest one has.
for _, suite in ipairs(suites) do
   suite.name = suite.cipher .. (suite.mac and " with " .. suite.mac or "")
end

local CLEAR = { name = "no cipher", block = 8, counted = 4 }

-- A run in which the server sends these packets, sealed under the suite, when authentication begins.
local function under(suite, packets, options)
   options = options or {}
   local case = oracle.prepare{
      peer = {
         cipher = suite.cipher, mac = suite.mac,
         inject = { accepted = function(peer)
            peer.mark = peer.sent_bytes
            for _, fields in ipairs(packets) do
               peer:send_packet(fields)
            end
            if options.junk then
               peer:raw(("\0"):rep(options.junk))
            end
            peer.mute = options.mute
         end },
      },
      client = options.client or { session = { cipher = suite.cipher, mac = suite.mac } },
      at_rest = options.at_rest,
   }
   return case:go()
end

-- How much is to follow a bad packet, where it need be no more than n.
local function junk_after(suite, n)
   return suite.conceals and 65536 + 128 or n
end

-- The same before any key is in use.
local function in_clear(fields)
   return oracle.run{ peer = { inject = { ident = function(peer)
      peer:send_packet(fields)
      peer.mute = true
   end } } }
end

local function ends(run)
   run.client.session:input_eof()
   run.client:step()
   return oracle.rejected(run, "eof")
end

local lengths = { 0, 1, 4, 5, 7, 11, 12, 15, 16, 24, 28, 32, 34992, 35000, 35001, 65516, 65520, 65528, 65532, 65536,
   65537, 65552, 262144, 262145, 0x7fffffff, 0x80000000 }
for last = 0xf0, 0xff do
   table.insert(lengths, 0xffffff00 + last)
end

local BEFORE_LOGIN = 65536

local function is_possible(suite, length)
   return length >= 6 and length <= BEFORE_LOGIN and (length + suite.counted) % suite.block == 0
end

describe("P1: packet_length", function()
   local function judge(suite, length, run)
      if suite.conceals then
         oracle.rejected(run, "mac", 5)
      elseif is_possible(suite, length) then
         oracle.alive(run)
         ends(run)
      elseif suite.blind then
         oracle.rejected(run, "mac", 5)
      else
         oracle.rejected(run, "protocol", 2, "impossible length")
      end
   end

   it("is held to its bounds before there are keys", function()
      for _, length in ipairs(lengths) do
         local run = in_clear{ body = "", packet_length = length }
         judge(CLEAR, length, run)
      end
   end)

   for _, suite in ipairs(suites) do
      it("is held to its bounds under " .. suite.name, function()
         for _, length in ipairs(lengths) do
            local tag = ("t"):rep(8) -- never a whole packet, but always the first block
            judge(suite, length, under(suite, { { body = ("b"):rep(12), packet_length = length, tag = tag } },
               { mute = true, junk = junk_after(suite) }))
         end
      end)
   end

   it("never makes the client take memory for what is not allowed", function()
      local normal = oracle.run{}
      local _, usual = normal.client.session:memory()
      for _, length in ipairs{ 65537, 262144, 0x7fffffff, 0xffffffff } do
         local run = in_clear{ body = ("b"):rep(60), packet_length = length }
         local _, peak = run.client.session:memory()
         assert.is_true(peak <= usual + 16384, ("%d bytes for a length of %d, %d normally"):format(peak, length, usual))
         oracle.rejected(run, "protocol", 2)
      end
   end)

   it("may be larger once the user is authenticated, up to the limit", function()
      local function after_login(length)
         return oracle.run{ peer = { inject = { authenticated = function(peer)
            peer:send_packet{ body = "", packet_length = length, tag = "" }
            peer.mute = true
         end } }, client = { session = { max_packet = 131072 } } }
      end
      oracle.alive(after_login(131072))
      oracle.rejected(after_login(131088), "protocol", 2, "impossible length")
   end)
end)

describe("P2: short packets whose tag is right", function()
   for _, suite in ipairs(suites) do
      it("are taken or rejected, never misread, under " .. suite.name, function()
         for length = 0, 64 do
            -- An unknown message with the least padding: whatever its length, the answer is UNIMPLEMENTED.
            local body = length < 6 and ("\4"):rep(length) or "\4" .. ("\200"):rep(length - 5) .. "\0\0\0\0"
            local run = under(suite, { { body = body } }, { junk = junk_after(suite, 64) })
            if is_possible(suite, length) then
               assert.are.equal(1, #run.peer:seen("UNIMPLEMENTED"), "for length " .. length)
            else
               assert.are.equal(0, #run.peer:seen("UNIMPLEMENTED"), "for length " .. length)
               oracle.rejected(run, suite.blind and "mac" or "protocol", suite.blind and 5 or 2)
            end
         end
      end)
   end
end)

describe("P3: padding_length", function()
   local function lying(suite, padding_length)
      return under(suite, { { payload = message("IGNORE", "s", ("i"):rep(18)), padding_length = padding_length } },
         { junk = junk_after(suite) })
   end

   local function rejected(suite, run)
      if suite.conceals then
         oracle.rejected(run, "mac", 5)
      else
         oracle.rejected(run, "protocol", 2, "impossible padding")
      end
   end

   for _, suite in ipairs(suites) do
      it("is held to its bounds under " .. suite.name, function()
         for _, n in ipairs{ 0, 1, 2, 3, 255 } do
            rejected(suite, lying(suite, n))
         end
      end)

      it("may not leave an empty payload under " .. suite.name, function()
         local length = suite.counted == 4 and 28 or 32
         for _, n in ipairs{ length - 1, length } do
            rejected(suite, under(suite, { { body = string.char(n) .. ("p"):rep(length - 1) } },
               { junk = junk_after(suite) }))
         end
      end)
   end

   it("is held to its bounds before there are keys", function()
      for _, n in ipairs{ 0, 1, 2, 3, 11, 12, 255 } do
         oracle.rejected(in_clear{ body = string.char(n) .. ("\2"):rep(11) }, "protocol", 2, "impossible padding")
      end
   end)
end)

describe("P4: a packet that is no multiple of the block", function()
   for _, suite in ipairs(suites) do
      it("is rejected under " .. suite.name, function()
         for extra = 1, suite.block - 1 do
            local body = "\4" .. ("\200"):rep(suite.block * 3 - suite.counted - 5 + extra) .. "\0\0\0\0"
            local run = under(suite, { { body = body } }, { junk = junk_after(suite, 64) })
            oracle.rejected(run, suite.blind and "mac" or "protocol", suite.blind and 5 or 2)
         end
      end)
   end

   it("cannot reach an assert, abort or exit: the core has none", function()
      local files = io.popen("find csrc -name '*.[ch]' -not -path 'csrc/testing/*'")
      local n = 0
      for path in files:lines() do
         local file <close> = assert(io.open(path))
         local text = file:read("a"):gsub("/%*.-%*/", " "):gsub('"[^"\n]*"', '""')
         for _, name in ipairs{ "assert", "abort", "exit", "_exit", "quick_exit", "__builtin_trap", "raise" } do
            assert.is_nil(text:find("%f[%w_]" .. name .. "%s*%("), path .. " calls " .. name)
         end
         n = n + 1
      end
      files:close()
      assert.is_true(n > 50)
   end)
end)

describe("P6: a flipped bit", function()
   local payload = message("IGNORE", "s", "secrets, secrets")

   -- How long a packet is, and its tag.
   local function measure(suite)
      local packet_length, tag_length
      under(suite, { { payload = payload, tamper = function(packet, tag)
         packet_length, tag_length = #packet, #tag
         return packet .. tag
      end } })
      return packet_length, tag_length
   end

   -- One bit of the packet or its tag, by its number; what follows is long enough for whatever length it now has.
   local function flipped(suite, bit)
      return under(suite, { { payload = payload, tamper = function(packet, tag)
         local bytes = packet .. tag
         local at = bit // 8 + 1
         return bytes:sub(1, at - 1) .. string.char(bytes:byte(at) ~ 1 << bit % 8) .. bytes:sub(at + 1)
      end } }, { junk = BEFORE_LOGIN + 128 })
   end

   for _, suite in ipairs(suites) do
      it("anywhere in a packet is noticed under " .. suite.name, function()
         local packet_length, tag_length = measure(suite)
         for at = 0, packet_length + tag_length - 1 do
            local run = flipped(suite, at * 8 + at % 8)
            local code = run.client.session:failure()
            assert.is_true(code == "mac" or code == "protocol" and at < 4, ("byte %d: %s"):format(at, code))
            assert.are.equal(0, (run.client:count("ignore")))
            oracle.rejected(run, code, code == "mac" and 5 or 2)
         end
      end)
   end

   for _, suite in ipairs{ suites[5], suites[7] } do
      it("is noticed whichever bit of the tag it is, under " .. suite.name, function()
         local packet_length, tag_length = measure(suite)
         for bit = packet_length * 8, (packet_length + tag_length) * 8 - 1 do
            local run = flipped(suite, bit)
            assert.are.equal(0, (run.client:count("ignore")))
            oracle.rejected(run, "mac", 5)
         end
      end)
   end

   for _, suite in ipairs(suites) do
      it("cannot be hidden by a tag cut short, under " .. suite.name, function()
         local _, full = measure(suite)
         for _, cut in ipairs{ 1, math.max(full - 12, 2), full - 1, full } do
            -- What comes next is not by chance what is missing.
            local run = under(suite, { { payload = payload, tamper = function(packet, tag)
               return packet .. tag:sub(1, full - cut) .. string.char(tag:byte(full - cut + 1) ~ 0xff)
            end } }, { junk = junk_after(suite, 128) })
            assert.are.equal(0, (run.client:count("ignore")))
            oracle.rejected(run, "mac", 5)
         end
      end)
   end
end)
