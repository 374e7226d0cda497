# SPDX-License-Identifier: Apache-2.0
"""What leaves: misses of the default policy in traces, and what its knowledge costs."""

from jobs import BenchError, median
from report import Row

BARRED = ("zipf", "scan", "loop")
SLOW_US, FAST_US = 50, 5  # a page over a network, and out of memory
PAGES = 131072  # fewer take as long to settle, in accesses of each


def misses(bench, trace, room, fetch_us):
    job = bench.start("policies", trace, PAGES, room, 32 * PAGES, fetch_us)
    counts = job.line()
    job.wait()
    return counts


def rows_of(trace, share, counts, cheap):
    rivals = {k: n for k, n in counts.items() if not k.startswith("rmem")}
    best = min(rivals, key=rivals.get)
    ratio = counts["rmem"] / rivals[best]
    others = "; ".join(f"{k} {n / rivals[best]:.2f}" for k, n in rivals.items())
    bar = ("<= 1.1", ratio <= 1.1) if trace in BARRED else ()
    return [
        Row(f"{trace}, {share} local: pages fetched, of the best of the others ({best})",
            f"{ratio:.2f} (by faults alone {counts['rmem, faults alone'] / rivals[best]:.2f}, "
            f"where fetches are cheap {cheap['rmem'] / rivals[best]:.2f})", *bar),
        Row(f"{trace}, {share} local: the others", others)]


def scan_rows(bench):
    mib = bench.pick(1024, 256)
    runs = []
    for _ in range(bench.args.runs):
        job = bench.start("ages", mib)
        runs.append(job.line())
        job.wait()
    ns = {k: median([r[k] for r in runs]) for k in runs[0]}
    per_gib = ns["read_ns"] / mib * 1024 / 1e6
    pages = mib * 256
    return [
        Row("accessed bits of a GiB read", f"{per_gib:.2f} ms", "<= 1 ms", per_gib <= 1),
        Row("and cleared", f"{ns['clear_ns'] / mib * 1024 / 1e6:.1f} ms; the next access of each "
            f"page then takes {(ns['touch_cleared_ns'] - ns['touch_ns']) / pages:.0f} ns more")], runs


def policies(bench):
    """What leaves: pages fetched in simulated traces, beside the policies of the literature"""
    rows, raw = [], {}
    for trace in (*BARRED, "sweep", "gather", "turn", "random"):
        for share, room in (("half", PAGES // 2), ("a quarter", PAGES // 4)):
            counts = misses(bench, trace, room, SLOW_US)
            cheap = misses(bench, trace, room, FAST_US)
            rows += rows_of(trace, share, counts, cheap)
            raw[f"{trace}, {share}"] = {"slow": counts, "fast": cheap}
    try:
        scan, raw["ages"] = scan_rows(bench)
        rows += scan
    except BenchError as e:
        rows.append(Row("accessed bits", f"not measured: {e}"))
    return rows, raw
