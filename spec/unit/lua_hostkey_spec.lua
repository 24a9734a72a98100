local hostkey = require "moonssh.hostkey"
local keys = require "spec.support.keys"
local known_hosts = require "moonssh.known_hosts"
local tmp = require "spec.support.tmp"

describe("the order of host key algorithms", function()
   local list = { "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "rsa-sha2-512", "rsa-sha2-256" }

   local function order(...)
      local folder <close> = tmp.dir()
      local known = assert(known_hosts.open(folder:write("known_hosts", table.concat({ ... }, "\n") .. "\n")))
      return table.concat(hostkey.algorithms_for(known, "web1", 22, list), " ")
   end

   local unchanged = table.concat(list, " ")
   local ed25519, ecdsa, rsa = keys.public("ed25519"), keys.public("ecdsa"), keys.public("rsa")

   it("is left as it is for a host of which nothing is known", function()
      assert.equal(unchanged, order(""))
      assert.equal(unchanged, order("web2 " .. rsa))
      assert.equal(unchanged, order("[web1]:2222 " .. rsa))
      assert.equal(unchanged, order("@revoked web1 " .. rsa))
      assert.equal(unchanged, order("@cert-authority web2 " .. rsa))
   end)

   it("has certificates in front where an authority for the host is known, whatever its key is", function()
      local certified = "ssh-ed25519-cert-v01@openssh.com ecdsa-sha2-nistp256-cert-v01@openssh.com "
         .. "ecdsa-sha2-nistp384-cert-v01@openssh.com rsa-sha2-512-cert-v01@openssh.com "
         .. "rsa-sha2-256-cert-v01@openssh.com "
      assert.equal(certified .. unchanged, order("@cert-authority web1 " .. rsa))
      assert.equal(certified .. "ecdsa-sha2-nistp256 ssh-ed25519 ecdsa-sha2-nistp384 rsa-sha2-512 rsa-sha2-256",
         order("@cert-authority * " .. rsa, "web1 " .. ecdsa))
   end)

   it("has those in front whose keys are known of the host, and the others behind", function()
      assert.equal("rsa-sha2-512 rsa-sha2-256 ssh-ed25519 ecdsa-sha2-nistp256 ecdsa-sha2-nistp384",
         order("web1 " .. rsa))
      assert.equal("ecdsa-sha2-nistp256 ssh-ed25519 ecdsa-sha2-nistp384 rsa-sha2-512 rsa-sha2-256",
         order("web1 " .. ecdsa))
      assert.equal("ssh-ed25519 rsa-sha2-512 rsa-sha2-256 ecdsa-sha2-nistp256 ecdsa-sha2-nistp384",
         order("web1 " .. rsa, "web* " .. ed25519))
   end)

   it("has no key in front that is revoked, so that a server with others is reached by these, as by ssh", function()
      local expected = "ecdsa-sha2-nistp256 ssh-ed25519 ecdsa-sha2-nistp384 rsa-sha2-512 rsa-sha2-256"
      assert.equal(expected, order("web1 " .. ed25519, "web1 " .. ecdsa, "@revoked * " .. ed25519))
      assert.equal(expected, order("@revoked * " .. ed25519, "web1 " .. ed25519, "web1 " .. ecdsa))
      assert.equal(unchanged, order("web1 " .. rsa, "@revoked web1 " .. rsa))
   end)
end)

describe("the option host_keys", function()
   it("takes policies, fingerprints, lists of these, and functions", function()
      for _, policy in ipairs{ "strict", "accept-new", "off", "SHA256:abc+/9", "MD5:00:ff", { "SHA256:a", "MD5:00" },
         print } do
         assert.is_nil(hostkey.complaint(policy))
      end
      assert.is_nil(hostkey.complaint(nil))
   end)

   it("takes nothing else", function()
      for _, policy in ipairs{ "", "yes", "Strict", "SHA256:", "SHA1:abc", "SHA256:a b", {}, { "strict" }, { print }, 5,
         true } do
         assert.is_string(hostkey.complaint(policy))
      end
   end)
end)
