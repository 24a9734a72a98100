-- Connections made by OpenSSH's sshd, and sessions over them.

local dial = require "spec.support.dial"
local server = require "spec.support.server"
local socket = require "moonssh_testing".socket
local ssh = require "moonssh"

describe("with sshd, a channel that is dialled", function()
   local sshd, session

   setup(function()
      sshd = server.sshd()
      session = assert(dial(sshd))
      session.timeout = 60
   end)

   teardown(function()
      session:close()
      sshd:stop()
   end)

   it("reaches a port", function()
      local channel <close> = assert(session:dial("127.0.0.1", sshd.port))
      assert.matches("^SSH%-2%.0%-OpenSSH", channel:read("l"))
   end)

   it("reaches a Unix socket", function()
      local agent <close> = server.agent()
      local channel <close> = assert(session:dial_unix(agent.path))
      assert(channel:write("\0\0\0\1\11"))
      assert.equal("\0\0\0\5\12\0\0\0\0", channel:read(9))
   end)

   it("is refused where nobody listens", function()
      local fd, port = assert(socket.listen("127.0.0.1", 0))
      socket.close(fd)
      local channel, err = session:dial("127.0.0.1", port)
      assert.is_nil(channel)
      assert.same({ "channel_open", 2 }, { err.code, err.reason })
      channel, err = session:dial_unix("/nowhere/at/all")
      assert.is_nil(channel)
      assert.same({ "channel_open", 2 }, { err.code, err.reason })
   end)

   it("is a socket for connect, which stays the caller's", function()
      local channel <close> = assert(session:dial("127.0.0.1", sshd.port))
      local inner <close> = assert(dial(sshd, { socket = channel }))
      assert.equal("inner", inner:run("printf inner").stdout)
      inner:close()
      channel:close()
      assert.has_error(function()
         dial(sshd, { socket = channel })
      end)
      assert.equal("outer", session:run("printf outer").stdout)
   end)

   it("carries a further session, and that one a third", function()
      local hops, below = {}, session
      for i = 1, 2 do
         local hop = ssh.session{ timeout = 60 }
         assert(hop:handshake(assert(below:dial("127.0.0.1", sshd.port)), { host = sshd.host, port = sshd.port,
            known_hosts = sshd.known_hosts_path }))
         assert(hop:authenticate{ user = sshd.user, identity = sshd.key_path })
         hops[i], below = hop, hop
      end
      local data = ("0123456789abcdef"):rep(200000)
      local tasks = {}
      for i, hop in ipairs{ session, hops[1], hops[2] } do
         tasks[i] = ssh.spawn(function()
            return hop:run("cat", { stdin = data }).stdout == data
         end)
      end
      for _, task in ipairs(tasks) do
         assert.is_true(task:wait())
      end
      assert.is_true(hops[2]:rekey())
      assert.is_true(hops[1]:rekey())
      assert.equal("end", hops[2]:run("printf end").stdout)
      hops[1]:close()
      assert.equal("eof", select(2, hops[2]:run("true")).code)
      assert.equal("below", session:run("printf below").stdout)
   end)
end)
