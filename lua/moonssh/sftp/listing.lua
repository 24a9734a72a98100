-- What is in a folder at the server: several requests for names are on the way at a time.

local Link = require "moonssh.sftp.link"

local TYPE = Link.type

local listing = {}

-- Requests for names on the way: few servers tell more than a hundred at a time.
local AHEAD = 4

-- Names that a folder may have: memory is not the server's to fill.
local MOST = 10 * 1000 * 1000

--- A path within a folder.
function listing.join(folder, name)
   if folder == "" then
      return name
   end
   return folder:sub(-1) == "/" and folder .. name or folder .. "/" .. name
end

--- Whether a name is one that may be in a folder: nothing that leads out of it.
function listing.is_name(name)
   return name ~= "" and name ~= "." and name ~= ".." and not name:find("[/\0]")
end

local Reader = {}
Reader.__index = Reader

function Reader.__close(self)
   for _, record in ipairs(self.records) do
      self.link:forget(record)
   end
   self.records = {}
   if self.handle then
      self.link:close_handle(self.handle)
      self.handle = nil
   end
end

--- Opens a folder. → reader | nil, err
function listing.open(link, path, deadline)
   local handle, err = link:call(TYPE.OPENDIR, string.pack(">s4", path), path, deadline)
   if not handle then
      return nil, err
   end
   return setmetatable({ link = link, path = path, handle = handle, records = {}, n = 0 }, Reader)
end

-- Leaves out the folder itself and the one above, and turns away what is no name.
local function checked(self, names)
   local result, n = {}, 0
   for i = 1, #names, 2 do
      local name = names[i]
      if name ~= "." and name ~= ".." then
         if not listing.is_name(name) then
            return nil, Link.error("protocol", listing.join(self.path, name), "no name of a file in a folder")
         end
         result[n + 1], result[n + 2] = name, names[i + 1]
         n = n + 2
      end
   end
   self.n = self.n + n // 2
   if self.n > MOST then
      return nil, Link.error("limit", self.path, "too many files")
   end
   return result
end

--- The next names: name, attributes, … → list | false at the end | nil, err
function Reader:next(deadline)
   local link = self.link
   while #self.records < AHEAD do
      local record, err = link:send(TYPE.READDIR, string.pack(">s4", self.handle), self.path)
      if not record then
         return nil, err
      end
      table.insert(self.records, record)
   end
   local record = self.records[1]
   local names, err = link:await(record, deadline)
   if record.done then
      table.remove(self.records, 1)
   end
   if names then
      if #names == 0 then
         return nil, Link.error("protocol", self.path, "the server gave a list of no names")
      end
      return checked(self, names)
   elseif err.status == "eof" then
      return false
   end
   return nil, err
end

--- All names of a folder: name, attributes, … → list | nil, err
function listing.all(link, path, deadline)
   local reader <close>, err = listing.open(link, path, deadline)
   if not reader then
      return nil, err
   end
   local all = {}
   while true do
      local names
      names, err = reader:next(deadline)
      if names == false then
         return all
      elseif not names then
         return nil, err
      end
      table.move(names, 1, #names, #all + 1, all)
   end
end

return listing
