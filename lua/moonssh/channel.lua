-- A channel: the streams of a command, shell or subsystem at the server.

local args = require "moonssh.args"
local attend = require "moonssh.attend"
local errors = require "moonssh.errors"
local expect = require "moonssh.expect"
local grants = require "moonssh.grants"
local pump = require "moonssh.pump"
local Reader = require "moonssh.reader"
local requests = require "moonssh.requests"

---@class moonssh.channel
---@field closed boolean
---@field stderr moonssh.reader
local Channel = { __name = "moonssh.channel" }
Channel.__index = Channel

-- So many bytes of mode "direct" may wait for a stderr function.
local DIRECT_BUDGET = 1024 * 1024

-- So long the data of a request may be.
local LONGEST = 64 * 1024

local WRITE = {} -- marks what a write request is

--- A channel whose opening has been sent. `plan` (see requests.plan) goes out in the flight that follows its
--- confirmation, and `opened`, if given, is called behind it with the channel: it may queue more, and not wait.
function Channel.new(session, ch, plan, opened)
   local self = setmetatable({
      closed = false,
      _session = session,
      _ch = ch,
      _state = "opening",
      _plan = plan or false,
      _planned = false, -- what was planned has been queued
      _patient = false, -- who waits for it needs not know that it goes on, but what comes of it
      _on_open = opened,
      _requests = {}, -- those that are to be answered, oldest first
      _eof = false, -- the peer sends no more data
      _ended = false, -- the peer has closed it
      _released = false, -- the handle is given back
      _contended = false, -- somebody waits until another one has written
      _gate = false, -- what has yet to see the first bytes: its look(channel) is called when something came
   }, Channel)
   self.stdout = Reader.new(self, 0)
   self.stderr = Reader.new(self, 1)
   return self
end

local function check(self, name)
   args.handle(self, "channel", name)
   args.handle(self._session, "session", name)
   self._session:_check(name)
end

Channel._check = check

-- Events -------------------------------------------------------------------------------------------------------------

-- Queues a request; one that wants an answer is returned, to be waited for. `grant` is what it allows the server to
-- do, see moonssh.grants: { type =, … }.
local function request(self, name, want_reply, data, grant)
   local ok, code, message = self._session._core:channel_request(self._ch, name, want_reply, data)
   if not ok then
      if code == "limit" and #data > LONGEST then
         message = ("the request '%s' is longer than %d bytes"):format(name, LONGEST)
      end
      return nil, self._session.failure or errors.from_core(code, message)
   end
   local record = { name = name }
   if grant then
      record.grants, record.optional = grant.type, grant.optional
      grants.add(self._session, self._ch, grant.type, grant)
      attend.start(self._session)
   end
   if want_reply then
      table.insert(self._requests, record)
   end
   return record
end

--- Queues what was planned.
function Channel:_start_plan()
   self._planned = true
   for i, planned in ipairs(self._plan) do
      local record, err = request(self, planned[1], planned[2], planned[3], planned[4])
      self._plan[i] = record or planned
      self._plan_error = self._plan_error or err
   end
end

--- The server has confirmed it.
function Channel:_opened()
   self._state = "open"
   if self._plan and not self._planned then
      self:_start_plan()
   end
   if self._on_open then
      self._on_open(self)
   end
end

local reasons = { "administratively prohibited", "connect failed", "unknown channel type", "resource shortage" }

--- The server has refused it.
function Channel:_refused(reason, text)
   self._state = "refused"
   self._released, self._eof, self._ended = true, true, true
   self.closed = true
   local message = "the server refused the channel: " .. (reasons[reason] or "reason " .. tostring(reason))
   if text and text ~= "" then
      message = ("%s (%s)"):format(message, errors.escape(text))
   end
   self._refusal = errors.new("channel_open", message, { reason = reason, text = text })
end

-- Waiting ------------------------------------------------------------------------------------------------------------

-- The name of the stream whose unread data fill the window, so that nothing more can come for the other one; with
-- stream nil, of either.
function Channel:_stuck(stream)
   if self._released or self._eof then
      return nil
   end
   local core = self._session._core
   local unread
   for other = 0, 1 do
      if other ~= stream and not (other == 1 and self._on_stderr) and core:channel_kept(self._ch, other) > 0 then
         unread = unread or other
      end
   end
   if not unread or stream and core:channel_kept(self._ch, stream) > 0 then
      return nil
   end
   local _, _, _, receive_window = core:channel_state(self._ch)
   return receive_window == 0 and (unread == 0 and "stdout" or "stderr") or nil
end

function Channel:_stuck_error(stream)
   local name = self:_stuck(stream)
   return name and errors.new("limit", ("unread data of %s fill the channel's window"):format(name), { stage = name })
end

-- Gives the stderr function what has come for it, in the task that waits for the channel.
function Channel:_deliver()
   local reader = self.stderr
   while self._on_stderr and not self.closed and reader:available() > 0 do
      if reader.size == 0 then
         reader:pull(reader:kept())
      end
      reader:credit()
      self._on_stderr(reader:cut(reader.size))
   end
end

local function with_stderr(self, both)
   return self.stderr:available() > 0 or both[1](both[2], both[3])
end

--- Waits until predicate(a, b) is true. → true | nil, err
function Channel:_await(predicate, deadline, stage, a, b, room)
   local session = self._session
   local ok, err
   if not self._on_stderr then
      ok, err = pump.run_until(session, predicate, deadline, stage, self, a, b, room)
   else
      local both = { predicate, a, b }
      repeat
         ok, err = pump.run_until(session, with_stderr, deadline, stage, self, self, both, room)
         if ok then
            self:_deliver()
         end
      until not ok or self.closed or predicate(a, b)
   end
   if ok and self.closed and self._state == "open" then
      return nil, errors.closed("the channel")
   end
   return ok, err
end

local function answered(record, self)
   return record.done or self.closed or self._ended
end

-- Waits for the answer to a request.
local function await_answer(self, record, deadline)
   local ok, err = self:_await(answered, deadline, "request", record, self)
   if not ok then
      return nil, err
   elseif not record.success then
      return nil, errors.new("channel_request", ("the server refused the request '%s'"):format(record.name),
         { request = record.name })
   end
   return true
end

local function opened(self)
   return self._state ~= "opening" or self.closed
end

--- Waits until it is open and what was planned is answered. → true | nil, err
function Channel:_await_start(deadline)
   local ok, err = self:_await(opened, deadline, "open", self)
   if self._refusal then
      return nil, self._refusal
   elseif ok and self.closed then
      return nil, errors.closed("the channel")
   end
   if self._plan_error then
      return nil, self._plan_error
   end
   for _, record in ipairs(ok and self._plan or {}) do
      if ok and record.name and record.name ~= "env" and not record.optional then
         ok, err = await_answer(self, record, deadline)
      end
   end
   return ok, err
end

-- Starting something -------------------------------------------------------------------------------------------------

local function gone()
   return errors.new("closed", "the server has closed the channel")
end

-- Sends a request and waits for its answer.
local function start(self, name, data, timeout, grant)
   if self._session.failure then
      return nil, self._session.failure
   elseif self._ended then
      return nil, gone()
   end
   local record, err = request(self, name, true, data, grant)
   if not record then
      return nil, err
   end
   return await_answer(self, record, self._session:_deadline(timeout))
end

--- Asks for a terminal: { term =, columns =, rows =, modes = }. → true | nil, err
---@param options? moonssh.pty
---@param timeout? number
---@return true|nil
---@return moonssh.error? err
function Channel:request_pty(options, timeout)
   check(self, "request_pty")
   args.optional("request_pty", 2, timeout, "number")
   return start(self, "pty-req", requests.pty("request_pty", 1, options), timeout)
end

--- Sets an environment variable, where the server allows it. → true | nil, err
---@param name string
---@param value string|number
---@param timeout? number
---@return true|nil
---@return moonssh.error? err
function Channel:setenv(name, value, timeout)
   check(self, "setenv")
   args.optional("setenv", 3, timeout, "number")
   args.check("setenv", 1, name, "string")
   args.check("setenv", 2, value, { "string", "number" })
   return start(self, "env", requests.env("setenv", 1, name, value), timeout)
end

--- Asks for X11 connections to be forwarded: from then on, and until this channel has ended, the server may open
--- channels for them, which the handler `x11` gets, or else the session's display. → true | nil, err
---@param options? moonssh.x11
---@param timeout? number
---@return true|nil
---@return moonssh.error? err
function Channel:request_x11(options, timeout)
   check(self, "request_x11")
   args.optional("request_x11", 2, timeout, "number")
   local deadline = self._session:_deadline(timeout)
   local name, data, grant = require "moonssh.x11".request("request_x11", 1, options, self._session, deadline)
   return start(self, name, data, timeout, grant)
end

--- Asks for the agent to be forwarded: from then on, and until this channel has ended, the server may open channels to
--- it, which the handler `authagent` gets. → true | nil, err
---@param timeout? number
---@return true|nil
---@return moonssh.error? err
function Channel:request_agent(timeout)
   check(self, "request_agent")
   args.optional("request_agent", 1, timeout, "number")
   local name, data, grant = requests.agent()
   return start(self, name, data, timeout, grant)
end

--- Starts a command: a string for the remote shell, or a list of words. → true | nil, err
---@param command string|string[]
---@param timeout? number
---@return true|nil
---@return moonssh.error? err
function Channel:exec(command, timeout)
   check(self, "exec")
   args.optional("exec", 2, timeout, "number")
   return start(self, "exec", requests.string(requests.command("exec", command)), timeout)
end

--- Starts a shell. → true | nil, err
---@param timeout? number
---@return true|nil
---@return moonssh.error? err
function Channel:shell(timeout)
   check(self, "shell")
   args.optional("shell", 1, timeout, "number")
   return start(self, "shell", "", timeout)
end

--- Starts a subsystem. → true | nil, err
---@param name string
---@param timeout? number
---@return true|nil
---@return moonssh.error? err
function Channel:subsystem(name, timeout)
   check(self, "subsystem")
   args.optional("subsystem", 2, timeout, "number")
   return start(self, "subsystem", requests.name("subsystem", name), timeout)
end

--- What becomes of stderr: "keep", "discard", "merge" (into stdout), or a function that gets each piece.
function Channel:_set_stderr(mode)
   local core = self._session._core
   if type(mode) == "string" then
      core:channel_mode(self._ch, 1, mode)
   elseif mode then
      self._on_stderr = mode
      core:channel_mode(self._ch, 1, "direct", DIRECT_BUDGET)
   end
end

-- Reading ------------------------------------------------------------------------------------------------------------

--- Reads stdout: see Reader.read.
---@param what? "l"|"L"|"a"|integer
---@param timeout? number
---@return string|nil
---@return moonssh.error? err
function Channel:read(what, timeout)
   check(self, "read")
   return self.stdout:_read("read", what, timeout)
end

--- Reads stderr.
---@param what? "l"|"L"|"a"|integer
---@param timeout? number
---@return string|nil
---@return moonssh.error? err
function Channel:read_stderr(what, timeout)
   check(self, "read_stderr")
   return self.stderr:_read("read_stderr", what, timeout)
end

--- An iterator over stdout, as file:lines; it raises errors.
---@param what? "l"|"L"|"a"|integer
---@return fun(): string|nil
function Channel:lines(what)
   check(self, "lines")
   return self.stdout:lines(what)
end

--- Reads stdout until one of the patterns matches: see moonssh.expect.
---@param patterns string|string[]
---@param options? { timeout: number, plain: boolean, max: integer }
---@return integer|nil index
---@return string|moonssh.error text what was read, up to and with the match
---@return string ... captures
function Channel:expect(patterns, options)
   check(self, "expect")
   return expect.run(self, patterns, options)
end

-- Writing ------------------------------------------------------------------------------------------------------------

-- Writes as much of a request's data as may go out now; true when all of it has, or none can any more.
local function write_more(self, pending)
   if self.closed or self._ended or pending.err then
      return true
   elseif self._writer ~= pending then
      if self._writer then
         self._contended = true
         return false
      end
      self._writer = pending
   end
   local core, ch, data = self._session._core, self._ch, pending.data
   while pending.at <= #data do
      local taken, code, message = core:channel_write(ch, 0, data, pending.at)
      if not taken then
         pending.err = self._session.failure or errors.from_core(code, message)
         return true
      elseif taken == 0 then
         return false
      end
      pending.at = pending.at + taken
   end
   return true
end

function WRITE.__close(pending)
   local self = pending.channel
   if self._writer == pending then
      self._writer = nil
      if self._contended and not self.closed and not self._session.closed then
         self._contended = false
         pump.touch(self._session, self)
      end
   end
end

--- Writes a string, waiting for window. → true | nil, err
function Channel:_write(data, deadline)
   local pending <close> = setmetatable({ channel = self, data = data, at = 1 }, WRITE)
   if not write_more(self, pending) then
      local ok, err = self:_await(write_more, deadline, "write", self, pending, true)
      -- Closed since it was written: that is no failure of the writing.
      if not ok and not (self.closed and pending.at > #data) then
         return nil, errors.with(err, { written = pending.at - 1 })
      end
   end
   pump.flush(self._session)
   if pending.err then
      return nil, pending.err
   elseif pending.at <= #data then
      local err = self.closed and errors.closed("the channel") or gone()
      return nil, errors.with(err, { written = pending.at - 1 })
   end
   return true
end

--- Sends strings or numbers to stdin, waiting for window. → the channel | nil, err (err.written: bytes of them that
--- were sent)
---@param ... string|number
---@return moonssh.channel|nil
---@return moonssh.error? err
function Channel:write(...)
   check(self, "write")
   for i = 1, select("#", ...) do
      args.check("write", i, (select(i, ...)), { "string", "number" })
   end
   if self._eof_sent then
      args.raise("attempt to write after 'eof'")
   end
   local session = self._session
   if session.failure then
      return nil, session.failure
   end
   local deadline, sent = session:_deadline(), 0
   for i = 1, select("#", ...) do
      local data = tostring((select(i, ...)))
      local ok, err = self:_write(data, deadline)
      if not ok then
         return nil, err.written and errors.with(err, { written = sent + err.written }) or err
      end
      sent = sent + #data
   end
   return self:_sent()
end

-- After something was queued: sends it. → the channel | nil, err
function Channel:_sent(ok, code, message)
   local session = self._session
   if ok == nil and code then
      return nil, session.failure or errors.from_core(code, message)
   end
   return session:_send_now(self)
end

--- Sends end of file. → the channel | nil, err
---@return moonssh.channel|nil
---@return moonssh.error? err
function Channel:eof()
   check(self, "eof")
   if self._session.failure then
      return nil, self._session.failure
   elseif self._eof_sent or self._ended then
      return self
   end
   self._eof_sent = true
   return self:_sent(self._session._core:channel_eof(self._ch))
end

local function send_request(self, name, data)
   if self._session.failure then
      return nil, self._session.failure
   elseif self._ended then
      return nil, gone()
   end
   return self:_sent(self._session._core:channel_request(self._ch, name, false, data))
end

--- Sends a signal by its name, "TERM". → the channel | nil, err
---@param name string as "TERM"
---@return moonssh.channel|nil
---@return moonssh.error? err
function Channel:signal(name)
   check(self, "signal")
   local data = requests.name("signal", name)
   return send_request(self, "signal", name:find("^SIG") and requests.string(name:sub(4)) or data)
end

--- Tells that the terminal has another size. → the channel | nil, err
---@param columns integer
---@param rows integer
---@return moonssh.channel|nil
---@return moonssh.error? err
function Channel:resize(columns, rows)
   check(self, "resize")
   return send_request(self, "window-change", requests.window("resize", columns, rows))
end

--- Sends a break of some milliseconds (RFC 4335). → true | nil, err
---@param ms? integer
---@return true|nil
---@return moonssh.error? err
function Channel:break_(ms)
   check(self, "break_")
   args.optional("break_", 1, ms, "integer")
   ms = ms or 0
   if ms < 0 or ms > 0xffffffff then
      args.bad("break_", 1, "not a length of time")
   end
   return start(self, "break", string.pack(">I4", ms))
end

-- The end ------------------------------------------------------------------------------------------------------------

local function has_ended(self)
   return self._status ~= nil or self._signal ~= nil or self._ended or self.closed or self:_stuck() ~= nil
end

--- Waits for the end of what runs. → its exit status, or nil and the name of the signal that ended it, or nil if
--- neither was told; nil, err when it fails.
---@param timeout? number
---@return integer|nil status
---@return string|moonssh.error|nil signal
function Channel:wait(timeout)
   check(self, "wait")
   args.optional("wait", 1, timeout, "number")
   local ok, err = true, nil
   if not has_ended(self) then
      ok, err = self:_await(has_ended, self._session:_deadline(timeout), "read", self)
   end
   if not ok then
      return nil, err
   elseif self._status == nil and self._signal == nil and not self._ended then
      return nil, self:_stuck_error()
   end
   self:_deliver()
   return self._status, self._signal
end

--- Closes it; unread data are gone.
function Channel:close()
   if self.closed then
      return
   end
   self.closed = true
   local session = self._session
   if session.closed then
      return
   end
   session._channels[self._ch] = nil
   grants.forget(session, self._ch)
   if not self._released then
      self._released = true
      session._core:channel_release(self._ch)
   end
   pump.touch(session, self)
   session:_send_now()
   session:_trim()
end

Channel.__close = Channel.close

local Closer = {
   __close = function(closer)
      if not closer.done then
         closer.channel:close()
      end
   end,
}

--- A value that closes the channel at the end of its block, unless `done` was set in it.
function Channel:_closer()
   return setmetatable({ channel = self }, Closer)
end

-- A finaliser may run in the middle of anything: the handle is only noted.
function Channel:__gc()
   local session = self._session
   if not self._released and not session.closed then
      self._released = true
      table.insert(session._dropped, self._ch)
   end
end

return Channel
