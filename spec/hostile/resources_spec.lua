-- Attacks, rows M3, M5 and M6, and A7 and C3 at sizes that a test can have: what must not deadlock, leak time, or run
-- out of numbers.

local oracle = require "spec.support.oracle"
local process = require "spec.support.process"
local server = require "spec.support.server"
local wire = require "spec.support.wire"

local message = wire.message

describe("M3: both sides write without end, and the server stops reading", function()
   local AMOUNT = 64 << 20

   it("64 MiB go either way, memory is bounded, and nothing waits for ever", function()
      local block = ("d"):rep(32768)
      local channel, theirs
      local sent, written, read, got = 0, 0, 0, 0
      local run
      run = oracle.run{
         limit = 1000000,
         client = { command = function(client)
            client.channel = client.session:open("session", "")
         end, on = {
            opened = function(_, opened)
               channel = opened
               return true
            end,
            data = function(client, id, stream)
               local bytes = client.session:channel_take(id, stream, 1 << 24)
               while bytes and bytes ~= "" do
                  read = read + #bytes
                  bytes = client.session:channel_take(id, stream, 1 << 24)
               end
               return true
            end,
         } },
         peer = { steps = { data = function(peer, opened, data)
            got = got + #data
            -- Credit what was taken, in large pieces.
            if got // (1 << 20) ~= (got - #data) // (1 << 20) then
               peer:message("CHANNEL_WINDOW_ADJUST", "uu", opened.remote, 1 << 20)
            end
         end } },
      }
      theirs = run.peer.channels[1]
      local session = run.client.session
      local turn = 0
      while read < AMOUNT or got < AMOUNT - (2 << 20) do
         turn = turn + 1
         assert.is_true(turn < 100000, ("stuck at %d read, %d written"):format(read, got))
         -- The server reads every fourth turn only; it writes whenever it may.
         run.taken = turn % 4 ~= 0 and 0 or nil
         while sent < AMOUNT and theirs.window >= #block do
            run.peer:message("CHANNEL_DATA", "us", theirs.remote, block)
            theirs.window = theirs.window - #block
            sent = sent + #block
         end
         while written < AMOUNT do
            local taken = session:channel_write(channel, 0, block)
            if not taken or taken == 0 then
               break
            end
            written = written + taken
         end
         if run.taken == 0 then
            run:peer_speaks()
         else
            run:client_speaks()
            run:peer_speaks()
         end
      end
      assert.are.equal(AMOUNT, read)
      local _, peak = session:memory()
      assert.is_true(peak - run.client.baseline <= 8 << 20, "took " .. peak)
      assert.is_nil((session:failure()))
      oracle.close(run)
   end)
end)

describe("M5: what is compared in constant time", function()
   local function texts(command)
      local pipe = assert(io.popen(command))
      local list = {}
      for path in pipe:lines() do
         local file <close> = assert(io.open(path))
         list[path] = file:read("a"):gsub("/%*.-%*/", " ")
      end
      pipe:close()
      return list
   end

   it("are MACs and tags: nothing in cipher, MAC or seal compares with memcmp", function()
      local n = 0
      for path, text in pairs(texts("ls csrc/crypto/*.c csrc/transport/seal*.c csrc/transport/packet_in.c")) do
         assert.is_nil(text:find("%f[%w_]memcmp%s*%("), path .. " calls memcmp")
         assert.is_nil(text:find("mssh_slice_equals%s*%([^)]*mac"), path)
         n = n + 1
      end
      assert.is_true(n > 10)
   end)

   it("all go through the one function, and that through OpenSSL's", function()
      local callers = {}
      for path, text in pairs(texts("find csrc -name '*.c'")) do
         if text:find("CRYPTO_memcmp", 1, true) then
            table.insert(callers, path)
         end
      end
      assert.are.same({ "csrc/crypto/equal.c" }, callers)
      local users = 0
      for _, text in pairs(texts("ls csrc/crypto/*.c csrc/transport/seal*.c csrc/keys/*.c")) do
         users = users + (text:find("mssh_equal_ct", 1, true) and 1 or 0)
      end
      assert.is_true(users >= 3)
   end)

   it("are fingerprints and hashed names in the library", function()
      local text = texts("ls lua/moonssh/hostkey.lua lua/moonssh/known_hosts.lua")
      assert.is_truthy(text["lua/moonssh/hostkey.lua"]:find("core.equal", 1, true))
      assert.is_truthy(text["lua/moonssh/known_hosts.lua"]:find("core.equal", 1, true))
   end)
end)

describe("M6: five thousand open files", function()
   it("are no hindrance: select is not used", function()
      local pipe = assert(io.popen("grep -rnwE 'select|pselect|FD_SET|fd_set' csrc || true"))
      local found = {}
      for line in pipe:lines() do
         if not line:find("^csrc/testing/") and (line:find("FD_SET") or line:find("fd_set") or
            line:find("select%s*%(")) then
            table.insert(found, line)
         end
      end
      pipe:close()
      assert.are.same({}, found)
   end)

   it("do not keep a session from connecting to sshd and running a command", function()
      if server.missing("sshd") then
         pending(server.missing("sshd"))
      end
      local limit = tonumber(process.check{ "sh", "-c", "ulimit -Hn | sed s/unlimited/1000000/" })
      if limit < 5200 then
         pending("only " .. limit .. " files may be open")
      end
      local sshd <close> = server.sshd()
      local script = [[
         local files = {}
         for i = 1, 5000 do
            files[i] = assert(io.open("/dev/null"))
         end
         local ssh = require "moonssh"
         local session = assert(ssh.connect(arg[1], { identity = arg[2], known_hosts = arg[3], agent = false,
            config = false, timeout = 60 }))
         assert(session:fd() > 5000)
         local result = assert(session:run("echo far up", { timeout = 60 }))
         io.write(result.stdout)
         session:close()
         os.exit(true, true)
      ]]
      local path = sshd.folder:write("many.lua", script)
      local result = process.run{ "sh", "-c", 'ulimit -n 5200 && exec "$@"', "sh", process.lua, path,
         ("%s@%s:%d"):format(sshd.user, sshd.host, sshd.port), sshd.key_path, sshd.known_hosts_path }
      assert.are.equal("far up\n", result.stdout, result.stderr)
      assert.are.equal(0, result.status)
   end)
end)

describe("A7: a command of many bytes", function()
   it("is refused before anything of it leaves, and the session goes on", function()
      local run = oracle.run{ client = { command = false } }
      for _, call in ipairs{
         function(session) return session:open(("x"):rep(1 << 20), "") end,
         function(session) return session:open("session", ("x"):rep(64 << 20)) end,
         function(session) return session:global_request("x", true, ("x"):rep(64 << 20)) end,
         function(session) return session:ignore(("x"):rep(64 << 20)) end,
         function(session) return session:debug(true, ("x"):rep(64 << 20), "") end,
      } do
         local ok, code = call(run.client.session)
         assert.is_nil(ok)
         assert.are.equal("limit", code)
      end
      local before = #run.peer.received
      run:go()
      assert.are.equal(before, #run.peer.received)
      assert(run.client.session:ignore("small"))
      run:go()
      assert.are.equal(message("IGNORE", "s", "small"), run.peer:seen("IGNORE")[1])
      oracle.alive(run)
   end)
end)
