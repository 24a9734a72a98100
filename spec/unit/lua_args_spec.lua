local args = require "moonssh.args"
local ssh = require "moonssh"

local function message_of(f, ...)
   local ok, message = pcall(f, ...)
   assert.is_false(ok)
   return message
end

-- What is raised, without the place in front.
local function complaint(f, ...)
   return (message_of(f, ...):gsub("^[^:]*:%d+: ", ""))
end

describe("args.check", function()
   it("names the argument, the function and both types", function()
      assert.equal("bad argument #2 to 'run' (string expected, got nil)",
         complaint(args.check, "run", 2, nil, "string"))
      assert.equal("bad argument #1 to 'f' (string or table expected, got boolean)",
         complaint(args.check, "f", 1, true, { "string", "table" }))
   end)

   it("lets the right types pass", function()
      args.check("f", 1, "x", "string")
      args.check("f", 1, {}, { "string", "table" })
      args.check("f", 1, 1.5, "number")
      args.check("f", 1, 1, "integer")
      args.check("f", 1, 1e6, "integer")
      args.check("f", 1, nil, "any")
      args.check("f", 1, print, "function")
      args.check("f", 1, setmetatable({}, { __call = print }), "function")
   end)

   it("tells integers from floats, and numbers from what is none", function()
      assert.equal("bad argument #1 to 'f' (integer expected, got float)",
         complaint(args.check, "f", 1, 1.5, "integer"))
      assert.equal("bad argument #1 to 'f' (number expected, got not a number)",
         complaint(args.check, "f", 1, 0 / 0, "number"))
      assert.equal("bad argument #1 to 'f' (number expected, got string)",
         complaint(args.check, "f", 1, "1", "number"))
   end)

   it("lets an optional argument be absent", function()
      args.optional("f", 1, nil, "string")
      assert.equal("bad argument #1 to 'f' (string expected, got table)",
         complaint(args.optional, "f", 1, {}, "string"))
   end)
end)

describe("args.options", function()
   local spec = { command = "string", pty = { "boolean", "table" } }

   it("gives the table, or an empty one for nil", function()
      local options = { command = "x", pty = true }
      assert.equal(options, args.options("f", 2, options, spec))
      assert.is_nil(next(args.options("f", 2, nil, spec)))
   end)

   it("names an unknown key", function()
      assert.equal("bad argument #2 to 'f' (unknown option 'comand')",
         complaint(args.options, "f", 2, { comand = "x" }, spec))
      assert.equal("bad argument #2 to 'f' (unknown option '1')", complaint(args.options, "f", 2, { "x" }, spec))
   end)

   it("names a key of a wrong type", function()
      assert.equal("bad argument #2 to 'f' (option 'pty': boolean or table expected, got number)",
         complaint(args.options, "f", 2, { pty = 1 }, spec))
   end)

   it("wants a table", function()
      assert.equal("bad argument #2 to 'f' (table expected, got string)", complaint(args.options, "f", 2, "x", spec))
   end)

   it("joins specs", function()
      local joined = args.join({ a = "string" }, { b = "number" })
      assert.same({ a = "string", b = "number" }, joined)
   end)
end)

describe("a wrong argument of a public call", function()
   it("is raised at the line that made the call", function()
      local line = debug.getinfo(1, "l").currentline + 2
      local message = message_of(function()
         ssh.quote(12)
      end)
      assert.is_truthy(message:find("lua_args_spec.lua:" .. line .. ": ", 1, true), message)
   end)

   it("is raised there from any depth, also in a coroutine", function()
      local line = debug.getinfo(1, "l").currentline + 2
      local co = coroutine.create(function()
         ssh.session{ limits = { window = "big" } }
      end)
      local ok, message = coroutine.resume(co)
      assert.is_false(ok)
      assert.is_truthy(message:find("lua_args_spec.lua:" .. line .. ": ", 1, true), message)
   end)

   it("is raised for methods called with a dot, and after close", function()
      local session = ssh.session()
      assert.equal("calling 'run' on bad self (session expected, got string)", complaint(session.run, "uname"))
      assert.equal("calling 'callback_set' on bad self (session expected, got table)",
         complaint(session.callback_set, {}, "ignore"))
      session:close()
      assert.equal("attempt to use a closed session (in 'run')", complaint(session.run, session, "uname"))
      assert.equal("attempt to use a closed session (in 'callback_set')",
         complaint(session.callback_set, session, "ignore"))
      session:close()
      assert.is_true(session.closed)
   end)

   it("is raised for unknown options, callbacks and limits of a session", function()
      assert.equal("bad argument #1 to 'session' (unknown option 'calbacks')",
         complaint(ssh.session, { calbacks = {} }))
      assert.equal("bad argument #1 to 'session' (unknown callback 'ignor')",
         complaint(ssh.session, { callbacks = { ignor = print } }))
      assert.equal("bad argument #1 to 'session' (callback 'ignore': function expected, got number)",
         complaint(ssh.session, { callbacks = { ignore = 1 } }))
      assert.equal("bad argument #1 to 'session' (option 'limits.window': not positive)",
         complaint(ssh.session, { limits = { window = 0 } }))
      assert.equal("bad argument #1 to 'session' (unknown option 'byte')",
         complaint(ssh.session, { rekey = { byte = 1 } }))
   end)

   it("is raised for calls that come too early", function()
      local session <close> = ssh.session()
      assert.equal("'run' before 'handshake'", complaint(session.run, session, "uname"))
      assert.equal("'step' before 'handshake'", complaint(session.step, session))
      assert.equal("bad argument #1 to 'handshake' (a socket, unless the callbacks send and recv are set)",
         complaint(session.handshake, session))
      assert.equal("bad argument #1 to 'handshake' (no descriptor, and no object with getfd())",
         complaint(session.handshake, session, {}))
   end)
end)
