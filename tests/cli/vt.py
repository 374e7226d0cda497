# SPDX-License-Identifier: Apache-2.0
"""A program on a terminal, and what is seen on it: as much of a VT100 as ncurses
uses for TERM=vt100, and an error for anything else."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

SEQUENCE = re.compile(r"\x1b(?:\[([?0-9;]*)([A-Za-z])|([()][AB0])|([=>78MDE]))|([\x00-\x1f])|"
                      r"([^\x00-\x1f\x1b]+)")
UNFINISHED = re.compile(r"\x1b(\[[?0-9;]*|[()])?$")


class Screen:
    def __init__(self, rows, cols):
        self.rows, self.cols = rows, cols
        self.y = self.x = self.clears = 0
        self.top, self.bottom = 0, rows - 1
        self.cell = [[" "] * cols for _ in range(rows)]
        self.widest = 0
        self.rest = ""

    def lines(self):
        return ["".join(row).rstrip() for row in self.cell]

    def scroll(self, by):
        row = [" "] * self.cols
        if by > 0:
            self.cell.insert(self.bottom + 1, row)
            del self.cell[self.top]
        else:
            del self.cell[self.bottom]
            self.cell.insert(self.top, row)

    def put(self, text):
        for c in text:
            self.widest = max(self.widest, self.x + 1)
            if self.x >= self.cols:
                raise AssertionError(f"beyond the edge: {text!r} at {self.y},{self.x}")
            self.cell[self.y][self.x] = c
            self.x += 1

    def control(self, c):
        if c == "\r":
            self.x = 0
        elif c == "\n":
            if self.y == self.bottom:
                self.scroll(1)
            else:
                self.y = min(self.y + 1, self.rows - 1)
        elif c == "\b":
            self.x = max(min(self.x, self.cols - 1) - 1, 0)
        elif c == "\t":
            self.x = min((self.x // 8 + 1) * 8, self.cols - 1)
        elif c not in "\x00\x07\x0e\x0f":
            raise AssertionError(f"control character {c!r}")

    def erase(self, first, last):
        """From the cell number first up to last, counted by lines."""
        for n in range(first, last):
            self.cell[n // self.cols][n % self.cols] = " "

    def csi(self, args, what):
        n = [int(a) if a else 0 for a in args.lstrip("?").split(";")]
        here, line = self.y * self.cols + min(self.x, self.cols - 1), self.y * self.cols
        one = max(n[0], 1)
        if what == "H":
            self.y = min(one, self.rows) - 1
            self.x = min(max((n + [1])[1], 1), self.cols) - 1
        elif what == "J":
            self.clears += n[0] == 2 or here == 0
            self.erase(*[(here, self.rows * self.cols), (0, here + 1),
                         (0, self.rows * self.cols)][n[0]])
        elif what == "K":
            self.erase(*[(here, line + self.cols), (line, here + 1),
                         (line, line + self.cols)][n[0]])
        elif what in "ABCD":
            self.y += {"A": -one, "B": one}.get(what, 0)
            self.x = min(self.x, self.cols - 1) + {"C": one, "D": -one}.get(what, 0)
            self.y = min(max(self.y, 0), self.rows - 1)
            self.x = min(max(self.x, 0), self.cols - 1)
        elif what == "r":
            self.top, self.bottom = one - 1, ((n + [0])[1] or self.rows) - 1
            self.y = self.x = 0
        elif what not in "mhlg":
            raise AssertionError(f"unknown sequence CSI {args}{what}")

    def feed(self, text):
        text = self.rest + text
        cut = UNFINISHED.search(text)
        self.rest = cut.group(0) if cut else ""
        text = text[:len(text) - len(self.rest)]
        at = 0
        while at < len(text):
            m = SEQUENCE.match(text, at)
            if not m:
                raise AssertionError(f"not understood: {text[at:at + 20]!r}")
            at = m.end()
            if m.group(6):
                self.put(m.group(6))
            elif m.group(5):
                self.control(m.group(5))
            elif m.group(2):
                self.csi(m.group(1), m.group(2))
            elif m.group(4) == "M" and self.y == self.top:
                self.scroll(-1)
            elif m.group(4) == "M":
                self.y -= 1


class Terminal:
    def __init__(self, argv, env, rows=24, cols=80):
        self.raw, self.status = "", None
        self.screen = Screen(rows, cols)
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
            os.kill(os.getpid(), signal.SIGSTOP)
            os.execvpe(argv[0], argv, env)
        os.waitpid(self.pid, os.WUNTRACED)
        self.before = termios.tcgetattr(self.fd)
        os.kill(self.pid, signal.SIGCONT)

    def read(self, seconds):
        if not select.select([self.fd], [], [], seconds)[0]:
            return False
        try:
            text = os.read(self.fd, 65536).decode(errors="replace")
        except OSError:
            return False
        self.raw += text
        self.screen.feed(text)
        return True

    def settle(self, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not self.read(left):
                time.sleep(min(left, 0.01))

    def expect(self, pattern, seconds=10):
        end = time.monotonic() + seconds
        while not re.search(pattern, "\n".join(self.screen.lines()), re.M):
            left = end - time.monotonic()
            if left <= 0:
                raise AssertionError(f"no {pattern!r} on\n" + "\n".join(self.screen.lines()))
            self.read(min(left, 0.1))

    def send(self, text):
        os.write(self.fd, text.encode())

    def resize(self, rows, cols):
        self.screen = Screen(rows, cols)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def is_as_before(self):
        return termios.tcgetattr(self.fd) == self.before

    def wait(self, seconds=10):
        """Exit status as the shell tells it."""
        end = time.monotonic() + seconds
        while self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                self.status = code if code >= 0 else 128 - code
            elif time.monotonic() > end:
                raise AssertionError("does not end")
            else:
                self.read(0.02)
        while self.read(0):  # its last words
            pass
        return self.status

    def close(self):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)
