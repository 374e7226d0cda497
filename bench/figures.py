# SPDX-License-Identifier: Apache-2.0
"""What is measured, one function a figure. Each returns rows and raw numbers."""

import struct
import subprocess
import time

import procfs
import swapfile
import zram
from jobs import BenchError, median, ratios, rotated
from mirror import mirror
from naive import naive
from policies import policies
from programs import programs
from rdma import rdma
from replay import replay
from report import Row
from strangers import strangers
from tcp import start_server, tcp

MIB = 1 << 20
GB = 1e9
OVER_BYTES = 32 * MIB


def mib(nr_bytes):
    return f"{nr_bytes / MIB:,.1f} MiB"


# ---- a job that fits ----

def fits(bench):
    """A job that fits its cap, against the same job without rmem"""
    size_mib, seconds = 256, bench.pick(12, 2)
    trial_s = min(bench.start("fits", size_mib, 200).wait().cpu_s for _ in range(3))
    rounds = max(1, int(200 * seconds / trial_s))  # time is at least processor time
    options = ["--local", "1G", "--remote", "1G", "--server", "ram"]
    arms = {"alone": None, "again": None, "rmem": options}
    wall, cpu = {a: [] for a in arms}, {a: [] for a in arms}
    agents = ranges = 0
    for arm in rotated(list(arms), bench.args.runs):
        job = bench.start("fits", size_mib, rounds, rmem=arms[arm]).wait()
        wall[arm].append(job.wall_s)
        cpu[arm].append(job.cpu_s)
        if job.stats:
            agents = max(agents, job.stats["agents"]["total"])
            ranges = max(ranges, job.stats["ranges_registered"])
    ratio = ratios(wall["rmem"], wall["alone"])
    control = ratios(wall["again"], wall["alone"])
    length = min(min(w) for w in wall.values())
    return [
        Row("agents, ranges registered", f"{agents}, {ranges}", "0, 0", agents + ranges == 0),
        Row("time with / without rmem", f"{ratio:.3f} (A/A control {control:.3f}, "
            f"shortest run {length:.1f} s)", "<= 1.02", ratio <= 1.02),
        Row("fastest run with / fastest without",
            f"{min(wall['rmem']) / min(wall['alone']):.3f} (A/A control "
            f"{min(wall['again']) / min(wall['alone']):.3f})"),
        Row("processor time with / without, rmem's own included",
            f"{ratios(cpu['rmem'], cpu['alone']):.3f} "
            f"(A/A control {ratios(cpu['again'], cpu['alone']):.3f})"),
    ], {"wall_s": wall, "cpu_s": cpu, "rounds": rounds}


def first_ns(bench, prefix):
    argv = [*prefix, bench.program("first")]
    start = time.monotonic_ns()
    p = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.DEVNULL, timeout=60, check=False)
    if p.returncode or len(p.stdout) != 8:
        raise BenchError(f"{' '.join(argv)}: status {p.returncode}")
    return struct.unpack("<Q", p.stdout)[0] - start


def start(bench):
    """From the start of a command to the first instruction of the job"""
    run = [bench.rmem, "run", "--local", "256M", "--remote", "256M"]
    arms = {"alone": [], "ram": [*run, "--server", "ram", "--"], "private server": [*run, "--"]}
    times = {a: [] for a in arms}
    for arm in rotated(list(arms), bench.pick(21, 9)):
        times[arm].append(first_ns(bench, arms[arm]) / 1e6)
    alone = median(times["alone"])
    rows = []
    for arm in ("ram", "private server"):
        extra = median(times[arm]) - alone
        rows.append(Row(f"start to first instruction, {arm}",
                        f"{extra:.1f} ms more ({alone:.1f} ms alone, fastest "
                        f"{min(times[arm]) - min(times['alone']):.1f} ms more)",
                        "<= 30 ms", extra <= 30))
    return rows, {"ms": times}


# ---- eviction ----

def sample(attached, pids):
    now = time.monotonic()
    st = attached.live()
    return {"s": now, "bytes": st["bytes"]["evicted"], "remote": st["remote"]["bytes"],
            "stats": st, "cpu_ns": {name: procfs.cpu_ns(pid) for name, pid in pids.items()}}


def samples_until(attached, job_pid, target):
    """Samples of an eviction that goes on, about one in 40 ms."""
    found, pids, end = [], {}, time.monotonic() + 90
    while time.monotonic() < end:
        try:
            s = sample(attached, pids)
        except BenchError:  # not there yet
            time.sleep(0.005)
            continue
        if s["bytes"]:
            if not pids:
                pids["pager"] = s["stats"]["pager_pid"]
                for pid in procfs.same_memory_as(job_pid):
                    pids["agent"] = pid
                continue
            found.append(s)
        if s["remote"] >= target:
            return found
        time.sleep(0.04)
    raise BenchError("after 90 s most of the memory was still there")


def evict_once(bench, size_mib, cap_mib):
    job = bench.start("touch", size_mib)
    pid = job.line()["pid"]
    job.go()
    job.line()
    attached = bench.attach(pid, "--local", f"{cap_mib}M", "--remote", f"{2 * size_mib}M",
                            "--server", "ram")
    found = samples_until(attached, pid, (size_mib - cap_mib) * MIB * 0.95)
    job.go()
    job.wait()
    attached.wait()
    if len(found) < 3:
        raise BenchError("too few samples: the memory left too fast to be measured")
    a, b = found[0], found[-1]
    seconds, pages = b["s"] - a["s"], (b["bytes"] - a["bytes"]) / procfs.PAGE
    one = {"rate_gbps": (b["bytes"] - a["bytes"]) / seconds / GB, "seconds": seconds}
    for name in b["cpu_ns"]:
        ran, waited = (y - x for x, y in zip(a["cpu_ns"].get(name, (0, 0)), b["cpu_ns"][name]))
        one[name] = {"ns_per_page": ran / pages, "ran": ran / 1e9 / seconds,
                     "waited": waited / 1e9 / seconds}
    return one


def evict(bench):
    """Eviction of cold, contiguous memory of one process into ram"""
    size_mib, cap_mib = bench.pick(2048, 768), 256
    # The first doesn't count: in a virtual machine its host may first have to find memory.
    runs = [evict_once(bench, size_mib, cap_mib) for _ in range(bench.args.runs + 1)][1:]
    rate = median([r["rate_gbps"] for r in runs])
    rows = [Row(f"{size_mib} MiB down to {cap_mib} MiB, one agent", f"{rate:.2f} GB/s (best "
                f"{max(r['rate_gbps'] for r in runs):.2f})", ">= 1 GB/s", rate >= 1)]
    for name in ("pager", "agent"):
        all_of = [r[name] for r in runs if name in r]
        if all_of:
            ns, ran, waited = (median([r[k] for r in all_of])
                               for k in ("ns_per_page", "ran", "waited"))
            rows.append(Row(f"processor time of the {name}", f"{ns:.0f} ns a page, running "
                            f"{ran:.0%} of the time, waiting for a processor {waited:.0%}"))
    return rows, {"runs": runs}


# ---- first touch ----

def touch_once(bench, size_mib, options, sampled):
    job = bench.start("touch", size_mib, rmem=options)
    pid = job.line()["pid"]
    peak = bench.start("peak", pid, 5000) if sampled else None
    if peak:
        peak.line()
    job.go()
    ns = job.line()["ns"]
    seen = None
    if peak:
        peak.go()
        seen = peak.line()
        peak.wait()
    job.go()
    job.wait()
    return ns / 1e9, seen, job.stats


def touch(bench):
    """First touch of four times the cap, as fast as one thread can, into ram"""
    size_mib, cap_mib = bench.pick((4096, 1024), (1024, 256))
    options = ["--local", f"{cap_mib}M", "--remote", f"{size_mib * 5 // 4}M", "--server", "ram"]
    seconds, peaks = {"alone": [], "rmem": [], "sampled": []}, []
    counted = []
    touch_once(bench, size_mib, options, False)  # as in evict(), doesn't count
    for arm in rotated(list(seconds), bench.args.runs):
        s, seen, stats = touch_once(bench, size_mib, options if arm != "alone" else None,
                                    arm == "sampled")
        seconds[arm].append(s)
        if seen:
            peaks.append(seen)
        if stats:
            counted.append(stats["local"]["peak_bytes"])
    most = max(p["peak_bytes"] for p in peaks)
    gap = max(p["longest_gap_ns"] for p in peaks) / 1e6
    number = sum(p["samples"] for p in peaks)
    limit = cap_mib * MIB + OVER_BYTES
    rate, alone = (size_mib * MIB / median(seconds[a]) / GB for a in ("rmem", "alone"))
    bar = f"<= {mib(limit)}"
    return [
        Row(f"rate, {size_mib} MiB under {cap_mib} MiB", f"{rate:.2f} GB/s ({alone:.2f} alone)"),
        Row("largest anonymous memory, sampled every 5 ms", f"{mib(most)} ({number} samples, longest gap "
            f"{gap:.0f} ms)", bar, most <= limit),
        Row("local peak by rmem's own count", mib(max(counted)), bar, max(counted) <= limit),
    ], {"seconds": seconds, "peaks": peaks, "counted_bytes": counted}


# ---- records ----

def records_once(bench, size_mib, cap_mib):
    job = bench.start("touch", size_mib, rmem=["--local", f"{cap_mib}M", "--remote",
                                               f"{2 * size_mib}M"])
    pid = job.line()["pid"]
    job.go()
    job.line()
    time.sleep(0.5)  # what is in flight arrives
    st = job.live()
    own, frames = procfs.pager_bytes(st["pager_pid"], st["local"]["cap_bytes"])
    left = procfs.chunks_left(pid)
    job.go()
    job.wait()
    return {"records": st["records_bytes"], "remote": st["remote"]["bytes"],
            "chunks": left, "own": own, "frames": frames}


def records(bench):
    """Page records, and the pager's own memory"""
    size_mib, cap_mib = bench.pick(2048, 1024), 256
    runs = [records_once(bench, size_mib, cap_mib) for _ in range(bench.args.runs)]
    pages = [r["chunks"] * 512 for r in runs]
    each = median([r["records"] / n for r, n in zip(runs, pages)])
    per_gib = median([r["records"] / r["remote"] * (1 << 30) for r in runs])
    own = median([r["own"] for r in runs])
    limit = 48 * MIB + 16 * median(pages)
    return [
        Row("record of a page of a chunk that ever left", f"{each:.2f} bytes", "<= 16 bytes",
            each <= 16),
        Row("records for a GiB that is remote", mib(per_gib)),
        Row("the pager's own memory (no frames, no slabs)", f"{mib(own)} with "
            f"{mib(median([r['remote'] for r in runs]))} remote", f"<= {mib(limit)}",
            own <= limit),
    ], {"runs": runs}


# ---- half local ----

def swap_on_zram(bench, size_mib):
    """The cgroup, or BenchError with the reason why there is none here."""
    device = zram.Device(2 * size_mib * MIB)
    bench.undo.append(device.close)
    group = zram.Cgroup(size_mib * MIB // 2)
    bench.undo.append(group.close)
    return {"cgroup": group}, device.compressor()


PATTERNS = ("random-read", "random-write", "sequential-read", "sequential-write", "strides",
            "streams", "zipf", "scan")
QUICK_PATTERNS = ("random-read", "sequential-read")


def half_row(arms, results, pattern, text):
    return Row(pattern, "; ".join(f"{a} {text(results[a])}" for a in arms))


def half_rows(pattern, arms, results):
    def med(runs, key):
        return median([r[key] for r in runs])

    def latency(runs):
        ns = [med(runs, f"refault_{k}_ns") for k in ("mean", "p50", "p99")]
        return " / ".join(f"{n / 1000:.1f}" for n in ns)

    name = pattern.replace("-", " ")
    rows = [half_row([a for a in arms if a != "local"], results,
                     f"{name}: refault mean / p50 / p99, us", latency),
            half_row(arms, results, f"{name}: ns per access",
                     lambda runs: f"{med(runs, 'access_mean_ns'):,.0f}"),
            half_row(arms, results, f"{name}: total time, s",
                     lambda runs: f"{med(runs, 'wall_s'):.2f}")]
    if "zram" in arms:
        wall = {a: [r["wall_s"] for r in results[a]] for a in arms}
        rows.append(Row(f"{name}: total time against zram swap", "; ".join(
            f"{a} {ratios(wall[a], wall['zram']):.2f}" for a in wall if a not in ("local", "zram"))))
    return rows


def early(stats):
    """The share of pages that came back before anybody waited for them."""
    return 1 - median([(s["faults"]["remote"] + s["faults"]["joined"]) /
                       max(s["pages"]["fetched"], 1) for s in stats])


def ahead_rows(pattern, stats):
    name = pattern.replace("-", " ")
    if pattern.startswith("random"):
        vain = median([100 * s["pages"]["prefetched"] / max(s["faults"]["remote"], 1)
                       for s in stats])
        return [Row(f"{name}: pages fetched ahead, of 100 faults", f"{vain:.2f}", "<= 1",
                    vain <= 1)]
    bar = (">= 90 %", early(stats) >= 0.9) if pattern not in ("zipf", "scan") else ()
    return [Row(f"{name}: pages that came before anybody waited", f"{100 * early(stats):.0f} %", *bar)]


def half(bench):
    """Half of the memory local: ram, a private shm server, ram that takes 10 us longer, and tcp on
    this machine, beside zram swap"""
    size_mib, count = bench.pick((256, 131072), (128, 16384))
    limits = ["--local", f"{size_mib // 2}M", "--remote", f"{size_mib * 2}M"]
    tcp_server = start_server(bench, f"{size_mib * 2}M")
    arms = {"local": {}, "ram": {"rmem": [*limits, "--server", "ram"]}, "shm": {"rmem": limits},
            "late": {"rmem": [*limits, "--server", "fault(delay=10us,ram)"]},
            "tcp": {"rmem": [*limits, "--server", f"tcp:{tcp_server}"]}}
    rows, raw = [], {}
    try:
        arms["zram"], name = swap_on_zram(bench, size_mib)
        rows.append(Row("zram compresses with", name))
    except (OSError, BenchError) as e:
        rows.append(Row("zram swap", f"not measured: {e}"))
    for pattern in bench.some(PATTERNS, QUICK_PATTERNS):
        results, stats = {a: [] for a in arms}, []
        for arm in rotated(list(arms), bench.args.runs):
            job = bench.start("access", pattern, size_mib, count, **arms[arm])
            results[arm].append(dict(job.line(), wall_s=job.wait().wall_s))
            stats += [job.stats] if arm == "ram" else []
        rows += half_rows(pattern, list(arms), results) + ahead_rows(pattern, stats)
        raw[pattern] = results
    bench.clean_up()
    return rows, raw


# ---- more memory ----

def footprint(bench):
    """A fault with 1 GiB and with 8 GiB, a quarter of it local, ram"""
    sizes = bench.pick((1024, 8192), (512, 2048))
    count, ns = bench.pick(524288, 131072), {s: [] for s in sizes}  # beyond what follows the filling
    for size in rotated(list(sizes), bench.args.runs):
        job = bench.start("access", "random-read", size, count, memory_mib=size * 4 // 3, rmem=[
            "--local", f"{size // 4}M", "--remote", f"{size}M", "--server", "ram"])
        ns[size].append(job.line()["refault_mean_ns"])
        job.wait()
    ratio = ratios(ns[sizes[1]], ns[sizes[0]])
    return [Row(f"mean of a refault, {sizes[1]} MiB / {sizes[0]} MiB", f"{ratio:.2f} (" + " / ".join(
        f"{median(ns[s]) / 1000:.1f}" for s in sizes[::-1]) + " us)", "<= 1.1", ratio <= 1.1)], ns


# ---- half on a disk ----

def disk_rows(pattern, results):
    name, rows = pattern.replace("-", " "), []
    for what, key in (("a refault", "refault_mean_ns"), ("an access", "access_mean_ns")):
        ours, swap = ([r[key] for r in results[a]] for a in ("file", "swap"))
        ratio = ratios(ours, swap)
        rows.append(Row(f"{name}: {what}, file / swap", f"{ratio:.2f} ({median(ours) / 1000:.1f} / "
                        f"{median(swap) / 1000:.1f} us)", "<= 0.5", ratio <= 0.5))
    med = {a: [median([r[f"refault_{k}_ns"] for r in results[a]]) / 1000 for k in ("p50", "p99")]
           for a in results}
    rows.append(Row(f"{name}: refault p50 / p99, us", "; ".join(
        f"{a} {p50:.0f} / {p99:.0f}" for a, (p50, p99) in med.items())))
    rows.append(Row(f"{name}: refaults seen by the job", "; ".join(
        f"{a} {median([r['refaults'] for r in results[a]]):.0f}" for a in results)))
    return rows


def disk(bench):
    """Half of the memory on a disk: store file beside a swap file of the kernel's"""
    size_mib, count = 256, bench.pick(65536, 16384)
    swap = swapfile.SwapFile(2 * size_mib * MIB)
    bench.undo.append(swap.close)
    group = zram.Cgroup(size_mib * MIB // 2)
    bench.undo.append(group.close)
    arms = {"file": {"rmem": ["--local", f"{size_mib // 2}M", "--remote", f"{size_mib * 2}M",
                              "--server", f"file:{swapfile.FOLDER}"]},
            "swap": {"cgroup": group}}
    rows, raw = [], {}
    for pattern in ("random-read", "random-write", "sequential-read"):
        results = {a: [] for a in arms}
        for arm in rotated(list(arms), bench.args.runs):
            job = bench.start("access", pattern, size_mib,
                              max(count, 65536) if pattern == "sequential-read" else count,
                              **arms[arm])
            results[arm].append(dict(job.line(), wall_s=job.wait().wall_s))
        rows += disk_rows(pattern, results)
        raw[pattern] = results
    bench.clean_up()
    return rows, raw


ALL = {f.__name__: f for f in (fits, start, evict, touch, records, half, tcp, disk, replay,
                               footprint, strangers, naive, policies, mirror, programs, rdma)}

# Of --quick, which is to take less than five minutes: what matters most comes first.
QUICK = ("start", "evict", "half", "naive", "programs", "touch", "fits", "tcp", "records",
         "strangers")
