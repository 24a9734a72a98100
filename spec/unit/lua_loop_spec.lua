local builtin = require "moonssh.loop.poll"
local core = require "moonssh.core"
local loop = require "moonssh.loop"
local ssh = require "moonssh"

-- What error values and strings look like in a comparison.
local function code_of(value, err)
   return value, err and err.code
end

describe("the built-in loop", function()
   local log

   local function note(what)
      table.insert(log, what)
   end

   before_each(function()
      log = {}
   end)

   describe("runs tasks", function()
      it("beside each other", function()
         local first = ssh.spawn(function()
            note "a"
            repeat
               loop.sleep(0.001)
            until log[3]
            note "d"
         end)
         local second = ssh.spawn(function()
            note "b"
            loop.sleep(0.001)
            note "c"
         end)
         assert.same({}, log)
         first:wait()
         second:wait()
         assert.same({ "a", "b", "c", "d" }, log)
      end)

      it("and gives all their results", function()
         local task = ssh.spawn(function(...)
            loop.sleep(0)
            return nil, "two", nil, select("#", ...)
         end, 1, nil, nil)
         local results = table.pack(task:wait())
         assert.equal(4, results.n)
         assert.same({ nil, "two", nil, 3, n = 4 }, results)
         assert.equal("two", (select(2, task:wait())))
         assert.is_true(task.closed)
      end)

      it("made of anything that can be called", function()
         local callable = setmetatable({}, { __call = function(_, a, b)
            return a + b
         end })
         assert.equal(3, ssh.spawn(callable, 1, 2):wait())
      end)

      it("and gives what they threw as an error value", function()
         local task = ssh.spawn(function()
            loop.sleep(0)
            assert(false, "broken")
         end)
         local ok, err = task:wait()
         assert.is_nil(ok)
         assert.equal("callback", err.code)
         assert.is_truthy(tostring(err.cause):find("broken", 1, true))
         assert.is_truthy(err.traceback:find("lua_loop_spec", 1, true))
      end)

      it("in the order in which they became ready", function()
         for i = 1, 5 do
            ssh.spawn(note, i)
         end
         for i = 6, 10 do
            ssh.spawn(function()
               loop.sleep(0)
               note(i)
            end)
         end
         loop.run(function() end)
         assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, log)
      end)

      it("that give way by a plain yield", function()
         ssh.spawn(function()
            for i = 1, 3 do
               note("a" .. i)
               coroutine.yield()
            end
         end)
         ssh.spawn(function()
            for i = 1, 3 do
               note("b" .. i)
               coroutine.yield()
            end
         end)
         loop.run(function() end)
         assert.same({ "a1", "b1", "a2", "b2", "a3", "b3" }, log)
      end)
   end)

   describe("lets calls wait", function()
      it("in the main program, while tasks go on", function()
         ssh.spawn(function()
            note "task"
         end)
         loop.sleep(0.001)
         assert.same({ "task" }, log)
      end)

      it("in a coroutine that is no task", function()
         local step = coroutine.wrap(function()
            for i = 1, 3 do
               loop.sleep(0.001)
               coroutine.yield(i)
            end
         end)
         assert.equal(1, step())
         assert.equal(2, step())
      end)

      it("in a coroutine within a task, without resuming that task meanwhile", function()
         local task = ssh.spawn(function()
            local step = coroutine.wrap(function()
               for i = 1, 2 do
                  note("in" .. i)
                  loop.sleep(0.005)
                  coroutine.yield(i)
               end
            end)
            return step(), step()
         end)
         ssh.spawn(function()
            note "other"
         end)
         assert.same({ 1, 2 }, { task:wait() })
         assert.same({ "in1", "other", "in2" }, log)
      end)

      it("where a task cannot yield", function()
         local task = ssh.spawn(function()
            return (("abc"):gsub(".", function(letter)
               loop.sleep(0.001)
               return letter:upper()
            end))
         end)
         assert.equal("ABC", task:wait())
      end)

      it("for descriptors, several tasks at one", function()
         local a, b = core.socket.pair()
         local reader = ssh.spawn(function()
            loop.wait(a, "r")
            return core.socket.recv(a)
         end)
         local second = ssh.spawn(function()
            loop.wait(a, "r")
            return "woken"
         end)
         local writer = ssh.spawn(function()
            loop.wait(a, "w")
            return "writable"
         end)
         assert.equal("writable", writer:wait())
         assert.is_false(reader.closed)
         core.socket.send(b, "hello")
         assert.equal("hello", reader:wait())
         assert.equal("woken", second:wait())
         core.socket.close(a)
         core.socket.close(b)
      end)

      it("for any of several descriptors", function()
         local a, b = core.socket.pair()
         local c, d = core.socket.pair()
         assert.same({ nil, "timeout" }, { loop.wait_any({ { a, "r" }, { c, "r" } }, core.now() + 0.01) })
         core.socket.send(d, "x")
         assert.equal(2, loop.wait_any{ { a, "r" }, { c, "r" } })
         assert.equal(1, loop.wait_any{ { b, "w" }, { a, "r" } })
         for _, fd in ipairs{ a, b, c, d } do
            core.socket.close(fd)
         end
      end)

      it("until a deadline", function()
         local a, b = core.socket.pair()
         local began = core.now()
         assert.same({ nil, "timeout" }, { loop.wait(a, "r", began + 0.02) })
         assert.is_true(core.now() >= began + 0.02)
         assert.same({ nil, "timeout" }, { loop.wait(a, "r", began) })
         core.socket.close(a)
         core.socket.close(b)
      end)

      it("until that deadline, also where a wait in place has used it up", function()
         local a, b = core.socket.pair()
         local real, used_up, due = core.wait, nil, nil
         finally(function() core.wait = real end)
         function core.wait(_, _, at)
            used_up = at
            ssh.spawn(function()
               due = builtin.due()
               core.socket.send(b, "x")
            end)
            repeat until core.now() > at - 59.99 -- some of the time at least
            return false
         end
         assert.is_true(builtin.wait(a, "r", 60))
         assert.equal(used_up, due)
         core.socket.close(a)
         core.socket.close(b)
      end)

      it("for a descriptor whose number was used before", function()
         for _ = 1, 3 do
            local a, b = core.socket.pair()
            core.socket.send(b, "x")
            assert.is_true(loop.wait(a, "r", core.now() + 60))
            core.socket.close(a)
            core.socket.close(b)
         end
      end)

      it("for a descriptor that cannot be watched, as if it were ready", function()
         local file = assert(io.open("/dev/null"))
         assert.is_true(loop.wait(1023, "r"))
         file:close()
      end)

      it("for the end of a task, for some time", function()
         local task = ssh.spawn(loop.sleep, 60)
         assert.same({ nil, "timeout" }, { code_of(task:wait(0.005)) })
         assert.is_false(task.closed)
         task:cancel()
      end)
   end)

   describe("cancels a task", function()
      it("where it waits, closing its variables", function()
         local task = ssh.spawn(function()
            local _ <close> = setmetatable({}, { __close = function() note "closed" end })
            pcall(loop.sleep, 60)
            note "went on"
         end)
         loop.sleep(0)
         task:cancel()
         assert.same({ "closed" }, log)
         assert.same({ nil, "cancelled" }, { code_of(task:wait()) })
         assert.is_true(task.closed)
         task:cancel()
      end)

      it("before it has begun", function()
         local task = ssh.spawn(note, "began")
         task:cancel()
         loop.sleep(0)
         assert.same({}, log)
         assert.same({ nil, "cancelled" }, { code_of(task:wait()) })
      end)

      it("at its next wait, when it is running", function()
         local task
         task = ssh.spawn(function()
            task:cancel()
            note "still here"
            pcall(loop.sleep, 0)
            note "went on"
         end)
         assert.same({ nil, "cancelled" }, { code_of(task:wait()) })
         assert.same({ "still here" }, log)
      end)

      it("that waits in a coroutine of its own", function()
         local task = ssh.spawn(function()
            coroutine.wrap(function()
               loop.sleep(60)
            end)()
         end)
         ssh.spawn(function()
            task:cancel()
         end)
         assert.same({ nil, "cancelled" }, { code_of(task:wait(60)) })
      end)

      it("whose closing variables wait", function()
         local task = ssh.spawn(function()
            local _ <close> = setmetatable({}, {
               __close = function()
                  loop.sleep(0.002)
                  note "closed"
               end,
            })
            loop.sleep(60)
         end)
         loop.sleep(0)
         task:cancel()
         assert.same({ "closed" }, log)
      end)

      it("at the end of its block", function()
         local task
         do
            local handle <close> = ssh.spawn(loop.sleep, 60)
            task = handle
         end
         assert.is_true(task.closed)
      end)
   end)

   describe("run", function()
      it("ends when no task is left, and gives the function's results", function()
         local results = table.pack(loop.run(function()
            ssh.spawn(function()
               loop.sleep(0.005)
               ssh.spawn(note, "last")
            end)
            return 1, nil, 3
         end))
         assert.same({ 1, nil, 3, n = 3 }, results)
         assert.same({ "last" }, log)
      end)

      it("throws what the function throws", function()
         local cause = {}
         local ok, caught = pcall(loop.run, function()
            loop.sleep(0)
            load("error(...)")(cause)
         end)
         assert.is_false(ok)
         assert.equal(cause, caught)
      end)

      it("within a task waits for the function alone", function()
         local other = ssh.spawn(loop.sleep, 60)
         local task = ssh.spawn(function()
            return loop.run(function()
               loop.sleep(0.001)
               return "inner"
            end)
         end)
         assert.equal("inner", task:wait(60))
         other:cancel()
      end)
   end)

   describe("says so when a wait would never end", function()
      it("in the main program", function()
         local task
         task = ssh.spawn(function()
            local adapter = loop.current()
            adapter.park(adapter.token())
         end)
         assert.error_matches(function() task:wait() end, "deadlock")
         task:cancel()
      end)

      it("under run, with the number of tasks that are stuck", function()
         local task
         assert.error_matches(function()
            loop.run(function()
               task = ssh.spawn(function()
                  local adapter = loop.current()
                  adapter.park(adapter.token())
               end)
            end)
         end, "deadlock: 1 task")
         task:cancel()
      end)

      it("of a task for itself", function()
         local task
         task = ssh.spawn(function()
            return task:wait()
         end)
         local _, err = task:wait()
         assert.is_truthy(tostring(err):find("a task cannot wait for itself", 1, true))
      end)
   end)

   describe("on_error", function()
      local default = loop.on_error
      local reported

      before_each(function()
         reported = {}
         loop.on_error = function(err, traceback)
            table.insert(reported, { err, traceback })
         end
      end)

      after_each(function()
         loop.on_error = default
      end)

      it("is told of the error of a task that nobody can ask any more", function()
         ssh.spawn(function()
            load("error('lost')", "=script")()
         end)
         loop.sleep(0)
         collectgarbage()
         collectgarbage()
         assert.equal(1, #reported)
         assert.equal("script:1: lost", reported[1][1].cause)
         assert.is_truthy(reported[1][2]:find("lost", 1, true))
      end)

      it("is not told of one that was asked for", function()
         do
            local task = ssh.spawn(function()
               load("error('known')")()
            end)
            task:wait()
         end
         collectgarbage()
         collectgarbage()
         assert.same({}, reported)
      end)
   end)

   describe("parks", function()
      it("until unparked, also when that came first", function()
         local adapter = loop.current()
         local token = adapter.token()
         adapter.unpark(token)
         assert.is_true(adapter.park(token))
         assert.same({ nil, "timeout" }, { adapter.park(token, 0.002) })
         ssh.spawn(adapter.unpark, token)
         assert.is_true(adapter.park(token, 60))
      end)

      it("and cancel wakes who waits for a descriptor", function()
         local a, b = core.socket.pair()
         local task = ssh.spawn(function()
            return loop.current().wait(a, "r")
         end)
         loop.sleep(0)
         loop.current().cancel(a)
         assert.is_true(task:wait(60))
         core.socket.close(a)
         core.socket.close(b)
      end)
   end)

   it("keeps no timers of waits that have ended", function()
      collectgarbage()
      collectgarbage()
      local before = collectgarbage("count")
      local adapter = loop.current()
      local token = adapter.token()
      for _ = 1, 20000 do
         adapter.unpark(token)
         ssh.spawn(adapter.park, token, 3600)
         loop.sleep(0)
      end
      collectgarbage()
      collectgarbage()
      assert.is_true(collectgarbage("count") - before < 100)
   end)

   it("asks the poller once a turn, however many descriptors are idle", function()
      local pairs_of, tasks = {}, {}
      for i = 1, 100 do
         pairs_of[i] = { core.socket.pair() }
         tasks[i] = ssh.spawn(loop.wait, pairs_of[i][1], "r")
      end
      loop.sleep(0)
      local resumed = 0
      for i = 1, 100 do
         core.socket.send(pairs_of[i][2], "x")
         tasks[i]:wait()
         for j = i + 1, 100 do
            resumed = resumed + (tasks[j].closed and 1 or 0)
         end
      end
      assert.equal(0, resumed)
      for _, pair in ipairs(pairs_of) do
         core.socket.close(pair[1])
         core.socket.close(pair[2])
      end
   end)

   it("is not woken for what nobody waits for any more", function()
      local poller, waits = core.poller, 0
      function core.poller()
         local real = poller()
         return {
            set = function(_, ...) return real:set(...) end,
            wait = function(_, ...)
               waits = waits + 1
               return real:wait(...)
            end,
         }
      end
      package.loaded["moonssh.loop.poll"] = nil
      local fresh = require "moonssh.loop.poll"
      package.loaded["moonssh.loop.poll"] = builtin
      local a, b = core.socket.pair()
      assert.is_true(fresh.wait(a, "w"))
      core.poller = poller
      assert.same({ nil, "timeout" }, { fresh.wait(a, "r", 0.03) })
      core.socket.send(b, "x")
      assert.is_true(fresh.wait(a, "r"))
      fresh.sleep(0.03)
      assert.is_true(waits <= 8, waits)
      core.socket.close(a)
      core.socket.close(b)
   end)

   it("can be replaced by a table with the same functions", function()
      local waits = 0
      local other = {
         now = builtin.now, token = builtin.token, park = builtin.park, unpark = builtin.unpark,
         wait = function(...)
            waits = waits + 1
            return builtin.wait(...)
         end,
      }
      assert.equal(builtin, loop.use(other))
      local a, b = core.socket.pair()
      assert.same({ nil, "timeout" }, { loop.wait(a, "r", core.now() + 0.001) })
      loop.sleep(0.001)
      assert.is_true(loop.wait_any({ { a, "r" }, { b, "w" } }) == 2)
      assert.is_true(waits >= 2)
      assert.equal(other, loop.use(nil))
      assert.equal(builtin, loop.current())
      assert.error_matches(function() loop.use{ now = builtin.now } end, "the loop has no function 'wait'")
      core.socket.close(a)
      core.socket.close(b)
   end)
end)

describe("the heap of timers", function()
   local Heap = require "moonssh.loop.heap"

   it("gives what is due first, whatever went in and out before", function()
      math.randomseed(99)
      local heap, list = Heap.new(), {}
      for _ = 1, 5000 do
         if #list > 0 and math.random(3) == 1 then
            heap:remove(table.remove(list, math.random(#list)))
         else
            local timer = { at = math.random(200) }
            heap:add(timer)
            table.insert(list, timer)
         end
         assert(heap.size == #list)
      end
      table.sort(list, function(a, b)
         return a.at < b.at or a.at == b.at and a.order < b.order
      end)
      for _, timer in ipairs(list) do
         assert(heap[1] == timer)
         heap:remove(timer)
      end
      assert.equal(0, heap.size)
      heap:remove(list[1])
      assert.equal(0, heap.size)
   end)
end)

describe("ssh.map", function()
   it("gives results and errors by index", function()
      local results, failures = ssh.map({ "a", "b", "c", "d" }, function(item, index)
         loop.sleep(0.001 * (5 - index))
         if item == "b" then
            return nil, "no b"
         elseif item == "c" then
            load("error('c failed', 0)")()
         end
         return item .. index
      end)
      assert.same({ "a1", [4] = "d4" }, results)
      assert.equal("no b", failures[2])
      assert.equal("c failed", failures[3].cause)
      assert.is_nil(failures[1])
   end)

   it("runs so many at a time", function()
      local running, most = 0, 0
      ssh.map({ 1, 2, 3, 4, 5, 6, 7 }, function()
         running = running + 1
         most = math.max(most, running)
         loop.sleep(0.001)
         running = running - 1
      end, { concurrency = 3 })
      assert.equal(3, most)
      assert.equal(0, running)
   end)

   it("raises for wrong arguments", function()
      assert.error_matches(function() ssh.map(1) end, "bad argument #1 to 'map' %(table or function expected, ")
      assert.error_matches(function() ssh.map({}, print, { concurrency = 0 }) end, "'concurrency': not positive")
   end)
end)
