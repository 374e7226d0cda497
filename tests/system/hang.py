#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""hang.py RMEM TORTURE: the pager stands still. For six seconds: the job waits, and goes
on with right bytes. For good: after ten seconds another takes over, and it goes on as well."""

import argparse
import os
import signal
import time

from rmemtest import MIB, Run, check, main

FOOTPRINT_MIB, CAP, REMOTE = 96, 24 * MIB, 512 * MIB
END_S = 40


def begin(args, job_ms):
    return Run(args.rmem, [args.torture, str(FOOTPRINT_MIB), str(job_ms)], CAP, REMOTE, ["ram"],
               sample=False)


def stop_pager(run):
    time.sleep(1)
    pager = run.pids()[1]
    check(pager > 0, "there is no pager")
    os.kill(pager, signal.SIGSTOP)
    return pager


def for_a_while(args):
    with begin(args, 2000) as run:
        pager = stop_pager(run)
        time.sleep(6)  # a core that finds no page to leave for five gives up
        os.kill(pager, signal.SIGCONT)
        run.torture_ends_right(END_S)


def for_good(args):
    with begin(args, 14000) as run:
        stop_pager(run)
        start = time.monotonic()
        run.wait_for_words("the pager has done nothing for 10 s", 16)
        took = time.monotonic() - start
        check(took >= 9, f"killed after {took:.1f} s")
        run.torture_ends_right(END_S)
        check(run.stats()["takeovers"] == 1, run.stderr[-2000:])
    return took


def run():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("rmem")
    p.add_argument("torture")
    args = p.parse_args()
    args.rmem = os.path.abspath(args.rmem)
    for_a_while(args)
    print(f"hang: right after 6 s, replaced after {for_good(args):.1f} s")


main(run)
