-- Room for what is to be sent, in the queue and in a channel's window: whoever waits for it is told of all there is, at
-- a server that has nothing to say meanwhile. All goes over a pair of sockets in this process, and time passes only
-- where nothing happens.

local core = require "moonssh.core"
local loop = require "moonssh.loop"
local ScriptedServer = require "spec.support.scripted_server"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"

local KIB = 1024

-- What ends a wait that nothing else ends.
local TIMEOUT = 20

-- A scripted server behind one end of a pair of sockets. It reads nothing while it is `paused`, and `tell` has it send
-- what the spec has given it.
local Served = {}
Served.__index = Served

function Served:move()
   while not self.stopped do
      self.pending = self.pending .. self.server:output(1 << 20)
      if self.pending ~= "" then
         local n = core.socket.send(self.far, self.pending)
         self.pending = self.pending:sub((n or 0) + 1)
      end
      local events = (self.paused and "" or "r") .. (self.pending ~= "" and "w" or "")
      if events == "" then
         loop.current().park(self.token)
      else
         loop.current().wait(self.far, events)
      end
      local bytes = not self.paused and core.socket.recv(self.far, 64 * KIB)
      if bytes == "" then
         return
      elseif bytes then
         self.server:feed(bytes)
      end
   end
end

-- Has the server read all that was sent, at once.
function Served:take()
   local bytes = core.socket.recv(self.far, 64 * KIB)
   while bytes do
      self.server:feed(bytes)
      bytes = core.socket.recv(self.far, 64 * KIB)
   end
end

function Served:tell()
   loop.current().cancel(self.far)
   loop.current().unpark(self.token)
end

function Served:stop()
   self.stopped = true
   self.session:close()
   self.task:cancel()
   loop.current().cancel(self.far)
   core.socket.close(self.far)
   core.socket.close(self.near)
end

local function serve(options, settings)
   local near, far = core.socket.pair()
   local self = setmetatable({ near = near, far = far, pending = "", paused = false, token = loop.current().token(),
      server = ScriptedServer.new(options):start() }, Served)
   self.task = ssh.spawn(function()
      self:move()
   end)
   settings.loop, settings.timeout = waiting.clock(), TIMEOUT
   self.began = settings.loop.now()
   self.session = ssh.session(settings)
   assert(self.session:handshake(near))
   assert(self.session:accept_host_key())
   assert(self.session:auth_password("moon", "secret"))
   return self
end


describe("room", function()
   local link, session, peers

   local function start(window, queue, callbacks)
      peers = {}
      local function exec(channel, command)
         peers[command] = channel
      end
      link = serve({ window = window, keeps_window = true, exec = exec },
         { limits = { queue = queue }, callbacks = callbacks })
      session = link.session
   end

   after_each(function()
      link:stop()
   end)

   -- Waits for all tasks, none of which may have waited in vain.
   local function ended(tasks)
      for i, task in ipairs(tasks) do
         local ok, err = task:wait()
         assert(ok == true, ("task %d: %s"):format(i, err))
      end
      assert.equal(link.began, session._loop.now())
   end

   -- A task that leads the session, or will when it has waited.
   local function wait_for_end(channel)
      return ssh.spawn(function()
         return channel:read()
      end)
   end

   local function writing(channel, data)
      return ssh.spawn(function()
         return assert(channel:write(data)) == channel
      end)
   end

   describe("in the queue", function()
      local data = ("0123456789abcdef"):rep(64 * KIB)

      it("is told to the one task that writes", function()
         start(#data, 64 * KIB)
         local channel = assert(session:exec("one"))
         ended{ writing(channel, data) }
         assert(session:ping())
         assert.equal(data, peers.one.received)
      end)

      it("is told to the task whose command is fed", function()
         start(#data, 64 * KIB)
         local task = ssh.spawn(function()
            return assert(session:run("fed", { stdin = data })).ok
         end)
         waiting.await(function()
            return peers.fed and peers.fed.eof_received
         end, "the end of the input")
         assert.equal(data, peers.fed.received)
         peers.fed:finish(0)
         link:tell()
         assert.is_true(task:wait())
      end)

      it("is told to all tasks that write, to one channel or several, while another one leads", function()
         start(#data, 64 * KIB)
         local silent = assert(session:exec("silent"))
         local reader = wait_for_end(silent)
         local one, other = assert(session:exec("one")), assert(session:exec("other"))
         local half = data:sub(1, #data // 2)
         ended{ writing(one, half), writing(one, half), writing(other, data) }
         assert(session:ping())
         assert.equal(half .. half, peers.one.received)
         assert.equal(data, peers.other.received)
         silent:close()
         assert.is_nil(reader:wait())
      end)

      it("is told where a call has made it before it came to wait", function()
         start(#data, 64 * KIB)
         local one, silent, other = session:exec("one"), session:exec("silent"), session:exec("other")
         link.paused = true
         local reader = wait_for_end(other) -- which is woken to lead when the one that leads has left
         local writer = writing(one, data)
         local function say(text)
            peers.silent:write(text)
            link:tell()
         end
         ssh.spawn(function()
            waiting.await(function()
               return session._blocked and session._waits_for
            end, "more than the socket takes")
            say("x")
            writer:wait()
            say("y")
         end)
         assert.equal("x", silent:read())
         assert.is_true(session._blocked)
         link.paused = false
         link:take()
         link:tell()
         assert.equal("y", silent:read())
         ended{ writer }
         assert.equal(data, peers.one.received)
         reader:cancel()
      end)

      it("is told to a message that has waited for it", function()
         start(#data, 2048 * KIB)
         link.paused = true
         local sent = 0
         local task = ssh.spawn(function()
            for _ = 1, 32 do
               assert(session:ignore(data:sub(1, 32 * KIB)))
               sent = sent + 1
            end
            return true
         end)
         waiting.await(function()
            return session._blocked and session._waits_for
         end, "a message that waits")
         assert.is_true(sent < 32)
         link.paused = false
         link:tell()
         ended{ task }
      end)
   end)

   describe("in a channel's window", function()
      it("is told to each of those who wait to write", function()
         start(10, 64 * KIB)
         local channel = assert(session:exec("one"))
         local tasks = { writing(channel, ("a"):rep(20)), writing(channel, "b"), writing(channel, ("c"):rep(20)) }
         local function has(n)
            return function()
               return #peers.one.received == n and session._waits_for
            end
         end
         waiting.await(has(10), "what the window takes")
         peers.one:grant(10)
         link:tell()
         waiting.await(has(20), "the first string")
         peers.one:grant(25) -- more than both need
         link:tell()
         ended(tasks)
         assert(session:ping())
         local received = peers.one.received
         assert.equal(41, #received)
         assert.is_true(received == ("a"):rep(20) .. "b" .. ("c"):rep(20)
            or received == ("a"):rep(20) .. ("c"):rep(20) .. "b")
      end)
   end)
end)
