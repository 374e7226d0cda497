/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages are present, by PAGEMAP_SCAN (Linux 6.7), or, where that is missing, by
 * reading the same file: no byte of the other process is touched, so nothing can fault.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

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

/* Not of a file: and with memory of its own, or shared zeros too. */
#define WITH_MEMORY (PAGE_IS_FILE | PAGE_IS_PFNZERO)
#define OR_ZEROS    PAGE_IS_FILE

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

	if (ret < 0)
		return -errno;
	*next = arg.walk_end;
	return ret;
}

/* ---- without PAGEMAP_SCAN ---- */

#define ENTRY_PRESENT (1ULL << 63)
#define ENTRY_SWAPPED (1ULL << 62)
#define ENTRY_FILE    (1ULL << 61)
#define ENTRY_FRAME   ((1ULL << 55) - 1)

/* How much of an empty range one call looks at: a job may have reserved terabytes. */
#define LOOK_BYTES (64 * CHUNK_BYTES)

static bool no_scan; /* found out once: the kernel does not change */

void proc_read_pagemap(void)
{
	no_scan = true;
}

/* The frame that holds the zeros which all share, 0: can't be told (frames are shown only
 * to CAP_SYS_ADMIN). */
static uint64_t zero_frame(void)
{
	static uint64_t frame;
	static bool known;
	volatile char *page;
	uint64_t entry = 0;
	int fd;

	if (known)
		return frame;
	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	page = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page != MAP_FAILED && !page[0] &&
	    pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)page / PAGE_BYTES * 8)) == 8)
		frame = entry & ENTRY_FRAME;
	if (page != MAP_FAILED)
		munmap((void *)page, PAGE_BYTES);
	if (fd >= 0)
		close(fd);
	known = true;
	return frame;
}

static bool is_wanted(uint64_t not, uint64_t entry)
{
	if (!(entry & (ENTRY_PRESENT | ENTRY_SWAPPED)))
		return false;
	if (not &PAGE_IS_FILE && entry & ENTRY_FILE)
		return false;
	return !(not &PAGE_IS_PFNZERO && entry & ENTRY_PRESENT && entry & ENTRY_FRAME &&
		 (entry & ENTRY_FRAME) == zero_frame());
}

/* Of one chunk: its entries, 0 where the space has ended. */
static int read_entries(int fd, uint64_t start, uint64_t end, uint64_t *entry)
{
	size_t bytes = (end - start) / PAGE_BYTES * sizeof(*entry);
	ssize_t got = pread(fd, entry, bytes, (off_t)(start / PAGE_BYTES * sizeof(*entry)));

	if (got < 0)
		return -errno;
	for (size_t i = (size_t)got / sizeof(*entry); i < bytes / sizeof(*entry); i++)
		entry[i] = 0;
	return 0;
}

static int read_pages(int fd, uint64_t not, uint64_t start, uint64_t end, pageset *out)
{
	unsigned int first = (unsigned int)(start % CHUNK_BYTES / PAGE_BYTES);
	uint64_t entry[CHUNK_PAGES];
	int err;

	*out = (pageset){0};
	if (start >= end)
		return 0;
	err = read_entries(fd, start, end, entry);
	for (unsigned int i = 0; !err && i < (end - start) / PAGE_BYTES; i++)
		if (is_wanted(not, entry[i]))
			pageset_add(out, first + i);
	return err;
}

/* Where nothing is found for long, the place that was reached, as if something were there. */
static int read_next(int fd, uint64_t not, uint64_t start, uint64_t end, uint64_t *out)
{
	uint64_t limit = end - start > LOOK_BYTES ? start + LOOK_BYTES : end, stop;
	pageset here;
	int err = 0;

	for (; start < limit && !err; start = stop) {
		stop = (start | (CHUNK_BYTES - 1)) + 1;
		if (stop > end)
			stop = end;
		err = read_pages(fd, not, start, stop, &here);
		if (!err && pageset_next(&here, 0) < CHUNK_PAGES) {
			*out = (start & ~(CHUNK_BYTES - 1)) + pageset_next(&here, 0) * PAGE_BYTES;
			return 0;
		}
	}
	*out = limit == end ? end : start;
	return err;
}

static bool may_scan(int err)
{
	if (err == -ENOTTY)
		no_scan = true;
	return !no_scan;
}

/* ---- either way ---- */

static int scan_pages(int pagemap_fd, uint64_t not, uint64_t start, uint64_t end, pageset *out)
{
	struct page_region region[SCAN_REGIONS];
	uint64_t chunk = start & ~(CHUNK_BYTES - 1);
	uint64_t next = end;
	int nr;

	*out = (pageset){0};
	if (no_scan)
		return read_pages(pagemap_fd, not, start, end, out);
	while (start < end) {
		nr = scan_once(pagemap_fd, not, start, end, region, SCAN_REGIONS, 0, &next);
		if (!may_scan(nr))
			return read_pages(pagemap_fd, not, start, end, out);
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

int proc_filled(int pagemap_fd, uint64_t start, uint64_t end, pageset *out)
{
	return scan_pages(pagemap_fd, OR_ZEROS, start, end, out);
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

	if (no_scan)
		return read_next(pagemap_fd, WITH_MEMORY, start, end, out);
	nr = scan_once(pagemap_fd, WITH_MEMORY, start, end, &region, 1, 1, &next);
	if (!may_scan(nr))
		return read_next(pagemap_fd, WITH_MEMORY, start, end, out);
	if (nr < 0)
		return nr;
	*out = nr ? region.start : end;
	return 0;
}
