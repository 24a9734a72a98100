-- A folder of its own for a spec, removed when it is closed, collected, or the Lua state ends.
--
--    local folder <close> = tmp.dir()
--    local path = folder:write("config", "Port 22\n", "600")     -- the path of the new file
--    folder:read("config")  folder:path("config")  folder:mkdir("sub")  folder:remove()

local testing = require "moonssh_testing".process

local tmp = {}
local Folder = {}
Folder.__index = Folder

local function quote(text)
   return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- `parent`: where it is to be, instead of in TMPDIR or /tmp.
function tmp.dir(parent)
   local template = (parent or os.getenv("TMPDIR") or "/tmp") .. "/moonssh-XXXXXX"
   return setmetatable({ root = assert(testing.mkdtemp(template)) }, Folder)
end

-- The path of a name in the folder, or of the folder itself.
function Folder:path(name)
   return name and self.root .. "/" .. name or self.root
end

-- Writes a file, with permissions in octal if they are given, and returns its path.
function Folder:write(name, text, permissions)
   local path = self:path(name)
   local file <close> = assert(io.open(path, "wb"))
   assert(file:write(text))
   if permissions then
      assert(os.execute(("chmod %s %s"):format(permissions, quote(path))))
   end
   return path
end

-- What a file holds; nil and a message where there is none.
function Folder:read(name)
   local file <close>, message = io.open(self:path(name), "rb")
   if not file then
      return nil, message
   end
   return file:read("a")
end

function Folder:mkdir(name)
   local path = self:path(name)
   assert(os.execute("mkdir -p -m 700 " .. quote(path)))
   return path
end

function Folder:remove()
   if self.root then
      os.execute("chmod -R u+rwX " .. quote(self.root) .. " && rm -rf " .. quote(self.root))
      self.root = nil
   end
end

Folder.__gc = Folder.remove
Folder.__close = Folder.remove

return tmp
