-- Attacks, row L1: strings of 2 GiB and more, and lengths that overflow 31, 32 or 64 bits when something is added to
-- them. They are faked: what lies behind their first 64 KiB cannot be looked at, so a length that is not checked ends
-- the process, and one that is cut down to 32 bits gives another result.

local SessionPair = require "spec.support.session_pair"
local ssh = require "moonssh"
local testing = require "moonssh_testing"

local LENGTHS = { 0x7fffffff, 0x80000000, 0x80000005, 0xfffffff0, 0xffffffff, 0x100000000, 0x100000005,
   0x7ffffffffffffff0, 0x7fffffffffffffff, -1 } -- -1: the largest size there is

-- Keys in files that OpenSSL reads, behind a passphrase.
local sealed = {}
for _, format in ipairs{ "pem", "pkcs8" } do
   sealed[#sealed + 1] = assert(ssh.key.generate("ecdsa")):export{ format = format, passphrase = "right" }
end

local function refused(code, result, why)
   assert.is_nil(result)
   assert.equal(code, why)
end

local function title(len)
   return ("of %s bytes"):format(len < 0 and "2^64-1" or ("0x%x"):format(len))
end

for _, len in ipairs(LENGTHS) do
   describe("a string " .. title(len), function()
      local huge = testing.base.huge(len)

      it("is no part of a packet that is written", function()
         if len < 0 or len > 0xffffffff then
            assert.same({ nil, "limit" }, { testing.base.write("u8", 1, "string", huge) })
         end
         local buffer = testing.base.buffer(1 << 20)
         assert(buffer:append("abc"))
         assert.same({ nil, "limit" }, { buffer:append(huge) })
         assert.equal("abc", buffer:content())
         buffer:free()
      end)

      it("is no key or comment", function()
         local key <close> = assert(testing.keys.generate("ed25519"))
         refused("key_format", testing.keys.parse_file(huge))
         refused("key_format", testing.keys.parse_public(huge))
         refused("limit", key:export(nil, huge))
      end)

      -- What OpenSSL takes as an int. Up to there a passphrase is what it is: all of it would be looked at.
      if len < 0 or len > 0x7fffffff then
         it("is no passphrase of a file that OpenSSL reads", function()
            for _, text in ipairs(sealed) do
               refused("key_format", testing.keys.parse_file(text, huge))
               assert(testing.keys.parse_file(text, "right")):close()
            end
         end)
      end

      describe("in a session", function()
         local function pair_of(options)
            return SessionPair.new(options):run()
         end

         it("is no name or password", function()
            local tried
            local pair = pair_of{ login = function(session)
               tried = {
                  { session:none(huge) },
                  { session:password(huge, "secret") },
                  { session:password("moon", huge) },
                  { session:probe(huge, "ssh-ed25519", "blob") },
                  { session:probe("moon", huge, "blob") },
                  { session:probe("moon", "ssh-ed25519", huge) },
                  { session:interactive(huge) },
               }
               assert(session:password("moon", "secret"))
            end }
            for _, result in ipairs(tried) do
               refused("limit", table.unpack(result, 1, 2))
            end
            assert.equal(7, #tried)
            assert.equal("hello", pair.out)
            pair:close()
         end)

         it("is no message, request or name, and the session goes on", function()
            local tried
            local pair = pair_of{ on = { opened = function(pair, event)
               local session, channel = pair.session, event.channel
               tried = {
                  { session:ignore(huge) },
                  { session:debug(true, huge, "") },
                  { session:debug(true, "", huge) },
                  { session:open(huge) },
                  { session:open("session", huge) },
                  { session:request(channel, huge, true, "") },
                  { session:request(channel, "exec", true, huge) },
                  { session:global_request(huge, true, "") },
                  { session:global_request("name", true, huge) },
               }
            end } }
            for _, result in ipairs(tried) do
               refused("limit", table.unpack(result, 1, 2))
            end
            assert.equal(9, #tried)
            assert.equal("hello", pair.out)
            assert.is_nil(pair.session:failure())
            assert.is_true(pair.session:disconnect(11, huge))
            pair:run()
            assert.is_true(#pair.server.failed.message < 2048)
            pair:close()
         end)
      end)
   end)
end
