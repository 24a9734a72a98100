-- The terminal that this program runs in: raw mode, size, reading and writing without holding up other tasks.

local args = require "moonssh.args"
local core = require "moonssh.core"
local errors = require "moonssh.errors"
local loop = require "moonssh.loop"

local terminal = {}

local STDIN, STDOUT = 0, 1

---@class moonssh.terminal.raw
---@field closed boolean
local Raw = {}
Raw.__index = Raw

--- Puts the terminal back as it was.
function Raw:close()
   if not self.closed then
      self.closed = true
      core.terminal.restore(STDIN, self._saved)
   end
end

Raw.__close = Raw.close
Raw.__gc = Raw.close

--- Puts the terminal of standard input into raw mode: every key is read as it is pressed, none is echoed, and Ctrl-C is
--- a byte like any other. → a handle, whose close (also <close>) puts it back | nil, err (`io`) where it is no terminal
---@return moonssh.terminal.raw|nil
---@return moonssh.error? err
function terminal.raw()
   local saved, code, message = core.terminal.raw(STDIN)
   if not saved then
      return nil, errors.from_core(code, message)
   end
   return setmetatable({ closed = false, _saved = saved }, Raw)
end

--- The size of the terminal of standard output. → columns, rows | nil, err (`io`) where it is no terminal
---@return integer|nil columns
---@return integer|moonssh.error rows
function terminal.size()
   local columns, rows, message = core.terminal.size(STDOUT)
   if not columns then
      return nil, errors.from_core(rows, message)
   end
   return columns, rows
end

--- Reads what there is on standard input, waiting for at least a byte. → bytes | nil at end of file | nil, err (`io`,
--- `timeout`)
---@param timeout? number
---@return string|nil
---@return moonssh.error? err
function terminal.read(timeout)
   args.optional("read", 1, timeout, "number")
   local deadline = timeout and loop.now() + timeout
   while true do
      local bytes, code, message, errno = core.socket.recv(STDIN)
      if bytes then
         return bytes ~= "" and bytes or nil
      elseif errno ~= core.EAGAIN then
         return nil, errors.from_core(code, message)
      elseif not loop.wait(STDIN, "r", deadline) then
         return nil, errors.timeout("read")
      end
   end
end

--- Writes to standard output, waiting until all is written. → true | nil, err (`io`)
---@param data string
---@return true|nil
---@return moonssh.error? err
function terminal.write(data)
   args.check("write", 1, data, "string")
   local first = 1
   while first <= #data do
      local n, code, message, errno = core.socket.send(STDOUT, data, first)
      if n then
         first = first + n
      elseif errno ~= core.EAGAIN then
         return nil, errors.from_core(code, message)
      else
         loop.wait(STDOUT, "w")
      end
   end
   return true
end

return terminal
