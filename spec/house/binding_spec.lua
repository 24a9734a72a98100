-- The contract between C and Lua, csrc/binding/core.meta.lua, describes what the module has: all of it, and nothing
-- else.

local core = require "moonssh.core"
local source = require "spec.support.source"

-- Names as the contract writes them: "core.now", "core.socket.send", "session:next".
local function described(text)
   local names = {}
   for name in text:gmatch("\nfunction ([%w_.:]+)%(") do
      names[name] = true
   end
   return names
end

-- The functions in a table of the module, and in those below it.
local function collect(names, prefix, container)
   for name, value in pairs(container) do
      if type(value) == "function" then
         names[prefix .. name] = true
      elseif type(value) == "table" then
         collect(names, prefix .. name .. ".", value)
      end
   end
   return names
end

local function present()
   local names = collect({}, "core.", core)
   local objects = {
      poller = core.poller(),
      lock = core.file.lock("README.md"),
      process = core.process.spawn{ "true" },
      resolver = core.resolve("127.0.0.1", 1),
      key = core.key.generate("ed25519"),
      session = core.session(),
      localfile = core.file.open("/dev/null", "r"),
      transfer = core.transfer(core.file.open("/dev/null", "r"), true, 1, 1, 0, nil, 1, 0),
   }
   for name, object in pairs(objects) do
      for method, f in pairs(debug.getmetatable(object).__index) do
         assert(type(f) == "function")
         names[name .. ":" .. method] = true
      end
      object:close()
   end
   return names
end

local function difference(a, b)
   local missing = {}
   for name in pairs(a) do
      if not b[name] then
         table.insert(missing, name)
      end
   end
   table.sort(missing)
   return missing
end

describe("the contract of the core", function()
   local contract = described(source.read("csrc/binding/core.meta.lua"))
   local module = present()

   it("describes every function of the module", function()
      assert.same({}, difference(module, contract))
   end)

   it("promises no function that is not there", function()
      assert.same({}, difference(contract, module))
   end)

   it("is read as it is meant", function()
      assert.is_true(contract["core.socket.send"])
      assert.is_true(contract["session:next"])
      assert.is_true(module["core.file.read"])
      assert.is_true(module["session:channel_write"])
      assert.same({ "a" }, difference({ a = true, b = true }, { b = true, c = true }))
   end)
end)
