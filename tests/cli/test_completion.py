# SPDX-License-Identifier: Apache-2.0
"""Completion with jobs running, and in a bash that somebody types into. All that
needs no running job is in tests/lint/completion.py."""

import os
import pty
import select
import sys
import time

from rmemtest import Case, RMEM, main

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lint"))
from bash_complete import COMPLETION, complete  # noqa: E402


def read_until(fd, is_there, seconds=15):
    got, end = "", time.monotonic() + seconds
    while not is_there(got) and time.monotonic() < end:
        if select.select([fd], [], [], 0.1)[0]:
            got += os.read(fd, 4096).decode(errors="replace")
    return got


class Completion(Case):
    def test_running_rmem_is_offered_by_number(self):
        jobs = [self.start_job("sleep", "60") for _ in range(2)]
        for p in jobs:
            self.job_of(p)
        got = complete(f"{RMEM} stat ")
        self.assertGreaterEqual(set(got), {str(p.pid) for p in jobs})
        self.assertNotIn(str(os.getpid()), got)
        self.assertNotIn(str(jobs[0].pid), complete(f"{RMEM} stat {jobs[0].pid} "))
        for p in jobs:
            p.terminate()
            p.wait(timeout=10)
        self.assertFalse({str(p.pid) for p in jobs} & set(complete(f"{RMEM} stat ")))

    def typed(self, keys, want):
        """What a terminal shows when the keys are typed into an interactive bash: up
        to what is wanted, or all that comes."""
        pid, fd = pty.fork()
        if pid == 0:
            env = dict(self.env, PS1="ready> ", PATH=os.path.dirname(os.path.abspath(RMEM)) + ":" +
                       os.environ["PATH"], TERM="dumb", INPUTRC="/dev/null", HISTFILE="")
            os.execve("/bin/bash", ["bash", "--noprofile", "--norc", "-i"], env)
        try:
            os.write(fd, f"bind 'set enable-bracketed-paste off'; . {COMPLETION}\r".encode())
            read_until(fd, lambda got: got.count("ready> ") == 2 and got.endswith("ready> "))
            os.write(fd, keys.encode())
            return read_until(fd, lambda got: got.endswith(want))
        finally:
            os.write(fd, b"\x15exit\r")
            os.close(fd)
            os.waitpid(pid, 0)

    def test_keys_in_a_terminal(self):
        for keys, want in (("rmem run --on-loss si\t", "rmem run --on-loss sigbus "),
                           ("rmem run --on-loss=si\t", "rmem run --on-loss=sigbus "),
                           ("rmem run --server sh\t", "rmem run --server shm:/"),
                           ("rmem run --server shm:/pro\t", "rmem run --server shm:/proc/"),
                           ("rmem doc\t--js\t", "rmem doctor --json "),
                           ("rmem run -- basenam\t", "rmem run -- basename "),
                           ("rmemd --cap\t", "rmemd --capacity ")):
            with self.subTest(keys):
                got = self.typed(keys, want)
                self.assertTrue(got.endswith(want), got)


if __name__ == "__main__":
    main()
