#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""takeover.py RMEM JOBS: SIGKILL of the pager at random moments, again and again, while jobs
touch, fork, map and throw away. Another goes on each time: status and output are those of
the job alone, no fault waits for a second, nothing is left. Where the connection to a server
can't be handed over the job is stopped, with that reason."""

import argparse
import os
import random
import signal
import threading
import time

from rmemtest import MIB, Failure, Run, TcpServer, check, main, native

TIMEOUT_S = 90
CAP_MIB, REMOTE_MIB = 32, 512
STALL_S = 1.0
# Name, arguments: what forks and maps, for the most part.
JOBS = (("torture", "96", "3000"), ("fork_cow", "128"), ("mremap_modes", "128"),
        ("fuzz_maps", "128", "1"), ("madvise_drop", "128"), ("madvise_fork", "128"),
        ("munmap_parts", "128"), ("heap_malloc", "128"), ("exec_chain", "128"),
        ("fork_thousand", "64", "100"), ("storm_one_page", "128"), ("churn", "128"))


class Killer(threading.Thread):
    """Ends the pager, time after time, as long as the run goes on."""

    def __init__(self, run, rng):
        super().__init__(daemon=True)
        self.run_, self.rng, self.kills = run, rng, 0

    def run(self):
        while self.run_.proc.poll() is None:
            time.sleep(self.rng.uniform(0.02, 0.25))
            pager = self.run_.pids()[1]
            if pager > 0 and self.run_.proc.poll() is None:
                try:
                    os.kill(pager, signal.SIGKILL)
                    self.kills += 1
                except ProcessLookupError:
                    pass


def one(args, job, server, rng):
    command = [os.path.join(args.jobs, job[0]), *job[1:]]
    want_status, want_out, _, _ = native(command, TIMEOUT_S)
    with Run(args.rmem, command, CAP_MIB * MIB, REMOTE_MIB * MIB, [server] if server else [],
             sample=False) as run:
        killer = Killer(run, rng)
        time.sleep(0.1)
        killer.start()
        status = run.wait(TIMEOUT_S)
        killer.join()
        said = run.stderr
        check(status == want_status, f"status {status} instead of {want_status}\n{said[-3000:]}")
        check(run.stdout == want_out, f"other output: {run.stdout[-500:]!r}")
        run.nothing_left()
        st = run.stats()
        stall = st["fault_latency_ns"]["max"] / 1e9
        check(st["takeovers"] == said.count("another takes over"), f"{st['takeovers']} takeovers")
        check(st["wrong_sums"]["pages"] == 0, f"wrong pages: {st['wrong_sums']}")
        check(stall < STALL_S, f"a fault waited {stall:.2f} s\n{said[-2000:]}")
    print(f"{job[0]} {server or 'private server'}: {st['takeovers']} pagers, longest stall "
          f"{stall:.3f} s, evicted {st['pages']['evicted']}", flush=True)
    return st["takeovers"], stall


def by_tcp(args):
    with TcpServer(args.rmem, REMOTE_MIB * MIB) as tcp, \
            Run(args.rmem, [os.path.join(args.jobs, "torture"), "96", "60000"], CAP_MIB * MIB,
                REMOTE_MIB * MIB, [tcp.spec], sample=False) as run:
        time.sleep(1)
        os.kill(run.pids()[1], signal.SIGKILL)
        check(run.wait(10) == 125, f"status {run.status}")
        check("no other can take over: the connection" in run.stderr, run.stderr[-2000:])
        run.nothing_left()


def run():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("rmem")
    ap.add_argument("jobs")
    ap.add_argument("--kills", type=int, default=50)
    ap.add_argument("--only", help="this job alone")
    ap.add_argument("--seed", type=int, default=int(time.time()))
    a = ap.parse_args()
    rng = random.Random(a.seed)
    kills, longest, k = 0, 0.0, 0
    jobs = [j for j in JOBS if a.only in (None, j[0])]
    while k < len(jobs) or kills < a.kills:
        try:
            n, stall = one(a, jobs[k % len(jobs)], ("ram", "")[(k + k // len(jobs)) % 2], rng)
        except Failure as e:
            raise Failure(f"seed {a.seed}, run {k}, {jobs[k % len(jobs)][0]}: {e}") from None
        kills, longest, k = kills + n, max(longest, stall), k + 1
    if not a.only:
        by_tcp(a)
    print(f"takeover: {kills} pagers killed in {k} runs, no wrong byte, longest stall of a fault "
          f"{longest:.3f} s")
    return 0


main(run)
