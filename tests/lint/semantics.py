#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""semantics.py ROOT [PAGE]: each test that docs/semantics.md names exists, each row
says something in each column, and each job program is named there or known not to be
about a call."""

import os
import re
import sys

# Jobs that show something other than one call.
OTHERS = {"churn", "late_child", "torture"}
NAME = re.compile(r"\b(jobs|traps|capture|fault|cli|system)([/.])([a-z_]+)\b")


def exists(root, group, name):
    tests = os.path.join(root, "tests")
    places = {
        "jobs": [f"jobs/{name}.c"],
        "traps": [f"traps/{name}.c"],
        "capture": [f"capture/{name}.c", f"capture/{name}.sh"],
        "cli": [f"cli/test_{name}.py"],
        "system": [f"jobs/{name}.c", f"system/{name}.py"],
    }
    if group == "fault":
        with open(os.path.join(tests, "system/CMakeLists.txt"), encoding="utf-8") as f:
            m = re.search(r"foreach\(victim ([a-z_ ]+)\)", f.read())
        return bool(m) and name in [f"kill_{v}" for v in m[1].split()]
    return any(os.path.isfile(os.path.join(tests, p)) for p in places[group])


def problems(root, text):
    out, named = [], set()
    for n, line in enumerate(text.split("\n"), 1):
        for group, _, name in NAME.findall(line):
            if group == "jobs":
                named.add(name)
            if not exists(root, group, name):
                out.append(f"line {n}: no test {group}/{name}")
        cells = [c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells and (len(cells) != 3 or not all(cells)):
            out.append(f"line {n}: a row of {len(cells)} columns, or an empty one")
    for f in sorted(os.listdir(os.path.join(root, "tests/jobs"))):
        job = f[:-2]
        if f.endswith(".c") and job != "job" and job not in named | OTHERS:
            out.append(f"jobs/{job} is not named")
    return out


def main():
    root = sys.argv[1]
    page = sys.argv[2] if len(sys.argv) > 2 else os.path.join(root, "docs/semantics.md")
    with open(page, encoding="utf-8") as f:
        text = f.read()
    found = problems(root, text)
    # The test of the test: a name that does not exist is found.
    if not problems(root, text + "| a | b | jobs/no_such_job |\n"):
        found.append("a test that does not exist was not missed")
    for p in found:
        print(f"docs/semantics.md: {p}")
    return 1 if found else 0


sys.exit(main())
