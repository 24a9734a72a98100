-- Each allocation of a session failing in its turn, alone and with all after it: never a crash, a leak, or a success
-- that was none.

local SessionPair = require "spec.support.session_pair"
local testing = require "moonssh_testing"

local key = assert(testing.keys.generate("ed25519"))

local function sign(session)
   local data = testing.auth.signing_data(session:info().session_id, "moon", "ssh-ed25519", key:blob())
   return assert(session:publickey("moon", "ssh-ed25519", key:blob(), key:sign("ssh-ed25519", data)))
end

local function keep(self, event)
   assert(self.session:keep(event.channel, event.stream, event.data))
   self.out = self.out .. self.session:kept(event.channel, event.stream)
   self.session:take(event.channel, event.stream, #event.data)
   return true
end

-- Scripts, and whether what came out of them at the end is right. `wrong` says what must never be seen.
local scripts = {
   ["a command"] = {
      options = { on = { data = keep } },
      right = function(pair) return pair.out == "hello" and pair.status == 0 end,
   },
   ["a key, prompts and a large transfer"] = {
      options = {
         server = { auth = { keys = { key }, rounds = { { { text = "Code:", answer = "1" } } }, second = true } },
         command = "cat", input = ("x"):rep(300000),
         login = function(session) assert(session:probe("moon", "ssh-ed25519", key:blob())) end,
         on = {
            auth_pk_ok = function(self) sign(self.session) end,
            auth_failure = function(self) assert(self.session:interactive("moon")) end,
            auth_prompts = function(self) assert(self.session:answer{ "1" }) end,
         },
      },
      right = function(pair) return pair.out == ("x"):rep(300000) and pair.status == 0 end,
   },
   ["two channels and new keys"] = {
      options = {
         on = {
            auth_success = function(self)
               assert(self.session:global_request("keepalive@openssh.com", true))
               assert(self.session:open("session"))
            end,
            opened = function(self)
               assert(self.session:rekey())
               assert(self.session:debug(false, "now", ""))
            end,
         },
         server = { exec = function(channel)
            channel.server:rekey()
            channel:write("hello"):write("err", 1):finish(4)
         end },
      },
      right = function(pair)
         return pair.out == "hellohello" and pair.err == "errerr" and pair.status == 4 and pair:saw("global_reply")
      end,
   },
   ["compression"] = {
      options = { session = { compression = "zlib@openssh.com" },
         server = { transport = { compression = "zlib@openssh.com" } } },
      right = function(pair) return pair.out == "hello" and pair.status == 0 end,
   },
   ["a wrong password"] = {
      options = { login = function(session) assert(session:password("moon", "wrong")) end },
      wrong = { "auth_success", "opened" },
      right = function(pair) return pair:saw("auth_failure") end,
   },
   ["a host key that is not accepted"] = {
      options = { on = { host_key = function(self)
         self.session:answer_host_key(false)
         return true
      end } },
      wrong = { "kex_done", "auth_success", "opened" },
      right = function(pair) return pair.server.failed.reason == 9 end,
   },
   ["a server that breaks the protocol"] = {
      options = { server = { exec = function(channel)
         channel:send("\94\0\0\0\9\0\0\0\0")
      end } },
      wrong = { "data" },
      right = function(pair) return pair.server.failed.reason == 2 end,
   },
}

-- Runs a script on a heap. Gives whether it went right; else it ended for want of memory.
local function attempt(script, heap)
   local options = {}
   for name, value in pairs(script.options) do
      options[name] = value
   end
   options.session = { heap = heap }
   for name, value in pairs(script.options.session or {}) do
      options.session[name] = value
   end
   local made, pair = pcall(SessionPair.new, options)
   if not made then
      assert.truthy(tostring(pair):find("memory", 1, true), pair)
      return false
   end
   local ran, err = pcall(pair.run, pair)
   if not ran then
      assert.truthy(tostring(err):find("memory", 1, true), err)
   end
   local code, _, reason = pair.session:failure()
   heap:fail(0)
   for _, kind in ipairs(script.wrong or {}) do
      assert.is_nil(pair:saw(kind), kind)
   end
   local right = ran and code ~= "memory" and script.right(pair)
   if not right then
      assert.is_true(not ran or code == "memory", ("%s %s"):format(code, reason))
      -- What came until then is the beginning of what is right.
      assert.is_true(pair.status == nil or pair.status == 0 or pair.status == 4)
   end
   pair:close()
   return right and true
end

describe("a session without memory", function()
   for name, script in pairs(scripts) do
      for how, fail_on in pairs{ ["fails alone"] = false, ["and all after it fail"] = true } do
         it(("ends cleanly when an allocation %s, in %s"):format(how, name), function()
            local n = 0
            repeat
               n = n + 1
               local heap = testing.heap.new(n, fail_on)
               local right = attempt(script, heap)
               assert.equal(0, heap:in_use())
            until right and heap:allocations() < n
            assert.is_true(n > 30, n)
         end)
      end
   end
end)
