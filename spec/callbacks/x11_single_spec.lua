-- The callback `x11` where one connection was asked for: what counts as one.

local memory = require "spec.support.memory"
local messages = require "spec.support.messages"
local waiting = require "spec.support.waiting"
local x11 = require "spec.support.x11"

local REAL, prefix = x11.REAL, x11.prefix
local PROHIBITED = { 1, "not requested" }
local SHORTAGE = { 4, "too many connections wait" }

describe("the x11 callback, where one connection was asked for,", function()
   local link, session, server, folder, seen

   before_each(function()
      local xauthority
      folder, xauthority = x11.authority()
      seen = ""
      link = memory.connect{ server = { exec = function() end }, session = {
         display = ":54321",
         xauthority = xauthority,
         callbacks = { x11 = function(_, channel)
            for data in function() return channel:read() end do
               seen = seen .. data
            end
         end },
      } }
      session, server = link.session, link.server
   end)

   after_each(function()
      session:close()
      folder:remove()
   end)

   local function command()
      return assert(session:exec("talk", { forward_x11 = { single = true } }))
   end

   local function open()
      return x11.open(link)
   end

   local function right()
      return prefix("l", x11.fake(server))
   end

   -- That there may be one, and not another.
   local function only_one_left()
      local theirs = open()
      assert.is_number(theirs.peer)
      assert.same(PROHIBITED, open().refused)
      theirs:write(right())
      link:settle()
      assert.equal(prefix("l", REAL), seen)
      theirs:close()
      link:settle()
      assert.same(PROHIBITED, open().refused)
   end

   local ends = {
      ["has a wrong cookie"] = function(theirs)
         theirs:write(prefix("l", ("x"):rep(16)))
      end,
      ["ends within its first bytes"] = function(theirs)
         theirs:write(right():sub(1, 30)):eof()
      end,
      ["is closed within its first bytes"] = function(theirs)
         theirs:write(right():sub(1, 30)):close()
      end,
      ["is closed before them"] = function(theirs)
         theirs:close()
      end,
   }

   for what, finish in pairs(ends) do
      it(("does not count one that %s, however many there are"):format(what), function()
         local _ <close> = command()
         for _ = 1, 3 do
            local theirs = open()
            assert.is_number(theirs.peer)
            assert.same(PROHIBITED, open().refused)
            finish(theirs)
            link:settle()
            assert.is_true(theirs.closed)
            assert.equal("", seen)
         end
         only_one_left()
      end)
   end

   it("lets one in of two that are there before either shows which command it is for", function()
      local _ <close> = assert(session:exec("talk", { forward_x11 = true }))
      local any = right()
      local other <close> = command()
      local first, second, third = open(), open(), open()
      assert.is_number(third.peer)
      first:write(right())
      link:settle()
      assert.equal(prefix("l", REAL), seen)
      second:write(right())
      link:settle()
      assert.equal(prefix("l", REAL), seen)
      assert.same({ nil, true }, { first.closed, second.closed })
      third:write(any)
      link:settle()
      assert.equal(prefix("l", REAL):rep(2), seen)
      assert.is_false(other.closed)
   end)

   it("does not count one that finds too many waiting", function()
      local go_on
      session:callback_set("ignore", function()
         waiting.await(function() return go_on end)
      end)
      for _ = 1, 256 do
         server:send(messages.ignore("x"))
      end
      link:settle()
      local _ <close> = command()
      assert.same(SHORTAGE, open().refused)
      assert.same(SHORTAGE, open().refused)
      go_on = true
      waiting.await(function() return session._handlers_waiting == 0 end)
      only_one_left()
   end)
end)
