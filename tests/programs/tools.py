# SPDX-License-Identifier: Apache-2.0
"""Tools people run on more data than they have memory for, over TCP."""

import os
import random
import re
import sys

from program import HERE, Program, digest

TCP = ((50, "tcp"), (25, "tcp"))


class Sqlite(Program):
    name, what, combos = "sqlite3", "sqlite3, a database in memory, joins", TCP

    def command(self):
        return ["sqlite3", "-batch", "-init", os.path.join(HERE, "joins.sql"), ":memory:", ""]


class Xz(Program):
    name, what, combos = "xz", "xz -9 -T2", TCP
    kib = 1024  # the tables are large whatever the input is, and looked up at random

    def prepare(self):
        rng = random.Random(5)
        words = [rng.randbytes(rng.randrange(2, 9)).hex().encode() for _ in range(4000)]
        with open(self.path("in"), "wb") as f:
            while f.tell() < self.kib << 10:
                f.write(b" ".join(rng.choices(words, k=2000)) + b"\n")

    def command(self):
        return ["xz", "-9", "-T2", f"--block-size={self.kib // 2}KiB", "-k", self.path("in")]

    def result(self, stdout):
        d = digest(self.path("in.xz"))
        os.unlink(self.path("in.xz"))
        return stdout + d


class Gcc(Program):
    name, what, combos = "gcc", "gcc -O1, one large file", TCP
    functions = 1500

    def prepare(self):
        with open(self.path("large.c"), "w", encoding="utf-8") as f:
            f.write("unsigned long f_0(unsigned long x) { return x + 1; }\n")
            for i in range(1, self.functions):
                f.write(f"unsigned long f_{i}(unsigned long x) {{\n"
                        f"\tfor (unsigned long i = 0; i < x % {i % 7 + 2}; i++)\n"
                        f"\t\tx = x * {2 * i + 1}UL + (x >> {i % 13 + 3}) + f_{i - 1}(i);\n"
                        f"\treturn x % 5 ? x ^ {i}UL : f_{i // 2}(x + 1);\n}}\n")

    def command(self):
        return ["gcc", "-O1", "-fno-ident", "-S", "-o", self.path("large.s"),
                self.path("large.c")]

    def result(self, stdout):
        d = digest(self.path("large.s"))
        os.unlink(self.path("large.s"))
        return stdout + d


class Hpcc(Program):
    name, what = "hpcc", "HPC Challenge, two MPI processes"
    # At 25 % three of four random updates of its tables wait for a page: half an hour.
    long = bool(os.environ.get("RMEM_LONG"))
    combos = TCP if long else TCP[:1]
    timeout_s = 5400 if long else Program.timeout_s

    def prepare(self):
        with open(os.path.join(HERE, "hpccinf.txt"), encoding="utf-8") as f, \
                open(self.path("hpccinf.txt"), "w", encoding="utf-8") as out:
            out.write(f.read())

    def command(self):
        return ["env", "-C", self.dir, "OMPI_ALLOW_RUN_AS_ROOT=1",
                "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1", "mpirun", "--oversubscribe", "-np", "2", "hpcc"]

    def result(self, stdout):
        """What is no measurement: how each part's check ended."""
        with open(self.path("hpccoutf.txt"), encoding="utf-8") as f:
            text = f.read()
        os.unlink(self.path("hpccoutf.txt"))
        checks = re.findall(r"\d+ tests completed and (?:passed|failed)|(?:PASSED|FAILED)$|"
                            r"^(?:Success|\w+Errors)=.*$", text, re.M)
        return stdout + "\n".join(checks)


class Postgres(Program):
    name, what, combos = "postgres", "PostgreSQL: sorts and hash joins of two clients", TCP

    def command(self):
        return [sys.executable, os.path.join(HERE, "postgres_load.py"), self.dir]


ALL = (Sqlite, Xz, Gcc, Hpcc, Postgres)
