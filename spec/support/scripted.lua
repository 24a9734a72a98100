-- Servers that do as they are told, written on asyncssh, paramiko and npm's ssh2: they send what sshd does not. See
-- spec/support/server.lua for what they share with the other kinds.
--
-- Settings, beside the common ones:
--    methods        the authentication methods offered; default { "publickey", "password" }
--    banner         text of an authentication banner
--    rounds         of keyboard-interactive (paramiko: one round only), a list of
--                   { name =, instruction =, prompts = { { text =, echo =, answer = }, … } }
--    change_password = "prompt"    the password is to be changed at login (asyncssh, npm)
--    no_auth        the "none" method succeeds (asyncssh, npm)
--    partial        list of methods that must all succeed, one after the other (paramiko, npm)
--    before_auth    list of commands of the first group below, run when authentication begins (asyncssh)
--    at_kexinit     the same, in place of an answer to the client's KEXINIT (asyncssh)
--    kex, ciphers, macs, compression   lists of algorithm names; rekey_bytes (asyncssh)
--    everything     all algorithms that it has, weak ones too
--    greeting       a line before the identification (npm)
--
-- What a client may exec, all three unless said otherwise. The first group needs no channel:
--    ignore COUNT TEXT…      debug true|false TEXT…      unimplemented SEQUENCE      disconnect REASON TEXT…
--    raw HEX                 a payload as it is          rekey                       abort (the connection just ends)
--    echo TEXT…   stderr TEXT…   cat   flood BYTES   exit STATUS   env NAME   pty ("TERM COLUMNS ROWS")
--    exit-signal NAME true|false TEXT…      not paramiko
--    close TEXT…             closes the channel after TEXT, with no status; asyncssh only
--    events                  says "ready", then each "signal NAME", "break MS" and "size COLUMNS ROWS"; asyncssh only
--    (the subsystem "sftp" serves this machine's files; not npm)
--    global NAME             a global request that wants a reply; writes "success" or "failure"; not npm

local process = require "spec.support.process"

local scripted = {}

local START_TIMEOUT = 60
local npm_folder = "build/npm"

local programs = {
   asyncssh = { "/usr/bin/python3", "spec/support/asyncssh_server.py" },
   paramiko = { "/usr/bin/python3", "spec/support/paramiko_server.py" },
   npm = { "node", "spec/support/npm_server.js" },
}

local missing = {}

function scripted.missing(kind)
   if missing[kind] == nil then
      local probe
      if kind == "npm" then
         probe = { "test", "-e", npm_folder .. "/node_modules/ssh2/package.json", "-a", "-e",
            npm_folder .. "/node_modules/mlkem/package.json" }
         missing[kind] = not process.find("node") and "node is not installed"
      else
         probe = { "/usr/bin/python3", "-W", "ignore", "-c", "import " .. kind }
      end
      missing[kind] = missing[kind] or process.run(probe).status ~= 0 and kind .. " is not installed"
   end
   return missing[kind] or nil
end

local function json(value)
   if type(value) == "table" then
      local parts = {}
      if #value > 0 or next(value) == nil then
         for i, item in ipairs(value) do
            parts[i] = json(item)
         end
         return "[" .. table.concat(parts, ",") .. "]"
      end
      for key, item in pairs(value) do
         table.insert(parts, json(key) .. ":" .. json(item))
      end
      return "{" .. table.concat(parts, ",") .. "}"
   elseif type(value) == "string" then
      return '"' .. value:gsub('[%c"\\]', function(c)
         return ("\\u%04x"):format(c:byte())
      end) .. '"'
   end
   return tostring(value)
end

-- The lines of authorized keys without their comments, as the servers compare them.
local function bare_lines(text)
   local lines = {}
   for line in text:gmatch("[^\n]+") do
      table.insert(lines, line:match("^%S+%s+%S+"))
   end
   return lines
end

local function start(kind, options)
   local server = require "spec.support.server".prepare(kind, options)
   server.user, server.password = options.user or "moon", options.password or "secret"
   local settings = {
      user = server.user,
      password = server.password,
      methods = options.methods or { "publickey", "password" },
      authorized = bare_lines(server.authorized),
      host_keys = {},
   }
   for _, name in ipairs{ "banner", "rounds", "change_password", "no_auth", "partial", "before_auth", "at_kexinit",
      "kex", "ciphers", "macs", "compression", "rekey_bytes", "greeting", "everything" } do
      settings[name] = options[name]
   end
   for _, path in pairs(server.host_key_paths) do
      table.insert(settings.host_keys, path)
   end
   table.sort(settings.host_keys)
   local program = programs[kind]
   server.process = assert(process.start{ program[1], program[2], json(settings), stdout = "pipe",
      stderr = server.log_path, env = { NODE_PATH = npm_folder .. "/node_modules", PYTHONDONTWRITEBYTECODE = "1" } })
   local said = ""
   while not said:find("\n") do
      local data = server.process:read("stdout", START_TIMEOUT)
      if not data or data == "" then
         error(("%s does not start:\n%s%s"):format(kind, said, server:log()))
      end
      said = said .. data
   end
   server.port = assert(tonumber(said:match("^ready (%d+)\n")), said)
   return server:ready()
end

for kind in pairs(programs) do
   scripted[kind] = function(options)
      return start(kind, options)
   end
end

return scripted
