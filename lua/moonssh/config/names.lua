-- The names of algorithms that may stand in ssh_config: those of OpenSSH beside those of this library, so that a list
-- which names what we do not have is no mistake in the file.

local algorithms = require "moonssh.algorithms"
local match = require "moonssh.match"

local names = {}

local function words(text)
   local list = {}
   for word in text:gmatch("%S+") do
      list[#list + 1] = word
   end
   return list
end

local keys = [[
   ssh-ed25519 sk-ssh-ed25519@openssh.com ecdsa-sha2-nistp256 ecdsa-sha2-nistp384 ecdsa-sha2-nistp521
   sk-ecdsa-sha2-nistp256@openssh.com webauthn-sk-ecdsa-sha2-nistp256@openssh.com ssh-dss ssh-rsa rsa-sha2-256
   rsa-sha2-512 ssh-ed25519-cert-v01@openssh.com sk-ssh-ed25519-cert-v01@openssh.com
   ecdsa-sha2-nistp256-cert-v01@openssh.com ecdsa-sha2-nistp384-cert-v01@openssh.com
   ecdsa-sha2-nistp521-cert-v01@openssh.com sk-ecdsa-sha2-nistp256-cert-v01@openssh.com ssh-dss-cert-v01@openssh.com
   ssh-rsa-cert-v01@openssh.com rsa-sha2-256-cert-v01@openssh.com rsa-sha2-512-cert-v01@openssh.com
   ssh-xmss@openssh.com ssh-xmss-cert-v01@openssh.com]]

local elsewhere = {
   cipher = words[[3des-cbc aes128-cbc aes192-cbc aes256-cbc rijndael-cbc@lysator.liu.se aes128-ctr aes192-ctr
      aes256-ctr aes128-gcm@openssh.com aes256-gcm@openssh.com chacha20-poly1305@openssh.com]],
   mac = words[[hmac-sha1 hmac-sha1-96 hmac-sha2-256 hmac-sha2-512 hmac-md5 hmac-md5-96 umac-64@openssh.com
      umac-128@openssh.com hmac-sha1-etm@openssh.com hmac-sha1-96-etm@openssh.com hmac-sha2-256-etm@openssh.com
      hmac-sha2-512-etm@openssh.com hmac-md5-etm@openssh.com hmac-md5-96-etm@openssh.com umac-64-etm@openssh.com
      umac-128-etm@openssh.com]],
   kex = words[[diffie-hellman-group1-sha1 diffie-hellman-group14-sha1 diffie-hellman-group14-sha256
      diffie-hellman-group16-sha512 diffie-hellman-group18-sha512 diffie-hellman-group-exchange-sha1
      diffie-hellman-group-exchange-sha256 ecdh-sha2-nistp256 ecdh-sha2-nistp384 ecdh-sha2-nistp521 curve25519-sha256
      curve25519-sha256@libssh.org sntrup761x25519-sha512 sntrup761x25519-sha512@openssh.com mlkem768x25519-sha256]],
   host_key = words(keys),
}

local known

local function tables()
   if not known then
      known = {}
      local ours = algorithms.list()
      for kind, list in pairs(elsewhere) do
         known[kind] = {}
         for _, all in ipairs{ list, ours[kind] } do
            for _, name in ipairs(all) do
               known[kind][name] = true
            end
         end
      end
   end
   return known
end

local function is_matched(kind, pattern)
   for name in pairs(tables()[kind]) do
      if match.pattern(pattern, name) then
         return true
      end
   end
   return false
end

--- What is wrong with a list of algorithms, in any of its forms, or nil. What is taken away need not exist; patterns
--- are for keys, and for what is taken away.
---@param kind "cipher"|"mac"|"kex"|"host_key"
---@param text string
---@return string?
function names.complaint(kind, text)
   local sign, list = text:match("^([-+^]?)(.*)$")
   if sign == "-" then
      return nil
   elseif not list:find("[^,]") then
      return "it names no algorithm"
   end
   for name in list:gmatch("[^,]+") do
      local good = tables()[kind][name] or kind == "host_key" and name:find("[*?]") and is_matched(kind, name)
      if not good then
         return ("unknown algorithm '%s'"):format(name)
      end
   end
end

return names
