# SPDX-License-Identifier: Apache-2.0
"""rmem ctl: the local cap moves while the job runs, and the job notices nothing but time."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from rmemtest import Case, RMEM, WALK, main, python, wait_for

RMEMD = os.path.join(os.path.dirname(RMEM), "rmemd")

class Ctl(Case):
    def walker(self):
        p = self.start_job(*python(WALK), options=("--server", "ram", "--local", "64M",
                                                   "--remote", "256M"))
        self.assertEqual(p.stdout.readline(), b"filled\n")
        return p

    def local(self, p):
        run = json.loads(self.run_rmem("stat", "--json", str(p.pid)).stdout)[0]
        return run["local"]

    def ctl(self, p, size):
        return self.run_rmem("ctl", str(p.pid), "--local", size)

    def refused(self, *args, **kw):
        p = self.run_rmem("ctl", *args, **kw)
        self.assertEqual(p.returncode, 125, p.stderr)
        return p.stderr.decode()

    def test_lowered_and_raised(self):
        p = self.walker()
        q = self.ctl(p, "24M")
        self.assertEqual((q.returncode, q.stdout.decode()),
                         (0, f"rmem {p.pid}: local cap 24.0 MiB, was 64.0 MiB\n"), q.stderr)
        wait_for("what is too much leaves", lambda: self.local(p)["bytes"] <= 26 << 20, 20)
        self.assertEqual(self.local(p)["cap_bytes"], 24 << 20)
        q = self.ctl(p, "200M")
        self.assertEqual(q.returncode, 0, q.stderr)
        wait_for("the job grows back", lambda: self.local(p)["bytes"] >= 90 << 20, 30)
        os.kill(p.pid, signal.SIGUSR1)
        self.assertEqual(p.stdout.readline(), b"right\n")
        self.assertEqual(p.wait(timeout=20), 0, p.stderr.read())

    def test_a_run_that_stands_still_answers_when_it_goes_on(self):
        p = self.start_job("sleep", "60", options=("--server", "ram", "--local", "128M",
                                                   "--remote", "128M"))
        self.job_of(p)
        pager = self.pager_of(p)
        os.kill(pager, signal.SIGSTOP)
        self.assertIn("does not answer", self.refused(str(p.pid), "--local", "64M"))
        os.kill(pager, signal.SIGCONT)
        wait_for("it has been heard", lambda: self.local(p)["cap_bytes"] == 64 << 20)
        p.terminate()
        p.wait(timeout=10)

    def test_what_is_wrong_is_said(self):
        p = self.start_job("sleep", "60", options=("--server", "ram", "--local", "1G",
                                                   "--remote", "1G"))
        self.job_of(p)
        pid = str(p.pid)
        for args, said in (((), "a process number is missing"), (("x",), "not a process number"),
                           ((pid,), "nothing to change"), ((pid, pid), "too much"),
                           ((pid, "--local", "1M"), "the smallest cap is 16M"),
                           ((pid, "--local", "2Q"), "2Q"),
                           ((pid, "--local", "100M"), "at least --local 128.0 MiB"),
                           (("1", "--local", "64M"), "is no running rmem"),
                           (("4194303", "--local", "64M"), "is no running rmem")):
            with self.subTest(args):
                self.assertIn(said, self.refused(*args))
        p.terminate()
        p.wait(timeout=10)
        self.assertIn("is no running rmem", self.refused(pid, "--local", "64M"))

    def test_what_the_servers_have_no_room_for_stays(self):
        p = self.start_job(*python(WALK), options=("--server", "ram", "--local", "128M",
                                                   "--remote", "32M"))
        self.assertEqual(p.stdout.readline(), b"filled\n")
        wait_for("all is here", lambda: self.local(p)["bytes"] > 90 << 20)
        self.assertIn("its servers have no room for the rest",
                      self.refused(str(p.pid), "--local", "48M"))
        p.kill()

    def test_only_who_may_take_control_of_it(self):
        p = self.start_job("sleep", "60")
        self.job_of(p)
        q = subprocess.run(["setpriv", "--reuid", "65534", "--clear-groups", RMEM, "ctl",
                            str(p.pid), "--local", "64M"], capture_output=True, env=self.env,
                           check=False)
        self.assertEqual(q.returncode, 125)
        self.assertIn(b"Permission denied", q.stderr)
        time.sleep(0.2)
        self.assertNotEqual(self.local(p)["cap_bytes"], 64 << 20)
        p.terminate()
        p.wait(timeout=10)


MEMINFO = """MemTotal:       {total} kB
MemFree:        {free} kB
MemAvailable:   {free} kB
SwapTotal:             0 kB
"""


class Auto(Case):
    """The host is what a file says that lies over /proc/meminfo, for rmem alone."""

    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.host(1024)

    def host(self, available_mib):
        """Of 4 GiB; the margin is 256 MiB."""
        with open(f"{self.folder}/meminfo", "a+", encoding="ascii") as f:
            f.truncate(0)
            f.write(MEMINFO.format(total=4 << 20, free=available_mib << 10))

    def run_on_host(self, *options):
        p = self.start("unshare", "--mount", "sh", "-c",
                       f"mount --bind {self.folder}/meminfo /proc/meminfo && exec \"$@\"", "sh",
                       RMEM, "run", "--server", f"file:{self.folder}", "--remote", "256M",
                       *options, "--", *python(WALK))
        self.assertEqual(p.stdout.readline(), b"filled\n", p.stderr)
        return p

    def local(self, p):
        return json.loads(self.run_rmem("stat", "--json", str(p.pid)).stdout)[0]["local"]

    def ends_right(self, p):
        os.kill(p.pid, signal.SIGUSR1)
        self.assertEqual(p.stdout.readline(), b"right\n")
        self.assertEqual(p.wait(timeout=30), 0, p.stderr.read())

    def test_gives_back_and_grows_again(self):
        p = self.run_on_host()
        local = self.local(p)
        self.assertEqual((local["cap"], local["cap_bytes"]), ("auto", 512 << 20))
        wait_for("all is here", lambda: self.local(p)["bytes"] > 90 << 20)
        self.host(100)
        wait_for("it gives back", lambda: self.local(p)["bytes"] <= 70 << 20, 20)
        self.host(3000)
        wait_for("it grows again", lambda: self.local(p)["bytes"] >= 120 << 20, 30)
        self.ends_right(p)

    def test_a_size_is_kept_until_auto_is_asked_for(self):
        p = self.run_on_host("--local", "128M")
        self.host(10)
        time.sleep(1.5)
        self.assertEqual(self.local(p)["cap_bytes"], 128 << 20)
        q = self.run_rmem("ctl", str(p.pid), "--local", "auto")
        self.assertEqual((q.returncode, q.stdout.decode()),
                         (0, f"rmem {p.pid}: local cap is what the host can spare\n"), q.stderr)
        wait_for("it gives back", lambda: self.local(p)["cap_bytes"] <= 20 << 20, 20)
        q = self.run_rmem("ctl", str(p.pid), "--local", "96M")
        self.assertEqual(q.returncode, 0, q.stderr)
        time.sleep(1.5)
        self.assertEqual(self.local(p)["cap_bytes"], 96 << 20)
        self.ends_right(p)

    def test_not_where_remote_is_here(self):
        p = self.start_job("sleep", "60")
        self.job_of(p)
        q = self.run_rmem("ctl", str(p.pid), "--local", "auto")
        self.assertEqual(q.returncode, 125)
        self.assertIn(b"on this machine, too", q.stderr)
        p.terminate()
        p.wait(timeout=10)
        server = self.start(RMEMD, "--listen", f"shm:{self.folder}/s", "--capacity", "64M")
        server.stderr.readline()
        p = self.start_job("sleep", "60", options=("--server", f"shm:{self.folder}/s",
                                                   "--local", "64M", "--remote", "32M"))
        self.job_of(p)
        self.assertEqual(self.local(p)["cap"], "fixed")
        for x in (p, server):
            x.terminate()
            x.wait(timeout=10)


GROUPS = "/sys/fs/cgroup/memory"
BALLOON = """
import sys, time
b = []
for i in range(int(sys.argv[1]) // 8):  # 100 MiB/s, on a machine that is busy otherwise
    b.append(bytearray(8 << 20))
    time.sleep(0.08)
print("full", flush=True)
time.sleep(60)
"""


@unittest.skipUnless(os.access(f"{GROUPS}/cgroup.procs", os.W_OK), "needs cgroup v1, memory, and root")
class AutoInGroup(Case):
    """A control group is all the memory there is: what runs beside the job in it gets
    what it needs, and nobody is killed."""

    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(dir="/var/tmp")
        self.addCleanup(shutil.rmtree, self.folder)
        self.group = f"{GROUPS}/rmem-test-ctl-{os.getpid()}"
        os.mkdir(self.group)
        self.addCleanup(self.remove_group)
        self.put("memory.limit_in_bytes", 512 << 20)

    def put(self, name, value):
        with open(f"{self.group}/{name}", "w", encoding="ascii") as f:
            f.write(str(value))

    def remove_group(self):
        wait_for("the group is empty", self.try_to_remove, 10)

    def try_to_remove(self):
        try:
            os.rmdir(self.group)
        except OSError:
            return False
        return True

    def in_group(self, *argv):
        return self.start("sh", "-c", f"echo $$ > {self.group}/cgroup.procs && exec \"$@\"", "sh",
                          *argv)

    def local(self, p):
        return json.loads(self.run_rmem("stat", "--json", str(p.pid)).stdout)[0]["local"]

    def killed(self):
        with open(f"{self.group}/memory.oom_control", encoding="ascii") as f:
            return "oom_kill 0" not in f.read()

    def test_gives_back_and_grows_again(self):
        p = self.in_group(RMEM, "run", "--server", f"file:{self.folder}", "--remote", "256M", "--",
                          *python(WALK))
        self.assertEqual(p.stdout.readline(), b"filled\n", p.stderr)
        local = self.local(p)
        self.assertEqual(local["cap"], "auto")
        self.assertTrue(200 << 20 <= local["cap_bytes"] <= 256 << 20, local)
        had = local["bytes"]
        self.assertGreater(had, 90 << 20)
        q = self.in_group(*python(BALLOON), "400")
        self.assertEqual(q.stdout.readline(), b"full\n", q.stderr)
        wait_for("it gave back", lambda: self.local(p)["bytes"] <= had - (30 << 20), 20)
        q.kill()
        q.wait(timeout=10)
        wait_for("it grows again", lambda: self.local(p)["bytes"] >= had - (8 << 20), 60)
        os.kill(p.pid, signal.SIGUSR1)
        self.assertEqual(p.stdout.readline(), b"right\n")
        self.assertEqual(p.wait(timeout=60), 0, p.stderr.read())
        self.assertFalse(self.killed())


main()
