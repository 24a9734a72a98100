-- Error values: what a call that failed returns as `nil, err`, and what a raised callback error is.

local core = require "moonssh.core"

---@class moonssh.error
---@field code string stable, for programs
---@field message string for people; text from the peer in it is escaped
---@field stage? string what a timeout or a limit stopped
---@field reason? integer reason code of the peer
---@field result? any what was done so far
---@field cause? any the value that a callback threw
---@field traceback? string where it threw it
local Error = { __name = "moonssh.error" }

function Error:__tostring()
   return self.message
end

-- `..` takes the message, whichever side the error value stands on.
function Error.__concat(left, right)
   return tostring(left) .. tostring(right)
end

local errors = {}

---@param code string
---@param message string
---@param fields? table further fields; the table becomes the error value
---@return moonssh.error
function errors.new(code, message, fields)
   local err = fields or {}
   err.code, err.message = code, message
   return setmetatable(err, Error)
end

function errors.is(value)
   return getmetatable(value) == Error
end

--- The error value of a failed call of the C core.
---@param code string
---@param message? string
---@param errno? integer
---@return moonssh.error
function errors.from_core(code, message, errno)
   return errors.new(code, message or code, { errno = errno })
end

--- A copy of an error value with further fields, for an error that others hold as well.
---@return moonssh.error
function errors.with(err, fields)
   local copy = {}
   for key, value in pairs(err) do
      copy[key] = value
   end
   for key, value in pairs(fields) do
      copy[key] = value
   end
   return setmetatable(copy, Error)
end

--- A value as text, whatever its __tostring does.
---@return string
function errors.text(value)
   local ok, text = pcall(tostring, value)
   return ok and text or ("(error object is a %s value)"):format(type(value))
end

--- The handler of messages for xpcall: what was thrown, and where.
---@return { cause: any, traceback: string }
function errors.describe(cause)
   return { cause = cause, traceback = debug.traceback(errors.text(cause), 2) }
end

--- What xpcall gave for an error, if `describe` itself failed (the stack was full) as well.
---@return { cause: any, traceback: string }
function errors.described(value)
   if type(value) == "table" and value.traceback then
      return value
   end
   return { cause = value, traceback = errors.text(value) }
end

local timeouts = {
   resolve = "resolving the name",
   connect = "connecting",
   identification = "waiting for the server's identification",
   kex = "exchanging keys",
   host_key = "the host key question",
   auth = "authenticating",
   open = "opening the channel",
   request = "waiting for the answer to a request",
   read = "reading",
   write = "writing",
}

--- The error of a deadline that passed.
---@param stage string
function errors.timeout(stage)
   return errors.new("timeout", "timeout while " .. (timeouts[stage] or stage), { stage = stage })
end

function errors.closed(what)
   return errors.new("closed", what .. " was closed during the call")
end

--- The error value for something that was thrown: itself if it is an error value already.
---@param cause any
---@param traceback? string
function errors.thrown(cause, traceback)
   if errors.is(cause) then
      return cause
   end
   return errors.new("callback", errors.text(cause), { cause = cause, traceback = traceback })
end

--- Untrusted bytes as printable text of at most `max` bytes (default 256).
---@param text string
---@param max? integer
---@return string
function errors.escape(text, max)
   return core.escape(text, max)
end

return errors
