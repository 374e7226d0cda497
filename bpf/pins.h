/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of the program that looks for pins, and its answer. */
#ifndef RMEM_BPF_PINS_H
#define RMEM_BPF_PINS_H

#include <linux/types.h>

#define PINS_PAGES 512U /* of a chunk, as many as a page table has entries */
#define PINS_WORDS (PINS_PAGES / 64)

struct pins_shared {
	/* by who asks */
	__u64 direct_map; /* 0: the program says */
	__u64 page_map;	  /* where the kernel's array of struct page is; 0: the program says */
	__u32 levels;
	__s32 pagemap_fd; /* /proc/PID/pagemap, opened by who asks */
	__u64 va;	  /* of the chunk */
	__u64 want[PINS_WORDS];
	/* the answer */
	__s32 res;		 /* 0, or -1: can't be told */
	__s32 users;		 /* tasks that live in the space, and whoever looks at it now */
	__u64 alone[PINS_WORDS]; /* wanted, protected, and the mapping holds it alone */
	__u64 table[PINS_PAGES]; /* scratch */
};

#endif
