# SPDX-License-Identifier: Apache-2.0
"""Signals: passed on once when sent to rmem, never when the terminal sends them."""

import os
import signal
import subprocess
import tempfile
import time

from rmemtest import Case, RMEM, main, python, state, wait_for

RMEMD = os.path.join(os.path.dirname(RMEM), "rmemd")

COUNT = """
import os, signal, sys, time
signals = [signal.SIGUSR1, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCONT,
           signal.SIGWINCH, signal.SIGRTMIN + 3]
def on(n, f):
    os.write(1, b"%d\\n" % n)  # print refuses when the next one comes within it
for s in signals:
    signal.signal(s, on)
print("ready", flush=True)
while True:
    time.sleep(60)
"""


class Signals(Case):
    def start_counting(self, **kw):
        p = self.start_job(*python(COUNT), **kw)
        self.assertEqual(p.stdout.readline(), b"ready\n")
        os.set_blocking(p.stdout.fileno(), False)
        return p

    def received(self, p, least=1, seconds=0.3):
        """What arrives until @least have, and for a while after that."""
        got = b""

        def enough():
            nonlocal got
            got += p.stdout.read() or b""
            return got.count(b"\n") >= least

        wait_for(f"{least} signals arrive", enough, 10)
        time.sleep(seconds)
        enough()
        return [int(x) for x in got.split()]

    def test_sent_to_rmem_arrives_once(self):
        p = self.start_counting()
        for sig in (signal.SIGUSR1, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCONT,
                    signal.SIGWINCH, signal.SIGRTMIN + 3):
            os.kill(p.pid, sig)
            self.assertEqual(self.received(p), [sig])
        p.kill()

    def test_queued_realtime_signals_all_arrive(self):
        p = self.start_counting()
        for _ in range(5):
            os.kill(p.pid, signal.SIGRTMIN + 3)
            time.sleep(0.05)
        self.assertEqual(self.received(p, 5), [signal.SIGRTMIN + 3] * 5)
        p.kill()

    def test_sent_to_the_job_is_not_doubled(self):
        p = self.start_counting()
        os.kill(self.job_of(p), signal.SIGUSR1)
        self.assertEqual(self.received(p), [signal.SIGUSR1])
        p.kill()

    def test_death_of_the_job_by_a_forwarded_signal(self):
        p = self.start_job("sleep", "60")
        self.job_of(p)
        p.send_signal(signal.SIGTERM)
        self.assertEqual(p.wait(timeout=10), 128 + signal.SIGTERM)

    def test_sent_as_the_pager_gets_ready(self):
        with tempfile.TemporaryDirectory() as folder:
            server = self.start(RMEMD, "--listen", f"shm:{folder}/s", "--capacity", "64M")
            server.stderr.readline()
            server.send_signal(signal.SIGSTOP)
            p = self.start_job("sleep", "60",
                               options=("--server", f"shm:{folder}/s", "--remote", "32M"))
            pager = self.pager_of(p)
            wait_for("the pager waits for the server", lambda: state(pager) == "S")
            time.sleep(0.2)
            p.send_signal(signal.SIGSTOP)
            server.send_signal(signal.SIGCONT)
            time.sleep(1)
            p.send_signal(signal.SIGTERM)  # what is said of the pager is read in the same round
            p.send_signal(signal.SIGCONT)
            self.assertEqual(p.wait(timeout=10), 128 + signal.SIGTERM)
            server.terminate()
            server.wait(timeout=10)

    def test_rmem_ignores_what_the_job_ignores(self):
        p = self.start_job("sh", "-c", "trap '' TERM; echo; sleep 0.5; exit 6")
        p.stdout.readline()
        p.send_signal(signal.SIGTERM)
        self.assertEqual(p.wait(timeout=10), 6)

    def test_stop_of_the_job_is_mirrored(self):
        p = self.start_job("sleep", "1")
        job = self.job_of(p)
        os.kill(job, signal.SIGSTOP)
        wait_for("rmem stops", lambda: state(p.pid) == "T")
        self.assertEqual(state(job), "T")
        os.kill(p.pid, signal.SIGCONT)
        wait_for("both go on", lambda: state(p.pid) != "T" and state(job) != "T")
        self.assertEqual(p.wait(timeout=10), 0)

    def test_rmem_goes_on_with_the_job(self):
        p = self.start_job("sleep", "1")
        job = self.job_of(p)
        for _ in range(5):
            os.kill(job, signal.SIGSTOP)
            wait_for("rmem stops", lambda: state(p.pid) == "T")
            os.kill(job, signal.SIGCONT)
            wait_for("rmem goes on", lambda: state(p.pid) != "T")
        self.assertEqual(p.wait(timeout=10), 0)

    def test_stop_sent_to_rmem_reaches_the_job(self):
        # The kernel lets no group stop whose parents are all of other sessions, as ours may be.
        p = self.start_job("sleep", "1", process_group=0)
        job = self.job_of(p)
        os.kill(p.pid, signal.SIGTSTP)
        wait_for("both stop", lambda: state(p.pid) == "T" and state(job) == "T")
        os.kill(p.pid, signal.SIGCONT)
        self.assertEqual(p.wait(timeout=10), 0)

    def test_death_of_a_stopped_job(self):
        p = self.start_job("sleep", "60")
        job = self.job_of(p)
        os.kill(job, signal.SIGSTOP)
        wait_for("rmem stops", lambda: state(p.pid) == "T")
        os.kill(job, signal.SIGKILL)
        os.kill(p.pid, signal.SIGCONT)
        self.assertEqual(p.wait(timeout=10), 137)

    def test_timeout_ends_rmem_and_job(self):
        start = time.monotonic()
        p = subprocess.run(["timeout", "1", RMEM, "run", "--server", "ram", "sleep", "60"],
                           env=self.env, check=False, timeout=20)
        self.assertEqual(p.returncode, 124)
        self.assertLess(time.monotonic() - start, 4)


if __name__ == "__main__":
    main()
