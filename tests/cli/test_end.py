# SPDX-License-Identifier: Apache-2.0
"""The end: rmem stays until the last process, and leaves nothing when killed."""

import os
import random
import shutil
import signal
import subprocess
import tempfile
import time

from rmemtest import Case, RMEM, children, main, name, python, state, tagged, wait_for

TREE = ("sleep 60 & (sleep 60 & setsid sleep 60 & wait) & "
        "setsid sh -c 'sleep 60 & wait' & echo; wait")
DAEMON = ("import os, sys, time\n"
          "if os.fork(): os._exit(3)\n"
          "os.setsid()\n"
          "if os.fork(): os._exit(0)\n"
          "for fd in range(256):\n"
          "    try: os.close(fd)\n"
          "    except OSError: pass\n"
          "time.sleep(1.0)\n")


class End(Case):
    def timed(self, *cmd, **kw):
        start = time.monotonic()
        p = self.run_job(*cmd, **kw)
        return p, time.monotonic() - start

    def test_daemon_keeps_rmem_and_the_status_is_the_first_ones(self):
        p, seconds = self.timed(*python(DAEMON))
        self.assertEqual(p.returncode, 3, p.stderr)
        self.assertGreater(seconds, 0.9)
        self.assertLess(seconds, 5)

    def test_orphans_keep_rmem(self):
        p, seconds = self.timed(
            "sh", "-c", "exec >&- 2>&-; (sleep 0.7 &); "
            "(setsid sh -c 'sleep 0.5; sleep 0.5' &); exit 2")
        self.assertEqual(p.returncode, 2)
        self.assertGreater(seconds, 0.9)

    def test_many_short_orphans(self):
        p, _ = self.timed("sh", "-c", "exec >&- 2>&-;"
                          "for i in $(seq 200); do (sleep 0.0$((i % 9)) &); done; exit 4")
        self.assertEqual(p.returncode, 4)

    def test_asking_twice_ends_what_was_left_running(self):
        p = self.start_job("sh", "-c", "(setsid sleep 60 >&- 2>&- &); exit 0")
        wait_for("only the orphan is left", lambda: [
            name(c) for c in children(p.pid) if not name(c).startswith("rmem")] == ["sleep"])
        time.sleep(0.2)
        p.send_signal(signal.SIGTERM)
        self.assertIn(b"once more", p.stderr.readline())
        self.assertIsNone(p.poll())
        p.send_signal(signal.SIGTERM)
        self.assertEqual(p.wait(timeout=10), 125)
        self.nothing_left()

    def start_tree(self, options):
        p = self.start_job("sh", "-c", TREE, options=options)
        p.stdout.readline()
        return p

    @staticmethod
    def kill_injector(p):
        for pid in [c for c in children(p.pid) if name(c) == "rmem-injector"]:
            os.kill(pid, signal.SIGKILL)

    def test_kill_of_the_pager_is_survived(self):
        for options in (("--server", "ram"), ("--remote", "64M")):
            p = self.start_job("sh", "-c", "echo; sleep 1; exit 7", options=options)
            p.stdout.readline()
            time.sleep(random.uniform(0, 0.2))
            os.kill(self.pager_of(p), signal.SIGKILL)
            _, err = p.communicate(timeout=10)
            self.assertEqual(p.returncode, 7)
            self.assertIn("rmem: the pager was killed by signal 9: another takes over",
                          err.decode())
            self.nothing_left()

    def test_kill_of_the_pager_stops_the_job_where_no_other_can_go_on(self):
        faults = os.path.join(tempfile.mkdtemp(prefix="test-"), "faults")
        p = self.start_tree(("--remote", "64M", "--server", "ram", "--record", faults))
        time.sleep(random.uniform(0, 0.2))
        os.kill(self.pager_of(p), signal.SIGKILL)
        _, err = p.communicate(timeout=5)
        shutil.rmtree(os.path.dirname(faults))
        self.assertEqual(p.returncode, 125)
        self.assertIn("rmem: job stopped: the pager was killed by signal 9, and no other can"
                      " take over: what was recorded would be lost", err.decode())
        self.nothing_left()

    def test_kill_of_what_places_agents_stops_the_job_loudly(self):
        p = self.start_tree(("--server", "ram"))
        self.kill_injector(p)
        _, err = p.communicate(timeout=5)
        self.assertEqual(p.returncode, 125)
        self.assertIn("rmem: job stopped: what places agents", err.decode())
        self.nothing_left()

    def test_pager_has_a_session_of_its_own(self):
        p = self.start_tree(("--server", "ram"))
        pager = self.pager_of(p)
        self.assertEqual(os.getsid(pager), pager)
        self.assertEqual(os.getpgid(self.job_of(p)), os.getpgid(p.pid))
        p.kill()

    def test_kill_of_the_private_server(self):
        p = self.start_job("sh", "-c", "echo; sleep 1; exit 5", options=("--remote", "64M"))
        p.stdout.readline()
        server = [c for c in children(p.pid) if name(c) == "rmemd"]
        self.assertEqual(len(server), 1)
        os.kill(server[0], signal.SIGKILL)
        _, err = p.communicate(timeout=10)
        self.assertIn(p.returncode, (5, 125))
        if p.returncode == 125:
            self.assertIn(b"rmem: job stopped: ", err)

    def test_kill_of_the_supervisor_leaves_nothing(self):
        for options in (("--server", "ram"), ("--remote", "64M")):
            p = self.start_tree(options)
            time.sleep(random.uniform(0, 0.2))
            p.kill()
            p.wait()
            self.nothing_left()

    def test_kill_of_everything_of_rmem_at_once(self):
        p = self.start_tree(("--remote", "64M"))
        pager = self.pager_of(p)
        p.kill()
        os.kill(pager, signal.SIGKILL)
        p.wait()
        server = [c for c in children(1) if name(c) == "rmemd"]
        wait_for("the private server ends", lambda: all(state(s) is None for s in server), 2)
        for pid in tagged(self.tag):
            os.kill(pid, signal.SIGKILL)

    def test_kill_of_the_supervisor_while_it_starts(self):
        for delay in (0.0, 0.001, 0.002, 0.004, 0.008):
            p = self.start_job("sleep", "60", options=("--remote", "64M"))
            time.sleep(delay)
            p.kill()
            p.wait()
        self.nothing_left()

    def test_fork_storm_can_be_stopped(self):
        code = ("import os, time\n"
                "os.write(1, b'\\n')\n"
                "end = time.time() + 20\n"
                "while time.time() < end:\n"
                "    if os.fork() == 0:\n"
                "        time.sleep(0.05)\n"
                "        os._exit(0)\n"
                "    time.sleep(0.001)\n"
                "    try:\n"
                "        while os.waitpid(-1, os.WNOHANG)[0]: pass\n"
                "    except ChildProcessError: pass\n")
        p = self.start_job(*python(code))
        p.stdout.readline()
        self.kill_injector(p)
        self.assertEqual(p.wait(timeout=6), 125)
        self.nothing_left()

    def test_no_shared_memory_or_socket_files_are_left(self):
        before = set(os.listdir("/dev/shm")) | set(os.listdir("/tmp"))
        self.assertEqual(self.run_job("true", options=("--remote", "64M")).returncode, 0)
        after = set(os.listdir("/dev/shm")) | set(os.listdir("/tmp"))
        self.assertEqual([x for x in after - before if "rmem" in x], [])


class Attach(Case):
    def sleeper(self, seconds="60"):
        return self.start("sleep", seconds)

    def attach(self, pid, *options):
        p = self.start(RMEM, "attach", str(pid), "--server", "ram", *options)
        self.pager_of(p)
        time.sleep(0.2)
        return p

    def refused(self, *args, **kw):
        p = self.run_rmem("attach", *args, **kw)
        self.assertEqual(p.returncode, 125, p.stderr)
        self.assertEqual(len(p.stderr.splitlines()), 1, p.stderr)
        return p.stderr.decode()

    def test_refusals(self):
        kthread = [int(p) for p in os.listdir("/proc") if p.isdigit() and name(p) == "kthreadd"]
        self.assertIn("does not exist", self.refused("4194303"))
        if kthread:
            self.assertIn("kernel", self.refused(str(kthread[0])))
        p = subprocess.run(["sh", "-c", f"exec {RMEM} attach $$"], env=self.env,
                           capture_output=True, check=False)
        self.assertIn(b"rmem itself", p.stderr)
        self.assertEqual(p.returncode, 125)

    def test_other_users_process(self):
        s = self.sleeper()
        p = subprocess.run(["setpriv", "--reuid", "65534", "--clear-groups", RMEM, "attach",
                            str(s.pid)], capture_output=True, env=self.env, check=False)
        self.assertEqual(p.returncode, 125)
        self.assertIn(b"root", p.stderr)
        s.kill()

    def test_process_that_is_managed_already(self):
        p = self.start_job("sh", "-c", "sleep 60 & wait")
        job = self.job_of(p)
        wait_for("its child", lambda: children(job))
        for pid in (job, children(job)[0], p.pid, self.pager_of(p)):
            self.assertIn("already", self.refused(str(pid)))
        p.kill()

    def test_ends_with_the_process(self):
        s = self.sleeper("1")
        p = self.attach(s.pid)
        self.assertEqual(s.wait(timeout=5), 0)
        self.assertEqual(p.wait(timeout=5), 0)

    def test_attached_twice(self):
        s = self.sleeper()
        p = self.attach(s.pid)
        self.assertIn("already", self.refused(str(s.pid)))
        s.kill()
        s.wait()
        self.assertEqual(p.wait(timeout=5), 0)

    def test_second_interrupt_kills_the_job(self):
        s = self.sleeper()
        p = self.attach(s.pid)
        p.send_signal(signal.SIGINT)
        self.assertIn(b"once more", p.stderr.readline())
        self.assertIsNone(s.poll())
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(timeout=5), 125)
        self.assertEqual(s.wait(timeout=5), -signal.SIGKILL)


if __name__ == "__main__":
    main()
