-- Reading a channel until a pattern matches.

local args = require "moonssh.args"
local errors = require "moonssh.errors"

local expect = {}

-- Where no match has come within so many bytes, none will.
local DEFAULT_MAX = 1024 * 1024

local option_types = { timeout = "number", plain = "boolean", max = "integer" }

local function check_patterns(patterns, plain)
   local list = type(patterns) == "table" and patterns or { patterns }
   if type(patterns) ~= "table" then
      args.check("expect", 1, patterns, { "string", "table" })
   end
   for i, pattern in ipairs(list) do
      if type(pattern) ~= "string" then
         args.bad("expect", 1, ("pattern %d: string expected, got %s"):format(i, type(pattern)))
      end
      local ok, message = pcall(string.find, "", pattern, 1, plain)
      if not ok then
         args.bad("expect", 1, ("pattern %d: %s"):format(i, message))
      end
   end
   if #list == 0 then
      args.bad("expect", 1, "no pattern")
   end
   return list
end

--- The match in a text that begins first; of several at one place, that of the first pattern. → what string.find
--- gives in a table, with `index`; or nil. Plain strings are looked for in what is new since `searched` bytes only.
function expect.search(text, list, plain, searched)
   local best
   for index, pattern in ipairs(list) do
      local from = plain and math.max(1, searched - #pattern + 2) or 1
      local found = table.pack(string.find(text, pattern, from, plain))
      if found[1] and (not best or found[1] < best[1]) then
         found.index = index
         best = found
      end
   end
   return best
end

-- Takes in what has come and looks for a match: true when there is one, or there can be none.
local function look(reader, state)
   local kept = reader:kept()
   local room = state.max - reader.size
   if kept > 0 and room > 0 then
      reader:pull(math.min(kept, room))
   end
   if reader.size > state.searched or not state.looked then
      -- Some mistakes in a pattern show only when it is matched, and nothing may be thrown from here.
      local ok, found = pcall(expect.search, reader:joined(), state.list, state.plain, state.searched)
      if not ok then
         state.mistake = found
         return true
      end
      state.found = found
      state.searched, state.looked = reader.size, true
   end
   local channel = reader._channel
   return state.found ~= nil or reader.size >= state.max or channel._eof or channel:_stuck(reader._stream) ~= nil
end

local function failure(channel, reader, state)
   local fields = { result = reader:joined() }
   if reader.size >= state.max then
      return errors.new("limit", ("no match within %d bytes"):format(state.max), fields)
   elseif channel._eof then
      return errors.new("eof", "end of file before a match", fields)
   end
   return errors.with(channel:_stuck_error(reader._stream), fields)
end

--- Reads the channel's stdout until one of the patterns matches. → its index, the text up to and with the match, the
--- captures. What follows the match stays to be read; without a match everything stays, and err.result shows it.
function expect.run(channel, patterns, options)
   options = args.options("expect", 2, options, option_types)
   local state = {
      list = check_patterns(patterns, options.plain),
      plain = options.plain,
      max = options.max or DEFAULT_MAX,
      searched = 0,
   }
   if state.max < 1 then
      args.bad("expect", 2, "option 'max': not positive")
   end
   local reader = channel.stdout
   local err = reader:_hindrance()
   if err then
      return nil, err
   end
   local ok
   ok, err = reader:wait_until(look, state, channel._session:_deadline(options))
   if not ok then
      return nil, err.code == "timeout" and errors.with(err, { result = reader:joined() }) or err
   end
   if state.mistake then
      args.bad("expect", 1, state.mistake)
   end
   local found = state.found
   if not found then
      return nil, failure(channel, reader, state)
   end
   return found.index, reader:cut(found[2]), table.unpack(found, 3, found.n)
end

return expect
