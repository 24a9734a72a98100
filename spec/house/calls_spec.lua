-- Calls that the core does not make: those that end the process, print, write without a bound, go past the one
-- allocator, or tell by their time how much of a secret was right.

local source = require "spec.support.source"

local reasons = {
   ["ends the process"] = "assert abort exit _exit quick_exit raise kill luaL_openlibs",
   ["prints"] = "printf fprintf vprintf vfprintf dprintf puts fputs putchar putc fputc perror",
   ["writes without a bound"] = "sprintf vsprintf strcpy strcat strncpy strncat gets stpcpy scanf sscanf fscanf",
   ["goes past the allocator"] = "malloc calloc realloc free strdup strndup asprintf vasprintf alloca aligned_alloc"
      .. " OPENSSL_malloc",
   ["is no secure random number"] = "rand srand random srandom rand_r drand48",
   ["compares in a time that depends on the bytes"] = "memcmp bcmp strcmp strncmp strcasecmp strncasecmp",
   ["reaches outside the core"] = "getenv setenv system popen fork longjmp setjmp sleep usleep nanosleep",
   ["keeps state between calls, or hides errors"] = "strtok atoi atol atof setlocale",
}

-- What is allowed nevertheless, as file:call or folder/:call, and why.
local allowed = {
   ["base/mem.c:malloc"] = "it is the allocator",
   ["base/mem.c:realloc"] = "it is the allocator",
   ["base/mem.c:free"] = "it is the allocator",
   ["base/:memcmp"] = "public bytes only: secrets go through mssh_equal_ct",
   ["wire/:memcmp"] = "names in lists",
   ["transport/ident.c:memcmp"] = "the identification line",
   ["binding/:strcmp"] = "names given by Lua",
   ["binding/:memcmp"] = "names given by Lua",
   ["binding/process.c:kill"] = "a child of ours, by its number, which is taken from posix_spawn alone",
   ["binding/:getenv"] = "the environment is asked for by Lua only",
}

local banned = {}
for reason, names in pairs(reasons) do
   for name in names:gmatch("%S+") do
      banned[name] = reason
   end
end

local function is_allowed(path, name)
   return allowed[path .. ":" .. name] or allowed[path:match("^[^/]+/") .. ":" .. name]
end

-- Complaints about one file; `path` is relative to csrc/.
local function forbidden_calls(path, text)
   local complaints = {}
   source.each_line(source.code(text), function(line, number)
      for before, name in line:gmatch("([%.%->]*)%f[%w_]([%a_][%w_]*)%s*%(") do
         -- A member of that name is a function pointer of ours.
         local member = before:sub(-1) == "." or before:sub(-2) == "->"
         if banned[name] and not member and not is_allowed(path, name) then
            table.insert(complaints, ("%s:%d: %s %s"):format(path, number, name, banned[name]))
         end
      end
      local label = line:match("%f[%w_]goto%s+([%w_]+)")
      if label and label ~= "out" then
         table.insert(complaints, ("%s:%d: goto %s, where only out is a label"):format(path, number, label))
      end
   end)
   return complaints
end

describe("the core", function()
   it("makes none of the forbidden calls", function()
      local complaints = source.complaints(function(path, text)
         local inner = path:gsub("^csrc/", "")
         return inner:find("^testing/") and {} or forbidden_calls(inner, text)
      end, source.files("csrc", ".c", ".h"))
      assert.same({}, complaints)
   end)

   it("is held to it by this rule", function()
      local function says(path, text)
         return forbidden_calls(path, text)[1]
      end
      assert.equal("keys/a.c:1: assert ends the process", says("keys/a.c", "assert(x > 0);"))
      assert.equal("keys/a.c:2: free goes past the allocator", says("keys/a.c", "/* free(x) */\nfree (x);"))
      assert.equal("keys/a.c:1: memcmp compares in a time that depends on the bytes",
         says("keys/a.c", "if (memcmp(a, b, 2))"))
      assert.equal("keys/a.c:1: sprintf writes without a bound", says("keys/a.c", "x = sprintf(a, \"%d\", 1);"))
      assert.equal("base/a.c:1: goto fail, where only out is a label", says("base/a.c", "goto fail;"))
      assert.is_nil(says("base/mem.c", "free(x); mssh_free(m, x, 1); \"abort()\"; goto out;"))
      assert.is_nil(says("base/slice.h", "return memcmp(a, b, 1) == 0; static_assert(1, \"x\"); snprintf(a, 1, b);"))
      assert.is_nil(says("session/a.c", "ops->free(x); ops.exit(y);"))
   end)
end)
