-- Attacks, row M1 and section 2.3: secrets that stay behind in memory. All that this process can write to is searched
-- for them; the server is another process, so that its copies do not count, and the secrets are kept masked.
--
-- A password is a Lua string, which cannot be wiped: it is there once as long as it is referred to. Beyond that nothing
-- may be: everything that the core has done with it is gone.

local CoreClient = require "spec.support.core_client"
local core = require "moonssh.core"
local process = require "spec.support.process"
local scan = require "moonssh_testing".scan
local ssh = require "moonssh"
local tmp = require "spec.support.tmp"

local MASK = 0x5a
local TIMEOUT = 120

local function from_hex(text)
   return (text:gsub("..", function(pair) return string.char(tonumber(pair, 16)) end))
end

local function to_hex(bytes)
   return (bytes:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

-- How many copies of a masked secret there are.
local function copies(masked)
   collectgarbage()
   collectgarbage()
   return scan.count(masked, MASK)
end

local function none(masked, what)
   local n, places = copies(masked)
   assert.are.equal(0, n, (what or "the secret") .. " is at\n" .. places)
end

-- A secret of n random bytes, as its masked form; scan.unmask gives the only copy of it.
local function new_secret(n)
   return core.random(n)
end

describe("the search", function()
   it("finds what is there, and leaves no copy of its own", function()
      local masked = new_secret(32)
      none(masked)
      local secret = scan.unmask(masked, MASK)
      assert.are.equal(32, #secret)
      assert.is_true(copies(masked) >= 1)
      assert.are.equal(32, #secret) -- it was needed until here
   end)
end)

-- A server in a process of its own, and what moves between it and a session of the core.
local Remote = {}
Remote.__index = Remote

function Remote.new(options)
   local child = assert(process.start{ process.lua, "spec/support/peer/stdio.lua", options, stdin = "pipe",
      stdout = "pipe", stderr = "pipe" })
   return setmetatable({ child = child, said = "" }, Remote)
end

function Remote:__close()
   self.child:close()
end

-- Moves bytes until the condition holds.
function Remote:pump(client, condition)
   local session = client.session
   local deadline = process.now() + TIMEOUT
   while true do
      client:step()
      local bytes = session:output(1 << 16)
      while bytes do
         session:output_done(#bytes)
         assert(self.child:write(bytes))
         client:step()
         bytes = session:output(1 << 16)
      end
      if condition() then
         return
      end
      local code, words = session:failure()
      assert(not code, words)
      local data = self.child:read("stdout", 1)
      assert(data ~= "", "the server has ended")
      while data and #data > 0 and not session:failure() do
         local n = math.min(#data, session:input_room())
         session:input(data:sub(1, n))
         data = data:sub(n + 1)
         client:step()
      end
      assert(process.now() < deadline, "it does not go on")
   end
end

-- The secrets that the server has reported: name → masked bytes.
function Remote:secrets(n)
   local found, count
   repeat
      local words = assert(self.child:read("stderr", TIMEOUT))
      assert(words ~= "", "the server has ended")
      self.said = self.said .. words
      found, count = {}, 0
      for name, text in self.said:gmatch("(%S+) (%x+)\n") do
         count = count + (found[name] and 0 or 1)
         found[name] = from_hex(text)
      end
   until count >= n
   return found
end

local function start(client)
   assert(client.session:start())
   return client
end

describe("M1: a password", function()
   -- What is left after a login with it.
   local function login(auth, server, until_event)
      local masked = new_secret(32)
      local remote <close> = Remote.new(("{ password = unmask('%s'), %s }"):format(to_hex(masked), server or ""))
      local password = scan.unmask(masked, MASK)
      assert.are.equal(1, copies(masked))
      local client = start(CoreClient.new{ auth = auth, password = password, command = false })
      remote:pump(client, function() return client:count(until_event or "auth_success") > 0 end)
      local n, places = copies(masked)
      assert.are.equal(1, n, "while the session is open:\n" .. places)
      client.session:close()
      n, places = copies(masked)
      assert.are.equal(1, n, "when the session is closed:\n" .. places)
      assert.are.equal(32, #password)
   end

   it("is not kept by the core once it is sent", function()
      login("password")
   end)

   it("is not kept by the core as an answer to a prompt", function()
      login("interactive")
   end)

   it("is not kept by the core when it was wrong", function()
      login("password", "steps = { userauth = function() return '\\51\\0\\0\\0\\0\\0' end }", "auth_failure")
   end)

   it("is not kept by the core when the server breaks the protocol in return", function()
      login("password", "steps = { userauth = function() return '\\90' end }", "failed")
   end)

   it("is not kept by the core when it is not sent at all", function()
      local masked = new_secret(32)
      local password = scan.unmask(masked, MASK)
      local client = start(CoreClient.new())
      assert.is_nil((client.session:auth_password("moon", password)))
      client.session:close()
      assert.are.equal(1, copies(masked))
      assert.are.equal(32, #password)
   end)

   it("is not kept by the library, but as the string it was given", function()
      local masked = new_secret(32)
      local remote <close> = Remote.new(("{ password = unmask('%s') }"):format(to_hex(masked)))
      local password = scan.unmask(masked, MASK)
      do
         local session <close> = assert(ssh.session{ timeout = TIMEOUT, callbacks = {
            send = function(_, buffer) assert(remote.child:write(buffer)) return #buffer end,
            recv = function() return remote.child:read("stdout", 0.01) or -ssh.EAGAIN end,
         } })
         assert(session:handshake(nil, { host = "moon", host_keys = "off" }))
         assert(session:authenticate{ user = "moon", password = password })
         assert.are.equal("hello\n", assert(session:run("date")).stdout)
      end
      local n, places = copies(masked)
      assert.are.equal(1, n, places)
      assert.are.equal(32, #password)
   end)
end)

describe("M1: the secrets of a key exchange", function()
   for _, suite in ipairs{
      "cipher = 'aes128-gcm@openssh.com'", "cipher = 'aes256-gcm@openssh.com'",
      "cipher = 'chacha20-poly1305@openssh.com'",
      "cipher = 'aes256-ctr', mac = 'hmac-sha2-256'", "cipher = 'aes128-ctr', mac = 'hmac-sha2-512-etm@openssh.com'",
      "kex = 'ecdh-sha2-nistp256'", "kex = 'ecdh-sha2-nistp521'", "kex = 'diffie-hellman-group14-sha256'",
      "kex = 'diffie-hellman-group-exchange-sha256'", "kex = 'mlkem768x25519-sha256'", "kex = 'sntrup761x25519-sha512'",
   } do
      it("are gone when they are not needed any more, with " .. suite, function()
         local remote <close> = Remote.new("{ report = true, " .. suite .. " }")
         local client = start(CoreClient.new{ command = false })
         remote:pump(client, function() return client:count("auth_success") > 0 end)
         local per_exchange = suite:find("ctr") and 7 or suite:find("chacha") and 3 or 5
         local first = remote:secrets(per_exchange)
         none(first["K-0"], "the shared secret")
         client.session:rekey()
         remote:pump(client, function() return client:count("kex_done") == 2 end)
         local second = remote:secrets(2 * per_exchange)
         for name, masked in pairs(first) do
            none(masked, name .. " of the first exchange, after the second,")
         end
         client.session:close()
         for name, masked in pairs(second) do
            none(masked, name .. ", after the session,")
         end
      end)
   end
end)

describe("M1: a private key", function()
   -- Run in another process: makes a key of a type, writes its file under a passphrase, and prints its secret number:
   -- of ed25519 the seed, of ECDSA the exponent, of RSA the first prime.
   local MAKE = [[
      local testing = require "moonssh_testing"
      local path, type = arg[1], arg[2]
      local passphrase = arg[3]:gsub("..", function(pair) return string.char(tonumber(pair, 16) ~ 0x5a) end)
      local key = testing.keys.generate(type, type == "rsa" and 2048 or nil)
      local body = key:export():gsub("%-%-%-%-%-.-%-%-%-%-%-", ""):gsub("%s", "")
      local bytes = testing.keys.base64_decode(body)
      local fields = { (">zs4s4s4I4s4s4"):unpack(bytes:sub(1)) }
      local private = fields[7]
      local secret
      if type == "ed25519" then
         local _, _, _, _, both = (">I4I4s4s4s4"):unpack(private)
         secret = both:sub(1, 32)
      elseif type == "ecdsa" then
         secret = select(6, (">I4I4s4s4s4s4"):unpack(private))
      else
         secret = select(8, (">I4I4s4s4s4s4s4s4"):unpack(private))
      end
      secret = secret:gsub("^\0", "")
      local file = io.open(path, "w")
      file:write(key:export(passphrase))
      file:close()
      io.write((secret:gsub(".", function(byte) return ("%02x"):format(byte:byte() ~ 0x5a) end)))
   ]]

   local function make(folder, masked_passphrase, type)
      local script, path = folder:write("make.lua", MAKE), folder:path("key")
      local hex = process.check{ process.lua, script, path, type or "ed25519", to_hex(masked_passphrase) }
      local file <close> = assert(io.open(path))
      return from_hex(hex), file:read("a")
   end

   -- Of the format of OpenSSH, which is read here. PEM is read by OpenSSL, whose decoder frees its copy as it is.
   for type, algorithm in pairs{ ecdsa = "ecdsa-sha2-nistp256", rsa = "rsa-sha2-512" } do
      it("of " .. type .. " is gone when its handle is", function()
         local folder <close> = tmp.dir()
         local masked_passphrase = new_secret(24)
         local masked_secret, text = make(folder, masked_passphrase, type)
         local key = assert(core.key.parse_file(text, scan.unmask(masked_passphrase, MASK)))
         assert.is_true(#key:sign("data", algorithm) > 64)
         assert.is_true(copies(masked_secret) + copies(masked_secret:reverse()) >= 1)
         key = nil -- luacheck: ignore
         none(masked_secret, "the number")
         none(masked_secret:reverse(), "the number, its lowest byte first,")
      end)
   end

   it("is gone when its handle is, and its passphrase when it is read", function()
      local folder <close> = tmp.dir()
      local masked_passphrase = new_secret(24)
      local masked_seed, text = make(folder, masked_passphrase)
      assert.are.equal(32, #masked_seed)
      local passphrase = scan.unmask(masked_passphrase, MASK)
      local key = assert(core.key.parse_file(text, passphrase))
      local n, places = copies(masked_passphrase)
      assert.are.equal(1, n, places)
      assert.is_true(#key:sign("data", "ssh-ed25519") > 64)
      assert.is_true(copies(masked_seed) >= 1)
      key = nil -- luacheck: ignore
      none(masked_seed, "the seed")
      assert.are.equal(24, #passphrase)
   end)

   it("is gone when its passphrase was wrong, or the file damaged", function()
      local folder <close> = tmp.dir()
      local masked_passphrase = new_secret(24)
      local masked_seed, text = make(folder, masked_passphrase)
      local passphrase = scan.unmask(masked_passphrase, MASK)
      assert.is_nil((core.key.parse_file(text, "wrong")))
      assert.is_nil((core.key.parse_file(text:sub(1, -100), passphrase)))
      none(masked_seed, "the seed")
      local n, places = copies(masked_passphrase)
      assert.are.equal(1, n, places)
      assert.are.equal(24, #passphrase)
   end)

   it("is gone after a session that was authenticated with it", function()
      local folder <close> = tmp.dir()
      local masked_passphrase = new_secret(24)
      local masked_seed, text = make(folder, masked_passphrase)
      local remote <close> = Remote.new("{}")
      do
         local key = assert(ssh.key.parse(text, scan.unmask(masked_passphrase, MASK)))
         local session <close> = assert(ssh.session{ timeout = TIMEOUT, callbacks = {
            send = function(_, buffer) assert(remote.child:write(buffer)) return #buffer end,
            recv = function() return remote.child:read("stdout", 0.01) or -ssh.EAGAIN end,
         } })
         assert(session:handshake(nil, { host = "moon", host_keys = "off" }))
         assert(session:authenticate{ user = "moon", identity = key })
         assert.is_true(copies(masked_seed) >= 1)
         key:close()
      end
      none(masked_seed, "the seed")
   end)
end)
