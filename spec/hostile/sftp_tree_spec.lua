-- Attacks, rows S1 and S2: names, types and modes that a server chooses for files that are written here. Nothing is
-- written outside the folder that was named, and nothing follows a symbolic link in place.

local process = require "spec.support.process"
local SftpPeer = require "spec.support.sftp_peer"
local tmp = require "spec.support.tmp"

local function sh(script)
   return process.check{ "sh", "-c", script }
end

describe("S1: a tree from a server", function()
   local folder

   before_each(function()
      folder = tmp.dir()
      folder:mkdir("inside")
      folder:write("outside", "mine")
   end)

   after_each(function()
      folder:remove()
   end)

   -- All that is in the folder, and what the file outside holds.
   local function everything()
      return sh("cd " .. folder.root .. " && find . | sort && cat outside")
   end

   local function get(entries, more)
      local options = { folders = { ["/t"] = entries }, on = { LSTAT = function() end } }
      for name, value in pairs(more or {}) do
         options[name] = value
      end
      local peer <close> = SftpPeer.new(options)
      local result, err = peer.sftp:get("/t", folder:path("inside"), { recursive = true })
      assert.is_nil(peer.session.failure)
      return result, err
   end

   it("with names that lead out of it is refused, and nothing is written", function()
      local before = everything()
      for _, name in ipairs{ "../outside", "..\0", "a/b", "/etc/passwd", "", "a/../../outside", "a\0b", "/" } do
         for _, type in ipairs{ "file", "directory", "symlink" } do
            local result, err = get({ { name, SftpPeer.packed(type, 4) } }, { files = { ["/t/" .. name] = "evil" } })
            assert.is_nil(result)
            assert.equal("protocol", err.code)
            assert.truthy(err.message:find("no name of a file", 1, true))
            assert.is_nil(err.message:find("%c"))
            assert.equal(before, everything())
         end
      end
   end)

   it("may name itself and what is above: that is left out", function()
      local result = get({ { ".", SftpPeer.packed("directory") }, { "..", SftpPeer.packed("directory") }, "a" },
         { files = { ["/t/a"] = "text" } })
      assert.equal(1, result.files)
      assert.equal("text", folder:read("inside/a"))
   end)

   it("with a link out of it and a folder of the same name writes nothing through the link", function()
      local on = { READLINK = function(server, request)
         return server.names(request.id, { ".." })
      end }
      local orders = {
         { { "a", SftpPeer.packed("symlink") }, { "a", SftpPeer.packed("directory") } },
         { { "a", SftpPeer.packed("directory") }, { "a", SftpPeer.packed("symlink") } },
      }
      for _, entries in ipairs(orders) do
         get(entries, { on = on, files = { ["/t/a/outside"] = "evil" },
            folders = { ["/t"] = entries, ["/t/a"] = { { "outside", SftpPeer.packed("file", 4) } } } })
         assert.equal("mine", folder:read("outside"))
         sh("rm -rf " .. folder:path("inside/a"))
      end
   end)

   it("with a link and a file of the same name writes nothing through the link", function()
      local on = { READLINK = function(server, request)
         return server.names(request.id, { "../outside" })
      end }
      for _, names in ipairs{ { "symlink", "file" }, { "file", "symlink" } } do
         get({ { "a", SftpPeer.packed(names[1], 4) }, { "a", SftpPeer.packed(names[2], 4) } },
            { on = on, files = { ["/t/a"] = "evil" } })
         assert.equal("mine", folder:read("outside"))
      end
   end)

   it("with links that have no target, or one that none can have, is an error, and the rest comes", function()
      for _, names in ipairs{ { "a\0b" }, { "a", "b" }, {} } do
         local result, err = get({ { "l", SftpPeer.packed("symlink") }, { "f", SftpPeer.packed("file", 4) } },
            { files = { ["/t/f"] = "text" }, on = { READLINK = function(server, request)
               return server.names(request.id, names)
            end } })
         assert.is_nil(result)
         assert.same({ "protocol", "/t/l" }, { err.code, err.path })
         assert.equal("f\n", sh("ls " .. folder:path("inside")))
         assert.equal("text", folder:read("inside/f"))
      end
   end)

   it("is not written through links that are in place already", function()
      sh(("cd %s/inside && ln -s .. a && ln -s ../outside b && ln -s ../outside b.part"):format(folder.root))
      local result, err = get({ { "a", SftpPeer.packed("directory") }, { "b", SftpPeer.packed("file", 4) } },
         { folders = { ["/t"] = { { "a", SftpPeer.packed("directory") }, { "b", SftpPeer.packed("file", 4) } },
            ["/t/a"] = { { "outside", SftpPeer.packed("file", 4) } } },
            files = { ["/t/b"] = "evil", ["/t/a/outside"] = "evil" } })
      assert.is_nil(result)
      assert.equal("io", err.code)
      assert.equal("mine", folder:read("outside"))
      assert.equal(2, #err.failures)
   end)

   it("may call a folder a file, or a file a folder: that is an error, and the rest comes", function()
      local result, err = get({ { "a", SftpPeer.packed("file", 3) }, { "b", SftpPeer.packed("directory") }, "c" },
         { folders = { ["/t"] = { { "a", SftpPeer.packed("file", 3) }, { "b", SftpPeer.packed("directory") }, "c" },
            ["/t/a"] = {} }, files = { ["/t/b"] = "text", ["/t/c"] = "text" } })
      assert.is_nil(result)
      assert.equal(2, #err.failures)
      assert.equal("text", folder:read("inside/c"))
      assert.equal("", sh("find " .. folder.root .. " -name '*.part'"))
   end)

   it("with devices, pipes and sockets leaves them out", function()
      local entries = {}
      for i, mode in ipairs{ 0x21b6, 0x61b6, 0x11b6, 0xc1b6 } do
         entries[i] = { "special" .. i, string.pack(">I4I4", 4, mode) }
      end
      local result = get(entries)
      assert.same({ 0, 4 }, { result.files, result.skipped })
      assert.equal("", sh("ls " .. folder:path("inside")))
   end)

   it("that contains itself for ever comes to an end where paths do", function()
      local peer
      local on = { OPENDIR = function(server, request)
         server.folders[request.path] = { { ("d"):rep(200), SftpPeer.packed("directory") } }
      end }
      peer = SftpPeer.new{ folders = { ["/t"] = {} }, on = on }
      local result, err = peer.sftp:get("/t", folder:path("inside"), { recursive = true })
      assert.is_nil(result)
      assert.equal("io", err.code)
      assert.is_true(err.result.folders < 40)
      peer.session:close()
   end)
end)

describe("S2: the mode of a file from a server", function()
   it("never has more than the permission bits, and is masked where times and modes are not asked for", function()
      local folder <close> = tmp.dir()
      for _, preserve in ipairs{ false, true } do
         local peer <close> = SftpPeer.new{ files = { ["/f"] = "text" }, on = { STAT = function(server, request)
            return server.attributes(request.id, string.pack(">I4I8I4", 5, 4, 0x8000 | 4095))
         end } }
         assert(peer.sftp:get("/f", folder:path("f"), { preserve = preserve }))
         local mask = tonumber(sh("umask"), 8)
         assert.equal(preserve and 511 or 511 & ~mask, tonumber(sh("stat -c %a " .. folder:path("f")), 8))
      end
   end)
end)
