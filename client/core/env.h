/* SPDX-License-Identifier: Apache-2.0 */
/*
 * env: the world outside, as far as the core may know it: a clock and a way
 * to say that the job can't go on. Nothing here blocks.
 */
#ifndef RMEM_CORE_ENV_H
#define RMEM_CORE_ENV_H

#include "client/core/types.h"

enum core_loss {
	LOSS_SUM,      /* a page came back with other bytes than were sent */
	LOSS_STORE,    /* the store can't give or take a page any more */
	LOSS_SPACE,    /* a space could not be followed (fork, prune) */
	LOSS_FULL,     /* no slot left and the cap leaves no room */
	LOSS_CAP,      /* nothing can leave and the cap is reached */
	LOSS_MEMORY,   /* the kernel has none to put a page back with */
	LOSS_INTERNAL, /* out of record memory */
};

struct env_ops {
	uint64_t (*now_ns)(void *ctx);

	/* XXH3-64 with the secret of this run. */
	uint64_t (*sum)(void *ctx, const void *page);

	/* A fault waits to be given to the core, which should leave off what can be
	 * done in parts. A few loads, since it is asked every microsecond. May be NULL. */
	bool (*pressed)(void *ctx);

	/* The job must be stopped, loudly. Called at most once; afterwards the
	 * core fills nothing. @va and @space may be 0. */
	void (*lost)(void *ctx, enum core_loss why, space_id sp, uint64_t va, int err);
};

#endif
