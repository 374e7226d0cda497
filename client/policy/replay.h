/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A run whose faults are known from a run before. Whoever goes where that one went
 * gets what came next there before it is touched, whatever the pattern; whoever
 * does not is left to the policy below, until his faults are found again in a row: two, a little
 * further on; more of them, with few between, anywhere else, where a page that is touched
 * again and again can be found by accident. Faults that only one of the two runs had are
 * passed over.
 *
 *	faults of then   . . . . # . . . . m . . . . . |
 *	                         pos       marker       tail: not yet planned
 */
#ifndef RMEM_POLICY_REPLAY_H
#define RMEM_POLICY_REPLAY_H

#include "client/core/policy.h"
#include "client/policy/places.h"

#define REPLAY_FIRST  32U /* pages of the first plan */
#define REPLAY_WINDOW 64U /* of the largest */
#define REPLAY_LEAST  8U  /* of the smallest */
#define REPLAY_NEAR   64U /* faults that may be passed over */
#define REPLAY_STRAYS 4U  /* in a row that were not there then: out of step */
#define REPLAY_FAR    6U  /* faults in a row that show where we are, if it is not near */

/* A fault as it is kept: space and page. */
static inline uint64_t replay_key(space_id space, uint64_t va)
{
	return (uint64_t)space.v << 44 | (va >> PAGE_SHIFT & ((1ULL << 44) - 1));
}

struct replay {
	const uint64_t *key; /* of all faults, in order */
	const struct places *places;
	uint32_t nr;
	const struct policy_ops *below;
	void *below_ctx;

	bool in_step;
	uint32_t pos, tail; /* the fault after the last one; what is not planned yet */
	uint32_t marker;    /* when this one is reached the next plan is due */
	uint32_t guess;	    /* where we would be if the last faults were no accident: */
	uint32_t found;	    /* so many were found in a row, */
	uint32_t passed;    /* with so many between them */
	uint32_t strays;
	uint32_t window;
	uint64_t page[REPLAY_WINDOW];
};

/* @key and @places, which is of these keys, are borrowed for as long as the policy is used. Ready
 * after that; ctx of policy_replay. */
void replay_init(struct replay *r, const uint64_t *key, const struct places *places, uint32_t nr,
		 const struct policy_ops *below, void *below_ctx);

extern const struct policy_ops policy_replay;

#endif
