local ssh = require "moonssh"

local types = { "ignore", "debug", "disconnect", "macerror", "x11", "send", "recv", "authagent", "authagent_identities",
   "authagent_sign" }

describe("callback_set", function()
   local session

   before_each(function()
      session = ssh.session()
   end)

   after_each(function()
      session:close()
   end)

   for _, cbtype in ipairs(types) do
      it("takes the type " .. cbtype .. ", also by its constant", function()
         local f, g = function() end, function() end
         assert.equal(cbtype, ssh.CALLBACK[cbtype:upper()])
         assert.is_nil(session:callback_get(cbtype))
         assert.same({ n = 1 }, table.pack(session:callback_set(cbtype, f)))
         assert.equal(f, session:callback_get(cbtype))
         assert.equal(f, session:callback_set(ssh.CALLBACK[cbtype:upper()], g))
         assert.equal(g, session:callback_set(cbtype, nil))
         assert.is_nil(session:callback_get(cbtype))
         assert.same({ n = 1 }, table.pack(session:callback_set(cbtype, nil)))
      end)
   end

   it("knows these ten types only", function()
      local count = 0
      for _ in pairs(ssh.CALLBACK) do
         count = count + 1
      end
      assert.equal(#types, count)
   end)

   it("gives nil and an error for an unknown type, and changes nothing", function()
      for _, cbtype in ipairs{ "IGNORE", "ignor", "", "exit", 0, true } do
         local previous, err = session:callback_set(cbtype, print)
         assert.is_nil(previous)
         assert.equal("unknown_callback", err.code)
         local handler, get_err = session:callback_get(cbtype)
         assert.is_nil(handler)
         assert.equal("unknown_callback", get_err.code)
      end
      assert.equal("unknown callback 'a\\x0ab'", select(2, session:callback_set("a\nb", print)).message)
   end)

   it("raises for a handler that cannot be called, and keeps the one before", function()
      local f = function() end
      session:callback_set("ignore", f)
      assert.error_matches(function() session:callback_set("ignore", 1) end,
         "bad argument #2 to 'callback_set' %(function expected, got number%)")
      assert.equal(f, session:callback_get("ignore"))
   end)

   it("takes what can be called", function()
      local callable = setmetatable({}, { __call = function() end })
      session:callback_set("debug", callable)
      assert.equal(callable, session:callback_get("debug"))
   end)

   it("has a table of the session's options set first", function()
      local f = function() end
      local other <close> = ssh.session{ callbacks = { ignore = f } }
      assert.equal(f, other:callback_get("ignore"))
      assert.is_nil(other:callback_get("debug"))
   end)
end)

describe("abstract", function()
   it("is what the options say, and may be read and written", function()
      local value = {}
      local session <close> = ssh.session{ abstract = value }
      assert.equal(value, session.abstract)
      session.abstract = 12
      assert.equal(12, session.abstract)
      session.abstract = nil
      assert.is_nil(session.abstract)
   end)
end)
