---@meta moonssh.core
--- The private interface between the C binding and the Lua library. Nothing here is public; nothing here waits.
--- Byte strings are 8-bit clean. A call that can fail gives `nil, code, message`, code as in the library's error table ("memory" for
--- ENOMEM, too); a wrong argument raises, and so does a method of an object that is closed. Objects can be closed twice and with <close>.

---@class moonssh.core
---@field version string
---@field EAGAIN integer errno value
---@field EINTR integer
local core = {}

--- Monotonic clock in seconds, with fractions.
---@return number
function core.now() end

--- Random bytes, hashes ("md5", "sha1", "sha256", "sha384", "sha512"), constant-time comparison, base64 (decode: nil for what is not base64).
--- At most 1 MiB of random bytes at once.
function core.random(n) end
function core.hash(name, data) end
function core.hmac(name, key, data) end
function core.equal(a, b) end
function core.base64_encode(bytes) end
function core.base64_decode(text) end

--- Untrusted bytes as printable ASCII, at most `max` long (default 256): control characters, backslash and bytes from 0x80 as \xHH.
function core.escape(bytes, max) end

-- Poller ---------------------------------------------------------------------------------------------------------------------------

--- epoll where there is one, else poll. Level-triggered.
---@class moonssh.core.poller
local poller = {}
---@param kind? "epoll"|"poll" for the specs
---@return moonssh.core.poller
function core.poller(kind) end
--- Watches fd for "r", "w" or "rw"; nil stops watching it (an fd that is already closed is fine). Returns true, or nil, code, message.
function poller:set(fd, events) end
--- Waits at most `timeout` seconds (nil: for ever; 0: not at all), and gives a list { fd, events, fd, events, … } (reused by the next call) and
--- its length (twice the number of descriptors; at most 512, the others come with the next wait); errors and hang-ups count as "rw". EINTR
--- gives 0.
function poller:wait(timeout) end
--- A descriptor that is readable while wait(0) would give something, or the alarm has gone off; nil without epoll.
function poller:fd() end
--- Makes that descriptor readable in so many seconds, once, until the next wait; nil puts the alarm off. Returns true, or nil, code, message.
function poller:alarm(seconds) end
function poller:close() end

--- Waits for one descriptor, without a poller: "r", "w" or "rw", until a time on the clock of core.now (nil: for ever). Gives whether it may
--- be ready; false as well when a signal came.
function core.wait(fd, events, deadline) end

-- Sockets and names: all non-blocking, close-on-exec --------------------------------------------------------------------------------

core.socket = {}
--- Starts a stream connection to an address of `core.resolve`. → fd, pending (boolean) | nil, "io"|"refused", message, errno. TCP_NODELAY is
--- set. bind_address: an address of `core.resolve` (port 0 for any), or a numeric text of the same family.
function core.socket.connect(address, bind_address) end
--- Result of a pending connection once fd is writable. → true | nil, "io"|"refused", message, errno (EINPROGRESS before)
function core.socket.finish(fd) end
--- Connects to a Unix socket (abstract when the path begins with NUL or "@"). → fd | nil, "io"|"refused", message, errno
function core.socket.unix(path) end
--- Listens at an address of `core.resolve` (port 0: any). An IPv6 socket takes IPv6 alone. → fd, port | nil, "io", message, errno
function core.socket.listen(address) end
--- Listens at a path, which must not exist; it is for its owner alone. → fd | nil, "io", message, errno
function core.socket.listen_unix(path) end
--- Takes a connection. → fd, host, port (numeric; neither for a Unix socket) | nil, "io", message, errno (errno == core.EAGAIN: none waits)
function core.socket.accept(fd) end
--- Takes a descriptor that another process sends over a Unix socket. → fd | nil, "io"|"eof" (what came has none), message, errno
--- (errno == core.EAGAIN: none waits)
function core.socket.take(fd) end
--- → n | nil, "io", message, errno (errno == core.EAGAIN: later). SIGPIPE is never raised. Works on sockets, pipes and terminals, also on
--- blocking ones without waiting. first and last as in string.sub.
function core.socket.send(fd, data, first, last) end
--- → string ("" at end of file) of at most `max` bytes (default 64 KiB, at most 256 KiB at once) | nil, "io", message, errno
function core.socket.recv(fd, max) end
--- Two connected stream sockets.
function core.socket.pair() end
--- No more is sent: the peer reads end of file.
function core.socket.shutdown(fd) end
function core.socket.close(fd) end
--- Makes a descriptor non-blocking.
function core.socket.prepare(fd) end

-- Terminals ------------------------------------------------------------------------------------------------------------------------

core.terminal = {}
--- Puts a terminal into raw mode. → its modes until then, for restore | nil, "io", message, errno
function core.terminal.raw(fd) end
--- → true | nil, "io", message, errno
function core.terminal.restore(fd, saved) end
--- → columns, rows | nil, "io", message, errno
function core.terminal.size(fd) end

--- Starts resolving host and port without blocking (a numeric address is immediate). family: nil, "inet", "inet6". With `canonical` the list
--- of the result has a field of that name: what the host is really called, where the system knows.
---@class moonssh.core.resolver
local resolver = {}
function core.resolve(host, port, family, canonical) end
--- Readable when the result is there.
function resolver:fd() end
--- → list of { family = "inet"|"inet6", text = "127.0.0.1", port = 22, sockaddr = bytes } in getaddrinfo's order | nil, "resolve", message | nil, "again"
function resolver:result() end
function resolver:close() end

-- Files ------------------------------------------------------------------------------------------------------------------------------

core.file = {}
--- The whole of a regular file of at most `max` bytes (default 1 MiB), opened so that a FIFO or device never blocks.
--- → data, mode (permission bits), uid | nil, "io", message, errno (errno == core.file.ENOENT when it does not exist). `~` is not expanded.
function core.file.read(path, max) end
--- Appends in one write to a file that is created with mode 0600 (parents 0700); a newline is put first where the last line has none; synced.
function core.file.append(path, data) end
--- Writes a file anew, atomically: a synced file beside it takes its place, with its mode; a symbolic link stays one.
function core.file.replace(path, data) end
--- Keeps others from changing a file by way of this function, also by replacing it, until the lock is closed or collected.
--- → lock | nil, "again" | nil, "io", message, errno
---@class moonssh.core.lock
local lock = {}
---@return moonssh.core.lock
function core.file.lock(path) end
function lock:close() end
--- The paths that match a pattern of the shell, in order; an empty list where there are none.
function core.file.glob(pattern) end
--- Home directory (of a user by name; else of the effective one, from the password database, as ssh does; $HOME only for a user without a record),
--- login name and number of the effective user, host name.
function core.file.home(user) end
function core.file.user() end
function core.file.uid() end
function core.file.hostname() end

--- A local file that a transfer reads or writes. mode "r" reads; "w" writes an emptied file, "u" one as it is, both make it; with "n" behind
--- it a symbolic link is not followed. Numbers: core.file.EACCES, EEXIST, EPERM, EROFS.
--- → file | nil, "io", message, errno
---@class moonssh.core.localfile
local localfile = {}
function core.file.open(path, mode, permissions) end
--- → { size, permissions, uid, gid, atime, mtime, type } | nil, "io", message, errno
function localfile:stat() end
function localfile:truncate(size) end
function localfile:sync() end
function localfile:chmod(permissions) end
function localfile:times(atime, mtime) end
--- Up to `len` bytes at an offset.
function localfile:read(offset, len) end
function localfile:close() end
--- What there is to do to names; as of the same name in C. list gives the names in a folder but "." and "..".
function core.file.stat(path) end
function core.file.lstat(path) end
function core.file.mkdir(path, permissions) end
function core.file.rename(from, to) end
function core.file.remove(path) end
function core.file.symlink(target, path) end
function core.file.readlink(path) end
function core.file.chmod(path, permissions) end
--- With `as_link`, those of a symbolic link itself.
function core.file.times(path, atime, mtime, as_link) end
function core.file.list(path) end

-- Programs ---------------------------------------------------------------------------------------------------------------------------

--- All variables of the environment by their names.
---@return table<string, string>
function core.environment() end

core.process = {}
---@class moonssh.core.process
local process = {}
--- Starts a program, found by PATH, with these descriptors as its input and output (default: /dev/null), our stderr and no other. Closing or
--- collecting the object kills it and takes its status, so that none is left. → process | nil, "io", message, errno
---@param arguments string[]
---@param stdin? integer stays the caller's, and becomes a blocking one
---@param stdout? integer likewise
---@return moonssh.core.process
function core.process.spawn(arguments, stdin, stdout) end
--- Readable once it has ended; nil on a system without such descriptors.
function process:fd() end
--- nil once it was reaped.
function process:pid() end
--- → "exit", status | "signal", number | "gone" (reaped by somebody else) | nil, "again" while it runs
function process:wait() end
function process:close() end

-- Keys -------------------------------------------------------------------------------------------------------------------------------

core.key = {}
---@class moonssh.core.key
local key = {}
function core.key.parse_public(blob, min_rsa_bits) end
function core.key.parse_file(text, passphrase) end
function core.key.generate(type, bits) end
--- The lines of a known_hosts file that may speak of a name in lower case, as { number, line, number, line, … }: those that list or hash it, and
--- those with patterns, whatever they are. nil, "memory" or "unsupported", message.
---@param text string
---@param name string
function core.key.known_lines(text, name) end
--- "SHA256:…" or "MD5:…" of a public blob; hash "sha256" or "md5".
function core.key.fingerprint(blob, hash) end
--- List of { name =, key_type =, signed_as = } of the signature algorithms, in order of preference; signed_as is another name for those of certificates.
function core.key.algorithms() end
function key:type() end
function key:bits() end
function key:is_private() end
--- Of a certificate the whole of it; plain_blob is that of the key alone.
function key:blob() end
function key:plain_blob() end
--- "user" or "host", serial, key id, principals (strings), valid_after, valid_before (seconds since 1970; uint64 in two's complement),
--- critical options and extensions (pairs of strings), the authority's public blob, the algorithm it has signed with. Nothing for a key without.
function key:certificate() end
function key:comment() end
function key:sign(data, algorithm) end
--- → boolean
function key:verify(data, signature, algorithm) end
--- The private key as "openssh" (the default), "pem" or "pkcs8", encrypted when a passphrase is given; "unsupported" where the key has no such form.
function key:export(passphrase, comment, format) end
--- Type and all fields of the private key, as in a key file and for an agent; "state" where they are not there.
function key:private_fields() end
function key:close() end

--- { kex = { {name=, default=}, … }, host_key =, cipher =, mac =, compression = }, each in order of preference.
function core.algorithms() end

-- Session ----------------------------------------------------------------------------------------------------------------------------

---@class moonssh.core.session
local session = {}

--- Options: software, kex, host_key, cipher, mac, compression (comma-separated names), allow_chacha, allow_cbc_etm, min_rsa_bits, require_strict, rekey_bytes, rekey_seconds, rekey_packets,
--- max_packet, max_queue, max_channels, max_window, channel_packet. All optional.
---@return moonssh.core.session
function core.session(options) end

function session:start() end
--- In place of start: over a socket on which a ControlMaster of OpenSSH is in proxy mode, the session is open at once.
function session:attach() end

--- One recv into the input. "more": there may be more; "again": no more is there now; "full": the session takes no input now (a question is
--- open, or its send queue is full); "eof": the peer has ended (it is told to the session). nil, "eof" (the connection is lost) or "io", message,
--- errno on an error.
function session:read(fd) end
--- Waits for input, and reads, until there is an event or output, or until a time on the clock of core.now (nil: for ever). Gives what read
--- gives; "again" also when the time was up or a signal came. For a caller that has sent what there was, and has nothing else to do. Events that
--- only tell how it goes on at the channel `patient` (opened, a request granted, window, eof, exit_status) do not end the wait: they come with the next.
function session:receive(fd, deadline, patient) end
--- Sends output until none is left (true) or the socket is full (false). nil, "eof" or "io", message on an error.
function session:write(fd) end

--- For transports without fd: room for input; takes a string (must fit in the room); the peer has ended; up to `max` bytes of output, or nil; drops n sent bytes.
function session:input_room() end
function session:input(bytes) end
function session:input_eof() end
function session:output(max) end
function session:output_done(n) end
--- Whether it wants to read, whether it has output.
function session:wants() end

function session:tick(now) end
--- Seconds on the clock of core.now, or nil.
function session:deadline() end
--- Before a wait: does tick(now), and gives what deadline and wants give, and whether there is an event: deadline, reads, writes, pending.
function session:idle(now) end

--- The next event, or nil: a kind and its values. When it raises for want of memory, the next call gives the same event.
---   "ignore" message · "debug" always_display message language · "disconnect" reason message language · "unimplemented" sequence
---   "host_key" blob (question) · "macerror" packet (question) · "kex_done"
---   "banner" text language · "auth_success" · "auth_failure" methods partial · "auth_pk_ok" · "auth_password_change" prompt language
---   "auth_prompts" name instruction { {text=, echo=}, … }
---   "asked" ch type address|path port originator originator_port (question: the server wants to open it) · "opened" ch · "open_failed" ch reason text language · "data" ch stream bytes|nil · "window" ch · "eof" ch · "closed" ch · "reply" ch success
---   "exit_status" ch status · "exit_signal" ch name core_dumped message language · "request" ch name data
---   "global_reply" success data · "global_request" name data · "failed" (once)
--- ch is an integer handle; stream is 0 (stdout) or 1 (stderr). "data" carries bytes in mode "direct" (credit them with `consumed`), else they are kept.
function session:next() end

--- nil, or code, message, reason. The code that `fail` was given, if that was the first failure.
function session:failure() end
--- After code "negotiation": what, ours, theirs.
function session:negotiation() end
--- Ends the session with a failure from outside, e.g. "timeout"; reason 0 sends no DISCONNECT.
function session:fail(code, message, reason) end
function session:disconnect(reason, message) end
function session:stage() end
--- Gives back the storage of buffers that hold nothing.
function session:trim() end
--- A new table with the fields of session.info that the core knows; names that are not negotiated (a MAC beside an AEAD cipher) are nil.
function session:info() end
function session:host_key() end
function session:server_sig_algs() end
--- The host key's signature of the session's identifier.
function session:host_signature() end
function session:answer_host_key(accept) end
function session:answer_mac(accept) end
function session:ask_mac(ask) end
function session:rekey() end
function session:ignore(data) end
function session:debug(always_display, message, language) end
--- Whether the events of a kind are given; all are at first.
---@param kind "ignore"|"debug"|"global_request"
---@param wanted boolean
function session:listen(kind, wanted) end
function session:trace(on) end
--- sent (boolean), number, name, length; or nil.
function session:trace_next() end

function session:auth_none(user) end
function session:auth_password(user, password, new_password) end
function session:auth_probe(user, algorithm, blob) end
--- The request is "publickey-hostbound-v00@openssh.com" where the server takes that, else "publickey"; with a client's host name and the
--- name of a user there it is "hostbased".
function session:auth_signing_data(user, algorithm, blob, host, host_user) end
function session:auth_publickey(user, algorithm, blob, signature) end
function session:auth_hostbased(user, algorithm, blob, signature, host, host_user) end
function session:auth_interactive(user) end
function session:auth_answer(answers) end

function session:global_request(name, want_reply, data) end
--- → ch
function session:open(type, data) end
--- Whether opens of a channel type by the server become events "asked"; else they are refused at once, as all are at first.
---@param type "x11"|"auth-agent@openssh.com"|"forwarded-tcpip"|"forwarded-streamlocal@openssh.com"
---@param wanted boolean
function session:want(type, wanted) end
--- Answers "asked"; code "state" when that was done.
function session:channel_accept(ch) end
--- reason: a code of RFC 4254 5.1; text: at most 64 bytes. The handle is stale afterwards.
function session:channel_refuse(ch, reason, text) end
function session:channel_request(ch, name, want_reply, data) end
--- Bytes of data from `offset` (default 1) on that were taken; 0: wait for "window" or for room in the send queue.
function session:channel_write(ch, stream, data, offset) end
--- Moves data kept of stdout to a descriptor, as far as it takes them now. → bytes moved | nil, "io", message, errno
function session:channel_to_fd(ch, fd) end
--- Moves what a descriptor has into the channel. → "again": it has no more now; "full": the channel takes no more now, or none ever;
--- "more"; "eof" | nil, "io", message, errno
function session:channel_from_fd(ch, fd) end
function session:channel_eof(ch) end
function session:channel_close(ch) end
function session:channel_release(ch) end
--- How many channels there are, those among them that wait for the peer to close them although their handle is given back.
function session:channels() end
--- Bytes kept for a stream; up to `max` of them as a string (nil when there are none); the offset (from 1) of a byte value in them from `from` on, or nil.
function session:channel_kept(ch, stream) end
function session:channel_take(ch, stream, max) end
function session:channel_find(ch, stream, byte, from) end
--- What happens to data that come: "keep" (default), "discard" (credited at once, no event), "merge" (stderr only: kept as stdout's),
--- or "direct": up to `budget` bytes not yet credited are given as strings in the event, what is beyond, small pieces, and all while something is kept are kept.
function session:channel_mode(ch, stream, mode, budget) end
--- Credits n bytes that came in "direct" events (raises for more than came). → whether the channel has a mode
function session:channel_consumed(ch, n) end
--- open, eof_received, send_window, receive_window, window; nil for a stale handle.
function session:channel_state(ch) end

--- Makes a channel speak SFTP: all that comes on stdout from then on is its. Its events, from session:next:
---   "sftp" ch "ready" version { extension = data } · "sftp" ch "failed" code message: no more comes
---   "sftp" ch id status message · "sftp" ch id kind value: kind "handle", "data", "extended" (strings), "attributes" (table),
---   "names" { name, attributes, name, attributes, … } · "transfer" number: it has got on, or ended
function session:sftp_start(ch) end
--- Queues a request: its type, that of its reply (0: STATUS alone), and what follows the id. → id
function session:sftp_request(ch, type, reply, body) end
--- Bytes of requests that wait for the channel's window.
function session:sftp_queue(ch) end
--- Ends it, with the transfers that use it. → whether there was one
function session:sftp_stop(ch) end
--- Lets a transfer use a channel, with a handle of the remote file.
function session:sftp_attach(ch, transfer, handle) end
--- Shortest round trip in seconds, bytes a second, bytes asked for at once, how often the window was too short for what is sent.
function session:sftp_path(ch) end

--- A file on its way between a local file and, once it is attached, the server; its blocks never come to Lua. block: most bytes of a request;
--- offset: where it begins; size: as far as it is known, or nil; spread: most bytes between what is done without a gap and what is under way;
--- step: bytes between events (0: only the end is told).
---@class moonssh.core.transfer
local transfer = {}
function core.transfer(file, sends, number, block, offset, size, spread, step) end
--- "moving", "done" or "failed"; the offset before which all is done; bytes moved.
function transfer:state() end
--- nil, or "status", "io", "change" or "channel"; a status, errno or code; offset; text.
function transfer:failure() end
--- Ends it, whatever is on the way.
function transfer:close() end

--- Bytes in use and peak of the session's allocator.
function session:memory() end
--- Frees everything; further calls raise.
function session:close() end

return core
