-- Reading the sources, for the specs that hold them to the rules of the house.

local source = {}

local function lines_of(command)
   local pipe <close> = assert(io.popen(command))
   local lines = {}
   for line in pipe:lines() do
      table.insert(lines, line)
   end
   return lines
end

-- The files below a folder whose names end in one of the given ways, sorted: files("csrc", ".c", ".h").
function source.files(folder, ...)
   local files = {}
   for _, path in ipairs(lines_of(("find %s -type f | LC_ALL=C sort"):format(folder))) do
      for _, ending in ipairs{ ... } do
         if path:sub(-#ending) == ending then
            table.insert(files, path)
         end
      end
   end
   return files
end

-- Every file of the project: those git knows of, or all where there is no git.
function source.project()
   local files = lines_of("git ls-files --cached --others --exclude-standard 2>/dev/null")
   if #files == 0 then
      files = lines_of("find . -type f -not -path './build/*' -not -path './.git*' -printf '%P\\n' | LC_ALL=C sort")
   end
   return files
end

function source.read(path)
   local file <close> = assert(io.open(path, "rb"))
   return file:read("a")
end

-- C source in which comments, and the contents of strings and character constants, are blanks. Lines stay where they
-- are.
function source.code(text)
   local out, i = {}, 1
   local function blank(last)
      table.insert(out, (text:sub(i, last):gsub("[^\n]", " ")))
      i = last + 1
   end
   while i <= #text do
      local two, one = text:sub(i, i + 1), text:sub(i, i)
      if two == "/*" then
         blank(select(2, text:find("*/", i + 2, true)) or #text)
      elseif two == "//" then
         blank((text:find("\n", i, true) or #text + 1) - 1)
      elseif one == '"' or one == "'" then
         local last = i + 1
         while last <= #text and text:sub(last, last) ~= one do
            last = last + (text:sub(last, last) == "\\" and 2 or 1)
         end
         blank(last)
      else
         local next_special = text:find("[/\"']", i + 1) or #text + 1
         table.insert(out, text:sub(i, next_special - 1))
         i = next_special
      end
   end
   return table.concat(out)
end

-- Calls f(line, number) for each line of a text.
function source.each_line(text, f)
   local number = 0
   for line in (text .. "\n"):gmatch("([^\n]*)\n") do
      number = number + 1
      f(line, number)
   end
end

-- Applies a rule to each file and returns all complaints: rule(path, text) gives a list.
function source.complaints(rule, files)
   local all = {}
   for _, path in ipairs(files) do
      for _, complaint in ipairs(rule(path, source.read(path))) do
         table.insert(all, complaint)
      end
   end
   return all
end

return source
