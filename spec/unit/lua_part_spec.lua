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
      assert.equal("/a/b~~.part", part.of("/a/b", function(name)
         return taken[name]
      end))
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
