-- What the client makes of the server's authentication messages, whatever they are and whenever they come.

local testing = require "moonssh_testing"

local SERVICE_ACCEPT = string.pack(">Bs4", 6, "ssh-userauth")
local KEY = string.pack(">s4s4", "ssh-ed25519", "BLOB")

local function failure(methods, partial)
   return string.pack(">Bs4B", 51, methods, partial and 1 or 0)
end

local function banner(text, language)
   return string.pack(">Bs4s4", 53, text, language or "")
end

-- An INFO_REQUEST that announces n prompts and carries those of the list.
local function info_request(n, list)
   local fields = { string.pack(">Bs4s4s4I4", 60, "Name", "Do this", "en", n) }
   for _, prompt in ipairs(list) do
      table.insert(fields, string.pack(">s4B", prompt.text, prompt.echo and 1 or 0))
   end
   return table.concat(fields)
end

local messages = {
   service_accept = SERVICE_ACCEPT,
   failure = failure("publickey,password"),
   success = string.char(52),
   banner = banner("Hello", "en"),
   pk_ok = string.char(60) .. KEY,
   change = string.pack(">Bs4s4", 60, "Your password has expired", "en"),
   prompts = info_request(2, { { text = "Password:" }, { text = "Token:", echo = true } }),
   request = string.pack(">Bs4s4s4", 50, "u", "ssh-connection", "none"),
   answers = string.pack(">BI4", 61, 0),
   unknown = string.char(79),
}

-- Brings a fresh authentication to a state.
local states = {}

function states.fresh() end

function states.service_asked(auth)
   assert(auth:none("u"))
end

function states.idle(auth)
   assert(auth:none("u"))
   assert(auth:handle(SERVICE_ACCEPT))
   assert(auth:handle(failure("password")))
end

function states.none_asked(auth)
   states.idle(auth)
   assert(auth:none("u"))
end

function states.password_asked(auth)
   states.idle(auth)
   assert(auth:password("u", "pw"))
end

function states.change_open(auth)
   states.password_asked(auth)
   assert(auth:handle(messages.change))
end

function states.change_asked(auth)
   states.change_open(auth)
   assert(auth:password("u", "pw", "new"))
end

function states.probe_asked(auth)
   states.idle(auth)
   assert(auth:probe("u", "ssh-ed25519", "BLOB"))
end

function states.probe_answered(auth)
   states.probe_asked(auth)
   assert(auth:handle(messages.pk_ok))
end

function states.publickey_asked(auth)
   states.idle(auth)
   assert(auth:publickey("u", "ssh-ed25519", "BLOB", "SIG"))
end

function states.interactive_asked(auth)
   states.idle(auth)
   assert(auth:interactive("u"))
end

function states.prompts_open(auth)
   states.interactive_asked(auth)
   assert(auth:handle(messages.prompts))
end

function states.prompts_answered(auth)
   states.prompts_open(auth)
   assert(auth:answer { "a", "b" })
end

function states.succeeded(auth)
   states.none_asked(auth)
   assert(auth:handle(messages.success))
end

-- The event each message is in each state; where there is none, it breaks the protocol.
local verdicts = {
   fresh = {},
   service_asked = { service_accept = "none" },
   idle = { banner = "banner" },
   none_asked = { banner = "banner", failure = "failure", success = "success" },
   password_asked = {
      banner = "banner", failure = "failure", success = "success", change = "password_change",
      -- Two strings, whatever they say: the form is that of PASSWD_CHANGEREQ.
      pk_ok = "password_change",
   },
   change_open = { banner = "banner" },
   change_asked = {
      banner = "banner", failure = "failure", success = "success", change = "password_change",
      pk_ok = "password_change",
   },
   probe_asked = { banner = "banner", failure = "failure", pk_ok = "pk_ok" },
   probe_answered = { banner = "banner" },
   publickey_asked = { banner = "banner", failure = "failure", success = "success" },
   interactive_asked = { banner = "banner", failure = "failure", success = "success", prompts = "prompts" },
   prompts_open = { banner = "banner" },
   prompts_answered = { banner = "banner", failure = "failure", success = "success", prompts = "prompts" },
   succeeded = {},
}

describe("the server's authentication message", function()
   local auth, heap

   before_each(function()
      heap = testing.heap.new()
      auth = testing.auth.new(heap)
   end)

   after_each(function()
      auth:close()
      assert.equal(0, heap:in_use())
   end)

   local function rejected(payload, code)
      local event, err = auth:handle(payload)
      assert.is_nil(event)
      assert.equal(code or "protocol", err)
      local recorded, message, reason = auth:failure()
      assert.equal(code or "protocol", recorded)
      assert.is_nil(message:find("[^\x20-\x7e]"))
      assert.equal(2, reason)
      -- It sticks.
      assert.same({ nil, code or "protocol" }, { auth:handle(messages.banner) })
   end

   for state, enter in pairs(states) do
      for name, payload in pairs(messages) do
         local expected = verdicts[state][name]
         it(("%s in state %s %s"):format(name, state, expected and "is " .. expected or "breaks the protocol"),
            function()
               enter(auth)
               if expected then
                  assert.equal(expected, auth:handle(payload).type)
                  assert.is_nil(auth:failure())
               else
                  rejected(payload)
               end
            end)

         if expected then
            it(("%s in state %s breaks the protocol when it is cut or has bytes too many"):format(name, state),
               function()
                  for len = 0, #payload - 1 do
                     auth:close()
                     auth = testing.auth.new(heap)
                     enter(auth)
                     rejected(payload:sub(1, len))
                  end
                  for _, more in ipairs { "\0", ("x"):rep(16) } do
                     auth:close()
                     auth = testing.auth.new(heap)
                     enter(auth)
                     rejected(payload .. more)
                  end
               end)
         end
      end

      it(("of any other number in state %s breaks the protocol"):format(state), function()
         local known = { [6] = true, [51] = true, [52] = true, [53] = true, [60] = true }
         for number = 0, 255 do
            if not known[number] then
               auth:close()
               auth = testing.auth.new(heap)
               enter(auth)
               rejected(string.char(number) .. "\0\0\0\0")
            end
         end
      end)
   end

   it("tells which methods can go on, and partial success", function()
      states.none_asked(auth)
      local event = auth:handle(failure("publickey,keyboard-interactive", true))
      assert.equal("publickey,keyboard-interactive", event.text)
      assert.is_true(event.partial)
      auth:none("u")
      event = auth:handle(failure(""))
      assert.equal("", event.text)
      assert.is_false(event.partial)
   end)

   for what, list in pairs {
      ["an empty name"] = "password,,publickey",
      ["a leading comma"] = ",password",
      ["a trailing comma"] = "password,",
      ["a control character"] = "pass\27word",
      ["a space"] = "pass word",
      ["a zero byte"] = "password\0",
      ["a byte above 127"] = "password\xc3\xa4",
      ["a name of 65 bytes"] = ("m"):rep(65),
      ["513 names"] = ("m,"):rep(512) .. "m",
   } do
      it(("FAILURE whose list has %s breaks the protocol"):format(what), function()
         states.none_asked(auth)
         rejected(failure(list))
      end)
   end

   for what, payload in pairs {
      ["another service"] = string.pack(">Bs4", 6, "ssh-connection"),
      ["no name"] = string.pack(">Bs4", 6, ""),
      ["a name that goes on after a zero byte"] = string.pack(">Bs4", 6, "ssh-userauth\0"),
   } do
      it(("SERVICE_ACCEPT with %s breaks the protocol"):format(what), function()
         states.service_asked(auth)
         rejected(payload)
      end)
   end

   it("tells a banner, and takes 64 KiB of them", function()
      states.idle(auth)
      local event = auth:handle(banner("Willkommen", "de"))
      assert.equal("Willkommen", event.text)
      assert.equal("de", event.language)
      local total = #"Willkommen" + #"de" + 8
      while total + 1008 <= 65536 do
         assert.equal("banner", auth:handle(banner(("x"):rep(1000))).type)
         total = total + 1008
      end
      rejected(banner(("x"):rep(1000)), "limit")
   end)

   it("that is an empty banner counts, too", function()
      states.idle(auth)
      for _ = 1, 65536 // 8 do
         assert.equal("banner", auth:handle(banner("")).type)
      end
      rejected(banner(""), "limit")
   end)

   it("asks to change the password in the server's words", function()
      states.password_asked(auth)
      local event = auth:handle(messages.change)
      assert.equal("Your password has expired", event.text)
      assert.equal("en", event.language)
   end)

   for what, key in pairs {
      ["another algorithm"] = string.pack(">s4s4", "ssh-rsa", "BLOB"),
      ["another key"] = string.pack(">s4s4", "ssh-ed25519", "BLUB"),
      ["no key"] = string.pack(">s4s4", "ssh-ed25519", ""),
      ["the same bytes cut elsewhere"] = string.pack(">s4s4", "ssh-ed2551", "9BLOB"),
   } do
      it(("PK_OK for %s breaks the protocol"):format(what), function()
         states.probe_asked(auth)
         rejected(string.char(60) .. key)
      end)
   end

   it("PK_OK must be for the last key asked about", function()
      states.probe_asked(auth)
      auth:handle(failure("publickey"))
      auth:probe("u", "ssh-ed25519", "OTHER")
      assert.equal("pk_ok", auth:handle(string.pack(">Bs4s4", 60, "ssh-ed25519", "OTHER")).type)
      auth:probe("u", "ssh-ed25519", "THIRD")
      rejected(messages.pk_ok)
   end)

   it("gives name, instruction and prompts with their echo", function()
      states.interactive_asked(auth)
      local event = auth:handle(messages.prompts)
      assert.equal("Name", event.name)
      assert.equal("Do this", event.instruction)
      assert.equal("en", event.language)
      assert.equal(2, event.n_prompts)
      assert.same({ { text = "Password:", echo = false }, { text = "Token:", echo = true } }, event.prompts)
   end)

   local function many(n)
      local list = {}
      for i = 1, n do
         list[i] = { text = "p" .. i }
      end
      return list
   end

   it("may have 64 prompts and no more", function()
      states.interactive_asked(auth)
      assert.equal(64, #auth:handle(info_request(64, many(64))).prompts)
      assert.is_true(auth:answer((function()
         local answers = {}
         for i = 1, 64 do
            answers[i] = "a"
         end
         return answers
      end)()))
      rejected(info_request(65, many(65)), "limit")
   end)

   for _, n in ipairs { 65, 1024, 0x7fffffff, 0xffffffff } do
      it(("that announces %d prompts and has two is refused"):format(n), function()
         states.interactive_asked(auth)
         rejected(info_request(n, many(2)), "limit")
      end)
   end

   for _, n in ipairs { 0, 1, 3, 64 } do
      it(("that announces %d prompts and has two breaks the protocol"):format(n), function()
         states.interactive_asked(auth)
         rejected(info_request(n, many(2)))
      end)
   end

   it("may come in 32 rounds of prompts and no more, each request", function()
      states.interactive_asked(auth)
      for attempt = 1, 2 do
         for _ = 1, 32 do
            assert.equal("prompts", auth:handle(info_request(0, {})).type)
            assert.is_true(auth:answer {})
         end
         if attempt == 1 then
            assert.equal("failure", auth:handle(failure("keyboard-interactive")).type)
            assert.is_true(auth:interactive("u"))
         end
      end
      rejected(info_request(0, {}), "limit")
   end)

   it("may be a prompt of any length and content", function()
      states.interactive_asked(auth)
      local text = "\27]0;x\7" .. ("\xe2\x80\xae"):rep(20000) .. "\0"
      local event = auth:handle(info_request(1, { { text = text } }))
      assert.equal(text, event.prompts[1].text)
   end)

   it("takes no memory that stays", function()
      states.idle(auth)
      local before = heap:in_use()
      heap:peak()
      for _ = 1, 100 do
         auth:handle(banner(("x"):rep(300)))
      end
      assert.equal(before, heap:peak())
   end)

   it("has each length field tried at its edges", function()
      local edges = { 0, 1, 0x7f, 0xff, 0xffff, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff }
      for state, row in pairs(verdicts) do
         for name in pairs(row) do
            local payload = messages[name]
            for at = 2, #payload - 3 do
               for _, edge in ipairs(edges) do
                  auth:close()
                  auth = testing.auth.new(heap)
                  states[state](auth)
                  local event, err = auth:handle(payload:sub(1, at - 1) .. string.pack(">I4", edge) ..
                     payload:sub(at + 4))
                  assert.is_true(event ~= nil or err == "protocol" or err == "limit")
               end
            end
         end
      end
   end)
end)
