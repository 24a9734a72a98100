-- Every function that a header of csrc/ declares has its contract directly above it, begins with mssh_, and the header
-- begins with what it is for. Prototypes that stand line below line share one comment.

local source = require "spec.support.source"

-- The functions that a header declares: list of { name, documented }. In our format a declaration begins in the first
-- column, and nothing within it does.
local function functions(text)
   local result, documented = {}, false
   source.each_line(text, function(line)
      local name = line:find("^[%a_]") and not line:find("^typedef") and line:match("([%w_]+)%(")
      if line:find("%*/%s*$") then
         documented = true
      elseif line == "" or line:find("^#") then
         documented = false
      elseif name then
         table.insert(result, { name = name, documented = documented })
      end
   end)
   return result
end

local function missing_contracts(path, text)
   local complaints = {}
   if not text:find("^/%*\n %* %S") then
      table.insert(complaints, path .. " does not begin with its purpose")
   end
   for _, f in ipairs(functions(text)) do
      if not f.documented then
         table.insert(complaints, ("%s: %s has no contract above it"):format(path, f.name))
      end
      if not f.name:find("^mssh_") then
         table.insert(complaints, ("%s: %s does not begin with mssh_"):format(path, f.name))
      end
   end
   return complaints
end

describe("the contracts in the headers", function()
   it("stand above every function", function()
      assert.same({}, source.complaints(missing_contracts, source.files("csrc", ".h")))
   end)

   it("are missed by this rule where they are not", function()
      local head = "/*\n * A header.\n */\n#define X(a) f(a)\n"
      local function says(text)
         return missing_contracts("x.h", head .. text)
      end
      assert.same({ "x.h: mssh_a has no contract above it" }, says("int mssh_a(int b);\n"))
      assert.same({ "x.h: mssh_a has no contract above it" }, says("/* far */\n\nconst char *mssh_a(int b);\n"))
      assert.same({ "x.h: mssh_a has no contract above it" },
         says("static inline int mssh_a(void)\n{\n return b(1);\n}\n"))
      assert.same({ "x.h: mssh_b has no contract above it" }, says("/* a */\nint mssh_a(void);\n\nint mssh_b(void);\n"))
      assert.same({ "x.h: other does not begin with mssh_" }, says("/* a */\nint other(void);\n"))
      assert.same({ "x.h does not begin with its purpose" }, missing_contracts("x.h", "int a;\n"))
      assert.same({}, says("/* a and b */\nint mssh_a(int (*f)(void));\nint mssh_b(int a,\n   int b);\n"))
      assert.same({}, says("typedef int (*mssh_f)(int a);\ntypedef struct s {\n   int (*f)(void);\n} s;\n"))
      assert.same({}, says("/* a */\nint mssh_a(const char *f, ...) __attribute__((format(printf, 1, 2)));\n"))
   end)

   it("are found at all", function()
      local n = 0
      for _, path in ipairs(source.files("csrc", ".h")) do
         n = n + #functions(source.read(path))
      end
      assert.is_true(n > 50)
   end)
end)
