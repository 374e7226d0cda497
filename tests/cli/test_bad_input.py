# SPDX-License-Identifier: Apache-2.0
"""Whatever is wrong with a command line: one line that names it and the remedy."""

import os
import socket
import subprocess
import tempfile
import time

from rmemtest import Case, RMEM, main

USAGE = [
    ["run", "--bogus", "true"],
    ["run", "-x", "true"],
    ["run", "--loca", "1G", "true"],
    ["run", "--local", "1G", "--local", "1G", "true"],
    ["run", "--summary", "--summary", "true"],
    ["run", "--summary=yes", "true"],
    ["run", "--stats", "a", "--stats", "a", "true"],
    ["run", "--local"],
    ["run", "--stats", "", "true"],
    ["run"],
    ["run", "--"],
    ["run", "--server", "", "true"],
    ["run", "--server", "nostore:x", "true"],
    ["run", "--server", "mirror(ram", "true"],
    ["run", "--server", "ram)", "true"],
    ["run", "--json-status-fd", "77", "true"],
    ["run", "--json-status-fd", "-1", "true"],
    ["run", "--json-status-fd", "x", "true"],
    ["run", "--on-loss", "panic", "true"],
    ["attach"],
    ["attach", "x"],
    ["attach", "0"],
    ["attach", "-1"],
    ["attach", "1", "2"],
    ["attach", "1", "--local", "64Q"],
    ["attach", "--local", "1G", "1", "--local", "1G"],
    ["stat", "x"],
    ["stat", "1", "2"],
    ["stat", "--local", "1G"],
    ["doctor", "x"],
    ["doctor", "--bogus"],
    ["help", "nothing"],
    ["help", "run", "stat"],
]
SIZES = ["0", "-1", "64Q", "1e99", "", "G", "1.2.3G", "99999999999999999999", "0x10", "1 G B",
         "nan", "+5G"]
LOCAL = SIZES + ["15M", "0%", "101%", "-5%", "%", "1000000%", "50%%"]
REMOTE = SIZES + ["50%", "1K"]


class BadInput(Case):
    def refused(self, args, status=125, lines=2, **kw):
        p = self.run_rmem(*args, **kw)
        text = p.stderr.decode()
        self.assertEqual(p.returncode, status, text)
        self.assertEqual(p.stdout, b"")
        self.assertEqual(len(text.splitlines()), lines, text)
        self.assertTrue(text.startswith("rmem"), text)
        return text

    def usage(self, args):
        text = self.refused(args)
        self.assertTrue(text.startswith(f"rmem {args[0]}: "), text)
        self.assertEqual(text.splitlines()[1], f"Try 'rmem {args[0]} --help'")

    def test_mistakes_on_the_command_line(self):
        for args in USAGE:
            with self.subTest(args):
                self.usage(args)

    def test_sizes(self):
        for option, values in (("--local", LOCAL), ("--remote", REMOTE)):
            for value in values:
                with self.subTest(option + " " + value):
                    self.usage(["run", option, value, "true"])
                    self.usage(["run", f"{option}={value}", "true"])

    def test_no_or_unknown_command_of_rmem(self):
        for args in ([], ["frobnicate"], ["--bogus"], [""]):
            with self.subTest(args):
                text = self.refused(args)
                self.assertEqual(text.splitlines()[1], "Try 'rmem --help'")

    def test_command_that_is_missing(self):
        for cmd in ("no-such-command", "./no/such", "", "/etc/passwd/x"):
            with self.subTest(cmd):
                self.refused(["run", "--", cmd], status=127, lines=1)

    def test_command_that_is_not_executable(self):
        for cmd in ("/etc/passwd", "/tmp", "."):
            with self.subTest(cmd):
                self.refused(["run", "--", cmd], status=126, lines=1)

    def test_interpreter_that_is_missing(self):
        with tempfile.TemporaryDirectory() as folder:
            script = os.path.join(folder, "script")
            with open(script, "w", encoding="utf-8") as f:
                f.write("#!/no/such/interpreter\n")
            os.chmod(script, 0o755)
            self.refused(["run", "--server", "ram", script], status=127, lines=1)

    def test_private_server_larger_than_the_machine(self):
        text = self.refused(["run", "--remote", "900T", "true"], lines=1)
        self.assertIn("at most --remote", text)
        self.assertIn("--server", text)

    def test_stats_file_that_cannot_be_made(self):
        for path in ("/no/such/folder/x", "/tmp", "/proc/x"):
            with self.subTest(path):
                self.refused(["run", "--stats", path, "touch", "/tmp/" + self.tag], lines=1)
                self.assertFalse(os.path.exists("/tmp/" + self.tag))

    def test_server_that_is_absent(self):
        self.refused(["run", "--server", "shm:/no/such/socket", "--remote", "64M", "true"], lines=1)

    def test_file_that_cannot_be_a_server(self):
        small = "file:/var/tmp,size=8M"
        for servers, said in ((["file:relative"], "needs a path"),
                              (["file:/etc/passwd"], "is not overwritten"),
                              (["file:/no/such/folder/x"], "name a new file"),
                              (["file:/var/tmp,size=x"], "is not a size"),
                              (["file:/var/tmp,speed=9"], "no more than a size"),
                              ([small], "less than the 64.0 MiB"),
                              ([small, small], "the sizes of all servers are 16.0 MiB"),
                              (["ram", "file:/var/tmp,size=1"], "less than a page")):
            with self.subTest(servers):
                args = [w for s in servers for w in ("--server", s)]
                text = self.refused(["run", *args, "--remote", "64M", "true"], lines=1)
                self.assertIn(said, text)
        text = self.refused(["run", "--server", "file:/var/tmp", "--remote", "900T", "true"], lines=1)
        self.assertIn("are missing", text)

    def test_files_of_different_sizes_are_one_pool(self):
        p = self.run_rmem("run", "--summary", "--local", "32M", "--server", "file:/var/tmp,size=8M",
                          "--server", "file:/var/tmp,size=24M", "true")
        self.assertEqual(p.returncode, 0, p.stderr)
        self.assertRegex(p.stderr.decode(), r"remote .* 32.0 MiB cap")

    def test_server_that_speaks_garbage(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "sock")
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
                s.bind(path)
                s.listen(8)
                s.settimeout(20)
                p = self.start(RMEM, "run", "--server", "shm:" + path, "--remote", "64M", "true")
                c, _ = s.accept()
                c.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                _, err = p.communicate(timeout=30)
                c.close()
            self.assertEqual(p.returncode, 125)
            self.assertEqual(len(err.decode().splitlines()), 1, err)

    def test_tcp_servers_that_are_none(self):
        for spec, says in (("tcp:127.0.0.1:1", "nobody listens there: start rmemd --listen"),
                           ("tcp:no-such-host.invalid", "no machine of that name"),
                           ("tcp:127.0.0.1:99999", "the port is not a number from 1 to 65535"),
                           ("tcp:fd00::1", "in brackets"),
                           ("tcp::7770", "names no machine"),
                           ("tcp:127.0.0.1:1,timeout=0", "not a number of seconds")):
            with self.subTest(spec):
                text = self.refused(["run", "--server", spec, "--remote", "64M", "true"], lines=1)
                self.assertIn(says, text)

    def test_tcp_server_that_speaks_something_else(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen(8)
            s.settimeout(20)
            p = self.start(RMEM, "run", "--server", f"tcp:127.0.0.1:{s.getsockname()[1]}",
                           "--remote", "64M", "true")
            c, _ = s.accept()
            c.sendall(b"220 ftp\r\n")
            _, err = p.communicate(timeout=30)
            c.close()
        self.assertEqual(p.returncode, 125)
        self.assertEqual(len(err.decode().splitlines()), 1, err)
        self.assertIn("does not speak rmem's protocol", err.decode())

    def test_tcp_server_that_says_nothing(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen(8)
            begin = time.monotonic()
            text = self.refused(["run", "--server", f"tcp:127.0.0.1:{s.getsockname()[1]}",
                                 "--remote", "64M", "true"], lines=1)
            self.assertLess(time.monotonic() - begin, 8)
        self.assertIn("did not answer in time", text)

    def test_user_without_rights(self):
        p = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                            RMEM, "run", "true"], capture_output=True, env=self.env, check=False)
        text = p.stderr.decode()
        self.assertEqual(p.returncode, 125, text)
        self.assertEqual(len(text.splitlines()), 1, text)
        self.assertIn("/dev/userfaultfd", text)
        self.assertIn("root", text)

    def test_root_without_the_right_to_trace(self):
        p = subprocess.run(["setpriv", "--bounding-set", "-sys_ptrace", RMEM, "run", "true"],
                           capture_output=True, env=self.env, check=False)
        text = p.stderr.decode()
        self.assertEqual(p.returncode, 125, text)
        self.assertEqual(len(text.splitlines()), 1, text)
        self.assertIn("CAP_SYS_PTRACE", text)

    def test_control_characters_are_shown_escaped(self):
        text = self.refused(["run", "--", "\x1b[31m\u009bred\n"], status=127, lines=1)
        self.assertIn("\\x1b[31m\\xc2\\x9bred\\x0a", text)
        self.assertIn("\\x1b", self.refused(["run", "--\x1b", "true"]))


if __name__ == "__main__":
    main()
