-- IGNORE and DEBUG as fast as a server can send them: channels go on, and memory does not grow. Memory is counted, time
-- is not.

local loop = require "moonssh.loop"
local memory = require "spec.support.memory"
local messages = require "spec.support.messages"

local kinds = {
   ignore = { payload = messages.ignore("12345678"), batches = 1000 },
   debug = { payload = messages.debug(true, "12345678", "en"), batches = 50 },
}

local BATCH = 1000 -- messages
local FEWER = 50 -- batches, where they are not to be many

-- What may differ between two looks at the same state: the collector's own tables, buffers that were shrunk or not.
local SLACK = 16 * 1024

local function bytes_of(session)
   collectgarbage()
   collectgarbage()
   return collectgarbage("count") * 1024, session._core:memory()
end

-- Sends messages in batches, and a line to and fro on a channel after each.
local function flood(link, channel, payload, batches)
   local transport = link.server.transport
   local most = 0
   for i = 1, batches do
      for _ = 1, BATCH do
         assert(transport:send(payload))
      end
      local line = ("line %d"):format(i)
      assert(channel:write(line, "\n"))
      assert.equal(line, channel:read("l"))
      link.server.log = {}
      most = math.max(most, (link.session._core:memory()))
   end
   return most
end

for cbtype, kind in pairs(kinds) do
   describe(("a flood for the %s callback"):format(cbtype), function()
      local link, session, channel

      before_each(function()
         link = memory.connect()
         session = link.session
         channel = assert(session:exec("cat"))
      end)

      after_each(function()
         session:close()
      end)

      -- A tenth of them first: what there is then is what there is at the end.
      local function assert_flat(batches)
         local first = flood(link, channel, kind.payload, batches // 10)
         local lua, core = bytes_of(session)
         local most = flood(link, channel, kind.payload, batches - batches // 10)
         local lua_after, core_after = bytes_of(session)
         assert.is_true(lua_after - lua < SLACK, lua_after - lua)
         assert.is_true(core_after - core < SLACK, core_after - core)
         assert.is_true(most - first < SLACK, most - first)
         assert.is_true(session.info.packets_received > batches * BATCH)
      end

      it("that is not set: a channel goes on, memory stays", function()
         assert_flat(kind.batches)
         assert.equal(0, session.info.callbacks_dropped)
      end)

      it("that counts them all: a channel goes on, memory stays", function()
         local count = 0
         session:callback_set(cbtype, function()
            count = count + 1
         end)
         assert_flat(kind.batches)
         assert.equal(kind.batches * BATCH, count)
         assert.equal(0, session.info.callbacks_dropped)
      end)

      it("that waits: 256 do, and the others are dropped and counted", function()
         local adapter = loop.current()
         local gates = {}
         session:callback_set(cbtype, function()
            gates[#gates + 1] = adapter.token()
            adapter.park(gates[#gates])
         end)
         assert_flat(FEWER)
         assert.equal(256, #gates)
         assert.equal(FEWER * BATCH - 256, session.info.callbacks_dropped)
         for _, gate in ipairs(gates) do
            adapter.unpark(gate)
         end
         loop.sleep(0)
         -- There is room again.
         link:send(kind.payload):settle()
         assert.equal(257, #gates)
         assert.equal(FEWER * BATCH - 256, session.info.callbacks_dropped)
         adapter.unpark(gates[257])
         loop.sleep(0)
      end)
   end)

   describe("the " .. cbtype .. " callback", function()
      it("that is not set costs nothing, however many messages come", function()
         local link = memory.connect()
         local session = link.session
         local function send(n)
            for _ = 1, n do
               link:send(kind.payload)
            end
         end
         -- What the steps allocate in which the session takes n messages; its own share is the same in each.
         local function cost(n)
            send(n)
            local bytes, spent, steps = link.server:output(1 << 24), 0, 0
            collectgarbage()
            collectgarbage("stop")
            while bytes ~= "" do
               local piece = bytes:sub(1, session._core:input_room())
               bytes = bytes:sub(#piece + 1)
               session._core:input(piece)
               local before = collectgarbage("count")
               session:step()
               spent, steps = spent + collectgarbage("count") - before, steps + 1
            end
            collectgarbage("restart")
            return spent / steps
         end
         cost(1)
         local one = cost(1)
         for _ = 1, 20 do
            assert.is_true(cost(1000) <= one)
         end
         session:close()
      end)
   end)
end

describe("the text of a DEBUG", function()
   it("is delivered as it is: control characters, escape sequences, what is no UTF-8", function()
      local link = memory.connect()
      local seen = {}
      link.session:callback_set("debug", function(_, _, message, language)
         table.insert(seen, message)
         table.insert(seen, language)
      end)
      local bytes = {}
      for byte = 0, 255 do
         bytes[byte + 1] = string.char(byte)
      end
      local texts = { table.concat(bytes), "\27]0;title\7\27[2J\27[31m", "\226\128\174txt.exe", "\192\128\255\254", "",
         ("\27[A"):rep(10000) }
      for _, text in ipairs(texts) do
         link:send(messages.debug(false, text, "\27[0m")):settle()
         assert.equal(text, table.remove(seen, 1))
         assert.equal("\27[0m", table.remove(seen, 1))
      end
      assert.is_nil(link.session.failure)
      link.session:close()
   end)
end)
