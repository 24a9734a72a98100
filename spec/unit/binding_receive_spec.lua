-- Waiting in the core: for one descriptor, and for what a session has to be attended to.

local core = require "moonssh.core"
local CorePair = require "spec.support.core_pair"

describe("session:receive", function()
   it("waits for what is to be attended to, and answers the rest", function()
      local pair <close> = CorePair.new():run("auth_success")
      local session = pair.session
      local a, b = core.socket.pair()
      assert.is_true(session:write(a))
      assert.equal("again", session:receive(a, core.now()))
      -- A packet that comes in two pieces, whose answer is sent from in there, and then an event.
      pair.server:send("\192nobody knows this one")
      local request = pair.server:output(1 << 20)
      pair.server:send(string.pack(">Bs4", 2, "here"))
      local ignore = pair.server:output(1 << 20)
      core.socket.send(b, request:sub(1, 7))
      assert.equal("again", session:receive(a, core.now()))
      core.socket.send(b, request:sub(8))
      assert.equal("again", session:receive(a, core.now()))
      pair.server:feed(core.socket.recv(b))
      pair.server:step()
      assert.equal(1, #pair.server:received("unimplemented"))
      core.socket.send(b, ignore)
      assert.equal("again", session:receive(a))
      assert.equal("ignore", (session:next()))
      assert.equal(0, #(session:output() or ""))
      core.socket.close(b)
      assert.equal("eof", session:receive(a))
      core.socket.close(a)
   end)
end)

describe("session:receive for a patient caller", function()
   local pair, session, a, b, ch

   before_each(function()
      pair = CorePair.new():run("auth_success")
      session = pair.session
      a, b = core.socket.pair()
      ch = assert(session:open("session"))
      assert.is_true(session:channel_request(ch, "exec", true, "true"))
      assert.is_true(session:write(a)) -- the server does not read it: what comes is what these specs send
   end)

   after_each(function()
      pair:close()
      core.socket.close(a)
      core.socket.close(b)
   end)

   local confirmation = string.pack(">BI4I4I4I4", 91, 0, 0, 1000, 1000)
   local success = string.pack(">BI4", 99, 0)
   local window = string.pack(">BI4I4", 93, 0, 1)
   local status = string.pack(">BI4s4BI4", 98, 0, "exit-status", 0, 7)
   local eof = string.pack(">BI4", 96, 0)
   local close = string.pack(">BI4", 97, 0)

   local function send(...)
      for _, payload in ipairs{ ... } do
         pair.server:send(payload)
      end
      core.socket.send(b, pair.server:output(1 << 20))
   end

   local function events()
      local list = {}
      local event = table.pack(session:next())
      while event[1] do
         table.insert(list, event[1] .. (event[3] ~= nil and " " .. tostring(event[3]) or ""))
         event = table.pack(session:next())
      end
      return list
   end

   it("goes on over what only tells how it goes on, and gives that in order with what comes of it", function()
      for _, payload in ipairs{ confirmation, success, window, status, eof } do
         send(payload)
         assert.equal("again", session:receive(a, core.now(), ch))
      end
      local _, reads, writes, pending = session:idle(core.now())
      assert.same({ true, false, true }, { reads, writes, pending }) -- the request was sent; there is news
      send(close)
      assert.equal("again", session:receive(a, nil, ch))
      assert.same({ "opened", "reply true", "window", "exit_status 7", "eof", "closed" }, events())
      assert.is_false((select(4, session:idle(core.now()))))
   end)

   it("ends for what was refused, for another channel, and once there is much to tell", function()
      send(confirmation)
      assert.equal("again", session:receive(a, nil, ch + 1))
      assert.same({ "opened" }, events())
      send(string.pack(">BI4", 100, 0))
      assert.equal("again", session:receive(a, nil, ch))
      assert.same({ "reply false" }, events())
      local many, told = {}, {}
      for i = 1, 9 do
         many[i], told[i] = window, "window"
      end
      send(table.unpack(many))
      assert.equal("again", session:receive(a, nil, ch))
      assert.same(told, events())
   end)

   it("forgets all of that with the session", function()
      send(confirmation, success)
      assert.equal("again", session:receive(a, core.now(), ch))
      session:close()
      assert.has_error(function() session:next() end)
   end)
end)

describe("core.wait", function()
   it("says whether a descriptor may be ready", function()
      local a, b = core.socket.pair()
      assert.is_false(core.wait(a, "r", core.now()))
      assert.is_false(core.wait(a, "r", -1))
      assert.is_true(core.wait(a, "w", core.now()))
      assert.is_true(core.wait(a, "rw"))
      core.socket.send(b, "x")
      assert.is_true(core.wait(a, "r"))
      core.socket.close(b)
      assert.is_true(core.wait(a, "r", math.huge))
      core.socket.close(a)
      assert.is_true(core.wait(a, "r"))
   end)

   it("wants a descriptor, events and a time", function()
      assert.has_error(function() core.wait(-1, "r") end, "bad argument #1 to 'wait' (value out of range)")
      assert.has_error(function() core.wait(0, "x") end, "bad argument #2 to 'wait' (invalid option 'x')")
      assert.has_error(function() core.wait(0, "r", 0 / 0) end, "bad argument #3 to 'wait' (number is not a number)")
   end)
end)
