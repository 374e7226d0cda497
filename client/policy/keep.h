/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What leaves. After S3-FIFO (Yang et al., SOSP 2023), as far as a pager can follow
 * it, who is told of faults and not of accesses:
 *
 *	new ----> on probation ----> standby ----> remote
 *	             ^   | in the order of coming    |
 *	             |   v                           | came back soon:
 *	             +-- kept <----------------------+
 *	                   | not accessed for a while
 *	                   v standby, remote
 *
 * A page is kept when it came back while it still stood by, or within little more
 * fills than there is room for pages. So what is used once, as in a scan, passes through a
 * small part of the room, and of a loop over up to twice what fits most of the room stays. When
 * no room is left to keep more, those that were not accessed lately make some; where
 * accesses can't be seen, those whose turn it is. What comes back from standby again and
 * again is kept even then, and chunks that have nothing of the kind yield.
 *
 * Pages leave by chunks: a chunk's turn comes in the order of its first fill since its
 * last one, and then all of its pages that are on probation leave.
 */
#ifndef RMEM_POLICY_KEEP_H
#define RMEM_POLICY_KEEP_H

#include "client/core/policy.h"

/* Zeroed is ready. */
struct keep {
	uint64_t pages;	     /* kept */
	uint64_t back, soon; /* of late: pages that came back, and of them those from standby */
	uint64_t refused;    /* to be kept, for lack of room, less what that had us look at */
	uint64_t round;	     /* when this round of looks began */
	uint64_t passed;     /* turns since a look was due */
	uint64_t learnt_at;  /* when that which follows was last looked at */
	uint64_t dropped;    /* since then: pages that were kept and not accessed, ... */
	uint64_t regretted;  /* ... and pages of such chunks that came back soon */
	uint64_t dropped_before;
	unsigned int haste; /* with which what is kept is judged */
};

void keep_came(struct keep *k, const struct policy_room *room, struct policy_chunk *pc,
	       unsigned int idx, unsigned int nr, enum policy_way way);
bool keep_leave(struct keep *k, const struct policy_room *room, struct policy_chunk *pc,
		const pageset *young, pageset *set);
void keep_forget(struct keep *k, const struct policy_chunk *pc);

#endif
