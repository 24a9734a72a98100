--- RevokedHostKeys: files of keys that are not to be trusted any more.

local core = require "moonssh.core"
local errors = require "moonssh.errors"
local key = require "moonssh.key"
local paths = require "moonssh.paths"

local MAX_FILE = 16 * 1024 * 1024

local revoked = {}

-- Whether one of the public keys in a text, a line each, is among the blobs. nil, err for a line that is none.
local function is_listed(text, path, blobs)
   local number = 0
   for line in (text .. "\n"):gmatch("([^\n]*)\n") do
      number = number + 1
      if not line:find("^[ \t\r]*$") and not line:find("^[ \t]*#") then
         local one = key.parse(line)
         if not one then
            return nil, errors.new("io", ("%s line %d: no public key"):format(errors.escape(path), number),
               { path = path, line = number })
         elseif blobs[one:blob()] then
            return true
         end
      end
   end
   return false
end

--- Whether a file revokes a key; of a certificate the key itself or its authority, too. A file that cannot be
--- read, or is not understood, is an error: as ssh does, nothing is trusted then.
---@param path string
---@param host_key moonssh.key
---@return boolean|nil
---@return moonssh.error? err
function revoked.check(path, host_key)
   path = paths.expand(path)
   local text, _, message, errno = core.file.read(path, MAX_FILE)
   if not text then
      return nil, errors.new("io", ("cannot read %s: %s"):format(errors.escape(path), message),
         { path = path, errno = errno })
   elseif text:sub(1, 6) == "SSHKRL" then
      return nil, errors.new("unsupported", ("%s is a key revocation list in OpenSSH's binary form")
         :format(errors.escape(path)), { path = path })
   end
   local certificate = host_key:certificate()
   local blobs = { [host_key:blob()] = true }
   if certificate then
      blobs[certificate.public], blobs[certificate.signature_key] = true, true
   end
   return is_listed(text, path, blobs)
end

return revoked
