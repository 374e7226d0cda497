# SPDX-License-Identifier: Apache-2.0
"""Rows of the table, and the two files with the results."""

import json
import os
import subprocess
import sys

PYTHON = "/usr/bin/python3"  # Debian's, which Debian's packages are for


class Row:
    """One line: what was measured, its value, and the bar it has to pass, if any."""

    def __init__(self, what, value, bar="", met=None):
        self.what, self.value, self.bar, self.met = what, value, bar, met

    def dict(self):
        return {"what": self.what, "value": self.value, "bar": self.bar, "met": self.met}

    def verdict(self):
        return {True: "yes", False: "NO", None: ""}[self.met]

    def line(self):
        bar = f"   [{self.bar}: {'met' if self.met else 'MISSED'}]" if self.bar else ""
        return f"{self.what}: {self.value}{bar}"


def folder(build):
    return os.path.join(build, "bench")


def table(results):
    lines = ["| figure | what | measured | bar | met |", "|---|---|---|---|---|"]
    for f in results:
        for r in (Row(**row) for row in f["rows"]):
            lines.append(f"| {f['name']} | {r.what} | {r.value} | {r.bar} | {r.verdict()} |")
    return "\n".join(lines)


def replace(path, text):
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(text)
    os.replace(path + ".new", path)


def draw(build):
    """The names of the plots that could be made of results.json."""
    plots = os.path.join(os.path.dirname(os.path.abspath(__file__)), "plots.py")
    p = subprocess.run([PYTHON, plots, folder(build)], stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, check=False)
    if p.returncode:
        print(p.stderr.strip().split("\n")[-1], file=sys.stderr)
    return p.stdout.split()


def write(build, about, results, plots=()):
    os.makedirs(folder(build), exist_ok=True)
    head = "\n".join(f"- {k}: {v}" for k, v in about.items())
    replace(os.path.join(folder(build), "results.md"),
            f"# bench/run\n\n{head}\n\n{table(results)}\n" +
            "".join(f"\n![{name}]({name})\n" for name in plots))
    replace(os.path.join(folder(build), "results.json"),
            json.dumps({"about": about, "figures": results}, indent=1) + "\n")
