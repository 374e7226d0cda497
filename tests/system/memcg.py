# SPDX-License-Identifier: Apache-2.0
"""The kernel's own count of a job's anonymous memory, by a control group of its own
(memory, cgroup v1 or v2). While processes fork and end, a sum of proportional sizes counts
pages more than once, since each is read at another moment; this one does not."""

import contextlib
import os
import threading
import time
import uuid

from rmemtest import SLOW, Run, read

V1 = "/sys/fs/cgroup/memory"
V2 = "/sys/fs/cgroup"
# Joins the group, then becomes the job: rmem itself stays outside.
JOIN = 'echo $$ > "$1/cgroup.procs" && shift && exec "$@"'


def root():
    """Where a group can be made, with the count's name in its memory.stat; or None."""
    if os.access(os.path.join(V1, "cgroup.procs"), os.W_OK):
        return V1, "rss "
    if b"memory" in read(os.path.join(V2, "cgroup.subtree_control")).split() and os.access(
            os.path.join(V2, "cgroup.procs"), os.W_OK):
        return V2, "anon "
    return None


class Memcg(threading.Thread):
    """with Memcg() as m: run m.wrap(command); then m.peak, in bytes."""

    who = "the kernel counts"

    def __init__(self):
        super().__init__(daemon=True)
        where, self.key = root()
        self.path = os.path.join(where, "test-" + uuid.uuid4().hex)
        self.peak, self.samples, self.over = 0, 0, threading.Event()

    def wrap(self, command):
        return ["sh", "-c", JOIN, "sh", self.path] + list(command)

    def anon(self):
        with open(os.path.join(self.path, "memory.stat"), encoding="utf-8") as f:
            return next(int(x.split()[1]) for x in f if x.startswith(self.key))

    def run(self):
        while not self.over.wait(0.005 * SLOW ** 2):  # a look costs an emulated machine 10 ms
            self.peak = max(self.peak, self.anon())
            self.samples += 1

    def __enter__(self):
        os.mkdir(self.path)
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()
        for _ in range(200):  # until the last process is gone
            try:
                os.rmdir(self.path)
                return
            except OSError:
                time.sleep(0.01)


@contextlib.contextmanager
def counted(rmem, command, *args, **kwargs):
    """A Run whose memory the kernel counts where it can, and samples count else."""
    if not root():
        with Run(rmem, command, *args, **kwargs) as run:
            yield run
        return
    with Memcg() as group, Run(rmem, group.wrap(command), *args, sample=False, **kwargs) as run:
        run.counter = group
        yield run
