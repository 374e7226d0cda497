#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""thrash.py RMEM TORTURE [SECONDS]: a job on two mirrored servers, of which now one and then the
other is killed and started anew, or made to stand still, each time as soon as the mirror
is whole again; its pager is killed meanwhile, whatever the mirror is at. Its results are
right, and nothing is left. The seed is printed."""

import os
import random
import signal
import sys
import time

from rmemtest import MIB, PagerKiller, Run, TcpServer, check, main

FOOTPRINT_MIB, CAP, REMOTE = 64, 16 * MIB, 256 * MIB
LOST_S, WHOLE_S, STALL_S = 4, 30, 3.5


class Server:
    """One that is started again at the same port."""

    def __init__(self, rmem):
        self.rmem = rmem
        self.now = TcpServer(rmem, 512 * MIB)
        self.spec = self.now.spec

    def kill(self):
        self.now.__exit__()
        time.sleep(random.uniform(0, 1))
        self.now = TcpServer(self.rmem, 512 * MIB, port=self.spec.rsplit(":", 1)[1])

    def stand_still(self):
        self.now.proc.send_signal(signal.SIGSTOP)
        time.sleep(random.uniform(0.2, 3))
        self.now.proc.send_signal(signal.SIGCONT)

    def end(self):
        self.now.__exit__()


def said(run, text):
    return run.stderr.count(text)


def wait_until(run, what, seconds, happened):
    end = time.monotonic() + seconds
    while time.monotonic() < end and run.proc.poll() is None:
        if happened():
            return True
        time.sleep(0.02)
    check(run.proc.poll() is None, f"ended early: {run.stderr[-3000:]}")
    check(not what, f"{what}: {run.stderr[-3000:]}")
    return False


def trouble(run, server):
    """Something happens to it; returns when it is whole, whether or not it was given up."""
    lost, whole = (said(run, f"{server.spec} is {w}") for w in ("lost", "whole again"))
    if random.random() < 0.6:
        server.kill()
        wait_until(run, "a killed server was not missed", LOST_S,
                   lambda: said(run, f"{server.spec} is lost") > lost)
    else:
        server.stand_still()
        wait_until(run, "", 0.5, lambda: said(run, f"{server.spec} is lost") > lost)
    gone = said(run, f"{server.spec} is lost") - lost
    if gone:
        wait_until(run, "it was not made whole again", WHOLE_S,
                   lambda: said(run, f"{server.spec} is whole again") > whole)
    return gone


def run():
    rmem, torture = (os.path.abspath(p) for p in sys.argv[1:3])
    seconds = int(sys.argv[3]) if len(sys.argv) > 3 else 60
    seed = random.randrange(1 << 32)
    random.seed(seed)
    servers = [Server(rmem), Server(rmem)]
    try:
        longest_ms = 1000 * (seconds + WHOLE_S + 60)
        with Run(rmem, [torture, str(FOOTPRINT_MIB), str(longest_ms)], CAP, REMOTE,
                 [f"mirror({servers[0].spec},{servers[1].spec})"], sample=False) as r:
            end, times, lost = time.monotonic() + seconds - 5, 0, 0
            time.sleep(1)
            killer = PagerKiller(r, random.Random(seed), 1, 8)
            killer.start()
            while time.monotonic() < end:
                lost += trouble(r, random.choice(servers))
                times += 1
                time.sleep(random.uniform(0, 1))
            killer.stop()
            r.proc.send_signal(signal.SIGTERM)
            status = r.wait(60)
            check(status == 0 and "torture: ok" in r.stdout,
                  f"seed {seed}: status {status}\n{r.stderr[-3000:]}")
            st = r.stats()
            r.nothing_left()
    finally:
        for s in servers:
            s.end()
    stall = st["fault_latency_ns"]["max"] / 1e9
    check(st["wrong_sums"]["pages"] == 0, f"seed {seed}: wrong pages: {st['wrong_sums']}")
    check(stall <= STALL_S, f"seed {seed}: a fault waited for {stall:.2f} s")
    print(f"seed {seed}: {times} troubles, {lost} copies lost and made whole, "
          f"{killer.kills} pagers killed, "
          f"longest stall {stall:.2f} s")


main(run)
