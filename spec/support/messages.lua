-- The messages of SSH as Lua sees them: `messages.channel_data(0, "text")` builds a payload, `messages.parse(payload)`
-- gives { number =, kind = "channel_data", channel = 0, data = "text" }. For specs that play the other side, well-
-- behaved or not: the fields are taken as they are given.

local messages = {}

-- number, kind, fields: name:type with s string, b boolean, 1 byte, 4 uint32, r the rest as it is.
local forms = {
   { 1, "disconnect", "reason:4 text:s language:s" },
   { 2, "ignore", "data:s" },
   { 3, "unimplemented", "sequence:4" },
   { 4, "debug", "display:b text:s language:s" },
   { 5, "service_request", "name:s" },
   { 6, "service_accept", "name:s" },
   { 7, "ext_info", "n:4 rest:r" },
   { 50, "userauth_request", "user:s service:s method:s rest:r" },
   { 51, "userauth_failure", "methods:s partial:b" },
   { 52, "userauth_success", "" },
   { 53, "userauth_banner", "text:s language:s" },
   { 60, "pk_ok", "algorithm:s blob:s" },
   { 60, "password_change", "text:s language:s" },
   { 60, "info_request", "name:s instruction:s language:s n:4 rest:r" },
   { 61, "info_response", "n:4 rest:r" },
   { 80, "global_request", "name:s want:b data:r" },
   { 81, "request_success", "data:r" },
   { 82, "request_failure", "" },
   { 90, "channel_open", "type:s sender:4 window:4 packet:4 data:r" },
   { 91, "open_confirmation", "channel:4 sender:4 window:4 packet:4 data:r" },
   { 92, "open_failure", "channel:4 reason:4 text:s language:s" },
   { 93, "window_adjust", "channel:4 bytes:4" },
   { 94, "channel_data", "channel:4 data:s" },
   { 95, "extended_data", "channel:4 code:4 data:s" },
   { 96, "channel_eof", "channel:4" },
   { 97, "channel_close", "channel:4" },
   { 98, "channel_request", "channel:4 name:s want:b data:r" },
   { 99, "channel_success", "channel:4" },
   { 100, "channel_failure", "channel:4" },
}

local packers = {
   s = function(value) return string.pack(">s4", value or "") end,
   b = function(value) return value and "\1" or "\0" end,
   ["1"] = string.char,
   ["4"] = function(value) return string.pack(">I4", value or 0) end,
   r = function(value) return value or "" end,
}

local unpackers = {
   s = function(payload, at) return string.unpack(">s4", payload, at) end,
   b = function(payload, at) return payload:byte(at) ~= 0, at + 1 end,
   ["1"] = function(payload, at) return payload:byte(at), at + 1 end,
   ["4"] = function(payload, at) return string.unpack(">I4", payload, at) end,
   r = function(payload, at) return payload:sub(at), #payload + 1 end,
}

local by_number = {}

for _, form in ipairs(forms) do
   local number, kind = form[1], form[2]
   local fields = {}
   for name, type in form[3]:gmatch("(%l+):(%w)") do
      table.insert(fields, { name = name, type = type })
   end
   by_number[number] = by_number[number] or { kind = kind, fields = fields }
   messages[kind] = function(...)
      local parts = { string.char(number) }
      for i, field in ipairs(fields) do
         parts[i + 1] = packers[field.type]((select(i, ...)))
      end
      return table.concat(parts)
   end
end

-- The fields of a payload; raises where it is too short. Of message 60 and numbers without a form: number and rest.
function messages.parse(payload)
   local number = payload:byte(1)
   local form = by_number[number]
   local message = { number = number, payload = payload }
   if not form or number == 60 then
      message.rest = payload:sub(2)
      return message
   end
   local at = 2
   message.kind = form.kind
   for _, field in ipairs(form.fields) do
      message[field.name], at = unpackers[field.type](payload, at)
   end
   if at ~= #payload + 1 then
      error(form.kind .. " has bytes left over")
   end
   return message
end

-- The kinds of a list of payloads, for a look at what was sent.
function messages.kinds(payloads)
   local kinds = {}
   for i, payload in ipairs(payloads) do
      kinds[i] = messages.parse(payload).kind or payload:byte(1)
   end
   return kinds
end

function messages.exit_status(channel, status)
   return messages.channel_request(channel, "exit-status", false, string.pack(">I4", status))
end

function messages.exit_signal(channel, name, core, text, language)
   return messages.channel_request(channel, "exit-signal", false,
      string.pack(">s4Bs4s4", name, core and 1 or 0, text or "", language or ""))
end

-- An INFO_REQUEST with a list of { text =, echo = }.
function messages.prompts(name, instruction, list)
   local fields = {}
   for i, prompt in ipairs(list) do
      fields[i] = string.pack(">s4B", prompt.text, prompt.echo and 1 or 0)
   end
   return messages.info_request(name, instruction, "", #list, table.concat(fields))
end

return messages
