-- The hand-made server on standard input and output: as a ProxyCommand of OpenSSH's client, or for a spec that must not
-- have the server's copies of its secrets in its own memory.
--
--    lua5.4 stdio.lua OPTIONS
--
-- OPTIONS is a Lua table constructor of options for spec.support.peer; in it, `keys` is spec.support.peer.keys, and
-- `unmask` gives the text of bytes in hexadecimal that are masked as those below.
--
-- With report = true among the options, each secret of the key exchange is reported on standard error, as a line of its
-- name and its bytes in hexadecimal, each XORed with MASK.

local Peer = require "spec.support.peer"
local keys = require "spec.support.peer.keys"

local MASK = 0x5a

local function masked(bytes)
   return (bytes:gsub(".", function(byte) return ("%02x"):format(byte:byte() ~ MASK) end))
end

local function unmask(text)
   return (text:gsub("..", function(pair) return string.char(tonumber(pair, 16) ~ MASK) end))
end

local options = assert(load("local keys, unmask = ...; return " .. (arg[1] or "{}")))(keys, unmask)
local peer = Peer.new(options)

if options.report then
   local key = Peer.key
   function Peer:key(direction, ...)
      key(self, direction, ...)
      for name, bytes in pairs(direction.secrets) do
         if #bytes > 0 then
            io.stderr:write(("%s-%s-%d %s\n"):format(name, direction == self.out and "out" or "in", self.exchanges,
               masked(bytes)))
         end
      end
      io.stderr:write(("K-%d %s\n"):format(self.exchanges, masked(self.exchange.secret)))
   end
end

io.stdin:setvbuf("no")
io.stdout:setvbuf("no")
io.stderr:setvbuf("no")
peer:start()
repeat
   io.stdout:write(peer:take())
   local byte = io.read(1)
   if byte then
      peer:feed(byte)
   end
until not byte
