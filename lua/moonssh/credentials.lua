--- The keys that may be offered for a login, in the order in which they are: those of `identity`, through the agent
--- where it holds them, then the agent's others. A certificate for a key comes right before it.
---
--- A candidate is { blob =, type =, name =, locked =, sign = }. blob and type are nil while they cannot be known
--- without a passphrase; `unlock` then finds them out. Where blob is a certificate's, plain is that of its key.

local agents = require "moonssh.agent"
local certificates = require "moonssh.certificate"
local deadlines = require "moonssh.deadline"
local errors = require "moonssh.errors"
local key = require "moonssh.key"
local loop = require "moonssh.loop"
local paths = require "moonssh.paths"

---@class moonssh.credentials
---@field candidates table[]
---@field host_keys table[] candidates of the option `hostbased`
---@field problems table[] errors of those that could not be used
local Credentials = {}
Credentials.__index = Credentials

local credentials = {}

local function time_left(limit)
   return limit.at and math.max(0, limit.at - loop.now())
end

-- --- signing

-- A signature must be by the algorithm that was asked for: an old agent answers with SHA-1 where it was asked for
-- SHA-2, and that is never sent.
local function checked(signature, err, algorithm, name)
   if not signature then
      return nil, err
   end
   local ok, used = pcall(string.unpack, ">s4", signature)
   local wanted = key.signed_as(algorithm)
   if not ok or used ~= wanted then
      return nil, errors.new("agent", ("%s: signed with %s where %s was asked for"):format(name,
         errors.escape(ok and used or "nothing", 64), wanted))
   end
   return signature
end

local function sign_by_key(candidate, algorithm, data, limit)
   local signer = candidate.key
   if signer._sign then
      return deadlines.outside(limit, signer.sign, signer, data, key.signed_as(algorithm))
   end
   return signer:sign(data, key.signed_as(algorithm))
end

local function sign_by_agent(candidate, algorithm, data, limit)
   local flags = agents.flags[key.signed_as(algorithm)] or 0
   local signature, err = candidate.agent:sign(candidate.held, data, flags, time_left(limit))
   if err and err.code == "timeout" then
      err.stage = "auth"
   end
   return checked(signature, err, algorithm, candidate.name)
end

-- --- collecting

local function add(self, candidate)
   if candidate.blob then
      if self.seen[candidate.blob] then
         return
      end
      self.seen[candidate.blob] = true
   end
   table.insert(self.candidates, candidate)
end

local function note(self, err)
   table.insert(self.problems, err)
end

-- The agent's keys by their blobs, asked for once. The connection is this login's own: it is bound to the session.
local function ask_agent(self, option, session, limit)
   self.held = {}
   if not option then
      return
   end
   local err
   if agents.is(option) then
      self.agent, err = option:_successor()
   else
      self.agent, err = agents.open(option ~= true and option or nil)
   end
   if self.agent and session then
      local answered, problem = self.agent:_bind(session, false, time_left(limit))
      if answered == nil and problem.code ~= "agent" then
         self.agent:close()
         self.agent, err = nil, problem
      end
   end
   if self.agent then
      self.identities, err = self.agent:identities(time_left(limit))
   end
   if not self.identities then
      err.stage = err.code == "timeout" and "auth" or nil
      note(self, err)
      return
   end
   for _, identity in ipairs(self.identities) do
      self.held[identity.blob] = identity
   end
end

local function from_agent(self, identity, name)
   return {
      blob = identity.blob,
      type = identity.type,
      name = name or errors.escape(identity.comment, 80),
      agent = self.agent,
      held = identity.blob,
      sign = sign_by_agent,
   }
end

-- --- certificates

-- A path, a key, or a list of these, as a list.
local function list_of(option)
   return (type(option) == "string" or key.is(option)) and { option } or option or {}
end

-- Notes a certificate for users under the key that it is for. One that has expired is offered all the same, as ssh
-- does: whose clock is right is not known. It is told with the failure.
local function keep_certificate(self, found, name)
   local content = found:certificate()
   local complaint
   if not content then
      complaint = "it is no certificate"
   elseif content.type ~= "user" then
      complaint = "it is for hosts, not for users"
   else
      complaint = certificates.time_complaint(content)
      local list = self.certificates[content.public] or {}
      self.certificates[content.public] = list
      table.insert(list, { blob = found:blob(), type = found.type, name = name })
   end
   if complaint then
      note(self, errors.new("key_format", ("certificate %s: %s"):format(name, complaint), { path = name }))
   end
end

local function read_certificate(self, path, optional)
   local found, err = key.load(path)
   if found then
      keep_certificate(self, found, path)
   elseif not (optional and err.missing) then
      note(self, err)
   end
end

-- Those of the option `certificate`.
local function collect_certificates(self, option)
   self.certificates = {}
   for _, one in ipairs(list_of(option)) do
      if key.is(one) then
         keep_certificate(self, one, one.comment ~= "" and one.comment or one:fingerprint())
      else
         read_certificate(self, paths.expand(one))
      end
   end
end

-- The same candidate with a certificate to show in place of the key. An agent that holds the certificate itself signs
-- by that, and where it holds the key alone by the key.
local function certified(self, candidate, certificate)
   local copy = self.held[certificate.blob] and from_agent(self, self.held[certificate.blob]) or {}
   for name, value in pairs(copy.held and {} or candidate) do
      copy[name] = value
   end
   copy.blob, copy.type, copy.name, copy.plain = certificate.blob, certificate.type, certificate.name, candidate.blob
   return copy
end

-- Adds a key, and its certificates before it.
local function add_with_certificates(self, candidate)
   for _, certificate in ipairs(candidate.blob and self.certificates[candidate.blob] or {}) do
      add(self, certified(self, candidate, certificate))
   end
   add(self, candidate)
end

-- A key, or the public half of a file that is still locked.
local function from_key(self, found, name, locked_path)
   local blob = found:blob()
   if self.held[blob] then
      return from_agent(self, self.held[blob], name)
   elseif locked_path then
      return { blob = blob, type = found.type, name = name, locked = locked_path }
   elseif not found.private then
      local where = found.type:find("^sk%-") and "the private half of %s is in its security key, and no agent holds it"
         or "%s is a public key: the private half is needed, and no agent holds it"
      note(self, errors.new("key_format", where:format(name), { path = name }))
      return nil
   end
   return { blob = blob, type = found.type, name = name, key = found, sign = sign_by_key }
end

local function from_path(self, path)
   local found, locked = key.peek(path)
   if not found and locked ~= true then
      note(self, locked)
      return nil
   elseif not found then
      return { name = path, locked = path }
   end
   return from_key(self, found, path, locked and path or nil)
end

-- The candidate of a path or a key; nil where it cannot be used.
local function candidate_of(self, one, certified_too)
   if key.is(one) then
      return from_key(self, one, one.comment ~= "" and one.comment or one:fingerprint())
   end
   local path = paths.expand(one)
   if certified_too then
      read_certificate(self, path .. "-cert.pub", true)
   end
   return from_path(self, path)
end

-- The keys of this host, which vouch for its user.
local function collect_host_keys(self, option)
   self.host_keys = {}
   for _, one in ipairs(option and list_of(option.key) or {}) do
      table.insert(self.host_keys, candidate_of(self, one))
   end
   if option and not self.host_keys[1] and not self.problems[1] then
      note(self, errors.new("auth_failed", "hostbased: there is no key of this host"))
   end
end

--- Collects what the options name; it reads the key files and asks the agent, but for no passphrase.
---@param options { identity: any, identities_only: boolean?, certificate: any, agent: any, hostbased: table?,
---   passphrase: any }
---@param session table|nil the one to log in, which an agent is told of
---@param limit { at: number? }
---@return moonssh.credentials
function credentials.collect(options, session, limit)
   local self = setmetatable({ candidates = {}, problems = {}, seen = {}, unlocked = {} }, Credentials)
   self.passphrase = options.passphrase
   collect_certificates(self, options.certificate)
   ask_agent(self, options.agent, session, limit)
   local identity = list_of(options.identity)
   for _, one in ipairs(identity) do
      local candidate = candidate_of(self, one, true)
      if candidate then
         add_with_certificates(self, candidate)
      end
   end
   local only = options.identities_only
   if only == nil then
      -- An empty list beside an agent means that there are no files, not that the agent is to be of no use.
      only = options.identity ~= nil and not (identity[1] == nil and options.agent)
   end
   for _, held in ipairs(self.identities or {}) do
      if key.is_known_type(held.type) and (not only or self.certificates[held.blob]) then
         add_with_certificates(self, from_agent(self, held))
      end
   end
   collect_host_keys(self, options.hostbased) -- the last, as what is wrong with the others says more
   return self
end

--- Makes a locked candidate usable, asking for its passphrase.
---@return true|nil
---@return table? err
function Credentials:unlock(candidate, limit)
   local path = candidate.locked
   local plain = candidate.plain or candidate.blob
   local loaded, err = self.unlocked[path], nil
   if not loaded then
      loaded, err = deadlines.outside(limit, key.load, path, self.passphrase)
   end
   if loaded and plain and loaded:blob() ~= plain then
      err = errors.new("key_format", ("%s is not the private half of %s.pub"):format(path, path), { path = path })
      loaded = nil
   elseif loaded and not loaded.private then
      loaded, err = nil, errors.new("key_format", path .. " has no private half", { path = path })
   end
   if not loaded then
      return nil, err
   end
   self.unlocked[path] = loaded
   candidate.locked, candidate.key, candidate.sign = nil, loaded, sign_by_key
   if not candidate.plain then
      candidate.blob, candidate.type = loaded:blob(), loaded.type
   end
   return true
end

--- Ends the connection to the agent, if it was opened here.
function Credentials:close()
   if self.agent then
      self.agent:close()
   end
end

Credentials.__close = Credentials.close

return credentials
