-- What the linker made of the core.

local process = require "spec.support.process"

local core = (os.getenv("MOONSSH_BUILD") or "build/release") .. "/moonssh/core.so"

-- The names a shared object defines for others, sorted, on one line.
local function exports(path)
   local names = {}
   for name in process.check{ "nm", "-D", "--defined-only", path }:gmatch("%s%a%s(%S+)\n") do
      table.insert(names, name)
   end
   table.sort(names)
   return table.concat(names, " ")
end

-- Complaints about how a shared object is protected and what it is linked with.
local function weaknesses(path)
   local dynamic = process.check{ "readelf", "-W", "-d", path }
   local segments = process.check{ "readelf", "-W", "-l", path }
   local complaints = {}
   local function demand(condition, complaint)
      if not condition then
         table.insert(complaints, complaint)
      end
   end
   demand(segments:find("GNU_RELRO", 1, true), "no RELRO")
   demand(dynamic:find("BIND_NOW", 1, true) or dynamic:find("Flags:[^\n]*NOW"), "not bound at once")
   demand(dynamic:find("NODELETE", 1, true), "can be unloaded")
   demand(not segments:find("GNU_STACK[^\n]*RWE"), "executable stack")
   demand(not dynamic:find("TEXTREL", 1, true), "text relocations")
   demand(not dynamic:find("NEEDED[^\n]*lua"), "linked with a Lua of its own")
   demand(not dynamic:find("R%a*PATH"), "a search path of its own")
   return complaints
end

describe("the core's shared object", function()
   it("exports nothing but its opener", function()
      assert.equal("luaopen_moonssh_core", exports(core))
   end)

   it("is protected, and linked with no Lua", function()
      assert.same({}, weaknesses(core))
   end)

   it("is held to it by these rules", function()
      local tmp = require "spec.support.tmp"
      local folder <close> = tmp.dir()
      local path = folder:path("weak.so")
      process.check{ "gcc", "-x", "c", "-shared", "-fPIC", "-o", path, "-Wl,-z,norelro", "-Wl,-z,lazy",
         "-Wl,-z,execstack", "-Wl,-rpath,/tmp", "-Wl,--no-as-needed", "-l:liblua5.4.so", "-",
         stdin = "int luaopen_x(void) { return 1; }\nint mssh_x(void) { return 2; }\n" }
      assert.equal("luaopen_x mssh_x", exports(path))
      assert.same({ "no RELRO", "not bound at once", "can be unloaded", "executable stack",
         "linked with a Lua of its own", "a search path of its own" }, weaknesses(path))
   end)
end)
