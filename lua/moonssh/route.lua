--- How a server is reached: what the bytes of its session go over.
---
--- That is a socket of the caller's, a channel of a session through which we go (ProxyJump), the input and output of a
--- program (ProxyCommand), or a connection of our own. What was opened for it is noted in the attempt: `fd`, `channel`,
--- and `companions`, sessions and programs that end with the session.

local config = require "moonssh.config"
local core = require "moonssh.core"
local destinations = require "moonssh.destination"
local errors = require "moonssh.errors"
local lists = require "moonssh.lists"
local loop = require "moonssh.loop"
local net = require "moonssh.net"
local shell = require "moonssh.config.shell"
local tokens = require "moonssh.config.tokens"

-- Seconds between attempts to connect, as in ssh.
local ATTEMPT_DELAY = 1

-- So long a program that has closed its output may take to end before nothing is said of it, in seconds.
local EXIT_TIME = 1

-- Most hops that lead to each other.
local MAX_DEPTH = 16

local route = {}

local function soonest(a, b)
   return a and b and math.min(a, b) or a or b
end

-- --- a connection of our own

-- As many attempts as ssh_config asks for, each within the time that it allows.
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

-- --- through sessions

-- A target's name for those who look for circles: what ssh_config is asked with. Several names may lead to one place.
local function place_of(target)
   return ("%s@%s:%d"):format(target.user, target.original, target.port)
end

-- What a hop is told beside ssh_config, and what it falls back to where that is silent: where keys and trust are kept
-- may be the same for all, but no password goes to another host than it is for.
local function hop_options(options, path, via)
   local fallback = {}
   for _, name in ipairs{ "identity", "identities_only", "certificate", "passphrase", "agent", "known_hosts" } do
      fallback[name] = options[name]
   end
   local policy = options.host_keys
   if policy == "strict" or policy == "accept-new" or type(policy) == "function" then
      fallback.host_keys = policy
   end
   return { config = options.config, loop = options.loop, _fallback = fallback, _path = path, _via = via }
end

-- An error of a hop, which says of which one.
local function hop_error(err, hop)
   return errors.with(err, { message = ("through %s: %s"):format(errors.escape(hop, 80), err.message),
      hop = err.hop or hop })
end

-- The channel to the target through a session.
local function dial(attempt, session, target, limit)
   local left = limit.at and math.max(0, limit.at - loop.now()) or math.huge
   local channel, err = session:dial(target.host, target.port, { timeout = left })
   attempt.channel = channel
   return channel, err
end

-- Goes from hop to hop. A session of the caller's may be the first one; it stays open.
local function jump(attempt, hops, target, options, limit)
   local via = type(hops[1]) == "table" and hops[1] or nil
   local path = hops.path or options._path or {}
   for i = via and 2 or 1, #hops do
      local parsed = destinations.parse(hops[i])
      local session, err = attempt.establish(parsed, hop_options(options, path, via), limit)
      if not session then
         return nil, hop_error(err, hops[i])
      end
      table.insert(attempt.companions, session)
      via = session
   end
   return dial(attempt, via, target, limit)
end

-- The way to a target as ssh_config has it so far, with the target: what leads over a name twice goes on for ever.
local function path_to(target, options)
   local path, place = lists.copy(options._path or {}), place_of(target)
   local is_circle = #path >= MAX_DEPTH or lists.has(path, place)
   path[#path + 1] = place
   if is_circle then
      return nil, ("ProxyJump leads in a circle: %s"):format(errors.escape(table.concat(path, ", ")))
   end
   return path
end

-- The hops of ssh_config, with their tokens replaced, and in `path` where they lead to. nil, complaint
local function hops_of(text, target, options)
   local hops = {}
   for one in text:gmatch("[^,]+") do
      local hop, complaint = tokens.expand(one, target.tokens)
      local parsed
      if hop then
         parsed, complaint = destinations.parse(hop)
      end
      if not parsed then
         return nil, ("ProxyJump: '%s': %s"):format(errors.escape(one, 80), complaint)
      end
      hops[#hops + 1] = hop
   end
   local path, complaint = path_to(target, options)
   hops.path = path
   return path and hops, complaint
end

-- --- through a program

-- The arguments of the program: those of the list with tokens replaced, or the shell's with a command in which nothing
-- comes from elsewhere that the shell would make more of.
local function program_arguments(command, target)
   if type(command) == "string" then
      local complaint = shell.complaint(command, target.tokens)
      local line
      if not complaint then
         line, complaint = tokens.expand(command, target.tokens)
      end
      return line and shell.arguments("exec " .. line), complaint
   end
   local list = {}
   for i, argument in ipairs(command) do
      local text, complaint = tokens.expand(argument, target.tokens)
      if not text then
         return nil, complaint
      end
      list[i] = text
   end
   return list
end

-- The connection that the program has made, in place of one through it (ProxyUseFdpass). nil, err
local function take_connection(attempt, limit)
   local fd, code, message, errno
   repeat
      if not loop.wait(attempt.fd, "r", limit.at) and limit.at and loop.now() >= limit.at then
         return nil, errors.timeout("connect")
      end
      fd, code, message, errno = core.socket.take(attempt.fd)
   until fd or errno ~= core.EAGAIN
   if not fd then
      return nil, errors.new(code, "the proxy command has passed no connection: " .. message)
   end
   net.close(attempt.fd)
   attempt.fd = fd
   core.socket.prepare(fd)
   return fd
end

-- Starts the program. `passes`: it makes a connection, passes it on and ends.
local function run(attempt, command, target, limit, passes)
   local arguments, complaint = program_arguments(command, target)
   if not arguments then
      return nil, errors.new("io", "proxy command: " .. complaint)
   end
   local ours, theirs, problem = core.socket.pair()
   if not ours then
      return nil, errors.from_core(theirs, problem)
   end
   attempt.fd = ours
   local process, code, message = core.process.spawn(arguments, theirs, theirs)
   core.socket.close(theirs)
   if not process then
      return nil, errors.new(code, ("cannot run %s: %s"):format(errors.escape(arguments[1], 80), message))
   end
   attempt.process = process
   table.insert(attempt.companions, process)
   if passes then
      return take_connection(attempt, limit)
   end
   return ours
end

--- The error of an attempt, with what became of its program: that tells more than a lost connection.
---@param attempt table
---@param err moonssh.error
---@return moonssh.error
function route.explain(attempt, err)
   local process = attempt.process
   if not process or err.code ~= "eof" and err.code ~= "io" then
      return err
   end
   local how, status = shell.wait(process, loop.now() + EXIT_TIME)
   if not how then
      return err
   end
   return errors.with(err, { message = ("%s (the proxy command has ended with %s %s)"):format(err.message,
      how == "exit" and "status" or "signal", tostring(status)) })
end

-- --- the choice

local function token_values(target)
   return { h = target.host, n = target.original, p = tostring(target.port), r = target.user }
end

-- What the options say, or else the files. → hops | nil, the command | nil, err
local function choose(target, options)
   local found = options._found
   local hops, command = options.jump, options.proxy_command
   if hops == false or options._via then
      return nil, command
   elseif type(hops) == "string" or hops and hops._core then
      return { hops }
   elseif hops or command then
      return hops, command
   elseif found.proxyjump then
      local complaint
      hops, complaint = hops_of(found.proxyjump, target, options)
      return hops, nil, complaint and config.complaint(found, "proxyjump", complaint)
   end
   return nil, found.proxycommand
end

--- The socket or channel to use; the callbacks send and recv get it, to do with it what they like.
---@param attempt table what is open so far; `establish` connects to a hop
---@param target table
---@param options table
---@param limit { at: number? }
---@return any socket
---@return moonssh.error? err
function route.open(attempt, target, options, limit)
   if options.socket ~= nil then
      return options.socket
   end
   target.tokens = token_values(target)
   local hops, command, err = choose(target, options)
   if err then
      return nil, err
   elseif options._via then
      return dial(attempt, options._via, target, limit)
   elseif hops then
      return jump(attempt, hops, target, options, limit)
   elseif command then
      return run(attempt, command, target, limit,
         options.proxy_command == nil and options._found.proxyusefdpass == "yes")
   end
   local fd, address
   fd, err, address = connect(target, options, limit)
   attempt.fd = fd
   target.address = address and address.text
   return fd, err
end

return route
