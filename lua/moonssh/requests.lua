-- The payloads of channel requests (RFC 4254 6), and the options that lead to them.

local args = require "moonssh.args"
local callbacks = require "moonssh.callbacks"
local errors = require "moonssh.errors"
local quote = require "moonssh.quote"

local requests = {}

---@class moonssh.pty
---@field term? string default "xterm"
---@field columns? integer default 80
---@field rows? integer default 24
---@field modes? table<string, integer|boolean> by the names of RFC 4254 8

---@class moonssh.start_options
---@field env? table<string, string|number>
---@field pty? boolean|moonssh.pty
---@field forward_agent? boolean
---@field forward_x11? boolean|moonssh.x11
---@field stderr? "keep"|"discard"|"merge"|fun(chunk: string)
---@field timeout? number

--- Options of whatever starts something on a channel.
requests.options = {
   env = "table",
   forward_agent = "boolean",
   forward_x11 = { "boolean", "table" },
   pty = { "boolean", "table" },
   timeout = "number",
}

-- Terminal modes by name (RFC 4254 8; IUTF8 from RFC 8160).
local modes = {
   VINTR = 1, VQUIT = 2, VERASE = 3, VKILL = 4, VEOF = 5, VEOL = 6, VEOL2 = 7, VSTART = 8, VSTOP = 9, VSUSP = 10,
   VDSUSP = 11, VREPRINT = 12, VWERASE = 13, VLNEXT = 14, VFLUSH = 15, VSWTCH = 16, VSTATUS = 17, VDISCARD = 18,
   IGNPAR = 30, PARMRK = 31, INPCK = 32, ISTRIP = 33, INLCR = 34, IGNCR = 35, ICRNL = 36, IUCLC = 37, IXON = 38,
   IXANY = 39, IXOFF = 40, IMAXBEL = 41, IUTF8 = 42,
   ISIG = 50, ICANON = 51, XCASE = 52, ECHO = 53, ECHOE = 54, ECHOK = 55, ECHONL = 56, NOFLSH = 57, TOSTOP = 58,
   IEXTEN = 59, ECHOCTL = 60, ECHOKE = 61, PENDIN = 62,
   OPOST = 70, OLCUC = 71, ONLCR = 72, OCRNL = 73, ONOCR = 74, ONLRET = 75,
   CS7 = 90, CS8 = 91, PARENB = 92, PARODD = 93,
   TTY_OP_ISPEED = 128, TTY_OP_OSPEED = 129,
}

local pty_options = {
   term = "string",
   columns = "integer",
   rows = "integer",
   modes = "table",
}

local UINT32 = 0xffffffff

local function check_uint32(fname, index, what, value)
   if args.complaint(value, "integer") or value < 0 or value > UINT32 then
      args.bad(fname, index, ("%s: an integer from 0 to 2^32-1 expected, got %s"):format(what, tostring(value)))
   end
end

-- What ends up in a C string at the server cannot hold a NUL: sshd ends the whole connection over one.
local function check_text(fname, index, what, text)
   if text:find("\0", 1, true) then
      args.bad(fname, index, what .. " cannot hold a NUL")
   end
   return text
end

local function encode_modes(fname, index, given)
   local names = {}
   for name, value in pairs(given) do
      if not modes[name] then
         args.bad(fname, index, ("unknown terminal mode '%s'"):format(tostring(name)))
      end
      if type(value) == "boolean" then
         value = value and 1 or 0
      end
      check_uint32(fname, index, "terminal mode " .. name, value)
      table.insert(names, name)
   end
   table.sort(names, function(a, b)
      return modes[a] < modes[b]
   end)
   local parts = {}
   for i, name in ipairs(names) do
      local value = given[name]
      if type(value) == "boolean" then
         value = value and 1 or 0
      end
      parts[i] = string.pack(">BI4", modes[name], value)
   end
   return table.concat(parts) .. "\0"
end

--- pty-req (RFC 4254 6.2), from true or { term =, columns =, rows =, modes = }.
function requests.pty(fname, index, options)
   if options == true then
      options = nil
   end
   options = args.options(fname, index, options, pty_options)
   local columns, rows = options.columns or 80, options.rows or 24
   check_uint32(fname, index, "columns", columns)
   check_uint32(fname, index, "rows", rows)
   local term = check_text(fname, index, "a terminal's name", options.term or "xterm")
   return string.pack(">s4I4I4I4I4s4", term, columns, rows, 0, 0,
      encode_modes(fname, index, options.modes or {}))
end

--- window-change (RFC 4254 6.7).
function requests.window(fname, columns, rows)
   check_uint32(fname, 1, "columns", columns)
   check_uint32(fname, 2, "rows", rows)
   return string.pack(">I4I4I4I4", columns, rows, 0, 0)
end

--- env (RFC 4254 6.4).
function requests.env(fname, index, name, value)
   if type(name) ~= "string" or math.type(value) == nil and type(value) ~= "string" then
      args.bad(fname, index, "environment variables are strings")
   end
   value = tostring(value)
   if (name .. value):find("\0", 1, true) or name == "" or name:find("=", 1, true) then
      args.bad(fname, index, ("no environment variable: '%s'"):format(errors.escape(name, 64)))
   end
   return string.pack(">s4s4", name, value)
end

--- The command line of an argument: a string, or a list of words to be quoted.
function requests.command(fname, command)
   if type(command) == "table" then
      return quote.list(command, fname)
   end
   args.check(fname, 1, command, { "string", "table" })
   return check_text(fname, 1, "a command line", command)
end

--- The data of a request that is one name: of a subsystem, of a signal.
function requests.name(fname, name)
   args.check(fname, 1, name, "string")
   return requests.string(check_text(fname, 1, "a name", name))
end

--- One string, as the data of a request.
function requests.string(text)
   return string.pack(">s4", text)
end

--- auth-agent-req@openssh.com: its name and data, and what it grants.
function requests.agent()
   return "auth-agent-req@openssh.com", "", { type = "auth-agent@openssh.com" }
end

-- What is to be forwarded for a command. What the session asks for in general may be refused, as with `ssh -A`. X11
-- is not asked for in general while nothing here would serve it, as with `ssh -X`: programs that find no DISPLAY do
-- without, those that find one they cannot reach fail. Where a call asks for it, a handler may come yet.
local function plan_forwarding(plan, fname, index, options, session, of_session)
   local general = of_session and session._options or {}
   local display, agent = options.forward_x11, options.forward_agent
   if display == nil then
      display = callbacks.serves(session, "x11") and general.forward_x11
   end
   if agent == nil then
      agent = general.forward_agent
   end
   if display then
      local request, data, grant = require "moonssh.x11".request(fname, index, display, session,
         session:_deadline(options))
      grant.optional = options.forward_x11 == nil
      table.insert(plan, { request, true, data, grant })
   end
   if agent then
      local request, data, grant = requests.agent()
      grant.optional = options.forward_agent == nil
      table.insert(plan, { request, true, data, grant })
   end
end

--- What is to be sent on a new channel: what is to be forwarded, a terminal, variables (unanswered), and the request
--- that starts it. Each is { name, want_reply, data, grant }.
function requests.plan(fname, index, options, session, name, data)
   local plan = {}
   plan_forwarding(plan, fname, index, options, session, name ~= "subsystem")
   if options.pty then
      table.insert(plan, { "pty-req", true, requests.pty(fname, index, options.pty) })
   end
   for key, value in pairs(options.env or {}) do
      table.insert(plan, { "env", false, requests.env(fname, index, key, value) })
   end
   for key, value in pairs(session._options._env or {}) do
      if not (options.env and options.env[key]) then
         table.insert(plan, { "env", false, requests.env(fname, index, key, value) })
      end
   end
   table.insert(plan, { name, true, data })
   return plan
end

--- Whether a plan allows the server something: that is only asked for once there is a channel.
function requests.grants(plan)
   for _, planned in ipairs(plan) do
      if planned[4] then
         return true
      end
   end
   return false
end

return requests
