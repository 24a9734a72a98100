--- Names to addresses to connected sockets, without blocking: addresses are tried one after the other, a little apart,
--- and the first connection wins (RFC 8305).

local core = require "moonssh.core"
local errors = require "moonssh.errors"
local loop = require "moonssh.loop"

-- How long an attempt is alone before the next one joins it (RFC 8305 5, "Connection Attempt Delay").
local STAGGER = 0.25
local EMFILE, ENFILE, EINPROGRESS = 24, 23, 115

local net = {}

-- The loop must not take the next descriptor of that number for this one.
local function forget(fd)
   loop.current().cancel(fd)
end

--- Closes a descriptor that was waited for.
---@param fd integer
function net.close(fd)
   forget(fd)
   core.socket.close(fd)
end

--- Calls a function of the core that opens a descriptor. Where all are in use, what nobody holds any more is collected,
--- and it is called once more.
function net.open(f, ...)
   local results = table.pack(f(...))
   local errno = not results[1] and results[4]
   if errno == EMFILE or errno == ENFILE then
      collectgarbage()
      return f(...)
   end
   return table.unpack(results, 1, results.n)
end

local families = { any = false, inet = "inet", inet6 = "inet6" }

local function timeout_error(stage, host, port)
   return errors.new("timeout", stage == "resolve" and ("no answer in time to who %s is"):format(host)
      or ("%s port %d does not answer in time"):format(host, port), { stage = stage, host = host, port = port })
end

-- The result of a resolver, waited for. nil and the core's code and message, "timeout" for the deadline's.
local function await_result(resolver, deadline)
   local fd = resolver:fd()
   local _ <close> = setmetatable({}, { __close = function()
      forget(fd)
      resolver:close()
   end })
   while true do
      local list, code, message = resolver:result()
      if list or code ~= "again" then
         return list, code, message
      elseif deadline and loop.now() >= deadline or not loop.wait(fd, "r", deadline) then
         return nil, "timeout"
      end
   end
end

--- The addresses of a host; with `canonical` the list says in a field of that name what the host is really called.
---@param deadline number|nil
---@param canonical? boolean
---@return table[]|nil
---@return table? err `resolve`, `timeout`
function net.resolve(host, port, family, deadline, canonical)
   local resolver, code, message = core.resolve(host, port, families[family or "any"] or nil, canonical)
   if resolver then
      local list
      list, code, message = await_result(resolver, deadline)
      if list and list[1] then
         return list
      elseif list then
         code, message = "resolve", "it has no address"
      elseif code == "timeout" then
         return nil, timeout_error("resolve", host, port)
      end
   end
   message = ("cannot resolve %s: %s"):format(errors.escape(host), tostring(message))
   return nil, errors.new(code, message, { host = host })
end

--- Puts addresses in the order of trying: the families take turns, the first one's first (RFC 8305 4).
function net.interleave(addresses)
   local by_family, order = {}, {}
   for _, address in ipairs(addresses) do
      local list = by_family[address.family]
      if not list then
         list = {}
         by_family[address.family] = list
         order[#order + 1] = list
      end
      list[#list + 1] = address
   end
   local mixed = {}
   for i = 1, #addresses do
      for _, list in ipairs(order) do
         mixed[#mixed + 1] = list[i]
      end
   end
   return mixed
end

-- The attempts of one race. Leaving the race, however it happens, closes those that are still open.
local Race = {}
Race.__index = Race

function Race:__close()
   for _, attempt in ipairs(self.pending) do
      net.close(attempt.fd)
   end
end

function Race:note(address, code, message)
   table.insert(self.failures, { address = address.text, code = code, message = tostring(message) })
end

-- Starts the next address. A descriptor that is connected at once is the race's result.
function Race:start_next()
   local address = table.remove(self.addresses, 1)
   local bind_address = self.binds and self.binds[address.family]
   if self.binds and not bind_address then
      return self:note(address, "io", "bind_address has no address of this family")
   end
   local fd, pending, message = net.open(core.socket.connect, address, bind_address)
   if not fd then
      self:note(address, pending, message)
   elseif pending then
      table.insert(self.pending, { fd = fd, address = address })
      self.next_start = loop.now() + STAGGER
   else
      self.winner = address
      return fd
   end
end

-- Waits for one of the attempts, or for the time of the next one. Gives a connected descriptor.
function Race:wait(deadline)
   local watched = {}
   for i, attempt in ipairs(self.pending) do
      watched[i] = { attempt.fd, "w" }
   end
   local until_ = deadline
   if self.addresses[1] and (not until_ or self.next_start < until_) then
      until_ = self.next_start
   end
   local index = loop.wait_any(watched, until_) or 1 -- the loop may be mistaken, also when it knows of none
   local attempt = self.pending[index]
   local ok, code, message, errno = core.socket.finish(attempt.fd)
   if errno == EINPROGRESS then
      return nil
   end
   table.remove(self.pending, index)
   if ok then
      self.winner = attempt.address
      return attempt.fd
   end
   net.close(attempt.fd)
   self:note(attempt.address, code, message)
   self.next_start = 0
end

function Race:failure(host, port)
   local parts, refused = {}, true
   for i, one in ipairs(self.failures) do
      refused = refused and one.code == "refused"
      if i <= 4 then
         parts[i] = ("%s: %s"):format(one.address, one.message)
      end
   end
   return errors.new(refused and #parts > 0 and "refused" or "io",
      ("cannot connect to %s port %d: %s"):format(errors.escape(host), port, table.concat(parts, "; ")),
      { host = host, port = port, attempts = self.failures })
end

--- Connects to the first of several addresses that answers.
---@param addresses table[] as core.resolve gives them
---@param binds table<string, any>|nil by family, the local address to connect from
---@param deadline number|nil
---@return integer|nil fd
---@return table? err `refused`, `io`, `timeout`
---@return table? address the one that answered
function net.race(addresses, host, port, binds, deadline)
   local race <close> = setmetatable({
      addresses = net.interleave(addresses),
      binds = binds,
      pending = {},
      failures = {},
      next_start = 0,
   }, Race)
   while race.addresses[1] or race.pending[1] do
      if deadline and loop.now() >= deadline then
         return nil, timeout_error("connect", host, port)
      end
      local fd
      if race.addresses[1] and loop.now() >= race.next_start then
         fd = race:start_next()
      elseif race.pending[1] then
         fd = race:wait(deadline)
      end
      if fd then
         return fd, nil, race.winner
      end
   end
   return nil, race:failure(host, port)
end

-- The local addresses to connect from, the first one of each family.
local function resolve_binds(name, family, deadline)
   local list, err = net.resolve(name, 0, family, deadline)
   if not list then
      return nil, err
   end
   local binds = {}
   for _, address in ipairs(list) do
      binds[address.family] = binds[address.family] or address
   end
   return binds
end

--- Resolves and connects.
---@param options { bind_address: string?, address_family: string? }
---@param deadline number|nil
---@return integer|nil fd
---@return table? err `resolve`, `refused`, `io`, `timeout` with its stage
---@return table? address the one that answered
function net.connect(host, port, options, deadline)
   local addresses, err = net.resolve(host, port, options.address_family, deadline)
   if not addresses then
      return nil, err
   end
   local binds
   if options.bind_address then
      binds, err = resolve_binds(options.bind_address, options.address_family, deadline)
      if not binds then
         return nil, err
      end
   end
   return net.race(addresses, host, port, binds, deadline)
end

return net
