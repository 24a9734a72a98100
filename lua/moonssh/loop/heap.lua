-- A binary heap of timers: tables with `at`, the first one due on top. Each knows its place (`place`), so that one
-- can be taken out from the middle; those of the same time come out in the order in which they went in.

local Heap = {}
Heap.__index = Heap

local function before(a, b)
   return a.at < b.at or a.at == b.at and a.order < b.order
end

local function rise(self, i, timer)
   while i > 1 do
      local parent = self[i // 2]
      if parent.at < timer.at or parent.at == timer.at and parent.order < timer.order then
         break
      end
      self[i], parent.place = parent, i
      i = i // 2
   end
   self[i], timer.place = timer, i
end

local function sink(self, i, timer)
   local size = self.size
   while 2 * i <= size do
      local child = 2 * i
      if child < size and before(self[child + 1], self[child]) then
         child = child + 1
      end
      if not before(self[child], timer) then
         break
      end
      self[i], self[child].place = self[child], i
      i = child
   end
   self[i], timer.place = timer, i
end

function Heap.new()
   return setmetatable({ size = 0, order = 0 }, Heap)
end

function Heap:add(timer)
   self.size = self.size + 1
   self.order = self.order + 1
   timer.order = self.order
   rise(self, self.size, timer)
end

--- Takes a timer out; one that is not in it is fine.
function Heap:remove(timer)
   local i = timer.place
   if not i then
      return
   end
   local last = self[self.size]
   self[self.size], timer.place = nil, nil
   self.size = self.size - 1
   if last ~= timer then
      sink(self, i, last)
      rise(self, last.place, last)
   end
end

return Heap
