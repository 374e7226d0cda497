# SPDX-License-Identifier: Apache-2.0
"""What the system tests share: starting rmem, watching it from outside, and
looking for what it left behind. Python 3 standard library only."""

import collections
import ctypes
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid

MIB = 1 << 20
SLACK = 32 * MIB  # how far the cap may be exceeded
# How many times slower than a real machine an emulated one is, for every time limit.
SLOW = float(os.environ.get("RMEM_TEST_SLOW", "1"))
GONE_S = 2.0 * SLOW  # until then nothing may be left
LIBC = ctypes.CDLL(None, use_errno=True)
SYS_KCMP, KCMP_VM = 312, 1
MARK = "RMEM_TEST_MARK"


class Failure(Exception):
    pass


def check(cond, text):
    if not cond:
        raise Failure(text)


def read(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError:
        return b""


def comm(pid):
    return read(f"/proc/{pid}/comm").decode(errors="replace").strip()


def children(pid):
    out = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return out
    for t in tasks:
        out += [int(x) for x in read(f"/proc/{pid}/task/{t}/children").split()]
    return out


def descendants(pid):
    out, todo = [], [pid]
    while todo:
        kids = children(todo.pop())
        out += kids
        todo += kids
    return out


def same_space(a, b):
    return LIBC.syscall(SYS_KCMP, a, b, KCMP_VM, 0, 0) == 0


def job_processes(supervisor):
    """Processes of the job: not rmem's own, and each address space once."""
    out = []
    for pid in descendants(supervisor):
        if comm(pid).startswith("rmem") or any(same_space(pid, p) for p in out):
            continue
        out.append(pid)
    return out


def pss_anon(pid):
    for line in read(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith(b"Pss_Anon:"):
            return int(line.split()[1]) * 1024
    return 0


SAMPLE_S = 0.005
SAMPLE_SHARE = 10  # looking walks page tables under the job's lock: a tenth of the time


class Sampler(threading.Thread):
    """Sums Pss_Anon of the job every 5 ms, or less often when looking takes long,
    independently of what rmem says."""

    who = "sampled"

    def __init__(self, supervisor):
        super().__init__(daemon=True)
        self.supervisor, self.peak, self.samples = supervisor, 0, 0
        self.over = threading.Event()
        self.pids, self.looked = [], 0.0

    def run(self):
        pause = SAMPLE_S
        while not self.over.wait(pause):
            now = time.monotonic()
            if now - self.looked > 0.03:
                self.pids, self.looked = job_processes(self.supervisor), now
            self.peak = max(self.peak, sum(pss_anon(p) for p in self.pids))
            self.samples += 1
            pause = max(SAMPLE_S, (time.monotonic() - now) * SAMPLE_SHARE)

    def end(self):
        self.over.set()
        self.join()


def marked(mark):
    """Processes that inherited our mark and still run."""
    out, needle = [], f"{MARK}={mark}".encode()
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        if needle not in read(f"/proc/{name}/environ").split(b"\0"):
            continue
        if read(f"/proc/{name}/stat").rsplit(b")", 1)[-1].split()[:1] != [b"Z"]:
            out.append(int(name))
    return out


def names_left():
    """Named things of rmem that outlive processes."""
    out = set()
    for folder in ("/dev/shm", "/run", "/tmp", "/run/rmem", "/sys/fs/cgroup"):
        try:
            out |= {f"{folder}/{n}" for n in os.listdir(folder) if n.startswith("rmem")}
        except OSError:
            pass
    for line in read("/proc/net/unix").decode(errors="replace").splitlines():
        path = line.split()[-1]
        if "rmem" in path and path.startswith(("/", "@")):
            out.add("socket " + path)
    return out


Pids = collections.namedtuple("Pids", "supervisor pager job server exporter injector spare0 spare1")


class Run:
    """One `rmem run`; use as a context, so that nothing outlives the test."""

    def __init__(self, rmem, command, local, remote, servers=(), extra=(), cwd=None, stdin=None,
                 sample=True, prefix=()):
        self.mark = uuid.uuid4().hex
        self.dir = tempfile.mkdtemp(prefix="test-", dir="/var/tmp")
        self.stats_path = os.path.join(self.dir, "stats.json")
        self.before = names_left()
        argv = [rmem, "run", "--local", str(local), "--remote", str(remote),
                "--stats", self.stats_path]
        for s in servers:
            argv += ["--server", s]
        self.argv = list(prefix) + argv + list(extra) + ["--"] + list(command)
        self.out = open(os.path.join(self.dir, "out"), "w+b")
        self.err = open(os.path.join(self.dir, "err"), "w+b")
        self.start = time.monotonic()
        self.proc = subprocess.Popen(
            self.argv, stdin=stdin or subprocess.DEVNULL, stdout=self.out, stderr=self.err,
            cwd=cwd, env=dict(os.environ, **{MARK: self.mark}))
        self.sampler = Sampler(self.proc.pid) if sample else None
        self.counter = self.sampler  # who, samples, peak
        if self.sampler:
            self.sampler.start()
        self.wall = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.sampler:
            self.sampler.end()
        for pid in ([self.proc.pid] if self.proc.poll() is None else []) + marked(self.mark):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.proc.wait()
        self.out.close()
        self.err.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def wait(self, timeout_s):
        try:
            self.proc.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise Failure(f"not ended after {timeout_s} s\n{self.describe_hang()}") from None
        finally:
            if self.sampler:
                self.sampler.end()
        self.wall = time.monotonic() - self.start
        return self.status

    @property
    def status(self):
        rc = self.proc.returncode
        return 128 - rc if rc is not None and rc < 0 else rc

    def text(self, f):
        f.flush()
        with open(f.name, "rb") as again:
            return again.read().decode(errors="replace")

    @property
    def stdout(self):
        return self.text(self.out)

    @property
    def stderr(self):
        return self.text(self.err)

    def torture_ends_right(self, timeout_s):
        """The longest that a fault waited, in seconds."""
        status = self.wait(timeout_s)
        check(status == 0, f"status {status}: {self.stderr[-3000:]}")
        check("torture: ok" in self.stdout, "status 0 without a result")
        self.nothing_left()
        stats = self.stats()
        check(stats["wrong_sums"]["pages"] == 0, f"wrong pages: {stats['wrong_sums']}")
        return stats["fault_latency_ns"]["max"] / 1e9

    def wait_for_words(self, text, seconds):
        """Until rmem has said them."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and text not in self.stderr:
            time.sleep(0.01)
        check(text in self.stderr,
              f"'{text}' was not said in {seconds} s: {self.stderr[-2000:]}")

    def stats(self):
        raw = read(self.stats_path)
        check(raw, f"no statistics were written; stderr:\n{self.stderr[-2000:]}")
        st = json.loads(raw)
        check(st.get("schema") == "rmem.stat/1", f"schema is {st.get('schema')}")
        return st

    def describe_hang(self):
        lines = []
        for pid in marked(self.mark):
            for t in sorted(os.listdir(f"/proc/{pid}/task"))[:8]:
                where = read(f"/proc/{pid}/task/{t}/wchan").decode()
                state = read(f"/proc/{pid}/task/{t}/stat").rsplit(b")", 1)[-1].split()[:1]
                lines.append(f"  {pid}/{t} {comm(pid)} {state} {where}")
        return "\n".join(lines + [self.stderr[-2000:]])

    def header(self):
        """Process numbers from the shared header (client/run.h)."""
        sup = self.proc.pid
        try:
            fds = os.listdir(f"/proc/{sup}/fd")
        except OSError:
            fds = []
        for fd in fds:
            try:
                if "rmem-state" in os.readlink(f"/proc/{sup}/fd/{fd}"):
                    with open(f"/proc/{sup}/fd/{fd}", "rb") as f:
                        return Pids(*struct.unpack("<12x8i", f.read(44)))
            except (OSError, struct.error):
                continue
        return Pids(sup, *[0] * 7)

    def pids(self):
        """(supervisor, pager, first process of the job)"""
        return self.header()[:3]

    def named(self, name):
        return [p for p in descendants(self.proc.pid) if comm(p) == name]

    def nothing_left(self):
        """Everything of this run is gone within GONE_S."""
        end = time.monotonic() + GONE_S
        while True:
            procs = marked(self.mark)
            names = {n for n in names_left() - self.before if str(self.proc.pid) in n}
            if not procs and not names:
                return
            if time.monotonic() > end:
                what = [f"{p} {comm(p)}" for p in procs] + sorted(names)
                raise Failure("left behind: " + ", ".join(what))
            time.sleep(0.02)


class TcpServer:
    """An rmemd of the same build on a free port of @host; use as a context."""

    def __init__(self, rmem, capacity, host="127.0.0.1", prefix=(), port=0):
        self.host = host
        self.log = tempfile.NamedTemporaryFile(prefix="test-", dir="/var/tmp")
        self.proc = subprocess.Popen(
            list(prefix) + [os.path.join(os.path.dirname(rmem), "rmemd"), "--listen",
                            f"tcp:{host}:{port}", "--capacity", str(capacity)],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.spec = self.wait_for_port()

    def said(self):
        return read(self.log.name).decode(errors="replace")

    def wait_for_port(self):
        end = time.monotonic() + 10
        while time.monotonic() < end and self.proc.poll() is None:
            for word in self.said().replace(",", " ").split():
                if word.startswith(f"tcp:{self.host}:"):
                    return word
            time.sleep(0.01)
        self.proc.kill()
        raise Failure(f"rmemd did not come up: {self.said()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.proc.kill()
        self.proc.wait()
        self.log.close()


class PagerKiller(threading.Thread):
    """Ends the pager of @run, time after time, as long as it goes on: and now and then also the
    one that follows it, while that has hardly begun."""

    def __init__(self, run, rng, shortest_s, longest_s):
        super().__init__(daemon=True)
        self.run_, self.rng, self.pause_s, self.kills = run, rng, (shortest_s, longest_s), 0
        self.over = threading.Event()

    def run(self):
        self.wait_for(lambda h: h.job > 0)  # before that there is nothing to go on with
        while self.run_.proc.poll() is None:
            if self.over.wait(self.rng.uniform(*self.pause_s)):
                return
            # Who ends three before there are others finds nobody to follow the last.
            self.wait_for(lambda h: h.spare0 and h.spare1)
            pager = self.run_.header().pager
            self.kill(pager)
            if self.rng.random() < 0.3:
                if self.wait_for(lambda h: h.pager != pager):
                    time.sleep(self.rng.uniform(0, 0.004))
                    self.kill(self.run_.header().pager)

    def kill(self, pager):
        if pager > 0 and self.run_.proc.poll() is None:
            try:
                os.kill(pager, signal.SIGKILL)
                self.kills += 1
            except ProcessLookupError:
                pass

    def wait_for(self, what):
        while self.run_.proc.poll() is None and not self.over.is_set():
            if what(self.run_.header()):
                return True
            time.sleep(0.0005)
        return False

    def stop(self):
        self.over.set()
        self.join()


def check_cap(run, stats, local, slack=SLACK, samples_tell=True):
    """By an outside count and by rmem's own. not samples_tell: who has which pages
    changes so fast that a sum of samples says nothing."""
    count = run.counter
    check(count.samples > 0, "the memory of the job was never counted")
    if samples_tell or count is not run.sampler:
        check(count.peak <= local + slack,
              f"cap of {local >> 20} MiB: {count.who} {count.peak >> 20} MiB")
    peak = stats["local"]["peak_bytes"]
    check(peak <= local + slack, f"cap of {local >> 20} MiB: statistics say {peak >> 20} MiB")


def native(command, timeout_s, cwd=None, stdin=None):
    """Runs a command without rmem: (status, stdout, seconds, peak bytes of one process)."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as out:
        p = subprocess.Popen(command, stdin=stdin or subprocess.DEVNULL, stdout=out, cwd=cwd)
        timer = threading.Timer(timeout_s, p.kill)
        timer.start()
        _, st, usage = os.wait4(p.pid, 0)
        timer.cancel()
        rc = os.waitstatus_to_exitcode(st)
        p.returncode = rc
        out.seek(0)
        text = out.read().decode(errors="replace")
    return (128 - rc if rc < 0 else rc, text, time.monotonic() - start, usage.ru_maxrss * 1024)


def stop_cleanly(*_):
    sys.exit(1)


def main(fn):
    signal.signal(signal.SIGTERM, stop_cleanly)
    try:
        sys.exit(fn() or 0)
    except Failure as e:
        print(f"FAILED: {e}", file=sys.stderr)
        sys.exit(1)
