-- What becomes of a file when its way is cut: the server is killed, the disk is full, time is up, the task is
-- cancelled.

local descriptors = require "spec.support.descriptors"
local dial = require "spec.support.dial"
local process = require "spec.support.process"
local server = require "spec.support.server"
local SftpPeer = require "spec.support.sftp_peer"
local ssh = require "moonssh"
local tmp = require "spec.support.tmp"
local waiting = require "spec.support.waiting"

local MIB = 1024 * 1024
local SIZE = 12 * MIB + 12345

local function sh(script)
   return process.check{ "sh", "-c", script }
end

local function pattern(size)
   local parts = {}
   for i = 1, size // 1000 + 1 do
      parts[i] = string.pack("<I8", i * 0x9e3779b97f4a7c15):rep(125)
   end
   return table.concat(parts):sub(1, size)
end

-- Kills what serves the connections of an sshd, not the sshd itself.
local function kill_connections(sshd)
   sh(("for p in $(cat /proc/%d/task/*/children); do kill -9 $(cat /proc/$p/task/*/children) $p 2>/dev/null; done;"
      .. " true"):format(sshd.process:pid()))
end

describe("a server that is killed in the middle", function()
   local sshd, folder, data

   setup(function()
      sshd = server.sshd{}
      folder = tmp.dir()
      data = pattern(SIZE)
      folder:write("f", data)
   end)

   teardown(function()
      sshd:stop()
      folder:remove()
   end)

   -- Copies until so many bytes are done, kills the server, and goes on with another one. True when it came that far.
   local function broken_off(way, moment)
      local target = folder:path("target")
      os.remove(target)
      os.remove(target .. ".part")
      local session <close> = assert(dial(sshd))
      local sftp = assert(session:sftp())
      local killed = false
      local done, err = sftp[way](sftp, folder:path("f"), target, { progress = function(n)
         if n >= moment and not killed then
            killed = true
            kill_connections(sshd)
         end
      end })
      assert.is_true(killed)
      if done then -- it was through already
         assert.is_true(folder:read("target") == data)
         return false
      end
      assert.truthy(err.code == "eof" or err.code == "disconnected", ("%s: %s"):format(err.code, err))
      if folder:read("target") then -- all had come but the last answer
         assert.is_true(folder:read("target") == data)
         return false
      end
      -- A put that was only to be closed and renamed has no offset any more.
      assert.equal(folder:path(err.offset and "f" or "target"), err.path)
      assert.is_true(err.offset == nil or err.offset >= 0 and err.offset <= SIZE)
      assert.truthy(not err.offset or err.message:find(("at byte %d"):format(err.offset), 1, true))
      local part = folder:read("target.part")
      if way == "get" then
         assert.equal(err.offset, #part)
         assert.is_true(part == data:sub(1, #part))
      end
      local other <close> = assert(dial(sshd))
      local again = assert(other:sftp())
      done = assert(again[way](again, folder:path("f"), target, { resume = true }))
      assert.is_true(folder:read("target") == data)
      assert.is_nil(folder:read("target.part"))
      if way == "get" then
         assert.equal(SIZE - #part, done.bytes)
      end
      return true
   end

   for _, way in ipairs{ "get", "put" } do
      it("leaves a " .. way .. " to go on from there, at any of twenty moments", function()
         math.randomseed(way == "get" and 1 or 2)
         local n = 0
         for _ = 1, 20 do
            n = n + (broken_off(way, math.random(1, 2 * MIB)) and 1 or 0)
         end
         assert.is_true(n > 0)
      end)
   end
end)

describe("a disk that is full", function()
   it("ends a get with the place, and leaves the session usable", function()
      local sshd <close> = server.sshd{}
      local folder <close> = tmp.dir()
      folder:write("f", pattern(3 * MIB))
      local script = folder:write("script.lua", ([[
         local dial = require "spec.support.dial"
         local server = { host = %q, port = %d, user = %q, key_path = %q, known_hosts_path = %q }
         local session <close> = assert(dial(server))
         local sftp <close> = assert(session:sftp())
         local done, err = sftp:get(%q, %q)
         print(done, err.code, err.path, err.offset, err.message)
         print(sftp:stat(%q).size, session.failure)
         print(pcall(sftp.get, sftp, %q, "/dev/null"))
      ]]):format(sshd.host, sshd.port, sshd.user, sshd.key_path, sshd.known_hosts_path, folder:path("f"),
         folder:path("g"), folder:path("f"), folder:path("f")))
      local said = process.check{ "bash", "-c", ("trap '' XFSZ; ulimit -f 1000; exec %s %s"):format(process.lua,
         script) }
      local lines = {}
      for line in said:gmatch("[^\n]+") do
         table.insert(lines, line)
      end
      local code, path, offset, message = lines[1]:match("^nil\t(%S+)\t(%S+)\t(%S+)\t(.*)$")
      assert.same({ "io", folder:path("g.part") }, { code, path })
      assert.truthy(message:find("at byte " .. offset, 1, true), message)
      assert.truthy(message:find("File too large", 1, true), message)
      assert.equal(3 * MIB .. "\tnil", lines[2])
      assert.truthy(lines[3]:find("^true\ttable"))
      assert.is_nil(folder:read("g"))
      local part = folder:read("g.part")
      assert.is_true(#part <= 1000 * 1024 and part == folder:read("f"):sub(1, #part))
   end)
end)

describe("SFTP", function()
   local folder, held
   local TEXT = ("0123456789"):rep(5000)

   -- A server that answers reads when it is told to.
   local function slow_server()
      held = {}
      return SftpPeer.new{
         session = { loop = waiting.clock() },
         files = { ["/f"] = TEXT, ["/d/a"] = TEXT },
         folders = { ["/d"] = { "a" } },
         on = {
            READ = function(peer, request)
               if not peer.quick then
                  table.insert(held, request)
                  return {}
               end
            end,
            WRITE = function(peer)
               return not peer.quick and {} or nil
            end,
         },
      }
   end

   before_each(function()
      folder = tmp.dir()
   end)

   after_each(function()
      folder:remove()
   end)

   it("goes on after a timeout, and drops what comes too late", function()
      local peer <close> = slow_server()
      local before = descriptors()
      for _, atomic in ipairs{ true, false } do
         local done, err = peer.sftp:get("/f", folder:path("f"), { timeout = 0.05, atomic = atomic })
         assert.is_nil(done)
         assert.same({ "timeout", "read", "/f", 0 }, { err.code, err.stage, err.path, err.offset })
      end
      assert.is_nil(folder:read("f.part"))
      local path = folder:write("g", TEXT)
      local done, err = peer.sftp:put(path, "/g", { timeout = 0.05 })
      assert.is_nil(done)
      assert.same({ "timeout", "write", path, 0 }, { err.code, err.stage, err.path, err.offset })
      assert.is_nil(peer.files["/g"])
      local text
      text, err = peer.sftp:read_file("/f", { timeout = 0.05 })
      assert.is_nil(text)
      assert.equal("timeout", err.code)
      peer.quick = true
      for _, request in ipairs(held) do
         peer:send(peer.data(request.id, "x"))
      end
      assert.equal(#TEXT, peer.sftp:get("/f", folder:path("f")).bytes)
      assert.equal(TEXT, folder:read("f"))
      assert.equal(TEXT, peer.sftp:read_file("/f"))
      assert.is_nil(next(peer.handles))
      assert.equal(before, descriptors())
   end)

   it("names what it was about after a timeout before any file is open, and closes what is opened too late", function()
      local peer <close> = SftpPeer.new{ session = { loop = waiting.clock() }, on = {
         OPEN = function() return {} end,
         OPENDIR = function() return {} end,
         STAT = function() return {} end,
         LSTAT = function() return {} end,
      } }
      local path = folder:write("g", TEXT)
      for _, case in ipairs{ { "get", "read", "/f" }, { "put", "write", path }, { "remove_tree", "request", "/f" } } do
         local done, err = peer.sftp[case[1]](peer.sftp, case[3], case[1] == "remove_tree" and { timeout = 5 } or "/g",
            case[1] ~= "remove_tree" and { timeout = 5 } or nil)
         assert.is_nil(done)
         assert.same({ "timeout", case[2], case[3] }, { err.code, err.stage, err.path })
         assert.truthy(err.message:find(case[3] .. ": timeout", 1, true))
      end
      local opens = peer:asked("OPEN")
      assert.equal(2, #opens)
      for i, request in ipairs(opens) do
         peer:send(peer.handle(request.id, "late " .. i))
      end
      assert.equal("/x", peer.sftp:realpath("/x"))
      peer.link:settle()
      local closed = {}
      for _, request in ipairs(peer:asked("CLOSE")) do
         closed[request.handle] = true
      end
      assert.same({ ["late 1"] = true, ["late 2"] = true }, closed)
   end)

   it("goes on after a task was cancelled, with nothing left open", function()
      local peer <close> = slow_server()
      local before = descriptors()
      for _, call in ipairs{
         function() peer.sftp:get("/f", folder:path("f")) end,
         function() peer.sftp:get("/d", folder:path("d"), { recursive = true }) end,
         function() peer.sftp:put(folder:write("g", TEXT), "/g") end,
         function() peer.sftp:read_file("/f") end,
         function() local _ <close> = peer.sftp:open("/f"); _:read(1) end,
      } do
         local n_held, n_written = #held, #peer:asked("WRITE")
         local task = ssh.spawn(call)
         waiting.await(function()
            return #held > n_held or #peer:asked("WRITE") > n_written
         end)
         task:cancel()
         assert.equal("cancelled", select(2, task:wait(60)).code)
         assert.equal("file", peer.sftp:stat("/f").type)
      end
      peer.link:settle()
      assert.is_nil(next(peer.handles))
      assert.equal(before, descriptors())
      peer.quick = true
      assert.equal(TEXT, peer.sftp:read_file("/f"))
   end)

   it("serves several tasks at once", function()
      local peer <close> = SftpPeer.new{ files = { ["/f"] = TEXT } }
      local results = ssh.map({ 1, 2, 3, 4, 5, 6 }, function(i)
         if i % 2 == 0 then
            assert(peer.sftp:get("/f", folder:path("f" .. i)))
            return folder:read("f" .. i)
         end
         assert(peer.sftp:write_file("/g" .. i, TEXT))
         return assert(peer.sftp:read_file("/g" .. i))
      end)
      assert.same({ TEXT, TEXT, TEXT, TEXT, TEXT, TEXT }, results)
   end)

   it("can be closed, dropped and collected in any order", function()
      local before = descriptors()
      for order = 1, 6 do
         local peer = SftpPeer.new{ files = { ["/f"] = TEXT } }
         local sftp, file = peer.sftp, peer.sftp:open("/f")
         assert.equal("0", file:read(1))
         if order == 1 then
            peer.session:close()
            assert.is_true(file:close())
            sftp:close()
         elseif order == 2 then
            sftp:close()
            assert.is_true(file:close())
            assert.has_error(function()
               file:read(1)
            end)
         elseif order == 3 then
            file = nil
            collectgarbage()
            assert.equal("file", sftp:stat("/f").type)
            peer.link:settle()
            assert.is_nil(next(peer.handles))
         elseif order == 4 then
            assert.is_true(file:close())
            assert.is_true(file:close())
            sftp:close()
            sftp:close()
            assert.is_true(sftp.closed and file.closed)
            assert.has_error(function()
               sftp:stat("/f")
            end)
         end
         assert(order == 3 or file)
      end
      assert.equal(before, descriptors())
   end)

   it("ends what waits when the server closes it", function()
      local peer <close> = slow_server()
      local task = ssh.spawn(function()
         return peer.sftp:get("/f", folder:path("f"))
      end)
      local reader = ssh.spawn(function()
         return peer.sftp:read_file("/f")
      end)
      waiting.await(function() return #held >= 2 end)
      peer.channel.closed = true
      peer.link.peer:message("CHANNEL_CLOSE", "u", peer.channel.remote)
      for _, one in ipairs{ task, reader } do
         local done, err = one:wait(60)
         assert.is_nil(done)
         assert.same({ "eof", "/f" }, { err.code, err.path })
         assert.matches("^/f: the server has ended the SFTP channel", err.message)
      end
      assert.is_nil(folder:read("f"))
      assert.is_nil(peer.session.failure)
   end)

   it("says where reading and writing a file has failed", function()
      local peer <close> = SftpPeer.new{ files = { ["/f"] = TEXT }, on = {
         READ = function(worn, request)
            return (string.unpack(">I8", request.rest)) >= 40000 and worn.status(request.id, 4, "worn out") or nil
         end,
         WRITE = function(full, request)
            return (string.unpack(">I8", request.rest)) > 0 and full.status(request.id, 4, "full") or nil
         end,
      } }
      local file = assert(peer.sftp:open("/f"))
      file:seek("set", 40000)
      local text, err = file:read(100)
      assert.is_nil(text)
      assert.same({ "failure", "/f", 40000, "/f: worn out (at byte 40000)" },
         { err.status, err.path, err.offset, err.message })
      file:close()
      file = assert(peer.sftp:open("/g", "w"))
      file:write("abc")
      file:flush()
      file:write("def")
      local ok
      ok, err = file:close()
      assert.is_nil(ok)
      assert.same({ "failure", "/g", 3, "/g: full (at byte 3)" }, { err.status, err.path, err.offset, err.message })
   end)

   it("ends what waits when another task closes it", function()
      local peer <close> = slow_server()
      local task = ssh.spawn(function()
         return peer.sftp:get("/f", folder:path("f"))
      end)
      local reader = ssh.spawn(function()
         return peer.sftp:read_file("/f")
      end)
      waiting.await(function() return #held >= 2 end)
      peer.sftp:close()
      for _, one in ipairs{ task, reader } do
         local done, err = one:wait(60)
         assert.is_nil(done)
         assert.equal("closed", err.code)
      end
      assert.is_nil(folder:read("f"))
      assert.is_nil(peer.session.failure)
   end)
end)
