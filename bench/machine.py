# SPDX-License-Identifier: Apache-2.0
"""What the measurements were made on."""

import ctypes
import datetime
import mmap
import os
import subprocess

LIBC = ctypes.CDLL(None)
PAGE_REPORTING = "/sys/module/page_reporting/parameters/page_reporting_order"


def read(path, default=""):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read().strip()
    except OSError:
        return default


def field(text, name):
    for line in text.splitlines():
        if line.startswith(name):
            return line.split(":", 1)[1].strip()
    return "unknown"


def git(root, *words):
    p = subprocess.run(["git", "-C", root, *words], stdout=subprocess.PIPE,
                       stderr=subprocess.DEVNULL, text=True, check=False)
    return p.stdout.strip() if p.returncode == 0 else ""


def commit(root):
    name = git(root, "rev-parse", "--short=12", "HEAD") or "unknown"
    changed = git(root, "status", "--porcelain", "--", "client", "common", "server", "tools")
    return name + (" (changed)" if changed else "")


def find_memory(mib):
    """A guest that reports its free pages gives them back to its host after two seconds, and
    then whoever takes a page of them first waits 9 us for it. So they are taken before
    each measurement, for none of those that are compared."""
    if not os.path.exists(PAGE_REPORTING):
        return
    size = mib << 20
    with mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as m:
        m.madvise(mmap.MADV_HUGEPAGE)
        here = ctypes.c_char.from_buffer(m)
        try:
            LIBC.memset(ctypes.c_void_p(ctypes.addressof(here)), 1, ctypes.c_size_t(size))
        finally:
            del here  # else an interrupt finds that the memory can't be given back


def about(args):
    u = os.uname()
    memory = int(field(read("/proc/meminfo"), "MemTotal").split()[0]) // 1024
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(args.root),
        "kernel": f"{u.sysname} {u.release} {u.machine}",
        "processor": f"{len(os.sched_getaffinity(0))} x {field(read('/proc/cpuinfo'), 'model name')}",
        "memory": f"{memory} MiB",
        "huge pages": read("/sys/kernel/mm/transparent_hugepage/enabled", "none"),
        "load at the start": " ".join(read("/proc/loadavg").split()[:3]),
        "runs": f"{args.runs} for each median{', quick' if args.quick else ''}, nice {args.nice}",
    }
