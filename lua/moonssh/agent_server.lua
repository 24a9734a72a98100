-- An agent for the other side of a channel: requests are answered by the handlers authagent_identities and
-- authagent_sign, or relayed to the local agent where neither is set.
--
-- One task serves a channel: it takes requests in and writes the answers in their order. Handlers run as tasks of
-- their own, so the requests of one channel may be worked on at the same time. What is not taken in yet stays in the
-- channel's window.

local agents = require "moonssh.agent"
local args = require "moonssh.args"
local callbacks = require "moonssh.callbacks"
local errors = require "moonssh.errors"
local keys = require "moonssh.key"
local lists = require "moonssh.lists"
local loop = require "moonssh.loop"
local protocol = require "moonssh.agent_protocol"
local pump = require "moonssh.pump"

-- Requests of a channel that are worked on at a time, and what those of a session may weigh together: their bytes, and
-- something for each. A channel that has none under way may always have one.
local MAX_UNDER_WAY = 16
local REQUEST_WEIGHT = 4096
local MAX_WEIGHT = 1024 * 1024

-- Session binds kept for a channel and for a session, and attempts of a channel to have one verified.
local MAX_BINDS, MAX_SESSION_BINDS, MAX_ATTEMPTS = 16, 64, 64

-- What has come of a frame is taken in by so much at least.
local PIECE = 4096

local agent_server = {}

-- Requests -----------------------------------------------------------------------------------------------------------

-- What the peer wants to know. Closing it answers FAILURE, unless it was answered before.
local Request = {}
Request.__index = Request

function Request:answer(payload)
   if not self.answered then
      self.answered = payload
      local session = self.server.session
      if not session.closed then
         pump.touch(session, self.server.channel)
      end
   end
end

function Request:refuse()
   self:answer(protocol.FAILURE)
end

Request.__close = Request.refuse

local calls = {}

function calls.identities(f, request, session)
   return protocol.identities, f(session, request.server.path, session.abstract)
end

function calls.sign(f, request, session)
   return protocol.signature,
      f(session, request.blob, request.data, request.flags, request.server.path, session.abstract)
end

--- Has a handler answer it, in the task that was made for that.
function Request:call(f, session)
   local _ <close> = self
   loop.current().running().agent_binds = self.binds
   local encode, result = calls[self.type](f, self, session)
   if result == nil then
      return
   end
   local answer, complaint = encode(result)
   if not answer then
      error("bad result: " .. complaint, 0)
   end
   self:answer(answer)
end

-- Session binds ------------------------------------------------------------------------------------------------------

-- Whether the binds of a channel let another one follow: nothing comes behind one that is for a login, and no session
-- has two host keys. The second value is true if it is one of them already.
local function may_bind(binds, request, host_key)
   for _, bind in ipairs(binds) do
      if not bind.forwarding then
         return false
      elseif bind.session_id == request.session_id then
         return bind.host_key == host_key, true
      end
   end
   return #binds < MAX_BINDS
end

-- Keeps what the peer says of the sessions that the channel leads to, if their host keys have signed it.
local function bind(self, request)
   self.attempts = self.attempts + 1
   local host_key = self.attempts <= MAX_ATTEMPTS and keys.from_blob(request.host_key)
   if not host_key or not host_key:verify(request.session_id, request.signature) then
      return protocol.FAILURE
   end
   local allowed, known = may_bind(self.binds, request, host_key)
   if not allowed then
      return protocol.FAILURE
   elseif not known then
      local all = self.session._agent_binds
      local entry = { host_key = host_key, session_id = request.session_id, forwarding = request.forwarding }
      -- A list of its own for what comes after it: a request that came before is not bound by it.
      self.binds = lists.copy(self.binds)
      table.insert(self.binds, entry)
      table.insert(all, entry)
      if #all > MAX_SESSION_BINDS then
         table.remove(all, 1)
      end
   end
   return protocol.SUCCESS
end

--- What the session's agent connections were bound to: within a handler that of the connection that asks, the first
--- hop first; else the latest of all.
---@return { host_key: moonssh.key, session_id: string, forwarding: boolean }[]
function agent_server.binds(session)
   local fiber = loop.current().running()
   local binds = fiber and fiber.agent_binds or session._agent_binds
   return lists.copy(binds)
end

-- Relaying -----------------------------------------------------------------------------------------------------------

-- A connection to the local agent, which is told that it is forwarded, and where: it then shows no key that is not for
-- that way. One that ends the connection over it gets another, without.
local function open_local(self)
   local agent, err = agents.open(self.path)
   if agent and agent:_bind(self.channel._session, true) == nil then
      agent:close()
      agent, err = agents.open(self.path)
   end
   return agent, err
end

-- Asks the local agent for what was queued, one after the other. An agent that fails is not asked again: a new
-- connection would lack what this one was told.
local function relay(self)
   while self.relayed[1] do
      local request <close> = table.remove(self.relayed, 1)
      local err
      if not self.agent and not self.broken then
         self.agent, err = open_local(self)
      end
      local answer
      if self.agent and not self.broken then
         answer, err = self.agent:_relay(request.payload)
      end
      if answer then
         request:answer(answer)
      end
      self.broken = self.broken or err
   end
   self.relaying = nil
end

local function start_relay(self, request)
   table.insert(self.relayed, request)
   if not self.relaying then
      self.relaying = self.channel._session._loop.spawn_background(relay, loop.report_failed, self)
   end
end

-- Serving ------------------------------------------------------------------------------------------------------------

local Server = {}
Server.__index = Server

local handlers = { identities = "authagent_identities", sign = "authagent_sign" }

-- Starts what leads to the answer of a request.
local function accept(self, payload)
   local session = self.session
   local set = session._callbacks
   local request = setmetatable(protocol.request(payload) or {}, Request)
   request.server, request.binds = self, self.binds
   self.last = self.last + 1
   self[self.last] = request
   request.weight = #payload + REQUEST_WEIGHT
   session._agent_weight = session._agent_weight + request.weight
   local cbtype = handlers[request.type]
   if not set.authagent_identities and not set.authagent_sign and self.path then
      request.payload = payload
      start_relay(self, request)
   elseif request.type == "bind" then
      request:answer(bind(self, request))
   elseif cbtype and set[cbtype] then
      callbacks.queue(session, cbtype, request)
      pump.kick(session)
   else
      request:refuse()
   end
end

-- Whether the next frame is there. What has come of one is taken out of the window, which may be smaller than a frame,
-- but not byte by byte.
local function has_frame(self)
   local reader = self.reader
   local wanted = self.length or 4
   if reader.size < wanted and (reader:available() >= wanted or reader:kept() >= PIECE or self.channel:_stuck()) then
      reader:pull(math.min(wanted - reader.size, reader:kept()))
   end
   if reader.size < wanted then
      return false
   elseif self.length then
      return true
   end
   local length = string.unpack(">I4", reader:cut(4))
   if length < 1 or length > protocol.MAX_FRAME then
      self.broken = errors.new("protocol", ("an agent frame of %d bytes"):format(length))
      return false
   end
   self.length = length
   return has_frame(self)
end

local function next_frame(self)
   if has_frame(self) then
      local length = self.length
      self.length = nil
      return self.reader:cut(length)
   end
end

local function may_take(self)
   local under_way = self.last - self.first + 1
   return not self.broken and (under_way == 0
      or under_way < MAX_UNDER_WAY and self.session._agent_weight < MAX_WEIGHT)
end

-- Takes in what there is room for.
local function take(self)
   while may_take(self) do
      local payload = next_frame(self)
      if not payload then
         return
      end
      accept(self, payload)
   end
end

local function has_ended(self)
   return self.channel._eof or self.channel._released
end

-- Whether there is something to do.
local function is_due(_, self)
   local first = self[self.first]
   if first and (first.answered or self.channel._ended) then
      return true
   elseif not first and (self.broken or has_ended(self)) then
      return true
   end
   return may_take(self) and (has_frame(self) or self.broken ~= nil)
end

-- Waits until there is something to do. An error in a handler of anybody's is raised from here if this is what leads
-- the session; the channel is not to suffer for it.
local function wait(self)
   local ok, result, err = pcall(self.reader.wait_until, self.reader, is_due, self)
   if ok then
      return result, err
   elseif errors.is(result) and result.code == "callback" then
      pump.raise(self.session, result)
      return true
   end
   error(result, 0)
end

-- Takes the first request out of the list.
local function shift(self)
   local request = self[self.first]
   self[self.first] = nil
   self.first = self.first + 1
   self.session._agent_weight = self.session._agent_weight - request.weight
   return request
end

-- Why the peer's end of file comes out of place, or nil.
local function cut_off(self)
   if self.length or self.reader.size > 0 or self.reader:kept() > 0 then
      return errors.new("protocol", "the agent connection ended within a frame")
   end
end

-- What serving comes to when the channel, or the session, fails under it. That one of the sides has closed it is how it
-- ends.
local function ended(err)
   if err.code == "closed" then
      return true
   end
   return nil, err
end

function Server:run()
   while true do
      take(self)
      local first = self[self.first]
      if self.channel._ended then
         return true
      elseif first and first.answered then
         local ok, err = self.channel:_write(string.pack(">s4", shift(self).answered))
         if not ok then
            return ended(err)
         end
      elseif not first and (self.broken or has_ended(self)) then
         local err = self.broken or cut_off(self)
         return not err or nil, err
      else
         local ok, err = wait(self)
         if not ok then
            return ended(err)
         end
      end
   end
end

-- Leaves, however that happens. Handlers that are still at work find nobody to tell.
function Server:__close()
   while self[self.first] do
      shift(self)
   end
   if self.relaying then
      self.channel._session._loop.cancel_fiber(self.relaying)
   end
   if self.agent then
      self.agent:close()
   end
   self.channel:close()
end

--- Serves the agent protocol on a channel until one of the sides ends it, and closes the channel.
---@param session moonssh.session
---@param channel moonssh.channel
---@return true|nil
---@return moonssh.error? err
function agent_server.serve(session, channel)
   if channel._own or channel.stdout._busy then
      return nil, errors.new("busy", "another task reads the channel", { stage = "stdout" })
   end
   local server <close> = setmetatable({
      session = session,
      channel = channel,
      reader = channel.stdout,
      path = session._agent_path,
      first = 1,
      last = 0,
      binds = {},
      attempts = 0,
      relayed = {},
   }, Server)
   channel:_set_stderr("discard")
   channel._own = true
   return server:run()
end

--- Serves the agent protocol on a channel: for use within an authagent handler. It returns when the peer has ended the
--- connection, or this side has closed the session, and closes the channel.
---@param session moonssh.session
---@param channel moonssh.channel
---@return true|nil
---@return moonssh.error? err `protocol` when the peer broke the protocol, `agent` when the local agent did, `busy`
function agent_server.serve_agent(session, channel)
   args.handle(session, "session", "serve_agent")
   if getmetatable(channel) == nil or getmetatable(channel).__name ~= "moonssh.channel"
      or channel._session ~= session then
      args.bad("serve_agent", 2, "a channel of the session expected")
   end
   channel:_check("serve_agent")
   return agent_server.serve(session, channel)
end

return agent_server
