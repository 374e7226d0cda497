#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""rdma_guest.py BIN PROGRAMS RUNS QUICK: what bench/rdma.py has measured in a guest: the
kernel's own swap over nvme-rdma and rmem over the same rxe device, turn about; a read of 4 KiB
and reads in flight beside perftest's; the server's time. One JSON object on standard output.

The namespace that is swapped to is a RAM disk of this guest, reached through its own device."""

import json
import os
import signal
import subprocess
import sys
import time

MIB = 1 << 20
SIZE_MIB = 64
ADDRESS = os.environ["RMEM_VM_IP"]
NVMET = "/sys/kernel/config/nvmet"
GROUP = "/sys/fs/cgroup/bench"
KILLED_AT_MOST = 10
TRIES = 3
READS = "10000"  # half a second
PATTERNS = ("random-read", "random-write", "sequential-read", "sequential-write")


def write(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(str(text))


def out(*command, timeout_s=300):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True, timeout=timeout_s).stdout


def swap_over_rdma():
    out("modprobe", "brd", "rd_nr=1", f"rd_size={4 * SIZE_MIB * 1024}")
    out("modprobe", "-a", "nvmet-rdma", "nvme-rdma")
    if not os.path.isdir(NVMET):
        out("mount", "-t", "configfs", "none", "/sys/kernel/config")
    subsystem, port = f"{NVMET}/subsystems/swap", f"{NVMET}/ports/1"
    os.mkdir(subsystem)
    write(f"{subsystem}/attr_allow_any_host", 1)
    os.mkdir(f"{subsystem}/namespaces/1")
    write(f"{subsystem}/namespaces/1/device_path", "/dev/ram0")
    write(f"{subsystem}/namespaces/1/enable", 1)
    os.mkdir(port)
    for key, value in (("traddr", ADDRESS), ("trtype", "rdma"), ("trsvcid", 4420),
                       ("adrfam", "ipv4")):
        write(f"{port}/addr_{key}", value)
    os.symlink(subsystem, f"{port}/subsystems/swap")
    write("/dev/nvme-fabrics", f"transport=rdma,traddr={ADDRESS},trsvcid=4420,nqn=swap")
    while not os.path.exists("/dev/nvme0n1"):
        time.sleep(0.1)
    out("mkswap", "/dev/nvme0n1")
    out("swapon", "/dev/nvme0n1")
    write("/sys/fs/cgroup/cgroup.subtree_control", "+memory")
    os.mkdir(GROUP)
    # And what the program itself is, the kernel's own for it included.
    write(f"{GROUP}/memory.max", SIZE_MIB * MIB // 2 + 2 * MIB)


def swapping(*command):
    """Output and seconds. The kernel's OOM killer ends one in a cgroup now and then although
    swap has room."""
    for _ in range(KILLED_AT_MOST):
        began = time.monotonic()
        p = subprocess.run(
            ["sh", "-c", f'echo $$ >{GROUP}/cgroup.procs; exec "$@"', "sh", *command],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=300,
            check=False)
        if p.returncode != -signal.SIGKILL:
            break
    p.check_returncode()
    return p.stdout, time.monotonic() - began


def timed(run):
    """What run() returns; anew where the clock of an emulated guest stood still meanwhile."""
    for _ in range(TRIES):
        value = run()
        if value["ns"]:
            return value
    raise RuntimeError("the guest's clock stands still")


class Measured:
    def __init__(self, bin_dir, programs, runs, quick):
        self.rmem, self.programs, self.runs = f"{bin_dir}/rmem", programs, runs
        self.count = 8000 if quick else 20000
        self.server = subprocess.Popen(
            [f"{bin_dir}/rmemd", "--listen", f"rdma:{ADDRESS}", "--capacity", "256M"],
            stderr=subprocess.DEVNULL)
        time.sleep(2)

    def rmem_run(self, *command):
        """As swapping(). Without BPF: in emulation no page comes within the 20 us that may be
        waited, and to load the programs takes as long as 4,000 faults."""
        began = time.monotonic()
        text = out(self.rmem, "run", "--local", f"{SIZE_MIB // 2}M", "--remote", "128M", "--server",
                   f"rdma:{ADDRESS}", "--bpf", "off", "--", *command)
        return text, time.monotonic() - began

    def pair(self, *command, value):
        """Both arms, turn about; a list of values for each. value(output, seconds)"""
        arms = {"rmem": self.rmem_run, "swap": swapping}
        got = {arm: [] for arm in arms}
        for i in range(self.runs):
            for arm in arms if i % 2 else reversed(arms):
                got[arm].append(timed(lambda run=arms[arm]: value(*run(*command))))
        return got

    def paging(self):
        """For each program its time, and the number of its faults, which quicksort does not count."""
        def accesses(text, _):
            got = json.loads(text)
            return {"ns": got["access_mean_ns"], "faults": got["faults"] / got["count"]}

        got = {p: self.pair(f"{self.programs}/access", p, str(SIZE_MIB), str(self.count),
                            value=accesses)
               for p in PATTERNS}
        got["quicksort"] = self.pair(f"{self.programs}/sort", str(SIZE_MIB),
                                     value=lambda _, seconds: {"ns": seconds * 1e9})
        return got

    def bench(self, what, *options):
        return out(self.rmem, "bench", what, *options, f"rdma:{ADDRESS}").splitlines()[-1].split()

    def perftest(self, *command):
        with subprocess.Popen([*command], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as server:
            time.sleep(1)
            text = out(*command, ADDRESS)
            server.wait(30)
        return next(line.split() for line in text.splitlines() if line.startswith(" 4096"))

    def perftest_rate(self):
        """MiB/s; where the guest's clock stands still it prints 0."""
        for _ in range(TRIES):
            rate = float(self.perftest("ib_read_bw", "-F", "-s", "4096", "-t", "64",
                                       "-n", "5000")[3])
            if rate:
                return rate
        raise RuntimeError("ib_read_bw has printed a rate of 0 each time")

    def transport(self):
        lat, rate = {"rmem": [], "perftest": []}, {"rmem": [], "perftest": []}
        for _ in range(self.runs):
            lat["perftest"].append(float(self.perftest("ib_read_lat", "-F", "-s", "4096",
                                                     "-n", READS)[4]))
            lat["rmem"].append(float(self.bench("lat", "-n", READS)[4]))
            rate["perftest"].append(self.perftest_rate())
            rate["rmem"].append(float(self.bench("bw")[3]))
        return {"lat_us": lat, "bw_mib_s": rate}

    def server_share(self, seconds):
        """User time of the server over `seconds` of reads."""
        def ticks():
            with open(f"/proc/{self.server.pid}/stat", encoding="ascii") as f:
                return int(f.read().rsplit(")", 1)[1].split()[11])
        with subprocess.Popen([self.rmem, "bench", "bw", "-n", "9000000", f"rdma:{ADDRESS}"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as job:
            time.sleep(5)  # what comes before the reads
            began, before = time.monotonic(), ticks()
            time.sleep(seconds)
            share = (ticks() - before) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - began)
            job.kill()
        return share


def main():
    bin_dir, programs, runs, quick = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    measured = Measured(bin_dir, programs, runs, quick)
    result = {"transport": measured.transport(),
              "server_user_share": measured.server_share(15 if quick else 60)}
    swap_over_rdma()
    result["paging"] = measured.paging()
    measured.server.kill()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
