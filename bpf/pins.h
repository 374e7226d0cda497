/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of the program that tells pinned pages, and its answer. */
#ifndef RMEM_BPF_PINS_H
#define RMEM_BPF_PINS_H

#include <linux/types.h>

#define PINS_PAGES 512U /* of a chunk, as many as a page table has entries */

struct pins_shared {
	/* by who asks */
	__u64 direct_map;    /* 0: the program looks where it is, */
	__u64 direct_map_at; /* here */
	__u64 page_map;	     /* of struct page; the same */
	__u64 page_map_at;
	__u32 levels;
	__s32 pidfd; /* of the process, in the table of who asks */
	__u64 va;    /* of the chunk */
	/* the answer */
	__s32 res;		      /* 0, or -1: can't be told */
	__u64 young[PINS_PAGES / 64]; /* bit i: page i is present and was accessed */
	__u64 free[PINS_PAGES / 64];  /* page i is present, and nobody but page tables has it */
	/* scratch */
	__u64 table[PINS_PAGES];
	__u64 head; /* huge page that was last counted */
	__s32 head_free;
	__s32 sum;
};

#endif
