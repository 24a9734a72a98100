-- What each event of the C core means for the session and its channels. Only state changes here, and nothing of the
-- user's runs but macerror, which answers a question; handlers are queued, tasks that wait are woken by the pump.
--
-- A channel or session that an event concerns is stamped with the number of the batch (`_stamp`): the pump looks again
-- at those that wait for it.

local callbacks = require "moonssh.callbacks"
local errors = require "moonssh.errors"
local grants = require "moonssh.grants"

local dispatch = {}

local on = {}

-- Transport ----------------------------------------------------------------------------------------------------------

function on.ignore(session, message)
   callbacks.queue(session, "ignore", message)
end

function on.debug(session, always_display, message, language)
   callbacks.queue(session, "debug", always_display, message, language)
end

function on.disconnect(session, reason, message, language)
   session._disconnect_text = message
   callbacks.queue(session, "disconnect", reason, message, language)
end

function on.host_key(session, blob)
   session._host_key_blob, session._host_key_state = blob, "asked"
   session._stamp = session._batch
end

function on.macerror(session, packet)
   local f = session._callbacks.macerror
   local ok, result = true, nil
   if f then
      ok, result = callbacks.call(session, "macerror", f, session, packet, session.abstract)
      if not ok then
         session._raise = session._raise or result
      end
   end
   session._core:answer_mac(ok and result == 0 and math.type(result) == "integer")
   if session.closed then
      session:_finish_close()
   end
end

function on.kex_done(session)
   session._kex_done = session._kex_done + 1
   session._stamp = session._batch
end

function on.failed(session)
   local handle = session._core
   local code, message, reason = handle:failure()
   local fields = {}
   if code == "disconnected" then
      fields.reason, fields.text = reason, session._disconnect_text
   elseif code == "negotiation" then
      fields.what, fields.ours, fields.theirs = handle:negotiation()
   end
   session:_fail(errors.new(code, message, fields))
end

-- Authentication -----------------------------------------------------------------------------------------------------

function on.banner(session, text)
   session.banner = (session.banner or "") .. text
end

local function auth_event(kind)
   return function(session, a, b, c)
      local events = session._auth_events
      events[#events + 1] = { kind, a, b, c }
      session._stamp = session._batch
   end
end

for _, kind in ipairs{ "auth_failure", "auth_pk_ok", "auth_password_change", "auth_prompts" } do
   on[kind] = auth_event(kind)
end

local succeed = auth_event("auth_success")

function on.auth_success(session)
   session._authenticated = true
   session:_start_keepalive()
   succeed(session)
end

-- Connection ---------------------------------------------------------------------------------------------------------

function on.global_reply(session, success, data)
   local request = table.remove(session._global_requests, 1)
   if request then
      request.done, request.success, request.data = true, success, data
      if request.answered then
         request.answered(success, data)
      end
   end
   session._stamp = session._batch
end

function on.asked(session, ...)
   require "moonssh.incoming".asked(session, ...)
end

function on.global_request(session, name, data)
   if name == "hostkeys-00@openssh.com" and session._host_key_update then
      require "moonssh.hostkey_update".offer(session, data)
   end
end

function on.opened(session, ch)
   local channel = session._channels[ch]
   if channel then
      channel._stamp = session._batch
      channel:_opened()
   end
end

function on.open_failed(session, ch, reason, text)
   local channel = session._channels[ch]
   session._channels[ch] = nil
   if channel then
      channel._stamp = session._batch
      channel:_refused(reason, text)
      if channel._link then
         channel._link:_look()
      end
   end
end

function on.data(session, ch, stream, bytes)
   local channel = session._channels[ch]
   if channel then
      channel._stamp = session._batch
      local reader = stream == 0 and channel.stdout or channel.stderr
      if not bytes then
         reader.may_keep = true
         if channel._gate then
            channel._gate:look(channel)
         end
      else
         local last = reader.last + 1
         reader[last], reader.last = bytes, last
         reader.size = reader.size + #bytes
         reader.uncredited = reader.uncredited + #bytes
      end
   end
end

-- Events that set fields of the channel, from up to three values.
local function channel_event(update)
   return function(session, ch, a, b, c)
      local channel = session._channels[ch]
      if channel then
         channel._stamp = session._batch
         update(channel, a, b, c)
      end
   end
end

on.window = channel_event(function() end)

on.eof = channel_event(function(channel)
   channel._eof = true
   if channel._gate then
      channel._gate:look(channel)
   end
end)

on.closed = channel_event(function(channel)
   channel._eof, channel._ended = true, true
   if channel._gate then
      channel._gate:look(channel)
   end
   grants.forget(channel._session, channel._ch)
   if channel._link then
      channel._link:_look()
   end
end)

on.reply = channel_event(function(channel, success)
   local request = table.remove(channel._requests, 1)
   if request then
      if request.grants then
         success = grants.answered(channel._session, channel._ch, request.grants, success)
      end
      request.done, request.success = true, success
   end
   if channel._link and not success then
      channel._link:_look()
   end
end)

-- Files: what the library itself waits for goes on in here.

function on.sftp(session, ch, a, b, c)
   local channel = session._channels[ch]
   if channel and channel._link then
      channel._link:_event(a, b, c)
   end
end

function on.transfer(session, key)
   local transfer = session._transfers and session._transfers[key]
   if transfer then
      transfer:_event()
   end
end

on.exit_status = channel_event(function(channel, status)
   channel._status = channel._status or status
end)

on.exit_signal = channel_event(function(channel, name)
   channel._signal = channel._signal or name
end)

--- Takes every event that the core has. Afterwards a handler of the user's may have closed the session.
function dispatch.events(session)
   local handle = session._core
   local kind, a, b, c, d, e, f = handle:next()
   while kind do
      local handler = on[kind]
      if handler then
         handler(session, a, b, c, d, e, f)
         if session.closed then
            return
         end
      end
      kind, a, b, c, d, e, f = handle:next()
   end
end

return dispatch
