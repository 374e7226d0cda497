# SPDX-License-Identifier: Apache-2.0
"""RDMA in a guest of the test bed, where there is no hardware: ratios of what was run turn about
in one guest. They say nothing of real devices."""

import json
import os
import subprocess
import sys

from jobs import BenchError, median
from report import Row

LIMIT_S = 1500
# With its processors in parallel a guest may die at any time (docs/testbed.md).
BOOTS, GUEST_DIED = 3, 125
BAR, LAT_BAR, BW_BAR, SHARE_BAR = 0.6, 1.3, 0.8, 0.02


def in_guest(bench):
    root, quick = bench.args.root, bench.args.quick
    command = [os.path.join(root, "tests/vm/run"), "--kernel", "6.12", "--threads", "multi",
               "--timeout", str(LIMIT_S), sys.executable, "-B",
               os.path.join(root, "bench/rdma_guest.py"), os.path.dirname(bench.rmem),
               os.path.dirname(bench.program("access")), str(bench.args.runs), str(int(quick))]
    for _ in range(BOOTS):
        p = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           check=False)
        if p.returncode != GUEST_DIED:
            break
    if p.returncode:
        raise BenchError(f"the guest ended with {p.returncode}: {p.stderr.strip()[-300:]}")
    return json.loads(p.stdout)


def compared(what, rmem, swap):
    """Where pages come ahead the number of faults says nothing: then the whole time counts. Where
    none do, the time for each fault is the paging's, and their number that of the room."""
    def ratio(of):
        return median([of(a) / of(b) for a, b in zip(rmem, swap)])

    whole = ratio(lambda run: run["ns"])
    us = ", ".join(f"{median([run['ns'] for run in runs]) / 1000:.0f}" for runs in (rmem, swap))
    if not what.startswith("random"):
        return Row(f"{what}: rmem over rxe / swap over nvme-rdma", f"{whole:.2f} ({us} us)",
                   f"<= {BAR}", whole <= BAR)
    fault = ratio(lambda run: run["ns"] / run["faults"])
    return Row(f"{what}, a fault: rmem over rxe / swap over nvme-rdma",
               f"{fault:.2f}; an access {whole:.2f} ({us} us)",
               f"<= {BAR}; < 1", fault <= BAR and whole < 1)


def rdma(bench):
    """RDMA by soft RoCE in one guest: beside swap over nvme-rdma, and beside perftest"""
    raw = in_guest(bench)
    lat, rate = raw["transport"]["lat_us"], raw["transport"]["bw_mib_s"]
    slower = median([a / b for a, b in zip(lat["rmem"], lat["perftest"])])
    share = median([a / b for a, b in zip(rate["rmem"], rate["perftest"])])
    rows = [compared(what.replace("-", " "), runs["rmem"], runs["swap"])
            for what, runs in raw["paging"].items()]
    rows += [
        Row("4 KiB read / ib_read_lat", f"{slower:.2f} ({median(lat['rmem']):.1f}, "
            f"{median(lat['perftest']):.1f} us)", f"<= {LAT_BAR}", slower <= LAT_BAR),
        Row("64 reads in flight / ib_read_bw", f"{share:.2f} ({median(rate['rmem']):.0f}, "
            f"{median(rate['perftest']):.0f} MiB/s)", f">= {BW_BAR}", share >= BW_BAR),
        Row("server's user time while it is read from", f"{raw['server_user_share']:.2%}",
            f"< {SHARE_BAR:.0%}", raw["server_user_share"] < SHARE_BAR),
    ]
    return rows, raw
