-- OpenSSH's sshd and ssh-agent: see spec/support/server.lua for how specs use them.

local account = require "spec.support.account"
local process = require "spec.support.process"
local tmp = require "spec.support.tmp"

local openssh = {}

function openssh.missing(kind)
   local program = kind == "agent" and "ssh-agent" or "sshd"
   return not process.find(program) and program .. " is not installed" or nil
end

-- What every sshd here has in common. Ours comes after the spec's own lines, as the first value is the one that counts.
local function configuration(server, options, port)
   local lines = {
      "Port " .. port,
      "ListenAddress " .. server.host,
      options.config or "",
      "PidFile none",
      "StrictModes no",
      "UsePAM no",
      "PermitRootLogin yes",
      "PasswordAuthentication " .. (server.password and "yes" or "no"),
      "KbdInteractiveAuthentication no",
      "PermitUserEnvironment no",
      "AcceptEnv *",
      (options.config or ""):find("Subsystem", 1, true) and "" or "Subsystem sftp internal-sftp",
      "MaxStartups 1000:30:2000",
      "MaxSessions 1000",
      "LogLevel DEBUG",
      "AuthorizedKeysFile " .. server.folder:path("authorized_keys"),
   }
   for _, path in pairs(server.host_key_paths) do
      table.insert(lines, "HostKey " .. path)
   end
   table.insert(lines, options.match or "")
   return table.concat(lines, "\n") .. "\n"
end

-- options besides the common ones: config, match, account (false: log in as the user that runs the specs, by key).
function openssh.sshd(options)
   local server = require "spec.support.server".prepare("sshd", options)
   server.folder:write("authorized_keys", server.authorized)
   local env
   if options.account ~= false and account.available() then
      local made = account.create(server.folder, { password = options.password, shell = options.shell })
      server.user, server.password, server.home, env = made.user, made.password, made.home, made.env
   else
      server.user = process.check{ "id", "-un" }:gsub("\n", "")
   end
   if process.uid() == 0 then
      process.check{ "mkdir", "-p", "/run/sshd" } -- sshd wants it, and only its service makes it
   end
   return server:launch(function(port)
      local config = server.folder:write("sshd_config", configuration(server, options, port))
      return { process.find("sshd"), "-D", "-e", "-f", config, env = env, stderr = server.log_path }
   end)
end

local Agent = {}
Agent.__index = Agent

-- An ssh-agent without keys: { path, add(key_path), list(), stop() }.
function openssh.agent()
   local folder = tmp.dir()
   local path = folder:path("agent")
   local self = setmetatable({ folder = folder, path = path }, Agent)
   self.process = assert(process.start{ "ssh-agent", "-D", "-a", path })
   process.wait_until(function()
      return process.run{ "ssh-add", "-l", env = { SSH_AUTH_SOCK = path } }.status == 1
   end, 60, "ssh-agent")
   return self
end

-- Adds a private key file; further arguments go to ssh-add ("-t", "60", "-c").
function Agent:add(key_path, ...)
   local command = { "ssh-add", "-q", ... }
   table.insert(command, key_path)
   command.env = { SSH_AUTH_SOCK = self.path }
   process.check(command)
end

-- The public lines of what it holds.
function Agent:list()
   return process.run{ "ssh-add", "-L", env = { SSH_AUTH_SOCK = self.path } }.stdout
end

function Agent:stop()
   if self.process then
      self.process:close()
      self.process = nil
      self.folder:remove()
   end
end

Agent.__gc = Agent.stop
Agent.__close = Agent.stop

return openssh
