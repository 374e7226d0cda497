# SPDX-License-Identifier: Apache-2.0
"""rmem top on a terminal of 80x24, in batch mode and as JSON; rmem stat -i."""

import json
import os
import re
import signal
import subprocess
import sys
import time

from rmemtest import Case, RMEM, main, python, wait_for
from vt import Terminal

BUSY = ("import time\n"
        "b = bytearray(48 << 20)\n"
        "end = time.monotonic() + 60\n"
        "while time.monotonic() < end:\n"
        "    for i in range(0, len(b), 4096): b[i] = (b[i] + 1) & 255\n")
# A name that clears the screen, sets the title and colours what follows.
HOSTILE = ("import ctypes, time\n"
           "ctypes.CDLL(None).prctl(15, b'\\x1b[2J\\x1b]0;x\\x07\\n\\xff', 0, 0, 0)\n"
           "b = bytearray(8 << 20)\n"
           "time.sleep(60)\n")
RATE = {"schema", "supervisor_pid", "command", "interval_ns", "faults_per_s", "in_bytes_per_s",
        "out_bytes_per_s", "fault_p50_ns", "fault_p99_ns", "local_bytes", "local_cap_bytes",
        "remote_bytes", "remote_cap_bytes", "processes"}
PROCESS = {"pid", "ppid", "comm", "state", "why", "local_bytes", "remote_bytes", "faults",
           "fetched_bytes", "evicted_bytes", "moved_bytes", "faults_per_s", "in_bytes_per_s",
           "out_bytes_per_s"}
HEAD = r"PID JOB/COMM +LOCAL REMOTE FAULT/s +P50 +P99 +IN/s +OUT/s STATE"


class Watched(Case):
    """Each test ends what it started."""

    def setUp(self):
        super().setUp()
        self.terminals = []

    def tearDown(self):
        for t in self.terminals:
            t.close()
        for p in self.started:
            p.terminate()
        for p in self.started:
            p.wait(timeout=10)
        super().tearDown()

    def busy(self):
        p = self.start_job(*python(BUSY), options=("--server", "ram", "--local", "32M",
                                                    "--remote", "128M"))
        wait_for("pages leave", lambda: self.stat(p)["bytes"]["evicted"] > 1 << 20, 30)
        return p

    def stat(self, p):
        one = self.run_rmem("stat", "--json", str(p.pid))
        return json.loads(one.stdout)[0] if one.returncode == 0 else {"bytes": {"evicted": 0}}

    def top(self, *args, rows=24, cols=80, **env):
        env = dict(self.env, TERM="vt100", LC_ALL="C", **env)
        t = Terminal([RMEM, "top", "-d", "0.2", *args], env, rows, cols)
        self.terminals.append(t)
        return t

    def text(self, *args):
        p = self.run_rmem("top", "-b", "-d", "0.3", *args)
        self.assertEqual((p.returncode, p.stderr), (0, b""))
        return p.stdout.decode()


class OnATerminal(Watched):
    def test_eighty_by_twenty_four(self):
        p = self.busy()
        t = self.top(str(p.pid))
        t.expect(HEAD)
        t.expect(r"^ +%d \S.*running$" % p.pid)
        t.expect(r"^ +\d+ +python3.* managed$")
        t.expect(r"Local  \[\|+.*/32\.0M\]  FAULT/s +[1-9]\S* +p50 +\d\S* +p99 +\d")
        t.expect(r"Remote \[.*/128\.0M\]")
        t.expect(r"Faults .*[.:=+*#-] max")
        lines = t.screen.lines()
        self.assertIn("rmem top", lines[0])
        self.assertIn("q Quit", lines[23])
        self.assertLessEqual(t.screen.widest, 80)

    def test_quits_with_the_terminal_as_it_was(self):
        for key in "q", "\x03":
            t = self.top()
            t.expect(HEAD)
            self.assertFalse(t.is_as_before())
            t.send(key)
            self.assertEqual(t.wait(), 0)
            self.assertTrue(t.is_as_before())

    def test_signals_leave_the_terminal_as_it_was(self):
        for sig in signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT:
            t = self.top()
            t.expect(HEAD)
            os.kill(t.pid, sig)
            self.assertEqual(t.wait(), 128 + sig)
            self.assertTrue(t.is_as_before())

    def test_ends_when_the_terminal_goes(self):
        t = self.top()
        t.expect(HEAD)
        os.close(t.fd)
        t.fd = os.open("/dev/null", os.O_RDONLY)
        end = time.monotonic() + 5
        while os.waitpid(t.pid, os.WNOHANG)[0] == 0:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)
        t.status = 0

    def test_never_cleared_while_it_runs(self):
        p = self.busy()
        t = self.top(str(p.pid))
        t.expect(r"^ +\d+ +python3.* managed$")
        clears, sent = t.screen.clears, len(t.raw)
        t.settle(2)
        self.assertEqual(t.screen.clears, clears)
        self.assertGreater(len(t.raw), sent)
        self.assertLess(len(t.raw) - sent, 10 * 24 * 80)  # ten looks: what changed, no more

    def test_resize(self):
        p = self.busy()
        t = self.top(str(p.pid))
        t.expect(HEAD)
        for rows, cols in (40, 132), (10, 60), (3, 10), (1, 1), (24, 80):
            t.resize(rows, cols)
            t.settle(0.5)
        t.expect(HEAD)
        t.expect("q Quit")
        t.send("q")
        self.assertEqual(t.wait(), 0)

    def test_keys(self):
        p = self.busy()
        t = self.top(str(p.pid))
        t.expect("by size")
        for by in ("fault/s", "in/s", "out/s", "pid", "name", "size"):
            t.send("s")
            t.expect("by " + by)
        t.send("S")
        t.expect("by name")
        t.send("p")
        t.expect("PAUSED")
        t.send("p")
        t.send("h")
        t.expect("any key goes back")
        t.expect("select it to see why")
        t.send("x")
        t.expect(HEAD)
        t.send("\x1bOB")  # down, as keypad mode has it
        t.expect(r"^ \d+ python3, managed: ")
        t.send("\x1bOA")
        t.expect(r"since its start: ")
        self.assertNotIn("PAUSED", "\n".join(t.screen.lines()))

    def test_filter(self):
        p = self.busy()
        t = self.top(str(p.pid))
        t.expect(HEAD)
        t.send("Fno such q")
        t.expect("Filter: no such q_")
        t.expect("nothing is called like that")
        t.send("\x7f" * 8 + "\r")
        t.expect("only 'n'")
        t.expect(r"^ +\d+ +python3")
        t.send("\x1b")
        t.settle(0.3)
        self.assertNotIn("only", "\n".join(t.screen.lines()))

    def test_hostile_names(self):
        p = self.start_job(*python(HOSTILE))
        wait_for("it has its name", lambda: any(
            "\\x1b" in x["comm"] for x in self.stat(p).get("process", [])), 10)
        t = self.top(str(p.pid))
        t.expect(r"\d+ +\\x1b\[2J")  # the screen knows no other sequences than ncurses's own
        t.send("\x1bOB")
        t.expect(r"^ \d+ \\x1b\[2J.*watched")
        self.assertNotIn("\x1b]0;", t.raw)

    def test_colour_where_it_is_wanted(self):
        colour = re.compile(r"\x1b\[[0-9;]*3[0-7]m")
        p = self.busy()
        for no_color, expected in ("", True), ("1", False):
            env = dict(self.env, TERM="xterm-256color", LC_ALL="C", NO_COLOR=no_color)
            out = self.raw_output(p, env)
            self.assertIn("managed", out)
            self.assertEqual(bool(colour.search(out)), expected)

    def raw_output(self, p, env):
        """Of a terminal that this test's screen does not know."""
        script = f"{RMEM} top -d 0.2 -n 4 {p.pid}"
        got = subprocess.run([sys.executable, "-c", "import pty, sys; pty.spawn(sys.argv[1:])",
                              *script.split()], env=env, stdin=subprocess.DEVNULL,
                             capture_output=True, timeout=20, check=False)
        return got.stdout.decode(errors="replace")

    def test_unknown_terminal_is_refused(self):
        t = Terminal([RMEM, "top"], dict(self.env, TERM="no-such"))
        self.terminals.append(t)
        self.assertEqual(t.wait(), 125)
        self.assertIn("set TERM, or use -b", t.raw)
        self.assertTrue(t.is_as_before())


class Plain(Watched):
    def test_without_a_terminal_it_says_what_to_do(self):
        p = self.run_rmem("top")
        self.assertEqual(p.returncode, 125)
        self.assertIn("there is no terminal", p.stderr.decode())

    def test_batch(self):
        p = self.busy()
        out = self.text("-n", "2", str(p.pid))
        self.assertEqual(len(re.findall(HEAD, out)), 2)
        self.assertEqual(len(re.findall(rf"^ +{p.pid} .* running$", out, re.M)), 2)
        self.assertNotIn("\x1b", out)
        self.assertLessEqual(max(map(len, out.splitlines())), 80)
        self.assertEqual([x for x in out.splitlines() if x != x.rstrip()], [])

    def test_letters_in_one_word(self):
        p = self.run_rmem("top", "-bn1", "-d0.1")
        self.assertEqual((p.returncode, p.stderr), (0, b""))

    def test_json(self):
        p = self.busy()
        lines = self.text("--json", "-n", "2", str(p.pid)).splitlines()
        self.assertEqual(len(lines), 2)
        for line in lines:
            got = json.loads(line)
            self.assertEqual(got["schema"], "rmem.top/1")
            self.assertAlmostEqual(got["time_s"], time.time(), delta=60)
            self.assertGreater(got["interval_ns"], 2e8)
            run = got["runs"][0]
            self.assertEqual(set(run), RATE - {"schema"} | {"process"})
            self.assertEqual(run["supervisor_pid"], p.pid)
            self.assertGreater(run["faults_per_s"], 0)
            for process in run["process"]:
                self.assertEqual(set(process), PROCESS)
            self.assertIn("managed", [x["state"] for x in run["process"]])

    def test_figures_of_processes_add_up(self):
        p = self.busy()
        got = wait_for("a process has faults", lambda: next(
            (st for st in [self.stat(p)] if sum(x["faults"] for x in st["process"])), None), 20)
        total = got["faults"]["zero"] + got["faults"]["standby"] + got["faults"]["remote"]
        faults = sum(x["faults"] for x in got["process"])
        self.assertLess(faults, 2 * total)
        got = self.stat(p)
        self.assertLessEqual(sum(x["evicted_bytes"] for x in got["process"]),
                             got["bytes"]["evicted"])

    def test_hostile_names_in_json_and_text(self):
        p = self.start_job(*python(HOSTILE))
        named = wait_for("it has its name", lambda: [
            x["comm"] for x in self.stat(p).get("process", []) if "\\x1b" in x["comm"]], 10)
        self.assertEqual(named, ["\\x1b[2J\\x1b]0;x\\x07\\x0a\\xff"])
        out = self.text("-n", "1", str(p.pid))
        self.assertIn("\\x1b[2J", out)
        self.assertNotIn("\x1b", out)

    def test_ended_run(self):
        p = self.run_rmem("top", "-b", "-n", "1", str(os.getpid()))
        self.assertEqual(p.returncode, 125)
        self.assertIn("is no running rmem", p.stderr.decode())

    def test_wrong_options(self):
        for args in (["-d", "0"], ["-d", "x"], ["-d", "nan"], ["-n", "0"], ["-n", "-1"],
                     ["--sort", "x"], ["-x"], ["1", "2"], ["x"]):
            p = self.run_rmem("top", "-b", *args)
            self.assertEqual((p.returncode, p.stdout), (125, b""), args)
            self.assertIn("Try 'rmem top --help'", p.stderr.decode())


class StatInterval(Watched):
    def test_a_line_an_interval(self):
        p = self.busy()
        got = self.run_rmem("stat", "-i", "0.3", "-n", "3", str(p.pid))
        lines = got.stdout.decode().splitlines()
        self.assertEqual((got.returncode, got.stderr), (0, b""))
        self.assertRegex(lines[0], r"PID +LOCAL +REMOTE +FAULT/s +IN/s +OUT/s +P50 +P99 PROCS CO")
        self.assertEqual(len(lines), 4)
        for line in lines[1:]:
            self.assertRegex(line, rf"^ *{p.pid} +\S+M +\S+M +\d")
            self.assertLessEqual(len(line), 80)

    def test_json_lines(self):
        p = self.busy()
        got = self.run_rmem("stat", "-i", "0.3", "-n", "2", "--json", str(p.pid))
        objects = [json.loads(x) for x in got.stdout.splitlines()]
        self.assertEqual(len(objects), 2)
        for o in objects:
            self.assertEqual(set(o), RATE)
            self.assertEqual(o["schema"], "rmem.rate/1")
            self.assertGreater(o["faults_per_s"], 0)
            self.assertGreaterEqual(o["fault_p99_ns"], o["fault_p50_ns"])

    def test_ends_with_the_run(self):
        p = self.start_job("sleep", "1")
        self.job_of(p)
        got = self.run_rmem("stat", "-i", "0.2", str(p.pid), timeout=20)
        self.assertEqual(got.returncode, 0)
        self.assertIn("sleep 1", got.stdout.decode())

    def test_wrong_options(self):
        for args in (["-n", "3"], ["-i", "0"], ["-i", "1", "--prom"], ["--prom", "--json"],
                     ["-i"], ["-i", "1", "-n", "x"]):
            p = self.run_rmem("stat", *args)
            self.assertEqual(p.returncode, 125, args)
            self.assertIn("Try 'rmem stat --help'", p.stderr.decode())


if __name__ == "__main__":
    main()
