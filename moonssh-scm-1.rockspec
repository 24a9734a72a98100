rockspec_format = "3.0"
package = "moonssh"
version = "scm-1"
source = {
   -- Built from a checkout with `luarocks make`.
   url = "file://.",
}
description = {
   summary = "SSH for Lua",
   detailed = "An SSH client library for Lua 5.4, with a C core of its own on OpenSSL's libcrypto and zlib.",
   license = "MIT",
   labels = { "ssh", "network", "security" },
}
supported_platforms = { "linux" }
dependencies = {
   "lua >= 5.4, < 5.5",
}
test = {
   type = "command",
   command = "make test",
}
build = {
   type = "make",
   build_target = "all",
   build_variables = {
      CFLAGS = "$(CFLAGS)",
      LUA_INCDIR = "$(LUA_INCDIR)",
   },
   install_pass = false,
   install = {
      lib = {
         ["moonssh.core"] = "build/release/moonssh/core.so",
      },
      -- Every file of lua/; a spec compares.
      lua = {
         ["moonssh"] = "lua/moonssh/init.lua",
         ["moonssh.agent"] = "lua/moonssh/agent.lua",
         ["moonssh.agent_protocol"] = "lua/moonssh/agent_protocol.lua",
         ["moonssh.agent_server"] = "lua/moonssh/agent_server.lua",
         ["moonssh.algorithms"] = "lua/moonssh/algorithms.lua",
         ["moonssh.args"] = "lua/moonssh/args.lua",
         ["moonssh.auth"] = "lua/moonssh/auth.lua",
         ["moonssh.callbacks"] = "lua/moonssh/callbacks.lua",
         ["moonssh.calls"] = "lua/moonssh/calls.lua",
         ["moonssh.carrier"] = "lua/moonssh/carrier.lua",
         ["moonssh.certificate"] = "lua/moonssh/certificate.lua",
         ["moonssh.channel"] = "lua/moonssh/channel.lua",
         ["moonssh.client"] = "lua/moonssh/client.lua",
         ["moonssh.config"] = "lua/moonssh/config.lua",
         ["moonssh.config.canonical"] = "lua/moonssh/config/canonical.lua",
         ["moonssh.config.criteria"] = "lua/moonssh/config/criteria.lua",
         ["moonssh.config.forward"] = "lua/moonssh/config/forward.lua",
         ["moonssh.config.keywords"] = "lua/moonssh/config/keywords.lua",
         ["moonssh.config.lexer"] = "lua/moonssh/config/lexer.lua",
         ["moonssh.config.lookup"] = "lua/moonssh/config/lookup.lua",
         ["moonssh.config.merge"] = "lua/moonssh/config/merge.lua",
         ["moonssh.config.names"] = "lua/moonssh/config/names.lua",
         ["moonssh.config.reader"] = "lua/moonssh/config/reader.lua",
         ["moonssh.config.shell"] = "lua/moonssh/config/shell.lua",
         ["moonssh.config.tokens"] = "lua/moonssh/config/tokens.lua",
         ["moonssh.config.values"] = "lua/moonssh/config/values.lua",
         ["moonssh.credentials"] = "lua/moonssh/credentials.lua",
         ["moonssh.deadline"] = "lua/moonssh/deadline.lua",
         ["moonssh.destination"] = "lua/moonssh/destination.lua",
         ["moonssh.dispatch"] = "lua/moonssh/dispatch.lua",
         ["moonssh.errors"] = "lua/moonssh/errors.lua",
         ["moonssh.expect"] = "lua/moonssh/expect.lua",
         ["moonssh.grants"] = "lua/moonssh/grants.lua",
         ["moonssh.handshake"] = "lua/moonssh/handshake.lua",
         ["moonssh.hostkey"] = "lua/moonssh/hostkey.lua",
         ["moonssh.incoming"] = "lua/moonssh/incoming.lua",
         ["moonssh.keepalive"] = "lua/moonssh/keepalive.lua",
         ["moonssh.key"] = "lua/moonssh/key.lua",
         ["moonssh.known_hosts"] = "lua/moonssh/known_hosts.lua",
         ["moonssh.login"] = "lua/moonssh/login.lua",
         ["moonssh.loop"] = "lua/moonssh/loop/init.lua",
         ["moonssh.loop.copas"] = "lua/moonssh/loop/copas.lua",
         ["moonssh.loop.cqueues"] = "lua/moonssh/loop/cqueues.lua",
         ["moonssh.loop.face"] = "lua/moonssh/loop/face.lua",
         ["moonssh.loop.heap"] = "lua/moonssh/loop/heap.lua",
         ["moonssh.loop.hub"] = "lua/moonssh/loop/hub.lua",
         ["moonssh.loop.luv"] = "lua/moonssh/loop/luv.lua",
         ["moonssh.loop.poll"] = "lua/moonssh/loop/poll.lua",
         ["moonssh.loop.waits"] = "lua/moonssh/loop/waits.lua",
         ["moonssh.match"] = "lua/moonssh/match.lua",
         ["moonssh.net"] = "lua/moonssh/net.lua",
         ["moonssh.paths"] = "lua/moonssh/paths.lua",
         ["moonssh.process"] = "lua/moonssh/process.lua",
         ["moonssh.pump"] = "lua/moonssh/pump.lua",
         ["moonssh.quote"] = "lua/moonssh/quote.lua",
         ["moonssh.reader"] = "lua/moonssh/reader.lua",
         ["moonssh.requests"] = "lua/moonssh/requests.lua",
         ["moonssh.revoked"] = "lua/moonssh/revoked.lua",
         ["moonssh.route"] = "lua/moonssh/route.lua",
         ["moonssh.session"] = "lua/moonssh/session.lua",
         ["moonssh.settings"] = "lua/moonssh/settings.lua",
         ["moonssh.task"] = "lua/moonssh/task.lua",
         ["moonssh.trace"] = "lua/moonssh/trace.lua",
         ["moonssh.transport"] = "lua/moonssh/transport.lua",
      },
   },
}
