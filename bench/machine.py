# SPDX-License-Identifier: Apache-2.0
"""What the measurements were made on."""

import datetime
import os
import subprocess


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
