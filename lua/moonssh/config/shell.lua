-- Commands that ssh_config names, run by the user's shell.

local core = require "moonssh.core"
local errors = require "moonssh.errors"
local loop = require "moonssh.loop"

local shell = {}

-- A system that cannot tell when a program ends is asked this often.
local ASK_AGAIN = 0.02

--- The arguments that run a command in the user's shell.
---@param command string
---@return string[]
function shell.arguments(command)
   local program = os.getenv("SHELL")
   return { program and program ~= "" and program or "/bin/sh", "-c", command }
end

-- Tokens whose values come from elsewhere. In a command they may hold nothing that the shell makes more of, or that a
-- program takes for an option. That is less than ssh allows.
local foreign = { h = "host", k = "host key alias", n = "host", r = "user" }

--- What is wrong with putting the values of its tokens into a command, or nil.
---@param command string
---@param values table<string, string> by letter
---@return string?
function shell.complaint(command, values)
   for letter in command:gsub("%%%%", ""):gmatch("%%(.)") do
      local value = values[letter]
      if foreign[letter] and value and (value:find("[^%w._:@%%+,=/-]") or value:find("^%-")) then
         return ("the %s '%s' does not go into a command of the shell"):format(foreign[letter],
            errors.escape(value, 80))
      end
   end
end

local function forget(process)
   local fd = process:fd()
   if fd then
      loop.current().cancel(fd)
   end
end

--- Waits for the end of a program. → as process:wait | nil, "timeout"
---@param process table of core.process
---@param deadline number|nil
---@return string|nil how
---@return integer|string|nil
function shell.wait(process, deadline)
   while true do
      local how, status = process:wait()
      if how then
         return how, status
      elseif deadline and loop.now() >= deadline then
         return nil, "timeout"
      end
      local fd = process:fd()
      if fd then
         loop.wait(fd, "r", deadline)
      else
         loop.sleep(ASK_AGAIN)
      end
   end
end

--- Runs a command to its end without holding up other tasks, with nothing to read and nobody to read what it writes.
---@param command string
---@param deadline number|nil
---@return integer|nil status
---@return table? err
function shell.run(command, deadline)
   local process, code, message = core.process.spawn(shell.arguments(command))
   if not process then
      return nil, errors.new(code, ("cannot run '%s': %s"):format(errors.escape(command, 80), message))
   end
   local _ <close> = setmetatable({}, { __close = function()
      forget(process)
      process:close()
   end })
   local how, status = shell.wait(process, deadline)
   if how == "exit" then
      return status
   elseif not how then
      return nil, errors.new("timeout", ("'%s' does not end in time"):format(errors.escape(command, 80)),
         { stage = "resolve" })
   end
   return nil, errors.new("io", ("'%s' was ended by a signal"):format(errors.escape(command, 80)))
end

return shell
