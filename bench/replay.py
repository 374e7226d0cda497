# SPDX-License-Identifier: Apache-2.0
"""Oblivious computations at a fifth of their memory: from a recording, by patterns alone,
and on zram swap. (Swap on a loop device over tmpfs would be the fairer rival: but what lies
in tmpfs may be swapped out itself, to the same device, and then the kernel waits for itself.)"""

import os

import zram
from jobs import BenchError, median, rotated
from report import Row

MIB = 1 << 20
SIZES = {"matrix": 96, "fft": 96, "walk": 96}


def arms_of(bench, name, swap):
    limit = SIZES[name] // 5
    options = ["--local", f"{limit}M", "--remote", f"{4 * SIZES[name]}M", "--server", "ram"]
    record = os.path.join(bench.temp, f"{name}.record")
    bench.start("kernels", name, rmem=[*options, "--record", record]).wait()
    arms = {"local": {}, "rmem": {"rmem": options},
            "replay": {"rmem": [*options, "--replay", record]}}
    if swap:
        group = zram.Cgroup(limit * MIB)
        bench.undo.append(group.close)
        arms["zram"] = {"cgroup": group}
    return arms


def rows_of(name, results):
    sums = {r["sum"] for runs in results.values() for r in runs}
    s = {a: median([r["seconds"] for r in runs]) for a, runs in results.items()}
    return [
        Row(f"{name}: seconds", "; ".join(f"{a} {t:.2f}" for a, t in s.items())),
        Row(f"{name}: replay, of the time without", "; ".join(
            f"{a} {s['replay'] / s[a]:.2f}" for a in ("rmem", "zram") if a in s)),
        Row(f"{name}: results", "all the same" if len(sums) == 1 else "differ", "the same",
            len(sums) == 1),
        Row(f"{name}: faults that waited for the store", "; ".join(
            f"{a} {median([r['remote'] for r in results[a]]):.0f}" for a in ("rmem", "replay")))]


def replay(bench):
    """From a recording, at 20 % local, beside patterns alone and zram swap"""
    rows, raw, swap = [], {}, None
    try:
        swap = zram.Device(1024 * MIB)
        bench.undo.append(swap.close)
    except (OSError, BenchError) as e:
        rows.append(Row("zram swap", f"not measured: {e}"))
    for name in SIZES:
        arms = arms_of(bench, name, swap)
        raw[name] = {a: [] for a in arms}
        for arm in rotated(list(arms), bench.args.runs):
            job = bench.start("kernels", name, **arms[arm])
            try:
                raw[name][arm].append(job.line())
                job.wait()
            except BenchError:
                if arm != "zram":
                    raise
                continue  # the kernel ends it at random for want of memory, with swap to spare
            if job.stats:
                raw[name][arm][-1]["remote"] = job.stats["faults"]["remote"]
        raw[name] = {a: runs for a, runs in raw[name].items() if runs}
        rows += rows_of(name, raw[name])
    bench.clean_up()
    return rows, raw
