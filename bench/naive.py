# SPDX-License-Identifier: Apache-2.0
"""Half of the memory local, beside a naive pager on userfaultfd (naive.c), and what waiting
for a page by BPF costs where the processors have other work."""

from jobs import BenchError, median, ratios, rotated
from report import Row

SIZE_MIB, LOCAL_MIB = 256, 128
RMEM = ["--local", f"{LOCAL_MIB}M", "--remote", f"{2 * SIZE_MIB}M", "--server", "ram"]
NAIVE = ("spinning", "blocking")
NOISE = 0.05  # of times compared beside threads that compute
BARS = {"random-read": {("spinning", "p50"): 0.30, ("spinning", "mean"): 0.5,
                        ("blocking", "p50"): 0.12, ("blocking", "mean"): 0.25}}


def once(bench, arm, words):
    if arm in NAIVE:
        job = bench.start("naive", arm, LOCAL_MIB, *words)
    else:
        job = bench.start("access", *words, rmem=RMEM)
    result = job.line()
    job.wait()
    return result


def runs_of(bench, *words):
    results = {a: [] for a in (*NAIVE, "rmem")}
    for arm in rotated(list(results), bench.args.runs):
        results[arm].append(once(bench, arm, words))
    return results


def med(runs, key):
    return median([r[key] for r in runs])


def latency_row(name, results):
    """Of each run the median, too: a thread that sleeps wakes up on the processor of the job or
    on another one, all through a run, and on the other one it takes five times as long."""
    def text(arm):
        us = [med(results[arm], f"refault_{k}_ns") / 1000 for k in ("mean", "p50", "p99")]
        p50 = [r["refault_p50_ns"] / 1000 for r in results[arm]]
        return (f"{arm} {us[0]:.1f} / {us[1]:.1f} / {us[2]:.1f} "
                f"(p50 {min(p50):.1f} to {max(p50):.1f})")

    return Row(f"{name}: refault mean / p50 / p99, us", "; ".join(map(text, results)))


def against(what, results, arm, key, bar=None):
    ratio = ratios(*([r[key] for r in results[a]] for a in ("rmem", arm)))
    return Row(f"{what}, rmem / {arm}", f"{ratio:.2f}", f"<= {bar}" if bar else "",
               ratio <= bar if bar else None)


def pattern_rows(pattern, results):
    name, bars = pattern.replace("-", " "), BARS.get(pattern, {})
    return [latency_row(name, results)] + [
        against(f"{name}: refault {k}", results, arm, f"refault_{k}_ns", bars.get((arm, k)))
        for arm in NAIVE for k in ("p50", "mean")]


def two_threads_rows(results):
    name = "two threads, random read"
    return [latency_row(name, results),
            Row(f"{name}: total time for each access, ns", "; ".join(
                f"{a} {med(runs, 'access_ns') / runs[0]['count']:,.0f}"
                for a, runs in results.items())),
            against(f"{name}: total time", results, "spinning", "access_ns", 0.5),
            against(f"{name}: total time", results, "blocking", "access_ns")]


def beside_busy(bench, bpf, words):
    busy = bench.start("busy", 2)
    busy.line()
    job = bench.start("access", *words, rmem=[*RMEM, "--bpf", bpf])
    result = job.line()
    job.wait()
    busy.go()
    result.update(busy.line(), **job.stats["fast_path"])
    busy.wait()
    if (result["state"] == "on") != (bpf == "auto"):
        raise BenchError(f"BPF programs are '{result['state']}' with --bpf {bpf}")
    return result


def busy_rows(results):
    on, off = results["auto"], results["off"]
    name = "beside two threads that compute"
    ns = [med(runs, "access_ns") / runs[0]["count"] for runs in (on, off)]
    time, rate = (ratios([r[k] for r in on], [r[k] for r in off])
                  for k in ("access_ns", "rounds_per_s"))
    return [Row(f"{name}: time for each access, BPF on / off",
                f"{time:.2f} ({ns[0]:,.0f} / {ns[1]:,.0f} ns)", f"<= 1 + {NOISE}",
                time <= 1 + NOISE),
            Row(f"{name}: what they did, BPF on / off", f"{rate:.2f}"),
            Row(f"{name}: refaults that waited by BPF",
                f"{med(on, 'waits'):.0f} of {med(on, 'refaults'):.0f}")]


def naive(bench):
    """Half of the memory local, beside a naive pager on userfaultfd"""
    count, rows, raw = bench.pick(131072, 16384), [], {}
    for pattern in bench.some(("random-read", "random-write"), ("random-read",)):
        raw[pattern] = runs_of(bench, pattern, SIZE_MIB, count)
        rows += pattern_rows(pattern, raw[pattern])
    if bench.is_brief():
        return rows, raw
    raw["two threads"] = runs_of(bench, "random-read", SIZE_MIB, count, 2)
    rows += two_threads_rows(raw["two threads"])
    raw["busy"] = {"auto": [], "off": []}
    for bpf in rotated(list(raw["busy"]), bench.pick(3, 1) * bench.args.runs):
        raw["busy"][bpf].append(beside_busy(bench, bpf, ("random-read", SIZE_MIB, count // 4)))
    rows += busy_rows(raw["busy"])
    return rows, raw
