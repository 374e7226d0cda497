# SPDX-License-Identifier: Apache-2.0
"""A file system that the kernel unpacks before anything else: a cpio archive ("newc"),
built in memory. Device nodes are only entries in it, so that nobody needs to be root."""

import stat


def padded(data):
    return data + b"\0" * (-len(data) % 4)


class Archive:
    def __init__(self):
        self.parts = []

    def _add(self, name, mode, data=b"", device=(0, 0)):
        path = name.encode() + b"\0"
        fields = (len(self.parts) + 1, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0)
        head = b"070701" + b"".join(b"%08x" % f for f in fields)
        self.parts.append(padded(head + path) + padded(data))

    def folder(self, name):
        self._add(name, stat.S_IFDIR | 0o755)

    def file(self, name, data, mode=0o755):
        self._add(name, stat.S_IFREG | mode, data)

    def link(self, name, target):
        self._add(name, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, name, major, minor):
        self._add(name, stat.S_IFCHR | 0o600, device=(major, minor))

    def contents(self):
        self._add("TRAILER!!!", 0)
        return b"".join(self.parts)
