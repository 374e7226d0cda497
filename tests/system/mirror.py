#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mirror.py RMEM TORTURE WHAT [--times N]: a job whose pages are in two memory servers
goes on, with right bytes, whatever happens to one of them. WHAT:

  kill     one is killed at a random moment, and does not come back
  restart  it comes back, empty: what it lacks is copied, and then the other one is killed
  stop     one stands still for three seconds (SIGSTOP)
  both     one is killed, and the other before the first is back: a loud stop"""

import argparse
import os
import random
import signal
import time

from rmemtest import MIB, Run, TcpServer, check, main

FOOTPRINT_MIB, CAP, REMOTE = 96, 24 * MIB, 256 * MIB
STALL_S = 1.0  # longer than this no fault may wait
END_S = 40


class Job(Run):
    """The torture on a mirror of two servers."""

    def __init__(self, args, a, b, job_ms):
        super().__init__(args.rmem, [args.torture, str(FOOTPRINT_MIB), str(job_ms)], CAP, REMOTE,
                         [f"mirror({a.spec},{b.spec})"], sample=False)

    def ends_right(self):
        """The longest that a fault waited, in seconds."""
        return self.torture_ends_right(END_S)


def kill(args):
    with TcpServer(args.rmem, 512 * MIB) as a, TcpServer(args.rmem, 512 * MIB) as b, \
            Job(args, a, b, 1500) as job:
        time.sleep(random.uniform(0.2, 1.4))
        victim = random.choice((a, b))
        killed = time.monotonic()
        victim.proc.kill()
        job.wait_for_words(f"{victim.spec} is lost", 2)
        said_s = time.monotonic() - killed
        check(said_s <= 1, f"said after {said_s:.2f} s")
        stall = job.ends_right()
        check(stall <= STALL_S, f"a fault waited for {stall:.2f} s")
        return stall


def restart(args):
    with TcpServer(args.rmem, 512 * MIB) as a, TcpServer(args.rmem, 512 * MIB) as b, \
            Job(args, a, b, 30000) as job:
        time.sleep(1)
        a.proc.kill()
        a.proc.wait()
        job.wait_for_words(f"{a.spec} is lost", 2)
        with TcpServer(args.rmem, 512 * MIB, port=a.spec.rsplit(":", 1)[1]):
            job.wait_for_words(f"{a.spec} is whole again", 20)
            b.proc.kill()
            job.wait_for_words(f"{b.spec} is lost", 2)
            time.sleep(1)
            job.proc.send_signal(signal.SIGTERM)
            return job.ends_right()


def stop(args):
    with TcpServer(args.rmem, 512 * MIB) as a, TcpServer(args.rmem, 512 * MIB) as b, \
            Job(args, a, b, 5000) as job:
        time.sleep(1)
        a.proc.send_signal(signal.SIGSTOP)
        try:
            job.wait_for_words(f"{a.spec} is lost", 4)
            time.sleep(2)
        finally:
            a.proc.send_signal(signal.SIGCONT)
        return job.ends_right()


def both(args):
    with TcpServer(args.rmem, 512 * MIB) as a, TcpServer(args.rmem, 512 * MIB) as b, \
            Job(args, a, b, 20000) as job:
        time.sleep(1)
        a.proc.kill()
        job.wait_for_words(f"{a.spec} is lost", 2)
        b.proc.kill()
        killed = time.monotonic()
        status = job.wait(END_S)
        check(status == 125, f"status {status}: {job.stderr[-2000:]}")
        check(time.monotonic() - killed <= 2, "it took more than 2 s to stop")
        check("all copies of the mirror are lost" in job.stderr, job.stderr[-2000:])
        check("wrong page" not in job.stderr, job.stderr[-2000:])
        job.nothing_left()
        return 0


def run():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("rmem")
    p.add_argument("torture")
    p.add_argument("what", choices=("kill", "restart", "stop", "both"))
    p.add_argument("--times", type=int, default=1)
    args = p.parse_args()
    args.rmem = os.path.abspath(args.rmem)
    stalls = [globals()[args.what](args) for _ in range(args.times)]
    print(f"{args.what}: {len(stalls)} right, longest stall of a fault {max(stalls):.3f} s")


main(run)
