#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""completion.py RMEM RMEMD: what bash offers is what --help says, all of it and
nothing else. Needs no rights; running jobs are in tests/cli/test_completion.py."""

import os
import re
import sys
import tempfile
import unittest

import helptext
from bash_complete import LIBRARY, complete

RMEM, RMEMD = "rmem", "rmemd"
LIBRARIES = [False] + ([True] if os.path.exists(LIBRARY) else [])

# An rmem of tomorrow: the completion has never heard of any of this.
TOMORROW = """#!/bin/sh
case $* in
--help) printf 'Usage: rmem COMMAND\\n\\nCommands:\\n  fly   Flies.\\n\\nOptions:\\n  --help   x\\n' ;;
"fly --help") printf 'Usage: rmem fly [OPTION]...\\n\\n'
    printf '  --colour red|green|NAME  paint\\n  --to SPEC              there\\n'
    printf '  --long-name WITH_A_VALUE\\n                         text\\n' ;;
"help stores") printf 'Stores:\\n  tcp:HOST:PORT       far\\n  file:/path[,size=SIZE]  disk\\n\\n' ;;
esac
"""


def names(text):
    return {n for name, (short, _) in helptext.options(text).items() for n in (name, short) if n}


class Completion(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="rmem-completion-", dir="/var/tmp")
        self.path = os.path.join(self.folder.name, "a-file")
        with open(self.path, "w", encoding="utf-8"):
            pass
        self.help = helptext.run(RMEM, "--help")
        self.commands = [c for c in helptext.listed(self.help, "Commands") if c != "help"]

    def tearDown(self):
        self.folder.cleanup()

    def each(self):
        """(what is typed, help) for every subcommand and rmemd"""
        for c in self.commands:
            yield f"{RMEM} {c}", helptext.run(RMEM, c, "--help")
        yield RMEMD, helptext.run(RMEMD, "--help")

    def same(self, line, want, **kw):
        with self.subTest(line):
            self.assertEqual(sorted(complete(line, **kw)), sorted(want))

    def test_commands_and_topics(self):
        commands = helptext.listed(self.help, "Commands")
        self.same(f"{RMEM} ", set(commands) | names(self.help))
        self.same(f"{RMEM} r", [c for c in commands if c.startswith("r")])
        self.same(f"{RMEM} help ", commands + helptext.listed(self.help, "Topics"))
        self.same(f"{RMEM} help run ", [])
        self.same(f"{RMEM} no-such-command ", [])
        self.same("/no/such/rmem ", [])

    def test_options_are_those_of_the_help(self):
        for typed, text in self.each():
            self.same(typed + " -", names(text))
            self.same(typed + " --", {n for n in names(text) if n.startswith("--")})

    def test_values(self):
        seen = set()
        for typed, text in self.each():
            for name, (_, value) in helptext.options(text).items():
                seen.add(value)
                for line in (f"{typed} {name} ", f"{typed} {name}="):
                    if value and value not in ("SPEC", "FILE", "[FILE]"):
                        kept = line.split()[-1] if line.endswith("=") else ""
                        words = [w for w in value.split("|") if w.islower()]
                        self.same(line, [kept + w for w in words])
        self.assertIn("kill|sigbus|wait", seen)
        self.same(f"{RMEM} pool ", ["drain", "ls", "status"])
        self.same(f"{RMEM} bench b", ["bw"])
        self.same(f"{RMEM} run --on-loss s", ["sigbus"])
        self.same(f"{RMEM} run --on-loss=k", ["--on-loss=kill"])

    def test_files(self):
        start = self.path[:-3]
        self.same(f"{RMEM} run --stats {start}", [self.path])
        self.same(f"{RMEM} run --stats={start}", ["--stats=" + self.path])
        self.same(f"{RMEMD} --check-config {start}", [self.path])

    def test_stores(self):
        forms = helptext.listed(helptext.run(RMEM, "help", "stores"), "Stores")
        starts = {re.sub(r"(/|[A-Z\[]).*", lambda m: "/" if m[1] == "/" else "", f) for f in forms}
        self.assertLessEqual({"ram", "shm:/"}, starts)
        for command in ("run", "attach", "doctor"):
            self.same(f"{RMEM} {command} --server ", starts)
            self.same(f"{RMEM} {command} --server shm:{self.path[:-1]}", ["shm:" + self.path])
            self.same(f"{RMEM} {command} --server=shm:{self.path[:-1]}",
                      ["--server=shm:" + self.path])
        for option in ("-l", "--listen"):
            self.same(f"{RMEMD} {option} s", ["shm:/", "shm:fd="])
            self.same(f"{RMEMD} {option} shm:f", ["shm:fd="])

    def test_command_of_run(self):
        for lib in LIBRARIES:
            for before in ("", "--", "--local 1G", "--server=shm:/x --summary --", "--on-loss kill"):
                with self.subTest(before, library=lib):
                    got = complete(f"{RMEM} run {before} basenam", lib)
                    self.assertIn("basename", got)
                    got = complete(f"{RMEM} run {before} basename {self.path[:-1]}", lib)
                    self.assertEqual(got, [self.path])
            # What follows the command is the command's, an option by a known name too.
            self.assertNotIn("--local", complete(f"{RMEM} run basename --lo", lib))
            self.assertNotIn("kill", complete(f"{RMEM} run -- basename --on-loss ", lib))

    def test_no_option_after_two_dashes(self):
        self.assertNotIn("--json", complete(f"{RMEM} stat -- -"))

    def test_processes_to_attach_to(self):
        self.assertIn(str(os.getpid()), complete(f"{RMEM} attach "))
        self.assertIn(str(os.getpid()), complete(f"{RMEM} attach --local 1G "))
        self.assertIn("--local", complete(f"{RMEM} attach 1 "))

    def test_what_help_says_tomorrow(self):
        new = os.path.join(self.folder.name, "rmem")
        with open(new, "w", encoding="utf-8") as f:
            f.write(TOMORROW)
        os.chmod(new, 0o755)
        self.same(f"{new} ", ["fly", "--help"])
        self.same(f"{new} fly -", ["--colour", "--to", "--long-name"])
        self.same(f"{new} fly --colour ", ["red", "green"])
        self.same(f"{new} fly --long-name ", [])
        self.same(f"{new} fly --to ", ["tcp:", "file:/"])
        self.same(f"{new} fly --to file:{self.path[:-1]}", ["file:" + self.path])
        self.same("rmem fly --c", ["--colour"],
                  PATH=self.folder.name + ":" + os.environ["PATH"])


if __name__ == "__main__":
    RMEM, RMEMD = sys.argv.pop(1), sys.argv.pop(1)
    unittest.main(verbosity=2)
