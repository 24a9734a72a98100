-- SSH_MSG_EXT_INFO (RFC 8308).

local Pair = require "spec.support.pair"
local wire = require "spec.support.wire"

-- A pair with keys whose server has not sent EXT_INFO, so that the spec can.
local function bare()
   local pair = Pair.new():start()
   pair:move("client")
   pair:take("server")
   pair.server:without_ext_info()
   pair:run():forget()
   assert.is_nil(pair.client:server_sig_algs())
   return pair
end

local function ext_info(count, ...)
   return wire.message("EXT_INFO", "u", count) .. table.concat({ ... })
end

local function entry(name, value)
   return wire.pack("ss", name, value)
end

local function send(pair, ...)
   for _, payload in ipairs{ ... } do
      assert(pair.server:send_raw(payload))
   end
   pair:run()
   return pair.client:failure()
end

local SIG_ALGS = entry("server-sig-algs", "ssh-ed25519,rsa-sha2-256")

describe("EXT_INFO", function()
   it("of our server names all signature algorithms", function()
      local pair = Pair.new():open()
      assert.equal("ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,"
         .. "sk-ssh-ed25519@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-512,rsa-sha2-256",
         pair.client:server_sig_algs())
      assert.is_nil(pair.server:server_sig_algs())
   end)

   it("right after NEWKEYS gives server-sig-algs", function()
      local pair = bare()
      assert.is_nil(send(pair, ext_info(2, entry("no-flow-control", "p"), SIG_ALGS)))
      assert.equal("ssh-ed25519,rsa-sha2-256", pair.client:server_sig_algs())
   end)

   it("may have an empty list of them, or none, or unknown names", function()
      local pair = bare()
      assert.is_nil(send(pair, ext_info(1, entry("server-sig-algs", ""))))
      assert.equal("", pair.client:server_sig_algs())
      pair = bare()
      assert.is_nil(send(pair, ext_info(0)))
      assert.is_nil(pair.client:server_sig_algs())
      pair = bare()
      assert.is_nil(send(pair, ext_info(1, entry("server-sig-algs", "rot13@example.com"))))
      assert.equal("rot13@example.com", pair.client:server_sig_algs())
   end)

   it("may come again right before USERAUTH_SUCCESS, and then counts", function()
      local pair = bare()
      assert.is_nil(send(pair, ext_info(1, SIG_ALGS), "\53banner",
         ext_info(1, entry("server-sig-algs", "ssh-ed25519")), "\52"))
      assert.equal("ssh-ed25519", pair.client:server_sig_algs())
      assert.same({ "\53banner", "\52" }, pair:payloads("client"))
   end)

   it("may be parted from USERAUTH_SUCCESS by IGNORE and DEBUG only", function()
      local pair = bare()
      assert.is_nil(send(pair, "\53x", ext_info(1, SIG_ALGS), "\2\0\0\0\0", "\52"))
      for _, payload in ipairs{ "\53x", "\51\0\0\0\0\0", "\192", "\6\0\0\0\0" } do
         pair = bare()
         local failure = send(pair, "\53x", ext_info(1, SIG_ALGS), payload)
         assert.equal("protocol", failure.code)
         assert.truthy(failure.message:find("came between EXT_INFO and USERAUTH_SUCCESS", 1, true))
      end
   end)

   it("is rejected a third time", function()
      local pair = bare()
      local failure = send(pair, ext_info(1, SIG_ALGS), ext_info(1, SIG_ALGS), ext_info(1, SIG_ALGS))
      assert.equal("protocol", failure.code)
      assert.equal(2, failure.reason)
   end)

   it("is rejected in the clear, and after authentication", function()
      local pair = Pair.new():start()
      pair.server:output()
      pair.server:queue("SSH-2.0-x\r\n")
      local failure = send(pair, ext_info(1, SIG_ALGS))
      assert.equal("protocol", failure.code)
      assert.truthy(failure.message:find("EXT_INFO) is out of place", 1, true))

      pair = Pair.new():open(true)
      failure = send(pair, ext_info(1, SIG_ALGS))
      assert.truthy(failure.message:find("EXT_INFO) is out of place", 1, true))
   end)

   it("is taken from a client right after its NEWKEYS, and from it nowhere else", function()
      local pair = Pair.new():open()
      assert(pair.client:send_raw(ext_info(1, entry("ext-info-in-auth@openssh.com", "0"))))
      pair:run()
      assert.is_nil(pair.server:failure())
      assert(pair.client:send_raw(ext_info(1, entry("ext-info-in-auth@openssh.com", "0"))))
      pair:run()
      assert.equal("protocol", pair.server:failure().code)
   end)

   it("has at most 64 extensions, all of them there, and nothing else", function()
      local many = entry("x", "y"):rep(63)
      local pair = bare()
      assert.is_nil(send(pair, ext_info(64, many, SIG_ALGS)))
      assert.equal("ssh-ed25519,rsa-sha2-256", pair.client:server_sig_algs())
      for _, payload in ipairs{
         ext_info(65, many, SIG_ALGS, SIG_ALGS),
         ext_info(1024),
         ext_info(0xffffffff, SIG_ALGS),
         ext_info(0xffffffff),
         ext_info(1),
         ext_info(2, SIG_ALGS),
         ext_info(0, SIG_ALGS),
         ext_info(1, SIG_ALGS, "\0"),
         ext_info(1, (">s4I4"):pack("server-sig-algs", 0xfffffff0)),
         ext_info(1, (">I4"):pack(0xffffffff)),
         ext_info(1, entry("server-sig-algs", "a,,b")),
         ext_info(1, entry("server-sig-algs", "a b")),
         ext_info(1, entry("server-sig-algs", ("n,"):rep(600) .. "n")),
         "\7", "\7\0\0",
      } do
         pair = bare()
         local failure = send(pair, payload)
         assert.equal("protocol", failure.code)
         assert.truthy(failure.message:find("^EXT_INFO: "))
         assert.is_nil(pair.client:server_sig_algs())
      end
   end)

   it("is rejected when cut at any length", function()
      local whole = ext_info(2, entry("a", "b"), SIG_ALGS)
      for len = 1, #whole - 1 do
         assert.equal("protocol", send(bare(), whole:sub(1, len)).code)
      end
   end)
end)
