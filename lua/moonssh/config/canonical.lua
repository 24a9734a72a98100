-- CanonicalizeHostname: the full name of a host, from the domains that it may be in.

local criteria = require "moonssh.config.criteria"
local errors = require "moonssh.errors"
local loop = require "moonssh.loop"
local net = require "moonssh.net"

local canonical = {}

-- Follows the name that the system gives for a host, where a rule of CanonicalizePermittedCNAMEs allows it.
local function follow(host, name, rules)
   if not name or name:lower() == host:lower() then
      return host
   end
   name = name:lower():gsub("%.$", "")
   for _, rule in ipairs(rules or {}) do
      local from, to = rule:lower():match("^([^:]*):(.*)$")
      if rule == "*" then
         from, to = "*", "*"
      end
      if from and criteria.list(host, from) and criteria.list(name, to) then
         return name
      end
   end
   return host
end

-- Whether a connection is made here, and not by another host or a program.
local function is_direct(slots)
   local command, jump = slots.proxycommand, slots.proxyjump
   return (command == nil or command:lower() == "none") and (jump == nil or jump == "none")
end

local function resolve(host, slots, deadline)
   return net.resolve(host, slots.port or 22, slots.addressfamily, deadline, true)
end

-- Tries the domains one after the other: the full name, and what the system calls it.
local function find(host, slots, deadline)
   if host:sub(-1) == "." then
      local list = resolve(host, slots, deadline)
      return list and host:sub(1, -2), list
   end
   local _, dots = host:gsub("%.", "")
   if dots > (slots.canonicalizemaxdots or 1) then
      return host
   end
   for _, domain in ipairs(slots.canonicaldomains or {}) do
      if domain:lower() == "none" then
         break
      end
      local list, err = resolve(("%s.%s."):format(host, domain), slots, deadline)
      if list then
         return host .. "." .. domain, list
      elseif err.code == "timeout" then
         return nil, nil, err
      end
   end
end

--- Whether a host is an address.
function canonical.is_address(host)
   return host:find("^%d+%.%d+%.%d+%.%d+$") ~= nil or host:find(":", 1, true) ~= nil
end

--- The name to go on with: the host itself where nothing is to be made of it.
---@param host string
---@param slots table the values so far
---@param deadline number|nil
---@return string|nil
---@return table? err
function canonical.name(host, slots, deadline)
   local mode = slots.canonicalizehostname or "false"
   local direct = is_direct(slots)
   if canonical.is_address(host) then
      local list = net.resolve(host, slots.port or 22, nil, deadline or loop.now())
      return list and list[1].text or host
   elseif mode ~= "false" and (direct or mode == "always") then
      local name, list, err = find(host, slots, deadline)
      if err then
         return nil, err
      elseif name then
         return list and follow(name:lower(), list.canonical, slots.canonicalizepermittedcnames) or name
      elseif slots.canonicalizefallbacklocal == "no" then
         return nil, errors.new("resolve", ("cannot resolve %s in any of its domains"):format(errors.escape(host)),
            { host = host })
      end
   end
   local rules = slots.canonicalizepermittedcnames
   if rules and rules[1] and rules[1]:lower() ~= "none" and (direct or mode == "always") then
      local list, err = resolve(host, slots, deadline)
      if not list and direct then
         return nil, err
      end
      return list and follow(host, list.canonical, rules) or host
   end
   return host
end

return canonical
