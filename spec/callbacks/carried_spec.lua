-- Whole sessions that have no descriptor: the callbacks send and recv carry them.

local memory = require "spec.support.memory"
local ssh = require "moonssh"

local function work_through(link)
   local session = link.session
   local data = {}
   for i = 1, 2000 do
      data[i] = string.pack(">I4", i * 2654435761 % 2^32 // 1 | 0)
   end
   data = table.concat(data)
   assert.is_nil(session:fd())
   assert.equal("hello", assert(session:run("echo hello")).stdout)
   local first = ssh.spawn(function()
      return assert(session:run("cat", { stdin = data })).stdout
   end)
   local second = ssh.spawn(function()
      local channel <close> = assert(session:exec("cat"))
      assert(channel:write("one\ntwo\n", 3, "\n"))
      assert(channel:eof())
      local lines = {}
      for line in channel:lines() do
         table.insert(lines, line)
      end
      assert.equal(0, (channel:wait()))
      return lines
   end)
   assert.is_true(session:rekey())
   assert.equal(data, first:wait())
   assert.same({ "one", "two", "3" }, second:wait())
   assert.equal(7, assert(session:run("exit 7")).status)
   assert.equal(1, session.info.rekeys)
   session:close()
   assert.is_true(session.closed)
end

describe("a session carried by send and recv", function()
   it("works", function()
      work_through(memory.connect())
   end)

   it("works a byte at a time", function()
      local link = memory.connect{ chunk = function() return 1 end }
      work_through(link)
      assert.equal(1, #link.server:received("disconnect"))
   end)

   for seed = 1, 4 do
      it("works in pieces of any size, with -EAGAIN at random (seed " .. seed .. ")", function()
         math.randomseed(seed)
         work_through(memory.connect{
            chunk = function()
               local dice = math.random(100)
               return dice == 1 and 0 or dice < 50 and math.random(7) or math.random(4000)
            end,
         })
      end)
   end

   for _, cipher in ipairs{ "aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr" } do
      it("works with " .. cipher, function()
         local link = memory.connect{
            session = { algorithms = { cipher = { cipher } } },
            chunk = function() return 999 end,
         }
         assert.equal(cipher, link.session.info.cipher.send)
         work_through(link)
      end)
   end

   local PLAIN = { algorithms = { kex = { "curve25519-sha256" } } }

   -- From the first byte to the last with so much at a time. What the server was told, as text, and the bytes.
   local function whole_session(chunk)
      local link = memory.connect{ session = PLAIN, chunk = chunk }
      assert.equal("hello", assert(link.session:run("echo hello")).stdout)
      link.session:close()
      local told = {}
      for i, message in ipairs(link.server.log) do
         told[i] = message.kind
      end
      return table.concat(told, " "), link.session.info
   end

   it("works with every size at a time, from one byte to all that there is", function()
      local expected = whole_session()
      local size, cut = 0, true
      while cut do
         size, cut = size + 1, false
         assert.equal(expected, (whole_session(function(direction, most)
            cut = cut or direction == "send" and most > size
            return size
         end)))
      end
      assert.is_true(size > 500, size)
   end)

   it("works with a stop after every byte of its life, in either direction", function()
      local expected, info = whole_session()
      -- Closing does not wait: a farewell (of less than 64 bytes) that is not taken at once is not sent.
      local short = expected:gsub(" disconnect$", "")
      for stop = 1, math.max(info.bytes_sent, info.bytes_received) do
         local left = { send = stop, recv = stop }
         local refused = {}
         local told = whole_session(function(direction, most)
            if left[direction] == 0 and not refused[direction] then
               refused[direction] = true
               return 0
            elseif refused[direction] then
               return most
            end
            local n = math.min(left[direction], most)
            left[direction] = left[direction] - n
            return n
         end)
         assert.is_true(told == expected or told == short and stop > info.bytes_sent - 64, told)
      end
   end)

   it("logs in with a wrong password first, in pieces", function()
      local link = memory.connect{ login = false, chunk = function() return 5 end }
      local ok, err = link.session:auth_password("moon", "wrong")
      assert.is_nil(ok)
      assert.equal("auth_failed", err.code)
      assert.is_true(link.session:auth_password("moon", "secret"))
      assert.equal("moon", link.session.info.user)
      assert.equal("password", link.session.info.auth)
   end)

   it("takes any value as its socket, which the callbacks get", function()
      local ScriptedServer = require "spec.support.scripted_server"
      local server = ScriptedServer.new()
      server:start()
      local queue = {}
      local sockets = {}
      local session = ssh.session{
         timeout = 60,
         callbacks = {
            send = function(socket, buffer)
               sockets[socket] = true
               return server:feed(buffer)
            end,
            recv = function(socket, length)
               sockets[socket] = true
               local bytes = server:output(length)
               return bytes ~= "" and bytes or -ssh.EAGAIN
            end,
         },
      }
      assert.is_true(session:handshake(queue))
      assert.same({ [queue] = true }, sockets)
      assert.is_nil(session:fd())
      session:close()
   end)
end)
