"""An asyncssh server that does as it is told: see scripted.lua for its settings and the commands of its shell."""
import asyncio
import json
import sys
import warnings

warnings.simplefilter("ignore")

import asyncssh  # noqa: E402
from asyncssh.constants import MSG_DEBUG, MSG_IGNORE, MSG_KEXINIT, MSG_UNIMPLEMENTED  # noqa: E402
from asyncssh.packet import Boolean, String, UInt32  # noqa: E402

settings = json.loads(sys.argv[1])


def log(*words):
    print(*words, file=sys.stderr, flush=True)


class Server(asyncssh.SSHServer):
    def connection_made(self, conn):
        self.conn = conn
        self.rounds_done = 0
        self.changed = False
        self.passed = []

    def connection_lost(self, exc):
        log("connection lost:", exc)

    def begin_auth(self, username):
        if settings.get("banner"):
            self.conn.send_auth_banner(settings["banner"])
        for command in settings.get("before_auth", []):
            send(self.conn, command.split(" "))
        return not settings.get("no_auth")

    def public_key_auth_supported(self):
        return "publickey" in settings["methods"]

    def validate_public_key(self, username, key):
        line = key.export_public_key("openssh").decode().split()
        return username == settings["user"] and " ".join(line[:2]) in settings["authorized"]

    def password_auth_supported(self):
        return "password" in settings["methods"]

    def validate_password(self, username, password):
        if settings.get("change_password") and not self.changed:
            raise asyncssh.PasswordChangeRequired(settings["change_password"])
        return username == settings["user"] and password == settings["password"]

    def change_password(self, username, old_password, new_password):
        self.changed = old_password == settings["password"]
        settings["password"] = new_password
        return self.changed

    def kbdint_auth_supported(self):
        return "keyboard-interactive" in settings["methods"]

    def get_kbdint_challenge(self, username, lang, submethods):
        return self.challenge()

    def challenge(self):
        one = settings["rounds"][self.rounds_done]
        prompts = [(prompt["text"], prompt["echo"]) for prompt in one["prompts"]]
        return one.get("name", ""), one.get("instruction", ""), "", prompts

    def validate_kbdint_response(self, username, responses):
        wanted = [prompt["answer"] for prompt in settings["rounds"][self.rounds_done]["prompts"]]
        if username != settings["user"] or list(responses) != wanted:
            return False
        self.rounds_done += 1
        return True if self.rounds_done == len(settings["rounds"]) else self.challenge()


def send(conn, words):
    """Messages that need no channel. False if the words name none."""
    what, rest = words[0], words[1:]
    if what == "ignore":
        for _ in range(int(rest[0])):
            conn.send_packet(MSG_IGNORE, String(" ".join(rest[1:]).encode()))
    elif what == "debug":
        conn.send_packet(MSG_DEBUG, Boolean(rest[0] == "true"), String(" ".join(rest[1:]).encode()), String(b"en"))
    elif what == "unimplemented":
        conn.send_packet(MSG_UNIMPLEMENTED, UInt32(int(rest[0])))
    elif what == "raw":
        payload = bytes.fromhex(rest[0])
        conn.send_packet(payload[0], payload[1:])
    elif what == "disconnect":
        conn._send_disconnect(int(rest[0]), " ".join(rest[1:]), "en")
        conn._transport.close()
    elif what == "abort":
        conn.abort()
    elif what == "rekey":
        conn._send_kexinit()
        conn._kexinit_sent = True
    else:
        return False
    return True


def say_at_kexinit(commands):
    """Has every connection send something when the client's KEXINIT comes, in place of an answer to it."""
    def say(conn, pkttype, pktid, packet):
        for command in commands:
            send(conn, command.split(" "))

    asyncssh.connection.SSHConnection._packet_handlers[MSG_KEXINIT] = say


async def run(process):
    conn = process.channel.get_connection()
    words = (process.command or "").split(" ")
    what, rest = words[0], words[1:]
    if send(conn, words):
        while not conn._kex_complete:
            await asyncio.sleep(0.01)
        process.exit(0)
    elif what == "echo":
        process.stdout.write(" ".join(rest).encode())
        process.exit(0)
    elif what == "stderr":
        process.stderr.write(" ".join(rest).encode())
        process.exit(0)
    elif what == "cat":
        async for data in process.stdin:
            process.stdout.write(data)
        process.exit(0)
    elif what == "flood":
        left = int(rest[0])
        while left > 0:
            block = b"x" * min(left, 32768)
            process.stdout.write(block)
            await process.stdout.drain()
            left -= len(block)
        process.exit(0)
    elif what == "exit":
        process.exit(int(rest[0]))
    elif what == "close":
        process.stdout.write(" ".join(rest).encode())
        process.close()
    elif what == "events":
        process.stdout.write(b"ready\n")
        while True:
            try:
                if not await process.stdin.read(1):
                    break
            except asyncssh.SignalReceived as event:
                process.stdout.write(f"signal {event.signal}\n".encode())
            except asyncssh.BreakReceived as event:
                process.stdout.write(f"break {event.msec}\n".encode())
            except asyncssh.TerminalSizeChanged as event:
                process.stdout.write(f"size {event.width} {event.height}\n".encode())
        process.exit(0)
    elif what == "exit-signal":
        process.exit_with_signal(rest[0], rest[1] == "true", " ".join(rest[2:]))
    elif what == "global":
        reply, _ = await conn._make_global_request(rest[0].encode())
        process.stdout.write(b"success" if reply == 81 else b"failure")
        process.exit(0)
    elif what == "env":
        process.stdout.write((process.env.get(rest[0]) or "").encode())
        process.exit(0)
    elif what == "pty":
        process.stdout.write(f"{process.term_type} {process.term_size[0]} {process.term_size[1]}".encode())
        process.exit(0)
    else:
        process.stderr.write(b"no such command")
        process.exit(127)


async def main():
    options = {}
    if settings.get("at_kexinit"):
        say_at_kexinit(settings["at_kexinit"])
    for ours, theirs in (("kex", "kex_algs"), ("ciphers", "encryption_algs"), ("macs", "mac_algs"),
                         ("compression", "compression_algs"), ("rekey_bytes", "rekey_bytes")):
        if settings.get(ours):
            options[theirs] = settings[ours]
    if settings.get("everything"):
        options["kex_algs"] = [name.decode() for name in asyncssh.kex.get_kex_algs()]
        options["encryption_algs"] = [name.decode() for name in asyncssh.encryption.get_encryption_algs()]
        options["mac_algs"] = [name.decode() for name in asyncssh.mac.get_mac_algs()]
        options["compression_algs"] = [name.decode() for name in asyncssh.compression.get_compression_algs()]
    server = await asyncssh.create_server(
        Server, "127.0.0.1", 0, server_host_keys=settings["host_keys"], process_factory=run, encoding=None,
        sftp_factory=True, login_timeout=60, **options)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    await server.wait_closed()


asyncio.run(main())
