#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill.py RMEM TORTURE VICTIM: SIGKILL of one part at random moments.

The job ends loudly or goes on, it never reads a wrong byte, and within two
seconds of the end nothing is left. VICTIM: pager supervisor agent job server
tcp_server."""

import argparse
import os
import random
import signal
import time

from rmemtest import GONE_S, MIB, Failure, Run, TcpServer, check, main

JOB_MS = 1500
FOOTPRINT_MIB = 96
CAP = 24 * MIB
END_S = 30


def victim_pid(run, kind):
    sup, pager, job = run.pids()
    if kind == "supervisor":
        return sup
    if kind == "pager":
        return pager
    if kind == "job":
        return job
    if kind == "server":
        return next(iter(run.named("rmemd")), 0)
    return next(iter(run.named("rmem-agent")), 0)


def kill_one(run, kind, delay, server_pid):
    """Kills the victim `delay` after the start, later when there is none yet."""
    time.sleep(delay)
    while run.proc.poll() is None:
        pid = server_pid or victim_pid(run, kind)
        if pid > 0:
            try:
                os.kill(pid, signal.SIGKILL)
                return True
            except ProcessLookupError:
                pass
        time.sleep(0.005)
    return False


def one(rmem, torture, kind, delay):
    if kind != "tcp_server":
        return one_with(rmem, torture, kind, delay, [] if kind == "server" else ["ram"], None)
    with TcpServer(rmem, 512 * MIB) as tcp:
        return one_with(rmem, torture, kind, delay, [tcp.spec], tcp.proc.pid)


def one_with(rmem, torture, kind, delay, servers, server_pid):
    with Run(rmem, [torture, str(FOOTPRINT_MIB), str(JOB_MS)], CAP, 512 * MIB, servers,
             sample=False) as run:
        hit = kill_one(run, kind, delay, server_pid)
        killed = time.monotonic()
        status = run.wait(END_S)
        took = time.monotonic() - killed
        err = run.stderr
        check("wrong page" not in err and "FAIL" not in err, f"wrong bytes:\n{err[-3000:]}")
        run.nothing_left()
        if not hit:
            return False
        if status == 0:
            check("torture: ok" in run.stdout, "status 0 without a result")
        elif kind == "supervisor":
            check(status == 137, f"status {status}")
        elif kind in ("job", "agent") and status == 137:
            pass  # as the job dies without rmem
        else:
            check(status == 125, f"status {status}: {err[-2000:]}")
            check(err.strip(), "stopped without a word")
            check(kind != "tcp_server" or "server tcp:" in err, f"not named: {err[-2000:]}")
            check(took < JOB_MS / 1000 + GONE_S, f"took {took:.1f} s to stop")
        return True


def run():
    ap = argparse.ArgumentParser()
    ap.add_argument("rmem")
    ap.add_argument("torture")
    ap.add_argument("victim", choices=["pager", "supervisor", "agent", "job", "server",
                                       "tcp_server"])
    ap.add_argument("--rounds", type=int, default=20)
    ap.add_argument("--seed", type=int, default=int(time.time()))
    a = ap.parse_args()
    rng = random.Random(a.seed)
    hits = 0
    for i in range(a.rounds):
        delay = rng.uniform(0.0, JOB_MS / 1000)
        try:
            hits += one(a.rmem, a.torture, a.victim, delay)
        except Failure as e:
            raise Failure(f"seed {a.seed} round {i}, {a.victim} killed after {delay:.3f} s: {e}") \
                from None
    check(hits >= a.rounds * 3 // 4, f"only {hits} of {a.rounds} kills met somebody")
    print(f"{a.victim}: {hits} kills of {a.rounds}, no wrong byte, nothing left")
    return 0


main(run)
