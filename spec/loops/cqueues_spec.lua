local behaviour = require "spec.support.loop_behaviour"
local builtin = require "moonssh.loop.poll"
local cqueues = require "cqueues"
local light = require "spec.support.light"
local adapter = require "moonssh.loop.cqueues"
local ssh = require "moonssh"

-- Runs f in a coroutine of a controller, and that to its end.
local function inside(f)
   local controller = cqueues.new()
   local ended = false
   controller:wrap(function()
      f()
      ended = true
   end)
   assert(controller:loop())
   assert.is_true(ended)
end

behaviour(_ENV, "cqueues", adapter, inside)

describe("cqueues", function()
   local server

   setup(function()
      server = light.start()
   end)

   teardown(function()
      server:stop()
   end)

   it("has calls raise in coroutines that it does not run, and goes on", function()
      inside(function()
         local session <close> = assert(server:connect{ loop = adapter })
         local ok, why = pcall(coroutine.wrap(function()
            coroutine.yield(session:run("echo within"))
         end))
         assert.same({ false, "a call that waits, in a coroutine that cqueues does not run" }, { ok, why })
         assert.equal("after\n", assert(session:run("echo after")).stdout)
      end)
   end)

   it("goes on with coroutines of its own while calls wait, by the option loop", function()
      inside(function()
         local session <close> = assert(server:connect{ loop = adapter })
         local ticks, going = 0, true
         cqueues.running():wrap(function()
            while going do
               cqueues.sleep(0.001)
               ticks = ticks + 1
            end
         end)
         for _ = 1, 1000 do
            assert(session:run("sleep 0.01"))
            if ticks > 3 then
               break
            end
         end
         going = false
         assert.is_true(ticks > 3)
      end)
   end)

   it("does all waiting of a session that names it, for names, connections and agents", function()
      local agent <close> = require "spec.support.server".agent()
      local refused = function() error("the built-in loop was asked") end
      inside(function()
         local wait, wait_any, park, sleep = builtin.wait, builtin.wait_any, builtin.park, builtin.sleep
         builtin.wait, builtin.wait_any, builtin.park, builtin.sleep = refused, refused, refused, refused
         local ok, session, err = pcall(ssh.connect, "moon@localhost:" .. server.port, light.options{
            loop = adapter, agent = agent.path, address_family = "inet", preferred_auth = { "publickey", "password" },
         })
         local output = session and session:run("echo hello")
         builtin.wait, builtin.wait_any, builtin.park, builtin.sleep = wait, wait_any, park, sleep
         assert(ok and session, err or session)
         assert.equal("hello\n", output.stdout)
         session:close()
      end)
   end)

   it("polls a session of another loop, which is moved by step", function()
      inside(function()
         local session <close> = assert(server:connect{ loop = adapter })
         local channel = assert(session:exec("sleep 0.05 done"))
         local pollable = session:pollable()
         assert.equal(session:fd(), pollable:pollfd())
         while not channel._ended do
            cqueues.poll(pollable, 60)
            assert.is_true(session:step())
         end
         assert.equal("done", channel:read())
      end)
   end)

   it("has the sessions of two controllers at once", function()
      local one, two = cqueues.new(), cqueues.new()
      local outputs = {}
      for i, controller in ipairs{ one, two } do
         controller:wrap(function()
            local session <close> = assert(server:connect{ loop = adapter })
            local task = ssh.spawn(function()
               return "not on this loop"
            end)
            task:cancel()
            outputs[i] = session:run("sleep 0.01 " .. i).stdout
         end)
      end
      while not (one:empty() and two:empty()) do
         assert(one:step(0.001))
         assert(two:step(0.001))
      end
      assert.same({ "1", "2" }, outputs)
   end)
end)
