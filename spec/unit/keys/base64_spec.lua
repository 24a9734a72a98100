local keys = require "moonssh_testing".keys
local random = require "moonssh_testing".crypto.random

describe("base64", function()
   -- RFC 4648 section 10.
   local vectors = { [""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v", foob = "Zm9vYg==", fooba = "Zm9vYmE=",
      foobar = "Zm9vYmFy" }

   it("gives the values of RFC 4648, and reads them", function()
      for bytes, text in pairs(vectors) do
         assert.equal(text, keys.base64_encode(bytes))
         assert.equal(bytes, keys.base64_decode(text))
      end
   end)

   it("uses the alphabet with plus and slash", function()
      assert.equal("+/+/", keys.base64_encode("\xfb\xff\xbf"))
      assert.equal("\xfb\xff\xbf", keys.base64_decode("+/+/"))
      assert.is_nil((keys.base64_decode("-_-_")))
   end)

   it("reads back any bytes", function()
      for len = 0, 100 do
         local bytes = random(len)
         assert.equal(bytes, keys.base64_decode(keys.base64_encode(bytes)))
      end
   end)

   it("skips white space", function()
      assert.equal("foobar", keys.base64_decode(" Zm9v\r\n\tYm Fy\n"))
   end)

   it("refuses everything else", function()
      for _, bad in ipairs{ "Z", "Zg", "Zg=", "Zm9", "Zm9v=", "Zg==Zg==", "Zg=g", "=", "====", "Z===", "Zm9v!",
         "Zm9v\0", "Zm9vYmFy=", "Zg== =", "Zm\xff9v" } do
         local bytes, code = keys.base64_decode(bad)
         assert.is_nil(bytes, bad)
         assert.equal("key_format", code)
      end
   end)

   it("refuses bits that the padding leaves over", function()
      for _, bad in ipairs{ "Zh==", "Zm9=", "Z/==" } do
         assert.is_nil((keys.base64_decode(bad)))
      end
   end)
end)
