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
-- case:use() raises unless the session is as it should be after its handler was called; case:release() closes what is
-- not the session.

local core = require "moonssh.core"
local loop = require "moonssh.loop"
local memory = require "spec.support.memory"
local messages = require "spec.support.messages"
local net = require "moonssh.net"
local ScriptedServer = require "spec.support.scripted_server"
local ssh = require "moonssh"

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

for cbtype, driver in pairs(drivers) do
   local open = driver.open
   driver.type = cbtype
   driver.answer = driver.answer or function() end
   driver.open = function(options)
      return open(driver, options)
   end
end

return drivers
