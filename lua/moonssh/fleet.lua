--- `ssh.fleet`: the same work on many hosts.

local args = require "moonssh.args"
local errors = require "moonssh.errors"
local loop = require "moonssh.loop"
local map = require "moonssh.map"
local process = require "moonssh.process"
local Report = require "moonssh.fleet_report"
local work = require "moonssh.work"

---@class moonssh.fleet_options : moonssh.map_options
---@field connect? moonssh.connect_options|fun(host: string): moonssh.connect_options how to connect
---@field rate? number connections that are begun in a second, at most
---@field progress? fun(progress: moonssh.fleet_progress) called whenever a host begins or is done
---@field on_result? fun(entry: moonssh.fleet_entry) called as each is done
---@field loop? moonssh.adapter

---@class moonssh.fleet_progress
---@field total? integer hosts, nil while not known
---@field running integer
---@field done integer
---@field ok integer of those done
---@field failed integer of those done
---@field elapsed number seconds
---@field remaining? number seconds, as things look; nil while not known

---@class moonssh.fleet
---@field hosts string[]|nil where they were given as a list or a file
local Fleet = { __name = "moonssh.fleet" }
Fleet.__index = Fleet

local fleets = {}

local fleet_options = args.join(map.options, {
   connect = { "table", "function" }, rate = "number", progress = "function", loop = "table",
})

-- The hosts that a file names: one a line; blank lines, and what follows a "#", do not count.
local function hosts_of_file(path)
   local file <close>, message = io.open(path, "r")
   if not file then
      return nil, errors.new("io", message, { path = path })
   end
   local hosts = {}
   for line in file:lines() do
      local host = (line:match("^[^#]*"):match("%S.*") or ""):match("^.*%S") or ""
      if host ~= "" then
         hosts[#hosts + 1] = host
      end
   end
   return hosts
end

--- A fleet of hosts.
---@param hosts string[]|string|fun(): string|nil destinations; the path of a file with one a line; or a function
---@param options? moonssh.fleet_options
---@return moonssh.fleet|nil
---@return moonssh.error? err where a file cannot be read
function fleets.fleet(hosts, options)
   args.check("fleet", 1, hosts, { "table", "string", "function" })
   options = args.options("fleet", 2, options, fleet_options)
   map.check("fleet", 2, options)
   if options.rate and options.rate <= 0 then
      args.bad("fleet", 2, "option 'rate': not positive")
   elseif options.loop then
      loop.check_adapter("fleet", 2, options.loop)
   end
   local err
   if type(hosts) == "string" then
      hosts, err = hosts_of_file(hosts)
      if not hosts then
         return nil, err
      end
   end
   return setmetatable({ hosts = type(hosts) == "table" and hosts or nil, _source = hosts, _options = options }, Fleet)
end

-- A function that returns when the next connection may be begun.
local function limiter(rate)
   local free_at = loop.now()
   return function()
      local now = loop.now()
      local at = math.max(now, free_at)
      free_at = at + 1 / rate
      if at > now then
         loop.sleep(at - now)
      end
   end
end

local function connect_options(options, host)
   local connect = options.connect
   if type(connect) == "function" then
      connect = connect(host)
   end
   local result = { loop = options.loop }
   for name, value in pairs(connect or {}) do
      result[name] = value
   end
   return result
end

-- Keeps the values of progress, and shows them.
local function counter(self)
   local show = self._options.progress
   local began = loop.now()
   local values = { total = self.hosts and #self.hosts, running = 0, done = 0, ok = 0, failed = 0 }
   local function update()
      if show then
         values.elapsed = loop.now() - began
         local left = values.total and values.total - values.done
         values.remaining = left and values.done > 0 and values.elapsed / values.done * left or nil
         loop.tell(show, values)
      end
   end
   return values, update
end

--- Calls f(session, host, index) with a session for each host, which is closed afterwards. Gives a report.
---@param f fun(session: moonssh.session, host: string, index: integer): any, any
---@param options? moonssh.map_options in place of the fleet's
---@return moonssh.fleet_report
function Fleet:each(f, options)
   args.handle(self, "fleet", "each")
   args.check("each", 1, f, "function")
   return self:_work("each", 2, options, f)
end

function Fleet:_work(fname, index, options, f)
   local _ <close> = loop.bind(self._options.loop)
   local settings = {}
   for name, value in pairs(self._options) do
      settings[name] = value
   end
   for name, value in pairs(args.options(fname, index, options, map.options)) do
      settings[name] = value
   end
   local job = map.check(fname, index, settings)
   local turn = self._options.rate and limiter(self._options.rate)
   local values, update = counter(self)
   local report = Report.new()
   local began = {}
   job.next = map.each(self._source)
   function job.pace(i)
      if turn then
         turn()
      end
      began[i] = began[i] or loop.now()
   end
   function job.begin()
      values.running = values.running + 1
      update()
   end
   function job.f(host, i)
      local session <close>, err = require "moonssh.client".connect(host, connect_options(self._options, host))
      if not session then
         return nil, err
      end
      return f(session, host, i)
   end
   function job.finish(host, i, result, err, attempts)
      local entry = report:add(i, host, result, err, loop.now() - began[i], attempts)
      began[i] = nil
      values.running, values.done = values.running - 1, values.done + 1
      local outcome = entry.ok and "ok" or "failed"
      values[outcome] = values[outcome] + 1
      if settings.on_result then
         loop.tell(settings.on_result, entry)
      end
      update()
   end
   work.run(job)
   values.total = values.done
   return report
end

-- The options of `map` among others, and the others.
local function split(options)
   local own, theirs = {}, {}
   for name, value in pairs(options) do
      local part = map.options[name] and own or theirs
      part[name] = value
   end
   return own, theirs
end

-- Has every host's sftp do what f(sftp, host, index, options) does.
function Fleet:_copy(fname, options, f)
   local types = args.join(require "moonssh.sftp"._copy_options, map.options)
   local own, theirs = split(args.options(fname, 3, options, types))
   return self:_work(fname, 3, own, function(session, host, index)
      local sftp <close>, err = session:sftp()
      if not sftp then
         return nil, err
      end
      return f(sftp, host, index, theirs)
   end)
end

--- Sends a file, or with `recursive` a tree, to every host. Gives a report.
---@param path string
---@param remote string
---@param options? moonssh.sftp.copy_options of `sftp:put`; those of `map` among them replace the fleet's
---@return moonssh.fleet_report
function Fleet:put(path, remote, options)
   args.handle(self, "fleet", "put")
   args.check("put", 1, path, "string")
   args.check("put", 2, remote, "string")
   return self:_copy("put", options, function(sftp, _, _, copy_options)
      return sftp:put(path, remote, copy_options)
   end)
end

-- A host's name as the name of a file.
local function file_name(host)
   return (host:gsub("[^%w%.@_-]", "_"):gsub("^%.", "_"))
end

--- Receives a file, or with `recursive` a tree, from every host. Gives a report.
---@param remote string
---@param path string with "%h" for the host and "%i" for its index
---@param options? moonssh.sftp.copy_options of `sftp:get`; those of `map` among them replace the fleet's
---@return moonssh.fleet_report
function Fleet:get(remote, path, options)
   args.handle(self, "fleet", "get")
   args.check("get", 1, remote, "string")
   args.check("get", 2, path, "string")
   if not path:find("%%[hi]") then
      args.bad("get", 2, "no '%h' or '%i' in it: each host's file needs a name of its own")
   end
   return self:_copy("get", options, function(sftp, host, index, copy_options)
      local target = path:gsub("%%(.)", { h = file_name(host), i = tostring(index), ["%"] = "%" })
      return sftp:get(remote, target, copy_options)
   end)
end

--- Runs a command on every host. Gives a report.
---@param command string|string[]
---@param options? moonssh.run_options the options of `run`; those of `map` among them replace the fleet's
---@return moonssh.fleet_report
function Fleet:run(command, options)
   args.handle(self, "fleet", "run")
   args.check("run", 1, command, { "string", "table" })
   local own, theirs = split(args.options("run", 2, options, args.join(process.options, map.options)))
   return self:_work("run", 2, own, function(session)
      return session:run(command, theirs)
   end)
end

return fleets
