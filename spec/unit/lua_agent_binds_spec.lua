-- What an agent served from Lua is told of the sessions that its connections lead to (session-bind@openssh.com).

local agent_peer = require "spec.support.agent_peer"
local keys = require "spec.support.keys"
local ssh = require "moonssh"

local frame = agent_peer.frame

local FAILURE, SUCCESS = "\5", "\6"
local IDENTITIES = "\11"

local function pack(format, ...)
   return string.pack(">" .. format, ...)
end

local function bind_request(key, id, options)
   local it = options or {}
   return pack("Bs4s4s4s4B", 27, "session-bind@openssh.com", (it.shown or key):blob(), id,
      it.signature or assert(key:sign(it.signed or id)), it.forwarding and 1 or 0)
end

describe("an agent served from Lua, told of a session,", function()
   local id, other_id = ("i"):rep(32), ("o"):rep(64)
   local host, other = assert(ssh.key.generate("ed25519")), assert(ssh.key.generate("ecdsa"))

   local link, session, seen

   local function identities(f)
      session:callback_set("authagent_identities", f)
   end

   before_each(function()
      link, seen = agent_peer.connect(), nil
      session = link.session
      identities(function()
         seen = session.agent_binds
         return {}
      end)
   end)

   after_each(function()
      link:close()
   end)

   local function binds(peer)
      peer:ask(IDENTITIES)
      return seen
   end

   it("keeps it if its host key has signed it, and shows it to the handlers", function()
      local rsa = assert(ssh.key.load(keys.path("rsa", "host")))
      for _, one in ipairs{ host, other, rsa } do
         local peer = link:serve()
         assert.same({}, binds(peer))
         assert.equal(SUCCESS, peer:ask(bind_request(one, id)))
         local list = binds(peer)
         assert.equal(1, #list)
         assert.equal(one, list[1].host_key)
         assert.equal(one:fingerprint(), list[1].host_key:fingerprint())
         assert.equal(id, list[1].session_id)
         assert.is_false(list[1].forwarding)
      end
   end)

   it("refuses it with a signature that is bad, of something else, or by another key", function()
      local peer = link:serve()
      local good = assert(host:sign(id))
      local flipped = good:sub(1, -2) .. string.char(good:byte(-1) ~ 1)
      for _, wrong in ipairs{ { signature = flipped }, { signature = "" }, { signature = good .. "\0" },
         { signature = good:sub(1, -2) }, { signed = other_id }, { shown = other } } do
         assert.equal(FAILURE, peer:ask(bind_request(host, id, wrong)))
      end
      assert.equal(FAILURE, peer:ask(pack("Bs4s4s4s4B", 27, "session-bind@openssh.com", "junk", id, good, 0)))
      assert.same({}, binds(peer))
      assert.same({}, session.agent_binds)
   end)

   it("keeps a way over several hosts, and nothing behind a login", function()
      local peer = link:serve()
      assert.equal(SUCCESS, peer:ask(bind_request(host, id, { forwarding = true })))
      assert.equal(SUCCESS, peer:ask(bind_request(host, id, { forwarding = true })))
      assert.equal(FAILURE, peer:ask(bind_request(other, id)))
      assert.equal(SUCCESS, peer:ask(bind_request(other, other_id)))
      assert.equal(FAILURE, peer:ask(bind_request(other, ("x"):rep(20))))
      local list = binds(peer)
      assert.equal(2, #list)
      assert.is_true(list[1].forwarding)
      assert.equal(host, list[1].host_key)
      assert.is_false(list[2].forwarding)
      assert.equal(other, list[2].host_key)
   end)

   it("shows a handler those of its own connection, and others the latest of all", function()
      local first, second = link:serve(), link:serve()
      assert.equal(SUCCESS, first:ask(bind_request(host, id)))
      assert.equal(SUCCESS, second:ask(bind_request(other, other_id)))
      assert.equal(host, binds(first)[1].host_key)
      assert.equal(1, #seen)
      assert.equal(other, binds(second)[1].host_key)
      assert.equal(1, #seen)
      assert.equal(2, #session.agent_binds)
   end)

   it("does not show it to the handler of what was asked before, however late that starts", function()
      local peer = link:serve()
      peer:write(frame(IDENTITIES) .. frame(bind_request(host, id)) .. frame(IDENTITIES))
      local first
      identities(function()
         first = first or session.agent_binds
         seen = session.agent_binds
         return {}
      end)
      for _ = 1, 3 do
         peer:answer()
      end
      assert.same({}, first)
      assert.equal(1, #seen)
   end)

   it("gives lists that are the handler's own", function()
      local peer = link:serve()
      peer:ask(bind_request(host, id))
      table.remove(binds(peer))
      assert.equal(1, #binds(peer))
      table.remove(session.agent_binds)
      assert.equal(1, #session.agent_binds)
   end)

   it("keeps so many for a channel, and so many for a session", function()
      for i = 1, 5 do
         local peer = link:serve()
         for j = 1, 17 do
            local one = pack("BB", i, j)
            assert.equal(j <= 16 and SUCCESS or FAILURE, peer:ask(bind_request(host, one, { forwarding = true })))
         end
         assert.equal(16, #binds(peer))
      end
      assert.equal(64, #session.agent_binds)
      assert.equal(pack("BB", 2, 1), session.agent_binds[1].session_id)
   end)

   it("verifies so many only", function()
      local peer = link:serve()
      for _ = 1, 64 do
         assert.equal(FAILURE, peer:ask(bind_request(host, id, { signed = other_id })))
      end
      assert.equal(FAILURE, peer:ask(bind_request(host, id)))
   end)
end)
