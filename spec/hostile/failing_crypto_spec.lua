-- Attacks, rows P8, K15, K17, H2 and H3: every call of OpenSSL that a session makes, failing in its turn. Whatever
-- fails, nothing bad is taken for good, nothing leaves in clear or half sealed, and the session says why it ended.
--
-- The core is taken from the testing module, where its calls can be made to fail; those of the peer are left alone.

local path = assert(package.searchpath("moonssh_testing", package.cpath))
local core = assert(package.loadlib(path, "luaopen_moonssh_core"))()
package.loaded["moonssh.core"] = core

local CoreClient = require "spec.support.core_client"
local Peer = require "spec.support.peer"
local faults = require "moonssh_testing".faults
local keys = require "spec.support.peer.keys"
local oracle = require "spec.support.oracle"
local wire = require "spec.support.wire"

-- Which of the client's calls is to fail: calls are counted while the client's own functions run.
local plan

local function begin(n, value)
   plan = { left = n, value = value, calls = 0 }
end

local function counting(f, ...)
   faults.arm(plan.struck and 0 or plan.left - plan.calls, plan.value)
   local results = table.pack(f(...))
   plan.calls = plan.calls + faults.calls()
   plan.struck = plan.struck or faults.struck()
   faults.arm(0)
   return table.unpack(results, 1, results.n)
end

-- A session whose methods are counted.
local function watched(session)
   return setmetatable({}, { __index = function(_, name)
      local method = session[name]
      return function(_, ...)
         return counting(method, session, ...)
      end
   end })
end

local function client_of(options)
   options = options or {}
   options.core = { session = function(settings)
      local session, code, message = counting(core.session, settings)
      return session and watched(session), code, message
   end }
   local made, client = pcall(CoreClient.new, options)
   return made and client or nil, client
end

-- Runs a script with the n-th call failing; nil when not even a session could be made.
local function run(script, n, value)
   begin(n, value)
   local client = client_of(script.client and script.client())
   if not client then
      return nil
   end
   local peer = Peer.new(script.peer())
   local case = { client = client, peer = peer }
   local ok, result = pcall(oracle.prepare, case)
   if not ok then
      -- start has failed: that is a failure, too.
      assert.is_truthy(client.session:failure(), result)
      client.session:close()
      return nil
   end
   return result:go()
end

local function flipped(peer)
   peer:send_packet{ payload = wire.message("IGNORE", "s", "forged"), tamper = function(packet, tag)
      return packet .. string.char(tag:byte() ~ 1) .. tag:sub(2)
   end }
end

-- What each script must never see, and what it ends in when nothing fails.
local scripts = {
   ["a login by password, a command and new keys"] = {
      peer = function() return { rekey_first = true } end,
      ending = nil,
   },
   ["a login by key under AES-CTR"] = {
      peer = function() return { cipher = "aes256-ctr", mac = "hmac-sha2-256", kex = "ecdh-sha2-nistp256",
         host_key = keys.ecdsa(256) } end,
      client = function() return { auth = "publickey" } end,
   },
   ["a login under chacha20, with a group of the server's"] = {
      peer = function() return { cipher = "chacha20-poly1305@openssh.com",
         kex = "diffie-hellman-group-exchange-sha256", host_key = keys.rsa() } end,
   },
   ["a login by a hybrid key exchange with ML-KEM"] = {
      peer = function() return { kex = "mlkem768x25519-sha256" } end,
      varies = true, -- a seed in a hundred takes a further call of SHAKE128
   },
   ["a login by a hybrid key exchange with sntrup761"] = {
      peer = function() return { kex = "sntrup761x25519-sha512" } end,
   },
   ["a bad signature"] = {
      peer = function() return { steps = { signature = function(peer)
         return peer.host_key:sign("ssh-ed25519", "something else")
      end } } end,
      never = { "host_key", "kex_done", "auth_success" }, ending = "protocol",
   },
   ["a bad signature of ECDSA"] = {
      peer = function() return { host_key = keys.ecdsa(256), steps = { signature = function(peer)
         return peer.host_key:sign("ecdsa-sha2-nistp256", "something else")
      end } } end,
      never = { "host_key", "kex_done", "auth_success" }, ending = "protocol",
   },
   ["a bad signature of RSA"] = {
      peer = function() return { host_key = keys.rsa(), steps = { signature = function(peer)
         return peer.host_key:sign("rsa-sha2-512", "something else")
      end } } end,
      never = { "host_key", "kex_done", "auth_success" }, ending = "protocol",
   },
   ["a host key that is not accepted"] = {
      peer = function() return {} end,
      client = function() return { accept = false } end,
      never = { "kex_done", "auth_success" }, ending = "host_key_rejected",
   },
}
for name, suite in pairs{ ["AES-GCM"] = { "aes128-gcm@openssh.com" }, chacha20 = { "chacha20-poly1305@openssh.com" },
   ["encrypt-and-MAC"] = { "aes128-ctr", "hmac-sha2-256" },
   ["encrypt-then-MAC"] = { "aes128-ctr", "hmac-sha2-512-etm@openssh.com" } } do
   scripts["a bad tag under " .. name] = {
      peer = function() return { cipher = suite[1], mac = suite[2], inject = { authenticated = flipped } } end,
      never = { "ignore" }, ending = "mac",
   }
end

for name, script in pairs(scripts) do
   describe("a failing call of OpenSSL in " .. name, function()
      it("never lets anything pass, and ends it in words", function()
         local whole = run(script, 0, 0)
         local code = whole.client.session:failure()
         assert.are.equal(script.ending, code)
         local calls = plan.calls
         assert.is_true(calls > 20, "only " .. calls)
         whole.client.session:close()
         for n = 1, calls do
            -- Both ways to say no where something bad must not pass; else one or the other.
            for _, value in ipairs(script.never and { 0, -1 } or { n % 2 - 1 }) do
               local case = run(script, n, value)
               local what = ("call %d, %s giving %d"):format(n, plan.struck, value)
               if case and script.varies and not plan.struck then
                  assert.are.equal(script.ending, (case.client.session:failure()))
                  assert.is_true(n > calls - 64, what .. " was not reached")
                  case.client.session:close()
               elseif case then
                  assert.is_truthy(plan.struck, what .. " was not reached")
                  local found, words = case.client.session:failure()
                  assert.is_truthy(found, what .. " changed nothing")
                  oracle.safe_text(words)
                  oracle.kept_secrets(case)
                  for _, kind in ipairs(script.never or {}) do
                     assert.are.equal(0, (case.client:count(kind)), kind .. " after " .. what)
                  end
                  assert.are.equal("failed", case.client.events[#case.client.events][1], what)
                  assert.is_nil(case.client.session:next())
                  case.client.session:close()
               end
            end
         end
      end)
   end)
end

describe("K15: randomness", function()
   it("that fails sends nothing: not even KEXINIT", function()
      begin(1, 0)
      local client = assert(client_of{})
      local ok = client.session:start()
      assert.is_nil(ok)
      assert.are.equal("RAND_bytes", plan.struck)
      local output = client.session:output(1 << 16) or ""
      assert.is_nil(output:find("\20", 1, true), "a KEXINIT leaves")
      client.session:close()
   end)

   it("never repeats: cookies, shares and paddings of a thousand sessions are all different", function()
      begin(0, 0)
      local seen, n = {}, 0
      local function new(what, value)
         assert.is_nil(seen[value], what .. " came twice")
         seen[value] = true
         n = n + 1
      end
      for _ = 1, 1000 do
         local case = oracle.run{ client = client_of{ auth = false } }
         new("a cookie", case.peer:seen("KEXINIT")[1]:sub(2, 17))
         new("a share", (select(2, wire.unpack("bs", case.peer:seen("KEX_INIT")[1]))))
         oracle.close(case)
      end
      assert.are.equal(2000, n)
   end)

   it("is asked of OpenSSL alone, and its answer looked at", function()
      local files = io.popen("find csrc -name '*.[ch]' -not -path 'csrc/testing/*'")
      for file_path in files:lines() do
         local file <close> = assert(io.open(file_path))
         local text = file:read("a"):gsub("/%*.-%*/", " ")
         for _, name in ipairs{ "rand", "random", "srand", "drand48", "lrand48", "arc4random", "getrandom",
            "RAND_pseudo_bytes" } do
            assert.is_nil(text:find("%f[%w_]" .. name .. "%s*%("), file_path .. " calls " .. name)
         end
         assert.is_nil(text:find("/dev/u?random"), file_path)
         assert.is_nil(text:find("\n%s*RAND_[%w_]+%("), file_path .. " does not look at what RAND says")
         assert.is_nil(text:find("\n%s*mssh_rand_bytes%("), file_path .. " does not look at what mssh_rand_bytes says")
      end
      files:close()
   end)

   it("of ECDSA is OpenSSL's: there are no nonces of ours", function()
      local files = io.popen("grep -rlE 'ECDSA_do_sign|ECDSA_sign_ex|ECDSA_sign_setup' csrc || true")
      assert.are.equal("", files:read("a"))
      files:close()
   end)

   it("offers no RSA key exchange, and by default none with SHA-1", function()
      for _, row in ipairs(core.algorithms().kex) do
         assert.is_nil(row.name:find("rsa"), row.name)
         assert.is_true(not row.default or not row.name:find("sha1"), row.name)
      end
   end)

   it("that OpenSSL does not have is in no list, and no name", function()
      local testing = require "moonssh_testing"
      assert.are.equal("umac-128-etm@openssh.com", (testing.transport.algorithm_at(3, 4)))
      faults.arm(1, 0)
      local next_one = testing.transport.algorithm_at(3, 4)
      faults.arm(0)
      assert.are.equal("umac-128@openssh.com", next_one)
      local options = { mac = "hmac-sha2-256,hmac-md5" }
      faults.arm(1, 0)
      local none, code, message = testing.transport.new(options)
      faults.arm(0)
      assert.are.same({ nil, "unsupported", "unknown mac algorithm 'hmac-md5'" }, { none, code, message })
      assert(testing.transport.new(options)):close()
   end)
end)
