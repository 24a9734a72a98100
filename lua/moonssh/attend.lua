-- Attends to sessions whose server may open channels: they are moved while the loop runs, also where no task waits for
-- them. As long as one does, that task leads, and this one only waits for its end.

local loop = require "moonssh.loop"
local pump = require "moonssh.pump"

local attend = {}

-- A session that has no descriptor of its own to be waited for is looked at this often.
local LOOK_UP = 0.01

-- Whether the server may open channels.
local function is_awaited(session)
   return not session.closed and not session.failure
      and (next(session._grants) ~= nil or next(session._incoming) ~= nil)
end

local function move(session, now)
   session._core:tick(now)
   local err = pump.step(session)
   if err then
      pump.raise(session, err)
   end
end

-- What to wait for: descriptor and events, or nil; and for how long at most.
local function awaited(session, now)
   if session._leader then
      return nil, nil, nil
   elseif not session._fd then
      return nil, nil, LOOK_UP
   end
   local at = pump.deadline(session)
   return session._fd, session:events(), at and math.max(0, at - now)
end

-- The task. While it waits it does not hold the session, so that one that was dropped is collected.
local function run(holder, adapter, token)
   while true do
      local session = holder[1]
      if not session then
         return
      elseif is_awaited(session) and not session._leader then
         move(session, adapter.now())
      end
      if not is_awaited(session) then
         session._attender = nil
         return
      end
      local fd, events, timeout = awaited(session, adapter.now())
      session = nil -- luacheck: ignore
      if fd then
         adapter.wait(fd, events, timeout)
      else
         adapter.park(token, timeout)
      end
   end
end

--- Begins to attend to a session, until its server may open no more channels.
---@param session moonssh.session
function attend.start(session)
   if session._attender then
      return
   end
   local adapter = session._loop
   session._attender = adapter.token()
   local holder = setmetatable({ session }, { __mode = "v" })
   adapter.spawn_background(run, loop.report_failed, holder, adapter, session._attender)
end

return attend
