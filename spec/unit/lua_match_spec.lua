local match = require "moonssh.match"

describe("a pattern", function()
   local cases = {
      { "web1", "web1", true },
      { "web1", "web12", false },
      { "web", "web1", false },
      { "", "", true },
      { "", "a", false },
      { "*", "", true },
      { "*", "anything", true },
      { "**", "x", true },
      { "?", "", false },
      { "?", "x", true },
      { "?*?", "a", false },
      { "?*?", "ab", true },
      { "a*a", "a", false },
      { "a*a", "aa", true },
      { "*.example.com", "www.example.com", true },
      { "*.example.com", "example.com", false },
      { "*.example.com", "www.example.com.evil", false },
      { "w?b*", "web", true },
      { "a.c", "abc", false },
      { "a[b]c", "a[b]c", true },
      { "[*]:2222", "[web]:2222", true },
      { "*ab*b", "abab", true },
      { "*ab*ab", "ab", false },
      { "*a?c*", "xxabcz", true },
      { "%a*", "xa", false },
      { "10.0.*.1", "10.0.3.1", true },
      { "a*\0*b", "a-\0-b", true },
   }

   for _, case in ipairs(cases) do
      it(("%q %s %q"):format(case[1], case[3] and "matches" or "does not match", case[2]), function()
         assert.equal(case[3], match.pattern(case[1], case[2]))
      end)
   end

   it("with thousands of stars is not tried in all ways", function()
      local steps = 0
      debug.sethook(function()
         steps = steps + 1
      end, "", 100)
      local matched = match.pattern(("*a"):rep(5000) .. "*b", ("a"):rep(5000))
      debug.sethook()
      assert.is_false(matched)
      assert.is_true(steps < 5000, steps .. " hundreds of instructions")
   end)
end)

describe("a list of patterns", function()
   local cases = {
      { "web1,web2", "web2", "positive" },
      { "web1,web2", "web3", nil },
      { "*.example.com,!evil.example.com", "evil.example.com", "negative" },
      { "!evil.example.com,*.example.com", "evil.example.com", "negative" },
      { "*.example.com,!evil.example.com", "good.example.com", "positive" },
      { "!web1", "web2", nil },
      { "WEB1", "web1", "positive" },
      { "web1", "WEB1", "positive" },
      { ",web1,", "web1", "positive" },
      { "!*", "web1", "negative" },
      { ("a"):rep(1023), ("a"):rep(1023), "positive" },
      { ("a"):rep(1024), ("a"):rep(1024), nil },
   }

   for _, case in ipairs(cases) do
      it(("%q says %s to %q"):format(case[1]:sub(1, 40), tostring(case[3]), case[2]:sub(1, 40)), function()
         assert.equal(case[3], match.list(case[1], case[2]))
      end)
   end
end)
