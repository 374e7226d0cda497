#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""lint.py RULE [ROOT]: house rules that no compiler knows.

format  clang-format changes nothing
layers  who may include whom (design, section 5)
calls   raw userfaultfd, ptrace, io_uring, BPF and verbs only in files named for them
spdx    every source file says its licence in its first lines
space   tabs in C, spaces in Python and shell, no trailing space, 100 columns
sizes   long files and functions: reported, and bounded"""

import os
import re
import shutil
import subprocess
import sys

C = (".c", ".h")
SOURCES = C + (".py", ".sh", ".bash", ".scd", ".service.in", ".rules")

# folder (longest prefix wins) -> what its files may include, by prefix
LAYERS = {
    "bpf": ["bpf/"],
    "common/base": ["common/base/"],
    "common": ["common/"],
    "client/core": ["client/core/", "common/base/"],
    "client/policy": ["client/policy/", "client/core/policy.h", "client/core/types.h",
                      "common/base/"],
    "client/store": ["client/store/", "client/core/store.h", "client/core/types.h", "common/"],
    "client/capture": ["client/capture/", "client/core/", "client/run.h", "common/",
                       "bpf/"],
    "client": ["client/", "common/"],
    "server": ["server/", "common/"],
    # what is seen, apart from the terminal it is seen on: no command line, no curses
    "tools/watch": ["tools/watch/", "client/run.h", "client/supervisor", "client/core/core.h",
                    "common/"],
    "tools": ["tools/", "client/run.h", "client/supervisor", "client/ctl", "client/store/open.h",
              "client/servers.h", "client/session.h", "client/capture/proc.h", "client/capture/inject.h",
              "client/core/", "client/jobtree.h", "client/elastic.h", "common/"],
}
# the only file that names implementations (and the headers that list them)
SESSION = "client/session.c"
IMPLEMENTATION = re.compile(r"client/(store/(?!(open|handover|pool)\.h)|policy/)")

# what -> the files that may use it
CALLS = {
    r"\bUFFDIO_[A-Z]+\b|USERFAULTFD_IOC_NEW|SYS_userfaultfd":
        r"client/capture/(uffd|agent|inject|events|space|fill)[a-z_]*\.[ch]|common/compat\.h|"
        r"tools/doctor[a-z_]*\.c|client/[a-z_]*probe[a-z_]*\.[ch]",
    r"\bptrace\(|\bPTRACE_[A-Z]+\b":
        r"client/capture/(ptrace|inject)[a-z_]*\.[ch]|tools/doctor[a-z_]*\.c|"
        r"client/[a-z_]*probe[a-z_]*\.[ch]",
    r"\bio_uring_[a-z]+": r"(common/conn/tcp|client/store/file)[a-z_]*\.[ch]",
    r"\b(socket|connect|accept4?|listen|sendmsg|recvmsg|setsockopt)\(":
        r"common/conn/[a-z_]+\.[ch]|common/metrics/address\.c|client/capture/[a-z_]+\.[ch]",
    r"\bibv_[a-z]+|\brdma_[a-z]+\(": r".*rdma[a-z_]*\.[ch]",
    r"\bMHD_[a-z_]+\(": r"common/metrics/http\.c",
    r"\b(initscr|newterm|endwin|getch)\(": r"tools/[a-z_]*terminal\.c",
    r"\bSYS_bpf\b|\bbpf_[a-z_]+\(": r"(bpf/.*|.*bpf[a-z_]*\.[ch]|tools/doctor[a-z_]*\.c)",
    r"\bnuma_[a-z_]+\(|\bmbind\(": r"(server|common/conn)/(slab|rdma)[a-z_]*\.[ch]",
}

MAX_FILE, MAX_FUNCTION, COLUMNS = 900, 150, 100
LONG_FILE, LONG_FUNCTION = 500, 60


def files(root):
    out = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard"],
                         stdout=subprocess.PIPE, text=True, check=True).stdout.split("\n")
    return sorted(f for f in out if f and os.path.isfile(os.path.join(root, f)))


def text(root, f):
    with open(os.path.join(root, f), encoding="utf-8", errors="replace") as h:
        return h.read()


def strip_comments(src):
    keep_lines = lambda m: "\n" * m.group(0).count("\n")
    src = re.sub(r"/\*.*?\*/", keep_lines, src, flags=re.S)
    return re.sub(r"//[^\n]*", "", src)


def code(root):
    return [f for f in files(root) if f.endswith(C) and not f.startswith(("tests/", "bench/"))]


def rule_format(root):
    if not shutil.which("clang-format"):
        print("clang-format is not installed")
        sys.exit(77)
    names = [f for f in files(root) if f.endswith(C)]
    p = subprocess.run(["clang-format", "--dry-run", "-Werror"] + names, cwd=root,
                       stderr=subprocess.PIPE, text=True, check=False)
    bad = sorted({line.split(":")[0] for line in p.stderr.splitlines() if ": error:" in line})
    return [f"{f}: run clang-format -i" for f in bad]


def allowed(f):
    folder = os.path.dirname(f)
    best = max((k for k in LAYERS if folder == k or folder.startswith(k + "/")), key=len,
               default=None)
    return LAYERS.get(best)


def rule_layers(root):
    bad = []
    for f in code(root):
        may = allowed(f)
        for n, line in enumerate(text(root, f).splitlines(), 1):
            m = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not m or may is None:
                continue
            inc = m.group(1)
            made_from = inc.replace(".skel.h", ".bpf.c")  # by the build
            if "/" not in inc or not os.path.isfile(os.path.join(root, made_from)):
                bad.append(f'{f}:{n}: "{inc}" is no path from the root')
            elif not any(inc.startswith(p) for p in may) and not inc.startswith("include/"):
                bad.append(f"{f}:{n}: may not include {inc}")
            elif f.startswith("client/") and f.count("/") == 1 and f != SESSION and \
                    IMPLEMENTATION.match(inc):
                bad.append(f"{f}:{n}: only {SESSION} names implementations, not {inc}")
    return bad


def rule_calls(root):
    bad = []
    for f in code(root):
        for n, line in enumerate(strip_comments(text(root, f)).splitlines(), 1):
            for what, where in CALLS.items():
                if re.search(what, line) and not re.fullmatch(where, f):
                    bad.append(f"{f}:{n}: belongs in a file named for it: {line.strip()}")
    return bad


def rule_spdx(root):
    bad = []
    for f in files(root):
        if f.endswith(SOURCES) or text(root, f)[:2] == "#!":
            if "SPDX-License-Identifier: Apache-2.0" not in "".join(
                    text(root, f).splitlines(True)[:2]):
                bad.append(f"{f}: no SPDX line first")
    return bad


def rule_space(root):
    bad = []
    for f in files(root):
        is_c, is_script = f.endswith(C), f.endswith((".py", ".sh"))
        if not (is_c or is_script or f.endswith((".md", ".txt"))):
            continue
        for n, line in enumerate(text(root, f).splitlines(), 1):
            if line != line.rstrip():
                bad.append(f"{f}:{n}: space at the end of the line")
            indent = re.match(r"[ \t]*", line).group(0)
            if is_c and (" \t" in indent or indent.startswith(" " * 8)):
                bad.append(f"{f}:{n}: spaces where tabs belong")
            if is_script and "\t" in indent:
                bad.append(f"{f}:{n}: tab in the indent")
            if is_c and len(line.expandtabs(8)) > COLUMNS:
                bad.append(f"{f}:{n}: longer than {COLUMNS} columns")
    return bad


def functions(src):
    """(name, first line, number of lines) of every function body at column 0."""
    lines, start, name = src.splitlines(), None, "?"
    for n, line in enumerate(lines):
        if line == "{" and start is None:
            head = " ".join(lines[max(0, n - 4):n])
            found = re.findall(r"(\w+)\s*\(", head)
            name, start = (found[0] if found else "?"), n
        elif line.startswith("}") and start is not None:
            yield name, start + 1, n - start + 1
            start = None


def rule_sizes(root):
    bad, nr_files, nr_functions, long_ones = [], 0, 0, []
    for f in code(root):
        src = text(root, f)
        n = src.count("\n")
        nr_files += 1
        if n > LONG_FILE:
            long_ones.append(f"{f}: {n} lines")
        if n > MAX_FILE:
            bad.append(f"{f}: {n} lines, at most {MAX_FILE}")
        for name, line, size in functions(src):
            nr_functions += 1
            if size > LONG_FUNCTION:
                long_ones.append(f"{f}:{line}: {name}() has {size} lines")
            if size > MAX_FUNCTION:
                bad.append(f"{f}:{line}: {name}() has {size} lines, at most {MAX_FUNCTION}")
    print(f"{nr_files} files, {nr_functions} functions; wanting a reason:")
    print("\n".join("  " + x for x in long_ones) or "  none")
    return bad


RULES = {k[5:]: v for k, v in list(globals().items()) if k.startswith("rule_")}

if __name__ == "__main__":
    found = RULES[sys.argv[1]](os.path.abspath(sys.argv[2] if len(sys.argv) > 2 else "."))
    print("\n".join(found) or "ok")
    sys.exit(1 if found else 0)
