# SPDX-License-Identifier: Apache-2.0
"""What /proc says about the processes of a run."""

import os
import re
import struct

PAGE = 4096
MIB = 1 << 20
CHUNK = 2 * MIB
STATE_HEADER_BYTES = 16384  # the standby frames follow it in rmem's state
PRESENT = 1 << 63


def cpu_ns(pid):
    """(ran, waited for a processor) of all threads of a process; zeros when it is gone."""
    ran = waited = 0
    try:
        for tid in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{tid}/schedstat", encoding="ascii") as f:
                r, w = f.read().split()[:2]
            ran, waited = ran + int(r), waited + int(w)
    except (OSError, ValueError):
        pass
    return ran, waited


def same_memory_as(pid):
    """Other processes that run in the same address space: rmem's agent."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as f:
        maps = f.read()
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == pid:
            continue
        try:
            with open(f"/proc/{name}/maps", encoding="utf-8") as f:
                if f.read() == maps:
                    found.append(int(name))
        except OSError:
            pass
    return found


def mappings(pid):
    """(start, end, name, resident bytes) of each mapping."""
    found, head = [], re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+ *(.*)")
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as f:
        for line in f:
            m = head.match(line)
            if m:
                found.append([int(m[1], 16), int(m[2], 16), m[3], 0])
            elif line.startswith("Rss:"):
                found[-1][3] = int(line.split()[1]) * 1024
    return found


def present_bytes(pid, start, end):
    with open(f"/proc/{pid}/pagemap", "rb") as f:
        f.seek(start // PAGE * 8)
        data = f.read((end - start) // PAGE * 8)
    return sum(PAGE for (entry,) in struct.iter_unpack("<Q", data) if entry & PRESENT)


def chunks_left(pid):
    """2 MiB pieces of a process's anonymous memory that lack a page: of a program that
    has touched all of its memory, those from which some has left."""
    found = set()
    for start, end, name, _ in mappings(pid):
        if name and name != "[heap]":
            continue
        with open(f"/proc/{pid}/pagemap", "rb") as f:
            f.seek(start // PAGE * 8)
            data = f.read((end - start) // PAGE * 8)
        for i, (entry,) in enumerate(struct.iter_unpack("<Q", data)):
            if not entry & PRESENT:
                found.add((start + i * PAGE) // CHUNK)
    return len(found)


def frames_bytes(cap_bytes):
    """Standby frames count as the job's: a sixteenth of the cap, 1 to 256 MiB."""
    return min(max(cap_bytes // 16, MIB), 256 * MIB) // PAGE * PAGE


def pager_bytes(pid, cap_bytes):
    """(own, frames): memory of a pager whose pages are at a private server. Its own is
    all that is resident, less standby frames and the mapped slabs of the server."""
    own = frames = 0
    for start, _, name, rss in mappings(pid):
        if name.startswith("/memfd:rmem-state"):
            first = start + STATE_HEADER_BYTES
            frames = present_bytes(pid, first, first + frames_bytes(cap_bytes))
        elif name.startswith("/memfd:") and "slab" in name:
            continue
        elif name.startswith("/") and not name.startswith("/memfd:"):
            continue  # text and data of programs: shared, from files
        own += rss
    return own - frames, frames
