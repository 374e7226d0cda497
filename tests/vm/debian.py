# SPDX-License-Identifier: Apache-2.0
"""Debian's kernel packages: which is the newest, fetched by apt, and made into a folder with
what a guest needs of them. Nothing is installed."""

import contextlib
import glob
import lzma
import os
import re
import shutil
import signal
import struct
import subprocess
import zlib

APT_LISTS = "/var/lib/apt/lists"
DOWNLOAD_S = 600

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


def run(*command, cwd=None, timeout_s=DOWNLOAD_S):
    """The command's output; what it complained of is in the exception. It dies with us."""
    if not shutil.which(command[0]):
        raise CannotBeHad(f"{command[0]} is missing; ./check installs it")
    with subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], cwd=cwd, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, start_new_session=True) as child:
        try:
            out, err = child.communicate(timeout=timeout_s)
        except BaseException as e:
            os.killpg(child.pid, signal.SIGKILL)  # make's compilers, too
            if isinstance(e, subprocess.TimeoutExpired):
                raise CannotBeHad(f"{command[0]} took more than {timeout_s} s") from e
            raise
    if child.returncode:
        raise CannotBeHad(f"{command[0]}: {reason(err)}")
    return out


def reason(complaints):
    """The line that says most."""
    lines = complaints.strip().splitlines() or ["no reason given"]
    telling = [line for line in lines if re.search(r"^E:|error:|not found", line)]
    return (telling or lines)[0 if telling else -1]


def need_program(name, package):
    if not shutil.which(name):
        raise CannotBeHad(f"{name} is missing: apt-get install {package}")


def module_name(path):
    return os.path.basename(path.strip()).split(".")[0].replace("-", "_")


def read_depends(modules):
    with open(os.path.join(modules, "modules.dep"), encoding="ascii") as f:
        lines = (line.split(":") for line in f)
        return {path: needs.split() for path, needs in lines}


def resolve(series):
    """The image that Debian's meta packages name for this series; None if there is none."""
    for meta in (f"linux-image-{series}-amd64", "linux-image-amd64"):
        with contextlib.suppress(CannotBeHad):
            found = re.search(r"Depends: linux-image-(%s\..*-amd64)$" % re.escape(series),
                              run("apt-cache", "depends", meta), re.M)
            if found:
                return found.group(1)
    return None


def update_lists():
    if os.geteuid() != 0:
        return False
    with contextlib.suppress(CannotBeHad):
        run("apt-get", "-q", "update")
        return True
    return False


def have_lists():
    return bool(glob.glob(APT_LISTS + "/*_Packages*"))


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


def unpack(version, place):
    """Fetches a kernel to a new folder in `place`, and returns its path."""
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
    return new


def build_siw(version, place):
    """Debian leaves siw out: built in `place` from its source package for its own headers."""
    series = ".".join(version.split(".")[:2])
    headers = "linux-headers-" + version
    needs = re.findall(r"Depends: (linux-(?:headers|kbuild)\S+)",
                       run("apt-cache", "depends", headers))
    fetch(place, headers, *needs, "linux-source-" + series)
    archive, = glob.glob(f"{place}/usr/src/linux-source-{series}.tar.*")
    siw = "drivers/infiniband/sw/siw"
    run("tar", "-C", place, "--strip-components=1", "-xf", archive,
        f"linux-source-{series}/{siw}")
    tree, module = f"{place}/usr/src/{headers}", f"{place}/{siw}/siw.ko"
    relocate(f"{tree}/Makefile", place)
    run("make", "-C", tree, f"M={place}/{siw}", "CONFIG_RDMA_SIW=m",
        "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules")
    run("strip", "-g", module)
    return module
