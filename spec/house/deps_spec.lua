-- tools/deps must not bother apt where nothing is missing, and must ask for all that is missing at once.

local process = require "spec.support.process"
local tmp = require "spec.support.tmp"

describe("tools/deps", function()
   local folder, bin

   before_each(function()
      folder = tmp.dir()
      bin = folder:mkdir("bin")
   end)
   after_each(function()
      folder:remove()
   end)

   -- Puts a program before the real ones that notes its arguments, says `output` and ends with `status`.
   local function fake(name, output, status)
      local said = folder:write(name .. ".out", output or "")
      folder:write("bin/" .. name, ("#!/bin/sh\necho %s \"$@\" >>%s\ncat %s\nexit %d\n"):format(name,
         folder:path("calls"), said, status or 0), "700")
   end

   -- Makes dpkg-query name all packages it is asked for as installed, but for those given.
   local function installed_but(missing)
      folder:write("bin/dpkg-query", ([[
#!/bin/sh
shift 3
for package in "$@"; do
    case " %s " in
    *" $package "*) echo "not-installed $package" ;;
    *) echo "installed $package" ;;
    esac
done
exit %d
]]):format(missing, missing == "" and 0 or 1), "700")
   end

   local function deps(...)
      local command = { "tools/deps", ... }
      command.env = { PATH = bin .. ":" .. os.getenv("PATH") }
      local result = process.run(command)
      result.calls = folder:read("calls") or ""
      return result
   end

   it("does nothing where all is installed", function()
      installed_but("")
      fake("apt-get")
      fake("sudo")
      assert.same({ status = 0, stdout = "", stderr = "", calls = "" }, deps("build", "demo", "test", "check", "bench"))
   end)

   it("fetches the lists and installs what is missing, once each", function()
      installed_but("zlib1g-dev lua-check")
      fake("apt-get")
      fake("id", "0\n")
      local result = deps("build", "test", "check")
      assert.equal(0, result.status)
      assert.equal("apt-get update -q\napt-get install -y -q --no-install-recommends zlib1g-dev lua-check\n",
         (result.calls:gsub("id %-u\n", "")))
   end)

   it("goes through sudo where it is not root", function()
      installed_but("gcc")
      fake("apt-get")
      fake("id", "1000\n")
      fake("sudo")
      local result = deps("build")
      assert.equal("id -u\nsudo apt-get update -q\n" ..
         "sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends gcc\n", result.calls)
   end)

   it("fails if installing fails", function()
      installed_but("gcc")
      fake("apt-get", "", 100)
      fake("id", "0\n")
      assert.equal(100, deps("build").status)
   end)

   it("refuses a job it does not know", function()
      local result = deps("biuld")
      assert.equal(2, result.status)
      assert.equal("deps: unknown job 'biuld'\n", result.stderr)
   end)
end)
