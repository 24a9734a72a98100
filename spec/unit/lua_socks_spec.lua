-- What clients of a dynamic forward say, and what is answered.

local socks = require "moonssh.socks"

-- Has a client's bytes taken. → request, answer, what was written meanwhile, what is left unread
local function take(bytes)
   local at, written = 1, ""
   local request, answer = socks.request(function(n)
      if at + n - 1 > #bytes then
         return nil
      end
      at = at + n
      return bytes:sub(at - n, at - 1)
   end, function(text)
      written = written .. text
      return true
   end)
   return request, answer, written, bytes:sub(at)
end

local function target(request)
   return { request.host, request.port }
end

describe("SOCKS", function()
   local v4 = "\4\1\0\80\10\1\2\3user\0"
   local v4a = "\4\1\1\187\0\0\0\1\0www.example.org\0"
   local v5_ip4 = "\5\2\2\0\5\1\0\1\10\1\2\3\0\22"
   local v5_name = "\5\1\0\5\1\0\3\15www.example.org\0\80"
   local v5_ip6 = "\5\1\0\5\1\0\4" .. ("\32\1\13\184" .. ("\0"):rep(11) .. "\1") .. "\0\80"

   it("4 gives an address", function()
      local request, answer, written, left = take(v4 .. "more")
      assert.same({ "10.1.2.3", 80 }, target(request))
      assert.same({ nil, "", "more" }, { answer, written, left })
      assert.equal("\0\90\0\0\0\0\0\0", request.answer("done"))
      assert.equal("\0\91\0\0\0\0\0\0", request.answer("unreachable"))
   end)

   it("4a gives a name", function()
      local request, _, _, left = take(v4a .. "x")
      assert.same({ "www.example.org", 443 }, target(request))
      assert.equal("x", left)
   end)

   it("5 gives addresses of both families, and names", function()
      for bytes, expected in pairs{
         [v5_ip4] = { "10.1.2.3", 22 },
         [v5_name] = { "www.example.org", 80 },
         [v5_ip6] = { "2001:db8:0:0:0:0:0:1", 80 },
      } do
         local request, answer, written, left = take(bytes .. "data")
         assert.same(expected, target(request))
         assert.same({ nil, "\5\0", "data" }, { answer, written, left })
         assert.equal("\5\0\0\1\0\0\0\0\0\0", request.answer("done"))
         assert.equal("\5\2\0\1\0\0\0\0\0\0", request.answer("prohibited"))
         assert.equal("\5\1\0\1\0\0\0\0\0\0", request.answer("anything else"))
      end
   end)

   it("takes nothing from a client that has gone, wherever that is", function()
      for _, bytes in ipairs{ v4, v4a, v5_ip4, v5_name, v5_ip6 } do
         for length = 0, #bytes - 1 do
            local request, answer = take(bytes:sub(1, length))
            assert.same({ nil, nil }, { request, answer })
         end
      end
   end)

   it("refuses what is no version, no method, no command, no family, no host and no port", function()
      local function refused(bytes)
         local request, answer = take(bytes)
         assert.is_nil(request)
         return answer
      end
      assert.is_nil(refused("GET / HTTP/1.0\r\n\r\n"))
      assert.is_nil(refused("\6\1\0"))
      assert.equal("\5\255", refused("\5\2\1\2"))
      assert.is_nil(refused("\5\0"))
      assert.equal("\5\7\0\1\0\0\0\0\0\0", refused("\5\1\0\5\2\0\1\10\0\0\1\0\80"))
      assert.equal("\5\7\0\1\0\0\0\0\0\0", refused("\5\1\0\5\3\0\1\10\0\0\1\0\80"))
      assert.equal("\5\8\0\1\0\0\0\0\0\0", refused("\5\1\0\5\1\0\2\10\0\0\1\0\80"))
      assert.is_nil(refused("\5\1\0\4\1\0\1\10\0\0\1\0\80"))
      assert.is_nil(refused("\5\1\0\5\1\0\3\0\0\80"))
      assert.equal("\5\1\0\1\0\0\0\0\0\0", refused("\5\1\0\5\1\0\1\10\0\0\1\0\0"))
      assert.equal("\5\1\0\1\0\0\0\0\0\0", refused("\5\1\0\5\1\0\3\3a\0b\0\80"))
      assert.equal("\0\91\0\0\0\0\0\0", refused("\4\2\0\80\10\1\2\3\0"))
      assert.equal("\0\91\0\0\0\0\0\0", refused("\4\1\0\80\0\0\0\1\0\0"))
   end)

   it("waits for the end of a name so far and no further", function()
      local request = take("\4\1\0\80\0\0\0\1" .. ("u"):rep(255) .. "\0" .. ("h"):rep(255) .. "\0")
      assert.equal(("h"):rep(255), request.host)
      local none, answer, _, left = take("\4\1\0\80\10\1\2\3" .. ("u"):rep(1000))
      assert.same({ nil, nil, 1000 - 256 }, { none, answer, #left })
   end)

   it("tells the client why a connection was not made, as far as it is known", function()
      assert.equal("prohibited", socks.outcome{ code = "channel_open", reason = 1 })
      assert.equal("unreachable", socks.outcome{ code = "channel_open", reason = 2 })
      assert.equal("failed", socks.outcome{ code = "channel_open", reason = 4 })
      assert.equal("failed", socks.outcome{ code = "timeout" })
   end)
end)
