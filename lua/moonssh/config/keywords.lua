-- The keywords of ssh_config as rows: how the value is read, how values of several lines come together, whether the
-- library acts on it, and what is done with the value once the host is known.
--
--    read    see moonssh.config.values
--    merge   "first" (default): the first value counts; "append": all values count; the others are named in merge.lua
--    acts    whether connecting acts on it; what it does not act on is told in `ignored`
--    expand  the tokens that may stand in it; `env`: variables of the environment, too; `path`: "~" is the home folder
--    none    whether the word "none" is the same as no value at all

local values = require "moonssh.config.values"

local keywords = {}

local flag, text, integer, time = values.flag, values.text, values.integer, values.time

-- OpenSSH's texts for values with several words for the same.
local truth = { yes = "true", ["true"] = "true", no = "false", ["false"] = "false" }
local function with(words, more)
   local all = {}
   for _, list in ipairs{ words, more } do
      for word, value in pairs(list) do
         all[word] = value
      end
   end
   return values.state(all)
end

local ask = with(truth, { ask = "ask" })
local strict = with(truth, { ask = "ask", off = "false", ["accept-new"] = "accept-new" })
local pubkey = with(truth, { unbound = "unbound", ["host-bound"] = "host-bound" })
local family = values.state{ any = "any", inet = "inet", inet6 = "inet6" }
local log_level = values.state{ quiet = "SILENT", silent = "SILENT", fatal = "FATAL", error = "ERROR", info = "INFO",
   verbose = "VERBOSE", debug = "DEBUG", debug1 = "DEBUG", debug2 = "DEBUG2", debug3 = "DEBUG3" }
local facility = values.state{ daemon = "DAEMON", user = "USER", auth = "AUTH", authpriv = "AUTHPRIV",
   local0 = "LOCAL0", local1 = "LOCAL1", local2 = "LOCAL2", local3 = "LOCAL3", local4 = "LOCAL4", local5 = "LOCAL5",
   local6 = "LOCAL6", local7 = "LOCAL7" }

keywords.rows = {
   -- what is connected to
   hostname = { read = text, acts = true },
   port = { read = values.port, acts = true },
   user = { read = text, acts = true },
   addressfamily = { read = family, acts = true },
   bindaddress = { read = text, acts = true },
   connecttimeout = { read = time, acts = true },
   connectionattempts = { read = integer, acts = true },
   canonicalizehostname = { read = with(truth, { always = "always" }), acts = true },
   canonicaldomains = { read = values.domains, acts = true },
   canonicalizemaxdots = { read = integer, acts = true },
   canonicalizefallbacklocal = { read = flag, acts = true },
   canonicalizepermittedcnames = { read = values.list(32, values.cname_complaint), acts = true },
   proxyjump = { read = values.jump, merge = "proxy", acts = true, none = true },
   proxycommand = { read = values.command, merge = "proxy", acts = true, none = true },
   controlpath = { read = text, acts = true, expand = "all", env = true, path = true, none = true },

   -- whom it is taken for
   stricthostkeychecking = { read = strict, acts = true },
   userknownhostsfile = { read = values.files, acts = true, expand = "all", env = true, path = true },
   globalknownhostsfile = { read = values.files, acts = true, path = true },
   hostkeyalias = { read = text, acts = true },
   hashknownhosts = { read = flag, acts = true },
   checkhostip = { read = flag, acts = true },
   updatehostkeys = { read = ask, acts = true },
   revokedhostkeys = { read = text, acts = true, expand = "all", env = true, path = true, none = true },

   -- as whom it is logged in
   identityfile = { read = text, merge = "append", acts = true, expand = "all", env = true, path = true },
   identitiesonly = { read = flag, acts = true },
   identityagent = { read = values.agent, acts = true, expand = "all", env = true, path = true },
   certificatefile = { read = text, merge = "append", acts = true, expand = "all", env = true, path = true },
   preferredauthentications = { read = text, acts = true },
   passwordauthentication = { read = flag, acts = true },
   kbdinteractiveauthentication = { read = flag, acts = true },
   pubkeyauthentication = { read = pubkey, acts = true },
   hostbasedauthentication = { read = flag, acts = true },
   batchmode = { read = flag },
   numberofpasswordprompts = { read = integer },
   addkeystoagent = { read = values.agent_keys },
   requiredrsasize = { read = integer, acts = true },

   -- algorithms
   kexalgorithms = { read = values.algorithms "kex", acts = true },
   hostkeyalgorithms = { read = values.algorithms "host_key", acts = true },
   ciphers = { read = values.algorithms "cipher", acts = true },
   macs = { read = values.algorithms "mac", acts = true },
   pubkeyacceptedalgorithms = { read = values.algorithms "host_key", acts = true },
   casignaturealgorithms = { read = values.algorithms "host_key", acts = true },
   hostbasedacceptedalgorithms = { read = values.algorithms "host_key", acts = true },
   compression = { read = values.state{ yes = "yes", no = "no" }, acts = true },
   rekeylimit = { read = values.rekey, merge = "rekey", acts = true },

   -- what is done there
   serveraliveinterval = { read = time, acts = true },
   serveralivecountmax = { read = integer, acts = true },
   sendenv = { read = values.env_names, merge = "env_names", acts = true },
   setenv = { read = values.env, acts = true },
   forwardagent = { read = values.agent_or_flag, acts = true, expand = "all", env = true, path = true },
   forwardx11 = { read = flag, acts = true },
   localforward = { read = values.forward(false, false), merge = "append", acts = true },
   remoteforward = { read = values.forward(false, true), merge = "append", acts = true },
   dynamicforward = { read = values.forward(true, false), merge = "append", acts = true },
   clearallforwardings = { read = flag, acts = true },
   remotecommand = { read = values.command, acts = true, expand = "all", none = true },
   requesttty = { read = with(truth, { force = "force", auto = "auto" }), acts = true },

   -- what concerns the file alone
   ignoreunknown = { read = text, acts = true },
   tag = { read = text, acts = true },

   -- what is for OpenSSH's program, or is not done here
   bindinterface = { read = text },
   channeltimeout = { read = values.list() },
   controlmaster = { read = with(truth, { auto = "auto", ask = "ask", autoask = "autoask" }) },
   controlpersist = { read = values.time_or{ yes = "yes", ["true"] = "yes", no = "no", ["false"] = "no" } },
   enableescapecommandline = { read = flag },
   enablesshkeysign = { read = flag },
   escapechar = { read = values.escape_char },
   exitonforwardfailure = { read = flag, acts = true },
   fingerprinthash = { read = values.state{ md5 = "MD5", sha1 = "SHA1", sha256 = "SHA256", sha384 = "SHA384",
      sha512 = "SHA512" } },
   forkafterauthentication = { read = flag },
   forwardx11timeout = { read = time },
   forwardx11trusted = { read = flag },
   gatewayports = { read = flag, acts = true },
   gssapiauthentication = { read = flag },
   gssapidelegatecredentials = { read = flag },
   gssapikeyexchange = { read = flag },
   gssapirenewalforcesrekey = { read = flag },
   gssapitrustdns = { read = flag },
   gssapiclientidentity = { read = text },
   gssapiserveridentity = { read = text },
   gssapikexalgorithms = { read = text },
   ipqos = { read = values.traffic },
   kbdinteractivedevices = { read = text },
   knownhostscommand = { read = values.command, none = true },
   localcommand = { read = values.command, none = true },
   loglevel = { read = log_level },
   logverbose = { read = values.list() },
   nohostauthenticationforlocalhost = { read = flag },
   obscurekeystroketiming = { read = text },
   permitlocalcommand = { read = flag },
   permitremoteopen = { read = values.permitted, acts = true },
   pkcs11provider = { read = text, none = true },
   proxyusefdpass = { read = flag, acts = true },
   refuseconnection = { read = text, acts = true },
   securitykeyprovider = { read = text, none = true },
   sessiontype = { read = values.state{ none = "none", subsystem = "subsystem", default = "default" } },
   stdinnull = { read = flag },
   streamlocalbindmask = { read = values.mask, acts = true },
   streamlocalbindunlink = { read = flag, acts = true },
   syslogfacility = { read = facility },
   tcpkeepalive = { read = flag },
   tunnel = { read = values.state{ ethernet = "ethernet", ["point-to-point"] = "point-to-point",
      yes = "point-to-point", ["true"] = "point-to-point", no = "false", ["false"] = "false" } },
   tunneldevice = { read = values.devices },
   verifyhostkeydns = { read = ask },
   versionaddendum = { read = values.anything },
   visualhostkey = { read = flag },
   warnweakcrypto = { read = values.anything },
   xauthlocation = { read = text },
}

-- Other names of keywords.
local aliases = {
   dsaauthentication = "pubkeyauthentication",
   identityfile2 = "identityfile",
   challengeresponseauthentication = "kbdinteractiveauthentication",
   skeyauthentication = "kbdinteractiveauthentication",
   tisauthentication = "kbdinteractiveauthentication",
   hostbasedkeytypes = "hostbasedacceptedalgorithms",
   pubkeyacceptedkeytypes = "pubkeyacceptedalgorithms",
   keepalive = "tcpkeepalive",
   smartcarddevice = "pkcs11provider",
}

-- Keywords that had a meaning once.
local retired = {}
for name in ([[protocol cipher fallbacktorsh globalknownhostsfile2 rhostsauthentication userknownhostsfile2 useroaming
   usersh useprivilegedport afstokenpassing kerberosauthentication kerberostgtpassing rsaauthentication
   rhostsrsaauthentication compressionlevel]]):gmatch("%S+") do
   retired[name] = { read = values.anything }
end

--- The row of a keyword and its proper name; nil for an unknown one.
---@param keyword string in lower case
---@return table|nil row
---@return string|nil name
function keywords.find(keyword)
   local name = aliases[keyword] or keyword
   return keywords.rows[name] or retired[name], name
end

return keywords
