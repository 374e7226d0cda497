# SPDX-License-Identifier: Apache-2.0
"""Common ground of the tests in this folder.

Every process that a test starts carries a tag in its environment, so that
whatever is left behind is found, whoever its parent has become.
"""

import os
import signal
import subprocess
import sys
import time
import unittest
import uuid

RMEM = os.environ.get("RMEM_BIN", "build/bin/rmem")
TAG = "RMEM_TEST_TAG"


# Goes through its memory for ever, and through all of it once more when told to end.
WALK = """
import signal, sys
MIB = 1 << 20
pages = 96 * MIB >> 12
b = bytearray(96 * MIB)
view = memoryview(b).cast("Q")
for i in range(pages):
    view[i * 512] = i * 7
going = True
def end(*_):
    global going
    going = False
signal.signal(signal.SIGUSR1, end)
print("filled", flush=True)
while going:
    for i in range(pages):
        if view[i * 512] != i * 7:
            sys.exit("page %d has other bytes" % i)
print("right" if all(view[i * 512] == i * 7 for i in range(pages)) else "wrong", flush=True)
"""


def wait_for(what, predicate, seconds=5.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        got = predicate()
        if got:
            return got
        time.sleep(0.01)
    raise AssertionError("never happened: " + what)


def stat_fields(pid):
    """Fields of /proc/PID/stat from the state on, or None."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            return f.read().rsplit(b")", 1)[1].split()
    except OSError:
        return None


def state(pid):
    fields = stat_fields(pid)
    return fields[0].decode() if fields else None


def parent(pid):
    fields = stat_fields(pid)
    return int(fields[1]) if fields else 0


def name(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8") as f:
            return f.read().strip()
    except OSError:
        return ""


def children(pid):
    pids = [int(p) for p in os.listdir("/proc") if p.isdigit()]
    return [p for p in pids if parent(p) == pid]


def tagged(tag):
    """Living processes that carry the tag."""
    want = f"{TAG}={tag}".encode()
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                if want in f.read().split(b"\0"):
                    found.append(int(pid))
        except OSError:
            continue
    return [p for p in found if state(p) not in (None, "Z", "X")]


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.tag = uuid.uuid4().hex
        self.env = dict(os.environ, **{TAG: self.tag})
        self.started = []

    def tearDown(self):
        try:
            self.nothing_left()
        finally:
            for pid in tagged(self.tag):
                os.kill(pid, signal.SIGKILL)
            for p in self.started:
                p.kill()
                p.wait()
                for stream in (p.stdin, p.stdout, p.stderr):
                    if stream:
                        stream.close()

    def nothing_left(self, seconds=2.0):
        end = time.monotonic() + seconds
        while left := tagged(self.tag):
            if time.monotonic() > end:
                self.fail("left behind: " + str([(p, name(p), state(p)) for p in left]))
            time.sleep(0.02)

    def run_rmem(self, *args, timeout=30, **kw):
        kw.setdefault("stdin", subprocess.DEVNULL)
        kw.setdefault("env", self.env)
        return subprocess.run([RMEM, *args], capture_output=True, timeout=timeout, check=False,
                              **kw)

    def run_job(self, *cmd, options=("--server", "ram"), **kw):
        return self.run_rmem("run", *options, "--", *cmd, **kw)

    def start(self, *argv, **kw):
        kw.setdefault("stdin", subprocess.DEVNULL)
        kw.setdefault("stdout", subprocess.PIPE)
        kw.setdefault("stderr", subprocess.PIPE)
        kw.setdefault("env", self.env)
        p = subprocess.Popen(argv, **kw)
        self.started.append(p)
        return p

    def start_job(self, *cmd, options=("--server", "ram"), **kw):
        return self.start(RMEM, "run", *options, "--", *cmd, **kw)

    def job_of(self, rmem):
        """The job's first process, once it runs what it should."""
        def find():
            found = [c for c in children(rmem.pid)
                     if not name(c).startswith("rmem")]
            return found[0] if found else None
        return wait_for("the job has started", find)

    def pager_of(self, rmem):
        def find():
            found = [c for c in children(rmem.pid) if name(c) == "rmem-pager"]
            return found[0] if found else None
        return wait_for("the pager has started", find)


def python(code):
    return (sys.executable, "-c", code)


def main():
    if not os.access("/dev/userfaultfd", os.W_OK):
        print("skipped: /dev/userfaultfd can't be opened: run as root")
        sys.exit(77)
    unittest.main(verbosity=2)
