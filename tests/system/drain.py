#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""drain.py RMEM TORTURE [--times N] [--comes]: of two servers of a job one is drained at a random
moment and killed as soon as it has left; the job ends with right bytes, and no fault waits
for it. With --comes the job has one server, the second comes while it runs, and the pager
is killed now and then. Prints the longest that a fault waited, and the same of runs where
nothing leaves."""

import argparse
import os
import random
import subprocess
import time

from rmemtest import MIB, PagerKiller, Run, TcpServer, check, main

FOOTPRINT_MIB, CAP, REMOTE, JOB_MS = 96, 24 * MIB, 512 * MIB, 2500
STALL_S = 1.0
END_S = 40


def drain(args, job, server):
    """How long it took."""
    start = time.monotonic()
    p = subprocess.run([args.rmem, "pool", "drain", server.spec, "--run", str(job.proc.pid)],
                       capture_output=True, text=True, timeout=END_S, check=False)
    check(p.returncode == 0 and "has left" in p.stdout, f"drain: {p.stdout}{p.stderr}")
    return time.monotonic() - start


def come(args, job, server):
    time.sleep(random.uniform(0.2, 0.6))
    p = subprocess.run([args.rmem, "pool", "add", server.spec, "--run", str(job.proc.pid),
                        "--size", "256M"], capture_output=True, text=True, timeout=END_S,
                       check=False)
    check(p.returncode == 0 and "has come" in p.stdout, f"add: {p.stdout}{p.stderr}")


def one(args, leaves):
    """(longest wait of a fault, what it took to drain), in seconds."""
    with TcpServer(args.rmem, 512 * MIB) as a, TcpServer(args.rmem, 512 * MIB) as b, \
            Run(args.rmem, [args.torture, str(FOOTPRINT_MIB), str(JOB_MS)], CAP, REMOTE,
                [a.spec] if args.comes else [a.spec, b.spec], sample=False) as job:
        took = 0
        killer = PagerKiller(job, random, 0.1, 0.5)
        if args.comes:
            killer.start()
            come(args, job, b)
        if leaves:
            time.sleep(random.uniform(0.4, 1.5))
            took = drain(args, job, a)
            a.proc.kill()
        if args.comes:
            killer.stop()
        return job.torture_ends_right(END_S), took


def run():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("rmem")
    p.add_argument("torture")
    p.add_argument("--times", type=int, default=1)
    p.add_argument("--comes", action="store_true")
    args = p.parse_args()
    args.rmem = os.path.abspath(args.rmem)
    stalls, others, took = [], [], []
    for _ in range(args.times):
        stall, seconds = one(args, True)
        stalls.append(stall)
        took.append(seconds)
        others.append(one(args, False)[0])
    check(max(stalls) <= STALL_S, f"a fault waited for {max(stalls):.2f} s")
    print(f"{args.times} right, drained in at most {max(took):.2f} s; longest stall of a fault "
          f"{max(stalls):.3f} s, where nothing leaves {max(others):.3f} s")


main(run)
