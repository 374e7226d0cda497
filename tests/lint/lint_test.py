#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every rule of lint.py finds what it is there for, and nothing in good code."""

import os
import shutil
import subprocess
import sys
import tempfile

import lint

SPDX = "/* SPDX-License-Identifier: Apache-2.0 */\n"
GOOD = SPDX + '#include "common/base/err.h"\n\nint x(void)\n{\n\treturn 1;\n}\n'
# rule -> (file, content) that breaks it
BROKEN = {
    "layers": ("client/core/bad.c", SPDX + '#include "client/capture/proc.h"\n'),
    "calls": ("client/core/bad.c", SPDX + "int x(void)\n{\n\treturn ioctl(1, UFFDIO_COPY, 0);\n}\n"),
    "spdx": ("server/bad.c", "int x;\n"),
    "space": ("server/bad.c", SPDX + "int x; \n"),
    "sizes": ("server/bad.c", SPDX + "int x(void)\n{\n" + "\tx();\n" * 200 + "}\n"),
    "format": ("server/bad.c", SPDX + "int   x ( void ) ;\n"),
}


def tree(extra):
    root = tempfile.mkdtemp(prefix="rmem-lint-", dir="/var/tmp")
    here = os.path.dirname(os.path.abspath(__file__))
    shutil.copy(os.path.join(here, "..", "..", ".clang-format"), root)
    for name, body in [("common/base/err.h", SPDX), ("client/capture/proc.h", SPDX),
                       ("client/core/good.c", GOOD)] + extra:
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(body)
    subprocess.run(["git", "init", "-q", root], check=True)
    return root


def finds(rule, extra):
    root = tree(extra)
    try:
        return lint.RULES[rule](root)
    finally:
        shutil.rmtree(root)


missed = 0
for rule, broken in BROKEN.items():
    if rule == "format" and not shutil.which("clang-format"):
        continue
    if finds(rule, []):
        print(f"{rule}: complains about good code")
        missed += 1
    if not finds(rule, [broken]):
        print(f"{rule}: does not find {broken[0]}")
        missed += 1
print(f"{len(BROKEN)} rules, {missed} that do not work")
sys.exit(1 if missed else 0)
