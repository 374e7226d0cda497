# SPDX-License-Identifier: Apache-2.0
"""What the page faults of others cost while a job's go by BPF: its programs are at the
tracepoints of all faults of the machine."""

import time

from jobs import BenchError, median, rotated
from report import Row

BAR_NS = 100


def at_rest(bench, *options):
    """A job with remote pages that does nothing more, and is idle to its pager."""
    job = bench.start("touch", 128, rmem=["--local", "32M", "--remote", "256M", "--server", "ram",
                                          *options])
    job.line()
    job.go()
    job.line()
    time.sleep(0.5)
    return job


def once(bench, *options):
    job = at_rest(bench, *options)
    state = job.live()["fast_path"]["state"]
    if (state == "on") != (not options):
        raise BenchError(f"BPF programs are '{state}' with {options or 'nothing'} asked for")
    other = bench.start("faults", 64, bench.pick(40, 10))
    result = other.line()
    other.wait()
    job.go()
    job.wait()
    return result["best_ns"]


def strangers(bench):
    """What a fault costs a program that nobody manages, with BPF programs and without"""
    arms = {"with": (), "without": ("--bpf", "off")}
    ns = {a: [] for a in arms}
    for arm in rotated(list(arms), bench.pick(2, 1) * bench.args.runs):
        ns[arm].append(once(bench, *arms[arm]))
    more = median(ns["with"]) - median(ns["without"])
    return [Row("a fault of others: with BPF programs - without", f"{more:.0f} ns "
                f"({median(ns['with']):.0f} - {median(ns['without']):.0f})", f"<= {BAR_NS} ns",
                more <= BAR_NS)], ns
