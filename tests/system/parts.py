#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""parts.py RMEM JOBS: what holds between the parts of rmem, seen from outside:
a job that fits is not touched; running out of remote memory is loud; the job
holds nothing of rmem's; the pager's own memory is locked and not registered; a
pager that is stopped does not turn remote pages into anything else; process
numbers that begin anew hide nobody."""

import os
import signal
import sys
import time

from rmemtest import MIB, Failure, Run, check, comm, descendants, main, read

TIMEOUT_S = 60


def fits(rmem, jobs):
    """Under the cap: no agent, no registration, nothing moved."""
    with Run(rmem, [f"{jobs}/heap_mmap", "64"], 512 * MIB, 512 * MIB, ["ram"]) as run:
        check(run.wait(TIMEOUT_S) == 0, run.stderr)
        st = run.stats()
        check(st["agents"]["total"] == 0, f"agents: {st['agents']}")
        check(st["ranges_registered"] == 0, f"registered: {st['ranges_registered']}")
        check(st["pages"]["moved"] == 0 and st["faults"]["remote"] == 0, "pages moved")
        run.nothing_left()


def remote_full(rmem, jobs):
    """Out of remote memory: a loud stop that names it, never a wrong byte."""
    with Run(rmem, [f"{jobs}/heap_mmap", "192"], 32 * MIB, 48 * MIB, ["ram"]) as run:
        status = run.wait(TIMEOUT_S)
        check(status == 125, f"status {status}: {run.stderr[-500:]}")
        check("remote" in run.stderr and "wrong page" not in run.stderr, run.stderr[-500:])
        run.nothing_left()


def wait_managed(run):
    end = time.monotonic() + 20
    while time.monotonic() < end and run.proc.poll() is None:
        agents = run.named("rmem-agent")
        _, pager, job = run.pids()
        if agents and pager and job:
            time.sleep(0.3)
            return pager, job, agents
        time.sleep(0.005)
    raise Failure("no agent came: " + run.stderr[-500:])


def links(pid):
    out = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            out.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except OSError:
            pass
    return out


def separation(rmem, jobs):
    """What the job holds, what the pager locks, what the agent is called."""
    with Run(rmem, [f"{jobs}/torture", "128", "2500"], 32 * MIB, 512 * MIB, ["ram"]) as run:
        pager, job, agents = wait_managed(run)
        bad = [x for x in links(job) if "userfaultfd" in x or "rmem" in x or "socket" in x]
        check(not bad, f"the job holds {bad}")
        looked_at = 0
        for agent in agents:
            try:
                held = [x for x in links(agent) if x.startswith("/") and "userfaultfd" not in x]
            except FileNotFoundError:
                continue  # that of a process which has ended since
            check(not held, f"the agent holds files of the job: {held}")
            looked_at += 1
        check(looked_at > 0, "no agent is left")
        status = read(f"/proc/{pager}/status").decode()
        locked = int(status.split("VmLck:")[1].split()[0])
        check(locked > 0, "the pager's memory is not locked")
        check(b" um" not in read(f"/proc/{pager}/smaps"), "the pager registered its own memory")
        check(os.getpgid(pager) != os.getpgid(job), "the pager is in the job's process group")
        check(run.wait(TIMEOUT_S) == 0, run.stderr[-1000:])
        run.nothing_left()


def stopped_pager(rmem, jobs):
    """SIGSTOP of the pager: the job waits; SIGCONT: it goes on, all right."""
    with Run(rmem, [f"{jobs}/torture", "128", "2500"], 32 * MIB, 512 * MIB, ["ram"]) as run:
        pager, _, _ = wait_managed(run)
        for _ in range(3):
            os.kill(pager, signal.SIGSTOP)
            time.sleep(0.4)
            os.kill(pager, signal.SIGCONT)
            time.sleep(0.2)
        check(run.wait(TIMEOUT_S) == 0, run.stderr[-1000:])
        check("torture: ok" in run.stdout, "no result")
        run.nothing_left()


def bystanders(rmem, jobs):
    """Two runs side by side do not meet; the end of one leaves the other alone."""
    short = [f"{jobs}/torture", "64", "600"]
    long = [f"{jobs}/torture", "64", "2500"]
    with Run(rmem, long, 20 * MIB, 256 * MIB) as a, Run(rmem, short, 20 * MIB, 256 * MIB) as b:
        check(b.wait(TIMEOUT_S) == 0, b.stderr[-1000:])
        b.nothing_left()
        check(a.proc.poll() is None, "the other one ended too")
        left = [p for p in descendants(a.proc.pid) if comm(p) == "rmemd"]
        check(left, "its server is gone")
        check(a.wait(TIMEOUT_S) == 0, a.stderr[-1000:])
        a.nothing_left()


# In a numbering of its own: the last number, so that the job's first child gets a
# small one. Its second child is the first to follow a wrap.
WRAP = """
set -e
next=/proc/sys/kernel/ns_last_pid
max=$(cat /proc/sys/kernel/pid_max)
echo $((max - 40)) > $next
/bin/true
sleep 0.2
echo $((max - 1)) > $next
exec "$@"
"""


def numbers_begin_anew(rmem, jobs):
    """A process born just after the process numbers wrapped is seen and managed."""
    job = ["sh", "-c", WRAP, "sh", f"{jobs}/late_child", "128"]
    inside = ["unshare", "--pid", "--fork", "--mount-proc"]
    with Run(rmem, job, 32 * MIB, 512 * MIB, ["ram"], prefix=inside) as run:
        check(run.wait(TIMEOUT_S) == 0, run.stderr[-1000:])
        st = run.stats()
        check(st["pages"]["evicted"] > 0, "the late child was never managed")
        check(st["local"]["peak_bytes"] <= 64 * MIB, f"peak: {st['local']['peak_bytes'] >> 20} MiB")
        run.nothing_left()


CASES = (fits, remote_full, separation, stopped_pager, bystanders, numbers_begin_anew)


def run():
    rmem, jobs = sys.argv[1:3]
    bad = 0
    for case in CASES:
        if len(sys.argv) > 3 and case.__name__ not in sys.argv[3:]:
            continue
        try:
            case(rmem, jobs)
            print(f"{case.__name__}: ok", flush=True)
        except Failure as e:
            print(f"{case.__name__}: FAILED: {e}", flush=True)
            bad += 1
    return bad


if __name__ == "__main__":
    main(run)
