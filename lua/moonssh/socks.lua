-- The server's side of SOCKS 4, 4a and 5 (RFC 1928), as far as a dynamic forward needs it: CONNECT, without
-- authentication. The request is read byte for byte, so that what the client sends behind it stays in the socket.

local socks = {}

local CONNECT = 1

-- A user name or host name of version 4 ends with a NUL; so far that is waited for.
local LONGEST_TEXT = 255

-- Reads up to a NUL. → text | nil when the client has gone or says too much
local function read_text(read)
   local text = {}
   while #text <= LONGEST_TEXT do
      local byte = read(1)
      if not byte then
         return nil
      elseif byte == "\0" then
         return table.concat(text)
      end
      text[#text + 1] = byte
   end
end

-- Codes of an answer, by what became of the connection.
local codes4 = { done = 90, refused = 91 }
local codes5 = { done = 0, failed = 1, prohibited = 2, unreachable = 4, refused = 5, command = 7, family = 8 }

local function answer4(outcome)
   return string.pack(">BBI2I4", 0, codes4[outcome] or codes4.refused, 0, 0)
end

local function answer5(outcome)
   -- RFC 1928 6: version, reply, reserved, address type 1, address and port, which are not known here.
   return string.pack(">BBBBI4I2", 5, codes5[outcome] or codes5.failed, 0, 1, 0, 0)
end

-- Version 4: command, port, address, user; 4a has an address 0.0.0.x and then the name.
local function request4(read)
   local head = read(7)
   local command, port, address = 0, 0, 0
   if head then
      command, port, address = string.unpack(">BI2I4", head)
   end
   local user = head and read_text(read)
   local host = ("%d.%d.%d.%d"):format(address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255)
   if user and address ~= 0 and address < 256 then
      host = read_text(read)
   end
   if not user or not host then
      return nil
   elseif command ~= CONNECT then
      return nil, answer4("refused")
   end
   return { host = host, port = port, answer = answer4 }
end

local function ipv6_text(bytes)
   local groups = { string.unpack(">I2I2I2I2I2I2I2I2", bytes) }
   return ("%x:%x:%x:%x:%x:%x:%x:%x"):format(table.unpack(groups, 1, 8))
end

-- The host of a version 5 request, by its address type.
local hosts5 = {
   [1] = function(read)
      local bytes = read(4)
      return bytes and ("%d.%d.%d.%d"):format(bytes:byte(1, 4))
   end,
   [3] = function(read)
      local length = read(1)
      return length and length ~= "\0" and read(length:byte()) or nil
   end,
   [4] = function(read)
      local bytes = read(16)
      return bytes and ipv6_text(bytes)
   end,
}

-- Version 5: the methods, one of which must be "no authentication"; then the request.
local function request5(read, write)
   local count = read(1)
   local methods = count and count ~= "\0" and read(count:byte())
   if not methods then
      return nil
   elseif not methods:find("\0", 1, true) then
      return nil, "\5\255"
   elseif not write("\5\0") then
      return nil
   end
   local head = read(4)
   if not head then
      return nil
   end
   local version, command, _, kind = head:byte(1, 4)
   local host_of = hosts5[kind]
   if version ~= 5 then
      return nil
   elseif not host_of then
      return nil, answer5("family")
   end
   local host = host_of(read)
   local port = host and read(2)
   if not port then
      return nil
   elseif command ~= CONNECT then
      return nil, answer5("command")
   end
   return { host = host, port = string.unpack(">I2", port), answer = answer5 }
end

local versions = { ["\4"] = request4, ["\5"] = request5 }

--- Takes a client's request. read(n) gives n bytes, nil when the client has gone; write(bytes) is false then.
--- → { host =, port =, answer = function(outcome) → bytes } | nil, bytes to answer with before closing
---@param read fun(n: integer): string|nil
---@param write fun(bytes: string): boolean
---@return table|nil request
---@return string|nil answer
function socks.request(read, write)
   local version = read(1)
   local take = version and versions[version]
   if not take then
      return nil
   end
   local request, answer = take(read, write)
   if request and (request.host == "" or request.host:find("\0", 1, true) or request.port == 0) then
      return nil, request.answer("failed")
   end
   return request, answer
end

local outcomes = { [1] = "prohibited", [2] = "unreachable" }
local outcomes_here = { refused = "refused", resolve = "unreachable" }

--- What a failed dial, or a failed connection, is in an answer.
---@param err moonssh.error
---@return string
function socks.outcome(err)
   return err.code == "channel_open" and outcomes[err.reason] or outcomes_here[err.code] or "failed"
end

return socks
