# SPDX-License-Identifier: Apache-2.0
"""--record and --replay: the second run gets its pages before it touches them, and what
any file says makes nothing wrong."""

import json
import os
import shutil
import tempfile

from rmemtest import Case, main, python

# Goes through its memory in an order without a pattern, several times.
WALK = """
import random, sys
seed, rounds = int(sys.argv[1]), 5
pages = 48 << 8
b = bytearray(48 << 20)
view = memoryview(b).cast("Q")
for i in range(pages):
    view[i * 512] = i
order = list(range(pages))
random.Random(seed).shuffle(order)
total = 0
for _ in range(rounds):
    for i in order:
        total += view[i * 512] * (i + 1)
print(total)
"""


class Record(Case):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.file = os.path.join(self.folder, "r")

    def walk(self, *options, seed=1):
        """What the job printed, and how many of its faults had to wait for the store."""
        stats = os.path.join(self.folder, "stats")
        p = self.run_job(*python(WALK), str(seed), timeout=120,
                         options=("--server", "ram", "--local", "24M", "--remote", "256M",
                                  "--stats", stats, *options))
        self.assertEqual(p.returncode, 0, p.stderr)
        with open(stats, encoding="utf-8") as f:
            return p.stdout, json.load(f)["faults"]["remote"]

    def test_the_second_run_waits_less(self):
        right, plain = self.walk()
        self.assertEqual(self.walk("--record", self.file)[0], right)
        self.assertEqual(sorted(os.listdir(self.folder)), ["r", "stats"])
        printed, replayed = self.walk("--replay", self.file)
        self.assertEqual(printed, right)
        self.assertLess(replayed, plain / 3)

    def test_what_another_run_did_harms_nobody(self):
        right, plain = self.walk(seed=2)
        self.walk("--record", self.file, seed=1)
        printed, replayed = self.walk("--replay", self.file, seed=2)
        self.assertEqual(printed, right)
        self.assertLess(replayed, plain * 1.2)

    def test_replaced_as_a_whole(self):
        for _ in range(2):
            p = self.run_job("true", options=("--server", "ram", "--record", self.file))
            self.assertEqual((p.returncode, p.stderr), (0, b""))
        self.assertEqual(os.listdir(self.folder), ["r"])
        p = self.run_job("echo", "hi", options=("--server", "ram", "--replay", self.file))
        self.assertEqual((p.returncode, p.stdout, p.stderr), (0, b"hi\n", b""))

    def test_what_is_wrong_is_said_before_the_job_starts(self):
        with open(self.file, "wb") as f:
            f.write(b"RMEMREC1" + bytes(24))
        none = os.path.join(self.folder, "none")
        for options, said in ((("--replay", none), f"--replay {none}: No such file"),
                              (("--replay", self.folder), "is no recording"),
                              (("--replay", "/dev/zero"), "is no recording"),
                              (("--replay", "/etc/passwd"), "is no recording"),
                              (("--record", none + "/x"), "can't be written: No such file"),
                              (("--record", self.folder), "is there and no file"),
                              (("--record", "a", "--replay", "b"), "one of them at a time"),
                              (("--record", ""), "name a file")):
            with self.subTest(options):
                p = self.run_job("touch", none, options=("--server", "ram", *options))
                self.assertEqual(p.returncode, 125, p.stderr)
                self.assertIn(said, p.stderr.decode())
                self.assertFalse(os.path.exists(none))
        p = self.run_rmem("attach", str(os.getpid()), "--replay", self.file)
        self.assertEqual(p.returncode, 125)
        self.assertIn(b"need rmem run", p.stderr)

    def test_a_full_disk_is_said_and_the_job_is_as_it_was(self):
        p = self.run_job("sh", "-c", f"rm -r {self.folder}/d; exit 7",
                         options=("--server", "ram", "--record", self.made("d") + "/r"))
        self.assertEqual(p.returncode, 7)
        self.assertIn(b"not written: No such file", p.stderr)

    def made(self, name):
        path = os.path.join(self.folder, name)
        os.mkdir(path)
        return path


main()
