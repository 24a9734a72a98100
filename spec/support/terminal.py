"""Runs a program in a terminal of its own, and plays its user.

    python3 terminal.py COLUMNS ROWS PROGRAM [ARGUMENT…]

Standard input has a step a line: `expect TEXT` waits for it in what the program writes (from where the last one was
found), `type TEXT` types, `resize COLUMNS ROWS` changes the window, `end` waits for the end of the program. Texts are
Python literals. Prints the exit status of the program; what was awaited in vain ends it with status 1, and the output.
"""
import ast
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time

PATIENCE = 60


def set_size(fd, columns, rows):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def main():
    columns, rows = int(sys.argv[1]), int(sys.argv[2])
    pid, fd = pty.fork()
    if pid == 0:
        set_size(0, columns, rows)
        os.execvp(sys.argv[3], sys.argv[3:])
    output, at = b"", 0
    deadline = time.monotonic() + PATIENCE

    def more():
        """Takes in some output; False at its end."""
        nonlocal output
        ready, _, _ = select.select([fd], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            sys.exit("in vain: %r" % output)
        try:
            data = os.read(fd, 65536)
        except OSError:
            return False
        output += data
        return data != b""

    for line in sys.stdin:
        step, _, rest = line.strip().partition(" ")
        if step == "expect":
            text = ast.literal_eval(rest).encode()
            while output.find(text, at) < 0:
                if not more():
                    sys.exit("ended before %r: %r" % (text, output))
            at = output.find(text, at) + len(text)
        elif step == "type":
            os.write(fd, ast.literal_eval(rest).encode())
        elif step == "resize":
            set_size(fd, *map(int, rest.split()))
        elif step == "end":
            while more():
                pass
    _, status = os.waitpid(pid, 0)
    print(os.waitstatus_to_exitcode(status))


main()
