#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""far.py RMEM TORTURE WHAT: a job in this guest, its memory in the other one by RDMA, and
something happens to the wire or to the other guest. Runs in the main guest of
tests/vm/run --peer 'rmemd --listen rdma:10.9.0.1 ...'."""

import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../system"))
# pylint: disable=wrong-import-position
from rmemtest import MIB, PagerKiller, Run, check, main  # noqa: E402

JOB_MIB, LOCAL_MIB, REMOTE_MIB = 32, 16, 128
JOB_MS = 9000  # of emulated time: a second here is about a twentieth of one
TIMEOUT_S = 150
DEAF_S = 2
PAUSE_S = 8
BREAK_S = 25  # rxe tries for a second, by a timer that is late in emulation: 6 and more than 8


def sh(*command):
    subprocess.run(command, check=True)


def peer(what):
    sh("vm-peer", what)


def far_spec(more=""):
    return f"rdma:{os.environ['RMEM_VM_PEER_IP']}{more}"


def start(rmem, torture, spec, *extra):
    return Run(rmem, [torture, str(JOB_MIB), str(JOB_MS)], LOCAL_MIB * MIB, REMOTE_MIB * MIB,
               [spec], extra, sample=False)


def expect_good(run, what):
    """The job looks at each of its bytes itself."""
    status = run.wait(TIMEOUT_S)
    check(status == 0 and "torture: ok" in run.stdout,
          f"{what}: status {status}\n{run.stdout[-500:]}{run.stderr[-2000:]}")
    st = run.stats()
    check(st["pages"]["fetched"] > 0, f"{what}: nothing was fetched")
    print(f"{what}: ok, {run.wall:.1f} s, fetched {st['pages']['fetched']}, longest stall "
          f"{st['fault_latency_ns']['max'] / 1e9:.2f} s", flush=True)
    return st


def untouched(rmem, torture):
    with start(rmem, torture, far_spec()) as run:
        expect_good(run, "untouched")
        run.nothing_left()


def paused(rmem, torture):
    """For longer than rxe tries: the connections break, and are made anew. iWARP is on TCP,
    which tries longer."""
    with start(rmem, torture, far_spec()) as run:
        time.sleep(3)
        peer("stop")
        if "siw" in os.environ["RMEM_VM_RDMA"]:
            time.sleep(PAUSE_S)
        else:
            run.wait_for_words("a connection broke", BREAK_S)
        peer("cont")
        st = expect_good(run, "peer paused")
        check(st["fault_latency_ns"]["max"] >= 1e9, "the pause was not felt")
        check("connected again" in run.stderr or "siw" in os.environ["RMEM_VM_RDMA"],
              f"nothing was made anew\n{run.stderr[-2000:]}")
        run.nothing_left()


def waited(rmem, torture):
    """Past the time-out, which says nothing where a server is waited for."""
    with start(rmem, torture, far_spec(",timeout=2"), "--on-loss", "wait") as run:
        time.sleep(3)
        peer("stop")
        run.wait_for_words("the job waits for it", 10)
        time.sleep(PAUSE_S)
        peer("cont")
        st = expect_good(run, "peer waited for")
        check(st["fault_latency_ns"]["max"] >= PAUSE_S * 1e9, "the pause was not felt")
        run.nothing_left()


class Netem:
    """What leaves this guest meets @how."""

    def __init__(self, *how):
        self.how, self.dev = how, ("dev", os.environ["RMEM_VM_NETDEV"], "root")

    def set(self, verb, *how):
        sh("tc", "qdisc", verb, *self.dev, "netem", *how)

    def __enter__(self):
        sh("modprobe", "sch_netem")
        self.set("add", *self.how)
        return self

    def __exit__(self, *_):
        sh("tc", "qdisc", "del", *self.dev)


def deaf(rmem, torture):
    """What asks for a connection is lost at first: it is asked for again."""
    with Netem("loss", "100%") as link, start(rmem, torture, far_spec()) as run:
        time.sleep(DEAF_S)
        link.set("change", "loss", "0%")
        expect_good(run, "deaf at first")
        run.nothing_left()


def lossy(rmem, torture):
    with Netem("loss", "1%", "delay", "1ms"), start(rmem, torture, far_spec()) as run:
        expect_good(run, "1 % lost, 1 ms late")
        run.nothing_left()


def killed(rmem, torture):
    """The machine loses its power: nobody hangs up."""
    with start(rmem, torture, far_spec(",timeout=4")) as run:
        time.sleep(3)
        peer("kill")
        began = time.monotonic()
        status = run.wait(TIMEOUT_S)
        took = time.monotonic() - began
        check(status == 125, f"peer killed: status {status}\n{run.stderr[-2000:]}")
        check(far_spec() in run.stderr and "has not answered for 4 s" in run.stderr,
              f"peer killed: what is said?\n{run.stderr[-2000:]}")
        check(took < 15, f"peer killed: stopped only after {took:.1f} s")
        run.nothing_left()
    print(f"peer killed: ok, stopped after {took:.1f} s", flush=True)


def mirrored(rmem, torture):
    with start(rmem, torture, f"mirror({far_spec()},ram)") as run:
        time.sleep(3)
        peer("kill")
        run.wait_for_words("is lost", 10)
        expect_good(run, "peer killed, mirrored")
        run.nothing_left()


def pager(rmem, torture):
    """The pager dies, time after time: another one joins the session in its place."""
    with start(rmem, torture, far_spec()) as run:
        killer = PagerKiller(run, random.Random(1), 1, 4)
        time.sleep(2)
        killer.start()
        st = expect_good(run, "pager killed")
        killer.stop()
        check(st["takeovers"] > 0 and st["wrong_sums"]["pages"] == 0, f"{st['takeovers']} pagers")
        run.nothing_left()
    print(f"pager killed: ok, {st['takeovers']} times", flush=True)


WHAT = {f.__name__: f for f in (untouched, deaf, paused, waited, lossy, killed, mirrored, pager)}


def far(rmem, torture, *what):
    for name in what:
        WHAT[name](rmem, torture)


if __name__ == "__main__":
    main(lambda: far(*sys.argv[1:]))
