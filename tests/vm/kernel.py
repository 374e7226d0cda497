# SPDX-License-Identifier: Apache-2.0
"""Kernels, unpacked in a cache and never installed.

A kernel is a folder with `vmlinux`, `config` and `lib/modules/VERSION`; in the cache its name
is its version. What a series (6.1, 6.12) is today is asked of apt, and asked again when apt's
lists have changed. Folders appear whole or not at all."""

import contextlib
import fcntl
import glob
import os
import re
import shutil
import tempfile
import time

import debian
from debian import CannotBeHad, module_name, read_depends

FORMAT = "1"  # of the cache: another number, another folder
LOCK_S = 900


class Kernel:
    def __init__(self, folder):
        self.folder = os.path.realpath(folder)
        self.vmlinux = os.path.join(self.folder, "vmlinux")
        versions = os.listdir(os.path.join(self.folder, "lib/modules"))
        if len(versions) != 1 or not os.path.isfile(self.vmlinux):
            raise CannotBeHad(f"{folder} should have vmlinux and one folder in lib/modules")
        self.version = versions[0]
        self.modules = os.path.join(self.folder, "lib/modules", self.version)

    def ticks_per_second(self):
        with contextlib.suppress(OSError), open(os.path.join(self.folder, "config"),
                                                encoding="ascii") as f:
            return int(re.search(r"^CONFIG_HZ=(\d+)$", f.read(), re.M).group(1))
        return 250

    def closure(self, names):
        """Paths of these modules and of all that they need, in the order of loading."""
        depends = read_depends(self.modules)
        path_of = {module_name(path): path for path in depends}
        with open(os.path.join(self.modules, "modules.builtin"), encoding="ascii") as f:
            built_in = {module_name(line) for line in f}
        order = []
        for name in names:
            if name in path_of:
                order += reversed([path_of[name]] + depends[path_of[name]])
            elif name not in built_in:
                raise CannotBeHad(f"kernel {self.version} has no module {name}")
        return [os.path.join(self.modules, path) for path in dict.fromkeys(order)]


class Cache:
    """Where kernels are kept; say() is told what takes long."""

    def __init__(self, say):
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        top = os.environ.get("RMEM_VM_CACHE") or os.path.join(home, "rmem-vm")
        self.folder = os.path.join(os.path.abspath(top), FORMAT)
        self.say = say

    def kernel(self, wanted, siw=False):
        """`wanted` is a series (6.12), a version (6.12.117+deb12-amd64), or a folder."""
        if "/" in wanted:
            return own_kernel(wanted, siw)
        os.makedirs(self.folder, exist_ok=True)
        with self.locked():
            version = self.version(wanted)
            folder = os.path.join(self.folder, version)
            if not os.path.isdir(folder):
                version = self.download(wanted, version)
                folder = os.path.join(self.folder, version)
            kernel = Kernel(folder)
            if siw and not glob.glob(kernel.modules + "/extra/siw.ko"):
                self.add_siw(kernel)
        return kernel

    @contextlib.contextmanager
    def locked(self):
        """One at a time; whoever was killed in here left rubbish, which goes now."""
        with open(os.path.join(self.folder, "lock"), "w", encoding="ascii") as lock:
            end = time.monotonic() + LOCK_S
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as e:
                    if time.monotonic() > end:
                        raise CannotBeHad(f"another run holds {lock.name} for ever") from e
                    time.sleep(0.2)
            for left in glob.glob(os.path.join(self.folder, "new-*")):
                shutil.rmtree(left, ignore_errors=True)
            yield

    @contextlib.contextmanager
    def workplace(self):
        with tempfile.TemporaryDirectory(prefix="new-", dir=self.folder) as place:
            yield place

    # Which version?

    def version(self, wanted):
        if not re.fullmatch(r"\d+\.\d+", wanted):
            return wanted
        note = os.path.join(self.folder, "series-" + wanted)
        with contextlib.suppress(OSError):
            if os.stat(note).st_mtime_ns > os.stat(debian.APT_LISTS).st_mtime_ns:
                return os.readlink(note)
        version = debian.resolve(wanted)
        if not version and not debian.have_lists() and debian.update_lists():
            version = debian.resolve(wanted)
        if not version:
            return self.newest_kept(wanted)
        self.remember(note, version)
        return version

    @staticmethod
    def remember(note, version):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(note)
        os.symlink(version, note)
        os.utime(note, follow_symlinks=False)

    def newest_kept(self, series):
        """For a machine without network, or whose apt doesn't know this series."""
        kept = [os.path.basename(k) for k in glob.glob(f"{self.folder}/{series}.*")]
        if not kept:
            raise CannotBeHad(f"apt knows no kernel {series}: `apt-get update` as root, or add "
                              "the archive that has it (6.12 for Debian 12: bookworm-security)")
        return max(kept, key=lambda v: [int(n) for n in re.findall(r"\d+", v)])

    # Getting it

    def unpack(self, version):
        with self.workplace() as place:
            os.rename(debian.unpack(version, place), os.path.join(self.folder, version))

    def download(self, wanted, version):
        self.say(f"fetching kernel {version}")
        try:
            self.unpack(version)
        except CannotBeHad as gone:
            version = self.second_try(wanted, version, gone)
        return version

    def second_try(self, wanted, version, reason):
        """Versions rotate: what old lists name, the archive has no longer."""
        if debian.update_lists():
            version = debian.resolve(wanted) or version
            with contextlib.suppress(CannotBeHad):
                if not os.path.isdir(os.path.join(self.folder, version)):
                    self.unpack(version)
                return version
        try:
            kept = self.newest_kept(wanted)
        except CannotBeHad:
            raise reason from None
        self.say(f"{reason}; using {kept}")
        return kept

    def add_siw(self, kernel):
        self.say(f"building siw for {kernel.version}")
        with self.workplace() as place:
            module = debian.build_siw(kernel.version, place)
            os.makedirs(kernel.modules + "/extra", exist_ok=True)
            os.rename(module, kernel.modules + "/extra/siw.ko")
        debian.run("depmod", "-b", kernel.folder, kernel.version)


def own_kernel(folder, siw):
    try:
        kernel = Kernel(folder)
    except OSError as e:
        raise CannotBeHad(f"{folder} is no kernel: it should have vmlinux and lib/modules/VERSION, "
                          "as from `make modules_install INSTALL_MOD_PATH=...`") from e
    if siw and not kernel.closure(["siw"]):
        raise CannotBeHad(f"{folder} has no module siw")
    return kernel
