local expect = require "moonssh.expect"
local loop = require "moonssh.loop"
local memory = require "spec.support.memory"
local ssh = require "moonssh"

describe("expect.search", function()
   local function search(text, list, plain, searched)
      local found = expect.search(text, list, plain, searched or 0)
      return found and { found.index, found[1], found[2], table.unpack(found, 3, found.n) }
   end

   it("finds the match that begins first, whichever pattern it is of", function()
      assert.same({ 2, 3, 4 }, search("xxabxx12", { "%d+", "ab" }))
      assert.same({ 1, 7, 8 }, search("xxaaxx12", { "%d+", "ab" }))
   end)

   it("prefers the first pattern at the same place", function()
      assert.same({ 1, 1, 2 }, search("ab", { "ab", "a" }))
      assert.same({ 1, 1, 1 }, search("ab", { "a", "ab" }))
   end)

   it("gives captures, positions too", function()
      assert.same({ 1, 1, 9, "key", "value" }, search("key=value", { "(%w+)=(%w+)" }))
      assert.same({ 1, 2, 1, 2 }, search("ab", { "()%f[b]" }))
   end)

   it("takes plain strings as they are, looking only at what is new", function()
      assert.same({ 1, 3, 4 }, search("a %d", { "%d" }, true))
      assert.same({ 1, 5, 7 }, search("aaaaabc", { "abc" }, true, 6))
      assert.is_nil(search("abcxxxxx", { "abc" }, true, 7))
      assert.is_nil(search("ab", { "c" }))
   end)
end)

describe("channel:expect", function()
   local link, peer, channel

   before_each(function()
      link = memory.connect{
         server = {
            exec = function(end_of_server)
               peer = end_of_server
            end,
         },
      }
      channel = assert(link.session:exec("talk"))
   end)

   after_each(function()
      link.session:close()
   end)

   -- Writes pieces one after the other, each after the client had its turn.
   local function write_later(...)
      local pieces = table.pack(...)
      return ssh.spawn(function()
         for i = 1, pieces.n do
            loop.sleep(0.001)
            peer:write(pieces[i])
         end
      end)
   end

   it("gives the index, the text up to the match, and the captures; what follows stays", function()
      peer:write("login: root\npassword: rest")
      assert.same({ 2, "login: root\npassword: ", "root" },
         { channel:expect{ "nothing", "login: (%w+)\npassword: " } })
      assert.equal("rest", channel:read())
   end)

   it("waits for a match that comes in pieces", function()
      write_later("pass", "wo", "rd:", " more")
      assert.same({ 1, "password:" }, { channel:expect("password:", { plain = true }) })
      write_later(" pro", "mpt> ")
      assert.same({ 1, " more prompt> ", "prompt" }, { channel:expect("(%w+)> ") })
   end)

   it("may be called again on what was left, and mixed with read", function()
      peer:write("one two three\nfour five\n")
      assert.same({ 1, "one " }, { channel:expect(" ") })
      assert.equal("two three", channel:read("l"))
      assert.same({ 1, "four " }, { channel:expect(" ", { plain = true }) })
      assert.equal("fi", channel:read(2))
      assert.same({ 1, "ve" }, { channel:expect("ve") })
      assert.equal("\n", channel:read("L"))
   end)

   it("matches an empty pattern at once", function()
      assert.same({ 1, "" }, { channel:expect("x*") })
   end)

   it("is safe for NUL and bytes that are no text", function()
      peer:write("a\0\255b\0c")
      assert.same({ 1, "a\0\255b\0", "\255b" }, { channel:expect("\0([^\0]+)\0") })
      assert.same({ 1, "c" }, { channel:expect("c", { plain = true }) })
   end)

   it("keeps everything when the time is over, and shows it", function()
      peer:write("half a li")
      local index, err = channel:expect("\n", { timeout = 0.02 })
      assert.is_nil(index)
      assert.equal("timeout", err.code)
      assert.equal("read", err.stage)
      assert.equal("half a li", err.result)
      peer:write("ne\n")
      assert.equal("half a line", channel:read("l"))
   end)

   it("ends with an error at end of file, and what was there can be read", function()
      peer:write("no match"):eof()
      local index, err = channel:expect("x")
      assert.is_nil(index)
      assert.equal("eof", err.code)
      assert.equal("no match", err.result)
      assert.equal("no match", channel:read("a"))
      assert.is_nil(channel:read())
   end)

   it("gives up after so many bytes", function()
      peer:write(("x"):rep(5000))
      local index, err = channel:expect("y", { max = 1000 })
      assert.is_nil(index)
      assert.equal("limit", err.code)
      assert.equal(1000, #err.result)
      assert.same({ 1, ("x"):rep(5000) }, { channel:expect("x+$", { max = 5000 }) })
   end)

   it("finds what lies across a great deal of data", function()
      local text = ("0123456789"):rep(30000)
      write_later(text:sub(1, 100000), text:sub(100001), "END", "rest")
      local index, got = channel:expect("END", { plain = true })
      assert.equal(1, index)
      assert.equal(text .. "END", got)
      assert.equal("rest", channel:read(4))
   end)

   it("raises for wrong arguments", function()
      local function raises(message, ...)
         local arguments = table.pack(...)
         assert.error_matches(function()
            channel:expect(table.unpack(arguments, 1, arguments.n))
         end, message)
      end
      raises("bad argument #1 to 'expect' %(string or table expected, got nil%)", nil)
      raises("pattern 2: string expected, got number", { "a", 1 })
      raises("pattern 1: malformed pattern", "%")
      peer:write("ab")
      raises("unfinished capture", "(a")
      assert.same({ 1, "ab" }, { channel:expect("b") })
      raises("no pattern", {})
      raises("unknown option 'timout'", "x", { timout = 1 })
      raises("option 'max': not positive", "x", { max = 0 })
   end)
end)
