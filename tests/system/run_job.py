#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""run_job.py RMEM PROGRAM: a job program under rmem does what it does alone.

Runs PROGRAM with `ram` at a quarter of its memory and PROGRAM-static with the private
server at half of it, some with an rmemd by tcp and with a file too; mode long: all, and
each with each: same status, same output, pages really left and came back, the cap held
(by the kernel's own count, or sampled), nothing is left."""

import argparse
import os
import resource

from memcg import counted
from rmemtest import MIB, SLOW, Failure, TcpServer, check, check_cap, main, native

TIMEOUT_S = 90 * SLOW

# What is different from the rule. mib: footprint; least: that is asked for; more: further arguments to
# try; short: those of mode one; quarters: of the footprint that can't leave; stays: the part of it that is
# read-only, which can't leave and so gets room of its own; unmanaged: nothing leaves;
# files: descriptors that rmem and the job may have;
# forks: all the time, so that a sum of samples says nothing; remote: times the footprint, else 4: eight
# children at once may each have all of its pages there, as happens in a slow guest;
# stops: a stated limit, a loud stop with this word; wrong: a stated limit, the job says this of its bytes.
SPECIAL = {
    "die": {"more": ["three", "kill", "term", "abort", "segv", "none"]},
    "first_touch": {"mib": 512, "least": 128},
    "fork_in_turn": {"files": 64, "least": 32},
    "fork_thousand": {"forks": True, "more": [""], "short": ["60"], "remote": 16},
    "fuzz_maps": {"more": ["1:600", "2:600"], "short": ["1:200"]},
    "guard_pages": {"wrong": "wrong page: not zero"},
    "late_child": {"least": 128},
    "map_churn": {"least": 48, "more": ["moves", ""], "replaces": True},
    "map_fixed": {"replaces": True},
    "maps_thousands": {"short": ["1000"]},
    "mdwe": {"unmanaged": True},  # its agent could not get executable code
    "mlockall_now": {"stops": "mlockall"},
    "protect": {"stays": 3 / 8},
    "seccomp_child": {"quarters": 1},  # a child that may not be managed
    "seccomp_self": {"unmanaged": True},
    "segv_barrier": {"stays": 1 / 2},
    "storm_many_pages": {"short": ["500"]},
    "torture": {"more": ["1500"], "short": ["300"]},
}
# By chance, in who replaces mappings all the time, and only where userfaultfd has no MOVE
# (docs/design.md, 14).
REPLACED = "a mapping was replaced while its pages were leaving"
FILE = "file:/var/tmp"
# Run by tcp, or with a file, in each mode but fast: the rest would show nothing that
# these don't.
TCP = ("torture", "fork_cow")
ON_FILE = ("torture", "fork_cow")
MIB_OF = {"long": 128}  # what a job touches, by mode; else 64
LONG_FUZZ = [str(s) for s in range(1, 31)]


def variants(program, mode):
    static = program + "-static"
    if mode == "long":
        return [(p, s, r) for p in (program, static) for s in ("ram", "", "tcp", FILE)
                for r in (4, 2)]
    if mode == "one":
        return [(program, "", 4)]
    name = os.path.basename(program)
    also = (["tcp"] if name in TCP else []) + ([FILE] if name in ON_FILE else [])
    return [(program, "ram", 4), (static, "", 2)] + [
        (program, s, 4) for s in also if mode != "fast"]


def check_moved(run, st, local, quarter, special):
    """Pages really left and came back, and the cap held; or it is said why not."""
    if special.get("unmanaged"):
        check(st["processes"]["unmanaged"] > 0 and "unmanaged" in run.stderr, "it was not said")
        return
    check("files" not in special or not st["processes"]["unmanaged"],
          f"descriptors are not given back: {run.stderr[-1000:]}")
    check(st["pages"]["evicted"] > 0, "nothing was evicted")
    check(st["faults"]["remote"] + st["faults"]["standby"] > 0, "nothing was fetched")
    slack = min(32 * MIB, max(16 * MIB, quarter))
    check_cap(run, st, local, slack + special.get("quarters", 0) * quarter,
              samples_tell=not special.get("forks"))


def one(rmem, program, server, ratio, mib, more, special):
    if server != "tcp":
        return one_with(rmem, program, server, ratio, mib, more, special)
    with TcpServer(rmem, 4 * mib * MIB) as tcp:
        rc = one_with(rmem, program, tcp.spec, ratio, mib, more, special)
        check(tcp.proc.poll() is None, f"the server ended: {tcp.said()[-1000:]}")
        check("dropped" not in tcp.said(), f"the server complains: {tcp.said()[-1000:]}")
    return rc


def one_with(rmem, program, server, ratio, mib, more, special):
    command = [program, str(mib)] + ([more] if more else [])
    want_status, want_out, alone_s, _ = native(command, TIMEOUT_S)
    if want_status == 77:
        print(f"skipped alone: {want_out.strip()}")
        return 77
    local = (max(mib // ratio, 16) + int(mib * special.get("stays", 0))) * MIB
    name = f"{os.path.basename(program)} {more} 1/{ratio} {server or 'private server'}"
    remote = special.get("remote", 4) * mib * MIB
    with counted(rmem, command, local, remote, [server] if server else []) as run:
        try:
            status = run.wait(TIMEOUT_S)
            if "stops" in special:
                check(status == 125 and special["stops"] in run.stderr,
                      f"no loud stop: status {status}\n{run.stderr[-3000:]}")
                run.nothing_left()
                print(f"{name}: ok, stopped with a reason", flush=True)
                return 0
            if "wrong" in special:
                check(status == 1 and special["wrong"] in run.stderr,
                      f"the stated limit was not met: status {status}\n{run.stderr[-3000:]}")
                run.nothing_left()
                print(f"{name}: ok, as README's limits say", flush=True)
                return 0
            if special.get("replaces") and status == 125 and REPLACED in run.stderr:
                run.nothing_left()
                print(f"{name}: skipped: stopped, a stated limit of kernels without MOVE")
                return 77
            check(status == want_status,
                  f"status {status} instead of {want_status}\n{run.stderr[-3000:]}")
            check(run.stdout == want_out, f"other output: {run.stdout[-500:]!r}")
            run.nothing_left()
            st = run.stats()
            check(st["exit_status"] in (want_status, None), f"statistics: {st['exit_status']}")
            check_moved(run, st, local, mib * MIB // 4, special)
        except Failure as e:
            raise Failure(f"{name}: {e}") from None
        print(f"{name}: ok, {alone_s:.2f} s alone, {run.wall:.2f} s, peak "
              f"{run.counter.peak >> 20} MiB of {local >> 20}, evicted {st['pages']['evicted']}, "
              f"fetched {st['pages']['fetched']}", flush=True)
    return 0


def run():
    ap = argparse.ArgumentParser()
    ap.add_argument("rmem")
    ap.add_argument("program")
    ap.add_argument("--mib", type=int, default=0)
    ap.add_argument("--mode", default=os.environ.get("RMEM_TEST_MODE", "normal"))
    a = ap.parse_args()
    special = SPECIAL.get(os.path.basename(a.program), {})
    if "files" in special:
        resource.setrlimit(resource.RLIMIT_NOFILE, (special["files"], special["files"]))
    mores = special.get("more", [""])
    usual = special.get("mib", MIB_OF.get(a.mode, 64))
    mib = max(a.mib, special.get("least", 0)) if a.mib else usual
    if a.mode == "long" and os.path.basename(a.program) == "fuzz_maps":
        mores = LONG_FUZZ
    if a.mode == "one":
        mores = special.get("short", mores)[:1]
    for k, (program, server, ratio) in enumerate(variants(a.program, a.mode)):
        # Programs with several ways to run take turns, unless there is all the time.
        for more in mores if a.mode == "long" or k == 0 else mores[:1]:
            rc = one(a.rmem, program, server, ratio, mib, more,
                     special)
            if rc:
                return rc
    return 0


if __name__ == "__main__":
    main(run)
