#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Seeds bugs into a copy of the core and the stores, and sees whether the simulator finds them.

mutants.py SOURCE_DIR WORK_DIR [--seconds N] [--need N] [--only NAME] [--apply]

mutants.txt holds one bug per block: a name, a file of client/core (or of client, with its
folder: store/mirror.c), the text as it is and the text as it becomes. Each must apply exactly once. The simulator
runs on each until it fails or its time is over; with --apply they are applied and
nothing is run, which takes a moment and shows that they fit the core. Exit 0 when at least --need
were found (default 9 in 10) and the unchanged core passes.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys

FLAGS = ["-std=gnu11", "-O2", "-w", "-fno-strict-aliasing", "-D_GNU_SOURCE"]
FILTERS = ["fault", "handover", "mirror", "mirror_flight", "mirror_heal", "pool"]
COPIED = ["core", "store"]
# As CMakeLists.txt has it for the core.
UNDO = ["-fsanitize=kernel-address", "-fno-tree-loop-distribute-patterns"] + [
    f"--param=asan-{p}" for p in ("instrument-reads=0", "instrumentation-with-call-threshold=0",
                                  "stack=0", "globals=0")]


def load(path):
    text = re.sub(r"^#.*\n", "", open(path).read(), flags=re.M)
    found = re.findall(r"^=== (\S+) (\S+)\n(.*?)\n--->\n(.*?)\n?(?=^=== |\Z)", text, re.M | re.S)
    return [(n, f, old, new.rstrip("\n")) for n, f, old, new in found]


def build(source, tree, out):
    sim = os.path.join(source, "tests/sim")
    core = os.path.join(tree, "client/core")
    srcs = [os.path.join(sim, f) for f in sorted(os.listdir(sim)) if f.endswith(".c")]
    srcs += [os.path.join(source, "common", f) for f in
             ["base/err.c", "base/hist.c", "base/log.c", "base/units.c", "spec.c"]]
    srcs += [os.path.join(tree, "client/store", f + ".c") for f in FILTERS]
    srcs.append(os.path.join(core, "undo.c"))
    parts = [os.path.join(core, f) for f in sorted(os.listdir(core))
             if f.endswith(".c") and f != "undo.c"]
    objs = os.path.join(tree, "core.o")
    subprocess.run(["gcc", *FLAGS, *UNDO, "-I", tree, "-I", source, "-r", *parts, "-o", objs],
                   check=True)
    subprocess.run(["gcc", *FLAGS, "-DRMEM_UNDO", "-I", tree, "-I", source, *srcs, objs, "-o", out],
                   check=True)


def run(binary, seconds):
    """What the simulator said when it failed, or None."""
    try:
        p = subprocess.run([binary, "--seeds", "1..1000000", "--events", "20000",
                            "--seconds", str(seconds)], capture_output=True, text=True,
                           timeout=seconds + 20)
    except subprocess.TimeoutExpired:
        return "does not end"
    return None if p.returncode == 0 else (p.stderr.strip().splitlines() or ["?"])[-1]


def mutate(source, tree, mutant):
    name, file, old, new = mutant
    client = os.path.join(tree, "client")
    for folder in COPIED:
        shutil.rmtree(os.path.join(client, folder), ignore_errors=True)
        shutil.copytree(os.path.join(source, "client", folder), os.path.join(client, folder))
    if not name:
        return
    path = os.path.join(client, file if "/" in file else os.path.join("core", file))
    text = open(path).read()
    if text.count(old) != 1:
        sys.exit(f"mutants.py: {name}: text occurs {text.count(old)} times in {file}")
    open(path, "w").write(text.replace(old, new))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("source")
    ap.add_argument("work")
    ap.add_argument("--seconds", type=int, default=60)
    ap.add_argument("--need", type=int, default=0, help="default: 9 in 10")
    ap.add_argument("--only")
    ap.add_argument("--apply", action="store_true")
    args = ap.parse_args()
    tree, binary = os.path.join(args.work, "tree"), os.path.join(args.work, "rmem_sim_mutant")
    os.makedirs(os.path.join(tree, "client"), exist_ok=True)
    mutants = load(os.path.join(args.source, "tests/sim/mutants.txt"))
    found = 0
    for mutant in [("", "", "", "")] + mutants:
        name = mutant[0]
        if args.only and name != args.only:
            continue
        mutate(args.source, tree, mutant)
        if args.apply:
            continue
        build(args.source, tree, binary)
        said = run(binary, args.seconds if name else 5)
        if not name:
            if said:
                sys.exit(f"mutants.py: the core as it is fails: {said}")
            continue
        found += said is not None
        print(f"{name:32} {'found' if said else 'MISSED':7} {said or ''}"[:160], flush=True)
    if args.apply:
        print(f"{len(mutants)} bugs fit")
        return 0
    total = 1 if args.only else len(mutants)
    print(f"{found} of {total} found")
    return 0 if args.only or (found >= (args.need or total * 9 // 10) and total >= 20) else 1


if __name__ == "__main__":
    sys.exit(main())
