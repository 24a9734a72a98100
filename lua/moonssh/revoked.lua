--- Files of host keys that are not to be trusted, whatever else says so: the option `revoked_host_keys`. Each is a key
--- revocation list, or a text with a public key a line.

local core = require "moonssh.core"
local errors = require "moonssh.errors"
local krl = require "moonssh.krl"
local paths = require "moonssh.paths"

local MAX_FILE = 16 * 1024 * 1024

local revoked = {}

local function unreadable(path, reason, fields)
   fields.path = path
   return errors.new("io", ("cannot read the revoked keys in %s: %s"):format(path, reason), fields)
end

-- Whether a text names the key, or the authority of its certificate. A line that is no key is a mistake: it may have
-- been meant to be this one. Keys of kinds that are not known here cannot be it.
local function in_text(text, core_key)
   local wanted = { [core_key:plain_blob()] = true }
   local authority = select(9, core_key:certificate())
   if authority then
      wanted[authority] = true
   end
   local number = 0
   for line in (text .. "\n"):gmatch("([^\n]*)\n") do
      number = number + 1
      line = line:match("^%s*(.*)$")
      if line ~= "" and line:sub(1, 1) ~= "#" then
         local type, encoded = line:match("^(%S+)%s+(%S+)")
         local blob = encoded and core.base64_decode(encoded)
         local ok, name = pcall(string.unpack, ">s4", blob or "")
         if not ok or name ~= type then
            return nil, ("line %d is no public key"):format(number), number
         elseif wanted[blob] then
            return true
         end
      end
   end
   return false
end

--- Whether one of the files revokes a key. A file that is not there, cannot be read, or is out of form is an error: it
--- may be the one that would.
---@param option string|string[]
---@param core_key moonssh.core.key
---@return string|false|nil path of the file
---@return table? err
function revoked.find(option, core_key)
   for _, path in ipairs(type(option) == "table" and option or { option }) do
      path = paths.expand(path)
      local text, _, message, errno = core.file.read(path, MAX_FILE)
      if not text then
         return nil, unreadable(path, message, { errno = errno })
      end
      local found, reason, line
      if krl.is(text) then
         local list
         list, reason = krl.parse(text)
         found = list and list:revokes(core_key)
      else
         found, reason, line = in_text(text, core_key)
      end
      if found == nil then
         return nil, unreadable(path, reason, { line = line })
      elseif found then
         return path
      end
   end
   return false
end

return revoked
