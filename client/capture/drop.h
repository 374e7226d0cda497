/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages leave a space without UFFDIO_MOVE (before Linux 6.8): protect, copy, hold,
 * look for pins, drop. See docs/design.md, "Without MOVE". A thread of its own does
 * it, for one chunk at a time; the pager's thread begins it and takes its answer.
 */
#ifndef RMEM_CAPTURE_DROP_H
#define RMEM_CAPTURE_DROP_H

#include "client/capture/capture.h"

/* 0; -errno with err text: pins can't be seen here. */
int drop_start(struct capture *cp) __attribute__((warn_unused_result));

/* Until then its messages are looked for again and again, if need be. */
bool drop_may_begin(const struct capture *cp, struct aspace *sp);

/* As capture_ops.move(): core_moved() follows. @cmd: a MOVE. */
int drop_begin(struct capture *cp, struct aspace *sp, const struct agent_cmd *cmd);

/* Is one of these pages protected by what is under way? */
bool drop_holds(const struct capture *cp, const struct aspace *sp, uint64_t va, unsigned int nr);

bool drop_is_done(const struct capture *cp);
void drop_reap(struct capture *cp);

/* The copies that were made, and that nobody needs them any more. */
int drop_copy_out(const struct aspace *sp, unsigned int half, const pageset *set,
		  void *const *frames);
void drop_unstage(struct capture *cp, struct aspace *sp, unsigned int half);

/* The space ends: whatever is under way there is broken off. */
void drop_forget(struct capture *cp, struct aspace *sp);

#endif
