-- Key revocation lists: those of ssh-keygen say here what they say there; those made to do harm say nothing.

local certificate = require "spec.support.certificate"
local core = require "moonssh.core"
local keygen = require "spec.support.keys"
local krl = require "moonssh.krl"
local process = require "spec.support.process"
local testing = require "moonssh_testing"
local tmp = require "spec.support.tmp"

local authority, other = testing.keys.generate("ed25519"), testing.keys.generate("ed25519")
local subject = testing.keys.generate("ed25519")

local function line(blob)
   return ("%s %s\n"):format(string.unpack(">s4", blob), core.base64_encode(blob))
end

local function certified(serial, by, id)
   return certificate.blob{ key = subject:blob(), authority = by or authority, serial = serial, key_id = id or "any" }
end

local function revokes(list, blob)
   return list:revokes(assert(core.key.parse_public(blob)))
end

describe("a key revocation list of ssh-keygen", function()
   local folder

   before_each(function()
      folder = tmp.dir()
      folder:write("authority.pub", line(authority:blob()))
   end)

   after_each(function()
      folder:remove()
   end)

   -- The list for a text; further arguments go to ssh-keygen.
   local function made(text, ...)
      local command = { "ssh-keygen", "-q", "-k", "-f", folder:path("krl"), ... }
      table.insert(command, folder:write("spec", text))
      process.check(command)
      return assert(krl.parse(folder:read("krl")))
   end

   local function made_for(text, signer)
      return made(text, "-s", signer)
   end

   -- Compares the verdicts on all blobs with those of ssh-keygen -Q; gives how many are revoked.
   local function compare(list, blobs)
      local command, revoked = { "ssh-keygen", "-Q", "-f", folder:path("krl") }, 0
      for i, blob in ipairs(blobs) do
         table.insert(command, folder:write(("%d.pub"):format(i), line(blob)))
      end
      local output = process.run(command).stdout
      local i = 0
      for verdict in output:gmatch("[^\n]*: (%u*%l*)\n") do
         i = i + 1
         assert.equal(verdict == "REVOKED", revokes(list, blobs[i]), output)
         revoked = revoked + (verdict == "REVOKED" and 1 or 0)
      end
      assert.equal(#blobs, i)
      return revoked
   end

   it("names keys, and fingerprints of both hashes", function()
      local blobs, text = {}, { line(testing.keys.generate("ecdsa", 256):blob()) }
      for i, kind in ipairs{ { "ed25519" }, { "ecdsa", 256 }, { "ecdsa", 521 }, { "ed25519" } } do
         blobs[i] = testing.keys.generate(kind[1], kind[2]):blob()
      end
      table.insert(text, "key: " .. line(blobs[1]))
      table.insert(text, "sha1: " .. line(blobs[2]))
      table.insert(text, "sha256: " .. line(blobs[3]))
      assert.equal(3, compare(made(table.concat(text)), blobs))
   end)

   it("names serial numbers in each of its ways", function()
      local text, blobs = {}, {}
      -- A few far apart, a range, many close together.
      for _, serial in ipairs{ 1, 1000, 1 << 40, -1, "5000-6000", "9223372036854775800-9223372036854775810" } do
         table.insert(text, "serial: " .. (type(serial) == "string" and serial or ("%u"):format(serial)) .. "\n")
      end
      text[4] = "serial: 18446744073709551615\n"
      for serial = 20000, 20400, 3 do
         table.insert(text, ("serial: %d\n"):format(serial))
      end
      for _, serial in ipairs{ 0, 1, 2, 999, 1000, 1001, 1 << 40, (1 << 40) + 1, -1, -2, 4999, 5000, 5500, 6000, 6001,
         math.maxinteger - 8, math.maxinteger - 7, math.maxinteger, math.mininteger, math.mininteger + 2,
         math.mininteger + 3, 19999, 20000, 20001, 20003, 20200, 20399, 20400, 20402, 20403 } do
         table.insert(blobs, certified(serial))
         table.insert(blobs, certified(serial, other))
      end
      table.insert(blobs, subject:blob())
      table.insert(blobs, authority:blob())
      local list = made_for(table.concat(text), folder:path("authority.pub"))
      local n = compare(list, blobs)
      assert.is_true(n > 12 and n < 30, n)
   end)

   it("names certificates by their ids, of any authority too", function()
      local blobs = { certified(0, authority, "one"), certified(7, authority, "two"), certified(7, authority, "three"),
         certified(7, other, "one"), subject:blob() }
      assert.equal(2, compare(made_for("id: one\nid: three\n", folder:path("authority.pub")), blobs))
      assert.equal(3, compare(made_for("id: one\nid: three\n", "NONE"), blobs))
      assert.equal(2, compare(made_for("serial: 7\nid: nobody\n", folder:path("authority.pub")), blobs))
   end)

   it("that names a key or an authority takes all its certificates along", function()
      local blobs = { certified(1), certified(0), certified(1, other), subject:blob(), authority:blob() }
      assert.equal(3, compare(made("key: " .. line(authority:blob())), blobs))
      assert.equal(4, compare(made("key: " .. line(subject:blob())), blobs))
      assert.equal(3, compare(made("sha256: " .. line(authority:blob())), blobs))
   end)

   it("that names nothing revokes nothing", function()
      assert.equal(0, compare(made(""), { subject:blob(), certified(1) }))
   end)

   it("has the version that it was given, and may be added to", function()
      made("key: " .. line(subject:blob()), "-z", "42")
      assert.equal(42, assert(krl.parse(folder:read("krl"))).version)
      process.check{ "ssh-keygen", "-q", "-k", "-u", "-f", folder:path("krl"),
         folder:write("more", "key: " .. line(authority:blob())) }
      local list = assert(krl.parse(folder:read("krl")))
      assert.equal(2, compare(list, { subject:blob(), authority:blob(), other:blob() }))
   end)

   it("with serial numbers chosen at random says the same of all", function()
      local seed = 7
      local function random(n)
         seed = seed * 1103515245 + 12345 & 0x7fffffff
         return seed // 7 % n
      end
      for _ = 1, 3 do
         local text, blobs = {}, {}
         for _ = 1, 60 do
            local first = random(400) + 1
            local last = random(3) == 0 and ("-%d"):format(first + 1 + random(9)) or ""
            table.insert(text, ("serial: %d%s\n"):format(first, last))
         end
         for i = 1, 60 do
            blobs[i] = certified(random(420))
         end
         compare(made_for(table.concat(text), folder:path("authority.pub")), blobs)
      end
   end)
end)

describe("a key revocation list made by hand", function()
   local function list(sections, changes)
      changes = changes or {}
      local head = string.pack(">I4i8i8i8s4s4", changes.format or 1, 5, 0, 0, "", "comment")
      return (changes.magic or "SSHKRL\n\0") .. head .. sections
   end

   local function section(kind, data)
      return string.pack(">Bs4", kind, data)
   end

   local function certificates(...)
      return section(1, string.pack(">s4s4", authority:blob(), "") .. table.concat({ ... }))
   end

   local function refused(sections, pattern, changes)
      local none, reason = krl.parse(list(sections, changes))
      assert.is_nil(none)
      assert.matches(pattern, reason)
      return reason
   end

   local all = certificates(section(0x20, string.pack(">i8i8", 3, -1)), section(0x21, string.pack(">i8i8", 10, 20)),
      section(0x22, string.pack(">i8s4", 100, "\1\128\1")), section(0x23, string.pack(">s4", "an id")),
      section(0x39, string.pack(">s4Bs4", "x@spec", 0, ""))) .. section(2, string.pack(">s4", other:blob()))
      .. section(3, string.pack(">s4", ("s"):rep(20))) .. section(5, string.pack(">s4", ("t"):rep(32)))
      .. section(255, string.pack(">s4Bs4", "x@spec", 0, "anything"))

   it("with a section of each type is understood", function()
      local made = assert(krl.parse(list(all)))
      assert.same({ 5, "comment" }, { made.version, made.comment })
      for serial, expected in pairs{ [0] = false, [2] = false, [3] = true, [-1] = true, [-2] = false, [9] = false,
         [10] = true, [20] = true, [21] = false, [99] = false, [100] = true, [101] = false, [114] = false, [115] = true,
         [116] = true, [117] = false, [123] = false, [124] = false, [1 << 62] = false } do
         assert.equal(expected, revokes(made, certified(serial)), serial)
         assert.is_false(revokes(made, certified(serial, testing.keys.generate("ed25519"))))
      end
      assert.is_true(revokes(made, certified(1, nil, "an id")))
      assert.is_true(revokes(made, other:blob()))
   end)

   it("its end missing anywhere is refused, but where a section ends", function()
      local text, whole = list(all), 0
      for n = 0, #text - 1 do
         local made, reason = krl.parse(text:sub(1, n))
         if made then
            whole = whole + 1
         else
            assert.is_true(reason == "no key revocation list" or reason == "a key revocation list with its end missing",
               reason)
         end
      end
      assert.equal(5, whole)
   end)

   it("that is not understood is refused, not passed over", function()
      refused("", "format 2, which is not known$", { format = 2 })
      refused("", "^no key revocation list$", { magic = "SSHKRL\r\n" })
      refused(section(0, ""), "a section of type 0, which is not known$")
      refused(section(6, ""), "a section of type 6, which is not known$")
      refused(certificates(section(0x24, "")), "certificates by type 36, which is not known$")
      refused(section(255, string.pack(">s4Bs4", "\27x", 1, "")), "critical extension that is not known: \\x1bx$")
      refused(certificates(section(0x39, string.pack(">s4Bs4", "y", 1, ""))), "critical extension .*: y$")
      refused(section(255, string.pack(">s4Bs4", "y", 0, "") .. "\0"), "an extension that is out of form$")
   end)

   it("with numbers out of form is refused, and costs nothing", function()
      for _, data in ipairs{ "", "1234567", "123456789" } do
         refused(certificates(section(0x20, data)), "serial numbers that are out of form$")
      end
      refused(certificates(section(0x21, string.pack(">i8i8", 2, 1))), "a range of serial numbers")
      refused(certificates(section(0x21, string.pack(">i8i8", -1, 1))), "a range of serial numbers")
      refused(certificates(section(0x21, string.pack(">i8i8", 1, 2) .. "\0")), "a range of serial numbers")
      for _, bits in ipairs{ "", "\0", "\0\1", "\128" } do
         refused(certificates(section(0x22, string.pack(">i8s4", 1, bits))), "a bitmap of serial numbers that is out")
      end
      refused(certificates(section(0x22, string.pack(">i8s4", -8, "\1\1"))), "a bitmap of serial numbers past the last")
      for _, kind in ipairs{ 3, 5 } do
         for _, length in ipairs{ 0, 16, 19, 21, 33 } do
            refused(section(kind, string.pack(">s4", ("x"):rep(length))), "a fingerprint of another length$")
         end
      end
      -- A range of all there are, and a bitmap of millions, are as they were: nothing is spread out.
      local wide = assert(krl.parse(list(certificates(section(0x21, string.pack(">i8i8", 1, -1))))))
      assert.is_true(revokes(wide, certified(1 << 50)))
      assert.is_false(revokes(wide, certified(0)))
      -- Serial number 0 is none, and numbers have no sign.
      local everything = assert(krl.parse(list(certificates(section(0x21, string.pack(">i8i8", 0, -1))))))
      assert.is_false(revokes(everything, certified(0)))
      assert.is_true(revokes(everything, certified(1)))
      local middle = string.pack(">i8i8", math.maxinteger - 5, math.mininteger + 5)
      local unsigned = assert(krl.parse(list(certificates(section(0x21, middle)))))
      for serial, expected in pairs{ [math.maxinteger - 6] = false, [math.maxinteger - 5] = true,
         [math.mininteger + 5] = true, [math.mininteger + 6] = false, [1] = false, [-1] = false } do
         assert.equal(expected, revokes(unsigned, certified(serial)))
      end
      local bits = "\1" .. ("\0"):rep(1 << 20)
      local long = assert(krl.parse(list(certificates(section(0x22, string.pack(">i8s4", 1, bits))))))
      assert.is_true(revokes(long, certified(1 + (1 << 23))))
      assert.is_false(revokes(long, certified(1 << 23)))
   end)

   it("has lengths that are checked, whatever they claim", function()
      for _, length in ipairs{ 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff } do
         refused(string.pack(">BI4", 2, length), "its end missing$")
         refused(section(2, string.pack(">I4", length)), "its end missing$")
         refused(certificates(string.pack(">BI4", 0x20, length)), "its end missing$")
      end
   end)

   it("that is signed must be signed well", function()
      local body = list(section(2, string.pack(">s4", other:blob()))) .. section(4, authority:blob())
      local signature = string.pack(">s4", authority:sign("ssh-ed25519", body))
      assert.is_true(revokes(assert(krl.parse(body .. signature)), other:blob()))
      for _, bad in ipairs{ string.pack(">s4", other:sign("ssh-ed25519", body)), string.pack(">s4", ""),
         string.pack(">s4", authority:sign("ssh-ed25519", body .. "\0")) } do
         local none, reason = krl.parse(body .. bad)
         assert.is_nil(none)
         assert.equal("a key revocation list with a signature that is not valid", reason)
      end
      local none, reason = krl.parse(body .. signature .. section(2, ""))
      assert.is_nil(none)
      assert.equal("a key revocation list with something behind its signature", reason)
   end)

   it("of an authority whose key is none speaks of nobody", function()
      local text = list(section(1, string.pack(">s4s4", "junk", "") .. section(0x21, string.pack(">i8i8", 1, -1))))
      assert.is_false(revokes(assert(krl.parse(text)), certified(5)))
   end)
end)

describe("the option revoked_host_keys", function()
   local dial = require "spec.support.dial"
   local server = require "spec.support.server"
   local sshd, folder

   setup(function()
      folder = tmp.dir()
      sshd = server.sshd()
   end)

   teardown(function()
      sshd:stop()
      folder:remove()
   end)

   local function fingerprint()
      return testing.keys.fingerprint(core.base64_decode(sshd.host_keys.ed25519:match(" (%S+)")), "SHA256")
   end

   it("refuses a key that a file names, whatever the policy", function()
      process.check{ "ssh-keygen", "-q", "-k", "-f", folder:path("krl"),
         folder:write("spec", "sha256: " .. sshd.host_keys.ed25519 .. "\n") }
      local text = folder:write("text", "# revoked\n\n" .. keygen.public("ecdsa", "elsewhere") .. "\n  "
         .. sshd.host_keys.ed25519 .. " comment\r\n")
      local harmless = folder:write("harmless", keygen.public("ecdsa", "elsewhere") .. "\n")
      for _, option in ipairs{ folder:path("krl"), text, { harmless, text } } do
         for _, policy in ipairs{ "strict", "accept-new", "off", fingerprint(), function() return true end } do
            local session, err = dial(sshd, { host_keys = policy, revoked_host_keys = option,
               algorithms = { host_key = { "ssh-ed25519" } } })
            assert.is_nil(session)
            assert.equal("host_key_revoked", err.code)
            assert.is_truthy(err.message:find(err.path, 1, true))
         end
      end
      assert(dial(sshd, { revoked_host_keys = { harmless } })):close()
   end)

   it("refuses all where a file cannot be read, or not be understood", function()
      for _, case in ipairs{
         { folder:path("missing"), "No such file" }, { folder:path(), "Is a directory" },
         { folder:write("broken", "SSHKRL\n\0"), "a key revocation list with its end missing$" },
         { folder:write("junk", "# fine\nssh-ed25519 AAAA\n"), "line 2 is no public key$" },
         { folder:write("words", "hello\n"), "line 1 is no public key$" },
         { folder:write("other", "ssh-rsa AAAAC3NzaC1lZDI1NTE5\n"), "line 1 is no public key$" },
      } do
         local session, err = dial(sshd, { host_keys = "off", revoked_host_keys = case[1] })
         assert.is_nil(session)
         assert.equal("io", err.code)
         assert.equal(case[1], err.path)
         assert.matches("^cannot read the revoked keys in ", err.message)
         assert.matches(case[2], err.message)
      end
   end)

   it("of a handshake is looked at even where the key is to be accepted by hand", function()
      local socket = testing.socket
      local ssh = require "moonssh"
      for text, expected in pairs{ [sshd.host_keys.ed25519] = "host_key_revoked", [""] = "open" } do
         local fd = assert(socket.connect(sshd.host, sshd.port))
         local session <close> = assert(ssh.session{ timeout = 60 })
         local ok, err = session:handshake(fd, { host = "moon", revoked_host_keys = folder:write("one", text .. "\n") })
         assert.equal(expected, ok and "open" or err.code)
         if ok then
            local none, later = session:auth_password("moon", "secret")
            assert.is_nil(none)
            assert.equal("host_key_unknown", later.code)
            assert.is_true(session:accept_host_key())
         end
         session:close()
         socket.close(fd)
      end
   end)

   it("is a path, or a list of them", function()
      local ssh = require "moonssh"
      assert.error_matches(function()
         ssh.connect("moon", { revoked_host_keys = { 5 } })
      end, "option 'revoked_host_keys': a list of paths expected", 1, true)
   end)
end)
