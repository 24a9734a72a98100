--- One login under way: which credential is tried when (RFC 4252, 4256, 8332).
---
--- A single credential goes out at once, in one flight with the service request. Where there are more, the server is
--- asked for its methods, and each key is shown before it signs. Every credential is sent once at most, so a server
--- that refuses for ever, or reports partial success for ever, comes to an end.

local algorithms = require "moonssh.algorithms"
local args = require "moonssh.args"
local core = require "moonssh.core"
local deadlines = require "moonssh.deadline"
local errors = require "moonssh.errors"
local key = require "moonssh.key"
local lists = require "moonssh.lists"

local MAX_PASSWORD_CHANGES = 3

-- Parts of a request that are longer together may be more than a request can be.
local LONG = 32 * 1024

local default_order = { "hostbased", "publickey", "keyboard-interactive", "password" }

-- methods: those the server goes on with, nil while they are not known. tried: those that were refused. spent: whether
-- the password was used. asked: whether a credential was asked for. via: the method of the request under way.
local Login = {}
Login.__index = Login

---@param found moonssh.credentials
function Login.new(session, user, options, found, limit)
   return setmetatable({
      session = session,
      core = session._core,
      user = user,
      options = options,
      limit = limit,
      order = options.preferred_auth or default_order,
      credentials = found,
      next_key = 1,
      next_host_key = 1,
      tried = {},
      problems = found.problems,
      asked = false,
      via = nil,
   }, Login)
end

-- What a call of the core's has failed with. A limit is that of a request's length or that of the attempts.
function Login:core_error(code, message, ...)
   if self.session.failure then
      return self.session.failure
   elseif code == "state" then
      return errors.new("busy", "an earlier login request was granted after all", { stage = "auth" })
   elseif code ~= "limit" then
      return errors.from_core(code, message)
   end
   local length = 0
   for _, part in ipairs{ ... } do
      length = length + #part
   end
   return errors.new("limit", length > LONG and "user name, password or answers are too long" or "too many attempts")
end

-- Why the login cannot go on after one of the user's functions, or nil: the session has ended meanwhile.
function Login:is_over()
   return self.session.failure or self.session.closed and errors.closed("the session") or nil
end

-- Sends a request of the core's, by its name. The answer to one that was given up, as its time was over or its task
-- cancelled, has to come first.
function Login:send(method, name, ...)
   if self:is_over() then
      return nil, self:is_over()
   end
   local ok, code, message = self.core[name](self.core, self.user, ...)
   if not ok and code == "state" and not self.session.failure then
      local kind, err = self.session:_next_auth_event(self.limit.at)
      if not kind then
         return nil, err
      end
      ok, code, message = self.core[name](self.core, self.user, ...)
   end
   if not ok then
      return nil, self:core_error(code, message, self.user, ...)
   end
   self.via = method
   return true
end

local function split_names(text)
   local names = {}
   for name in text:gmatch("[^,]+") do
      names[#names + 1] = name
   end
   return names
end

function Login:note_refusal(text)
   if self.via ~= "none" and not lists.has(self.tried, self.via) then
      table.insert(self.tried, self.via)
   end
   self.methods = split_names(text)
end

-- Waits for the answer to the request under way: "success", "failure", "partial", or the kind of another event and
-- its values. nil, err when the session ends or the time is over.
function Login:answer()
   local kind, a, b, c = self.session:_next_auth_event(self.limit.at)
   if not kind then
      return nil, a
   elseif kind == "auth_success" then
      return "success"
   elseif kind ~= "auth_failure" then
      return kind, a, b, c
   end
   if b then
      self.methods = split_names(a)
      return "partial"
   end
   self:note_refusal(a)
   return "failure"
end

function Login:may(method)
   return not self.methods or lists.has(self.methods, method)
end

-- Calls one of the user's functions for a string; nil leaves the method.
function Login:ask(what, f, ...)
   local answer = deadlines.outside(self.limit, f, ...)
   if answer ~= nil and type(answer) ~= "string" then
      args.raise(("bad result of '%s' (string expected, got %s)"):format(what, type(answer)))
   end
   return answer
end

-- --- publickey

local rsa_algorithms = {
   ["ssh-rsa"] = { "rsa-sha2-512", "rsa-sha2-256" },
   ["ssh-rsa-cert-v01@openssh.com"] = { "rsa-sha2-512-cert-v01@openssh.com", "rsa-sha2-256-cert-v01@openssh.com" },
}

-- Whether signatures by SHA-1 were asked for: by PubkeyAcceptedAlgorithms of ssh_config, or where that says nothing by
-- the preset "legacy", or by the name "ssh-rsa" among the host keys.
function Login:allows_sha1()
   local accepted = (self.session._options._trust or {}).pubkey_algorithms
   if accepted then
      return accepted["ssh-rsa"] or accepted["ssh-dss"] or false
   end
   return lists.has(algorithms.offered(self.session._algorithms, "host_key"), "ssh-rsa")
end

-- Whether ssh_config lets keys sign by an algorithm; `what` is "pubkey_algorithms", or "hostbased_algorithms".
function Login:permits(name, what)
   local accepted = (self.session._options._trust or {})[what]
   return not accepted or accepted[name] == true
end

-- The algorithms to try with a key type, best first. RSA follows server-sig-algs, which names the plain ones; a server
-- that does not say gets both of SHA-2 one after the other (RFC 8332 3.3). SHA-1 is never used unless it was asked for.
function Login:algorithms_of(type, what)
   local list = rsa_algorithms[type]
   if type == "ssh-dss" then
      return self:allows_sha1() and { type } or {}
   elseif not list then
      return { type }
   end
   local old = type == "ssh-rsa" and self:allows_sha1()
   local known = self.core:server_sig_algs()
   if not known then
      return old and { list[1], type } or list
   end
   local offered = {}
   for _, name in ipairs(split_names(known)) do
      offered[name] = true
   end
   local best
   for _, name in ipairs(list) do
      if (offered[name] or offered[key.signed_as(name)]) and (not best or not self:permits(best, what)) then
         best = name
      end
   end
   return { best or old and offered[type] and type or nil, best and old and offered[type] and type or nil }
end

local keywords = { pubkey_algorithms = "PubkeyAcceptedAlgorithms",
   hostbased_algorithms = "HostbasedAcceptedAlgorithms" }

-- Of the algorithms those that ssh_config lets a key be used with.
function Login:allowed(candidate, names, what)
   local trust = self.session._options._trust or {}
   local left = {}
   for _, name in ipairs(names) do
      if self:permits(name, what) then
         left[#left + 1] = name
      end
   end
   if names[1] and not left[1] then
      table.insert(self.problems, errors.new("auth_failed",
         ("%s of ssh_config leaves %s out"):format(keywords[what], candidate.name)))
   elseif trust.rsa_bits and candidate.type:find("^ssh%-rsa") then
      local bits = key.bits_of(candidate.blob)
      if bits and bits < trust.rsa_bits then
         table.insert(self.problems, errors.new("auth_failed",
            ("%s has %d bits, fewer than the %d of RequiredRSASize"):format(candidate.name, bits, trust.rsa_bits)))
         return {}
      end
   end
   return left
end

-- The algorithms to try with a key, best first; why there is none is noted.
function Login:names_for(candidate, what)
   local names = self:algorithms_of(candidate.type, what)
   if not names[1] then
      table.insert(self.problems, errors.new("auth_failed",
         ("the server takes RSA keys with SHA-1 only, which is not done with %s"):format(candidate.name)))
   end
   return self:allowed(candidate, names, what)
end

-- Asks for a locked key's passphrase. → whether the key can be used; why it cannot is noted
function Login:unlock(candidate)
   local ok, err = self.credentials:unlock(candidate, self.limit)
   if not ok then
      table.insert(self.problems, err)
   end
   return ok
end

-- Signs with a key and sends the signed request; for "hostbased" with the names of this host and of its user.
function Login:sign(method, candidate, algorithm, host, host_user)
   if self:is_over() then
      return nil, self:is_over()
   end
   local data, code, message = self.core:auth_signing_data(self.user, algorithm, candidate.blob, host, host_user)
   if not data then
      return nil, self:core_error(code, message, self.user)
   end
   local signature, err = candidate.sign(candidate, algorithm, data, self.limit)
   if self:is_over() then
      return nil, self:is_over()
   elseif not signature then
      table.insert(self.problems, err)
      return "failure"
   end
   local ok
   ok, err = self:send(method, "auth_" .. method, algorithm, candidate.blob, signature, host, host_user)
   if not ok then
      return nil, err
   end
   self.asked = true
   return self:answer()
end

-- One key with one algorithm, shown first if `probe`.
function Login:try_algorithm(candidate, algorithm, probe)
   if probe then
      local ok, err = self:send("publickey", "auth_probe", algorithm, candidate.blob)
      if not ok then
         return nil, err
      end
      local outcome
      outcome, err = self:answer()
      if outcome ~= "auth_pk_ok" then
         return outcome, err
      end
   end
   if candidate.locked and not self:unlock(candidate) then
      candidate.useless = true
      return "failure"
   end
   return self:sign("publickey", candidate, algorithm)
end

function Login:publickey()
   local candidate = self.credentials.candidates[self.next_key]
   self.next_key = self.next_key + 1
   if not candidate.blob and not self:unlock(candidate) then
      return "failure"
   end
   local names = self:names_for(candidate, "pubkey_algorithms")
   local probe = not self.direct and (#self.credentials.candidates > 1 or candidate.locked ~= nil)
   local outcome, err = "failure", nil
   for _, algorithm in ipairs(names) do
      outcome, err = self:try_algorithm(candidate, algorithm, probe)
      if outcome ~= "failure" or candidate.useless or not self:may("publickey") then
         break
      end
   end
   return outcome, err
end

-- --- hostbased

-- Has the next of this host's keys vouch for its user. `host` is the name under which the server knows it.
function Login:hostbased()
   local candidate, option = self.credentials.host_keys[self.next_host_key], self.options.hostbased
   self.next_host_key = self.next_host_key + 1
   if candidate.locked and not self:unlock(candidate) then
      return "failure"
   end
   local host, host_user = option.host or core.file.hostname(), option.user or core.file.user() or ""
   local outcome, err = "failure", nil
   for _, algorithm in ipairs(self:names_for(candidate, "hostbased_algorithms")) do
      outcome, err = self:sign("hostbased", candidate, algorithm, host, host_user)
      if outcome ~= "failure" or not self:may("hostbased") then
         break
      end
   end
   return outcome, err
end

-- --- password

-- The password, asked for where it is a function.
function Login:password_of(prompt)
   local password = self.options.password
   if type(password) == "string" then
      return password
   end
   return self:ask("password", password, prompt)
end

function Login:prompt()
   return ("%s@%s's password: "):format(self.user, self.session._host or "the server")
end

-- Answers the server's demand for a new password, a few times at most.
function Login:change_password(password, prompt)
   for _ = 1, MAX_PASSWORD_CHANGES do
      local new = self.options.new_password and self:ask("new_password", self.options.new_password, prompt)
      if not new then
         table.insert(self.problems, errors.new("auth_failed",
            "the server demands a new password: " .. errors.escape(prompt)))
         return "failure"
      end
      local ok, err = self:send("password", "auth_password", password, new)
      if not ok then
         return nil, err
      end
      local outcome, next_prompt = self:answer()
      if outcome ~= "auth_password_change" then
         return outcome, next_prompt
      end
      prompt = next_prompt
   end
   return "failure"
end

Login["password"] = function(self)
   self.spent = true
   local password = self:password_of(self:prompt())
   if self:is_over() then
      return nil, self:is_over()
   elseif not password then
      return "failure"
   end
   local ok, err = self:send("password", "auth_password", password)
   if not ok then
      return nil, err
   end
   self.asked = true
   local outcome, prompt = self:answer()
   if outcome == "auth_password_change" then
      return self:change_password(password, prompt)
   elseif outcome == "failure" and not self:may("password") then
      -- A server without this method has not judged the password: it may still answer a question.
      self.spent = false
      self.unavailable = true
   end
   return outcome, prompt
end

-- --- keyboard-interactive

local function check_answers(answers, prompts)
   if type(answers) ~= "table" or #answers ~= #prompts then
      args.raise(("bad result of 'interactive' (table of %d answers expected, got %s)"):format(#prompts,
         type(answers) == "table" and #answers .. " answers" or type(answers)))
   end
   for i, answer in ipairs(answers) do
      if type(answer) ~= "string" then
         args.raise(("bad result of 'interactive' (answer %d: string expected, got %s)"):format(i, type(answer)))
      end
   end
   return answers
end

-- The answers to one round, or nil to leave the method. The password, if it was not sent yet, answers a lone hidden
-- prompt.
function Login:answers_to(name, instruction, prompts)
   local interactive = self.options.interactive
   if #prompts == 1 and not prompts[1].echo and self.options.password ~= nil and not self.spent then
      self.spent = true
      self.asked = true
      local password = self:password_of(prompts[1].text)
      return password and { password }
   elseif interactive then
      self.asked = self.asked or #prompts > 0
      local answers = deadlines.outside(self.limit, interactive, name, instruction, prompts)
      if answers == nil then
         return #prompts == 0 and {} or nil
      end
      return check_answers(answers, prompts)
   end
   return #prompts == 0 and {} or nil
end

Login["keyboard-interactive"] = function(self)
   self.asked_interactively = true
   local ok, err = self:send("keyboard-interactive", "auth_interactive")
   if not ok then
      return nil, err
   end
   while true do
      local outcome, name, instruction, prompts = self:answer()
      if outcome ~= "auth_prompts" then
         return outcome, name
      end
      local answers = self:answers_to(name, instruction, prompts)
      if self:is_over() then
         return nil, self:is_over()
      elseif not answers then
         -- The next request leaves the open question behind (RFC 4256 3.1).
         table.insert(self.problems, errors.new("auth_failed", "the server's questions were not answered"))
         return "failure"
      end
      local code, message
      ok, code, message = self.core:auth_answer(answers)
      if not ok then
         return nil, self:core_error(code, message, table.unpack(answers))
      end
   end
end

function Login:none()
   local ok, err = self:send("none", "auth_none")
   if not ok then
      return nil, err
   end
   return self:answer()
end

-- --- the order of things

function Login:has(method)
   if method == "publickey" then
      return self.next_key <= #self.credentials.candidates
   elseif method == "hostbased" then
      return self.next_host_key <= #self.credentials.host_keys
   elseif method == "password" then
      return self.options.password ~= nil and not self.spent and not self.unavailable
   end
   local password = self.options.password ~= nil and not self.spent
   return (self.options.interactive ~= nil or password) and not self.asked_interactively
end

function Login:next_method()
   for _, method in ipairs(self.order) do
      -- A lone password is sent as what it is while the server's methods are not known.
      local later = method == "keyboard-interactive" and not self.methods and not self.options.interactive
         and lists.has(self.order, "password")
      if self:has(method) and self:may(method) and not later then
         return method
      end
   end
end

-- Whether a method is the first one of which there is a credential.
function Login:comes_first(method)
   for _, one in ipairs(self.order) do
      if one == method or self:has(one) then
         return one == method
      end
   end
   return false
end

-- Whether the first request can be the credential itself: it is the only one, or the only key and keys come first.
function Login:is_direct()
   local keys = self.credentials.candidates
   local others = (self.options.password ~= nil or self.options.interactive ~= nil) and 1 or 0
   local both = self.options.password ~= nil and self.options.interactive ~= nil
   local hosts = #self.credentials.host_keys
   return #keys + others + hosts == 1 and not both
      or #keys == 1 and not keys[1].locked and self:comes_first("publickey")
end

function Login:failure()
   if #self.tried == 0 and self.problems[1] then
      return errors.with(self.problems[1], { methods = self.methods or {}, tried = {}, problems = self.problems })
   end
   local parts = {}
   for i, problem in ipairs(self.problems) do
      parts[i] = "; " .. problem.message
   end
   local accepted = self.methods and "the server accepts " .. errors.escape(table.concat(self.methods, ", "))
      or "the server has not said what it accepts"
   return errors.new("auth_failed", ("authentication failed for %s: tried %s; %s%s"):format(
      errors.escape(self.user, 64), #self.tried > 0 and table.concat(self.tried, ", ") or "nothing", accepted,
      table.concat(parts)), { methods = self.methods or {}, tried = self.tried, problems = self.problems })
end

-- Runs the methods until one ends it.
function Login:run()
   local outcome, err = "failure", nil
   self.direct = self:is_direct()
   if not self.direct then
      outcome, err = self:none()
   end
   while outcome == "failure" or outcome == "partial" do
      local method = self:next_method()
      if not method then
         return nil, self:failure()
      end
      outcome, err = self[method](self)
      self.direct = false
   end
   return self:conclude(outcome, err)
end

function Login:conclude(outcome, err)
   if outcome == nil then
      if err.code == "limit" and not self.session.failure then
         table.insert(self.problems, err)
         err = self:failure()
      end
      return nil, err
   elseif outcome == "failure" or outcome == "partial" then
      return nil, self:failure()
   elseif outcome ~= "success" then
      return nil, errors.new("protocol", "an answer out of place: " .. outcome)
   end
   self.session._user, self.session._auth = self.user, self.via
   if self.options.require_auth and not self.asked then
      err = errors.new("auth_trivial", ("the server let %s in without asking for any credential"):format(
         errors.escape(self.user, 64)))
      self.session:_fail(err)
      return nil, err
   end
   return true
end

return Login
