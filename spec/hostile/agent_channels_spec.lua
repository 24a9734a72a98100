-- Attacks on an agent that is served from Lua: what comes on the channels that the server opens to it.

local loop = require "moonssh.loop"
local memory = require "spec.support.memory"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"

local AGENT = "auth-agent@openssh.com"
local FAILURE = string.pack(">s4", "\5")
local LONGEST = 256 * 1024

local function pack(format, ...)
   return string.pack(">" .. format, ...)
end

local function frame(payload)
   return pack("s4", payload)
end

local function sign_request(blob, data)
   return frame(pack("Bs4s4I4", 13, blob, data, 0))
end

describe("an agent in Lua, faced with a hostile server,", function()
   local link, session, server, command, calls, gate

   before_each(function()
      calls, gate = 0, nil
      local key = assert(ssh.key.generate("ed25519"))
      link = memory.connect{ session = { forward_agent = true, callbacks = {
         authagent_identities = function()
            return { { blob = key:blob(), comment = "in Lua" } }
         end,
         authagent_sign = function(_, blob, data)
            calls = calls + 1
            if gate then
               loop.current().park(gate)
            end
            return blob == key:blob() and key:sign(data) or nil
         end,
      } }, server = { exec = function(channel, line)
         if line ~= "endless" then
            channel:write(line):finish(0)
         end
      end } }
      session, server = link.session, link.server
      command = assert(session:exec("endless"))
   end)

   after_each(function()
      session:close()
   end)

   local function await(condition, what)
      return waiting.await(function()
         session:step()
         return condition()
      end, what)
   end

   -- A channel of the server's on which it says this.
   local function open(bytes)
      local channel = server:open(AGENT)
      if bytes then
         channel:write(bytes)
      end
      return channel
   end

   local function answers(channel, count, length)
      await(function() return #channel.received >= count * length end, "the answers")
      return channel.received
   end

   local function goes_on()
      assert.equal("echo", assert(session:run("echo")).stdout)
      assert.is_nil(session.failure)
      assert.is_false(command.closed)
   end

   -- What the session holds, in the core and in Lua.
   local function held()
      collectgarbage()
      collectgarbage()
      return session._core:memory() + collectgarbage("count") * 1024
   end

   it("answers FAILURE to a signature by an unknown key, as often as it is asked for", function()
      local channel = open(sign_request("nobody's", "data"):rep(1000))
      assert.equal(FAILURE:rep(1000), answers(channel, 1000, #FAILURE))
      assert.equal(1000, calls)
      goes_on()
   end)

   it("ends channels with frames of 4 GiB, and holds nothing for them", function()
      local function burst()
         for _, length in ipairs{ 0xffffffff, 0xfffffffc, 0x80000000, LONGEST + 1, 0 } do
            for _ = 1, 20 do
               local channel = open(pack("I4", length) .. ("x"):rep(1000))
               await(function() return channel.closed end, "the end of the channel")
               assert.equal("", channel.received)
            end
         end
         server.log = {}
         return held()
      end
      burst()
      local before = burst()
      assert.is_true(burst() < before + 64 * 1024)
      goes_on()
   end)

   it("holds of half a frame what came, until the channel ends", function()
      local half = frame(("x"):rep(LONGEST)):sub(1, LONGEST // 2)
      server.log = {}
      local before, left = held(), {}
      for round = 1, 3 do
         local channels = {}
         for i = 1, 50 do
            channels[i] = open(half)
         end
         await(function() return channels[50].peer and #channels[50].queue == 0 end, "the last half")
         link:settle()
         goes_on()
         server.log = {}
         assert.is_true(held() < before + 50 * 2 * #half)
         for _, channel in ipairs(channels) do
            channel:close()
         end
         await(function() return session._handlers_waiting == 0 end, "the end of all")
         server.log = {}
         left[round] = held()
      end
      -- What is kept for speed stays; nothing else does.
      assert.is_true(left[3] < left[1] + 64 * 1024)
      assert.equal(0, session._agent_weight)
      goes_on()
   end)

   it("takes a long frame byte by byte, as long as it takes", function()
      local request = sign_request("nobody's", ("x"):rep(20000))
      local channel = open()
      for i = 1, #request do
         channel:write(request:sub(i, i))
      end
      assert.equal(FAILURE, answers(channel, 1, #FAILURE))
      goes_on()
   end)

   it("works on some of a flood of requests only, while its handlers wait", function()
      gate = loop.current().token()
      local before = held()
      local channels = {}
      for i = 1, 4 do
         channels[i] = open(sign_request("nobody's", "data"):rep(10000))
      end
      await(function() return calls == 4 * 16 end, "sixteen handlers for each channel")
      goes_on()
      assert.equal(4 * 16, calls)
      server.log = {}
      -- The rest is in the windows, or at the server still.
      assert.is_true(held() < before + 4 * (3 << 20))
      for _, channel in ipairs(channels) do
         channel:close()
      end
      await(function() return session._agent_weight == 0 end, "the end of the channels")
      goes_on()
   end)

   it("does not pile up answers that the server does not take", function()
      server.window = 100
      server.keeps_window = true
      local channel = open(frame("\11"):rep(100000))
      await(function() return channel.left == 0 end, "the window's end")
      goes_on()
      assert.is_true(session._agent_weight <= 16 * 8192)
      channel:close()
      await(function() return session._agent_weight == 0 end, "the end of the channel")
      goes_on()
   end)

   it("is not held up by what comes as another stream, however much", function()
      local channel = open()
      channel:write(("x"):rep(4 << 20), 1)
      channel:write(sign_request("nobody's", "data"))
      assert.equal(FAILURE, answers(channel, 1, #FAILURE))
      goes_on()
   end)

   it("does not care for requests on its channels", function()
      local messages = require "spec.support.messages"
      local channel = open()
      await(function() return channel.peer end, "the channel")
      for _, name in ipairs{ "exec", "exit-status", "auth-agent-req@openssh.com", "a\0b" } do
         channel:send(messages.channel_request(channel.peer, name, false, "\0\0\0\1"))
      end
      channel:write(sign_request("nobody's", "data"))
      assert.equal(FAILURE, answers(channel, 1, #FAILURE))
      goes_on()
   end)

   it("ends what it serves when the session is lost in the middle", function()
      gate = loop.current().token()
      open(sign_request("nobody's", "data") .. "\0\0")
      await(function() return calls == 1 end, "the handler")
      link.ended = true
      assert.equal("eof", await(function() return session.failure end, "the failure").code)
      loop.current().unpark(gate)
      waiting.await(function() return session._handlers_waiting == 0 end, "the end of all")
      assert.equal(0, session._agent_weight)
   end)
end)
