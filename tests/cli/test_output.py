# SPDX-License-Identifier: Apache-2.0
"""Help, version, doctor, stat, --stats, --summary, --json-status-fd."""

import json
import os
import stat
import subprocess
import tempfile

from rmemtest import Case, RMEM, main, wait_for

EXAMPLES = 3
STATS = {
    "faults": {"zero", "standby", "remote", "joined"},
    "pages": {"evicted", "fetched", "zero_elided", "clean_elided"},
    "bytes": {"evicted", "fetched", "zero_elided", "clean_elided"},
    "local": {"cap_bytes", "peak_bytes"},
    "remote": {"cap_bytes", "peak_bytes"},
    "fault_latency_ns": {"p50", "p90", "p99"},
    "processes": {"now", "peak", "managed", "unmanaged"},
    "agents": {"now", "total"},
    "pager": {"rss_peak_bytes"},
}


class Output(Case):
    def test_help_opens_with_three_examples(self):
        for args in (["--help"], ["-h"], ["run", "--help"], ["run", "-h"], ["attach", "-h"],
                     ["stat", "-h"], ["top", "-h"], ["doctor", "-h"], ["help", "stores"]):
            with self.subTest(args):
                p = self.run_rmem(*args)
                lines = p.stdout.decode().splitlines()
                self.assertEqual((p.returncode, p.stderr), (0, b""))
                self.assertEqual(lines[0], "Examples:")
                self.assertTrue(all(x.startswith("  rmem ") for x in lines[1:1 + EXAMPLES]))
                self.assertEqual(lines[1 + EXAMPLES], "")
                self.assertLessEqual(max(map(len, lines)), 80)

    def test_help_of_a_command_is_its_help(self):
        overview = self.run_rmem("--help").stdout
        self.assertEqual(self.run_rmem("help").stdout, overview)
        commands = overview.decode().split("Commands:\n")[1].split("\n\n")[0].splitlines()
        for name in (line.split()[0] for line in commands):
            with self.subTest(name):
                self.assertEqual(self.run_rmem("help", name).stdout,
                                 self.run_rmem(name, "--help").stdout)

    def test_help_stores_lists_every_store(self):
        stores = self.run_rmem("--version").stdout.decode().splitlines()[1].split()
        text = self.run_rmem("help", "stores").stdout.decode()
        features = ("+uffd-move", "+bpf")
        for store in (s[1:] for s in stores if s.startswith("+") and s not in features):
            self.assertRegex(text, rf"(?m)^  {store}[ :(]")

    def test_version_lists_features(self):
        p = self.run_rmem("--version")
        first, second = p.stdout.decode().splitlines()
        self.assertEqual(p.returncode, 0)
        self.assertRegex(first, r"^rmem \d+\.\d+\.\d+$")
        self.assertIn("+ram", second.split())
        self.assertIn("+shm", second.split())

    def test_full_standard_output_is_an_error(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            for args in (["--help"], ["run", "--help"], ["--version"], ["doctor"], ["stat"],
                         ["stat", "--prom"], ["top", "-bn1", "-d0.1"]):
                p = subprocess.run([RMEM, *args], stdout=full, stderr=subprocess.PIPE, check=False)
                self.assertEqual(p.returncode, 125, args)

    def test_doctor(self):
        p = self.run_rmem("doctor", "--json")
        checks = json.loads(p.stdout)
        red = [c for c in checks if c["status"] == "FAIL"]
        self.assertEqual(p.returncode, 1 if red else 0)
        self.assertGreaterEqual({c["check"] for c in checks},
                                {"kernel", "userfaultfd", "locked memory", "map count",
                                 "huge pages", "swap", "BPF", "rmemd"})
        self.assertTrue(all(c["fix"] for c in red))
        self.assertEqual(self.run_rmem("doctor").returncode, p.returncode)

    def test_doctor_sees_what_is_missing(self):
        p = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                            RMEM, "doctor", "--json"], capture_output=True, check=False)
        checks = {c["check"]: c for c in json.loads(p.stdout)}
        self.assertEqual(p.returncode, 1)
        self.assertEqual(checks["userfaultfd"]["status"], "FAIL")
        self.assertIn("setfacl", checks["userfaultfd"]["fix"])
        p = self.run_rmem("doctor", "--json", "--server", "shm:/no/such", "--server", "ram")
        servers = [c["status"] for c in json.loads(p.stdout) if c["check"] == "server"]
        self.assertEqual((p.returncode, servers), (1, ["FAIL", "ok"]))

    def check_stats(self, got):
        self.assertEqual(got["schema"], "rmem.stat/1")
        self.assertGreater(got["wall_ns"], 0)
        for group, keys in STATS.items():
            self.assertGreaterEqual(set(got[group]), keys)

    def test_stats_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "stats.json")
            link = os.path.join(folder, "link")
            with open(path, "w", encoding="utf-8") as f:
                f.write("old")
            os.symlink("stats.json", link)
            p = self.run_job("sh", "-c", "exit 7", options=("--server", "ram", "--stats", link))
            self.assertEqual(p.returncode, 7, p.stderr)
            self.assertEqual(sorted(os.listdir(folder)), ["link", "stats.json"])
            self.assertTrue(os.path.islink(link))
            with open(path, encoding="utf-8") as f:
                got = json.load(f)
            self.check_stats(got)
            self.assertEqual(got["exit_status"], 7)
            self.assertEqual(got["command"], "sh -c exit 7")

    def test_stats_to_what_is_no_file(self):
        with tempfile.TemporaryDirectory() as folder:  # never the real one: it might be replaced
            null = os.path.join(folder, "null")
            os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
            p = self.run_job("true", options=("--server", "ram", "--stats", null))
            self.assertEqual((p.returncode, p.stderr), (0, b""))
            self.assertTrue(stat.S_ISCHR(os.stat(null).st_mode))
        p = self.run_job("true", options=("--server", "ram", "--stats", "/dev/stdout"))
        self.check_stats(json.loads(p.stdout))

    def test_summary(self):
        p = self.run_job("true", options=("--server", "ram", "--summary"))
        lines = p.stderr.decode().splitlines()
        self.assertEqual(p.returncode, 0)
        self.assertIn("local", p.stderr.decode())
        self.assertLessEqual(max(map(len, lines)), 80)

    def status_events(self, *cmd):
        r, w = os.pipe()
        p = self.start(RMEM, "run", "--server", "ram", "--json-status-fd", str(w), "--", *cmd,
                       pass_fds=(w,))
        os.close(w)
        with os.fdopen(r) as f:
            lines = f.read().splitlines()
        p.wait(timeout=10)
        return [json.loads(x) for x in lines]

    def test_json_status_fd(self):
        got = self.status_events("sh", "-c", "kill -TERM $$")
        self.assertEqual([e["event"] for e in got if e["event"] in ("ready", "job", "exit")],
                         ["ready", "job", "exit"])
        self.assertEqual(got[-1], {"event": "exit", "status": 143})

    def test_stat_finds_runs(self):
        p = self.start_job("sleep", "60")
        self.job_of(p)

        def found():
            one = self.run_rmem("stat", "--json", str(p.pid))
            return one.returncode == 0 and json.loads(one.stdout)
        one = wait_for("rmem stat sees it", found)
        self.assertEqual(len(one), 1)
        self.check_stats(one[0])
        self.assertEqual(one[0]["supervisor_pid"], p.pid)
        self.assertIsNone(one[0]["exit_status"])
        pids = [r["supervisor_pid"] for r in json.loads(self.run_rmem("stat", "--json").stdout)]
        self.assertEqual(pids.count(p.pid), 1)
        self.assertIn("sleep 60", self.run_rmem("stat").stdout.decode())
        p.terminate()
        self.assertEqual(p.wait(timeout=10), 143)

    def test_stat_of_what_is_no_rmem(self):
        p = self.run_rmem("stat", str(os.getpid()))
        self.assertEqual(p.returncode, 125)
        self.assertEqual(len(p.stderr.splitlines()), 1)

    def test_private_server_is_announced_in_one_line(self):
        p = self.run_job("true", options=("--remote", "64M"))
        self.assertEqual(p.returncode, 0, p.stderr)
        self.assertEqual(p.stderr.decode(), "rmem: no --server named: a private rmemd on this "
                         "machine keeps up to 64.0 MiB\n")


if __name__ == "__main__":
    main()
