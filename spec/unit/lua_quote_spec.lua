local ssh = require "moonssh"
local process = require "spec.support.process"

-- The words that a POSIX shell makes of quoted ones, each ended by a NUL.
local function round_trip(words)
   local script = "printf '%s\\0' " .. ssh.quote(words)
   local result = process.run{ "sh", "-c", script }
   assert.equal(0, result.status, script)
   return result.stdout
end

describe("ssh.quote", function()
   it("leaves plain words as they are", function()
      assert.equal("ls -l /etc/passwd", ssh.quote{ "ls", "-l", "/etc/passwd" })
      assert.equal("user@host:22 50% a+b x,y _z", ssh.quote{ "user@host:22", "50%", "a+b", "x,y", "_z" })
   end)

   it("quotes what means something to a shell", function()
      assert.equal([['a b' '' '$HOME' '*' '~' 'x=1' 'it'\''s']],
         ssh.quote{ "a b", "", "$HOME", "*", "~", "x=1", "it's" })
   end)

   it("quotes what means something where a command begins, there alone", function()
      assert.equal("'if' then", ssh.quote{ "if", "then" })
      assert.equal("'time' time", ssh.quote{ "time", "time" })
      assert.equal("'%1' %1", ssh.quote{ "%1", "%1" })
      assert.equal("iffy if", ssh.quote{ "iffy", "if" })
   end)

   it("takes numbers", function()
      assert.equal("sleep 0.5 3", ssh.quote{ "sleep", 0.5, 3 })
   end)

   it("raises for anything else", function()
      assert.error_matches(function() ssh.quote("ls") end, "bad argument #1 to 'quote' %(table expected, got string%)")
      assert.error_matches(function() ssh.quote{ "ls", {} } end, "word 2: string expected, got table")
      assert.error_matches(function() ssh.quote{ "a\0b" } end, "word 1: a command line cannot hold a NUL")
      assert.error_matches(function() ssh.quote{} end, "a list of words expected")
   end)

   it("is taken apart by a shell into the same words, whatever they hold", function()
      math.randomseed(20240)
      local alphabet = { "a", "B", "7", " ", "'", '"', "\\", "$", "`", "\n", "\t", "*", "?", "[", "]", "{", "}",
         "(", ")", "<", ">", "|", "&", ";", "~", "#", "=", "!", "^", "-", "%", "\1", "\127", "\195\164", "\255" }
      for _ = 1, 30 do
         local words = {}
         for i = 1, 40 do
            local letters = {}
            for j = 1, math.random(0, 12) do
               letters[j] = alphabet[math.random(#alphabet)]
            end
            words[i] = table.concat(letters)
         end
         assert.equal(table.concat(words, "\0") .. "\0", round_trip(words))
      end
   end)
end)
