-- Receives the output of a command through session:run and counts it: the client that the download benchmark times.
--
--    lua5.4 spec/bench/receive.lua HOST PORT USER KEY KNOWN_HOSTS CIPHER COMMAND

local ssh = require "moonssh"

local host, port, user, key, known_hosts, cipher, command = table.unpack(arg)
local session <close> = assert(ssh.connect(host, {
   port = tonumber(port),
   user = user,
   identity = key,
   known_hosts = known_hosts,
   algorithms = { cipher = { cipher } },
}))
local received = 0
local result = assert(session:run(command, {
   stdout = function(chunk)
      received = received + #chunk
   end,
}))
assert(result.ok, "the command failed")
assert(session.info.cipher.recv == cipher)
print(received)
