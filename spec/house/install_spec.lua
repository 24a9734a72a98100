-- What users install: luarocks builds the rock from a copy of the sources and puts it where a script finds it.

local process = require "spec.support.process"
local source = require "spec.support.source"
local tmp = require "spec.support.tmp"

local rockspec_path = "moonssh-scm-1.rockspec"

local function load_rockspec()
   local rockspec = {}
   assert(loadfile(rockspec_path, "t", rockspec))()
   return rockspec
end

-- The modules below lua/ as a rockspec lists them: name → file.
local function modules()
   local list = {}
   for _, path in ipairs(source.files("lua", ".lua")) do
      local name = path:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
      list[name] = path
   end
   return list
end

describe("the rockspec", function()
   it("lists every Lua file, and the core", function()
      local install = load_rockspec().build.install
      assert.same(modules(), install.lua)
      assert.same({ ["moonssh.core"] = "build/release/moonssh/core.so" }, install.lib)
   end)

   it("depends on Lua alone", function()
      assert.same({ "lua >= 5.4, < 5.5" }, load_rockspec().dependencies)
   end)
end)

describe("luarocks make", function()
   local folder, tree, made

   -- In a copy, so that the build folders of the checkout stay as they are; and nothing may be fetched.
   lazy_setup(function()
      folder = tmp.dir()
      tree = folder:path("tree")
      local copy = folder:mkdir("copy")
      process.check{ "cp", "-r", "Makefile", rockspec_path, "LICENSE", "README.md", "csrc", "lua", "tools", copy }
      made = process.run{ "luarocks", "--lua-version", "5.4", "make", "--tree", tree, timeout = 400, cwd = copy, env = {
         HOME = folder:mkdir("home"),
         http_proxy = "http://127.0.0.1:9", https_proxy = "http://127.0.0.1:9", ALL_PROXY = "http://127.0.0.1:9",
         MAKEFLAGS = "-j2", MAKELEVEL = false, CC = false, CFLAGS = false, FLAVOUR = false, WERROR = false,
         BUILD = false,
      } }
   end)
   lazy_teardown(function()
      folder:remove()
   end)

   it("builds and installs without a network", function()
      assert.equal(0, made.status, made.stdout .. made.stderr)
      assert.is_nil((made.stdout .. made.stderr):lower():match("warning:[^\n]*"))
   end)

   it("installs what a script needs, and no more", function()
      local found = {}
      for path in process.check{ "find", tree .. "/lib/lua", tree .. "/share/lua", "-type", "f" }:gmatch("[^\n]+") do
         found[path:sub(#tree + 2)] = true
      end
      local wanted = { ["lib/lua/5.4/moonssh/core.so"] = true }
      for name in pairs(modules()) do
         wanted["share/lua/5.4/" .. name:gsub("%.", "/") .. ".lua"] = true
      end
      assert.same(wanted, found)
   end)

   it("lets a script outside the checkout load every module of it", function()
      local names = { "moonssh.core" }
      for name in pairs(load_rockspec().build.install.lua) do
         table.insert(names, name)
      end
      -- The schedulers of others that adapters are for need not be there.
      local script = folder:write("script.lua", [[
         for _, name in ipairs{ "copas", "cqueues", "cqueues.condition", "luv" } do
            package.preload[name] = function() return {} end
         end
         for _, name in ipairs(arg) do
            assert(require(name), name)
         end
         print(package.searchpath("moonssh.core", package.cpath))
      ]])
      local command = { "lua5.4", script, table.unpack(names) }
      command.cwd = "/"
      command.env = {
         LUA_PATH_5_4 = tree .. "/share/lua/5.4/?.lua;" .. tree .. "/share/lua/5.4/?/init.lua",
         LUA_CPATH_5_4 = tree .. "/lib/lua/5.4/?.so",
      }
      local result = process.run(command)
      assert.equal("", result.stderr)
      assert.equal(tree .. "/lib/lua/5.4/moonssh/core.so\n", result.stdout)
   end)
end)
