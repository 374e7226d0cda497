#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""jobs.py BUILD [NAME...]: in a guest, every job program under rmem, the programs of
tests/capture and `rmem doctor`; a line for each, and how many passed.

Run by `tests/vm/run`. Each job runs once, as tests/system/run_job.py does it in mode `one`."""

import argparse
import contextlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "tests/system"))
# Not executed but forked from here: an emulated Python takes seconds to begin.
RUN_JOB = "run_job"
# Longest first: dealt out in turn, so that all parts take about as long.
LONG = ("churn", "capture.test_stress", "pinned", "map_churn", "fuzz_maps", "io_plain", "hugepage_sparse",
        "madvise_drop", "storm_one_page", "exec_chain", "capture.test_inject", "io_uring_plain",
        "capture.test_agent", "fork_thousand", "setuid_drop", "leader_exit", "outlived")
SKIPPED = 77


def by_name(build):
    """What only runs when it is asked for."""
    return [("fast", [sys.executable, "-B", SOURCE / "tests/system/fast.py", build / "bin/rmem",
                      build / "jobs", "on", "off", "forbidden"])]


def everything(build, mib, names):
    """[(name, command)]"""
    job = [RUN_JOB, "--mib", mib]
    out = [("doctor", [build / "bin/rmem", "doctor"])]
    out += [(f"capture.{p.name[8:]}", [p]) for p in sorted(build.glob("bin/capture_test_*"))]
    for src in sorted(SOURCE.glob("tests/jobs/*.c")):
        if src.stem != "job":
            out.append((src.stem, job + [build / "bin/rmem", build / "jobs" / src.stem]))
    out += [(n, x) for n, x in by_name(build) if n in names]
    return sorted(out, key=lambda x: LONG.index(x[0]) if x[0] in LONG else len(LONG))


def count_memory():
    """The kernel counts each job's (tests/system/memcg.py): only where nothing is kept."""
    if "RMEM_VM" in os.environ:
        Path("/sys/fs/cgroup/cgroup.subtree_control").write_text("+memory", encoding="ascii")


def takes_direct(folder):
    with tempfile.NamedTemporaryFile(dir=folder) as f:
        try:
            os.close(os.open(f.name, os.O_RDWR | os.O_DIRECT))
            return True
        except OSError:
            return False


@contextlib.contextmanager
def room_for(name):
    """io_direct wants a file system with O_DIRECT, which tmpfs is not before Linux 6.6."""
    if name != "io_direct" or "RMEM_VM" not in os.environ or takes_direct("/var/tmp"):
        yield
        return
    for command in (["modprobe", "brd", "rd_nr=1", "rd_size=65536"], ["mke2fs", "-q", "/dev/ram0"],
                    ["mount", "/dev/ram0", "/var/tmp"]):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", "/var/tmp"], check=True)


def become(command, out):
    """In a process of its own: what is run, with its output in the file @out."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out.fileno(), 1)
    os.dup2(out.fileno(), 2)
    first, *rest = [str(x) for x in command]
    if first != RUN_JOB:
        os.execv(first, [first] + rest)
    import run_job  # pylint: disable=import-outside-toplevel
    sys.argv = [first] + rest
    run_job.main(run_job.run)


def one(name, command, timeout_s):
    """(name, status, seconds, output)"""
    start = time.monotonic()
    with tempfile.TemporaryFile() as out:
        p = multiprocessing.Process(target=become, args=(command, out))
        p.start()
        p.join(timeout_s)
        late = p.is_alive()
        if late:
            p.terminate()  # run_job.py ends all that it has started
            p.join(20)
            p.kill()
            p.join()
        out.seek(0)
        said_by = out.read().decode(errors="replace")
    return name, 124 if late else p.exitcode, time.monotonic() - start, said_by


def once_more(name, command, timeout_s):
    """What fails is tried again, as everywhere in ./check, and what it said is shown."""
    first = one(name, command, timeout_s)
    if first[1] in (0, SKIPPED):
        return first
    print(said(*first) + "\n    tried again", flush=True)
    return one(name, command, timeout_s)


def said(name, status, seconds, out):
    lines = out.rstrip().splitlines() or [""]
    if status == 0:
        return f"ok      {name}  {seconds:.1f} s"
    if status == SKIPPED:
        why = next((x for x in lines if "skipped" in x), lines[-1])
        return f"skipped {name}  {why}"
    return "\n    ".join([f"FAILED  {name}  status {status}, {seconds:.1f} s"] + lines[-25:])


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("build", type=Path)
    ap.add_argument("names", nargs="*")
    ap.add_argument("--part", default="1/1", help="K/N: the Kth of N parts of them [1/1]")
    ap.add_argument("--slow", type=float, default=1,
                    help="how many times as long as on a real machine anything may take [1]")
    ap.add_argument("--timeout", type=float, default=100, help="seconds for each [100]")
    ap.add_argument("--mib", type=int, default=24, help="memory of each job [24]")
    a = ap.parse_intermixed_args()
    os.environ.update(RMEM_TEST_SLOW=str(a.slow), RMEM_TEST_MODE="one")
    import run_job  # noqa: F401  # pylint: disable=import-outside-toplevel,unused-import
    todo = [x for x in everything(a.build.resolve(), a.mib, a.names)
            if not a.names or x[0] in a.names]
    part, parts = map(int, a.part.split("/"))
    todo = todo[part - 1::parts]
    count_memory()
    good, start = 0, time.monotonic()
    for x in todo:
        with room_for(x[0]):
            result = once_more(*x, a.timeout * a.slow)
        good += result[1] in (0, SKIPPED)
        print(said(*result), flush=True)
    print(f"{good} of {len(todo)} in {time.monotonic() - start:.0f} s, "
          f"Linux {os.uname().release}")
    return good != len(todo) or not todo


sys.exit(main())
