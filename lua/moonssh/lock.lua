--- Locks of files that several processes change.

local core = require "moonssh.core"
local errors = require "moonssh.errors"
local loop = require "moonssh.loop"

-- Seconds to wait for somebody who has the lock, and between looks.
local PATIENCE = 10
local LOOK_AGAIN = 0.005

local lock = {}

--- The lock of a file, waited for. With `create` a missing file is made.
---@param path string
---@param create boolean
---@param patience? number seconds to wait for somebody who has it, default 10
---@return table|nil
---@return moonssh.error? err
function lock.acquire(path, create, patience)
   local deadline
   while true do
      local held, code, message, errno = core.file.lock(path)
      if not held and errno == core.file.ENOENT and create then
         create = false
         local made
         made, code, message, errno = core.file.append(path, "")
         code = made and "again" or code
      end
      if held then
         return held
      elseif code ~= "again" then
         return nil, errors.new(code, ("cannot write %s: %s"):format(path, message), { path = path, errno = errno })
      end
      deadline = deadline or loop.now() + (patience or PATIENCE)
      if loop.now() >= deadline then
         return nil, errors.new("io", ("cannot write %s: another process keeps it locked"):format(path),
            { path = path })
      end
      loop.sleep(LOOK_AGAIN)
   end
end

return lock
