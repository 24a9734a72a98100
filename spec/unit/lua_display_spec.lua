-- What DISPLAY names, and the Xauthority file.

local core = require "moonssh.core"
local display = require "moonssh.display"
local socket = require "moonssh_testing".socket
local tmp = require "spec.support.tmp"

local COOKIE = "0123456789abcdef"
local LOCAL, INTERNET, INTERNET6, WILD = 256, 0, 6, 65535

describe("the name of a display", function()
   local cases = {
      [":0"] = { number = 0, screen = 0 },
      [":12.3"] = { number = 12, screen = 3 },
      ["unix:1"] = { number = 1, screen = 0 },
      ["host/unix:1"] = { number = 1, screen = 0 },
      ["localhost:10.0"] = { host = "localhost", number = 10, screen = 0 },
      ["far.example:2"] = { host = "far.example", number = 2, screen = 0 },
      ["192.0.2.1:2.1"] = { host = "192.0.2.1", number = 2, screen = 1 },
      ["[::1]:3"] = { host = "::1", number = 3, screen = 0 },
      ["::1:3"] = { host = "::1", number = 3, screen = 0 },
      ["host:59535"] = { host = "host", number = 59535, screen = 0 },
      [":0."] = { number = 0, screen = 0 },
      ["/tmp/launch/org.xquartz:0"] = { path = "/tmp/launch/org.xquartz:0", number = 0, screen = 0 },
   }

   it("is taken apart", function()
      for text, expected in pairs(cases) do
         assert.same(expected, display.parse(text), text)
      end
   end)

   it("must be one", function()
      for _, text in ipairs{ "", "0", ":", ":x", "host", "host:", "host::0", ":0.x", ":-1", ":123456", "host:59536",
         ":0\0", "a b:0", "a\nb:0", ":0.123456" } do
         assert.is_nil(display.parse(text), text)
      end
   end)
end)

describe("the cookie of a display", function()
   local folder, path

   before_each(function()
      folder = tmp.dir()
      path = folder:path("Xauthority")
   end)

   after_each(function()
      folder:remove()
   end)

   local function entry(family, address, number, data, name)
      return string.pack(">I2s2s2s2s2", family, address, number, name or "MIT-MAGIC-COOKIE-1", data or COOKIE)
   end

   local function cookie(name, ...)
      folder:write("Xauthority", table.concat{ ... })
      return display.cookie(assert(display.parse(name)), path)
   end

   local here = core.file.hostname()

   it("is that of this host and number", function()
      local other = entry(LOCAL, here, "2", ("x"):rep(16))
      assert.equal(COOKIE, cookie(":1", other, entry(LOCAL, here, "1")))
      assert.equal(COOKIE, cookie("unix:1.2", other, entry(LOCAL, here, "1")))
      assert.equal(COOKIE, cookie("localhost:1", other, entry(LOCAL, here, "1")))
      assert.equal(COOKIE, cookie("127.0.0.1:1", other, entry(LOCAL, here, "1")))
      assert.is_nil(cookie(":3", other, entry(LOCAL, here, "1")))
      assert.is_nil(cookie(":1", entry(LOCAL, here .. "x", "1")))
      assert.is_nil(cookie(":1", entry(INTERNET, "\127\0\0\1", "1")))
   end)

   it("is that of another host's address", function()
      assert.equal(COOKIE, cookie("192.0.2.7:1", entry(LOCAL, here, "1", ("x"):rep(16)),
         entry(INTERNET, "\192\0\2\7", "1")))
      assert.equal(COOKIE, cookie("[2001:db8::7]:1", entry(INTERNET6, "\x20\1\x0d\xb8" .. ("\0"):rep(11) .. "\7", "1")))
      assert.is_nil(cookie("192.0.2.8:1", entry(INTERNET, "\192\0\2\7", "1")))
   end)

   it("may be that of all hosts, or all numbers", function()
      assert.equal(COOKIE, cookie(":1", entry(WILD, "", "1")))
      assert.equal(COOKIE, cookie(":1", entry(WILD, "whatever", "")))
      assert.equal(COOKIE, cookie(":1", entry(LOCAL, here, "")))
   end)

   it("is the first one that fits, of the kind that is known", function()
      assert.equal(COOKIE, cookie(":1", entry(LOCAL, here, "1", ("x"):rep(8), "XDM-AUTHORIZATION-1"),
         entry(LOCAL, here, "1"), entry(LOCAL, here, "1", ("y"):rep(16))))
   end)

   it("is not there where the file is not, or is something else, or is cut short anywhere", function()
      assert.is_nil(display.cookie(display.parse(":1"), folder:path("nowhere")))
      assert.is_nil(display.cookie(display.parse(":1"), folder:path()))
      local first, second = entry(LOCAL, here, "2"), entry(LOCAL, here, "1")
      for n = 0, #first + #second - 1 do
         assert.is_nil(cookie(":1", (first .. second):sub(1, n)))
      end
      assert.is_nil(cookie(":1", ("\xff"):rep(5000)))
   end)
end)

describe("connecting to a display", function()
   it("goes to a port of 6000 and the number", function()
      local number, fd
      for candidate = 200, 5000 do
         fd = socket.listen("127.0.0.1", 6000 + candidate)
         if fd then
            number = candidate
            break
         end
      end
      local mine = assert(display.connect(display.parse("127.0.0.1:" .. number)))
      core.socket.close(mine)
      socket.close(fd)
      local none, err = display.connect(display.parse("127.0.0.1:" .. number), core.now() + 60)
      assert.is_nil(none)
      assert.equal("refused", err.code)
   end)

   it("tells which socket is not there", function()
      local fd, err = display.connect(display.parse(":54321"))
      assert.is_nil(fd)
      assert.same({ "io", "/tmp/.X11-unix/X54321" }, { err.code, err.path })
      assert.matches("^cannot connect to the display: /tmp/.X11%-unix/X54321: ", err.message)
   end)
end)
