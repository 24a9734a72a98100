--- UpdateHostKeys: learns the further keys that a server has, and forgets those that it has given up (OpenSSH's
--- PROTOCOL 2.5, hostkeys-00@openssh.com and hostkeys-prove-00@openssh.com). Nothing is changed before the server has
--- proven to hold every new key; what is odd is passed over, as the connection does not depend on it.

local core = require "moonssh.core"
local errors = require "moonssh.errors"
local known_hosts = require "moonssh.known_hosts"
local wire = require "moonssh.wire"

local PROVE = "hostkeys-prove-00@openssh.com"

-- More keys than any server has.
local MAX_KEYS = 64

local update = {}

-- The key in a blob, if it is a plain one that is good enough to be used; nil else.
local function key_of(blob, trust)
   local key = core.key.parse_public(blob)
   if not key then
      return nil
   end
   local type, bits = key:type(), key:bits()
   if type:find("-cert-v01@", 1, true) or type == "ssh-dss" or type == "ssh-rsa" and bits < (trust.rsa_bits or 0) then
      key:close()
      return nil
   end
   return key
end

-- Whether a line of the host can be taken away or stand beside others: it names the host alone, and not by a pattern.
local function is_simple(entry)
   return not entry.names:find("[*?!]")
end

-- What is to be done: the keys to learn, and the blobs to forget. nil where nothing is.
local function plan(self, blobs)
   local entries = self.known:_known(self.host, self.port)
   local offered, have, new, old = {}, {}, {}, {}
   for _, entry in ipairs(entries) do
      if not is_simple(entry) then
         return nil
      end
      have[entry.blob] = true
   end
   for _, blob in ipairs(blobs) do
      if offered[blob] then
         return nil
      end
      offered[blob] = true
      local key = not have[blob] and key_of(blob, self.trust)
      if key then
         new[#new + 1] = { key = key, blob = blob }
      end
      if (key or have[blob]) and self.known:check(self.host, self.port, blob) == "revoked" then
         return nil
      end
   end
   -- What was used just now must be among what the server says that it has.
   if not offered[self.used] then
      return nil
   end
   for _, entry in ipairs(entries) do
      if not offered[entry.blob] and entry.path == self.known.paths[1] then
         old[#old + 1] = entry.blob
      end
   end
   return (new[1] or old[1]) and { new = new, old = old } or nil
end

-- A signature is by the key, over this session, and RSA's is not by SHA-1.
local function is_proven(session, one, signature)
   local ok, algorithm = pcall(string.unpack, ">s4", signature)
   if not ok or algorithm == "ssh-rsa" then
      return false
   end
   local data = string.pack(">s4s4s4", PROVE, session._core:info().session_id or "", one.blob)
   return one.key:verify(data, signature, algorithm) == true
end

-- Writes down what has been proven.
local function learn(self, todo)
   local known = self.known
   for _, one in ipairs(todo.new) do
      known:add(self.host, self.port, one.blob, { hash = self.trust.hash })
   end
   for _, blob in ipairs(todo.old) do
      known:_remove_key(self.host, self.port, blob)
   end
   local ok, err = known:_save(0) -- where others write just now, it is left to the next connection
   self.session._host_keys_updated = ok and { added = #todo.new, removed = #todo.old } or err
end

local function on_answer(self, todo, success, data)
   local signatures = success and wire.strings(data, MAX_KEYS)
   if not signatures or #signatures ~= #todo.new then
      return
   end
   for i, one in ipairs(todo.new) do
      if not is_proven(self.session, one, signatures[i]) then
         self.session._host_keys_updated = errors.new("protocol", "the server has not proven to hold a host key")
         return
      end
   end
   learn(self, todo)
end

--- Takes the server's list of keys; the first one counts.
---@param session moonssh.session
---@param data string
function update.offer(session, data)
   local self = session._host_key_update
   session._host_key_update = nil
   session._core:listen("global_request", false)
   local blobs = self and wire.strings(data, MAX_KEYS)
   local todo = blobs and blobs[1] and plan(self, blobs)
   if not todo then
      return
   elseif not todo.new[1] then
      learn(self, todo)
      return
   end
   local list = {}
   for i, one in ipairs(todo.new) do
      list[i] = string.pack(">s4", one.blob)
   end
   local request = session:_global_request(PROVE, table.concat(list))
   if request then
      request.answered = function(success, answer)
         on_answer(self, todo, success, answer)
      end
   end
end

--- Has a session update known_hosts, once the server's key has been found there.
---@param session moonssh.session
---@param target { host: string, port: integer, host_key_alias: string?, known: moonssh.known_hosts }
---@param trust table
---@param used string the key that the server has shown
---@return boolean whether it may
function update.prepare(session, target, trust, used)
   local first = target.known.paths[1]
   if not first then
      return false
   end
   local alone = known_hosts.open(first)
   if alone then
      session._host_key_update = { session = session, known = alone, trust = trust, used = used,
         host = target.host_key_alias or target.host, port = not target.host_key_alias and target.port or nil }
      session._core:listen("global_request", true)
   end
   return alone ~= nil
end

return update
