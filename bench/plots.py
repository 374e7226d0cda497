#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""plots.py DIR: draws what DIR/results.json has, in SVG files beside it, and prints their names."""

import json
import os
import statistics
import sys

try:
    import matplotlib
    from matplotlib import pyplot, ticker
except ImportError:
    sys.exit("no plots: apt install python3-matplotlib")

# arm -> what it is called, and its colour in all plots (told apart by the colour-blind, too)
ARMS = {
    "rmem": ("rmem, ram", "#0072b2"), "ram": ("rmem, ram", "#0072b2"),
    "shm": ("rmem, shm", "#009e73"), "zram": ("swap on zram", "#d55e00"),
    "file": ("swap in a file", "#cc79a7"), "late": ("rmem, ram and 10 us", "#56b4e9"),
    "tcp": ("rmem, tcp on this machine", "#e69f00"),
}
QUANTILES = [*range(1, 100), 99.9]


def arm_of(name):
    return ARMS.get(name, (name, "#555555"))


def panels(nr, columns=3):
    rows = -(-nr // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(10, 3 * rows + 0.6), squeeze=False,
                                   layout="constrained", sharex=True, sharey=True)
    flat = [a for row in axes for a in row]
    for a in flat[nr:]:
        a.remove()
    return figure, flat[:nr]


def labelled(figure, axes, x, y):
    """One legend for all panels, above them."""
    figure.supxlabel(x)
    figure.supylabel(y)
    lines = {}
    for a in axes:
        a.grid(alpha=0.3)
        lines.update((name, line) for line, name in zip(*a.get_legend_handles_labels()))
    figure.legend(lines.values(), lines.keys(), loc="lower center", bbox_to_anchor=(0.5, 1),
                  ncols=4, frameon=False)


def slowdowns(program):
    """Of each arm: shares, slowdowns, and whether it was more: ended there, or beyond the plot."""
    alone = next(r for r in program["runs"] if r["arm"] == "alone")
    alone_s, points = statistics.median(alone["wall_s"]), {}
    for r in program["runs"]:
        limit = program["limit"]
        if r["too_slow"]:
            value = float("inf")
        elif r["wall_s"]:
            value = statistics.median(r["wall_s"]) / alone_s
        else:
            continue
        points.setdefault(r["arm"], []).append((r["share"], min(value, limit), value > limit))
    first = points.pop("alone")
    return {arm: first + p for arm, p in points.items()}


def panel_of_program(panel, program):
    """Arms a little beside each other, so that none hides another."""
    for i, (arm, points) in enumerate(slowdowns(program).items()):
        label, colour = arm_of(arm)
        points = [(share + 1.5 * (i - 1), value, more) for share, value, more in points]
        panel.plot(*zip(*((x, y) for x, y, _ in points)), label=label, color=colour)
        for marker, which in (("o", False), ("^", True)):
            for x, y in ((x, y) for x, y, more in points if more == which):
                panel.plot(x, y, marker, color=colour)
    panel.set_yscale("log")
    panel.set_yticks([1, 2, 5, 10])
    panel.yaxis.set_major_formatter(ticker.ScalarFormatter())
    panel.yaxis.set_minor_formatter(ticker.NullFormatter())
    panel.set_xticks(sorted({r["share"] for r in program["runs"]}))


def programs(raw):
    figure, axes = panels(len(raw))
    for panel, (name, program) in zip(axes, raw.items()):
        panel.set_title(f"{name}, {program['peak_bytes'] >> 20} MiB")
        panel_of_program(panel, program)
    labelled(figure, axes, "local memory, % of the largest size",
             "time / time with all memory local (triangle: was more)")
    return figure


def half(raw):
    figure, axes = panels(len(raw))
    for panel, (pattern, arms) in zip(axes, raw.items()):
        panel.set_title(pattern.replace("-", " "))
        for name, runs in arms.items():
            if name == "local":
                continue
            label, colour = arm_of(name)
            ns = zip(*(r["refault_quantiles_ns"] for r in runs if r.get("refault_quantiles_ns")))
            us = [statistics.median(q) / 1000 for q in ns]
            panel.plot(us, QUANTILES[:len(us)], label=label, color=colour)
        panel.set_xscale("log")
    labelled(figure, axes, "latency of a refault, us", "refaults that took at most this, %")
    return figure


PLOTS = {"programs": programs, "half": half}


def main(folder):
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "rmem"
    with open(os.path.join(folder, "results.json"), encoding="utf-8") as f:
        raw = {f["name"]: f["raw"] for f in json.load(f)["figures"] if "error" not in f["raw"]}
    for name, draw in PLOTS.items():
        path = os.path.join(folder, f"{name}.svg")
        if raw.get(name):
            draw(raw[name]).savefig(path, bbox_inches="tight", metadata={"Date": None})
            print(os.path.basename(path))
        elif os.path.exists(path):  # of other results
            os.unlink(path)


if __name__ == "__main__":
    main(sys.argv[1])
