-- The methods of Sftp that move whole files and trees.

local args = require "moonssh.args"
local Batch = require "moonssh.sftp.batch"
local copy = require "moonssh.sftp.copy"
local Link = require "moonssh.sftp.link"
local tree = require "moonssh.sftp.tree"

-- Methods of moonssh.sftp.
local methods = {}

---@class moonssh.sftp.copy_options
---@field recursive? boolean a folder with all that is in it
---@field progress? fun(done: integer, total: integer, path: string)
---@field resume? boolean go on where a copy before has ended; in a tree, leave files of the same size and time alone
---@field preserve? boolean times and permissions
---@field atomic? boolean write NAME.part, then rename (default true)
---@field fsync? boolean bring each file to the disk
---@field mode? integer permissions of files
---@field timeout? number

---@class moonssh.sftp.copied
---@field files integer
---@field folders integer
---@field links integer
---@field skipped integer
---@field bytes integer

--- The options of get and put.
methods._copy_options = {
   recursive = "boolean", progress = "function", resume = "boolean", preserve = "boolean", atomic = "boolean",
   fsync = "boolean", mode = "integer", timeout = "number",
}

-- Runs one piece of work, and all that it has done. `about`: the path, and the stage of a timeout.
local function run(self, options, about, deadline, f, ...)
   local batch <close> = Batch.new(self, options, about)
   batch:add(function(...)
      local ok, err = f(batch, ...)
      if not ok then
         batch:fail(err)
      end
   end, ...)
   return batch:wait(deadline)
end

local function move(self, fname, from, to, options, one, all)
   self:_check(fname)
   args.path(fname, 1, from)
   args.path(fname, 2, to)
   options = args.options(fname, 3, options, methods._copy_options)
   if options.mode and (options.mode < 0 or options.mode > 4095) then
      args.bad(fname, 3, "option 'mode': permissions expected")
   end
   if options.fsync and fname == "put" and not self.extensions["fsync@openssh.com"] then
      return nil, Link.unsupported("fsync@openssh.com", to)
   end
   local about = { path = from, stage = fname == "get" and "read" or "write" }
   return run(self, options, about, self._session:_deadline(options), options.recursive and all or one, from, to)
end

--- Receives a file, or with `recursive` a tree. → what was copied | nil, err: of the first that failed; all are in
--- err.failures, and what was done in err.result
---@param remote string
---@param path string
---@param options? moonssh.sftp.copy_options
---@return moonssh.sftp.copied|nil
---@return moonssh.error? err
function methods:get(remote, path, options)
   return move(self, "get", remote, path, options, copy.get, tree.get)
end

--- Sends a file, or with `recursive` a tree. → as get
---@param path string
---@param remote string
---@param options? moonssh.sftp.copy_options
---@return moonssh.sftp.copied|nil
---@return moonssh.error? err
function methods:put(path, remote, options)
   return move(self, "put", path, remote, options, copy.put, tree.put)
end

--- Removes a file, or a folder with all that is in it; symbolic links are not followed. → true | nil, err
---@param path string
---@param options? { timeout: number }
---@return true|nil
---@return moonssh.error? err
function methods:remove_tree(path, options)
   self:_check("remove_tree")
   args.path("remove_tree", 1, path)
   local about = { path = path, stage = "request" }
   local done, err = run(self, {}, about, self:_deadline("remove_tree", 2, options), tree.remove, path)
   return done and true or nil, err
end

return methods
