# SPDX-License-Identifier: Apache-2.0
"""--metrics of rmem and rmemd, rmem stat --prom, and what docs/metrics.md says of them."""

import contextlib
import os
import re
import signal
import socket
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import promtext
from rmemtest import Case, RMEM, children, main, name, python, wait_for

RMEMD = os.path.join(os.path.dirname(RMEM), "rmemd")
DOC = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/metrics.md")
BUSY = ("import time\n"
        "b = bytearray(48 << 20)\n"
        "end = time.monotonic() + 60\n"
        "while time.monotonic() < end:\n"
        "    for i in range(0, len(b), 4096): b[i] = (b[i] + 1) & 255\n")
LEAK = ("import os\n"
        "fds = {os.readlink('/proc/self/fd/' + f) for f in os.listdir('/proc/self/fd')\n"
        "       if os.path.exists('/proc/self/fd/' + f)}\n"
        "print([f for f in fds if 'socket' in f])\n")


def get(url, method="GET"):
    request = urllib.request.Request(url, method=method, data=b"x" if method == "POST" else None)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status, answer.headers, answer.read().decode()


class Metrics(Case):
    def tearDown(self):
        for p in self.started:
            p.terminate()
        for p in self.started:
            p.wait(timeout=10)
        super().tearDown()

    def served(self, *options, job=("sleep", "60")):
        """A job with --metrics, and the address it serves at."""
        p = self.start_job(*job, options=("--server", "ram", "--metrics", "0", *options))
        line = p.stderr.readline().decode()
        m = re.fullmatch(r"rmem: metrics at (http://127\.0\.0\.1:\d+/metrics)\n", line)
        self.assertTrue(m, line)
        return p, m.group(1)

    def families(self, url):
        status, headers, text = get(url)
        self.assertEqual(status, 200)
        self.assertEqual(headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
        return promtext.parse(text)

    def test_scraped_while_a_job_runs(self):
        _, url = self.served("--local", "32M", "--remote", "128M", job=python(BUSY))

        def moving():
            got = self.families(url)
            return promtext.value(got, "rmem_fetched_bytes_total") > 1 << 20 and got
        first = wait_for("pages come back", moving, 30)
        time.sleep(0.3)
        second = self.families(url)
        self.assertEqual(promtext.value(first, "rmem_local_limit_bytes"), 32 << 20)
        self.assertEqual(promtext.value(first, "rmem_remote_limit_bytes"), 128 << 20)
        self.assertEqual(promtext.value(first, "rmem_processes", 'state="managed"'), 1)
        for family in first:
            for n, labels, value in first[family]["samples"]:
                if first[family]["type"] != "gauge":
                    self.assertGreaterEqual(promtext.value(second, n, labels), value, n)
        kinds = sum(v for _, _, v in second["rmem_faults_total"]["samples"])
        count = promtext.value(second, "rmem_fault_duration_seconds_count")
        self.assertLess(abs(kinds - count), 100)

    def test_only_metrics_only_get(self):
        _, url = self.served()
        self.assertEqual(get(url[:-len("metrics")])[0], 200)
        self.assertEqual(get(url, "HEAD")[2], "")
        for path, method, status in (("/x", "GET", 404), ("/metrics", "POST", 405),
                                     ("/metrics", "DELETE", 405), ("/../etc/passwd", "GET", 404)):
            with self.subTest(path, method=method):
                with self.assertRaises(urllib.error.HTTPError) as e:
                    get(url[:-len("/metrics")] + path, method)
                self.assertEqual(e.exception.code, status)
                e.exception.close()

    def exporter_of(self, p):
        return wait_for("its process is there", lambda: [c for c in children(p.pid) if
                                                         name(c) == "rmem-metrics"])[0]

    def test_its_process_has_no_rights_and_little_open(self):
        p, url = self.served()
        pid = self.exporter_of(p)
        get(url)
        with open(f"/proc/{pid}/status", encoding="utf-8") as f:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        self.assertEqual(status["CapEff"], "0" * 16)
        self.assertEqual(status["NoNewPrivs"], "1")
        self.assertNotIn("0", status["Uid"].split())
        links = [os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")]
        self.assertEqual(len([x for x in links if "/memfd:rmem-state" in x]), 1)
        self.assertFalse([x for x in links if "userfaultfd" in x])
        with open(f"/proc/{pid}/maps", encoding="utf-8") as f:
            self.assertNotIn("rmem-state", f.read())
        with open(f"/proc/{pid}/fdinfo/4", encoding="utf-8") as f:
            self.assertEqual(int(re.search(r"flags:\s*(\d+)", f.read()).group(1), 8) & 3, 0)

    def test_job_goes_on_without_it(self):
        p, url = self.served(job=("sh", "-c", "sleep 1; exit 3"))
        os.kill(self.exporter_of(p), signal.SIGKILL)
        self.assertEqual(p.wait(timeout=10), 3)
        self.assertIn("no longer served", p.stderr.read().decode())
        with self.assertRaises(urllib.error.URLError):
            get(url)

    def test_ends_with_the_job_and_with_the_supervisor(self):
        p, url = self.served(job=("true",))
        self.assertEqual(p.wait(timeout=10), 0)
        self.nothing_left()
        p, url = self.served()
        get(url)
        p.kill()
        p.wait()
        self.nothing_left(5)

    def test_job_has_nothing_of_it(self):
        p, _ = self.served(job=python(LEAK))
        self.assertEqual(p.communicate(timeout=10)[0], b"[]\n")

    def test_not_counted_as_the_jobs(self):
        _, url = self.served()
        got = wait_for("the job is counted", lambda: (f := self.families(url)) and promtext.value(
            f, "rmem_processes", 'state="watched"') and f)
        self.assertEqual(promtext.value(got, "rmem_processes", 'state="watched"'), 1)

    def test_taken_port_starts_nothing(self):
        with socket.create_server(("127.0.0.1", 0)) as s:
            port = s.getsockname()[1]
            p = self.run_job("touch", "/tmp/" + self.tag, options=("--metrics", str(port)))
        self.assertEqual(p.returncode, 125)
        self.assertIn("choose another port", p.stderr.decode())
        self.assertFalse(os.path.exists("/tmp/" + self.tag))

    def test_half_a_request_keeps_nobody_waiting(self):
        _, url = self.served()
        port = int(re.search(r":(\d+)/", url).group(1))
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
        for s in idle:
            s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: ")
        self.families(url)
        for s in idle:
            with contextlib.suppress(ConnectionError):  # it may hang up first
                s.sendall(b"\xff\0" * 65536)
            s.close()
        self.families(url)

    # ---- stat --prom, rmemd, the document ----

    def prom(self, *args):
        p = self.run_rmem("stat", "--prom", *args)
        self.assertEqual((p.returncode, p.stderr), (0, b""))
        return promtext.parse(p.stdout.decode())

    def test_stat_prom_sums_runs(self):
        a = self.start_job("sleep", "60", options=("--server", "ram", "--local", "32M"))
        b = self.start_job("sleep", "60", options=("--server", "ram", "--local", "64M"))
        self.job_of(a)
        self.job_of(b)
        one = self.prom(str(a.pid))
        self.assertEqual(promtext.value(one, "rmem_local_limit_bytes"), 32 << 20)
        self.assertGreaterEqual(promtext.value(self.prom(), "rmem_local_limit_bytes"), 96 << 20)
        self.assertGreaterEqual(promtext.value(self.prom(), "rmem_runs"), 2)

    def server(self, folder):
        path = os.path.join(folder, "sock")
        p = self.start(RMEMD, "--listen", "shm:" + path, "--capacity", "256M", "--metrics", "0")
        m = re.search(r"metrics at (http://\S+)", p.stderr.readline().decode())
        wait_for("it listens", lambda: os.path.exists(path))
        return p, "shm:" + path, m.group(1)

    def test_rmemd(self):
        with tempfile.TemporaryDirectory() as folder:
            p, spec, url = self.server(folder)
            self.assertEqual(promtext.value(self.families(url), "rmemd_leased_bytes"), 0)
            job = self.start_job("sleep", "60", options=("--server", spec, "--remote", "128M"))
            self.job_of(job)
            got = self.families(url)
            self.assertEqual(promtext.value(got, "rmemd_capacity_bytes"), 256 << 20)
            self.assertEqual(promtext.value(got, "rmemd_leased_bytes"), 128 << 20)
            self.assertEqual(promtext.value(got, "rmemd_clients"), 1)
            self.assertEqual(promtext.value(got, "rmemd_requests_total", 'op="hello"'), 1)
            refused = self.run_job("true", options=("--server", spec, "--remote", "200M"))
            self.assertEqual(refused.returncode, 125)
            self.assertEqual(promtext.value(self.families(url), "rmemd_requests_refused_total",
                                            'op="hello"'), 1)
            job.terminate()
            job.wait(timeout=10)
            wait_for("all is given back", lambda: promtext.value(
                self.families(url), "rmemd_leased_bytes") == 0)
            p.terminate()
            self.assertEqual(p.wait(timeout=10), 0)

    def test_every_metric_is_in_the_document_and_the_reverse(self):
        with open(DOC, encoding="utf-8") as f:
            documented = re.findall(r"^\| `(\w+)` \| (\w+) \|", f.read(), re.M)
        with tempfile.TemporaryDirectory() as folder:
            _, _, url = self.server(folder)
            printed = {**self.prom(), **self.families(url)}
        self.assertEqual(sorted(documented), sorted((f, printed[f]["type"]) for f in printed))


class Reader(unittest.TestCase):
    """The strict reader is strict."""

    def test_what_is_wrong_is_found(self):
        good = '# HELP a_total x\n# TYPE a_total counter\na_total{k="v"} 1\n'
        hist = ('# HELP h x\n# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\n'
                "h_sum 3\nh_count 2\n")
        promtext.parse(good + hist)
        for old, new in ((" 1\n", " one\n"), ("_total ", " "), ("counter", "count"),
                         ('"v"', '"v'), ('"v"', r'"\v"'), ("# HELP a_total x\n", ""),
                         ('"1"} 1', '"1"} 3'), ("h_count 2", "h_count 1"), ("h_sum 3\n", ""),
                         ('h_bucket{le="+Inf"} 2\n', ""), ('a_total{k="v"} 1\n', "")):
            with self.subTest(old):
                self.assertIn(old, good + hist)
                with self.assertRaises(AssertionError):
                    promtext.parse((good + hist).replace(old, new))
        with self.assertRaises(AssertionError):
            promtext.parse(good + good)


if __name__ == "__main__":
    main()
