/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy: what leaves, what stays and what comes early. Decisions only: a
 * policy changes no state of the core, and a wrong decision costs time, never
 * a byte. Pure like the core. Calls are made on the pager's thread.
 */
#ifndef RMEM_CORE_POLICY_H
#define RMEM_CORE_POLICY_H

#include "client/core/types.h"

/* Kept by the core in every chunk, for the policy alone. */
struct policy_chunk {
	uint8_t soft_refaults; /* from standby since the chunk was last evicted, saturating */
};

struct policy_fault {
	space_id space;
	uint64_t va;
	uint64_t ip; /* 0 unknown */
	uint32_t tid;
	bool fetch; /* the page comes from the store; else it is zero filled */
};

struct policy_ops {
	const char *name;

	/* How many pages after the faulting one should come with it (0 .. 511).
	 * The core trims it to the chunk, the cap and what is missing. */
	unsigned int (*ahead)(void *ctx, const struct policy_fault *f, struct policy_chunk *pc);

	/* The chunk is oldest: evict it now (true), or give it another round? */
	bool (*evict)(void *ctx, struct policy_chunk *pc);
};

#endif
