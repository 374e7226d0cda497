/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who goes where: faults that belong together, before it is known that they
 * are a stream. By whom, a thread at an instruction, whatever the distance; and
 * by thread and neighbourhood, so that what one loop reads in turn, or what
 * comes without an instruction, is told apart.
 */
#ifndef RMEM_POLICY_WALKS_H
#define RMEM_POLICY_WALKS_H

#include "client/core/policy.h"
#include "client/policy/trend.h"

#define WALKS	   64U
#define WALKERS	   64U /* a power of two */
#define WALKS_NEAR 64U /* pages */

struct walk {
	uint64_t ip;
	struct trend trend;
};

/* A thread at an instruction. */
struct walker {
	space_id space;
	uint32_t tid;
	uint64_t ip;
	uint64_t last;	      /* address of its last touch */
	uint32_t unproven;    /* streams begun since one of them went on */
	struct trend trend;   /* in pages */
	struct trend exactly; /* in bytes: rows of a matrix are seldom whole pages */
};

struct walks {
	uint64_t owner[WALKS]; /* space and thread; apart, to be looked through */
	uint64_t last[WALKS];  /* page */
	uint32_t used[WALKS];  /* tick */
	struct walk walk[WALKS];
	struct walker walker[WALKERS];
	uint32_t tick;
};

struct walker *walks_who(struct walks *all, const struct policy_fault *f);

/* Takes the fault in. The stride of a stream that it makes certain, in bytes, or 0: whole
 * pages, or more than one. */
int64_t walks_add(struct walks *all, struct walker *who, const struct policy_fault *f);

/* How many of the last steps at this instruction, TREND_STEPS at most, were of @stride bytes,
 * whole pages and not 0. */
unsigned int walks_alike(const struct walker *who, int64_t stride);

#endif
