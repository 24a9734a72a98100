local destination = require "moonssh.destination"

describe("a destination", function()
   local good = {
      { "web1", nil, "web1", nil },
      { "deploy@web1", "deploy", "web1", nil },
      { "deploy@web1:2222", "deploy", "web1", 2222 },
      { "web1:22", nil, "web1", 22 },
      { "a@b@web1", "a@b", "web1", nil },
      { "::1", nil, "::1", nil },
      { "[::1]", nil, "::1", nil },
      { "deploy@[::1]:2222", "deploy", "::1", 2222 },
      { "fe80::1%eth0", nil, "fe80::1%eth0", nil },
      { "[fe80::1%eth0]:22", nil, "fe80::1%eth0", 22 },
      { "ssh://web1", nil, "web1", nil },
      { "ssh://deploy@web1:2222", "deploy", "web1", 2222 },
      { "SSH://deploy@web1:2222/", "deploy", "web1", 2222 },
      { "ssh://a%40b@[::1]:7", "a@b", "::1", 7 },
      { "ssh://deploy;fingerprint=x@web1", "deploy", "web1", nil },
      { "$(id)@web1", "$(id)", "web1", nil },
      { "%n%s@web1", "%n%s", "web1", nil },
   }

   for _, case in ipairs(good) do
      it(("%q is taken apart"):format(case[1]), function()
         local parts = assert(destination.parse(case[1]))
         assert.same({ user = case[2], host = case[3], port = case[4] }, parts)
      end)
   end

   local bad = {
      { "", "empty host" },
      { "deploy@", "empty host" },
      { "@web1", "empty user" },
      { "-oProxyCommand=x", "host begins with a dash" },
      { "-l@web1", "user begins with a dash" },
      { "deploy@-web1", "host begins with a dash" },
      { "web1:", "port must be a number from 1 to 65535" },
      { "web1:0", "port must be a number from 1 to 65535" },
      { "web1:65536", "port must be a number from 1 to 65535" },
      { "web1:-1", "port must be a number from 1 to 65535" },
      { "web1:2x", "port must be a number from 1 to 65535" },
      { "[::1]x", "port must be a number from 1 to 65535" },
      { "1:2:x", "host is neither a name nor an address" },
      { "web1:22:33", "host is neither a name nor an address" },
      { "ssh://web1/path", "an ssh:// destination has no path" },
      { "ssh://a%4@web1", "user with a broken % escape" },
      { "ssh://a%00b@web1", "user with a character that cannot stand in one" },
      { "ssh://%2dl@web1", "user begins with a dash" },
      { ("a"):rep(256), "host is too long" },
   }

   for _, case in ipairs(bad) do
      it(("%q is refused: %s"):format(case[1]:sub(1, 40), case[2]), function()
         local parts, complaint = destination.parse(case[1])
         assert.is_nil(parts)
         assert.equal(case[2], complaint)
      end)
   end

   it("has no control character in its user, and nothing a shell or a file gives a meaning to in its host", function()
      for byte = 0, 255 do
         local c = string.char(byte)
         if byte < 0x20 or byte == 0x7f then
            assert.is_nil(destination.parse("a" .. c .. "b@web1"), ("user with \\x%02x"):format(byte))
         end
         if not c:find("[%w._+%%@:-]") then
            assert.is_nil(destination.parse("we" .. c .. "b1"), ("host with \\x%02x"):format(byte))
         end
      end
   end)
end)
