# SPDX-License-Identifier: Apache-2.0
"""Starts the programs that are measured, alone or under rmem, and ends them."""

import ctypes
import json
import os
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from machine import find_memory

TIMEOUT_S = 240
QUICK_S = 200  # then --quick begins nothing more: what takes longest takes a minute
PROGRAMS = ("access", "ages", "busy", "faults", "first", "fits", "gups", "kernels", "naive",
            "pagerank", "peak", "policies", "sort", "switches", "tcp", "touch")
CFLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-static"]
CLIENT = ["rmem_client", "rmem_common", "rmem_base"]
LINKED = {  # with parts of rmem, and libraries
    "ages": (CLIENT, ["-lbpf"]),
    "kernels": ([], ["-lm"]),
    "policies": (["rmem_policy", "rmem_core", "rmem_base"], ["-lm"]),
    "tcp": (CLIENT, ["-luring"]),
}
BARE = ["-nostdlib", "-ffreestanding", "-fno-stack-protector"]
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class BenchError(Exception):
    pass


class TooLong(BenchError):
    pass


def median(values):
    return statistics.median(values)


def ratios(over, under):
    """Of each pair, their median: what else goes on changes less between two neighbours."""
    return median([a / b for a, b in zip(over, under)])


def rotated(arms, n):
    """The arms, n times, each time beginning with another one."""
    for i in range(n):
        k = i % len(arms)
        yield from arms[k:] + arms[:k]


class Job:
    """One running program; its standard input and output are ours."""

    def __init__(self, bench, argv, cgroup=None, stats_path=None):
        self.bench, self.cgroup, self.stats, self.buffer = bench, cgroup, None, b""
        self.name, self.stats_path = " ".join(argv), stats_path
        self.errors = os.path.join(bench.temp, f"errors-{len(bench.jobs)}")
        with open(self.errors, "wb") as errors:
            self.start = time.monotonic()
            self.p = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=errors, start_new_session=True,
                                      preexec_fn=self._prepare)
        bench.jobs.append(self)
        self.pid = self.p.pid

    def _prepare(self):
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if self.bench.args.nice:
            os.nice(self.bench.args.nice)
        if self.cgroup:
            self.cgroup.enter()

    def _failed(self, why, kind=BenchError):
        with open(self.errors, encoding="utf-8", errors="replace") as f:
            said = f.read().strip().splitlines()
        self.kill()
        raise kind(f"{self.name}: {why}{': ' + said[-1] if said else ''}")

    def line(self, timeout_s=TIMEOUT_S):
        """The next line of its output, decoded."""
        end = time.monotonic() + timeout_s
        while b"\n" not in self.buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.p.stdout], [], [], left)[0]:
                self._failed("took too long", TooLong)
            data = os.read(self.p.stdout.fileno(), 65536)
            if not data:
                self._failed("ended without saying what it measured")
            self.buffer += data
        text, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(text)

    def go(self):
        self.p.stdin.write(b"\n")
        self.p.stdin.flush()

    def wait(self, timeout_s=TIMEOUT_S):
        """Waits for its end. Sets wall_s, cpu_s (with all it waited for), peak_bytes and stats."""
        end = time.monotonic() + timeout_s
        fd = os.pidfd_open(self.pid)
        ended = select.select([fd], [], [], max(0, end - time.monotonic()))[0]
        self.wall_s = time.monotonic() - self.start
        os.close(fd)
        if not ended:
            self._failed("took too long", TooLong)
        _, status, usage = os.wait4(self.pid, 0)
        self.p.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_s = usage.ru_utime + usage.ru_stime
        self.peak_bytes = usage.ru_maxrss << 10
        if self.p.returncode:
            self._failed(f"ended with status {self.p.returncode}")
        if self.stats_path:
            with open(self.stats_path, encoding="utf-8") as f:
                self.stats = json.load(f)
        self._forget()
        return self

    def live(self):
        """The counters of its run now; job must be under rmem."""
        return self.bench.stat(self.pid)

    def _forget(self):
        self.p.stdin.close()
        self.p.stdout.close()
        if self in self.bench.jobs:
            self.bench.jobs.remove(self)

    def kill(self):
        """Ends it and, under rmem, all of its job: the pager sees its supervisor die."""
        if self.p.returncode is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.p.wait()
        self._forget()


class Bench:
    """What all figures need: the programs, a temporary folder, and the end of it all."""

    def __init__(self, args):
        self.args, self.jobs, self.temp = args, [], None
        self.rmem = os.path.join(os.path.abspath(args.build), "bin", "rmem")
        self.undo, self.begun = [], time.monotonic()  # undo: functions, called last first

    def __enter__(self):
        if not os.access(self.rmem, os.X_OK):
            raise BenchError(f"{self.rmem} is not there: build first with ./quickstart --build")
        self.temp = tempfile.mkdtemp(prefix="rmem-bench-")
        try:
            for name in PROGRAMS:
                self._compile(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _compile(self, name):
        cmd = ["cc", *CFLAGS, "-I", self.args.root, *(BARE if name == "first" else []), "-o",
               self.program(name), os.path.join(self.args.root, "bench", name + ".c")]
        if name in LINKED:
            ours, libraries = LINKED[name]
            cmd.remove("-static")
            cmd += [f"{self.args.build}/lib{lib}.a" for lib in ours] + libraries
        p = subprocess.run(cmd, stderr=subprocess.PIPE, text=True, check=False)
        if p.returncode:
            raise BenchError(f"{' '.join(cmd)}: {p.stderr.strip()}")

    def clean_up(self):
        for step in [job.kill for job in list(self.jobs)] + self.undo[::-1]:
            try:
                step()
            except (OSError, BenchError) as e:  # the rest has to be undone all the same
                print(f"bench: cleaning up: {e}", file=sys.stderr)
        self.undo.clear()

    def __exit__(self, *_):
        self.clean_up()
        shutil.rmtree(self.temp, ignore_errors=True)

    def program(self, name):
        return os.path.join(self.temp, name)

    def start(self, name, *words, rmem=None, cgroup=None, memory_mib=None):
        """A program of ours or a path; rmem: options of rmem run, or None to run it alone;
        memory_mib: what it takes altogether, if that is much."""
        find_memory(memory_mib or self.pick(1024, 384))
        argv, stats = [self.program(name), *map(str, words)], None
        if rmem:
            stats = os.path.join(self.temp, "stats.json")
            argv = [self.rmem, "run", "--stats", stats, *map(str, rmem), "--", *argv]
        return Job(self, argv, cgroup, stats)

    def attach(self, pid, *options):
        return Job(self, [self.rmem, "attach", str(pid), *options])

    def stat(self, pid):
        p = subprocess.run([self.rmem, "stat", "--json", str(pid)], stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, timeout=30, check=False)
        if p.returncode:
            raise BenchError(f"rmem stat {pid}: {p.stderr.strip()}")
        return json.loads(p.stdout)[0]

    def pick(self, full, quick):
        return quick if self.args.quick else full

    def is_brief(self):
        return self.args.quick and not self.args.only

    def time_is_up(self):
        """Of --quick: nothing more is to be begun then."""
        return self.is_brief() and time.monotonic() > self.begun + QUICK_S

    def some(self, of_all, few):
        """Few, and until time is up, where the figures of --quick share it."""
        for x in few if self.is_brief() else of_all:
            if not self.time_is_up():
                yield x
