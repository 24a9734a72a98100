-- A large file over several channels. A server gives each channel a window of its own size (sshd: 2 MiB), and on a long
-- path that window, not the path, says how fast a file is sent: then more channels carry parts of it, as many as the
-- server lets us have.

local attributes = require "moonssh.sftp.attributes"
local fiber = require "moonssh.sftp.fiber"
local Link = require "moonssh.sftp.link"

local TYPE = Link.type

local stripes = {}

local WRITE = 2

-- A permission that means nothing for a file: it is set while a file comes over several channels, so that resuming
-- knows that there may be gaps in what there is.
stripes.MARK = 512 -- 01000

-- A file of which less is left does not get more channels.
local LEAST = 8 * 1024 * 1024

-- A shorter way back and forth is covered by any window, in seconds.
local LONG = 0.004

-- Marks the file, while the channels are opened. → whether that could be done
local function mark(batch, transfer)
   local link, spec = batch.sftp._link, transfer.spec
   local handle = string.pack(">s4", spec.handle)
   local now = link:call(TYPE.FSTAT, handle, spec.name)
   if not now or not now.permissions or transfer.done then
      return false
   end
   spec.permissions = now.permissions & ~stripes.MARK
   if link:call(TYPE.FSETSTAT, handle .. attributes.permissions(spec.permissions | stripes.MARK), spec.name) then
      return true
   end
   spec.permissions = nil
   return false
end

-- One more channel: opened if need be, the file opened on it, and a share of the transfer until that ends.
local function work(batch, transfer, index)
   local sftp, session = batch.sftp, batch._session
   local link = sftp._stripes[index]
   if not link then
      link = Link.open(session)
      if not link then
         return
      end
      sftp._stripes[index] = link
   end
   fiber.await(link, session)
   if link.failure or transfer.done then
      return
   end
   local body = string.pack(">s4I4", transfer.spec.name, WRITE) .. attributes.NONE
   local handle = link:call(TYPE.OPEN, body, transfer.spec.name)
   if not handle then
      return
   end
   local _ <close> = link:guard(handle)
   -- What cannot be marked comes over one channel: a gap would not be found.
   fiber.await(transfer.marking, session)
   if transfer.marking.marked and not transfer.done and session._core:sftp_attach(link.ch, transfer.core, handle) then
      fiber.await(transfer, session)
   end
end

--- Whether the window of a channel holds up what is sent over it.
function stripes.is_narrow(session, ch)
   local round_trip, _, _, n_short = session._core:sftp_path(ch)
   return round_trip ~= nil and round_trip > LONG and n_short > 0
end

--- A function that looks whether a transfer is held up by the window, or nil where that does not matter.
function stripes.watch(batch, size)
   local sftp = batch.sftp
   if size < LEAST or sftp._most_channels <= 1 then
      return nil
   end
   return function(transfer)
      if transfer.striped or transfer.spec.size - transfer.spec.offset - transfer.moved < LEAST then
         return
      end
      if stripes.is_narrow(batch._session, sftp._link.ch) then
         transfer.striped = true
         transfer.marking = { done = false }
         batch:add(function()
            transfer.marking.marked = mark(batch, transfer)
            fiber.finish(transfer.marking, batch._session)
         end)
         for i = 1, sftp._most_channels - 1 do
            batch:add(work, batch, transfer, i)
         end
      end
   end
end

return stripes
