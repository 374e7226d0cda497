/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is read of /proc, of which the names are the job's: every file of it holds the input.
 * The first byte says what is asked for.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/capture/proc.h"
#include "common/meminfo.h"

#define WAYS 8

static int memory = -1;

static int reopened(void)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", memory);
	return openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
}

/* In place of open() and fopen() in the files that are tried. */
int fuzz_open(const char *path, int flags, ...);
int fuzz_open(const char *path, int flags, ...)
{
	(void)path;
	(void)flags;
	return reopened();
}

FILE *fuzz_fopen(const char *path, const char *mode);
FILE *fuzz_fopen(const char *path, const char *mode)
{
	(void)path;
	return fdopen(reopened(), mode);
}

static int on_map(void *ctx, const struct proc_map *m)
{
	unsigned int *nr = ctx;

	if (m->anon && m->shared)
		abort();
	return ++*nr > 100000;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t bytes)
{
	struct memgroup group;
	struct memstalls stalls;
	struct meminfo mem;
	struct proc_stat st;
	unsigned int nr = 0, running;
	uint64_t a, b;
	pid_t last;
	int fd;

	if (!bytes)
		return 0;
	if (memory < 0)
		memory = memfd_create("fuzz", MFD_CLOEXEC);
	if (ftruncate(memory, 0) || pwrite(memory, data + 1, bytes - 1, 0) != (ssize_t)(bytes - 1))
		abort();
	switch (data[0] % WAYS) {
	case 0:
		(void)!proc_maps_each(1, on_map, &nr);
		return 0;
	case 1:
		(void)!proc_smaps_each(1, on_map, &nr);
		return 0;
	case 2:
		(void)!proc_pss_anon(1, &a, &b);
		return 0;
	case 3:
		if (!proc_stat(1, &st) && memchr(st.comm, 0, sizeof(st.comm)) == NULL)
			abort();
		return 0;
	case 4:
	case 5:
		fd = reopened();
		if (data[0] % WAYS == 4)
			(void)!proc_statm(fd, &a, &b);
		else
			(void)!proc_load(fd, &last, &running);
		close(fd);
		return 0;
	case 6:
		memgroup_find(&group, 1);
		return 0;
	default:
		memset(&group, 0, sizeof(group));
		(void)!meminfo_read(&group, &mem);
		memstalls_read(&group, &stalls);
		return 0;
	}
}
