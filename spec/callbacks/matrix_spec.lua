-- The matrix: every type of callback × what a handler may do or suffer. A hazard is written once for the handlers that
-- run as tasks and once for those that answer in place; what the types need for it is in their drivers. What is
-- special to a type is in the other specs of this folder.

local drivers = require "spec.support.callback_drivers"
local loop = require "moonssh.loop"
local memory = require "spec.support.memory"
local messages = require "spec.support.messages"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"

-- Calls that a handler in place may not make on its own session.
local WAITING_CALLS = { "ping", "step", "wake", "run", "exec", "open", "rekey", "ignore", "debug", "disconnect" }

local function throw(value)
   load("error(..., 0)")(value)
end

local opened = {}

local function open(driver, options)
   local case = driver.open(options)
   table.insert(opened, case)
   return case
end

-- Sets a handler that counts its calls in .n, keeps the arguments of the last, and then calls f with them.
local function watch(case, f)
   local seen = { n = 0 }
   seen.previous = case.session:callback_set(case.type, function(...)
      seen.n = seen.n + 1
      seen.arguments = table.pack(...)
      if f then
         f(...)
      end
      return case.driver.answer(...)
   end)
   return seen
end

-- What comes of the errors that no call can return, while f runs.
local function reported(f)
   local default, list = loop.on_error, {}
   loop.on_error = function(err, traceback)
      table.insert(list, { err = err, traceback = traceback })
   end
   local ok, err = pcall(f, list)
   loop.on_error = default
   assert(ok, err)
   return list
end

local function assert_callback_error(driver, cause, err)
   assert.equal("callback", err.code)
   assert.equal(driver.type, err.callback)
   assert.equal(cause, err.cause)
   assert.is_truthy(err.traceback:find("matrix_spec", 1, true), err.traceback)
   assert.is_truthy(tostring(err):find(driver.type, 1, true))
end

local hazards, order = {}, {}

-- `place` is left out where the cell is the same for all types.
local function hazard(name, task, place)
   table.insert(order, name)
   hazards[name] = { task = task, place = place or task }
end

hazard("set", function(driver)
   local case = open(driver, { abstract = "mine" })
   local seen = watch(case)
   assert.is_nil(seen.previous)
   assert.equal(0, seen.n)
   case:cause()
   assert.is_true(seen.n >= 1)
   local arguments = seen.arguments
   assert.equal(driver.count, arguments.n)
   assert.equal(case.session, arguments[driver.session_at])
   assert.equal("mine", arguments[driver.abstract_at])
   driver.check(case, arguments)
   case:use()
end)

hazard("set by an option", function(driver)
   local seen = 0
   local function f(...)
      seen = seen + 1
      return driver.answer(...)
   end
   local case = open(driver, { callbacks = { [driver.type] = f } })
   assert.equal(f, case.session:callback_get(driver.type))
   local before = seen
   case:cause()
   assert.is_true(seen > before)
   case:use()
end)

hazard("replaced", function(driver)
   local case = open(driver)
   local first = watch(case)
   local handler = case.session:callback_get(case.type)
   local second = watch(case)
   assert.equal(handler, second.previous)
   case:cause()
   assert.equal(0, first.n)
   assert.is_true(second.n >= 1)
   case:use()
end)

hazard("chained to the one before", function(driver)
   local case = open(driver)
   local calls = {}
   case.session:callback_set(case.type, function(...)
      table.insert(calls, "first")
      return driver.answer(...)
   end)
   local previous
   previous = case.session:callback_set(case.type, function(...)
      table.insert(calls, "second")
      return previous(...)
   end)
   case:cause()
   assert.is_true(#calls >= 2)
   for i = 1, #calls, 2 do
      assert.same({ "second", "first" }, { calls[i], calls[i + 1] })
   end
   case:use()
end)

hazard("disabled with nil", function(driver)
   local case = open(driver)
   local seen = watch(case)
   if not driver.once then
      case:cause()
      assert.is_true(seen.n >= 1)
   end
   local before = seen.n
   local handler = case.session:callback_get(case.type)
   assert.equal(handler, case.session:callback_set(case.type, nil))
   assert.is_nil(case.session:callback_get(case.type))
   driver.default(case)
   assert.equal(before, seen.n)
end)

hazard("never set", function(driver)
   driver.default(open(driver))
end)

hazard("set from inside itself", function(driver)
   local case = open(driver)
   local second
   local first = watch(case, function()
      second = watch(case)
   end)
   local handler = case.session:callback_get(case.type)
   case:cause()
   assert.equal(1, first.n)
   assert.equal(handler, second.previous)
   if driver.once then
      assert.equal(0, second.n)
   else
      case:cause()
      assert.is_true(second.n >= 1)
   end
   case:use()
   assert.equal(1, first.n)
end)

hazard("removed from inside itself", function(driver)
   local case = open(driver)
   local seen = watch(case, function()
      case.session:callback_set(case.type, nil)
   end)
   case:cause()
   assert.equal(1, seen.n)
   if not driver.once then
      driver.default(case)
   end
   assert.equal(1, seen.n)
end)

hazard("collected with the session that it captures", function(driver)
   local weak = setmetatable({}, { __mode = "k" })
   local release
   do
      local case = driver.open()
      local session = case.session
      weak[session] = true
      session.abstract = { session }
      session:callback_set(case.type, function(...)
         return session and driver.answer(...)
      end)
      case:cause()
      case:rest()
      release = setmetatable({ task = case.task, ours = case.ours, theirs = case.theirs }, getmetatable(case))
   end
   collectgarbage()
   collectgarbage()
   assert.is_nil(next(weak))
   release:release()
end)

hazard("abstract replaced from inside", function(driver)
   local case = open(driver, { abstract = 0 })
   local session, got = case.session, {}
   local function count(...)
      table.insert(got, (select(driver.abstract_at, ...)))
      session.abstract = session.abstract + 1
   end
   watch(case, count)
   if driver.once then
      -- Of two handlers that are due together the second sees what the first has left.
      session:callback_set("ignore", function(_, _, abstract)
         table.insert(got, abstract)
         session.abstract = session.abstract + 1
      end)
      case.link:send(messages.ignore("before"))
   else
      case:cause()
   end
   case:cause()
   for i, value in ipairs(got) do
      assert.equal(i - 1, value)
   end
   assert.is_true(#got >= 2)
   assert.equal(#got, session.abstract)
end)

hazard("set in a coroutine that has died", function(driver)
   local case = open(driver)
   local seen
   local co = coroutine.create(function()
      seen = watch(case)
      throw("the coroutine's own")
   end)
   assert.is_false(coroutine.resume(co))
   assert.equal("dead", coroutine.status(co))
   co = nil -- luacheck: ignore
   collectgarbage()
   case:cause()
   assert.is_true(seen.n >= 1)
   case:use()

   local other = open(driver)
   co = coroutine.create(function()
      seen = watch(other)
      coroutine.yield()
   end)
   coroutine.resume(co)
   coroutine.close(co)
   other:cause()
   assert.is_true(seen.n >= 1)
   other:use()
end)

hazard("of two sessions with the same function", function(driver)
   local a, b = open(driver, { abstract = "a" }), open(driver, { abstract = "b" })
   local seen = {}
   local function f(...)
      table.insert(seen, { (select(driver.session_at, ...)), (select(driver.abstract_at, ...)) })
      return driver.answer(...)
   end
   a.session:callback_set(driver.type, f)
   b.session:callback_set(driver.type, f)
   a:cause()
   local mine = #seen
   assert.is_true(mine >= 1)
   b:cause()
   assert.is_true(#seen > mine)
   for i, one in ipairs(seen) do
      assert.equal(i <= mine and a.session or b.session, one[1])
      assert.equal(i <= mine and "a" or "b", one[2])
   end
   -- It stays with the one when the other gives it up.
   a.session:callback_set(driver.type, nil)
   assert.equal(f, b.session:callback_get(driver.type))
   a:use()
   b:use()
end)

hazard("closes the session", function(driver)
   local case = open(driver)
   local session = case.session
   local seen = watch(case, function()
      session:close()
      assert.is_true(session.closed)
      session:close()
   end)
   pcall(case.cause, case)
   local calls = driver.type == "send" and 2 or 1 -- it sends the farewell as well
   assert.equal(calls, seen.n)
   assert.is_true(session.closed)
   assert.error_matches(function() session:ping() end, "closed")
   if not driver.once then
      waiting.await(function() return case.server:received("disconnect")[1] end, "the farewell")
   end
   assert.equal(calls, seen.n)
end)

hazard("throws", function(driver)
   local case = open(driver)
   local session = case.session
   local cause = {}
   local seen = watch(case, function() throw(cause) end)
   local list = reported(function()
      local ok, err = pcall(case.cause, case)
      assert.is_false(ok)
      assert_callback_error(driver, cause, err)
   end)
   assert.same({}, list)
   assert.equal(1, seen.n)
   assert.equal(driver.failure, session.failure and session.failure.code)
   session:callback_set(driver.type, nil)
   if not driver.failure then
      case:use()
      driver.default(case)
   else
      assert.equal(session.failure, select(2, session:ping()))
   end
end)

hazard("throws after it has waited", function(driver)
   local case = open(driver)
   local cause = {}
   local list = reported(function(list)
      watch(case, function()
         loop.sleep(0.001)
         throw(cause)
      end)
      case:cause()
      waiting.await(function() return list[1] end, "the report")
   end)
   assert.equal(1, #list)
   assert_callback_error(driver, cause, list[1].err)
   assert.equal(list[1].err.traceback, list[1].traceback)
   case:use()
end, function(driver)
   -- There a wait raises. One that catches this may throw what it likes.
   local case = open(driver)
   local cause, caught = {}, nil
   watch(case, function()
      caught = select(2, pcall(loop.sleep, 0.001))
      throw(cause)
   end)
   local ok, err = pcall(case.cause, case)
   assert.is_false(ok)
   assert_callback_error(driver, cause, err)
   assert.is_truthy(caught:find("a call that waits, within the " .. driver.type .. " callback", 1, true))
   assert.equal(driver.failure, case.session.failure.code)
end)

hazard("waits", function(driver)
   local case = open(driver)
   local adapter = loop.current()
   local gate, passed = adapter.token(), 0
   local seen = watch(case, function()
      adapter.park(gate)
      passed = passed + 1
   end)
   case:cause()
   assert.equal(1, seen.n)
   case:use() -- the session is not held up
   assert.equal(0, passed)
   adapter.unpark(gate)
   waiting.await(function() return passed == 1 end, "the handler")
   case:use()
end, function(driver)
   for _, wait in ipairs{
      function() loop.sleep(0) end,
      function() ssh.spawn(function() end):wait() end,
      function() loop.run(function() end) end,
   } do
      local case = open(driver)
      watch(case, wait)
      local ok, err = pcall(case.cause, case)
      assert.is_false(ok)
      assert.equal("callback", err.code)
      assert.is_truthy(err.cause:find("a call that waits, within the " .. driver.type .. " callback", 1, true))
      assert.equal(driver.failure, case.session.failure.code)
   end
end)

hazard("yields", function(driver)
   local case = open(driver)
   local passed
   watch(case, function()
      coroutine.yield("something")
      passed = true
   end)
   case:cause()
   waiting.await(function() return passed end, "the handler")
   case:use()
end, function(driver)
   local case = open(driver)
   watch(case, function() coroutine.yield("something") end)
   local ok, err = pcall(case.cause, case)
   assert.is_false(ok)
   assert.equal("callback", err.code)
   assert.is_truthy(err.cause:find("attempt to yield from the " .. driver.type .. " callback", 1, true))
   assert.equal(driver.failure, case.session.failure.code)
end)

-- What a task does with a session that goes on, one after the other.
local function work_with(session)
   assert(session:ping() >= 0)
   assert.equal("inside", assert(session:run("echo inside")).stdout)
   local channel <close> = assert(session:exec("cat"))
   assert(channel:write("written inside\n"))
   assert.equal("written inside", channel:read("l"))
   assert(channel:eof())
   assert.is_nil(channel:read())
   assert.equal(0, channel:wait())
   local bare = assert(session:open())
   bare:close()
   assert.is_true(session:ignore("from inside"))
   assert.is_true(session:rekey())
   assert.is_boolean(session:step())
end

hazard("calls its own session", function(driver)
   local case = open(driver)
   local session = case.session
   local done
   watch(case, function()
      if driver.once then
         for _, call in ipairs{ "ping", "rekey", "ignore" } do
            local result, err = session[call](session)
            assert.is_nil(result)
            assert.equal(session.failure, err)
         end
         assert.equal(session.failure, select(2, session:exec("cat")))
         assert.equal(session.failure, select(2, session:open()))
      else
         work_with(session)
      end
      done = true
   end)
   case:cause()
   waiting.await(function() return done end, "the handler")
   session:callback_set(case.type, nil)
   case:use()
end, function(driver)
   local case = open(driver)
   local session = case.session
   local problems, abstract
   local channel = assert(session:exec("cat"))
   watch(case, function()
      problems = {}
      for _, name in ipairs(WAITING_CALLS) do
         problems[name] = select(2, pcall(session[name], session, "x"))
      end
      for _, name in ipairs{ "write", "read", "eof", "wait" } do
         problems[name] = select(2, pcall(channel[name], channel))
      end
      -- These it may use.
      session.abstract = session.info.kex
      abstract = session.abstract
      session:callback_set("debug", session:callback_get("debug"))
   end)
   case:cause()
   local count = 0
   for name, problem in pairs(problems) do
      count = count + 1
      local expected = ("'%s' called on its own session from the %s callback"):format(name, driver.type)
      assert.is_truthy(tostring(problem):find(expected, 1, true), problem)
   end
   assert.equal(#WAITING_CALLS + 4, count)
   assert.equal("mlkem768x25519-sha256", abstract)
   case.session:callback_set(driver.type, nil)
   case:use()
end)

hazard("uses another session", function(driver)
   local case, other = open(driver), memory.connect().session
   local done
   watch(case, function()
      work_with(other)
      done = true
   end)
   case:cause()
   waiting.await(function() return done end, "the handler")
   case:use()
   other:close()
end, function(driver)
   -- As long as nothing has to be waited for.
   local case, other = open(driver), memory.connect().session
   local echo, problem
   watch(case, function()
      assert.is_true(other:step())
      echo = assert(other:run("echo other")).stdout
      problem = select(2, pcall(other.run, other, "cat", { stdin = function() loop.sleep(0) end }))
   end)
   case:cause()
   assert.equal("other", echo)
   assert.is_truthy(tostring(problem):find("a call that waits, within the " .. driver.type, 1, true))
   case.session:callback_set(case.type, nil)
   case:use()
   assert.equal("hello", other:run("echo hello").stdout)
   other:close()
end)

hazard("collects garbage", function(driver)
   local case = open(driver)
   local seen = watch(case, function()
      collectgarbage()
      collectgarbage()
   end)
   case:cause()
   assert.is_true(seen.n >= 1)
   case:use()
end)

local names = {}
for cbtype in pairs(drivers) do
   table.insert(names, cbtype)
end
table.sort(names)

describe("the matrix", function()
   it("has a driver for every type", function()
      local known = {}
      for _, cbtype in pairs(ssh.CALLBACK) do
         table.insert(known, cbtype)
      end
      table.sort(known)
      assert.same(known, names)
   end)

   it("has a cell for each of them and every hazard", function()
      assert.same({ "set", "set by an option", "replaced", "chained to the one before", "disabled with nil",
         "never set", "set from inside itself", "removed from inside itself",
         "collected with the session that it captures", "abstract replaced from inside",
         "set in a coroutine that has died", "of two sessions with the same function", "closes the session", "throws",
         "throws after it has waited", "waits", "yields", "calls its own session", "uses another session",
         "collects garbage" }, order)
      for _, name in ipairs(order) do
         assert.is_function(hazards[name].task)
         assert.is_function(hazards[name].place)
      end
      for _, driver in pairs(drivers) do
         for _, field in ipairs{ "open", "cause", "check", "answer", "default" } do
            assert.is_function(driver[field], driver.type .. ": " .. field)
         end
         for _, field in ipairs{ "count", "session_at", "abstract_at" } do
            assert.is_number(driver[field], driver.type .. ": " .. field)
         end
      end
   end)
end)

for _, cbtype in ipairs(names) do
   describe("the " .. cbtype .. " callback", function()
      after_each(function()
         for _, case in ipairs(opened) do
            case:close()
         end
         opened = {}
      end)

      for _, name in ipairs(order) do
         it(name, function()
            local driver = drivers[cbtype]
            hazards[name][driver.place and "place" or "task"](driver)
         end)
      end
   end)
end
