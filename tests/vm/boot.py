# SPDX-License-Identifier: Apache-2.0
"""One or two guests from power on to power off: what arrives from them, and who is late."""

import os
import re
import selectors
import signal
import socket
import sys
import time

from guest import Guest, contents

TIMED_OUT, DIED = 124, 125
FAREWELL_S = 5  # for a guest to power off


def say(text):
    print("run: " + text, file=sys.stderr, flush=True)


class Ended(Exception):
    """With a status of ours, and why."""

    def __init__(self, status, reason, guest=None):
        super().__init__(reason)
        self.status, self.guest = status, guest


class Lines:
    """Whole lines out of the pieces that arrive."""

    def __init__(self, take):
        self.rest, self.take = b"", take

    def add(self, data):
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.take(line.decode(errors="replace"))

    def end(self):
        if self.rest:
            self.add(b"\n")


class Boot:
    """One or two guests, from power on to power off."""

    def __init__(self, options, kernel, deadline):
        self.options, self.deadline = options, deadline
        self.boot_deadline = time.monotonic() + options.boot_timeout
        self.selector = selectors.DefaultSelector()
        self.started, self.status, self.main, self.peer = False, None, None, None
        self.nr_open, self.nr_ready, self.peer_ended, self.seconds_up = 0, 0, False, {}
        self.guests = []
        self.build(kernel)

    def build(self, kernel):
        wires = [None]
        if self.options.peer:
            wires = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            command = ["bash", "-c", self.options.peer]
            self.peer = self.add(Guest("peer", kernel, command, self.options, wires[1]))
            self.watch_peer()
        role = "main" if self.peer else "alone"
        self.main = self.add(Guest(role, kernel, self.options.command, self.options, wires[0]))
        self.copy(self.main.out, lambda data: write_all(1, data))
        self.copy(self.main.err, lambda data: write_all(2, data))
        self.watch(self.main.peer_control, Lines(self.vm_peer))
        for wire in filter(None, wires):
            wire.close()

    def add(self, guest):
        self.guests.append(guest)
        self.watch(guest.control, Lines(lambda line: self.heard(guest, line)))
        return guest

    # What arrives

    def watch(self, source, lines):
        def arrived():
            try:
                data = source.recv(65536)
            except ConnectionError:
                data = b""
            if data:
                lines.add(data)
            else:
                self.selector.unregister(source)
        self.selector.register(source, selectors.EVENT_READ, arrived)

    def copy(self, pipe, take, at_end=lambda: None):
        self.nr_open += 1

        def arrived():
            data = os.read(pipe, 65536)
            if data:
                take(data)
            else:
                self.nr_open -= 1
                self.selector.unregister(pipe)
                at_end()
        self.selector.register(pipe, selectors.EVENT_READ, arrived)

    def watch_peer(self):
        for pipe in (self.peer.out, self.peer.err):
            lines = Lines(self.peer_printed)
            self.copy(pipe, lines.add, lines.end)

    def peer_printed(self, line):
        write_all(2, f"peer: {line}\n".encode())
        if self.options.peer_ready and re.search(self.options.peer_ready, line):
            self.start_main()

    def heard(self, guest, line):
        word, *values = line.split()
        self.seconds_up[f"{guest.role} {word}"] = values[-1]
        if word == "ready":
            self.nr_ready += 1
            if self.nr_ready == len(self.guests):
                self.start()
        elif word == "end" and guest is self.main:
            self.status = int(values[0])
        elif word == "end":
            self.peer_command_ended(int(values[0]))

    def peer_command_ended(self, status):
        self.peer_ended = True
        if self.status is None and status:
            say(f"the peer's command ended with status {status}")
        if not self.started:
            raise Ended(DIED, "the peer's command ended before it was ready")

    def vm_peer(self, what):
        if not self.peer or not self.peer.is_alive():
            answer = b"there is no peer\n"
        else:
            self.peer.signal({"kill": signal.SIGKILL, "stop": signal.SIGSTOP,
                              "cont": signal.SIGCONT}[what])
            self.peer_ended |= what == "kill"
            answer = b"ok\n"
        self.main.peer_control.send(answer)

    # What happens

    def start(self):
        """Every guest is up, and can reach the other."""
        if self.peer:
            self.peer.say("go")
        if not self.options.peer_ready:
            self.start_main()

    def start_main(self):
        if not self.started:
            self.started = True
            self.main.say("go")

    def step(self, until):
        """Handles what arrives, for a moment; whoever is late ends it all."""
        now = time.monotonic()
        if now > self.deadline:
            raise Ended(TIMED_OUT, f"not done after {self.options.timeout:g} s", self.main)
        for key, _ in self.selector.select(max(0, min(0.2, until - now))):
            key.data()
        if self.peer and not self.peer.is_alive() and not self.peer_ended:
            self.peer_ended = True
            say("the peer died")

    def begin(self):
        """Until the command runs; False if a guest hangs or dies before that."""
        while self.nr_ready < len(self.guests):
            self.step(self.boot_deadline)
            if time.monotonic() > self.boot_deadline or \
                    not all(guest.is_alive() for guest in self.guests):
                return False
        return True

    def finish(self):
        """Until the command has ended; its status."""
        power_off = None
        while self.main.is_alive():
            self.step(self.deadline)
            if not self.started and not self.peer.is_alive():
                raise Ended(DIED, "the peer died before it was ready", self.peer)
            if self.status is not None:
                power_off = power_off or time.monotonic() + FAREWELL_S
                if time.monotonic() > power_off:
                    break
        self.end_peer()
        self.drain()
        if self.status is None:
            raise Ended(DIED, "the guest died", self.main)
        return self.status

    def end_peer(self):
        if self.peer:
            self.peer.signal(signal.SIGCONT)
            self.peer.say("stop")
            end = time.monotonic() + FAREWELL_S
            while self.peer.is_alive() and time.monotonic() < end:
                self.step(end)

    def drain(self):
        """What is still in pipes; a guest that won't end is ended."""
        for guest in self.guests:
            guest.signal(signal.SIGKILL)
        while self.nr_open:
            self.step(self.deadline)

    def close(self):
        for guest in self.guests:
            guest.close()
        self.selector.close()

    def report(self):
        for guest in self.guests:
            path = getattr(self.options, "dmesg" if guest is self.main else "peer_dmesg")
            if path:
                with open(path, "w", encoding="utf-8") as f:
                    f.write(contents(guest.messages) or contents(guest.console))
            if self.options.verbose:
                for line in guest.last_words(1000):
                    say(f"{guest.role}: {line}")
        if self.options.verbose:
            say("seconds on the guests' clocks: " +
                ", ".join(f"{k} {v}" for k, v in self.seconds_up.items()))


def write_all(fd, data):
    while data:
        data = data[os.write(fd, data):]
