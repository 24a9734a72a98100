local base = require "moonssh_testing".base

describe("a name-list", function()
   it("is taken apart at its commas", function()
      assert.same({ "zlib", "none" }, base.names("zlib,none"))
      assert.same({ "zlib" }, base.names("zlib"))
      assert.same({}, base.names(""))
      assert.same({ "", "a", "" }, base.names(",a,,"))
   end)

   it("holds whole names only", function()
      assert.is_true(base.has_name("a,bc,d", "bc"))
      assert.is_true(base.has_name("a,bc,d", "a"))
      assert.is_true(base.has_name("a,bc,d", "d"))
      for _, name in ipairs{ "b", "c", "", "a,bc", "BC", "bcd" } do
         assert.is_false(base.has_name("a,bc,d", name))
      end
   end)

   it("is well formed when its names are", function()
      assert.is_true(base.names_valid(""))
      assert.is_true(base.names_valid("a"))
      assert.is_true(base.names_valid("aes128-gcm@openssh.com,x~!"))
      for _, bad in ipairs{ ",", "a,", ",a", "a,,b", "a b", "a\0", "a\0,b", "\x7f", "caf\xc3\xa9", "a\n", "\x1b[m" } do
         assert.is_false(base.names_valid(bad), bad)
      end
   end)

   it("has names of at most 64 bytes", function()
      local longest = ("x"):rep(64)
      assert.is_true(base.names_valid(longest .. "," .. longest))
      assert.is_false(base.names_valid(longest .. "x"))
      assert.is_false(base.names_valid("a," .. longest .. "x"))
   end)

   it("has at most 512 names", function()
      assert.is_true(base.names_valid(("a,"):rep(511) .. "a"))
      assert.is_false(base.names_valid(("a,"):rep(512) .. "a"))
      assert.is_false(base.names_valid(("a,"):rep(4999) .. "a"))
   end)

   it("chooses by the order of the one who prefers", function()
      assert.equal("b", base.choose_name("a,b,c", "c,b"))
      assert.equal("c", base.choose_name("c,b", "a,b,c"))
      assert.is_nil(base.choose_name("a,b", "c,d"))
      assert.is_nil(base.choose_name("", "a"))
      assert.is_nil(base.choose_name("a", ""))
   end)
end)
