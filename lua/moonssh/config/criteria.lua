-- The conditions of Host and Match.

local errors = require "moonssh.errors"
local lexer = require "moonssh.config.lexer"
local match = require "moonssh.match"
local tokens = require "moonssh.config.tokens"

local criteria = {}

--- Whether a text matches a comma list in which "!" negates; `folded` is without regard to case.
function criteria.list(text, patterns, folded)
   return match.list(patterns, text, not folded) == "positive"
end

--- Whether the patterns of a Host line match.
---@param patterns string[]
---@param host string
---@return boolean
function criteria.host(patterns, host)
   local found = false
   for _, pattern in ipairs(patterns) do
      local negated = pattern:sub(1, 1) == "!"
      if match.pattern(negated and pattern:sub(2) or pattern, host) then
         if negated then
            return false
         end
         found = true
      end
   end
   return found
end

-- --- Match

-- Those with an argument: whether it matches, given what is known of the connection.
local tests = {
   host = function(argument, known)
      return criteria.list(known.host, argument, true)
   end,
   originalhost = function(argument, known)
      return criteria.list(known.original, argument, true)
   end,
   user = function(argument, known)
      return criteria.list(known.user, argument)
   end,
   localuser = function(argument, known)
      return criteria.list(known.local_user, argument)
   end,
   tagged = function(argument, known)
      return criteria.list(known.tag or "", argument)
   end,
}

local function parse_one(attribute, text, place)
   if attribute == "canonical" or attribute == "final" then
      return { name = attribute }, place
   end
   local argument, after = lexer.word(text, place)
   if not argument or argument == "" or argument:sub(1, 1) == "#" then
      return nil, ("'%s' has no value"):format(errors.escape(attribute, 40))
   elseif attribute == "exec" then
      local complaint = tokens.complaint(argument)
      return not complaint and { name = attribute, argument = argument } or nil, complaint or after
   elseif not tests[attribute] then
      return nil, ("'%s' is not a condition that this library knows"):format(errors.escape(attribute, 40))
   end
   return { name = attribute, argument = argument }, after
end

-- "all" stands alone, or behind one other.
local function parse_all(conditions, text, place)
   local following = lexer.word(text, place)
   if #conditions > 1 or following and following ~= "" and following:sub(1, 1) ~= "#" then
      return "'all' is not alone"
   end
end

--- Reads the conditions of a Match line: a list of { name, argument, negated }, or nil and what is wrong.
---@param text string
---@return table[]|nil
---@return string? complaint
function criteria.parse(text)
   local conditions, place = {}, 1
   while place do
      local attribute, after = lexer.word(text, place)
      if not attribute then
         return nil, "a quote is not closed"
      elseif attribute == "" or attribute:sub(1, 1) == "#" then
         break
      end
      local negated = attribute:sub(1, 1) == "!"
      local name = attribute:sub(negated and 2 or 1):lower()
      if name == "all" then
         local complaint = parse_all(conditions, text, after)
         table.insert(conditions, { name = "all", negated = negated })
         return not complaint and conditions or nil, complaint
      end
      local condition
      condition, place = parse_one(name, text, after)
      if not condition then
         return nil, place
      end
      condition.negated = negated
      table.insert(conditions, condition)
   end
   if not conditions[1] then
      return nil, "it has no condition"
   end
   return conditions
end

-- Whether one condition holds; nil, err when that cannot be told.
local function holds(condition, known)
   if condition.name == "all" then
      return true
   elseif condition.name == "canonical" or condition.name == "final" then
      return known.final
   elseif condition.name == "exec" then
      return known.run(condition.argument)
   end
   return tests[condition.name](condition.argument, known)
end

--- Whether the conditions of a Match line hold. A command is run only where all before it do.
---@param conditions table[]
---@param known { host: string, original: string, user: string, local_user: string, tag: string?, final: boolean,
---   run: fun(command: string): boolean|nil, table? }
---@return boolean|nil
---@return table? err
function criteria.match(conditions, known)
   for _, condition in ipairs(conditions) do
      local result, err = holds(condition, known)
      if result == nil then
         return nil, err
      elseif result == condition.negated then
         return false
      end
   end
   return true
end

return criteria
