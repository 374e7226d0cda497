/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /proc/PID/maps, smaps, smaps_rollup and statm.
 */
#include "client/capture/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VSYSCALL_START 0xffffffff80000000ULL

static int proc_fopen(pid_t pid, const char *name, FILE **out)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	*out = fopen(path, "re");
	if (*out)
		return 0;
	return errno == ENOENT ? -ESRCH : -errno;
}

/* getline() has nothing more to give: of what could not be read to its end nothing may be
 * concluded. */
static int proc_end(FILE *f)
{
	return feof(f) ? 0 : -errno;
}

/* "" and "[heap]" and "[anon:...]" are the job's own; other brackets the kernel's. */
static void maps_classify(struct proc_map *m, const char *name, bool has_file)
{
	bool named = name[0] == '[';
	bool plain =
		!name[0] || !strcmp(name, "[heap]") || !strncmp(name, "[anon:", strlen("[anon:"));

	m->stack = !strncmp(name, "[stack", strlen("[stack"));
	m->anon = !has_file && !m->shared && plain;
	m->special = !has_file && ((named && !plain && !m->stack &&
				    strncmp(name, "[anon_shmem:", strlen("[anon_shmem:")) != 0) ||
				   m->start >= VSYSCALL_START);
}

/* A mapping line has "-" after its first hexadecimal number; a field line has not. */
static bool maps_parse(const char *line, struct proc_map *m)
{
	uint64_t start, end, inode;
	unsigned int major, minor;
	char prot[5];
	int name_at = 0;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*x %x:%x %" SCNu64 " %n", &start, &end, prot,
		   &major, &minor, &inode, &name_at) != 6)
		return false;
	*m = (struct proc_map){.start = start, .end = end};
	m->r = prot[0] == 'r';
	m->w = prot[1] == 'w';
	m->x = prot[2] == 'x';
	m->shared = prot[3] == 's';
	maps_classify(m, line + name_at, inode != 0 || major != 0 || minor != 0);
	return true;
}

int proc_maps_each(pid_t pid, proc_map_fn *fn, void *ctx)
{
	char *line = NULL;
	size_t cap = 0;
	FILE *f;
	int ret;
	bool any = false;

	ret = proc_fopen(pid, "maps", &f);
	if (ret)
		return ret;
	for (ssize_t n; !ret && (n = getline(&line, &cap, f)) > 0;) {
		struct proc_map m;

		line[n - 1] = '\0';
		if (!maps_parse(line, &m))
			continue;
		any = true;
		ret = fn(ctx, &m);
	}
	if (!ret)
		ret = proc_end(f);
	free(line);
	fclose(f);
	return ret || any ? ret : -ESRCH;
}

static void smaps_flags(struct proc_map *m, const char *flags)
{
	m->wipeonfork = strstr(flags, " wf") != NULL;
	m->dontfork = strstr(flags, " dc") != NULL;
	m->locked = strstr(flags, " lo") != NULL;
	m->hugepage = strstr(flags, " hg") != NULL;
	m->uffd_missing = strstr(flags, " um") != NULL;
	m->io_or_pfn = strstr(flags, " io") || strstr(flags, " pf") || strstr(flags, " mm");
}

static void smaps_field(struct proc_map *m, const char *line)
{
	uint64_t kib;

	if (sscanf(line, "Anonymous: %" SCNu64, &kib) == 1)
		m->anon_bytes = kib << 10;
	else if (!strncmp(line, "VmFlags:", strlen("VmFlags:")))
		smaps_flags(m, line + strlen("VmFlags:"));
}

int proc_smaps_each(pid_t pid, proc_map_fn *fn, void *ctx)
{
	struct proc_map m, next;
	bool have = false;
	char *line = NULL;
	size_t cap = 0;
	FILE *f;
	int ret;

	ret = proc_fopen(pid, "smaps", &f);
	if (ret)
		return ret;
	for (ssize_t n; !ret && (n = getline(&line, &cap, f)) > 0;) {
		line[n - 1] = '\0';
		if (!maps_parse(line, &next)) {
			if (have)
				smaps_field(&m, line);
			continue;
		}
		if (have)
			ret = fn(ctx, &m);
		m = next;
		have = true;
	}
	if (!ret)
		ret = proc_end(f);
	if (have && !ret)
		ret = fn(ctx, &m);
	free(line);
	fclose(f);
	return have || ret ? ret : -ESRCH;
}

int proc_open_statm(pid_t pid)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	return errno == ENOENT ? -ESRCH : -errno;
}

int proc_statm(int statm_fd, uint64_t *virt_bytes, uint64_t *anon_bytes)
{
	uint64_t size, resident, shared;
	char text[128];
	ssize_t n;

	n = pread(statm_fd, text, sizeof(text) - 1, 0);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	if (sscanf(text, "%" SCNu64 " %" SCNu64 " %" SCNu64, &size, &resident, &shared) != 3)
		return -EIO;
	if (size == 0)
		return -ESRCH;
	*virt_bytes = size << PAGE_SHIFT;
	*anon_bytes = resident > shared ? (resident - shared) << PAGE_SHIFT : 0;
	return 0;
}

int proc_pss_anon(pid_t pid, uint64_t *pss_bytes, uint64_t *anon_bytes)
{
	uint64_t kib;
	char *line = NULL;
	size_t cap = 0;
	int found = 0;
	FILE *f;
	int ret;

	ret = proc_fopen(pid, "smaps_rollup", &f);
	if (ret)
		return ret;
	while (getline(&line, &cap, f) > 0) {
		if (sscanf(line, "Pss_Anon: %" SCNu64, &kib) == 1) {
			*pss_bytes = kib << 10;
			found |= 1;
		} else if (sscanf(line, "Anonymous: %" SCNu64, &kib) == 1) {
			*anon_bytes = kib << 10;
			found |= 2;
		}
	}
	free(line);
	fclose(f);
	return found == 3 ? 0 : -ESRCH;
}
