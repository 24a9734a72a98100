-- A well-formed payload of each message number that has a name, as a server may write it; the channel in it is the one
-- the client has, if it has one.

local kex = require "spec.support.peer.kex"
local keys = require "spec.support.peer.keys"
local wire = require "spec.support.wire"

local message = wire.message

local function channel_of(peer)
   return peer.channels[1] and peer.channels[1].remote or 0
end

local function on_channel(name, format, ...)
   local values = table.pack(...)
   return function(peer)
      return message(name, "u" .. format, channel_of(peer), table.unpack(values, 1, values.n))
   end
end

local samples = {
   [1] = function() return message("DISCONNECT", "uss", 11, "bye", "") end,
   [2] = function() return message("IGNORE", "s", "ignored") end,
   [3] = function() return message("UNIMPLEMENTED", "u", 0) end,
   [4] = function() return message("DEBUG", "oss", false, "debug", "") end,
   [5] = function() return message("SERVICE_REQUEST", "s", "ssh-userauth") end,
   [6] = function() return message("SERVICE_ACCEPT", "s", "ssh-userauth") end,
   [7] = function() return message("EXT_INFO", "uss", 1, "server-sig-algs", "ssh-ed25519") end,
   [20] = function(peer) return kex.pack_init(peer:step("kexinit")) end,
   [21] = function() return message("NEWKEYS") end,
   [30] = function() return message(30, "s", ("q"):rep(32)) end,
   [31] = function(peer)
      return message(31, "sss", peer.host_key:blob(), ("\9"):rep(32), peer.host_key:sign("ssh-ed25519", "other"))
   end,
   [32] = function() return message(32, "s", ("q"):rep(32)) end,
   [33] = function(peer)
      return message(33, "sss", peer.host_key:blob(), ("\9"):rep(32), peer.host_key:sign("ssh-ed25519", "other"))
   end,
   [34] = function() return message(34, "uuu", 2048, 3072, 8192) end,
   [50] = function() return message("USERAUTH_REQUEST", "sss", "moon", "ssh-connection", "none") end,
   [51] = function() return message("USERAUTH_FAILURE", "so", "publickey,password", false) end,
   [52] = function() return message("USERAUTH_SUCCESS") end,
   [53] = function() return message("USERAUTH_BANNER", "ss", "hello", "") end,
   -- Which message 60 is, the method in flight says.
   [60] = function(peer)
      local request = peer.requests and peer.requests[#peer.requests]
      local method = request and request.method
      if method == "publickey" then
         return message("USERAUTH_PK_OK", "ss", "ssh-ed25519", keys.user():blob())
      elseif method == "keyboard-interactive" then
         return message("USERAUTH_INFO_REQUEST", "sssu", "", "", "", 0)
      end
      return message("USERAUTH_PASSWD_CHANGEREQ", "ss", "change", "")
   end,
   [61] = function() return message("USERAUTH_INFO_RESPONSE", "u", 0) end,
   [80] = function() return message("GLOBAL_REQUEST", "so", "x@example.com", true) end,
   [81] = function() return message("REQUEST_SUCCESS") end,
   [82] = function() return message("REQUEST_FAILURE") end,
   [90] = function() return message("CHANNEL_OPEN", "suuu", "x11", 7, 1000, 1000) end,
   [91] = on_channel("CHANNEL_OPEN_CONFIRMATION", "uuu", 0, 1000, 1000),
   [92] = on_channel("CHANNEL_OPEN_FAILURE", "uss", 1, "no", ""),
   [93] = on_channel("CHANNEL_WINDOW_ADJUST", "u", 1000),
   [94] = on_channel("CHANNEL_DATA", "s", "data"),
   [95] = on_channel("CHANNEL_EXTENDED_DATA", "us", 1, "data"),
   [96] = on_channel("CHANNEL_EOF", ""),
   [97] = on_channel("CHANNEL_CLOSE", ""),
   [98] = on_channel("CHANNEL_REQUEST", "so", "x@example.com", true),
   [99] = on_channel("CHANNEL_SUCCESS", ""),
   [100] = on_channel("CHANNEL_FAILURE", ""),
}

return samples
