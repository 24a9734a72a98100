--- OpenSSH's certificates: what they say, and whether they are good for a host or a user.
---
--- The core has checked that a certificate is well formed and that its authority has signed it. Whether that authority
--- is trusted is known_hosts' to say; what is judged here is the rest.

local errors = require "moonssh.errors"
local lists = require "moonssh.lists"
local wire = require "moonssh.wire"

local certificate = {}

-- Options by their names: the data is a string within a string, or empty for a flag.
local function options(bytes)
   local list, found = wire.strings(bytes), {}
   for i = 1, #list, 2 do
      local ok, text, place = pcall(string.unpack, ">s4", list[i + 1])
      found[list[i]] = ok and place == #list[i + 1] + 1 and text or list[i + 1]
   end
   return found
end

-- Seconds since 1970 as a Lua integer: the end of time for what is past it.
local function time(value)
   return value < 0 and math.maxinteger or value
end

---@class moonssh.certificate
---@field type "user"|"host"
---@field serial integer
---@field key_id string
---@field principals string[] users or hosts that it is for
---@field valid_after integer seconds since 1970, as os.time gives them
---@field valid_before integer the first second in which it is not valid any more; math.maxinteger: for ever
---@field critical_options table<string, string>
---@field extensions table<string, string>
---@field signature_key string public blob of the authority
---@field signature_algorithm string what it has signed with
---@field public string blob of the key itself

--- What the certificate of a core key says; nil for a key without.
---@return moonssh.certificate?
function certificate.of(core_key)
   local type, serial, key_id, principals, after, before, critical, extensions, authority, algorithm =
      core_key:certificate()
   return type and {
      type = type,
      serial = serial,
      key_id = key_id,
      principals = wire.strings(principals),
      valid_after = time(after),
      valid_before = time(before),
      critical_options = options(critical),
      extensions = options(extensions),
      signature_key = authority,
      signature_algorithm = algorithm,
      public = core_key:plain_blob(),
   } or nil
end

local function date(seconds)
   local ok, text = pcall(os.date, "!%Y-%m-%d %H:%M:%S UTC", seconds)
   return ok and text or ("second %d"):format(seconds)
end

--- Why a certificate is not valid at a time, or nil.
---@param found moonssh.certificate
---@param now? integer
---@return string?
function certificate.time_complaint(found, now)
   now = now or os.time()
   if now < found.valid_after then
      return "it is not valid before " .. date(found.valid_after)
   elseif now >= found.valid_before then
      return "it has expired: it was valid before " .. date(found.valid_before)
   end
end

--- Why a certificate whose authority is trusted does not make a host's key good, or nil. As in ssh, a principal is a
--- name and no pattern, and there is no critical option for hosts. A certificate without principals is for no host.
---@param found moonssh.certificate
---@param host string
---@param signature_algorithms? string[] what authorities may sign with; nil: all that there is but SHA-1
---@return string?
function certificate.host_complaint(found, host, signature_algorithms)
   if found.type ~= "host" then
      return "it is for users, not for hosts"
   elseif found.principals[1] == nil then
      return "it names no host"
   elseif not lists.has(found.principals, host:lower()) then
      return "it is for " .. errors.escape(table.concat(found.principals, ", "))
   elseif next(found.critical_options) then
      return ("it has the critical option '%s', which is not known"):format(
         errors.escape(next(found.critical_options), 64))
   elseif signature_algorithms and not lists.has(signature_algorithms, found.signature_algorithm) then
      return "its authority has signed with " .. found.signature_algorithm
   end
   return certificate.time_complaint(found)
end

return certificate
