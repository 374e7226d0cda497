#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""failing.py RMEM JOBS FAIL_NTH: each call of rmem that takes memory, a descriptor or a
process, or that the kernel needs memory for, fails once, and from then on.

A run in which nothing fails lists the call sites: the stacks that lead to such calls. Then
there is a run for each of them. The job ends as without rmem, or rmem ends with 125 and says
why; nobody dies of a signal, nothing hangs, nothing is left."""

import argparse
import json
import os
import random
import signal
import subprocess
import time

from fail_nth import HITS, KINDS, Control
from rmemtest import MIB, Failure, Run, TcpServer, check, main, native

CAP_MIB, REMOTE_MIB = 16, 256
END_S = 40  # later than any time limit that rmem has for itself
JOB = ("fork_cow", "48")
MAPS = ("mremap_modes", "48")


class Part:
    """A process of rmem, under a job with certain servers."""

    def __init__(self, comm, servers=(), job=JOB, extra=(), kill_pager=False):
        self.comm, self.servers, self.job, self.extra = comm, servers, job, extra
        self.kill_pager = kill_pager

    def __str__(self):
        text = f"{self.comm} {self.job[0]} {' '.join(self.servers) or 'private'}"
        return text + (" takeover" if self.kill_pager else "")


PARTS = (Part("rmem"), Part("rmem-pager"), Part("rmem-injector"), Part("rmemd"),
         Part("rmem-bpf"),
         Part("rmem-pager", ("ram",), MAPS), Part("rmem-injector", ("ram",), MAPS),
         Part("rmem-pager", (), kill_pager=True),
         Part("rmem-pager", ("tcp",)), Part("rmem-pager", ("mirror",)),
         Part("rmem-pager", ("file:/var/tmp",)),
         Part("rmem", ("ram",), extra=("--metrics", "127.0.0.1:0", "--summary")))


class Servers:
    """Those of a part that are other programs; they see nothing of fail_nth."""

    def __init__(self, args, part):
        self.nr = {"tcp": 1, "mirror": 2}.get((part.servers or ("",))[0], 0)
        self.args, self.part, self.running = args, part, []

    def __enter__(self):
        self.running = [TcpServer(self.args.rmem, REMOTE_MIB * MIB) for _ in range(self.nr)]
        specs = [s.spec for s in self.running]
        if self.nr == 2:
            return [f"mirror({','.join(specs)})"]
        return specs or list(self.part.servers)

    def __exit__(self, *_):
        for s in self.running:
            s.__exit__()


def kill_the_pager(run):
    time.sleep(0.25)
    pager = run.pids()[1]
    if pager > 0 and run.proc.poll() is None:
        try:
            os.kill(pager, signal.SIGKILL)
        except ProcessLookupError:
            pass


def reason(said):
    """The last sentence of rmem, without what it tells of a run that goes well."""
    lines = [s for s in said.splitlines() if s.startswith(("rmem: ", "rmem run: ", "rmemd: "))
             and "--server named" not in s and "metrics at" not in s]
    return lines[-1] if lines else ""


def faults_answered(run, rmem):
    """So far, or None where nobody can be asked."""
    done = subprocess.run([rmem, "stat", str(run.proc.pid), "--json"], timeout=END_S,
                          env={"PATH": os.environ["PATH"]}, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=False)
    try:
        counts = next(r["faults"] for r in json.loads(done.stdout)
                      if r["supervisor_pid"] == run.proc.pid)
    except (ValueError, KeyError, StopIteration):
        return None
    return counts["zero"] + counts["standby"] + counts["remote"]


def is_slow(run, rmem):
    """Late, but faults are answered: where one call fails for ever others may go on."""
    before = faults_answered(run, rmem)
    time.sleep(2)
    return run.proc.poll() is None and before is not None and before < faults_answered(run, rmem)


def judge(run, control, rmem, want, may_die):
    try:
        status = run.wait(END_S)
    except Failure:
        control.no_crash(rmem)
        if is_slow(run, rmem):
            return "slow"
        raise
    said, out = run.stderr, run.stdout
    control.no_crash(rmem)
    died = said.count("killed by signal")
    check(died <= may_die, f"a part died of a signal\n{said[-2000:]}")
    check("wrong page" not in said + out and "FAIL" not in said, f"wrong bytes:\n{said[-2000:]}")
    if status == want[0]:
        check(out == want[1], f"other output: {out[-500:]!r}\n{said[-2000:]}")
    else:
        check(status == 125, f"status {status}: {said[-2000:]}")
        check(reason(said), f"stopped without a word: {said[-2000:]!r}")
    run.nothing_left()
    return "right" if status == want[0] else "stopped: " + reason(said)


def one(args, part, control, servers, want):
    command = [os.path.join(args.jobs, part.job[0]), *part.job[1:]]
    with Run(args.rmem, command, CAP_MIB * MIB, REMOTE_MIB * MIB, servers, extra=part.extra,
             sample=False) as run:
        if part.kill_pager:
            kill_the_pager(run)
        # Loading BPF: libbpf 1.1 reads a null pointer where memory for a list of programs is
        # lacking. Another pager takes over then.
        may_die = part.kill_pager or part.comm == "rmem-bpf"
        return judge(run, control, args.rmem, want, int(may_die))


class Tally:
    def __init__(self):
        self.sites = self.tried = self.reached = self.stopped = self.slow = 0
        self.failures = []

    def add(self, other):
        for name in ("sites", "tried", "reached", "stopped", "slow"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.failures += other.failures


def fail_at(args, part, kind, servers, want, site, nth, every):
    """Of one site: (reached, what came of it). Raises Failure."""
    with Control(args.lib, part.comm, kind) as control:
        control.arm(nth, site.hash, every)
        try:
            end = one(args, part, control, servers, want)
        except Failure as e:
            raise Failure(f"{part}, {KINDS[kind]}, call {nth}{' and all after' if every else ''}"
                          f" of {site.where(args.rmem)}:\n{e}") from None
        return control.get(HITS) > 0, end


def list_sites(args, part, kind, servers, want):
    """Those of three runs: not each goes the same way."""
    found = {}
    for _ in range(args.listings):
        with Control(args.lib, part.comm, kind) as control:
            control.arm(0)
            end = one(args, part, control, servers, want)
            check(end == "right", f"{part}: nothing failed, and yet: {end}")
            found.update({s.hash: s for s in control.sites()})
    return list(found.values())


def tries(args, sites, rng):
    """(site, nth, every) in the order in which they are worth their time."""
    first = [(s, 1, False) for s in sites]
    rng.shuffle(first)
    rest = [(s, 1, True) for s in sites if s.calls > 1]
    rest += [(s, rng.randint(2, s.calls), False) for s in sites if s.calls > 2]
    rng.shuffle(rest)
    return first + rest


def each_site(args, part, kind, want, rng, end):
    tally = Tally()
    with Servers(args, part) as servers:
        sites = list_sites(args, part, kind, servers, want)
        tally.sites = len(sites)
        for site, nth, every in tries(args, sites, rng):
            if time.monotonic() > end:
                break
            tally.tried += 1
            try:
                reached, how = fail_at(args, part, kind, servers, want, site, nth, every)
            except Failure as e:
                tally.failures.append(str(e))
                print(f"FAILED: {e}", flush=True)
                continue
            tally.reached += reached
            tally.stopped += how.startswith("stopped")
            tally.slow += how == "slow"
            if args.verbose:
                print(f"  {nth}{'+' if every else ''} {site.where(args.rmem)}: {how}", flush=True)
    print(f"{part}, {KINDS[kind]}: {tally.sites} sites, {tally.tried} failures tried, "
          f"{tally.reached} reached, {tally.stopped} stopped the job, {tally.slow} slow",
          flush=True)
    return tally


def run_parts(args, rng):
    """Each part and kind gets its share of the time that is left."""
    total, end = Tally(), time.monotonic() + args.seconds
    todo = [(p, k) for p in PARTS for k in KINDS
            if (args.only is None or args.only in str(p)) and k in args.kinds]
    rng.shuffle(todo)
    wants = {}
    for i, (part, kind) in enumerate(todo):
        now = time.monotonic()
        if now > end:
            print(f"not tried this time: {len(todo) - i} of {len(todo)} parts and kinds")
            break
        command = (os.path.join(args.jobs, part.job[0]), *part.job[1:])
        if command not in wants:
            wants[command] = native(list(command), END_S)[:2]
        share = end if args.long else now + max(5, (end - now) / (len(todo) - i))
        total.add(each_site(args, part, kind, wants[command], rng, share))
    return total


def run():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("rmem")
    ap.add_argument("jobs")
    ap.add_argument("lib", help="fail_nth.so")
    ap.add_argument("--long", action="store_true", help="all of them")
    ap.add_argument("--seconds", type=float, help="stop then")
    ap.add_argument("--only", help="parts that have this in their name")
    ap.add_argument("--kinds", default="mftk")
    ap.add_argument("--seed", type=int, default=int(time.time()))
    ap.add_argument("--verbose", action="store_true")
    a = ap.parse_args()
    a.lib, a.rmem = os.path.abspath(a.lib), os.path.abspath(a.rmem)
    a.seconds = a.seconds or (1e9 if a.long else 45)
    a.listings = 3 if a.long else 1
    total = run_parts(a, random.Random(a.seed))
    print(f"seed {a.seed}: {total.sites} call sites, {total.tried} failures tried, "
          f"{total.reached} reached, {total.stopped} stopped the job, {total.slow} slow, "
          f"{len(total.failures)} ended wrong")
    check(not total.failures, f"{len(total.failures)}, the first:\n{(total.failures or [''])[0]}")
    return 0


main(run)
