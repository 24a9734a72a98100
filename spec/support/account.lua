-- A made-up user for a real server: same uid as ours, but with a name, password and home folder of its own, so that
-- no file of the real home plays a part. Debian's libnss-wrapper shows it to the server alone.

local process = require "spec.support.process"

local account = {}

local available

-- Whether nss_wrapper is installed. The loader says so on stderr when it is not, and goes on.
function account.available()
   if available == nil then
      available = process.run{ "true", env = { LD_PRELOAD = "libnss_wrapper.so" } }.stderr == ""
   end
   return available
end

-- Writes the account into a folder and returns { user, password, home, env }: env is for the server to start with.
-- options: user, password, shell, authorized (text of ~/.ssh/authorized_keys).
function account.create(folder, options)
   local user = options.user or "moon"
   local password = options.password or "secret"
   local home = folder:mkdir("home")
   folder:mkdir("home/.ssh")
   folder:write("home/.ssh/authorized_keys", options.authorized or "", "600")
   local ids = process.check{ "sh", "-c", "id -u; id -g" }
   local uid, gid = ids:match("^(%d+)\n(%d+)\n$")
   local hash = process.check{ "perl", "-e", "print crypt($ARGV[0], q($6$moonssh$))", password }
   local passwd = folder:write("passwd", table.concat({
      ("%s:x:%s:%s::%s:%s"):format(user, uid, gid, home, options.shell or "/bin/sh"),
      "sshd:x:65533:65534::/run/sshd:/bin/false",
      "",
   }, "\n"))
   local shadow = folder:write("shadow", ("%s:%s:19000:0:99999:7:::\n"):format(user, hash))
   local group = folder:write("group", ("%s:x:%s:\ntty:x:5:\n"):format(user, gid))
   return {
      user = user,
      password = password,
      home = home,
      env = {
         LD_PRELOAD = "libnss_wrapper.so",
         NSS_WRAPPER_PASSWD = passwd,
         NSS_WRAPPER_SHADOW = shadow,
         NSS_WRAPPER_GROUP = group,
      },
   }
end

return account
