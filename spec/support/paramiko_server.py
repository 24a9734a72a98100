"""A paramiko server that does as it is told: see scripted.lua for its settings and the commands of its shell."""
import json
import os
import socket
import sys
import threading
import warnings

warnings.simplefilter("ignore")

import paramiko  # noqa: E402
import paramiko_files  # noqa: E402
from paramiko.common import MSG_CHANNEL_REQUEST, cMSG_DEBUG, cMSG_DISCONNECT, cMSG_UNIMPLEMENTED  # noqa: E402

settings = json.loads(sys.argv[1])
SECONDS = 60


def log(*words):
    print(*words, file=sys.stderr, flush=True)


def message(number, *fields):
    m = paramiko.Message()
    m.add_byte(number)
    for field in fields:
        if isinstance(field, bool):
            m.add_boolean(field)
        elif isinstance(field, int):
            m.add_int(field)
        else:
            m.add_string(field)
    return m


class Server(paramiko.ServerInterface):
    def __init__(self, transport):
        self.transport = transport
        self.commands = {}
        self.environment = {}
        self.pty = {}
        self.passed = set()

    def get_allowed_auths(self, username):
        if settings.get("partial"):
            return ",".join(m for m in settings["partial"] if m not in self.passed)
        return ",".join(settings["methods"])

    def get_banner(self):
        return (settings.get("banner"), "en")

    def verdict(self, method, username, good):
        if not good or username != settings["user"] or method not in self.get_allowed_auths(username).split(","):
            return paramiko.AUTH_FAILED
        self.passed.add(method)
        if set(settings.get("partial", [])) <= self.passed:
            return paramiko.AUTH_SUCCESSFUL
        return paramiko.AUTH_PARTIALLY_SUCCESSFUL

    def check_auth_password(self, username, password):
        return self.verdict("password", username, password == settings["password"])

    def check_auth_publickey(self, username, key):
        return self.verdict("publickey", username, f"{key.get_name()} {key.get_base64()}" in settings["authorized"])

    def check_auth_interactive(self, username, submethods):
        one = settings["rounds"][0]
        query = paramiko.InteractiveQuery(one.get("name", ""), one.get("instruction", ""))
        for prompt in one["prompts"]:
            query.add_prompt(prompt["text"], prompt["echo"])
        self.username = username
        return query

    def check_auth_interactive_response(self, responses):
        wanted = [prompt["answer"] for prompt in settings["rounds"][0]["prompts"]]
        return self.verdict("keyboard-interactive", self.username, list(responses) == wanted)

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED if kind == "session" else paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_env_request(self, channel, name, value):
        self.environment[name] = value
        return True

    def check_channel_pty_request(self, channel, term, width, height, pixelwidth, pixelheight, modes):
        self.pty[channel.chanid] = b"%s %d %d" % (term, width, height)
        return True

    def check_channel_exec_request(self, channel, command):
        words = command.decode().split(" ")
        ready[channel] = threading.Thread(target=run, args=(self, channel, words), daemon=True)
        return True


ready = {}


def handle_request(channel, m):
    """The answer to an exec request is sent when its check returns, and everything else must come after it."""
    paramiko.Channel._handle_request(channel, m)
    if channel in ready:
        ready.pop(channel).start()


paramiko.Transport._channel_handler_table[MSG_CHANNEL_REQUEST] = handle_request


def send(transport, words):
    """Messages that need no channel. False if the words name none."""
    what, rest = words[0], words[1:]
    text = " ".join(rest[1:]).encode()
    if what == "ignore":
        for _ in range(int(rest[0])):
            m = paramiko.Message()
            m.add_byte(paramiko.common.cMSG_IGNORE)
            m.add_string(text)
            transport._send_user_message(m)
    elif what == "debug":
        transport._send_user_message(message(cMSG_DEBUG, rest[0] == "true", text, b"en"))
    elif what == "unimplemented":
        transport._send_user_message(message(cMSG_UNIMPLEMENTED, int(rest[0])))
    elif what == "raw":
        m = paramiko.Message()
        m.add_bytes(bytes.fromhex(rest[0]))
        transport._send_user_message(m)
    elif what == "disconnect":
        # The client closes: if we did, what it has just sent would be answered by a reset, which takes this along.
        transport._send_message(message(cMSG_DISCONNECT, int(rest[0]), text, b"en"))
    elif what == "abort":
        transport.close()
    elif what == "rekey":
        transport.renegotiate_keys()
    else:
        return False
    return True


def run(server, channel, words):
    what, rest = words[0], words[1:]
    text = " ".join(rest).encode()
    status = 0
    if send(server.transport, words):
        pass
    elif what == "echo":
        channel.sendall(text)
    elif what == "stderr":
        channel.sendall_stderr(text)
    elif what == "cat":
        while True:
            data = channel.recv(32768)
            if not data:
                break
            channel.sendall(data)
    elif what == "flood":
        left = int(rest[0])
        while left > 0:
            block = b"x" * min(left, 32768)
            channel.sendall(block)
            left -= len(block)
    elif what == "exit":
        status = int(rest[0])
    elif what == "global":
        answer = server.transport.global_request(rest[0], wait=True)
        channel.sendall(b"failure" if answer is None else b"success")
    elif what == "env":
        channel.sendall(server.environment.get(rest[0].encode(), b""))
    elif what == "pty":
        channel.sendall(server.pty.get(channel.chanid, b""))
    else:
        channel.sendall_stderr(b"no such command")
        status = 127
    channel.send_exit_status(status)
    channel.close()


def load_key(path):
    kind = os.path.basename(path).rsplit("_", 1)[1]
    classes = {"ed25519": paramiko.Ed25519Key, "ecdsa": paramiko.ECDSAKey, "rsa": paramiko.RSAKey,
               "dsa": paramiko.DSSKey}
    return classes[kind].from_private_key_file(path)


def restrict(options):
    for ours, theirs in (("kex", "kex"), ("ciphers", "ciphers"), ("macs", "digests"), ("compression", "compression")):
        if settings.get(ours):
            setattr(options, theirs, settings[ours])


def serve(client):
    transport = paramiko.Transport(client)
    try:
        restrict(transport.get_security_options())
        for path in settings["host_keys"]:
            transport.add_server_key(load_key(path))
        transport.set_subsystem_handler("sftp", paramiko.SFTPServer, paramiko_files.Files)
        transport.start_server(server=Server(transport))
        while transport.is_active():
            channel = transport.accept(SECONDS)
            channels.append(channel)  # paramiko closes a channel that nobody refers to
    except Exception as error:  # a client that breaks off is no reason to stop serving
        log("connection ended:", repr(error))


channels = []
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(100)
paramiko.util.log_to_file("/dev/stderr", level="INFO")
if settings.get("everything"):
    paramiko.Transport.load_server_moduli("/etc/ssh/moduli")
print("ready", listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
