/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages are present, by PAGEMAP_SCAN (Linux 6.7), or else by what is read
 * there (pagemap_read.c): no byte of the other process is touched, so nothing can
 * fault.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client/capture/pagemap_read.h"
#include "client/capture/proc.h"
#include "common/compat.h"

#define SCAN_REGIONS 64U

int proc_open_pagemap(pid_t pid)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	return errno == ENOENT ? -ESRCH : -errno;
}

/* Not of a file, and with memory of its own. */
#define WITH_MEMORY (PAGE_IS_FILE | PAGE_IS_PFNZERO)

/* One call, for what is @not of these kinds: the number of regions, or -errno.
 * *@next is where to go on. */
static int scan_once(int fd, uint64_t not, uint64_t start, uint64_t end, struct page_region *region,
		     unsigned int nr, uint64_t max_pages, uint64_t *next)
{
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = start,
		.end = end,
		.vec = (uint64_t)(uintptr_t)region,
		.vec_len = nr,
		.max_pages = max_pages,
		.category_inverted = not,
		.category_mask = not,
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
	};
	int ret = ioctl(fd, PAGEMAP_SCAN, &arg);

	if (ret < 0 && errno == ENOTTY)
		return pagemap_read_regions(fd, not, start, end, region, nr, max_pages, next);
	if (ret < 0)
		return -errno;
	*next = arg.walk_end;
	return ret;
}

static int scan_pages(int pagemap_fd, uint64_t not, uint64_t start, uint64_t end, pageset *out)
{
	struct page_region region[SCAN_REGIONS];
	uint64_t chunk = start & ~(CHUNK_BYTES - 1);
	uint64_t next = end;
	int nr;

	*out = (pageset){0};
	while (start < end) {
		nr = scan_once(pagemap_fd, not, start, end, region, SCAN_REGIONS, 0, &next);
		if (nr < 0)
			return nr;
		for (int i = 0; i < nr; i++) {
			for (uint64_t va = region[i].start; va < region[i].end; va += PAGE_BYTES)
				pageset_add(out, (unsigned int)((va - chunk) >> PAGE_SHIFT));
		}
		/* A complete scan may still say that it ended early. */
		if ((unsigned int)nr < SCAN_REGIONS || next <= start)
			break;
		start = next;
	}
	return 0;
}

int proc_present(int pagemap_fd, uint64_t start, uint64_t end, pageset *out)
{
	return scan_pages(pagemap_fd, WITH_MEMORY, start, end, out);
}

int proc_any(int pagemap_fd, uint64_t start, uint64_t end, pageset *out)
{
	return scan_pages(pagemap_fd, 0, start, end, out);
}

int proc_next_present(int pagemap_fd, uint64_t start, uint64_t end, uint64_t *out)
{
	struct page_region region;
	uint64_t next = end;
	int nr;

	nr = scan_once(pagemap_fd, WITH_MEMORY, start, end, &region, 1, 1, &next);
	if (nr < 0)
		return nr;
	*out = nr ? region.start : end;
	return 0;
}
