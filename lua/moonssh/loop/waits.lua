-- What is waited for: descriptors, times and tokens.
--
-- A *wait* is a table that any of these may fire, once. It then has `fired`, `result` and `why`, and the owner of this
-- object is told. One poller and one heap of timers serve all waits.

local core = require "moonssh.core"
local Heap = require "moonssh.loop.heap"

local now = core.now

---@class moonssh.waits
---@field timers table
---@field watching integer waits for descriptors
local Waits = {}
Waits.__index = Waits

--- `fired(wait)` is called when a wait was fired.
function Waits.new(fired)
   return setmetatable({
      told = fired,
      timers = Heap.new(),
      entries = {}, -- fd → { r =, w = } lists of who waits, and `set`: what the poller was told
      watching = 0,
      poller = false, -- made at the first wait
   }, Waits)
end

--- The poller, of the class core.poller.
function Waits:the_poller()
   self.poller = self.poller or assert(core.poller())
   return self.poller
end

local function interest(entry)
   return (entry.r[1] and "r" or "") .. (entry.w[1] and "w" or "")
end

local function drop(list, watch)
   for i = #list, 1, -1 do
      if list[i] == watch then
         table.remove(list, i)
      end
   end
end

local function unwatch(self, watch)
   local entry = self.entries[watch.fd]
   if entry then
      drop(entry.r, watch)
      drop(entry.w, watch)
   end
   watch.fd = nil
end

--- Takes a wait out of everything that could fire it. The poller is left as it is: most often the next wait is for the
--- same, and a report that nobody waits for corrects it.
function Waits:detach(wait)
   if wait.place then
      self.timers:remove(wait)
   end
   if wait.fd then
      unwatch(self, wait)
      self.watching = self.watching - 1
   elseif wait.watches then
      for _, watch in ipairs(wait.watches) do
         unwatch(self, watch)
      end
      self.watching = self.watching - 1
      wait.watches = nil
   end
   if wait.token then
      wait.token.wait = nil
      wait.token = nil
   end
end

function Waits:fire(wait, result, why)
   if wait.fired then
      return
   end
   wait.fired, wait.result, wait.why = true, result, why
   self:detach(wait)
   self.told(wait)
end

-- Puts a watch (a wait, or a part of one) on its descriptor. False for a descriptor that the poller cannot watch: a
-- plain file, or none at all. It counts as ready, and reading or writing it then tells.
local function watch_fd(self, watch, fd, events)
   local entry = self.entries[fd]
   if not entry then
      entry = { r = {}, w = {} }
      self.entries[fd] = entry
   end
   watch.fd = fd
   if events ~= "w" then
      table.insert(entry.r, watch)
   end
   if events ~= "r" then
      table.insert(entry.w, watch)
   end
   if entry.set == "rw" or entry.set == events then
      return true
   end
   local set = entry.set and "rw" or interest(entry)
   if not self:the_poller():set(fd, set) then
      return false
   end
   entry.set = set
   return true
end

--- Has a descriptor fire a new wait.
function Waits:watch(wait, fd, events)
   self.watching = self.watching + 1
   if not watch_fd(self, wait, fd, events) then
      self:fire(wait, true)
   end
end

--- Has any of { { fd, events }, … } fire a new wait; its result is the index.
function Waits:watch_any(wait, list)
   wait.watches = {}
   self.watching = self.watching + 1
   for i, what in ipairs(list) do
      local watch = { whole = wait, index = i }
      wait.watches[i] = watch
      if not watch_fd(self, watch, what[1], what[2]) then
         return self:fire(wait, i)
      end
   end
end

--- Has a token fire a new wait, at once where it was unparked before.
function Waits:park(wait, token)
   if token.set then
      token.set = nil
      return self:fire(wait, true)
   end
   wait.token, token.wait = token, wait
end

function Waits:unpark(token)
   if token.wait then
      self:fire(token.wait, true)
   else
      token.set = true
   end
end

--- Has a wait that was not fired yet end by itself at a time; nil for never.
function Waits:limit_at(wait, at)
   if at and at < math.huge and not wait.fired then
      wait.at = at
      self.timers:add(wait)
   end
end

--- As limit_at, after some time.
function Waits:limit(wait, timeout)
   self:limit_at(wait, timeout and now() + timeout)
end

local function fire_all(self, list)
   while list[1] do
      local watch = list[1]
      if watch.whole then
         self:fire(watch.whole, watch.index)
      else
         self:fire(watch, true)
      end
   end
end

local function unset(self, fd)
   self.entries[fd] = nil
   if self.poller then
      self.poller:set(fd, nil)
   end
end

-- Takes the poller's report on a descriptor.
local function report(self, fd, events)
   local entry = self.entries[fd]
   if not entry then
      return unset(self, fd)
   end
   local awaited = true
   if events ~= "w" then
      awaited = entry.r[1] ~= nil
      fire_all(self, entry.r)
   end
   if events ~= "r" then
      awaited = awaited and entry.w[1] ~= nil
      fire_all(self, entry.w)
   end
   if not awaited then
      local left = interest(entry)
      if left == "" then
         unset(self, fd)
      else
         entry.set = left
         self.poller:set(fd, left)
      end
   end
end

--- Wakes whoever waits for the descriptor, and forgets it: it is about to be closed.
function Waits:cancel(fd)
   local entry = self.entries[fd]
   if entry then
      fire_all(self, entry.r)
      fire_all(self, entry.w)
      unset(self, fd)
   end
end

--- Stops watching a descriptor that nobody waits for.
function Waits:forget(fd)
   local entry = self.entries[fd]
   if entry and interest(entry) == "" then
      unset(self, fd)
   end
end

--- Seconds until the first timer is due; nil without one.
function Waits:due()
   local timer = self.timers[1]
   return timer and math.max(0, timer.at - now())
end

--- Asks the poller, for at most `timeout` seconds (nil: for ever), and then the timers; fires what is due.
function Waits:take(timeout)
   if self.watching > 0 or timeout ~= 0 then
      local list, n, message = self:the_poller():wait(timeout)
      if not list then
         error(message)
      end
      for i = 1, n, 2 do
         report(self, list[i], list[i + 1])
      end
   end
   local timer = self.timers[1]
   if timer then
      local time = now()
      while timer and timer.at <= time do
         self:fire(timer, nil, "timeout")
         timer = self.timers[1]
      end
   end
end

return Waits
