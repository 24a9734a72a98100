-- The agent protocol (draft-miller-ssh-agent) as an agent speaks it: what the requests are, and how they are answered.
-- Only whole frames come here, and a request that is not exactly in form is none.

local protocol = {}

--- Most bytes of a frame, without its length.
protocol.MAX_FRAME = 256 * 1024

protocol.FAILURE, protocol.SUCCESS = "\5", "\6"

local REQUEST_IDENTITIES, IDENTITIES_ANSWER = 11, 12
local SIGN_REQUEST, SIGN_RESPONSE = 13, 14
local EXTENSION = 27

local BIND = "session-bind@openssh.com"

-- A session id is the hash of a key exchange.
local LONGEST_SESSION_ID = 64

-- The fields of a payload behind its first byte, and nothing after them; nil when they are not there.
local function fields(format, payload)
   local results = table.pack(pcall(string.unpack, format, payload, 2))
   if results[1] and results[results.n] == #payload + 1 then
      return table.unpack(results, 2, results.n - 1)
   end
end

local read = {}

read[REQUEST_IDENTITIES] = function(payload)
   return #payload == 1 and { type = "identities" } or nil
end

read[SIGN_REQUEST] = function(payload)
   local blob, data, flags = fields(">s4s4I4", payload)
   return blob and { type = "sign", blob = blob, data = data, flags = flags }
end

-- PROTOCOL.agent of OpenSSH, 1: the host key, the session id, its signature by that key, and whether the connection
-- to the agent is forwarded over the session.
read[EXTENSION] = function(payload)
   local name, host_key, session_id, signature, forwarding = fields(">s4s4s4s4B", payload)
   if name == BIND and forwarding <= 1 and session_id ~= "" and #session_id <= LONGEST_SESSION_ID then
      return {
         type = "bind",
         host_key = host_key,
         session_id = session_id,
         signature = signature,
         forwarding = forwarding == 1,
      }
   end
end

--- A request taken apart: { type = "identities" }, "sign" with blob, data and flags, or "bind" with host_key,
--- session_id, signature and forwarding; nil for one that is unknown or out of form.
---@param payload string
---@return table?
function protocol.request(payload)
   local reader = read[payload:byte()]
   return reader and reader(payload)
end

-- The name that a blob begins with.
local function name_of(blob)
   local ok, name = pcall(string.unpack, ">s4", blob)
   return ok and name ~= "" and name or nil
end

--- The answer that lists identities, { blob =, comment = } each; nil and what is wrong with them otherwise.
---@return string?
---@return string? complaint
function protocol.identities(list)
   if type(list) ~= "table" then
      return nil, "a list of identities expected, got " .. type(list)
   end
   local parts, length = {}, 5
   for i = 1, #list do
      local entry = list[i]
      local blob, comment = nil, nil
      if type(entry) == "table" then
         blob, comment = entry.blob, entry.comment
      end
      if type(blob) ~= "string" or not name_of(blob) then
         return nil, ("identity %d: 'blob' is no key blob"):format(i)
      elseif comment ~= nil and type(comment) ~= "string" then
         return nil, ("identity %d: 'comment': string expected, got %s"):format(i, type(comment))
      end
      parts[i] = string.pack(">s4s4", blob, comment or "")
      length = length + #parts[i]
      if length > protocol.MAX_FRAME then
         return nil, "more identities than an answer can hold"
      end
   end
   return string.pack(">BI4", IDENTITIES_ANSWER, #parts) .. table.concat(parts)
end

-- Signatures by security keys go on behind the two strings (PROTOCOL.u2f of OpenSSH).
local function has_more(algorithm)
   return algorithm:find("^sk%-") ~= nil or algorithm:find("^webauthn%-sk%-") ~= nil
end

--- The answer with a signature blob; nil and what is wrong with it otherwise.
---@return string?
---@return string? complaint
function protocol.signature(signature)
   if type(signature) ~= "string" then
      return nil, "a signature expected, got " .. type(signature)
   end
   local ok, algorithm, _, after = pcall(string.unpack, ">s4s4", signature)
   if not ok or algorithm == "" or after ~= #signature + 1 and not has_more(algorithm) then
      return nil, "the string is no signature blob"
   elseif #signature > protocol.MAX_FRAME - 5 then
      return nil, "a longer signature than an answer can hold"
   end
   return string.pack(">Bs4", SIGN_RESPONSE, signature)
end

return protocol
