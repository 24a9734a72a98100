-- The callback `authagent`: channels to the forwarded agent that the server opens.

local loop = require "moonssh.loop"
local memory = require "spec.support.memory"
local messages = require "spec.support.messages"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"

local AGENT = "auth-agent@openssh.com"

describe("the authagent callback", function()
   local link, session, server, shell

   local function connect(options, opens)
      options = options or {}
      options.loop = options.loop or nil
      link = memory.connect{ session = options, server = { exec = function(channel)
         shell = channel
      end, on = opens } }
      session, server = link.session, link.server
   end

   after_each(function()
      session:close()
   end)

   -- The server opens a channel, and gives its end of it once that is answered.
   local function open()
      local channel = server:open(AGENT)
      link:settle()
      return channel
   end

   local PROHIBITED = { 1, "not requested" }

   -- A running command with the agent forwarded.
   local function command()
      return assert(session:exec("talk", { forward_agent = true }))
   end

   it("is asked for in the flight of the command, before it", function()
      connect{}
      local channel <close> = assert(session:exec("talk", { forward_agent = true, pty = true, env = { A = "1" } }))
      local names = {}
      for i, request in ipairs(server:received("channel_request")) do
         names[i] = request.name .. tostring(request.want)
      end
      assert.same({ "auth-agent-req@openssh.comtrue", "pty-reqtrue", "envfalse", "exectrue" }, names)
      assert.equal("", server:received("channel_request")[1].data)
      assert.is_false(channel.closed)
   end)

   it("is asked for on an open channel, and for all commands of a session", function()
      connect{ forward_agent = true }
      local channel <close> = assert(session:open())
      assert.is_true(channel:request_agent())
      assert.is_true(channel:exec("talk"))
      assert.equal(1, #server:received("channel_request") - 1)
      local other <close> = assert(session:shell())
      assert.equal("auth-agent-req@openssh.com", server:received("channel_request")[3].name)
      local third <close> = assert(session:exec("talk", { forward_agent = false }))
      assert.equal("exec", server:received("channel_request")[5].name)
      assert.equal(5, #server:received("channel_request"))
      assert.is_false(other.closed or third.closed)
   end)

   -- A server that refuses the request.
   local refused
   local function refusing(then_open)
      return { channel_request = function(its, message)
         if message.name == "auth-agent-req@openssh.com" then
            its:send(messages.channel_failure(its.channels[message.channel].peer))
            if then_open then
               refused = its:open(AGENT)
            end
            return true
         end
      end }
   end

   it("that the server refuses is an error where it was asked for, and opens nothing", function()
      local called = false
      connect({ callbacks = { authagent = function() called = true end } }, refusing(true))
      local channel, err = session:exec("talk", { forward_agent = true })
      assert.is_nil(channel)
      assert.same({ "channel_request", "auth-agent-req@openssh.com" }, { err.code, err.request })
      link:settle()
      assert.same(PROHIBITED, refused.refused)
      assert.is_false(called)
      local own <close> = assert(session:open())
      local ok
      ok, err = own:request_agent()
      assert.is_nil(ok)
      assert.equal("channel_request", err.code)
   end)

   -- As sshd does: it has one socket for all channels of a connection.
   it("that the server grants once is granted to all later channels, whatever it says then", function()
      local asked, called = 0, 0
      connect({ callbacks = { authagent = function() called = called + 1 end } }, {
         channel_request = function(its, message)
            if message.name == "auth-agent-req@openssh.com" then
               asked = asked + 1
               if asked > 1 then
                  its:send(messages.channel_failure(its.channels[message.channel].peer))
                  return true
               end
            end
         end })
      local first, second = command(), command()
      first:close()
      assert.is_number(open().peer)
      second:close()
      assert.same(PROHIBITED, open().refused)
      local third <close> = assert(session:open())
      assert.is_true(third:request_agent())
      assert.is_number(open().peer)
      assert.same({ 3, 2 }, { asked, called })
   end)

   it("that the server refuses is none where the session asks in general", function()
      connect({ forward_agent = true }, refusing())
      local channel <close> = assert(session:exec("talk"))
      assert.is_false(channel.closed)
   end)

   it("is called with the session, an open channel and abstract", function()
      local given, sent
      connect{ abstract = { 7 }, callbacks = { authagent = function(...)
         given = table.pack(...)
         sent = given[2]:write("from the agent")
      end } }
      local channel <close> = command()
      local theirs = open()
      assert.equal(3, given.n)
      assert.equal(session, given[1])
      assert.equal(session.abstract, given[3])
      assert.equal(given[2], sent)
      assert.is_false(channel.closed)
      link:settle()
      assert.same({ 2097151, 32768 }, { theirs.window, theirs.packet })
      assert.equal("from the agent", theirs.received)
   end)

   it("may talk on its channel for as long as it likes, while the session goes on", function()
      local ended
      connect{ callbacks = { authagent = function(_, channel)
         for line in channel:lines() do
            channel:write(line:upper())
         end
         channel:close()
         ended = true
      end } }
      local _ <close> = command()
      local theirs = open()
      for i = 1, 3 do
         theirs:write(("word %d\n"):format(i))
         assert(session:ping())
         waiting.await(function() return #theirs.received == 6 * i end)
      end
      assert.equal("WORD 1WORD 2WORD 3", theirs.received)
      theirs:eof()
      link:settle()
      waiting.await(function() return ended and theirs.closed end)
   end)

   it("refuses opens that nobody asked for", function()
      local called = 0
      connect{ callbacks = { authagent = function() called = called + 1 end } }
      assert.same(PROHIBITED, open().refused)
      local channel <close> = assert(session:exec("talk"))
      assert.same(PROHIBITED, open().refused)
      assert.equal(0, called)
      assert.is_false(channel.closed)
   end)

   it("refuses opens after the channel that asked has ended, whoever ended it", function()
      local called = 0
      connect{ callbacks = { authagent = function() called = called + 1 end } }
      local first = command()
      assert.is_number(open().peer)
      first:close()
      assert.same(PROHIBITED, open().refused)
      local second <close> = command()
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
      local third, fourth = command(), command()
      third:close()
      assert.is_number(open().peer)
      fourth:close()
      assert.same(PROHIBITED, open().refused)
      assert.equal(2, called)
      assert.equal(0, second:wait())
   end)

   it("that is not set leaves the channel to the handlers of identities and signatures", function()
      local blob = ssh.key.generate("ed25519"):blob()
      connect{ callbacks = { authagent_identities = function()
         return { { blob = blob, comment = "mine" } }
      end } }
      local _ <close> = command()
      local theirs = open()
      theirs:write("\0\0\0\1\11")
      waiting.await(function()
         session:step()
         return #theirs.received >= 4
      end)
      assert.equal(string.pack(">s4", "\12\0\0\0\1" .. string.pack(">s4s4", blob, "mine")), theirs.received)
      -- It goes on in the background: nothing that the loop would wait for.
      assert.equal("done", loop.run(function() return "done" end))
      theirs:eof()
      waiting.await(function()
         session:step()
         return theirs.closed
      end)
   end)

   it("that was removed, with nothing to serve instead, refuses", function()
      connect{ callbacks = { authagent = function() end } }
      local _ <close> = command()
      session:callback_set("authagent", nil)
      assert.same(PROHIBITED, open().refused)
   end)

   it("that is removed between open and start refuses", function()
      connect{ callbacks = { authagent = function() end, ignore = function(its)
         its:callback_set("authagent", nil)
      end } }
      local _ <close> = command()
      server:send(messages.ignore("now"))
      assert.same(PROHIBITED, open().refused)
   end)

   it("starts in the order of the packets, and of other callbacks", function()
      local order = {}
      connect{ callbacks = {
         authagent = function() table.insert(order, "agent") end,
         debug = function(_, _, text) table.insert(order, text) end,
      } }
      local _ <close> = command()
      server:send(messages.debug(false, "one", ""))
      server:open(AGENT)
      server:send(messages.debug(false, "two", ""))
      server:open(AGENT)
      link:settle()
      assert.same({ "one", "agent", "two", "agent" }, order)
   end)

   it("has 256 wait at most: more are refused for want of room, until one has ended", function()
      local release = false
      connect{ callbacks = { authagent = function(_, channel)
         while not release do
            loop.sleep(0.001)
         end
         channel:close()
      end } }
      local _ <close> = command()
      local theirs = {}
      for i = 1, 300 do
         theirs[i] = server:open(AGENT)
      end
      link:settle()
      for i = 1, 300 do
         assert.same(i > 256 and { 4, "too many connections wait" } or nil, theirs[i].refused)
      end
      assert.same({ 4, "too many connections wait" }, open().refused)
      release = true
      waiting.await(function()
         session:step()
         return theirs[256].closed
      end)
      assert.is_number(open().peer)
   end)

   it("refuses what is over the limit of channels", function()
      local held = {}
      connect{ limits = { channels = 3 }, callbacks = { authagent = function(_, channel)
         table.insert(held, channel)
      end } }
      local _ <close> = command()
      assert.is_number(open().peer)
      assert.is_number(open().peer)
      assert.same({ 4, "too many channels" }, open().refused)
      assert.equal(2, #held)
      held[1]:close()
      link:settle()
      assert.is_number(open().peer)
   end)

   it("takes 10,000 opens without growing, refused or served", function()
      local served = 0
      connect{ callbacks = { authagent = function(_, channel)
         served = served + 1
         channel:close()
      end } }
      local function burst(count)
         for _ = 1, count do
            server:open(AGENT)
         end
         link:settle()
         server.log = {}
         collectgarbage()
         return (session._core:memory())
      end
      local channel = command()
      local used = {}
      for i = 1, 10 do
         used[i] = burst(500)
      end
      assert.equal(5000, served)
      -- What is kept for speed may come and go, but not grow with the opens.
      local slack = 256 * 1024
      assert.is_true(used[10] < used[1] + slack, ("held %d, then %d"):format(used[1], used[10]))
      channel:close()
      link:settle()
      for i = 1, 10 do
         used[i] = burst(500)
      end
      assert.equal(5000, served)
      assert.is_true(used[10] < used[1] + slack, ("held %d, then %d"):format(used[1], used[10]))
      assert.is_nil(session.failure)
   end)

   it("refuses when it throws before its first wait: the error is raised, the channel closed", function()
      local channel
      connect{ callbacks = { authagent = function(_, given)
         channel = given
         error("no agent today")
      end } }
      local _ <close> = command()
      local theirs = server:open(AGENT)
      local ok, err = pcall(session.step, session)
      assert.is_false(ok)
      assert.equal("callback", err.code)
      assert.matches("no agent today", err.cause)
      assert.matches("authagent_spec", err.traceback)
      assert.is_true(channel.closed)
      link:settle()
      assert.is_true(theirs.closed)
      assert.is_nil(session.failure)
   end)

   it("that throws later is reported, and its channel closed", function()
      local channel, reported
      local old = loop.on_error
      connect{ callbacks = { authagent = function(_, given)
         channel = given
         loop.sleep(0.001)
         error("no agent today")
      end } }
      local _ <close> = command()
      loop.on_error = function(err) reported = err end
      open()
      waiting.await(function() return reported end)
      loop.on_error = old
      assert.equal("callback", reported.code)
      assert.is_true(channel.closed)
   end)

   it("may close the session, and is told of nothing more", function()
      local called = 0
      connect{ callbacks = { authagent = function(its)
         called = called + 1
         its:close()
      end } }
      local _ = command()
      server:open(AGENT)
      server:open(AGENT)
      link.session:step()
      assert.equal(1, called)
      assert.is_true(session.closed)
   end)

   it("does not keep its session from the collector", function()
      connect{ callbacks = {} }
      local kept = session
      session:callback_set("authagent", function() return kept end)
      do
         local channel = command()
         open()
         channel:close()
      end
      kept = setmetatable({ session }, { __mode = "v" })
      session, link, server, shell = ssh.session(), nil, nil, nil
      collectgarbage()
      collectgarbage()
      assert.is_nil(kept[1])
   end)

   it("has arguments of its own checked", function()
      connect{}
      local channel <close> = assert(session:open())
      assert.has_error(function() channel:request_agent("x") end,
         "bad argument #1 to 'request_agent' (number expected, got string)")
      assert.has_error(function() session:exec("x", { forward_agent = 1 }) end,
         "bad argument #2 to 'exec' (option 'forward_agent': boolean expected, got number)")
      channel:close()
      assert.has_error(function() channel:request_agent() end)
   end)
end)
