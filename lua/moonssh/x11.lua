-- X11 forwarding (RFC 4254 6.3).
--
-- The server gets a cookie that was made up, so that it never learns the display's own. The first bytes of each
-- connection (xConnClientPrefix of the X protocol: byte order, versions, the cookie's name and the cookie) are looked
-- at before anybody else gets them: the made-up cookie must be in them, and the display's own takes its place.

local args = require "moonssh.args"
local core = require "moonssh.core"
local display = require "moonssh.display"
local grants = require "moonssh.grants"
local loop = require "moonssh.loop"
local relay = require "moonssh.relay"

local x11 = {}

local NAME = "MIT-MAGIC-COOKIE-1"
local LENGTH = 16 -- of the cookies that are made up
local LONGEST = 256 -- of those that are believed
local CONNECT_TIMEOUT = 30

-- The request --------------------------------------------------------------------------------------------------------

---@class moonssh.x11
---@field single? boolean one connection only
---@field cookie? string hexadecimal: yours, and the bytes of connections pass untouched
---@field screen? integer default that of the display, or 0

local options_of = { single = "boolean", cookie = "string", screen = "integer" }

-- The display's own cookie, looked up once: false if it has none, or there is no display.
local function own_cookie(session, deadline)
   if session._x11_cookie == nil then
      local place = session._display
      session._x11_cookie = place and session._xauthority and display.cookie(place, session._xauthority, deadline)
         or false
   end
   return session._x11_cookie
end

local function hex(bytes)
   return (bytes:gsub(".", function(byte)
      return ("%02x"):format(byte:byte())
   end))
end

--- x11-req from true or { single =, cookie =, screen = }: its name and data, and what it grants. Where the display is
--- another host's, looking up its cookie may wait.
---@param deadline? number
function x11.request(fname, index, options, session, deadline)
   options = args.options(fname, index, options ~= true and options or nil, options_of)
   local cookie, screen = options.cookie, options.screen
   if cookie and (not cookie:find("^%x+$") or #cookie % 2 ~= 0) then
      args.bad(fname, index, "option 'cookie': hexadecimal digits, two a byte, expected")
   elseif screen and (screen < 0 or screen > 0xffffffff) then
      args.bad(fname, index, "option 'screen': an integer from 0 to 2^32-1 expected")
   end
   -- `shown` is the cookie that the server gets, `cookie` the display's own.
   local grant = { type = "x11", single = options.single or false, own = cookie ~= nil, cookie = false }
   if cookie then
      grant.shown = cookie:gsub("%x%x", function(digits)
         return string.char(tonumber(digits, 16))
      end)
   else
      grant.shown = core.random(LENGTH)
      grant.cookie = own_cookie(session, deadline)
      cookie = hex(grant.shown)
   end
   screen = screen or session._display and session._display.screen or 0
   return "x11-req", string.pack(">Bs4s4I4", grant.single and 1 or 0, NAME, cookie, screen), grant
end

-- The first bytes ----------------------------------------------------------------------------------------------------

local HEAD = 12

local function padded(text)
   return text .. ("\0"):rep(-#text % 4)
end

-- byte order, a byte, major and minor version, lengths of name and cookie, two bytes; then both, padded to four bytes.
local formats = { B = ">c6I2I2c2", l = "<c6I2I2c2" }

-- The first bytes with another cookie in them.
local function with_cookie(head, format, cookie)
   local before, _, _, after = string.unpack(format, head)
   return string.pack(format, before, #NAME, #cookie, after) .. padded(NAME) .. padded(cookie)
end

-- Counts a connection for a grant. → whether there may be one more
local function charge(grant)
   if grant.single and grant.used then
      return false
   end
   grant.used = true
   return true
end

--- Takes back what was counted for an open of which nothing came: `single` is about connections that are forwarded
--- (RFC 4254 6.3.1), and none was.
---@param open { charged: table? } the open, or the gate of its channel
function x11.spare(open)
   if open.charged then
      open.charged.used = false
      open.charged = nil
   end
end

---@class moonssh.x11.gate
local Gate = {}
Gate.__index = Gate

-- Which of the grants has this cookie; all are compared, so that time does not tell.
local function find_grant(self, cookie)
   local found
   for _, grant in ipairs(self.grants) do
      if core.equal(cookie, grant.shown) then
         found = grant
      end
   end
   return found
end

-- Bytes that must be seen: false for what cannot be right.
local function bytes_needed(seen)
   local format = formats[seen:sub(1, 1)]
   if not format and seen ~= "" then
      return false
   elseif #seen < HEAD then
      return HEAD
   end
   local _, name_length, length = string.unpack(format, seen)
   return name_length == #NAME and length <= LONGEST and HEAD + #padded(NAME) + length + -length % 4
end

-- What is to be handed on in place of the bytes seen; false when they are wrong.
local function judge(self, seen)
   local format = formats[seen:sub(1, 1)]
   local _, _, length = string.unpack(format, seen)
   local at = HEAD + #padded(NAME)
   local grant = find_grant(self, seen:sub(at + 1, at + length))
   if seen:sub(HEAD + 1, HEAD + #NAME) ~= NAME or not grant or grant ~= self.charged and not charge(grant) then
      return false
   end
   return grant.cookie and with_cookie(seen:sub(1, HEAD), format, grant.cookie) or seen
end

local function shut(self, channel)
   self.failed = true
   x11.spare(self)
   channel._eof, channel._ended = true, true
   channel._session._core:channel_close(channel._ch)
end

--- Looks at what has come on the channel; see dispatch. What is right is handed on and the gate is gone, else the
--- channel is closed.
function Gate:look(channel)
   if self.failed then
      return
   end
   local handle, ch = channel._session._core, channel._ch
   local needed = bytes_needed(self.seen)
   while needed and #self.seen < needed do
      local bytes = handle:channel_take(ch, 0, needed - #self.seen)
      if not bytes then
         if channel._eof then
            shut(self, channel)
         end
         return
      end
      self.seen = self.seen .. bytes
      needed = bytes_needed(self.seen)
   end
   local result = needed and judge(self, self.seen)
   if not result then
      return shut(self, channel)
   end
   channel._gate = false
   channel.stdout:append(result)
end

-- Opens --------------------------------------------------------------------------------------------------------------

--- Whether the server may open a channel. Then its first bytes are to be looked at, unless all who asked gave cookies
--- of their own.
---@param open moonssh.open
function x11.admit(session, open)
   local candidates, checks, charged = {}, false, nil
   for _, grant in pairs(grants.of(session, "x11")) do
      if not (grant.single and grant.used) then
         table.insert(candidates, grant)
         checks = checks or not grant.own
         charged = charged and not charged.single and charged or grant -- rather one that may have more
      end
   end
   -- With several it is the cookie that tells whose connection this is.
   if checks and candidates[2] then
      charged = nil
   elseif not candidates[1] then
      return false
   end
   if charged then
      charge(charged)
      open.charged = charged
   end
   if checks then
      open.gate = setmetatable({ grants = candidates, charged = charged, seen = "" }, Gate)
   end
   return true
end

-- By default ---------------------------------------------------------------------------------------------------------

local function has_passed(channel)
   return not channel._gate or channel._ended or channel._released
end

--- Relays a channel to the session's display, once its first bytes were right.
function x11.relay(session, channel)
   local ok = relay.wait(channel, has_passed, channel)
   if not ok or channel._ended or channel._released then
      return channel:close()
   end
   local fd, err = display.connect(session._display, loop.now() + CONNECT_TIMEOUT)
   if not fd then
      channel:close()
      return loop.report(err)
   end
   relay.run(channel, fd)
end

return x11
