# SPDX-License-Identifier: Apache-2.0
"""What it costs to keep every page on two servers, and how fast a lost copy is made again. All
servers are on this machine, and take its processors."""

import time

from jobs import BenchError, median, ratios, rotated
from report import Row
from tcp import start_server

PATTERNS = ("random-read", "random-write", "sequential-read")
BAR, RESYNC_MIB_S = 1.3, 35


def slowdowns(bench):
    size_mib, count = 256, bench.pick(65536, 16384)
    a, b = (start_server(bench, f"{2 * size_mib}M") for _ in range(2))
    limits = ["--local", f"{size_mib // 2}M", "--remote", f"{2 * size_mib}M", "--server"]
    arms = {"single": [*limits, f"tcp:{a}"], "mirror": [*limits, f"mirror(tcp:{a},tcp:{b})"]}
    rows, raw = [], {}
    for pattern in PATTERNS:
        ns = {arm: [] for arm in arms}
        for arm in rotated(list(arms), bench.args.runs):
            job = bench.start("access", pattern, size_mib, count, rmem=arms[arm])
            ns[arm].append(job.line()["access_mean_ns"])
            job.wait()
        ratio = ratios(ns["mirror"], ns["single"])
        rows.append(Row(f"{pattern.replace('-', ' ')}: time for each access, two servers / one",
                        f"{ratio:.2f} ({median(ns['mirror']) / 1000:.1f} / "
                        f"{median(ns['single']) / 1000:.1f} us)", f"<= {BAR}", ratio <= BAR))
        raw[pattern] = ns
    bench.clean_up()
    return rows, raw


def wait_for(job, words, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with open(job.errors, encoding="utf-8", errors="replace") as f:
            if words in f.read():
                return time.monotonic()
        time.sleep(0.005)
    raise BenchError(f"'{words}' was not said in {seconds} s")


def resync(bench):
    size_mib, local_mib = bench.pick((1280, 256), (384, 128))
    a, b = (start_server(bench, f"{2 * size_mib}M") for _ in range(2))
    job = bench.start("touch", size_mib, rmem=["--local", f"{local_mib}M", "--remote",
                                               f"{2 * size_mib}M", "--server",
                                               f"mirror(resync=4G,tcp:{a},tcp:{b})"])
    job.line()
    job.go()
    job.line()
    time.sleep(1)
    remote = job.live()["remote"]["bytes"] / (1 << 20)
    bench.undo.pop()()  # the second server
    wait_for(job, "is lost", 5)
    start_server(bench, f"{2 * size_mib}M", b.rsplit(":", 1)[1])
    began = wait_for(job, "is there again", 10)
    seconds = wait_for(job, "is whole again", 120) - began
    job.go()
    job.wait()
    bench.clean_up()
    rate = remote / seconds
    return [Row("a lost copy is made again", f"{rate:.0f} MiB/s ({remote:.0f} MiB in {seconds:.1f} s)",
                f">= {RESYNC_MIB_S} MiB/s", rate >= RESYNC_MIB_S)], {"mib": remote, "s": seconds}


def mirror(bench):
    """Every page on two servers (tcp, on this machine) beside one"""
    rows, raw = slowdowns(bench)
    more, raw["resync"] = resync(bench)
    return rows + more, raw
