/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_checks: kernel, rights, limits and memory of this machine. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "client/session.h"
#include "client/supervisor_path.h"
#include "client/supervisor_probe.h"
#include "common/base/err.h"
#include "common/base/units.h"
#include "common/meminfo.h"
#include "tools/doctor.h"

#define PAGER_LOCKED_BYTES MIB(64)
#define MAP_COUNT_USUAL	   65530
#define SERVER_TIMEOUT_MS  3000
#define BTF		   "/sys/kernel/btf/vmlinux"
#define THP		   "/sys/kernel/mm/transparent_hugepage/enabled"

void doctor_say(struct doctor_result *out, enum doctor_status status, const char *fmt, ...)
{
	va_list ap;

	out->status = status;
	va_start(ap, fmt);
	vsnprintf(out->text, sizeof(out->text), fmt, ap);
	va_end(ap);
}

void doctor_fix(struct doctor_result *out, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(out->fix, sizeof(out->fix), fmt, ap);
	va_end(ap);
}

/* err texts read "what: remedy"; the remedy is the fix. */
static void say_err(struct doctor_result *out, int err)
{
	const char *text = err_text(err);
	const char *remedy = strstr(text, ": ");

	doctor_say(out, DOCTOR_FAIL, "%.*s", remedy ? (int)(remedy - text) : 200, text);
	doctor_fix(out, "%s", remedy ? remedy + 2 : text);
}

static bool read_text(const char *path, char *buf, size_t buf_bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, buf_bytes - 1);

	if (fd >= 0)
		close(fd);
	buf[n > 0 ? n : 0] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	return n > 0;
}

/* A line of /proc/self/status, by its name with the colon. */
static bool read_status(const char *name, char *buf, size_t buf_bytes)
{
	char line[256];
	bool found = false;
	FILE *f = fopen("/proc/self/status", "re");

	while (f && !found && fgets(line, sizeof(line), f)) {
		if (strncmp(line, name, strlen(name)))
			continue;
		snprintf(buf, buf_bytes, "%s",
			 line + strlen(name) + strspn(line + strlen(name), "\t "));
		found = true;
	}
	if (f)
		fclose(f);
	return found;
}

static bool has_cap(int cap)
{
	char hex[64];

	return read_status("CapEff:", hex, sizeof(hex)) && (strtoull(hex, NULL, 16) >> cap & 1);
}

static void look_device(struct doctor_result *out)
{
	int fd, err = probe_device(&fd);

	if (err) {
		say_err(out, err);
		return;
	}
	close(fd);
	doctor_say(out, DOCTOR_OK, "/dev/userfaultfd can be opened");
}

/* Both need the device; without it they can't be told. */
static void look_with_device(struct doctor_result *out, int (*probe)(int fd), const char *good)
{
	int fd, err;

	if (probe_device(&fd)) {
		doctor_say(out, DOCTOR_WARN, "can't be told without /dev/userfaultfd");
		return;
	}
	err = probe(fd);
	close(fd);
	if (err)
		say_err(out, err);
	else
		doctor_say(out, DOCTOR_OK, "%s", good);
}

static void look_kernel(struct doctor_result *out)
{
	bool moves = false;
	int fd, err;

	if (probe_device(&fd)) {
		doctor_say(out, DOCTOR_WARN, "can't be told without /dev/userfaultfd");
		return;
	}
	err = probe_evict(fd, &moves);
	close(fd);
	if (err)
		say_err(out, err);
	else if (moves)
		doctor_say(out, DOCTOR_OK, "Linux %s, UFFDIO_MOVE is there", probe_release());
	else
		doctor_say(out, DOCTOR_WARN, "Linux %s: %s", probe_release(), PROBE_NO_MOVE);
}

static void look_fork_event(struct doctor_result *out)
{
	look_with_device(out, probe_fork_event, "CAP_SYS_PTRACE: forks can be followed");
}

static void look_pagemap(struct doctor_result *out)
{
	int err = probe_pagemap_scan();

	if (err == -ENOTTY)
		doctor_say(out, DOCTOR_OK, "no PAGEMAP_SCAN, /proc/PID/pagemap is read instead");
	else if (err)
		say_err(out, err);
	else
		doctor_say(out, DOCTOR_OK, "PAGEMAP_SCAN is there");
}

static void look_yama(struct doctor_result *out)
{
	char text[32];

	if (!read_text("/proc/sys/kernel/yama/ptrace_scope", text, sizeof(text))) {
		doctor_say(out, DOCTOR_OK, "no Yama restriction");
		return;
	}
	if (atoi(text) < 3) {
		doctor_say(out, DOCTOR_OK, "kernel.yama.ptrace_scope is %s", text);
		return;
	}
	doctor_say(out, DOCTOR_FAIL, "kernel.yama.ptrace_scope is 3: nobody may trace");
	doctor_fix(out, "set kernel.yama.ptrace_scope=1 in /etc/sysctl.d, then reboot");
}

static void look_memlock(struct doctor_result *out)
{
	struct rlimit r = {0, 0};
	char text[32];

	getrlimit(RLIMIT_MEMLOCK, &r);
	if (r.rlim_cur == RLIM_INFINITY || has_cap(CAP_IPC_LOCK)) {
		doctor_say(out, DOCTOR_OK, "memory can be locked");
		return;
	}
	doctor_say(out, r.rlim_cur < PAGER_LOCKED_BYTES ? DOCTOR_WARN : DOCTOR_OK,
		   "at most %s can be locked", units_format_size(text, sizeof(text), r.rlim_cur));
	if (out->status == DOCTOR_WARN)
		doctor_fix(out, "ulimit -l unlimited (as root), or setcap cap_ipc_lock+ep on rmem;"
				" else the pager itself may be swapped out");
}

static void look_map_count(struct doctor_result *out)
{
	char text[32];

	if (!read_text("/proc/sys/vm/max_map_count", text, sizeof(text))) {
		doctor_say(out, DOCTOR_WARN, "vm.max_map_count can't be read");
		return;
	}
	doctor_say(out, atoi(text) < MAP_COUNT_USUAL ? DOCTOR_WARN : DOCTOR_OK,
		   "vm.max_map_count is %s", text);
	if (out->status == DOCTOR_WARN)
		doctor_fix(out, "sysctl -w vm.max_map_count=%d", MAP_COUNT_USUAL);
}

static void look_thp(struct doctor_result *out)
{
	char text[64];

	if (!read_text(THP, text, sizeof(text))) {
		doctor_say(out, DOCTOR_OK, "this kernel has no transparent huge pages");
		return;
	}
	doctor_say(out, strstr(text, "[always]") ? DOCTOR_WARN : DOCTOR_OK,
		   "transparent huge pages: %s", text);
	if (out->status == DOCTOR_WARN)
		doctor_fix(out, "echo madvise > " THP "; else the first eviction of each huge page"
				" splits it");
}

static void look_memory(struct doctor_result *out)
{
	char total[32], avail[32];
	struct meminfo mem;
	int err = meminfo_mine(&mem);

	if (err) {
		say_err(out, err);
		return;
	}
	units_format_size(total, sizeof(total), mem.total_bytes);
	units_format_size(avail, sizeof(avail), mem.available_bytes);
	doctor_say(out, mem.available_bytes < MIB(64) ? DOCTOR_FAIL : DOCTOR_OK,
		   "%s of %s are available", avail, total);
	if (out->status == DOCTOR_FAIL)
		doctor_fix(out, "end other programs: rmem needs 64 MiB");
}

static void look_swap(struct doctor_result *out)
{
	struct meminfo mem;
	char text[32];

	if (meminfo_mine(&mem) || !mem.swap_bytes) {
		doctor_say(out, DOCTOR_OK, "no swap");
		return;
	}
	doctor_say(out, DOCTOR_WARN, "%s of swap: the kernel may swap out what rmem keeps local",
		   units_format_size(text, sizeof(text), mem.swap_bytes));
	doctor_fix(out, "swapoff -a while jobs run, or sysctl -w vm.swappiness=1");
}

static void look_seccomp(struct doctor_result *out)
{
	char text[32];

	if (!read_status("Seccomp:", text, sizeof(text)) || text[0] != '2') {
		doctor_say(out, DOCTOR_OK, "no seccomp filter");
		return;
	}
	doctor_say(out, DOCTOR_FAIL, "a seccomp filter is on: jobs inherit it and stay unmanaged");
	doctor_fix(out, "start the container with --security-opt seccomp=unconfined, or the"
			" service without SystemCallFilter=");
}

static void look_cgroup(struct doctor_result *out)
{
	struct meminfo mem;
	char total[32], avail[32];

	if (meminfo_mine(&mem) || !mem.limited) {
		doctor_say(out, DOCTOR_OK, "no memory limit on this control group");
		return;
	}
	doctor_say(out, DOCTOR_WARN, "this control group may use %s, of which %s are left",
		   units_format_size(total, sizeof(total), mem.total_bytes),
		   units_format_size(avail, sizeof(avail), mem.available_bytes));
	doctor_fix(out, "give --local and --remote: together at most that, with a private server");
}

static void try_bpf(struct doctor_result *out)
{
	bool is_fast;
	int err = probe_bpf(&is_fast);

	if (!err) {
		doctor_say(out, DOCTOR_OK, "faults can be fast, accessed bits can be read");
	} else if (is_fast) {
		doctor_say(out, DOCTOR_WARN, "faults can be fast, but %s", err_text(err));
		doctor_fix(out, "works without: what is used is then known from what comes back");
	} else {
		doctor_say(out, DOCTOR_WARN, "%s: faults are slower", err_text(err));
		doctor_fix(out, "works without");
	}
}

static void look_bpf(struct doctor_result *out)
{
	bool may = has_cap(CAP_SYS_ADMIN) || (has_cap(CAP_BPF) && has_cap(CAP_PERFMON));

	if (access(BTF, R_OK)) {
		doctor_say(out, DOCTOR_WARN, "the kernel does not describe itself (" BTF ")");
		doctor_fix(out, "works without, with slower faults; else a kernel with "
				"CONFIG_DEBUG_INFO_BTF");
	} else if (!may) {
		doctor_say(out, DOCTOR_WARN, "no right to load programs: faults are slower");
		doctor_fix(out, "run as root, or add the capabilities CAP_BPF and CAP_PERFMON");
	} else {
		try_bpf(out);
	}
}

static void look_rmemd(struct doctor_result *out)
{
	char path[4096];

	if (path_of_rmemd(path, sizeof(path))) {
		doctor_say(out, DOCTOR_FAIL, "rmemd is neither beside rmem nor in PATH");
		doctor_fix(out, "install rmemd, or name a --server for each run");
		return;
	}
	doctor_say(out, DOCTOR_OK, "%.200s", path);
}

const struct doctor_check doctor_checks[] = {
	{"userfaultfd", look_device},
	{"kernel", look_kernel},
	{"page maps", look_pagemap},
	{"follow forks", look_fork_event},
	{"ptrace scope", look_yama},
	{"seccomp", look_seccomp},
	{"locked memory", look_memlock},
	{"map count", look_map_count},
	{"huge pages", look_thp},
	{"memory", look_memory},
	{"control group", look_cgroup},
	{"swap", look_swap},
	{"BPF", look_bpf},
	{"RDMA", doctor_look_rdma},
	{"rmemd", look_rmemd},
};

const size_t doctor_nr_checks = sizeof(doctor_checks) / sizeof(doctor_checks[0]);

static int try_server(const char *text)
{
	struct store *store = NULL;
	int err = session_open_spec(text, CHUNK_BYTES, SERVER_TIMEOUT_MS, &store);

	if (store)
		store->ops->close(store);
	return err;
}

void doctor_look_server(const char *spec, struct doctor_result *out)
{
	int err = try_server(spec);

	if (!err) {
		doctor_say(out, DOCTOR_OK, "%.100s answers and lends memory", spec);
		return;
	}
	doctor_say(out, DOCTOR_FAIL, "%.100s", spec);
	doctor_fix(out, "%s", err_text(err));
}
