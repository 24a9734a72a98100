-- Each header compiles alone, twice in a row, under a guard that is named after it.

local process = require "spec.support.process"
local source = require "spec.support.source"

local lua_flags = process.run{ "sh", "-c", "pkg-config --cflags lua5.4 || echo -I/usr/include/lua5.4" }.stdout

-- What the compiler has against C text that stands alone, or nil.
local function compile(text)
   local result = process.run{ "sh", "-c",
      "gcc -std=c11 -D_GNU_SOURCE -Wall -Wextra -Wshadow -Wconversion -Werror -Icsrc " .. lua_flags:gsub("\n", " ") ..
      " -fsyntax-only -x c -", stdin = text }
   return result.status ~= 0 and result.stderr or nil
end

-- Complaints about the include guard of one header.
local function wrong_guard(path, text)
   local name = path:gsub("^csrc/", ""):gsub("[/.-]", "_"):upper()
   local guard = "MSSH_" .. name
   if path == "csrc/mssh.h" then
      guard = "MSSH_H"
   end
   if text:find("#ifndef " .. guard .. "\n#define " .. guard .. "\n", 1, true) and text:find("\n#endif%s*$") then
      return {}
   end
   return { path .. " has no guard " .. guard .. " around it" }
end

describe("the headers of csrc/", function()
   it("compile alone, and twice", function()
      for _, path in ipairs(source.files("csrc", ".h")) do
         local include = ('#include "%s"\n'):format(path:gsub("^csrc/", ""))
         assert.is_nil(compile(include .. include))
      end
   end)

   it("have a guard named after the file", function()
      assert.same({}, source.complaints(wrong_guard, source.files("csrc", ".h")))
   end)

   it("are held to it by these rules", function()
      assert.truthy(compile("size_t f(void);\n"))
      assert.truthy(compile("static inline int f(long a) { return a; }\n"))
      assert.equal(1, #wrong_guard("csrc/base/buf.h", "#ifndef BUF_H\n#define BUF_H\n#endif\n"))
      assert.equal(1, #wrong_guard("csrc/base/buf.h", "int a;\n"))
      assert.same({}, wrong_guard("csrc/base/buf.h",
         "/* x */\n#ifndef MSSH_BASE_BUF_H\n#define MSSH_BASE_BUF_H\n#endif\n"))
   end)
end)
