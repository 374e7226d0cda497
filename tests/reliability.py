#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""reliability.py LOG: the table of tests/reliability.txt with the results of a run of
ctest, whose output LOG is, as Markdown on standard output. Its status is 1 when a test that is named
failed, or isn't there."""

import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
RESULT = re.compile(r"Test +#\d+: (\S+) \.+ *(\**\S+)")
HEAD = """# Reliability

What must hold when things break, and what the last run of `./check` said of it. Made by
`tests/reliability.py` from `tests/reliability.txt` and the log of that run. **RED** is what failed.

| | what happens | what is asked | tests | |
|---|---|---|---|---|"""


def results(path):
    """The last word on each test: what failed is tried once more."""
    with open(path, encoding="utf-8", errors="replace") as f:
        return {name: word.strip("*") for name, word in RESULT.findall(f.read())}


def verdict(tests, found):
    words = [found.get(t, "not run") for t in tests]
    if all(w == "Passed" for w in words):
        return "passed"
    if any(w not in ("Passed", "Skipped") for w in words):
        bad = [f"{t}: {w}" for t, w in zip(tests, words) if w not in ("Passed", "Skipped")]
        return f"**RED** {'; '.join(bad)}"
    return "passed, partly skipped"


def main(log):
    found, red = results(log), False
    print(HEAD)
    with open(os.path.join(HERE, "reliability.txt"), encoding="utf-8") as f:
        for line in f:
            if line.startswith("#"):
                continue
            number, happens, asked, how = (part.strip() for part in line.split("|"))
            if how.startswith("-"):
                said, tests = how[1:].strip(), ""
            else:
                said, tests = verdict(how.split(), found), ", ".join(f"`{t}`" for t in how.split())
            red |= "**RED**" in said
            print(f"| {number} | {happens} | {asked} | {tests} | {said} |")
    return red


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
