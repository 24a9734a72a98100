-- The part of a session that is used once it is logged in: channels and messages.

local args = require "moonssh.args"
local Channel = require "moonssh.channel"
local errors = require "moonssh.errors"
local process = require "moonssh.process"
local pump = require "moonssh.pump"
local requests = require "moonssh.requests"

-- Data of an open that the core sends at most.
local LONGEST = 64 * 1024

local BY_APPLICATION = 11 -- SSH_DISCONNECT_BY_APPLICATION, RFC 4253 11.1

-- Methods of moonssh.session.
local methods = {}

local function check(self, name, started)
   args.handle(self, "session", name)
   self:_check(name, started)
end

--- What stands in the way of channels, or nil.
function methods:_hindrance()
   if self.failure then
      return self.failure
   elseif not self._authenticated then
      return errors.new("auth_failed", "the session is not authenticated", { methods = {}, tried = {} })
   end
end

-- Channels -----------------------------------------------------------------------------------------------------------

--- Opens a channel: sends that it is wanted, and gives it before it is confirmed. See Channel.new. → channel | nil, err
function methods:_open(type, data, plan, opened)
   local err = self:_hindrance()
   if err then
      return nil, err
   end
   pump.release_dropped(self)
   local ch, code, message = self._core:open(type, data)
   if not ch then
      if code == "limit" then
         message = data and #data > LONGEST
            and ("where to open the channel to is longer than %d bytes"):format(LONGEST)
            or "the session has as many channels as the option 'limits.channels' allows"
      end
      return nil, self.failure or errors.from_core(code, message)
   end
   local channel = Channel.new(self, ch, plan, opened)
   self._channels[ch] = channel
   if plan and not requests.grants(plan) then
      channel:_start_plan() -- the core sends it with the confirmation
   end
   return channel
end

local stderr_modes = { keep = true, discard = true, merge = true }

local open_options = { stderr = { "string", "function" }, timeout = "number" }
local start_options = args.join(requests.options, open_options)

local function check_stderr(fname, index, mode)
   if type(mode) == "string" and not stderr_modes[mode] then
      args.bad(fname, index, ("option 'stderr': unknown mode '%s'"):format(mode))
   end
end

-- Opens a channel, by default of a session, with a plan of what is started on it.
function methods:_open_channel(options, plan, type, data)
   local channel, err = self:_open(type or "session", data or "", plan)
   if not channel then
      return nil, err
   end
   channel:_set_stderr(options.stderr)
   local guard <close> = channel:_closer()
   local ok
   ok, err = channel:_await_start(self:_deadline(options))
   if not ok then
      return nil, err
   end
   guard.done = true
   return channel
end

local function start(self, fname, index, options, name, data)
   options = args.options(fname, index, options, start_options)
   check_stderr(fname, index, options.stderr)
   return self:_open_channel(options, requests.plan(fname, index, options, self, name, data))
end

--- Opens a session channel on which nothing is started yet. → channel | nil, err
---@param options? { stderr: string|function, timeout: number }
---@return moonssh.channel|nil
---@return moonssh.error? err
function methods:open(options)
   check(self, "open", true)
   options = args.options("open", 1, options, open_options)
   check_stderr("open", 1, options.stderr)
   return self:_open_channel(options)
end

--- Starts a command: a string for the remote shell, or a list of words. → channel | nil, err
---@param command string|string[]
---@param options? moonssh.start_options
---@return moonssh.channel|nil
---@return moonssh.error? err
function methods:exec(command, options)
   check(self, "exec", true)
   return start(self, "exec", 2, options, "exec", requests.string(requests.command("exec", command)))
end

--- Starts the user's shell, or what ssh_config has in its stead. → channel | nil, err
---@param options? moonssh.start_options
---@return moonssh.channel|nil
---@return moonssh.error? err
function methods:shell(options)
   check(self, "shell", true)
   args.optional("shell", 1, options, "table")
   local preset = self._options._shell
   if not preset then
      return start(self, "shell", 1, options, "shell", "")
   end
   local all = { pty = preset.pty }
   for name, value in pairs(options or {}) do
      all[name] = value
   end
   if not preset.command then
      return start(self, "shell", 1, all, "shell", "")
   end
   return start(self, "shell", 1, all, "exec", requests.string(preset.command))
end

--- Starts a subsystem. → channel | nil, err
---@param name string
---@param options? moonssh.start_options
---@return moonssh.channel|nil
---@return moonssh.error? err
function methods:subsystem(name, options)
   check(self, "subsystem", true)
   return start(self, "subsystem", 2, options, "subsystem", requests.name("subsystem", name))
end

--- Runs a command to its end. → { stdout =, stderr =, status =, signal =, ok = } | nil, err with err.result
---@param command string|string[]
---@param options? moonssh.run_options
---@return moonssh.result|nil
---@return moonssh.error? err `result` has what came until then
function methods:run(command, options)
   check(self, "run", true)
   return process.run(self, command, options)
end

--- Copies a file from the server by SCP, for devices without SFTP. With `recursive` a tree: `path` is then the name of
--- its top here. It is written under another name and renamed when it is complete. → true | nil, err (`sftp` for what
--- the server says, `io` for a local file, `protocol`, `limit`; `path`)
---@param remote string
---@param path string
---@param options? moonssh.scp_options
---@return true|nil
---@return moonssh.error? err
function methods:scp_get(remote, path, options)
   check(self, "scp_get", true)
   return require "moonssh.scp".get(self, remote, path, options)
end

--- Copies a file, or with `recursive` a tree, to the server by SCP. Where `remote` is a folder, it goes into it. An
--- error of one file of a tree does not end the others; the first is given at the end. → true | nil, err
---@param path string
---@param remote string
---@param options? moonssh.scp_options
---@return true|nil
---@return moonssh.error? err
function methods:scp_put(path, remote, options)
   check(self, "scp_put", true)
   return require "moonssh.scp".put(self, path, remote, options)
end

--- Starts SFTP on a channel of its own. → sftp | nil, err
---@param options? { timeout: number, channels: integer } how many channels a large file may be sent over (default 8)
---@return moonssh.sftp|nil
---@return moonssh.error? err
function methods:sftp(options)
   check(self, "sftp", true)
   return require "moonssh.sftp".start(self, options)
end

--- A further session through this one: its server connects to the host, and the new session ends with the channel that
--- carries it. What ssh_config says of the host holds, but for its ProxyJump and ProxyCommand. → session | nil, err
---@param destination string
---@param options? moonssh.connect_options
---@return moonssh.session|nil
---@return moonssh.error? err
function methods:connect(destination, options)
   check(self, "connect", true)
   local err = self:_hindrance()
   if err then
      return nil, err
   end
   return require "moonssh.client".connect_through(self, destination, options)
end

-- Messages -----------------------------------------------------------------------------------------------------------

local function core_error(self, name, code, message)
   if self.failure then
      return self.failure
   elseif code == "state" then
      args.raise(("'%s' before the %s is done"):format(name, self._kex_done > 0 and "login" or "first key exchange"))
   end
   return errors.from_core(code, message)
end

local function has_room(self)
   return not self._blocked
end

-- Sends a message that was queued; what the transport does not take now is waited for. → true | nil, err
local function send_message(self, name, ok, code, message)
   if not ok then
      return nil, core_error(self, name, code, message)
   end
   local err
   ok, err = self:_send_now()
   if ok and self._blocked then
      return self:_await(has_room, self:_deadline(), "write", self, self, nil, true)
   elseif not ok then
      return nil, err
   end
   return true
end

--- Sends SSH_MSG_IGNORE. → true | nil, err
---@param data? string at most 32 KiB
---@return true|nil
---@return moonssh.error? err
function methods:ignore(data)
   check(self, "ignore", true)
   args.optional("ignore", 1, data, "string")
   return send_message(self, "ignore", self._core:ignore(data or ""))
end

--- Sends SSH_MSG_DEBUG. → true | nil, err
---@param message string at most 32 KiB, with the language and ten bytes
---@param display? boolean
---@param language? string
---@return true|nil
---@return moonssh.error? err
function methods:debug(message, display, language)
   check(self, "debug", true)
   args.check("debug", 1, message, "string")
   args.optional("debug", 2, display, "boolean")
   args.optional("debug", 3, language, "string")
   return send_message(self, "debug", self._core:debug(display or false, message, language or ""))
end

--- Sends SSH_MSG_DISCONNECT, which ends the session. → true | nil, err
---@param reason? integer code of RFC 4253 11.1, default 11: by application
---@param message? string
---@return true|nil
---@return moonssh.error? err
function methods:disconnect(reason, message)
   check(self, "disconnect", true)
   args.optional("disconnect", 1, reason, "integer")
   args.optional("disconnect", 2, message, "string")
   reason = reason or BY_APPLICATION
   if reason < 0 or reason > 0xffffffff then
      args.bad("disconnect", 1, "no reason code")
   elseif self.failure then
      return nil, self.failure
   end
   self._core:disconnect(reason, message or "")
   self:_end(errors.new("closed", "this side has disconnected", { reason = reason }))
   pump.flush(self)
   pump.wake_all(self)
   return true
end

local function is_done(request)
   return request.done
end

--- Seconds of a round trip, by a global request. → seconds | nil, err
---@param timeout? number
---@return number|nil seconds
---@return moonssh.error? err
function methods:ping(timeout)
   check(self, "ping", true)
   args.optional("ping", 1, timeout, "number")
   local err = self:_hindrance()
   if err then
      return nil, err
   end
   local began = self._loop.now()
   local request
   request, err = self:_global_request("keepalive@openssh.com", "")
   if not request then
      return nil, err
   end
   local ok
   ok, err = self:_await(is_done, self:_deadline(timeout), "request", self, request)
   if not ok then
      return nil, err
   end
   return self._loop.now() - began
end

--- Queues a global request that is to be answered: the request gets `done`, `success` and `data`.
function methods:_global_request(name, data)
   if self._attached then
      -- OpenSSH's master keeps the answers to itself, also where it passes the request on.
      return nil, errors.new("unsupported", "a ControlMaster passes on no answer to a request of the connection")
   end
   local ok, code, message = self._core:global_request(name, true, data)
   if not ok then
      return nil, self.failure or errors.from_core(code, message)
   end
   local request = {}
   table.insert(self._global_requests, request)
   return request
end

local function kex_beyond(self, count)
   return self._kex_done > count
end

--- Exchanges keys anew, and waits until that is done. → true | nil, err
---@param timeout? number
---@return true|nil
---@return moonssh.error? err
function methods:rekey(timeout)
   check(self, "rekey", true)
   args.optional("rekey", 1, timeout, "number")
   if self.failure then
      return nil, self.failure
   elseif self._attached then
      return nil, errors.new("unsupported", "keys are exchanged by the ControlMaster")
   end
   local count = self._kex_done
   local ok, code, message = self._core:rekey()
   if not ok then
      return nil, core_error(self, "rekey", code, message)
   end
   return self:_await(kex_beyond, self:_deadline(timeout), "kex", self, self, count)
end

return methods
