/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several stores as one: the slots of each follow those of the one before. Each is a part
 * that can leave, and then is one of no store; others can be added behind them.
 */
#ifndef RMEM_STORE_POOL_H
#define RMEM_STORE_POOL_H

#include "client/core/store.h"
#include "client/store/handover.h"

#define STORE_POOL_MAX STORE_PARTS

struct pool_part {
	struct store *store;	   /* NULL: has left */
	uint64_t nr_slots;	   /* of one that has left */
	struct handover *handover; /* what it leaves to the next process, in @nodes; or NULL */
	unsigned int nodes;
};

/* Of @nr parts those that the pool of the process before still had, a bit each. */
uint32_t store_pool_live(const struct handover *handover, unsigned int nr);

/* Takes @part's store, unless that fails: -ENOSPC: there are as many as can be; -errno with
 * err text. */
int store_pool_add(struct store *pool, const struct pool_part *part)
	__attribute__((warn_unused_result));

/* Takes the stores of @nr parts, unless that fails. 0 and returns owned; -errno with err
 * text. */
int store_pool_open(const struct pool_part *part, unsigned int nr, struct handover *handover,
		    struct store **out) __attribute__((warn_unused_result));

#endif
