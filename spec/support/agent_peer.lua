-- A session in memory whose server speaks the agent protocol on channels that the session serves.
--
--    local link = agent_peer.connect{ session = { callbacks = { … } } }      options of spec.support.memory
--    local peer = link:serve()                       a channel that is served: peer.channel, peer.task
--    peer:write(bytes); peer:ask(payload) → the answer's payload
--    peer:answer() → the next answer; peer:ended() → true once the session has closed the channel

local memory = require "spec.support.memory"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"

local agent_peer = {}

local Peer = {}
Peer.__index = Peer

function agent_peer.frame(payload)
   return string.pack(">s4", payload)
end

-- Sends bytes as they are.
function Peer:write(bytes)
   self.remote:write(bytes)
   self.session:wake()
   return self
end

-- The next whole answer that has come; nil if there is none.
function Peer:look()
   local received = self.remote.received
   local ok, payload, after = pcall(string.unpack, ">s4", received, self.at)
   if ok then
      self.at = after
      return payload
   end
end

function Peer:answer()
   return waiting.await(function()
      return self:look()
   end, "an answer of the agent")
end

function Peer:ask(payload)
   return self:write(agent_peer.frame(payload)):answer()
end

function Peer:eof()
   self.remote:eof()
   self.session:wake()
   return self
end

function Peer:ended()
   return waiting.await(function()
      return self.remote.closed
   end, "the end of the channel")
end

local Link = {}
Link.__index = Link

-- Serves a further channel. f(session, channel) is what runs in its task, default ssh.serve_agent.
function Link:serve(f)
   local session = self.session
   local channel = assert(session:exec("agent"))
   return setmetatable({
      channel = channel,
      session = session,
      remote = self.remote,
      at = 1,
      task = ssh.spawn(f or ssh.serve_agent, session, channel),
   }, Peer)
end

function Link:close()
   self.session:close()
end

function agent_peer.connect(options)
   local self = setmetatable({}, Link)
   local given = { server = { exec = function(remote) self.remote = remote end } }
   for name, value in pairs(options or {}) do
      if name == "server" then
         value.exec = given.server.exec
      end
      given[name] = value
   end
   self.memory = memory.connect(given)
   self.session, self.server = self.memory.session, self.memory.server
   return self
end

return agent_peer
