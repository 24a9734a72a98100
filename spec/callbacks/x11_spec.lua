-- The callback `x11`: connections to the forwarded display that the server opens, and what is seen of their cookies.

local loop = require "moonssh.loop"
local memory = require "spec.support.memory"
local messages = require "spec.support.messages"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"
local x11 = require "spec.support.x11"

local NAME, REAL, prefix = x11.NAME, x11.REAL, x11.prefix
local PROHIBITED = { 1, "not requested" }
local SHORTAGE = { 4, "too many connections wait" }

describe("the x11 callback", function()
   local link, session, server, shell, folder

   local function connect(options, hooks)
      link = memory.connect{ session = options, server = { exec = function(channel)
         shell = channel
      end, on = hooks } }
      session, server = link.session, link.server
   end

   after_each(function()
      session:close()
      if folder then
         folder:remove()
         folder = nil
      end
   end)

   -- The server opens a channel, and gives its end of it once that is answered.
   local function open(address, port)
      return x11.open(link, address, port)
   end

   local function command(options)
      return assert(session:exec("talk", { forward_x11 = options == nil or options }))
   end

   local function requested()
      return x11.requested(server)
   end

   local function fake()
      return x11.fake(server)
   end

   -- A handler that reads all there is, and what it has read so far.
   local function reader()
      local seen = { text = "" }
      return function(_, channel)
         seen.channel = channel
         while true do
            local data = channel:read()
            if not data then
               seen.ended = true
               return
            end
            seen.text = seen.text .. data
         end
      end, seen
   end

   -- A display of this session alone: it has no sockets, but a cookie.
   local function with_cookie(options)
      folder, options.xauthority = x11.authority()
      options.display = ":54321"
      return options
   end

   describe("is asked for", function()
      it("in the flight of the command, before all else", function()
         connect{ forward_agent = true }
         local _ <close> = assert(session:exec("talk", { forward_x11 = true, pty = true, env = { A = "1" } }))
         local names = {}
         for i, request in ipairs(server:received("channel_request")) do
            names[i] = request.name .. tostring(request.want)
         end
         assert.same({ "x11-reqtrue", "auth-agent-req@openssh.comtrue", "pty-reqtrue", "envfalse", "exectrue" }, names)
      end)

      it("with a cookie that was made up, a new one each time", function()
         connect{}
         local seen = {}
         for _ = 1, 20 do
            local _ <close> = command()
            local single, name, cookie, screen = requested()
            assert.same({ 0, NAME, 0 }, { single, name, screen })
            assert.matches("^" .. ("%x"):rep(32) .. "$", cookie)
            assert.is_nil(seen[cookie])
            seen[cookie] = true
         end
      end)

      it("as the options say", function()
         connect{ display = ":7.3" }
         local _ <close> = command{ single = true, cookie = "00ff10", screen = 0x80000000 }
         assert.same({ 1, NAME, "00ff10", 0x80000000 }, { table.unpack({ requested() }, 1, 4) })
         local other <close> = command()
         assert.equal(3, (select(4, requested())))
         assert.is_false(other.closed)
      end)

      it("on an open channel, and for all commands of a session", function()
         connect{ forward_x11 = { screen = 5 }, display = ":7" }
         local channel <close> = assert(session:open())
         assert.is_true(channel:request_x11())
         assert.is_true(channel:request_x11{ screen = 2 })
         assert.equal(2, (select(4, requested())))
         local shelled <close> = assert(session:shell())
         assert.equal(5, (select(4, requested())))
         assert(session:subsystem("x")):close()
         assert(session:exec("talk", { forward_x11 = false })):close()
         local count = 0
         for _, request in ipairs(server:received("channel_request")) do
            count = count + (request.name == "x11-req" and 1 or 0)
         end
         assert.equal(3, count)
         assert.is_false(shelled.closed)
      end)

      it("for all commands of a session only while there is a display or a handler for it", function()
         connect{ forward_x11 = true }
         local function names(options)
            server.log = {}
            assert(session:exec("talk", options)):close()
            local list = {}
            for i, request in ipairs(server:received("channel_request")) do
               list[i] = request.name
            end
            return list
         end
         assert.same({ "exec" }, names())
         assert.same({ "x11-req", "exec" }, names{ forward_x11 = true })
         session:callback_set("x11", function() end)
         assert.same({ "x11-req", "exec" }, names())
         session:callback_set("x11", nil)
         assert.same({ "exec" }, names())
         session:close()
         connect{ forward_x11 = true, display = ":7" }
         assert.same({ "x11-req", "exec" }, names())
      end)

      -- A server that refuses the request, and opens a channel nevertheless.
      local refused
      local hooks = { channel_request = function(its, message)
         if message.name == "x11-req" then
            its:send(messages.channel_failure(its.channels[message.channel].peer))
            refused = its:open("x11", string.pack(">s4I4", "a", 1))
            return true
         end
      end }

      it("and refused: an error where it was asked for, and nothing is opened", function()
         connect({ callbacks = { x11 = error } }, hooks)
         local channel, err = session:exec("talk", { forward_x11 = true })
         assert.is_nil(channel)
         assert.same({ "channel_request", "x11-req" }, { err.code, err.request })
         link:settle()
         assert.same(PROHIBITED, refused.refused)
      end)

      it("and refused: none where the session asks in general", function()
         connect({ forward_x11 = true, callbacks = { x11 = error } }, hooks)
         local _ <close> = assert(session:exec("talk"))
         link:settle()
         assert.same(PROHIBITED, refused.refused)
      end)

      it("with what is no cookie, screen or display, and raises", function()
         connect{}
         local channel <close> = assert(session:open())
         for _, cookie in ipairs{ "", "0", "xyz", "00 0", "00\0" } do
            assert.has_error(function() channel:request_x11{ cookie = cookie } end,
               "bad argument #1 to 'request_x11' (option 'cookie': hexadecimal digits, two a byte, expected)")
         end
         for _, screen in ipairs{ -1, 0x100000000 } do
            assert.has_error(function() session:exec("x", { forward_x11 = { screen = screen } }) end,
               "bad argument #2 to 'exec' (option 'screen': an integer from 0 to 2^32-1 expected)")
         end
         assert.has_error(function() session:run("x", { forward_x11 = { cokie = "00" } }) end,
            "bad argument #2 to 'run' (unknown option 'cokie')")
         assert.has_error(function() session:run("x", { forward_x11 = 1 }) end,
            "bad argument #2 to 'run' (option 'forward_x11': boolean or table expected, got number)")
         assert.has_error(function() ssh.session{ display = "nowhere" } end,
            "bad argument #1 to 'session' (option 'display': no display)")
      end)
   end)

   it("is called with the session, an open channel, its originator and abstract", function()
      local given
      connect{ abstract = { 7 }, callbacks = { x11 = function(...)
         given = table.pack(...)
         given[2]:write("from the display")
      end } }
      local _ <close> = command()
      local theirs = open("2001:db8::7", 65535)
      link:settle()
      assert.equal(5, given.n)
      assert.equal(session, given[1])
      assert.same({ "2001:db8::7", 65535 }, { given[3], given[4] })
      assert.equal(session.abstract, given[5])
      assert.equal("from the display", theirs.received)
   end)

   describe("gets a connection", function()
      for _, order in ipairs{ "B", "l" } do
         it("whose made-up cookie was replaced, byte order " .. order .. ", split anywhere", function()
            local handler, seen = reader()
            connect(with_cookie{ callbacks = { x11 = handler } })
            local _ <close> = command()
            local sent, expected = prefix(order, fake()) .. "request", prefix(order, REAL) .. "request"
            for n = 1, #sent do
               seen.text, seen.ended = "", nil
               local theirs = open()
               theirs:write(sent:sub(1, n))
               link:settle()
               assert.equal(n >= 48 and expected:sub(1, n) or "", seen.text)
               theirs:write(sent:sub(n + 1)):eof()
               link:settle()
               assert.equal(expected, seen.text)
               assert.is_true(seen.ended)
               seen.channel:close()
            end
         end)

         it("byte by byte, byte order " .. order, function()
            local handler, seen = reader()
            connect(with_cookie{ callbacks = { x11 = handler } })
            local _ <close> = command()
            local theirs = open()
            for byte in (prefix(order, fake()) .. "rest"):gmatch(".") do
               theirs:write(byte)
               link:settle()
            end
            assert.equal(prefix(order, REAL) .. "rest", seen.text)
         end)
      end

      it("as it is where the display's cookie is not known", function()
         local handler, seen = reader()
         connect{ callbacks = { x11 = handler } }
         local _ <close> = command()
         local sent = prefix("l", fake()) .. ("request"):rep(10000)
         open():write(sent)
         link:settle()
         assert.equal(sent, seen.text)
      end)

      it("with a cookie of another length in place of the made-up one", function()
         local handler, seen = reader()
         connect(with_cookie{ callbacks = { x11 = handler } })
         folder:write("Xauthority", string.pack(">I2s2s2s2s2", 65535, "", "", NAME, "odd"))
         local _ <close> = command()
         open():write(prefix("B", fake()) .. "rest")
         link:settle()
         assert.equal(prefix("B", "odd") .. "rest", seen.text)
      end)

      it("with lines to read behind the first bytes", function()
         local lines = {}
         connect{ callbacks = { x11 = function(_, channel)
            lines[1] = #channel:read(48)
            lines[2] = channel:read("l")
            lines[3] = channel:read("a")
         end } }
         local _ <close> = command()
         open():write(prefix("B", fake()) .. "a line\nrest"):eof()
         link:settle()
         assert.same({ 48, "a line", "rest" }, lines)
      end)

      it("untouched where the cookie was given", function()
         local handler, seen = reader()
         connect(with_cookie{ callbacks = { x11 = handler } })
         local _ <close> = command{ cookie = "00112233" }
         open():write("anything at all")
         link:settle()
         assert.equal("anything at all", seen.text)
      end)

      it("of the command whose cookie it has", function()
         local handler, seen = reader()
         connect(with_cookie{ callbacks = { x11 = handler } })
         local first <close> = command{ single = true }
         local first_fake = fake()
         local second <close> = command{ single = true }
         local own <close> = command{ cookie = ("ab"):rep(20) }
         for _, case in ipairs{
            { first_fake, prefix("l", REAL) }, { ("\xab"):rep(20) }, { first_fake, "" }, { ("\xab"):rep(20) },
            { ("x"):rep(16), "" } } do
            seen.text = ""
            local theirs = open()
            theirs:write(prefix("l", case[1]))
            link:settle()
            assert.equal(case[2] or prefix("l", case[1]), seen.text)
         end
         assert.is_false(first.closed or second.closed or own.closed)
      end)
   end)

   describe("gets nothing, and the connection is closed,", function()
      local handler, seen, channel

      before_each(function()
         handler, seen = reader()
         connect(with_cookie{ callbacks = { x11 = handler } })
         channel = command()
      end)

      local function wrong(make, after)
         seen.ended = false
         local theirs = open()
         theirs:write(make(fake()))
         if after then
            after(theirs)
         end
         link:settle()
         assert.equal("", seen.text)
         assert.is_true(seen.ended)
         assert.is_true(theirs.closed)
         assert.is_nil(session.failure)
         assert.is_false(channel.closed)
         seen.channel:close()
      end

      it("for a cookie that is wrong in any bit", function()
         for bit = 0, 127 do
            wrong(function(cookie)
               local at = bit // 8 + 1
               local changed = string.char(cookie:byte(at) ~ 1 << bit % 8)
               return prefix("l", cookie:sub(1, at - 1) .. changed .. cookie:sub(at + 1)) .. "rest"
            end)
         end
      end)

      it("for the display's own cookie", function()
         wrong(function() return prefix("B", REAL) end)
      end)

      it("for another kind of cookie", function()
         for _, name in ipairs{ "", "MIT-MAGIC-COOKIE-2", "XDM-AUTHORIZATION-1", NAME .. "x", NAME .. "\0" } do
            wrong(function(cookie) return prefix("B", cookie, name) end)
         end
      end)

      it("for a cookie of another length", function()
         for _, change in ipairs{ function() return "" end, function(cookie) return cookie:sub(1, 15) end,
            function(cookie) return cookie .. "\0" end, function() return ("x"):rep(65535) end } do
            wrong(function(cookie) return prefix("l", change(cookie)) end)
         end
      end)

      it("for lengths of the other byte order", function()
         wrong(function(cookie) return "B" .. prefix("l", cookie):sub(2) end)
         wrong(function(cookie) return "l" .. prefix("B", cookie):sub(2) end)
      end)

      it("for what is no byte order", function()
         for _, first in ipairs{ "\0", "b", "L", "\xff" } do
            wrong(function(cookie) return first .. prefix("l", cookie):sub(2) end)
         end
      end)

      it("when it ends too early, wherever that is", function()
         for n = 0, 47 do
            wrong(function(cookie) return prefix("l", cookie):sub(1, n) end, function(theirs) theirs:eof() end)
         end
         wrong(function(cookie) return prefix("l", cookie):sub(1, 20) end, function(theirs) theirs:close() end)
      end)
   end)

   it("refuses connections that nobody asked for", function()
      connect{ callbacks = { x11 = error } }
      assert.same(PROHIBITED, open().refused)
      local _ <close> = assert(session:exec("talk"))
      assert.same(PROHIBITED, open().refused)
      local agent <close> = assert(session:exec("talk", { forward_agent = true }))
      assert.same(PROHIBITED, open().refused)
      assert.is_false(agent.closed)
   end)

   it("refuses connections after the channel that asked has ended, whoever ended it", function()
      local called = 0
      connect{ callbacks = { x11 = function() called = called + 1 end } }
      local first = command()
      assert.is_number(open().peer)
      first:close()
      assert.same(PROHIBITED, open().refused)
      local _ <close> = command()
      shell:finish(0)
      link:settle()
      assert.same(PROHIBITED, open().refused)
      do
         local _ = command()
      end
      collectgarbage()
      collectgarbage()
      link:settle()
      assert.same(PROHIBITED, open().refused)
      assert.equal(1, called)
   end)

   it("refuses the second connection where one was asked for", function()
      local called = 0
      connect{ callbacks = { x11 = function(_, channel)
         called = called + 1
         channel:close()
      end } }
      local _ <close> = command{ single = true }
      assert.is_number(open().peer)
      assert.same(PROHIBITED, open().refused)
      assert.same(PROHIBITED, open().refused)
      local other <close> = command{ single = true, cookie = "00" }
      assert.is_number(open().peer)
      assert.same(PROHIBITED, open().refused)
      assert.equal(2, called)
      assert.is_false(other.closed)
   end)

   it("that is not set, without a display, refuses", function()
      connect{}
      local _ <close> = command()
      assert.same(PROHIBITED, open().refused)
      session:callback_set("x11", function() end)
      assert.is_number(open().peer)
      session:callback_set("x11", nil)
      assert.same(PROHIBITED, open().refused)
   end)

   it("refuses impossible originators, and the session goes on", function()
      connect{ callbacks = { x11 = error } }
      local _ <close> = command()
      for _, case in ipairs{ { "a", 65536 }, { "a", 0xffffffff }, { "a\0b", 1 }, { ("a"):rep(2000), 1 } } do
         assert.same({ 1, "not a possible address" }, open(table.unpack(case)).refused)
      end
      assert(session:ping())
   end)

   it("has 256 wait at most, for cookies too: more are refused, until one has ended", function()
      connect{ callbacks = { x11 = function(_, channel)
         channel:read()
         channel:close()
      end } }
      local _ <close> = command()
      local theirs = {}
      for i = 1, 260 do
         theirs[i] = server:open("x11", string.pack(">s4I4", "a", i))
      end
      link:settle()
      for i = 1, 260 do
         assert.same(i > 256 and SHORTAGE or nil, theirs[i].refused)
      end
      theirs[256]:write("wrong from the start")
      link:settle()
      assert.is_true(theirs[256].closed)
      assert.is_number(open().peer)
      assert.same(SHORTAGE, open().refused)
   end)

   it("takes 10,000 connections without growing, whatever comes of them", function()
      connect{ callbacks = { x11 = function(_, channel)
         if channel:read(48) then
            channel:write("welcome")
         end
         channel:close()
      end } }
      local channel = command()
      local welcome = 0
      local function burst(count)
         for i = 1, count do
            local theirs = server:open("x11", string.pack(">s4I4", "a", 1))
            theirs:write(i % 2 == 0 and prefix("l", fake()) or "wrong")
            theirs.on_data = function() welcome = welcome + 1 end
         end
         link:settle()
         local request = server:received("channel_request")[1]
         server.log = { request }
         collectgarbage()
         return (session._core:memory())
      end
      local first = burst(200)
      local last
      for _ = 1, 24 do
         last = burst(200)
      end
      assert.equal(2500, welcome)
      assert.is_true(last < first + 64 * 1024, ("held %d, then %d"):format(first, last))
      channel:close()
      for _ = 1, 25 do
         last = burst(200)
      end
      assert.equal(2500, welcome)
      assert.is_true(last < first + 64 * 1024, ("held %d, then %d"):format(first, last))
      assert.is_nil(session.failure)
   end)

   it("that throws has its channel closed, and the error raised", function()
      connect{ callbacks = { x11 = function() error("no display today") end } }
      local _ <close> = command()
      local theirs = server:open("x11", string.pack(">s4I4", "a", 1))
      local ok, err = pcall(session.step, session)
      assert.is_false(ok)
      assert.equal("callback", err.code)
      assert.matches("no display today", err.cause)
      link:settle()
      assert.is_true(theirs.closed)
      assert.is_nil(session.failure)
   end)

   it("may run for as long as it likes beside everything else", function()
      connect{ callbacks = { x11 = function(_, channel)
         assert(channel:read(48))
         for line in channel:lines("L") do
            loop.sleep(0.001)
            channel:write(session:run("echo " .. line).stdout)
         end
         channel:close()
      end } }
      server.exec = function(channel, text)
         if text == "talk" then
            shell = channel
         else
            channel:write(text:sub(6)):finish(0)
         end
      end
      local _ <close> = command()
      local theirs = open()
      theirs:write(prefix("l", fake()) .. "one\ntwo\nthree\n")
      waiting.await(function()
         session:step()
         return theirs.received == "one\ntwo\nthree\n"
      end)
      theirs:eof()
      waiting.await(function()
         session:step()
         return theirs.closed
      end)
   end)
end)
