-- The words of a line of ssh_config, as OpenSSH takes a line apart.

local lexer = {}

local function skip_blanks(text, place)
   return (text:find("[^ \t\r\n]", place)) or #text + 1
end

--- The next word from a place on, which ends at a blank, a double quote, or an equals sign; one of these may follow it.
--- Gives the word and the place of what comes after, nil at the end. No word at all where a quote is not closed.
---@param text string
---@param place integer|nil
---@return string|nil word
---@return integer|nil after
function lexer.word(text, place)
   if not place then
      return nil
   end
   local at = text:find("[ \t\r\n\"=]", place)
   if not at then
      return text:sub(place)
   end
   local word, mark = text:sub(place, at - 1), text:sub(at, at)
   if mark == '"' then
      local closing = text:find('"', at + 1, true)
      if not closing then
         return nil
      end
      return word .. text:sub(at + 1, closing - 1), skip_blanks(text, closing + 1)
   end
   local after = skip_blanks(text, at + 1)
   if mark ~= "=" and text:sub(after, after) == "=" then
      after = skip_blanks(text, after + 1)
   end
   return word, after
end

-- One argument from a place on: its text without quotes and escapes, and the place after it. nil where a quote is not
-- closed.
local function argument(text, place)
   local parts, quote = {}, nil
   while place <= #text do
      local c, following = text:sub(place, place), text:sub(place + 1, place + 1)
      if c == "\\" and (following:find("['\"\\]") or not quote and following == " ") then
         parts[#parts + 1] = following
         place = place + 1
      elseif not quote and (c == " " or c == "\t") then
         break
      elseif not quote and (c == '"' or c == "'") then
         quote = c
      elseif c == quote then
         quote = nil
      else
         parts[#parts + 1] = c
      end
      place = place + 1
   end
   if quote then
      return nil
   end
   return table.concat(parts), place
end

--- The arguments of a text up to a comment; nil where a quote is not closed.
---@param text string
---@return string[]|nil
function lexer.arguments(text)
   local list, place = {}, 1
   while true do
      place = text:find("[^ \t]", place)
      if not place or text:sub(place, place) == "#" then
         return list
      end
      local word
      word, place = argument(text, place)
      if not word then
         return nil
      end
      list[#list + 1] = word
   end
end

--- The keyword of a line in lower case, and what follows it; nil for a line that says nothing.
---@param line string
---@return string|nil keyword
---@return string|nil rest
function lexer.line(line)
   line = line:match("^.+[^ \t\r\n\f]") or line:sub(1, 1)
   local keyword, place = lexer.word(line, 1)
   if keyword == "" then
      keyword, place = lexer.word(line, place)
   end
   if not keyword or keyword == "" or keyword:sub(1, 1) == "#" then
      return nil
   end
   return keyword:lower(), place and line:sub(skip_blanks(line, place)) or ""
end

return lexer
