-- Several addresses of one name: who is connected to, and when (RFC 8305).

local core = require "moonssh.core"
local loop = require "moonssh.loop"
local net = require "moonssh.net"
local socket = require "moonssh_testing".socket
local sockets = require "spec.support.sockets"
local waiting = require "spec.support.waiting"

describe("racing addresses", function()
   local function address(text, port)
      return assert(core.resolve(text, port):result())[1]
   end

   local function free_port()
      local fd, port = assert(socket.listen("127.0.0.1", 0))
      socket.close(fd)
      return port
   end

   it("tries the families in turn, the first one's first", function()
      local mixed = net.interleave{ { family = "inet6", text = "a" }, { family = "inet6", text = "b" },
         { family = "inet6", text = "c" }, { family = "inet", text = "d" }, { family = "inet", text = "e" } }
      local order = {}
      for i, one in ipairs(mixed) do
         order[i] = one.text
      end
      assert.equal("adbec", table.concat(order))
      assert.same({}, net.interleave{})
   end)

   it("goes on at once when an address refuses", function()
      local fd, port = assert(socket.listen("127.0.0.1", 0))
      -- On its clock no time passes but that of a wait in vain: for the next address's turn, say.
      local previous = loop.use(waiting.clock())
      local started = loop.now()
      local client = assert(net.race({ address("127.0.0.1", free_port()), address("127.0.0.1", free_port()),
         address("127.0.0.1", port) }, "x", port, nil, started + 60))
      local waited = loop.now() - started
      loop.use(previous)
      assert.equal(0, waited)
      net.close(client)
      socket.close(fd)
   end)

   it("does not wait for an address that says nothing, and closes it", function()
      local busy, release = sockets.busy_port()
      local fd, port = assert(socket.listen("127.0.0.1", 0))
      sockets.leaves_nothing_open(function()
         local client = assert(net.race({ address("127.0.0.1", busy), address("127.0.0.1", port) }, "x", port, nil,
            loop.now() + 60))
         local accepted = assert(socket.accept(fd, 60))
         net.close(client)
         socket.close(accepted)
      end)
      release()
      socket.close(fd)
   end)

   it("tells every address that failed", function()
      local first, second = free_port(), free_port()
      local client, err = net.race({ address("127.0.0.1", first), address("127.0.0.2", second) }, "web1", first, nil,
         loop.now() + 60)
      assert.is_nil(client)
      assert.equal("refused", err.code)
      assert.equal(2, #err.attempts)
      assert.matches("127.0.0.1: .*; 127.0.0.2: ", err.message)
   end)

   it("prefers neither family over the one that answers", function()
      local fd, port = socket.listen("::1", 0)
      if not fd then
         pending("no IPv6 here")
         return
      end
      for _, addresses in ipairs{
         { address("::1", port), address("127.0.0.1", port) },
         { address("127.0.0.1", port), address("::1", port) },
      } do
         local client = assert(net.race(addresses, "x", port, nil, loop.now() + 60))
         local accepted = assert(socket.accept(fd, 60))
         net.close(client)
         socket.close(accepted)
      end
      socket.close(fd)
   end)

   it("keeps to address_family and bind_address", function()
      local fd, port = assert(socket.listen("127.0.0.1", 0))
      local client, err = net.connect("127.0.0.1", port, { address_family = "inet6" }, loop.now() + 60)
      assert.is_nil(client)
      assert.equal("resolve", err.code)
      client = assert(net.connect("localhost", port, { address_family = "inet", bind_address = "127.0.0.3" },
         loop.now() + 60))
      local accepted = assert(socket.accept(fd, 60))
      net.close(client)
      socket.close(accepted)
      socket.close(fd)
   end)
end)
