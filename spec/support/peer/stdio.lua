-- The hand-made server on standard input and output, as a ProxyCommand of OpenSSH's client: lua5.4 stdio.lua OPTIONS,
-- where OPTIONS is a Lua table constructor of options for spec.support.peer; in it, `keys` is spec.support.peer.keys.

local Peer = require "spec.support.peer"
local keys = require "spec.support.peer.keys"

local options = assert(load("local keys = ...; return " .. (arg[1] or "{}")))(keys)
local peer = Peer.new(options)
io.stdin:setvbuf("no")
io.stdout:setvbuf("no")
peer:start()
repeat
   io.stdout:write(peer:take())
   local byte = io.read(1)
   if byte then
      peer:feed(byte)
   end
until not byte
