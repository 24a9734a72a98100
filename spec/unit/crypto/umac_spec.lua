local crypto = require "moonssh_testing".crypto
local hex = require "spec.support.hex"

-- RFC 4418's appendix; of the longer tags, what OpenSSH's umac.c gives for the same.
local KEY, NONCE = "abcdefghijklmnop", (">i8"):unpack "bcdefghi"
local vectors = {
   { "", 0, "6e155fad26900be1", "32fedb100c79ad58f07ff7643cc60465" },
   { "a", 3, "44b5cb542f220104", "185e4fe905cba7bd85e4c2dc3d117d8d" },
   { "a", 1 << 10, "26bf2f5d60118bd9", "7a54abe04af82d60fb298c3cbd195bcb" },
   { "a", 1 << 15, "27f8ef643b0d118d", "7b136bd911e4b734286ef2be501f2c3c" },
   { "a", 1 << 20, "a4477e87e9f55853", "f8acfa3ac31cfeea047f7b115b03bef5" },
   { "abc", 1, "d4d7b9f6bd4fbfcf", "883c3d4b97a61976ffcf232308cba5a5" },
   { "abc", 500, "d4cf26ddefd5c01a", "8824a260c53c66a36c9260a62cb83aa1" },
}

describe("UMAC", function()
   for _, vector in ipairs(vectors) do
      it(("gives the published tags of %d times '%s'"):format(vector[2], vector[1]), function()
         local message = vector[1]:rep(vector[2])
         assert.equal(vector[3], hex.encode(crypto.umac(8, KEY, NONCE, message)))
         assert.equal(vector[4], hex.encode(crypto.umac(16, KEY, NONCE, message)))
      end)
   end

   it("gives another tag for another nonce, also where two share a block of AES", function()
      local seen = {}
      for _, length in ipairs{ 8, 16 } do
         for nonce = 0, 20 do
            local tag = crypto.umac(length, KEY, nonce, "message")
            assert.is_nil(seen[tag])
            seen[tag] = true
         end
      end
   end)

   it("depends on each byte of the message, and on its length", function()
      local message = ("x"):rep(2500)
      local seen = { [crypto.umac(8, KEY, 1, message)] = true }
      for at = 1, #message, 97 do
         local tag = crypto.umac(8, KEY, 1, message:sub(1, at - 1) .. "y" .. message:sub(at + 1))
         assert.is_nil(seen[tag])
         seen[tag] = true
      end
      for _, shorter in ipairs{ message:sub(2), message .. "\0", message .. ("\0"):rep(32) } do
         local tag = crypto.umac(8, KEY, 1, shorter)
         assert.is_nil(seen[tag])
         seen[tag] = true
      end
   end)
end)
