-- How the values of several lines with the same keyword come together. Each gets what is there of a keyword and the
-- value of a further line; nil and a complaint where it cannot be taken.

local forward = require "moonssh.config.forward"
local match = require "moonssh.match"

local merge = {}

local MAX_FILES = 100
local MAX_VARIABLES = 1000

function merge.first(slots, item)
   local value = slots[item.name]
   if value == nil or type(value) == "table" and value[1] == nil then
      slots[item.name] = item.value
      slots.from[item.name] = item
   end
   return true
end

local function text_of(value)
   return type(value) == "table" and forward.text(value) or value
end

function merge.append(slots, item)
   local list = slots[item.name] or {}
   for _, one in ipairs(list) do
      if text_of(one) == text_of(item.value) then
         return true
      end
   end
   if #list >= MAX_FILES then
      return nil, ("%s: there are more than %d of it"):format(item.name, MAX_FILES)
   end
   list[#list + 1] = item.value
   slots[item.name], slots.from[item.name] = list, slots.from[item.name] or item
   return true
end

-- Names of variables; a dash takes away those that came before.
function merge.env_names(slots, item)
   local list = slots[item.name] or {}
   for _, name in ipairs(item.value) do
      if name:sub(1, 1) ~= "-" then
         list[#list + 1] = name
      else
         list.taken = (list.taken or 0) + 1
         for i = #list, 1, -1 do
            if match.pattern(name:sub(2), list[i]) then
               table.remove(list, i)
            end
         end
      end
      if #list > MAX_VARIABLES or (list.taken or 0) > MAX_VARIABLES then
         return nil, ("%s: there are more than %d of it"):format(item.name, MAX_VARIABLES)
      end
   end
   slots[item.name] = list
   return true
end

-- Bytes and seconds count each for itself.
function merge.rekey(slots, item)
   local both = slots[item.name] or {}
   slots[item.name] = { both[1] or item.value[1], both[2] or item.value[2] }
   return true
end

-- Of ProxyJump and ProxyCommand the first one counts. "ProxyJump none" only keeps a later ProxyJump out.
function merge.proxy(slots, item)
   local name, jump, command = item.name, slots.proxyjump, slots.proxycommand
   local free = name == "proxyjump" and jump == nil and (command == nil or item.value == "none")
      or name == "proxycommand" and command == nil and (jump == nil or jump == "none")
   if free then
      slots[name], slots.from[name] = item.value, item
   end
   return true
end

return merge
