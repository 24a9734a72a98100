-- What a language server shows of a public call: every parameter and result has its annotation.

-- Where public functions are, and how their heads look.
local places = {
   ["init.lua"] = "^function ssh%.(%l[%w_]*)%((.*)%)",
   ["session.lua"] = "^function Session:(%l[%w_]*)%((.*)%)",
   ["calls.lua"] = "^function methods:(%l[%w_]*)%((.*)%)",
   ["handshake.lua"] = "^function methods:(%l[%w_]*)%((.*)%)",
   ["channel.lua"] = "^function Channel:(%l[%w_]*)%((.*)%)",
   ["reader.lua"] = "^function Reader:(%l[%w_]*)%((.*)%)",
   ["key.lua"] = "^function Key:(%l[%w_]*)%((.*)%)",
   ["agent.lua"] = "^function Agent:(%l[%w_]*)%((.*)%)",
   ["known_hosts.lua"] = "^function KnownHosts:(%l[%w_]*)%((.*)%)",
   ["fleet.lua"] = "^function Fleet:(%l[%w_]*)%((.*)%)",
   ["fleet_report.lua"] = "^function Report:(by_[%w_]*)%((.*)%)",
   ["map.lua"] = "^function map%.(map)%((.*)%)",
   ["reconnecting.lua"] = "^function reconnecting%.(reconnecting)%((.*)%)",
   ["task.lua"] = "^function task%.(%l[%w_]*)%((.*)%)",
   ["client.lua"] = "^function client%.(%l[%w_]*)%((.*)%)",
   ["sftp.lua"] = "^function Sftp:(%l[%w_]*)%((.*)%)",
   ["sftp/about.lua"] = "^function methods:(%l[%w_]*)%((.*)%)",
   ["sftp/file.lua"] = "^function File:(%l[%w_]*)%((.*)%)",
   ["sftp/names.lua"] = "^function methods:(%l[%w_]*)%((.*)%)",
   ["sftp/transfers.lua"] = "^function methods:(%l[%w_]*)%((.*)%)",
   ["transport.lua"] = "^function transport%.(socket_%l+)%((.*)%)",
}

-- Those without a result, and those that only the library calls.
local silent = { close = true, cancel = true, wake = true, trace = true }
local inner = { check_options = true, kept = true, available = true, append = true, pull = true, credit = true,
   joined = true, cut = true, pop = true, wait_until = true }

-- The names of public functions, and complaints about them.
local function look(text, head)
   local names, complaints, doc = {}, {}, {}
   for line in text:gmatch("([^\n]*)\n") do
      local name, parameters = line:match(head)
      if name and not inner[name] then
         local above = table.concat(doc, "\n") .. "\n"
         table.insert(names, name)
         if not above:find("^%-%-") then
            table.insert(complaints, name .. " has no comment")
         end
         for parameter in parameters:gmatch("[^%s,]+") do
            if not above:find("---@param " .. parameter:gsub("%.", "%%.") .. "%??%s") then
               table.insert(complaints, ("%s: no @param %s"):format(name, parameter))
            end
         end
         if not silent[name] and not above:find("---@return", 1, true) then
            table.insert(complaints, name .. ": no @return")
         end
      end
      if line:sub(1, 2) == "--" then
         table.insert(doc, line)
      else
         doc = {}
      end
   end
   return names, complaints
end

describe("every public call", function()
   for path, head in pairs(places) do
      it("of " .. path .. " has its annotations", function()
         local file <close> = assert(io.open("lua/moonssh/" .. path))
         local names, complaints = look(file:read("a"), head)
         assert.is_truthy(names[1])
         assert.same({}, complaints)
      end)
   end

   it("is held to it by this rule", function()
      local _, complaints = look("x = 1\nfunction Key:sign(data, algorithm)\nend\n", places["key.lua"])
      assert.same({ "sign has no comment", "sign: no @param data", "sign: no @param algorithm", "sign: no @return" },
         complaints)
      _, complaints = look("--- Signs.\n---@param data string\n---@return string\nfunction Key:sign(data)\n",
         places["key.lua"])
      assert.same({}, complaints)
   end)
end)
