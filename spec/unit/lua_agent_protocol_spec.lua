local protocol = require "moonssh.agent_protocol"

local function pack(format, ...)
   return string.pack(">" .. format, ...)
end

local bind = {
   type = "bind", host_key = "a host key", session_id = "an id", signature = "a signature", forwarding = true,
}

local function bind_payload(change)
   local it = setmetatable(change or {}, { __index = bind })
   return pack("Bs4s4s4s4B", 27, it.name or "session-bind@openssh.com", it.host_key, it.session_id, it.signature,
      it.flag or 1)
end

local requests = {
   [pack("B", 11)] = { type = "identities" },
   [pack("Bs4s4I4", 13, "a blob", "some data", 0xffffffff)] =
      { type = "sign", blob = "a blob", data = "some data", flags = 0xffffffff },
   [pack("Bs4s4I4", 13, "", "", 0)] = { type = "sign", blob = "", data = "", flags = 0 },
   [bind_payload()] = bind,
   [bind_payload{ flag = 0 }] = setmetatable({ forwarding = false }, { __index = bind }),
}

describe("the agent protocol's requests", function()
   it("are taken apart", function()
      for payload, expected in pairs(requests) do
         local request = assert(protocol.request(payload))
         for _, name in ipairs{ "type", "blob", "data", "flags", "host_key", "session_id", "signature",
            "forwarding" } do
            assert.equal(expected[name], request[name])
         end
      end
   end)

   it("are none when they are cut off anywhere, or go on", function()
      for payload in pairs(requests) do
         for length = 0, #payload - 1 do
            assert.is_nil(protocol.request(payload:sub(1, length)))
         end
         assert.is_nil(protocol.request(payload .. "\0"))
      end
   end)

   it("are none when a length in them lies", function()
      for _, length in ipairs{ 0, 5, 7, 0x7fffffff, 0xfffffff0, 0xffffffff } do
         assert.is_nil(protocol.request(pack("BI4", 13, length) .. "a blob" .. pack("s4I4", "data", 0)))
         assert.is_nil(protocol.request(pack("Bs4I4", 13, "a blob", length) .. "data1234567" .. pack("I4", 0)))
      end
   end)

   it("of all other types are none", function()
      for type = 0, 255 do
         if type ~= 11 then
            assert.is_nil(protocol.request(pack("B", type)))
         end
         if type ~= 13 then
            assert.is_nil(protocol.request(pack("Bs4s4I4", type, "a blob", "data", 0)))
         end
      end
   end)

   it("to bind are none for another extension, a flag that is no boolean, or an id that is no hash", function()
      assert.is_nil(protocol.request(bind_payload{ name = "session-bind@openssh.con" }))
      assert.is_nil(protocol.request(bind_payload{ name = "query" }))
      assert.is_nil(protocol.request(bind_payload{ flag = 2 }))
      assert.is_nil(protocol.request(bind_payload{ session_id = "" }))
      assert.is_nil(protocol.request(bind_payload{ session_id = ("x"):rep(65) }))
      assert.is_truthy(protocol.request(bind_payload{ session_id = ("x"):rep(64) }))
   end)
end)

describe("the agent protocol's answers", function()
   local blob = pack("s4", "ssh-ed25519")

   it("list identities, with and without a comment", function()
      assert.equal(pack("BI4", 12, 0), protocol.identities{})
      assert.equal(pack("BI4s4s4s4s4", 12, 2, blob, "a comment", blob, ""),
         protocol.identities{ { blob = blob, comment = "a comment" }, { blob = blob } })
   end)

   it("hold signatures, those of security keys with what follows", function()
      for _, signature in ipairs{ pack("s4s4", "ssh-ed25519", "sig"), pack("s4s4", "rsa-sha2-256", ""),
         pack("s4s4BI4", "sk-ssh-ed25519@openssh.com", "sig", 1, 2),
         pack("s4s4BI4s4s4", "webauthn-sk-ecdsa-sha2-nistp256@openssh.com", "sig", 1, 2, "origin", "{}") } do
         assert.equal(pack("Bs4", 14, signature), protocol.signature(signature))
      end
   end)

   local longest = protocol.MAX_FRAME
   local wrong_lists = {
      { "no list", "a list of identities expected, got string" },
      { 12, "a list of identities expected, got number" },
      { { 1 }, "identity 1: 'blob' is no key blob" },
      { { { blob = blob }, {} }, "identity 2: 'blob' is no key blob" },
      { { { blob = "junk" } }, "identity 1: 'blob' is no key blob" },
      { { { blob = "" } }, "identity 1: 'blob' is no key blob" },
      { { { blob = pack("s4", "") } }, "identity 1: 'blob' is no key blob" },
      { { { blob = blob, comment = 1 } }, "identity 1: 'comment': string expected, got number" },
      { { { blob = blob, comment = ("x"):rep(longest) } }, "more identities than an answer can hold" },
   }

   it("are none for what is no list of identities", function()
      for _, case in ipairs(wrong_lists) do
         local answer, complaint = protocol.identities(case[1])
         assert.is_nil(answer)
         assert.equal(case[2], complaint)
      end
   end)

   it("are as long as a frame at most", function()
      local function list(extra)
         return { { blob = blob, comment = ("x"):rep(longest - 5 - 8 - #blob + extra) } }
      end
      assert.equal(longest, #assert(protocol.identities(list(0))))
      assert.is_nil(protocol.identities(list(1)))
      local signature = pack("s4s4", "a", ("x"):rep(longest - 5 - 9))
      assert.equal(longest, #assert(protocol.signature(signature)))
      local answer, complaint = protocol.signature(pack("s4s4", "a", ("x"):rep(longest - 5 - 8)))
      assert.is_nil(answer)
      assert.equal("a longer signature than an answer can hold", complaint)
   end)

   it("are none for what is no signature", function()
      for _, wrong in ipairs{ 1, false, {} } do
         local answer, complaint = protocol.signature(wrong)
         assert.is_nil(answer)
         assert.equal("a signature expected, got " .. type(wrong), complaint)
      end
      for _, wrong in ipairs{ "", "junk", blob, pack("s4s4", "", "x"), pack("s4s4B", "ssh-ed25519", "sig", 0) } do
         local answer, complaint = protocol.signature(wrong)
         assert.is_nil(answer)
         assert.equal("the string is no signature blob", complaint)
      end
   end)
end)
