-- LocalForward, RemoteForward and DynamicForward of ssh_config, begun once a session is logged in.

local errors = require "moonssh.errors"
local loop = require "moonssh.loop"
local match = require "moonssh.match"

local forwards = {}

local kinds = {
   { keyword = "localforward", method = "forward_local" },
   { keyword = "remoteforward", method = "forward_remote" },
   { keyword = "dynamicforward", method = "forward_dynamic" },
}

-- A place as the methods take it, from "[host]:port", "port", or a path. Without a host it is `host`.
local function place_of(text, host)
   if text:find("/", 1, true) then
      return text
   end
   local named, port = text:match("^%[(.*)%]:(%d+)$")
   named, port = named or host, port or text
   return named:find(":", 1, true) and ("[%s]:%s"):format(named, port) or ("%s:%s"):format(named, port)
end

-- Whether PermitRemoteOpen allows a place, as a function; nil where it allows everything.
local function permit_of(list)
   if not list or list[1] == "any" then
      return nil
   end
   return function(host, port)
      for _, text in ipairs(list) do
         local name, number = text:match("^(.+):([%d*]+)$")
         name = name and (name:match("^%[(.*)%]$") or name)
         if name and match.pattern(name:lower(), host:lower()) and (number == "*" or tonumber(number) == port) then
            return true
         end
      end
      return false
   end
end

--- What the values of the files ask for: { list, strict = }; nil where it is nothing.
---@param found table of moonssh.config.lookup
---@return table|nil
function forwards.of(found)
   local list = { strict = found.exitonforwardfailure == "yes" }
   local mask = found.streamlocalbindmask and tonumber(found.streamlocalbindmask, 8)
   local here_only = { replace = found.streamlocalbindunlink == "yes" or nil, mode = mask and 511 & ~mask }
   for _, kind in ipairs(kinds) do
      for _, text in ipairs(found[kind.keyword] or {}) do
         local here = kind.method ~= "forward_remote" and found.gatewayports == "yes" and "" or "localhost"
         local bind, to = text:match("^(%S+) (%S+)$")
         local is_dynamic = kind.method == "forward_remote" and to == "[socks]:0"
         list[#list + 1] = { method = is_dynamic and "forward_dynamic" or kind.method, keyword = kind.keyword,
            text = text, bind = place_of(bind or text, here), remote = is_dynamic or nil,
            to = to and not is_dynamic and place_of(to, "localhost") or nil,
            here = kind.method ~= "forward_remote" and here_only or {},
            permit = is_dynamic and permit_of(found.permitremoteopen) or nil }
      end
   end
   return list[1] and list or nil
end

local function begin(session, one, limit)
   local left = limit.at and math.max(0, limit.at - loop.now()) or math.huge
   if (one.to == nil) ~= (one.method == "forward_dynamic") or one.bind:find("%s") then
      return nil, errors.new("unsupported", ("%s '%s': a path with a blank is not done here"):format(one.keyword,
         errors.escape(one.text)))
   end
   local started, err = session[one.method](session, { bind = one.bind, to = one.to, remote = one.remote,
      permit = one.permit, mode = one.here.mode, replace = one.here.replace, timeout = left })
   return started, err and errors.with(err, { message = ("%s '%s': %s"):format(one.keyword, errors.escape(one.text),
      err.message) })
end

--- Begins them all. One that cannot be is an error with ExitOnForwardFailure, and else passed over, as by ssh; it is
--- noted in `session.forward_problems`.
---@param session moonssh.session
---@param list table of forwards.of
---@param limit { at: number? }
---@return true|nil
---@return moonssh.error? err
function forwards.start(session, list, limit)
   session.forwards, session.forward_problems = {}, {}
   for _, one in ipairs(list) do
      local started, err = begin(session, one, limit)
      if started then
         table.insert(session.forwards, started)
      elseif list.strict or session.failure then
         return nil, err
      else
         table.insert(session.forward_problems, err)
      end
   end
   return true
end

return forwards
