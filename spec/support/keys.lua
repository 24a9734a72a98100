-- Throw-away keys, made by ssh-keygen.
--
--    keys.path("ed25519")            -- a private key that is made once and shared; its ".pub" stands beside it
--    keys.path("rsa", "host")        -- another one, by a name
--    keys.make(folder, "id", { type = "ecdsa", bits = 384, passphrase = "x", format = "PEM", comment = "c" })
--    keys.public("ed25519")          -- its public line
--
-- Shared keys are kept in build/spec-keys, since making RSA keys takes time; a spec that changes a key file or its
-- permissions makes a key of its own.

local process = require "spec.support.process"
local tmp = require "spec.support.tmp"

local keys = {}
local cache = "build/spec-keys"
local working_folder = process.check{ "pwd" }:gsub("\n$", "")

-- Makes a key pair in a folder of spec.support.tmp and returns the private key's path.
function keys.make(folder, name, options)
   local path = folder:path(name)
   local command = { "ssh-keygen", "-q", "-t", options.type, "-f", path, "-N", options.passphrase or "",
      "-C", options.comment or "moonssh spec" }
   for flag, value in pairs{ ["-b"] = options.bits, ["-m"] = options.format, ["-Z"] = options.cipher,
      ["-a"] = options.rounds } do
      table.insert(command, flag)
      table.insert(command, tostring(value))
   end
   process.check(command)
   return path
end

-- The path of a shared key of this type ("ed25519", "rsa", "ecdsa") and name (default "user"), made if need be.
function keys.path(type, name)
   local path = ("%s/%s/%s_%s"):format(working_folder, cache, name or "user", type)
   local existing <close> = io.open(path .. ".pub", "rb")
   if existing then
      return path
   end
   -- Several spec processes may get here at once: each makes a pair, and under the lock the first one stays.
   local folder <close> = tmp.dir()
   process.check{ "mkdir", "-p", cache }
   local made = keys.make(folder, "key", { type = type, bits = type == "rsa" and 2048 or nil })
   process.check{ "flock", cache, "sh", "-c", [[test -e "$2.pub" ||
      { cp "$1" "$2" && cp "$1.pub" "$2.new" && mv "$2.new" "$2.pub"; }]],
      "sh", made, path }
   return path
end

-- The public line of a key file, without its end of line.
function keys.public(type, name)
   local file <close> = assert(io.open(keys.path(type, name) .. ".pub", "rb"))
   return file:read("l")
end

return keys
