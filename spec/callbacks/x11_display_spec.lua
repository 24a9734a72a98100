-- The callback `x11` where it is not set: connections are relayed to the session's display.

local core = require "moonssh.core"
local loop = require "moonssh.loop"
local memory = require "spec.support.memory"
local socket = require "moonssh_testing".socket
local waiting = require "spec.support.waiting"
local x11 = require "spec.support.x11"

local REAL, prefix = x11.REAL, x11.prefix

describe("the x11 callback that is not set, with a display,", function()
   local listener, number, link, session, server, folder

   before_each(function()
      listener = nil
      for candidate = 100, 5000 do
         listener = socket.listen("127.0.0.1", 6000 + candidate)
         if listener then
            number = candidate
            return
         end
      end
   end)

   after_each(function()
      session:close()
      folder:remove()
      socket.close(listener)
   end)

   local function with_display()
      local path
      folder, path = x11.authority()
      link = memory.connect{ session = { display = "127.0.0.1:" .. number, xauthority = path },
         server = { exec = function() end } }
      session, server = link.session, link.server
   end

   local function command()
      return assert(session:exec("talk", { forward_x11 = true }))
   end

   local function open()
      return x11.open(link)
   end

   local function fake()
      return x11.fake(server)
   end

   -- The display's end of the next connection, once it is there; and what it reads.
   local function accept()
      return waiting.await(function()
         session:step()
         return socket.accept(listener, 0)
      end, "a connection to the display")
   end

   local function read(fd, count)
      local got = ""
      waiting.await(function()
         session:step()
         got = got .. (core.socket.recv(fd, 65536) or "")
         return #got >= count
      end, "data at the display")
      return got
   end

   it("relays both ways, with the display's cookie in place", function()
      with_display()
      local _ <close> = command()
      local theirs = open()
      theirs:write(prefix("l", fake()) .. "draw")
      local fd = accept()
      core.socket.prepare(fd)
      assert.equal(prefix("l", REAL) .. "draw", read(fd, 52))
      core.socket.send(fd, "an event")
      waiting.await(function()
         session:step()
         return theirs.received == "an event"
      end)
      -- What goes on by itself is nothing that the loop would wait for.
      assert.equal("done", loop.run(function() return "done" end))
      socket.close(fd)
      waiting.await(function()
         session:step()
         return theirs.eof_received
      end)
      theirs:close()
      link:settle()
   end)

   it("connects to it only after the cookie was right", function()
      with_display()
      local _ <close> = command()
      local theirs = open()
      theirs:write(prefix("l", fake()):sub(1, 47))
      link:settle()
      assert(session:ping())
      assert.is_nil((socket.accept(listener, 0)))
      theirs:write("\0")
      link:settle()
      waiting.await(function()
         session:step()
         return theirs.closed
      end)
      assert.is_nil((socket.accept(listener, 0)))
   end)

   it("closes the channel and says so where the display is not there", function()
      with_display()
      socket.close(listener)
      listener = -1
      local reported
      local old = loop.on_error
      loop.on_error = function(err) reported = err end
      local _ <close> = command()
      local theirs = open()
      theirs:write(prefix("l", fake()))
      waiting.await(function()
         session:step()
         return theirs.closed
      end)
      loop.on_error = old
      assert.equal("refused", reported.code)
      assert.is_nil(session.failure)
   end)

   it("ends its relays with the session", function()
      with_display()
      local _ = command()
      open():write(prefix("l", fake()))
      local fd = accept()
      core.socket.prepare(fd)
      read(fd, 48)
      session:close()
      waiting.await(function()
         return core.socket.recv(fd, 1) == ""
      end, "the end of the connection")
      socket.close(fd)
   end)
end)
