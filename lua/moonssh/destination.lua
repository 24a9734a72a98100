--- Destinations: `[user@]host[:port]`, `[v6]:port`, `ssh://user@host:port`.

local destination = {}

local function port_of(text)
   local port = text:find("^%d+$") and #text <= 5 and tonumber(text)
   return port and port >= 1 and port <= 65535 and port or nil
end

-- What must not stand in a name: control characters hide or end a word wherever the name is put into a file, a message
-- or a command, and a leading dash would be read as an option. A host is made of what names and addresses are.
local function complaint(what, name)
   if name == "" then
      return "empty " .. what
   elseif name:find("^%-") then
      return what .. " begins with a dash"
   elseif name:find("[%c\127]") or what == "host" and name:find("[^%w._+:%%-]") then
      return what .. " with a character that cannot stand in one"
   elseif what == "host" and #name > 255 then
      return "host is too long"
   elseif what == "host" and name:find("[:%%]") and not name:find("^[%x:.]*:[%x:.]*$")
      and not name:find("^[%x:.]*:[%x:.]*%%[%w._-]+$") then
      return "host is neither a name nor an address"
   end
end

-- host, port (text, may be nil) of the part behind the user.
local function split_host(text)
   local host, rest = text:match("^%[([^%[%]]*)%](.*)$")
   if host then
      if rest == "" then
         return host
      end
      return host, rest:match("^:(.*)$") or ""
   end
   local before, port = text:match("^([^:]*):([^:]*)$")
   if before then
      return before, port
   end
   -- Two colons or more and no brackets: an IPv6 address as it is.
   return text
end

local function unescape(text)
   if text:gsub("%%%x%x", ""):find("%", 1, true) then
      return nil
   end
   return (text:gsub("%%(%x%x)", function(digits)
      return string.char(tonumber(digits, 16))
   end))
end

-- The parts of what stands behind "ssh://": nil and a complaint when it is more than user, host and port.
local function split_uri(text)
   local authority = text:match("^([^/]*)/?$")
   if not authority then
      return nil, "an ssh:// destination has no path"
   end
   local user, rest = authority:match("^(.*)@(.*)$")
   if user then
      user = unescape(user:match("^[^;]*"))
      if not user then
         return nil, "user with a broken % escape"
      end
   end
   return rest or authority, user
end

--- Takes a destination apart. User and port are nil where it names none.
---@param text string
---@return { user: string?, host: string, port: integer? }|nil
---@return string? complaint
function destination.parse(text)
   local rest, user
   if text:lower():find("^ssh://") then
      rest, user = split_uri(text:sub(7))
      if not rest then
         return nil, user
      end
   else
      user, rest = text:match("^(.*)@(.*)$")
   end
   local host, port = split_host(rest or text)
   local problem = complaint("host", host) or (user and complaint("user", user))
   if not problem and port then
      port = port_of(port)
      problem = not port and "port must be a number from 1 to 65535" or nil
   end
   if problem then
      return nil, problem
   end
   return { user = user, host = host, port = port }
end

--- Why a host or user name given as an option cannot be one, or nil.
---@param what "host"|"user"
---@param name string
---@return string?
function destination.complaint(what, name)
   return complaint(what, name)
end

return destination
