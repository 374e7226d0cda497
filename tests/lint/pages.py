#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""pages.py RULE ROOT RMEM RMEMD MAN_DIR: manual pages and programs say the same.

pages    options, commands, stores, checks, counters, messages: in the program and in
         its page, both ways. Reads the sources of the pages, so needs no scdoc
canfail  takes each thing out of pages and help, and looks that it is missed
render   the built pages: nothing to warn of, no line too long"""

import json
import os
import re
import shutil
import subprocess
import sys

import helptext

COLUMNS = 80


class World:
    """All texts that are compared. page: name -> scdoc source; help: "run" -> text,
    "" is that of rmem itself."""

    def __init__(self, root, rmem, rmemd, man_dir):
        self.page = {}
        for f in sorted(os.listdir(man_dir)):
            if f.endswith(".scd"):
                self.page[f[:-4]] = read(os.path.join(man_dir, f))
        self.help = {"": helptext.run(rmem, "--help"), "rmemd": helptext.run(rmemd, "--help")}
        for c in self.commands():
            self.help[c] = helptext.run(rmem, c, "--help")
        self.stores = helptext.run(rmem, "help", "stores")
        self.checks = [c["check"] for c in json.loads(helptext.run(rmem, "doctor", "--json"))]
        self.settings = json.loads(helptext.run(rmem, "doctor", "--show-config", "--json"))
        self.counters = read(os.path.join(root, "client/supervisor_stats.c"))
        self.server_options = read(os.path.join(root, "server/options.c"))
        self.protocol = read(os.path.join(root, "docs/protocol.md"))

    def commands(self):
        return [c for c in helptext.listed(self.help[""], "Commands") if c != "help"]


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def plain(scd):
    """Without the marks for bold and underlined, which don't matter here."""
    text = re.sub(r"(?<![a-zA-Z0-9])_([^\n]+?)_(?![a-zA-Z0-9])", r"\1",
                  scd.replace("\\", "").replace("*", ""))
    return text.replace("++\n", "\n")


def section(scd, title):
    m = re.search(rf"(?ms)^# {re.escape(title)}\n(.*?)(?=^# |\Z)", scd)
    return m[1] if m else ""


def headings(part, depth=0):
    """Lines in bold that something indented follows."""
    tabs = "\t" * depth
    return re.findall(rf"(?m)^{tabs}(\*.*)\n(?={tabs}\t)", part)


def named(part, depth=0):
    return {plain(h) for h in headings(part, depth)}


def differ(what, page, in_program, in_page):
    bad = [f"{page}: {what} '{x}' is missing" for x in sorted(in_program - in_page)]
    return bad + [f"{page}: there is no {what} '{x}'" for x in sorted(in_page - in_program)]


def check_options(w):
    bad = []
    for name, text in w.help.items():
        page = {"": "rmem.1", "rmemd": "rmemd.8"}.get(name, f"rmem-{name}.1")
        part = section(w.page.get(page, ""), "OPTIONS")
        got = {h for h in named(part) if h.startswith("-")}
        bad += differ("option", page, helptext.heads(text), got)
    return bad


def check_table_of_rmemd(w):
    """rmemd writes its help by hand: its table has to be in it."""
    table = {"--" + o for o in re.findall(r'(?m)^\t\{"([a-z0-9-]+)",', w.server_options)}
    return differ("option", "rmemd --help", table, set(helptext.options(w.help["rmemd"])))


def check_usage(w):
    bad = []
    for name, text in w.help.items():
        page = {"": None, "rmemd": "rmemd.8"}.get(name, f"rmem-{name}.1")
        line = helptext.usage(text)
        if page and line not in plain(section(w.page.get(page, ""), "SYNOPSIS")).splitlines():
            bad.append(f"{page}: the synopsis is not '{line}'")
    return bad


def check_commands(w):
    own = {p[5:-2] for p in w.page if p.startswith("rmem-") and p.endswith(".1")}
    bad = differ("page of command", "docs/man", set(w.commands()), own)
    part = section(w.page["rmem.1"], "COMMANDS")
    bad += differ("command", "rmem.1", set(w.commands()) | {"help"}, named(part))
    topics = helptext.listed(w.help[""], "Topics")
    return bad + [f"rmem.1: topic '{t}' is missing" for t in topics if f"*{t}*" not in part]


def check_stores(w):
    bad = differ("store", "rmem.1", set(helptext.listed(w.stores, "Stores")),
                 named(section(w.page["rmem.1"], "STORES")))
    return bad + differ("place to listen", "rmemd.8",
                        set(helptext.server_specs(w.help["rmemd"])),
                        named(section(w.page["rmemd.8"], "OPTIONS"), 1))


def check_doctor(w):
    got = {x for h in named(section(w.page["rmem-doctor.1"], "CHECKS")) for x in h.split("; ")}
    return differ("check", "rmem-doctor.1", set(w.checks) | {"server"}, got)


def check_settings(w):
    """Keys of the files: of rmem by its own word, of rmemd by its table."""
    keys = {s["key"] for s in w.settings["settings"]}
    bad = differ("key", "rmem.conf.5", keys, keys_in(w.page["rmem.conf.5"]))
    keys = set(re.findall(r'(?m)^\t\[OPTIONS_\w+\] = \{"([a-z-]+)", true,', w.server_options))
    return bad + differ("key", "rmemd.conf.5", keys, keys_in(w.page["rmemd.conf.5"]))


def keys_in(page):
    return {h.split(" = ")[0] for h in named(section(page, "KEYS")) if " = " in h}


def check_counters(w):
    packed = "".join(re.findall(r"(?s)json_pack\(.*?;", w.counters))
    names = set(re.findall(r'"([a-z][a-z0-9]*(?:_[a-z0-9]+)*)"', packed))
    got = set(re.findall(r"\*([a-z0-9_]+)\*", section(w.page["rmem-stat.1"], "JSON")))
    return differ("counter", "rmem-stat.1", names, got)


def check_protocol(w):
    wanted = set()
    for line in re.findall(r"(?m)^### (.*)$", w.protocol):
        wanted |= set(re.findall(r"\b\d+ [A-Z][A-Z_]+\b", line))
    got = set(re.findall(r"(?m)^\|. \*(\d+ [A-Z_]+)\*$", w.page["rmem-protocol.7"]))
    return differ("message", "rmem-protocol.7", wanted, got)


def check_references(w):
    bad = []
    for page, text in w.page.items():
        for name, nr in re.findall(r"\*(rmem[a-z.-]*)\*\((\d)\)", text):
            if f"{name}.{nr}" not in w.page:
                bad.append(f"{page}: there is no {name}({nr})")
    return bad


CHECKS = [v for k, v in list(globals().items()) if k.startswith("check_")]


def complaints(w):
    return [line for check in CHECKS for line in check(w)]


def rule_pages(w, _):
    print(f"{len(w.page)} pages, {sum(len(helptext.heads(t)) for t in w.help.values())} options, "
          f"{len(CHECKS)} checks")
    return complaints(w)


def without(texts, key, lines):
    """Each of the lines taken out of texts[key], put back afterwards."""
    for line in lines:
        whole = texts[key]
        texts[key] = whole.replace(line + "\n", "", 1)
        yield line
        texts[key] = whole


def rule_canfail(w, _):
    if complaints(w):
        return ["the pages are wrong already: see lint.pages"]
    missed, nr = [], 0
    for page, text in w.page.items():
        parts = [section(text, t) for t in ("OPTIONS", "COMMANDS", "STORES", "CHECKS", "KEYS")]
        lines = [h for p in parts for h in headings(p)]
        lines += ["\t" + h for h in headings(section(text, "OPTIONS"), 1)]
        lines += re.findall(r"(?m)^\|. \*\d.*$", text)
        for line in without(w.page, page, lines):
            nr += 1
            if not complaints(w):
                missed.append(f"{page}: nobody misses {line.strip()}")
    for name, text in w.help.items():
        for line in without(w.help, name, re.findall(r"(?m)^ +(?:-\w, )?--.*$", text)):
            nr += 1
            if not complaints(w):
                missed.append(f"help of {name}: nobody misses {line.strip()}")
    for name in ("counters", "protocol", "server_options", "stores"):
        extra = {"counters": 'json_pack("new_counter");', "protocol": "\n### 99 NEW_MESSAGE\n",
                 "server_options": '\n\t{"new-option",\n', "stores": None}[name]
        whole = getattr(w, name)
        setattr(w, name, whole + extra if extra else whole.replace("Stores:\n",
                                                                   "Stores:\n  new:/PATH  x\n"))
        nr += 1
        if not complaints(w):
            missed.append(f"{name}: nobody sees what is new")
        setattr(w, name, whole)
    print(f"{nr} things changed, {len(missed)} not noticed")
    return missed


def rule_render(w, man_dir):
    for tool in ("scdoc", "man", "groff"):
        if not shutil.which(tool):
            print(f"{tool} is not installed")
            sys.exit(77)
    bad = []
    for page in w.page:
        path = os.path.join(man_dir, page)
        if not os.path.exists(path):
            bad.append(f"{page}: was not built")
            continue
        p = subprocess.run(["groff", "-man", "-ww", "-Tutf8", "-z", path], stderr=subprocess.PIPE,
                           text=True, check=False)
        bad += [f"{page}: {x}" for x in p.stderr.splitlines()]
        p = subprocess.run(["man", "-l", path], capture_output=True, text=True, check=False,
                           env=dict(os.environ, MANWIDTH=str(COLUMNS), LC_ALL="C.UTF-8"))
        bad += [f"{page}: {x}" for x in p.stderr.splitlines()]
        lines = p.stdout.expandtabs(8).splitlines()
        bad += [f"{page}: longer than {COLUMNS} columns: {x}" for x in lines if len(x) > COLUMNS]
        bad += [f"{page}: a mark that is no mark: {x}" for x in lines
                if re.search(r"(?<!\w)_\w+_(?!\w)|\*\w+\*|@\w+@", x)]
        if len(lines) < 20:
            bad.append(f"{page}: only {len(lines)} lines")
    print(f"{len(w.page)} pages at {COLUMNS} columns")
    return bad


RULES = {k[5:]: v for k, v in list(globals().items()) if k.startswith("rule_")}

if __name__ == "__main__":
    rule, src, rmem_bin, rmemd_bin, folder = sys.argv[1:]
    found = RULES[rule](World(src, rmem_bin, rmemd_bin, folder), folder)
    print("\n".join(found) or "ok")
    sys.exit(1 if found else 0)
