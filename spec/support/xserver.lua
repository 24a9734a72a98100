-- An X server without a screen (Xvfb), behind a cookie, on a number that was free.
--
--    local display <close> = xserver.start()            options: arguments of Xvfb
--    display.name ":7"; display.number 7; display.xauthority, the file with its cookie; display.cookie in hexadecimal
--    display:client{ "xdpyinfo" }      runs a client on it here: result as of process.run
--    xserver.missing()                 why there can be none, or nil

local process = require "spec.support.process"
local tmp = require "spec.support.tmp"

local xserver = {}

local START_TIMEOUT = 60

local Display = {}
Display.__index = Display

function xserver.missing()
   for _, program in ipairs{ "Xvfb", "xauth", "xdpyinfo", "xclock" } do
      if not process.find(program) then
         return program .. " is not installed"
      end
   end
end

-- Puts the cookie into a file, for a display of this number.
local function add_cookie(path, number, cookie)
   process.check{ "xauth", "-q", "-f", path, "add", ":" .. number, "MIT-MAGIC-COOKIE-1", cookie }
end

function xserver.start(...)
   local folder = tmp.dir()
   local self = setmetatable({ folder = folder, cookie = ("%016x%016x"):format(math.random(0), math.random(0)) },
      Display)
   -- The server takes the cookies of its file whatever the number, and tells the number that it has found. Without
   -- -noreset it would start anew when its last client has gone, and lose who comes just then.
   local known = folder:write("server", "", "600")
   add_cookie(known, 0, self.cookie)
   self.process = assert(process.start{ stdout = "pipe", stderr = folder:path("log"), process.find("Xvfb"),
      "-displayfd", "1", "-auth", known, "-screen", "0", "320x200x8", "-nolisten", "tcp", "-noreset", ... })
   local said = ""
   process.wait_until(function()
      local data = self.process:read("stdout", 1)
      if data == "" then
         error("Xvfb does not start:\n" .. folder:read("log"))
      end
      said = said .. (data or "")
      return said:find("\n", 1, true)
   end, START_TIMEOUT, "the number of Xvfb's display")
   self.number = math.tointeger(tonumber(said))
   self.name = ":" .. self.number
   self.xauthority = folder:write("Xauthority", "", "600")
   add_cookie(self.xauthority, self.number, self.cookie)
   return self
end

function Display:client(command)
   command.env = { DISPLAY = self.name, XAUTHORITY = self.xauthority }
   return process.run(command)
end

function Display:stop()
   if self.process then
      self.process:close()
      self.process = nil
      self.folder:remove()
   end
end

Display.__gc = Display.stop
Display.__close = Display.stop

return xserver
