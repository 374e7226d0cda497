# SPDX-License-Identifier: Apache-2.0
"""Debian's kernels, unpacked in a cache and never installed.

A kernel is a folder VERSION with `vmlinux`, `config` and `lib/modules/VERSION`; of the modules
only those stay that a guest without hardware could want. What a series (6.1, 6.12) is today is
asked of apt, and asked again when apt's lists have changed. Folders appear whole or not at all."""

import contextlib
import fcntl
import glob
import lzma
import os
import re
import shutil
import struct
import subprocess
import tempfile
import time
import zlib

FORMAT = "1"  # of the cache: another number, another folder
LOCK_S = 900
DOWNLOAD_S = 600
APT_LISTS = "/var/lib/apt/lists"

# Modules that stay, with what they depend on: paths under kernel/.
KEPT = re.compile(r"""
    crypto/ | arch/x86/crypto/ | lib/ | mm/
    | drivers/block/(brd|loop|nbd|null_blk|ublk_drv|virtio_blk|zram)
    | drivers/char/(virtio_console|hw_random/virtio)
    | drivers/infiniband/(core|sw|ulp)/
    | drivers/md/(dm-mod|dm-flakey|dm-delay|dm-dust|raid1)\b
    | drivers/net/(dummy|ifb|macvlan|netconsole|nlmon|tun|veth|virtio_net|vxlan|wireguard/)
    | drivers/nvme/
    | drivers/target/(target_core|iscsi)
    | drivers/virtio/
    | fs/(9p|btrfs|configfs|ext4|fuse|jbd2|nfs|nfsd|overlayfs|xfs)/
    | net/(9p|bridge|core|ipv4|ipv6|netfilter|packet|rds|sched|smc|sunrpc|tls|unix|vmw_vsock)/
""", re.X)


class CannotBeHad(Exception):
    """A kernel or a program is missing: one line that says what to do about it."""


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


def module_name(path):
    return os.path.basename(path.strip()).split(".")[0].replace("-", "_")


def read_depends(modules):
    with open(os.path.join(modules, "modules.dep"), encoding="ascii") as f:
        lines = (line.split(":") for line in f)
        return {path: needs.split() for path, needs in lines}


def run(*command, cwd=None, timeout_s=DOWNLOAD_S):
    """The command's output; what it complained of is in the exception."""
    try:
        done = subprocess.run(command, cwd=cwd, timeout=timeout_s, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False)
    except FileNotFoundError as e:
        raise CannotBeHad(f"{command[0]} is missing; ./check installs it") from e
    except subprocess.TimeoutExpired as e:
        raise CannotBeHad(f"{command[0]} took more than {timeout_s} s") from e
    if done.returncode:
        raise CannotBeHad(f"{command[0]}: {reason(done.stderr)}")
    return done.stdout


def reason(complaints):
    """The line that says most."""
    lines = complaints.strip().splitlines() or ["no reason given"]
    telling = [line for line in lines if re.search(r"^E:|error:|not found", line)]
    return (telling or lines)[0 if telling else -1]


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
            if os.stat(note).st_mtime_ns > os.stat(APT_LISTS).st_mtime_ns:
                return os.readlink(note)
        version = resolve(wanted)
        if not version and not apt_has_lists() and update_lists():
            version = resolve(wanted)
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

    def download(self, wanted, version):
        self.say(f"fetching kernel {version}")
        try:
            self.unpack(version)
        except CannotBeHad as gone:
            version = self.second_try(wanted, version, gone)
        return version

    def second_try(self, wanted, version, reason):
        """Versions rotate: what old lists name, the archive has no longer."""
        if update_lists():
            version = resolve(wanted) or version
            if not os.path.isdir(os.path.join(self.folder, version)):
                self.unpack(version)
            return version
        try:
            kept = self.newest_kept(wanted)
        except CannotBeHad:
            raise reason from None
        self.say(f"{reason}; using {kept}")
        return kept

    def unpack(self, version):
        with self.workplace() as place:
            fetch(place, "linux-image-" + version)
            new = os.path.join(place, version)
            modules = os.path.join(new, "lib/modules")
            os.makedirs(modules)
            # Since Debian's /usr merge newer packages have them in /usr/lib.
            found, = glob.glob(f"{place}/lib/modules/*") + glob.glob(f"{place}/usr/lib/modules/*")
            prune(found)
            os.rename(found, os.path.join(modules, version))
            shutil.copy(f"{place}/boot/config-{version}", f"{new}/config")
            with open(f"{new}/vmlinux", "wb") as out:
                out.write(vmlinux(f"{place}/boot/vmlinuz-{version}"))
            run("depmod", "-b", new, version)
            os.rename(new, os.path.join(self.folder, version))

    def add_siw(self, kernel):
        """Debian leaves siw out: built from its source package for its own headers."""
        self.say(f"building siw for {kernel.version}")
        series = ".".join(kernel.version.split(".")[:2])
        headers = "linux-headers-" + kernel.version
        needs = re.findall(r"Depends: (linux-(?:headers|kbuild)\S+)",
                           run("apt-cache", "depends", headers))
        with self.workplace() as place:
            fetch(place, headers, *needs, "linux-source-" + series)
            archive, = glob.glob(f"{place}/usr/src/linux-source-{series}.tar.*")
            siw = "drivers/infiniband/sw/siw"
            run("tar", "-C", place, "--strip-components=1", "-xf", archive,
                f"linux-source-{series}/{siw}")
            tree = f"{place}/usr/src/{headers}"
            relocate(f"{tree}/Makefile", place)
            run("make", "-C", tree, f"M={place}/{siw}", "CONFIG_RDMA_SIW=m",
                "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules")
            os.makedirs(kernel.modules + "/extra", exist_ok=True)
            run("strip", "-g", f"{place}/{siw}/siw.ko")
            os.rename(f"{place}/{siw}/siw.ko", kernel.modules + "/extra/siw.ko")
        run("depmod", "-b", kernel.folder, kernel.version)


def need_program(name, package):
    if not shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
        raise CannotBeHad(f"{name} is missing: apt-get install {package}")


def own_kernel(folder, siw):
    try:
        kernel = Kernel(folder)
    except OSError as e:
        raise CannotBeHad(f"{folder} is no kernel: it should have vmlinux and lib/modules/VERSION, "
                          "as from `make modules_install INSTALL_MOD_PATH=...`") from e
    if siw and not kernel.closure(["siw"]):
        raise CannotBeHad(f"{folder} has no module siw")
    return kernel


def resolve(series):
    """The image that Debian's meta packages name for this series; None if there is none."""
    for meta in (f"linux-image-{series}-amd64", "linux-image-amd64"):
        with contextlib.suppress(CannotBeHad):
            found = re.search(r"Depends: linux-image-(%s\..*-amd64)$" % re.escape(series),
                              run("apt-cache", "depends", meta), re.M)
            if found:
                return found.group(1)
    return None


def apt_has_lists():
    with contextlib.suppress(CannotBeHad):
        return bool(run("apt-cache", "show", "dpkg"))
    return False


def update_lists():
    if os.geteuid() != 0:
        return False
    with contextlib.suppress(CannotBeHad):
        run("apt-get", "-q", "update")
        return True
    return False


def fetch(place, *packages):
    """Downloads packages and unpacks them into `place`."""
    # As root, apt would drop its rights and then miss those to write here.
    run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *packages, cwd=place)
    for package in glob.glob(place + "/*.deb"):
        run("dpkg-deb", "-x", package, place)
        os.unlink(package)


def prune(modules):
    """Removes modules that no guest needs, and unpacks those that stay."""
    run("depmod", "-b", modules.split("/lib/modules/")[0], os.path.basename(modules))
    depends = read_depends(modules)
    kept = set()
    for path, needs in depends.items():
        if KEPT.match(path.removeprefix("kernel/")):
            kept.update([path] + needs)
    for path in depends:
        full = os.path.join(modules, path)
        if path not in kept:
            os.unlink(full)
        elif path.endswith(".xz"):
            with lzma.open(full) as packed, open(full.removesuffix(".xz"), "wb") as out:
                shutil.copyfileobj(packed, out)
            os.unlink(full)


def vmlinux(image):
    """The kernel itself out of a bzImage: booted as it is, it saves seconds of unpacking."""
    with open(image, "rb") as f:
        data = f.read()
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = ((data[0x1f1] or 4) + 1) * 512 + offset
    payload = data[start:start + length]
    if payload.startswith(b"\xfd7zXZ"):
        return lzma.LZMADecompressor().decompress(payload)
    if payload.startswith(b"\x1f\x8b"):
        return zlib.decompressobj(31).decompress(payload)
    if payload.startswith(b"\x28\xb5\x2f\xfd"):
        # The length of the kernel follows the frame; zstd complains of it when all is done.
        return subprocess.run(["zstd", "-dcq"], input=payload, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, check=False).stdout
    raise CannotBeHad(f"{image} is packed in an unknown way")


def relocate(makefile, place):
    """Headers that are not installed: their makefile names the others by absolute path."""
    with open(makefile, encoding="ascii") as f:
        text = f.read()
    with open(makefile, "w", encoding="ascii") as f:
        f.write(text.replace("/usr/", place + "/usr/"))
