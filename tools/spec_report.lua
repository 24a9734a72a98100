-- Busted output handler of the suite. Failures are written to standard output for people; the file named by the
-- first -Xoutput argument gets one line an event for tools/spec.lua: "start", "pass", "fail" or "skip", a tab and the
-- name of the test, and "end" once the whole file was run. Every line is flushed, so that after a crash the last
-- "start" names the test that did it.

local busted = require "busted"
local base = require "busted.outputHandlers.base"

local function one_line(text)
   return (tostring(text):gsub("%s+", " "))
end

return function(options)
   local handler = base()
   local events = assert(io.open(assert(options.arguments[1], "no file given with -Xoutput"), "w"))

   local function record(kind, ...)
      events:write(table.concat({ kind, ... }, "\t"), "\n")
      events:flush()
   end

   -- Calls a function of spec/support/server.lua, if the spec that runs has loaded it.
   local function of_servers(name)
      local server = package.loaded["spec.support.server"]
      return server and server[name]() or ""
   end

   local function explain(failure)
      local trace = failure.trace or {}
      print(("FAILED: %s"):format(failure.name))
      print("   " .. tostring(failure.message):gsub("\n", "\n   "))
      if failure.isError and trace.traceback then
         print("   " .. trace.traceback:gsub("^\n", ""):gsub("\n", "\n   "))
      end
      io.write(of_servers("recent_logs"))
      io.stdout:flush()
   end

   function handler.testStart(element)
      of_servers("forget_stopped")
      record("start", one_line(handler.getFullName(element)))
      return nil, true
   end

   function handler.testEnd(element, _, status)
      local name = one_line(handler.getFullName(element))
      if status == "success" then
         record("pass", name)
      elseif status == "pending" then
         local pending = handler.pendings[#handler.pendings]
         record("skip", pending.message and name .. ": " .. one_line(pending.message) or name)
      else
         local list = status == "failure" and handler.failures or handler.errors
         explain(list[#list])
         record("fail", name)
      end
      return nil, true
   end

   -- What goes wrong outside a test: a file that does not load, a describe, a setup or a teardown.
   function handler.outside(element)
      if element.descriptor ~= "it" then
         local failure = handler.errors[#handler.errors]
         explain(failure)
         record("fail", one_line(("%s (%s)"):format(failure.name, element.descriptor or "busted")))
      end
      return nil, true
   end

   function handler.suiteEnd()
      record("end")
      return nil, true
   end

   busted.subscribe({ "suite", "end" }, handler.suiteEnd)
   busted.subscribe({ "test", "start" }, handler.testStart)
   busted.subscribe({ "test", "end" }, handler.testEnd)
   busted.subscribe({ "error" }, handler.outside)
   return handler
end
