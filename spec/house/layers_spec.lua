-- Which folder of csrc/ may include what. The direction of the layers is what keeps each of them testable alone.

local source = require "spec.support.source"

-- Folders, or single headers, of csrc/ that a folder may include beside its own.
local may_include = {
   base = {},
   wire = { "base" },
   crypto = { "base" },
   keys = { "crypto", "wire", "base" },
   transport = { "keys", "crypto", "wire", "base" },
   auth = { "keys", "wire", "base" },
   connection = { "wire", "base" },
   sftp = { "connection/channel.h", "wire", "base" },
   ["mssh.h"] = { "transport", "auth", "connection", "sftp", "keys", "crypto", "wire", "base" },
   session = { "mssh.h", "transport", "auth", "connection", "sftp", "keys", "crypto", "wire", "base" },
   binding = { "mssh.h", "keys", "crypto/equal.h", "crypto/hash.h", "crypto/rand.h", "base" },
   testing = { "binding", "mssh.h", "session", "transport", "auth", "connection", "sftp", "keys", "crypto", "wire",
      "base" },
}

-- The only homes of libraries that are not libc.
local libraries = {
   { pattern = "^openssl/", name = "OpenSSL", homes = { "crypto" } },
   { pattern = "^zlib%.h$", name = "zlib", homes = { "transport/compress.c" } },
   { pattern = "^lua", name = "Lua", homes = { "binding" } },
   { pattern = "^lauxlib%.h$", name = "Lua", homes = { "binding" } },
}

-- The core does no input or output, and knows no clock or thread: these are for the binding.
local system_headers = { "sys/socket.h", "sys/un.h", "sys/epoll.h", "netinet/in.h", "netdb.h", "arpa/inet.h", "poll.h",
   "pthread.h", "threads.h", "time.h", "sys/time.h", "unistd.h", "fcntl.h", "signal.h", "setjmp.h" }
local forbidden = {}
for _, header in ipairs(system_headers) do
   forbidden[header] = true
end

local function covers(allowed, path)
   for _, place in ipairs(allowed) do
      if path == place or path:sub(1, #place + 1) == place .. "/" then
         return true
      end
   end
   return false
end

-- Complaints about the #include lines of one file; `path` is relative to csrc/.
local function wrong_includes(path, text)
   local complaints = {}
   local room = path:match("^[^/]+")
   local allowed = assert(may_include[room], "no row for " .. path)
   for quote, included in text:gmatch('#%s*include%s*([<"])([^>"]+)[>"]') do
      local wrong
      if quote == '"' then
         wrong = not covers({ room, table.unpack(allowed) }, included)
      elseif room ~= "testing" then
         wrong = room ~= "binding" and forbidden[included]
         for _, library in ipairs(libraries) do
            wrong = wrong or included:find(library.pattern) and not covers(library.homes, path)
         end
      end
      if wrong then
         table.insert(complaints, path .. " includes " .. included)
      end
   end
   return complaints
end

describe("the layers of csrc/", function()
   it("include only in the direction of the table", function()
      assert.same({}, source.complaints(function(path, text)
         return wrong_includes(path:gsub("^csrc/", ""), text)
      end, source.files("csrc", ".c", ".h")))
   end)

   it("are held apart by this rule", function()
      local function says(path, text)
         return wrong_includes(path, text)[1]
      end
      assert.equal("wire/reader.c includes crypto/hash.h", says("wire/reader.c", '#include "crypto/hash.h"'))
      assert.equal("auth/auth.c includes transport/transport.h",
         says("auth/auth.c", '# include "transport/transport.h"'))
      assert.equal("keys/key.c includes openssl/evp.h", says("keys/key.c", "#include <openssl/evp.h>"))
      assert.equal("transport/kex.c includes zlib.h", says("transport/kex.c", "#include <zlib.h>"))
      assert.equal("session/session.c includes lua.h", says("session/session.c", "#include <lua.h>"))
      assert.equal("session/session.c includes poll.h", says("session/session.c", "#include <poll.h>"))
      assert.equal("binding/key.c includes crypto/cipher.h", says("binding/key.c", '#include "crypto/cipher.h"'))
      assert.equal("binding/key.c includes wire/reader.h", says("binding/key.c", '#include "wire/reader.h"'))
      assert.equal("base/buf.c includes wirenot/reader.h", says("base/buf.c", '#include "wirenot/reader.h"'))
      assert.is_nil(says("transport/compress.c", '#include <zlib.h>\n#include "base/buf.h"\n#include <string.h>'))
      assert.is_nil(says("binding/module.c", '#include <lua.h>\n#include "mssh.h"\n#include <poll.h>'))
      assert.is_nil(says("testing/module.c", '#include <openssl/evp.h>\n#include "binding/module.h"'))
   end)
end)
