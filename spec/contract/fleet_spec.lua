-- examples/fleet.lua, with and without a terminal.

local light = require "spec.support.light"
local process = require "spec.support.process"
local tmp = require "spec.support.tmp"

describe("examples/fleet.lua", function()
   local server, folder, hosts

   setup(function()
      server, folder = light.start(), tmp.dir()
      local identity = require "spec.support.keys".path("ed25519")
      hosts = folder:write("hosts", ("%s\n%s # again\nmoon@127.0.0.1:1\n"):format(server:destination(),
         server:destination()))
      server.arguments = { "--timeout=60", "--host-keys=off", "--identity=" .. identity,
         "--known-hosts=" .. folder:path("known_hosts") }
   end)

   teardown(function()
      server:stop()
      folder:remove()
   end)

   local function command(...)
      return { process.lua, "examples/fleet.lua", table.unpack(table.move({ ... }, 1, select("#", ...),
         #server.arguments + 1, table.move(server.arguments, 1, #server.arguments, 1, {}))) }
   end

   it("writes lines where there is no terminal, and a table", function()
      local result = process.run(command(hosts, "echo", "hello"))
      local _, said = result.stderr:gsub("ok moon@127%.0%.0%.1:%d+: hello\n", "")
      assert.equal(2, said)
      assert.matches("FAILED moon@127%.0%.0%.1:1: cannot connect", result.stderr)
      assert.equal(1, result.status)
      assert.matches("\nmoon@127%.0%.0%.1:1 +refused +[%d.]+  cannot connect", result.stdout)
      local _, good = result.stdout:gsub("\nmoon@127%.0%.0%.1:%d+ +0 +[%d.]+  hello", "")
      assert.equal(2, good)
      assert.matches("\n3 hosts, 2 ok, 1 failed\n     2  status 0\n     1  status refused\n", result.stdout)
      assert.matches("\n     2  said the same %(1%): hello\n$", result.stdout)
   end)

   it("draws a bar on a terminal", function()
      local words = {}
      for i, word in ipairs(command(server:destination(), "exit 0")) do
         words[i] = require "moonssh".quote{ word }
      end
      local result = process.run{ "script", "-qec", table.concat(words, " "), "/dev/null", stdin = "" }
      assert.equal(0, result.status, result.stdout)
      assert.matches("\r%[%.+%] 0/1  0 failed  1 running", result.stdout)
      assert.matches("\r%[#+%] 1/1  0 failed  0 running  0 s to go", result.stdout)
      assert.matches("1 hosts, 1 ok, 0 failed", result.stdout)
   end)

   it("says what it does not understand", function()
      local result = process.run(command("--colour=red", hosts, "true"))
      assert.equal(1, result.status)
      assert.matches("unknown option %-%-colour", result.stderr)
   end)
end)
