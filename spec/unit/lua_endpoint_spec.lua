-- Places to listen at and to connect to.

local core = require "moonssh.core"
local endpoint = require "moonssh.endpoint"
local net = require "moonssh.net"
local process = require "spec.support.process"
local sockets = require "spec.support.sockets"
local tmp = require "spec.support.tmp"

local function close(fds)
   for _, fd in ipairs(fds) do
      net.close(fd)
   end
end

describe("a place", function()
   it("is a port, an address, or a path", function()
      for text, place in pairs{
         [8080] = { host = "localhost", port = 8080 },
         ["8080"] = { host = "localhost", port = 8080 },
         ["0"] = { host = "localhost", port = 0 },
         [":8080"] = { host = "", port = 8080 },
         ["*:8080"] = { host = "", port = 8080 },
         ["web1:80"] = { host = "web1", port = 80 },
         ["10.0.0.1:65535"] = { host = "10.0.0.1", port = 65535 },
         ["[::1]:22"] = { host = "::1", port = 22 },
         ["[fe80::1%eth0]:22"] = { host = "fe80::1%eth0", port = 22 },
         ["/run/x.sock"] = { path = "/run/x.sock" },
         ["./x"] = { path = "./x" },
      } do
         assert.same(place, endpoint.parse(text), tostring(text))
      end
   end)

   it("is nothing else", function()
      for _, text in ipairs{ "", "web1", "web1:", ":", "web1:x", "web1:65536", "web1:-1", "::1:22", "[::1]", "a:1:2",
         -1, 65536, 1.5, true, "/x\0y" } do
         assert.is_nil(endpoint.parse(text), tostring(text))
      end
   end)
end)

describe("listening", function()
   it("takes one free port for all addresses of a name, and tells who connects", function()
      sockets.leaves_nothing_open(function()
         local place = { host = "localhost", port = 0 }
         local fds, port = assert(endpoint.listen(place))
         local client = assert(endpoint.connect{ host = "127.0.0.1", port = port })
         local fd, host, from = endpoint.accept(fds, { closed = false })
         assert.same({ "127.0.0.1", "integer" }, { host, math.type(from) })
         core.socket.send(client, "hello")
         assert.is_true(core.wait(fd, "r"))
         assert.equal("hello", core.socket.recv(fd))
         local none, err = endpoint.listen{ host = "127.0.0.1", port = port }
         assert.is_nil(none)
         assert.equal("io", err.code)
         local message = ("cannot listen at 127.0.0.1 port %d: Address already in use"):format(port)
         assert.matches(message, err.message, 1, true)
         close(fds)
         close{ fd, client }
      end)
   end)

   it("at every address takes both families, each by itself", function()
      local fds, port = assert(endpoint.listen{ host = "", port = 0 })
      local client = assert(endpoint.connect{ host = "127.0.0.1", port = port })
      close{ client, (endpoint.accept(fds, { closed = false })) }
      close(fds)
   end)

   it("at a path makes a socket for its owner alone, and takes the place of nothing", function()
      local folder <close> = tmp.dir()
      local place = { path = folder:path("socket") }
      local fds = assert(endpoint.listen(place))
      assert.equal("600", process.check{ "stat", "-c", "%a", place.path }:match("%d+"))
      local client = assert(endpoint.connect(place))
      local fd, host = endpoint.accept(fds, { closed = false })
      assert.is_nil(host)
      core.socket.send(fd, "from the server")
      assert.is_true(core.wait(client, "r"))
      assert.equal("from the server", core.socket.recv(client))
      local none, err = endpoint.listen(place)
      assert.is_nil(none)
      assert.same({ "io", place.path }, { err.code, err.path })
      assert.matches("Address already in use", err.message, 1, true)
      close{ fds[1], client, fd }
      assert.equal("io", select(2, endpoint.listen{ path = folder:path(("x"):rep(200)) }).code)
      assert.equal("refused", select(2, endpoint.connect(place)).code)
   end)

   it("fails where the address is none of ours, or no name", function()
      assert.equal("io", select(2, endpoint.listen{ host = "192.0.2.1", port = 0 }).code)
      assert.equal("resolve", select(2, endpoint.listen{ host = "no such name", port = 0 }).code)
   end)

   it("ends for whoever is closed", function()
      assert.same({}, { endpoint.accept({ 0 }, { closed = true }) })
   end)
end)

describe("core.socket", function()
   it("says that there is nobody to accept", function()
      local fds = assert(endpoint.listen{ host = "127.0.0.1", port = 0 })
      assert.same({ nil, "io", core.EAGAIN }, { (core.socket.accept(fds[1])), select(2, core.socket.accept(fds[1])),
         (select(4, core.socket.accept(fds[1]))) })
      close(fds)
      assert.equal("Bad file descriptor", select(3, core.socket.accept(fds[1])))
   end)
end)
