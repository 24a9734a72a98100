-- Trees, there and back: fibers of a batch for each folder, file and symbolic link. A folder is made before what is in
-- it; its times are set when all that is done. Symbolic links stay what they are and are not followed.

local core = require "moonssh.core"
local attributes = require "moonssh.sftp.attributes"
local copy = require "moonssh.sftp.copy"
local Link = require "moonssh.sftp.link"
local listing = require "moonssh.sftp.listing"

local TYPE = Link.type

local tree = {}

local BITS = 511 -- 0777
local OWNER = 448 -- 0700: what makes a folder usable while it is filled

-- Folders ------------------------------------------------------------------------------------------------------------

-- A folder under way: `finish` runs when it and all below it are done.
local function enter(parent, finish)
   local node = { parent = parent, open = 1, finish = finish }
   if parent then
      parent.open = parent.open + 1
   end
   return node
end

local function leave(node)
   while node do
      node.open = node.open - 1
      if node.open > 0 then
         return
      end
      if node.finish then
         node.finish()
      end
      node = node.parent
   end
end

-- Runs f(batch, node, …) as work of a node.
local function as_work(f)
   return function(batch, node, ...)
      local ok, err = f(batch, node, ...)
      if not ok then
         batch:fail(err)
      end
      leave(node)
   end
end

-- Whether a name is in a list, in which each `step`th thing is one: those must not be written under by other files.
local function lookup(list, step)
   local names
   return function(name)
      if not names then
         names = {}
         for i = 1, #list, step do
            names[list[i]] = true
         end
      end
      return names[name] == true
   end
end

-- Whether a file that is there already is to be left alone: resuming, one of the same size and time is complete.
local function is_same(options, here, there)
   return options.resume and here and there and here.type == "file" and here.size == there.size
      and here.mtime == there.mtime
end

-- get ----------------------------------------------------------------------------------------------------------------

local get_file = as_work(function(batch, _, remote, target, found, is_taken)
   if is_same(batch.options, core.file.lstat(target), found) then
      batch.result.skipped = batch.result.skipped + 1
      return true
   end
   return copy.get(batch, remote, target, found, is_taken)
end)

local get_link = as_work(function(batch, _, remote, target, found)
   local names, err = batch.sftp._link:call(TYPE.READLINK, string.pack(">s4", remote), remote)
   if not names then
      return nil, err
   elseif #names ~= 2 or names[1]:find("\0", 1, true) then
      return nil, Link.error("protocol", remote, "the server gave no target of the symbolic link")
   end
   local ok, _, message, errno = core.file.symlink(names[1], target)
   if not ok and errno == core.file.EEXIST then
      local there = core.file.lstat(target)
      if there and there.type ~= "directory" then
         core.file.remove(target)
      end
      ok, _, message, errno = core.file.symlink(names[1], target)
   end
   if not ok then
      return nil, copy.local_error(target, message, errno)
   end
   if batch.options.preserve and found.mtime then
      core.file.times(target, found.atime, found.mtime, true)
   end
   batch.result.links = batch.result.links + 1
   return true
end)

-- A folder that is there already will do; a symbolic link to one will not, unless the caller has named it.
local function make_local(target, is_top)
   local ok, _, message, errno = core.file.mkdir(target, 511)
   if ok then
      return true
   elseif errno == core.file.EEXIST then
      local there = is_top and core.file.stat(target) or core.file.lstat(target)
      if there and there.type == "directory" then
         return true
      end
   end
   return nil, copy.local_error(target, message, errno)
end

local get_folder

local kinds = { file = get_file, symlink = get_link }

local function get_entry(batch, node, remote, target, found, is_taken)
   if found.type == "directory" then
      node.open = node.open + 1
      batch:add_folder(get_folder, batch, node, remote, target, found)
   elseif kinds[found.type] then
      node.open = node.open + 1
      batch:add(kinds[found.type], batch, node, remote, target, found, is_taken)
   else
      batch.result.skipped = batch.result.skipped + 1 -- sockets, devices and their like
   end
end

get_folder = function(batch, parent, remote, target, found)
   local ok, err = make_local(target, parent == nil)
   if not ok then
      batch:fail(err)
      return leave(parent)
   end
   local node = enter(parent, function()
      if batch.options.preserve and found.permissions then
         core.file.chmod(target, found.permissions & BITS)
         core.file.times(target, found.atime or found.mtime or 0, found.mtime or 0)
      end
   end)
   leave(parent) -- the node stands for it now
   local entries
   entries, err = listing.all(batch.sftp._link, remote)
   if not entries then
      batch:fail(err)
      return leave(node)
   end
   batch.result.folders = batch.result.folders + 1
   local is_taken = lookup(entries, 2)
   for i = 1, #entries, 2 do
      local name, entry = entries[i], entries[i + 1]
      local path = listing.join(remote, name)
      if entry.type == "unknown" then
         entry, err = batch.sftp._link:call(TYPE.LSTAT, string.pack(">s4", path), path)
      end
      if entry then
         get_entry(batch, node, path, target .. "/" .. name, entry, is_taken)
      else
         batch:fail(err)
      end
   end
   leave(node)
end

--- Receives what there is: a tree or a file.
function tree.get(batch, remote, target)
   local found, err = batch.sftp._link:call(TYPE.STAT, string.pack(">s4", remote), remote)
   if not found then
      return nil, err
   elseif found.type ~= "directory" then
      return copy.get(batch, remote, target, found)
   end
   batch:add_folder(get_folder, batch, nil, remote, target, found)
   return true
end

-- put ----------------------------------------------------------------------------------------------------------------

local put_file = as_work(function(batch, _, path, remote, here, is_taken)
   if batch.options.resume then
      local there = batch.sftp._link:call(TYPE.LSTAT, string.pack(">s4", remote), remote)
      if is_same(batch.options, there, here) then
         batch.result.skipped = batch.result.skipped + 1
         return true
      end
   end
   return copy.put(batch, path, remote, is_taken)
end)

local put_link = as_work(function(batch, _, path, remote, here)
   local sftp = batch.sftp
   local link = sftp._link
   local target, _, message, errno = core.file.readlink(path)
   if not target then
      return nil, copy.local_error(path, message, errno)
   end
   local body = sftp:_symlink(target, remote)
   local ok, err = link:call(TYPE.SYMLINK, body, remote)
   if not ok and err.code == "sftp" then
      link:call(TYPE.REMOVE, string.pack(">s4", remote), remote)
      ok, err = link:call(TYPE.SYMLINK, body, remote)
   end
   if not ok then
      return nil, err
   end
   if batch.options.preserve and sftp.extensions["lsetstat@openssh.com"] then
      sftp:_extended("lsetstat@openssh.com", string.pack(">s4", remote)
         .. attributes.pack{ atime = here.atime, mtime = here.mtime }, remote)
   end
   batch.result.links = batch.result.links + 1
   return true
end)

-- A folder that is there already will do.
local function make_remote(link, remote, mode)
   local ok, err = link:call(TYPE.MKDIR, string.pack(">s4", remote) .. attributes.permissions(mode), remote)
   if ok or err.code ~= "sftp" then
      return ok, err
   end
   local there = link:call(TYPE.STAT, string.pack(">s4", remote), remote)
   if there and there.type == "directory" then
      return true
   end
   return nil, err
end

local put_folder

local function put_entry(batch, node, path, remote, is_taken)
   local here, _, message, errno = core.file.lstat(path)
   if not here then
      return batch:fail(copy.local_error(path, message, errno))
   elseif here.type == "directory" then
      node.open = node.open + 1
      batch:add_folder(put_folder, batch, node, path, remote, here)
   elseif here.type == "file" or here.type == "symlink" then
      node.open = node.open + 1
      batch:add(here.type == "file" and put_file or put_link, batch, node, path, remote, here, is_taken)
   else
      batch.result.skipped = batch.result.skipped + 1
   end
end

put_folder = function(batch, parent, path, remote, here)
   local link = batch.sftp._link
   local ok, err = make_remote(link, remote, here.permissions & BITS | OWNER)
   if not ok then
      batch:fail(err)
      return leave(parent)
   end
   local node = enter(parent, function()
      local record = batch.options.preserve and link:send(TYPE.SETSTAT, string.pack(">s4", remote)
         .. attributes.pack{ permissions = here.permissions & BITS, atime = here.atime, mtime = here.mtime }, remote)
      if record then
         batch:add(function()
            local set, set_err = link:await(record)
            if not set then
               batch:fail(set_err)
            end
         end)
      end
   end)
   leave(parent)
   local names, _, message, errno = core.file.list(path)
   if not names then
      batch:fail(copy.local_error(path, message, errno))
      return leave(node)
   end
   batch.result.folders = batch.result.folders + 1
   local is_taken = lookup(names, 1)
   for _, name in ipairs(names) do
      put_entry(batch, node, path .. "/" .. name, listing.join(remote, name), is_taken)
   end
   leave(node)
end

--- Sends what there is: a tree or a file.
function tree.put(batch, path, remote)
   local here, _, message, errno = core.file.stat(path)
   if not here then
      return nil, copy.local_error(path, message, errno)
   elseif here.type ~= "directory" then
      return copy.put(batch, path, remote)
   end
   batch:add_folder(put_folder, batch, nil, path, remote, here)
   return true
end

-- remove -------------------------------------------------------------------------------------------------------------

local remove_folder

local remove_entry = as_work(function(batch, _, path)
   return batch.sftp._link:call(TYPE.REMOVE, string.pack(">s4", path), path)
end)

local remove_empty = function(batch, parent, path)
   local ok, err = batch.sftp._link:call(TYPE.RMDIR, string.pack(">s4", path), path)
   if not ok then
      batch:fail(err)
   end
   leave(parent)
end

remove_folder = function(batch, parent, path)
   -- What is above waits for the folder itself, which goes when all that is in it has.
   local node = enter(nil, function()
      batch:add(remove_empty, batch, parent, path)
   end)
   local entries, err = listing.all(batch.sftp._link, path)
   for i = 1, #(entries or {}), 2 do
      local inner = listing.join(path, entries[i])
      node.open = node.open + 1
      if entries[i + 1].type == "directory" then
         batch:add_folder(remove_folder, batch, node, inner)
      else
         batch:add(remove_entry, batch, node, inner)
      end
   end
   if not entries then
      batch:fail(err)
   end
   leave(node)
end

--- Removes what there is: a tree or a file.
function tree.remove(batch, path)
   local found, err = batch.sftp._link:call(TYPE.LSTAT, string.pack(">s4", path), path)
   if not found then
      return nil, err
   elseif found.type ~= "directory" then
      return batch.sftp._link:call(TYPE.REMOVE, string.pack(">s4", path), path)
   end
   batch:add_folder(remove_folder, batch, nil, path)
   return true
end

return tree
