#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""fast.py RMEM JOBS: the fast fault path. It is on where the kernel lets it, and off
when that is asked for or forbidden, which is said in one line; the bytes are right
either way. While the pager is stopped, nobody waits in it for long. In an emulated guest
no page comes within the 20 us: there only the programs are tried."""

import os
import signal
import sys
import time

from parts import TIMEOUT_S, wait_managed
from rmemtest import MIB, Failure, Run, check, main


EMULATED = float(os.environ.get("RMEM_TEST_SLOW", "1")) > 1
NO_MOVE = "rmem: userfaultfd can't move pages here"  # said by itself before Linux 6.8


class Skip(Exception):
    """What the kernel does not let us do can't be tested."""


def walk(rmem, jobs, extra=(), prefix=()):
    """One thread, more memory than the cap: stats and standard error."""
    with Run(rmem, [f"{jobs}/heap_mmap", "192"], 64 * MIB, 512 * MIB, ["ram"], extra=extra,
             prefix=prefix) as run:
        check(run.wait(TIMEOUT_S) == 0, run.stderr[-1000:])
        st = run.stats()
        check(st["pages"]["fetched"] > 0, "nothing came back")
        run.nothing_left()
        said = [x for x in run.stderr.splitlines() if not x.startswith(NO_MOVE)]
        return st["fast_path"], "\n".join(said)


def on(rmem, jobs):
    """Loaded, attached, and of use."""
    for _ in range(10):
        fast, err = walk(rmem, jobs)
        if fast["state"] == "refused" and not EMULATED:  # a guest of ours lets it
            raise Skip(fast["why"])
        check(fast["state"] == "on", f"{fast}")
        check(err == "", err)
        if EMULATED:
            return
        if fast["waits"]:
            check(fast["in_time"] > 0, f"nobody got a page in time: {fast}")
            return
    raise Skip("no core is idle: nobody waits, which is right")


def off(rmem, jobs):
    fast, err = walk(rmem, jobs, ["--bpf", "off"])
    check(fast["state"] == "not needed yet" and not fast["waits"], f"{fast}")
    check(err == "", err)


def forbidden(rmem, jobs):
    """No right to load programs: one line says so, and the rest works. Where nothing can be moved
    without them, that line is all."""
    no_right = ["setpriv", "--bounding-set", "-bpf,-perfmon,-sys_admin",
                "--inh-caps", "-bpf,-perfmon,-sys_admin"]
    try:
        fast, err = walk(rmem, jobs, prefix=no_right)
    except Failure as e:
        if "no UFFDIO_MOVE here" not in str(e) or "CAP_BPF" not in str(e):
            raise
        return
    check(fast["state"] == "refused" and not fast["waits"], f"{fast}")
    check(len(err.splitlines()) == 1 and "CAP_BPF" in err, err)


def unwritten(rmem, jobs):
    """What is only read leaves without a look at its bytes, where the programs can tell; and what
    was written to comes back as it was written, which the job says."""
    for extra, some in ((), True), (("--bpf", "off"), False):
        with Run(rmem, [f"{jobs}/unwritten", "64"], 16 * MIB, 512 * MIB, ["ram"],
                 extra=extra) as run:
            check(run.wait(TIMEOUT_S) == 0, run.stderr[-1000:])
            st = run.stats()
            if some and (st["fast_path"]["state"] == "refused" or NO_MOVE in run.stderr):
                raise Skip("the kernel can't tell")
            if some and merging():
                raise Skip("the machine merges pages")
            check((st["pages"]["unwritten"] > 0) == some, f"{st['pages']}")
            run.nothing_left()


def merging():
    try:
        with open("/sys/kernel/mm/ksm/run", encoding="ascii") as f:
            return f.read().strip() == "1"
    except FileNotFoundError:
        return False


def stopped_pager(rmem, jobs):
    """The kernel's part runs with interrupts off: a pager that does not answer must
    not be waited for. 20 us is the most; some more is the clock's and the host's."""
    with Run(rmem, [f"{jobs}/torture", "128", "2500"], 32 * MIB, 512 * MIB, ["ram"]) as run:
        pager, _, _ = wait_managed(run)
        longest = 0
        for _ in range(10):
            os.kill(pager, signal.SIGSTOP)
            for _ in range(30):
                start = time.monotonic()
                time.sleep(0.001)
                longest = max(longest, time.monotonic() - start)
            os.kill(pager, signal.SIGCONT)
            time.sleep(0.03)
        check(run.wait(TIMEOUT_S) == 0, run.stderr[-1000:])
        fast = run.stats()["fast_path"]
        if fast["state"] == "refused":
            raise Skip(fast["why"])
        missed = fast["waits"] - fast["in_time"]
        check(fast["wait_ns"] <= 40000 * max(1, fast["waits"]), f"waited too long: {fast}")
        check(longest < 0.5, f"the machine stood still for {longest:.3f} s")
        print(f"  {fast['waits']} waits, {missed} in vain, "
              f"{fast['wait_ns'] / max(1, fast['waits']) / 1000:.1f} us each; a sleep of 1 ms took "
              f"at most {longest * 1000:.1f} ms")
        run.nothing_left()


CASES = (on, off, forbidden, unwritten, stopped_pager)


def run():
    rmem, jobs = sys.argv[1:3]
    bad = 0
    for case in CASES:
        if len(sys.argv) > 3 and case.__name__ not in sys.argv[3:]:
            continue
        try:
            case(rmem, jobs)
            print(f"{case.__name__}: ok", flush=True)
        except Skip as e:
            print(f"{case.__name__}: skipped: {e}", flush=True)
        except Failure as e:
            print(f"{case.__name__}: FAILED: {e}", flush=True)
            bad += 1
    return bad


main(run)
