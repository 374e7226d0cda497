/* SPDX-License-Identifier: Apache-2.0 */
/* First touches in sequence: the window doubles up to the rest of the chunk. */
#ifndef RMEM_POLICY_ZEROS_H
#define RMEM_POLICY_ZEROS_H

#include "client/core/policy.h"

#define ZERO_STREAMS 16U

struct zero_stream {
	space_id space;
	uint64_t next_va; /* a fault here continues it */
	uint32_t window;  /* pages */
	uint32_t used;	  /* tick of the last hit */
};

struct zeros {
	struct zero_stream stream[ZERO_STREAMS];
	uint32_t tick;
};

/* How many pages come with the one that is touched first. */
uint32_t zeros_ahead(struct zeros *all, const struct policy_fault *f);

#endif
