# SPDX-License-Identifier: Apache-2.0
"""Whole programs, unmodified, with a share of their memory local: under rmem, and in a memory
cgroup with swap on zram or in a file."""

import collections
import contextlib
import functools
import os
import subprocess
import time

import swapfile
import zipf
import zram
from jobs import BenchError, TooLong, median, rotated
from report import PYTHON, Row

HERE = os.path.dirname(os.path.abspath(__file__))
ONE_THREAD = ("/usr/bin/env", "OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1")
SWAPS = {"zram": zram.Device, "file": swapfile.SwapFile}
TOO_SLOW = 10  # times the time with all memory local: then it is ended
TRIES = 3  # where runs are killed
GUPS_LIMIT_S = 120  # its slowdown is some hundreds, and still to be compared
HALF, ALONE = 50, ("alone", 100)
SERVERS = {"rmem": "ram", "late": "fault(delay=10us,ram)"}  # as over a fast network


class Killed(BenchError):
    """By the kernel, for want of memory, with swap that was not full. It happens by chance."""


class Program:
    """A command that prints its result as one line of JSON."""

    limit_s = None  # or it is ended after TOO_SLOW times the time with all memory local

    def __init__(self, name, command, most=None, late=None, probe=None, package=None):
        self.name, self.command, self.most, self.late = name, command, most, late
        self.probe, self.package = probe, package

    def is_there(self):
        try:
            return not self.probe or subprocess.run(
                self.probe, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                check=False).returncode == 0
        except OSError:
            return False

    def once(self, bench, limit_s, **how):
        """Result, seconds, largest size."""
        job = bench.start(*ONE_THREAD, *self.command(bench), **how)
        result = job.line(limit_s)
        job.wait(limit_s)
        return result, job.wall_s, job.peak_bytes


class Redis(Program):
    """The server is what is measured; its client is this process. Only the GETs are timed."""

    def once(self, bench, limit_s, **how):
        path = os.path.join(bench.temp, f"redis-{time.monotonic_ns()}")  # no one else's
        nr_keys, nr_gets = self.command(bench)
        job = bench.start("/usr/bin/redis-server", "--port", 0, "--unixsocket", path, "--save", "",
                          "--dir", bench.temp, "--logfile", "/dev/null", **how)
        try:
            seconds, result = zipf.drive(path, nr_keys, drawn(nr_keys, nr_gets), limit_s)
        except TimeoutError as e:
            raise TooLong("redis took too long") from e
        except OSError as e:
            raise BenchError(f"redis: {e}") from e
        job.wait()
        return result, seconds, job.peak_bytes


class Gups(Program):
    """Says itself how long its updates took: filling its table and verifying it don't count."""

    limit_s = GUPS_LIMIT_S

    def once(self, bench, limit_s, **how):
        said, _, peak_bytes = super().once(bench, limit_s, **how)
        return said["result"], said["seconds"], peak_bytes


drawn = functools.lru_cache(zipf.drawn)

ALL = (
    Program("quicksort", lambda b: (b.program("sort"), b.pick(224, 96)), 1.15, 1.2),
    Program("k-means", lambda b: (PYTHON, f"{HERE}/kmeans.py", b.pick(224, 96), b.pick(20, 10)),
            1.5, 1.7, (PYTHON, "-c", "import sklearn"), "python3-sklearn"),
    Program("linpack", lambda b: (PYTHON, f"{HERE}/linpack.py", b.pick(5000, 3000)),
            1.4, 1.5, (PYTHON, "-c", "import numpy"), "python3-numpy libopenblas0-pthread"),
    Redis("redis", lambda b: (b.pick(200000, 80000), b.pick(1000000, 300000)), 1.35, 1.4,
          ("/usr/bin/redis-server", "--version"), "redis-server"),
    Program("pagerank", lambda b: (b.program("pagerank"), b.pick(21, 20), b.pick(15, 10))),
    Program("sqlite join", lambda b: ("sqlite3", ":memory:", "CREATE TABLE size AS SELECT "
                                      f"{b.pick(1500000, 500000)} AS orders",
                                      f".read {HERE}/join.sql"),
            None, None, ("sqlite3", "--version"), "sqlite3"),
    Gups("gups", lambda b: (b.program("gups"), b.pick(25, 24), b.pick(1 << 18, 1 << 16))),
)
QUICK = ("quicksort", "sqlite join", "gups")  # of ALL, in --quick


@contextlib.contextmanager
def swapping(bench, device, limit_bytes, size_bytes):
    """How to start what shall swap. Only one device at a time: the kernel would use them all."""
    try:
        bench.undo.append(device(size_bytes).close)
        group = zram.Cgroup(limit_bytes)
        bench.undo.append(group.close)
        yield {"cgroup": group}
    finally:
        bench.clean_up()


def what_can_swap(bench):
    can, rows = [], []
    for arm, device in SWAPS.items():
        try:
            with swapping(bench, device, 64 << 20, 64 << 20):
                can.append(arm)
        except (OSError, BenchError) as e:
            rows.append(Row(f"swap: {arm}", f"not measured: {e}"))
    return can, rows


class Measured:
    """One program with all its memory, and in each arm with each share of it."""

    def __init__(self, bench, program, arms, shares):
        self.bench, self.program = bench, program
        self.result, alone_s, self.peak = program.once(bench, 60)
        self.limit_s = program.limit_s or TOO_SLOW * alone_s
        self.wall_s = {a: [] for a in [ALONE] + [(a, s) for s in shares for a in arms
                                                 if a != "late" or s == HALF]}
        self.too_slow, self.wrong, self.killed = set(), set(), collections.Counter()

    def how(self, arm, share):
        limit, size = self.peak * share // 100, 2 * self.peak
        if arm == "alone":
            return contextlib.nullcontext({})
        if arm in SERVERS:
            return contextlib.nullcontext({"rmem": ["--local", limit, "--remote", size,
                                                    "--server", SERVERS[arm]]})
        return swapping(self.bench, SWAPS[arm], limit, size)

    def run(self, arm, share):
        with self.how(arm, share) as how:
            try:
                return self.program.once(self.bench, self.limit_s, **how)
            except TooLong:
                raise
            except BenchError as e:
                if "cgroup" in how and how["cgroup"].has_killed():
                    raise Killed(str(e)) from e
                raise BenchError(f"{arm} at {share} %: {e}") from e

    def once(self, arm, share):
        try:
            result, wall_s, _ = self.run(arm, share)
        except Killed:
            self.killed[arm, share] += 1
            return
        except TooLong:
            self.bench.clean_up()
            self.too_slow.add((arm, share))
            return
        self.wall_s[arm, share].append(wall_s)
        if result != self.result:
            self.wrong.add(f"{arm} at {share} %")

    def often(self, arm, share):
        """Until it gets through; and if it is too slow, never again."""
        before = len(self.wall_s[arm, share])
        for _ in range(TRIES):
            if (arm, share) not in self.too_slow and len(self.wall_s[arm, share]) == before:
                self.once(arm, share)

    def all(self, runs):
        """With half of the memory as often as is asked for; with less of it once."""
        half = [a for a in self.wall_s if a == ALONE or a[1] == HALF]
        less = [a for a in self.wall_s if a not in half]
        for arm in [*rotated(half, runs), *less]:
            self.often(*arm)

    def slowdown(self, arm):
        if arm in self.too_slow or not self.wall_s[arm]:
            return float("inf")
        return median(self.wall_s[arm]) / median(self.wall_s[ALONE])

    def text(self, arm):
        nr = self.killed[arm]
        if arm in self.too_slow:
            limit_s = self.program.limit_s
            return f"{arm[0]} ended after {limit_s} s" if limit_s else f"{arm[0]} > {TOO_SLOW}"
        if not self.wall_s[arm]:
            return f"{arm[0]} none of {nr} runs got through"
        return f"{arm[0]} {self.slowdown(arm):.2f}" + (f" ({nr} killed)" if nr else "")

    def row(self, share):
        of = {a[0]: self.slowdown(a) for a in self.wall_s if a[1] == share}
        text = "; ".join(self.text((a, share)) for a in of)
        row = Row(f"{self.program.name}, {share} % of {self.peak >> 20} MiB: slowdown",
                  f"{text} (alone {median(self.wall_s[ALONE]):.3g} s)")
        if self.wrong:
            row.value = f"WRONG RESULT of {', '.join(sorted(self.wrong))}; {row.value}"
            row.bar, row.met = "the same result", False
        elif share == HALF:
            others = [a for a in of if a not in SERVERS]
            most, late = self.program.most, self.program.late
            row.bar = ", ".join([f"<= {most}, late <= {late}"] * bool(most) +
                                [f"less than {a}" for a in others])
            none = float("inf")
            passed = (of["rmem"] <= (most or none) and of["late"] <= (late or none) and
                      all(of["rmem"] < of[a] for a in others))
            row.met = passed if row.bar else None
        return row

    def raw(self):
        return {"peak_bytes": self.peak, "limit": TOO_SLOW, "wrong": sorted(self.wrong), "runs": [
            {"arm": a, "share": s, "wall_s": t,
             "too_slow": (a, s) in self.too_slow, "killed": self.killed[a, s]}
            for (a, s), t in self.wall_s.items()]}


def programs(bench):
    """Whole programs with half of their memory local, beside swap on zram and in a file; late: with
    10 us more for each page"""
    shares, runs = bench.pick((HALF, 25, 10), (HALF,)), min(bench.args.runs, bench.pick(3, 1))
    can, rows = what_can_swap(bench)
    rows.append(Row("runs for each median", str(runs) if shares == (HALF,) else f"{runs} at {HALF} %, else 1"))
    raw, left_out = {}, [p.name for p in ALL]
    for program in bench.some([p for p in ALL if p.name in bench.args.programs],
                              [p for p in ALL if p.name in QUICK]):
        left_out.remove(program.name)
        if not program.is_there():
            rows.append(Row(program.name, f"not measured: apt install {program.package}"))
            continue
        try:
            m = Measured(bench, program, [*SERVERS, *can], shares)
            m.all(runs)
        except BenchError as e:
            bench.clean_up()
            rows.append(Row(program.name, f"failed: {e}", "the same result", False))
            continue
        rows += [m.row(s) for s in shares]
        raw[program.name] = m.raw()
    if left_out:
        rows.append(Row("left out, but with --only programs", ", ".join(left_out)))
    return rows, raw
