# SPDX-License-Identifier: Apache-2.0
"""rmem pool: a server leaves while the job runs, and is needed no more; another comes."""

import os
import signal
import time

from rmemtest import Case, RMEM, WALK, main, python, wait_for

RMEMD = os.path.join(os.path.dirname(RMEM), "rmemd")


class Pool(Case):
    def server(self, port, capacity="256M"):
        p = self.start(RMEMD, "--listen", f"tcp:127.0.0.1:{port}", "--capacity", capacity)
        p.stderr.readline()
        p.spec = f"tcp:127.0.0.1:{port}"
        return p

    def walker(self, *servers, remote="256M"):
        options = [x for s in servers for x in ("--server", s)]
        p = self.start_job(*python(WALK), options=(*options, "--local", "32M", "--remote", remote))
        self.assertEqual(p.stdout.readline(), b"filled\n", p.stderr)
        return p

    def pool(self, *args, status=0):
        p = self.run_rmem("pool", *args, timeout=60)
        self.assertEqual(p.returncode, status, p.stderr)
        return (p.stderr if status else p.stdout).decode()

    def servers(self, p):
        """number: (state, bytes it holds as shown) of one run."""
        rows = self.pool("ls", "--run", str(p.pid)).splitlines()[1:]
        return {int(r[8:12]): (r[14:23].strip(), r[23:36].strip()) for r in rows}

    def ends_right(self, p):
        os.kill(p.pid, signal.SIGUSR1)
        self.assertEqual(p.stdout.readline(), b"right\n", p.stderr)
        self.assertEqual(p.wait(timeout=30), 0, p.stderr.read())

    def test_a_server_leaves_and_is_not_missed(self):
        a, b = self.server(7811), self.server(7812)
        p = self.walker(a.spec, b.spec)
        wait_for("pages are at the first", lambda: self.servers(p)[1][1] != "0 B")
        self.assertIn(f"{a.spec} has left", self.pool("drain", a.spec))
        self.assertEqual(self.servers(p)[1], ("has left", "0 B"))
        self.assertEqual(self.servers(p)[2][0], "in use")
        self.assertIn("has left", self.pool("drain", "1"), "told twice")
        a.terminate()
        self.assertEqual(a.wait(timeout=5), 0)
        status = self.pool("status")
        self.assertRegex(status, rf"(?m)^no .*{a.spec}$")
        self.assertRegex(status, rf"(?m)^yes .* 256.0 MiB +1  {b.spec}$")
        time.sleep(0.5)
        self.ends_right(p)
        b.terminate()
        b.wait(timeout=5)

    def test_where_the_others_have_no_room_it_stays(self):
        a, b = self.server(7813), self.server(7814)
        p = self.walker(a.spec, b.spec, remote="128M")  # 64 each, and 70 or so are needed
        wait_for("one is full", lambda: self.servers(p)[2][1] != "0 B")
        self.assertIn("have no room for", self.pool("drain", a.spec, status=125))
        self.assertEqual({s for s, _ in self.servers(p).values()}, {"in use"})
        self.ends_right(p)
        for server in (a, b):
            server.terminate()
            server.wait(timeout=5)

    def test_another_comes_in_the_place_of_the_only_one(self):
        a, b = self.server(7815), self.server(7816)
        p = self.walker(a.spec, remote="160M")
        self.assertIn("only server", self.pool("drain", a.spec, status=125))
        self.assertRegex(self.pool("add", b.spec), rf"{b.spec} has come, and keeps up to 160.0 MiB")
        self.assertEqual(self.servers(p)[2][0], "in use")
        self.assertIn(f"{a.spec} has left", self.pool("drain", "1"))
        a.terminate()
        self.assertEqual(a.wait(timeout=5), 0)
        wait_for("pages are at the one that came", lambda: self.servers(p)[2][1] != "0 B")
        self.assertIn("as much again", self.pool("add", "ram", "--size", "1M", status=125))
        self.ends_right(p)
        b.terminate()
        b.wait(timeout=5)

    def test_what_can_not_come_is_said(self):
        a = self.server(7817, capacity="64M")
        p = self.walker("ram")
        for args, said in (((a.spec,), "has 64.0 MiB free, 256.0 MiB wanted: say --size"),
                           (("tcp:127.0.0.1:7999",), "nobody listens there"),
                           (("udp:x",), "no store 'udp'"), (("shm:/none",), "/none"),
                           (("ram", "--size", "0"), "not a usable size"),
                           (("ram", "--size", "1T"), "at most as much again")):
            with self.subTest(args):
                self.assertIn(said, self.pool("add", *args, status=125))
        self.assertEqual(len(self.servers(p)), 1)
        self.assertIn("keeps up to 64.0 MiB", self.pool("add", a.spec, "--size", "64M"))
        self.ends_right(p)
        a.terminate()
        a.wait(timeout=5)

    def test_what_is_wrong_is_said(self):
        self.assertIn("no rmem is running", self.pool("ls") + self.pool("status"))
        p = self.start_job("sleep", "60")
        self.job_of(p)
        for args, said in (((), "ls, status, add or drain is missing"),
                           (("rm",), "drain is missing"), (("drain",), "which server?"),
                           (("add",), "which server?"), (("ls", "--size", "1G"), "belongs to add"),
                           (("ls", "x"), "'x' is too much"),
                           (("drain", "tcp:nobody"), "no run here has a server 'tcp:nobody'"),
                           (("ls", "--run", "1"), "is no running rmem"),
                           (("drain", "ram"), "is its only server")):
            with self.subTest(args):
                self.assertIn(said, self.pool(*args, status=125))
        p.terminate()
        p.wait(timeout=10)


main()
