# SPDX-License-Identifier: Apache-2.0
"""The real programs of the main job; ALL has those of tools.py and runtimes.py as well."""

import os
import random
import sys

import runtimes
import tools
from program import HERE, LONG, Program, digest


class Sort(Program):
    file_mib = 512 if LONG else 256
    name, what = "sort", f"sort of a {file_mib} MiB file (lines of 4 KiB), two threads"

    def prepare(self):
        rng = random.Random(1)
        with open(self.path("in"), "wb") as f:
            for _ in range(self.file_mib // 2):
                text = rng.randbytes(1 << 20).hex().encode()
                f.write(b"".join(text[i:i + 4095] + b"\n" for i in range(0, len(text), 4096)))

    def command(self):
        return ["env", "LC_ALL=C", "sort", "--parallel=2", "-S", "1G", "-o", self.path("out"),
                self.path("in")]

    def result(self, stdout):
        d = digest(self.path("out"))
        os.unlink(self.path("out"))
        return stdout + d


class StressNg(Program):
    name, what = "stress_ng", "stress-ng --vm --verify, every method"
    populates_mib = 64  # MADV_POPULATE_READ of it all, which is then written to

    def command(self):
        return ["sh", os.path.join(HERE, "stress_vm.sh"), "64M" if LONG else "48M"]


class Redis(Program):
    name, what = "redis", "redis-server: load, BGSAVE while it changes, reload"

    def command(self):
        return [sys.executable, os.path.join(HERE, "redis_load.py"), self.dir,
                "50000" if LONG else "25000"]


class Pool(Program):
    name, what = "python_pool", "python3 multiprocessing, fork pools"

    def command(self):
        return [sys.executable, os.path.join(HERE, "pool.py"), "96"]


class Static(Program):
    name, what = "static_table", "a static C program: hash table and lists"

    def command(self):
        return [os.path.join(self.build, "programs", "table"), "64" if LONG else "40"]


class Pipeline(Program):
    name, what = "pipeline", "a shell pipeline: awk, sort, python3, sort, cksum"

    def command(self):
        return ["sh", os.path.join(HERE, "pipeline.sh"), "150000" if LONG else "100000"]


ALL = {p.name: p for p in (Sort, StressNg, Redis, Pool, Static, Pipeline) + tools.ALL +
       runtimes.ALL}
