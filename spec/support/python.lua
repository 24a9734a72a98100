-- Debian's Python as a second opinion: its numbers, and the cryptography package that python3-asyncssh brings along.
--
--    python.run(script, { "one line", "another" }) -> list of the lines it printed
--
-- A script finds the lines in `lines`; what it prints is one line of the answer each.

local process = require "spec.support.process"

local python = {}
local preamble = "import sys\nlines = sys.stdin.read().split('\\n')\n"

function python.run(script, lines)
   local output = process.check{ "/usr/bin/python3", "-c", preamble .. script, stdin = table.concat(lines, "\n") }
   local answers = {}
   for line in output:gmatch("[^\n]+") do
      answers[#answers + 1] = line
   end
   return answers
end

return python
