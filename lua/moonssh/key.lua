--- Keys: public and private, from files, from texts, made here, or held elsewhere and asked to sign.

local core = require "moonssh.core"
local errors = require "moonssh.errors"
local args = require "moonssh.args"
local certificates = require "moonssh.certificate"
local paths = require "moonssh.paths"

local MAX_FILE = 1024 * 1024

local MOST_BITS = 16384

---@class moonssh.key
---@field type string "ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa", …
---@field bits integer
---@field comment string
---@field private boolean whether it can sign
---@field closed boolean
local Key = {}
Key.__index = Key
Key.__name = "moonssh.key"

local key = {}

local type_names = {
   ed25519 = "ed25519", ["ssh-ed25519"] = "ed25519",
   rsa = "rsa", ["ssh-rsa"] = "rsa",
   ecdsa = "ecdsa", ["ecdsa-sha2-nistp256"] = "ecdsa", ["ecdsa-sha2-nistp384"] = "ecdsa",
   ["ecdsa-sha2-nistp521"] = "ecdsa",
}
local curve_bits = { ["ecdsa-sha2-nistp256"] = 256, ["ecdsa-sha2-nistp384"] = 384, ["ecdsa-sha2-nistp521"] = 521 }

local function wrap(core_key, comment)
   return setmetatable({
      _core = core_key,
      _blob = core_key:blob(),
      _plain = core_key:plain_blob(),
      type = core_key:type(),
      bits = core_key:bits(),
      comment = comment or core_key:comment(),
      private = core_key:is_private(),
      closed = false,
   }, Key)
end

local function open_core(self, method)
   args.handle(self, "key", method)
   return self._core
end

-- The first string of a key or signature blob: its type or algorithm. nil when there is none.
local function first_string(blob)
   local ok, text = pcall(string.unpack, ">s4", blob)
   return ok and text or nil
end

--- Whether a value is a key.
function key.is(value)
   return getmetatable(value) == Key
end

--- The blob of a key or of a blob; raises for anything else, naming argument `index` of `fname`.
---@return string
function key.blob_of(fname, index, value)
   if key.is(value) then
      return value._blob
   elseif type(value) == "string" and first_string(value) then
      return value
   end
   return args.bad(fname, index, "key expected")
end

-- Of each signature algorithm, what its signatures say that they are by; and of each key type its best algorithm.
local signed_as, best_algorithm

local function read_algorithms()
   if not signed_as then
      signed_as, best_algorithm = {}, {}
      for _, row in ipairs(core.key.algorithms()) do
         signed_as[row.name] = row.signed_as
         best_algorithm[row.key_type] = best_algorithm[row.key_type] or row.name
      end
   end
end

--- What the signatures of an algorithm say that they are by: of "rsa-sha2-512-cert-v01@openssh.com" "rsa-sha2-512".
---@return string
function key.signed_as(algorithm)
   read_algorithms()
   return signed_as[algorithm] or algorithm
end

--- Whether there is an algorithm for keys of a type.
---@return boolean
function key.is_known_type(type_name)
   read_algorithms()
   return best_algorithm[type_name] ~= nil
end

--- A public key from its blob (RFC 4253 6.6). RSA is taken from 2048 bits on, or from `min_rsa_bits`.
---@return moonssh.key|nil
---@return table? err
function key.from_blob(blob, min_rsa_bits)
   local core_key, code, message = core.key.parse_public(blob, min_rsa_bits)
   if not core_key then
      return nil, errors.from_core(code, message)
   end
   return wrap(core_key)
end

--- The bits of the key in a public blob, or nil for one that is none of ours.
---@param blob string
---@return integer|nil
function key.bits_of(blob)
   local core_key = core.key.parse_public(blob)
   if core_key then
      local bits = core_key:bits()
      core_key:close()
      return bits
   end
end

-- --- reading

-- An error that says which passphrase problem it was, the one thing the core cannot tell.
local function passphrase_error(name, given)
   return errors.new("passphrase", given and ("wrong passphrase for %s"):format(name)
      or ("%s is encrypted and no passphrase was given"):format(name))
end

-- Parses a text, asking for the passphrase only when it is encrypted. `ask` is a string, nil, or a function of the
-- path that may wait. `name` is for messages.
local function parse(text, ask, name, path)
   local core_key, code, message = core.key.parse_file(text)
   local passphrase
   if code == "passphrase" then
      passphrase = ask
      if type(ask) == "function" then
         passphrase = ask(path)
         if passphrase ~= nil and type(passphrase) ~= "string" then
            args.raise(("bad result of 'passphrase' (string expected, got %s)"):format(type(passphrase)))
         end
      end
      if passphrase then
         core_key, code, message = core.key.parse_file(text, passphrase)
      end
   end
   if core_key then
      return wrap(core_key)
   elseif code == "passphrase" then
      return nil, passphrase_error(name, passphrase)
   end
   return nil, errors.from_core(code, ("%s: %s"):format(name, message))
end

-- The text of a key file, and whether others than its owner, who is us, may get at it.
local function read(path)
   local text, mode, message, errno = core.file.read(path, MAX_FILE)
   if not text then
      return nil, errors.new("io", ("cannot read key file %s: %s"):format(path, message),
         { path = path, errno = errno, missing = errno == core.file.ENOENT })
   end
   return text, message == core.file.uid() and mode & tonumber("077", 8) ~= 0 and mode
end

-- The public half that an encrypted file in OpenSSH's format shows, or nil.
local function public_part(text)
   local body = text:match("%-%-%-%-%-BEGIN OPENSSH PRIVATE KEY%-%-%-%-%-(.-)%-%-%-%-%-END")
   local data = body and core.base64_decode((body:gsub("%s", "")))
   local ok, magic, _, _, _, _, blob = pcall(string.unpack, ">zs4s4s4I4s4", data or "")
   return ok and magic == "openssh-key-v1" and key.from_blob(blob) or nil
end

--- What a private key file says without its passphrase: the key, if it needs none; else the public half, where the
--- file or the ".pub" beside it shows it, and true for being locked.
--- As in ssh, a private key of ours that others may read is none.
---@param path string
---@return moonssh.key|nil
---@return boolean|table locked, or err
function key.peek(path)
   local text, open_mode = read(path)
   local found, err
   if text then
      found, err = parse(text, nil, path, path)
   else
      open_mode.path = path
      return nil, open_mode
   end
   if open_mode and (found and found.private or err and err.code == "passphrase") then
      return nil, errors.new("key_format", ("%s: its permissions, %04o, are too open: others may read this private key")
         :format(path, open_mode), { path = path, permissions = open_mode })
   elseif found then
      return found, false
   elseif err.code ~= "passphrase" then
      err.path = path
      return nil, err
   end
   found = public_part(text)
   local public = not found and core.file.read(path .. ".pub", MAX_FILE)
   found = found or public and parse(public, nil, path, path)
   return found and not found.private and found or nil, true
end

--- Reads a key file of any known format; a public one gives a public key.
---@param path string
---@param passphrase string|fun(path: string): string|nil asked for only where the file is encrypted
---@return moonssh.key|nil
---@return table? err `io`, `key_format`, `passphrase`
function key.load(path, passphrase)
   args.check("load", 1, path, "string")
   args.optional("load", 2, passphrase, { "string", "function" })
   path = paths.expand(path)
   local text, err = read(path)
   local loaded
   if text then
      loaded, err = parse(text, passphrase, path, path)
   end
   if not loaded then
      err.path = path
      return nil, err
   end
   return loaded
end

--- Reads a key from a text, as from a key file.
---@param text string
---@param passphrase string|fun(): string|nil
---@return moonssh.key|nil
---@return table? err
function key.parse(text, passphrase)
   args.check("parse", 1, text, "string")
   args.optional("parse", 2, passphrase, { "string", "function" })
   return parse(text, passphrase, "the key", nil)
end

-- --- making

--- Makes a key pair: "ed25519", "ecdsa" (bits 256, 384, 521) or "rsa" (bits from 2048).
---@param type_name string
---@param options { bits: integer?, comment: string? }|nil
---@return moonssh.key|nil
---@return table? err
function key.generate(type_name, options)
   args.check("generate", 1, type_name, "string")
   options = args.options("generate", 2, options, { bits = "integer", comment = "string" })
   local name = type_names[type_name]
   if not name then
      args.bad("generate", 1, ("unknown key type '%s'"):format(errors.escape(type_name, 40)))
   end
   local bits = options.bits or curve_bits[type_name] or 0
   if bits < 0 or bits > MOST_BITS then
      args.bad("generate", 2, ("option 'bits': a number up to %d expected"):format(MOST_BITS))
   end
   local core_key, code, message = core.key.generate(name, bits)
   if not core_key then
      return nil, errors.from_core(code, message)
   end
   return wrap(core_key, options.comment or "")
end

-- The public half that `external` was given: a key, a public line, or a blob.
local function public_half(public)
   if key.is(public) then
      return key.from_blob(public._blob)
   end
   local made = key.from_blob(public)
   if made then
      return made
   end
   return key.parse(public)
end

--- A key whose private half is elsewhere: `sign(data, algorithm)` gives the signature blob, and may wait; or nil, and
--- why not. What it throws is thrown from where the key is used. A signature that is not good is an error.
---@param options { public: moonssh.key|string, sign: fun(data: string, algorithm: string): string }
---@return moonssh.key|nil
---@return table? err
function key.external(options)
   args.check("external", 1, options, "table")
   options = args.options("external", 1, options, { public = "any", sign = "function" })
   if not key.is(options.public) and type(options.public) ~= "string" then
      args.bad("external", 1, "option 'public' must be a key, a public line or a blob")
   elseif not options.sign then
      args.bad("external", 1, "option 'sign' must be a function")
   end
   local made, err = public_half(options.public)
   if not made then
      return nil, err
   end
   made._sign, made.private = options.sign, true
   return made
end

-- --- methods

--- "SHA256:…" as ssh-keygen prints it, or "MD5:…". Of a certificate it is that of the key in it.
---@param hash "sha256"|"md5"|nil
---@return string
function Key:fingerprint(hash)
   args.handle(self, "key", "fingerprint")
   if hash ~= nil and hash ~= "sha256" and hash ~= "md5" then
      args.bad("fingerprint", 1, "'sha256' or 'md5' expected")
   end
   return core.key.fingerprint(self._plain, hash or "sha256")
end

--- The public blob (RFC 4253 6.6), of a certificate the whole of it.
---@return string
function Key:blob()
   args.handle(self, "key", "blob")
   return self._blob
end

--- The line as in authorized_keys and ".pub" files, without its end.
---@return string
function Key:public_line()
   args.handle(self, "key", "public_line")
   local line = self.type .. " " .. core.base64_encode(self._blob)
   local comment = self.comment:gsub("[%c\127]", " ")
   return comment ~= "" and line .. " " .. comment or line
end

--- What the key's certificate says; nil for a plain key. It is signed by the key that it names as its authority's;
--- whether to trust that one is for the caller to know.
---@return moonssh.certificate?
function Key:certificate()
   return certificates.of(open_core(self, "certificate"))
end

--- The signature algorithm used when none is named.
function Key:_default_algorithm()
   read_algorithms()
   return key.signed_as(best_algorithm[self.type])
end

-- Whether the private half is in a security key: then the file has a handle for it at best.
local function in_hardware(self)
   return self.type:find("^sk%-") ~= nil
end

-- Whether keys of a type sign with an algorithm.
local function signs_with(type_name, algorithm)
   for _, row in ipairs(core.key.algorithms()) do
      if row.key_type == type_name and (row.name == algorithm or row.signed_as == algorithm) then
         return true
      end
   end
   return false
end

local function wrong_algorithm(self, algorithm)
   return ("a key of type %s does not sign with %s"):format(self.type, errors.escape(algorithm, 64))
end

-- Has an external key sign. What it gives is checked as the server would: it goes nowhere if it is not good.
local function sign_elsewhere(self, core_key, data, algorithm)
   if not signs_with(self.type, algorithm) then
      return nil, errors.new("unsupported", wrong_algorithm(self, algorithm))
   end
   local signature, err = self._sign(data, algorithm)
   local wanted = key.signed_as(algorithm)
   if signature == nil then
      return nil, errors.is(err) and err or errors.new("agent", "the key refused to sign"
         .. (err ~= nil and ": " .. errors.text(err) or ""))
   elseif type(signature) ~= "string" or first_string(signature) ~= wanted then
      local given = type(signature) == "string" and first_string(signature)
      return nil, errors.new("key_format", ("the external key did not give a signature by %s, but %s"):format(wanted,
         given and "one by " .. errors.escape(given, 64) or "a " .. type(signature)))
   elseif not core_key:verify(data, signature, wanted) then
      return nil, errors.new("key_format", "the external key gave a signature that is not good for its public half")
   end
   return signature
end

--- Signs data. For RSA the algorithm may be "rsa-sha2-512" (default), "rsa-sha2-256", or "ssh-rsa", which is SHA-1: no
--- server of today takes it, and `verify` does not either.
---@param data string
---@param algorithm string|nil
---@return string|nil signature blob: string algorithm, string signature
---@return table? err
function Key:sign(data, algorithm)
   local core_key = open_core(self, "sign")
   args.check("sign", 1, data, "string")
   args.optional("sign", 2, algorithm, "string")
   algorithm = algorithm or self:_default_algorithm()
   if self._sign then
      return sign_elsewhere(self, core_key, data, algorithm)
   elseif in_hardware(self) then
      return nil, errors.new("unsupported",
         ("a key of type %s signs in its security key only: through an agent, or a key.external"):format(self.type))
   elseif not self.private then
      return nil, errors.new("key_format", "a public key cannot sign: the private half is needed")
   end
   local signature, code, message = core_key:sign(data, algorithm)
   if not signature then
      if code == "unsupported" then
         message = wrong_algorithm(self, algorithm)
      end
      return nil, errors.from_core(code, message)
   end
   return signature
end

--- Whether a signature over data was made by this key, with any algorithm of its type.
---@param data string
---@param signature string
---@return boolean
function Key:verify(data, signature)
   local core_key = open_core(self, "verify")
   args.check("verify", 1, data, "string")
   args.check("verify", 2, signature, "string")
   local algorithm = first_string(signature)
   return algorithm ~= nil and algorithm ~= "ssh-rsa" and core_key:verify(data, signature, algorithm) == true
end

local formats = { openssh = true, pem = true, pkcs8 = true }

--- The private key as a text, in OpenSSH's format ("openssh", the default), PKCS#1 or SEC1 ("pem"), or PKCS#8; or the
--- public line ("public").
---@param options { format: "openssh"|"pem"|"pkcs8"|"public"|nil, passphrase: string? }|nil
---@return string|nil
---@return table? err
function Key:export(options)
   local core_key = open_core(self, "export")
   options = args.options("export", 1, options, { format = "string", passphrase = "string" })
   local format = options.format or "openssh"
   if format == "public" then
      return self:public_line() .. "\n"
   elseif not formats[format] then
      args.bad("export", 1, ("unknown format '%s'"):format(errors.escape(format, 40)))
   elseif self._sign or not (self.private or in_hardware(self)) then
      return nil, errors.new("key_format", "the private half of this key is not here to be exported")
   end
   local text, code, message = core_key:export(options.passphrase, self.comment, format)
   if not text then
      if code == "unsupported" then
         message = ("a key of type %s cannot be written in the format '%s'"):format(self.type, format)
      elseif code == "state" then
         code, message = "key_format", "the handle of this key is not here to be exported"
      end
      return nil, errors.from_core(code, message)
   end
   return text
end

-- Where in the private fields, past the type's name, those begin that a certificate in an agent is followed by: the
-- others are in the certificate (PROTOCOL.agent).
local behind_certificate = {
   ["ssh-rsa"] = ">s4s4",
   ["ecdsa-sha2-nistp256"] = ">s4s4", ["ecdsa-sha2-nistp384"] = ">s4s4", ["ecdsa-sha2-nistp521"] = ">s4s4",
   ["sk-ecdsa-sha2-nistp256@openssh.com"] = ">s4s4",
}

--- The key as an agent takes it: type and private fields, those of a certificate in the place of the public ones.
---@param certificate moonssh.key|nil
---@return string|nil
---@return table? err
function Key:_agent_fields(certificate)
   local core_key = open_core(self, "add")
   local fields, code, message = core_key:private_fields()
   if self._sign or code == "state" then
      return nil, errors.new("key_format", "the private half of this key is not here to be given away")
   elseif not fields then
      return nil, errors.from_core(code, message)
   elseif not certificate then
      return fields
   elseif certificate._plain ~= self._plain then
      return nil, errors.new("key_format", "the certificate is for another key")
   end
   local _, place = string.unpack(">s4", fields)
   if behind_certificate[self.type] then
      place = select(3, string.unpack(behind_certificate[self.type], fields, place))
   end
   return string.pack(">s4s4", certificate.type, certificate._blob) .. fields:sub(place)
end

--- Lets go of the key. Using it afterwards raises.
function Key:close()
   self.closed = true
   self._core, self._sign = nil, nil
end

Key.__close = Key.close

function Key.__eq(a, b)
   return key.is(a) and key.is(b) and a._blob == b._blob
end

function Key:__tostring()
   return ("%s key %s"):format(self.type, core.key.fingerprint(self._plain, "sha256"))
end

return key
