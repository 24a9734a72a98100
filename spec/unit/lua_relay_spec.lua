-- A channel relayed to a descriptor.

local core = require "moonssh.core"
local loop = require "moonssh.loop"
local memory = require "spec.support.memory"
local relay = require "moonssh.relay"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"

local MIB = 1024 * 1024

describe("a relay", function()
   local link, session, channel, peer, near, far, task

   -- A channel whose end at the server is `peer`, relayed to a descriptor whose other end is `far`.
   before_each(function()
      link = memory.connect{ server = { opens = { ["direct-tcpip"] = function(end_of_server)
         peer = end_of_server
      end } }, session = { limits = { window = 2 * MIB } } }
      session = link.session
      channel = assert(session:dial("somewhere", 1))
      near, far = core.socket.pair()
      task = ssh.spawn(relay.run, channel, near)
   end)

   after_each(function()
      task:cancel()
      session:close()
      if far then
         loop.current().cancel(far)
         core.socket.close(far)
      end
   end)

   local function close_far()
      loop.current().cancel(far)
      core.socket.close(far)
      far = nil
   end

   -- What there is on the far side, "" at its end, nil when there is nothing.
   local function read()
      return (core.socket.recv(far, 65536))
   end

   local function await_far(count)
      local got = ""
      waiting.await(function()
         got = got .. (read() or "")
         return #got >= count
      end, "data at the descriptor")
      return got
   end

   local function await_peer(count)
      waiting.await(function()
         return #peer.received >= count
      end, "data at the server")
      return peer.received
   end

   local function closed_at_peer()
      return waiting.await(function()
         session:step()
         return peer.closed
      end, "the end of the channel")
   end

   it("moves bytes both ways", function()
      peer:write("from the server")
      assert.equal("from the server", await_far(15))
      core.socket.send(far, "to the server")
      assert.equal("to the server", await_peer(13))
   end)

   it("hands on what was read of the channel before", function()
      task:cancel()
      near, far = core.socket.pair()
      channel = assert(session:dial("somewhere", 1))
      channel.stdout:append("first ")
      peer:write("second")
      task = ssh.spawn(relay.run, channel, near)
      assert.equal("first second", await_far(12))
   end)

   it("moves much, whole and in order, both ways at once", function()
      local data = {}
      for i = 1, 300000 do
         data[i] = ("%07d "):format(i)
      end
      data = table.concat(data)
      peer.received = {}
      local count = 0
      peer.on_data = function(_, bytes)
         table.insert(peer.received, bytes)
         count = count + #bytes
      end
      peer:write(data)
      local got, sent, size = {}, 1, 0
      waiting.await(function()
         local bytes = read()
         if bytes then
            table.insert(got, bytes)
            size = size + #bytes
         end
         if sent <= #data then
            sent = sent + (core.socket.send(far, data, sent, sent + 65535) or 0)
         end
         return size >= #data and count >= #data
      end, "all data")
      assert.is_true(table.concat(got) == data)
      assert.is_true(table.concat(peer.received) == data)
   end)

   it("stops the server where the descriptor takes no more", function()
      peer:write(("x"):rep(8 * MIB))
      -- Nobody reads: what is under way fits into the window and the socket's buffers.
      local left
      waiting.await(function()
         assert(session:ping())
         local before = left
         left = #(peer.queue[1] and peer.queue[1].data or "")
         return left == before
      end, "standstill")
      assert.is_true(left > 4 * MIB)
      assert.is_true(session._core:memory() < 8 * MIB)
      assert.equal(8 * MIB, #await_far(8 * MIB))
   end)

   it("stops the descriptor where the server takes no more", function()
      link.server.keeps_window = true
      local sent, stalls = 0, 0
      waiting.await(function()
         local n = core.socket.send(far, ("x"):rep(65536))
         sent = sent + (n or 0)
         stalls = n and 0 or stalls + 1
         return stalls > 50
      end, "standstill")
      assert.equal(2 * MIB, #peer.received)
      assert.is_true(sent > 2 * MIB and sent < 8 * MIB)
      link.server.keeps_window = false
      peer:grant(sent)
      assert.equal(sent, #await_peer(sent))
   end)

   it("hands on the end of either side's data, and the other may go on", function()
      peer:write("last"):eof()
      assert.equal("last", await_far(4))
      waiting.await(function() return read() == "" end, "end of file")
      core.socket.send(far, "still here")
      assert.equal("still here", await_peer(10))
      core.socket.shutdown(far)
      assert.is_true(task:wait(60))
      closed_at_peer()
      assert.is_true(peer.eof_received)
   end)

   it("hands on the descriptor's end first", function()
      core.socket.send(far, "request")
      core.socket.shutdown(far)
      waiting.await(function() return peer.eof_received end, "end of file")
      assert.equal("request", peer.received)
      peer:write("answer"):eof()
      assert.equal("answer", await_far(6))
      assert.is_true(task:wait(60))
      closed_at_peer()
      assert.is_true(channel.closed)
   end)

   it("ends, with what was sent, when the server closes the channel", function()
      peer:write(("x"):rep(MIB)):close()
      assert.equal(MIB, #await_far(MIB))
      waiting.await(function() return read() == "" end, "end of file")
      assert.is_true(task:wait(60))
      assert.is_true(channel.closed)
      assert.equal("hi", session:run("echo hi").stdout)
   end)

   it("ends when the descriptor is reset while the server sends", function()
      peer:write(("x"):rep(4 * MIB))
      await_far(1)
      close_far()
      local ok, err = task:wait(60)
      assert.is_nil(ok)
      assert.equal("io", err.code)
      closed_at_peer()
      assert.equal("hi", session:run("echo hi").stdout)
   end)

   it("hands the end on when the descriptor is closed, and ends when the server does so, too", function()
      close_far()
      waiting.await(function() return peer.eof_received end, "end of file")
      peer:eof()
      assert.is_true(task:wait(60))
      closed_at_peer()
   end)

   it("ends with its session, whoever closes it", function()
      waiting.await(function() return session._first or session._leader end)
      session:close()
      local ok, err = task:wait(60)
      assert.is_nil(ok)
      assert.equal("closed", err.code)
      assert.equal("", read())
   end)

   it("ends when it is cancelled, and closes both", function()
      peer:write("x")
      await_far(1)
      task:cancel()
      assert.equal("", read())
      closed_at_peer()
      assert.is_true(channel.closed)
   end)

   it("is no place for the errors of handlers: another call gets them", function()
      session:callback_set("debug", function() error("mine") end)
      peer:write("x")
      await_far(1)
      local pinging = ssh.spawn(function()
         return pcall(session.run, session, "wait")
      end)
      link.server.exec = function() end
      waiting.await(function() return #link.server:received("channel_request") > 0 end)
      link:send(require "spec.support.messages".debug(true, "x", ""))
      local ok, err = pinging:wait(60)
      assert.is_false(ok)
      assert.equal("callback", err.code)
      peer:write("y")
      assert.equal("y", await_far(1))
   end)

   it("many at a time share a session", function()
      local pairs_of = {}
      for i = 1, 30 do
         local a, b = core.socket.pair()
         local one = assert(session:dial("somewhere", i))
         pairs_of[i] = { far = b, peer = peer, task = ssh.spawn(relay.run, one, a) }
      end
      for i, one in ipairs(pairs_of) do
         one.peer:write(("from %d"):format(i)):eof()
         core.socket.send(one.far, ("to %d"):format(i))
         core.socket.shutdown(one.far)
      end
      for i, one in ipairs(pairs_of) do
         assert.is_true(one.task:wait(60))
         assert.equal(("from %d"):format(i), (core.socket.recv(one.far, 100)))
         assert.equal(("to %d"):format(i), one.peer.received)
         core.socket.close(one.far)
      end
   end)
end)
