-- Attacks, row A2: EXT_INFO (RFC 8308).

local oracle = require "spec.support.oracle"
local wire = require "spec.support.wire"

local message = wire.message

-- A run with this as the EXT_INFO behind NEWKEYS, and what the client has learned by it.
local function first(payload)
   local run = oracle.run{ peer = { steps = { ext_info_message = function() return payload end } } }
   return run, run.client.session:server_sig_algs()
end

local function entries(n)
   local parts = {}
   for i = 1, n do
      parts[i] = wire.pack("ss", "extension" .. i, "value")
   end
   return table.concat(parts)
end

local function sig_algs(value)
   return message("EXT_INFO", "uss", 1, "server-sig-algs", value)
end

describe("A2: the number of extensions", function()
   for _, n in ipairs{ 0, 1, 64 } do
      it("may be " .. n, function()
         oracle.finished((first(message("EXT_INFO", "ur", n, entries(n)))))
      end)
   end

   for _, n in ipairs{ 65, 1024, 0x7fffffff, 0xffffffff } do
      it("may not be " .. n .. ", whether they come or not", function()
         for _, coming in ipairs{ 0, 1, math.min(n, 1024) } do
            oracle.rejected((first(message("EXT_INFO", "ur", n, entries(coming)))), "protocol", 2, "EXT_INFO")
         end
      end)
   end

   it("must be right", function()
      for _, case in ipairs{ { 1, 0 }, { 64, 63 }, { 0, 1 }, { 3, 4 }, { 2, 1 } } do
         oracle.rejected((first(message("EXT_INFO", "ur", case[1], entries(case[2])))), "protocol", 2, "EXT_INFO")
      end
   end)
end)

describe("A2: EXT_INFO", function()
   it("is rejected when it is cut short, wherever that is, or too long", function()
      local whole = sig_algs("ssh-ed25519,rsa-sha2-512")
      for n = 1, #whole - 1 do
         oracle.rejected((first(whole:sub(1, n))), "protocol", 2, "EXT_INFO")
      end
      for n = 1, 16 do
         oracle.rejected((first(whole .. ("\0"):rep(n))), "protocol", 2, "EXT_INFO")
      end
   end)

   it("may come twice, and not a thousand times", function()
      local payload = sig_algs("ssh-ed25519")
      oracle.finished(oracle.run{ peer = { inject = { userauth = payload } } })
      local run = oracle.run{ peer = { inject = { userauth = { payload, payload } } } }
      oracle.rejected(run, "protocol", 2, "EXT_INFO")
   end)

   it("has two legal places: right behind NEWKEYS, and right before success", function()
      local payload = sig_algs("ssh-ed25519")
      -- Behind NEWKEYS, but not right behind it, and not before success.
      oracle.rejected(oracle.run{ peer = { ext_info = false, inject = { accepted = {
         payload, message("USERAUTH_BANNER", "ss", "x", "") } } } }, "protocol", 2, "EXT_INFO")
      oracle.rejected(oracle.run{ peer = { password = "another", inject = { userauth = payload } } }, "protocol", 2,
         "EXT_INFO")
      oracle.rejected(oracle.run{ peer = { inject = { authenticated = payload } } }, "protocol", 2, "EXT_INFO")
      oracle.rejected(oracle.run{ peer = { rekey_first = true, inject = { rekey_newkeys = payload } } }, "protocol", 2,
         "EXT_INFO")
   end)
end)

describe("A2: server-sig-algs", function()
   it("is learned", function()
      local run, list = first(sig_algs("ssh-ed25519,rsa-sha2-512"))
      assert.are.equal("ssh-ed25519,rsa-sha2-512", list)
      oracle.finished(run)
   end)

   it("may be empty, or name what is unknown", function()
      local run, list = first(sig_algs(""))
      assert.are.equal("", list)
      oracle.finished(run)
      run, list = first(sig_algs("unknown@example.com,x"))
      assert.are.equal("unknown@example.com,x", list)
      oracle.finished(run)
   end)

   it("is not known when it did not come", function()
      local run, list = first(nil)
      assert.is_nil(list)
      oracle.finished(run)
   end)

   it("of 200 KB, or that is no list, is rejected", function()
      oracle.rejected((first(sig_algs(("x,"):rep(100000) .. "x"))), "protocol", 2)
      oracle.rejected((first(sig_algs(("x,"):rep(30000) .. "x"))), "protocol", 2, "server%-sig%-algs")
      for _, list in ipairs{ ",", "a,", "a,,b", "a b", "a\0", ("n"):rep(65) } do
         oracle.rejected((first(sig_algs(list))), "protocol", 2, "server%-sig%-algs")
      end
   end)

   it("may be given anew before success, as RFC 8308 2.4 has it", function()
      local run = oracle.run{ peer = { inject = { userauth = sig_algs("rsa-sha2-256") } } }
      assert.are.equal("rsa-sha2-256", run.client.session:server_sig_algs())
      oracle.finished(run)
   end)
end)
