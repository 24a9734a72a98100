--- Patterns as in OpenSSH's files: `*` and `?`, and comma lists of them in which `!` negates.

local match = {}

-- Longest pattern of a list, as in OpenSSH: a list in which a longer one is come to matches nothing.
local MAX_PATTERN = 1023

-- The piece of a pattern between two stars as a Lua pattern of fixed length: it cannot backtrack.
local function piece_of(text)
   return (text:gsub("[^%w?]", "%%%0"):gsub("%?", "."))
end

-- Where a piece is found first, from a place on.
local function find(text, piece, from)
   if piece:find("?", 1, true) then
      return text:find(piece_of(piece), from)
   end
   return text:find(piece, from, true)
end

-- Whether a piece stands right at a place of the text.
local function stands_at(text, piece, place)
   return text:find("^" .. piece_of(piece), place) ~= nil
end

--- Whether `text` as a whole matches one pattern. Each piece between stars is taken at its first place, which is
--- always good enough for what follows: there is no backtracking over stars.
---@param pattern string
---@param text string
---@return boolean
function match.pattern(pattern, text)
   local star = pattern:find("*", 1, true)
   if not star then
      return #pattern == #text and stands_at(text, pattern, 1)
   end
   local head, tail = pattern:sub(1, star - 1), pattern:match("[^*]*$")
   local from, limit = #head + 1, #text - #tail
   if from - 1 > limit or not stands_at(text, head, 1) or not stands_at(text, tail, limit + 1) then
      return false
   end
   for piece in pattern:sub(star, #pattern - #tail):gmatch("[^*]+") do
      local first, last = find(text, piece, from)
      if not first or last > limit then
         return false
      end
      from = last + 1
   end
   return true
end

--- Whether `text` matches a comma list: "positive" if a pattern does and no negated one, "negative" as soon as a
--- negated one does, else nil. Letters are compared without regard to case, unless it is to be `exact`.
---@param list string
---@param text string
---@param exact? boolean
---@return "positive"|"negative"|nil
function match.list(list, text, exact)
   local found
   if not exact then
      list, text = list:lower(), text:lower()
   end
   for item in (list .. ","):gmatch("([^,]*),") do
      local negated = item:sub(1, 1) == "!"
      local pattern = negated and item:sub(2) or item
      if #item > MAX_PATTERN then
         return nil
      elseif match.pattern(pattern, text) then
         if negated then
            return "negative"
         end
         found = "positive"
      end
   end
   return found
end

return match
