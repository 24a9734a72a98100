-- How often client and server wait for each other. The server speaks only once the client has nothing more to say, and
-- the other way round; the round trip of TCP itself comes on top.

local MemorySession = require "spec.support.memory_session"
local ssh = require "moonssh"

local key = assert(ssh.key.generate("ed25519"))

describe("connecting with an ed25519 key, running a command and having its exit status", function()
   local function count(peer, session)
      peer.status = 3
      local link = MemorySession.new{ patient = true, peer = peer, session = session }
      assert(link:handshake{ host = "moon", host_keys = "off" })
      local connected = link.exchanges
      assert(link.session:authenticate{ user = "moon", identity = key })
      local authenticated = link.exchanges
      local result = assert(link.session:run("date"))
      assert.are.equal(3, result.status)
      assert.are.equal("hello\n", result.stdout)
      local finished = link.exchanges
      link.session:close()
      return { connected, authenticated, finished }
   end

   it("takes five exchanges: two for keys, one for the login, two for the command", function()
      assert.are.same({ 2, 3, 5 }, count{})
   end)

   it("takes no more with any cipher, key exchange or host key that needs no round of its own", function()
      local keys = require "spec.support.peer.keys"
      for _, options in ipairs{
         { cipher = "chacha20-poly1305@openssh.com" }, { cipher = "aes256-ctr", mac = "hmac-sha2-256-etm@openssh.com" },
         { kex = "ecdh-sha2-nistp256" }, { kex = "diffie-hellman-group14-sha256" }, { host_key = keys.ecdsa(256) },
         { strict = false }, { ext_info = false }, { compression = "zlib@openssh.com" },
      } do
         assert.are.same({ 2, 3, 5 }, count(options))
      end
   end)

   it("takes no more through known_hosts", function()
      local tmp = require "spec.support.tmp"
      local folder <close> = tmp.dir()
      local link = MemorySession.new{ patient = true }
      local blob = link.peer.host_key:blob()
      local testing = require "moonssh_testing"
      local path = folder:write("known_hosts", "moon ssh-ed25519 " .. testing.keys.base64_encode(blob) .. "\n")
      assert(link:handshake{ host = "moon", known_hosts = path })
      assert(link.session:authenticate{ user = "moon", identity = key })
      assert(link.session:run("date"))
      assert.are.equal(5, link.exchanges)
   end)

   it("takes one more for a group exchange", function()
      assert.are.same({ 3, 4, 6 }, count{ kex = "diffie-hellman-group-exchange-sha256" })
   end)

   it("takes two for each further command", function()
      local link = MemorySession.new{ patient = true }
      assert(link:login())
      assert(link.session:run("one"))
      local before = link.exchanges
      assert(link.session:run("two"))
      assert.are.equal(2, link.exchanges - before)
   end)
end)

describe("the first flight", function()
   it("holds identification and KEXINIT, before the server has said a word", function()
      local link = MemorySession.new{ patient = true, peer = { steps = {
         ident = function() return "" end, kexinit = function() end } } }
      local session = link.session
      session.timeout = 0.05
      local ok, err = session:handshake(nil)
      assert.is_nil(ok)
      assert.are.equal("timeout", err.code)
      link:settle()
      assert.is_truthy(link.peer.client_ident:find("^SSH%-2%.0%-"))
      assert.are.equal(1, #link.peer:seen("KEXINIT"))
   end)

   it("of the login holds service request and signed request, and no probe", function()
      local link = MemorySession.new{ patient = true }
      assert(link:handshake{ host = "moon", host_keys = "off" })
      assert(link.session:authenticate{ user = "moon", identity = key })
      assert.are.equal(1, #link.peer:seen("SERVICE_REQUEST"))
      assert.are.equal(1, #link.peer.requests)
      assert.is_truthy(link.peer.requests[1].signature)
   end)
end)
