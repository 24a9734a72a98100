-- Attacks, rows S3 to S6: replies of SFTP that are wrong, in form or in what they claim. Whatever comes ends the SFTP
-- channel at most, with an error that says why; the session goes on, and no file of ours is taken for complete.

local SftpPeer = require "spec.support.sftp_peer"
local ssh = require "moonssh"
local tmp = require "spec.support.tmp"

local TEXT = ("0123456789abcdef"):rep(2000)

-- The session of a peer that has misbehaved still works.
local function assert_goes_on(peer)
   assert.is_nil(peer.session.failure)
   assert.is_true(peer.session:ping(60) > 0)
end

-- What a call comes to when one type of request is answered in a way of its own.
local function answered(type, f, call, more)
   local options = { files = { ["/f"] = TEXT }, folders = { ["/d"] = { "a" } }, on = { [type] = f } }
   for name, value in pairs(more or {}) do
      options[name] = value
   end
   local peer = SftpPeer.new(options)
   local result, err = call(peer.sftp)
   return result, err, peer
end

local function stat(sftp)
   return sftp:stat("/f")
end

local function assert_ends(type, f, call, code, text)
   local result, err, peer = answered(type, f, call)
   assert.is_nil(result)
   assert.equal(code, err.code)
   assert.truthy(err.message:find(text, 1, true), err.message)
   -- The failure is the channel's, once and for all.
   local again, same = peer.sftp:stat("/f")
   assert.is_nil(again)
   assert.equal(code, same.code)
   assert_goes_on(peer)
   peer.session:close()
end

describe("S3: a reply", function()
   it("is taken in any order, and split anywhere", function()
      for _, chunk in ipairs{ 1, 7, 64 } do
         local held = {}
         local peer <close> = SftpPeer.new{ chunk = chunk, most = 17 * chunk, files = { ["/f"] = TEXT }, on = {
            READ = function(server, request)
               table.insert(held, request.id)
               local offset, len = string.unpack(">I8I4", request.rest)
               local piece = TEXT:sub(offset + 1, offset + len)
               return piece ~= "" and { server.data(request.id, piece) } or nil
            end,
         } }
         assert.equal(TEXT, peer.sftp:read_file("/f"))
         local folder <close> = tmp.dir()
         local path = folder:path("got")
         assert(peer.sftp:get("/f", path))
         assert.equal(TEXT, folder:read("got"))
      end
   end)

   it("of another type than what was asked ends the channel", function()
      assert_ends("STAT", function(server, request)
         return server.handle(request.id, "h")
      end, stat, "protocol", "packet type 102 where 105 was due")
      assert_ends("OPEN", function(server, request)
         return server.status(request.id, 0, "fine")
      end, function(sftp)
         return sftp:open("/f")
      end, "protocol", "answered with OK where type 102")
      assert_ends("MKDIR", function(server, request)
         return server.attributes(request.id, server.packed("file"))
      end, function(sftp)
         return sftp:mkdir("/x")
      end, "protocol", "packet type 105")
      assert_ends("STAT", function(server, request)
         return server.packet(77, request.id, "")
      end, stat, "protocol", "packet type 77")
   end)

   it("with an id that is not open ends the channel: unknown, told twice, or of the future", function()
      for _, change in ipairs{ 1, -1, 0x10000, 0x7fffffff } do
         assert_ends("STAT", function(server, request)
            return server.status(request.id + change & 0xffffffff, 2)
         end, stat, "protocol", "is not open")
      end
      local peer <close> = SftpPeer.new{ files = { ["/f"] = TEXT }, on = { STAT = function(server, request)
         local packet = server.attributes(request.id, server.packed("file"))
         return { packet, packet }
      end } }
      assert.equal("file", peer.sftp:stat("/f").type)
      local found, err = peer.sftp:lstat("/f")
      assert.is_nil(found)
      assert.truthy(err.message:find("is not open", 1, true))
      assert_goes_on(peer)
   end)

   it("cut short anywhere is no reply", function()
      local whole = {
         STAT = { SftpPeer.packed("file"), 105, stat },
         OPEN = { string.pack(">s4", "handle"), 102, function(sftp) return sftp:open("/f") end },
         REALPATH = { SftpPeer.names(0, { "/x" }):sub(6), 104, function(sftp) return sftp:realpath(".") end },
      }
      for type, case in pairs(whole) do
         local body, number, call = table.unpack(case)
         for len = 0, #body - 1 do
            assert_ends(type, function(server, request)
               return server.packet(number, request.id, body:sub(1, len))
            end, call, "protocol", "malformed")
         end
         assert_ends(type, function(server, request)
            return server.packet(number, request.id, body .. "x")
         end, call, "protocol", "malformed")
      end
   end)

   it("counts what it holds", function()
      for _, count in ipairs{ 0xffffffff, 0x80000000, 70000, 2 } do
         assert_ends("READDIR", function(server, request)
            return server.packet(104, request.id, string.pack(">I4s4s4", count, "a", "a") .. server.packed("file"))
         end, function(sftp)
            return sftp:remove_tree("/d")
         end, "protocol", "malformed")
      end
      for _, count in ipairs{ 0xffffffff, 0x20000000, 1 } do
         assert_ends("STAT", function(server, request)
            return server.attributes(request.id, string.pack(">I4I4", 0x80000000, count))
         end, stat, "protocol", "malformed")
      end
      assert_ends("STAT", function(server, request)
         return server.attributes(request.id, string.pack(">I4", 0x10))
      end, stat, "protocol", "malformed")
   end)

   it("with other than one name is no path", function()
      for _, names in ipairs{ {}, { "/a", "/b" } } do
         for _, call in ipairs{ "realpath", "readlink" } do
            local result, err, peer = answered(call:upper(), function(server, request)
               return server.names(request.id, names)
            end, function(sftp)
               return sftp[call](sftp, "/f")
            end)
            assert.is_nil(result)
            assert.equal("protocol", err.code)
            assert.equal("/f", err.path)
            assert.equal("file", peer.sftp:stat("/f").type)
            peer.session:close()
         end
      end
   end)

   it("may have a status that nobody knows, and text of any kind", function()
      local _, err, peer = answered("STAT", function(server, request)
         return server.status(request.id, 4711, "\27[31mred\0" .. ("x"):rep(10000))
      end, stat)
      assert.same({ "sftp", "unknown", 4711, "/f" }, { err.code, err.status, err.number, err.path })
      assert.is_nil(err.message:find("[\0-\31]"))
      assert.is_true(#err.message < 1000)
      assert.equal("\27[31mred\0", err.text:sub(1, 9))
      assert.equal("file", peer.sftp:lstat("/f").type)
      peer.session:close()
      _, err, peer = answered("STAT", function(server, request)
         return server.packet(101, request.id, string.pack(">I4", 3)) -- as servers of older versions answer
      end, stat)
      assert.equal("permission_denied", err.status)
      peer.session:close()
   end)

   it("has a length that a packet may have", function()
      for _, length in ipairs{ 0, 4, 262145, 0x7fffffff, 0xffffffff } do
         local peer <close> = SftpPeer.new{ on = { STAT = function(server)
            server:raw(string.pack(">I4BI4", length, 105, 0))
            return {}
         end } }
         local found, err = peer.sftp:stat("/f")
         assert.is_nil(found)
         assert.truthy(err.message:find("a packet of", 1, true))
         assert_goes_on(peer)
      end
   end)

   it("does not come when the channel or the connection ends: that is an error, too", function()
      for _, name in ipairs{ "CHANNEL_EOF", "CHANNEL_CLOSE" } do
         local peer <close> = SftpPeer.new{ on = { STAT = function(server)
            server.channel.closed = true
            server.link.peer:message(name, "u", server.channel.remote)
            if name == "CHANNEL_EOF" then
               server.link.peer:message("CHANNEL_CLOSE", "u", server.channel.remote)
            end
            return {}
         end } }
         local found, err = peer.sftp:stat("/f")
         assert.is_nil(found)
         assert.equal("eof", err.code)
         assert_goes_on(peer)
      end
      local peer <close> = SftpPeer.new{ on = { STAT = function(server)
         server.link.ended = true
         return {}
      end } }
      local found, err = peer.sftp:stat("/f")
      assert.is_nil(found)
      assert.equal("eof", err.code)
   end)
end)

describe("the server's first words", function()
   local function refused(version, code, text)
      local peer <close> = SftpPeer.new{ version = version }
      assert.is_nil(peer.sftp)
      assert.equal(code, peer.err.code)
      assert.truthy(peer.err.message:find(text, 1, true), peer.err.message)
      assert_goes_on(peer)
   end

   it("are VERSION, of version 3 or later", function()
      refused(SftpPeer.status(0, 0), "protocol", "not SFTP")
      refused(string.pack(">BI4", 2, 2), "unsupported", "version 2")
      refused(string.pack(">BI4I4", 2, 3, 1), "protocol", "malformed VERSION")
      refused(string.pack(">BI4s4", 2, 3, "name"), "protocol", "malformed VERSION")
      local peer <close> = SftpPeer.new{ version = string.pack(">BI4s4s4", 2, 6, "a", "b") }
      assert.equal(3, peer.sftp.version)
      assert.same({ a = "b" }, peer.sftp.extensions)
   end)

   it("are shown when they are a login script's", function()
      local peer <close> = SftpPeer.new{ greeting = "Welcome to \27[1mmoon!\n" .. ("."):rep(1000) }
      assert.is_nil(peer.sftp)
      assert.truthy(peer.err.message:find("Welcome to \\x1b[1mmoon!", 1, true), peer.err.message)
   end)
end)

describe("S4: replies that nobody asked for", function()
   it("end the channel at the first", function()
      local peer <close> = SftpPeer.new{ on = { STAT = function(server)
         for id = 1000, 3000 do
            server:send(server.status(id, 0))
         end
         return {}
      end } }
      local found, err = peer.sftp:stat("/f")
      assert.is_nil(found)
      assert.truthy(err.message:find("request 1000,", 1, true))
      assert_goes_on(peer)
      local used = peer.session._core:memory()
      assert.is_true(used < 4 * 1024 * 1024)
   end)
end)

describe("S5 and S6: data", function()
   local folder

   before_each(function()
      folder = tmp.dir()
   end)

   after_each(function()
      folder:remove()
   end)

   -- A get of a file whose reads are answered like this: fails, and leaves nothing under the final name.
   local function get_fails(f, code, text, more)
      local result, err, peer = answered("READ", f, function(sftp)
         return sftp:get("/f", folder:path("f"), more)
      end)
      assert.is_nil(result)
      assert.equal(code, err.code)
      assert.truthy(err.message:find(text, 1, true), err.message)
      assert.equal("/f", err.path)
      assert.is_nil(folder:read("f"))
      assert_goes_on(peer)
      peer.session:close()
      return err
   end

   it("that are empty are an error the first time", function()
      local n = 0
      get_fails(function(server, request)
         n = n + 1
         return server.data(request.id, "")
      end, "protocol", "0 bytes of data")
      assert.equal(1, n)
      local result, err = answered("READ", function(server, request)
         return server.data(request.id, "")
      end, function(sftp)
         return sftp:read_file("/f")
      end)
      assert.is_nil(result)
      assert.equal("protocol", err.code)
   end)

   it("that are more than was asked for are an error", function()
      get_fails(function(server, request)
         local _, len = string.unpack(">I8I4", request.rest)
         return server.data(request.id, ("x"):rep(len + 1))
      end, "protocol", "that were asked for")
      local result, err = answered("READ", function(server, request)
         local _, len = string.unpack(">I8I4", request.rest)
         return server.data(request.id, ("x"):rep(len + 1))
      end, function(sftp)
         return sftp:read_file("/f")
      end)
      assert.is_nil(result)
      assert.equal("protocol", err.code)
   end)

   it("whose length is not that of their packet are an error", function()
      for _, more in ipairs{ -1, 1, 0x7fffff00 } do
         get_fails(function(server, request)
            return server.packet(103, request.id, string.pack(">I4", 100 + more) .. ("x"):rep(100))
         end, "protocol", "bytes of data in a packet for 100")
      end
      get_fails(function(server, request)
         return server.packet(103, request.id, "\0\0")
      end, "protocol", "malformed DATA")
   end)

   it("that come in small pieces come all", function()
      local n = 0
      local result, _, peer = answered("READ", function(server, request)
         n = n + 1
         local offset, len = string.unpack(">I8I4", request.rest)
         local piece = TEXT:sub(offset + 1, offset + math.min(len, 1000))
         return piece ~= "" and server.data(request.id, piece) or nil
      end, function(sftp)
         return sftp:get("/f", folder:path("f"))
      end)
      assert.equal(#TEXT, result.bytes)
      assert.equal(TEXT, folder:read("f"))
      assert.is_true(n >= 32)
      assert.equal(TEXT, peer.sftp:read_file("/f"))
      peer.session:close()
   end)

   it("that end before the size that was told are no whole file", function()
      local err = get_fails(function(server, request)
         local offset = string.unpack(">I8I4", request.rest)
         return offset >= 1000 and server.status(request.id, 1) or server.data(request.id, TEXT:sub(offset + 1, 1000))
      end, "sftp", "ended at byte 1000 of 32000")
      assert.same({ "eof", 1000 }, { err.status, err.offset })
      assert.equal(TEXT:sub(1, 1000), folder:read("f.part"))
   end)

   it("may be more than the size that was told: the file has grown", function()
      for _, told in ipairs{ 0, 1, 1000, #TEXT - 1 } do
         local result, err, peer = answered("STAT", function(server, request)
            return server.attributes(request.id, server.packed("file", told))
         end, function(sftp)
            return sftp:get("/f", folder:path("f"))
         end)
         assert.is_nil(err)
         assert.equal(#TEXT, result.bytes)
         assert.equal(TEXT, folder:read("f"))
         peer.session:close()
      end
   end)

   it("may be said to be more than an integer counts: the size is the largest one then", function()
      for _, told in ipairs{ math.maxinteger, math.mininteger, -1 } do -- the latter two are 2^63 and 2^64-1
         local on = {}
         for _, name in ipairs{ "STAT", "FSTAT" } do
            on[name] = function(server, request)
               return server.attributes(request.id, server.packed("file", told))
            end
         end
         local entries = { { "f", SftpPeer.packed("file", told) } }
         local peer <close> = SftpPeer.new{ files = { ["/f"] = TEXT, ["/t/f"] = TEXT }, folders = { ["/t"] = entries },
            on = on }
         assert.equal(math.maxinteger, assert(peer.sftp:stat("/f")).size)
         local result, err = peer.sftp:get("/f", folder:path("f"))
         assert.is_nil(result)
         assert.same({ "sftp", "eof", #TEXT }, { err.code, err.status, err.offset })
         on.STAT = nil
         result, err = peer.sftp:get("/t", folder:path("t"), { recursive = true })
         assert.is_nil(result)
         assert.same({ "sftp", "/t/f" }, { err.code, err.path })
         assert.is_nil(folder:read("f"))
         assert.is_nil(folder:read("t/f"))
         local file = assert(peer.sftp:open("/f"))
         assert.equal(math.maxinteger, file:seek("end"))
         assert.equal("io", select(2, file:seek("end", 1)).code)
         assert_goes_on(peer)
      end
   end)

   it("may come to an end earlier, where the file was cut while it was read", function()
      local peer <close> = SftpPeer.new{ files = { ["/f"] = TEXT }, on = { READ = function(server)
         server.files["/f"] = TEXT:sub(1, 500)
      end } }
      assert.equal(500, assert(peer.sftp:get("/f", folder:path("f"))).bytes)
      assert.equal(TEXT:sub(1, 500), folder:read("f"))
   end)

   it("may come to an end before several of the blocks that were asked for", function()
      local data, step = TEXT:rep(4), 32768
      local peer <close> = SftpPeer.new{ files = { ["/f"] = data }, on = { READ = function(server)
         server.files["/f"] = data:sub(1, step)
      end } }
      assert.equal(step, assert(peer.sftp:get("/f", folder:path("f"))).bytes)
      assert.is_true(folder:read("f") == data:sub(1, step))
   end)

   it("behind what is said to be the end are an error: the file has changed", function()
      local step = 32768
      local peer <close> = SftpPeer.new{ files = { ["/f"] = TEXT:rep(4) }, on = { READ = function(server, request)
         return string.unpack(">I8", request.rest) == step and server.status(request.id, 1) or nil
      end } }
      local result, err = peer.sftp:get("/f", folder:path("f"))
      assert.is_nil(result)
      assert.same({ "sftp", "failure", step }, { err.code, err.status, err.offset })
      assert.truthy(err.message:find("changed at byte 32768", 1, true))
      assert.is_nil(folder:read("f"))
      assert.is_true(folder:read("f.part") == TEXT:rep(4):sub(1, step))
   end)

   it("of a read that fails in the middle leave what came before, and say where", function()
      local err = get_fails(function(server, request)
         local offset = string.unpack(">I8I4", request.rest)
         return offset == 0 and server.data(request.id, TEXT:sub(1, 700)) or server.status(request.id, 4, "disk error")
      end, "sftp", "disk error (at byte 700)")
      assert.same({ "failure", 700 }, { err.status, err.offset })
      assert.equal(TEXT:sub(1, 700), folder:read("f.part"))
      local peer <close> = SftpPeer.new{ files = { ["/f"] = TEXT } }
      assert.equal(#TEXT - 700, assert(peer.sftp:get("/f", folder:path("f"), { resume = true })).bytes)
      assert.equal(TEXT, folder:read("f"))
   end)

   it("behind a gap are no part of what is left", function()
      local data = TEXT:rep(4)
      local step = 32768
      local peer <close> = SftpPeer.new{ files = { ["/f"] = data }, on = { READ = function(server, request)
         local offset = string.unpack(">I8I4", request.rest)
         return offset == step and {} or offset == 3 * step and server.status(request.id, 4, "disk error") or nil
      end } }
      local result, err = peer.sftp:get("/f", folder:path("f"))
      assert.is_nil(result)
      assert.same({ "sftp", "failure", 3 * step }, { err.code, err.status, err.offset })
      assert.is_true(folder:read("f.part") == data:sub(1, step))
      peer.on.READ = nil
      assert.equal(#data - step, assert(peer.sftp:get("/f", folder:path("f"), { resume = true })).bytes)
      assert.is_true(folder:read("f") == data)
   end)

   it("of a write that fails leave nothing under the final name, and say where", function()
      local peer <close> = SftpPeer.new{ on = { WRITE = function(server, request)
         local offset = string.unpack(">I8", request.rest)
         return offset > 0 and server.status(request.id, 4, "disk full") or nil
      end } }
      local path = folder:write("f", TEXT:rep(4))
      local result, err = peer.sftp:put(path, "/g")
      assert.is_nil(result)
      assert.same({ "sftp", "failure", "/g", 32768 }, { err.code, err.status, err.path, err.offset })
      assert.truthy(err.message:find("disk full (at byte 32768)", 1, true))
      assert.is_nil(peer.files["/g"])
      assert.equal("sftp", select(2, peer.sftp:write_file("/h", TEXT:rep(4))).code)
      assert_goes_on(peer)
      assert.is_nil(next(peer.handles))
   end)

   it("of a put to a device go to the device, which stays one", function()
      for _, mode in ipairs{ 0x21b6, 0x61b6, 0x11b6, 0xc1b6 } do
         local peer <close> = SftpPeer.new{ files = { ["/null"] = "", ["/null.part"] = "old" },
            on = { STAT = function(server, request)
               return request.path == "/null" and server.attributes(request.id, string.pack(">I4I4", 4, mode)) or nil
            end } }
         assert(peer.sftp:put(folder:write("f", TEXT), "/null"))
         assert.same({ ["/null"] = TEXT }, peer.files)
         assert.same({}, peer:asked("RENAME"))
         assert.is_nil(next(peer.handles))
      end
   end)

   it("of a put whose part is gone do not cost the file that was there", function()
      local peer <close> = SftpPeer.new{ files = { ["/g"] = "old" }, on = { RENAME = function(server, request)
         return server.status(request.id, 2, "No such file")
      end } }
      local result, err = peer.sftp:put(folder:write("f", TEXT), "/g")
      assert.is_nil(result)
      assert.same({ "sftp", "no_such_file", "/g" }, { err.code, err.status, err.path })
      assert.equal("old", peer.files["/g"])
   end)

   it("are not asked for without end, however much a read wants, nor for one file at the cost of others", function()
      local N = 70
      local held, files, n_files, answering = {}, {}, 0, false
      local peer <close> = SftpPeer.new{ files = { ["/f"] = TEXT }, on = { READ = function(server, request)
         if answering then
            return server.status(request.id, 1)
         end
         table.insert(held, request.id)
         n_files = n_files + (files[request.handle] and 0 or 1)
         files[request.handle] = true
         if n_files < N then
            return {}
         end
         answering = true
         local answers = {}
         for i, id in ipairs(held) do
            answers[i] = server.status(id, 1)
         end
         return answers
      end } }
      local tasks = {}
      for i = 1, N do
         tasks[i] = ssh.spawn(function()
            local file <close> = assert(peer.sftp:open("/f"))
            return file:read(1 << 40)
         end)
      end
      for i = N, 1, -1 do
         local data, err = tasks[i]:wait(60)
         assert.is_nil(err)
         assert.is_nil(data)
      end
      assert_goes_on(peer)
   end)

   it("of a file with a handle that is too long are not asked for", function()
      local result, err = answered("OPEN", function(server, request)
         return server.handle(request.id, ("h"):rep(257))
      end, function(sftp)
         return sftp:get("/f", folder:path("f"))
      end)
      assert.is_nil(result)
      assert.equal("protocol", err.code)
   end)
end)
