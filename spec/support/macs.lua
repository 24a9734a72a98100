-- What is to be known of the MACs by their names.
--
--    macs.tag("hmac-sha2-256-etm@openssh.com")      32, the bytes that it adds to a packet
--    macs.is_etm(name)                              whether it is of the encrypted packet

local macs = {}

local TAGS = { ["hmac-sha2-256"] = 32, ["hmac-sha2-512"] = 64, ["hmac-sha1"] = 20, ["hmac-sha1-96"] = 12,
   ["hmac-md5"] = 16, ["hmac-md5-96"] = 12, ["umac-64"] = 8, ["umac-128"] = 16 }

function macs.tag(name)
   return TAGS[(name:gsub("%-etm@.*", ""):gsub("@.*", ""))] or error("no such MAC: " .. name)
end

function macs.is_etm(name)
   return name:find("-etm@", 1, true) ~= nil
end

return macs
