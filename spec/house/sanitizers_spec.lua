-- `make asan` proves something only if its interpreter reports what it is there for.

local process = require "spec.support.process"
local tmp = require "spec.support.tmp"

local faults = {
   leak = "malloc(100);",
   overflow = "char *p = malloc(10); memset(p, 0, (size_t)lua_gettop(L) + 10); free(p);",
   undefined = "int n = INT_MAX - 1; n += lua_gettop(L) + 1; lua_pushinteger(L, n);",
   none = "free(malloc(10));",
}

describe("the interpreter of make asan", function()
   local folder

   -- Makes a module that does the given thing when it is loaded, and loads it.
   local function load_module(name)
      folder:write("lib.c", [[
         #include <limits.h>
         #include <lua.h>
         #include <stdlib.h>
         #include <string.h>
         int luaopen_]] .. name .. "(lua_State *L);\nint luaopen_" .. name .. "(lua_State *L) {" .. faults[name]
         .. "return 0; }\n")
      process.check{ "sh", "-c", "gcc $(pkg-config --cflags lua5.4) -g -O0 -shared -fPIC -Wl,-z,nodelete " ..
         "-fsanitize=address,undefined -fno-sanitize-recover=all -o \"$1\" \"$2\"", "sh", folder:path(name .. ".so"),
         folder:path("lib.c") }
      return process.run{ folder:path("lua"), "-e", ("require '%s' print('went on')"):format(name),
         env = { LUA_CPATH_5_4 = folder:path("?.so") } }
   end

   lazy_setup(function()
      folder = tmp.dir()
      process.check{ "make", "-s", "FLAVOUR=asan", "BUILD=" .. folder:path(), folder:path("lua"),
         env = { MAKEFLAGS = false, MAKELEVEL = false, CC = false } }
   end)
   lazy_teardown(function()
      folder:remove()
   end)

   it("fails on a leak", function()
      local result = load_module("leak")
      assert.truthy(result.stderr:find("LeakSanitizer: detected memory leaks", 1, true))
      assert.truthy(result.stderr:find("luaopen_leak", 1, true))
      assert.not_equal(0, result.status)
   end)

   it("stops at a write past a block", function()
      local result = load_module("overflow")
      assert.truthy(result.stderr:find("AddressSanitizer: heap-buffer-overflow", 1, true))
      assert.equal("", result.stdout)
      assert.not_equal(0, result.status)
   end)

   it("stops at undefined behaviour", function()
      local result = load_module("undefined")
      assert.truthy(result.stderr:find("runtime error: signed integer overflow", 1, true))
      assert.equal("", result.stdout)
      assert.not_equal(0, result.status)
   end)

   it("is content with what is right", function()
      local result = load_module("none")
      assert.same({ stdout = "went on\n", stderr = "", status = 0 }, result)
   end)

   it("hands a script its arguments, and its error to the caller", function()
      local script = folder:write("s.lua", "print(arg[0], arg[1], ...) error('on purpose')")
      local result = process.run{ folder:path("lua"), script, "a", "b" }
      assert.equal(("%s\ta\ta\tb\n"):format(script), result.stdout)
      assert.truthy(result.stderr:find("on purpose", 1, true))
      assert.equal(1, result.status)
   end)
end)
