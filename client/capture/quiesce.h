/* SPDX-License-Identifier: Apache-2.0 */
/* Has every thread of a process left the system call it was in? */
#ifndef RMEM_CAPTURE_QUIESCE_H
#define RMEM_CAPTURE_QUIESCE_H

#include <sys/types.h>

/*
 * Looks at each thread once: one that sleeps says in /proc in which call; one
 * that runs is stopped for a moment, which it can't be in the middle of an
 * madvise. 0: none is inside an madvise that was under way when this began.
 * -EAGAIN: one may be; ask again. -ESRCH. Thread: as inject_agent().
 */
int quiesce_process(pid_t pid) __attribute__((warn_unused_result));

#endif
