--- Logging in, as sessions offer it: with all that the options hold, or by a single method.

local args = require "moonssh.args"
local agents = require "moonssh.agent"
local credentials = require "moonssh.credentials"
local deadlines = require "moonssh.deadline"
local errors = require "moonssh.errors"
local key = require "moonssh.key"
local Login = require "moonssh.login"

local auth = {}

---@class moonssh.login_options
---@field user? string
---@field identity? string|moonssh.key|(string|moonssh.key)[]
---@field identities_only? boolean
---@field certificate? string|moonssh.key|(string|moonssh.key)[]
---@field passphrase? string|fun(path: string): string?
---@field password? string|fun(prompt: string): string?
---@field interactive? fun(name: string, instruction: string, prompts: { text: string, echo: boolean }[]): string[]?
---@field new_password? fun(prompt: string): string?
---@field agent? boolean|string|moonssh.agent
---@field hostbased? { key: string|moonssh.key|(string|moonssh.key)[], host: string?, user: string? }
---@field preferred_auth? string[]
---@field require_auth? boolean

--- What `authenticate` takes, for args.options; connect's options have these, too.
auth.options = {
   user = "string",
   identity = { "string", "table" },
   identities_only = "boolean",
   certificate = { "string", "table" },
   passphrase = { "string", "function" },
   password = { "string", "function" },
   interactive = "function",
   new_password = "function",
   agent = { "boolean", "string", "table" },
   hostbased = "table",
   preferred_auth = "table",
   require_auth = "boolean",
}

local methods = { publickey = true, ["keyboard-interactive"] = true, password = true, hostbased = true }

local hostbased_options = { key = { "string", "table" }, host = "string", user = "string" }

-- Raises unless a value is a path or a key, or a list of these.
local function check_keys(fname, index, name, option)
   for _, one in ipairs(type(option) == "table" and not key.is(option) and option or {}) do
      if type(one) ~= "string" and not key.is(one) then
         args.bad(fname, index, ("option '%s': paths and keys expected"):format(name))
      end
   end
end

local function check_hostbased(fname, index, option)
   args.options(fname, index, option, hostbased_options)
   check_keys(fname, index, "key", option.key)
   if option.key == nil then
      args.bad(fname, index, "option 'hostbased': it has no key")
   elseif option.host == "" then
      args.bad(fname, index, "option 'host': the name is empty")
   end
end

--- Checks what the types of the options alone do not tell.
function auth.check_options(fname, index, options)
   check_keys(fname, index, "identity", options.identity)
   check_keys(fname, index, "certificate", options.certificate)
   if options.hostbased then
      check_hostbased(fname, index, options.hostbased)
   end
   if type(options.agent) == "table" and not agents.is(options.agent) then
      args.bad(fname, index, "option 'agent': boolean, path or agent expected")
   end
   for _, method in ipairs(options.preferred_auth or {}) do
      if not methods[method] then
         args.bad(fname, index, ("option 'preferred_auth': unknown method '%s'"):format(
            errors.escape(tostring(method), 64)))
      end
   end
   if options.user and options.user:find("\0", 1, true) then
      args.bad(fname, index, "option 'user': a name has no NUL")
   end
end

--- Tries what the options hold, in the order of `preferred_auth` as far as the server allows it.
---@param session table
---@param options table see `auth.options`; user is required
---@param deadline number|{ at: number? }|nil
---@return true|nil
---@return table? err
function auth.authenticate(session, options, deadline)
   local limit = deadlines.of(deadline)
   local found <close> = credentials.collect(options, session, limit)
   local others = options.password or options.interactive
   if #found.candidates + #found.host_keys == 0 and found.problems[1] and not others then
      return nil, errors.with(found.problems[1], { tried = {}, methods = {} })
   end
   return Login.new(session, options.user, options, found, limit):run()
end

-- --- single methods

local function single(session, user, options, method, limit)
   local found <close> = credentials.collect(options, session, limit)
   local login = Login.new(session, user, options, found, limit)
   login.direct = #found.candidates <= 1
   if method == "publickey" and not found.candidates[1] then
      return nil, found.problems[1] or errors.new("auth_failed", "there is no key to try", { tried = {}, methods = {} })
   end
   local outcome, err
   repeat
      outcome, err = login[method](login)
   until outcome ~= "failure" or method ~= "publickey" or not login:has("publickey") or not login:may("publickey")
   return login, outcome, err
end

--- Asks for the methods by trying "none" (RFC 4252 5.2): the list of what may go on, empty if it let us in.
---@return string[]|nil
---@return table? err
function auth.none(session, user, deadline)
   local login, outcome, err = single(session, user, {}, "none", deadlines.of(deadline))
   if outcome == "failure" or outcome == "partial" then
      return login.methods
   end
   local ok
   ok, err = login:conclude(outcome, err)
   return ok and {} or nil, err
end

local function conclude(login, outcome, err)
   if not login then
      return nil, outcome
   end
   return login:conclude(outcome, err)
end

---@param password string|fun(prompt: string): string
function auth.password(session, user, password, deadline)
   return conclude(single(session, user, { password = password }, "password", deadlines.of(deadline)))
end

---@param identity string|moonssh.key path or key
function auth.publickey(session, user, identity, deadline)
   return conclude(single(session, user, { identity = identity }, "publickey", deadlines.of(deadline)))
end

--- Tries the agent's keys, one after the other.
---@param agent string|boolean|moonssh.agent|nil
function auth.agent(session, user, agent, deadline)
   return conclude(single(session, user, { agent = agent == nil or agent }, "publickey", deadlines.of(deadline)))
end

--- Has this host vouch for its user (RFC 4252 9), with a key of the host.
---@param identity string|moonssh.key path or key
---@param options { host: string?, user: string? } the host's name, and that of its user
function auth.hostbased(session, user, identity, options, deadline)
   local limit = deadlines.of(deadline)
   local asked = { hostbased = { key = identity, host = options.host, user = options.user },
      passphrase = options.passphrase }
   local found <close> = credentials.collect(asked, nil, limit)
   if not found.host_keys[1] then
      return nil, found.problems[1]
   end
   local login = Login.new(session, user, asked, found, limit)
   return login:conclude(login:hostbased())
end

---@param f fun(name: string, instruction: string, prompts: table[]): string[]
function auth.interactive(session, user, f, deadline)
   return conclude(single(session, user, { interactive = f }, "keyboard-interactive", deadlines.of(deadline)))
end

return auth
