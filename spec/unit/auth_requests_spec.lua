-- What the client's requests look like on the wire (RFC 4252, 4256), and when they may be made.

local testing = require "moonssh_testing"

local SERVICE_REQUEST = string.pack(">Bs4", 5, "ssh-userauth")
local SERVICE_ACCEPT = string.pack(">Bs4", 6, "ssh-userauth")
local FAILURE = string.pack(">Bs4B", 51, "password,publickey", 0)
local SUCCESS = string.char(52)
local CHANGE_REQUEST = string.pack(">Bs4s4", 60, "expired", "")

local function request(user, method, fields)
   return string.pack(">Bs4s4s4", 50, user, "ssh-connection", method) .. (fields or "")
end

local function prompts(...)
   local fields = {}
   for _, prompt in ipairs { ... } do
      table.insert(fields, string.pack(">s4B", prompt, 0))
   end
   return string.pack(">Bs4s4s4I4", 60, "name", "instruction", "", #fields) .. table.concat(fields)
end

describe("an authentication request", function()
   local auth, heap

   before_each(function()
      heap = testing.heap.new()
      auth = testing.auth.new(heap)
   end)

   after_each(function()
      auth:close()
      assert.equal(0, heap:in_use())
   end)

   -- Has the service accepted, and nothing asked.
   local function accepted()
      assert.is_true(auth:none("u"))
      assert.equal("none", auth:handle(SERVICE_ACCEPT).type)
      assert.equal("failure", auth:handle(FAILURE).type)
      auth:sent()
   end

   it("asks for the service in the same flight, once", function()
      assert.is_true(auth:none("deploy"))
      assert.same({ SERVICE_REQUEST, request("deploy", "none") }, (auth:sent()))
      auth:handle(SERVICE_ACCEPT)
      auth:handle(FAILURE)
      assert.is_true(auth:none("deploy"))
      assert.same({ request("deploy", "none") }, (auth:sent()))
   end)

   it("carries a password, concealed", function()
      accepted()
      assert.is_true(auth:password("u", "s3cret"))
      local sent, concealed = auth:sent()
      assert.same({ request("u", "password", string.pack(">Bs4", 0, "s3cret")) }, sent)
      assert.same({ true }, concealed)
   end)

   it("carries an empty password and one with any byte", function()
      local bytes = {}
      for i = 0, 255 do
         bytes[i + 1] = string.char(i)
      end
      accepted()
      for _, password in ipairs { "", table.concat(bytes) } do
         assert.is_true(auth:password("u", password))
         assert.same({ request("u", "password", string.pack(">Bs4", 0, password)) }, (auth:sent()))
         auth:handle(FAILURE)
      end
   end)

   it("changes a password when the server has asked for that", function()
      accepted()
      assert.is_true(auth:password("u", "old"))
      assert.equal("password_change", auth:handle(CHANGE_REQUEST).type)
      auth:sent()
      assert.is_true(auth:password("u", "old", "new"))
      local sent, concealed = auth:sent()
      assert.same({ request("u", "password", string.pack(">Bs4s4", 1, "old", "new")) }, sent)
      assert.same({ true }, concealed)
   end)

   it("does not change a password unasked, or long after", function()
      accepted()
      assert.same({ nil, "state" }, { auth:password("u", "old", "new") })
      auth:password("u", "old")
      auth:handle(CHANGE_REQUEST)
      auth:none("u")
      auth:handle(FAILURE)
      auth:sent()
      assert.same({ nil, "state" }, { auth:password("u", "old", "new") })
      assert.same({}, (auth:sent()))
   end)

   it("asks about a key without signing", function()
      accepted()
      assert.is_true(auth:probe("u", "ssh-ed25519", "BLOB"))
      local sent, concealed = auth:sent()
      assert.same({ request("u", "publickey", string.pack(">Bs4s4", 0, "ssh-ed25519", "BLOB")) }, sent)
      assert.same({ false }, concealed)
   end)

   it("carries a signature", function()
      accepted()
      assert.is_true(auth:publickey("u", "rsa-sha2-512", "BLOB", "SIGNATURE"))
      assert.same(
         { request("u", "publickey", string.pack(">Bs4s4s4", 1, "rsa-sha2-512", "BLOB", "SIGNATURE")) },
         (auth:sent()))
   end)

   it("gives for signing the session id and the request up to the signature", function()
      assert.equal(string.pack(">s4", "ID") .. request("u", "publickey", string.pack(">Bs4s4", 1, "alg", "BLOB")),
         testing.auth.signing_data("ID", "u", "alg", "BLOB"))
   end)

   it("binds a key's signature to the server's host key where that is given", function()
      local fields = string.pack(">Bs4s4s4", 1, "alg", "BLOB", "HOST KEY")
      local method = "publickey-hostbound-v00@openssh.com"
      assert.equal(string.pack(">s4", "ID") .. request("u", method, fields),
         testing.auth.signing_data("ID", "u", "alg", "BLOB", "HOST KEY"))
      accepted()
      assert.is_true(auth:publickey("u", "alg", "BLOB", "SIG", "HOST KEY"))
      assert.same({ request("u", method, fields .. string.pack(">s4", "SIG")) }, (auth:sent()))
      assert.equal("success", auth:handle(SUCCESS).type)
   end)

   it("has a host vouch for its user", function()
      local fields = string.pack(">s4s4s4s4", "alg", "BLOB", "client.example", "me")
      assert.equal(string.pack(">s4", "ID") .. request("u", "hostbased", fields),
         testing.auth.signing_data("ID", "u", "alg", "BLOB", nil, "client.example", "me"))
      accepted()
      assert.is_true(auth:hostbased("u", "alg", "BLOB", "SIG", "client.example", "me"))
      assert.same({ request("u", "hostbased", fields .. string.pack(">s4", "SIG")) }, (auth:sent()))
      -- No message 60 belongs to it.
      local event, err = auth:handle(CHANGE_REQUEST)
      assert.is_nil(event)
      assert.equal("protocol", err)
   end)

   it("by a host has the host's name", function()
      accepted()
      local ok, err = auth:hostbased("u", "alg", "BLOB", "SIG", "", "me")
      assert.is_nil(ok)
      assert.equal("state", err)
      assert.same({}, (auth:sent()))
   end)

   it("opens keyboard-interactive and answers its prompts, concealed", function()
      accepted()
      assert.is_true(auth:interactive("u"))
      assert.same({ request("u", "keyboard-interactive", string.pack(">s4s4", "", "")) }, (auth:sent()))
      assert.equal("prompts", auth:handle(prompts("Password:", "Code:")).type)
      assert.is_true(auth:answer { "pw", "123" })
      local sent, concealed = auth:sent()
      assert.same({ string.pack(">BI4s4s4", 61, 2, "pw", "123") }, sent)
      assert.same({ true }, concealed)
   end)

   it("answers a request without prompts with no answers", function()
      accepted()
      auth:interactive("u")
      auth:sent()
      assert.equal(0, auth:handle(prompts()).n_prompts)
      assert.is_true(auth:answer {})
      assert.same({ string.pack(">BI4", 61, 0) }, (auth:sent()))
      assert.equal("success", auth:handle(SUCCESS).type)
   end)

   it("takes exactly as many answers as there are prompts, once", function()
      assert.same({ nil, "state" }, { auth:answer {} })
      accepted()
      auth:interactive("u")
      assert.same({ nil, "state" }, { auth:answer {} })
      auth:handle(prompts("a", "b"))
      auth:sent()
      assert.same({ nil, "state" }, { auth:answer { "1" } })
      assert.same({ nil, "state" }, { auth:answer { "1", "2", "3" } })
      assert.same({}, (auth:sent()))
      assert.is_true(auth:answer { "1", "2" })
      assert.same({ nil, "state" }, { auth:answer { "1", "2" } })
   end)

   it("may give up open prompts for another method", function()
      accepted()
      auth:interactive("u")
      auth:handle(prompts("a"))
      assert.is_true(auth:password("u", "pw"))
      assert.same({ nil, "state" }, { auth:answer { "1" } })
   end)

   local requests = {
      none = function() return auth:none("u") end,
      password = function() return auth:password("u", "pw") end,
      probe = function() return auth:probe("u", "alg", "BLOB") end,
      publickey = function() return auth:publickey("u", "alg", "BLOB", "SIG") end,
      interactive = function() return auth:interactive("u") end,
   }

   for name, send in pairs(requests) do
      it(("(%s) waits for the answer to the one before"):format(name), function()
         auth:none("u")
         auth:sent()
         assert.same({ nil, "state" }, { send() })
         assert.same({}, (auth:sent()))
      end)

      it(("(%s) is not made after success"):format(name), function()
         accepted()
         auth:none("u")
         assert.equal("success", auth:handle(SUCCESS).type)
         auth:sent()
         assert.same({ nil, "state" }, { send() })
         assert.same({}, (auth:sent()))
      end)

      it(("(%s) is not made after a failure, whose code it gives"):format(name), function()
         auth:none("u")
         assert.same({ nil, "protocol" }, { auth:handle(SUCCESS) })
         auth:sent()
         assert.same({ nil, "protocol" }, { send() })
         assert.same({}, (auth:sent()))
      end)

      it(("(%s) is made twenty times and no more"):format(name), function()
         for i = 1, 20 do
            assert.is_true(send())
            if i == 1 then
               auth:handle(SERVICE_ACCEPT)
            end
            assert.equal("failure", auth:handle(FAILURE).type)
         end
         auth:sent()
         assert.same({ nil, "limit" }, { send() })
         assert.same({}, (auth:sent()))
         assert.is_nil(auth:failure())
      end)

      it(("(%s) that cannot be sent leaves everything as it was"):format(name), function()
         auth:limit(nil, -5)
         assert.same({ nil, "limit" }, { send() })
         auth:limit()
         assert.same({}, (auth:sent()))
         assert.is_true(send())
         assert.equal(SERVICE_REQUEST, auth:sent()[1])
      end)

      it(("(%s) survives each failing allocation"):format(name), function()
         accepted()
         local n = 0
         repeat
            n = n + 1
            heap:fail(n)
            local ok, err = send()
            if not ok then
               assert.equal("memory", err)
               assert.same({}, (auth:sent()))
            end
         until ok
         heap:fail(0)
         assert.is_true(n > 1)
         assert.equal(1, #auth:sent())
      end)
   end

   it("refuses over-long texts without allocating for them", function()
      accepted()
      local long = ("x"):rep(65537)
      heap:peak()
      local before = heap:in_use()
      assert.same({ nil, "limit" }, { auth:none(long) })
      assert.same({ nil, "limit" }, { auth:password("u", long) })
      assert.same({ nil, "limit" }, { auth:probe("u", "alg", long) })
      assert.same({ nil, "limit" }, { auth:probe("u", long, "BLOB") })
      assert.same({ nil, "limit" }, { auth:publickey("u", "alg", "BLOB", long) })
      assert.same({ nil, "limit" }, { auth:interactive(long) })
      assert.is_true(heap:peak() - before < 65536)
      assert.same({}, (auth:sent()))
      auth:interactive("u")
      auth:handle(prompts("a"))
      auth:sent()
      assert.same({ nil, "limit" }, { auth:answer { long } })
      assert.same({}, (auth:sent()))
      assert.is_true(auth:answer { "short" })
   end)

   it("refuses a user name with a zero byte", function()
      assert.same({ nil, "state" }, { auth:none("root\0x") })
      assert.same({}, (auth:sent()))
   end)

   it("keeps no memory from one request to the next", function()
      accepted()
      local before = heap:in_use()
      for name, send in pairs(requests) do
         if name ~= "probe" then
            assert.is_true(send())
            auth:handle(FAILURE)
            assert.equal(before, heap:in_use())
         end
      end
   end)
end)
