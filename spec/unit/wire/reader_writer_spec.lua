local base = require "moonssh_testing".base

local function hex(text)
   return (text:gsub("%s", ""):gsub("%x%x", function(pair)
      return string.char(tonumber(pair, 16))
   end))
end

-- The magnitude of each example of RFC 4251 section 5 that is not negative, and its encoding.
local mpints = {
   { "", "00000000" },
   { "09a378f9b2e332a7", "0000000809a378f9b2e332a7" },
   { "80", "000000020080" },
   { "7f", "000000017f" },
   { "0100", "000000020100" },
   { "ff00000000000000000000", "0000000c00ff00000000000000000000" },
}

describe("the writer", function()
   it("writes integers, booleans and strings as RFC 4251 has them", function()
      assert.equal(hex "ff", base.write("u8", 255))
      assert.equal(hex "00 01", base.write("bool", false, "bool", true))
      assert.equal(hex "29b7f4aa", base.write("u32", 699921578))
      assert.equal(hex "0102030405060708", base.write("u64", 0x0102030405060708))
      assert.equal(hex "00000007" .. "testing", base.write("string", "testing"))
      assert.equal(hex "00000000", base.write("string", ""))
      assert.equal("raw\0", base.write("bytes", "raw\0"))
   end)

   it("writes the mpints of RFC 4251", function()
      for _, row in ipairs(mpints) do
         assert.equal(hex(row[2]), base.write("mpint", hex(row[1])))
      end
   end)

   it("drops leading zeros of an mpint", function()
      assert.equal(hex "00000000", base.write("mpint", "\0\0\0"))
      assert.equal(hex "000000017f", base.write("mpint", "\0\0\x7f"))
      assert.equal(hex "000000020080", base.write("mpint", "\0\x80"))
   end)
end)

describe("the reader", function()
   local function read(bytes, ...)
      local values, ok, done, left = base.read(bytes, ...)
      return values, ok, done, left
   end

   it("reads back what the writer wrote", function()
      local bytes = base.write("u8", 7, "bool", true, "u32", 0xfffffffe, "u64", -2, "string", "a\0b", "mpint", "\x80",
         "bytes", "xyz")
      local values, ok, done, left = read(bytes, "u8", "bool", "u32", "u64", "string", "mpint", 2, "rest")
      assert.same({ 7, true, 0xfffffffe, -2, "a\0b", "\x80", "xy", "z" }, values)
      assert.is_true(ok)
      assert.is_true(done)
      assert.equal(0, left)
   end)

   it("reads any byte but 0 as true", function()
      assert.same({ false, true, true }, (read("\0\1\xff", "bool", "bool", "bool")))
   end)

   it("reads the mpints of RFC 4251", function()
      for _, row in ipairs(mpints) do
         local values, _, done = read(hex(row[2]), "mpint")
         assert.equal(hex(row[1]), values[1])
         assert.is_true(done)
      end
   end)

   it("refuses mpints that are negative or padded", function()
      for _, bad in ipairs{ "00000002edcc", "00000005ff21524111", "0000000180", "0000000100", "00000002007f",
         "000000030000ff", "00000002ffff" } do
         local values, ok = read(hex(bad), "mpint")
         assert.equal("", values[1])
         assert.is_false(ok, bad)
      end
   end)

   it("reads nothing more after the first field that does not fit", function()
      local values, ok, done, left = read(hex "00000005 61626364", "string", "u8", "u32", "mpint", "rest")
      assert.same({ "", 0, 0, "", "" }, values)
      assert.is_false(ok)
      assert.is_false(done)
      assert.equal(0, left)
   end)

   it("fails at each length that is cut short, and only there", function()
      local bytes = base.write("u8", 1, "u32", 2, "string", "three", "u64", 4, "mpint", "\x85")
      for len = 0, #bytes do
         local _, ok, done = read(bytes:sub(1, len), "u8", "u32", "string", "u64", "mpint")
         assert.equal(len == #bytes, ok)
         assert.equal(len == #bytes, done)
      end
   end)

   it("is not done while something is left over", function()
      local _, ok, done, left = read("\1\2\3", "u8")
      assert.is_true(ok)
      assert.is_false(done)
      assert.equal(2, left)
   end)

   it("refuses string lengths near the edges of 32 bits", function()
      for _, length in ipairs{ "00000004", "7fffffff", "80000000", "fffffffb", "fffffffc", "ffffffff" } do
         local values, ok = read(hex(length) .. "abc", "string")
         assert.equal("", values[1])
         assert.is_false(ok)
      end
   end)

   it("takes no bytes for a huge or negative count", function()
      for _, count in ipairs{ 4, math.maxinteger, -1, math.mininteger } do
         local values, ok = read("abc", count)
         assert.equal("", values[1])
         assert.is_false(ok)
      end
   end)

   it("reads the empty input", function()
      local values, ok, done = read("", "rest")
      assert.same({ "" }, values)
      assert.is_true(ok)
      assert.is_true(done)
      assert.is_false((select(2, read("", "u8"))))
   end)
end)
