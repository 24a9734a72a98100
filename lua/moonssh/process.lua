-- Running a command to its end.

local args = require "moonssh.args"
local errors = require "moonssh.errors"
local loop = require "moonssh.loop"
local pump = require "moonssh.pump"
local requests = require "moonssh.requests"
local task = require "moonssh.task"

local process = {}

local DEFAULT_MAX_OUTPUT = 256 * 1024 * 1024

-- Bytes of each stream that may wait for this task before they are kept in the core.
local DIRECT_BUDGET = 4 * 1024 * 1024

---@class moonssh.run_options
---@field stdin? string|fun(): string|nil without it end of file is sent at once
---@field stdout? fun(chunk: string)
---@field stderr? fun(chunk: string)
---@field merge? boolean stderr into stdout
---@field max_output? integer bytes of a stream that are collected, default 256 MiB
---@field env? table<string, string|number>
---@field forward_agent? boolean
---@field forward_x11? boolean|moonssh.x11
---@field pty? boolean|moonssh.pty
---@field timeout? number

---@class moonssh.result
---@field stdout string
---@field stderr string
---@field status? integer nil where a signal ended it, or none came
---@field signal? string
---@field ok boolean status 0

--- The options of `run`.
process.options = args.join(requests.options, {
   stdin = { "string", "function" },
   stdout = "function",
   stderr = "function",
   merge = "boolean",
   max_output = "integer",
})

-- A run under way: what it collects and where it stands. `data` and `at` are the input that is still to be sent.
local Run = {}
Run.__index = Run

-- Sends what it may of a string for stdin, and then end of file.
local function feed(self)
   local channel = self.channel
   if channel._ended or channel.closed then
      return
   end
   local core = channel._session._core
   while self.at <= #self.data do
      local taken = core:channel_write(channel._ch, 0, self.data, self.at)
      if not taken then
         self.data = nil -- the server does not want it any more
         return
      elseif taken == 0 then
         return
      end
      self.at = self.at + taken
   end
   self.data = nil
   core:channel_eof(channel._ch)
end

-- Takes in what has come of one stream; true when something is to be done by the task itself.
local function gather(self, reader, f, stage)
   if f then
      return reader.size > 0 or reader.may_keep
   end
   if reader.may_keep then
      reader.may_keep = false
      reader:pull(reader:kept())
   end
   reader:credit()
   if reader.size > self.max then
      self.over = self.over or stage
      return true
   end
   return false
end

-- The condition to wait for: the command has ended, or the task has something to do.
local function attention(self)
   local channel = self.channel
   if self.data then
      feed(self)
   end
   local out = gather(self, channel.stdout, self.stdout, "stdout")
   local err = gather(self, channel.stderr, self.stderr, "stderr")
   return out or err or channel._ended or channel.closed or self.feeder_error ~= nil
end

-- Gives one stream's function what is there of it. The window is credited for what the function has seen.
local function hand_out(reader, f)
   local channel = reader._channel
   while f and not channel.closed do
      local piece = reader:pop()
      if piece then
         f(piece)
         reader:credit(#piece)
      elseif reader.may_keep then
         reader.may_keep = false
         reader:pull(reader:kept())
      else
         return
      end
   end
end

-- What was collected: all of it, or what fits under the limit.
local function collected(self, reader, f)
   if f then
      return ""
   end
   local text = reader:joined()
   return #text > self.max and text:sub(1, self.max) or text
end

function Run:result()
   local channel = self.channel
   return {
      stdout = collected(self, channel.stdout, self.stdout),
      stderr = collected(self, channel.stderr, self.stderr),
      status = channel._status,
      signal = channel._signal,
      ok = channel._status == 0,
   }
end

-- Sends what a function gives, until it gives nil.
local function feed_from(channel, f)
   while not channel.closed and not channel._ended do
      local chunk = f()
      if chunk ~= nil and type(chunk) ~= "string" then
         error(("bad result of stdin (string or nil expected, got %s)"):format(type(chunk)), 0)
      elseif channel.closed or channel._ended then
         return
      elseif chunk == nil then
         channel:eof()
         return
      elseif not channel:_write(chunk) then
         return
      end
   end
end

-- Does so in a task of its own, so that the function may wait without holding up the output.
local function start_feeder(self, f)
   local channel = self.channel
   local _ <close> = loop.bind(channel._session._loop)
   return task.spawn(function()
      local ok, cause = pcall(feed_from, channel, f)
      if not ok then
         self.feeder_error = { cause }
         if not channel.closed and not channel._session.closed then
            pump.touch(channel._session, channel)
         end
      end
   end)
end

-- Waits until it has ended, doing what is to be done meanwhile. → true | nil, err
function Run:follow(deadline)
   local channel = self.channel
   local session = channel._session
   while true do
      local ok, err = pump.run_until(session, attention, deadline, "read", channel, self, nil, true)
      if not ok then
         return nil, err
      elseif self.feeder_error then
         error(self.feeder_error[1], 0)
      elseif self.over then
         return nil, errors.new("limit", ("more than %d bytes of %s"):format(self.max, self.over), {
            stage = self.over,
         })
      elseif channel.closed then
         return nil, errors.closed("the channel")
      end
      local ended = channel._ended
      hand_out(channel.stdout, self.stdout)
      hand_out(channel.stderr, self.stderr)
      if ended then
         return true
      end
   end
end

-- Ends what still runs.
local function give_up(channel)
   local session = channel._session
   if not channel._ended and not channel.closed and not session.closed and not session.failure
      and channel._state == "open" then
      session._core:channel_request(channel._ch, "signal", false, requests.string("TERM"))
   end
   channel:close()
end

local GiveUp = {
   __close = function(guard)
      if guard.run.feeder then
         guard.run.feeder:cancel()
      end
      give_up(guard.run.channel)
   end,
}

--- Runs a command to its end: see session:run. → result | nil, err with err.result
---@param session moonssh.session
---@param command string|string[]
---@param options? table
function process.run(session, command, options)
   local line = requests.command("run", command)
   options = args.options("run", 2, options, process.options)
   local plan = requests.plan("run", 2, options, session, "exec", requests.string(line))
   if options.max_output and options.max_output < 0 then
      args.bad("run", 2, "option 'max_output': negative")
   end
   local run = setmetatable({
      stdout = options.stdout,
      stderr = options.stderr,
      max = options.max_output or DEFAULT_MAX_OUTPUT,
      data = type(options.stdin) == "string" and options.stdin or not options.stdin and "" or nil,
      at = 1,
   }, Run)
   local deadline = session:_deadline(options)
   local channel, err = session:_open("session", "", plan, function()
      if run.data then
         feed(run)
      end
   end)
   if not channel then
      return nil, err
   end
   run.channel = channel
   local core = session._core
   core:channel_mode(channel._ch, 0, "direct", DIRECT_BUDGET)
   core:channel_mode(channel._ch, 1, options.merge and "merge" or "direct", DIRECT_BUDGET)
   if run.data == "" and channel._planned and not channel._plan_error then
      feed(run)
      channel._patient = true
   end
   local _ <close> = setmetatable({ run = run }, GiveUp)
   local ok
   ok, err = channel:_await_start(deadline)
   if not ok then
      return nil, errors.with(err, { result = run:result() })
   end
   if options.stdin and type(options.stdin) ~= "string" then
      run.feeder = start_feeder(run, options.stdin)
   end
   ok, err = run:follow(deadline)
   if not ok then
      return nil, errors.with(err, { result = run:result() })
   end
   return run:result()
end

return process
