#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""test_run.py RUN KERNEL [CASE...]: what tests/vm/run promises, with one kernel. The cases are
the functions below; those of siw only when asked for."""

import glob
import os
import signal
import subprocess
import sys
import tempfile
import time

SKIP = 77
RUN, KERNEL = sys.argv[1:3]
RPING = "until timeout 10 rping -c -v -a $RMEM_VM_PEER_IP -C 3; do sleep 0.2; done"


class Failure(Exception):
    pass


def check(ok, what):
    if not ok:
        raise Failure(what)


def run(*arguments, timeout_s=120):
    return subprocess.run([RUN, "--kernel", KERNEL, *arguments], timeout=timeout_s,
                          capture_output=True, text=True, check=False)


def want(done, status, *, out=None, err=None):
    """Status, and pieces of output and errors."""
    everything = f"status {done.returncode}\n--- output\n{done.stdout}--- errors\n{done.stderr}"
    check(done.returncode == status, f"wanted status {status}\n{everything}")
    for pieces, text in ((out, done.stdout), (err, done.stderr)):
        for piece in pieces or []:
            check(piece in text, f"wanted {piece!r}\n{everything}")


def marked(mark):
    """Processes that have this on their command line."""
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as f:
                if mark.encode() in f.read():
                    found.append(path)
        except OSError:
            pass
    return found


def gone(mark, within_s=5):
    end = time.monotonic() + within_s
    while marked(mark) and time.monotonic() < end:
        time.sleep(0.05)
    return not marked(mark)


def fetched():
    """main() has seen to it."""


def one_guest():
    with tempfile.TemporaryDirectory() as shared, tempfile.TemporaryDirectory() as other:
        log = shared + "/dmesg"
        done = run("--share", shared, "--dmesg", log, "bash", "-c", f"""
            echo "to out, in $PWD, $RMEM_VM, kernel $(uname -r)"; echo to err >&2
            rdma link
            ibv_devinfo | grep -E 'state|active_mtu'
            head -c 2 /sys/kernel/btf/vmlinux | od -An -tx1
            modprobe -a sch_netem sch_tbf nbd zram nvme_rdma nvmet_rdma && echo modules
            echo kept | tee {shared}/file >{other}/file
            exit 7""")
        want(done, 7, out=["to out, in " + os.getcwd() + ", alone", "rxe0/1 state ACTIVE",
                           "4096 (5)", " 9f eb", "modules"], err=["to err"])
        check(f"kernel {KERNEL}." in done.stdout, f"another kernel than {KERNEL}: {done.stdout}")
        with open(shared + "/file", encoding="ascii") as f:
            check(f.read() == "kept\n", "what was shared is lost")
        check(not os.listdir(other), "the guest wrote to what isn't shared")
        with open(log, encoding="utf-8") as f:
            check("rxe0: added dummy0" in f.read(), "no dmesg")


def statuses():
    want(run("sh", "-c", "kill -9 $$"), 137)
    want(run("--timeout", "12", "sh", "-c", "echo begun; sleep 60"), 124, out=["begun"],
         err=["run: not done after 12 s"])
    want(run("sh", "-c", "echo c >/proc/sysrq-trigger"), 125,
         err=["sysrq triggered crash", "run: the guest died"])
    want(run("--boot-timeout", "0.3", "true"), 125,
         err=["run: the guest didn't boot in 3 tries"])


def two_guests():
    peer = "sleep 0.3; echo soon; stdbuf -oL rping -s -v -C 3; sleep 100"
    ping = "ping -c 1 -W 1 $RMEM_VM_PEER_IP >/dev/null"
    done = run("--peer", peer, "--peer-ready", "so+n", "sh", "-c", f"""
        {RPING}
        vm-peer stop; {ping} || echo stopped
        vm-peer cont; {ping} && echo going
        vm-peer kill; {ping} || echo dead""")
    want(done, 0, out=["ping data: rdma-ping-2", "stopped\ngoing\ndead"],
         err=["peer: soon\n", "peer: server ping data: rdma-ping-2"])


def peer_fails():
    want(run("--peer", "exit 3", "sleep", "1"), 0, err=["the peer's command ended with status 3"])
    want(run("--peer", "exit 3", "--peer-ready", "never", "true"), 125,
         err=["before it was ready"])


def peer_ends():
    """A peer that is told to end does, with all that it has to say."""
    peer = "trap 'echo bye; exit' TERM; echo here; while :; do sleep 0.1; done"
    want(run("--peer", peer, "--peer-ready", "here", "true"), 0, err=["peer: bye"])


def interrupted():
    """Nothing is left at whatever moment, also of one that can't clean up."""
    for number, delay_s in ((signal.SIGINT, 0.3), (signal.SIGTERM, 1), (signal.SIGINT, 3),
                            (signal.SIGKILL, 2)):
        mark = f"mark={os.getpid()}-{delay_s}"
        with tempfile.TemporaryDirectory() as tmp, subprocess.Popen(
                [RUN, "--kernel", KERNEL, "--kernel-args", mark, "--peer", "sleep 60", "sleep",
                 "60"], env={**os.environ, "TMPDIR": tmp}, stderr=subprocess.DEVNULL) as p:
            time.sleep(delay_s)
            check(delay_s < 1 or marked(mark), "there were no guests to look for")
            p.send_signal(number)
            status = p.wait(timeout=30)
            check(status in (128 + number, -number), f"signal {number}: status {status}")
            check(gone(mark), f"signal {number} after {delay_s} s left a process")
            check(not os.listdir(tmp), f"signal {number} after {delay_s} s left a file")


def side_by_side():
    runs = [subprocess.Popen([RUN, "--kernel", KERNEL, "--peer", f"echo {n}; rping -s -C 3", "sh",
                              "-c", RPING + f"; exit {n}"], stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, text=True) for n in (11, 12)]
    for n, p in zip((11, 12), runs):
        _, err = p.communicate(timeout=200)
        check(p.returncode == n and f"peer: {n}\n" in err, f"status {p.returncode}: {err}")


def bad_options():
    for arguments, say in (([], "no COMMAND"), (["--peer-ready", "x", "true"], "needs --peer"),
                           (["--memory", "lots", "true"], "write 512M or 2G"),
                           (["--share", "/nowhere", "true"], "/nowhere is no folder"),
                           (["--kernel", "2.4", "true"], "apt knows no kernel 2.4"),
                           (["--kernel", "/nowhere", "true"], "/nowhere is no kernel"),
                           (["--rdma", "mlx5", "true"], "invalid choice"),
                           (["--timeout", "0", "true"], "--timeout"),
                           (["--nonsense", "true"], "--nonsense")):
        done = run(*arguments)
        want(done, 126, err=[say])
        check(done.stderr.count("\n") == 1, f"more than one line: {done.stderr}")


def siw():
    """A client of siw that is refused hangs, so tries are short."""
    peer = "echo soon; rping -s -v -C 3"
    done = run("--rdma", "siw", "--peer", peer, "sh", "-c", "rdma link; " + RPING.replace("10 rping", "3 rping"))
    want(done, 0, out=["siw0/1 state ACTIVE", "ping data: rdma-ping-2"],
         err=["peer: server ping data: rdma-ping-2"])


USUAL = [bad_options, one_guest, statuses, two_guests, peer_fails, peer_ends, interrupted,
         side_by_side]


def main():
    if run("--build-only", timeout_s=1800).returncode:
        print(f"skipped: kernel {KERNEL} can't be had: {run('--build-only').stderr.strip()}")
        return SKIP
    failed = 0
    for case in [globals()[name] for name in sys.argv[3:]] or USUAL:
        start = time.monotonic()
        try:
            case()
            result = "ok"
        except (Failure, subprocess.TimeoutExpired) as e:
            result, failed = f"FAILED: {e}", failed + 1
        print(f"{case.__name__} {time.monotonic() - start:.1f} s {result}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
