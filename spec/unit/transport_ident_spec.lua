-- The identification string (RFC 4253 4.2).

local testing = require "moonssh_testing"

-- A transport that has been given these bytes, in pieces of `size`: its kind of event, failure, and itself.
local function given(role, bytes, size)
   local heap = testing.heap.new()
   local transport = assert(testing.transport.new{ role = role, heap = heap,
      host_keys = { role == "server" and testing.keys.generate("ed25519") or nil } })
   assert(transport:start())
   local kind
   size = math.max(1, size or #bytes)
   for at = 1, #bytes, size do
      local piece, fed = bytes:sub(at, at + size - 1), 0
      while fed < #piece and kind ~= "failed" do
         fed = fed + transport:feed(piece:sub(fed + 1))
         kind = transport:next()
      end
   end
   return kind, transport:failure(), transport, heap
end

local function accepts(bytes, ident, size, role)
   local kind, failure, transport = given(role or "client", bytes, size)
   assert.equal("none", kind)
   assert.is_nil(failure)
   local info = transport:info()
   assert.equal(ident, role == "server" and info.client_ident or info.server_ident)
   assert.equal("kex", transport:stage())
end

local function rejects(bytes, reason, text, role)
   for _, size in ipairs{ #bytes, 1, 7 } do
      if size * 20000 > #bytes then
         local kind, failure = given(role or "client", bytes, size)
         assert.equal("failed", kind)
         assert.equal("protocol", failure.code)
         assert.equal(reason, failure.reason)
         assert.truthy(failure.message:find(text, 1, true))
      end
   end
end

-- An identification of this many bytes, CR LF included.
local function long(len)
   return "SSH-2.0-" .. ("x"):rep(len - 10) .. "\r\n"
end

describe("our identification", function()
   it("goes out at once, with KEXINIT behind it", function()
      local transport = assert(testing.transport.new{ software = "moonssh_1.2" })
      assert.equal("identification", transport:stage())
      assert(transport:start())
      local output = transport:output()
      assert.equal("SSH-2.0-moonssh_1.2\r\n", output:match("^[^\n]*\n"))
      assert.equal(20, output:byte(#"SSH-2.0-moonssh_1.2\r\n" + 6))
      assert.same({ n = 2, nil, "state" }, table.pack(transport:start()))
   end)

   it("has a software version of printable ASCII without spaces and '-'", function()
      for _, software in ipairs{ "", "a b", "a-b", "a\n", "\127", "\228", ("x"):rep(246) } do
         local none, code = testing.transport.new{ software = software }
         assert.is_nil(none)
         assert.equal("unsupported", code)
      end
      assert(testing.transport.new{ software = ("x"):rep(245) })
   end)
end)

describe("the peer's identification", function()
   it("is taken with CR LF or LF, and kept without them", function()
      accepts("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "SSH-2.0-OpenSSH_9.2p1 Debian-2")
      accepts("SSH-2.0-x\n", "SSH-2.0-x")
      accepts("SSH-1.99-x\r\n", "SSH-1.99-x")
      accepts("SSH-2.0-x\r\n", "SSH-2.0-x", nil, "server")
   end)

   it("is taken byte by byte", function()
      accepts("hello\r\nSSH-2.0-x y\r\n", "SSH-2.0-x y", 1)
      accepts("SSH-2.0-x\r\n", "SSH-2.0-x", 1, "server")
   end)

   it("has at most 255 bytes", function()
      for _, len in ipairs{ 11, 254, 255 } do
         accepts(long(len), long(len):sub(1, -3))
      end
      for _, len in ipairs{ 256, 257, 4096 } do
         rejects(long(len), 2, "longer than 255 bytes")
      end
      rejects("SSH-2.0-" .. ("x"):rep(247), 2, "longer than 255 bytes") -- and no end in sight
   end)

   it("has a version that we speak", function()
      for _, line in ipairs{ "SSH-1.5-x", "SSH-2.1-x", "SSH-3.0-x", "SSH-2.-x", "SSH-2.00-x", "SSH-", "SSH-2.0x",
         "SSH-2.0" } do
         rejects(line .. "\r\n", 8, "does not speak version 2.0")
      end
   end)

   it("has a software version", function()
      rejects("SSH-2.0-\r\n", 2, "software version is missing")
      rejects("SSH-1.99-\n", 2, "software version is missing")
   end)

   it("is printable ASCII", function()
      for _, byte in ipairs{ 0, 1, 9, 13, 27, 31, 127, 128, 155, 255 } do
         rejects("SSH-2.0-a" .. string.char(byte) .. "b\r\n", 2, "not printable ASCII")
      end
   end)

   it("is never the wrong case: then it is some line, and what follows is none", function()
      rejects("ssh-2.0-x\r\n\0\0\1\44\10\20", 2, "a zero byte in the lines before it")
      rejects("ssh-2.0-x\r\n", 2, "first line is something else", "server")
   end)

   it("gives the reason in words that cannot harm a terminal", function()
      local _, failure = given("client", "SSH-1.5-" .. ("\\"):rep(100) .. "\n")
      assert.is_nil(failure.message:find("[^\32-\126]"))
      assert.is_true(#failure.message < 300)
   end)

   it("may come with the packets behind it in one piece", function()
      local _, failure, transport = given("client", "SSH-2.0-x\r\n" ..
         (">I4B"):pack(12, 5) .. "\2\0\0\0\1x" .. ("\0"):rep(5))
      assert.is_nil(failure)
      assert.equal("SSH-2.0-x", transport:info().server_ident)
   end)
end)

describe("lines before it", function()
   it("are passed over by a client, up to 1024 of up to 8 KiB", function()
      accepts(("x\r\n"):rep(1024) .. "SSH-2.0-x\r\n", "SSH-2.0-x")
      accepts(("x\r\n"):rep(1024) .. "SSH-2.0-x\r\n", "SSH-2.0-x", 1)
      accepts(("y"):rep(8190) .. "\r\nSSH-2.0-x\r\n", "SSH-2.0-x")
      accepts("\n\r\n \27[0m\nSSH\nSSH-2.0-x\r\n", "SSH-2.0-x")
   end)

   it("are rejected beyond that", function()
      rejects(("x\r\n"):rep(1025) .. "SSH-2.0-x\r\n", 2, "more than 1024 lines")
      rejects(("y"):rep(8191) .. "\r\nSSH-2.0-x\r\n", 2, "longer than 8192 bytes")
      rejects(("y"):rep(8193), 2, "longer than 8192 bytes")
   end)

   it("take little memory however long they are", function()
      local kind, failure, _, heap = given("client", ("y"):rep(1 << 20))
      assert.equal("failed", kind)
      assert.equal(2, failure.reason)
      assert.is_true(heap:peak() < 128 << 10)
      kind, _, _, heap = given("client", (("y"):rep(8000) .. "\n"):rep(1100), 1 << 16)
      assert.equal("failed", kind)
      assert.is_true(heap:peak() < 1 << 20)
   end)

   it("are rejected by a server at their fourth byte", function()
      rejects("GET / HTTP/1.1\r\n", 2, "first line is something else", "server")
      rejects("GET ", 2, "first line is something else", "server")
      rejects("\r\nSSH-2.0-x\r\n", 2, "first line is something else", "server")
   end)
end)

describe("a stream that ends", function()
   it("before, in, or after the identification is a lost connection", function()
      for _, bytes in ipairs{ "", "SSH-2", "SSH-2.0-x\r\n", "SSH-2.0-x\r\n\0\0\0" } do
         local _, _, transport = given("client", bytes)
         transport:feed_eof()
         assert.equal("failed", (transport:next()))
         local failure = transport:failure()
         assert.equal("eof", failure.code)
         assert.truthy(failure.message:find(#bytes > 5 and "the key exchange" or "the identification", 1, true))
      end
   end)
end)
