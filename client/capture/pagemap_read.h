/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What PAGEMAP_SCAN tells, for kernels without it (before 6.7), from the entries of
 * /proc/PID/pagemap. Slower: 8 bytes are read for each page, present or not.
 */
#ifndef RMEM_CAPTURE_PAGEMAP_READ_H
#define RMEM_CAPTURE_PAGEMAP_READ_H

#include <stdint.h>

#include "common/compat.h"

/* Regions of [start, end) that are present or swapped, and @not of these kinds
 * (PAGE_IS_FILE, PAGE_IS_PFNZERO). At most @nr regions, and @max_pages pages if not 0:
 * how many regions, or -errno. *@next is where to go on. */
int pagemap_read_regions(int fd, uint64_t not, uint64_t start, uint64_t end,
			 struct page_region *region, unsigned int nr, uint64_t max_pages,
			 uint64_t *next);

#endif
