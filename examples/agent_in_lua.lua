-- An agent whose keys exist in this process only. A command runs on a server with the agent forwarded, and each use of
-- a key there is shown here first and asked about.
--
--    lua5.4 examples/agent_in_lua.lua deploy@web1 'ssh-add -l; ssh git@git.internal'
--    sh examples/demo.sh examples/agent_in_lua.lua 'ssh-add -l'        against a private sshd
--
-- IDENTITY and KNOWN_HOSTS in the environment name files for the login itself, where those of ssh are not meant.

local ssh = require "moonssh"

local destination, command = arg[1], arg[2]
if not command then
   io.stderr:write("usage: agent_in_lua.lua DESTINATION COMMAND\n")
   os.exit(2)
end

-- The keys: made here, written nowhere. Any key will do, one by ssh.key.external, too.
local keys = {}
for _, type in ipairs{ "ed25519", "ecdsa" } do
   local key = assert(ssh.key.generate(type, { comment = type .. " of this process" }))
   keys[key:blob()] = key
end

-- What a signature is for, as far as the data to be signed tell (RFC 4252 7; PROTOCOL.sshsig of OpenSSH).
local function purpose(session, data)
   if data:sub(1, 6) == "SSHSIG" then
      return ("a signature for '%s'"):format(string.unpack(">s4", data, 7))
   end
   local ok, session_id, number, user = pcall(string.unpack, ">s4Bs4", data)
   if not ok or number ~= 50 then
      return "nothing that is known"
   end
   local where = "a host that it does not name"
   for _, bind in ipairs(session.agent_binds) do
      if bind.session_id == session_id then
         where = "the host with the key " .. bind.host_key:fingerprint()
      end
   end
   return ("a login as '%s' at %s"):format(user, where)
end

-- What comes from the other side is shown without what a terminal would take for commands.
local function say(format, ...)
   print((format:format(...):gsub("%c", "?")))
end

local function agreed()
   io.write("Allow it? [y/N] ")
   io.flush()
   local answer = io.read("l") -- all else waits meanwhile: this is a script for one person
   return answer ~= nil and answer:lower():find("^y") ~= nil
end

-- For RSA keys the flags name the hash; the others have but one algorithm.
local algorithms = { [2] = "rsa-sha2-256", [4] = "rsa-sha2-512" }

local session <close> = assert(ssh.connect(destination, {
   identity = os.getenv "IDENTITY",
   known_hosts = os.getenv "KNOWN_HOSTS",
   callbacks = {
      authagent_identities = function()
         local list = {}
         for blob, key in pairs(keys) do
            table.insert(list, { blob = blob, comment = key.comment })
         end
         say("the server has asked for the list of keys")
         return list
      end,
      authagent_sign = function(session, blob, data, flags)
         local key = keys[blob]
         if not key then
            return nil -- refused: none of ours
         end
         say("the server asks the %s for %s", key.comment, purpose(session, data))
         if agreed() then
            return key:sign(data, key.type == "ssh-rsa" and algorithms[flags] or nil)
         end
      end,
   },
}))

local result = assert(session:run(command, { forward_agent = true }))
io.write(result.stdout, result.stderr)
os.exit(result.status or 1, true)
