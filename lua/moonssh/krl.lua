--- Key revocation lists (OpenSSH's PROTOCOL.krl): which keys and certificates are not to be trusted any more.
---
--- A list is taken apart once and asked often. What it counts in is never spread out: serial numbers, ranges and
--- bitmaps stay as they are, so that a list costs no more memory than its bytes, whatever they claim.

local certificates = require "moonssh.certificate"
local core = require "moonssh.core"

local MAGIC = "SSHKRL\n\0"

local krl = {}

---@class moonssh.krl
---@field version integer
---@field comment string
---@field private keys table<string, true> blobs
---@field private sha1 table<string, true>
---@field private sha256 table<string, true>
---@field private authorities table<string, table> certificates by the blob of who has signed them, "" for anybody
local Krl = {}
Krl.__index = Krl

-- Raises what is wrong, for `parse` to catch.
local function wrong(text)
   error({ krl = text }, 0)
end

-- Takes values off a string at a place, as string.unpack, but what is missing is a mistake of the list.
local function take(format, data, place)
   local values = table.pack(pcall(string.unpack, format, data, place))
   if not values[1] then
      wrong("its end missing")
   end
   return table.unpack(values, 2, values.n)
end

-- The strings in data, each given to f: there may be millions.
local function each_string(data, f)
   local place, last = 1, #data
   while place <= last do
      local length = last - place >= 3 and string.unpack(">I4", data, place) or math.huge
      if length > last - place - 3 then
         wrong("its end missing")
      end
      f(data:sub(place + 4, place + 3 + length))
      place = place + 4 + length
   end
end

-- --- certificates

local sections = {}

-- uint64 serial, …
sections[0x20] = function(list, data)
   if #data == 0 or #data % 8 ~= 0 then
      wrong("serial numbers that are out of form")
   end
   table.insert(list.serials, data)
end

-- uint64 from, uint64 to
sections[0x21] = function(list, data)
   local from, to, place = take(">i8i8", data, 1)
   if place ~= #data + 1 or math.ult(to, from) then
      wrong("a range of serial numbers that is out of form")
   end
   table.insert(list.ranges, { from, to })
end

-- uint64 offset, mpint bitmap: bit i stands for offset + i
sections[0x22] = function(list, data)
   local offset, bits, place = take(">i8s4", data, 1)
   if place ~= #data + 1 or bits == "" or bits:byte() > 0x7f or bits:byte() == 0 and (bits:byte(2) or 0) < 0x80 then
      wrong("a bitmap of serial numbers that is out of form")
   elseif offset < 0 and offset + #bits * 8 >= 0 then
      wrong("a bitmap of serial numbers past the last one")
   end
   table.insert(list.bitmaps, { offset, bits })
end

-- string key id, …
sections[0x23] = function(list, data)
   each_string(data, function(id)
      list.ids[id] = true
   end)
end

-- string name, boolean critical, string contents: none is known, and a critical one must be.
sections[0x39] = function(_, data)
   local name, critical, _, place = take(">s4Bs4", data, 1)
   if place ~= #data + 1 then
      wrong("an extension that is out of form")
   elseif critical ~= 0 then
      wrong("a critical extension that is not known: " .. core.escape(name, 64))
   end
end

-- string authority's key, empty for any; string reserved; then byte type, string data as often as there are
local function read_certificates(self, data)
   local authority, _, place = take(">s4s4", data, 1)
   local list = self.authorities[authority] or { serials = {}, ranges = {}, bitmaps = {}, ids = {} }
   if authority ~= "" and not core.key.parse_public(authority) then
      -- It cannot be that of a certificate that is accepted here; the rest may still be of use.
      list = { serials = {}, ranges = {}, bitmaps = {}, ids = {} }
   else
      self.authorities[authority] = list
   end
   while place <= #data do
      local kind, content
      kind, content, place = take(">Bs4", data, place)
      if not sections[kind] then
         wrong(("certificates by type %d, which is not known"):format(kind))
      end
      sections[kind](list, content)
   end
end

-- --- the whole

local function keep_hashes(set, length)
   return function(data)
      each_string(data, function(hash)
         if #hash ~= length then
            wrong("a fingerprint of another length")
         end
         set[hash] = true
      end)
   end
end

-- A signature at the end: string key, then string signature over all before it.
local function check_signature(bytes, signer, place)
   local signature, after = take(">s4", bytes, place)
   local key = core.key.parse_public(signer)
   local ok, algorithm = pcall(string.unpack, ">s4", signature)
   if not key or not ok or not key:verify(bytes:sub(1, place - 1), signature, algorithm) then
      wrong("a signature that is not valid")
   end
   return after
end

local function read(bytes)
   local self = setmetatable({ keys = {}, sha1 = {}, sha256 = {}, authorities = {} }, Krl)
   local format, version, _, _, _, comment, place = take(">I4i8i8i8s4s4", bytes, #MAGIC + 1)
   if format ~= 1 then
      wrong(("format %d, which is not known"):format(format))
   end
   self.version, self.comment = version, comment
   local readers = {
      [1] = function(data) read_certificates(self, data) end,
      [2] = function(data)
         each_string(data, function(blob)
            self.keys[blob] = true
         end)
      end,
      [3] = keep_hashes(self.sha1, 20),
      [5] = keep_hashes(self.sha256, 32),
      [255] = function(data) sections[0x39](nil, data) end,
   }
   local signed = false
   while place <= #bytes do
      local kind, data
      kind, data, place = take(">Bs4", bytes, place)
      if kind == 4 then
         place, signed = check_signature(bytes, data, place), true
      elseif signed then
         wrong("something behind its signature")
      elseif not readers[kind] then
         wrong(("a section of type %d, which is not known"):format(kind))
      else
         readers[kind](data)
      end
   end
   return self
end

--- Whether bytes are meant to be such a list.
function krl.is(bytes)
   return bytes:sub(1, #MAGIC) == MAGIC
end

--- Takes a list apart. A signature in it must be valid, but who has made it is not asked.
---@param bytes string
---@return moonssh.krl|nil
---@return string? reason
function krl.parse(bytes)
   if not krl.is(bytes) then
      return nil, "no key revocation list"
   end
   local ok, result = pcall(read, bytes)
   if ok then
      return result
   elseif type(result) == "table" and result.krl then
      return nil, "a key revocation list with " .. result.krl
   end
   error(result, 0)
end

local function in_serials(data, serial)
   for place = 1, #data, 8 do
      if string.unpack(">i8", data, place) == serial then
         return true
      end
   end
   return false
end

local function in_bitmap(bitmap, serial)
   local distance = serial - bitmap[1]
   if math.ult(serial, bitmap[1]) or not math.ult(distance, #bitmap[2] * 8) then
      return false
   end
   return bitmap[2]:byte(#bitmap[2] - distance // 8) >> distance % 8 & 1 == 1
end

local function in_list(list, certificate)
   local serial = certificate.serial
   if list.ids[certificate.key_id] then
      return true
   elseif serial == 0 then
      return false -- what an authority writes that counts none
   end
   for _, range in ipairs(list.ranges) do
      if not math.ult(serial, range[1]) and not math.ult(range[2], serial) then
         return true
      end
   end
   for _, bitmap in ipairs(list.bitmaps) do
      if in_bitmap(bitmap, serial) then
         return true
      end
   end
   for _, data in ipairs(list.serials) do
      if in_serials(data, serial) then
         return true
      end
   end
   return false
end

local function has_blob(self, blob)
   return self.keys[blob] or self.sha1[core.hash("sha1", blob)] or self.sha256[core.hash("sha256", blob)] or false
end

--- Whether the list revokes a key: itself, the certificate around it, or the authority that has signed that.
---@param core_key moonssh.core.key
---@return boolean
function Krl:revokes(core_key)
   if has_blob(self, core_key:plain_blob()) then
      return true
   end
   local certificate = certificates.of(core_key)
   if not certificate then
      return false
   end
   for _, authority in ipairs{ certificate.signature_key, "" } do
      if self.authorities[authority] and in_list(self.authorities[authority], certificate) then
         return true
      end
   end
   return has_blob(self, certificate.signature_key)
end

return krl
