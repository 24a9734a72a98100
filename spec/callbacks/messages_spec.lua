local light = require "spec.support.light"
local loop = require "moonssh.loop"
local memory = require "spec.support.memory"
local messages = require "spec.support.messages"
local ssh = require "moonssh"

-- The two kinds of message that a server may send at any time: a payload with some text, and what of the handler's
-- arguments is that text.
local kinds = {
   ignore = {
      payload = function(text) return messages.ignore(text) end,
      text = function(_, message) return message end,
   },
   debug = {
      payload = function(text) return messages.debug(true, text, "en") end,
      text = function(_, _, message) return message end,
   },
}

local function throw(value)
   load("error(..., 0)")(value)
end

describe("the ignore callback", function()
   it("gets the session, the message without its length, and abstract", function()
      local link = memory.connect{ session = { abstract = "mine" } }
      local seen
      link.session:callback_set("ignore", function(...)
         seen = table.pack(...)
      end)
      link:send(messages.ignore("a\0b\255")):settle()
      assert.same({ link.session, "a\0b\255", "mine", n = 3 }, seen)
      link:send(messages.ignore("")):settle()
      assert.equal("", seen[2])
   end)
end)

describe("the debug callback", function()
   it("gets the session, always_display as a boolean, message, language, and abstract", function()
      local link = memory.connect{ session = { abstract = "mine" } }
      local seen
      link.session:callback_set("debug", function(...)
         seen = table.pack(...)
      end)
      link:send(messages.debug(true, "te\0xt", "en-GB")):settle()
      assert.same({ link.session, true, "te\0xt", "en-GB", "mine", n = 5 }, seen)
      link:send(messages.debug(false, "", "")):settle()
      assert.same({ link.session, false, "", "", "mine", n = 5 }, seen)
   end)
end)

for cbtype, kind in pairs(kinds) do
   describe("the " .. cbtype .. " callback", function()
      local link, session, seen

      -- Sets a handler that notes the texts and then calls f(session, text).
      local function handle(f)
         return session:callback_set(cbtype, function(...)
            local text = kind.text(...)
            table.insert(seen, text)
            if f then
               f(..., text)
            end
         end)
      end

      local function send(...)
         for i = 1, select("#", ...) do
            link:send(kind.payload((select(i, ...))))
         end
         return link
      end

      before_each(function()
         seen = {}
         link = memory.connect()
         session = link.session
      end)

      after_each(function()
         session:close()
      end)

      it("is called for each message, in their order", function()
         handle()
         send("one", "two", "three"):settle()
         assert.same({ "one", "two", "three" }, seen)
      end)

      it("is called while a call waits, and the call goes on", function()
         handle()
         send("one")
         local result = assert(session:run("echo hello"))
         assert.equal("hello", result.stdout)
         assert.same({ "one" }, seen)
      end)

      it("may replace itself: the message that has come together with its own finds the new one", function()
         local second = {}
         handle(function()
            session:callback_set(cbtype, function(...)
               table.insert(second, kind.text(...))
               session:callback_set(cbtype, nil)
            end)
         end)
         send("one", "two", "three"):settle()
         assert.same({ "one" }, seen)
         assert.same({ "two" }, second)
      end)

      describe("that throws", function()
         it("has its error raised from the call that leads, and the session goes on", function()
            local cause = {}
            handle(function() throw(cause) end)
            send("one")
            local ok, err = pcall(session.ping, session)
            assert.is_false(ok)
            assert.equal("callback", err.code)
            assert.equal(cause, err.cause)
            assert.equal(cbtype, err.callback)
            assert.is_truthy(err.traceback:find("messages_spec", 1, true))
            assert.is_nil(session.failure)
            session:callback_set(cbtype, nil)
            assert.equal("hello", assert(session:run("echo hello")).stdout)
         end)

         it("has its error raised from step", function()
            handle(function() throw("oops") end)
            send("one")
            local ok, err = pcall(session.step, session)
            assert.is_false(ok)
            assert.equal("oops", err.cause)
            assert.is_truthy(tostring(err):find(cbtype, 1, true))
         end)

         it("cancels the call's operation as a timeout would", function()
            handle(function() throw("oops") end)
            link.server.exec = function(channel)
               send("one")
               channel:write("partial")
            end
            local ok = pcall(session.run, session, "endless")
            assert.is_false(ok)
            link:settle()
            -- The channel was given up: the server has seen its end.
            assert.equal(1, #link.server:received("channel_close"))
         end)

         it("leaves the other calls of the session alone", function()
            local got
            local other = ssh.spawn(function()
               got = session:run("cat", { stdin = "data" })
            end)
            local leader = ssh.spawn(function()
               return pcall(session.ping, session)
            end)
            handle(function() throw("oops") end)
            send("one")
            leader:wait()
            other:wait()
            if not got then
               -- Then the other one led; its own call has got the error.
               local _, err = other:wait()
               assert.equal("callback", err.code)
               assert.is_true(leader:wait())
            else
               assert.equal("data", got.stdout)
               assert.is_false(leader:wait())
            end
         end)

         it("does not keep the messages after it from their handlers", function()
            local reported = {}
            local default = loop.on_error
            loop.on_error = function(err)
               table.insert(reported, err.cause)
            end
            handle(function(_, text)
               if text ~= "three" then
                  throw(text)
               end
            end)
            send("one", "two", "three")
            local ok, err = pcall(session.step, session)
            loop.on_error = default
            assert.is_false(ok)
            assert.equal("one", err.cause)
            assert.same({ "two" }, reported)
            assert.same({ "one", "two", "three" }, seen)
         end)

         it("may throw anything", function()
            local function overflow()
               return 1 + overflow()
            end
            local hostile = setmetatable({}, { __tostring = function() throw("no text") end })
            for _, cause in ipairs{ hostile, 12, false, overflow, "" } do
               handle(function()
                  if cause == overflow then
                     overflow()
                  end
                  throw(cause)
               end)
               send("one")
               local ok, err = pcall(session.ping, session)
               assert.is_false(ok)
               assert.equal("callback", err.code)
               assert.equal("string", type(tostring(err)))
               assert.equal("string", type(err.traceback))
               if cause ~= overflow then
                  assert.equal(cause, err.cause)
               end
            end
            handle(function() throw(nil) end)
            send("one")
            assert.is_false((pcall(session.ping, session)))
            assert.is_nil(session.failure)
         end)

         it("tells loop.on_error when it had waited before", function()
            local reported = {}
            local default = loop.on_error
            loop.on_error = function(err, traceback)
               table.insert(reported, { err, traceback })
            end
            handle(function()
               loop.sleep(0.001)
               throw("late")
            end)
            send("one"):settle()
            assert.is_true(session:ping() >= 0)
            while #reported == 0 do
               loop.sleep(0.001)
            end
            loop.on_error = default
            assert.equal(1, #reported)
            assert.equal("callback", reported[1][1].code)
            assert.equal("late", reported[1][1].cause)
            assert.is_truthy(reported[1][2]:find("messages_spec", 1, true))
         end)
      end)

      describe("that waits", function()

         it("does not hold up the session, nor the messages that follow", function()
            local gate = loop.current().token()
            local passed = 0
            handle(function(_, text)
               if text == "one" then
                  loop.current().park(gate)
                  passed = passed + 1
               end
            end)
            send("one", "two")
            assert.equal("hello", assert(session:run("echo hello")).stdout)
            assert.same({ "one", "two" }, seen)
            assert.equal(0, passed)
            loop.current().unpark(gate)
            loop.sleep(0)
            assert.equal(1, passed)
         end)

         it("may wait where it cannot yield", function()
            handle(function(_, text)
               seen.inner = ("x"):gsub("x", function()
                  return assert(session:run("echo " .. text)).stdout
               end)
            end)
            send("one")
            assert.equal("main", assert(session:run("echo main")).stdout)
            assert.equal("one", seen.inner)
         end)

         it("starts in the order of the messages, also when handlers lead the session", function()
            handle(function()
               session:ping()
            end)
            for i = 1, 250 do
               send(tostring(i))
            end
            assert(session:run("echo hello"))
            local expected = {}
            for i = 1, 250 do
               expected[i] = tostring(i)
            end
            assert.same(expected, seen)
         end)
      end)

      it("may close the session", function()
         handle(function()
            session:close()
         end)
         send("one", "two")
         local result, err = session:run("echo hello")
         assert.is_nil(result)
         assert.equal("closed", err.code)
         assert.is_true(session.closed)
         assert.same({ "one" }, seen)
         assert.equal(1, #link.server:received("disconnect"))
      end)

      it("may step the session", function()
         handle(function(_, text)
            if text == "one" then
               session:step()
            end
         end)
         send("one", "two"):settle()
         assert.same({ "one", "two" }, seen)
      end)
   end)
end

describe("a handler that waits for another session", function()
   it("does not hold up the one that called it", function()
      local server <close> = light.start()
      local session <close> = assert(server:connect())
      local other <close> = assert(server:connect())
      local began, ended = 0, 0
      session:callback_set("debug", function()
         began = began + 1
         other:run("hang", { timeout = 60 })
         ended = ended + 1
      end)
      assert(session:run("debug one"))
      assert.equal("here", session:run("echo here").stdout:match("%a+"))
      assert.same({ 1, 0 }, { began, ended })
   end)
end)
