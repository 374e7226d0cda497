# SPDX-License-Identifier: Apache-2.0
"""One guest: QEMU without KVM, and what comes out of it.

Nothing of it is on disk and nothing has a name: the initramfs, the console and the kernel's
messages are memory that QEMU inherits, as are pipes for output, sockets for control and the
wire to the other guest. Whatever kills us, nothing is left (QEMU dies with its parent)."""

import ctypes
import mmap
import os
import shlex
import signal
import socket
import subprocess
import time

from debian import CannotBeHad, need_program
from initramfs import Archive

HERE = os.path.dirname(os.path.realpath(__file__))
BUSYBOX = "/bin/busybox"
APPLETS = ("cat cp dmesg hostname insmod ip mkdir mkfifo mount poweroff setsid sh switch_root "
           "usleep").split()
MODULES = ["virtio_mmio", "virtio_console", "9pnet_virtio", "9p", "overlay"]
NET = {"alone": ["dummy"], "main": ["virtio_net"], "peer": ["virtio_net"]}
# crc32: rxe says "No such file or directory" without it, and pclmul is slow when emulated.
RDMA = {"none": [], "rxe": ["crc32_generic", "rdma_ucm", "rdma_rxe"],
        "siw": ["crc32c_generic", "libcrc32c", "rdma_ucm", "siw"]}
ADDRESS = {"alone": "10.9.0.1", "peer": "10.9.0.1", "main": "10.9.0.2"}

KERNEL_ARGS = " ".join("""
    console=ttyS0 panic=-1 random.trust_cpu=on net.ifnames=0
    tsc=reliable tsc_early_khz={tsc_khz} lpj={lpj}
    mitigations=off no5lvl cryptomgr.notests=1 nokaslr norandmaps
""".split())
# Without "erms" the kernel doesn't copy with `rep movsb`, which is emulated byte by byte.
CPU = "max,erms=off,fsrm=off,la57=off"


def tsc_khz():
    """The rate of this machine's time stamp counter, which an emulated one shares. A guest
    that has to find out for itself fails to, once in some 15 boots."""
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex("0f3148c1e2204809d0c3"))  # rdtsc; shl $32,%rdx; or %rdx,%rax; ret
    start = ctypes.addressof(ctypes.c_char.from_buffer(code))
    rdtsc = ctypes.CFUNCTYPE(ctypes.c_uint64)(start)

    def now():
        """(ticks, ns), of several tries the one that was interrupted least."""
        tries = []
        for _ in range(10):
            before, ticks = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW), rdtsc()
            after = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
            tries.append((after - before, ticks, (before + after) // 2))
        return min(tries)[1:]

    ticks, ns = now()
    time.sleep(0.02)
    ticks_later, ns_later = now()
    return round((ticks_later - ticks) * 1e6 / (ns_later - ns))


def quoted(settings):
    return "".join(f"{k}={shlex.quote(v)}\n" for k, v in settings.items()).encode()


def read_file(path):
    with open(path, "rb") as f:
        return f.read()


def busybox():
    """That of busybox-static: the guest has no libraries before it has the host's files."""
    need_program(BUSYBOX, "busybox-static")
    program = read_file(BUSYBOX)
    if b"ld-linux" in program[:4096]:
        raise CannotBeHad(f"{BUSYBOX} needs libraries: apt-get install busybox-static")
    return program


def memory_file(name):
    return open(os.memfd_create(name, 0), "w+b", buffering=0)


class Guest:
    """`options` are those of run; `wire` is our end of a pair of datagram sockets, or None."""

    def __init__(self, role, kernel, command, options, wire=None):
        self.role, self.kernel, self.options, self.wire = role, kernel, options, wire
        self.console, self.messages = memory_file("console"), memory_file("messages")
        self.qemu_log = memory_file("qemu")
        self.initramfs = memory_file("initramfs")
        self.initramfs.write(self.archive(command).contents())
        self.out, out = os.pipe()
        self.err, err = os.pipe()
        self.control, control = socket.socketpair()
        self.peer_control, peer_control = socket.socketpair()
        inherited = [f.fileno() for f in (self.console, self.messages, self.initramfs, control,
                                          peer_control)] + [out, err]
        if wire:
            inherited.append(wire.fileno())
        arguments = self.arguments(out, err, control.fileno(), peer_control.fileno())
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"] + arguments,
            stdin=subprocess.DEVNULL, stdout=self.qemu_log, stderr=self.qemu_log,
            pass_fds=inherited, start_new_session=True)
        for fd in (out, err):
            os.close(fd)
        for s in (control, peer_control):
            s.close()

    def archive(self, command):
        files = Archive()
        for folder in "bin dev proc sys modules host layer root".split():
            files.folder(folder)
        files.character_device("dev/console", 5, 1)
        files.file("bin/busybox", busybox())
        for applet in APPLETS:
            files.link("bin/" + applet, "busybox")
        for name in ("init", "start", "bin/vm-peer"):
            files.file(name, read_file(os.path.join(HERE, os.path.basename(name))))
        modules = self.kernel.closure(MODULES + NET[self.role] + RDMA[self.options.rdma])
        for path in modules:
            files.file("modules/" + os.path.basename(path), read_file(path))
        files.file("modules/order", "".join(os.path.basename(m) + "\n" for m in modules).encode())
        files.file("shares", "".join(s + "\n" for s in self.options.share).encode())
        files.file("settings", quoted({
            "ROLE": self.role, "IP": ADDRESS[self.role], "RDMA": self.options.rdma,
            "PEER_IP": ADDRESS["main" if self.role == "peer" else "peer"],
            "NETDEV": "dummy0" if self.role == "alone" else "eth0",
            "KERNEL": self.kernel.version, "MODULES": self.kernel.modules}))
        files.file("command", f"cd {shlex.quote(os.getcwd())}\nexec {shlex.join(command)}\n"
                   .encode())
        return files

    def arguments(self, out, err, control, peer_control):
        options, khz = self.options, tsc_khz()
        append = KERNEL_ARGS.format(tsc_khz=khz, lpj=khz * 1000 // self.kernel.ticks_per_second())
        cpus = options.cpus or (2 if self.role == "alone" else 1)
        args = f"""
            -M microvm -accel tcg,thread={options.threads} -cpu {CPU} -smp {cpus}
            -m {options.memory} -nodefaults -display none -no-reboot
            -serial file:/proc/self/fd/{self.console.fileno()}
            -initrd /proc/self/fd/{self.initramfs.fileno()}
            -device virtio-serial-device,max_ports=8
            -chardev file,id=port1,path=/proc/self/fd/{out}
            -chardev file,id=port2,path=/proc/self/fd/{err}
            -chardev socket,id=port3,fd={control}
            -chardev file,id=port4,path=/proc/self/fd/{self.messages.fileno()}
            -chardev socket,id=port5,fd={peer_control}
        """.split()
        for nr in range(1, 6):
            args += ["-device", f"virtserialport,chardev=port{nr},nr={nr}"]
        args += ["-kernel", self.kernel.vmlinux, "-append", f"{append} {options.kernel_args}"]
        args += share("host", "/", "readonly=on")
        for nr, folder in enumerate(options.share):
            args += share(f"share{nr}", folder, "readonly=off")
        if self.wire:
            args += ["-netdev", f"socket,id=wire,fd={self.wire.fileno()}", "-device",
                     f"virtio-net-device,netdev=wire,mac=52:54:00:09:00:0{ADDRESS[self.role][-1]}"]
        return args + shlex.split(options.qemu_args)

    def is_alive(self):
        return self.process.poll() is None

    def say(self, text):
        with_newline = text.encode() + b"\n"
        try:
            self.control.send(with_newline)
        except OSError:
            pass  # it is gone, which others see

    def signal(self, number):
        if self.is_alive():
            self.process.send_signal(number)

    def close(self):
        self.signal(signal.SIGKILL)
        self.process.wait()
        for fd in (self.out, self.err):
            os.close(fd)
        for f in (self.console, self.messages, self.qemu_log, self.initramfs, self.control,
                  self.peer_control):
            f.close()

    def last_words(self, nr_lines):
        lines = contents(self.console).splitlines()[-nr_lines:]
        return lines + contents(self.qemu_log).splitlines()


def contents(file):
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace")


def share(tag, folder, how):
    path = folder.replace(",", ",,")
    return ["-fsdev", f"local,id={tag},path={path},security_model=none,multidevs=remap,{how}",
            "-device", f"virtio-9p-device,fsdev={tag},mount_tag={tag}"]
