-- A client and a server transport in memory, joined back to back.
--
--    local pair = Pair.new({ cipher = "aes128-ctr" }, { role-specific options of the server })
--    pair:open()                       both start, keys are exchanged, the host key accepted
--    pair.client:send("\94…") pair:run()
--    pair.events.server                what came out on a side: list of { kind =, data =, … }

local testing = require "moonssh_testing"

local Pair = {}
Pair.__index = Pair

local other = { client = "server", server = "client" }

local keys = {}

-- A host key, made once a process: Pair.key("ed25519"), Pair.key("ecdsa", 384), Pair.key("rsa", 2048).
function Pair.key(type, bits)
   local name = type .. (bits or "")
   if type == "dsa" and not keys.dsa then
      -- ssh-keygen makes these, the library does not.
      local file <close> = assert(io.open(require "spec.support.keys".path("dsa", "pair"), "rb"))
      keys.dsa = assert(testing.keys.parse_file(file:read("a")))
   end
   keys[name] = keys[name] or assert(testing.keys.generate(type, bits))
   return keys[name]
end

local function with(options, role, more)
   local all = { role = role }
   for name, value in pairs(options or {}) do
      all[name] = value
   end
   for name, value in pairs(more or {}) do
      all[name] = value
   end
   return all
end

-- Options are those of testing.transport.new. `more` has those that only the server gets, `heap` is the client's own.
function Pair.new(options, more, heap)
   local self = setmetatable({}, Pair)
   more = with(more, "server")
   more.host_keys = more.host_keys or { Pair.key("ed25519") }
   self.client = assert(testing.transport.new(with(options, "client", { heap = heap or options and options.heap })))
   self.server = assert(testing.transport.new(with(options, "server", more)))
   self.events = { client = {}, server = {} }
   self.wire = { client = {}, server = {} } -- all that a side has sent, if kept
   self.left = { client = "", server = "" } -- of what a side has sent, not yet taken by the other
   self.answer = true                       -- to the question of the host key
   return self
end

-- How many bytes are moved at once: a number, or a function that gives one.
function Pair:chunk(size)
   self.size = size
   return self
end

-- Takes all events of one side; true when there was one.
function Pair:take(side)
   local transport, any = self[side], false
   while true do
      local kind, event = transport:next()
      if kind == "none" or kind == "failed" and self["failed_" .. side] then
         return any
      end
      any = true
      event.kind = kind
      table.insert(self.events[side], event)
      if kind == "failed" then
         assert(event.data == "" and event.language == "", "nothing is left in the event of a failure")
         self["failed_" .. side] = true
      elseif kind == "host_key" and self.answer ~= nil then
         transport:answer_host_key(self.answer)
      elseif kind == "mac_error" and self.answer_mac ~= nil then
         transport:answer_mac(self.answer_mac)
      end
      if self.on_event then
         self.on_event(side, event)
      end
   end
end

-- Moves what one side has to send, once; true when there was something.
function Pair:move(side)
   local to = self[other[side]]
   local room = to:input_room()
   if room == 0 then
      return false
   end
   local bytes = self.left[side]
   if bytes == "" then
      local size = type(self.size) == "function" and self.size() or self.size
      bytes = self[side]:output(math.min(size or room, room))
      if bytes == "" then
         return false
      end
      if self.change then
         bytes = self.change(side, bytes) or bytes
      end
      if self.keep then
         table.insert(self.wire[side], bytes)
      end
   end
   -- What was changed may have grown beyond the room.
   self.left[side] = bytes:sub(to:feed(bytes) + 1)
   return true
end

-- Lets both run until neither has anything to say.
function Pair:run()
   local busy = true
   while busy do
      busy = false
      for _, side in ipairs{ "client", "server" } do
         local moved = self:move(side)
         local took = self:take(other[side])
         busy = busy or moved or took
      end
   end
   return self
end

function Pair:start()
   assert(self.client:start())
   assert(self.server:start())
   return self
end

-- Exchanges keys; with `authenticated` both sides are told that the user is.
function Pair:open(authenticated)
   self:start():run()
   for _, side in ipairs{ "client", "server" } do
      local failure = self[side]:failure()
      if failure then
         error(side .. ": " .. failure.code .. ": " .. failure.message, 2)
      end
   end
   if authenticated then
      assert(self.client:set_authenticated())
      assert(self.server:set_authenticated())
   end
   return self
end

-- The kinds of the events of a side, joined by spaces.
function Pair:kinds(side)
   local kinds = {}
   for i, event in ipairs(self.events[side]) do
      kinds[i] = event.kind
   end
   return table.concat(kinds, " ")
end

-- The payloads that came out on a side.
function Pair:payloads(side)
   local list = {}
   for _, event in ipairs(self.events[side]) do
      if event.kind == "payload" then
         table.insert(list, event.data)
      end
   end
   return list
end

-- Forgets the events so far.
function Pair:forget()
   self.events = { client = {}, server = {} }
   return self
end

function Pair:close()
   self.client:close()
   self.server:close()
end

return Pair
