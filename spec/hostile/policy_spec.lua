-- Attacks, what the Lua library decides: host keys (H1, H4, H9), logins (A3, A4, A6, A11), deadlines (B5), and what an
-- application hears (C14, I5).

local MemorySession = require "spec.support.memory_session"
local keys = require "spec.support.peer.keys"
local oracle = require "spec.support.oracle"
local ssh = require "moonssh"
local testing = require "moonssh_testing"
local tmp = require "spec.support.tmp"
local waiting = require "spec.support.waiting"
local wire = require "spec.support.wire"

local message = wire.message

-- A known_hosts file with these keys of the host "moon".
local function known(folder, ...)
   local lines = {}
   for _, key in ipairs{ ... } do
      table.insert(lines, ("moon %s %s\n"):format(key:type(), testing.keys.base64_encode(key:blob())))
   end
   return folder:write("known_hosts", table.concat(lines))
end

-- The client got no further than the host key: nothing of a login was sent, and nothing can be any more.
local function stopped(link, err, code, reason)
   assert.are.equal(code, err.code, err.message)
   oracle.safe_text(err.message)
   link:settle()
   assert.are.equal(0, #link.peer:seen("NEWKEYS"))
   for call, arguments in pairs{ auth_none = { "moon" }, auth_password = { "moon", "secret" },
      auth_interactive = { "moon", function() end }, auth_agent = { "moon" } } do
      local ok, later = link.session[call](link.session, table.unpack(arguments))
      assert.is_nil(ok)
      assert.are.equal(reason and code or "host_key_unknown", later.code)
   end
   local ok, later = link.session:authenticate{ user = "moon", password = "secret" }
   assert.is_nil(ok)
   assert.are.equal(reason and code or "host_key_unknown", later.code)
   link:settle()
   assert.are.equal(0, #link.peer:seen("SERVICE_REQUEST"))
   assert.are.equal(0, #link.peer:seen("USERAUTH_REQUEST"))
   assert.are.equal(reason, link.peer.disconnect and link.peer.disconnect.reason)
end

describe("H1: without a policy", function()
   it("nothing is accepted: the question stays open, and no login is sent", function()
      local link = MemorySession.new()
      assert(link:handshake())
      stopped(link, { code = "host_key_unknown", message = "open" }, "host_key_unknown")
      assert.are.equal(link.peer.host_key:blob(), link.session:host_key():blob())
   end)

   it("but with known_hosts, an unknown key is an error with its fingerprint in it", function()
      local folder <close> = tmp.dir()
      for _, path in ipairs{ folder:path("missing"), folder:write("empty", ""),
         known(folder) } do
         local link = MemorySession.new()
         local ok, err = link:handshake{ host = "moon", known_hosts = path }
         assert.is_nil(ok)
         stopped(link, err, "host_key_unknown", 9)
         local print = testing.keys.fingerprint(link.peer.host_key:blob(), "SHA256")
         assert.is_truthy(err.message:find(print, 1, true), err.message)
         assert.are.equal(err, link.session.failure)
      end
   end)

   it("an unreadable known_hosts is an error, not an empty one", function()
      local folder <close> = tmp.dir()
      local link = MemorySession.new()
      local ok, err = link:handshake{ host = "moon", known_hosts = folder:path(".") }
      assert.is_nil(ok)
      assert.are.equal("io", err.code)
      link:settle()
      assert.are.equal(0, #link.peer:seen("NEWKEYS"))
      assert.are.equal(0, #link.peer:seen("USERAUTH_REQUEST"))
   end)

   it("a policy's function accepts by true alone", function()
      for _, answer in ipairs{ false, 1, "true", {}, "nil", "error" } do
         local link = MemorySession.new()
         local ok, err = link:handshake{ host = "moon", host_keys = function()
            if answer == "error" then
               error("no")
            elseif answer ~= "nil" then
               return answer
            end
         end }
         assert.is_nil(ok)
         stopped(link, err, "host_key_rejected", 9)
      end
      local link = MemorySession.new()
      assert(link:handshake{ host = "moon", host_keys = function() return true end })
      link:settle()
      assert.are.equal(1, #link.peer:seen("NEWKEYS"))
   end)
end)

describe("H4 and A11: a known host with another key", function()
   local presented = { ["of the same type"] = keys.ed25519("other"), ["of another type"] = keys.ecdsa(256),
      ["of RSA"] = keys.rsa() }

   for name, key in pairs(presented) do
      for _, policy in ipairs{ "strict", "accept-new", "default" } do
         it(name .. " is a changed key under the policy " .. policy .. ", and no password is sent", function()
            local folder <close> = tmp.dir()
            local path = known(folder, keys.ed25519())
            local link = MemorySession.new{ peer = { host_key = key } }
            local ok, err = link:handshake{ host = "moon", known_hosts = path,
               host_keys = policy ~= "default" and policy or nil }
            assert.is_nil(ok)
            stopped(link, err, "host_key_changed", 9)
            for _, blob in ipairs{ key:blob(), keys.ed25519():blob() } do
               assert.is_truthy(err.message:find(testing.keys.fingerprint(blob, "SHA256"), 1, true), err.message)
            end
            assert.is_truthy(err.message:find(path, 1, true), err.message)
            assert.are.equal(1, err.line)
            local file <close> = assert(io.open(path))
            assert.is_nil(file:read("a"):find(testing.keys.base64_encode(key:blob()), 1, true))
         end)
      end
   end

   it("is refused by a list of fingerprints that does not have it", function()
      local link = MemorySession.new()
      local ok, err = link:handshake{ host = "moon",
         host_keys = testing.keys.fingerprint(keys.ed25519("other"):blob(), "SHA256") }
      assert.is_nil(ok)
      stopped(link, err, "host_key_rejected", 9)
   end)

   it("is refused even by off when it is revoked", function()
      local folder <close> = tmp.dir()
      local path = folder:write("known_hosts", "@revoked * ssh-ed25519 " ..
         testing.keys.base64_encode(keys.ed25519():blob()) .. "\n")
      for _, policy in ipairs{ "strict", "accept-new", "off" } do
         local link = MemorySession.new()
         local ok, err = link:handshake{ host = "moon", known_hosts = path, host_keys = policy }
         assert.is_nil(ok)
         stopped(link, err, "host_key_revoked", 9)
      end
   end)
end)

describe("H9: the order of the host key algorithms", function()
   local function offered(path)
      local link = MemorySession.new()
      link:handshake{ host = "moon", known_hosts = path }
      link:settle()
      local kex = require "spec.support.peer.kex"
      return kex.unpack_init(link.peer:seen("KEXINIT")[1]).host_key
   end

   it("is the same for every unknown host", function()
      local folder <close> = tmp.dir()
      local unknown = offered(folder:path("missing"))
      local other = folder:write("other", "sun ssh-rsa " .. testing.keys.base64_encode(keys.rsa():blob()) .. "\n")
      assert.are.same(unknown, offered(other))
      assert.are.equal("ssh-ed25519", unknown[1])
   end)

   it("has what is known of the host first", function()
      local folder <close> = tmp.dir()
      assert.are.equal("rsa-sha2-512", offered(known(folder, keys.rsa()))[1])
      assert.are.equal("ecdsa-sha2-nistp384", offered(known(folder, keys.ecdsa(384)))[1])
      local both = offered(known(folder, keys.ecdsa(521), keys.rsa()))
      local first = { both[1], both[2], both[3] }
      table.sort(first)
      assert.are.same({ "ecdsa-sha2-nistp521", "rsa-sha2-256", "rsa-sha2-512" }, first)
   end)
end)

-- The library's key from one of the testing module's.
local function library_key(key)
   return assert(ssh.key.parse(assert(key:export())))
end

describe("A3: a server that takes RSA keys with SHA-1 only", function()
   it("gets no signature", function()
      for _, list in ipairs{ "ssh-rsa", "ssh-rsa,ssh-dss", "" } do
         local link = MemorySession.new{ peer = { ext_info = { ["server-sig-algs"] = list } } }
         local ok, err = link:login{ user = "moon", identity = library_key(keys.rsa()) }
         assert.is_nil(ok)
         assert.are.equal("auth_failed", err.code)
         for _, request in ipairs(link.peer.requests or {}) do
            assert.is_true(request.method == "none", request.method)
         end
      end
   end)

   it("gets one where that was asked for, by the preset or the name", function()
      for _, algorithms in ipairs{ "legacy", { host_key = "+ssh-rsa" } } do
         local link = MemorySession.new{ session = { algorithms = algorithms },
            peer = { ext_info = { ["server-sig-algs"] = "ssh-rsa,ssh-dss" } } }
         assert(link:login{ user = "moon", identity = library_key(keys.rsa()) })
         assert.are.equal("ssh-rsa", link.peer.requests[#link.peer.requests].algorithm)
      end
   end)

   it("gets SHA-2 first all the same when it says nothing", function()
      local link = MemorySession.new{ session = { algorithms = "legacy" }, peer = { ext_info = false,
         steps = { userauth = function()
            return message("USERAUTH_FAILURE", "so", "publickey", false)
         end } } }
      assert.is_nil((link:login{ user = "moon", identity = library_key(keys.rsa()) }))
      local names = {}
      for _, request in ipairs(link.peer.requests) do
         table.insert(names, request.algorithm)
      end
      assert.are.same({ "rsa-sha2-512", "ssh-rsa" }, names)
   end)

   it("gets SHA-2 when it says nothing, and nothing less", function()
      local link = MemorySession.new{ peer = { ext_info = false, steps = { userauth = function()
         return message("USERAUTH_FAILURE", "so", "publickey", false)
      end } } }
      local ok = link:login{ user = "moon", identity = library_key(keys.rsa()) }
      assert.is_nil(ok)
      local names = {}
      for _, request in ipairs(link.peer.requests) do
         table.insert(names, request.algorithm)
      end
      assert.are.same({ "rsa-sha2-512", "rsa-sha2-256" }, names)
   end)
end)

describe("A4: a server that lets everybody in", function()
   local function trivial(options)
      local link = MemorySession.new{ peer = { steps = { userauth = function()
         return message("USERAUTH_SUCCESS")
      end } } }
      options.user = "moon"
      return link, link:login(options)
   end

   it("is refused where a login is required", function()
      local link, ok, err = trivial{ interactive = function() return {} end, require_auth = true }
      assert.is_nil(ok)
      assert.are.equal("auth_trivial", err.code)
      assert.are.equal("auth_trivial", link.session.failure.code)
      assert.are.same({ nil, err }, { link.session:run("date") })
   end)

   it("is refused before any password or key is used", function()
      local link, ok, err = trivial{ password = "secret", identity = library_key(keys.user()),
         preferred_auth = { "password", "publickey" }, require_auth = true }
      assert.is_nil(ok)
      assert.are.equal("auth_trivial", err.code)
      assert.are.equal(1, #link.peer.requests)
      assert.are.equal("none", link.peer.requests[1].method)
   end)

   it("is told of in session.info where it is not", function()
      local link, ok = trivial{ password = "secret", identity = library_key(keys.user()),
         preferred_auth = { "password", "publickey" } }
      assert.is_true(ok)
      assert.are.equal("none", link.session.info.auth)
   end)

   it("is not one that asks for the password, or takes the key", function()
      local link = MemorySession.new()
      assert(link:login{ user = "moon", password = "secret", require_auth = true })
      assert.are.equal("password", link.session.info.auth)
      link = MemorySession.new()
      assert(link:login{ user = "moon", identity = library_key(keys.user()), require_auth = true })
      assert.are.equal("publickey", link.session.info.auth)
   end)

   it("cannot fake it by a question without prompts", function()
      local link = MemorySession.new{ peer = { steps = {
         userauth = function(_, request)
            if request.method ~= "keyboard-interactive" then
               return message("USERAUTH_FAILURE", "so", "keyboard-interactive", false)
            end
            return message("USERAUTH_INFO_REQUEST", "sssu", "", "", "", 0)
         end,
         info_response = function() return message("USERAUTH_SUCCESS") end,
      } } }
      local ok, err = link:login{ user = "moon", interactive = function() return {} end, require_auth = true }
      assert.is_nil(ok)
      assert.are.equal("auth_trivial", err.code)
   end)
end)

describe("A6: a server that never has enough", function()
   local function endless(answer, options)
      local link = MemorySession.new{ peer = { steps = { userauth = answer, info_response = answer } } }
      options.user = "moon"
      local ok, err = link:login(options)
      assert.is_nil(ok)
      assert.are.equal("auth_failed", err.code)
      oracle.safe_text(err.message)
      return #link.peer.requests, link.peer.requests
   end

   local three = { library_key(keys.user()), library_key(keys.ed25519("second")), library_key(keys.ecdsa(256)) }
   local everything = { password = "wrong", identity = three, interactive = function(_, _, prompts)
      local answers = {}
      for i in ipairs(prompts) do
         answers[i] = "wrong"
      end
      return answers
   end }

   local function copy(options)
      local result = {}
      for name, value in pairs(options) do
         result[name] = value
      end
      return result
   end

   it("refuses for ever: every credential goes once, and 20 requests are the end", function()
      local n = endless(function() return message("USERAUTH_FAILURE", "so", "publickey,password", false) end,
         copy(everything))
      assert.is_true(n <= 20, n)
   end)

   it("reports partial success for ever", function()
      for _, methods in ipairs{ "publickey", "password", "keyboard-interactive", "publickey,password",
         "publickey,keyboard-interactive,password" } do
         local n, requests = endless(function() return message("USERAUTH_FAILURE", "so", methods, true) end,
            copy(everything))
         assert.is_true(n <= 20, n)
         local seen = {}
         for _, request in ipairs(requests) do
            if request.signature or request.method == "password" then
               local what = request.blob or request.method
               assert.is_nil(seen[what], "a credential was sent twice")
               seen[what] = true
            end
         end
      end
   end)

   it("changes its mind about the methods each time", function()
      local turn = 0
      local lists = { "password", "publickey", "keyboard-interactive", "", "unknown@example.com", "publickey,password" }
      local n = endless(function()
         turn = turn + 1
         return message("USERAUTH_FAILURE", "so", lists[turn % #lists + 1], turn % 2 == 0)
      end, copy(everything))
      assert.is_true(n <= 20, n)
   end)

   it("accepts each of a hundred keys, and then no signature", function()
      local many = {}
      for i = 1, 100 do
         many[i] = library_key(testing.keys.generate("ed25519"))
      end
      local n = endless(function(_, request)
         if request.method == "publickey" and not request.signature then
            return message("USERAUTH_PK_OK", "ss", request.algorithm, request.blob)
         end
         return message("USERAUTH_FAILURE", "so", "publickey", false)
      end, { identity = many })
      assert.is_true(n <= 20, n)
   end)

   it("asks the same question for ever", function()
      local link = MemorySession.new{ peer = { steps = {
         userauth = function() return message("USERAUTH_INFO_REQUEST", "sssuso", "", "", "", 1, "p", true) end,
         info_response = function() return message("USERAUTH_INFO_REQUEST", "sssuso", "", "", "", 1, "p", true) end,
      } } }
      local asked = 0
      local ok, err = link:login{ user = "moon", interactive = function()
         asked = asked + 1
         return { "x" }
      end }
      assert.is_nil(ok)
      assert.are.equal("limit", err.code)
      assert.are.equal(32, asked)
   end)

   it("demands new passwords for ever", function()
      local link = MemorySession.new{ peer = { steps = { userauth = function()
         return message("USERAUTH_PASSWD_CHANGEREQ", "ss", "another", "")
      end } } }
      local asked = 0
      local ok, err = link:login{ user = "moon", password = "old", new_password = function()
         asked = asked + 1
         return "new" .. asked
      end }
      assert.is_nil(ok)
      assert.are.equal("auth_failed", err.code)
      assert.is_true(asked <= 20)
   end)
end)

describe("B5: a server that never gets anywhere", function()
   local function stalls(peer, options, stage)
      local link = MemorySession.new{ peer = peer, session = { loop = waiting.clock() } }
      options.timeout = 0.05
      local ok, err = link:handshake(options)
      assert.is_nil(ok)
      assert.are.equal("timeout", err.code)
      assert.are.equal(stage, err.stage)
      return link
   end

   it("ends at the deadline: silence from the start", function()
      stalls({ steps = { ident = function() return "" end, kexinit = function() end } }, {}, "identification")
   end)

   it("ends at the deadline: silence in the key exchange", function()
      stalls({ steps = { kex_reply = function() end, newkeys = function(peer) peer.mute = true end } }, {}, "kex")
   end)

   it("ends at the deadline, however many bytes come: it is absolute", function()
      -- A byte at each second call, for ever: no line ever ends, and none is too long.
      local n = 0
      local peer = { steps = { ident = function() return "" end, kexinit = function() end } }
      local link = MemorySession.new{ peer = peer, callbacks = { recv = function()
         n = n + 1
         return n % 2 == 0 and (n % 100 == 0 and "\n" or "x") or -ssh.EAGAIN
      end } }
      local ok, err = link:handshake{ timeout = 0.1 }
      assert.is_nil(ok)
      assert.are.equal("timeout", err.code)
      assert.are.equal("identification", err.stage)
      assert.is_true(n < 100, "asked " .. n .. " times")
   end)

   it("ends at the deadline: no answer to the login", function()
      local link = MemorySession.new{ peer = { steps = { userauth = function() end } },
         session = { loop = waiting.clock() } }
      assert(link:handshake{ host = "moon", host_keys = "off" })
      link.session.timeout = 0.05
      local ok, err = link.session:authenticate{ user = "moon", password = "secret" }
      assert.is_nil(ok)
      assert.are.equal("timeout", err.code)
      assert.are.equal("auth", err.stage)
   end)

   it("ends at the deadline: a channel that is never opened, a request never answered", function()
      for step, stage in pairs{ channel_open = "open", channel_request = "request" } do
         local link = MemorySession.new{ peer = { steps = { [step] = function() end } },
            session = { loop = waiting.clock() } }
         assert(link:login())
         local channel, err = link.session:exec("date", { timeout = 0.05 })
         assert.is_nil(channel)
         assert.are.equal("timeout", err.code)
         assert.are.equal(stage, err.stage)
      end
   end)
end)

describe("I5: after the failure", function()
   it("no callback is called for what came in the same read", function()
      local called = {}
      local link = MemorySession.new{
         peer = { inject = { running = function(peer)
            peer:message("IGNORE", "s", "before")
            peer:message("CHANNEL_DATA", "us", 99, "x")
            peer:message("IGNORE", "s", "after")
            peer:message("DEBUG", "oss", true, "after", "")
         end } },
         callbacks = {
            ignore = function(_, text) table.insert(called, text) end,
            debug = function(_, _, text) table.insert(called, text) end,
         },
      }
      assert(link:login())
      local result, err = link.session:run("date")
      assert.is_nil(result)
      assert.are.equal("protocol", err.code)
      assert.are.same({ "before" }, called)
      assert.are.equal(err.message, link.session.failure.message)
      for _ = 1, 3 do
         local again, later = link.session:run("date")
         assert.is_nil(again)
         assert.are.equal(link.session.failure, later)
      end
   end)
end)

describe("A8 and C14: what the server says", function()
   local text = "\27[2J\27]0;x\7\xc2\x9b\xe2\x80\xae\r\n%s\\"

   it("in DISCONNECT is escaped in the error's words, and raw in a field of its own", function()
      local link = MemorySession.new{ peer = { inject = { running = message("DISCONNECT", "uss", 11, text, "") } } }
      assert(link:login())
      local result, err = link.session:run("date")
      assert.is_nil(result)
      assert.are.equal("disconnected", err.code)
      assert.are.equal(11, err.reason)
      oracle.safe_text(err.message)
      oracle.safe_text(tostring(err))
   end)

   it("when it refuses a channel is escaped", function()
      local link = MemorySession.new{ peer = { steps = { channel_open = function(_, channel)
         return message("CHANNEL_OPEN_FAILURE", "uuss", channel.remote, 1, text:rep(100), "")
      end } } }
      assert(link:login())
      local result, err = link.session:run("date")
      assert.is_nil(result)
      assert.are.equal("channel_open", err.code)
      assert.are.equal(1, err.reason)
      oracle.safe_text(err.message)
   end)

   it("as methods, prompts and identification is escaped wherever it gets into words", function()
      local link = MemorySession.new{ peer = { methods = ("m"):rep(64) .. "," .. ("x"):rep(64) } }
      local ok, err = link:login{ user = "moon\27", password = "wrong" }
      assert.is_nil(ok)
      oracle.safe_text(err.message)
      link = MemorySession.new{ peer = { steps = { userauth = function()
         return message("USERAUTH_PASSWD_CHANGEREQ", "ss", text, "")
      end } } }
      ok, err = link:login{ user = "moon", password = "old" }
      assert.is_nil(ok)
      oracle.safe_text(err.message)
   end)

   it("as a banner is given raw, since it is for a person to read", function()
      local link = MemorySession.new{ peer = { inject = { userauth = message("USERAUTH_BANNER", "ss", text, "") } } }
      assert(link:login())
      assert.are.equal(text, link.session.banner)
   end)
end)

describe("L2: no secret", function()
   local secret = "a-secret-of-the-spec"

   -- Everything a program could print of a session that failed.
   local function everything(link, err, shown)
      local seen = {}
      local function dump(value, name)
         if type(value) == "table" and not seen[value] then
            seen[value] = true
            for key, item in pairs(value) do
               dump(key, name)
               if not (type(key) == "string" and key:find("^_")) then
                  dump(item, name .. "." .. tostring(key))
               end
            end
         elseif type(value) ~= "table" or getmetatable(value) then
            table.insert(shown, name .. "=" .. tostring(value))
         end
      end
      dump(err, "err")
      table.insert(shown, tostring(err))
      dump(link.session.info, "info")
      dump(link.session.failure, "failure")
      table.insert(shown, tostring(link.session))
      return table.concat(shown, "\n")
   end

   local function run(options, peer)
      local shown = {}
      local link = MemorySession.new{ peer = peer }
      link.session:trace(function(packet)
         for key, value in pairs(packet) do
            table.insert(shown, key .. "=" .. tostring(value))
         end
      end)
      local ok, err = link:login(options)
      assert.is_nil(ok)
      assert.is_true(#shown > 20)
      return everything(link, err, shown)
   end

   it("is in the words of a failed login, or in the trace", function()
      for _, peer in ipairs{ {}, { methods = "hostbased" }, { steps = { userauth = function() return "\93" end } },
         { steps = { userauth = function() return message("DISCONNECT", "uss", 2, "go away", "") end } } } do
         for _, options in ipairs{
            { user = "moon", password = secret },
            { user = "moon", password = function() return secret end },
            { user = "moon", interactive = function() return { secret } end },
            { user = "moon", password = secret, new_password = function() return secret end },
         } do
            peer.password = "another"
            local text = run(options, peer)
            assert.is_nil(text:find(secret, 1, true), text)
         end
      end
   end)

   it("is in the words of a key that cannot be read", function()
      local text = assert(keys.ed25519("locked"):export(secret, "comment"))
      for _, passphrase in ipairs{ secret .. "x", secret:upper() } do
         local key, err = ssh.key.parse(text, passphrase)
         assert.is_nil(key)
         assert.are.equal("passphrase", err.code)
         assert.is_nil(tostring(err):find(passphrase, 1, true))
      end
      local key = assert(ssh.key.parse(text, secret))
      assert.is_nil(tostring(key):find(secret, 1, true))
      local broken, err = ssh.key.parse(text:gsub("%w%w%w%w\n", "????\n", 1), secret)
      assert.is_nil(broken)
      assert.is_nil(tostring(err):find(secret, 1, true))
   end)
end)
