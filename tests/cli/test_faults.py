# SPDX-License-Identifier: Apache-2.0
"""Correct bytes or a loud stop: a store that spoils pages never makes a job go on with one."""

import signal
import time

from rmemtest import Case, main, python

# Three versions of each page, each checked before it is overwritten.
JOB = """
import sys
MIB = 1 << 20
pages = 48 * MIB >> 12
b = bytearray(48 * MIB)
view = memoryview(b).cast("Q")
for version in range(3):
    for i in range(pages):
        for k in (0, 511):
            if version and view[i * 512 + k] != i * 7 + version:
                sys.exit("page %d has other bytes" % i)
            view[i * 512 + k] = i * 7 + version + 1
print("right", flush=True)
"""
LIMITS = ("--local", "16M", "--remote", "64M")  # so little that slots are used again


class Faults(Case):
    def run_on(self, server):
        p = self.start_job(*python(JOB), options=(*LIMITS, "--server", server))
        out, err = p.communicate(timeout=60)
        return p.returncode, out, err

    def test_a_spoiled_page_stops_the_job(self):
        for kind in ("flip=0.002", "zero=0.002", "swap=0.002", "torn=0.002", "rot=0.002",
                     "lost=0.002", "stale=1"):
            with self.subTest(kind):
                code, out, err = self.run_on(f"fault({kind},ram)")
                self.assertEqual(code, 125, err)
                self.assertIn(out, (b"", b"right\n"))  # stopped as it ended
                self.assertIn(b"rmem: job stopped: a page came back from its server with other "
                              b"bytes than were sent", err)

    def test_a_rare_one_does_so_or_does_not_happen(self):
        for seed in range(1, 7):
            with self.subTest(seed):
                code, out, err = self.run_on(f"fault(flip=0.00003,seed={seed},ram)")
                if code:
                    self.assertEqual(code, 125, err)
                    self.assertIn(b"other bytes than were sent", err)
                else:
                    self.assertEqual(out, b"right\n", err)

    def test_what_is_refused_now_and_then_is_tried_again(self):
        code, out, err = self.run_on("fault(fail=2%,ram)")
        self.assertEqual((code, out), (0, b"right\n"), err)

    def test_what_is_always_refused_stops_the_job(self):
        code, out, err = self.run_on("fault(fail=1,ram)")
        self.assertEqual((code, out), (125, b""), err)
        self.assertIn(b"rmem: job stopped: ", err)

    def test_the_doctor_tries_stores_before_others(self):
        for server, said in (("mirror(ram,fault(delay=1us,ram))", b" answers and lends memory"),
                             ("mirror(ram,tcp:127.0.0.1:1)", b"nobody listens there"),
                             ("fault(nothing:x)", b"this rmem has no store .nothing.")):
            p = self.run_rmem("doctor", "--server", server)
            self.assertRegex(p.stdout, said, p.stderr)

    def test_late_pages_are_right(self):
        code, out, err = self.run_on("fault(delay=100us,jitter=300us,ram)")
        self.assertEqual((code, out), (0, b"right\n"), err)

    def test_a_job_whose_pages_are_stuck_can_be_ended(self):
        p = self.start_job(*python(JOB), options=(*LIMITS, "--server", "fault(stuck=1%,ram)"))
        time.sleep(2)
        p.send_signal(signal.SIGTERM)
        out, err = p.communicate(timeout=20)
        self.assertNotEqual(p.returncode, 0, err)
        self.assertEqual(out, b"")


main()
