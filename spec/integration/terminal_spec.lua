-- examples/terminal.lua in a terminal, against OpenSSH's sshd; and the terminal that it is made of.

local account = require "spec.support.account"
local process = require "spec.support.process"
local server = require "spec.support.server"
local tmp = require "spec.support.tmp"

local python = "/usr/bin/python3"

local sshd, folder, home

-- A shell says that it is ready.
local ready = ([[expect "%s "]]):format(process.uid() == 0 and "#" or "$")

-- A home with the server's key in known_hosts, or without.
local function new_home(known)
   local here = tmp.dir()
   local made = account.create(here, { user = sshd.user })
   local function copy(from, to)
      local file <close> = assert(io.open(from, "rb"))
      here:write("home/.ssh/" .. to, file:read("a"), "600")
   end
   if known then
      copy(sshd.known_hosts_path, "known_hosts")
   end
   copy(sshd.key_path, "id_ed25519")
   return here, made
end

setup(function()
   sshd = server.sshd{ config = "LogLevel ERROR" }
   folder, home = new_home(true)
end)

teardown(function()
   folder:remove()
   sshd:stop()
end)

local function destination()
   return ("%s@%s:%d"):format(sshd.user, sshd.host, sshd.port)
end

local function environment(of)
   -- For the sanitizer's sake: its runtime is loaded behind the wrapper of the accounts.
   local sanitizer = (os.getenv("ASAN_OPTIONS") or "") .. ":verify_asan_link_order=0"
   local env = { SSH_AUTH_SOCK = false, TERM = "xterm", ASAN_OPTIONS = sanitizer, NSS_WRAPPER_DISABLE_DEEPBIND = "1" }
   for name, value in pairs(of.env) do
      env[name] = value
   end
   return env
end

-- Plays the steps to the example in a terminal of 80 times 24. → its exit status
local function play(steps, command)
   return tonumber(process.check{ python, "spec/support/terminal.py", 80, 24, process.lua, "examples/terminal.lua",
      destination(), command, env = environment(home), stdin = table.concat(steps, "\n") .. "\n", timeout = 120 })
end

describe("examples/terminal.lua", function()
   it("is a shell with the size of the window, which may change", function()
      assert.equal(7, play{
         ready, [[type "echo size: $(stty size) $TERM\r"]], [[expect "\nsize: 24 80 xterm\r\n"]],
         "resize 132 43",
         [[type "until [ \"$(stty size)\" = '43 132' ]; do sleep 0.1; done; echo it is $((40 + 2))\r"]],
         [[expect "it is 42\r\n"]],
         [[type "exit 7\r"]], "end",
      })
   end)

   it("gives every key to the server, Ctrl-C among them", function()
      assert.equal(0, play{
         ready, [[type "sh -c 'echo as''leep; exec sleep 1000'\r"]], [[expect "\nasleep"]], [[type "\x03"]], ready,
         [[type "echo inter''rupted\r"]], [[expect "\ninterrupted\r\n"]],
         [[type "\x04"]], "end",
      })
   end)

   it("ends by ~. at the beginning of a line, and sends other tildes", function()
      assert.equal(255, play{
         ready, [[type "echo a~.b ~~\r"]], [[expect "\na~.b ~"]],
         [[type "~~ is no com''mand; echo \"next\" line\r"]], [[expect "next line\r\n"]],
         [[type "~?"]], [[expect "ends the session"]],
         [[type "\r~."]], [[expect "Closed."]], "end",
      })
   end)

   it("runs a command, and ends as it does", function()
      assert.equal(3, play({ [[expect "a terminal\r\n"]], "end" }, "tty -s && echo a terminal; exit 3"))
      local result = process.run{ process.lua, "examples/terminal.lua", destination(), "cat; exit 4",
         env = environment(home), stdin = "through a pipe\n~.\n" }
      assert.same({ 255, "" }, { result.status, result.stderr })
      result = process.run{ process.lua, "examples/terminal.lua", destination(), "cat; exit 4", env = environment(home),
         stdin = "through a pipe\n" }
      assert.same({ "through a pipe\n", 4 }, { result.stdout, result.status }, result.stderr)
   end)

   it("shows a key that is not known, and asks", function()
      local answers = { n = 255, y = 9 }
      for answer, expected in pairs(answers) do
         local empty <close>, stranger = new_home(false)
         local status = process.check{ python, "spec/support/terminal.py", 80, 24, process.lua, "examples/terminal.lua",
            destination(), "echo asked about; exit 9", env = environment(stranger), timeout = 120,
            stdin = ('expect "Connect? [y/N] "\ntype "%s\\r"\nend\n'):format(answer) }
         assert.equal(expected, tonumber(status))
         assert.is_string(empty:path(""))
      end
   end)

   it("says how it is used", function()
      local result = process.run{ process.lua, "examples/terminal.lua" }
      assert.same({ 2, "" }, { result.status, result.stdout })
      assert.matches("^usage:", result.stderr)
   end)
end)

describe("moonssh.terminal", function()
   it("says where there is none", function()
      local result = process.run{ process.lua, "-e", [[
         local terminal = require "moonssh.terminal"
         local raw, err = terminal.raw()
         print(raw, err.code)
         local columns, other = terminal.size()
         print(columns, other.code)
         print(terminal.read())
         print(terminal.read())
         print(terminal.write("written\n"))
         print(pcall(terminal.write, 1))
      ]], stdin = "typed" }
      assert.same({ [[
nil	io
nil	io
typed
nil
]] .. "written\n" .. [[
true
]], "" }, { result.stdout:match("^(.-true\n)"), result.stderr })
   end)

   it("has a timeout", function()
      local child <close> = assert(process.start{ process.lua, "-e", [[
         local result, err = require "moonssh.terminal".read(0.01)
         print(result, err.code, err.stage)
      ]], stdin = "pipe", stdout = "pipe" })
      assert.equal("nil\ttimeout\tread\n", child:read("stdout", 60))
   end)
end)
