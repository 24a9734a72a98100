-- What the server may open where it listens for us, and what it may not. In memory.

local memory = require "spec.support.memory"
local messages = require "spec.support.messages"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"

local PROHIBITED, RESOURCE_SHORTAGE = 1, 4

describe("a listener", function()
   local link, session, asked, answer

   before_each(function()
      asked, answer = {}, { true, "" }
      link = memory.connect{ server = { on = { global_request = function(server, message)
         if not message.name:find("forward", 1, true) then
            return false
         end
         table.insert(asked, message)
         server:send(answer[1] and messages.request_success(answer[2]) or messages.request_failure())
         return true
      end } } }
      session = link.session
   end)

   after_each(function()
      session:close()
   end)

   -- The server opens a channel for a connection. → its end of the channel
   local function open_tcp(host, port, originator, originator_port)
      return link.server:open("forwarded-tcpip",
         string.pack(">s4I4s4I4", host, port, originator or "192.0.2.7", originator_port or 4711))
   end

   local function open_unix(path)
      return link.server:open("forwarded-streamlocal@openssh.com", string.pack(">s4s4", path, ""))
   end

   -- Reasons that opens were refused for, oldest first.
   local function refused()
      link:settle()
      local reasons = {}
      for i, message in ipairs(link.server:received("open_failure")) do
         reasons[i] = message.reason
      end
      return reasons
   end

   it("asks for an address and port, and gives what is opened for it", function()
      local listener <close> = assert(session:listen("localhost", 8080))
      assert.same({ "tcpip-forward", true, string.pack(">s4I4", "localhost", 8080) },
         { asked[1].name, asked[1].want, asked[1].data })
      assert.same({ "localhost", 8080, false }, { listener.host, listener.port, listener.closed })
      open_tcp("localhost", 8080)
      local channel, originator = listener:accept()
      assert.same({ host = "192.0.2.7", port = 4711 }, originator)
      assert(channel:write("hello"))
      link:settle()
      assert.equal("hello", link.server:received("channel_data")[1].data)
      assert.same({}, refused())
   end)

   it("for port 0 takes the port that the server tells, also of an open right behind the answer", function()
      answer[2] = string.pack(">I4", 40022)
      local pending = link.server.on.global_request
      link.server.on.global_request = function(...)
         local done = pending(...)
         open_tcp("", 40022)
         return done
      end
      local listener <close> = assert(session:listen("", 0))
      assert.equal(40022, listener.port)
      assert.is_table(assert(listener:accept()))
      listener:close()
      link:settle()
      assert.same({ "cancel-tcpip-forward", string.pack(">s4I4", "", 40022) }, { asked[2].name, asked[2].data })
   end)

   it("is an error where the server refuses, or tells a port that is none", function()
      answer[1] = false
      local listener, err = session:listen("0.0.0.0", 80)
      assert.is_nil(listener)
      assert.same({ "channel_request", "tcpip-forward" }, { err.code, err.request })
      assert.matches("the server refused to listen at 0.0.0.0 port 80", err.message, 1, true)
      answer[1] = true
      for _, data in ipairs{ "", "\0\0\0", "\0\0\0\0", "\0\1\0\0", "\0\0\0\1\0\0\0\1" } do
         answer[2] = data
         listener, err = session:listen("localhost", 0)
         assert.is_nil(listener)
         assert.equal("channel_request", err.code)
      end
      assert.equal("channel_request", select(2, session:forward_remote{ bind = 0, to = 1 }).code)
      open_tcp("localhost", 0)
      assert.same({ PROHIBITED }, refused())
      assert.is_nil(session.failure)
   end)

   it("gives nothing of another address or port, before it listens, or after", function()
      open_tcp("127.0.0.1", 8080)
      local listener = assert(session:listen("127.0.0.1", 8080))
      open_tcp("127.0.0.1", 8081)
      open_tcp("192.0.2.1", 8080)
      open_tcp("localhost", 8080)
      open_unix("127.0.0.1")
      assert.same({ PROHIBITED, PROHIBITED, PROHIBITED, PROHIBITED, PROHIBITED }, refused())
      listener:close()
      open_tcp("127.0.0.1", 8080)
      assert.equal(6, #refused())
      assert.is_nil(session.failure)
   end)

   it("for all addresses, or localhost, takes the address that it stands for", function()
      local all <close> = assert(session:listen("*", 1))
      local here <close> = assert(session:listen("localhost", 2))
      assert.equal(string.pack(">s4I4", "", 1), asked[1].data)
      for _, host in ipairs{ "", "0.0.0.0", "192.0.2.1", "::" } do
         open_tcp(host, 1)
         assert(all:accept())
      end
      for _, host in ipairs{ "127.0.0.1", "::1", "localhost" } do
         open_tcp(host, 2)
         assert(here:accept())
      end
      open_tcp("192.0.2.1", 2)
      assert.same({ PROHIBITED }, refused())
   end)

   it("is the one that fits best", function()
      local all <close> = assert(session:listen("", 1))
      local one <close> = assert(session:listen("192.0.2.1", 1))
      open_tcp("192.0.2.1", 1)
      open_tcp("192.0.2.2", 1)
      assert(one:accept())
      assert(all:accept())
   end)

   it("at a path is for that path", function()
      local listener <close> = assert(session:listen_unix("/run/x"))
      assert.same({ "streamlocal-forward@openssh.com", string.pack(">s4", "/run/x") }, { asked[1].name, asked[1].data })
      open_unix("/run/y")
      open_unix("/run/x")
      local channel, originator = listener:accept()
      assert.equal("moonssh.channel", getmetatable(channel).__name)
      assert.same({}, originator)
      assert.same({ PROHIBITED }, refused())
      listener:close()
      link:settle()
      assert.equal("cancel-streamlocal-forward@openssh.com", asked[2].name)
   end)

   it("lets a limited number wait, and refuses them when it is closed", function()
      local listener = assert(session:listen("localhost", 1))
      for _ = 1, 200 do
         open_tcp("localhost", 1)
      end
      local reasons = refused()
      assert.same({ 72, RESOURCE_SHORTAGE }, { #reasons, reasons[1] })
      assert(listener:accept())
      listener:close()
      reasons = refused()
      assert.same({ 72 + 127, PROHIBITED }, { #reasons, reasons[#reasons] })
   end)

   it("that one waits for ends that wait when it is closed, and when the session fails", function()
      local listener = assert(session:listen("localhost", 1))
      local task = ssh.spawn(listener.accept, listener)
      waiting.await(function() return session._first or session._leader end)
      listener:close()
      assert.equal("closed", select(2, task:wait()).code)
      assert.has_error(function() listener:accept() end)
      local other = assert(session:listen("localhost", 1))
      task = ssh.spawn(other.accept, other)
      waiting.await(function() return session._leader end)
      link.server:send(messages.disconnect(2, "enough", ""))
      assert.equal("disconnected", select(2, task:wait()).code)
      assert.equal("disconnected", select(2, other:accept()).code)
      assert.equal("disconnected", select(2, session:listen("localhost", 2)).code)
      for _, name in ipairs{ "forward_local", "forward_remote" } do
         assert.equal("disconnected", select(2, session[name](session, { bind = 0, to = 1 })).code)
         assert.has_error(function() session[name](session, { bind = 0 }) end)
      end
      assert.equal("disconnected", select(2, session:forward_dynamic{ bind = 0 }).code)
      other:close()
   end)

   it("has a timeout", function()
      local listener <close> = assert(session:listen("localhost", 1))
      local channel, err = listener:accept(0)
      assert.is_nil(channel)
      assert.same({ "timeout", "open" }, { err.code, err.stage })
   end)

   it("keeps nothing of a flood of opens", function()
      local listener <close> = assert(session:listen("localhost", 1))
      assert.is_false(listener.closed)
      for _ = 1, 20 do
         for _ = 1, 100 do
            open_tcp("elsewhere", 1)
         end
         link:settle()
      end
      collectgarbage()
      local before = collectgarbage("count")
      local in_use = session._core:memory()
      for _ = 1, 50 do
         for _ = 1, 100 do
            open_tcp("elsewhere", 1)
         end
         link:settle()
      end
      link.server.log = {}
      collectgarbage()
      assert.is_true(collectgarbage("count") - before < 256)
      assert.is_true(session._core:memory() - in_use < 65536)
   end)

   it("wants an address and a port, and a path", function()
      assert.has_error(function() session:listen(nil, 1) end)
      assert.has_error(function() session:listen("a\0b", 1) end)
      assert.has_error(function() session:listen("", 65536) end)
      assert.has_error(function() session:listen("", -1) end)
      assert.has_error(function() session:listen("", 1, { what = 1 }) end)
      assert.has_error(function() session:listen_unix("") end)
      assert.has_error(function() session:listen_unix("a\0b") end)
      for _, options in ipairs{ {}, { bind = 1 }, { bind = 1, to = 0 }, { bind = "x", to = 1 }, { bind = 1, to = {} },
         { bind = 1, to = 1, from = 1 } } do
         assert.has_error(function() session:forward_local(options) end)
         assert.has_error(function() session:forward_remote(options) end)
      end
      assert.has_error(function() session:forward_dynamic{ bind = 1, to = 1 } end)
   end)
end)
