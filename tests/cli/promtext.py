# SPDX-License-Identifier: Apache-2.0
"""A strict reader of Prometheus text, version 0.0.4."""

import math
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\S+)")
UNITS = ("_bytes", "_seconds", "_total", "_info", "_count", "_sum", "_bucket")


class Malformed(AssertionError):
    pass


def need(ok, line, what):
    if not ok:
        raise Malformed(f"{what}: {line!r}")


def family_of(name, families):
    if name in families:
        return name
    for end in ("_bucket", "_sum", "_count"):
        base = name[:-len(end)]
        if name.endswith(end) and families.get(base, {}).get("type") == "histogram":
            return base
    return None


def number(text, line):
    need(re.fullmatch(r"[+-]?(\d+(\.\d+)?([eE][+-]?\d+)?|Inf|NaN)", text), line, "no number")
    return float(text)


def check_histogram(family):
    buckets = [(float(re.search(r'le="([^"]+)"', labels).group(1).replace("+Inf", "inf")), value)
               for name, labels, value in family["samples"] if name.endswith("_bucket")]
    count = [v for name, _, v in family["samples"] if name.endswith("_count")]
    total = [v for name, _, v in family["samples"] if name.endswith("_sum")]
    need(len(count) == len(total) == 1, family["name"], "one count, one sum")
    need(buckets == sorted(buckets), family["name"], "buckets rise, by edge and by value")
    need([v for _, v in buckets] == sorted(v for _, v in buckets), family["name"], "monotone")
    need(math.isinf(buckets[-1][0]) and buckets[-1][1] == count[0], family["name"],
         "+Inf is the count")
    need(total[0] >= 0 and (count[0] or not total[0]), family["name"], "sum")


def parse(text):
    """{family: {type, help, samples: [(name, labels, value)]}}"""
    families, last, seen = {}, None, set()
    need(text.endswith("\n") and "\r" not in text, text[-20:], "lines end with a newline")
    for line in text[:-1].split("\n"):
        if m := re.fullmatch(rf"# HELP ({NAME}) (\S.*)", line):
            need(m.group(1) not in families, line, "a second help")
            last = m.group(1)
            families[last] = {"name": last, "help": m.group(2), "type": None, "samples": []}
        elif m := re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge|histogram)", line):
            need(m.group(1) == last and not families[last]["type"], line, "type follows its help")
            families[last]["type"] = m.group(2)
            need(m.group(2) != "counter" or last.endswith("_total"), line, "counters are totals")
        else:
            m = SAMPLE.fullmatch(line)
            need(m, line, "no sample")
            need(last and family_of(m.group(1), families) == last, line, "outside of its family")
            need((m.group(1), m.group(2)) not in seen, line, "twice")
            seen.add((m.group(1), m.group(2)))
            need(families[last]["type"], line, "no type")
            value = number(m.group(3), line)
            need(families[last]["type"] != "counter" or value >= 0, line, "negative counter")
            families[last]["samples"].append((m.group(1), m.group(2) or "", value))
    for family in families.values():
        need(family["samples"], family["name"], "no sample")
        if family["type"] == "histogram":
            check_histogram(family)
    return families


def value(families, name, labels=""):
    return {(n, lab): v for f in families.values() for n, lab, v in f["samples"]}[(name, labels)]
