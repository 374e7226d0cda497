#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""takeover.py RMEM JOBS: SIGKILL of the pager at random moments, again and again, while jobs
touch, fork, map and throw away, their memory in stores of every kind. Another goes on each
time: status and output are those of the job alone, no fault waits for a second, nothing is
left, no server keeps a lease. What a run can't be gone on with stops it, with the reason."""

import argparse
import os
import random
import signal
import tempfile
import time

from rmemtest import MIB, Failure, PagerKiller, Run, TcpServer, check, main, native

TIMEOUT_S = 90
CAP_MIB, REMOTE_MIB = 32, 512
MIB_EACH = "128" if os.environ.get("RMEM_TEST_MODE") == "long" else "72"
STALL_S = 1.0
# Name, arguments: what forks and maps, for the most part.
JOBS = (("torture", "96", "3000"), ("fork_cow", MIB_EACH), ("mremap_modes", MIB_EACH),
        ("fuzz_maps", "64", "1:600"), ("madvise_drop", MIB_EACH), ("madvise_fork", MIB_EACH),
        ("munmap_parts", MIB_EACH), ("heap_malloc", MIB_EACH), ("exec_chain", MIB_EACH),
        ("fork_thousand", "64", "100"), ("storm_one_page", MIB_EACH), ("churn", MIB_EACH))


class Stores:
    """Two servers, and what to name for each kind of store."""

    def __init__(self, rmem):
        self.servers = [TcpServer(rmem, 3 * REMOTE_MIB * MIB) for _ in range(2)]
        a, b = (s.spec for s in self.servers)
        self.kinds = {
            "ram": ["ram"], "private": [], "tcp": [a], "file": ["file:/var/tmp"],
            "mirror": [f"mirror({a},{b})"], "pool": [a, "ram", f"mirror({b},file:/var/tmp)"],
            "fault": [f"fault(jitter=100us,{a})"]}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in self.servers:
            s.__exit__()

    def check_free(self):
        """As many clients left as came."""
        for s in self.servers:
            end = time.monotonic() + 5
            while s.said().count("client name") != s.said().count("client left"):
                check(time.monotonic() < end, f"a lease is left\n{s.said()[-2000:]}")
                time.sleep(0.01)


def one(args, job, kind, stores, rng):
    command = [os.path.join(args.jobs, job[0]), *job[1:]]
    want_status, want_out, _, _ = native(command, TIMEOUT_S)
    with Run(args.rmem, command, CAP_MIB * MIB, REMOTE_MIB * MIB, stores.kinds[kind],
             sample=False) as run:
        killer = PagerKiller(run, rng, 0.02, 0.5)
        killer.start()
        status = run.wait(TIMEOUT_S)
        killer.stop()
        said = run.stderr
        check(status == want_status, f"status {status} instead of {want_status}\n{said[-3000:]}")
        check(run.stdout == want_out, f"other output: {run.stdout[-500:]!r}")
        run.nothing_left()
        st = run.stats()
        stall = st["fault_latency_ns"]["max"] / 1e9
        check(st["takeovers"] == said.count("another takes over"), f"{st['takeovers']} takeovers")
        check(st["wrong_sums"]["pages"] == 0, f"wrong pages: {st['wrong_sums']}")
        check(stall < STALL_S, f"a fault waited {stall:.2f} s\n{said[-2000:]}")
    stores.check_free()
    print(f"{job[0]} {kind}: {st['takeovers']} pagers, longest stall "
          f"{stall:.3f} s, evicted {st['pages']['evicted']}", flush=True)
    return st["takeovers"], stall


def recorded(args):
    with tempfile.TemporaryDirectory(prefix="test-", dir="/var/tmp") as where, \
            Run(args.rmem, [os.path.join(args.jobs, "torture"), "96", "60000"], CAP_MIB * MIB,
                REMOTE_MIB * MIB, ["ram"], ["--record", os.path.join(where, "faults")],
                sample=False) as run:
        time.sleep(1)
        os.kill(run.pids()[1], signal.SIGKILL)
        check(run.wait(10) == 125, f"status {run.status}")
        check("no other can take over: what was recorded" in run.stderr, run.stderr[-2000:])
        run.nothing_left()


def run():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("rmem")
    ap.add_argument("jobs")
    ap.add_argument("--kills", type=int, default=50)
    ap.add_argument("--only", help="this job alone")
    ap.add_argument("--store", help="this kind of store alone")
    ap.add_argument("--seed", type=int, default=int(time.time()))
    a = ap.parse_args()
    rng = random.Random(a.seed)
    kills, longest, k = 0, 0.0, 0
    jobs = [j for j in JOBS if a.only in (None, j[0])]
    with Stores(a.rmem) as stores:
        kinds = [x for x in stores.kinds if a.store in (None, x)]
        while k < len(jobs) or kills < a.kills:
            job, kind = jobs[k % len(jobs)], kinds[(k + k // len(jobs)) % len(kinds)]
            try:
                n, stall = one(a, job, kind, stores, rng)
            except Failure as e:
                raise Failure(f"seed {a.seed}, run {k}, {job[0]} {kind}: {e}") from None
            kills, longest, k = kills + n, max(longest, stall), k + 1
    if not a.only:
        recorded(a)
    print(f"takeover: {kills} pagers killed in {k} runs, no wrong byte, longest stall of a fault "
          f"{longest:.3f} s")
    return 0


main(run)
