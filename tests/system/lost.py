#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""lost.py RMEM JOB: --on-loss sigbus. Of the servers of a job one is killed for good, in half of
the cases the pager, too. The job gets SIGBUS where it touches a page that was there alone, as
many as rmem says, and nowhere else: all that it reads is right, what it writes from then on
goes to the others. Where there are none it is stopped as soon as more must leave."""

import os
import re
import signal
import sys
import time

from rmemtest import MIB, Run, TcpServer, check, main

JOB_MIB, CAP, REMOTE, END_S = 64, 24 * MIB, 256 * MIB, 60


def started(rmem, job, mib, servers):
    run = Run(rmem, [job, str(mib), "wait"], CAP, REMOTE, servers, ["--on-loss", "sigbus"],
              sample=False)
    end = time.monotonic() + END_S
    while "filled" not in run.stdout:
        check(time.monotonic() < end and run.proc.poll() is None, run.stderr[-2000:])
        time.sleep(0.01)
    time.sleep(0.3)  # what is to leave has left
    return run


def lose(run, server, pager_too):
    server.proc.kill()
    if pager_too:
        os.kill(run.pids()[1], signal.SIGKILL)
    run.wait_for_words("SIGBUS where it touches", 10)
    job = run.pids()[2]
    check(job > 0, f"the job is not there any more\n{run.stderr[-2000:]}")
    os.kill(job, signal.SIGUSR1)


def lost_as_said(rmem, job, servers, pager_too):
    """The first of the servers is lost."""
    with started(rmem, job, JOB_MIB, [s.spec for s in servers]) as run:
        lose(run, servers[0], pager_too)
        status = run.wait(END_S)
        if len(servers) == 1 and status == 125:
            check("stopped: out of remote memory" in run.stderr, run.stderr[-2000:])
            run.nothing_left()
            print("the only server lost: stopped when there was no room", flush=True)
            return
        check(status == 0, f"status {status}\n{run.stdout[-500:]}{run.stderr[-2000:]}")
        said = int(re.search(r"is lost, and (\d+) pages with it", run.stderr).group(1))
        lost, of = (int(x) for x in re.search(r"lost (\d+) of (\d+)", run.stdout).groups())
        check(lost == said, f"{lost} pages were lost, rmem says {said}\n{run.stderr[-2000:]}")
        check(0 < lost < of, f"{lost} of {of} pages were lost")
        run.nothing_left()
    print(f"one of {len(servers)} servers lost{', and the pager killed' if pager_too else ''}: "
          f"{lost} of {of} pages, as said", flush=True)


def run():
    rmem, job = (os.path.abspath(p) for p in sys.argv[1:3])
    for nr, pager_too in ((2, False), (2, True), (1, False)):
        servers = [TcpServer(rmem, 512 * MIB) for _ in range(nr)]
        try:
            lost_as_said(rmem, job, servers, pager_too)
        finally:
            for s in servers:
                s.__exit__()


main(run)
