#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench.py ROOT BUILD: what bench/run measures with compiles, against the libraries of BUILD.

bench/run does so itself when it begins, and nobody runs it with each change."""
import argparse
import os
import sys


def main():
    root, build = (os.path.abspath(p) for p in sys.argv[1:3])
    sys.path.insert(0, os.path.join(root, "bench"))
    from jobs import PROGRAMS, Bench, BenchError

    try:
        with Bench(argparse.Namespace(root=root, build=build)):
            print(f"{len(PROGRAMS)} programs")
    except BenchError as e:
        print(e)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
