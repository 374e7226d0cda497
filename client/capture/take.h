/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eviction where userfaultfd has no MOVE (before Linux 6.8), told to the core as a move.
 * docs/design.md, "Kernels without MOVE", says why this is safe.
 *
 * The job's threads are held (freeze.h), the pages write-protected and looked at by BPF:
 * those that are pinned stay. The agent copies the others into scratch and drops them
 * from the job. The kernel tells us so by an event, which has to be read for the drop to
 * go on, so messages are read meanwhile, and kept until the core has the answer.
 */
#ifndef RMEM_CAPTURE_TAKE_H
#define RMEM_CAPTURE_TAKE_H

#include "client/capture/capture.h"

/* What capture_ops.move() says. */
int take_begin(struct capture *cp, struct aspace *sp, unsigned int half, uint64_t chunk_va,
	       const pageset *want);

/* The agent has answered: the threads go on, and the core hears of it. */
void take_answered(struct capture *cp, struct aspace *sp, const struct command *cmd,
		   const struct agent_cmd *got);

/* Let the agents that wait for an event to be read go on. True: one is at work. */
bool takes_serve(struct capture *cp);

/* The space is gone, nothing is told. */
void take_abandon(struct capture *cp, struct aspace *sp);

#endif
