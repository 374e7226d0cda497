/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of the program that reads a chunk's page table, and its answer. */
#ifndef RMEM_BPF_AGES_H
#define RMEM_BPF_AGES_H

#include <linux/types.h>

#define AGES_PAGES 512U /* of a chunk, as many as a page table has entries */

struct ages_shared {
	/* by who asks */
	__u64 direct_map;
	__u32 levels;
	__s32 pid;     /* in the first pid namespace */
	__u32 present; /* which are there is asked, not which are young */
	__u64 va;      /* of the chunk */
	/* the answer */
	__s32 res;			/* 0, or -1: can't be told */
	__u64 young[AGES_PAGES / 64];	/* bit i: page i is present and was accessed */
	__u64 any[AGES_PAGES / 64];	/* its entry is not empty */
	__u64 own[AGES_PAGES / 64];	/* nor the page of zeros */
	__u64 guarded[AGES_PAGES / 64]; /* it is present, and write-protected by userfaultfd */
	__u64 table[AGES_PAGES];	/* scratch */
};

#endif
