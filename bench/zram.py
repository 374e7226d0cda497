# SPDX-License-Identifier: Apache-2.0
"""Swap on a zram device of our own, and a memory cgroup that makes a job use it.

Devices and swap that were there before are not touched: the device is a new
one, and its priority puts it before all others for as long as it exists."""

import itertools
import os
import subprocess
import time

from jobs import BenchError

CONTROL = "/sys/class/zram-control"
V1 = "/sys/fs/cgroup/memory"
V2 = "/sys/fs/cgroup"
PRIORITY = 32767
NUMBER = itertools.count()  # of groups: no two have the same name


def write(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(str(text))


def read(path):
    with open(path, encoding="ascii") as f:
        return f.read().strip()


def command(*words):
    p = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                       check=False)
    if p.returncode:
        raise BenchError(f"{' '.join(words)}: {p.stderr.strip()}")


def retried(what, tries=50):
    """A device or cgroup is busy for a moment after its last user has ended."""
    for left in range(tries - 1, -1, -1):
        try:
            return what()
        except (OSError, BenchError):
            if not left:
                raise
            time.sleep(0.1)


class Device:
    def __init__(self, size_bytes):
        self.loaded = not os.path.isdir(CONTROL)
        if self.loaded:
            command("modprobe", "zram", "num_devices=0")
        self.nr = None
        self.swapping = False
        try:
            self.nr = int(read(f"{CONTROL}/hot_add"))
            self.path = f"/dev/zram{self.nr}"
            write(f"/sys/block/zram{self.nr}/disksize", size_bytes)
            retried(lambda: command("mkswap", self.path))
            command("swapon", "-p", str(PRIORITY), self.path)
            self.swapping = True
        except BaseException:
            self.close()
            raise

    def compressor(self):
        names = read(f"/sys/block/zram{self.nr}/comp_algorithm").split()
        return next((n.strip("[]") for n in names if n.startswith("[")), names[0])

    def close(self):
        if self.swapping:
            retried(lambda: command("swapoff", self.path))
        if self.nr is not None:
            retried(lambda: write(f"/sys/block/zram{self.nr}/reset", 1))
            retried(lambda: write(f"{CONTROL}/hot_remove", self.nr))
        if self.loaded:
            command("modprobe", "-r", "zram")


class Cgroup:
    def __init__(self, limit_bytes):
        v1 = self.v1 = os.path.isfile(f"{V1}/memory.limit_in_bytes")
        self.path = os.path.join(V1 if v1 else V2, f"rmem-bench-{os.getpid()}-{next(NUMBER)}")
        if not v1 and "memory" not in read(f"{V2}/cgroup.subtree_control").split():
            raise BenchError("the memory controller is not enabled for child cgroups")
        os.mkdir(self.path)
        try:
            write(f"{self.path}/{'memory.limit_in_bytes' if v1 else 'memory.max'}", limit_bytes)
            if not v1:
                write(f"{self.path}/memory.swap.max", "max")
        except BaseException:
            self.close()
            raise

    def enter(self):
        """The calling process, just before it becomes the job."""
        write(f"{self.path}/cgroup.procs", os.getpid())

    def has_killed(self):
        """Whether a process of it was ended because there was no memory for it."""
        name = "oom_control" if self.v1 else "events"
        return any(line.startswith("oom_kill ") and not line.endswith(" 0")
                   for line in read(f"{self.path}/memory.{name}").splitlines())

    def close(self):
        retried(lambda: os.rmdir(self.path))
