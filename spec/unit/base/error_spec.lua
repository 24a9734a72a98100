local base = require "moonssh_testing".base

describe("a failure", function()
   it("keeps the first cause", function()
      local code, reason, text = base.first_failure({ -3, 5, "the MAC" }, { -2, 2, "then that" })
      assert.equal(-3, code)
      assert.equal(5, reason)
      assert.equal("the MAC", text)
   end)

   it("cuts a message to its room", function()
      local _, _, text = base.first_failure{ -2, 2, ("x"):rep(600) }
      assert.equal(("x"):rep(511), text)
   end)

   it("has a name for every code", function()
      local expected = { "memory", "protocol", "mac", "negotiation", "limit", "unsupported", "key_format", "passphrase",
         "eof", "disconnected", "host_key_rejected", "closed", "timeout", "io", "state", "closed" }
      local names = {}
      for i = 1, #expected do
         names[i] = base.error_name(-i)
      end
      assert.same(expected, names)
      assert.equal("unknown", base.error_name(0))
      assert.equal("unknown", base.error_name(1))
      assert.equal("unknown", base.error_name(-1000))
   end)
end)

describe("escaped text", function()
   it("leaves printable ASCII alone", function()
      local plain = {}
      for byte = 0x20, 0x7e do
         plain[#plain + 1] = byte ~= 0x5c and string.char(byte) or nil
      end
      assert.equal(table.concat(plain), base.escape(table.concat(plain)))
   end)

   it("shows every other byte as hexadecimal", function()
      for byte = 0, 255 do
         if byte < 0x20 or byte > 0x7e or byte == 0x5c then
            assert.equal(("a\\x%02xb"):format(byte), base.escape("a" .. string.char(byte) .. "b"))
         end
      end
   end)

   it("cuts what does not fit, marks it, and never writes past its room", function()
      assert.equal("abcdefg", base.escape("abcdefg", 8))
      assert.equal("abcd...", base.escape("abcdefgh", 8))
      assert.equal("...", base.escape("\27[31m", 5))
      assert.equal("\\x1b", base.escape("\27", 5))
      assert.equal("...", base.escape("\27", 4))
      for size = 0, 12 do
         for len = 0, 12 do
            local out = base.escape(("\1"):rep(len), size)
            assert.is_true(#out < math.max(size, 1), ("%d bytes in %d"):format(len, size))
            assert.is_true(#base.escape(("x"):rep(len), size) < math.max(size, 1))
         end
      end
   end)
end)
