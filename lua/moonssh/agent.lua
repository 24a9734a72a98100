--- The client's side of the agent protocol (draft-miller-ssh-agent): keys that an agent holds.
---
--- A connection carries one request at a time; a second task that asks meanwhile gets a connection of its own. What
--- the agent answers is not trusted: a frame that is out of form ends the connection with code "agent".

local core = require "moonssh.core"
local errors = require "moonssh.errors"
local args = require "moonssh.args"
local key = require "moonssh.key"
local loop = require "moonssh.loop"
local net = require "moonssh.net"
local paths = require "moonssh.paths"

local MAX_FRAME = 256 * 1024
local CONNECT_PAUSE = 0.01

local FAILURE, SUCCESS = 5, 6
local REQUEST_IDENTITIES, IDENTITIES_ANSWER = 11, 12
local SIGN_REQUEST, SIGN_RESPONSE = 13, 14
local ADD_IDENTITY, REMOVE_IDENTITY, REMOVE_ALL = 17, 18, 19
local LOCK, UNLOCK, ADD_CONSTRAINED = 22, 23, 25
local EXTENSION = 27
local CONSTRAIN_LIFETIME, CONSTRAIN_CONFIRM, CONSTRAIN_EXTENSION = 1, 2, 255

---@class moonssh.agent
---@field path string
---@field closed boolean
local Agent = {}
Agent.__index = Agent
Agent.__name = "moonssh.agent"

local agent = {}

--- Flags of a sign request, by the algorithm that the signature is by.
agent.flags = { ["rsa-sha2-256"] = 2, ["rsa-sha2-512"] = 4 }

--- Whether a value is an agent.
function agent.is(value)
   return getmetatable(value) == Agent
end

local function failure(self, text)
   return errors.new("agent", ("agent at %s: %s"):format(errors.escape(self.path, 120), text), { path = self.path })
end

local function timed_out(self)
   local err = failure(self, "no answer in time")
   err.code, err.stage = "timeout", "read"
   return err
end

-- --- one request and its answer

-- Connects, waiting a little where the agent's backlog is full.
local function connect(self, deadline)
   while true do
      local fd, _, message, errno = net.open(core.socket.unix, self.path)
      if fd then
         return fd
      elseif errno ~= core.EAGAIN then
         return nil, failure(self, "cannot connect: " .. tostring(message))
      elseif deadline and loop.now() >= deadline then
         return nil, timed_out(self)
      end
      loop.sleep(CONNECT_PAUSE)
   end
end

local function send(self, fd, frame, deadline)
   local first = 1
   while first <= #frame do
      local n, _, message, errno = core.socket.send(fd, frame, first)
      if n then
         first = first + n
      elseif errno ~= core.EAGAIN then
         return nil, failure(self, "cannot send: " .. tostring(message))
      elseif not loop.wait(fd, "w", deadline) then
         return nil, timed_out(self)
      end
   end
   return true
end

-- Exactly n bytes.
local function receive(self, fd, n, deadline)
   local parts = {}
   while n > 0 do
      local data, _, message, errno = core.socket.recv(fd, n)
      if data == "" then
         local err = failure(self, "it closed the connection")
         err.unanswered = #parts == 0
         return nil, err
      elseif data then
         parts[#parts + 1], n = data, n - #data
      elseif errno ~= core.EAGAIN then
         return nil, failure(self, "cannot read: " .. tostring(message))
      elseif not loop.wait(fd, "r", deadline) then
         return nil, timed_out(self)
      end
   end
   return table.concat(parts)
end

local function exchange(self, fd, payload, deadline)
   local ok, err = send(self, fd, string.pack(">s4", payload), deadline)
   if not ok then
      err.unanswered = err.code ~= "timeout"
      return nil, err
   end
   local head
   head, err = receive(self, fd, 4, deadline)
   if not head then
      return nil, err
   end
   local length = string.unpack(">I4", head)
   if length < 1 or length > MAX_FRAME then
      return nil, failure(self, ("a frame of %d bytes"):format(length))
   end
   local answer
   answer, err = receive(self, fd, length, deadline)
   if not answer then
      err.unanswered = nil
   end
   return answer, err
end

-- A connection that closes itself when the caller leaves before it was given back: by an error, or cancelled.
local Lease = {}
Lease.__index = Lease

function Lease:__close()
   if self.fd then
      net.close(self.fd)
   end
end

-- Sends a payload and gives the answer's type and what follows it.
local function request(self, payload, deadline)
   if #payload > MAX_FRAME then
      return nil, failure(self, "the request is too long")
   end
   local lease <close> = setmetatable({ fd = self._idle }, Lease)
   local answer, err
   if self._idle then
      self._idle = nil
      answer, err = exchange(self, lease.fd, payload, deadline)
      if not answer and err.unanswered then
         -- It went while nobody looked: once more, on a new connection.
         net.close(lease.fd)
         lease.fd = nil
      end
   end
   if not lease.fd then
      lease.fd, err = connect(self, deadline)
      if not lease.fd then
         return nil, err
      end
      answer, err = exchange(self, lease.fd, payload, deadline)
   end
   if not answer then
      return nil, err
   end
   if not self._idle and not self.closed then
      self._idle, lease.fd = lease.fd, nil
   end
   return answer:byte(), answer:sub(2)
end

--- Sends a payload as it is and gives the answer as it is, over the connection that was opened with the handle and no
--- other: what an agent is told of a connection is not to be lost.
---@param payload string
---@return string|nil
---@return table? err
function Agent:_relay(payload)
   local lease <close> = setmetatable({ fd = self._idle }, Lease)
   self._idle = nil
   if not lease.fd then
      return nil, failure(self, "the connection has ended")
   end
   local answer, err = exchange(self, lease.fd, payload)
   if answer and not self.closed then
      self._idle, lease.fd = lease.fd, nil
   end
   return answer, err
end

local function unexpected(self, kind)
   if kind == FAILURE then
      return failure(self, "it refused the request")
   end
   return failure(self, ("an answer of type %d, out of place"):format(kind))
end

-- A request that is answered by success or failure.
local function command(self, payload, timeout)
   local kind, err = request(self, payload, timeout and loop.now() + timeout)
   if not kind then
      return nil, err
   elseif kind ~= SUCCESS then
      return nil, unexpected(self, kind)
   end
   return true
end

-- --- the public calls

--- An agent by the path of its socket, default `SSH_AUTH_SOCK`.
---@param path string|nil
---@return moonssh.agent|nil
---@return table? err `agent`
function agent.open(path)
   args.optional("agent", 1, path, "string")
   if path == nil then
      path = os.getenv("SSH_AUTH_SOCK")
      if not path or path == "" then
         return nil, errors.new("agent", "no agent: SSH_AUTH_SOCK is not set")
      end
   elseif path == "" then
      return nil, errors.new("agent", "no agent: its path is empty", { path = path })
   end
   local self = setmetatable({ path = paths.expand(path), closed = false }, Agent)
   local fd, err = connect(self, loop.now() + 1)
   if not fd then
      return nil, err
   end
   self._idle = fd
   return self
end

--- Another handle for the same agent, for what binds its connection: it takes over the one that this handle has open,
--- which gets a new one when it needs it.
---@return moonssh.agent|nil
---@return table? err
function Agent:_successor()
   if not self._idle then
      return agent.open(self.path)
   end
   local other = setmetatable({ path = self.path, closed = false, _idle = self._idle }, Agent)
   self._idle = nil
   return other
end

-- The identities in an answer, or nil where it is out of form.
local function parse_identities(data)
   local list = {}
   local ok, count, place = pcall(string.unpack, ">I4", data)
   -- An identity takes eight bytes at least: a larger count is a lie.
   if not ok or count > #data // 8 then
      return nil
   end
   for i = 1, count do
      local fine, blob, comment, after = pcall(string.unpack, ">s4s4", data, place)
      if not fine then
         return nil
      end
      local typed, type_name = pcall(string.unpack, ">s4", blob)
      list[i], place = { blob = blob, comment = comment, type = typed and type_name or "" }, after
   end
   return place == #data + 1 and list or nil
end

--- What the agent holds.
---@param timeout number|nil
---@return { blob: string, comment: string, type: string }[]|nil
---@return table? err `agent`, `timeout`
function Agent:identities(timeout)
   args.handle(self, "agent", "identities")
   args.optional("identities", 1, timeout, "number")
   local kind, data = request(self, string.char(REQUEST_IDENTITIES), timeout and loop.now() + timeout)
   if not kind then
      return nil, data
   elseif kind ~= IDENTITIES_ANSWER then
      return nil, unexpected(self, kind)
   end
   local list = parse_identities(data)
   if not list then
      return nil, failure(self, "a list of identities that is out of form")
   end
   return list
end

--- Tells the agent which session this connection is for (session-bind@openssh.com), to sign a login or to be forwarded:
--- with that an agent can hold keys that are for certain hosts only. An agent that does not know it refuses, and is
--- none the worse.
---@param session table
---@param forwarded boolean
---@param timeout number|nil
---@return boolean|nil
---@return table? err
function Agent:_bind(session, forwarded, timeout)
   local signature = session._core:host_signature()
   if signature == "" then
      return false
   end
   local kind, err = request(self, string.pack(">Bs4s4s4s4B", EXTENSION, "session-bind@openssh.com",
      session._host_key_blob, session._core:info().session_id, signature, forwarded and 1 or 0),
      timeout and loop.now() + timeout)
   if not kind then
      return nil, err
   end
   return kind == SUCCESS
end

--- Has the agent sign data with the key of a blob. flags: 2 asks RSA for SHA-256, 4 for SHA-512.
---@param blob string|moonssh.key
---@param data string
---@param flags integer|nil
---@param timeout number|nil
---@return string|nil signature blob
---@return table? err `agent`, `timeout`
function Agent:sign(blob, data, flags, timeout)
   args.handle(self, "agent", "sign")
   blob = key.blob_of("sign", 1, blob)
   args.check("sign", 2, data, "string")
   args.optional("sign", 3, flags, "integer")
   if flags and (flags < 0 or flags > 0xffffffff) then
      args.bad("sign", 3, "not a number of 32 bits")
   end
   args.optional("sign", 4, timeout, "number")
   local kind, answer = request(self, string.pack(">Bs4s4I4", SIGN_REQUEST, blob, data, flags or 0),
      timeout and loop.now() + timeout)
   if not kind then
      return nil, answer
   elseif kind ~= SIGN_RESPONSE then
      return nil, unexpected(self, kind)
   end
   local ok, signature, place = pcall(string.unpack, ">s4", answer)
   if not ok or place ~= #answer + 1 or not pcall(string.unpack, ">s4s4", signature) then
      return nil, failure(self, "a signature that is out of form")
   end
   return signature
end

--- Gives the agent a private key, for `lifetime` seconds or for good; with `confirm` it asks before each use. With a
--- `certificate` it is that which the agent holds: to have it hold both, add the key without as well.
---@param private moonssh.key
---@param options { lifetime: number?, confirm: boolean?, certificate: moonssh.key?, timeout: number? }|nil
---@return true|nil
---@return table? err
function Agent:add(private, options)
   args.handle(self, "agent", "add")
   if not key.is(private) then
      args.bad("add", 1, "key expected")
   end
   options = args.options("add", 2, options,
      { lifetime = "number", confirm = "boolean", certificate = "table", timeout = "number" })
   if options.certificate and not (key.is(options.certificate) and options.certificate:certificate()) then
      args.bad("add", 2, "option 'certificate': a key with a certificate expected")
   end
   local fields, err = private:_agent_fields(options.certificate)
   if not fields then
      return nil, err
   end
   local constraints = ""
   if options.lifetime then
      if options.lifetime <= 0 or options.lifetime > 0xffffffff then
         args.bad("add", 2, "option 'lifetime': seconds from 1 to 2^32-1 expected")
      end
      constraints = string.pack(">BI4", CONSTRAIN_LIFETIME, math.max(1, math.ceil(options.lifetime)))
   end
   if options.confirm then
      constraints = constraints .. string.char(CONSTRAIN_CONFIRM)
   end
   if private.type:find("^sk%-") then
      -- As ssh-add does: the agent's own way to security keys.
      constraints = constraints .. string.pack(">Bs4s4", CONSTRAIN_EXTENSION, "sk-provider@openssh.com", "internal")
   end
   local kind = constraints == "" and ADD_IDENTITY or ADD_CONSTRAINED
   return command(self, string.char(kind) .. fields .. string.pack(">s4", private.comment) .. constraints,
      options.timeout)
end

--- Has the agent forget a key.
---@param blob string|moonssh.key
---@param timeout number|nil
---@return true|nil
---@return table? err
function Agent:remove(blob, timeout)
   args.handle(self, "agent", "remove")
   blob = key.blob_of("remove", 1, blob)
   args.optional("remove", 2, timeout, "number")
   return command(self, string.pack(">Bs4", REMOVE_IDENTITY, blob), timeout)
end

--- Has the agent forget all keys.
---@param timeout number|nil
---@return true|nil
---@return table? err
function Agent:remove_all(timeout)
   args.handle(self, "agent", "remove_all")
   args.optional("remove_all", 1, timeout, "number")
   return command(self, string.char(REMOVE_ALL), timeout)
end

-- A NUL ends OpenSSH's agent, and all its keys with it.
local function check_passphrase(fname, passphrase)
   args.check(fname, 1, passphrase, "string")
   if passphrase:find("\0", 1, true) then
      args.bad(fname, 1, "a passphrase of an agent cannot hold a NUL")
   end
end

--- Locks the agent with a passphrase: it shows and uses no key until it is unlocked.
---@param passphrase string
---@param timeout number|nil
---@return true|nil
---@return table? err
function Agent:lock(passphrase, timeout)
   args.handle(self, "agent", "lock")
   check_passphrase("lock", passphrase)
   args.optional("lock", 2, timeout, "number")
   return command(self, string.pack(">Bs4", LOCK, passphrase), timeout)
end

--- Unlocks the agent.
---@param passphrase string
---@param timeout number|nil
---@return true|nil
---@return table? err
function Agent:unlock(passphrase, timeout)
   args.handle(self, "agent", "unlock")
   check_passphrase("unlock", passphrase)
   args.optional("unlock", 2, timeout, "number")
   return command(self, string.pack(">Bs4", UNLOCK, passphrase), timeout)
end

--- Ends the connection. Using the agent afterwards raises.
function Agent:close()
   self.closed = true
   if self._idle then
      net.close(self._idle)
      self._idle = nil
   end
end

Agent.__close = Agent.close
Agent.__gc = Agent.close

return agent
