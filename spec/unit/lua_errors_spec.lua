local errors = require "moonssh.errors"

describe("an error value", function()
   local err = errors.new("timeout", "it took too long", { stage = "read" })

   it("has a code, a message and further fields", function()
      assert.equal("timeout", err.code)
      assert.equal("it took too long", err.message)
      assert.equal("read", err.stage)
   end)

   it("is its message as a string, and next to one", function()
      assert.equal("it took too long", tostring(err))
      assert.equal("sorry: it took too long", "sorry: " .. err)
      assert.equal("it took too long.", err .. ".")
      assert.equal("it took too longit took too long", err .. err)
   end)

   it("passes through assert and error as it is", function()
      -- In a chunk of its own, as the framework has another assert and error.
      for _, code in ipairs{ "return pcall(assert, nil, ...)", "return pcall(error, ...)" } do
         local ok, caught = load(code)(err)
         assert.is_false(ok)
         assert.equal(err, caught)
      end
   end)

   it("is told from other values", function()
      assert.is_true(errors.is(err))
      assert.is_false(errors.is{ code = "timeout", message = "" })
      assert.is_false(errors.is("timeout"))
      assert.is_false(errors.is(nil))
   end)

   it("can be copied with more fields, and stays as it was", function()
      local copy = errors.with(err, { result = { stdout = "half" } })
      assert.equal("timeout", copy.code)
      assert.equal("read", copy.stage)
      assert.equal("half", copy.result.stdout)
      assert.is_nil(err.result)
      assert.is_true(errors.is(copy))
      assert.equal("it took too long", tostring(copy))
   end)
end)

describe("errors", function()
   it("of the core keep its code and message", function()
      local err = errors.from_core("io", "Connection reset by peer", 104)
      assert.equal("io", err.code)
      assert.equal("Connection reset by peer", err.message)
      assert.equal(104, err.errno)
      assert.equal("memory", errors.from_core("memory").message)
   end)

   it("of a deadline name the stage", function()
      local err = errors.timeout("kex")
      assert.equal("timeout", err.code)
      assert.equal("kex", err.stage)
      assert.equal("timeout while exchanging keys", err.message)
   end)

   it("that were thrown are kept when they are error values, and wrapped when not", function()
      local err = errors.new("io", "broken")
      assert.equal(err, errors.thrown(err, "traceback"))
      local cause = {}
      local wrapped = errors.thrown(cause, "traceback")
      assert.equal("callback", wrapped.code)
      assert.equal(cause, wrapped.cause)
      assert.equal("traceback", wrapped.traceback)
      assert.equal("oops", errors.thrown("oops").message)
   end)

   it("show text of the peer as printable, of a sane length", function()
      assert.equal("a\\x1b[31mb", errors.escape("a\27[31mb"))
      assert.is_true(#errors.escape(("x"):rep(100000)) <= 256)
   end)
end)
