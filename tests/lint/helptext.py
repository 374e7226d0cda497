# SPDX-License-Identifier: Apache-2.0
"""What --help of rmem and rmemd says, taken apart. The help is printed from the
tables that the programs parse with, so this is what there is."""

import re
import subprocess


def run(*argv):
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False,
                          stdin=subprocess.DEVNULL).stdout


def options(text):
    """{"--listen": ("-l", "SPEC")}; None where there is no short name or no value."""
    found = {}
    for line in text.splitlines():
        m = re.match(r" +(?:(-[a-zA-Z]), )?(--[a-z0-9-]+)(?: (\S+))?(?: .*)?$", line)
        if m:
            found[m[2]] = (m[1], m[3])
    return found


def heads(text):
    """As a manual page writes them: "-l, --listen SPEC"."""
    return {(short + ", " if short else "") + name + (" " + value if value else "")
            for name, (short, value) in options(text).items()}


def listed(text, title):
    """First words of the list under "Commands:", "Topics:", "Stores:"."""
    part = text.split("\n" + title + ":\n", 1)
    return re.findall(r"(?m)^  (\S+)", part[1].split("\n\n", 1)[0]) if len(part) == 2 else []


def usage(text):
    return re.search(r"(?m)^Usage: (.*)$", text)[1]


def server_specs(text):
    """What --listen of rmemd takes: deeper lines "shm:/PATH  a Unix socket"."""
    return re.findall(r"(?m)^ {20,}([a-z]+:\S+) ", text)
