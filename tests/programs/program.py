# SPDX-License-Identifier: Apache-2.0
"""What a real program is to the suite: how to prepare it, what to run, and what its
result is (a text that has to be the same alone and under rmem)."""

import hashlib
import os

LONG = os.environ.get("RMEM_TEST_MODE") == "long"
OTHERS = ((50, ""), (25, "ram"))
HERE = os.path.dirname(os.path.abspath(__file__))


def digest(path):
    h = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            h.update(block)
    return h.hexdigest()


class Program:
    name = ""
    what = ""
    timeout_s = 280
    populates_mib = 0  # by one call, which may exceed the cap by itself
    combos = ((50, "ram"), (25, "")) + (OTHERS if LONG else ())  # percent, server; "": private

    def __init__(self, folder, build):
        self.dir, self.build = folder, build

    def path(self, name):
        return os.path.join(self.dir, name)

    def prepare(self):
        """Makes the input; once."""

    def command(self):
        raise NotImplementedError

    def result(self, stdout):
        """What the run produced; removes it."""
        return stdout
