# SPDX-License-Identifier: Apache-2.0
"""What the page faults of others cost while a job's go by BPF, and their switches: its
programs are at the tracepoints of all of them."""

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
    best = {}
    for what, words in (("faults", (64, bench.pick(40, 10))),
                        ("switches", (2000, bench.pick(100, 25)))):
        other = bench.start(what, *words)
        best[what] = other.line()["best_ns"]
        other.wait()
    job.go()
    job.wait()
    return best


def strangers(bench):
    """What a fault costs a program that nobody manages, and a switch, with BPF programs and
    without"""
    arms = {"with": (), "without": ("--bpf", "off")}
    ns = {a: [] for a in arms}
    for arm in rotated(list(arms), bench.pick(2, 1) * bench.args.runs):
        ns[arm].append(once(bench, *arms[arm]))
    rows = []
    for what, text, bar in (("faults", "a fault", BAR_NS),
                            ("switches", "a wake-up and a switch", None)):
        was, now = (median([n[what] for n in ns[a]]) for a in ("without", "with"))
        limit = (f"<= {bar} ns", now - was <= bar) if bar else ()
        rows.append(Row(f"{text} of others: with BPF programs - without",
                        f"{now - was:.0f} ns ({now:.0f} - {was:.0f})", *limit))
    return rows, ns
