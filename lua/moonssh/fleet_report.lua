--- What became of the work of a fleet: an entry for each host, and summaries of them.

local errors = require "moonssh.errors"

---@class moonssh.fleet_entry
---@field index integer
---@field host string
---@field ok boolean no error, and where a command was run, its status is 0
---@field result any what was returned for the host; for `run` the result of the command
---@field err any nil, or why there is none
---@field status integer|string of the command; else the signal's name, the code of the error, or 0 for a result
---@field output string of the command, as it is compared: without white space at the end; else ""
---@field seconds number from the first attempt's beginning to the end
---@field attempts integer

---@class moonssh.fleet_report
---@field entries moonssh.fleet_entry[] in the order of the hosts; one that has not been done is not there yet
---@field count integer
---@field ok integer
---@field failed integer
local Report = {}
Report.__index = Report

function Report.new()
   return setmetatable({ entries = {}, count = 0, ok = 0, failed = 0 }, Report)
end

local function is_command(result)
   return type(result) == "table" and result.stdout ~= nil and result.ok ~= nil
end

local function status_of(result, err)
   if err ~= nil then
      return errors.is(err) and err.code or "error"
   elseif is_command(result) then
      return result.status or result.signal or "no status"
   end
   return 0
end

function Report:add(index, host, result, err, seconds, attempts)
   local command = is_command(result)
   local entry = {
      index = index, host = host, result = result, err = err, seconds = seconds, attempts = attempts,
      ok = err == nil and (not command or result.ok),
      status = status_of(result, err),
      output = command and (result.stdout .. result.stderr):match("^.*%S") or "",
   }
   self.entries[index] = entry
   self.count = self.count + 1
   local outcome = entry.ok and "ok" or "failed"
   self[outcome] = self[outcome] + 1
   return entry
end

-- Groups { key =, hosts =, count = } by a field, the largest first, of the same size the one of the first host.
local function group(self, field, wanted)
   local groups, by_key = {}, {}
   local indices = {}
   for index in pairs(self.entries) do
      indices[#indices + 1] = index
   end
   table.sort(indices)
   for _, index in ipairs(indices) do
      local entry = self.entries[index]
      if wanted(entry) then
         local one = by_key[entry[field]]
         if not one then
            one = { [field] = entry[field], hosts = {}, count = 0, first = index }
            by_key[entry[field]] = one
            groups[#groups + 1] = one
         end
         one.count = one.count + 1
         one.hosts[one.count] = entry.host
      end
   end
   table.sort(groups, function(a, b)
      if a.count ~= b.count then
         return a.count > b.count
      end
      return a.first < b.first
   end)
   return groups
end

--- Hosts by how they ended: a list of { status =, hosts =, count = }, the most frequent first. The status is that of
--- the command, the name of the signal that ended it, or the code of the error.
---@return { status: integer|string, hosts: string[], count: integer }[]
function Report:by_status()
   return group(self, "status", function()
      return true
   end)
end

--- Hosts by what the command has written: a list of { output =, hosts =, count = }, the most frequent first. Those
--- without a result are left out.
---@return { output: string, hosts: string[], count: integer }[]
function Report:by_output()
   return group(self, "output", function(entry)
      return entry.err == nil
   end)
end

--- The entries of the hosts that have failed, in order.
---@return moonssh.fleet_entry[]
function Report:failures()
   local list = {}
   for index, entry in pairs(self.entries) do
      if not entry.ok then
         list[#list + 1] = { index, entry }
      end
   end
   table.sort(list, function(a, b)
      return a[1] < b[1]
   end)
   for i, pair in ipairs(list) do
      list[i] = pair[2]
   end
   return list
end

return Report
