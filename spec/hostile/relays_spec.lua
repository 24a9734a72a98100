-- What forwards and relays leave when they are ended at the worst moment. In memory.

local core = require "moonssh.core"
local loop = require "moonssh.loop"
local memory = require "spec.support.memory"
local messages = require "spec.support.messages"
local net = require "moonssh.net"
local socket = require "moonssh_testing".socket
local sockets = require "spec.support.sockets"
local ssh = require "moonssh"
local tmp = require "spec.support.tmp"
local waiting = require "spec.support.waiting"
local x11 = require "spec.support.x11"

describe("a forward", function()
   local link, session, asked

   before_each(function()
      asked = {}
      link = memory.connect{ server = { on = { global_request = function(server, message)
         if not message.name:find("forward", 1, true) then
            return false
         end
         table.insert(asked, message.name)
         server:send(messages.request_success(""))
         return true
      end } } }
      session = link.session
   end)

   after_each(function()
      session:close()
   end)

   it("that is closed before anything else has run listens no more", function()
      local folder <close> = tmp.dir()
      local path = folder:path "socket"
      sockets.leaves_nothing_open(function()
         session:forward_local{ bind = path, to = 1 }:close()
         session:forward_local{ bind = 0, to = 1 }:close()
         session:forward_dynamic{ bind = 0 }:close()
      end)
      assert.is_nil(io.open(path))
      assert.is_nil((core.file.stat(path)))
      session:forward_remote{ bind = 4711, to = 1 }:close()
      link:settle()
      assert.same({ "tcpip-forward", "cancel-tcpip-forward" }, asked)
   end)

   it("drops the connection that it has just taken when the session is closed", function()
      sockets.leaves_nothing_open(function()
         local forward = assert(session:forward_local{ bind = "127.0.0.1:0", to = 1 })
         -- A task that is ready before that of the connection closes the session.
         local accept = core.socket.accept
         core.socket.accept = function(...)
            local fd, host, port, errno = accept(...)
            if fd then
               ssh.spawn(function() session:close() end)
            end
            return fd, host, port, errno
         end
         local client = assert(net.connect("127.0.0.1", forward.port, {}, loop.now() + 60))
         waiting.await(function() return session.closed end, "the connection")
         core.socket.accept = accept
         assert.equal(0, forward.connections)
         waiting.await(function() return core.socket.recv(client, 1) == "" end, "its end")
         net.close(client)
      end)
   end)

   it("tells of connections that it cannot take, and takes them when it can, or is closed by who is told", function()
      local accept, told = core.socket.accept, {}
      local failing = true
      core.socket.accept = function(...)
         if failing then
            return nil, "io", "Too many open files", 24
         end
         return accept(...)
      end
      local forward <close> = assert(session:forward_local{ bind = "127.0.0.1:0", to = 1,
         on_error = function(err, origin)
            table.insert(told, { err.code, origin.host })
            failing = false
         end })
      local second
      second = assert(session:forward_local{ bind = "127.0.0.1:0", to = 1, on_error = function() second:close() end })
      local clients = { (assert(net.connect("127.0.0.1", second.port, {}, loop.now() + 60))) }
      waiting.await(function() return second.closed end, "the end of the second")
      failing = true
      clients[2] = assert(net.connect("127.0.0.1", forward.port, {}, loop.now() + 60))
      waiting.await(function() return #told == 2 end, "the errors") -- the second one is that of the server
      core.socket.accept = accept
      assert.same({ { "io" }, { "channel_open", "127.0.0.1" } }, told)
      for _, fd in ipairs(clients) do
         net.close(fd)
      end
   end)

   it("tells of each connection that comes to nothing at once, and counts none of them", function()
      local told = {}
      local forward <close> = assert(session:forward_remote{ bind = 4711, to = "/nowhere/at/all",
         on_error = function(err, origin) table.insert(told, { err.code, origin.host }) end })
      for _ = 1, 3 do
         link.server:open("forwarded-tcpip", string.pack(">s4I4s4I4", "localhost", 4711, "192.0.2.7", 4711))
      end
      link:settle()
      waiting.await(function()
         session:step()
         return #told == 3
      end, "the errors")
      assert.same({ "io", "192.0.2.7" }, told[1])
      assert.equal(0, forward.connections)
   end)
end)

describe("a relay whose descriptor takes nothing", function()
   -- A display that is connected to and never read, with its buffers full.
   local function stuck()
      local listener, number
      for candidate = 100, 5000 do
         listener = socket.listen("127.0.0.1", 6000 + candidate)
         if listener then
            number = candidate
            break
         end
      end
      local folder, path = x11.authority()
      local link = memory.connect{ session = { display = "127.0.0.1:" .. number, xauthority = path },
         server = { exec = function() end } }
      local session = link.session
      local command = assert(session:exec("talk", { forward_x11 = true }))
      local theirs = link.server:open("x11", string.pack(">s4I4", "192.0.2.7", 6010))
      link:settle()
      theirs:write(x11.prefix("l", x11.fake(link.server)))
      local fd = waiting.await(function()
         session:step()
         return socket.accept(listener, 0)
      end, "a connection to the display")
      local block = ("x"):rep(32768)
      waiting.await(function()
         theirs:write(block)
         link:settle()
         session:step()
         local relay = next(session._relays)
         return relay and relay.reader:kept() >= 1024 * 1024
      end, "full buffers")
      return { session = session, command = command, fd = fd, close = function()
         session:close()
         socket.close(fd)
         socket.close(listener)
         folder:remove()
      end }
   end

   local function ends(name, f)
      it("ends " .. name .. ", without a word", function()
         local reported = {}
         local old = loop.on_error
         loop.on_error = function(err) table.insert(reported, err) end
         local ok, err = pcall(function()
            sockets.leaves_nothing_open(function()
               local case = stuck()
               f(case.session)
               waiting.await(function() return next(case.session._relays) == nil end, "the relay's end")
               case.close()
            end)
         end)
         loop.on_error = old
         assert(ok, err)
         assert.same({}, reported)
      end)
   end

   ends("with its session", function(session)
      session:close()
   end)

   ends("when the session fails", function(session)
      session:_fail(require "moonssh.errors".new("eof", "the connection is lost"))
   end)
end)
