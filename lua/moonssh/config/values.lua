-- The values that keywords of ssh_config take: each kind reads a keyword's arguments and gives its value, or nil and
-- what is wrong. Arguments that are taken are removed from the list.

local destinations = require "moonssh.destination"
local errors = require "moonssh.errors"
local forward = require "moonssh.config.forward"
local lists = require "moonssh.lists"
local match = require "moonssh.match"
local names = require "moonssh.config.names"
local tokens = require "moonssh.config.tokens"

local values = {}

local INT_MAX = 0x7fffffff
local MAX_FILES = 32

local function shown(text)
   return errors.escape(text, 80)
end

local function consume(arguments)
   for i = #arguments, 1, -1 do
      arguments[i] = nil
   end
end

local function next_argument(arguments)
   local text = table.remove(arguments, 1)
   if not text or text == "" then
      return nil, "it has no value"
   end
   return text
end

-- --- words and numbers

--- One word.
function values.text(arguments)
   return next_argument(arguments)
end

--- The rest of the line, as it is.
function values.command(arguments, rest)
   consume(arguments)
   return (rest:gsub("^[ \t\r\n=]+", ""))
end

--- Anything: the keyword has no meaning any more.
function values.anything(arguments, rest)
   consume(arguments)
   return rest
end

--- One of several words; `states` gives what each stands for.
function values.state(states)
   return function(arguments)
      local text, complaint = next_argument(arguments)
      if not text then
         return nil, complaint
      end
      local value = states[text:lower()]
      if not value then
         return nil, ("'%s' is not a value that it can have"):format(shown(text))
      end
      return value
   end
end

function values.integer(arguments)
   local text, complaint = next_argument(arguments)
   if not text then
      return nil, complaint
   end
   local number = text:find("^[-+]?%d+$") and tonumber(text)
   if not number or number < 0 or number > INT_MAX then
      return nil, ("'%s' is not a number that it can have"):format(shown(text))
   end
   return math.tointeger(number)
end

function values.port(arguments)
   local text, complaint = next_argument(arguments)
   if not text then
      return nil, complaint
   end
   local port = text:find("^%d+$") and #text <= 5 and tonumber(text)
   if not port or port < 1 or port > 65535 then
      return nil, ("'%s' is not a port"):format(shown(text))
   end
   return math.tointeger(port)
end

local seconds = { [""] = 1, s = 1, m = 60, h = 3600, d = 86400, w = 604800 }

-- Seconds of a time like "90", "10m" or "1h30m"; nil for what is none.
local function seconds_of(text)
   local total, place = 0, 1
   while place <= #text do
      local number, unit, after = text:match("^(%d+)(%a?)()", place)
      local factor = number and #number <= 10 and seconds[unit:lower()]
      if not factor then
         return nil
      end
      total, place = total + tonumber(number) * factor, after
   end
   return text ~= "" and total <= INT_MAX and math.tointeger(total) or nil
end

--- Seconds; "none" says as much as no line at all, which is false.
function values.time(arguments)
   local text, complaint = next_argument(arguments)
   if not text then
      return nil, complaint
   elseif text == "none" then
      return false
   end
   local total = seconds_of(text)
   if not total then
      return nil, ("'%s' is not a time"):format(shown(text))
   end
   return total
end

local units = { [""] = 0, b = 0, k = 1, m = 2, g = 3, t = 4, p = 5, e = 6 }

-- Bytes of "1G" or "1.5K"; nil for what is none.
local function bytes_of(text)
   local number, unit = text:match("^(%d+%.?%d*)(%a?)$")
   local power = number and #number <= 18 and units[unit:lower()]
   if not power then
      return nil
   end
   local value = tonumber(number) * 1024 ^ power
   return value < 2 ^ 63 and math.floor(value) or nil
end

--- { bytes, seconds }: seconds may be nil.
function values.rekey(arguments)
   local text, complaint = next_argument(arguments)
   if not text then
      return nil, complaint
   end
   local bytes = text == "default" and 0 or bytes_of(text)
   if not bytes then
      return nil, ("'%s' is not a number of bytes"):format(shown(text))
   elseif bytes ~= 0 and bytes < 16 then
      return nil, "it is too small"
   elseif not arguments[1] or arguments[1] == "none" then
      table.remove(arguments, 1)
      return { bytes }
   end
   local interval
   interval, complaint = values.time(arguments)
   if interval == nil then
      return nil, complaint
   end
   return { bytes, interval or nil }
end

--- A time, or one of several words.
function values.time_or(states)
   return function(arguments)
      local text, complaint = next_argument(arguments)
      if not text then
         return nil, complaint
      end
      local value = states[text:lower()] or seconds_of(text)
      if value == nil then
         return nil, ("'%s' is not a value that it can have"):format(shown(text))
      end
      return value
   end
end

local confirmable = { yes = "true", ["true"] = "true", no = "false", ["false"] = "false", ask = "ask",
   confirm = "confirm" }

--- AddKeysToAgent: a word, a time, or "confirm" with a time.
function values.agent_keys(arguments)
   local first, complaint = next_argument(arguments)
   if not first then
      return nil, complaint
   end
   local word, second = confirmable[first:lower()], table.remove(arguments, 1)
   local lifetime = second and word == "confirm" and seconds_of(second) or not second and not word and seconds_of(first)
   if second and not lifetime or not word and not lifetime then
      return nil, ("'%s' is not a value that it can have"):format(shown(second or first))
   end
   return lifetime and (word and word .. " " or "") .. lifetime or word
end

-- --- lists

--- Words in a list, "none" alone; `most` of them are kept at most, and `complain` looks at each.
function values.list(most, complain)
   return function(arguments)
      local list = lists.copy(arguments)
      consume(arguments)
      for _, text in ipairs(list) do
         if text == "" then
            return nil, "one of its values is empty"
         elseif text:lower() == "none" and #list > 1 then
            return nil, "'none' is not alone"
         end
         local complaint = complain and complain(text)
         if complaint then
            return nil, complaint
         end
      end
      if most and #list > most then
         return nil, ("it has more than %d values"):format(most)
      end
      return list
   end
end

values.files = values.list(MAX_FILES)

--- Domains, with nothing in them that cannot stand in a name. A dot at the end is not part of one.
function values.domains(arguments)
   local list, complaint = values.list(MAX_FILES, values.domain_complaint)(arguments)
   for i, text in ipairs(list or {}) do
      list[i] = text:gsub("%.$", "")
   end
   return list, complaint
end

function values.domain_complaint(text)
   local first = text:byte()
   if not (first == 95 or text:find("^[%w]")) then
      return ("the domain '%s' begins with a character that none begins with"):format(shown(text))
   elseif text:find("[^%w._-]") or text:find("..", 1, true) then
      return ("'%s' is not a domain"):format(shown(text))
   end
end

--- CanonicalizePermittedCNAMEs: pairs of pattern lists.
function values.cname_complaint(text)
   if text:lower() ~= "none" and text ~= "*" and not text:find("^[^:]*:.+$") then
      return ("'%s' is not a pair of patterns"):format(shown(text))
   end
end

--- Names of variables, those to be taken away with a dash before them.
function values.env_names(arguments)
   local list = lists.copy(arguments)
   consume(arguments)
   for _, text in ipairs(list) do
      if text == "" or text:find("=", 1, true) then
         return nil, ("'%s' is not the name of a variable"):format(shown(text))
      end
   end
   return list
end

--- Variables with their values.
function values.env(arguments)
   local list, seen = {}, {}
   for _, text in ipairs(arguments) do
      local name = text:match("^([^=]*)=")
      if not name then
         return nil, ("'%s' has no equals sign"):format(shown(text))
      elseif not seen[name] then
         seen[name] = true
         list[#list + 1] = text
      end
   end
   consume(arguments)
   return list
end

--- "any", "none", or a list of hosts with ports.
function values.permitted(arguments)
   local list = lists.copy(arguments)
   if list[1] == "any" or list[1] == "none" then
      table.remove(arguments, 1)
      return { list[1] }
   end
   for _, text in ipairs(list) do
      if not text:find("^.+:%d+$") and not text:find("^.+:%*$") then
         return nil, ("'%s' is not a host with a port"):format(shown(text))
      end
   end
   consume(arguments)
   return list
end

-- --- others

--- A list of algorithms in any of its forms.
function values.algorithms(kind)
   return function(arguments)
      local text, complaint = next_argument(arguments)
      if text then
         complaint = names.complaint(kind, text)
      end
      if complaint then
         return nil, shown(complaint)
      end
      return text
   end
end

--- The path of an agent's socket, or the name of a variable that has it.
function values.agent(arguments)
   local text, complaint = next_argument(arguments)
   if not text then
      return nil, complaint
   end
   local _
   _, complaint = tokens.expand((text:gsub("%%", "%%%%")), {}, true)
   if complaint then
      return nil, complaint
   elseif text:find("^%$[^{]") and not text:find("^%$[%a_][%w_]*$") or text == "$" then
      return nil, ("'%s' is not the name of a variable"):format(shown(text))
   end
   return text
end

local flags = { yes = "yes", ["true"] = "yes", no = "no", ["false"] = "no" }

values.flag = values.state(flags)

--- ForwardAgent: a flag, or where the agent is.
function values.agent_or_flag(arguments)
   local flag = arguments[1] and flags[arguments[1]:lower()]
   if flag then
      table.remove(arguments, 1)
      return flag
   end
   return values.agent(arguments)
end

--- LocalForward and its kin.
function values.forward(dynamic, remote)
   return function(arguments)
      local first, complaint = next_argument(arguments)
      if not first then
         return nil, complaint
      end
      local second = not dynamic and table.remove(arguments, 1)
      if not dynamic and not remote and (not second or second == "") then
         return nil, "it has no destination"
      end
      local socks = dynamic or not second or second == ""
      local text = socks and first or first .. ":" .. second
      local roles = forward.parse(text, socks, remote)
      if not roles then
         return nil, ("'%s' is not a forwarding"):format(shown(text))
      end
      return roles
   end
end

--- The hops of ProxyJump, the first one first: { user =, host =, port = } each; "none" for none.
function values.jump(arguments, rest)
   consume(arguments)
   local text = rest:gsub("^[ \t\r\n=]+", ""):match("^[^#]*"):match("^.*[^ \t]") or ""
   if text:lower() == "none" then
      return "none"
   end
   local hops = {}
   for one in (text .. ","):gmatch("([^,]*),") do
      -- Tokens may stand in it: what takes their place is looked at then.
      local hop, complaint = destinations.parse((one:gsub("%%[hnpr]", "1"):gsub("%%%%", "%%")))
      if not hop then
         return nil, ("'%s' is not a destination: %s"):format(shown(one), complaint)
      end
      hop.text = one
      hops[#hops + 1] = hop
   end
   return hops
end

--- EscapeChar: a character, "^X", or "none".
function values.escape_char(arguments)
   local text, complaint = next_argument(arguments)
   if not text then
      return nil, complaint
   elseif text == "none" or #text == 1 or text:find("^%^[@-\127]$") then
      return text
   end
   return nil, ("'%s' is not a character"):format(shown(text))
end

--- An octal mask.
function values.mask(arguments)
   local text, complaint = next_argument(arguments)
   if not text then
      return nil, complaint
   end
   local mask = text:find("^[0-7]+$") and tonumber(text, 8)
   if not mask or mask > 511 then
      return nil, ("'%s' is not a mask"):format(shown(text))
   end
   return ("0%o"):format(mask)
end

--- Devices of a tunnel: numbers or "any".
function values.devices(arguments)
   local text, complaint = next_argument(arguments)
   if not text then
      return nil, complaint
   end
   local here, there = text:match("^([^:]*):(.*)$")
   here, there = here or text, there or "any"
   for _, one in ipairs{ here, there } do
      if one ~= "any" and not one:find("^%d%d?%d?%d?%d?%d?%d?%d?%d?%d?$") then
         return nil, ("'%s' is not a device"):format(shown(text))
      end
   end
   return here .. ":" .. there
end

-- Names of traffic classes, and of those with a number.
local classes = {}
for name in ("af11 af12 af13 af21 af22 af23 af31 af32 af33 af41 af42 af43 cs0 cs1 cs2 cs3 cs4 cs5 cs6 cs7 ef le "
   .. "lowdelay throughput reliability none"):gmatch("%S+") do
   classes[name] = true
end

--- One or two traffic classes.
function values.traffic(arguments)
   local list = {}
   for i = 1, math.min(2, #arguments) do
      local text = table.remove(arguments, 1)
      local number = tonumber(text)
      if not classes[text:lower()] and not (math.type(number) == "integer" and number >= 0 and number <= 255) then
         return nil, ("'%s' is not a class of traffic"):format(shown(text))
      end
      list[i] = text
   end
   if not list[1] then
      return nil, "it has no value"
   end
   list[2] = list[2] or list[1]
   return list
end

-- What was asked last: keywords that are not known come again and again.
local asked = {}

--- Whether a keyword is among those that IgnoreUnknown names.
function values.is_ignored(patterns, keyword)
   if patterns == nil then
      return false
   elseif asked.patterns ~= patterns then
      asked = { patterns = patterns, answers = {} }
   end
   local answer = asked.answers[keyword]
   if answer == nil then
      answer = match.list(patterns, keyword) == "positive"
      asked.answers[keyword] = answer
   end
   return answer
end

return values
