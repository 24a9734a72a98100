local wire = require "moonssh.wire"

describe("the strings of a message", function()
   local message = string.pack(">s4s4s4", "one", "", ("x"):rep(300))

   it("are given in order", function()
      assert.same({ "one", "", ("x"):rep(300) }, wire.strings(message))
      assert.same({}, wire.strings(""))
   end)

   it("are none where it is not made of them alone", function()
      local ends = { [0] = 0, [7] = 1, [11] = 2, [#message] = 3 }
      for length = 0, #message do
         local list = wire.strings(message:sub(1, length))
         assert.equal(ends[length], list and #list, length)
      end
      assert.is_nil(wire.strings("\255\255\255\255x"))
      assert.is_nil(wire.strings(message .. "\0"))
   end)

   it("are no more than so many", function()
      assert.same(3, #wire.strings(message, 3))
      assert.is_nil(wire.strings(message, 2))
   end)
end)
