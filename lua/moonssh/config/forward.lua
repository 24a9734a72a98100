-- The arguments of LocalForward, RemoteForward and DynamicForward: what listens, and where it leads.

local forward = {}

local MAX_SOCKET_PATH = 107
local MAX_HOST = 1024

-- A port's number, or -1.
local function port_of(text)
   local port = text:find("^%d+$") and #text <= 5 and tonumber(text)
   return port and port <= 65535 and port or -1
end

-- The next field of a specification: { text, whether it is a path }, and the place after its colon. nil where it is
-- broken or nothing is left.
local function field(text, place)
   if place > #text then
      return nil
   elseif text:sub(place, place) == "[" then
      local inner, after = text:match("^%[([^%]]*)%]()", place)
      local following = inner and text:sub(after, after)
      if not inner or following ~= "" and following ~= ":" then
         return nil
      end
      return { inner, inner:find("/", 1, true) ~= nil }, after + 1
   end
   local parts, is_path = {}, false
   while place <= #text do
      local c = text:sub(place, place)
      if c == ":" then
         place = place + 1
         break
      elseif c == "\\" then
         place = place + 1
         c = text:sub(place, place)
         if c == "" then
            return nil
         end
      elseif c == "/" then
         is_path = true
      end
      parts[#parts + 1] = c
      place = place + 1
   end
   return { table.concat(parts), is_path }, place
end

local function fields_of(text)
   local list, place = {}, text:find("%S") or 1
   for i = 1, 4 do
      local one, after = field(text, place)
      if not one then
         break
      end
      list[i], place = one, after
   end
   return place > #text and list or {}
end

-- Puts the fields into their roles, by their number and by which of them are paths.
local function roles_of(fields)
   local a, b, c, d = fields[1], fields[2], fields[3], fields[4]
   if #fields == 1 then
      return a[2] and { listen_path = a[1] } or { listen_port = port_of(a[1]) }
   elseif #fields == 2 and a[2] and b[2] then
      return { listen_path = a[1], path = b[1] }
   elseif #fields == 2 and b[2] then
      return { listen_port = port_of(a[1]), path = b[1] }
   elseif #fields == 2 then
      return { listen_host = a[1], listen_port = port_of(b[1]) }
   elseif #fields == 3 and a[2] then
      return { listen_path = a[1], host = b[1], port = port_of(c[1]) }
   elseif #fields == 3 and c[2] then
      return { listen_host = a[1], listen_port = port_of(b[1]), path = c[1] }
   elseif #fields == 3 then
      return { listen_port = port_of(a[1]), host = b[1], port = port_of(c[1]) }
   elseif #fields == 4 then
      return { listen_host = a[1], listen_port = port_of(b[1]), host = c[1], port = port_of(d[1]) }
   end
end

local function is_good(roles, count, dynamic, remote)
   local port = roles.listen_port
   if dynamic and count > 2 or dynamic and roles.path then
      return false
   elseif not dynamic and not roles.path and (roles.port or 0) <= 0 then
      return false
   elseif not dynamic and count < 3 and not roles.path and not roles.listen_path then
      return false
   elseif not roles.listen_path and (port < 0 or port == 0 and not remote) then
      return false
   end
   return #(roles.host or "") <= MAX_HOST and #(roles.listen_host or "") <= MAX_HOST
      and #(roles.path or "") <= MAX_SOCKET_PATH and #(roles.listen_path or "") <= MAX_SOCKET_PATH
end

local function side(host, port, path)
   if path then
      return path
   end
   return host and ("[%s]:%d"):format(host, port) or ("%d"):format(port)
end

--- Reads a specification: { listen_host, listen_port, listen_path, host, port, path }; nil for a bad one. One without
--- a destination is for SOCKS.
---@param text string
---@param dynamic boolean
---@param remote boolean
---@return table|nil
function forward.parse(text, dynamic, remote)
   local fields = fields_of(text)
   local roles = roles_of(fields)
   if not roles or not is_good(roles, #fields, dynamic, remote) then
      return nil
   end
   roles.remote = remote
   return roles
end

--- The text of a specification: as `[host]:port [host]:port`, with paths as they are, and `[socks]:0` where a server
--- is to listen for SOCKS.
---@param roles table
---@return string
function forward.text(roles)
   local listening = side(roles.listen_host, roles.listen_port, roles.listen_path)
   if not roles.host and not roles.path then
      return roles.remote and listening .. " [socks]:0" or listening
   end
   return listening .. " " .. side(roles.host, roles.port, roles.path)
end

return forward
