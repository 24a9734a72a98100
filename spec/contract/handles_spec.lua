-- API.md's "Handles": close, <close>, collection in any order; and what the library leaves alone.

local dial = require "spec.support.dial"
local memory = require "spec.support.memory"
local server = require "spec.support.server"
local ssh = require "moonssh"

local function collect()
   collectgarbage()
   collectgarbage()
end

-- Every call that goes by itself, with a collection between any two of them.
local function a_session(sshd, between)
   local session = assert(dial(sshd))
   between()
   assert(session:run("echo one").stdout == "one\n")
   between()
   local channel = assert(session:exec("cat"))
   between()
   assert(channel:write("two\n"))
   between()
   assert(channel:read("l") == "two")
   between()
   assert(channel:eof())
   between()
   assert(channel:wait() == 0)
   between()
   local stepped = assert(session:open())
   between()
   assert(stepped:request_pty())
   between()
   assert(stepped:exec("echo three"))
   between()
   assert(stepped:expect("three"))
   between()
   assert(session:rekey())
   between()
   local task = ssh.spawn(function() return session:ping() end)
   between()
   assert(task:wait() >= 0)
   between()
   return session, channel, stepped
end

describe("handles", function()
   local sshd

   setup(function()
      sshd = server.sshd()
   end)

   teardown(function()
      sshd:stop()
   end)

   after_each(function()
      collectgarbage("incremental")
   end)

   it("bear a collection between any two calls, in either mode of the collector", function()
      for _, mode in ipairs{ "incremental", "generational" } do
         collectgarbage(mode)
         local session, channel, stepped = a_session(sshd, collect)
         channel:close()
         collect()
         session:close()
         collect()
         stepped:close()
         assert.is_true(session.closed and channel.closed and stepped.closed)
      end
   end)

   it("bear a collection in the middle of a call", function()
      local count = 0
      debug.sethook(function()
         count = count + 1
         collectgarbage()
      end, "", 200)
      local ok, err = pcall(function()
         a_session(sshd, function() end):close()
      end)
      debug.sethook()
      assert.is_true(ok, err)
      assert.is_true(count > 10)
   end)

   it("are collected in any order, closed or not", function()
      for order = 0, 7 do
         local handles = setmetatable({}, { __mode = "v" })
         do
            local session, channel, stepped = a_session(sshd, function() end)
            session:callback_set("debug", function() return session, channel end)
            session.abstract = { session, stepped }
            session:trace(function() return session end)
            handles[1], handles[2], handles[3] = session, channel, stepped
            for i, handle in ipairs{ session, channel, stepped } do
               if order & 1 << i - 1 ~= 0 then
                  handle:close()
               end
            end
         end
         collect()
         collect()
         assert.same({}, handles)
      end
   end)

   it("keep each other as long as they are of use", function()
      local channel = assert(assert(dial(sshd)):exec("cat"))
      collect()
      assert(channel:write("still here"))
      assert(channel:eof())
      collect()
      assert.equal("still here", channel:read("a"))
      local lines = assert(assert(dial(sshd)):exec("echo one; echo two")):lines()
      collect()
      assert.same({ "one", "two" }, { lines(), lines() })
   end)

   it("are closed by <close>, whatever ends the block, and closing twice is fine", function()
      local kept = {}
      local ok, err = pcall(function()
         local session <close> = assert(dial(sshd))
         local channel <close> = assert(session:exec("sleep 60"))
         local task <close> = ssh.spawn(function() channel:read() end)
         kept = { session, channel, task }
         ssh.loop.sleep(0)
         error("out", 0)
      end)
      assert.same({ false, "out" }, { ok, err })
      for _, handle in ipairs(kept) do
         assert.is_true(handle.closed);
         (handle.close or handle.cancel)(handle)
      end
   end)

   it("give a closed session's calls that wait the code closed", function()
      local session = assert(dial(sshd))
      local channel = assert(session:exec("cat"))
      local waiting = {
         ssh.spawn(function() return channel:read() end),
         ssh.spawn(function() return channel:wait() end),
         ssh.spawn(function() return session:run("sleep 60") end),
         ssh.spawn(function() return channel:write(("x"):rep(10000000)) end),
      }
      ssh.loop.sleep(0)
      session:close()
      for i, task in ipairs(waiting) do
         local result, err = task:wait()
         assert.is_nil(result)
         assert.equal("closed", err.code, "call " .. i)
      end
   end)
end)

describe("the library", function()
   it("sets no global, and prints nothing", function()
      local before = {}
      for name in pairs(_G) do
         before[name] = true
      end
      local print_was, stdout, stderr = print, io.stdout, io.stderr
      local said = {}
      _G.print = function(...) table.insert(said, table.pack(...)) end
      local link = memory.connect()
      assert(link.session:run("echo hello"))
      link.session:close()
      _G.print = print_was
      assert.same({}, said)
      assert.is_true(io.stdout == stdout and io.stderr == stderr)
      for name in pairs(_G) do
         assert.is_true(before[name], name)
      end
   end)
end)
