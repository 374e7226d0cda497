# SPDX-License-Identifier: Apache-2.0
"""The figure of the store tcp: beside the least that loopback allows."""

import os
import signal
import subprocess
import time

from jobs import LIBC, PR_SET_PDEATHSIG, BenchError, median, rotated
from report import Row

PAGE, GB = 4096, 1e9


def start_server(bench, capacity="256M", port="0"):
    """An rmemd on a free port of 127.0.0.1; HOST:PORT of it."""
    log = os.path.join(bench.temp, f"rmemd-{time.monotonic_ns()}.log")
    with open(log, "wb") as f:
        p = subprocess.Popen(
            [os.path.join(os.path.dirname(bench.rmem), "rmemd"), "--listen", f"tcp:127.0.0.1:{port}",
             "--capacity", capacity], stdin=subprocess.DEVNULL, stdout=f, stderr=f,
            preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
    bench.undo.append(lambda: (p.kill(), p.wait()))
    end = time.monotonic() + 10
    while time.monotonic() < end and p.poll() is None:
        with open(log, encoding="utf-8") as f:
            for word in f.read().replace(",", " ").split():
                if word.startswith("tcp:127.0.0.1:"):
                    return word[len("tcp:"):]
        time.sleep(0.01)
    raise BenchError("rmemd did not come up")


def tcp(bench):
    """Pages over TCP loopback: one at a time beside an echo, many beside a stream"""
    server = start_server(bench)
    reads, pages = bench.pick((20000, 200000), (5000, 50000))
    count = {"read": reads, "echo": reads, "flight": pages, "single": pages, "stream": pages}
    ns = {arm: [] for arm in count}
    for arm in rotated(list(count), bench.args.runs + 1):
        job = bench.start("tcp", arm, count[arm], server)
        ns[arm].append(job.line()["ns"])
        job.wait()
    ns = {arm: of[1:] for arm, of in ns.items()}  # the first of each doesn't count
    bench.clean_up()
    slower = median([a / b for a, b in zip(ns["read"], ns["echo"])])
    rate = {arm: pages * PAGE / median(ns[arm]) for arm in ("flight", "single", "stream")}
    share = {arm: median([b / a for a, b in zip(ns[arm], ns["stream"])])
             for arm in ("flight", "single")}
    return [
        Row("4 KiB read / bare io_uring echo of as many bytes",
            f"{slower:.2f} ({median(ns['read']) / 1000:.1f} us, echo "
            f"{median(ns['echo']) / 1000:.1f} us)", "<= 1.3", slower <= 1.3),
        Row("64 pages in flight, neighbours / plain stream",
            f"{share['flight']:.2f} ({rate['flight']:.2f} GB/s, stream {rate['stream']:.2f} GB/s)",
            ">= 0.7", share["flight"] >= 0.7),
        Row("64 pages in flight, no two neighbours / plain stream",
            f"{share['single']:.2f} ({rate['single']:.2f} GB/s)"),
    ], {"ns": ns, "count": count}
