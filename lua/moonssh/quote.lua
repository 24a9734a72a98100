-- Quoting for a POSIX shell.

local args = require "moonssh.args"

local quote = {}

-- A word of these alone means itself to every shell; "=" is left out, as NAME=value in front of a command assigns.
local plain = "^[A-Za-z0-9_@%%+:,./-]+$"

-- But for these, where a command begins.
local reserved = {}
for word in ([[ case coproc do done elif else end esac fi for foreach function if in repeat select switch then time
   until while ]]):gmatch("%l+") do
   reserved[word] = true
end

local function quote_word(word, is_first)
   if word:find(plain) and not (is_first and (reserved[word] or word:find("^%%"))) then
      return word
   end
   return "'" .. word:gsub("'", "'\\''") .. "'"
end

--- One string that a POSIX shell takes apart into exactly these words.
---@param list string[]
---@param fname? string the function to name in an error
---@return string
function quote.list(list, fname)
   fname = fname or "quote"
   args.check(fname, 1, list, "table")
   local words = {}
   for i, word in ipairs(list) do
      if math.type(word) then
         word = tostring(word)
      elseif type(word) ~= "string" then
         args.bad(fname, 1, ("word %d: string expected, got %s"):format(i, type(word)))
      end
      if word:find("\0", 1, true) then
         args.bad(fname, 1, ("word %d: a command line cannot hold a NUL"):format(i))
      end
      words[i] = quote_word(word, i == 1)
   end
   if #words == 0 or #words < #list then
      args.bad(fname, 1, "a list of words expected")
   end
   return table.concat(words, " ")
end

return quote
