-- Runs a client against a hand-made server in memory, and judges the outcome: what every hostile spec has in common.
--
--    local run = oracle.run{ peer = { steps = … }, client = { auth = "password" } }
--    oracle.rejected(run, "protocol", 2)       it ended as it must with a hostile server
--    oracle.finished(run)                      all went well: authenticated, command run, no failure
--
-- Cases are tables: peer (options of spec.support.peer, or one), client (options of spec.support.core_client, or one),
-- and how the bytes travel:
--    chunk    bytes the client gets at a time: a number, or function(available) → number
--    taken    bytes of the client's output that are taken at a time: the same; may be 0 at times
--    cut      the server's stream ends after so many bytes
--    at_rest  function(run): called when neither side has more to say, may make one of them speak; false: it is over
--    limit    turns after which the run is given up as endless
--
-- A rejected client has, whatever the case: a typed failure that stays, told once as an event, the last one; the same
-- answer to whatever is called afterwards; a DISCONNECT with the right code; asked for no more memory than allowed, and
-- given all of it back when closed; sent no authentication before keys were in use and the host key was accepted; and
-- put nothing into its words that could harm a terminal.

local CoreClient = require "spec.support.core_client"
local Peer = require "spec.support.peer"

local oracle = {}

local MEMORY_BEFORE_LOGIN = 4 << 20
local WINDOW = 2 << 20

local function amount(rule, available)
   if type(rule) == "function" then
      rule = rule(available)
   end
   return math.min(rule or available, available)
end

local Run = {}
Run.__index = Run

-- Lets the client say what it has to say, and the peer hear it. Whether anything moved.
function Run:client_speaks()
   local session, moved, idle = self.client.session, false, 0
   repeat
      local events = self.client:step()
      local bytes = session:output(1 << 20)
      local taken = bytes and amount(self.taken, #bytes) or 0
      if taken > 0 then
         session:output_done(taken)
         self.heard = self.heard .. bytes:sub(1, taken)
      end
      idle = (events > 0 or taken > 0) and 0 or idle + 1
      moved = moved or events > 0 or taken > 0
      assert(idle < 100000, "the transport takes nothing")
   until idle > 0 and not bytes
   if self.heard ~= "" then
      local heard = self.heard
      self.heard = ""
      self.client_bytes = self.client_bytes + #heard
      self.peer:feed(heard)
   end
   return moved
end

-- Gives the client what the peer has said. Whether anything moved.
function Run:peer_speaks()
   local session, moved = self.client.session, false
   self.wire = self.wire .. self.peer:take()
   while self.wire ~= "" and not self.ended do
      local room = session:input_room()
      local left = self.cut and self.cut - self.peer_bytes or math.huge
      local n = math.min(room, left, amount(self.chunk, #self.wire))
      if n <= 0 then
         break
      end
      session:input(self.wire:sub(1, n))
      self.wire = self.wire:sub(n + 1)
      self.peer_bytes = self.peer_bytes + n
      moved = true
      self.client:step()
      if self.each then
         self.each(self)
      end
   end
   if self.cut and self.peer_bytes >= self.cut and not self.ended then
      self.ended = true
      session:input_eof()
      self.client:step()
      moved = true
   end
   return moved
end

-- Pumps until neither side has more to say.
function Run:go()
   local turns = 0
   repeat
      local spoke = self:client_speaks()
      local answered = self:peer_speaks()
      if spoke and answered then
         self.exchanges = self.exchanges + 1
      end
      turns = turns + 1
      assert(turns < self.limit, "client and peer do not come to rest")
      local moved = spoke or answered
      if not moved and self.at_rest then
         moved = self.at_rest(self)
      end
   until not moved
   return self
end

function oracle.prepare(case)
   local run = setmetatable({
      peer = getmetatable(case.peer or {}) == Peer and case.peer or Peer.new(case.peer),
      client = getmetatable(case.client or {}) == CoreClient and case.client or CoreClient.new(case.client),
      chunk = case.chunk, taken = case.taken, cut = case.cut, at_rest = case.at_rest, each = case.each,
      limit = case.limit or 2000,
      wire = "", heard = "", peer_bytes = 0, client_bytes = 0, exchanges = 0,
   }, Run)
   assert(run.client.session:start())
   run.peer:start()
   return run
end

function oracle.run(case)
   return oracle.prepare(case):go()
end

-- --- verdicts ---

local function expect(condition, format, ...)
   if not condition then
      error(format:format(...), 3)
   end
end

local function shown(value)
   return type(value) == "string" and ("%q"):format(value) or tostring(value)
end

-- No authentication before both sides' keys are in use and the host key was accepted.
function oracle.kept_secrets(run)
   for _, item in ipairs(run.peer.received) do
      if item.number == 50 or item.number == 61 then
         expect(item.secured, "the client authenticates before keys are in use")
         expect(run.client.accepted, "the client authenticates before the host key is accepted")
      end
   end
end

function oracle.safe_text(text)
   expect(type(text) == "string" and text ~= "", "the failure has no words")
   expect(not text:find("[^\32-\126]"), "the failure's words are not escaped: %q", text)
   expect(#text <= 512, "the failure's words are too long: %d", #text)
end

local function within_memory(run)
   local _, peak = run.client.session:memory()
   local allowed = MEMORY_BEFORE_LOGIN + (run.client:count("auth_success") > 0 and WINDOW or 0)
   expect(peak - run.client.baseline <= (run.memory or allowed), "the client took %d bytes of memory",
      peak - run.client.baseline)
end

-- Later calls give the failure's code, and no event comes any more, whatever is fed.
local function stays_failed(run, code)
   local session = run.client.session
   expect(session:next() == nil, "an event comes after the failure")
   expect(session:input_room() == 0, "the client still reads after the failure")
   for call, result in pairs{
      rekey = table.pack(session:rekey()),
      auth_none = table.pack(session:auth_none("x")),
      open = table.pack(session:open("session", "")),
      global_request = table.pack(session:global_request("x", false, "")),
      ignore = table.pack(session:ignore("x")),
   } do
      expect(result[1] == nil and result[2] == code, "%s after the failure %s gives %s, %s", call, code,
         shown(result[1]), shown(result[2]))
   end
   expect(session:failure() == code, "the failure has changed to %s", shown(session:failure()))
   expect(session:output(1 << 20) == nil, "the client writes after its failure")
end

function oracle.close(run)
   run.client.session:close()
end

-- The client has ended with this failure, and told the peer this reason (nil: it said no DISCONNECT). Gives the words.
function oracle.rejected(run, code, reason, words)
   local session = run.client.session
   local found, message = session:failure()
   expect(found ~= nil, "the client has not failed")
   expect(found == code, "the client failed with %s (%s) and not with %s", found, message, code)
   expect(words == nil or message:find(words), "the client's words are %q, not %s", message, shown(words))
   local last = run.client.events[#run.client.events]
   expect(last and last[1] == "failed", "the last event is %s", shown(last and last[1]))
   expect(run.client:count("failed") == 1, "the failure was told more than once")
   local told = run.peer.disconnect and run.peer.disconnect.reason
   expect(told == reason, "the client's DISCONNECT has code %s and not %s (%s)", shown(told), shown(reason), message)
   if run.peer.disconnect and run.peer.disconnect.text ~= "" then
      oracle.safe_text(run.peer.disconnect.text)
   end
   oracle.safe_text(message)
   oracle.kept_secrets(run)
   within_memory(run)
   stays_failed(run, code)
   oracle.close(run)
   return message
end

-- The client is alive and well.
function oracle.alive(run)
   local code, message = run.client.session:failure()
   expect(code == nil, "the client failed with %s: %s", shown(code), shown(message))
   oracle.kept_secrets(run)
   within_memory(run)
   return run
end

-- The command has run to its end.
function oracle.finished(run)
   oracle.alive(run)
   expect(run.client:count("auth_success") == 1, "the client did not get in")
   expect(run.client.stdout == run.peer.output, "stdout is %s", shown(run.client.stdout))
   expect(run.client.stderr == run.peer.errors, "stderr is %s", shown(run.client.stderr))
   expect(run.client.status == run.peer.status, "the status is %s", shown(run.client.status))
   expect(run.client.closed, "the channel is not closed")
   oracle.close(run)
   return run
end

--- A run in which the server sends something at a moment of a command's life; `what` gets the peer and the id of the
-- client's channel.
function oracle.at(moment, what, options)
   options = options or {}
   return oracle.run{ client = options.client, limit = options.limit, peer = {
      rekey_first = options.rekey_first, steps = options.steps,
      inject = { [moment] = function(peer)
         if type(what) == "function" then
            return what(peer, peer.channels[1] and peer.channels[1].remote)
         end
         return what
      end },
   } }
end

return oracle
