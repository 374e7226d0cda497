#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""apart.py RMEM JOB_DIR [outage]: client and server each in a network namespace of its own, with
a link of limited bandwidth between them; then the link is cut, for good or for three
seconds, both ways or one way; outage: for 40 s while the job waits.

Needs root and iproute2. Where namespaces or the limit can't be made it is skipped."""

import os
import subprocess
import sys
import time

from rmemtest import MIB, Failure, Run, TcpServer, check, main, native

LINK_MBIT = 400
JOB_MIB, LOCAL_MIB = 64, 16
TIMEOUT_S = 90
OUTAGE_S = 40


def ip(*args, check_it=True):
    done = subprocess.run(["ip"] + list(args), check=False, capture_output=True, text=True)
    if check_it and done.returncode:
        raise OSError(f"ip {' '.join(args)}: {done.stderr.strip()}")


class Apart:
    """Two namespaces and a pair of interfaces; use as a context."""

    def __init__(self):
        me = os.getpid()
        self.client, self.server = f"rmem-c{me}", f"rmem-s{me}"
        net = 64 + me % 64
        self.addr = {self.client: f"100.{net}.{me // 64 % 256}.1",
                     self.server: f"100.{net}.{me // 64 % 256}.2"}

    def __enter__(self):
        try:
            for ns in (self.client, self.server):
                ip("netns", "add", ns)
            ip("link", "add", "rmem0", "netns", self.client, "type", "veth",
               "peer", "name", "rmem0", "netns", self.server)
            for ns in (self.client, self.server):
                ip("-n", ns, "addr", "add", self.addr[ns] + "/30", "dev", "rmem0")
                ip("-n", ns, "link", "set", "rmem0", "up")
                ip("-n", ns, "link", "set", "lo", "up")
                done = subprocess.run(
                    self.within(ns) + ["tc", "qdisc", "add", "dev", "rmem0", "root", "tbf",
                                       "rate", f"{LINK_MBIT}mbit", "burst", "256kb",
                                       "latency", "50ms"],
                    check=False, capture_output=True, text=True)
                if done.returncode:
                    raise OSError(done.stderr.strip())
        except OSError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for ns in (self.client, self.server):
            ip("netns", "del", ns, check_it=False)

    def within(self, ns):
        """Only the network is another: /sys and /proc stay as they are."""
        return ["nsenter", f"--net=/run/netns/{ns}"]

    def cut(self):
        ip("-n", self.server, "link", "set", "rmem0", "down")

    def heal(self):
        ip("-n", self.server, "link", "set", "rmem0", "up")

    def drop_answers(self):
        """What the client sends arrives, what the server sends does not."""
        ip("-n", self.server, "route", "add", "blackhole", self.addr[self.client] + "/32")

    def let_answers_pass(self):
        ip("-n", self.server, "route", "del", "blackhole", self.addr[self.client] + "/32")


def start(apart, rmem, server, command, params=""):
    return Run(rmem, command, LOCAL_MIB * MIB, 4 * JOB_MIB * MIB, [server.spec + params],
               prefix=apart.within(apart.client))


def far_server(apart, rmem):
    return TcpServer(rmem, 8 * JOB_MIB * MIB, apart.addr[apart.server],
                     apart.within(apart.server))


def same_over_a_slow_link(apart, rmem, jobs):
    """Identical, and the limit was in force: the pages took as long as it says."""
    for name in ("torture", "fork_cow"):
        command = [os.path.join(jobs, name), str(JOB_MIB)]
        want = native(command, TIMEOUT_S)
        with far_server(apart, rmem) as server, start(apart, rmem, server, command) as run:
            status = run.wait(TIMEOUT_S)
            check((status, run.stdout) == want[:2],
                  f"{name}: status {status} instead of {want[0]}\n{run.stderr[-2000:]}")
            st = run.stats()
            run.nothing_left()
        moved = max(st["pages"]["written"], st["pages"]["fetched"])
        least = (moved * 4096 - 4 * MIB) * 8 / (LINK_MBIT * 1e6)
        check(run.wall >= least, f"{name}: {moved} pages in {run.wall:.1f} s: no limit")
        print(f"{name} over {LINK_MBIT} Mbit/s: ok, {run.wall:.1f} s, "
              f"written {st['pages']['written']}, fetched {st['pages']['fetched']}", flush=True)


def cut_link_is_loud(apart, rmem, jobs):
    """No answer and no reset: the time-out of the store stops the job."""
    command = [os.path.join(jobs, "fork_cow"), str(JOB_MIB)]
    with far_server(apart, rmem) as server, \
            start(apart, rmem, server, command, ",timeout=2") as run:
        time.sleep(0.7)
        apart.cut()
        began = time.monotonic()
        status = run.wait(TIMEOUT_S)
        took = time.monotonic() - began
        check(status == 125, f"link cut: status {status}\n{run.stderr[-2000:]}")
        check(server.spec in run.stderr, f"link cut: which server?\n{run.stderr[-2000:]}")
        check(took < 10, f"link cut: {took:.1f} s with a time-out of 2 s")
        run.nothing_left()
    print(f"link cut: ok, stopped after {took:.1f} s", flush=True)


def outage_is_waited_for(apart, rmem, jobs):
    """Longer than any time-out of this machine's or of TCP's usual ones."""
    command = [os.path.join(jobs, "torture"), str(JOB_MIB), "4000"]
    with far_server(apart, rmem) as server, \
            Run(rmem, command, LOCAL_MIB * MIB, 4 * JOB_MIB * MIB, [server.spec + ",timeout=2"],
                ["--on-loss", "wait"], sample=False,
                prefix=apart.within(apart.client)) as run:
        time.sleep(1)
        apart.cut()
        run.wait_for_words("has not answered for 2 s: the job waits for it", 5)
        time.sleep(OUTAGE_S)
        apart.heal()
        run.wait_for_words("answers again, and the job goes on", 30)
        stall = run.torture_ends_right(TIMEOUT_S)
    print(f"link cut for {OUTAGE_S} s, --on-loss wait: ok, longest stall {stall:.1f} s", flush=True)


def mirror_outlives(apart, rmem, jobs, what, fail, heal):
    """One copy is behind the link, the other is not: after three seconds the first is filled
    anew, and then it is the only one."""
    command = [os.path.join(jobs, "torture"), str(JOB_MIB), "15000"]
    with far_server(apart, rmem) as far, \
            TcpServer(rmem, 8 * JOB_MIB * MIB, apart.addr[apart.client],
                      apart.within(apart.client)) as near, \
            Run(rmem, command, LOCAL_MIB * MIB, 4 * JOB_MIB * MIB,
                [f"mirror({near.spec},{far.spec})"], sample=False,
                prefix=apart.within(apart.client)) as run:
        time.sleep(1)
        fail()
        failed = time.monotonic()
        run.wait_for_words(f"{far.spec} is lost", 3)
        time.sleep(max(0, failed + 3 - time.monotonic()))
        heal()
        run.wait_for_words(f"{far.spec} is whole again", 20)
        near.proc.kill()
        run.wait_for_words(f"{near.spec} is lost", 2)
        status = run.wait(TIMEOUT_S)
        check(status == 0 and "torture: ok" in run.stdout,
              f"{what}: status {status}\n{run.stderr[-2000:]}")
        st = run.stats()
        stall = st["fault_latency_ns"]["max"] / 1e9
        check(stall <= 3.5, f"{what}: a fault waited for {stall:.2f} s")
        check(st["wrong_sums"]["pages"] == 0, f"{what}: wrong pages: {st['wrong_sums']}")
        run.nothing_left()
    print(f"mirror, {what} for 3 s: ok, longest stall {stall:.2f} s", flush=True)


def run():
    rmem, jobs = sys.argv[1:3]
    try:
        apart = Apart().__enter__()
    except OSError as e:
        print(f"skipped: no network namespaces with a limited link here: {e}")
        return 77
    try:
        if sys.argv[3:] == ["outage"]:
            outage_is_waited_for(apart, rmem, jobs)
            return 0
        same_over_a_slow_link(apart, rmem, jobs)
        mirror_outlives(apart, rmem, jobs, "link cut", apart.cut, apart.heal)
        mirror_outlives(apart, rmem, jobs, "answers dropped", apart.drop_answers,
                        apart.let_answers_pass)
        cut_link_is_loud(apart, rmem, jobs)
    finally:
        apart.__exit__()
    return 0


main(run)
