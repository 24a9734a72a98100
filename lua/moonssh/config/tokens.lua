-- Tokens (%h) and variables of the environment (${HOME}) in values of ssh_config.

local core = require "moonssh.core"
local errors = require "moonssh.errors"

local tokens = {}

-- Most a value grows to.
local MAX_LENGTH = 64 * 1024

-- The letters that may follow a percent sign: see tokens.values. "%%" may always.
local LETTERS = "CdhikLlnpru"

--- What is wrong with the tokens of a text, or nil.
---@param text string
---@return string?
function tokens.complaint(text)
   for letter in text:gmatch("%%(.?)") do
      if letter == "" then
         return "a percent sign at its end"
      end
   end
   for letter in text:gsub("%%%%", ""):gmatch("%%(.)") do
      if not LETTERS:find(letter, 1, true) then
         return ("unknown token '%%%s'"):format(errors.escape(letter))
      end
   end
end

-- The value of ${NAME}, or nil and a complaint.
local function variable(name)
   local value = os.getenv(name)
   if not value then
      return nil, ("the environment has no variable '%s'"):format(errors.escape(name, 64))
   end
   return value
end

-- What stands at a percent or dollar sign: its text, and the place after it; nil and a complaint.
local function expansion(text, place, values, environment)
   local following = text:sub(place + 1, place + 1)
   if text:sub(place, place) == "%" then
      if following == "%" then
         return "%", place + 2
      end
      local value = following ~= "" and values[following]
      if not value then
         return nil, following == "" and "a percent sign at its end"
            or ("unknown token '%%%s'"):format(errors.escape(following))
      end
      return value, place + 2
   elseif not environment or following ~= "{" then
      return "$", place + 1
   end
   local name, after = text:match("^([^}]*)}()", place + 2)
   if not name or name == "" then
      return nil, "a variable that is not closed"
   end
   local value, complaint = variable(name)
   return value, value and after or complaint
end

--- Replaces the tokens, and with `environment` the variables. What comes in is not looked at again.
---@param text string
---@param values table<string, string> by letter
---@param environment? boolean
---@return string|nil
---@return string? complaint
function tokens.expand(text, values, environment)
   local parts, place, length = {}, 1, 0
   while place <= #text do
      local at = text:find("[%%$]", place) or #text + 1
      parts[#parts + 1] = text:sub(place, at - 1)
      length = length + at - place
      place = at
      if at <= #text then
         local value, after = expansion(text, at, values, environment)
         if not value then
            return nil, after
         end
         parts[#parts + 1], place = value, after
         length = length + #value
      end
      if length > MAX_LENGTH then
         return nil, "it becomes too long"
      end
   end
   return table.concat(parts)
end

--- The values of all tokens.
---@param what { host: string, original: string, port: integer, user: string, alias: string? }
---@return table<string, string>
function tokens.values(what)
   local here = core.file.hostname() or ""
   local port = tostring(what.port)
   local hash = core.hash("sha1", here .. what.host .. port .. what.user)
   return {
      C = hash:gsub(".", function(c) return ("%02x"):format(c:byte()) end),
      L = here:match("^[^.]*"),
      d = core.file.home() or "",
      h = what.host,
      i = tostring(core.file.uid()),
      k = what.alias or what.original,
      l = here,
      n = what.original,
      p = port,
      r = what.user,
      u = core.file.user() or "",
   }
end

return tokens
