-- However the bytes are cut on their way, the same comes out.

local Pair = require "spec.support.pair"

local ciphers = {
   { cipher = "aes128-gcm@openssh.com" },
   { cipher = "chacha20-poly1305@openssh.com" },
   { cipher = "aes128-ctr", mac = "hmac-sha2-256" },
   { cipher = "aes128-ctr", mac = "hmac-sha2-512-etm@openssh.com" },
   { cipher = "aes256-gcm@openssh.com", compression = "zlib@openssh.com" },
}

-- A whole session: keys, data both ways, a rekey by each side, more data, an end. What was seen of it.
local function session(options, size)
   local pair = Pair.new(options, options):chunk(size):open(true)
   for _, side in ipairs{ "client", "server" } do
      for i = 1, 6 do
         assert(pair.client:send("\94to server " .. ("abc"):rep(i * i * 11)))
         assert(pair.server:send("\94to client " .. ("xyz"):rep(i * i * 13)))
         assert(pair.server:send("\2\0\0\0\3pad"))
      end
      assert(pair[side]:rekey())
      assert(pair.client:send("\94during"))
      assert(pair.server:send("\94during"))
      pair:run()
   end
   assert(pair.server:disconnect(11, "done"))
   pair:run()
   local seen = {}
   for _, side in ipairs{ "client", "server" } do
      for _, event in ipairs(pair.events[side]) do
         local data = event.kind == "host_key" and "" or event.data
         table.insert(seen, side .. " " .. event.kind .. " " .. data)
      end
   end
   pair:close()
   return seen
end

-- The order of events on each side for itself is what has to be the same.
local function sides(seen)
   local client, server = {}, {}
   for _, line in ipairs(seen) do
      table.insert(line:find("^client") and client or server, line)
   end
   return { client, server }
end

describe("a session under", function()
   for _, options in ipairs(ciphers) do
      local name = options.cipher .. (options.mac and " and " .. options.mac or "") ..
         (options.compression and " and " .. options.compression or "")
      local whole

      setup(function()
         whole = sides(session(options))
         assert.equal("client disconnect done", whole[1][#whole[1] - 1])
         assert.equal("client failed ", whole[1][#whole[1]])
         assert.is_true(#whole[1] > 30)
      end)

      it(name .. " is the same byte by byte", function()
         assert.same(whole, sides(session(options, 1)))
      end)

      it(name .. " is the same in random pieces", function()
         for seed = 1, 40 do
            math.randomseed(seed)
            assert.same(whole, sides(session(options, function()
               return math.random(1, 37)
            end)))
         end
      end)

      it(name .. " is the same in pieces of every size from 2 to 70", function()
         for size = 2, 70 do
            assert.same(whole, sides(session(options, size)))
         end
      end)
   end

   it("any cipher delivers nothing of a stream that is cut, and says that it was", function()
      local options = { cipher = "aes128-gcm@openssh.com" }
      local pair = Pair.new(options)
      pair.keep = true
      pair:open(true)
      assert(pair.server:send("\94hello"))
      pair:run()
      local whole = #table.concat(pair.wire.server)
      for cut = 0, whole - 1 do
         local left = cut
         pair = Pair.new(options)
         function pair.change(side, bytes)
            if side == "server" then
               bytes = bytes:sub(1, left)
               left = left - #bytes
            end
            return bytes
         end
         pair:start():run()
         if cut >= whole - 40 then
            pcall(pair.server.send, pair.server, "\94hello")
            pair:run()
         end
         pair.client:feed_eof()
         pair:run()
         local failure = pair.client:failure()
         assert.equal("eof", failure.code)
         assert.equal(0, failure.reason)
         assert.same({}, pair:payloads("client"))
      end
   end)
end)
