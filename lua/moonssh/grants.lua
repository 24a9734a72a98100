-- What the channels of a session have asked the server to forward: only then may it open channels of that type, and
-- only as long as one of those that asked is open.

local grants = {}

--- Notes that a channel has asked for channels of a type.
---@param session moonssh.session
---@param ch integer the channel's handle
---@param type string "x11" or "auth-agent@openssh.com"
---@param grant table
function grants.add(session, ch, type, grant)
   local given = session._grants[type] or {}
   session._grants[type] = given
   given[ch] = grant
   session._core:want(type, true)
end

--- Takes that back.
function grants.drop(session, ch, type)
   local given = session._grants[type]
   if given and given[ch] then
      given[ch] = nil
      if next(given) == nil then
         session._grants[type] = nil
         session._core:want(type, false)
      end
   end
end

--- The server has answered the request. → whether it is granted
function grants.answered(session, ch, type, success)
   -- Of all that ask for the agent on a connection, sshd grants it to the first alone, and then to all.
   if type == "auth-agent@openssh.com" then
      session._agent_granted = session._agent_granted or success
      success = session._agent_granted
   end
   if not success then
      grants.drop(session, ch, type)
   end
   return success
end

--- The channel has ended.
function grants.forget(session, ch)
   if next(session._grants) and not session.closed then
      for _, type in ipairs{ "x11", "auth-agent@openssh.com" } do
         grants.drop(session, ch, type)
      end
   end
end

--- Those of a type, by the handles of the channels that asked; empty when nobody did.
---@return table<integer, table>
function grants.of(session, type)
   return session._grants[type] or {}
end

return grants
