/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The default policy: forward streams are read ahead, with a window that
 * doubles while they go on; chunks whose pages come back from standby get one
 * more round before they leave.
 */
#ifndef RMEM_POLICY_STREAMS_H
#define RMEM_POLICY_STREAMS_H

#include "client/core/policy.h"

#define STREAMS 16U

struct stream {
	space_id space;
	uint64_t next_va; /* a fault here continues it */
	uint32_t window;  /* pages */
	uint32_t used;	  /* tick of the last hit */
};

/* Zeroed is ready. */
struct streams {
	struct stream stream[STREAMS];
	uint32_t tick;
};

/* ctx is a struct streams. */
extern const struct policy_ops policy_streams;

#endif
