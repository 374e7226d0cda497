/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small regions of memory most of which is touched, in whatever order: rows that are swapped
 * in a few columns at a time, the nodes of a tree built in one go. No step of these tells
 * anything, but where half of a region was missed, the rest of it and what comes after it is
 * worth having (after "Spatial Memory Streaming", ISCA 2006).
 */
#ifndef RMEM_POLICY_SPOTS_H
#define RMEM_POLICY_SPOTS_H

#include "client/core/policy.h"

#define SPOTS	   64U /* a power of two */
#define SPOT_PAGES 64U

struct spot {
	space_id space;
	uint64_t region; /* number: page / SPOT_PAGES */
	uint64_t seen;	 /* a bit for each page of it */
	uint32_t since;	 /* tick of the first */
};

/* Zeroed is ready. */
struct spots {
	struct spot spot[SPOTS];
	uint32_t tick;
};

/* Takes the fault in. The first page (a number) of those of its region that are still to
 * come, where at least @least faults were in it lately and they are half of what they span;
 * else 0. Then the region begins anew. */
uint64_t spots_add(struct spots *all, const struct policy_fault *f, unsigned int least);

#endif
