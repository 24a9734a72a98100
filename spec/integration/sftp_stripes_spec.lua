-- A large file over several channels at once. Whether that is worth it is decided by the path, which here is short: so
-- the specs decide.

local dial = require "spec.support.dial"
local process = require "spec.support.process"
local server = require "spec.support.server"
local stripes = require "moonssh.sftp.stripes"
local tmp = require "spec.support.tmp"

local SIZE = 24 * 1024 * 1024 + 4321

describe("a put over several channels", function()
   local folder, is_narrow, data

   setup(function()
      folder = tmp.dir()
      local parts = {}
      for i = 1, SIZE // 4096 + 1 do
         parts[i] = string.pack("<I8", i * 0x9e3779b97f4a7c15):rep(512)
      end
      data = table.concat(parts):sub(1, SIZE)
      folder:write("f", data)
      is_narrow = stripes.is_narrow
      function stripes.is_narrow()
         return true
      end
   end)

   teardown(function()
      stripes.is_narrow = is_narrow
      folder:remove()
   end)

   local function put(config, options)
      local sshd <close> = server.sshd{ config = config }
      local session <close> = assert(dial(sshd))
      local sftp = assert(session:sftp(options))
      for _ = 1, 2 do
         assert.equal(SIZE, assert(sftp:put(folder:path("f"), folder:path("g"))).bytes)
         assert.is_true(folder:read("g") == data)
         assert.is_nil(folder:read("g.part"))
      end
      local working = 0
      for _, link in ipairs(sftp._stripes) do
         working = working + (link.failure == nil and 1 or 0)
      end
      sftp:close()
      assert.is_true(session:ping(60) > 0)
      return working
   end

   it("is the same file", function()
      assert.equal(7, put())
   end)

   it("is marked as long as there may be gaps, which resuming fills", function()
      -- With one channel after all, so that no more than its window goes between two steps of progress.
      local sshd <close> = server.sshd{ config = "MaxSessions 1" }
      local session <close> = assert(dial(sshd))
      local sftp = assert(session:sftp())
      local path = folder:path("h")
      local function is_marked(name)
         local mode = process.check{ "stat", "-c", "%a", folder:path(name) }
         return tonumber(mode, 8) & 512 ~= 0
      end
      local ok, err = pcall(sftp.put, sftp, folder:path("f"), path, { progress = function()
         if is_marked("h.part") then
            error("enough")
         end
      end })
      assert.is_false(ok)
      assert.matches("enough", tostring(err))
      assert.is_true(is_marked("h.part"))
      -- A gap, and all that is behind it: only what is sent anew can fill it.
      folder:write("h.part", data:sub(1, 5000000) .. ("\0"):rep(300000) .. data:sub(5300001, 20000000))
      process.check{ "chmod", "1644", path .. ".part" }
      assert.equal(SIZE, assert(sftp:put(folder:path("f"), path, { resume = true })).bytes)
      assert.is_true(folder:read("h") == data)
      assert.is_false(is_marked("h"))
      folder:write("h.part", data:sub(1, 10000000))
      assert.equal(SIZE - 10000000 + 2 * 1024 * 1024, assert(sftp:put(folder:path("f"), path, { resume = true })).bytes)
      assert.is_true(folder:read("h") == data)
      assert.is_false(is_marked("h"))
   end)

   it("uses as many as the server allows; one that is refused is no error", function()
      assert.is_true(put("MaxSessions 3") <= 2)
      assert.equal(0, put("MaxSessions 1"))
   end)

   it("tells why it was cut off where one of them is lost with what was on its way", function()
      local sshd <close> = server.sshd()
      local session <close> = assert(dial(sshd))
      local sftp = assert(session:sftp())
      -- To the process that serves the channel opened last.
      local function signal(name)
         process.check{ "sh", "-c", ([[
            p=%d
            while set -- $(cat /proc/$p/task/*/children) && [ $# -gt 0 ]; do shift $(($# - 1)); p=$1; done
            kill -%s $p
         ]]):format(sshd.process:pid(), name) }
      end
      local stopped, killed
      local done, err = sftp:put(folder:path("f"), folder:path("g"), { progress = function(n)
         local last = sftp._stripes[7]
         if last and last.done and not stopped and n < SIZE // 2 then
            signal("STOP")
            stopped = n
         elseif stopped and n >= stopped + 4 * 1024 * 1024 and not killed then
            signal("KILL")
            killed = true
         end
      end })
      if not done then -- there may have been nothing on that one
         assert.same({ "eof", folder:path("f") }, { err.code, err.path })
         assert.matches("the server has ended the SFTP channel %(at byte %d+%)", err.message)
      end
      sftp:close()
      assert.is_true(session:ping(60) > 0)
   end)

   it("uses as many as it may", function()
      assert.equal(2, put(nil, { channels = 3 }))
      assert.equal(0, put(nil, { channels = 1 }))
   end)
end)

describe("a get", function()
   it("has a window for all that it asks for, within the limits of the session", function()
      local sshd <close> = server.sshd()
      local folder <close> = tmp.dir()
      local data = ("0123456789abcdef"):rep(200000)
      folder:write("f", data)
      for _, limit in ipairs{ 64 * 1024 * 1024, 100000 } do
         local session <close> = assert(dial(sshd, { limits = { window = limit } }))
         local sftp = assert(session:sftp())
         assert(sftp:get(folder:path("f"), folder:path("g")))
         assert.is_true(folder:read("g") == data)
         local _, _, _, _, window = session._core:channel_state(sftp._link.ch)
         local _, _, target = session._core:sftp_path(sftp._link.ch)
         assert.is_true(limit == 100000 and window <= limit or window > target)
      end
   end)
end)
