--- Whether a server's key is accepted: the policies of the option `host_keys`. Nothing is accepted by default.

local core = require "moonssh.core"
local deadlines = require "moonssh.deadline"
local errors = require "moonssh.errors"
local key = require "moonssh.key"
local known_hosts = require "moonssh.known_hosts"
local lists = require "moonssh.lists"
local revoked = require "moonssh.revoked"

local DEFAULT_PORT = 22

local hostkey = {}

-- The type of the keys that a host key algorithm signs with; and the algorithms of certificates, in order.
local key_types, of_certificates = {}, {}
for _, row in ipairs(core.key.algorithms()) do
   key_types[row.name] = row.key_type
   if row.name ~= row.signed_as then
      table.insert(of_certificates, row)
   end
end

local policies = { strict = true, ["accept-new"] = true, off = true }

local function is_fingerprint(text)
   return type(text) == "string" and (text:find("^SHA256:[%w+/]+=*$") or text:find("^MD5:[%x:]+$")) ~= nil
end

--- Why a value cannot be the option `host_keys`, or nil.
---@return string?
function hostkey.complaint(policy)
   if policy == nil or type(policy) == "function" or policies[policy] or is_fingerprint(policy) then
      return nil
   elseif type(policy) == "table" then
      for _, one in ipairs(policy) do
         if not is_fingerprint(one) then
            return "'host_keys': a list of fingerprints expected"
         end
      end
      return policy[1] == nil and "'host_keys': the list is empty" or nil
   end
   return "'host_keys': unknown policy"
end

--- Why a value cannot be the option `known_hosts`, or of the name given, or nil.
---@return string?
function hostkey.files_complaint(option, name)
   for _, path in ipairs(type(option) == "table" and not known_hosts.is(option) and option or {}) do
      if type(path) ~= "string" then
         return ("'%s': a list of paths expected"):format(name or "known_hosts")
      end
   end
end

--- The known_hosts object of an option: such an object, a path, a list of paths, or nil for an empty one.
---@return moonssh.known_hosts|nil
---@return table? err
function hostkey.known(option)
   if known_hosts.is(option) then
      return option
   end
   return known_hosts.open(option or {})
end

-- Name and port to look a host up by: an alias stands for both.
local function lookup_name(options)
   if options.host_key_alias then
      return options.host_key_alias, DEFAULT_PORT
   end
   return options.host or "", options.port or DEFAULT_PORT
end

--- The algorithms of a list, those first whose keys are known of the host, and before them the certificates' where an
--- authority for the host is known. A host of which nothing is known gets the list as it is, so that the order tells
--- nothing.
---@param known moonssh.known_hosts
---@param host string
---@param port integer
---@param list string[]
---@return string[]
function hostkey.algorithms_for(known, host, port, list)
   local types, listed = {}, {}
   for _, entry in ipairs(known:_known(host, port)) do
      types[entry.type] = true
   end
   local first, second, rest = {}, {}, {}
   for _, name in ipairs(list) do
      listed[name] = true
      table.insert(types[key_types[name]] and second or rest, name)
   end
   if known:_authorities(host, port)[1] then
      for _, row in ipairs(of_certificates) do
         if listed[row.signed_as] and not listed[row.name] then
            table.insert(first, row.name)
         end
      end
   end
   table.move(second, 1, #second, #first + 1, first)
   return table.move(rest, 1, #rest, #first + 1, first)
end

--- The same from the options of a handshake or of connect.
function hostkey.order(list, options, known)
   local host, port = lookup_name(options)
   return hostkey.algorithms_for(known, host, port, list)
end

-- --- errors

local function where(host, port)
   return port == DEFAULT_PORT and errors.escape(host) or ("[%s]:%d"):format(errors.escape(host), port)
end

local function refusal(code, message, context, fields)
   fields = fields or {}
   fields.host, fields.port = context.host, context.port
   fields.fingerprint, fields.key = context.fingerprint, context.key
   return errors.new(code, message, fields)
end

local function changed_error(context, known, line, path)
   local expected = {}
   for i, entry in ipairs(known:_known(context.host, context.port)) do
      expected[i] = core.key.fingerprint(entry.blob, "sha256")
   end
   return refusal("host_key_changed",
      ("the host key of %s has changed: it is now %s (%s), but %s line %d knows %s"):format(
         where(context.host, context.port), context.fingerprint, context.key.type, path, line,
         table.concat(expected, ", ")), context, { expected = expected, path = path, line = line })
end

-- A certificate of an authority that is known, but that is not good: no policy takes its key for new.
local function certificate_error(context, reason)
   return refusal("host_key_rejected", ("the host certificate of %s (%s, %s) is not good: %s"):format(
      where(context.host, context.port), context.fingerprint, context.key.type, reason), context, { why = reason })
end

local function verdict_error(context, known, verdict, line, path)
   if verdict == "revoked" then
      return refusal("host_key_revoked", ("the host key %s of %s is revoked by %s line %d"):format(context.fingerprint,
         where(context.host, context.port), path, line), context, { path = path, line = line })
   elseif verdict == "changed" then
      return changed_error(context, known, line, path)
   end
   return refusal("host_key_unknown", ("the host key of %s is not known: %s (%s)"):format(
      where(context.host, context.port), context.fingerprint, context.key.type), context,
      { path = known.paths[1] })
end

-- --- policies

local function check_fingerprints(context, list)
   for _, wanted in ipairs(list) do
      local hash = wanted:sub(1, 3) == "MD5" and "md5" or "sha256"
      local given = hash == "md5" and wanted:lower():gsub("^md5", "MD5") or wanted:gsub("=+$", "")
      if core.equal(context.key:fingerprint(hash), given) then
         return true
      end
   end
   return nil, refusal("host_key_rejected", ("the host key of %s is %s, and not %s"):format(
      where(context.host, context.port), context.fingerprint, table.concat(list, " or ")), context,
      { expected = lists.copy(list) })
end

-- Writes a new key down. What cannot be written down is not accepted: the next connection could not tell.
local function learn(context, known)
   local path = known.paths[1]
   if not path then
      return nil, verdict_error(context, known, "unknown")
   end
   return known:_learn(known_hosts.line(context.host, context.port, context.key._plain, { hash = context.trust.hash }))
end

-- StrictHostKeyChecking "no": a new key is written down, if that can be, and one that has changed is taken for what it
-- is: perhaps not this host's.
local function take_unasked(context, known, verdict)
   context.trust.changed = verdict == "changed"
   if verdict == "unknown" then
      learn(context, known)
   end
end

-- Only true accepts. A function that fails has not accepted, and the error says why it failed.
local function ask(context, f, verdict, limit)
   local ok, answer = pcall(deadlines.outside, limit, f, context.asked_host, context.asked_port, context.key, verdict)
   if ok and answer == true then
      return true
   elseif not ok and errors.is(answer) and answer.code == "cancelled" then
      error(answer, 0)
   end
   return nil, refusal("host_key_rejected", ("the host key %s of %s was not accepted%s"):format(context.fingerprint,
      where(context.host, context.port), ok and "" or ": " .. tostring(answer)), context,
      { verdict = verdict, cause = not ok and answer or nil })
end

-- What stands against a key whatever the policy says: the files of revoked keys, and the limits that ssh_config sets.
local function objection(context, revoked_files)
   local trust = context.trust
   revoked_files = revoked_files or trust.revoked
   if trust.rsa_bits and context.key.type:find("^ssh%-rsa") and context.key.bits < trust.rsa_bits then
      return refusal("host_key_rejected", ("the host key of %s is of %d bits, fewer than the %d of RequiredRSASize")
         :format(where(context.host, context.port), context.key.bits, trust.rsa_bits), context)
   elseif revoked_files then
      local path, err = revoked.find(revoked_files, context.key._core)
      if path then
         return refusal("host_key_revoked", ("the host key %s of %s is revoked by %s"):format(context.fingerprint,
            where(context.host, context.port), errors.escape(path)), context, { path = path })
      end
      return err
   end
end

-- CheckHostIP: whether other keys are known of the address than of the name.
local function address_error(context, known)
   local address = context.trust.check_ip and context.trust.address
   if not address or address == context.host then
      return nil
   end
   local verdict, line, path = known:check(address, context.port, context.key)
   if verdict == "changed" or verdict == "revoked" then
      local other = setmetatable({ host = address }, { __index = context })
      return verdict_error(other, known, verdict, line, path)
   end
end

-- What is known of the key. As for ssh, a server at another port of a host of which nothing is known there may show the
-- key that the host is known by.
local function look_up(context, known)
   local verdict, line, path, complaint = known:check(context.host, context.port, context.key,
      context.trust.ca_algorithms)
   if verdict == "unknown" and not complaint and context.port ~= DEFAULT_PORT then
      local plain = known:check(context.host, DEFAULT_PORT, context.key, context.trust.ca_algorithms)
      verdict = plain == "match" and plain or verdict
   end
   return verdict, line, path, complaint
end

local function decide(context, options, limit)
   local policy = options.host_keys or "strict"
   if is_fingerprint(policy) then
      policy = { policy }
   end
   if type(policy) == "table" then
      return check_fingerprints(context, policy)
   end
   local known, err = hostkey.known(options.known_hosts)
   if not known then
      return nil, err
   end
   local verdict, line, path, complaint = look_up(context, known)
   if verdict == "revoked" then
      return nil, verdict_error(context, known, verdict, line, path)
   elseif type(policy) == "function" then
      return ask(context, policy, verdict, limit)
   elseif policy == "off" then
      if context.trust.lenient then
         take_unasked(context, known, verdict)
      end
      return true
   elseif verdict == "match" then
      err = address_error(context, known)
      return err == nil, err
   elseif complaint and verdict == "unknown" then
      return nil, certificate_error(context, complaint)
   elseif verdict == "unknown" and policy == "accept-new" then
      return learn(context, known)
   end
   return nil, verdict_error(context, known, verdict, line, path)
end

--- Judges the key that a session's server has shown. It does not answer the session's question. Without a policy and
--- known_hosts only what is revoked is looked at, and the question is left open.
---@param session table
---@param options { host: string?, port: integer?, host_keys: any, known_hosts: any, host_key_alias: string?,
---   revoked_host_keys: string|string[]|nil }
---@param deadline number|{ at: number? }|nil moved by the time the user's function takes
---@return boolean|nil accepted false: not decided
---@return table? err
function hostkey.verify(session, options, deadline)
   local host_key, err = key.from_blob(session._host_key_blob, session._algorithms.min_rsa_bits)
   if not host_key then
      return nil, err
   end
   local host, port = lookup_name(options)
   local context = {
      host = host,
      port = port,
      asked_host = options.host or host,
      asked_port = options.port or DEFAULT_PORT,
      key = host_key,
      fingerprint = host_key:fingerprint(),
      trust = session._options._trust or {},
   }
   err = objection(context, options.revoked_host_keys)
   if err then
      return nil, err
   elseif not (options.host_keys or options.known_hosts) then
      return false
   end
   local ok
   ok, err = decide(context, options, deadlines.of(deadline))
   if ok ~= true then
      return nil, err
   end
   return true
end

return hostkey
