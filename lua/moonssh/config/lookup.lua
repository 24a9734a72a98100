-- What the files say for one host: the passes over them, and what becomes of the values once the host is known.

local canonical = require "moonssh.config.canonical"
local core = require "moonssh.core"
local criteria = require "moonssh.config.criteria"
local errors = require "moonssh.errors"
local forward = require "moonssh.config.forward"
local keywords = require "moonssh.config.keywords"
local merge = require "moonssh.config.merge"
local reader = require "moonssh.config.reader"
local shell = require "moonssh.config.shell"
local tokens = require "moonssh.config.tokens"
local values = require "moonssh.config.values"

local DEFAULT_PORT = 22

-- slots: the values so far by keyword, and in `from` the items that they are from.
-- host: what Host lines are compared with. original: what was asked for. final: whether it is the second pass.
local Lookup = {}
Lookup.__index = Lookup

local function item_error(item, message)
   return reader.line_error(item.path, item.line, message)
end

-- --- one pass

function Lookup:token_values(host)
   return tokens.values{
      host = host,
      original = self.original,
      port = self.slots.port or DEFAULT_PORT,
      user = self:user(),
      alias = self.slots.hostkeyalias,
   }
end

function Lookup:user()
   return self.slots.user or self.local_user
end

-- The name of the host as far as it is known by now.
function Lookup:current_host(item)
   local name = self.slots.hostname
   if self.final or not name then
      return name or self.host
   end
   local host, complaint = tokens.expand(name, { h = self.host })
   if not host then
      return nil, item_error(self.slots.from.hostname or item, "hostname: " .. complaint)
   end
   return host
end

-- What Match compares with. The function runs a command, and tells whether its status was 0.
function Lookup:known(item)
   local host, err = self:current_host(item)
   if not host then
      return nil, err
   end
   return {
      host = host,
      original = self.original,
      user = self:user(),
      local_user = self.local_user,
      tag = self.slots.tag,
      final = self.final,
      run = function(command)
         local all = self:token_values(host)
         all.k = self.slots.hostkeyalias or host
         local complaint, line = shell.complaint(command, all), nil
         if not complaint then
            line, complaint = tokens.expand(command, all)
         end
         if complaint then
            return nil, item_error(item, "exec: " .. complaint)
         end
         local status, failure = shell.run(line, self.deadline)
         if not status then
            return nil, errors.with(item_error(item, failure.message), { code = failure.code, stage = failure.stage })
         end
         return status == 0
      end,
   }
end

-- What the second pass does not change any more: its name was made by these.
local settled = { canonicalizehostname = true, canonicalizemaxdots = true, canonicalizefallbacklocal = true }

local apply_items

-- One item. Gives whether the lines that follow are active; nil, err
local function apply(self, item, active, never)
   if item.host then
      return not never and criteria.host(item.host, self.host)
   elseif item.match then
      if never then
         return false
      end
      local known, err = self:known(item)
      local result
      if known then
         result, err = criteria.match(item.match, known)
      end
      if result == nil then
         return nil, err
      end
      return result
   elseif item.include then
      for _, file in ipairs(item.include) do
         local ok, err = apply_items(self, file, active, not active)
         if not ok then
            return nil, err
         end
      end
   elseif item.unknown then
      if not values.is_ignored(self.slots.ignoreunknown, item.unknown) then
         return nil, item_error(item, ("unknown keyword '%s'"):format(errors.escape(item.unknown, 80)))
      end
   elseif active and item.value and not (self.final and settled[item.name]) then
      local ok, complaint = merge[item.row.merge or "first"](self.slots, item)
      if not ok then
         return nil, item_error(item, complaint)
      end
   end
   return active
end

-- The items of a file. `never`: nothing in it counts, as the Include of it does not.
function apply_items(self, file, active, never)
   for _, item in ipairs(file.items) do
      local result, err = apply(self, item, active, never)
      if result == nil then
         return nil, err
      end
      active = result
   end
   return true
end

function Lookup:pass(files)
   for _, file in ipairs(files) do
      local ok, err = apply_items(self, file, true, false)
      if not ok then
         return nil, err
      end
   end
   return true
end

-- --- afterwards

local function is_none(value)
   return type(value) == "string" and value:lower() == "none"
end

-- The path, or the socket of an agent, that a text stands for.
function Lookup:expand(name, row, text, all)
   if name == "forwardagent" and (text == "yes" or text == "no")
      or name == "identityagent" and (is_none(text) or text == "SSH_AUTH_SOCK" or text:find("^%$[%a_]"))
      or name == "identityfile" and is_none(text) or name:find("knownhostsfile$") and is_none(text) then
      return text
   end
   local item = self.slots.from[name]
   if row.path and text:sub(1, 1) == "~" then
      local user, rest = text:match("^~([^/]*)(.*)$")
      local home = core.file.home(user ~= "" and user or nil)
      if not home then
         return nil, item_error(item, ("%s: nobody is called '%s'"):format(name, errors.escape(user, 64)))
      end
      text = home .. rest
   end
   if not row.expand then
      return text
   end
   local result, complaint = tokens.expand(text, all, row.env)
   if not result then
      return nil, item_error(item, ("%s: %s"):format(name, complaint))
   end
   return result
end

function Lookup:expand_forward(name, roles, all)
   local copy = {}
   for key, value in pairs(roles) do
      copy[key] = value
   end
   for _, key in ipairs{ "listen_path", "path" } do
      local text, complaint = copy[key], nil
      if text then
         copy[key], complaint = tokens.expand(text, all, true)
      end
      if complaint then
         return nil, item_error(self.slots.from[name], ("%s: %s"):format(name, complaint))
      end
   end
   return forward.text(copy)
end

-- As ssh prints it: the last hop from its parts, those before as they are.
local function jump_text(hops)
   local list, last = {}, hops[#hops]
   for i, hop in ipairs(hops) do
      list[i] = hop.text
   end
   if not last.text:find("%", 1, true) then
      local host = last.host:find(":", 1, true) and "[" .. last.host .. "]" or last.host
      list[#hops] = (last.user and last.user .. "@" or "") .. host .. (last.port and ":" .. last.port or "")
   end
   return table.concat(list, ",")
end

-- The public value of a keyword.
function Lookup:value(name, value, all)
   local row = keywords.rows[name]
   if name == "rekeylimit" then
      return ("%d %s"):format(value[1], value[2] or 0)
   elseif name == "proxyjump" then
      return jump_text(value)
   elseif name == "ipqos" then
      return table.concat(value, " ")
   elseif type(value) == "string" then
      return self:expand(name, row, value, all)
   elseif type(value) ~= "table" then
      return value
   end
   local list = {}
   for i, one in ipairs(value) do
      local err
      if type(one) == "table" then
         list[i], err = self:expand_forward(name, one, all)
      else
         list[i], err = self:expand(name, row, one, all)
      end
      if not list[i] then
         return nil, err
      end
   end
   return list
end

function Lookup:result()
   local slots = self.slots
   local options = { ignored = {} }
   if slots.clearallforwardings == "yes" then
      slots.localforward, slots.remoteforward, slots.dynamicforward = nil, nil, nil
   end
   slots.hostkeyalias = slots.hostkeyalias and slots.hostkeyalias:lower()
   local all = self:token_values(self.host)
   for name, value in pairs(slots) do
      local row = keywords.find(name)
      if name ~= "from" and row and not (row.none and is_none(value)) then
         local known = keywords.rows[name] and row.acts
         local text, err = value, nil
         if keywords.rows[name] then
            text, err = self:value(name, value, all)
         end
         if text == nil then
            return nil, err
         end
         if known then
            options[name] = text
         else
            options.ignored[name] = text
            table.insert(options.ignored, name)
         end
      end
   end
   table.sort(options.ignored)
   options.hostname, options.user = self.host, self:user()
   options.port = slots.port or DEFAULT_PORT
   return options, slots.from
end

-- Takes the HostName over, and the full name of the host where one is asked for.
function Lookup:settle()
   local slots = self.slots
   if slots.hostname then
      local host, err = self:current_host()
      if not host then
         return nil, err
      end
      self.host = host
   end
   if not canonical.is_address(self.host) then
      self.host = self.host:lower()
   end
   local name, err = canonical.name(self.host, slots, self.deadline)
   if not name then
      return nil, err
   end
   self.host = name
   return true
end

local lookup = {}

-- Whether any file has a "Match final", also one that is not reached.
local function asks_final(files)
   for _, file in ipairs(files) do
      for _, item in ipairs(file.items) do
         for _, condition in ipairs(item.match or {}) do
            if condition.name == "final" then
               return true
            end
         end
         if item.include and asks_final(item.include) then
            return true
         end
      end
   end
   return false
end

--- What files say for a host. It may wait: for a name server, and for commands of "Match exec".
---@param files table[] of moonssh.config.reader
---@param host string
---@param given { user: string?, port: integer? } what was given beside the files
---@param deadline number|nil
---@return table|nil options
---@return table items that their values are from, by keyword; or the error
function lookup.run(files, host, given, deadline)
   local self = setmetatable({
      host = host,
      original = host,
      local_user = core.file.user() or "",
      slots = { user = given.user, port = given.port, from = {} },
      final = false,
      deadline = deadline,
   }, Lookup)
   local ok, err = self:pass(files)
   if ok then
      ok, err = self:settle()
   end
   if ok and (asks_final(files) or (self.slots.canonicalizehostname or "false") ~= "false") then
      self.slots.hostname, self.final = self.host, true
      ok, err = self:pass(files)
   end
   if not ok then
      return nil, err
   end
   return self:result()
end

return lookup
