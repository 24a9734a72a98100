-- Rules for every file of the project: nothing in it names a place on somebody's machine, and no room is too full.

local source = require "spec.support.source"

local CEILING = 600 -- lines; about 500 is where one looks for an idea to split by

-- Put together here, so that this file does not name them itself.
local places = {}
for _, place in ipairs{ "work", "farm", "Users", "mnt" } do
   table.insert(places, "%f[%w/]/" .. place .. "/")
end
table.insert(places, "%.%./" .. "shared/")

local function named_places(path, text)
   local complaints = {}
   if text:find("\0", 1, true) then
      return complaints
   end
   source.each_line(text, function(line, number)
      for _, place in ipairs(places) do
         local found = line:match(place .. "%S*")
         if found then
            table.insert(complaints, ("%s:%d: %s"):format(path, number, found))
         end
      end
   end)
   return complaints
end

local function too_long(path, text)
   local _, lines = text:gsub("\n", "")
   return lines > CEILING and { ("%s has %d lines"):format(path, lines) } or {}
end

describe("the files of the project", function()
   it("name no place on somebody's machine", function()
      assert.same({}, source.complaints(named_places, source.project()))
   end)

   it("are not too long to be read", function()
      local files = {}
      for _, path in ipairs(source.project()) do
         if path:find("%.[chl]u?a?$") or path:find("%.py$") or path:find("%.js$") then
            table.insert(files, path)
         end
      end
      assert.same({}, source.complaints(too_long, files))
   end)

   it("are held to it by these rules", function()
      assert.same({ "a:2: /" .. "work/x" }, named_places("a", "one\nsee /" .. "work/x for more"))
      assert.same({ "a:1: ../" .. "shared/API" }, named_places("a", "(../" .. "shared/API"))
      assert.same({}, named_places("a", "net/home/x ~/.ssh/config /usr/lib/x"))
      assert.same({ "a has 601 lines" }, too_long("a", ("\n"):rep(601)))
      assert.same({}, too_long("a", ("\n"):rep(600)))
   end)
end)
