#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""serving.py RMEM JOBS FAIL_NTH: the Nth call of rmemd that takes memory or a descriptor, or that the
kernel needs memory for, fails, N = 1, 2, 3 ... until there is none.

While it starts: it says why and ends, or comes up and serves. While a client comes, as long as
that is there and leases: this client is served or told why not, and the next one gets all that
the server has. Afterwards the server has the descriptors that it had."""

import argparse
import os
import random
import re
import signal
import subprocess
import tempfile
import time

from fail_nth import HITS, KINDS, Control
from rmemtest import MIB, Failure, check, main

CAPACITY_MIB = 64
CLIENT_S = 20
UP_S = 10
BACK_S = 3  # until then what a client had has come back


class Server:
    """An rmemd that listens by TCP and on a Unix socket, told by @control what fails."""

    def __init__(self, rmem, control, folder):
        self.rmem, self.control = rmem, control
        self.log = open(os.path.join(folder, "log"), "w+b")
        self.socket = os.path.join(folder, "socket")
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        self.proc = subprocess.Popen(
            [os.path.join(os.path.dirname(rmem), "rmemd"), "--listen", "tcp:127.0.0.1:0",
             "--listen", f"shm:{self.socket}", "--capacity", f"{CAPACITY_MIB}M"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            env=dict(os.environ, **control.env))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.proc.kill()
        self.proc.wait()
        self.log.close()

    def said(self):
        with open(self.log.name, "rb") as f:
            return f.read().decode(errors="replace")

    def comes_up(self):
        """False: it has ended instead."""
        end = time.monotonic() + UP_S
        while time.monotonic() < end:
            if self.proc.poll() is not None:
                return False
            if self.said().count("listening on") == 2:
                return True
            time.sleep(0.005)
        raise Failure(f"neither up nor gone after {UP_S} s: {self.said()}")

    def specs(self):
        return (re.search(r"tcp:127\.0\.0\.1:\d+", self.said()).group(), f"shm:{self.socket}")

    def nr_files(self):
        return len(os.listdir(f"/proc/{self.proc.pid}/fd"))

    def serves(self):
        self.control.no_crash(self.rmem)
        check(self.proc.poll() is None, f"rmemd ended with {self.proc.returncode}: {self.said()}")


def client(rmem, spec, mib):
    """(status, what it said) of one that leases so much and reads some pages."""
    try:
        done = subprocess.run(
            [rmem, "bench", "lat", spec, "-n", "16", "--area", f"{mib}M"], timeout=CLIENT_S,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            check=False)
    except subprocess.TimeoutExpired:
        raise Failure(f"a client of {spec} waits for more than {CLIENT_S} s") from None
    return done.returncode, done.stderr.decode(errors="replace")


def next_is_served(server, spec):
    """All that the server has, so nothing of the one before is left there."""
    end = time.monotonic() + BACK_S
    while True:
        status, said = client(server.rmem, spec, CAPACITY_MIB)
        server.serves()
        if not status:
            return
        check(time.monotonic() < end, f"the next client is not served: {said}\n{server.said()}")
        time.sleep(0.05)


def settled(server, files):
    end = time.monotonic() + BACK_S
    while server.nr_files() != files and time.monotonic() < end:
        time.sleep(0.02)
    check(server.nr_files() == files, f"{server.nr_files()} descriptors, there were {files}")


def while_a_client_comes(args, kind, which, every, end):
    """(calls that were made to fail, were these all?)"""
    with tempfile.TemporaryDirectory(prefix="test-", dir="/var/tmp") as folder, \
            Control(args.lib, "rmemd", kind) as control, \
            Server(args.rmem, control, folder) as server:
        check(server.comes_up(), f"rmemd did not come up: {server.said()}")
        spec, files = server.specs()[which], server.nr_files()
        next_is_served(server, spec)
        nth = 0
        while time.monotonic() < end:
            nth += 1
            control.arm(nth, every=every)
            try:
                status, said = client(args.rmem, spec, CAPACITY_MIB // 2)
                reached, where = control.get(HITS), control.first()
                control.arm(0)
                server.serves()
                check(status == 0 or ": " in said, f"status {status} without a word: {said!r}")
                next_is_served(server, spec)
                settled(server, files)
            except Failure as e:
                raise Failure(f"call {nth}, {control.first().where(args.rmem)}:\n{e}") from None
            if not reached:
                return nth - 1, True
            if args.verbose:
                print(f"  {nth} {where.where(args.rmem)}: {status} {said.strip()[-200:]}",
                      flush=True)
    return nth, False


def start_one(args, kind, nth):
    """Was there an Nth call?"""
    with tempfile.TemporaryDirectory(prefix="test-", dir="/var/tmp") as folder, \
            Control(args.lib, "rmemd", kind) as control:
        control.arm(nth)
        with Server(args.rmem, control, folder) as server:
            try:
                up = server.comes_up()
                control.no_crash(args.rmem)
                reached, where = control.get(HITS), control.first()
                if up:
                    control.arm(0)
                    for spec in server.specs():
                        next_is_served(server, spec)
                    server.proc.send_signal(signal.SIGTERM)
                status = server.proc.wait(UP_S)
                check(status == 0 if up else status > 0, f"status {status}: {server.said()}")
                check(up or "rmemd: " in server.said(), "ended without a word")
                check(not os.path.exists(server.socket), "its socket is left")
            except Failure as e:
                raise Failure(f"call {nth}, {control.first().where(args.rmem)}:\n{e}") from None
            if args.verbose and reached:
                print(f"  {nth} {where.where(args.rmem)}: "
                      f"{'up' if up else server.said().strip()[-200:]}", flush=True)
        return reached > 0


def starts(args, kind, end):
    nth = 1
    while time.monotonic() < end:
        if not start_one(args, kind, nth):
            return nth - 1, True
        nth += 1
    return nth - 1, False


def loops(args):
    """Each is (name, function of the time when it must end)."""
    found = []
    for kind in args.kinds:
        found.append((f"rmemd starts, {KINDS[kind]}", lambda end, k=kind: starts(args, k, end)))
        for which, by in enumerate(("tcp", "shm")):
            for every in (False, True):
                name = f"a client comes by {by}, {KINDS[kind]}{', and all after' if every else ''}"
                found.append((name, lambda end, k=kind, w=which, e=every:
                              while_a_client_comes(args, k, w, e, end)))
    return found


def run():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("rmem")
    ap.add_argument("jobs", help="not used")
    ap.add_argument("lib", help="fail_nth.so")
    ap.add_argument("--seconds", type=float, default=1e9, help="a sample in so many")
    ap.add_argument("--kinds", default="mfk")
    ap.add_argument("--seed", type=int, default=int(time.time()))
    ap.add_argument("--verbose", action="store_true")
    a = ap.parse_args()
    a.lib, a.rmem = os.path.abspath(a.lib), os.path.abspath(a.rmem)
    failures, total, todo, end = [], 0, loops(a), time.monotonic() + a.seconds
    random.Random(a.seed).shuffle(todo)
    for i, (name, loop) in enumerate(todo):
        now = time.monotonic()
        try:
            calls, is_all = loop(now + (end - now) / (len(todo) - i))
            total += calls
            print(f"{name}: {calls} calls failed, {'all' if is_all else 'not all of them'}",
                  flush=True)
        except Failure as e:
            failures.append(f"{name}, {e}")
            print(f"FAILED: {failures[-1]}", flush=True)
    print(f"seed {a.seed}: {total} calls of rmemd failed, {len(failures)} loops ended wrong")
    check(not failures, f"{len(failures)}, the first:\n{(failures or [''])[0]}")
    return 0


main(run)
