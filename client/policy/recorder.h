/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Says each fault on a page that had left, for a run to come (replay.h). Nothing is
 * fetched ahead meanwhile: what comes by itself is not seen to be touched.
 */
#ifndef RMEM_POLICY_RECORDER_H
#define RMEM_POLICY_RECORDER_H

#include "client/core/policy.h"

struct recorder {
	void (*note)(void *ctx, space_id space, uint64_t va);
	void *note_ctx;
	const struct policy_ops *below; /* first touches, and what leaves */
	void *below_ctx;
};

/* ctx is a struct recorder, filled by who uses it. */
extern const struct policy_ops policy_recorder;

#endif
