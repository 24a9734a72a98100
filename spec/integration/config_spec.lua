-- What the library makes of ssh_config, beside what OpenSSH's ssh makes of it.

local process = require "spec.support.process"
local ssh = require "moonssh"
local ssh_g = require "spec.support.ssh_g"
local tmp = require "spec.support.tmp"

-- Lines that stand anywhere. ssh itself treats a few of them in ways that depend on others; these are not here.
local values = {
   "HostName %h.example.com", "HostName 10.0.0.1", "HostName=web1.test", "HostName \"quoted.test\"",
   "HostName a%%b", "Port 2222", "Port=22", "Port = 65535", "User deploy", "user root",
   "IdentityFile ~/.ssh/id_%h", "IdentityFile /k/%r@%n:%p", "IdentityFile none", "IdentityFile '%d/x y'",
   "CertificateFile ~/c-%C", "IdentitiesOnly yes", "IdentitiesOnly no", "IdentityAgent none",
   "IdentityAgent SSH_AUTH_SOCK", "IdentityAgent ~/agent-%u", "IdentityAgent $HOMEX", "StrictHostKeyChecking yes",
   "StrictHostKeyChecking no", "StrictHostKeyChecking ask", "StrictHostKeyChecking accept-new",
   "StrictHostKeyChecking OFF", "UserKnownHostsFile ~/kh1 /kh2-%h", "UserKnownHostsFile none",
   "UserKnownHostsFile ${HOME}/kh", "GlobalKnownHostsFile /a /b ~/c", "HostKeyAlias Web1.Alias",
   "HashKnownHosts yes", "CheckHostIP yes", "UpdateHostKeys ask", "UpdateHostKeys no", "RevokedHostKeys ~/krl-%h",
   "RevokedHostKeys none", "KexAlgorithms +diffie-hellman-group1-sha1", "KexAlgorithms curve25519-sha256",
   "KexAlgorithms -ecdh-sha2-nistp256", "KexAlgorithms ^ecdh-sha2-nistp521", "Ciphers aes128-ctr,aes256-ctr",
   "Ciphers ^aes256-gcm@openssh.com", "MACs -umac-64-etm@openssh.com", "MACs hmac-sha2-256",
   "HostKeyAlgorithms ssh-ed25519,rsa-sha2-512", "PubkeyAcceptedAlgorithms +ssh-rsa",
   "PubkeyAcceptedKeyTypes ssh-ed25519", "CASignatureAlgorithms ^ssh-ed25519", "Compression yes", "Compression no",
   "ConnectTimeout 10", "ConnectTimeout 1m30s", "ConnectTimeout none", "ConnectionAttempts 3",
   "ServerAliveInterval 15", "ServerAliveInterval 1h", "ServerAliveCountMax 5", "SendEnv LANG LC_*",
   "SendEnv -LC_*", "SendEnv FOO", "SetEnv A=1 B=2", "SetEnv \"C=x y\" A=5", "ForwardAgent yes", "ForwardAgent no",
   "ForwardX11 yes", "ForwardX11 no", "LocalForward 8080 localhost:80", "LocalForward 127.0.0.1:9000 [::1]:443",
   "LocalForward /tmp/s-%r /tmp/t", "LocalForward [::1]:8081 /tmp/d", "RemoteForward 0 localhost:22",
   "RemoteForward 1080", "RemoteForward /tmp/r web:80", "DynamicForward 1080", "DynamicForward localhost:1081",
   "ClearAllForwardings yes", "AddressFamily inet", "AddressFamily INET6", "BindAddress 127.0.0.1",
   "BindInterface lo", "PreferredAuthentications publickey,password", "RekeyLimit 1G", "RekeyLimit 500M 1h",
   "RekeyLimit default none", "RekeyLimit default 30m", "RekeyLimit 1.5K", "RequiredRSASize 2048",
   "CanonicalizeMaxDots 2", "CanonicalizeFallbackLocal yes", "CanonicalDomains example.com test",
   "CanonicalizePermittedCNAMEs none", "ProxyJump bastion", "ProxyJump a@b:2200,c", "ProxyJump none",
   "ProxyJump ssh://u@h:22", "ProxyCommand nc %h %p", "ProxyCommand none", "ProxyCommand=ssh -W %h:%p x # y",
   "RemoteCommand echo %h %n %r %p %u %l %L %C %i %k %d", "RemoteCommand none", "RequestTTY force",
   "RequestTTY yes", "RequestTTY auto", "RequestTTY no", "ControlPath ~/.ssh/cm-%C",
   "ControlPath /tmp/%r@%h:%p-%n-%k-%L-%l-%i-%u", "ControlPath none", "ControlMaster auto", "ControlPersist 10m",
   "ControlPersist yes", "VisualHostKey yes", "LogLevel DEBUG3", "LogLevel quiet", "EscapeChar none",
   "EscapeChar %", "BatchMode no", "TCPKeepAlive no", "KeepAlive yes", "TunnelDevice 0:any", "TunnelDevice 3",
   "VerifyHostKeyDNS no", "AddKeysToAgent confirm", "AddKeysToAgent 1h", "AddKeysToAgent confirm 5m",
   "AddKeysToAgent yes", "ExitOnForwardFailure yes", "FingerprintHash md5", "GatewayPorts yes",
   "HostbasedAuthentication yes", "KbdInteractiveAuthentication no", "ChallengeResponseAuthentication yes",
   "PasswordAuthentication no", "PubkeyAuthentication no", "PubkeyAuthentication host-bound",
   "NumberOfPasswordPrompts 1", "PermitLocalCommand yes", "LocalCommand echo hi", "SessionType none",
   "StdinNull yes", "StreamLocalBindUnlink yes", "XAuthLocation /usr/bin/xa", "IPQoS lowdelay",
   "KnownHostsCommand /bin/true", "PermitRemoteOpen any", "LogVerbose none", "SecurityKeyProvider /lib/x",
   "PKCS11Provider /lib/y", "NoHostAuthenticationForLocalhost yes", "EnableSSHKeysign yes", "ForwardX11Timeout 5m",
   "ForwardX11Trusted no", "IgnoreUnknown Foo,Bar*", "GSSAPIAuthentication yes",
}

local blocks = {
   "Host web1", "Host web*", "Host * !web1", "Host !web2 *", "Host web2", "Host WEB1", "Host *.example.com",
   "Host web? db", "Match all", "Match host web1.example.com", "Match host web*", "Match originalhost web1",
   "Match user deploy", "Match user !root,*", "Match localuser root", "Match !localuser root", "Match final",
   "Match canonical", "Match !final", "Match final host *.example.com", "Match exec true",
   "Match exec \"test %p = 2222\"", "Match !exec \"exit 1\"",
   "Match host * user deploy exec \"test x%r = xdeploy\"", "Match final all", "Match exec=false",
   "Host \"web1\" # comment", "Match host WEB*", "Match canonical host web1", "Match user deploy all",
}

-- Lines of all kinds, good and bad, each a file of its own.
local single = {
   "Nonsense yes", "Port", "Port 0", "Port 65536", "Port abc", "Port 22 23", "Port 22x", "Port -1", "HostName",
   "HostName a b", "HostName \"a", "HostName 'a", "HostName a\\ b", "HostName \"\"", "User a b",
   "Compression maybe", "Compression true", "ForwardX11 ask", "StrictHostKeyChecking maybe",
   "StrictHostKeyChecking", "AddressFamily ipv4", "ConnectTimeout x", "ConnectTimeout -1", "ConnectTimeout 1y",
   "ConnectTimeout 99999999999", "ConnectTimeout 1h1h", "ConnectionAttempts 0x3", "ConnectionAttempts x",
   "ConnectionAttempts -1", "ServerAliveCountMax x", "ServerAliveCountMax 99999999999", "Match",
   "Match all host x", "Match host", "Match bogus x", "Match host x all", "Match canonical all",
   "Match host x user", "Match exec", "Match exec \"echo %q\"", "Match user a all b", "Match \"host x",
   "Match host x # c", "Match all # c", "Match !all", "Match host a,b user c final", "Host", "Host \"\"",
   "Host a \"b", "Host # x", "Include \"\"", "Include /nonexistent/*", "Include", "Ciphers nonsense", "Ciphers",
   "Ciphers +nonsense", "Ciphers -nonsense", "Ciphers ^nonsense", "Ciphers aes*", "Ciphers +", "MACs x",
   "KexAlgorithms x", "HostKeyAlgorithms x", "HostKeyAlgorithms x*", "PubkeyAcceptedAlgorithms +ssh-dss",
   "RekeyLimit", "RekeyLimit 1", "RekeyLimit 15", "RekeyLimit 16", "RekeyLimit x", "RekeyLimit 1G 1h x",
   "RekeyLimit 1X", "RekeyLimit default x", "RekeyLimit none", "RekeyLimit 1GB", "RekeyLimit 0", "LocalForward 80",
   "LocalForward 80 localhost", "LocalForward 80 localhost:x", "LocalForward 0 a:1", "LocalForward x a:1",
   "LocalForward a:80 b:22", "LocalForward [a]:80 [b]:22", "LocalForward [a:80 b:22", "LocalForward 99999 a:1",
   "LocalForward /a /b", "LocalForward /a b:22", "LocalForward 80 /b", "LocalForward a:80 /b",
   "LocalForward 80:a:22 x", "LocalForward 80 a:0", "LocalForward a\\:b:80 c:22", "RemoteForward x",
   "RemoteForward 80 a", "RemoteForward 0 a:1", "RemoteForward 0", "RemoteForward a:b:c:d", "DynamicForward",
   "DynamicForward x", "DynamicForward a:1080", "DynamicForward a:b:1080", "DynamicForward 0", "DynamicForward /a",
   "DynamicForward 1080 x", "RemoteForward /sock", "LocalForward ::1:80 a:22", "LocalForward *:80 a:22",
   "SendEnv A=B", "SendEnv \"\"", "SetEnv A", "SetEnv A=B C", "IdentityAgent ${NOSUCHVAR}", "IdentityAgent ${HOME",
   "ForwardAgent ${NOSUCHVAR}", "ForwardAgent $HOME", "IdentityAgent $HOME/x", "ProxyJump", "ProxyJump ,",
   "ProxyJump a,", "ProxyJump a:0", "ProxyJump a:b", "ProxyJump @a", "ProxyJump a@", "ProxyJump ssh://a/b",
   "ProxyJump [::1]:22", "ProxyJump a,b,c", "ProxyJump x@y@z", "ProxyCommand", "RequestTTY x",
   "CanonicalDomains \"\"", "CanonicalDomains none x", "CanonicalDomains -a", "CanonicalDomains a..b",
   "CanonicalDomains a_b", "CanonicalDomains a/b", "CanonicalDomains .a", "CanonicalDomains a.",
   "CanonicalizePermittedCNAMEs a", "CanonicalizePermittedCNAMEs a:", "CanonicalizePermittedCNAMEs none a:b",
   "CanonicalizeHostname maybe", "UserKnownHostsFile none x", "UserKnownHostsFile \"\"",
   "GlobalKnownHostsFile a none", "LogLevel x", "LogLevel", "SyslogFacility x", "EscapeChar ab", "EscapeChar ^",
   "EscapeChar", "TunnelDevice x", "TunnelDevice a:b", "TunnelDevice 1:2", "AddKeysToAgent x",
   "AddKeysToAgent yes 5m", "AddKeysToAgent ask 5", "AddKeysToAgent confirm x", "StreamLocalBindMask 0777",
   "StreamLocalBindMask 999", "StreamLocalBindMask 1000", "ControlPersist x", "ControlPersist", "IPQoS x",
   "IPQoS af21 cs1", "IPQoS 300", "IPQoS a b c", "FingerprintHash x", "FingerprintHash sha512",
   "PermitRemoteOpen a", "PermitRemoteOpen a:1", "PermitRemoteOpen x a", "PermitRemoteOpen x a:1",
   "LogVerbose none x", "HostName %h%%", "HostName %x", "HostName a%", "UserKnownHostsFile %x", "ControlPath %x",
   "ControlPath ${NOSUCH}", "UserKnownHostsFile ${NOSUCH}", "RemoteCommand %x", "UserKnownHostsFile ~nosuchuser/x",
   "ControlPath ~root/x", "UserKnownHostsFile ~/a~b $x ${HOME}x", "   ", "# comment", "\tHostName x\t",
   "=HostName x", "HostName==x", "HostName = = x", "\"HostName\" x", "\"HostName\"x", "HostName\"x\"",
   "HostName x\f", "HostName x # y", "HostName x#y", "HostName \"x\"y", "HostName x\\\"y", "hOsTnAmE x", "Host\tx",
   "IgnoreUnknown a\nA 1", "IgnoreUnknown a*\nApple", "IgnoreUnknown b\nApple 1",
   "Host nomatch\nIgnoreUnknown a*\nHost *\nApple 1", "Host nomatch\nNonsense 1", "IdentityFile",
   "NumberOfPasswordPrompts x", "VerifyHostKeyDNS maybe", "PubkeyAuthentication maybe", "SessionType x",
   "Tunnel x", "ControlMaster x", "RequiredRSASize x", "GSSAPIAuthentication x", "User -x", "HostName -x",
   "HostKeyAlias a b", "BindAddress",
}

describe("the configuration for a host", function()
   local folder

   setup(function()
      folder = tmp.dir()
   end)

   teardown(function()
      folder:remove()
   end)

   -- The differences between us and ssh for a file, in words, with the file.
   local function differences(text, host, user)
      local path = folder:write("config", text)
      local oracle = ssh_g.ask(path, host, user and { "-l", user })
      local config, err = ssh.config(path)
      local options
      if config then
         options, err = config:lookup(host, { user = user })
      end
      local found = {}
      if not options or oracle.error then
         if (options == nil) ~= (oracle.error ~= nil) then
            found = { ("ours %s, ssh's %s"):format(err, oracle.error) }
         elseif config == nil then
            assert.equal(folder:path(), err.path:match("^(.*)/"))
            assert.is_truthy(err.message:find(err.path .. " line " .. err.line, 1, true), err.message)
         end
      else
         found = ssh_g.compare(options, oracle, host)
      end
      return found[1] and ("%s\nfor %s\n%s"):format(text, host, table.concat(found, "\n")) or nil
   end

   it("is ssh's for each line alone, and what ssh refuses is refused with file and line", function()
      for _, line in ipairs(single) do
         assert.is_nil(differences(line .. "\n", "web1"))
      end
   end)

   local function one_of(list)
      return list[math.random(#list)]
   end

   -- A line as somebody else would write it.
   local function varied(line)
      local way = math.random(12)
      if way == 1 then
         return "  " .. line
      elseif way == 2 then
         return line .. "   "
      elseif way == 3 and not line:find("Command") and not line:find("^ProxyJump none") then
         return line .. " # note"
      elseif way == 4 then
         return (line:gsub("^%w+", string.upper))
      elseif way == 5 then
         return (line:gsub("^(%w+) ", "%1\t"))
      elseif way == 6 then
         return (line:gsub("^(%w+) ", "%1="))
      end
      return line
   end

   local function generated(count)
      local lines = {}
      for _ = 1, count do
         if math.random(5) == 1 then
            lines[#lines + 1] = one_of(blocks)
         end
         lines[#lines + 1] = varied(one_of(values))
      end
      return lines
   end

   it("is ssh's, key by key, for files made of many lines, blocks and included files", function()
      math.randomseed(20240607)
      for _ = 1, 100 do
         local lines = generated(math.random(25))
         if math.random(3) == 1 then
            folder:write("included", table.concat(generated(8), "\n"), "600")
            table.insert(lines, math.random(#lines), "Include " .. folder:path("inc*"))
         end
         local host = one_of{ "web1", "web2", "WEB1", "db", "10.0.0.7", "web1.example.com" }
         assert.is_nil(differences(table.concat(lines, "\n") .. "\n", host, one_of{ "deploy", false } or nil))
      end
   end)

   it("knows each algorithm that ssh has", function()
      for query, keyword in pairs{ cipher = "Ciphers", mac = "MACs", kex = "KexAlgorithms",
         HostKeyAlgorithms = "HostKeyAlgorithms" } do
         for name in process.check{ "ssh", "-Q", query }:gmatch("%S+") do
            assert(ssh.config(folder:write("config", keyword .. " " .. name)))
         end
      end
   end)
end)
