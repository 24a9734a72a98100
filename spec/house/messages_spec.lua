-- The message catalogue in csrc/wire/messages.h is the only place that knows message numbers.

local source = require "spec.support.source"

local catalogue_path = "csrc/wire/messages.h"

-- The rows X(number, NAME, …) of the catalogue, in order, and the names given to numbers beside it.
local function catalogue(text)
   local rows, names = {}, {}
   for number, name in text:gmatch("X%((%d+), ([%u%d_]+), MSSH_BY_") do
      table.insert(rows, { number = tonumber(number), name = name })
   end
   for name, number in text:gmatch("\n%s+MSSH_MSG_([%u%d_]+) = (%d+),") do
      table.insert(names, { number = tonumber(number), name = name })
   end
   return rows, names
end

local function wrong_rows(path, text)
   local complaints, known = {}, {}
   local rows, names = catalogue(text)
   local last = 0
   for _, row in ipairs(rows) do
      if row.number <= last then
         table.insert(complaints, ("%s: %d %s is out of order"):format(path, row.number, row.name))
      end
      last = row.number
      known[row.number] = true
   end
   for _, name in ipairs(names) do
      if not known[name.number] then
         table.insert(complaints, ("%s: %s has no row %d"):format(path, name.name, name.number))
      end
   end
   return complaints
end

-- Message numbers that a source writes or compares by hand, and names it defines for itself.
local function numbers_by_hand(path, text)
   local complaints = {}
   source.each_line(source.code(text), function(line, number)
      local wrong = line:match("mssh_write_u8%([^,]+, *([1-9]%d*)%)")
         or line:match("MSSH_MSG_[%u%d_]+%s*=[^=]") and "a definition"
         or line:match("#%s*define%s+[%u_]*MSG_") and "a definition"
         or line:match("%f[%w_]m?e?s?s?a?g?e?_?type%s*[=!]=%s*(%d+)")
         or line:match("payload%.?[%w_]*%[0%]%s*[=!]=%s*(%d+)")
      if wrong then
         table.insert(complaints, ("%s:%d: %s"):format(path, number, wrong))
      end
   end)
   return complaints
end

describe("the message catalogue", function()
   it("has one row a number, in order, for every name", function()
      local rows = catalogue(source.read(catalogue_path))
      assert.is_true(#rows >= 30)
      assert.same({}, wrong_rows(catalogue_path, source.read(catalogue_path)))
   end)

   it("is where all other code takes numbers from", function()
      local files = {}
      for _, path in ipairs(source.files("csrc", ".c", ".h")) do
         if path ~= catalogue_path and not path:find("^csrc/testing/") then
            table.insert(files, path)
         end
      end
      assert.same({}, source.complaints(numbers_by_hand, files))
   end)

   it("is held to it by these rules", function()
      local rows = "X(1, DISCONNECT, MSSH_BY_BOTH, 0) X(3, DEBUG, MSSH_BY_BOTH, 0)"
      assert.same({}, wrong_rows("m", rows .. "\n    MSSH_MSG_A = 3,\n"))
      assert.same({ "m: A has no row 2" }, wrong_rows("m", rows .. "\n    MSSH_MSG_A = 2,\n"))
      assert.same({ "m: 3 DEBUG is out of order" }, wrong_rows("m", "X(3, IGNORE, MSSH_BY_BOTH, 0)" .. rows:sub(35)))
      assert.same({ "f:1: 90" }, numbers_by_hand("f", "mssh_write_u8(&w, 90);"))
      assert.same({ "f:2: 21" }, numbers_by_hand("f", "/* 20 */\nif (payload.data[0] == 21)"))
      assert.same({ "f:1: 21" }, numbers_by_hand("f", "if (type != 21)"))
      assert.same({ "f:1: a definition" }, numbers_by_hand("f", "enum { MSSH_MSG_X = 1 };"))
      assert.same({ "f:1: a definition" }, numbers_by_hand("f", "#define SSH_MSG_X 1"))
      assert.same({}, numbers_by_hand("f", "mssh_write_u8(&w, MSSH_MSG_DATA); if (x == MSSH_MSG_DATA) /* = 94 */;"))
   end)
end)
