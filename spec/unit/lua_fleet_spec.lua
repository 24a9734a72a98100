-- One function for many items, and fleets of hosts.

local light = require "spec.support.light"
local loop = require "moonssh.loop"
local sockets = require "spec.support.sockets"
local ssh = require "moonssh"
local testing = require "moonssh_testing"
local tmp = require "spec.support.tmp"
local waiting = require "spec.support.waiting"

local function codes(errors)
   local list = {}
   for index, err in pairs(errors) do
      list[index] = type(err) == "table" and err.code or err
   end
   return list
end

describe("ssh.map", function()
   it("tells of results as they come", function()
      local seen = {}
      local results = ssh.map({ 0.02, 0.001 }, function(seconds)
         loop.sleep(seconds)
         return seconds == 0.001 and "quick" or nil, seconds ~= 0.001 and "slow" or nil
      end, { on_result = function(item, result, err, index)
         table.insert(seen, { item, result, err, index })
      end })
      assert.same({ [2] = "quick" }, results)
      table.sort(seen, function(a, b) return a[4] < b[4] end)
      assert.same({ { 0.02, nil, "slow", 1 }, { 0.001, "quick", nil, 2 } }, seen)
   end)

   it("ends an item at its timeout, and no other", function()
      local closed = {}
      local results, errors = waiting.longer(function(timeout)
         return ssh.map({ 1, 2, 3 }, function(item)
            local _ <close> = setmetatable({}, { __close = function() closed[item] = true end })
            if item == 2 then
               loop.sleep(3600)
            end
            return item
         end, { timeout = timeout })
      end, function(got)
         return got[1] and got[3]
      end)
      assert.same({ 1, [3] = 3 }, results)
      assert.same({ [2] = "timeout" }, codes(errors))
      assert.same({ true, true, true }, closed)
   end)

   it("tries again what may get better, and nothing else", function()
      local tried = { 0, 0, 0 }
      local clock = loop.sleep
      loop.sleep = function() end
      local results, errors = ssh.map({ "eof", "auth_failed", "thrown" }, function(what, index)
         tried[index] = tried[index] + 1
         if what == "thrown" then
            error("broken", 0)
         elseif tried[index] == 3 then
            return "at last"
         end
         return nil, require "moonssh.errors".new(what, what)
      end, { retries = 3 })
      loop.sleep = clock
      assert.same({ 3, 1, 1 }, tried)
      assert.same({ "at last" }, results)
      assert.same({ [2] = "auth_failed", [3] = "callback" }, codes(errors))
   end)

   it("takes items from a function, as there is room for them", function()
      local given, busy, most = 0, 0, 0
      local results = ssh.map(function()
         given = given + 1
         return given <= 10 and given or nil
      end, function(item)
         busy = busy + 1
         most = math.max(most, busy)
         assert(given - item < 3)
         loop.sleep(0)
         busy = busy - 1
         return item
      end, { concurrency = 3 })
      assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, results)
      assert.equal(3, most)
   end)

   it("goes on when on_result throws, which is reported", function()
      local reports, on_error = {}, loop.on_error
      function loop.on_error(err)
         table.insert(reports, err.cause)
      end
      local results = ssh.map({ 1, 2 }, function(item) return item end, { on_result = function()
         error("oh", 0)
      end })
      loop.on_error = on_error
      assert.same({ 1, 2 }, results)
      assert.same({ "oh", "oh" }, reports)
   end)

   it("ends with the task that called it", function()
      local begun, closed = 0, 0
      local task = ssh.spawn(function()
         ssh.map({ 1, 2, 3 }, function()
            local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
            begun = begun + 1
            loop.sleep(3600)
         end)
      end)
      waiting.await(function() return begun == 3 end, "the workers")
      task:cancel()
      assert.equal(3, closed)
   end)

   it("raises what the function that gives the items throws", function()
      assert.error_matches(function()
         ssh.map(function() error("no more", 0) end, print)
      end, "no more")
   end)

   it("raises for wrong options", function()
      for _, options in ipairs{ { concurrency = 0 }, { retries = -1 }, { timeout = 0 }, { on_result = 1 } } do
         assert.has_error(function() ssh.map({}, print, options) end)
      end
   end)
end)

describe("a fleet", function()
   local server, good

   setup(function()
      server = light.start()
      good = server:destination()
   end)

   teardown(function()
      server:stop()
   end)

   local function fleet(hosts, options)
      local settings = { connect = light.options() }
      for name, value in pairs(options or {}) do
         settings[name] = value
      end
      return assert(ssh.fleet(hosts, settings))
   end

   -- A port that refuses, one that says nothing, one that talks nonsense, and one that says a byte at a time. Gives
   -- their destinations, and what ends it all.
   local function bad_hosts()
      local fds, tasks, hosts = {}, {}, {}
      local function listen(serve)
         local fd, port = assert(testing.socket.listen("127.0.0.1", 0))
         table.insert(fds, fd)
         table.insert(hosts, "moon@127.0.0.1:" .. port)
         table.insert(tasks, ssh.spawn(function()
            loop.current().wait(fd, "r")
            local peer = assert(testing.socket.accept(fd, 0))
            table.insert(fds, peer)
            serve(peer)
         end))
      end
      listen(function() end)
      listen(function(peer)
         testing.socket.write(peer, ("this is no SSH\r\n"):rep(2000))
      end)
      listen(function(peer)
         for letter in ("SSH-2.0-slow"):rep(100):gmatch(".") do
            testing.socket.write(peer, letter)
            loop.sleep(0.03)
         end
      end)
      table.insert(hosts, "moon@127.0.0.1:1")
      table.insert(hosts, "moon@no-such-host.invalid")
      return hosts, function()
         for _, task in ipairs(tasks) do
            task:cancel()
         end
         for _, fd in ipairs(fds) do
            loop.current().cancel(fd)
            testing.socket.close(fd)
         end
      end
   end

   it("runs a command on each, and tells who said what", function()
      local report = fleet({ good, good, good }):run("echo hello")
      assert.same({ 3, 3, 0 }, { report.count, report.ok, report.failed })
      assert.equal("hello\n", report.entries[2].result.stdout)
      assert.same({ { status = 0, hosts = { good, good, good }, count = 3, first = 1 } }, report:by_status())
      assert.same({ { output = "hello", hosts = { good, good, good }, count = 3, first = 1 } }, report:by_output())
      assert.same({}, report:failures())
   end)

   it("gives each host its own error, and stops for none of them", function()
      sockets.leaves_nothing_open(function()
         local hosts, done = bad_hosts()
         table.insert(hosts, 1, good)
         table.insert(hosts, good)
         local silent, slow = hosts[2], hosts[4]
         local report = fleet(hosts, { connect = function(host)
            return light.options{ timeout = (host == silent or host == slow) and 0.3 or 60 }
         end }):run("exit 0")
         done()
         local got = {}
         for i, entry in ipairs(report.entries) do
            got[i] = entry.status
         end
         assert.same({ 0, "timeout", "protocol", "timeout", "refused", "resolve", 0 }, got)
         assert.same({ 7, 2, 5 }, { report.count, report.ok, report.failed })
         assert.equal(5, #report:failures())
      end)
   end)

   it("summarises by exit status and by output", function()
      local hosts = {}
      for i = 1, 6 do
         hosts[i] = good
      end
      local report = fleet(hosts, { concurrency = 2 }):each(function(session, _, index)
         return session:run(index <= 3 and "exit 3" or index == 4 and "echo other" or "echo same")
      end)
      local statuses, outputs = {}, {}
      for i, one in ipairs(report:by_status()) do
         statuses[i] = { one.status, one.count }
      end
      for i, one in ipairs(report:by_output()) do
         outputs[i] = { one.output, one.count }
      end
      assert.same({ { 3, 3 }, { 0, 3 } }, statuses)
      assert.same({ { "", 3 }, { "same", 2 }, { "other", 1 } }, outputs)
      assert.same({ 1, 2, 3 }, { report:failures()[1].index, report:failures()[2].index, report:failures()[3].index })
   end)

   it("has what a progress bar needs", function()
      local seen = {}
      local report = fleet({ good, good, good }, { concurrency = 1, progress = function(progress)
         table.insert(seen, { progress.total, progress.running, progress.done, progress.ok, progress.failed })
         assert(progress.elapsed >= 0 and (progress.remaining == nil) == (progress.done == 0))
      end }):run("exit 0")
      assert.equal(3, report.ok)
      assert.same({ { 3, 1, 0, 0, 0 }, { 3, 0, 1, 1, 0 }, { 3, 1, 1, 1, 0 }, { 3, 0, 2, 2, 0 }, { 3, 1, 2, 2, 0 },
         { 3, 0, 3, 3, 0 } }, seen)
   end)

   it("takes hosts from a file, and from a function", function()
      local folder <close> = tmp.dir()
      local path = folder:write("hosts", ("# all\n%s\n\n   %s  # the second\n"):format(good, good))
      local from_file = fleet(path)
      assert.same({ good, good }, from_file.hosts)
      assert.equal(2, from_file:run("exit 0").ok)
      local left = 3
      local report = fleet(function()
         left = left - 1
         return left >= 0 and good or nil
      end):run("exit 0")
      assert.equal(3, report.ok)
      local none, err = ssh.fleet(folder:path("none"))
      assert.same({ nil, "io", folder:path("none") }, { none, err.code, err.path })
   end)

   it("copies files to and from each host", function()
      local sshd <close> = require "spec.support.server".sshd()
      local folder <close> = tmp.dir()
      local host = ("%s@%s:%d"):format(sshd.user, sshd.host, sshd.port)
      local ships = fleet({ host, host }, { concurrency = 1, connect = {
         identity = sshd.key_path, known_hosts = sshd.known_hosts_path, agent = false, timeout = 60,
      } })
      local path = folder:write("file", "content")
      local report = ships:put(path, folder:path("there"), { mode = 384 })
      assert.equal(2, report.ok, tostring(report.entries[1].err))
      report = ships:get(folder:path("there"), folder:path("back-%i-%h"))
      assert.equal(2, report.ok, tostring(report.entries[1].err))
      assert.equal("content", folder:read(("back-2-%s"):format(host:gsub(":", "_"))))
      report = ships:get(folder:path("nowhere"), folder:path("%i"), { retries = 0 })
      assert.same({ "sftp", "sftp" }, { report.entries[1].status, report.entries[2].status })
      assert.has_error(function() ships:get("a", folder:path("same")) end)
   end)

   it("tells of each as it is done, and tries again", function()
      local entries, attempts = {}, 0
      local report = fleet({ good }, { retries = 1, on_result = function(entry)
         table.insert(entries, entry)
      end }):each(function(session)
         attempts = attempts + 1
         return session:run(attempts == 1 and "vanish" or "echo back")
      end)
      assert.equal(2, report.entries[1].attempts)
      assert.equal("back", report.entries[1].output)
      assert.same({ report.entries[1] }, entries)
   end)

   it("begins no more connections a second than it may", function()
      local slept, sleep = 0, loop.sleep
      function loop.sleep(seconds)
         slept = math.max(slept, seconds)
         sleep(0)
      end
      local report = fleet({ good, good, good, good }, { rate = 0.01 }):run("exit 0")
      loop.sleep = sleep
      assert.equal(4, report.ok)
      assert.is_true(slept > 250, slept)
   end)

   it("asks a function how to connect to each", function()
      local asked = {}
      local report = fleet({ good, good }, { connect = function(host)
         table.insert(asked, host)
         return light.options{ password = #asked == 2 and "wrong" or nil }
      end, concurrency = 1 }):run("exit 0")
      assert.same({ good, good }, asked)
      assert.equal("auth_failed", report.entries[2].status)
      assert.is_true(report.entries[1].ok)
   end)

   it("runs on another loop", function()
      local builtin = require "moonssh.loop.poll"
      local waits = 0
      local adapter = setmetatable({ alone = function() return false end, wait = function(...)
         waits = waits + 1
         return builtin.wait(...)
      end }, { __index = builtin })
      assert.equal(1, fleet({ good }, { loop = adapter }):run("exit 0").ok)
      assert.is_true(waits > 0)
   end)

   it("raises for wrong options", function()
      for _, options in ipairs{ { rate = 0 }, { concurrency = 0 }, { comand = "" }, { loop = {} } } do
         assert.has_error(function() ssh.fleet({}, options) end)
      end
      assert.has_error(function() ssh.fleet({}):run("x", { comand = 1 }) end)
      assert.has_error(function() ssh.fleet({}):run() end)
      for _, method in ipairs{ "put", "get" } do
         assert.error_matches(function()
            local none = ssh.fleet({})
            none[method](none, "a", "b%h", { recursiv = true })
         end, "bad argument #3 to '" .. method .. "' (unknown option 'recursiv')", 1, true)
      end
   end)
end)
