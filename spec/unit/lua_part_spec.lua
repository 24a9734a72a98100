-- What a file is called while it is written.

local part = require "moonssh.part"

describe("the name of a part", function()
   it("is that of the file, and .part", function()
      assert.equal("/a/b.part", part.of("/a/b"))
      assert.equal("b.part", part.of("b"))
      assert.equal(("n"):rep(250) .. ".part", part.of(("n"):rep(250)))
   end)

   it("is none that another file has", function()
      local taken = { ["b.part"] = true, ["b~.part"] = true }
      local function is_taken(name)
         return taken[name] == true
      end
      local second = part.of("/a/b", is_taken)
      assert.matches("^/a/b~%x%x%x%x%x%x%x%x%.part$", second)
      taken[second:sub(4)] = true
      local third = part.of("/a/b", is_taken)
      assert.matches("^/a/b~%x%x%x%x%x%x%x%x.+%.part$", third)
      assert.is_true(third ~= second)
   end)

   it("is that of no other file of the same folder, whatever names there are", function()
      local tag = part.of("f", function(name)
         return name == "f.part"
      end):match("^f(~%x+)%.part$")
      local long = ("n"):rep(255)
      local names = { "f", "f~", "f~~", "f.part", "f~.part", "f.part.part", "f" .. tag, "f" .. tag .. ".part",
         "f" .. tag .. "~", long, part.of(long), (part.of(long):gsub("%.part$", "")) }
      for chosen = 0, (1 << #names) - 1 do
         local here, seen = {}, {}
         for i, name in ipairs(names) do
            here[name] = chosen >> (i - 1) & 1 == 1 or nil
         end
         for name in pairs(here) do
            local result = part.of(name, function(other)
               return here[other] == true
            end)
            if here[result] or seen[result] then
               error(("%s is written as %s, which is taken"):format(name, result))
            end
            seen[result] = true
         end
      end
   end)

   it("comes to be, however many names are taken", function()
      local n = 0
      local result = part.of("/a/b", function()
         n = n + 1
         return n <= 2000
      end)
      assert.matches("^/a/b~.*%.part$", result)
      assert.is_true(#result - 3 <= 255)
   end)

   it("is no longer than names can be, and differs where the names do", function()
      local seen = {}
      for _, name in ipairs{ ("n"):rep(251), ("n"):rep(255), ("n"):rep(254) .. "x", "x" .. ("n"):rep(254),
         ("é"):rep(127), ("é"):rep(126) .. "x", "x" .. ("é"):rep(127), ("\x80"):rep(255) } do
         local result = part.of("/a/" .. name)
         assert.matches("^/a/.+~%x%x%x%x%x%x%x%x%.part$", result)
         assert.is_true(#result - 3 <= 255 and #result - 3 > 250)
         assert.is_nil(seen[result])
         assert.equal(utf8.len(name) ~= nil, utf8.len(result) ~= nil)
         seen[result] = true
      end
   end)

   it("of a long one that is taken is another long one", function()
      local name = ("n"):rep(255)
      local first = part.of(name)
      local second = part.of(name, function(other)
         return other == first
      end)
      assert.is_true(second ~= first and #second == 255)
   end)
end)
