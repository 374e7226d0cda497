# SPDX-License-Identifier: Apache-2.0
"""What failing.py and serving.py share: the file by which fail_nth.so is told which call is to
fail, and says which one did."""

import mmap
import os
import struct
import subprocess
import tempfile

from rmemtest import check

KINDS = {"m": "memory", "f": "descriptors", "t": "tasks", "k": "kernel"}

# struct control of fail_nth.c
DEPTH, SITES, WORDS = 16, 4096, 8
FRAME = struct.Struct("<Q24s")
SITE_HEAD = struct.Struct("<QQ24s")
SITE_BYTES = SITE_HEAD.size + DEPTH * FRAME.size
FIRST_OFF = WORDS * 8
CRASH_OFF = FIRST_OFF + SITE_BYTES
SEEN_OFF = CRASH_OFF + SITE_BYTES
NTH, SITE, ALL, COUNT, HITS, PID, NR_SITES = range(7)


def text_of(raw):
    return raw.split(b"\0")[0].decode(errors="replace")


class Site:
    """A call, and how it was come to."""

    def __init__(self, buf, off):
        self.hash, self.calls, what = SITE_HEAD.unpack_from(buf, off)
        self.what = text_of(what)
        frames = [FRAME.unpack_from(buf, off + SITE_HEAD.size + i * FRAME.size)
                  for i in range(DEPTH)]
        self.frames = [(text_of(module), at) for at, module in frames if module[0]]

    def where(self, rmem):
        """The functions of rmem that led there, the innermost first."""
        names = []
        for module, at in self.frames:
            if module not in ("rmem", "rmemd"):
                names.append(module.split(".")[0])
                continue
            out = subprocess.run(
                ["addr2line", "-fse", os.path.join(os.path.dirname(rmem), module), hex(at - 1)],
                stdout=subprocess.PIPE, text=True, check=False).stdout.split()
            names.append(":".join(out[:2] if len(out) > 1 else [hex(at)]))
        return f"{self.what} < " + " < ".join(names[:9])


class Control:
    """The file by which fail_nth is told what to do, and says what it did."""

    def __init__(self, lib, comm, kind):
        self.file = tempfile.NamedTemporaryFile(prefix="test-", dir="/var/tmp")
        self.file.truncate(SEEN_OFF + SITES * SITE_BYTES)
        self.map = mmap.mmap(self.file.fileno(), 0)
        self.env = {"LD_PRELOAD": lib, "RMEM_FAIL_FILE": self.file.name,
                    "RMEM_FAIL_COMM": comm, "RMEM_FAIL_KIND": kind}

    def __enter__(self):
        os.environ.update(self.env)
        return self

    def __exit__(self, *_):
        for name in self.env:
            os.environ.pop(name, None)
        self.map.close()
        self.file.close()

    def get(self, word):
        return struct.unpack_from("<Q", self.map, word * 8)[0]

    def arm(self, nth, site=0, every=False):
        struct.pack_into("<5Q", self.map, 8, site, every, 0, 0, 0)
        struct.pack_into("<Q", self.map, 0, nth)

    def sites(self):
        return [Site(self.map, SEEN_OFF + i * SITE_BYTES) for i in range(self.get(NR_SITES))]

    def first(self):
        return Site(self.map, FIRST_OFF)

    def no_crash(self, rmem):
        crash = Site(self.map, CRASH_OFF)
        check(not crash.calls, f"{crash.what} died of signal {crash.calls}: {crash.where(rmem)}")
