/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads of the job held for a moment (a millisecond), so that no call of theirs
 * changes mappings meanwhile. Those that run are stopped by ptrace. Those that sleep in
 * the kernel are left asleep: to stop them would cut their calls short, over and over.
 * So one of them may wake meanwhile, and who freezes must see what it did.
 */
#ifndef RMEM_CAPTURE_FREEZE_H
#define RMEM_CAPTURE_FREEZE_H

#include <stddef.h>
#include <sys/types.h>

struct freeze;

/* Holds the threads of these processes. 0 and returns owned; -EAGAIN: not now, as when
 * one is inside a call that changes mappings; -ENOMEM. Waits 50 ms at the most. */
int freeze_begin(const pid_t *pid, size_t nr, struct freeze **out)
	__attribute__((warn_unused_result));
void freeze_end(struct freeze *f); /* accepts NULL */

#endif
