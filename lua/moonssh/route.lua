--- How a server is reached: what the bytes of its session go over.

local errors = require "moonssh.errors"
local loop = require "moonssh.loop"
local net = require "moonssh.net"

-- Seconds between attempts to connect, as in ssh.
local ATTEMPT_DELAY = 1

local route = {}

local function soonest(a, b)
   return a and b and math.min(a, b) or a or b
end

-- A connection of our own: as many attempts as ssh_config asks for, each within the time that it allows.
local function connect(target, options, limit)
   for left = math.max(1, options._attempts or 1) - 1, 0, -1 do
      local now = loop.now()
      local fd, err, address = net.connect(target.host, target.port, options,
         soonest(limit.at, options._connect_timeout and now + options._connect_timeout))
      if fd or left == 0 or limit.at and loop.now() + ATTEMPT_DELAY >= limit.at then
         return fd, err, address
      end
      loop.sleep(ATTEMPT_DELAY)
   end
end

--- The socket to use: the caller's, or one of ours, which is then `fd` of the attempt. The callbacks send and recv get
--- it, to do with it what they like.
---@param attempt table what is open so far
---@param target table
---@param options table
---@param limit { at: number? }
---@return any socket
---@return moonssh.error? err
function route.open(attempt, target, options, limit)
   if options.socket ~= nil then
      return options.socket
   end
   local found = options._found
   if found.proxyjump or found.proxycommand then
      return nil, errors.new("unsupported", ("ssh_config leads to %s through %s"):format(errors.escape(target.original),
         errors.escape(found.proxyjump or found.proxycommand)))
   end
   local fd, err, address = connect(target, options, limit)
   attempt.fd = fd
   target.address = address and address.text
   return fd, err
end

return route
