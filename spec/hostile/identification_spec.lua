-- Attacks, section B: the identification string and what may come before it.
--
-- A line that ends in a bare LF is accepted, as RFC 4253 4.2 allows it of old servers.

local oracle = require "spec.support.oracle"

-- A run against a server whose first bytes these are; after an identification that is accepted all goes on.
local function run(first, ident, options)
   options = options or {}
   return oracle.run{
      peer = { ident = ident or "SSH-2.0-peer", steps = { ident = function() return first end } },
      chunk = options.chunk, cut = options.cut,
   }
end

local function rejected(first, words, reason)
   return oracle.rejected(run(first), "protocol", reason or 2, words)
end

describe("B1: lines before the identification", function()
   it("are skipped, as many as 1,024", function()
      oracle.finished(run(("x\r\n"):rep(1024) .. "SSH-2.0-peer\r\n"))
   end)

   it("are rejected from the 1,025th on", function()
      rejected(("x\r\n"):rep(1025) .. "SSH-2.0-peer\r\n", "1024 lines")
   end)

   it("may be 8,192 bytes long, and not one more", function()
      oracle.finished(run(("x"):rep(8190) .. "\r\nSSH-2.0-peer\r\n"))
      rejected(("x"):rep(8191) .. "\r\nSSH-2.0-peer\r\n", "longer than 8192")
   end)

   it("end an endless line at the cap, without holding what comes", function()
      local endless = run(("x"):rep(1 << 20))
      local _, peak = endless.client.session:memory()
      assert.is_true(peak - endless.client.baseline < 256 * 1024, "took " .. peak)
      assert.is_true(endless.peer_bytes <= 8192 + 65536, "read on for " .. endless.peer_bytes)
      oracle.rejected(endless, "protocol", 2, "longer than 8192")
   end)

   it("may not hold a zero byte", function()
      rejected("hello\0\r\nSSH-2.0-peer\r\n", "zero byte")
   end)

   it("may look almost like it", function()
      oracle.finished(run("SSH\r\nSSH 2.0\r\n SSH-2.0-x\r\nSSH-2.0-peer\r\n"))
   end)
end)

describe("B2: the identification's length and bytes", function()
   local function of_length(n, ending)
      return "SSH-2.0-" .. ("v"):rep(n - 8 - #ending) .. ending
   end

   for _, n in ipairs{ 254, 255 } do
      it("may be " .. n .. " bytes with CR LF", function()
         local line = of_length(n, "\r\n")
         oracle.finished(run(line, line:sub(1, -3)))
      end)
   end

   for _, n in ipairs{ 256, 257, 300, 8192, 20000 } do
      it("may not be " .. n .. " bytes", function()
         rejected(of_length(n, "\r\n"), "255 bytes")
      end)
   end

   it("may not go on without an end", function()
      rejected("SSH-2.0-" .. ("v"):rep(1 << 20), "255 bytes")
   end)

   it("must have a software version", function()
      rejected("SSH-2.0-\r\n", "version is missing")
      rejected("SSH-1.99-\n", "version is missing")
   end)

   for name, byte in pairs{ ["a zero byte"] = "\0", ["a byte over 0x7f"] = "\xc3\xa9", ["an escape"] = "\27[2J",
      ["a lone CR"] = "\r", ["a tab"] = "\t" } do
      it("may not hold " .. name, function()
         rejected("SSH-2.0-pe" .. byte .. "er\r\n", "printable")
      end)
   end

   it("may end in a bare LF", function()
      oracle.finished(run("SSH-2.0-peer\n"))
   end)

   it("is not ended by a CR alone", function()
      oracle.rejected(run("SSH-2.0-peer\r", nil, { cut = 13 }), "eof", nil, "identification")
      rejected("SSH-2.0-peer\rSSH-2.0-peer\r\n", "printable")
   end)

   it("may come with CR and LF in two reads", function()
      local n = 0
      oracle.finished(run("SSH-2.0-peer\r\n", nil, { chunk = function()
         n = n + 1
         return n == 1 and 13 or n == 2 and 1 or math.huge
      end }))
   end)
end)

describe("B3: the protocol's version", function()
   for _, line in ipairs{ "SSH-2.0-peer", "SSH-1.99-peer", "SSH-2.0-peer with a comment" } do
      it("may be as in " .. line, function()
         oracle.finished(run(line .. "\r\n", line))
      end)
   end

   for _, line in ipairs{ "SSH-1.5-x", "SSH-2.1-x", "SSH-2-x", "SSH-3.0-x", "SSH-1.98-x", "SSH-2.0", "SSH-",
      "SSH-x" } do
      it("may not be as in " .. line, function()
         rejected(line .. "\r\n", "2%.0", 8)
      end)
   end

   it("is not written in small letters", function()
      -- Such a line is one of those before the identification, which then does not come.
      local case = run("ssh-2.0-x\r\n", nil, { cut = 11 })
      oracle.rejected(case, "eof", nil, "identification")
   end)

   it("is shown escaped when it is refused", function()
      local words = rejected("SSH-1.5-x%n%s\\\r\n", "1%.5", 8)
      assert.is_truthy(words:find("%n%s\\x5c", 1, true), words)
   end)
end)

describe("B4: the identification byte by byte", function()
   it("is accepted", function()
      oracle.finished(run("hello\r\nSSH-2.0-peer\r\n", nil, { chunk = 1 }))
   end)

   it("is rejected for the same causes", function()
      local case = run("SSH-1.5-x\r\n", nil, { chunk = 1 })
      oracle.rejected(case, "protocol", 8)
      case = run("SSH-2.0-" .. ("v"):rep(300), nil, { chunk = 1 })
      assert.is_true(case.peer_bytes <= 255, "read on for " .. case.peer_bytes)
      oracle.rejected(case, "protocol", 2, "255 bytes")
   end)
end)
