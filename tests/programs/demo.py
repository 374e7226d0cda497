# SPDX-License-Identifier: Apache-2.0
"""demo.py RMEM BUILD: three real programs alone and on a quarter of their
memory, a line of progress for each, then one table. Called by quickstart."""

import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
from programs import Pool, Redis, Sort
from rmemtest import MIB, Failure, Run, Sampler, main, native

SHARE = 4  # the cap is this part of what the program uses
HEAD = ("program", "memory", "cap", "peak local", "peak remote", "alone", "with rmem", "result")


def say(text, end="\n"):
    print(text, end=end, flush=True)


def mib(n):
    return f"{n >> 20} MiB"


def show(rmem, p):
    say(f"{p.what} ... ", end="")
    p.prepare()
    sampler = Sampler(os.getpid())
    sampler.start()
    want_status, out, alone_s, _ = native(p.command(), p.timeout_s)
    sampler.end()
    want = p.result(out)
    cap = max(sampler.peak // SHARE // MIB, 16) * MIB
    say(f"{alone_s:.1f} s alone with {mib(sampler.peak)}; with {mib(cap)} ... ", end="")
    with Run(rmem, p.command(), cap, 4 * sampler.peak) as run:
        status = run.wait(p.timeout_s)
        same = status == want_status == 0 and p.result(run.stdout) == want
        st = run.stats()
        say(f"{run.wall:.1f} s, {'identical' if same else 'DIFFERENT'}")
        if not same:
            say(run.stderr[-2000:])
        return same, (p.name, mib(sampler.peak), mib(cap), mib(st["local"]["peak_bytes"]),
                      mib(st["remote"]["peak_bytes"]), f"{alone_s:.1f} s", f"{run.wall:.1f} s",
                      "identical" if same else "DIFFERENT")


def table(rows):
    widths = [max(len(r[i]) for r in rows) for i in range(len(HEAD))]
    for n, row in enumerate(rows):
        cells = [c.ljust(w) if i in (0, len(HEAD) - 1) else c.rjust(w)
                 for i, (c, w) in enumerate(zip(row, widths))]
        say("  ".join(cells).rstrip())
        if n == 0:
            say("  ".join("-" * w for w in widths))


def run():
    rmem, build = sys.argv[1:3]
    rows, good = [HEAD], True
    for kind in (Sort, Pool, Redis):
        folder = tempfile.mkdtemp(prefix="rmem-demo-", dir="/var/tmp")
        try:
            same, row = show(rmem, kind(folder, build))
        except Failure as e:
            say(f"failed: {e}")
            same, row = False, (kind.name,) + ("-",) * 6 + ("FAILED",)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        good = good and same
        rows.append(row)
    say("")
    table(rows)
    return 0 if good else 1


main(run)
