# SPDX-License-Identifier: Apache-2.0
"""Swap in a file of our own, on the disk where store file keeps its pages.

Swap that was there before is not touched: ours comes first for as long as it
exists."""

import os

from zram import PRIORITY, command, retried

FOLDER = "/var/tmp"


class SwapFile:
    def __init__(self, size_bytes):
        self.path = os.path.join(FOLDER, f"rmem-bench-swap-{os.getpid()}")
        self.swapping = False
        fd = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            os.posix_fallocate(fd, 0, size_bytes)
            command("mkswap", self.path)
            self.swapping = True  # swapoff of what is not on does no harm
            command("swapon", "-p", str(PRIORITY), self.path)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(fd)

    def is_on(self):
        with open("/proc/swaps", encoding="ascii", errors="replace") as f:
            return any(line.startswith(self.path + " ") for line in f)

    def close(self):
        """A file that is still swap is not removed: then nobody could end it any more."""
        if self.swapping and self.is_on():
            retried(lambda: command("swapoff", self.path))
        self.swapping = False
        os.unlink(self.path)
