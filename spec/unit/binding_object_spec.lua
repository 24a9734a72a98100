-- What holds for every kind of object of the core, and for all of its functions when memory runs out.

local core = require "moonssh.core"
local state = require "moonssh_testing".state

-- Each kind: how to make one, and a method call that needs it to be open.
local kinds = {
   ["moonssh.core.poller"] = {
      make = function() return core.poller() end,
      use = function(object) return object:wait(0) end,
   },
   ["moonssh.core.resolver"] = {
      make = function() return core.resolve("127.0.0.1", 22) end,
      use = function(object) return object:fd() end,
   },
   ["moonssh.core.key"] = {
      make = function() return assert(core.key.generate("ed25519")) end,
      use = function(object) return object:type() end,
   },
   ["moonssh.core.session"] = {
      make = function()
         local session = assert(core.session())
         assert(session:start())
         return session
      end,
      use = function(object) return object:stage() end,
   },
}

-- Puts a metatable on a value while f runs.
local function forged(value, metatable, f)
   local own = debug.getmetatable(value)
   debug.setmetatable(value, metatable)
   f()
   debug.setmetatable(value, own)
end

describe("an object of the core", function()
   for name, kind in pairs(kinds) do
      it("names itself and hides its metatable: " .. name, function()
         local object <close> = kind.make()
         assert.truthy(tostring(object):find(name .. ": ", 1, true))
         assert.is_false(getmetatable(object))
         assert.is_false(pcall(setmetatable, object, {}))
      end)

      it("can be closed twice, and raises afterwards: " .. name, function()
         local object = kind.make()
         assert.is_not_nil(kind.use(object))
         object:close()
         object:close()
         local ok, message = pcall(kind.use, object)
         assert.is_false(ok)
         assert.truthy(message:find("it is closed", 1, true))
      end)

      it("closes at the end of its scope: " .. name, function()
         local outer
         do
            local object <close> = kind.make()
            outer = object
         end
         assert.is_false(pcall(kind.use, outer))
      end)

      it("is not mistaken for another: " .. name, function()
         local object <close> = kind.make()
         local methods = debug.getmetatable(object).__index
         for _, wrong in ipairs{ io.stdout, {}, "text", 42, false } do
            for method, f in pairs(methods) do
               local ok, message = pcall(f, wrong)
               assert.is_false(ok)
               assert.truthy(message:find(name .. " expected, got", 1, true), method .. ": " .. message)
            end
         end
         for _, other in pairs(kinds) do
            local stranger <close> = other.make()
            if other ~= kind then
               assert.is_false(pcall(methods.close, stranger))
               assert.is_not_nil(other.use(stranger))
            end
         end
      end)

      it("is an error, not a crash, when its metatable is put on something else: " .. name, function()
         local object <close> = kind.make()
         local metatable = debug.getmetatable(object)
         local function all_raise(value)
            forged(value, metatable, function()
               for _, f in pairs(metatable.__index) do
                  assert.is_false(pcall(f, value))
               end
               assert.is_false(pcall(metatable.__gc, value))
            end)
         end
         for _, other in pairs(kinds) do
            if other ~= kind then
               local stranger <close> = other.make()
               all_raise(stranger)
            end
         end
         local file <close> = assert(io.tmpfile())
         all_raise(file)
      end)

      it("is collected in any order: " .. name, function()
         for _ = 1, 20 do
            kind.make()
            collectgarbage()
         end
         for _ = 1, 20 do
            kind.make():close()
         end
         collectgarbage()
         collectgarbage()
      end)
   end
end)

-- Each chunk gives a string that is the same every time it is run with enough memory.
local chunks = {
   util = [[
      local core = require "moonssh.core"
      local bytes = assert(core.base64_decode("Zm9v"))
      return assert(core.base64_encode(core.hash("sha256", bytes))) .. core.hmac("md5", "k", "d")
         .. core.escape("\27", 10) .. #core.random(2000)
   ]],
   poller = [[
      local core = require "moonssh.core"
      local result = ""
      for _, kind in ipairs{ "epoll", "poll" } do
         local poller <close> = assert(core.poller(kind))
         local a, b = core.socket.pair()
         local ok, message = pcall(function()
            for _, fd in ipairs{ a, b } do
               assert(poller:set(fd, "rw"))
            end
            local list, n = poller:wait(60)
            result = result .. n .. list[2] .. list[4]
            result = result .. core.socket.send(a, "hello") .. core.socket.recv(b)
         end)
         core.socket.close(a)
         core.socket.close(b)
         assert(ok, message)
      end
      return result
   ]],
   resolver = [[
      local core = require "moonssh.core"
      local resolver <close> = assert(core.resolve("127.0.0.1", 22))
      local thread <close> = assert(core.resolve("localhost", 22, "inet"))
      local poller <close> = assert(core.poller())
      assert(poller:set(thread:fd(), "r"))
      assert(poller:wait(60))
      return resolver:result()[1].text .. thread:result()[1].text
   ]],
   file = [[
      local core = require "moonssh.core"
      return assert(core.file.read("/etc/passwd")) .. assert(core.file.home()) .. assert(core.file.user())
   ]],
   key = [[
      local core = require "moonssh.core"
      local file <close> = assert(io.open(KEY))
      local key <close> = assert(core.key.parse_file(assert(file:read("a"))))
      local public <close> = assert(core.key.parse_public(key:blob()))
      assert(public:verify("data", assert(key:sign("data", "ssh-ed25519")), "ssh-ed25519"))
      assert(key:export())
      return public:type() .. core.key.fingerprint(key:blob()) .. #core.key.algorithms()
   ]],
   session = [[
      local core = require "moonssh.core"
      local session <close> = assert(core.session{ software = "x", max_channels = 5 })
      assert(session:start())
      local a, b = assert(core.socket.pair())
      local ok, message = pcall(function()
         assert(session:write(a) ~= nil)
         assert(#assert(core.socket.recv(b)) > 500)
         assert(core.socket.send(b, "SSH-2.0-server\r\n"))
         assert(session:read(a))
         assert(session:next() == nil, "memory")
         assert(session:input("\0\0\0\12\10\20" .. ("x"):rep(10)))
         assert(session:next() == "failed")
      end)
      core.socket.close(a)
      core.socket.close(b)
      assert(ok, message)
      local code = assert(session:failure())
      assert(code ~= "memory", code)
      return code .. session:info().server .. core.algorithms().kex[1].name
   ]],
   again = [[
      package.loaded["moonssh.core"] = nil
      local core = require "moonssh.core"
      return type(core.poller()) .. type(core.key)
   ]],
}

describe("running out of memory", function()
   for name, chunk in pairs(chunks) do
      it("at any allocation is an error that leaves nothing behind: " .. name, function()
         local key = require "spec.support.keys".path("ed25519")
         local code = ("local KEY = %q\n%s"):format(key, chunk)
         -- "again" makes the module's tables while memory is short, too.
         local setup = name ~= "again" and "require 'moonssh.core'" or nil
         local whole = state.run{ setup = setup, code = code }
         assert.is_true(whole.ok, whole.result)
         assert.equal(0, whole.live)
         assert.is_true(whole.allocations > 5)
         local errors = 0
         for fail_at = 1, whole.allocations do
            for _, fail_count in ipairs{ 1, 2, math.maxinteger } do
               local run = state.run{ setup = setup, code = code, fail_at = fail_at, fail_count = fail_count }
               assert.equal(0, run.live)
               if run.ok then
                  assert.equal(whole.result, run.result)
               else
                  assert.truthy(run.result:find("memory"), run.result)
                  errors = errors + 1
               end
            end
         end
         assert.is_true(errors > 0)
      end)
   end
end)
