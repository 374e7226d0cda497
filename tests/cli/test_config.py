# SPDX-License-Identifier: Apache-2.0
"""Settings from files and the environment: which one holds, where it comes from,
and one line with file and line for whatever is wrong."""

import json
import os
import random
import re
import shutil
import subprocess
import tempfile

from rmemtest import Case, RMEM, main

HERE = os.path.dirname(os.path.abspath(__file__))
ETC = os.path.join(HERE, "..", "..", "etc")
RMEMD = os.path.join(os.path.dirname(RMEM), "rmemd")

# line of [run] -> what is said about it
WRONG = {
    "local = 64Q": "is not a size",
    "local = 15M": "too small",
    "local = 101%": "out of range",
    "local =": "is not a size",
    "local": "is neither [section] nor key = value",
    "local = 1G\nlocal = 1G": "is given twice",
    "remote = 50%": "is not a size",
    "remote = 1K": "too small",
    "server = nostore:x": "has no store",
    "server = mirror(ram": "')' is missing",
    "server =": "a store's name is missing",
    "\n".join(["server = ram"] * 17): "more than 16",
    "stats =": "is empty",
    "summary = 1": "neither yes nor no",
    "summary =": "neither yes nor no",
    "metrics = x": "is no address",
    "on-loss = panic": "is unknown",
    "json-status-fd = 3": "no such key",
    "config = /x": "no such key",
    "Local = 1G": "no such key",
    "frobnicate = 1": "no such key",
    "[rmemd]\nlocal = 1G": "only section is [run]",
    "[run": "is neither [section]",
    "local = 1G # not a comment": "is not a size",
    "stats = /" + "x" * 200: "is longer than",
}
WRONG_RMEMD = {
    "capacity = 64Q": "is not a size",
    "capacity = 1G\ncapacity = 1G": "is given twice",
    "node = x": "is not a number",
    "node = 1023": "no such NUMA node",
    "drain-timeout = -1": "is not a number",
    "listen = ram": "is not served here",
    "metrics = x": "is no address",
    "listen = tcp::70000": "port",
    "listen = shm:fd=3": "command line only",
    "once = yes": "no such key",
    "[run]\ncapacity = 1G": "only section is [rmemd]",
    "nonsense": "is neither [section]",
}
ENVIRONMENT = {
    "RMEM_LOCAL": ("64Q", "is not a size"),
    "RMEM_REMOTE": ("1K", "too small"),
    "RMEM_SERVER": ("ram nostore:x", "has no store"),
    "RMEM_SUMMARY": ("maybe", "neither yes nor no"),
    "RMEM_METRICS": ("x", "is no address"),
    "RMEM_ON_LOSS": ("panic", "is unknown"),
}


class Files(Case):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(prefix="test-", dir="/var/tmp")
        self.addCleanup(shutil.rmtree, self.folder)
        self.env["XDG_CONFIG_HOME"] = os.path.join(self.folder, "home")
        for name in [n for n in self.env if n in ENVIRONMENT or n in ("RMEM_STATS", "RMEM_CONFIG")]:
            del self.env[name]

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o600)
        return path

    def shown(self, *options):
        p = self.run_rmem("doctor", "--show-config", "--json", *options)
        self.assertEqual(p.returncode, 0, p.stderr)
        said = json.loads(p.stdout)
        self.assertEqual(said["schema"], "rmem.config/1")
        return said["settings"]

    def value_of(self, key, *options):
        found = [s for s in self.shown(*options) if s["key"] == key]
        return found if key == "server" else found[0]

    def refused(self, p, status, *texts):
        said = p.stderr.decode()
        self.assertEqual(p.returncode, status, said)
        self.assertEqual(p.stdout, b"")
        self.assertEqual(len(said.splitlines()), 1, said)
        for text in texts:
            self.assertIn(text, said)


class Config(Files):
    def test_option_environment_config_user_file_default(self):
        user = self.write("home/rmem/rmem.conf", "[run]\nlocal = 100M\nremote = 101M\n"
                                                 "on-loss = sigbus\nserver = ram\n")
        file = self.write("c.conf", "# one\n[run]\nlocal=200M\nremote = 201M\nserver=shm:/x\n"
                                    "server=shm:/y\n")
        self.assertEqual(self.value_of("local")["line"], 2)
        self.assertEqual(self.value_of("local")["file"], user)
        local = self.value_of("local", "--config", file)
        self.assertEqual((local["value"], local["file"], local["line"]), ("200M", file, 3))
        self.assertEqual([(s["value"], s["line"]) for s in self.value_of("server", "--config", file)],
                         [("shm:/x", 5), ("shm:/y", 6)])
        self.assertEqual(self.value_of("on-loss", "--config", file)["file"], user)
        self.env["RMEM_CONFIG"] = file
        self.assertEqual(self.value_of("remote")["value"], "201M")
        self.env["RMEM_REMOTE"], self.env["RMEM_SERVER"] = "300M", "ram shm:/z"
        self.assertEqual(self.value_of("remote"),
                         {"key": "remote", "value": "300M", "origin": "environment",
                          "variable": "RMEM_REMOTE"})
        self.assertEqual([s["value"] for s in self.value_of("server")], ["ram", "shm:/z"])
        self.assertEqual(self.value_of("summary")["origin"], "default")

    def test_options_come_first_in_a_run(self):
        self.write("home/rmem/rmem.conf", "[run]\nlocal = 128M\nremote = 256M\nsummary = yes\n"
                                          "server = shm:/no/such/socket\n")
        p = self.run_rmem("run", "--local", "64M", "--server", "ram", "true")
        said = p.stderr.decode()
        self.assertEqual(p.returncode, 0, said)
        self.assertIn("64.0 MiB cap", said)
        self.assertIn("256.0 MiB cap", said)
        p = self.run_rmem("run", "true")
        self.refused(p, 125, "/no/such/socket")
        self.env["RMEM_SUMMARY"] = "no"
        p = self.run_rmem("run", "--server", "ram", "true")
        self.assertEqual((p.returncode, p.stderr), (0, b""))

    def test_the_table_names_file_and_line(self):
        file = self.write("c.conf", "[run]\n\nlocal = 200M\n")
        p = self.run_rmem("doctor", "--show-config", "--config", file)
        self.assertRegex(p.stdout.decode(), rf"(?m)^local +200M +{re.escape(file)}:3$")
        self.assertRegex(p.stdout.decode(), r"(?m)^on-loss +kill +default$")

    def test_what_is_wrong_in_a_file(self):
        for text, said in WRONG.items():
            with self.subTest(text):
                file = self.write("c.conf", "[run]\n" + text + "\n")
                line = 1 + len(text.splitlines())
                p = self.run_rmem("run", "--config", file, "true")
                self.refused(p, 125, f"rmem run: {file}:{line}: ", said)
                # An option that comes first makes a mistake no better.
                p = self.run_rmem("run", "--local", "64M", "--remote", "64M", "--server", "ram",
                                  "--on-loss", "kill", "--config", file, "true")
                if "\nserver" not in text:
                    self.refused(p, 125, f"{file}:{line}: ", said)

    def test_a_key_before_any_section(self):
        file = self.write("c.conf", "local = 1G\n")
        self.refused(self.run_rmem("run", "--config", file, "true"), 125, f"{file}:1: local: ")

    def test_the_users_file_is_checked_too(self):
        file = self.write("home/rmem/rmem.conf", "[run]\nx = 1\n")
        self.refused(self.run_rmem("run", "true"), 125, f"{file}:2: x: ")
        self.refused(self.run_rmem("doctor", "--show-config"), 125, f"{file}:2: x: ")
        p = self.run_rmem("doctor")
        self.assertEqual(p.returncode, 1)
        self.assertIn(f"{file}:2: x: ", p.stdout.decode())

    def test_the_system_file(self):
        """In a mount namespace of its own, where /etc is empty."""
        script = ("mount -t tmpfs none /etc && mkdir /etc/rmem && "
                  "printf '[run]\\nlocal = 77M\\nx\\n' | head -n $1 >/etc/rmem/rmem.conf && shift && "
                  'exec "$@"')
        argv = ["unshare", "-m", "sh", "-c", script, "sh"]
        p = subprocess.run([*argv, "2", os.path.abspath(RMEM), "doctor", "--show-config"],
                           capture_output=True, env=self.env, check=False)
        if b"unshare: " in p.stderr or b"mount: " in p.stderr:
            self.skipTest(p.stderr.decode())
        self.assertRegex(p.stdout.decode(), r"(?m)^local +77M +/etc/rmem/rmem.conf:2$")
        p = subprocess.run([*argv, "3", os.path.abspath(RMEM), "run", "true"],
                           capture_output=True, env=self.env, check=False)
        self.refused(p, 125, "/etc/rmem/rmem.conf:3: ")

    def test_what_is_wrong_in_the_environment(self):
        for name, (value, said) in ENVIRONMENT.items():
            with self.subTest(name):
                self.env[name] = value
                self.refused(self.run_rmem("run", "true"), 125, f"rmem run: {name}: ", said)
                self.env[name] = ""  # empty is not set
                self.assertEqual(self.run_rmem("doctor", "--show-config").returncode, 0)
                del self.env[name]

    def test_a_file_that_is_named_must_be_there_and_ours(self):
        missing = os.path.join(self.folder, "missing")
        self.refused(self.run_rmem("run", "--config", missing, "true"), 125, missing)
        self.env["RMEM_CONFIG"] = missing
        self.refused(self.run_rmem("run", "true"), 125, missing)
        del self.env["RMEM_CONFIG"]
        file = self.write("c.conf", "[run]\n")
        os.chmod(file, 0o666)
        self.refused(self.run_rmem("run", "--config", file, "true"), 125, file, "chmod go-w")
        if os.geteuid() == 0:
            os.chmod(file, 0o644)
            os.chown(file, 65534, 65534)
            self.refused(self.run_rmem("run", "--config", file, "true"), 125, "another user")
        self.refused(self.run_rmem("run", "--config", self.folder, "true"), 125, "ordinary file")

    def test_bits_that_flipped(self):
        """No end but 0 and 125, and one line of text."""
        rng = random.Random(4711)
        with open(os.path.join(ETC, "rmem.conf"), encoding="utf-8") as f:
            text = re.sub(r"(?m)^#(?=[a-z-]+ = )", "", re.sub(r"(?m)^# .*\n", "", f.read())).encode()
        for _ in range(80):
            data = bytearray(text[:rng.randrange(1, len(text) + 1)])
            for _ in range(rng.randrange(4)):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            file = self.write("c.conf", "")
            with open(file, "wb") as f:
                f.write(data)
            p = self.run_rmem("doctor", "--show-config", "--config", file)
            self.assertIn(p.returncode, (0, 125), data)
            self.assertEqual(len(p.stderr.splitlines()), 1 if p.returncode else 0, data)


class Shipped(Files):
    def uncommented(self, name):
        with open(os.path.join(ETC, name), encoding="utf-8") as f:
            text = f.read()
        keys = re.findall(r"(?m)^#([a-z-]+) = ", text)
        return keys, self.write(name, re.sub(r"(?m)^#(?=[a-z-]+ = )", "", text))

    def test_every_key_is_documented_and_every_example_can_be_used(self):
        keys, file = self.uncommented("rmem.conf")
        shown = self.shown("--config", file)
        self.assertEqual(sorted(set(keys)), sorted({s["key"] for s in shown}))
        self.assertEqual({s.get("file") for s in shown}, {file})
        self.assertEqual({s["key"]: s["value"] for s in shown}["on-loss"], "kill")

    def test_every_key_of_rmemd_too(self):
        keys, file = self.uncommented("rmemd.conf")
        p = subprocess.run([RMEMD, "--help"], capture_output=True, check=True)
        options = set(re.findall(r"(?m)^ +(?:-., )?--([a-z-]+) \[?[A-Z]", p.stdout.decode()))
        self.assertEqual(set(keys), options - {"config", "check-config"})
        p = subprocess.run([RMEMD, "--check-config", file], capture_output=True, check=False)
        self.assertEqual((p.returncode, p.stdout.decode()), (0, f"{file}: ok\n"), p.stderr)

    def test_as_shipped_they_set_nothing(self):
        file = shutil.copy(os.path.join(ETC, "rmem.conf"), self.folder)
        self.assertEqual({s["origin"] for s in self.shown("--config", file)}, {"default"})
        file = shutil.copy(os.path.join(ETC, "rmemd.conf"), self.folder)
        p = subprocess.run([RMEMD, f"--config={file}", "--check-config"], capture_output=True,
                           check=False)
        self.assertEqual(p.returncode, 0, p.stderr)


class Rmemd(Files):
    def test_what_is_wrong_in_a_file_of_rmemd(self):
        for text, said in WRONG_RMEMD.items():
            with self.subTest(text):
                file = self.write("d.conf", "[rmemd]\n" + text + "\n")
                line = 1 + len(text.splitlines())
                for argv in (["--check-config", file], ["--config", file],
                             ["--config", file, "--capacity", "64M", "--node", "0",
                              "--drain-timeout", "1"]):
                    p = subprocess.run([RMEMD, *argv], capture_output=True, timeout=20,
                                       env=self.env, check=False)
                    self.refused(p, 1, f"rmemd: {file}:{line}: ", said)

    def test_it_serves_where_its_file_says(self):
        socket = os.path.join(self.folder, "s")
        file = self.write("d.conf", f"[rmemd]\nlisten = shm:{socket}\ncapacity = 64M\n")
        p = self.start(RMEMD, "--config", file, "--capacity", "128M")
        line = p.stderr.readline().decode()
        self.assertIn(f"listening on shm:{socket}, capacity 128.0 MiB", line)
        q = self.run_rmem("run", "--server", "shm:" + socket, "--remote", "100M", "echo", "hi")
        self.assertEqual((q.returncode, q.stdout), (0, b"hi\n"), q.stderr)
        p.terminate()
        self.assertEqual(p.wait(10), 0)

    def test_a_server_of_ones_own_does_not_read_the_machines_file(self):
        """Its capacity is what the run asks for."""
        script = ("mount -t tmpfs none /etc && mkdir /etc/rmem && "
                  "printf '[rmemd]\\ncapacity = 1M\\n' >/etc/rmem/rmemd.conf && exec \"$@\"")
        p = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", os.path.abspath(RMEM), "run",
                            "--remote", "64M", "true"], capture_output=True, env=self.env,
                           check=False)
        self.assertEqual(p.returncode, 0, p.stderr)


if __name__ == "__main__":
    main()
