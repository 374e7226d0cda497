# SPDX-License-Identifier: Apache-2.0
"""The job sees what it would see without rmem."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time

from rmemtest import Case, RMEM, main, python

FDS = python("import os\n"
             "d = '/proc/self/fd'\n"
             "l = []\n"
             "for f in sorted(map(int, os.listdir(d))):\n"
             "    try: l.append((f, os.readlink(f'{d}/{f}')))\n"
             "    except OSError: pass\n"
             "os.write(7, repr(l).encode())\n")
SIGNALS = ("grep", "-E", "^(Sig(Blk|Ign|Cgt)|NoNewPrivs|Cap)", "/proc/self/status")


class Transparent(Case):
    def both(self, cmd, **kw):
        """Output of the command alone and under rmem."""
        alone = subprocess.run(cmd, capture_output=True, env=self.env, check=False, **kw)
        under = self.run_job(*cmd, **kw)
        self.assertEqual(alone.returncode, under.returncode, under.stderr)
        return alone.stdout, under.stdout

    def test_exit_status(self):
        for code in (0, 1, 3, 124, 125, 255):
            self.assertEqual(self.run_job("sh", "-c", f"exit {code}").returncode, code)

    def test_exit_status_with_a_private_server(self):
        p = self.run_job("sh", "-c", "exit 3", options=("--remote", "64M"))
        self.assertEqual(p.returncode, 3)

    def test_exit_status_of_a_signal(self):
        for sig in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGPIPE):
            p = self.run_job("sh", "-c", f"kill -{int(sig)} $$")
            self.assertEqual(p.returncode, 128 + sig)

    def test_script_without_interpreter_line(self):
        path = "/tmp/rmem-cli-" + self.tag
        with open(path, "w", encoding="utf-8") as f:
            f.write("exit 9\n")
        os.chmod(path, 0o755)
        try:
            self.assertEqual(self.run_job(path).returncode, 9)
        finally:
            os.unlink(path)

    def test_options_of_the_job_are_its_own(self):
        p = self.run_rmem("run", "--server", "ram", "echo", "--local", "-h", "--")
        self.assertEqual(p.stdout, b"--local -h --\n")

    def test_streams_byte_for_byte(self):
        data = os.urandom(1 << 20)
        p = subprocess.run([RMEM, "run", "--server", "ram", "cat"], input=data,
                           capture_output=True, env=self.env, timeout=30, check=False)
        self.assertEqual(p.stdout, data)
        self.assertEqual(p.stderr, b"")

    def test_arguments_and_environment_byte_for_byte(self):
        args = [bytes(range(1, 256)), b"", b"a b", b"\xff\xfe", b"--", b"-h"]
        code = "import os,sys; sys.stdout.buffer.write(b'|'.join(map(os.fsencode, sys.argv[1:])))"
        p = self.run_job(sys.executable, "-c", code, *args)
        self.assertEqual(p.stdout, b"|".join(args))
        p = subprocess.run([RMEM, "run", "--server", "ram", "env", "-0"], capture_output=True,
                           env={"A": "\udcff\n", "_X": ""}, check=False)
        self.assertEqual(sorted(p.stdout.split(b"\0")), [b"", b"A=\xff\n", b"_X="])

    def descriptors(self, cmd, closed):
        r, w = os.pipe()

        def prepare():
            os.dup2(w, 7)
            for fd in closed:
                os.close(fd)
        p = subprocess.Popen(cmd, preexec_fn=prepare, pass_fds=(7,), env=self.env,
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
        os.close(w)
        with os.fdopen(r) as f:
            text = f.read()
        self.assertEqual(p.wait(timeout=30), 0)
        return [x for x in eval(text) if x[0] != 7]

    def test_descriptors(self):
        os.dup2(0, 7)
        for closed in ((), (0,), (1,), (2,), (0, 1, 2)):
            for options in (("--server", "ram"), ("--remote", "64M")):
                with self.subTest((closed, options)):
                    alone = self.descriptors(FDS, closed)
                    under = self.descriptors((RMEM, "run", *options, "--", *FDS), closed)
                    self.assertEqual(alone, under)
        os.close(7)

    def test_signals_group_and_session(self):
        for cmd in (SIGNALS, ("nohup", *SIGNALS)):
            alone, under = self.both(cmd)
            self.assertEqual(alone, under)
        self.assertEqual(*self.both(("sh", "-c", "cut -d' ' -f5-8 /proc/$$/stat")))
        self.assertEqual(*self.both(("sh", "-c", "ulimit -a; umask; pwd; "
                                     "cat /proc/self/oom_score_adj")))

    def test_signals_ignored_and_blocked_stay_so(self):
        def prepare():
            for sig in (signal.SIGCHLD, signal.SIGHUP, signal.SIGPIPE, signal.SIGTTOU):
                signal.signal(sig, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR2, signal.SIGCONT))
        alone, under = self.both(SIGNALS, preexec_fn=prepare, restore_signals=False)
        self.assertEqual(alone, under)

    def test_ignored_sigchld_does_not_lose_the_status(self):
        p = self.run_job("sh", "-c", "exit 5", preexec_fn=lambda: signal.signal(
            signal.SIGCHLD, signal.SIG_IGN))
        self.assertEqual(p.returncode, 5)

    def test_closed_standard_error_stays_silent(self):
        p = self.run_job("sh", "-c", "exit 4", options=("--remote", "64M", "--summary"),
                         preexec_fn=lambda: os.close(2))
        self.assertEqual(p.returncode, 4)

    def test_no_descriptor_of_rmem_becomes_standard_output(self):
        path = "/tmp/rmem-cli-" + self.tag
        p = self.start(RMEM, "run", "--remote", "64M", "--summary", "--stats", path, "--", "true",
                       stdin=None, stdout=None, stderr=None,
                       preexec_fn=lambda: os.closerange(0, 3))
        self.assertEqual(p.wait(timeout=20), 0)
        with open(path, encoding="utf-8") as f:
            self.assertEqual(json.load(f)["command"], "true")
        os.unlink(path)

    def test_full_pipe_on_standard_error_does_not_hold_the_job(self):
        r, w = os.pipe()
        os.set_blocking(w, False)
        try:
            while os.write(w, b"x" * 4096):
                pass
        except BlockingIOError:
            pass
        os.set_blocking(w, True)
        path = "/tmp/rmem-cli-" + self.tag
        start = time.monotonic()
        p = self.start(RMEM, "run", "--server", "ram", "--summary", "--", "touch", path, stderr=w)
        self.assertEqual(p.wait(timeout=10), 0)
        self.assertLess(time.monotonic() - start, 6)
        os.unlink(path)
        os.close(r)
        os.close(w)

    def test_children_from_before_are_not_the_jobs(self):
        code = f"sleep 30 & echo $!; exec {RMEM} run --server ram true"
        start = time.monotonic()
        p = self.start("sh", "-c", code)
        pid = int(p.stdout.readline())
        self.assertEqual(p.wait(timeout=20), 0)
        self.assertLess(time.monotonic() - start, 5)
        os.kill(pid, 0)
        os.kill(pid, signal.SIGKILL)

    def test_no_new_privileges_and_dumpable_are_untouched(self):
        libc = ctypes.CDLL(None)
        self.assertEqual(libc.prctl(3, 0, 0, 0, 0), 1)
        code = ("import ctypes; c = ctypes.CDLL(None); "
                "print(c.prctl(3,0,0,0,0), c.prctl(37,0,0,0,0))")
        self.assertEqual(*self.both(python(code)))


if __name__ == "__main__":
    main()
