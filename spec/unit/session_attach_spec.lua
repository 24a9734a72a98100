-- A session on the connection of another process: bare packets, and nothing that would touch what is below.

local core = require "moonssh.core"

local PACKET = 256 * 1024

local function bare(payload)
   return string.pack(">I4B", #payload + 1, 0) .. payload
end

local function attached(options)
   local session = core.session(options)
   assert(session:attach())
   return session
end

-- The failure after some input, and what is sent because of it.
local function fails(bytes)
   local session <close> = attached()
   session:input(bytes)
   local kind = session:next()
   return kind, (session:failure()), session:output(1000)
end

describe("an attached session", function()
   it("is open at once and sends bare packets of the connection layer alone", function()
      local session <close> = attached()
      assert.is_nil(session:output(1000))
      local ch = assert(session:open("session", ""))
      local sent = session:output(1000)
      local length, padding, number, type = string.unpack(">I4BBs4", sent)
      assert.same({ #sent - 4, 0, 90, "session" }, { length, padding, number, type })
      session:output_done(#sent)
      session:input(bare(string.pack(">BI4I4I4I4", 91, 0, 7, 1000, 1000)))
      assert.same({ "opened", ch }, { session:next() })
      assert.equal(2, session:channel_write(ch, 0, "hi"))
      assert.equal(bare(string.pack(">BI4s4", 94, 7, "hi")), session:output(1000))
   end)

   it("takes packets in any pieces, up to the largest", function()
      local session <close> = attached()
      local packet = bare(string.pack(">Bs4Bs4", 80, "x", 0, ("y"):rep(1000)))
      for i = 1, #packet do
         assert.is_nil((session:next()))
         session:input(packet:sub(i, i))
      end
      local kind, name, data = session:next()
      assert.same({ "global_request", "x", 1004 }, { kind, name, #data })
   end)

   it("fails for what is none, without a word to the other side", function()
      for _, bytes in ipairs{ string.pack(">I4", 0), string.pack(">I4B", 1, 0), string.pack(">I4", 0xffffffff),
         string.pack(">I4", PACKET + 1), string.pack(">I4BBB", 3, 1, 80, 0), string.pack(">I4BBB", 3, 255, 80, 0),
         bare("\20" .. ("k"):rep(60)), bare("\21"), bare("\30x"), bare("\52"), bare("\6\0\0\0\0"), bare("\94\0\0") } do
         local kind, code, output = fails(bytes)
         assert.same({ "failed", "protocol" }, { kind, code })
         assert.is_nil(output)
      end
   end)

   it("says nothing to messages that it does not know", function()
      local session <close> = attached()
      session:input(bare("\199abc"))
      assert.is_nil((session:next()))
      assert.is_nil((session:failure()))
      assert.is_nil(session:output(100))
   end)

   it("neither exchanges keys nor says goodbye", function()
      local session <close> = attached{ rekey_bytes = 1, rekey_packets = 1, rekey_seconds = 0.001 }
      session:tick(1)
      assert(session:open("session", ""))
      session:output_done(#session:output(1000))
      session:tick(1000)
      assert.is_nil(session:deadline())
      assert.is_nil(session:output(1000))
      assert.equal("state", (select(2, session:rekey())))
      session:disconnect(11, "bye")
      assert.is_nil(session:output(1000))
      assert.equal("closed", (session:failure()))
   end)

   it("is attached once, and before anything else", function()
      local session <close> = attached()
      assert.equal("state", (select(2, session:attach())))
      local other <close> = core.session()
      other:start()
      assert.equal("state", (select(2, other:attach())))
   end)
end)
