-- For each type of session callback a driver, which has the other side do what calls the handler.
--
--    local driver = drivers.debug
--    local case = driver.open{ abstract = "mine" }       a session that is logged in, and its server
--    case.session:callback_set(case.type, f)
--    case:cause()                    f is called; what it throws in this call is raised
--    case:close()
--
-- What a driver says of its type:
--    place      true: the handler answers in place; else it runs as a task
--    once       true: it is called once in the life of a session, which is at its end then
--    count      of its arguments; abstract_at and session_at: where these are among them
--    check      function(case, arguments), raises unless the other arguments are right
--    answer     function(...) → what a handler returns so that all goes on
--    default    function(case), causes what would call the handler, and raises unless the default comes of it
--    failure    code of session.failure after a handler has thrown; nil: none
--
-- case:use() raises unless the session is as it should be after its handler was called; case:rest() leaves nothing at
-- work on it; case:release() closes what is not the session.

local core = require "moonssh.core"
local loop = require "moonssh.loop"
local memory = require "spec.support.memory"
local messages = require "spec.support.messages"
local net = require "moonssh.net"
local ScriptedServer = require "spec.support.scripted_server"
local ssh = require "moonssh"
local waiting = require "spec.support.waiting"

local assert = require "luassert"
local drivers = {}

local TEXT = "te\0xt\27[31m"

local Case = {}
Case.__index = Case

function Case:cause()
   self.driver.cause(self)
end

-- The session goes on, or has ended as it must.
function Case:use()
   local session = self.session
   if self.driver.once then
      local result, err = session:run("echo hello")
      assert.is_nil(result)
      assert.equal("disconnected", err.code)
      assert.equal(session.failure, err)
   else
      assert.equal("hello", assert(session:run("echo hello")).stdout)
      assert.is_nil(session.failure)
   end
end

-- Ends what the library has at work on the session: that keeps it.
function Case:rest()
   if self.agent then
      self.agent:eof()
      self.session:wake()
      waiting.await(function() return self.agent.closed end, "the end of the agent's channel")
   end
end

function Case:release()
   if self.task then
      self.task:cancel()
      net.close(self.ours)
      net.close(self.theirs)
      self.task = nil
   end
end

function Case:close()
   self.session:close()
   self:release()
end

-- Sessions without a descriptor --------------------------------------------------------------------------------------

local function carried(driver, options)
   local link = memory.connect{ session = options }
   return setmetatable({ driver = driver, type = driver.type, link = link, session = link.session,
      server = link.server }, Case)
end

-- Sessions over a pair of sockets: the defaults of send and recv are at work unless a handler is set -----------------

-- Serves what comes at the socket.
local function serve(server, fd)
   while true do
      local bytes = server:output(1 << 16)
      while bytes ~= "" do
         local sent = core.socket.send(fd, bytes)
         if sent then
            bytes = bytes:sub(sent + 1)
         else
            loop.wait(fd, "w")
         end
      end
      local said = core.socket.recv(fd, 1 << 16)
      if said == "" then
         return
      elseif said then
         server:feed(said)
      else
         loop.wait(fd, "r")
      end
   end
end

local function wired(driver, options)
   local settings = { timeout = 60 }
   for name, value in pairs(options or {}) do
      settings[name] = value
   end
   local ours, theirs = core.socket.pair()
   local server = ScriptedServer.new():start()
   local session = ssh.session(settings)
   local task = ssh.spawn(serve, server, theirs)
   assert(session:handshake(ours))
   assert(session:accept_host_key())
   assert(session:auth_password("moon", "secret"))
   return setmetatable({ driver = driver, type = driver.type, session = session, server = server, task = task,
      ours = ours, theirs = theirs }, Case)
end

-- The types ----------------------------------------------------------------------------------------------------------

local function send_and_settle(payload)
   return function(case)
      case.link:send(payload):settle()
   end
end

local function accepts_silently(case)
   case:cause()
   case:use()
end

drivers.ignore = {
   open = carried,
   cause = send_and_settle(messages.ignore(TEXT)),
   count = 3, session_at = 1, abstract_at = 3,
   check = function(_, arguments)
      assert.equal(TEXT, arguments[2])
   end,
   default = accepts_silently,
}

drivers.debug = {
   open = carried,
   cause = send_and_settle(messages.debug(true, TEXT, "en-GB")),
   count = 5, session_at = 1, abstract_at = 5,
   check = function(_, arguments)
      assert.is_true(arguments[2])
      assert.equal(TEXT, arguments[3])
      assert.equal("en-GB", arguments[4])
   end,
   default = accepts_silently,
}

drivers.disconnect = {
   open = carried,
   once = true,
   cause = send_and_settle(messages.disconnect(2, TEXT, "en-GB")),
   count = 5, session_at = 1, abstract_at = 5,
   check = function(_, arguments)
      assert.equal(2, arguments[2])
      assert.equal(TEXT, arguments[3])
      assert.equal("en-GB", arguments[4])
   end,
   default = function(case)
      case:cause()
      case:use()
      assert.equal(2, case.session.failure.reason)
      assert.equal(TEXT, case.session.failure.text)
   end,
   failure = "disconnected",
}

drivers.macerror = {
   place = true,
   open = carried,
   -- A packet arrives with the last bit of its tag turned.
   cause = function(case)
      local link = case.link
      link:send(messages.ignore(TEXT)):tamper(function(bytes)
         link:tamper(nil)
         case.damaged = bytes
         return bytes:sub(1, -2) .. string.char(bytes:byte(-1) ~ 1)
      end):settle()
   end,
   count = 3, session_at = 1, abstract_at = 3,
   check = function(case, arguments)
      assert.equal(case.damaged:sub(1, -17), arguments[2]) -- all but the tag of AES-GCM, as it came
   end,
   answer = function()
      return 0
   end,
   default = function(case)
      case:cause()
      assert.equal("mac", case.session.failure.code)
      assert.equal(5, case.server:received("disconnect")[1].reason)
   end,
   failure = "mac",
}

local function ping(case)
   assert(case.session:ping())
end

local function works_through_socket(case)
   local before = case.session.info
   case:cause()
   case:use()
   local info = case.session.info
   assert.is_true(info.bytes_sent > before.bytes_sent and info.bytes_received > before.bytes_received)
   assert.equal(case.ours, case.session:fd())
end

drivers.send = {
   place = true,
   open = wired,
   cause = ping,
   count = 6, session_at = 6, abstract_at = 5,
   check = function(case, arguments)
      assert.equal(case.ours, arguments[1])
      assert.equal(#arguments[2], arguments[3])
      assert.is_true(#arguments[2] > 0)
      assert.equal(0, arguments[4])
   end,
   answer = ssh.socket_send,
   default = works_through_socket,
   failure = "callback",
}

drivers.recv = {
   place = true,
   open = wired,
   cause = ping,
   count = 5, session_at = 5, abstract_at = 4,
   check = function(case, arguments)
      assert.equal(case.ours, arguments[1])
      assert.is_true(math.type(arguments[2]) == "integer" and arguments[2] >= 1)
      assert.equal(0, arguments[3])
   end,
   answer = ssh.socket_recv,
   default = works_through_socket,
   failure = "callback",
}

-- Channels that the server opens --------------------------------------------------------------------------------------

local AGENT = "auth-agent@openssh.com"
local PROHIBITED = { 1, "not requested" }

-- A session with a channel that has asked for the agent, and for X11.
local function forwarding(driver, options)
   local case = carried(driver, options)
   case.asking = assert(case.session:open())
   assert(case.asking:request_agent())
   assert(case.asking:request_x11())
   return case
end

drivers.x11 = {
   open = forwarding,
   cause = function(case)
      case.opened = case.server:open("x11", string.pack(">s4I4", "192.0.2.7", 6010))
      case.link:settle()
   end,
   count = 5, session_at = 1, abstract_at = 5,
   check = function(case, arguments)
      assert.equal(case.session, arguments[2]._session)
      assert.same({ "192.0.2.7", 6010 }, { arguments[3], arguments[4] })
      assert.is_nil(case.opened.refused)
      assert.is_number(case.opened.peer)
   end,
   default = function(case)
      case:cause()
      assert.same(PROHIBITED, case.opened.refused)
      case:use()
   end,
}

drivers.authagent = {
   open = forwarding,
   cause = function(case)
      case.opened = case.server:open(AGENT)
      case.link:settle()
   end,
   count = 3, session_at = 1, abstract_at = 3,
   check = function(case, arguments)
      local channel = arguments[2]
      assert.equal(case.session, channel.session or case.session)
      assert.is_nil(case.opened.refused)
      assert.is_number(case.opened.peer)
   end,
   default = function(case)
      case:cause()
      assert.same(PROHIBITED, case.opened.refused)
      case:use()
   end,
}

-- Has the session run a command that ends when the condition is true: so a call of ours waits all the while, and an
-- error of a handler is raised from it.
local function run_until(case, condition)
   local session, server = case.session, case.server
   local exec = server.exec
   local release
   function server.exec(channel)
      server.exec = exec
      release = ssh.spawn(function()
         waiting.await(function() return session.closed or condition() end, "the " .. case.type .. " callback")
         channel:finish(0)
         if not session.closed then
            session:wake()
         end
      end)
   end
   local ok, err = pcall(session.run, session, "hold")
   if release then
      release:wait()
   end
   if not ok then
      error(err, 0)
   end
end

-- A type that answers a request of the agent protocol. The other of the two is there, so that channels are served.
local function agent_driver(fields)
   local function answers(case)
      local list, at, received = {}, 1, case.agent.received
      while at + 4 <= #received do
         list[#list + 1], at = string.unpack(">s4", received, at)
      end
      return list
   end
   function fields.open(driver, options)
      local case = forwarding(driver, options)
      case.session:callback_set(fields.other, function() end)
      case.agent = case.server:open(AGENT)
      case.link:settle()
      return case
   end
   -- It has begun when it waits, and ended when there is an answer.
   function fields.cause(case)
      local session = case.session
      local n, waiting_before = #answers(case), session._handlers_waiting
      case.agent:write(string.pack(">s4", fields.request))
      run_until(case, function()
         return #answers(case) > n or session._handlers_waiting > waiting_before
      end)
   end
   function fields.default(case)
      local n = #answers(case)
      case:cause()
      assert.equal("\5", answers(case)[n + 1]) -- SSH_AGENT_FAILURE
      case:use()
   end
   return fields
end

local key = assert(ssh.key.generate("ed25519"))

drivers.authagent_identities = agent_driver{
   other = "authagent_sign",
   request = "\11",
   count = 3, session_at = 1, abstract_at = 3,
   check = function(_, arguments)
      assert.is_nil(arguments[2])
   end,
   answer = function()
      return { { blob = key:blob(), comment = "a key" } }
   end,
}

drivers.authagent_sign = agent_driver{
   other = "authagent_identities",
   request = string.pack(">Bs4s4I4", 13, key:blob(), TEXT, 4),
   count = 6, session_at = 1, abstract_at = 6,
   check = function(_, arguments)
      assert.equal(key:blob(), arguments[2])
      assert.equal(TEXT, arguments[3])
      assert.equal(4, arguments[4])
      assert.is_nil(arguments[5])
   end,
   answer = function(_, _, data)
      return assert(key:sign(data, "ssh-ed25519"))
   end,
}

for cbtype, driver in pairs(drivers) do
   local open = driver.open
   driver.type = cbtype
   driver.answer = driver.answer or function() end
   driver.open = function(options)
      return open(driver, options)
   end
end

return drivers
