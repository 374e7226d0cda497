#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""run_program.py RMEM BUILD NAME: a real program gives the same output and the
same status at a half and at a quarter of its memory (in long mode, RMEM_TEST_MODE, with more servers)."""

import argparse
import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
from memcg import counted
from programs import ALL
from rmemtest import MIB, Failure, Sampler, TcpServer, check, check_cap, main, native

MIN_CAP = 16 * MIB


def alone(p):
    """Without rmem: status, result, seconds, and the peak of its anonymous memory."""
    sampler = Sampler(os.getpid())
    sampler.start()
    status, out, secs, _ = native(p.command(), p.timeout_s)
    sampler.end()
    return status, p.result(out), secs, sampler.peak


def under_rmem(rmem, p, local, remote, server):
    if server == "tcp":
        with TcpServer(rmem, 2 * remote) as tcp:
            return under_rmem(rmem, p, local, remote, tcp.spec)
    with counted(rmem, p.command(), local, remote, [server] if server else []) as run:
        status = run.wait(p.timeout_s)
        run.nothing_left()
        return run, status, p.result(run.stdout), run.stats(), run.stderr


def one(rmem, p, want, peak, percent, server):
    local = max(peak * percent // 100, MIN_CAP) // MIB * MIB
    run, status, result, st, err = under_rmem(rmem, p, local, max(4 * peak, 256 * MIB), server)
    check(status == want[0], f"status {status} instead of {want[0]}:\n{err[-2000:]}")
    check(result == want[1], f"other output:\n{result[-600:]}\ninstead of\n{want[1][-600:]}")
    check(st["pages"]["evicted"] > 0, "nothing was evicted")
    check_cap(run, st, local, (32 + p.populates_mib) * MIB)
    print(f"{p.name} {percent} % {server or 'private server'}: ok, {run.wall:.1f} s, "
          f"peak {run.counter.peak >> 20} MiB of {local >> 20}, "
          f"remote {st['remote']['peak_bytes'] >> 20} MiB", flush=True)


def run():
    ap = argparse.ArgumentParser()
    ap.add_argument("rmem")
    ap.add_argument("build")
    ap.add_argument("name", choices=sorted(ALL))
    a = ap.parse_args()
    folder = tempfile.mkdtemp(prefix="rmem-program-", dir="/var/tmp")
    p = ALL[a.name](folder, a.build)
    try:
        p.prepare()
        status, result, secs, peak = alone(p)
        check(status == 0, f"{a.name} fails by itself: status {status}: {result[-500:]}")
        print(f"{p.name} alone: {secs:.1f} s, {peak >> 20} MiB", flush=True)
        for percent, server in p.combos:
            try:
                one(a.rmem, p, (status, result), peak, percent, server)
            except Failure as e:
                raise Failure(f"{a.name} at {percent} % with {server or 'private server'}: "
                              f"{e}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


main(run)
