-- Making a Lua value may run the collector, and with it finalizers, in the middle of a function of the core. What
-- these do to the object in use must not pull it away from under the function.

local state = require "moonssh_testing".state

-- at(n, action, f): the collector runs at each chance within f, and the n-th time a finalizer acts. Tells whether
-- there was an n-th time.
local PRELUDE = [[
   local core = require "moonssh.core"
   local function at(n, action, f)
      local count = 0
      local function plant()
         setmetatable({}, { __gc = function()
            count = count + 1
            if count == n then
               action()
            elseif count < n then
               plant()
            end
         end })
      end
      collectgarbage("incremental", 200, 1000, 30)
      collectgarbage("setpause", 0)
      collectgarbage()
      plant()
      pcall(f)
      collectgarbage("setpause", 200)
      return count >= n
   end
   -- Until the function is done before the finalizer's turn comes.
   local function everywhere(make, action, f)
      local n = 0
      repeat
         n = n + 1
         local object, extra = make()
         local acted = at(n, function() action(object, extra) end, function() f(object, extra) end)
         object:close()
         assert(n < 1000)
      until not acted
      return tostring(n)
   end
   local function close(object)
      object:close()
   end
]]

local PAIR = [[
   local CorePair = require "spec.support.core_pair"
   local function pair(kind, on)
      local made = CorePair.new{ on = on }
      made:run(kind)
      return made
   end
]]

-- Each goes through a function of the core, closing its object at every place in turn. Gives the number of places
-- and one.
local chunks = {
   ["poll's list"] = [[
      return everywhere(function()
         local poller = core.poller("poll")
         local pairs = {}
         for i = 1, 10 do
            pairs[2 * i - 1], pairs[2 * i] = core.socket.pair()
            poller:set(pairs[2 * i], "w")
         end
         return poller, pairs
      end, close, function(poller, pairs)
         pcall(poller.wait, poller, 0)
         for _, fd in ipairs(pairs) do
            core.socket.close(fd)
         end
      end)
   ]],
   ["a resolver's addresses"] = [[
      return everywhere(function()
         return core.resolve("127.0.0.1", 22)
      end, close, function(resolver)
         return resolver:result()
      end)
   ]],
   ["a signature"] = [[
      return everywhere(function()
         return core.key.generate("ed25519")
      end, close, function(key)
         return key:sign("data", "ssh-ed25519")
      end)
   ]],
   ["an exported key"] = [[
      return everywhere(function()
         return core.key.generate("ed25519")
      end, close, function(key)
         return key:export(nil, "comment")
      end)
   ]],
   ["what a session tells of itself"] = [[
      return everywhere(function()
         local session = core.session()
         session:start()
         session:input("SSH-2.0-server\r\n")
         session:next()
         return session
      end, close, function(session)
         return session:info()
      end)
   ]],
   ["a failure"] = [[
      return everywhere(function()
         local session = core.session()
         session:start()
         session:input("SSH-1.0-server\r\n")
         return session
      end, close, function(session)
         session:next()
         session:failure()
         session:rekey()
      end)
   ]],
   ["the lists of a failed negotiation"] = PAIR .. [[
      return everywhere(function()
         local made = CorePair.new{ options = { cipher = "aes256-ctr" }, server = { cipher = "aes128-ctr" } }
         made:run()
         return made.session, made
      end, close, function(session)
         return session:negotiation()
      end)
   ]],
   ["what is to be signed"] = PAIR .. [[
      return everywhere(function()
         local made = pair("kex_done")
         return made.session, made
      end, close, function(session)
         return session:auth_signing_data("user", "ssh-ed25519", "blob")
      end)
   ]],
   ["a number where a string is wanted"] = PAIR .. [[
      return everywhere(function()
         local made = pair("kex_done")
         return made.session, made
      end, close, function(session)
         pcall(session.auth_password, session, 123456.5, 654321.5)
         pcall(session.channel_mode, session, 1, 0, 123456.5)
      end)
   ]],
   ["options that are taken away"] = [[
      return everywhere(function()
         local options = { software = ("s"):rep(50), kex = "curve25519-" .. ("sha256"):rep(1) }
         return { close = function() end }, options
      end, function(_, options)
         options.software, options.kex = nil, nil
         collectgarbage()
      end, function(_, options)
         local session = core.session(options)
         session:close()
      end)
   ]],
}

-- What a server sends to make an event of several values, once the client has come as far as the event named first.
local events = {
   { "kex_done", [[string.pack(">B B s4 s4", 4, 1, ("d"):rep(50), "en")]] },
   { "kex_done", [[string.pack(">B I4 s4 s4", 1, 11, ("d"):rep(50), "en")]] },
   { "auth_failure", [[string.pack(">B s4 s4", 53, ("d"):rep(50), "en")]] },
   { "auth_success", [[string.pack(">B s4 B", 80, ("name"):rep(20), 0) .. ("d"):rep(50)]] },
   { "opened", [[string.pack(">B I4 s4", 94, 0, ("d"):rep(5000))]] },
   { "opened", [[string.pack(">B I4 s4", 94, 0, "short")]] },
   { "opened", [[string.pack(">B I4 s4 B s4 B s4 s4", 98, 0, "exit-signal", 0, "KILL", 1, ("d"):rep(50), "en")]] },
}

local NEXT = PAIR .. [[
   local STAGE, PAYLOAD, ACTION = ...
   return everywhere(function()
      local made = CorePair.new{ login = STAGE == "auth_failure" and function(session)
         session:auth_none("moon")
      end or nil }
      made:run(STAGE == "opened" and "auth_success" or STAGE)
      made:run()
      if STAGE == "opened" then
         made.channel = made.session:open("session")
         made:run()
         made.session:channel_mode(made.channel, 0, "direct", 100000)
      end
      made.server:send(PAYLOAD)
      made:move()
      return made.session, made
   end, ACTION, function(session)
      while session:next() do end
      session:channel_take(1 << 32 | 1, 0)
   end)
]]

-- What a finalizer does to the session whose event is being given.
local actions = {
   ["close it"] = "close",
   ["take its events"] = "function(session) for _ = 1, 3 do session:next() end end",
   ["give its channel up"] = "function(session, made) session:channel_release(made.channel or 0) end",
}

describe("a finalizer in the middle of a function of the core", function()
   local function runs(chunk)
      local run = state.run{ code = PRELUDE .. chunk }
      assert.is_true(run.ok, run.result)
      assert.is_true(tonumber(run.result) > 1, "no finalizer ran in it")
      assert.equal(0, run.live)
   end

   for name, chunk in pairs(chunks) do
      it("may close what is in use: " .. name, function()
         runs(chunk)
      end)
   end

   for name, action in pairs(actions) do
      it("may act on a session that gives an event: " .. name, function()
         for _, event in ipairs(events) do
            runs((NEXT:gsub("= %.%.%.", function()
               return ("= %q, %s, %s"):format(event[1], event[2], action)
            end)))
         end
      end)
   end
end)
