-- A loop behind one descriptor, for schedulers that have no timers, or none that can be stopped, or cannot wait for
-- many descriptors: whatever is due makes the poller's descriptor readable, and the scheduler then calls `turn`.

local core = require "moonssh.core"
local errors = require "moonssh.errors"
local Waits = require "moonssh.loop.waits"

local running = coroutine.running

--- What a hub needs of the scheduler.
---@class moonssh.hub_scheduler
---@field suspend fun() yields the running coroutine to the scheduler
---@field resume fun(co: thread) goes on with one that has suspended itself
---@field attend fun(fd: integer, turn: fun(): boolean) calls turn when fd is readable, until it gives false
---@field step fun() runs the scheduler from the main program, until something has happened
---@field nests? boolean whether step may be called from within a turn, too, by what cannot yield

---@class moonssh.hub
local Hub = {}
Hub.__index = Hub

---@param scheduler moonssh.hub_scheduler
function Hub.new(scheduler)
   local self = setmetatable({ scheduler = scheduler, ready = {}, first = 1, last = 0 }, Hub)
   self.waits = Waits.new(function(wait)
      if wait.co then
         self:push(wait.co)
      end
   end)
   function self.turn_now()
      return self:turn()
   end
   return self
end

-- Whether nothing is ever due by itself.
local function is_idle(self)
   return self.waits.watching == 0 and self.first > self.last and self.waits.timers[1] == nil
end

-- Sees to it that turn is called when something is due.
local function arm(self)
   if self.turning then
      return
   end
   local poller = self.waits:the_poller()
   local due = self.first <= self.last and 0 or self.waits:due()
   if due or self.alarm then
      assert(poller:alarm(due))
      self.alarm = due ~= nil
   end
   if not self.attended and not is_idle(self) then
      self.attended = true
      local fd = poller:fd() or error("this scheduler needs epoll, which is not there")
      self.scheduler.attend(fd, self.turn_now)
   elseif self.attended and is_idle(self) then
      assert(poller:alarm(0)) -- for turn to say so
      self.alarm = true
   end
end

--- Has a coroutine that waits go on, or a function be called, at the next turn.
---@param what thread|function
function Hub:push(what)
   self.last = self.last + 1
   self.ready[self.last] = what
   arm(self)
end

--- Takes what is due, and runs it. → whether there is anything to wait for
function Hub:turn()
   local outer = self.turning
   self.turning = true
   self.waits:take(0)
   for _ = self.first, self.last do
      if self.first > self.last then
         break -- a turn within this one has done the rest
      end
      local what = self.ready[self.first]
      self.ready[self.first] = nil
      self.first = self.first + 1
      if type(what) == "thread" then
         self.scheduler.resume(what)
      else
         what()
      end
   end
   self.turning = outer
   if is_idle(self) and not outer then
      self.attended = false
      return false
   end
   arm(self)
   return true
end

-- Waits until a wait was fired. Who cannot yield runs the scheduler from where it stands, if that is possible.
local function block(self, wait)
   local co, main = running()
   if main or self.scheduler.nests and not coroutine.isyieldable() then
      local outer = self.turning
      self.turning = false
      while not wait.fired do
         arm(self)
         self.scheduler.step()
      end
      self.turning = outer
   else
      wait.co = co
      if wait.fired then
         self:push(co)
      end
      arm(self)
      self.scheduler.suspend()
      while not wait.fired do
         self.scheduler.suspend() -- somebody else has resumed it
      end
   end
   return wait.result, wait.why
end

-- Leaves no wait behind of a coroutine that was closed where it waits.
local Waiting = {
   __close = function(guard)
      guard.waits:detach(guard.wait)
   end,
}

local function wait_for(self, start, a, b, timeout)
   local wait = {}
   local waits = self.waits
   waits[start](waits, wait, a, b)
   waits:limit(wait, timeout)
   local _ <close> = setmetatable({ waits = waits, wait = wait }, Waiting)
   return block(self, wait)
end

--- The functions of an adapter.
---@return moonssh.adapter
function Hub:adapter()
   local waits = self.waits
   return {
      now = core.now,
      wait = function(fd, events, timeout)
         return wait_for(self, "watch", fd, events, timeout)
      end,
      wait_any = function(list, timeout)
         return wait_for(self, "watch_any", list, nil, timeout)
      end,
      cancel = function(fd)
         waits:cancel(fd)
      end,
      token = function()
         return {}
      end,
      park = function(token, timeout)
         return wait_for(self, "park", token, nil, timeout)
      end,
      unpark = function(token)
         waits:unpark(token)
      end,
   }
end

--- Goes on with a coroutine for a scheduler that does not do so itself; an error has no call to be raised from.
function Hub.resume(co)
   local ok, cause = coroutine.resume(co)
   if not ok then
      require "moonssh.loop".report(cause, debug.traceback(co, errors.text(cause)))
   end
end

return Hub
